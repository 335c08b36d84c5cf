//! Simulated runs for the tests of the gate and of its pages: normal numbers from a fixed stream.

use std::ops::Range;

use crate::analyse::gate::{Asked, Ending, Numbers, Sample, Stamp, accept};
use crate::digest::{Digest, Hasher};
use crate::experiment::baseline::{Baseline, Gauge, MARGIN};
use crate::experiment::plan::{Device, Plan, PlanName};
use crate::experiment::{ConfigHash, PlanChange};
use crate::stats::inference::draws::Normal;
use crate::stream::Seed;

/// An experiment whose arms `arm 0`, `arm 1`, … are all alike.
pub struct Study {
    pub asked: Asked,
    normal: Normal,
}

impl Study {
    pub fn new(arms: usize, stream: u8) -> Self {
        let arm = |index: usize| {
            let label = format!("arm {index}");
            let hash = ConfigHash(Digest::of(label.as_bytes()));
            (label, hash)
        };
        let arms = (0..arms).map(arm).collect();
        let (experiment, named) = ("m1".to_owned(), "m1".to_owned());
        let varied = PlanChange::default();
        let asked = Asked { experiment, named, profile: "quick".into(), arms, varied };
        Self { asked, normal: Normal::new(stream) }
    }

    /// A run of every arm under each seed, drawn anew with every call.
    pub fn samples(&mut self, seeds: Range<u64>) -> Vec<Sample> {
        let arms = self.asked.arms.clone();
        let mut samples = Vec::new();
        for (label, config_hash) in &arms {
            for seed in seeds.clone() {
                samples.push(self.sample(label, *config_hash, seed));
            }
        }
        samples
    }

    fn sample(&mut self, label: &str, config_hash: ConfigHash, seed: u64) -> Sample {
        let mut draw = |mean: f64, sd: f64| self.normal.draw(mean, sd);
        let values = [
            (Gauge::TrainLoss, draw(0.06, 0.002)),
            (Gauge::TrainAcc, draw(0.98, 0.001)),
            (Gauge::ValLoss, draw(0.05, 0.002)),
            (Gauge::ValAcc, draw(0.985, 0.001)),
            (Gauge::TestAcc, draw(0.986, 0.001)),
        ];
        let images = [(Gauge::TrainAcc, 48_000), (Gauge::ValAcc, 12_000), (Gauge::TestAcc, 10_000)];
        let mut hasher = Hasher::new();
        for (_, value) in &values {
            hasher.update(&value.to_bits().to_le_bytes());
        }
        let measured = hasher.finish();
        let plan = Plan::named(PlanName::Tuned, 2, Device::Cpu);
        Sample {
            arm: label.to_owned(),
            config_hash,
            seed: Seed(seed),
            environment_class: "2 × Example CPU".to_owned(),
            plan_hash: plan.hash(),
            plan,
            pinbench: "0.1.0".to_owned(),
            is_planted: false,
            ending: Ending::Finished(Numbers {
                values: values.into_iter().collect(),
                images: images.into_iter().collect(),
                weights: Digest::of(measured.bytes()),
                measured,
            }),
        }
    }

    /// The same runs on another machine, a fifth of the spread of seeds apart.
    pub fn twins(&mut self, runs: &[Sample]) -> Vec<Sample> {
        let mut twins: Vec<Sample> = runs.iter().cloned().map(elsewhere).collect();
        for twin in twins.iter_mut().filter(|twin| matches!(twin.ending, Ending::Finished(_))) {
            for (gauge, sd) in [(Gauge::TrainLoss, 4e-4), (Gauge::ValLoss, 4e-4), (Gauge::TestAcc, 2e-4)] {
                let value = self.normal.draw(value(twin, gauge), sd);
                set(twin, gauge, value);
            }
        }
        twins
    }

    /// With one twin.
    pub fn baseline(&mut self, runs: &[Sample]) -> Baseline {
        let twins = [(PlanName::Fused, self.twins(runs))];
        accept(&self.asked, stamp(), runs, &twins).unwrap()
    }
}

pub fn stamp() -> Stamp {
    let (accepted, by_steps_alone) = ("2026-01-02T03:04:05Z".to_owned(), Vec::new());
    Stamp { accepted, false_alarm_rate: 0.01, margin: MARGIN, by_steps_alone }
}

/// What the run would have if it were worse by the margin.
pub fn at_the_margin(sample: &Sample, gauge: Gauge, baseline: &Baseline) -> f64 {
    let stored = baseline.arm(&sample.arm).unwrap();
    let values = stored.runs.iter().map(|run| run.values[&gauge]);
    let mean = values.sum::<f64>() / stored.runs.len() as f64;
    match gauge.is_loss() {
        true => value(sample, gauge) + baseline.margin.loss * mean,
        false => value(sample, gauge) - baseline.margin.accuracy,
    }
}

/// The same run on another machine.
pub fn elsewhere(sample: Sample) -> Sample {
    Sample { environment_class: "4 × Other CPU".to_owned(), ..sample }
}

pub fn under_another_plan(sample: Sample) -> Sample {
    let plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
    Sample { plan_hash: plan.hash(), plan, ..sample }
}

pub fn numbers(sample: &mut Sample) -> &mut Numbers {
    match &mut sample.ending {
        Ending::Finished(numbers) => numbers,
        other => panic!("{other:?}"),
    }
}

pub fn value(sample: &Sample, gauge: Gauge) -> f64 {
    match &sample.ending {
        Ending::Finished(numbers) => numbers.values[&gauge],
        other => panic!("{other:?}"),
    }
}

pub fn set(sample: &mut Sample, gauge: Gauge, value: f64) {
    numbers(sample).values.insert(gauge, value);
}
