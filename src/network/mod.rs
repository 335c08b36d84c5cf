//! A network as data: layers as they are written, the shapes between them, what they cost, and the order in which a plan
//! has them computed. Nothing here needs libtorch.
//!
//! The call sequence is [`Model::layers`] → [`infer`] → [`passes`] and [`cost::of`].

mod activation;
pub mod cost;
mod layer;
mod passes;
mod preset;
mod shape;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use layer::{Conv, Layer, Shortcut, Units, Window};
pub use passes::{Order, OwnKernels, Pass, passes};
pub use preset::{Norm, Pooling, Preset, PresetName};
pub use shape::{Op, ShapeError, Size, Step, Way, infer};

/// A preset by its name and options, or layers. The JSON of either is what a config is hashed by.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Model {
    Preset(Preset),
    Own(Layers),
}

/// A network that an experiment writes out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    pub layers: Vec<Layer>,
}

impl Model {
    /// The layers from the images on.
    pub fn layers(&self) -> Cow<'_, [Layer]> {
        match self {
            Self::Preset(preset) => Cow::Owned(preset.layers()),
            Self::Own(own) => Cow::Borrowed(&own.layers),
        }
    }

    /// For tests that change an option.
    #[cfg(test)]
    pub fn preset_mut(&mut self) -> &mut Preset {
        let Self::Preset(preset) = self else { panic!("no preset") };
        preset
    }
}
