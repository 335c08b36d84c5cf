//! What one short run cost.

use crate::clock::Phase;
use crate::record::LoadedRun;
use crate::row::{Split, StepRow};
use crate::stats;

/// Steps at the start that do not count: the first makes the optimizer's state and the thread pool, and the heap grows
/// until every size of tensor has come round. Fewer than the 20 of long runs, because a run of 12 steps of batch 4096
/// must keep enough for a median: 8, of which three may hiccup.
pub const WARM_UP: usize = 4;

/// Fewer steps of full size than this have no median worth the name.
pub const LEAST_STEPS: usize = 5;

/// Phases of a step and what none of them accounts for.
pub const PARTS: usize = Phase::ALL.len() + 1;

/// Medians over the steps of full size after the warm-up.
#[derive(Clone, PartialEq, Debug)]
pub struct Cost {
    pub us_per_image: f64,
    pub ms_per_step: f64,
    pub images_per_s: f64,
    /// Page faults that needed no disk.
    pub faults_per_step: f64,
    /// Page faults that read from a disk.
    pub major_faults_per_step: f64,
    /// Share of the processor time that was the kernel's; `None` where none was counted.
    pub system_share: Option<f64>,
    /// Processor seconds a second.
    pub cpu_use: Option<f64>,
    /// In the order of [`Phase::ALL`], then the rest.
    pub part_us_per_image: [f64; PARTS],
    /// Of the validation images, by their one measurement; `None` of a run that evaluates nothing.
    pub evaluate_us_per_image: Option<f64>,
    /// Steps that count.
    pub steps: usize,
}

impl Cost {
    /// `None` of a run with fewer than [`LEAST_STEPS`] steps to count.
    pub fn of(run: &LoadedRun) -> Option<Self> {
        let batch = run.record.trial.config.train.batch;
        let warm = run.steps.get(WARM_UP..)?.iter();
        let full: Vec<&StepRow> =
            warm.filter(|step| step.images == batch && step.times.total_ns > 0).collect();
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
        Some(Self {
            us_per_image: median(&|step| us_per_image(step.times.total_ns))?,
            ms_per_step: median(&|step| step.times.total_ns as f64 / 1e6)?,
            images_per_s: median(&|step| f64::from(batch) * 1e9 / step.times.total_ns as f64)?,
            faults_per_step: median(&|step| step.usage.minor_faults as f64)?,
            major_faults_per_step: median(&|step| step.usage.major_faults as f64)?,
            system_share: if is_counted {
                median(&|step| step.usage.system_us as f64 / cpu_us(step))
            } else {
                None
            },
            cpu_use: if is_counted {
                median(&|step| cpu_us(step) * 1e3 / step.times.total_ns as f64)
            } else {
                None
            },
            part_us_per_image,
            evaluate_us_per_image: evaluate_us_per_image(run),
            steps: full.len(),
        })
    }

    pub fn phase_us_per_image(&self, phase: Phase) -> f64 {
        self.part_us_per_image[phase as usize]
    }

    /// Share of the step in which its batch was made.
    pub fn load_share(&self) -> f64 {
        self.phase_us_per_image(Phase::Load) / self.us_per_image
    }
}

fn part_ns(step: &StepRow, part: usize) -> u64 {
    Phase::ALL.get(part).map_or_else(|| step.times.rest_ns(), |phase| step.times.ns(*phase).unwrap_or(0))
}

fn evaluate_us_per_image(run: &LoadedRun) -> Option<f64> {
    let row = run.epochs.iter().rfind(|row| row.split == Split::Validation && row.images > 0)?;
    Some(row.wall_ns as f64 / 1e3 / f64::from(row.images))
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
    fn the_warm_up_and_a_short_last_batch_do_not_count() {
        let mut steps: Vec<StepRow> = (0..12).map(|index| step(index, 64, 6_400_000)).collect();
        for slow in &mut steps[..WARM_UP] {
            *slow = step(slow.step, 64, 900_000_000);
        }
        steps[11] = step(11, 7, 5_000_000);
        let cost = Cost::of(&run(steps)).unwrap();
        assert_eq!((cost.us_per_image, cost.ms_per_step, cost.steps), (100.0, 6.4, 7));
        assert!((cost.images_per_s - 10_000.0).abs() < 1e-9);
        let sum: f64 = cost.part_us_per_image.iter().sum();
        assert!((sum - 100.0).abs() < 1e-9, "{sum}");
        assert_eq!((cost.system_share, cost.cpu_use), (None, None));
    }

    #[test]
    fn a_run_of_too_few_full_steps_has_no_cost() {
        let steps = |count| run((0..count).map(|index| step(index, 64, 1_000_000)).collect());
        assert_eq!(Cost::of(&steps(0)), None);
        assert_eq!(Cost::of(&steps((WARM_UP + LEAST_STEPS - 1) as u64)), None);
        assert!(Cost::of(&steps((WARM_UP + LEAST_STEPS) as u64)).is_some());
    }

    #[test]
    fn the_kernels_share_is_of_the_processor_time() {
        let mut steps: Vec<StepRow> = (0..12).map(|index| step(index, 64, 2_000_000)).collect();
        for step in &mut steps {
            (step.usage.user_us, step.usage.system_us) = (3000, 1000);
        }
        let cost = Cost::of(&run(steps)).unwrap();
        assert_eq!((cost.system_share, cost.cpu_use), (Some(0.25), Some(2.0)));
    }
}
