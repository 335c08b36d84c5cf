//! What a measurement of times says: the cost of a step under each condition, and ratios within blocks.
//!
//! [`crate::record::Measurement`] → [`Measured`] → [`Contrast`] → [`Estimate`]. The unit is the process: the median over its
//! warm steps is one value, for steps of one process are alike in ways that the next process is not (where its memory lies,
//! what ran beside it). Everything is compared within a block, whose processes ran one after the other.

mod compare;
mod contrast;
mod cost;
mod look;
#[cfg(test)]
pub mod simulated;

use std::collections::BTreeMap;

pub use compare::{Comparison, Standing, blocks_needed, compare};
pub use contrast::{Contrast, Estimate, Noise};
pub use cost::{Cost, LEAST_STEPS, PARTS, warm_up};
pub use look::{ALPHA, LOOKS, Look};

use serde::{Deserialize, Serialize};

use crate::analyse::block::disturbed_share;
use crate::record::{Design, LoadedRun, Measurement, MeasurementError, Timed};

/// The costs of every block.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    pub design: Design,
    /// By number.
    pub blocks: BTreeMap<u64, Block>,
    /// What it was measured on, as people say it; `None` before the first process.
    pub machine: Option<String>,
    /// Processes that [`Self::counted`] took out.
    #[serde(skip)]
    pub left_out: usize,
}

/// The most of a condition's processes that are left out because others disturbed them. Where there are more, the machine is
/// shared all the time: they stay, and intervals are wide.
const MOST_LEFT_OUT: f64 = 0.25;

/// By condition; one that was not wanted in this block any more, or that failed, is absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Block {
    pub processes: BTreeMap<usize, Process>,
}

/// What counts of a condition in a block.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Process {
    pub cost: Cost,
    /// Share of the processor time that others took, where that makes its times doubtful.
    pub disturbed: Option<f64>,
    /// Processes that were timed for it: more than 1 where the first was disturbed.
    pub attempts: u32,
}

impl Measured {
    pub fn new(design: Design) -> Self {
        Self { design, blocks: BTreeMap::new(), machine: None, left_out: 0 }
    }

    /// Of every process in the folder of a measurement that counted when it was taken.
    pub fn of(measurement: &Measurement) -> Result<Self, MeasurementError> {
        let mut measured = Self::new(measurement.design.clone());
        for timed in measurement.counted()? {
            let Some(run) = &timed.run else { continue };
            if let Some(run) = measurement.store.run(&timed.trial, run)? {
                measured.add(&timed, &run);
            }
        }
        Ok(measured)
    }

    /// What is compared: without the processes that others disturbed when they were measured again too, where those are few of
    /// their condition. The rule does not look at times, so that it favours no condition.
    pub fn counted(mut self) -> Self {
        let is_loud = |process: &Process| process.disturbed.is_some() && process.attempts > 1;
        for condition in 0..self.design.conditions.len() {
            let of = || self.blocks.values().filter_map(|block| block.processes.get(&condition));
            let loud = of().filter(|process| is_loud(process)).count();
            if loud as f64 <= MOST_LEFT_OUT * of().count() as f64 {
                self.left_out += loud;
                let blocks = self.blocks.values_mut();
                blocks.for_each(|block| {
                    block.processes.retain(|of, process| *of != condition || !is_loud(process))
                });
            }
        }
        self.blocks.retain(|_, block| !block.processes.is_empty());
        self
    }

    /// Takes a process in. Of several attempts the last one counts: another follows only where the one before was
    /// disturbed, whatever its times are.
    pub fn add(&mut self, timed: &Timed, run: &LoadedRun) {
        let Some(cost) = Cost::of(run) else { return };
        let environment = &run.record.environment;
        self.machine.get_or_insert_with(|| {
            let cores = crate::text::plural(environment.cores as usize, "core");
            let gpu = environment.gpu.as_ref().map(|gpu| format!(", {}", gpu.name)).unwrap_or_default();
            format!("{}, {cores}{gpu}, {}", environment.cpu, environment.kernel)
        });
        let process = Process { cost, disturbed: disturbed(run), attempts: timed.attempt + 1 };
        self.blocks.entry(timed.block).or_default().processes.insert(timed.condition, process);
    }

    /// The costs of a condition, by block.
    pub fn costs(&self, condition: usize) -> impl Iterator<Item = &Cost> {
        self.blocks.values().filter_map(move |block| Some(&block.processes.get(&condition)?.cost))
    }

    /// The sum of weight × ln(cost of an image) in each block that has all of these conditions: of weights 1 and −1 the
    /// logarithm of a ratio.
    pub fn contrast(&self, weights: &[(usize, f64)]) -> Contrast {
        self.contrast_of(weights, |cost| cost.us_per_image.ln())
    }

    /// As [`Self::contrast`], of another logarithm than that of the cost of an image. A block in which it is no number is left
    /// out as a whole: of several quantities that have to be of the same blocks, `of` is to be the sum.
    pub fn contrast_of(&self, weights: &[(usize, f64)], of: impl Fn(&Cost) -> f64) -> Contrast {
        let value = |block: &Block| {
            let term =
                |(condition, weight): &(usize, f64)| Some(weight * of(&block.processes.get(condition)?.cost));
            weights.iter().map(term).sum::<Option<f64>>()
        };
        let values = self.blocks.values().filter_map(value).filter(|value| value.is_finite()).collect();
        Contrast { values, squares: weights.iter().map(|(_, weight)| weight * weight).sum() }
    }

    /// How much a process strays by, over all conditions together; `None` where one block is all there is.
    pub fn noise(&self) -> Option<Noise> {
        let cell = |block: &Block| -> BTreeMap<usize, f64> {
            let ln = |(condition, process): (&usize, &Process)| (*condition, process.cost.us_per_image.ln());
            block.processes.iter().map(ln).collect()
        };
        Noise::of(&self.blocks.values().map(cell).collect::<Vec<_>>())
    }

    /// Cost of an image under `condition` over that under `reference`, with the interval that covers with probability
    /// 1 − `alpha`.
    pub fn ratio(&self, condition: usize, reference: usize, alpha: f64) -> Option<Estimate> {
        let contrast = self.contrast(&[(condition, 1.0), (reference, -1.0)]);
        Some(contrast.estimate(self.noise().as_ref(), alpha)?.exp())
    }

    /// The same over the first condition, as both of its names were measured where it has two, of a measurement that is looked at
    /// once: [trimmed](Contrast::trimmed).
    pub fn ratio_to_first(&self, condition: usize, alpha: f64) -> Option<Estimate> {
        let weights = match self.design.alike {
            Some((0, control)) if control != condition => {
                vec![(condition, 1.0), (0, -0.5), (control, -0.5)]
            }
            _ => vec![(condition, 1.0), (0, -1.0)],
        };
        Some(self.contrast(&weights).trimmed(self.noise().as_ref(), alpha)?.exp())
    }

    /// The factor, above 1, by which two names of one thing may differ, by the interval of their ratio: nothing smaller is said of
    /// any two conditions.
    /// `None` where the control was not measured often enough.
    pub fn floor(&self, alpha: f64) -> Option<f64> {
        let (one, other) = self.design.alike?;
        farther_end(&self.ratio(other, one, alpha)?)
    }

    /// The same of a measurement that is looked at once: [trimmed](Contrast::trimmed).
    pub fn trimmed_floor(&self, alpha: f64) -> Option<f64> {
        let (one, other) = self.design.alike?;
        let contrast = self.contrast(&[(other, 1.0), (one, -1.0)]);
        farther_end(&contrast.trimmed(self.noise().as_ref(), alpha)?.exp())
    }
}

/// Of a ratio's interval, as a factor above 1.
fn farther_end(ratio: &Estimate) -> Option<f64> {
    ratio.interval.map(|(low, high)| high.max(1.0 / low))
}

/// Share of the processor time that others took beside the run, where that makes its times doubtful.
pub fn disturbed(run: &LoadedRun) -> Option<f64> {
    let outcome = run.record.outcome.as_ref()?;
    let others = outcome.others_cpu_s.zip(run.record.watched_s());
    disturbed_share(others, outcome.steal_share, run.record.environment.cores)
}
