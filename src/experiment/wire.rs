//! The experiment as it stands in a TOML file. Unknown keys are refused; what may be left out has its default here.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::dataset;
use crate::experiment::PlanChange;
use crate::experiment::claims::WireClaim;
use crate::experiment::config::{
    Activation, Augment, Config, Data, Decay, Impossible, Layer, Layers, Model, Norm, Normalise, Optim,
    OptimName, Pooling, Preset, PresetName, Schedule, Train,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireExperiment {
    pub title: String,
    #[serde(default)]
    pub why: String,
    pub question: Option<String>,
    pub source: Option<String>,
    #[serde(default)]
    pub limits: Vec<String>,
    pub data: WireData,
    pub model: WireModel,
    pub optim: WireOptim,
    pub train: WireTrain,
    #[serde(default)]
    pub augment: WireAugment,
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
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireConfig {
    pub data: WireData,
    pub model: WireModel,
    pub optim: WireOptim,
    pub train: WireTrain,
    #[serde(default)]
    pub augment: WireAugment,
    /// Not of the config, but a factor or a profile may set its keys as those of the config.
    #[serde(default)]
    pub plan: PlanChange,
}

#[derive(Clone, Serialize, Deserialize)]
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
    0.2
}

// Unlike the config's own types these write what is absent as null: every key a factor or a profile may set is there.

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireModel {
    /// A preset, with the options below; or else `layers`.
    pub name: Option<PresetName>,
    pub activation: Option<Activation>,
    #[serde(default, deserialize_with = "finite")]
    pub dropout: Option<f64>,
    pub pooling: Option<Pooling>,
    pub norm: Option<Norm>,
    pub layers: Option<Vec<Layer>>,
}

impl WireModel {
    fn resolve(self) -> Result<Model, Impossible> {
        let Self { name, activation, dropout, pooling, norm, layers } = self;
        let options =
            [name.is_some(), activation.is_some(), dropout.is_some(), pooling.is_some(), norm.is_some()];
        let impossible = |key: &'static str, found: &str, expected: &str| Impossible {
            key: key.into(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        };
        match (name, activation, dropout, layers) {
            (None, _, _, Some(layers)) if options == [false; 5] => Ok(Model::Own(Layers { layers })),
            (_, _, _, Some(_)) => Err(impossible(
                "model.layers",
                "beside the options of a preset",
                "either a preset's `name` with its options, or `layers`",
            )),
            (Some(name), Some(activation), Some(dropout), None) => Ok(Model::Preset(Preset {
                name,
                activation,
                dropout,
                pooling: pooling.filter(|&pooling| pooling != Pooling::Plain),
                norm: norm.filter(|&norm| norm != Norm::BatchNorm),
            })),
            (None, _, _, None) => {
                Err(impossible("model.name", "missing", "a preset, or `layers` in its place"))
            }
            (_, None, _, None) => Err(impossible("model.activation", "missing", "one, as in \"relu\"")),
            (_, _, None, None) => Err(impossible("model.dropout", "missing", "a probability, 0 for none")),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireTrain {
    pub batch: u32,
    pub epochs: u32,
    pub max_steps: Option<u32>,
    #[serde(default, deserialize_with = "finite")]
    pub target_loss: Option<f64>,
    pub patience: Option<u32>,
    #[serde(default, deserialize_with = "finite")]
    pub min_delta: Option<f64>,
    pub micro_batch: Option<u32>,
    #[serde(default, deserialize_with = "finite")]
    pub label_smoothing: Option<f64>,
    pub replicate: Option<u32>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireAugment {
    pub shift: Option<u32>,
    #[serde(default, deserialize_with = "finite")]
    pub rotation: Option<f64>,
    pub flip: Option<bool>,
    pub crop: Option<u32>,
    pub cutout: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireOptim {
    pub name: OptimName,
    pub lr: f64,
    /// Of Adam and AdamW alone, as `eps`; [0.9, 0.999] when absent.
    pub betas: Option<[f64; 2]>,
    /// 1e-8 when absent.
    #[serde(default, deserialize_with = "finite")]
    pub eps: Option<f64>,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default, deserialize_with = "finite")]
    pub momentum: Option<f64>,
    pub schedule: Option<Schedule>,
    pub milestones: Option<Vec<u64>>,
    /// Of a multistep schedule; 0.1 when absent.
    #[serde(default, deserialize_with = "finite")]
    pub gamma: Option<f64>,
    pub warm_up: Option<u64>,
    pub decay: Option<Decay>,
    #[serde(default, deserialize_with = "finite")]
    pub clip: Option<f64>,
    /// Scale `lr`, which is meant for a batch of `lr_base_batch`, to the batch there is; the config holds the result.
    pub lr_rule: Option<LrRule>,
    pub lr_base_batch: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrRule {
    Constant,
    /// k times the batch, k times the rate (Goyal et al., arXiv 1706.02677): equal noise scale lr·N/B.
    Linear,
    /// √k times the rate (Krizhevsky, arXiv 1404.5997).
    Sqrt,
}

impl WireOptim {
    /// What the optimizer would not look at. A config holds these two whatever the optimizer, so that this can be told
    /// only here.
    fn check(&self) -> Result<(), Impossible> {
        let betas = self.betas.map(|betas| ("optim.betas", format!("{betas:?}")));
        let given = betas.or(self.eps.map(|eps| ("optim.eps", eps.to_string())));
        match given.filter(|_| self.name == OptimName::Sgd) {
            Some((key, found)) => {
                let expected =
                    "nothing beside the optimizer `sgd`: it belongs to `adam` and `adamw`".to_owned();
                Err(Impossible { key: key.into(), found, expected })
            }
            None => Ok(()),
        }
    }

    fn rate(&self, batch: u32) -> f64 {
        let times = f64::from(batch) / f64::from(self.lr_base_batch.unwrap_or(batch));
        match self.lr_rule {
            Some(LrRule::Linear) => self.lr * times,
            Some(LrRule::Sqrt) => self.lr * times.sqrt(),
            Some(LrRule::Constant) | None => self.lr,
        }
    }
}

/// JSON, through which a config goes, would make `nan` and `inf` null, and null is an absent option.
fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Option::<f64>::deserialize(deserializer)?;
    match value {
        Some(value) if !value.is_finite() => Err(D::Error::custom(format!("{value} is not finite"))),
        _ => Ok(value),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireFactor {
    /// Dotted key of the config value that varies; absent where each level sets several.
    pub key: Option<Spanned<String>>,
    pub label: Spanned<String>,
    pub levels: Spanned<Vec<Spanned<WireLevel>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireLevel {
    /// For a factor with a key.
    pub value: Option<Spanned<toml::Value>>,
    /// For a factor without one: config values by dotted key.
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// Shown instead of the value.
    pub label: Option<String>,
    pub colour: Option<super::Colour>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireProfile {
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
pub struct WireReference {
    pub name: Option<String>,
    pub source: Option<String>,
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

impl TryFrom<WireConfig> for Config {
    type Error = Impossible;

    /// What is written out and the default alike become absent, so that one setting has one identity.
    fn try_from(
        WireConfig { data, model, optim, train, augment, .. }: WireConfig,
    ) -> Result<Self, Impossible> {
        optim.check()?;
        let lr = optim.rate(train.batch);
        let WireData { set, validation, train_limit, eval_limit, normalise } = data;
        let WireOptim { name, betas, eps, weight_decay, momentum, schedule, .. } = optim;
        let WireOptim { milestones, gamma, warm_up, decay, clip, .. } = optim;
        let is_multistep = schedule == Some(Schedule::Multistep);
        let WireTrain {
            batch,
            epochs,
            max_steps,
            target_loss,
            patience,
            min_delta,
            micro_batch,
            label_smoothing,
            replicate,
        } = train;
        let WireAugment { shift, rotation, flip, crop, cutout } = augment;
        let augment = Augment { shift, rotation, flip: flip.filter(|&flip| flip), crop, cutout };
        Ok(Self {
            data: Data { set, digest: set.digest(), validation, train_limit, eval_limit, normalise },
            model: model.resolve()?,
            optim: Optim {
                name,
                lr,
                betas: betas.unwrap_or([0.9, 0.999]),
                eps: eps.unwrap_or(1e-8),
                weight_decay,
                momentum,
                schedule: schedule.filter(|&schedule| schedule != Schedule::Constant),
                milestones,
                gamma: gamma.or(is_multistep.then_some(0.1)),
                warm_up,
                decay: decay.filter(|&decay| decay != Decay::All),
                clip,
            },
            train: Train {
                batch,
                epochs,
                max_steps,
                target_loss,
                patience,
                min_delta,
                micro_batch,
                label_smoothing,
                replicate,
            },
            augment: (augment != Augment::default()).then_some(augment),
        })
    }
}
