//! The activations a config can name, with PyTorch's defaults.

use tch::{TchError, Tensor};

use crate::network::Activation;
use crate::train::network::parameters::Parameters;

/// One use of an activation in a model; PReLU learns a slope in each.
pub(super) struct Act {
    activation: Activation,
    /// [1], the slope below 0.
    slope: Option<Tensor>,
}

impl Act {
    /// `name` is that of the use, such as `act1`: a learned slope is `act1.weight`.
    pub(super) fn new(
        parameters: &mut Parameters,
        name: &str,
        activation: Activation,
    ) -> Result<Self, TchError> {
        let slope = match activation {
            Activation::Prelu => Some(parameters.constant(&format!("{name}.weight"), &[1], 0.25)?),
            _ => None,
        };
        Ok(Self { activation, slope })
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    /// `activation(x)`; ReLU may overwrite `x`, which its caller then must not need.
    pub(super) fn apply(&self, x: Tensor, in_place: bool) -> Result<Tensor, TchError> {
        match (self.activation, &self.slope) {
            (Activation::Relu, _) if in_place => {
                let mut x = x;
                x.f_relu_()
            }
            (Activation::Relu, _) => x.f_relu(),
            (Activation::Sigmoid, _) => x.f_sigmoid(),
            (Activation::Tanh, _) => x.f_tanh(),
            (Activation::LeakyRelu, _) => x.f_leaky_relu(),
            (Activation::Prelu, Some(slope)) => x.f_prelu(slope),
            (Activation::Prelu, None) => Err(TchError::Kind("PReLU without its slope".to_owned())),
            (Activation::Elu, _) => x.f_elu(),
            (Activation::Selu, _) => x.f_selu(),
            (Activation::Gelu, _) => x.f_gelu("none"),
            (Activation::Silu, _) => x.f_silu(),
            (Activation::Mish, _) => x.f_mish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::MemoryFormat;
    use crate::stream::{Key, Seed, Stream};
    use crate::train::GENERATOR;

    /// The formulas of PyTorch's documentation, in double precision.
    fn expected(activation: Activation, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let below = |slope: f64| if x > 0.0 { x } else { slope * x };
        match activation {
            Activation::Relu => x.max(0.0),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
            Activation::LeakyRelu => below(0.01),
            Activation::Prelu => below(0.25),
            Activation::Elu => {
                if x > 0.0 {
                    x
                } else {
                    x.exp_m1()
                }
            }
            Activation::Selu => {
                let (alpha, scale) = (1.673_263_242_354_377_2, 1.050_700_987_355_480_5);
                scale * if x > 0.0 { x } else { alpha * x.exp_m1() }
            }
            Activation::Gelu => {
                x * statrs::distribution::ContinuousCDF::cdf(&statrs::distribution::Normal::standard(), x)
            }
            Activation::Silu => x * sigmoid(x),
            Activation::Mish => x * x.exp().ln_1p().tanh(),
        }
    }

    #[test]
    fn values_and_slopes_are_those_of_the_definitions() {
        let points = [-6.0_f64, -1.5, -0.3, 0.2, 1.0, 4.0];
        for activation in Activation::ALL {
            let _alone = GENERATOR.lock().unwrap();
            let mut parameters =
                Parameters::new(&Key::new(Seed(0), Stream::Init, 0, 0), MemoryFormat::Contiguous);
            let act = Act::new(&mut parameters, "act1", activation).unwrap();
            let x = Tensor::from_slice(&points.map(|x| x as f32)).set_requires_grad(true);
            let y = act.apply(x.shallow_clone(), false).unwrap();
            y.sum(tch::Kind::Float).backward();
            let (y, slope) =
                (Vec::<f32>::try_from(y.detach()).unwrap(), Vec::<f32>::try_from(x.grad()).unwrap());
            for (index, &x) in points.iter().enumerate() {
                let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 2e-6;
                let (value, h) = (expected(activation, x), 1e-6);
                let derivative = (expected(activation, x + h) - expected(activation, x - h)) / (2.0 * h);
                assert!(near(y[index], value), "{activation:?}({x}) = {}, expected {value}", y[index]);
                assert!(
                    near(slope[index], derivative),
                    "{activation:?}'({x}): {} {derivative}",
                    slope[index]
                );
            }
            assert_eq!(parameters.count(), usize::from(activation == Activation::Prelu));
        }
    }
}
