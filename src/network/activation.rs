//! The activations a network can name.

use serde::{Deserialize, Serialize};

named! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Activation {
        Relu = "relu",
        Sigmoid = "sigmoid",
        Tanh = "tanh",
        LeakyRelu = "leaky_relu",
        Prelu = "prelu",
        Elu = "elu",
        Selu = "selu",
        Gelu = "gelu",
        Silu = "silu",
        Mish = "mish",
    }
}

impl Activation {
    pub fn is_relu(self) -> bool {
        self == Self::Relu
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }

    /// Never falls as its input grows and is constant only where its slope is 0: so it commutes exactly with a maximum,
    /// gradient included.
    pub fn is_monotone(self) -> bool {
        match self {
            Self::Relu => true,
            // Monotone on paper, some of them; but where rounding makes unequal inputs equal, as in a saturated tail,
            // the maximum takes another of them, and the gradient goes elsewhere.
            _ => false,
        }
    }

    /// Never falls as its input grows: the maximum of its values is its value of the maximum. Where rounding made unequal
    /// inputs equal, another of them takes the gradient than with the maximum last; the slope is as small there.
    pub fn never_falls(self) -> bool {
        match self {
            Self::Relu | Self::Sigmoid | Self::Tanh | Self::LeakyRelu | Self::Elu | Self::Selu => true,
            // PReLU's slope is learned and may be negative; the others fall before they rise.
            Self::Prelu | Self::Gelu | Self::Silu | Self::Mish => false,
        }
    }
}
