//! A network as data: layers as they are written, the shapes between them, what they cost, and the order in which a plan
//! has them computed. Nothing here needs libtorch.
//!
//! The call sequence is [`Model::layers`] → [`infer`] → [`passes`] and [`cost::of`].

mod activation;
pub mod convolution;
pub mod cost;
mod layer;
mod passes;
mod preset;
mod shape;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use convolution::{Algorithm, Algorithms};
pub use layer::{Conv, Layer, Shortcut, Units, Window};
pub use passes::{Order, OwnKernels, Pass, passes};
pub use preset::{Norm, Pooling, Preset, PresetName};
pub use shape::{Op, ShapeError, Size, Step, Way, infer, normalises_one_value};

/// A preset by its name and options, or layers. The JSON of either, without what is absent, is what a config is hashed by.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged, try_from = "Table")]
pub enum Model {
    Preset(Preset),
    Own(Layers),
}

/// A network that an experiment writes out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Layers {
    pub layers: Vec<Layer>,
}

/// Either, as it stands in a file: so a mistake in one of them is named by its key, not as "neither of the two".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Option<PresetName>,
    activation: Option<Activation>,
    dropout: Option<f64>,
    pooling: Option<Pooling>,
    norm: Option<Norm>,
    layers: Option<Vec<Layer>>,
}

impl TryFrom<Table> for Model {
    type Error = &'static str;

    /// What is left out of a preset has its default, and a default that is written out is as if it were not.
    fn try_from(table: Table) -> Result<Self, &'static str> {
        let Table { name, activation, dropout, pooling, norm, layers } = table;
        let has_options = activation.is_some() || dropout.is_some() || pooling.is_some() || norm.is_some();
        match (name, layers) {
            (Some(name), None) => {
                let default = Preset::of(name);
                Ok(Self::Preset(Preset {
                    name,
                    activation: activation.unwrap_or(default.activation),
                    dropout: dropout.unwrap_or(default.dropout),
                    pooling: pooling.filter(|&pooling| pooling != Pooling::Plain),
                    norm: norm.filter(|&norm| norm != Norm::BatchNorm),
                }))
            }
            (None, Some(layers)) if !has_options => Ok(Self::Own(Layers { layers })),
            (None, None) => Err("the key `name` is missing, a preset's, or `layers` in its place"),
            (_, Some(_)) => {
                Err("`layers` beside the options of a preset: expected either a preset's `name` with its \
                                 options, or `layers`")
            }
        }
    }
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
