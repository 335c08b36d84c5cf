//! Adam, in the form the plan asks for.

use tch::{Kind, TchError, Tensor};

use crate::experiment::config::Optim;
use crate::experiment::plan::OptimizerForm;
use crate::train::TrainError;
use crate::train::shim::{self, AdamKnobs, AdamTensors};

/// Kingma and Ba, arXiv 1412.6980, as `torch.optim.Adam` computes it.
pub struct Adam {
    knobs: AdamKnobs,
    form: OptimizerForm,
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    steps: Vec<Tensor>,
}

impl Adam {
    pub fn new(config: &Optim, form: OptimizerForm, params: Vec<Tensor>) -> Result<Self, TchError> {
        let Optim { lr, betas: [beta1, beta2], eps, weight_decay, .. } = *config;
        // zeros_like keeps the parameter's memory format.
        let zeros =
            || params.iter().map(|param| param.f_detach()?.f_zeros_like()).collect::<Result<Vec<_>, _>>();
        let step = |param: &Tensor| Tensor::f_zeros([], (Kind::Float, param.device()));
        Ok(Self {
            knobs: AdamKnobs { lr, beta1, beta2, eps, weight_decay },
            form,
            exp_avgs: zeros()?,
            exp_avg_sqs: zeros()?,
            steps: params.iter().map(step).collect::<Result<_, _>>()?,
            params,
        })
    }

    /// The step size of the steps that follow.
    pub fn set_lr(&mut self, lr: f64) {
        self.knobs.lr = lr;
    }

    pub fn clear_grads(&self) -> Result<(), TrainError> {
        shim::clear_grads(&self.params)
    }

    pub fn step(&mut self) -> Result<(), TrainError> {
        let tensors = AdamTensors {
            params: &self.params,
            exp_avgs: &self.exp_avgs,
            exp_avg_sqs: &self.exp_avg_sqs,
            steps: &self.steps,
        };
        match self.form {
            OptimizerForm::Fused => shim::adam_fused(&tensors, self.knobs),
            OptimizerForm::Loop => shim::adam_loop(&tensors, self.knobs),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use crate::experiment::config::OptimName;

    use super::*;

    /// p ← p − lr·sign(g) to rounding on the first step, whatever the size of the gradient (§2.1 of the paper).
    #[test]
    fn the_first_step_moves_every_weight_by_the_learning_rate_against_its_gradient() {
        for form in [OptimizerForm::Loop, OptimizerForm::Fused] {
            let param = Tensor::zeros([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let config = Optim {
                name: OptimName::Adam,
                lr: 0.1,
                betas: [0.9, 0.999],
                eps: 1e-8,
                weight_decay: 0.0,
                momentum: None,
                schedule: None,
            };
            let mut adam = Adam::new(&config, form, vec![param.shallow_clone()]).unwrap();
            (&param * Tensor::from_slice(&[2.0_f32, -0.5, 30.0])).sum(Kind::Float).backward();
            adam.step().unwrap();
            let moved = Vec::<f32>::try_from(param.detach()).unwrap();
            for (moved, expected) in moved.iter().zip([-0.1_f32, 0.1, -0.1]) {
                assert!((moved - expected).abs() < 1e-6, "{moved} {expected}");
            }
            adam.clear_grads().unwrap();
            assert!(!param.grad().defined());
        }
    }
}
