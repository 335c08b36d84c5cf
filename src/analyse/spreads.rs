//! The numbers of an arm over its seeds, and how far they are from those of the reference.

use crate::analyse::measure::{DeviceTiming, Measures, Score, StepTiming};
use crate::clock::Phase;
use crate::experiment::ReferenceRow;
use crate::stats::Spread;

/// Mean and sample standard deviation over seeds; `None` where no counted run has the quantity.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Spreads {
    pub train_acc: Option<Spread>,
    pub train_loss: Option<Spread>,
    pub train_eval_acc: Option<Spread>,
    pub train_eval_loss: Option<Spread>,
    pub val_acc: Option<Spread>,
    pub val_loss: Option<Spread>,
    pub test_acc: Option<Spread>,
    pub test_loss: Option<Spread>,
    /// This and all below are of the seeds whose times are compared.
    pub train_minutes: Option<Spread>,
    pub total_minutes: Option<Spread>,
    pub images_per_s: Option<Spread>,
    pub step_ms: Option<Spread>,
    pub minor_faults: Option<Spread>,
    /// In the order of [`Phase::ALL`].
    pub phase_us_per_image: Option<[Spread; Phase::ALL.len()]>,
    pub rest_us_per_image: Option<Spread>,
    /// The phases on a GPU's own timeline, in the same order; `None` on a CPU.
    pub device_us_per_image: Option<[Spread; Phase::ALL.len()]>,
    /// How much later than the host the device ends an optimizer step, as a share of the step.
    pub behind_share: Option<Spread>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Differences {
    pub train_acc: Option<f64>,
    pub val_acc: Option<f64>,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub minutes: Option<f64>,
}

impl Spreads {
    pub fn of_scores(runs: &[&Measures]) -> Self {
        let spread = |score: fn(&Measures) -> Option<Score>, value: fn(Score) -> f64| {
            Spread::of(&runs.iter().filter_map(|run| score(run).map(value)).collect::<Vec<_>>())
        };
        let accuracy = |score: Score| score.accuracy;
        let loss = |score: Score| score.loss;
        Self {
            train_acc: spread(|run| run.train, accuracy),
            train_loss: spread(|run| run.train, loss),
            train_eval_acc: spread(|run| run.train_eval, accuracy),
            train_eval_loss: spread(|run| run.train_eval, loss),
            val_acc: spread(|run| run.validation, accuracy),
            val_loss: spread(|run| run.validation, loss),
            test_acc: spread(|run| run.test, accuracy),
            test_loss: spread(|run| run.test, loss),
            ..Self::default()
        }
    }

    pub fn add_times(&mut self, runs: &[&Measures]) {
        let minutes = |value: fn(&Measures) -> Option<f64>| {
            Spread::of(&runs.iter().filter_map(|run| value(run)).collect::<Vec<_>>())
        };
        let timings: Vec<&StepTiming> = runs.iter().filter_map(|run| run.timing.as_ref()).collect();
        let timing = |value: &dyn Fn(&StepTiming) -> f64| {
            Spread::of(&timings.iter().map(|timing| value(timing)).collect::<Vec<_>>())
        };
        self.train_minutes = minutes(|run| run.train_minutes);
        self.total_minutes = minutes(|run| run.total_minutes);
        self.images_per_s = timing(&|timing| timing.images_per_s);
        self.step_ms = timing(&|timing| timing.step_ms);
        self.minor_faults = timing(&|timing| timing.minor_faults);
        let divided: Option<Vec<_>> = timings.iter().map(|timing| timing.phase_us_per_image).collect();
        let divided = divided.unwrap_or_default();
        self.phase_us_per_image = of_phases(|phase| {
            Spread::of(&divided.iter().map(|phases| phases[phase as usize]).collect::<Vec<_>>())
        });
        self.rest_us_per_image = timing(&|timing| timing.rest_us_per_image);
        self.add_device_times(&timings);
    }

    fn add_device_times(&mut self, timings: &[&StepTiming]) {
        let devices: Vec<&DeviceTiming> =
            timings.iter().filter_map(|timing| timing.device.as_ref()).collect();
        let device = |value: &dyn Fn(&DeviceTiming) -> f64| {
            Spread::of(&devices.iter().map(|device| value(device)).collect::<Vec<_>>())
        };
        self.device_us_per_image =
            of_phases(|phase| device(&|device| device.phase_us_per_image[phase as usize]));
        self.behind_share = device(&|device| device.behind_share);
    }

    /// Shares of a step's time, in the order of [`Phase::ALL`], and what no phase accounts for.
    pub fn phase_shares(&self) -> Option<([f64; Phase::ALL.len()], f64)> {
        let (phases, rest) = (self.phase_us_per_image.as_ref()?, self.rest_us_per_image.as_ref()?);
        let total = phases.iter().map(|phase| phase.mean).sum::<f64>() + rest.mean;
        (total > 0.0).then(|| (std::array::from_fn(|index| phases[index].mean / total), rest.mean / total))
    }
}

/// Spreads in the order of [`Phase::ALL`], if each phase has one.
fn of_phases(spread: impl Fn(Phase) -> Option<Spread>) -> Option<[Spread; Phase::ALL.len()]> {
    let spreads: Option<Vec<Spread>> = Phase::ALL.into_iter().map(spread).collect();
    spreads?.try_into().ok()
}

impl Differences {
    pub fn of(ours: &Spreads, theirs: &ReferenceRow) -> Self {
        let minus = |ours: &Option<Spread>, theirs: Option<f64>| {
            ours.as_ref().zip(theirs).map(|(ours, theirs)| ours.mean - theirs)
        };
        Self {
            train_acc: minus(&ours.train_acc, theirs.train_acc),
            val_acc: minus(&ours.val_acc, theirs.val_acc),
            train_loss: minus(&ours.train_loss, theirs.train_loss),
            val_loss: minus(&ours.val_loss, theirs.val_loss),
            minutes: minus(&ours.train_minutes, theirs.minutes),
        }
    }
}
