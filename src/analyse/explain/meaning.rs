//! What "slower" can mean: images a second, seconds an epoch, or time and updates until a target is met.

use std::collections::{BTreeMap, BTreeSet};

use crate::analyse::explain::condition::{BATCHES, Condition};
use crate::analyse::explain::costs::Costs;
use crate::analyse::explain::estimate::Estimate;
use crate::record::{LoadedRun, Status};
use crate::row::Split;
use crate::stats::Spread;

/// The notes' epoch: MNIST's 60,000 training images without the fifth that is held out.
pub const EPOCH_IMAGES: u32 = 48_000;
pub const VALIDATION_IMAGES: u32 = 12_000;

/// Of one batch under the base.
#[derive(Clone, PartialEq, Debug)]
pub struct Meaning {
    pub batch: u32,
    pub images_per_s: Estimate,
    /// As if the images of the short last batch cost what others do; `short_batch` of the hypotheses bounds the error.
    pub s_per_epoch: Estimate,
    pub updates_per_epoch: u32,
}

/// Finished trainings, of any batches and seeds.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Validation accuracy to be reached, 0 to 1.
    pub accuracy: f64,
    pub runs: &'a [LoadedRun],
}

/// What it took the stored runs of one batch to reach the target, known to the epoch.
#[derive(Clone, PartialEq, Debug)]
pub struct Reached {
    pub accuracy: f64,
    pub batch: u32,
    /// Runs that reached it, of how many.
    pub reached: usize,
    pub of: usize,
    pub updates: Option<Spread>,
    /// Of training; `None` where the stored runs are of several plans or environments, whose times are not comparable.
    pub minutes: Option<Spread>,
}

pub fn meanings(costs: &Costs) -> Vec<Meaning> {
    let of = |batch: u32| {
        let condition = Condition::base(batch);
        let rates = costs.each(|block| Some(block.get(&condition)?.images_per_s));
        let epochs =
            costs.each(|block| Some(block.get(&condition)?.us_per_image * f64::from(EPOCH_IMAGES) / 1e6));
        Some(Meaning {
            batch,
            images_per_s: Estimate::geometric(&rates)?,
            s_per_epoch: Estimate::geometric(&epochs)?,
            updates_per_epoch: EPOCH_IMAGES.div_ceil(batch),
        })
    };
    BATCHES.into_iter().filter_map(of).collect()
}

pub fn reached(stored: &Stored) -> Vec<Reached> {
    let finished = stored.runs.iter().filter(|run| run.record.status == Status::Finished);
    let mut by_batch: BTreeMap<u32, Vec<&LoadedRun>> = BTreeMap::new();
    let mut ways = BTreeSet::new();
    for run in finished {
        let record = &run.record;
        ways.insert(format!("{} {}", record.plan_hash, record.environment_class));
        by_batch.entry(record.trial.config.train.batch).or_default().push(run);
    }
    let of_batch = |(batch, runs): (u32, Vec<&LoadedRun>)| {
        let found: Vec<(f64, f64)> = runs.iter().filter_map(|run| until(run, stored.accuracy)).collect();
        let (updates, minutes): (Vec<f64>, Vec<f64>) = found.iter().copied().unzip();
        Reached {
            accuracy: stored.accuracy,
            batch,
            reached: found.len(),
            of: runs.len(),
            updates: Spread::of(&updates),
            minutes: if ways.len() == 1 { Spread::of(&minutes) } else { None },
        }
    };
    by_batch.into_iter().map(of_batch).collect()
}

/// Updates and minutes of training until the end of the first epoch whose validation accuracy is at least `accuracy`.
fn until(run: &LoadedRun, accuracy: f64) -> Option<(f64, f64)> {
    let rows = run.epochs.iter().filter(|row| row.split == Split::Validation);
    let epoch = rows.filter(|row| row.accuracy >= accuracy).map(|row| row.epoch).min()?;
    let steps = || run.steps.iter().filter(|step| step.epoch <= epoch);
    let ns: u64 = steps().map(|step| step.times.total_ns).sum();
    Some((steps().count() as f64, ns as f64 / 60e9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    #[test]
    fn a_target_is_reached_at_the_end_of_an_epoch_or_not_at_all() {
        let profile = samples::profile();
        // Accuracy 0.90 after the first 20 steps, 0.92 after the next.
        let runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[2], 0)];
        let found = reached(&Stored { accuracy: 0.91, runs: &runs });
        assert_eq!((found[0].batch, found[1].batch), (64, 1024));
        assert_eq!((found[0].updates.unwrap().mean, found[0].reached), (40.0, 1));
        assert!(found[0].minutes.is_some());
        let found = reached(&Stored { accuracy: 0.99, runs: &runs });
        assert_eq!((found[0].updates, found[0].reached, found[0].of), (None, 0, 1));
    }

    #[test]
    fn minutes_of_several_plans_are_not_put_side_by_side() {
        use crate::experiment::plan::{Device, Plan, PlanName};
        let profile = samples::profile();
        let mut runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[2], 0)];
        runs[1].record.plan_hash = Plan::named(PlanName::Eager, 2, Device::Cpu).hash();
        let found = reached(&Stored { accuracy: 0.5, runs: &runs });
        assert!(found.iter().all(|reached| reached.minutes.is_none() && reached.updates.is_some()));
    }
}
