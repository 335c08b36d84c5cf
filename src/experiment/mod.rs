//! An experiment is one question: a base config, factors whose grid gives its arms, seeds and sizes by profile, and
//! the numbers it is compared with. It is read from TOML and fully checked before anything runs.

pub mod baseline;
pub mod claim;
mod claims;
pub mod config;
mod identity;
mod length;
mod located;
pub mod metric;
pub mod plan;
mod resolve;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use config::Config;
pub use identity::{ConfigHash, MAX_SEED, PlanHash, Trial, TrialId};
pub use length::Length;
pub use located::LocatedError;
pub use plan::{Plan, PlanAsked, PlanChange};

use crate::stream::Seed;

#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Stem of the file name.
    pub id: String,
    /// Where it was read from; `None` of one that is no file.
    pub file: Option<PathBuf>,
    pub title: String,
    /// Why the experiment exists.
    pub why: String,
    /// Which open question of the notes it answers, such as `F1`.
    pub question: Option<String>,
    /// Where the setting comes from.
    pub source: Option<String>,
    /// What a reader must not conclude from it.
    pub limits: Vec<String>,
    pub factors: Vec<Factor>,
    profiles: BTreeMap<ProfileName, Profile>,
    pub reference: Option<Reference>,
    pub claims: Vec<claim::Claim>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Dotted key of the config value that varies; of a factor whose levels set several, its label.
    pub name: String,
    pub label: String,
    pub levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// By which reference rows name the level; its label where it sets several values.
    pub value: serde_json::Value,
    pub label: String,
    /// What the level sets in the config, by dotted key.
    pub set: Vec<(String, serde_json::Value)>,
    pub colour: Option<Colour>,
}

/// Seeds and arms of one size of the experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub seeds: Vec<Seed>,
    pub arms: Vec<Arm>,
    /// What differs from `full`, as `key = value`.
    pub changes: Vec<String>,
}

/// One point of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Labels of the levels, in the order of the factors: `64`, or `relu, 512`.
    pub label: String,
    pub colour: Colour,
    /// Index of the level of each factor.
    pub levels: Vec<usize>,
    pub config: Config,
    /// What the file says of the plan, levels included.
    pub plan: PlanChange,
    /// What of that its levels say: it holds whatever a command line asks for.
    pub varied: PlanChange,
}

/// Numbers that somebody else reported for the same setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    pub source: String,
    pub rows: Vec<ReferenceRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceRow {
    /// Index of the arm the row belongs to.
    pub arm: usize,
    pub train_acc: Option<f64>,
    pub val_acc: Option<f64>,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub minutes: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileName {
    /// For tests.
    Smoke,
    /// A part of the images: the default.
    Quick,
    /// The setting of the notes.
    Full,
}

/// The colours an arm may have; the templates give each a light and a dark shade.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    Green,
    Orange,
    Grey,
    Blue,
    Red,
    Purple,
    Teal,
    Brown,
}

impl Experiment {
    /// Reads and checks `path`; its stem becomes the id.
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        let read = |source| ExperimentError::Read { path: path.display().to_string(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        Ok(Self { file: Some(path.to_owned()), ..Self::parse(path, &text)? })
    }

    /// Checks `text` as the content of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LocatedError> {
        resolve::experiment(&located::Source { path, text })
    }

    /// The keys of the plan that factors vary, with the values of some arm; empty where arms differ by config alone.
    pub fn varied(arms: &[Arm]) -> PlanChange {
        arms.iter().fold(PlanChange::default(), |varied, arm| varied.then(&arm.varied))
    }

    pub fn profile(&self, name: ProfileName) -> &Profile {
        &self.profiles[&name] // all three are there: `resolve` fills each
    }
}

impl Profile {
    /// Every arm under every seed, seeds outermost: a sweep that is cut short has whole seeds to compare.
    pub fn trials(&self) -> impl Iterator<Item = (usize, Trial)> {
        self.seeds.iter().flat_map(move |&seed| {
            let trial =
                move |(index, arm): (usize, &Arm)| (index, Trial { config: arm.config.clone(), seed });
            self.arms.iter().enumerate().map(trial)
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    #[error("{path}: cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error(transparent)]
    Located(#[from] LocatedError),
}

impl ProfileName {
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Quick, Self::Full];
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Full => "full",
        })
    }
}

impl FromStr for ProfileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = Self::ALL.into_iter().find(|name| name.to_string() == text);
        name.ok_or_else(|| format!("'{text}' is not a profile: expected 'smoke', 'quick' or 'full'"))
    }
}

impl Colour {
    /// In the order in which levels without a colour of their own get them.
    pub const ALL: [Self; 8] =
        [Self::Blue, Self::Orange, Self::Green, Self::Purple, Self::Red, Self::Teal, Self::Grey, Self::Brown];

    pub fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Orange => "orange",
            Self::Grey => "grey",
            Self::Blue => "blue",
            Self::Red => "red",
            Self::Purple => "purple",
            Self::Teal => "teal",
            Self::Brown => "brown",
        }
    }
}
