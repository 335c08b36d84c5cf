//! The layers models are made of, with PyTorch's names, defaults and initial values.

use tch::{TchError, Tensor};

use crate::train::model::BatchNormMode;
use crate::train::parameters::Parameters;
use crate::train::shim::fused;

/// 3×3 convolution with padding 1 and a bias.
pub struct Conv3x3 {
    pub weight: Tensor,
    pub bias: Tensor,
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

const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

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

    pub fn forward(&self, x: &Tensor, mode: BatchNormMode) -> Result<Tensor, TchError> {
        if mode == BatchNormMode::Off {
            return Ok(x.shallow_clone());
        }
        let train = mode == BatchNormMode::Batch;
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        x.f_batch_norm(weight, bias, mean, var, train, MOMENTUM, EPS, false)
    }

    /// For our own kernels.
    pub fn fused(&self) -> fused::Norm<'_> {
        fused::Norm {
            weight: &self.weight,
            bias: &self.bias,
            running_mean: &self.running_mean,
            running_var: &self.running_var,
            momentum: MOMENTUM,
            eps: EPS,
        }
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

/// Local response normalisation over five neighbouring channels: x / (k + α · mean of their squares)^β with k = 2,
/// α = 1e-4, β = 0.75. Krizhevsky et al. (NIPS 2012, section 3.3) have the sum where PyTorch, and so we, have the
/// mean: their α is a fifth of ours.
pub fn local_response_norm(x: &Tensor) -> Result<Tensor, TchError> {
    const WIDTH: i64 = 5;
    let channels = x.size()[1];
    // A banded 1×1 convolution adds up the neighbours: three times as fast as shifted additions in channels-last.
    let band = Tensor::f_ones([channels, channels], (x.kind(), x.device()))?
        .f_tril(WIDTH / 2)?
        .f_triu(-WIDTH / 2)?;
    let band = band.f_view([channels, channels, 1, 1])?;
    let sum = x.f_square()?.f_conv2d(&band, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)?;
    let base = sum.f_mul_scalar(1e-4 / WIDTH as f64)?.f_add_scalar(2.0)?;
    // base^¾ by two square roots: a power takes ten times as long.
    let root = base.f_sqrt()?;
    x.f_div(&root.f_mul(&root.f_sqrt()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_scaled_by_the_squares_of_its_neighbours() {
        // One pixel of seven channels; the second sees channels 0 to 3, the fourth 1 to 5.
        let values = [100.0_f32, -200.0, 300.0, 50.0, 0.0, 400.0, -100.0];
        let x = Tensor::from_slice(&values).view([1, 7, 1, 1]);
        let found = Vec::<f32>::try_from(local_response_norm(&x).unwrap().view(-1)).unwrap();
        let expected = |channel: usize| {
            let neighbours = &values[channel.saturating_sub(2)..(channel + 3).min(7)];
            let squares: f64 = neighbours.iter().map(|&value| f64::from(value).powi(2)).sum();
            f64::from(values[channel]) / (2.0 + 1e-4 * squares / 5.0).powf(0.75)
        };
        for (channel, &found) in found.iter().enumerate() {
            assert!((f64::from(found) - expected(channel)).abs() < 1e-4, "{channel}: {found}");
        }
    }

    #[test]
    fn values_are_those_of_pytorch() {
        let text = include_str!("../../tests/data/pytorch.json");
        let reference: serde_json::Value = serde_json::from_str(text).unwrap();
        let expected: Vec<f64> = serde_json::from_value(reference["local_response_norm"].clone()).unwrap();
        let x: Vec<f32> = (0..expected.len()).map(|index| ((index * 37 % 101) as f32 - 50.0) * 4.0).collect();
        let x = Tensor::from_slice(&x).view([2, 7, 2, 2]);
        let found = Vec::<f32>::try_from(local_response_norm(&x).unwrap().reshape([-1])).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}
