//! Faults that can be planted into a run, to see whether the gate finds them.
//!
//! A run with one says so in its record, and no sweep, report or baseline ever counts it.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// Each step takes a fifth longer.
    SlowStep,
}

impl Planted {
    pub const ALL: [Self; 6] = [
        Self::EvalDropout,
        Self::EvalWithoutBatchNorm,
        Self::Normalisation,
        Self::Labels,
        Self::LearningRate,
        Self::SlowStep,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::EvalDropout => "eval-dropout",
            Self::EvalWithoutBatchNorm => "eval-without-batch-norm",
            Self::Normalisation => "normalisation",
            Self::Labels => "labels",
            Self::LearningRate => "learning-rate",
            Self::SlowStep => "slow-step",
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
