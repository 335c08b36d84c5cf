//! What a plan came to: the layers, the loader and the normalisation that ran.

use serde::{Deserialize, Serialize};

use crate::experiment::plan::Loader;
use crate::network::Algorithms;

/// What a plan came to for one trial: which loader made its batches and which operators our own kernels computed. A record
/// has it beside the plan, for a plan is what was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effective {
    pub loader: Loader,
    /// The layers from the input on, in training and in evaluation; a pass that never happened is left out.
    pub layers: Vec<EffectiveLayer>,
    /// What pixels were normalised by, where the config asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalised: Option<Normalised>,
}

/// A number a channel, of pixels in [0, 1]; where each pixel has its own, their mean.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalised {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectiveLayer {
    /// Name of its convolution, such as `conv1`.
    pub layer: String,
    pub pass: Pass,
    /// Operators that our own kernels computed, in order; libtorch computed the others.
    pub own: Vec<OwnOperator>,
    /// Which algorithm computed the convolution in each pass, under a plan that does not leave that to libtorch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<Algorithms>,
    /// What the convolution could not have as the plan asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Contiguous in place of channels-last.
    PlainFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    Training,
    Evaluation,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnOperator {
    Convolution,
    BatchNorm,
    Relu,
    MaxPool,
}

#[cfg(test)]
impl Effective {
    /// As under augmentation and a plan with our own kernels.
    pub fn sample() -> Self {
        let layer = |pass, own| EffectiveLayer {
            layer: "conv1".to_owned(),
            pass,
            own,
            convolution: None,
            fallback: None,
        };
        let own = vec![OwnOperator::BatchNorm, OwnOperator::MaxPool];
        let layers = vec![layer(Pass::Training, own), layer(Pass::Evaluation, vec![])];
        Self { loader: Loader::Samples { workers: 0, prefetch: 0 }, layers, normalised: None }
    }
}
