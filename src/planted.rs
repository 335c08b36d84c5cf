//! Faults that can be planted into a run, to see whether the gate or an explanation finds them.
//!
//! A run with one says so in its record, and no sweep, report or baseline ever counts it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Phase;

/// What a delay takes of each image of a step. A time of its own and no part of the step, so that its size is known
/// beforehand; about half of what the tuned plan takes for an image on two cores.
pub const DELAY_NS_PER_IMAGE: u64 = 150_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planted {
    /// Dropout stays on in evaluation.
    EvalDropout,
    /// BatchNorm does nothing in evaluation.
    EvalWithoutBatchNorm,
    /// Pixels are not divided by 255 in evaluation.
    Normalisation,
    /// Every twentieth training label is that of another image.
    Labels,
    /// Three times the learning rate of the config.
    LearningRate,
    /// One training label in a hundred is that of another image.
    #[serde(rename = "labels_1")]
    LabelsSlightly,
    /// 1.05 and 1.001 times the learning rate of the config.
    #[serde(rename = "learning_rate_5")]
    LearningRateSlightly,
    #[serde(rename = "learning_rate_01")]
    LearningRateHardly,
    /// None, whatever the config says.
    WeightDecay,
    /// BatchNorm's statistics run at half their momentum: in probes alone.
    BatchNormMomentum,
    /// Nine tenths of the dropout.
    Dropout,
    /// Dropout draws from elsewhere in its stream: in probes of a constant rate alone.
    DropoutStream,
    /// A hundred times Adam's ε.
    Epsilon,
    /// 0.99 in the place of Adam's second decay rate.
    SecondDecay,
    /// The short batch at the end of an epoch is left out.
    LastBatch,
    /// Pixels of the training file are 1 % too dark.
    PixelScale,
    /// Training images are a pixel further right.
    Shift,
    /// Odd seeds are those before them again.
    SeedTwice,
    /// Training images of class 3 are labelled as class 5.
    Class,
    /// Each step takes a fifth longer.
    SlowStep,
    /// Each step takes three percent longer.
    #[serde(rename = "slow_step_3")]
    SlowStepSlightly,
    /// Each step takes five percent longer.
    #[serde(rename = "slow_step_5")]
    SlowStepSomewhat,
    /// Each step waits at the end of the phase, as do the next three.
    DelayLoad,
    DelayForward,
    DelayBackward,
    DelayOptimizer,
}

impl Planted {
    pub const ALL: [Self; 26] = [
        Self::EvalDropout,
        Self::EvalWithoutBatchNorm,
        Self::Normalisation,
        Self::Labels,
        Self::LearningRate,
        Self::LabelsSlightly,
        Self::LearningRateSlightly,
        Self::LearningRateHardly,
        Self::WeightDecay,
        Self::BatchNormMomentum,
        Self::Dropout,
        Self::DropoutStream,
        Self::Epsilon,
        Self::SecondDecay,
        Self::LastBatch,
        Self::PixelScale,
        Self::Shift,
        Self::SeedTwice,
        Self::Class,
        Self::SlowStep,
        Self::SlowStepSlightly,
        Self::SlowStepSomewhat,
        Self::DelayLoad,
        Self::DelayForward,
        Self::DelayBackward,
        Self::DelayOptimizer,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::EvalDropout => "eval-dropout",
            Self::EvalWithoutBatchNorm => "eval-without-batch-norm",
            Self::Normalisation => "normalisation",
            Self::Labels => "labels",
            Self::LearningRate => "learning-rate",
            Self::LabelsSlightly => "labels-1",
            Self::LearningRateSlightly => "learning-rate-5",
            Self::LearningRateHardly => "learning-rate-01",
            Self::WeightDecay => "weight-decay",
            Self::BatchNormMomentum => "batch-norm-momentum",
            Self::Dropout => "dropout",
            Self::DropoutStream => "dropout-stream",
            Self::Epsilon => "epsilon",
            Self::SecondDecay => "second-decay",
            Self::LastBatch => "last-batch",
            Self::PixelScale => "pixel-scale",
            Self::Shift => "shift",
            Self::SeedTwice => "seed-twice",
            Self::Class => "class",
            Self::SlowStep => "slow-step",
            Self::SlowStepSlightly => "slow-step-3",
            Self::SlowStepSomewhat => "slow-step-5",
            Self::DelayLoad => "delay-load",
            Self::DelayForward => "delay-forward",
            Self::DelayBackward => "delay-backward",
            Self::DelayOptimizer => "delay-optimizer",
        }
    }

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

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
