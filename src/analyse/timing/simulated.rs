//! Simulated measurements for tests: costs that are known, noise from a fixed stream.

use std::collections::BTreeMap;

use crate::analyse::samples;
use crate::analyse::timing::{Block, Cost, Measured, PARTS, Process};
use crate::clock::Phase;
use crate::record::{Condition, Design};
use crate::stats::inference::draws::Normal;

/// Conditions of these names, all of one config and plan.
pub fn design(names: &[&str]) -> Design {
    let record = samples::finished(&samples::profile().arms[0], 0).record;
    let condition = |name: &&str| Condition {
        name: (*name).to_owned(),
        experiment: "m1".to_owned(),
        config: record.trial.config.clone(),
        plan: record.plan.clone(),
        fault: None,
    };
    Design { conditions: names.iter().map(condition).collect(), alike: None }
}

/// `count` blocks in which each condition costs `us` an image, as a step of a small model divides it, times noise of this
/// deviation; each block has a pace of its own.
pub fn measured(design: &Design, count: u64, noise: f64, stream: u8, us: impl Fn(usize) -> f64) -> Measured {
    let mut normal = Normal::new(stream);
    let mut measured = Measured::new(design.clone());
    for number in 0..count {
        let pace = normal.draw(0.0, 0.1);
        let mut processes = BTreeMap::new();
        for condition in 0..design.conditions.len() {
            let us = us(condition) * (pace + normal.draw(0.0, noise)).exp();
            let batch = design.conditions[condition].config.train.batch;
            processes.insert(condition, Process { cost: cost(us, batch), disturbed: None, attempts: 1 });
        }
        measured.blocks.insert(number, Block { processes });
    }
    measured
}

/// Of a step of `batch` images that takes `us` an image.
pub fn cost(us: f64, batch: u32) -> Cost {
    let mut parts = [0.0; PARTS];
    let shares = [
        (Phase::Load, 0.03),
        (Phase::Forward, 0.35),
        (Phase::Backward, 0.49),
        (Phase::Optimizer, 0.11),
        (Phase::ReadBack, 0.02),
    ];
    for (phase, share) in shares {
        parts[phase as usize] = us * share;
    }
    Cost {
        us_per_image: us,
        ms_per_step: us * f64::from(batch) / 1e3,
        images_per_s: 1e6 / us,
        faults_per_step: 1000.0,
        major_faults_per_step: 0.0,
        system_ms_per_step: 1.0,
        system_share: Some(0.1),
        cpu_use: Some(1.9),
        part_us_per_image: parts,
        peak_rss_bytes: Some(500 << 20),
        warm_up: 1,
        steps: 8,
        turns_ms: Vec::new(),
    }
}
