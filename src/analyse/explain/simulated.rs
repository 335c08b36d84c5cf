//! Simulated measurements for the tests of this room and of the page: costs that are known, noise from a fixed stream.

use crate::analyse::explain::condition::{BATCHES, Condition, LARGE, SMALL, Variant, order};
use crate::analyse::explain::cost::PARTS;
use crate::analyse::explain::costs::Block;
use crate::analyse::explain::design::Design;
use crate::analyse::samples;
use crate::clock::{Phase, PhaseTimes};
use crate::experiment::plan::{Device, Plan, PlanName};
use crate::record::LoadedRun;
use crate::row::{StepRow, Usage};
use crate::stats::inference::draws::Normal;

/// µs of an image in each part of the step.
pub type Us = [f64; PARTS];

const STEPS: u64 = 12;

pub struct Study {
    normal: Normal,
    /// Deviation of the logarithm of a run's time.
    noise: f64,
    /// The machine is slower by this share with every block.
    pub drift: f64,
    pub design: Design,
    template: LoadedRun,
}

/// The whole sweep under the plan of a plain script, on two threads.
pub fn design() -> Design {
    Design {
        base: Plan::named(PlanName::Eager, 2, Device::Cpu),
        batches: BATCHES.to_vec(),
        demonstration: None,
    }
}

impl Study {
    pub fn new(stream: u8, noise: f64) -> Self {
        let template = samples::finished(&samples::profile().arms[0], 0);
        Self { normal: Normal::new(stream), noise, drift: 0.02, design: design(), template }
    }

    pub fn blocks(&mut self, count: usize, us: impl Fn(Condition) -> Us) -> Vec<Block> {
        let conditions = self.design.conditions();
        let mut blocks = Vec::new();
        for block in 0..count {
            let pace = 1.0 + self.drift * block as f64;
            let mut runs = Vec::new();
            for condition in order(&conditions, block) {
                let us = us(condition).map(|us| us * pace);
                runs.push((condition, self.run(condition, us)));
            }
            blocks.push(Block { runs });
        }
        blocks
    }

    fn run(&mut self, condition: Condition, us: Us) -> LoadedRun {
        let pace = self.normal.draw(0.0, self.noise).exp();
        let mut run = self.template.clone();
        let trained = self.design.trained(condition);
        run.record.trial.config.train.batch = trained.batch;
        run.record.trial.config.train.micro_batch = trained.variant.micro_batch();
        let plan = trained.variant.apply(&self.design.base);
        run.record.plan_hash = plan.hash();
        run.record.plan = plan;
        run.record.planted = self.design.planted(condition);
        run.steps = (0..STEPS).map(|index| self.step(index, trained, us.map(|us| us * pace))).collect();
        run
    }

    fn step(&mut self, index: u64, condition: Condition, us: Us) -> StepRow {
        let jitter = self.normal.draw(0.0, 0.005).exp() * if index == 0 { 3.0 } else { 1.0 };
        let ns = us.map(|us| (us * jitter * f64::from(condition.batch) * 1e3).round() as u64);
        let total_ns: u64 = ns.iter().sum();
        let mut phases_ns = [0; Phase::ALL.len()];
        phases_ns.copy_from_slice(&ns[..Phase::ALL.len()]);
        let faults = faults_per_image(condition) * f64::from(condition.batch);
        let system_us = (faults / 10.0) as u64;
        StepRow {
            times: PhaseTimes::new(phases_ns, total_ns),
            usage: Usage {
                user_us: total_ns / 1000,
                system_us,
                minor_faults: faults as u64,
                ..Usage::default()
            },
            ..samples::step(index, condition.batch, total_ns)
        }
    }
}

/// So much in all, as a step of a small model divides it.
pub fn even(total_us: f64) -> Us {
    let mut us = [0.0; PARTS];
    for (phase, percent) in [
        (Phase::Load, 3.0),
        (Phase::Forward, 35.0),
        (Phase::Backward, 49.0),
        (Phase::Optimizer, 11.0),
        (Phase::ReadBack, 2.0),
    ] {
        us[phase as usize] = total_us * percent / 100.0;
    }
    us
}

fn faults_per_image(condition: Condition) -> f64 {
    let keeps = matches!(
        condition.variant,
        Variant::KeepMemory | Variant::KeepMemoryHugePages | Variant::KeepMemoryMicroBatches | Variant::Tuned
    );
    let is_small = condition.variant == Variant::MicroBatches || condition.batch <= SMALL;
    if keeps {
        0.2
    } else if is_small {
        25.0
    } else {
        135.0
    }
}

/// 500 µs an image, and half as much again from [`LARGE`] on unless memory is kept or the working set small: a cost that
/// is spent in the backward pass.
pub fn with_faults(condition: Condition) -> Us {
    let mut us = even(500.0);
    if condition.batch >= LARGE && faults_per_image(condition) > 100.0 {
        us[Phase::Backward as usize] += 250.0;
    }
    us
}

pub fn faults(stream: u8, blocks: usize) -> Vec<Block> {
    Study::new(stream, 0.02).blocks(blocks, with_faults)
}
