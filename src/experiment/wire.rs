//! The experiment as it stands in a TOML file. Unknown keys are refused; what may be left out has its default here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::dataset;
use crate::experiment::config::{Config, Data, Model, Optim, OptimName, Train};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireExperiment {
    pub title: String,
    pub why: String,
    pub source: Option<String>,
    #[serde(default)]
    pub limits: Vec<String>,
    pub data: WireData,
    pub model: Model,
    pub optim: WireOptim,
    pub train: Train,
    #[serde(default)]
    pub factors: Vec<WireFactor>,
    pub profiles: WireProfiles,
    pub reference: Option<WireReference>,
}

/// The base config, without the data set's digest: a file names the set, pinbench knows its content.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireConfig {
    pub data: WireData,
    pub model: Model,
    pub optim: WireOptim,
    pub train: Train,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireData {
    pub set: dataset::Name,
    pub validation: f64,
    pub train_limit: Option<u32>,
    pub eval_limit: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireOptim {
    pub name: OptimName,
    pub lr: f64,
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    #[serde(default = "default_eps")]
    pub eps: f64,
    #[serde(default)]
    pub weight_decay: f64,
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireFactor {
    /// Dotted key of the config value that varies.
    pub key: Spanned<String>,
    pub label: String,
    pub levels: Spanned<Vec<WireLevel>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireLevel {
    pub value: Spanned<toml::Value>,
    /// Shown instead of the value.
    pub label: Option<String>,
    pub colour: Option<super::Colour>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireProfiles {
    pub smoke: WireProfile,
    pub quick: WireProfile,
    pub full: WireProfile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireProfile {
    pub seeds: Spanned<Vec<Spanned<u64>>>,
    /// What this profile changes in the config, by dotted key.
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireReference {
    pub source: String,
    pub rows: Vec<WireReferenceRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireReferenceRow {
    /// Which arm the row belongs to: the level of each factor.
    pub arm: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    pub train_acc: Option<f64>,
    pub val_acc: Option<f64>,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub minutes: Option<f64>,
}

impl From<WireConfig> for Config {
    fn from(WireConfig { data, model, optim, train }: WireConfig) -> Self {
        let WireData { set, validation, train_limit, eval_limit } = data;
        let WireOptim { name, lr, betas, eps, weight_decay } = optim;
        Self {
            data: Data { set, digest: set.digest(), validation, train_limit, eval_limit },
            model,
            optim: Optim { name, lr, betas, eps, weight_decay },
            train,
        }
    }
}
