//! Keskar's ε-sharpness.

use tch::Tensor;

use crate::train::TrainError;
use crate::train::diagnose::{copies, restore};

/// Size of the box; Keskar et al. use 1e-3 and 5e-4.
const EPSILON: f64 = 1e-3;
/// Steps of the ascent. Each goes a third of the way from the middle of the box to its wall, so that the corner a
/// constant gradient points to is reached well before the last.
const STEPS: usize = 6;

/// φ = 100 · (max f(w + y) − f(w)) / (1 + f(w)) over the box |y_i| ≤ ε(|w_i| + 1), in percent (Keskar et al., arXiv
/// 1609.04836, equation 4 with A the identity), f being `loss` as a function of `params`.
///
/// The maximum is that of an ascent along the signs of the gradient, projected on the box: a lower bound, where the
/// paper's L-BFGS-B is one too. The parameters are put back bit for bit.
pub(super) fn epsilon_sharpness(
    params: &[Tensor],
    loss: &dyn Fn() -> Result<Tensor, TrainError>,
) -> Result<f64, TrainError> {
    let start = copies(params)?;
    let found = ascend(params, &start, loss);
    restore(params, &start)?;
    let (at_start, highest) = found?;
    Ok(100.0 * (highest - at_start) / (1.0 + at_start))
}

/// The loss at the start, and the highest on the way.
fn ascend(
    params: &[Tensor],
    start: &[Tensor],
    loss: &dyn Fn() -> Result<Tensor, TrainError>,
) -> Result<(f64, f64), TrainError> {
    let mut at = loss()?;
    let at_start = at.f_double_value(&[])?;
    let mut highest = at_start;
    for _ in 0..STEPS {
        let gradient = Tensor::f_run_backward(&[at], params, false, false)?;
        climb(params, start, &gradient)?;
        at = loss()?;
        highest = highest.max(at.f_double_value(&[])?);
    }
    Ok((at_start, highest))
}

fn climb(params: &[Tensor], start: &[Tensor], gradient: &[Tensor]) -> Result<(), TrainError> {
    let _no_grad = tch::no_grad_guard();
    for ((param, start), gradient) in params.iter().zip(start).zip(gradient) {
        let wall = start.f_abs()?.f_add_scalar(1.0)?.f_mul_scalar(EPSILON)?;
        let moved = param.f_add(&gradient.f_sign()?.f_mul(&wall)?.f_div_scalar(3.0)?)?;
        let inside = moved.f_maximum(&start.f_sub(&wall)?)?.f_minimum(&start.f_add(&wall)?)?;
        param.shallow_clone().f_copy_(&inside)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f(w) = 3·w₁ − 2·w₂ is highest in a corner of the box: f + ε·(3·(|w₁| + 1) + 2·(|w₂| + 1)).
    #[test]
    fn a_linear_function_is_sharp_as_its_corner_says_and_its_weights_are_put_back() {
        let params = [Tensor::from_slice(&[1.0_f64, -4.0]).set_requires_grad(true)];
        let slopes = Tensor::from_slice(&[3.0_f64, -2.0]);
        let loss = || Ok((&params[0] * &slopes).sum(tch::Kind::Double));
        let found = epsilon_sharpness(&params, &loss).unwrap();
        let rise = EPSILON * (3.0 * 2.0 + 2.0 * 5.0);
        assert!((found - 100.0 * rise / 12.0).abs() < 1e-9, "{found}");
        assert_eq!(Vec::<f64>::try_from(params[0].detach()).unwrap(), [1.0, -4.0]);
    }

    #[test]
    fn the_top_of_a_hill_is_not_sharp() {
        let params = [Tensor::from_slice(&[0.0_f64, 0.0]).set_requires_grad(true)];
        let loss = || Ok(-(&params[0] * &params[0]).sum(tch::Kind::Double));
        assert_eq!(epsilon_sharpness(&params, &loss).unwrap(), 0.0);
    }
}
