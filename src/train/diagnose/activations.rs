//! Saturated and dead units, from the activations of a batch in eval mode.

use tch::{Kind, Tensor};

use crate::network::Activation;
use crate::row::Diagnostic;
use crate::train::TrainError;
use crate::train::diagnose::Reading;
use crate::train::evaluate::EVALUATION_BATCH;
use crate::train::network::{Mode, Network};
use crate::train::resident::Batch;

/// Within so much of an asymptote, as a share of the activation's range, a unit counts as saturated: the slope of
/// the sigmoid is then below a fifth of its largest. Glorot and Bengio (AISTATS 2010, section 3) look at how near
/// activations are to 0 and 1; they fix no number, and 5 % is ours.
const NEAR: f64 = 0.05;

/// The share of saturated values for sigmoid and tanh and of dead units for ReLU, activation by activation; nothing for
/// others, which neither saturate on both sides nor die.
pub(super) fn readings(network: &Network, batch: &Batch) -> Result<Vec<Reading>, TrainError> {
    let _no_grad = tch::no_grad_guard();
    let mut shares = Vec::new();
    // As many images as an evaluation looks at once, so that this is not where a run's memory peaks.
    let images = batch.images.f_narrow(0, 0, batch.images.size()[0].min(EVALUATION_BATCH))?;
    let _logits = network.forward_seen(&images, Mode::EVAL, &mut |name, activation, output| {
        shares.extend(reading(activation, output).map(|(what, share)| (what, name.to_owned(), share)));
    })?;
    shares.into_iter().map(|(diagnostic, layer, share)| Ok((diagnostic, layer, share?))).collect()
}

/// What is wrong with a share of the output of an activation.
fn reading(activation: Activation, output: &Tensor) -> Option<(Diagnostic, Result<f64, tch::TchError>)> {
    match activation {
        Activation::Sigmoid => Some((Diagnostic::SaturatedShare, outside(output, NEAR, 1.0 - NEAR))),
        Activation::Tanh => {
            Some((Diagnostic::SaturatedShare, outside(output, -1.0 + 2.0 * NEAR, 1.0 - 2.0 * NEAR)))
        }
        Activation::Relu => Some((Diagnostic::DeadShare, dead(output))),
        Activation::LeakyRelu
        | Activation::Prelu
        | Activation::Elu
        | Activation::Selu
        | Activation::Gelu
        | Activation::Silu
        | Activation::Mish => None,
    }
}

/// Share of the values below `low` or above `high`.
fn outside(x: &Tensor, low: f64, high: f64) -> Result<f64, tch::TchError> {
    let inside = x.f_ge(low)?.f_logical_and(&x.f_le(high)?)?;
    Ok(1.0 - inside.f_sum(Kind::Int64)?.f_double_value(&[])? / x.numel() as f64)
}

/// Share of the units [N, units] or channels [N, C, H, W] that are 0 for every image at every place.
fn dead(x: &Tensor) -> Result<f64, tch::TchError> {
    let units = x.size()[1];
    let largest = x.f_transpose(0, 1)?.f_reshape([units, -1])?.f_amax(1, false)?;
    Ok(largest.f_le(0.0)?.f_sum(Kind::Int64)?.f_double_value(&[])? / units as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_counts_as_dead_only_when_it_is_zero_everywhere() {
        // Two images, three channels of 1×2: the first dead, the second alive in one pixel of one image.
        let x = Tensor::from_slice(&[0.0_f32, 0.0, 0.0, 0.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0.1, 5.0, 5.0]);
        assert_eq!(dead(&x.view([2, 3, 1, 2])).unwrap(), 1.0 / 3.0);
        assert_eq!(dead(&Tensor::from_slice(&[0.0_f32, 1.0]).view([1, 2])).unwrap(), 0.5);
    }

    #[test]
    fn values_near_an_end_of_the_range_are_saturated() {
        let x = Tensor::from_slice(&[0.01_f32, 0.06, 0.5, 0.94, 0.99]);
        assert!((outside(&x, NEAR, 1.0 - NEAR).unwrap() - 0.4).abs() < 1e-12);
    }
}
