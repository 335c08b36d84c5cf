//! An experiment is one question: a base config, factors whose grid gives its arms, seeds and sizes by profile, and
//! the numbers it is compared with. It is read from TOML and fully checked before anything runs.

pub mod baseline;
pub mod claim;
mod claims;
pub mod config;
mod draft;
pub mod front;
mod identity;
mod length;
mod located;
pub mod manual;
pub mod metric;
pub mod plan;
pub mod probe;
mod resolve;
pub mod setting;
pub mod study;
pub(crate) mod trace;
mod wire;
mod words;
mod work;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use config::Config;
pub use identity::{ConfigHash, MAX_SEED, PlanHash, ProbeId, Trial, TrialId};
pub use length::Length;
pub use located::LocatedError;
pub use plan::{Plan, PlanAsked, PlanChange};

use crate::language::Localised;
use crate::stream::Seed;
use crate::text::shell_word;

#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Stem of the file name.
    pub id: String,
    /// Where it was read from; `None` of one that is no file.
    pub file: Option<PathBuf>,
    /// What was read.
    pub text: String,
    pub title: Localised,
    /// Why the experiment exists.
    pub why: Localised,
    /// Which open question it answers, such as `F1`.
    pub question: Option<String>,
    /// Where the setting comes from.
    pub source: Option<Localised>,
    /// What a reader must not conclude from it.
    pub limits: Vec<Localised>,
    pub factors: Vec<Factor>,
    /// The one of its profiles that it is looked at under, or the file as it stands where that has none.
    pub profile: Profile,
    /// In the order of the file.
    profiles: Vec<Profile>,
    pub reference: Option<Reference>,
    pub claims: Vec<claim::Claim>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Dotted key of the config value that varies; of a factor whose levels set several, its label.
    pub name: String,
    pub label: Localised,
    pub levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// By which reference rows name the level; its label where it sets several values.
    pub value: serde_json::Value,
    pub label: Localised,
    /// What the level sets in the config, by dotted key.
    pub set: Vec<(String, serde_json::Value)>,
    pub colour: Option<Colour>,
}

/// Seeds and arms of one size of the experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub name: ProfileName,
    pub seeds: Vec<Seed>,
    pub arms: Vec<Arm>,
    /// What differs from the file as it stands, as `key = value`; none but seeds where this is empty.
    pub changes: Vec<String>,
    pub setting: Setting,
}

named! {
    /// What the arms of a profile are beside those of the file as it stands.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Setting {
        /// The same, but for seeds and plans.
        Own = "its own",
        /// Of fewer images, epochs or steps.
        Reduced = "reduced",
        Other = "another",
    }
}

/// One point of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Labels of the levels in English, in the order of the factors: `64`, or `relu, 512`. It names the arm in files.
    pub label: String,
    /// The same as pages show it.
    pub shown: Localised,
    /// What people call it everywhere: `batch 64`, for `64` alone says little; with several factors its label.
    pub name: Localised,
    pub colour: Colour,
    /// Index of the level of each factor.
    pub levels: Vec<usize>,
    pub config: Config,
    /// What the file says of the plan, levels included.
    pub plan: PlanChange,
    /// What of that its levels say: it holds whatever a command line asks for.
    pub varied: PlanChange,
    /// What the levels of other arms of this config say beyond that.
    pub closer: Vec<PlanChange>,
}

impl Arm {
    /// Whether a run of its config under `plan` is one of its own, and not of an arm whose levels say more of that plan: of
    /// `plan.name = "winograd"` alone, and of the same with another `plan.policy`.
    pub fn is_under(&self, plan: &Plan) -> bool {
        self.varied.is_in(plan) && self.closer.iter().all(|other| !other.is_in(plan))
    }
}

/// Numbers that somebody else reported for the same setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Whose they are, as a sentence says it: `the notes`.
    pub name: Localised,
    /// Where they stand.
    pub source: Option<Localised>,
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

/// Name of a profile; empty where a file has none and is taken as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProfileName(pub String);

named! {
    /// The colours an arm may have; the templates give each a light and a dark shade.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Colour {
        Green = "green",
        Orange = "orange",
        Grey = "grey",
        Blue = "blue",
        Red = "red",
        Purple = "purple",
        Teal = "teal",
        Brown = "brown",
    }
}

impl Experiment {
    /// Reads and checks `path`; its stem becomes the id.
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        let text = std::fs::read_to_string(path).map_err(ExperimentError::read(path))?;
        Ok(Self { file: Some(path.to_owned()), ..Self::parse(path, &text)? })
    }

    /// Checks `text` as the content of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LocatedError> {
        resolve::experiment(&located::Source { path, text })
    }

    /// The keys of the plan that factors vary, with the values of some arm; empty where arms differ by config alone.
    pub fn varied(&self) -> PlanChange {
        self.profile.arms.iter().fold(PlanChange::default(), |varied, arm| varied.then(&arm.varied))
    }

    /// Its profiles, in the order of the file; none where it has none.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The experiment under the profile of that name; `None` where it has no such profile.
    pub fn under(&self, name: &ProfileName) -> Option<Self> {
        let profile =
            std::iter::once(&self.profile).chain(&self.profiles).find(|profile| profile.name == *name)?;
        Some(Self { profile: profile.clone(), ..self.clone() })
    }

    /// The experiment under each of its profiles.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        let others = self.profiles.iter().filter(|profile| profile.name != self.profile.name);
        let under = |profile: &Profile| Self { profile: profile.clone(), ..self.clone() };
        std::iter::once(self.clone()).chain(others.map(under))
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
    #[error("{path}: {reason}; write it anew with `pinbench baseline accept EXPERIMENT --probes`")]
    Probes { path: String, reason: String },
}

impl ExperimentError {
    fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Read { path, source }
    }
}

/// The text of a file; `None` where there is no such file.
pub fn read_if_there(path: &Path) -> Result<Option<String>, ExperimentError> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(ExperimentError::read(path)),
    }
}

impl ProfileName {
    /// `EXPERIMENT.PROFILE.SUFFIX`, without PROFILE where there is none.
    fn file_name(&self, experiment: &str, suffix: &str) -> String {
        let profile = if self.0.is_empty() { String::new() } else { format!(".{self}") };
        format!("{experiment}{profile}.{suffix}")
    }

    /// The experiment and the profile that a file is named after.
    fn of_file_name(name: &str, suffix: &str) -> Option<(String, Self)> {
        let stem = name.strip_suffix(suffix)?.strip_suffix('.')?;
        let (experiment, profile) = stem.rsplit_once('.').unwrap_or((stem, ""));
        (!experiment.is_empty()).then(|| (experiment.to_owned(), Self::from(profile)))
    }

    /// ` --profile NAME`, as a command line says it after a verb.
    pub fn option(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!(" --profile {}", shell_word(&self.0)) }
    }

    /// ` under the profile 'NAME'`, as a sentence says it.
    pub fn under(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!(" under the profile '{self}'") }
    }
}

impl From<&str> for ProfileName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Colour {
    /// In the order in which levels without a colour of their own get them.
    pub const IN_TURN: [Self; 8] =
        [Self::Blue, Self::Orange, Self::Green, Self::Purple, Self::Red, Self::Teal, Self::Grey, Self::Brown];
}
