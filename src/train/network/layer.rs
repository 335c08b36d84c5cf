//! The layers that have parameters, with PyTorch's defaults and initial values.

use tch::{TchError, Tensor};

use crate::experiment::plan::MemoryFormat;
use crate::network::{self, Algorithms, Size};
use crate::train::network::BatchNormMode;
use crate::train::network::parameters::Parameters;
use crate::train::shim::{fused, winograd};

/// A convolution; the weight is [out, in / groups, kernel, kernel].
pub(super) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: [i64; 2],
    pad: [i64; 2],
    groups: i64,
    format: MemoryFormat,
    is_plain: bool,
    algorithms: Option<Algorithms>,
}

/// Whether a convolution must not run channels-last. oneDNN's AVX2 kernel for the gradient of the weights of a strided 1×1
/// convolution with fewer than eight input channels writes out of bounds there (oneDNN issue 6035): it hangs, or gives
/// wrong gradients.
fn must_be_plain(conv: &network::Conv, inputs: i64, format: MemoryFormat) -> bool {
    format == MemoryFormat::ChannelsLast && conv.kernel == 1 && conv.stride > 1 && inputs < 8
}

impl Conv {
    /// For `input` channels. Without `algorithms`, which one computes it is left to libtorch.
    pub(super) fn new(
        parameters: &mut Parameters,
        name: &str,
        input: i64,
        conv: network::Conv,
        algorithms: Option<Algorithms>,
    ) -> Result<Self, TchError> {
        let [out, kernel, stride, pad, groups] =
            [conv.channels, conv.kernel, conv.stride, conv.pad, conv.groups].map(i64::from);
        let shape = [out, input / groups, kernel, kernel];
        let format = parameters.format();
        let is_plain = must_be_plain(&conv, input / groups, format);
        let weight = match is_plain {
            true => parameters.plain_weight(&format!("{name}.weight"), &shape)?,
            false => parameters.weight(&format!("{name}.weight"), &shape)?,
        };
        let bias = parameters.bias(&format!("{name}.bias"), &shape, conv.bias)?;
        Ok(Self { weight, bias, stride: [stride; 2], pad: [pad; 2], groups, format, is_plain, algorithms })
    }

    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(super) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Whether it runs in the plain memory format under a plan that asked for another.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// What computes it for `x` in each pass, where that is not left to libtorch.
    pub(super) fn algorithms(&self, x: &Tensor) -> Option<Algorithms> {
        let algorithms = self.algorithms?;
        Some(if winograd::takes(x) { algorithms } else { Algorithms::DIRECT })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        if let Some(own) = self.algorithms(x).filter(|algorithms| algorithms.are_own()) {
            return winograd::convolution(x, &self.weight, self.bias.as_ref(), own);
        }
        self.stock(x)
    }

    /// By libtorch, which differentiates it as often as is asked.
    pub(super) fn stock(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let conv = |x: &Tensor| {
            x.f_conv2d(&self.weight, self.bias.as_ref(), self.stride, self.pad, [1, 1], self.groups)
        };
        match (self.is_plain, self.format) {
            // What comes out is channels-last again, as the layers behind expect it.
            (true, MemoryFormat::ChannelsLast) => {
                conv(&x.f_contiguous()?)?.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
            }
            _ => conv(x),
        }
    }
}

const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

/// Batch normalisation over channels: momentum 0.1, ε 1e-5.
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    pub(super) fn new(parameters: &mut Parameters, name: &str, channels: i64) -> Result<Self, TchError> {
        Ok(Self {
            weight: parameters.constant(&format!("{name}.weight"), &[channels], 1.0)?,
            bias: parameters.constant(&format!("{name}.bias"), &[channels], 0.0)?,
            running_mean: parameters.buffer(&format!("{name}.running_mean"), channels, 0.0)?,
            running_var: parameters.buffer(&format!("{name}.running_var"), channels, 1.0)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, mode: BatchNormMode) -> Result<Tensor, TchError> {
        if mode == BatchNormMode::Off {
            return Ok(x.shallow_clone());
        }
        let train = mode == BatchNormMode::Batch;
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        x.f_batch_norm(weight, bias, mean, var, train, MOMENTUM, EPS, false)
    }

    /// For our own kernels.
    pub(super) fn fused(&self) -> fused::Norm<'_> {
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

/// Normalisation over groups of channels of an image; ε 1e-5.
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    pub(super) fn new(
        parameters: &mut Parameters,
        name: &str,
        channels: i64,
        groups: i64,
    ) -> Result<Self, TchError> {
        let weight = parameters.constant(&format!("{name}.weight"), &[channels], 1.0)?;
        let bias = parameters.constant(&format!("{name}.bias"), &[channels], 0.0)?;
        Ok(Self { weight, bias, groups })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), EPS, true)
    }
}

/// Normalisation over all values of an image, each with a weight and a bias of its own; ε 1e-5.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    shape: Vec<i64>,
}

impl LayerNorm {
    /// Of values of `size`.
    pub(super) fn new(parameters: &mut Parameters, name: &str, size: Size) -> Result<Self, TchError> {
        let shape = match size {
            Size::Image { channels, height, width } => vec![channels as i64, height as i64, width as i64],
            Size::Flat(values) => vec![values as i64],
        };
        let weight = parameters.constant(&format!("{name}.weight"), &shape, 1.0)?;
        let bias = parameters.constant(&format!("{name}.bias"), &shape, 0.0)?;
        Ok(Self { weight, bias, shape })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_layer_norm(&self.shape, Some(&self.weight), Some(&self.bias), EPS, true)
    }
}

pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// From so many values to so many.
    pub(super) fn new(
        parameters: &mut Parameters,
        name: &str,
        (input, output): (i64, i64),
        bias: bool,
    ) -> Result<Self, TchError> {
        let shape = [output, input];
        let weight = parameters.weight(&format!("{name}.weight"), &shape)?;
        let bias = parameters.bias(&format!("{name}.bias"), &shape, bias)?;
        Ok(Self { weight, bias })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, self.bias.as_ref())
    }
}

/// Local response normalisation over five neighbouring channels: x / (k + α · mean of their squares)^β with k = 2,
/// α = 1e-4, β = 0.75. Krizhevsky et al. (NIPS 2012, section 3.3) have the sum where PyTorch, and so we, have the
/// mean: their α is a fifth of ours.
pub(super) fn local_response_norm(x: &Tensor) -> Result<Tensor, TchError> {
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
    use crate::stream::{Key, Seed, Stream};
    use crate::train::GENERATOR;

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

    /// A strided 1×1 convolution with four input channels, and what its weights get for a gradient.
    fn gradient(format: MemoryFormat) -> (Vec<i64>, Tensor, bool) {
        let key = Key::new(Seed(0), Stream::Init, 0, 0);
        let mut parameters = Parameters::new(&key, format);
        let conv = network::Conv { channels: 16, kernel: 1, stride: 2, pad: 0, groups: 1, bias: false };
        let conv = Conv::new(&mut parameters, "conv1", 4, conv, None).unwrap();
        let x = Tensor::linspace(-1.0, 1.0, 8 * 4 * 18 * 18, (tch::Kind::Float, tch::Device::Cpu));
        let x = x.view([8, 4, 18, 18]);
        let x = match format {
            MemoryFormat::Contiguous => x,
            MemoryFormat::ChannelsLast => x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
        };
        let y = conv.forward(&x).unwrap();
        y.square().sum(tch::Kind::Float).backward();
        (y.stride(), conv.weight.grad(), conv.is_plain())
    }

    #[test]
    #[ignore = "the child of the test below"]
    fn a_strided_projection_of_few_channels_has_its_gradient() {
        let _alone = GENERATOR.lock().unwrap();
        let (_, expected, plain) = gradient(MemoryFormat::Contiguous);
        let (strides, found, fell_back) = gradient(MemoryFormat::ChannelsLast);
        assert!(found.allclose(&expected, 1e-5, 1e-5, false), "{found:?} {expected:?}");
        assert_eq!(strides[1], 1, "what comes out is channels-last");
        assert!(fell_back && !plain);
    }

    /// oneDNN issue 6035: it hung, or wrote where it must not.
    #[test]
    fn a_strided_projection_of_few_channels_neither_hangs_nor_errs_on_avx2() {
        let name = "train::network::layer::tests::a_strided_projection_of_few_channels_has_its_gradient";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", name])
            .env("ATEN_CPU_CAPABILITY", "avx2")
            .env("ONEDNN_MAX_CPU_ISA", "AVX2")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let began = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed().as_secs() > 60 {
                child.kill().unwrap();
                panic!("the gradient of a strided 1×1 convolution hangs");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert!(status.success());
    }

    #[test]
    fn values_are_those_of_pytorch() {
        let text = include_str!("../../../tests/data/pytorch.json");
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
