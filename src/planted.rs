//! Faults that can be planted into a run, to see whether the gate or an explanation finds them.
//!
//! A run with one says so in its record, and no sweep, report or baseline ever counts it.

use serde::{Deserialize, Serialize};

use crate::clock::Phase;

/// What a delay takes of each image of a step. A time of its own and no part of the step, so that its size is known
/// beforehand; about half of what the tuned plan takes for an image on two cores.
pub const DELAY_NS_PER_IMAGE: u64 = 150_000;

named! {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Planted {
        /// Dropout stays on in evaluation.
        EvalDropout = "eval-dropout",
        /// BatchNorm does nothing in evaluation.
        EvalWithoutBatchNorm = "eval-without-batch-norm",
        /// Pixels are not divided by 255 in evaluation.
        Normalisation = "normalisation",
        /// Every twentieth training label is that of another image.
        Labels = "labels",
        /// Three times the learning rate of the config.
        LearningRate = "learning-rate",
        /// One training label in a hundred is that of another image.
        #[serde(rename = "labels_1")]
        LabelsSlightly = "labels-1",
        /// 1.05 and 1.001 times the learning rate of the config.
        #[serde(rename = "learning_rate_5")]
        LearningRateSlightly = "learning-rate-5",
        #[serde(rename = "learning_rate_01")]
        LearningRateHardly = "learning-rate-01",
        /// None, whatever the config says.
        WeightDecay = "weight-decay",
        /// BatchNorm's statistics run at half their momentum: in probes alone.
        BatchNormMomentum = "batch-norm-momentum",
        /// Nine tenths of the dropout.
        Dropout = "dropout",
        /// Dropout draws from elsewhere in its stream: in probes of a constant rate alone.
        DropoutStream = "dropout-stream",
        /// A hundred times Adam's ε.
        Epsilon = "epsilon",
        /// 0.99 in the place of Adam's second decay rate.
        SecondDecay = "second-decay",
        /// The short batch at the end of an epoch is left out.
        LastBatch = "last-batch",
        /// Pixels of the training file are 1 % too dark.
        PixelScale = "pixel-scale",
        /// Training images are a pixel further right.
        Shift = "shift",
        /// Odd seeds are those before them again.
        SeedTwice = "seed-twice",
        /// Training images of class 3 are labelled as class 5.
        Class = "class",
        /// Each step takes a fifth longer.
        SlowStep = "slow-step",
        /// Each step takes three percent longer.
        #[serde(rename = "slow_step_3")]
        SlowStepSlightly = "slow-step-3",
        /// Each step takes five percent longer.
        #[serde(rename = "slow_step_5")]
        SlowStepSomewhat = "slow-step-5",
        /// Each step waits at the end of the phase, as do the next three.
        DelayLoad = "delay-load",
        DelayForward = "delay-forward",
        DelayBackward = "delay-backward",
        DelayOptimizer = "delay-optimizer",
    }
}

impl Planted {
    /// What it makes a step longer by, in percent of what the step has taken so far.
    pub fn longer_percent(self) -> Option<u64> {
        match self {
            Self::SlowStep => Some(20),
            Self::SlowStepSlightly => Some(3),
            Self::SlowStepSomewhat => Some(5),
            _ => None,
        }
    }

    /// The phase in which it takes time; `None` where it takes none.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::DelayLoad => Some(Phase::Load),
            Self::DelayForward => Some(Phase::Forward),
            Self::DelayBackward => Some(Phase::Backward),
            // The last that computes: what is left of the step then is the reading of two numbers.
            Self::SlowStep | Self::SlowStepSlightly | Self::SlowStepSomewhat | Self::DelayOptimizer => {
                Some(Phase::Optimizer)
            }
            _ => None,
        }
    }
}

impl std::str::FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|planted| planted.name() == text);
        known.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_known_by_its_name_and_another_is_refused_with_all_of_them() {
        for planted in Planted::ALL {
            assert_eq!(planted.name().parse::<Planted>(), Ok(planted));
        }
        assert!("delay".parse::<Planted>().unwrap_err().contains("delay-load, delay-forward"));
    }

    /// Stored records carry these names.
    #[test]
    fn faults_keep_their_names_in_records() {
        let stored = |planted| serde_json::to_value(planted).unwrap();
        assert_eq!(stored(Planted::SlowStep), "slow_step");
        assert_eq!(stored(Planted::SlowStepSlightly), "slow_step_3");
        assert_eq!(stored(Planted::DelayBackward), "delay_backward");
    }
}
