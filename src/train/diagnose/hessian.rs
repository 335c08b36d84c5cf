//! The largest eigenvalue of the Hessian of the loss.

use tch::Tensor;

use crate::train::TrainError;
use crate::train::diagnose::dot;

const ITERATIONS: usize = 20;
/// Relative change of the eigenvalue below which the iteration ends.
const TOLERANCE: f64 = 1e-2;

/// The eigenvalue of largest absolute value of the Hessian of `loss` by `params`, with its sign.
///
/// Power iteration on exact Hessian-vector products, H·v = ∂(∂loss/∂w · v)/∂w (Pearlmutter, Neural Computation 6(1),
/// 1994), as PyHessian does it (Yao et al., arXiv 1912.07145): at most 20 products, fewer when the value has
/// settled to 1 %. Curvature is not invariant to a change of parameters (Dinh et al., arXiv 1703.04933). NaN if the
/// loss is not finite.
pub(super) fn largest_eigenvalue(
    params: &[Tensor],
    loss: &dyn Fn() -> Result<Tensor, TrainError>,
    seed: i64,
) -> Result<f64, TrainError> {
    tch::manual_seed(seed);
    let gradient = Tensor::f_run_backward(&[loss()?], params, true, true)?;
    let start = params.iter().map(|param| param.f_detach()?.f_randn_like());
    let mut vector = normalised(start.collect::<Result<Vec<_>, _>>()?)?;
    let mut eigenvalue = f64::NAN;
    for _ in 0..ITERATIONS {
        let product = product(&gradient, params, &vector)?;
        let previous = std::mem::replace(&mut eigenvalue, dot(&vector, &product)?);
        let settled = (eigenvalue - previous).abs() <= TOLERANCE * eigenvalue.abs();
        if settled || !eigenvalue.is_finite() || eigenvalue == 0.0 {
            break;
        }
        vector = normalised(product)?;
    }
    Ok(eigenvalue)
}

/// H·v; a parameter on which the gradient does not depend has a product of 0.
fn product(gradient: &[Tensor], params: &[Tensor], vector: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
    let mut along = Tensor::f_zeros([], (gradient[0].kind(), gradient[0].device()))?;
    for (gradient, vector) in gradient.iter().zip(vector) {
        along = along.f_add(&gradient.f_mul(vector)?.f_sum(gradient.kind())?)?;
    }
    Ok(Tensor::f_run_backward(&[along], params, true, false)?)
}

fn normalised(vector: Vec<Tensor>) -> Result<Vec<Tensor>, TrainError> {
    let norm = dot(&vector, &vector)?.sqrt();
    vector.into_iter().map(|part| Ok(part.f_div_scalar(norm)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::GENERATOR;

    /// ½·(5·x² + y² − 3·z²) has the eigenvalues 5, 1 and −3.
    #[test]
    fn the_largest_eigenvalue_of_a_quadratic_is_found_with_its_sign() {
        let _alone = GENERATOR.lock().unwrap();
        for (curvatures, expected) in [([5.0_f64, 1.0, -3.0], 5.0), ([-6.0, 1.0, 2.0], -6.0)] {
            let params = [Tensor::from_slice(&[0.3_f64, -0.2, 0.9]).set_requires_grad(true)];
            let curvatures = Tensor::from_slice(&curvatures);
            let loss = || Ok((&params[0] * &params[0] * &curvatures).sum(tch::Kind::Double) * 0.5);
            let found = largest_eigenvalue(&params, &loss, 1).unwrap();
            assert!((found - expected).abs() < 0.02 * expected.abs(), "{found}");
        }
    }

    /// log(1 + exp(−w·x)) has the Hessian σ(1 − σ)·x·xᵀ, whose one eigenvalue is σ(1 − σ)·|x|².
    #[test]
    fn the_eigenvalue_of_a_logistic_loss_is_the_one_in_closed_form() {
        let _alone = GENERATOR.lock().unwrap();
        let params = [Tensor::from_slice(&[0.5_f64, -0.25]).set_requires_grad(true)];
        let x = Tensor::from_slice(&[2.0_f64, 1.0]);
        let loss = || Ok((-(&params[0] * &x).sum(tch::Kind::Double)).softplus());
        let sigmoid = 1.0 / (1.0 + (-0.75_f64).exp());
        let found = largest_eigenvalue(&params, &loss, 1).unwrap();
        assert!((found - sigmoid * (1.0 - sigmoid) * 5.0).abs() < 1e-6, "{found}");
    }
}
