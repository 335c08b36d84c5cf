//! The layers models are made of, with PyTorch's names, defaults and initial values.

use tch::{TchError, Tensor};

use crate::train::parameters::Parameters;

/// 3×3 convolution with padding 1 and a bias.
pub struct Conv3x3 {
    weight: Tensor,
    bias: Tensor,
}

impl Conv3x3 {
    pub fn new(parameters: &mut Parameters, name: &str, input: i64, output: i64) -> Result<Self, TchError> {
        let shape = [output, input, 3, 3];
        let weight = parameters.weight(&format!("{name}.weight"), &shape)?;
        let bias = parameters.bias(&format!("{name}.bias"), &shape)?;
        Ok(Self { weight, bias })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_conv2d(&self.weight, Some(&self.bias), [1, 1], [1, 1], [1, 1], 1)
    }
}

/// Batch normalisation over channels: momentum 0.1, ε 1e-5.
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    pub fn new(parameters: &mut Parameters, name: &str, channels: i64) -> Result<Self, TchError> {
        Ok(Self {
            weight: parameters.constant(&format!("{name}.weight"), channels, 1.0)?,
            bias: parameters.constant(&format!("{name}.bias"), channels, 0.0)?,
            running_mean: parameters.buffer(&format!("{name}.running_mean"), channels, 0.0)?,
            running_var: parameters.buffer(&format!("{name}.running_var"), channels, 1.0)?,
        })
    }

    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        x.f_batch_norm(weight, bias, mean, var, train, 0.1, 1e-5, false)
    }
}

pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(parameters: &mut Parameters, name: &str, input: i64, output: i64) -> Result<Self, TchError> {
        let shape = [output, input];
        let weight = parameters.weight(&format!("{name}.weight"), &shape)?;
        let bias = parameters.bias(&format!("{name}.bias"), &shape)?;
        Ok(Self { weight, bias })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, Some(&self.bias))
    }
}
