//! The experiment as it stands in a TOML file. Unknown keys are refused; what may be left out has its default here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::dataset;
use crate::experiment::PlanChange;
use crate::experiment::claims::WireClaim;
use crate::experiment::config::{
    Augment, Config, Data, Impossible, Model, Normalise, Optim, Train, VALIDATION, present,
};
use crate::language::Localised;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireExperiment {
    pub title: Localised,
    #[serde(default)]
    pub why: Localised,
    pub question: Option<String>,
    pub source: Option<Localised>,
    #[serde(default)]
    pub limits: Vec<Localised>,
    pub data: WireData,
    pub model: Model,
    pub optim: Optim,
    pub train: Train,
    #[serde(default)]
    pub augment: Augment,
    #[serde(default)]
    pub plan: PlanChange,
    #[serde(default)]
    pub factors: Vec<WireFactor>,
    /// Seeds of a profile that says none, and of the file as it stands.
    pub seeds: Option<Spanned<Vec<Spanned<u64>>>>,
    /// The profile that is taken where none is asked for; the first when absent.
    pub default_profile: Option<Spanned<String>>,
    #[serde(default)]
    pub profiles: BTreeMap<Spanned<String>, WireProfile>,
    pub reference: Option<WireReference>,
    #[serde(default)]
    pub claims: Vec<WireClaim>,
}

/// The base config, without the data set's digest: a file names the set, pinbench knows its content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireConfig {
    #[serde(serialize_with = "present")]
    pub data: WireData,
    #[serde(serialize_with = "present")]
    pub model: Model,
    #[serde(serialize_with = "present")]
    pub optim: Optim,
    #[serde(serialize_with = "present")]
    pub train: Train,
    #[serde(default, serialize_with = "present")]
    pub augment: Augment,
    /// Not of the config, but a factor or a profile may set its keys as those of the config.
    #[serde(default, serialize_with = "present")]
    pub plan: PlanChange,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireData {
    #[serde(deserialize_with = "dataset::Name::defined")]
    pub set: dataset::Name,
    #[serde(default = "validation")]
    pub validation: f64,
    pub train_limit: Option<u32>,
    pub eval_limit: Option<u32>,
    pub normalise: Option<Normalise>,
}

fn validation() -> f64 {
    VALIDATION
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireFactor {
    /// Dotted key of the config value that varies; absent where each level sets several.
    pub key: Option<Spanned<String>>,
    pub label: Spanned<Localised>,
    pub levels: Spanned<Vec<Spanned<WireLevel>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLevel {
    /// For a factor with a key.
    pub value: Option<Spanned<toml::Value>>,
    /// For a factor without one: config values by dotted key.
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// Shown instead of the value.
    pub label: Option<Localised>,
    pub colour: Option<super::Colour>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireProfile {
    pub seeds: Option<Spanned<Vec<Spanned<u64>>>>,
    /// What this profile changes in the config, by dotted key; a level's own value goes before it.
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// Numbers that no arm exceeds, whatever its levels say.
    #[serde(default)]
    pub cap: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireReference {
    pub name: Option<Localised>,
    pub source: Option<Localised>,
    pub rows: Vec<WireReferenceRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireReferenceRow {
    /// Which arm the row belongs to: the level of each factor.
    pub arm: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    pub train_acc: Option<f64>,
    pub val_acc: Option<f64>,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub minutes: Option<f64>,
}

impl TryFrom<WireConfig> for Config {
    type Error = Impossible;

    fn try_from(
        WireConfig { data, model, optim, train, augment, .. }: WireConfig,
    ) -> Result<Self, Impossible> {
        let WireData { set, validation, train_limit, eval_limit, normalise } = data;
        let data = Data { validation, train_limit, eval_limit, normalise, ..Data::of(set) };
        let optim = optim.resolved(train.batch)?;
        Ok(Self { data, model, optim, train: train.resolved(), augment: augment.resolved() })
    }
}
