//! The config: everything that defines the *scientific* content of a training, and nothing of how it is executed.
//!
//! Its canonical JSON is hashed, and what is absent is left out of it: a key that is added later is optional, so that no
//! stored result changes its identity. A new key is a field here, its check, and a line in `manual.rs`.
//!
//! A file's tables are read as these same types. What a file may say otherwise (`schedule = "constant"`, `lr_rule`) a config
//! never holds: `resolved` of its tables brings it into the one form that is hashed.

use std::borrow::Cow;
use std::fmt;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::dataset::{self, Shape};
use crate::digest::Digest;
use crate::network::{self, ShapeError};
pub use crate::network::{Activation, Layer, Layers, Model, Norm, Pooling, Preset, PresetName};

/// Of [`Data::validation`] where nobody says.
pub const VALIDATION: f64 = 0.2;
/// Of [`Optim::betas`] where nobody says.
pub const BETAS: [f64; 2] = [0.9, 0.999];
/// Of [`Optim::eps`] where nobody says.
pub const EPS: f64 = 1e-8;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(serialize_with = "present")]
    pub data: Data,
    #[serde(serialize_with = "present")]
    pub model: Model,
    #[serde(serialize_with = "present")]
    pub optim: Optim,
    #[serde(serialize_with = "present")]
    pub train: Train,
    /// Random changes of the training images; none when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "present")]
    pub augment: Option<Augment>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub set: dataset::Name,
    /// Of the decoded data set, so that the same file name with other bytes is another config.
    pub digest: Digest,
    /// Share of the training file that is held out, 0 < share < 1.
    pub validation: f64,
    /// Use only the first so many training images of the split; all when absent.
    pub train_limit: Option<u32>,
    /// The same for the validation and the test images.
    pub eval_limit: Option<u32>,
    /// What is done to pixels in [0, 1] before they are changed at random; nothing when absent.
    pub normalise: Option<Normalise>,
}

/// (pixel − mean) / standard deviation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "\"channels\", \"pixels\" or { mean = [ … ], std = [ … ] }, a number a channel"
)]
pub enum Normalise {
    /// By the training split there is.
    Computed(Computed),
    Given(Given),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Computed {
    /// The mean and the standard deviation of each channel.
    Channels,
    /// The mean of each pixel of each channel, which is subtracted; divided by nothing.
    Pixels,
}

/// A number a channel, of pixels in [0, 1].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

/// Defaults as in PyTorch. `betas` and `eps` are Adam's and AdamW's, `momentum` is SGD's.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optim {
    pub name: OptimName,
    /// Step size.
    pub lr: f64,
    /// Decay rates of the two moments. A config holds them and `eps` whatever the optimizer.
    pub betas: Option<[f64; 2]>,
    pub eps: Option<f64>,
    /// L2 penalty that is added to the gradient; for AdamW, decoupled from it.
    #[serde(default)]
    pub weight_decay: f64,
    pub momentum: Option<f64>,
    /// How the learning rate changes over the steps; not at all when absent.
    pub schedule: Option<Schedule>,
    /// Of a multistep schedule: after so many steps each time the rate is multiplied by `gamma`.
    pub milestones: Option<Vec<u64>>,
    pub gamma: Option<f64>,
    /// In the first so many steps the rate rises in equal parts to what the schedule says; at once when absent.
    pub warm_up: Option<u64>,
    /// What `weight_decay` is of; all that is trained when absent.
    pub decay: Option<Decay>,
    /// The gradient of all parameters is shortened to this Euclidean norm where it is longer; never when absent.
    pub clip: Option<f64>,
    /// Scale `lr`, which is meant for a batch of `lr_base_batch`, to the batch there is. A config holds the result, and `None`
    /// in the place of both.
    pub lr_rule: Option<LrRule>,
    pub lr_base_batch: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrRule {
    Constant,
    /// k times the batch, k times the rate (Goyal et al., arXiv 1706.02677): equal noise scale lr·N/B.
    Linear,
    /// √k times the rate (Krizhevsky, arXiv 1404.5997).
    Sqrt,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// The default: a config holds `None` in its place.
    All,
    /// Weights of convolutions and linear layers alone: no bias, no norm, no slope of an activation.
    Weights,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The default: a config holds `None` in its place.
    Constant,
    /// From `lr` to 0 along half a cosine, step by step (Loshchilov and Hutter, arXiv 1608.03983, without restarts).
    Cosine,
    /// Up to `lr` and down again (Smith and Topin, arXiv 1708.07120), with the defaults of PyTorch's `OneCycleLR`
    /// and no cycle of the momentum.
    OneCycle,
    /// `lr` times `gamma` for each of the `milestones` that is behind, as PyTorch's `MultiStepLR`.
    Multistep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimName {
    /// Kingma and Ba, arXiv 1412.6980.
    #[default]
    Adam,
    /// Loshchilov and Hutter, arXiv 1711.05101.
    #[serde(rename = "adamw")]
    AdamW,
    /// With momentum as in PyTorch: no dampening, no Nesterov.
    Sgd,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Images a step; the last step of an epoch takes what is left.
    pub batch: u32,
    pub epochs: u32,
    /// End after so many steps, within whatever epoch that is.
    pub max_steps: Option<u32>,
    /// End once the mean training loss of at least the last 6,400 images is not above this, in nats.
    pub target_loss: Option<f64>,
    /// End once the loss in eval mode over the first 2,000 of the training images that are evaluated is not above this, in
    /// nats; looked at every 1,280 images, or after each step of a larger batch. So arms end at a loss that is measured
    /// alike, whatever their batch does to dropout and BatchNorm.
    pub target_eval_loss: Option<f64>,
    /// End after so many epochs without a new best validation loss, and keep the weights of the best.
    pub patience: Option<u32>,
    /// By so much, in nats, a validation loss must fall to be a new best; 0 when absent.
    pub min_delta: Option<f64>,
    /// Images a forward and backward pass takes at most: a larger batch is several of them, whose gradients add up to the
    /// gradient of its mean loss. BatchNorm then normalises over these images, not over the batch. The whole batch when
    /// absent.
    pub micro_batch: Option<u32>,
    /// So much of each label's weight is spread evenly over all classes (Szegedy et al., arXiv 1512.00567), in training
    /// alone, whose loss is then that; none when absent.
    pub label_smoothing: Option<f64>,
    /// Changes nothing in the computation: it makes another trial of the same one, for A/A tests.
    pub replicate: Option<u32>,
}

/// Each is off when absent; those that are on are applied in this order to every training image, drawn anew each
/// epoch for each image. What comes in from outside an image is 0.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Uniform in −n…n pixels along each axis.
    pub shift: Option<u32>,
    /// Uniform in −d…d degrees about the centre, bilinear.
    pub rotation: Option<f64>,
    /// Mirrored left to right with probability ½.
    pub flip: Option<bool>,
    /// Padded by n pixels of 0 on each side, then cut to the old size at a uniform place.
    pub crop: Option<u32>,
    /// A square of n pixels a side about a uniform centre is set to 0 (DeVries and Taylor, arXiv 1708.04552).
    pub cutout: Option<u32>,
}

/// A value that parses but cannot be trained, with the dotted key it stands at.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("`{key}` is {found}, expected {expected}")]
pub struct Impossible {
    pub key: Cow<'static, str>,
    pub found: String,
    pub expected: String,
}

impl Config {
    /// The first impossible value, in the order of the fields.
    pub fn check(&self) -> Result<(), Impossible> {
        let Data { validation, train_limit, eval_limit, set, .. } = &self.data;
        let file = set.train_len();
        let held_out = (f64::from(file) * validation).round();
        check("data.validation", validation, held_out >= 1.0 && held_out < f64::from(file), || {
            format!("a share that leaves at least one of {file} images on each side, such as 0.2")
        })?;
        // Between 1 and the file's length, as checked above.
        let held_out = held_out as u32;
        check_limit("data.train_limit", *train_limit, file - held_out)?;
        check_limit("data.eval_limit", *eval_limit, held_out.min(set.test_len()))?;
        self.check_network()?;
        self.data.check_normalise()?;
        self.optim.check()?;
        let Train { batch, epochs, .. } = self.train;
        let images = train_limit.unwrap_or(file - held_out);
        check("train.batch", &batch, (1..=images).contains(&batch), || {
            format!("1 to {images}, the training images there are")
        })?;
        check("train.epochs", &epochs, epochs >= 1, || "at least 1".to_owned())?;
        self.train.check_ending()?;
        self.check_norms(images)?;
        self.augment.as_ref().map_or(Ok(()), |augment| augment.check(set.shape()))
    }

    fn check_network(&self) -> Result<(), Impossible> {
        if let Model::Preset(Preset { dropout, .. }) = self.model {
            check("model.dropout", &dropout, (0.0..1.0).contains(&dropout), || "0 ≤ p < 1".to_owned())?;
        }
        let steps = self.network();
        steps.map(drop).map_err(|ShapeError { place, found, expected }| Impossible {
            key: match self.model {
                Model::Preset(_) => "model.name".into(),
                Model::Own(_) => format!("model.layers.{place}").into(),
            },
            found,
            expected,
        })
    }

    /// What is normalised over one value is 0, whatever arrived; PyTorch refuses it as the training comes to that pass.
    fn check_norms(&self, images: u32) -> Result<(), Impossible> {
        let is_single = self.train.smallest_pass(images) == 1
            && self.network().is_ok_and(|steps| network::normalises_one_value(&steps));
        let (key, size) = match self.train.micro_batch {
            Some(size) => ("train.micro_batch", size),
            None => ("train.batch", self.train.batch),
        };
        check(key, &size, !is_single, || {
            format!(
                "one that leaves no pass of a single image, of {images} an epoch: a `batch_norm` of the network would have \
                 one value a channel to normalise"
            )
        })
    }
}

impl Data {
    /// All of a set, a fifth of its training file held out.
    pub fn of(set: dataset::Name) -> Self {
        let (digest, validation) = (set.digest(), VALIDATION);
        Self { set, digest, validation, train_limit: None, eval_limit: None, normalise: None }
    }

    fn check_normalise(&self) -> Result<(), Impossible> {
        let Some(Normalise::Given(Given { mean, std })) = &self.normalise else { return Ok(()) };
        let channels = self.set.shape().channels;
        let is_right = [mean, std].iter().all(|values| values.len() == channels)
            && mean.iter().all(|mean| mean.is_finite())
            && std.iter().all(|std| std.is_finite() && *std > 0.0);
        check("data.normalise", &format!("mean {mean:?} and std {std:?}"), is_right, || {
            format!("{channels} of each, a number a channel, and each std above 0")
        })
    }

    /// Images of the training file that are not trained on, whatever the limits.
    pub fn held_out(&self) -> u32 {
        (f64::from(self.set.train_len()) * self.validation).round() as u32
    }

    /// Training images an epoch.
    pub fn train_images(&self) -> u32 {
        let split = self.set.train_len().saturating_sub(self.held_out());
        self.train_limit.map_or(split, |limit| limit.min(split))
    }
}

impl Train {
    /// The one form of a setting that is hashed: nothing where a value changes nothing.
    pub(super) fn resolved(self) -> Self {
        let has_patience = self.patience.is_some();
        Self {
            min_delta: self.min_delta.filter(|&delta| delta != 0.0 || !has_patience),
            micro_batch: self.micro_batch.filter(|&images| images < self.batch),
            label_smoothing: self.label_smoothing.filter(|&share| share != 0.0),
            ..self
        }
    }

    /// Images of the smallest forward pass of an epoch of so many.
    fn smallest_pass(&self, images: u32) -> u32 {
        let rest = |all: u32, part: u32| if all.is_multiple_of(part) { part } else { all % part };
        let part = |step: u32| rest(step, self.micro_batch.map_or(step, |most| most.min(step)));
        part(self.batch).min(part(rest(images, self.batch)))
    }

    fn check_ending(&self) -> Result<(), Impossible> {
        for (key, count) in [
            ("train.max_steps", self.max_steps),
            ("train.patience", self.patience),
            ("train.micro_batch", self.micro_batch),
        ] {
            check_some(key, count, |count| count >= 1, "at least 1")?;
        }
        for (key, loss) in
            [("train.target_loss", self.target_loss), ("train.target_eval_loss", self.target_eval_loss)]
        {
            check_some(key, loss, |loss| loss.is_finite() && loss > 0.0, "a number above 0")?;
        }
        check_some(
            "train.label_smoothing",
            self.label_smoothing,
            |share| (0.0..1.0).contains(&share),
            "a share, 0 ≤ s < 1",
        )?;
        let is_delta = |delta: f64| delta.is_finite() && delta >= 0.0 && self.patience.is_some();
        check_some("train.min_delta", self.min_delta, is_delta, "0 or a number above it, beside a `patience`")
    }
}

impl Augment {
    /// The one form of a setting that is hashed: nothing where all is off.
    pub(super) fn resolved(self) -> Option<Self> {
        let augment = Self {
            shift: self.shift.filter(|&pixels| pixels != 0),
            rotation: self.rotation.filter(|&degrees| degrees != 0.0),
            flip: self.flip.filter(|&flip| flip),
            crop: self.crop.filter(|&pixels| pixels != 0),
            cutout: self.cutout.filter(|&pixels| pixels != 0),
        };
        (augment != Self::default()).then_some(augment)
    }

    /// Of images of `shape`: what moves or hides all of every image would leave nothing to learn.
    fn check(&self, shape: Shape) -> Result<(), Impossible> {
        let side = shape.width.min(shape.height) as u32;
        let inside = format!("less than the {side} pixels of an image's side");
        for (key, pixels) in [("augment.shift", self.shift), ("augment.crop", self.crop)] {
            check_some(key, pixels, |pixels| pixels < side, &inside)?;
        }
        check_some(
            "augment.rotation",
            self.rotation,
            |most| (0.0..=180.0).contains(&most),
            "0 to 180 degrees",
        )?;
        check_some(
            "augment.cutout",
            self.cutout,
            |pixels| (1..side).contains(&pixels),
            &format!("at least 1 and {inside}"),
        )
    }
}

impl Optim {
    /// As it is with no more said.
    pub fn of(name: OptimName, lr: f64) -> Self {
        Self { name, lr, betas: Some(BETAS), eps: Some(EPS), ..Self::default() }
    }

    /// The one form of a setting that is hashed: the step size scaled to `batch`, what is absent as its value where a config
    /// always holds one, and as nothing where a default was written out.
    ///
    /// Refused is what the optimizer would not look at, which can be told only here: a config holds `betas` and `eps` whatever
    /// the optimizer.
    pub(super) fn resolved(self, batch: u32) -> Result<Self, Impossible> {
        let betas = self.betas.map(|betas| ("optim.betas", format!("{betas:?}")));
        let given = betas.or(self.eps.map(|eps| ("optim.eps", eps.to_string())));
        if let Some((key, found)) = given.filter(|(key, _)| self.idle_keys().contains(key)) {
            let expected = "nothing beside the optimizer `sgd`: it belongs to `adam` and `adamw`".to_owned();
            return Err(Impossible { key: key.into(), found, expected });
        }
        let has_rule = |_| self.lr_rule.is_some();
        check_some(
            "optim.lr_base_batch",
            self.lr_base_batch,
            has_rule,
            "`lr_rule` beside it, or no `lr_base_batch`",
        )?;
        check_some("optim.lr_base_batch", self.lr_base_batch, |images| images > 0, "at least 1 image")?;
        // A rate would be scaled from each arm's own batch to that same batch.
        let scales = self.lr_rule.is_some_and(|rule| rule != LrRule::Constant);
        check("optim.lr_rule", &"a rule that scales", !scales || self.lr_base_batch.is_some(), || {
            "`lr_base_batch` beside it, the batch that `lr` is meant for".to_owned()
        })?;
        check("optim.lr", &self.lr, self.lr.is_finite() && self.lr > 0.0, || "a number above 0".to_owned())?;
        let is_multistep = self.schedule == Some(Schedule::Multistep);
        Ok(Self {
            lr: self.scaled_lr(batch),
            betas: self.betas.or(Some(BETAS)),
            eps: self.eps.or(Some(EPS)),
            schedule: self.schedule.filter(|&schedule| schedule != Schedule::Constant),
            gamma: self.gamma.or(is_multistep.then_some(0.1)),
            decay: self.decay.filter(|&decay| decay != Decay::All && self.weight_decay != 0.0),
            momentum: self.momentum.filter(|&momentum| momentum != 0.0 || self.name != OptimName::Sgd),
            warm_up: self.warm_up.filter(|&steps| steps != 0),
            lr_rule: None,
            lr_base_batch: None,
            ..self
        })
    }

    fn scaled_lr(&self, batch: u32) -> f64 {
        let times = f64::from(batch) / f64::from(self.lr_base_batch.unwrap_or(batch));
        match self.lr_rule {
            Some(LrRule::Linear) => self.lr * times,
            Some(LrRule::Sqrt) => self.lr * times.sqrt(),
            Some(LrRule::Constant) | None => self.lr,
        }
    }

    /// Values the optimizer keeps for each weight.
    pub fn remembered(&self) -> u64 {
        match self.name {
            OptimName::Adam | OptimName::AdamW => 2,
            OptimName::Sgd => u64::from(self.momentum.unwrap_or(0.0) != 0.0),
        }
    }

    /// Keys that a config holds and this optimizer does not look at.
    pub fn idle_keys(&self) -> &'static [&'static str] {
        match self.name {
            OptimName::Sgd => &["optim.betas", "optim.eps"],
            OptimName::Adam | OptimName::AdamW => &[],
        }
    }

    fn check(&self) -> Result<(), Impossible> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        check("optim.lr", &self.lr, positive(self.lr), || "a number above 0".to_owned())?;
        for beta in self.betas.unwrap_or(BETAS) {
            check("optim.betas", &beta, (0.0..1.0).contains(&beta), || "0 ≤ beta < 1".to_owned())?;
        }
        check_some("optim.eps", self.eps, positive, "a number above 0")?;
        check_some(
            "optim.momentum",
            self.momentum,
            |momentum| self.name == OptimName::Sgd && (0.0..1.0).contains(&momentum),
            "0 ≤ momentum < 1, with the optimizer `sgd` only",
        )?;
        self.check_rate()?;
        let is_scaled = self.lr_rule.is_none() && self.lr_base_batch.is_none();
        let rule = serde_json::to_value(self.lr_rule).unwrap_or_default();
        check("optim.lr_rule", &rule, is_scaled, || {
            "none here: a file's rate is scaled by it before it is a config; set `optim.lr`".to_owned()
        })?;
        check_some("optim.clip", self.clip, positive, "a norm above 0")?;
        let decay = self.weight_decay;
        check("optim.weight_decay", &decay, decay.is_finite() && decay >= 0.0, || {
            "0 or a number above it".to_owned()
        })
    }

    fn check_rate(&self) -> Result<(), Impossible> {
        check_some("optim.warm_up", self.warm_up, |steps| steps >= 1, "at least 1 step")?;
        let milestones = self.milestones.as_deref().unwrap_or_default();
        let is_multistep = self.schedule == Some(Schedule::Multistep);
        let is_right = milestones.is_sorted_by(|a, b| a < b) && milestones.is_empty() != is_multistep;
        check("optim.milestones", &format!("{milestones:?}"), is_right, || {
            "steps that rise, beside the schedule \"multistep\" and no other".to_owned()
        })?;
        let is_gamma = |gamma: f64| gamma.is_finite() && gamma > 0.0 && is_multistep;
        check_some("optim.gamma", self.gamma, is_gamma, "a number above 0, beside the schedule \"multistep\"")
    }
}

/// Writes a table without the keys that are absent.
pub(super) fn present<T: Serialize, S: Serializer>(table: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut tree = serde_json::to_value(table).map_err(S::Error::custom)?;
    if let Some(keys) = tree.as_object_mut() {
        keys.retain(|_, value| !value.is_null());
    }
    tree.serialize(serializer)
}

fn check_limit(key: &'static str, limit: Option<u32>, most: u32) -> Result<(), Impossible> {
    match limit {
        Some(limit) => {
            check(key, &limit, (1..=most).contains(&limit), || format!("1 to {most}, the images there are"))
        }
        None => Ok(()),
    }
}

fn check_some<T: Copy + fmt::Display>(
    key: &'static str,
    found: Option<T>,
    holds: impl FnOnce(T) -> bool,
    expected: &str,
) -> Result<(), Impossible> {
    found.map_or(Ok(()), |found| check(key, &found, holds(found), || expected.to_owned()))
}

fn check(
    key: &'static str,
    found: &impl fmt::Display,
    holds: bool,
    expected: impl FnOnce() -> String,
) -> Result<(), Impossible> {
    if holds {
        Ok(())
    } else {
        Err(Impossible { key: key.into(), found: found.to_string(), expected: expected() })
    }
}
