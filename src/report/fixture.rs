//! Runs as the batch-size study has them, for pages to look at: three arms of 3,750, 1,875 and 235 noisy steps over
//! five epochs, three seeds each. Everything is drawn from a fixed stream.

use crate::analyse::{ArmRuns, samples};
use crate::digest::Digest;
use crate::experiment::{Arm, Experiment, Profile};
use crate::language::Language;
use crate::record::{LoadedRun, Rows, RunId, Status};
use crate::report::{Download, Input};
use crate::row::{EpochRow, Split, StepRow};

const TRAIN_IMAGES: u32 = 48_000;

pub(super) fn input<'a>(experiment: &'a Experiment, arms: Vec<ArmRuns<'a>>) -> Input<'a> {
    let download = |name: &str, about: &str| Download {
        name: name.to_owned(),
        about: about.into(),
        bytes: vec![b'x'; 4096],
    };
    Input {
        experiment,
        arms,
        left_out: None,
        explanations: &[],
        command: "pinbench reproduce m1 --profile full".to_owned(),
        languages: &[Language::En],
        downloads: vec![
            download("epochs.csv", "loss and accuracy of every split after every epoch, CSV"),
            download("steps.parquet", "every step, Parquet"),
            download("runs.json", "the run records, JSON"),
        ],
    }
}

/// Every arm under each of `seeds`, finished.
pub(super) fn study<'a>(profile: &'a Profile, seeds: &[u64]) -> Vec<ArmRuns<'a>> {
    let runs = |arm| seeds.iter().map(|&seed| run(arm, seed)).collect();
    profile.arms.iter().map(|arm| ArmRuns::new(arm, runs(arm))).collect()
}

/// A run that did not finish: no outcome, and no rows after the step it ended at.
pub(super) fn cut(run: &mut LoadedRun, status: Status, steps: usize) {
    run.steps.truncate(steps);
    run.epochs.clear();
    run.record.outcome = None;
    run.record.status = status;
}

fn run(arm: &Arm, seed: u64) -> LoadedRun {
    let batch = arm.config.train.batch;
    let mut noise = Noise { state: seed * 7919 + u64::from(batch) };
    let pace = 1.0 + 0.012 * noise.draw();
    let (mut steps, mut epochs) = (Vec::new(), Vec::new());
    let mut seen = 0;
    for epoch in 0..arm.config.train.epochs {
        let mut left = TRAIN_IMAGES;
        while left > 0 {
            let images = batch.min(left);
            left -= images;
            steps.push(step(epoch, steps.len() as u64, images, (seen, pace), &mut noise));
            seen += images;
        }
        let quality = f64::from(epoch) + 1.0 + 80.0 / f64::from(batch + 60) + 0.15 * noise.draw();
        epochs.extend(rows(epoch, quality));
    }
    let record = samples::record(arm, seed, &steps);
    let mut run = LoadedRun::new(record, Rows { steps, epochs, ..Rows::default() });
    run.record.run = RunId(format!("20260102T{:02}{:02}05Z-{}", seed + 3, batch % 60, 4000 + batch));
    run
}

fn step(epoch: u32, index: u64, images: u32, (seen, pace): (u32, f64), noise: &mut Noise) -> StepRow {
    let size = f64::from(images);
    let progress = f64::from(seen) / 6_000.0;
    // Larger batches need more images for the same loss, and jump less between steps.
    let mean = 0.12 + 2.2 / (1.0 + progress * 9.0 / (1.0 + size / 300.0)).powf(0.85);
    let loss = mean * (noise.draw() * 3.2 / size.sqrt()).exp();
    let ns_per_image = 95_000.0 * pace * (1.0 + 22.0 / size) * (1.0 + (size / 1024.0).powi(2) * 0.35);
    let hiccup = if index % 500 == 499 { 1.8 } else { 1.0 };
    let total_ns = ns_per_image * size * (1.0 + 0.03 * noise.draw()).max(0.9) * hiccup;
    let mut step = samples::step(index, images, total_ns as u64);
    (step.epoch, step.loss) = (epoch, loss);
    step.usage.minor_faults = if images > 512 { 14_200 } else { 3 };
    step
}

fn rows(epoch: u32, quality: f64) -> Vec<EpochRow> {
    let validation = 0.0135 + 0.028 / quality;
    Split::ALL
        .into_iter()
        .filter(|split| *split != Split::Test || epoch == 4)
        .map(|split| {
            let error = match split {
                Split::Train => 0.055 + 0.16 / quality.powi(2),
                Split::TrainEval => validation * 0.55,
                Split::Validation => validation,
                Split::Test => validation * 0.92,
            };
            EpochRow {
                epoch,
                split,
                images: 12_000,
                loss: error * 3.3,
                accuracy: 1.0 - error,
                wall_ns: 2_400_000_000,
            }
        })
        .collect()
}

/// Roughly normal numbers from a hash.
struct Noise {
    state: u64,
}

impl Noise {
    fn draw(&mut self) -> f64 {
        self.state += 1;
        let digest = Digest::of(&self.state.to_le_bytes());
        // The sum of twelve uniform numbers has mean 6 and variance 1.
        digest.bytes()[..12].iter().map(|&byte| (f64::from(byte) + 0.5) / 256.0).sum::<f64>() - 6.0
    }
}
