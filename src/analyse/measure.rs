//! The numbers of one run, from its rows.

use serde::Serialize;

use crate::clock::{Phase, PhaseTimes};
use crate::number;
use crate::record::LoadedRun;
use crate::row::{Split, StepRow};
use crate::stats;

/// Steps at the start of a run that no timing counts: the allocator, the caches and the thread pool are still
/// settling in them.
pub const WARM_UP_STEPS: usize = 20;

const NS_PER_MINUTE: f64 = 60e9;

/// What one run measured. `None` is what its rows do not say, as after a failure.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Measures {
    /// After the last epoch.
    pub train: Option<Score>,
    pub train_eval: Option<Score>,
    pub validation: Option<Score>,
    pub test: Option<Score>,
    /// Steps only: no evaluation, nothing before the first step or after the last.
    pub train_minutes: Option<f64>,
    /// From the first step to the last evaluation.
    pub total_minutes: Option<f64>,
    /// `None` when the run is no longer than its warm-up.
    pub timing: Option<StepTiming>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Score {
    #[serde(serialize_with = "number::serialize")]
    pub loss: f64,
    #[serde(serialize_with = "number::serialize")]
    pub accuracy: f64,
}

/// How a run's steps went once it was warm.
#[derive(Clone, PartialEq, Debug)]
pub struct StepTiming {
    /// Median over steps.
    pub images_per_s: f64,
    /// Median over steps.
    pub step_ms: f64,
    /// Mean over steps.
    pub minor_faults: f64,
    /// Mean time an image spent in each phase, in the order of [`Phase::ALL`]; `None` where steps were not divided.
    pub phase_us_per_image: Option<[f64; Phase::ALL.len()]>,
    /// The same for what no phase accounts for.
    pub rest_us_per_image: f64,
    /// `None` on a CPU.
    pub device: Option<DeviceTiming>,
}

/// The same steps on a GPU's own timeline.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceTiming {
    /// Mean time an image took in each phase, gaps in which the device had nothing to do included, in the order of
    /// [`Phase::ALL`].
    pub phase_us_per_image: [f64; Phase::ALL.len()],
    /// Median over steps: how much later than the host the device came to the end of the optimizer step, as a share of
    /// the step's time.
    pub behind_share: f64,
}

impl Measures {
    pub fn of(run: &LoadedRun) -> Self {
        let score = |split| last_score(run, split);
        let outcome = run.record.outcome.as_ref();
        // A run may be kept without the rows of its steps; their sum stays in its record.
        let train_ns = match run.steps.len() {
            0 => outcome.map(|outcome| outcome.train_ns),
            _ => Some(run.steps.iter().map(|step| step.times.total_ns).sum::<u64>()),
        };
        Self {
            train: score(Split::Train),
            train_eval: score(Split::TrainEval),
            validation: score(Split::Validation),
            test: score(Split::Test),
            train_minutes: train_ns.map(|ns| ns as f64 / NS_PER_MINUTE),
            total_minutes: outcome.map(|outcome| outcome.wall_ns as f64 / NS_PER_MINUTE),
            timing: run.steps.get(WARM_UP_STEPS..).and_then(StepTiming::of),
        }
    }
}

fn last_score(run: &LoadedRun, split: Split) -> Option<Score> {
    let kept = run.record.outcome.as_ref().and_then(|outcome| outcome.kept_epoch);
    let rows = run.epochs.iter().filter(|row| row.split == split);
    // Of two rows of one epoch `max_by_key` takes the later.
    let row = rows.filter(|row| kept.is_none_or(|kept| row.epoch == kept)).max_by_key(|row| row.epoch)?;
    Some(Score { loss: row.loss, accuracy: row.accuracy })
}

impl StepTiming {
    /// Share of a step's time in which its batch was made.
    pub fn load_share(&self) -> Option<f64> {
        let phases = self.phase_us_per_image?;
        let total = phases.iter().sum::<f64>() + self.rest_us_per_image;
        Some(phases[Phase::Load as usize] / total)
    }

    /// `None` of no steps, or of steps that took no time or held no image.
    fn of(steps: &[StepRow]) -> Option<Self> {
        let images: u64 = steps.iter().map(|step| u64::from(step.images)).sum();
        let rates: Vec<f64> = steps.iter().filter_map(images_per_s).collect();
        let times: Vec<f64> = steps.iter().map(|step| step.times.total_ns as f64 / 1e6).collect();
        let faults: u64 = steps.iter().map(|step| step.usage.minor_faults).sum();
        if images == 0 {
            return None;
        }
        let us_per_image =
            |ns: &dyn Fn(&StepRow) -> u64| steps.iter().map(ns).sum::<u64>() as f64 / 1e3 / images as f64;
        Some(Self {
            images_per_s: stats::median(&rates)?,
            step_ms: stats::median(&times)?,
            minor_faults: faults as f64 / steps.len() as f64,
            phase_us_per_image: steps
                .iter()
                .all(|step| step.times.is_divided())
                .then(|| Phase::ALL.map(|phase| us_per_image(&|step| step.times.ns(phase).unwrap_or(0)))),
            rest_us_per_image: us_per_image(&|step| step.times.rest_ns()),
            device: DeviceTiming::of(steps, images),
        })
    }
}

impl DeviceTiming {
    /// `None` too where only some steps have such times: their mean would be beside the host's over others.
    fn of(steps: &[StepRow], images: u64) -> Option<Self> {
        let divided = |step: &StepRow| step.device.filter(PhaseTimes::is_divided);
        let times: Vec<PhaseTimes> = steps.iter().map(divided).collect::<Option<_>>()?;
        let us_per_image = |phase| {
            let ns: f64 = times.iter().map(|times| times.ns(phase).unwrap_or(0) as f64).sum();
            ns / 1e3 / images as f64
        };
        let shares: Vec<f64> = steps.iter().filter_map(behind_share).collect();
        Some(Self { phase_us_per_image: Phase::ALL.map(us_per_image), behind_share: stats::median(&shares)? })
    }
}

fn behind_share(step: &StepRow) -> Option<f64> {
    let (behind_ns, total_ns) = (step.device_behind_ns()?, step.times.total_ns);
    (total_ns > 0).then(|| behind_ns as f64 / total_ns as f64)
}

fn images_per_s(step: &StepRow) -> Option<f64> {
    let seconds = step.times.total_ns as f64 / 1e9;
    (seconds > 0.0).then(|| f64::from(step.images) / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples::{self, step};

    #[test]
    fn timing_leaves_the_warm_up_out_and_takes_the_median_step() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        run.steps = (0..WARM_UP_STEPS as u64 + 5).map(|index| step(index, 64, 1_000_000)).collect();
        for slow in &mut run.steps[..WARM_UP_STEPS] {
            *slow = step(slow.step, 64, 50_000_000);
        }
        // One hiccup moves a mean, not a median.
        run.steps[WARM_UP_STEPS + 2] = step(22, 64, 90_000_000);
        let timing = Measures::of(&run).timing.unwrap();
        assert_eq!((timing.step_ms, timing.images_per_s), (1.0, 64_000.0));
    }

    #[test]
    fn a_run_no_longer_than_its_warm_up_has_no_timing_but_has_its_minutes() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        run.steps.truncate(WARM_UP_STEPS);
        let measures = Measures::of(&run);
        assert_eq!(measures.timing, None);
        assert!(measures.train_minutes.is_some());
    }

    #[test]
    fn the_phases_and_the_rest_add_up_to_the_time_of_an_image() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        run.steps = (0..40).map(|index| step(index, 50, 2_000_000)).collect();
        let timing = Measures::of(&run).timing.unwrap();
        let total = timing.phase_us_per_image.unwrap().iter().sum::<f64>() + timing.rest_us_per_image;
        assert!((total - 40.0).abs() < 1e-9, "{total}");
    }

    #[test]
    fn a_gpu_has_a_timeline_of_its_own_that_tells_what_its_steps_are_bound_by() {
        let device = |behind_percent| {
            let mut run = samples::finished(&samples::profile().arms[0], 0);
            run.steps = (0..40).map(|index| step(index, 50, 2_000_000)).collect();
            samples::put_on_gpu(&mut run, behind_percent);
            let timing = Measures::of(&run).timing.unwrap();
            let phases = timing.phase_us_per_image.unwrap();
            let host: f64 = phases.iter().sum();
            assert!((host + timing.rest_us_per_image - 40.0).abs() < 1e-9, "{host}");
            let device = timing.device.unwrap();
            assert!((device.phase_us_per_image.iter().sum::<f64>() - 40.0).abs() < 1e-9);
            (phases[Phase::ReadBack as usize], device.behind_share)
        };
        for (percent, read_back_us, share) in [(0, 0.0, 0.0), (90, 36.0, 0.9)] {
            let (host, behind) = device(percent);
            assert!((host - read_back_us).abs() < 1e-9 && (behind - share).abs() < 1e-9, "{host} {behind}");
        }
    }

    #[test]
    fn a_cpu_has_no_timeline_of_its_own_nor_have_steps_of_which_some_lack_it() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        assert_eq!(Measures::of(&run).timing.unwrap().device, None);
        samples::put_on_gpu(&mut run, 50);
        run.steps[WARM_UP_STEPS + 1].device = None;
        assert_eq!(Measures::of(&run).timing.unwrap().device, None);
        run.steps[WARM_UP_STEPS + 1].device = run.steps[WARM_UP_STEPS].device;
        run.steps[0].device = None;
        assert!(Measures::of(&run).timing.unwrap().device.is_some(), "the warm-up does not count");
    }

    #[test]
    fn scores_are_those_of_the_last_epoch_in_whatever_order_rows_come() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        let last = run.epochs.iter().rfind(|row| row.split == Split::Validation).unwrap().accuracy;
        run.epochs.reverse();
        assert_eq!(Measures::of(&run).validation.unwrap().accuracy, last);
    }

    #[test]
    fn a_run_without_rows_measures_nothing() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        (run.steps, run.epochs, run.record.outcome) = (vec![], vec![], None);
        assert_eq!(Measures::of(&run), Measures::default());
    }
}
