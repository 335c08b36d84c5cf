//! The raw measurements a run yields: one row a step and one row a measurement over a split.

use serde::{Deserialize, Serialize};

use crate::clock::{Phase, PhaseTimes};

/// One optimizer step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StepRow {
    /// From 0.
    pub epoch: u32,
    /// From 0, through the whole run.
    pub step: u64,
    /// Images in the batch.
    pub images: u32,
    /// Mean cross-entropy of the batch in nats, before the update.
    pub loss: f64,
    /// Images whose largest logit was the label's, in train mode.
    pub correct: u32,
    /// By the host's clock. A GPU works behind the host's back: these are then the times to ask for the work, and that of
    /// `ReadBack` is the time to wait until it is done.
    pub times: PhaseTimes,
    /// Of the same phases on the device's own timeline, from event to event, gaps in which it had nothing to do included;
    /// `None` on a CPU.
    pub device: Option<PhaseTimes>,
    pub usage: Usage,
}

impl StepRow {
    /// How much later than the host the device came to the end of the optimizer step: what the host then waited for.
    ///
    /// Next to the step's total time it tells what a step on a GPU is bound by. Of one that is bound by its launches it is
    /// about 0, for the device has done each piece of work before the host asks for the next; of one that is bound by the
    /// device it is most of the step. `None` on a CPU.
    pub fn device_behind_ns(&self) -> Option<u64> {
        let until_read_back = |times: PhaseTimes| {
            let phases = Phase::ALL.into_iter().filter(|phase| *phase != Phase::ReadBack);
            phases.map(|phase| times.ns(phase)).try_fold(0, |sum: u64, ns| Some(sum.saturating_add(ns?)))
        };
        let device = self.device?;
        Some(until_read_back(device)?.saturating_sub(until_read_back(self.times)?))
    }
}

/// What the operating system counted for this process; in a row, the difference over the step.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Usage {
    pub user_us: u64,
    pub system_us: u64,
    /// Page faults that needed no disk.
    pub minor_faults: u64,
    pub major_faults: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

impl Usage {
    /// The counts since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
        }
    }
}

/// Loss and accuracy over one split after one epoch.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct EpochRow {
    /// From 0.
    pub epoch: u32,
    pub split: Split,
    pub images: u32,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of images whose largest logit is the label's, 0 to 1.
    pub accuracy: f64,
    /// Time the measurement took; for `Train`, the sum of the epoch's steps.
    pub wall_ns: u64,
}

named! {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Split {
        /// The training images as they were trained: in train mode, while the weights moved.
        Train = "train",
        /// Training images in eval mode with the weights of the epoch's end: the first so many of the split as the
        /// validation split has, so that a gap between the two is not a difference in sample size.
        TrainEval = "train_eval",
        Validation = "validation",
        /// Measured once, after the last epoch.
        Test = "test",
    }
}

/// One cell of a confusion matrix over one split after one epoch. Cells without images have no row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfusionRow {
    /// From 0.
    pub epoch: u32,
    pub split: Split,
    /// The class the image is of.
    pub label: u16,
    /// The class of the largest logit.
    pub predicted: u16,
    pub images: u32,
}

impl ConfusionRow {
    /// Before format 5 cells without images had rows too.
    pub fn is_filled(&self) -> bool {
        self.images > 0
    }
}

/// One further number measured after one epoch.
#[derive(Clone, PartialEq, Debug)]
pub struct DiagnosticRow {
    /// From 0.
    pub epoch: u32,
    pub diagnostic: Diagnostic,
    /// What it is of: a split's name, a layer's name, or empty for the whole model.
    pub of: String,
    pub value: f64,
}

/// A hash that two runs of one trial share for as long as they do the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainRow {
    /// From 0; the state is that after this step.
    pub step: u64,
    /// The tensor, such as `model.conv1.weight`; empty for the chain, which takes in everything up to this step.
    pub of: String,
    /// The first 8 bytes of a SHA-256, little-endian.
    pub hash: u64,
}

/// Whether a training is looked at between its epochs. Its result is the same either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnostics {
    #[default]
    On,
    Off,
}

named! {
    /// What a diagnostic row holds; `train/diagnose/` says how each is measured and where its definition comes from.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Diagnostic {
        /// Share of a split's images whose label is among the three largest logits.
        Top3 = "top3",
        /// Expected calibration error of a split, 15 bins of equal width.
        CalibrationError = "calibration_error",
        /// 2-norm of the gradient of a layer's weights.
        GradientNorm = "gradient_norm",
        /// Share of a layer's activations that are saturated; sigmoid and tanh only.
        SaturatedShare = "saturated_share",
        /// Share of a layer's units (channels) that are zero for every image looked at; ReLU only.
        DeadShare = "dead_share",
        /// Unbiased estimate of the squared 2-norm of the true gradient.
        GradientSquared = "gradient_squared",
        /// Unbiased estimate of the trace of the covariance of one image's gradient.
        GradientVariance = "gradient_variance",
        /// Largest eigenvalue of the Hessian of the loss.
        HessianEigenvalue = "hessian_eigenvalue",
        /// Keskar's φ, in percent.
        EpsilonSharpness = "epsilon_sharpness",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind_ns(host: [u64; 6], device: Option<[u64; 6]>) -> Option<u64> {
        let row = StepRow {
            epoch: 0,
            step: 0,
            images: 64,
            loss: 1.0,
            correct: 0,
            times: PhaseTimes::summed(host),
            device: device.map(PhaseTimes::summed),
            usage: Usage::default(),
        };
        row.device_behind_ns()
    }

    #[test]
    fn a_step_that_is_bound_by_launches_is_told_from_one_that_is_bound_by_the_device() {
        // The device waits for each launch, and is there as soon as the last is made.
        assert_eq!(behind_ns([5, 0, 400, 500, 95, 10], Some([5, 0, 401, 500, 96, 8])), Some(2));
        // Everything is asked for in a tenth of the time it takes.
        assert_eq!(behind_ns([5, 0, 40, 50, 5, 900], Some([5, 0, 395, 500, 95, 5])), Some(895));
        assert_eq!(behind_ns([5, 0, 400, 500, 95, 10], None), None);
    }
}
