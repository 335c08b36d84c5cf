//! The activations a config can name.

use tch::{TchError, Tensor};

use crate::experiment::config::Activation;

/// `activation(x)`; ReLU may overwrite `x`, which its caller then must not need.
pub fn apply(activation: Activation, x: Tensor, in_place: bool) -> Result<Tensor, TchError> {
    match activation {
        Activation::Relu if in_place => {
            let mut x = x;
            x.f_relu_()
        }
        Activation::Relu => x.f_relu(),
        Activation::Sigmoid => x.f_sigmoid(),
        Activation::Tanh => x.f_tanh(),
        other => Err(TchError::Kind(format!("{other:?} is not built"))),
    }
}
