//! What a step cost in one process.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Phase;
use crate::record::LoadedRun;
use crate::row::StepRow;
use crate::stats;

/// Fewer steps of full size than this after the warm-up have no median worth the name.
pub const LEAST_STEPS: usize = 3;

/// Phases of a step and what none of them accounts for.
pub const PARTS: usize = Phase::ALL.len() + 1;

/// Medians over the steps of full size after the warm-up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub us_per_image: f64,
    pub ms_per_step: f64,
    pub images_per_s: f64,
    /// Page faults that needed no disk.
    pub faults_per_step: f64,
    /// Page faults that read from a disk.
    pub major_faults_per_step: f64,
    /// Milliseconds of processor time a step that were the kernel's.
    pub system_ms_per_step: f64,
    /// Share of the processor time that was the kernel's; `None` where none was counted.
    pub system_share: Option<f64>,
    /// Processor seconds a second.
    pub cpu_use: Option<f64>,
    /// In the order of [`Phase::ALL`], then the rest.
    pub part_us_per_image: [f64; PARTS],
    pub peak_rss_bytes: Option<u64>,
    /// Steps before the level held.
    pub warm_up: usize,
    /// Steps that count.
    pub steps: usize,
    /// Milliseconds a step by turn, warm-up included, so that turns of several processes stand beside each other; `None` of a
    /// turn in which no step was whole.
    #[serde(skip)]
    pub turns_ms: Vec<Option<f64>>,
}

/// How many of the first steps do not belong to the level of the rest: so many, of at most half of them, that the error of
/// the mean of what is left is smallest (marginal standard error rule; White, Simulation 69(6), 1997), here of logarithms.
/// [`LEAST_STEPS`] are always left.
/// At least one: the first step makes the optimizer's state and the thread pool.
pub fn warm_up(step_ns: &[u64]) -> usize {
    let ln: Vec<f64> = step_ns.iter().map(|ns| (*ns as f64).max(1.0).ln()).collect();
    let error = |dropped: usize| {
        let left = &ln[dropped..];
        let mean = stats::mean(left).unwrap_or_default();
        let squares: f64 = left.iter().map(|value| (value - mean).powi(2)).sum();
        squares / (left.len() as f64).powi(2)
    };
    let most = (ln.len() / 2).min(ln.len().saturating_sub(LEAST_STEPS)).max(1);
    let candidates = 1..=most;
    candidates.min_by(|one, other| error(*one).total_cmp(&error(*other))).unwrap_or(1).min(ln.len())
}

impl Cost {
    /// `None` of a run with fewer than [`LEAST_STEPS`] steps to count.
    pub fn of(run: &LoadedRun) -> Option<Self> {
        let batch = run.record.trial.config.train.batch;
        let first = first_of_turns(run);
        let is_whole =
            |step: &&StepRow| step.images == batch && step.times.total_ns > 0 && !first.contains(&step.step);
        let whole: Vec<&StepRow> = run.steps.iter().filter(is_whole).collect();
        let dropped = warm_up(&whole.iter().map(|step| step.times.total_ns).collect::<Vec<_>>());
        let full = &whole[dropped..];
        if batch == 0 || full.len() < LEAST_STEPS {
            return None;
        }
        let median = |of: &dyn Fn(&StepRow) -> f64| {
            stats::median(&full.iter().map(|step| of(step)).collect::<Vec<f64>>())
        };
        let us_per_image = |ns: u64| ns as f64 / 1e3 / f64::from(batch);
        let mut part_us_per_image = [0.0; PARTS];
        for (part, us) in part_us_per_image.iter_mut().enumerate() {
            *us = median(&|step| us_per_image(part_ns(step, part)))?;
        }
        let cpu_us = |step: &StepRow| (step.usage.user_us + step.usage.system_us) as f64;
        let is_counted = full.iter().all(|step| cpu_us(step) > 0.0);
        let counted = |of: &dyn Fn(&StepRow) -> f64| if is_counted { median(of) } else { None };
        Some(Self {
            us_per_image: median(&|step| us_per_image(step.times.total_ns))?,
            ms_per_step: median(&|step| step.times.total_ns as f64 / 1e6)?,
            images_per_s: median(&|step| f64::from(batch) * 1e9 / step.times.total_ns as f64)?,
            faults_per_step: median(&|step| step.usage.minor_faults as f64)?,
            major_faults_per_step: median(&|step| step.usage.major_faults as f64)?,
            system_ms_per_step: median(&|step| step.usage.system_us as f64 / 1e3)?,
            system_share: counted(&|step| step.usage.system_us as f64 / cpu_us(step)),
            cpu_use: counted(&|step| cpu_us(step) * 1e3 / step.times.total_ns as f64),
            part_us_per_image,
            peak_rss_bytes: run.record.outcome.as_ref().map(|outcome| outcome.peak_rss_bytes),
            warm_up: dropped,
            steps: full.len(),
            turns_ms: turns_ms(run, &whole),
        })
    }

    pub fn phase_us_per_image(&self, phase: Phase) -> f64 {
        self.part_us_per_image[phase as usize]
    }
}

/// The median of the steps that count of each turn.
fn turns_ms(run: &LoadedRun, whole: &[&StepRow]) -> Vec<Option<f64>> {
    let resumed = run.record.outcome.as_ref().map_or(&[][..], |outcome| &outcome.resumed);
    let turn = |step: &StepRow| resumed.partition_point(|begun| *begun <= step.step);
    let mut turns = vec![Vec::new(); resumed.len() + 1];
    for step in whole {
        turns[turn(step)].push(step.times.total_ns as f64 / 1e6);
    }
    turns.iter().map(|turn| stats::median(turn)).collect()
}

/// The first step of each turn after the first, where turns are of several steps: caches then hold what others have left
/// there. Where one step is a turn, it is long against that.
fn first_of_turns(run: &LoadedRun) -> BTreeSet<u64> {
    let resumed = run.record.outcome.as_ref().map_or(&[][..], |outcome| &outcome.resumed);
    let is_short = |step: &u64| resumed.contains(&(step + 1)) || step + 1 == run.steps.len() as u64;
    resumed.iter().copied().filter(|step| !is_short(step)).collect()
}

fn part_ns(step: &StepRow, part: usize) -> u64 {
    Phase::ALL.get(part).map_or_else(|| step.times.rest_ns(), |phase| step.times.ns(*phase).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples::{self, step};

    fn run(steps: Vec<StepRow>) -> LoadedRun {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        run.steps = steps;
        run
    }

    #[test]
    fn steps_before_the_level_holds_and_a_short_last_batch_do_not_count() {
        let mut steps: Vec<StepRow> =
            (0..12).map(|index| step(index, 64, 6_400_000 + 1000 * (index % 2))).collect();
        for slow in &mut steps[..3] {
            *slow = step(slow.step, 64, 9_000_000);
        }
        steps[11] = step(11, 7, 5_000_000);
        let cost = Cost::of(&run(steps)).unwrap();
        assert_eq!((cost.warm_up, cost.steps), (3, 8));
        assert!((cost.us_per_image - 100.0).abs() < 0.02 && (cost.images_per_s - 10_000.0).abs() < 2.0);
        let sum: f64 = cost.part_us_per_image.iter().sum();
        assert!((sum - 100.0).abs() < 0.02, "{sum}");
        assert_eq!((cost.system_share, cost.cpu_use), (None, None));
    }

    /// What is slow in the middle is no warm-up, and never more than half is.
    #[test]
    fn the_warm_up_is_found() {
        assert_eq!(warm_up(&[300, 101, 100, 100, 102, 100, 101, 100]), 1);
        assert_eq!(warm_up(&[300, 200, 150, 120, 100, 101, 100, 100, 101, 100]), 4);
        assert_eq!(warm_up(&[100, 101, 100, 100, 400, 100, 101, 100]), 1);
        assert_eq!(warm_up(&[500, 400, 300, 200, 100, 90]), 3);
        assert_eq!([warm_up(&[]), warm_up(&[5]), warm_up(&[9, 5])], [0, 1, 1]);
    }

    #[test]
    fn a_run_of_too_few_full_steps_has_no_cost() {
        let steps = |count| run((0..count).map(|index| step(index, 64, 1_000_000)).collect());
        assert_eq!(Cost::of(&steps(0)), None);
        assert_eq!(Cost::of(&steps(LEAST_STEPS as u64)), None);
        assert!(Cost::of(&steps(LEAST_STEPS as u64 + 1)).is_some());
    }

    #[test]
    fn the_first_step_of_a_turn_of_several_does_not_count() {
        let mut steps: Vec<StepRow> =
            (0..12).map(|index| step(index, 64, 2_000_000 + 1000 * (index % 2))).collect();
        (steps[8], steps[10]) = (step(8, 64, 5_000_000), step(10, 64, 5_000_000));
        let mut run = run(steps);
        let of = |run: &LoadedRun| Cost::of(run).unwrap().steps;
        assert_eq!(of(&run), 11);
        run.record.outcome.as_mut().unwrap().resumed = vec![8, 10];
        assert_eq!(of(&run), 9);
        let turns = Cost::of(&run).unwrap().turns_ms;
        assert_eq!(turns.len(), 3);
        assert!(turns.iter().all(|ms| ms.is_some_and(|ms| (2.0..2.01).contains(&ms))), "{turns:?}");
        // Each step a turn of its own.
        run.record.outcome.as_mut().unwrap().resumed = (1..12).collect();
        assert_eq!(of(&run), 11);
    }

    #[test]
    fn the_kernels_share_is_of_the_processor_time() {
        let mut steps: Vec<StepRow> = (0..12).map(|index| step(index, 64, 2_000_000)).collect();
        for step in &mut steps {
            (step.usage.user_us, step.usage.system_us) = (3000, 1000);
        }
        let cost = Cost::of(&run(steps)).unwrap();
        assert_eq!((cost.system_share, cost.cpu_use), (Some(0.25), Some(2.0)));
        assert!((cost.system_ms_per_step - 1.0).abs() < 1e-12);
    }
}
