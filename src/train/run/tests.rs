//! Whole trainings on a handful of made-up images, with what a config can change about the loop.

use std::sync::PoisonError;

use super::*;
use crate::data::Images;
use crate::dataset::Name;
use crate::experiment::config::{
    Activation, Augment, Data, Model, ModelName, Optim, OptimName, Schedule, Train,
};
use crate::experiment::plan::PlanName;
use crate::train::GENERATOR;

/// Of which every fifth is for validation.
const IMAGES: usize = 160;
const BATCH: u32 = 48;
const STEPS_PER_EPOCH: u64 = 3;

#[derive(Default)]
struct Rows {
    started: Option<Started>,
    steps: Vec<StepRow>,
    epochs: Vec<EpochRow>,
}

impl Observer for Rows {
    fn started(&mut self, started: &Started) {
        self.started = Some(*started);
    }

    fn stepped(&mut self, row: &StepRow) -> Control {
        self.steps.push(*row);
        Control::Continue
    }

    fn measured(&mut self, row: &EpochRow) {
        self.epochs.push(*row);
    }

    fn diagnosed(&mut self, _: &[DiagnosticRow]) {}

    fn confused(&mut self, _: &[ConfusionRow]) {}
}

impl Rows {
    /// What a step computed, without its times.
    fn computed(&self) -> Vec<(u32, u64, u32, f64, u32)> {
        self.steps.iter().map(|row| (row.epoch, row.step, row.images, row.loss, row.correct)).collect()
    }

    fn of(&self, split: Split) -> Vec<(u32, u32, f64, f64)> {
        let rows = self.epochs.iter().filter(|row| row.split == split);
        rows.map(|row| (row.epoch, row.images, row.loss, row.accuracy)).collect()
    }
}

/// Images and labels have nothing to do with each other: training learns them by heart, and validation suffers.
fn data() -> DataSet {
    let shape = Name::Mnist.shape();
    let mut state = 1_u32;
    // The generator of ISO C's example of `rand`.
    let mut random = move || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    let mut images = |count: usize| Images {
        pixels: (0..count * shape.len()).map(|_| random()).collect(),
        labels: (0..count).map(|_| random() % 10).collect(),
        shape,
    };
    DataSet { name: Name::Mnist, train: images(IMAGES), test: images(20) }
}

fn config(epochs: u32) -> Config {
    let set = Name::Mnist;
    Config {
        data: Data { set, digest: set.digest(), validation: 0.2, train_limit: None, eval_limit: None },
        model: Model {
            name: ModelName::SimpleCnn,
            activation: Activation::Relu,
            dropout: 0.5,
            pooling: None,
            norm: None,
        },
        optim: Optim {
            name: OptimName::Adam,
            lr: 0.001,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: None,
            schedule: None,
        },
        train: Train {
            batch: BATCH,
            epochs,
            max_steps: None,
            target_loss: None,
            patience: None,
            min_delta: None,
            replicate: None,
        },
        augment: None,
    }
}

fn plan() -> Plan {
    Plan::named(PlanName::Tuned, 1, Device::Cpu)
}

fn trained(config: &Config) -> (Trained, Rows) {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    // libtorch's threads would wait for each other longer than they work.
    tch::set_num_threads(1);
    let (trial, mut rows) = (Trial { config: config.clone(), seed: Seed(5) }, Rows::default());
    let trained = train(&trial, &plan(), &data(), Diagnostics::On, &mut rows).unwrap();
    assert_eq!(trained.ending, Ending::Finished);
    assert_eq!(trained.steps, rows.steps.len() as u64);
    (trained, rows)
}

/// Of equal updates: the first steps of a longer training, bit for bit.
#[test]
fn a_budget_of_steps_ends_within_an_epoch_and_changes_no_step() {
    let (_, long) = trained(&config(3));
    let mut short = config(3);
    short.train.max_steps = Some(5);
    let (trained, short) = trained(&short);
    assert_eq!(short.started.unwrap().steps, 5);
    assert_eq!(short.started.unwrap().steps_per_epoch, STEPS_PER_EPOCH);
    assert_eq!(short.computed(), long.computed()[..5]);
    assert_eq!(short.of(Split::Train)[0], long.of(Split::Train)[0]);
    assert_eq!(short.of(Split::Validation)[0], long.of(Split::Validation)[0]);
    // The second epoch's row is of its two steps only, and it is evaluated like any other.
    let (epoch, images, loss, _) = short.of(Split::Train)[1];
    let mean = (short.steps[3].loss + short.steps[4].loss) / 2.0;
    assert_eq!((epoch, images), (1, 2 * BATCH));
    assert!((loss - mean).abs() < 1e-12, "{loss} {mean}");
    let rows: Vec<(u32, Split)> = short.epochs.iter().map(|row| (row.epoch, row.split)).collect();
    let an_epoch = |epoch| [Split::Train, Split::TrainEval, Split::Validation].map(|split| (epoch, split));
    assert_eq!(rows, [&an_epoch(0)[..], &an_epoch(1), &[(1, Split::Test)]].concat());
    assert_eq!(trained.kept_epoch, None);
}

#[test]
fn early_stopping_ends_with_the_very_weights_of_the_best_epoch() {
    let mut patient = config(40);
    patient.optim.lr = 0.003;
    patient.train.patience = Some(3);
    let (stopped, rows) = trained(&patient);
    let kept = stopped.kept_epoch.unwrap();
    let losses: Vec<f64> = rows.of(Split::Validation).iter().map(|row| row.2).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[kept as usize], best);
    assert_eq!(losses.len(), kept as usize + 4, "{losses:?}");
    assert_eq!(rows.started.unwrap().steps, 40 * STEPS_PER_EPOCH);
    // The same training, ended there.
    let mut ended = patient.clone();
    (ended.train.patience, ended.train.epochs) = (None, kept + 1);
    let (expected, expected_rows) = trained(&ended);
    assert_eq!(stopped.final_weights, expected.final_weights);
    assert_eq!(rows.of(Split::Test), expected_rows.of(Split::Test));
    assert_eq!(expected.kept_epoch, None);
}

#[test]
fn a_run_that_keeps_getting_better_keeps_its_last_epoch() {
    let mut patient = config(2);
    patient.optim.lr = 1e-5;
    let (plain, rows) = trained(&patient);
    let validation = rows.of(Split::Validation);
    assert!(validation[1].2 < validation[0].2, "{validation:?}");
    patient.train.patience = Some(5);
    let (kept, _) = trained(&patient);
    assert_eq!((kept.kept_epoch, kept.final_weights), (Some(1), plain.final_weights));
}

#[test]
fn a_target_loss_ends_the_run_within_an_epoch_once_its_window_is_full() {
    let mut easy = config(100);
    (easy.train.target_loss, easy.data.train_limit) = (Some(100.0), Some(120));
    let (trained, rows) = trained(&easy);
    // 53 epochs of 120 images and one batch are the first to be 6,400 images or more.
    assert_eq!(trained.steps, 53 * STEPS_PER_EPOCH + 1);
    assert_eq!(rows.of(Split::Train)[53].1, BATCH);
    assert_eq!(rows.of(Split::Test)[0].0, 53);
}

#[test]
fn a_replicate_is_the_same_training() {
    let mut replicate = config(1);
    let (first, rows) = trained(&replicate);
    replicate.train.replicate = Some(1);
    let (second, again) = trained(&replicate);
    assert_eq!(first.final_weights, second.final_weights);
    assert_eq!(rows.computed(), again.computed());
}

#[test]
fn a_schedule_sets_the_rate_of_each_step() {
    let (constant, constant_rows) = trained(&config(2));
    let scheduled = |schedule| {
        let mut config = config(2);
        config.optim.schedule = Some(schedule);
        trained(&config)
    };
    assert_eq!(scheduled(Schedule::Constant).0.final_weights, constant.final_weights);
    // Cosine starts at the full rate, so that its first step is the constant's and its second is not.
    let (cosine, rows) = scheduled(Schedule::Cosine);
    assert_eq!(rows.computed()[..2], constant_rows.computed()[..2]);
    assert_ne!(rows.steps[2].loss, constant_rows.steps[2].loss);
    // One-cycle starts at a 25th of it.
    let (cycle, rows) = scheduled(Schedule::OneCycle);
    assert_eq!(rows.steps[0].loss, constant_rows.steps[0].loss);
    assert_ne!(rows.steps[1].loss, constant_rows.steps[1].loss);
    assert_ne!(cosine.final_weights, cycle.final_weights);
}

/// The schedule is over the steps there are, not over those of whole epochs.
#[test]
fn a_budget_of_steps_shortens_the_schedule() {
    let losses = |epochs, max_steps| {
        let mut config = config(epochs);
        (config.optim.schedule, config.train.max_steps) = (Some(Schedule::Cosine), max_steps);
        trained(&config).1.computed()
    };
    assert_eq!(losses(2, None), losses(9, Some(2 * STEPS_PER_EPOCH as u32)));
}

fn augmented(augment: Augment, epochs: u32) -> Config {
    Config { augment: Some(augment), ..config(epochs) }
}

/// Neither loader nor draws touch another stream.
#[test]
fn an_augmentation_that_moves_nothing_changes_no_bit() {
    let nothing = Augment { shift: Some(0), rotation: Some(0.0), ..Augment::default() };
    assert_eq!(trained(&augmented(nothing, 2)).0.final_weights, trained(&config(2)).0.final_weights);
}

#[test]
fn augmentation_changes_what_is_trained_on_and_repeats() {
    let augment = Augment { shift: Some(4), rotation: Some(10.0), ..Augment::default() };
    let (first, rows) = trained(&augmented(augment.clone(), 2));
    let (second, again) = trained(&augmented(augment, 2));
    assert_eq!((first.final_weights, rows.computed()), (second.final_weights, again.computed()));
    assert_ne!(rows.steps[0].loss, trained(&config(1)).1.steps[0].loss);
}

#[test]
fn nothing_is_augmented_in_evaluation() {
    let scores = |config: Config| {
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        let (trial, data, mut rows) = (Trial { config, seed: Seed(5) }, data(), Rows::default());
        let mut training = Training::new(&trial, &plan(), &data, Diagnostics::Off).unwrap();
        for split in [Split::TrainEval, Split::Validation, Split::Test] {
            training.measure(0, split, &mut rows).unwrap();
        }
        rows.epochs.iter().map(|row| (row.split, row.loss, row.accuracy)).collect::<Vec<_>>()
    };
    let hidden = Augment { cutout: Some(27), ..Augment::default() };
    assert_eq!(scores(augmented(hidden, 1)), scores(config(1)));
}
