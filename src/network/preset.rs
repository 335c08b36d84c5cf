//! Networks that have a name: their layers follow from a few options, and a config is hashed by these.

use serde::{Deserialize, Serialize};

use crate::network::Activation;
use crate::network::layer::{Conv, Layer, Units, Window};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Preset {
    pub name: PresetName,
    pub activation: Activation,
    /// Probability that a unit of the hidden linear layer is zeroed, 0 ≤ p < 1.
    pub dropout: f64,
    /// Max-pooling window; 2×2 with stride 2 when absent.
    pub pooling: Option<Pooling>,
    /// Normalisation after each convolution; BatchNorm when absent.
    pub norm: Option<Norm>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresetName {
    SimpleCnn,
    ImprovedCnn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// 2×2, stride 2. The default: a config holds `None` in its place.
    Plain,
    /// 3×3, stride 2 (Krizhevsky, Sutskever and Hinton, NIPS 2012, section 3.4).
    Overlapping,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The default: a config holds `None` in its place.
    BatchNorm,
    /// Local response normalisation, k = 2, n = 5, α = 1e-4, β = 0.75 (Krizhevsky et al., NIPS 2012, section 3.3).
    Lrn,
    Off,
}

impl Preset {
    /// With the options that a file leaves out: ReLU, no dropout, plain pooling and BatchNorm.
    pub fn of(name: PresetName) -> Self {
        Self { name, activation: Activation::Relu, dropout: 0.0, pooling: None, norm: None }
    }

    /// Blocks of convolution, normalisation, activation and, at the end of a group, pooling; then two linear layers with
    /// dropout between them.
    pub fn layers(&self) -> Vec<Layer> {
        let (blocks, hidden) = self.name.layout();
        let act = Layer::Activation(self.activation);
        let mut layers = Vec::new();
        for &(channels, is_pooled) in blocks {
            layers.push(Layer::Conv(Conv { channels, kernel: 3, stride: 1, pad: 1, groups: 1, bias: true }));
            match self.norm {
                None | Some(Norm::BatchNorm) => layers.extend([Layer::BatchNorm, act.clone()]),
                // AlexNet normalises what it has activated, and pools that.
                Some(Norm::Lrn) => layers.extend([act.clone(), Layer::Lrn]),
                Some(Norm::Off) => layers.push(act.clone()),
            }
            if is_pooled {
                layers.push(Layer::MaxPool(self.window()));
            }
        }
        let linear = |units| Layer::Linear { units, bias: true };
        layers.extend([Layer::Flatten, linear(Units::Count(hidden)), act]);
        layers.extend([Layer::Dropout(self.dropout), linear(Units::Classes)]);
        layers
    }

    /// Overlapping pooling is padded by one, unlike AlexNet's, so that even sides come out as from plain pooling: the arms
    /// then have the same shapes and start from the same weights.
    fn window(&self) -> Window {
        match self.pooling {
            None | Some(Pooling::Plain) => Window { side: 2, stride: 2, pad: 0 },
            Some(Pooling::Overlapping) => Window { side: 3, stride: 2, pad: 1 },
        }
    }
}

impl PresetName {
    /// Channels after each block, and whether it ends in pooling; units of the hidden linear layer.
    fn layout(self) -> (&'static [(u32, bool)], u32) {
        match self {
            Self::SimpleCnn => (&[(32, true), (64, true)], 128),
            Self::ImprovedCnn => {
                (&[(32, false), (64, true), (128, false), (128, true), (256, false), (256, true)], 256)
            }
        }
    }
}
