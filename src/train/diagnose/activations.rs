//! Saturated and dead units, from the activations of a batch in eval mode.

use tch::{Kind, Tensor};

use crate::experiment::config::Activation;
use crate::row::Diagnostic;
use crate::train::TrainError;
use crate::train::diagnose::Reading;
use crate::train::evaluate::EVALUATION_BATCH;
use crate::train::model::{Mode, Model};
use crate::train::resident::Batch;

/// Within so much of an asymptote, as a share of the activation's range, a unit counts as saturated: the slope of
/// the sigmoid is then below a fifth of its largest. Glorot and Bengio (AISTATS 2010, section 3) look at how near
/// activations are to 0 and 1; they fix no number, and 5 % is ours.
const NEAR: f64 = 0.05;

/// What share of a layer's output is as it should not be.
type Share = fn(&Tensor) -> Result<f64, tch::TchError>;

/// The share of saturated activations for sigmoid and tanh, of dead units for ReLU, layer by layer; nothing for
/// other activations, which neither saturate on both sides nor die.
pub fn readings(
    model: &dyn Model,
    activation: Activation,
    batch: &Batch,
) -> Result<Vec<Reading>, TrainError> {
    let (diagnostic, share): (Diagnostic, Share) = match activation {
        Activation::Sigmoid => (Diagnostic::SaturatedShare, |x| outside(x, NEAR, 1.0 - NEAR)),
        Activation::Tanh => (Diagnostic::SaturatedShare, |x| outside(x, -1.0 + 2.0 * NEAR, 1.0 - 2.0 * NEAR)),
        Activation::Relu => (Diagnostic::DeadShare, dead),
        _ => return Ok(Vec::new()),
    };
    let _no_grad = tch::no_grad_guard();
    let mut shares = Vec::new();
    // As many images as an evaluation looks at once, so that this is not where a run's memory peaks.
    let images = batch.images.f_narrow(0, 0, batch.images.size()[0].min(EVALUATION_BATCH))?;
    let _logits = model.forward_seen(&images, Mode::EVAL, &mut |name, output| {
        shares.push((name.to_owned(), share(output)))
    })?;
    shares.into_iter().map(|(layer, share)| Ok((diagnostic, layer, share?))).collect()
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
