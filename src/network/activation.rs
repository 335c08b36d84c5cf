//! The activations a network can name.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Relu,
    Sigmoid,
    Tanh,
    LeakyRelu,
    Prelu,
    Elu,
    Selu,
    Gelu,
    Silu,
    Mish,
}

impl Activation {
    pub const ALL: [Self; 10] = [
        Self::Relu,
        Self::Sigmoid,
        Self::Tanh,
        Self::LeakyRelu,
        Self::Prelu,
        Self::Elu,
        Self::Selu,
        Self::Gelu,
        Self::Silu,
        Self::Mish,
    ];

    pub fn is_relu(self) -> bool {
        self == Self::Relu
    }

    /// As an experiment file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::LeakyRelu => "leaky_relu",
            Self::Prelu => "prelu",
            Self::Elu => "elu",
            Self::Selu => "selu",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Mish => "mish",
        }
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
