//! The optimizers a config can name, as `torch.optim` computes them.

use tch::{Kind, TchError, Tensor};

use crate::experiment::config::{BETAS, Decay, EPS, Optim, OptimName};
use crate::experiment::plan::OptimizerForm;
use crate::train::TrainError;
use crate::train::chain::Named;
use crate::train::shim::{self, AdamKnobs, AdamTensors};

pub(super) struct Optimizer {
    params: Vec<Tensor>,
    rate: Rate,
    /// The config's, and that of each parameter.
    decay: f64,
    weight_decay: Vec<f64>,
    clip: Option<f64>,
    rule: Rule,
}

/// The step size.
struct Rate {
    lr: f64,
    /// Of the fused form on a GPU, whose step may be recorded as a CUDA graph, in which a number of the host would stay what
    /// it was: the rate and, for decoupled decay, 1 − lr·λ, float scalars there.
    on_device: Option<[Tensor; 2]>,
}

enum Rule {
    Adam(Adam),
    Sgd(Sgd),
}

/// Kingma and Ba, arXiv 1412.6980; with `decoupled`, the weight decay of Loshchilov and Hutter, arXiv 1711.05101.
struct Adam {
    knobs: AdamKnobs,
    form: OptimizerForm,
    decoupled: bool,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    steps: Vec<Tensor>,
}

/// v ← μ·v + g, w ← w − lr·v: momentum as in Sutskever et al. (ICML 2013) but for the place of the rate, without
/// dampening.
struct Sgd {
    momentum: f64,
    /// Absent before the first step, which takes the gradient as it is.
    velocity: Option<Vec<Tensor>>,
}

impl Optimizer {
    /// `are_weights` says of each of `params` whether it is a weight, and neither a bias nor a slope nor of a norm.
    pub(super) fn new(
        config: &Optim,
        form: OptimizerForm,
        params: Vec<Tensor>,
        are_weights: &[bool],
    ) -> Result<Self, TchError> {
        let rule = match config.name {
            OptimName::Adam | OptimName::AdamW => Rule::Adam(Adam::new(config, form, &params)?),
            // A pass over the parameters is all there is to fuse: all forms are the same.
            OptimName::Sgd => Rule::Sgd(Sgd { momentum: config.momentum.unwrap_or(0.0), velocity: None }),
        };
        let is_decayed = |is_weight: bool| config.decay != Some(Decay::Weights) || is_weight;
        let of = |&is_weight: &bool| if is_decayed(is_weight) { config.weight_decay } else { 0.0 };
        let weight_decay = are_weights.iter().map(of).collect();
        let device = params.first().map_or(tch::Device::Cpu, Tensor::device);
        let scalar = || Tensor::f_zeros([], (Kind::Float, device));
        let on_device = match (form, device) {
            (_, tch::Device::Cpu) | (OptimizerForm::Loop | OptimizerForm::Foreach, _) => None,
            (OptimizerForm::Fused, _) => Some([scalar()?, scalar()?]),
        };
        let (rate, decay) = (Rate { lr: f64::NAN, on_device }, config.weight_decay);
        let mut optimizer = Self { params, rate, decay, weight_decay, clip: config.clip, rule };
        optimizer.set_lr(config.lr)?;
        Ok(optimizer)
    }

    /// Sets the step size of the steps that follow.
    pub(super) fn set_lr(&mut self, lr: f64) -> Result<(), TchError> {
        if lr.to_bits() == self.rate.lr.to_bits() {
            return Ok(());
        }
        self.rate.lr = lr;
        if let Some([rate, shrink]) = &mut self.rate.on_device {
            let _rate = rate.f_fill_(lr)?;
            let _shrink = shrink.f_fill_(1.0 - lr * self.decay)?;
        }
        Ok(())
    }

    /// The step size of the next step.
    pub(super) fn lr(&self) -> f64 {
        self.rate.lr
    }

    pub(super) fn clear_grads(&self) -> Result<(), TrainError> {
        shim::clear_grads(&self.params)
    }

    /// What it remembers between steps, as `optimizer.<what>.<parameter>`; `names` are those of the parameters.
    /// Tensors that are written into, as a checkpoint is restored, are those it goes on with.
    pub(super) fn state<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Named> {
        let parts: Vec<(&str, &Vec<Tensor>)> = match &self.rule {
            Rule::Adam(adam) => {
                vec![("exp_avg", &adam.exp_avgs), ("exp_avg_sq", &adam.exp_avg_sqs), ("step", &adam.steps)]
            }
            Rule::Sgd(Sgd { velocity: Some(velocity), .. }) => vec![("velocity", velocity)],
            Rule::Sgd(_) => vec![],
        };
        let names: Vec<&str> = names.collect();
        let named = |(what, tensors): (&str, &Vec<Tensor>)| {
            let named = |(name, tensor): (&&str, &Tensor)| {
                (format!("optimizer.{what}.{name}"), tensor.shallow_clone())
            };
            names.iter().zip(tensors).map(named).collect::<Vec<_>>()
        };
        parts.into_iter().flat_map(named).collect()
    }

    /// Makes room for the state of an optimizer that has taken a step.
    pub(super) fn expect_state(&mut self) -> Result<(), TchError> {
        if let Rule::Sgd(sgd) = &mut self.rule
            && sgd.momentum != 0.0
        {
            let zeros = self.params.iter().map(|param| param.f_detach()?.f_zeros_like());
            sgd.velocity = Some(zeros.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<(), TrainError> {
        if let Some(most) = self.clip {
            clip(&self.params, most)?;
        }
        match &mut self.rule {
            Rule::Adam(adam) => adam.step(&self.params, &self.rate, &self.weight_decay),
            Rule::Sgd(sgd) => sgd.step(&self.params, &self.rate, &self.weight_decay),
        }
    }
}

/// Shortens the gradient of all parameters together to the norm `most`, as `torch.nn.utils.clip_grad_norm_`.
fn clip(params: &[Tensor], most: f64) -> Result<(), TrainError> {
    let _no_grad = tch::no_grad_guard();
    let norms = params.iter().map(|param| param.grad().f_norm()).collect::<Result<Vec<_>, _>>()?;
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_add_scalar(1e-6)?;
    let share = norm.f_reciprocal()?.f_mul_scalar(most)?.f_clamp_max(1.0)?;
    for param in params {
        let _grad = param.grad().f_mul_(&share)?;
    }
    Ok(())
}

impl Adam {
    fn new(config: &Optim, form: OptimizerForm, params: &[Tensor]) -> Result<Self, TchError> {
        let Optim { lr, weight_decay, .. } = *config;
        let ([beta1, beta2], eps) = (config.betas.unwrap_or(BETAS), config.eps.unwrap_or(EPS));
        // zeros_like keeps the parameter's memory format.
        let zeros =
            || params.iter().map(|param| param.f_detach()?.f_zeros_like()).collect::<Result<Vec<_>, _>>();
        // As in PyTorch: the fused kernel wants the count beside the parameter, the others read it on the host, where that
        // does not mean to wait for a GPU within the step.
        let beside = |param: &Tensor| match form {
            OptimizerForm::Fused => param.device(),
            OptimizerForm::Loop | OptimizerForm::Foreach => tch::Device::Cpu,
        };
        let step = |param: &Tensor| Tensor::f_zeros([], (Kind::Float, beside(param)));
        Ok(Self {
            knobs: AdamKnobs { lr, beta1, beta2, eps, weight_decay },
            form,
            decoupled: config.name == OptimName::AdamW,
            exp_avgs: zeros()?,
            exp_avg_sqs: zeros()?,
            steps: params.iter().map(step).collect::<Result<_, _>>()?,
        })
    }

    fn step(&mut self, params: &[Tensor], rate: &Rate, weight_decay: &[f64]) -> Result<(), TrainError> {
        self.knobs.lr = rate.lr;
        let is_uniform = weight_decay.windows(2).all(|pair| pair[0] == pair[1]);
        if self.decoupled || !is_uniform {
            // The kernel knows one penalty for all.
            self.knobs.weight_decay = 0.0;
            let _no_grad = tch::no_grad_guard();
            for (param, &decay) in params.iter().zip(weight_decay).filter(|(_, decay)| **decay != 0.0) {
                let mut param = param.shallow_clone();
                let _changed = match &rate.on_device {
                    _ if !self.decoupled => param.grad().f_add_(&param.f_mul_scalar(decay)?)?,
                    Some([_, shrink]) => param.f_mul_(shrink)?,
                    None => param.f_mul_scalar_(1.0 - rate.lr * decay)?,
                };
            }
        }
        let tensors = AdamTensors {
            params,
            exp_avgs: &self.exp_avgs,
            exp_avg_sqs: &self.exp_avg_sqs,
            steps: &self.steps,
        };
        match self.form {
            OptimizerForm::Fused => {
                shim::adam_fused(&tensors, self.knobs, rate.on_device.as_ref().map(|[rate, _]| rate))
            }
            OptimizerForm::Foreach => shim::adam_foreach(&tensors, self.knobs),
            OptimizerForm::Loop => shim::adam_loop(&tensors, self.knobs),
        }
    }
}

impl Sgd {
    fn step(&mut self, params: &[Tensor], rate: &Rate, weight_decay: &[f64]) -> Result<(), TrainError> {
        let _no_grad = tch::no_grad_guard();
        let gradient = |(param, decay): (&Tensor, &f64)| match *decay {
            0.0 => Ok(param.grad()),
            decay => param.grad().f_add(&param.f_mul_scalar(decay)?),
        };
        let gradients =
            params.iter().zip(weight_decay).map(gradient).collect::<Result<Vec<_>, TchError>>()?;
        let directions = self.directions(gradients)?;
        for (param, direction) in params.iter().zip(&directions) {
            let update = match &rate.on_device {
                Some([rate, _]) => direction.f_mul(rate)?,
                None => direction.f_mul_scalar(rate.lr)?,
            };
            let _param = param.shallow_clone().f_sub_(&update)?;
        }
        Ok(())
    }

    fn directions(&mut self, gradients: Vec<Tensor>) -> Result<Vec<Tensor>, TchError> {
        if self.momentum == 0.0 {
            return Ok(gradients);
        }
        let Some(velocity) = &mut self.velocity else {
            // A copy: the gradients are cleared before the next step, and may be written into by then.
            let copies = gradients.iter().map(|gradient| gradient.f_mul_scalar(1.0));
            let copies = self.velocity.insert(copies.collect::<Result<_, _>>()?);
            return Ok(copies.iter().map(Tensor::shallow_clone).collect());
        };
        for (velocity, gradient) in velocity.iter_mut().zip(&gradients) {
            // In place: a step that was recorded writes where it wrote then.
            let _velocity = velocity.f_mul_scalar_(self.momentum)?;
            let _velocity = velocity.f_add_(gradient)?;
        }
        Ok(velocity.iter().map(Tensor::shallow_clone).collect())
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn config(name: OptimName) -> Optim {
        Optim::of(name, 0.1)
    }

    /// A parameter of three ones, stepped `steps` times down the slopes 2, −0.5 and 30.
    fn stepped(config: &Optim, form: OptimizerForm, steps: usize) -> Vec<f32> {
        let param = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut optimizer = Optimizer::new(config, form, vec![param.shallow_clone()], &[true]).unwrap();
        for _ in 0..steps {
            optimizer.clear_grads().unwrap();
            assert!(!param.grad().defined());
            (&param * Tensor::from_slice(&[2.0_f32, -0.5, 30.0])).sum(Kind::Float).backward();
            optimizer.step().unwrap();
        }
        Vec::try_from(param.detach()).unwrap()
    }

    fn assert_near(found: &[f32], expected: [f64; 3]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 2e-6 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }

    const FORMS: [OptimizerForm; 3] = [OptimizerForm::Loop, OptimizerForm::Foreach, OptimizerForm::Fused];

    /// p ← p − lr·sign(g) to rounding on the first step, whatever the size of the gradient (§2.1 of the paper).
    #[test]
    fn adams_first_step_moves_every_weight_by_the_learning_rate_against_its_gradient() {
        for form in FORMS {
            assert_near(&stepped(&config(OptimName::Adam), form, 1), [0.9, 1.1, 0.9]);
        }
    }

    /// The decay shrinks the weight by lr·λ and stays out of the moments; Adam's own is swallowed by their quotient.
    #[test]
    fn adamw_decays_the_weights_and_adam_the_gradient() {
        for form in FORMS {
            let decayed = Optim { weight_decay: 0.5, ..config(OptimName::AdamW) };
            assert_near(&stepped(&decayed, form, 1), [0.85, 1.05, 0.85]);
            let penalised = Optim { weight_decay: 0.1, ..config(OptimName::Adam) };
            assert_near(&stepped(&penalised, form, 1), [0.9, 1.1, 0.9]);
        }
    }

    #[test]
    fn sgd_steps_down_the_gradient_and_momentum_adds_up() {
        let sgd = config(OptimName::Sgd);
        assert_near(&stepped(&sgd, OptimizerForm::Loop, 2), [0.6, 1.1, -5.0]);
        // Velocities g, 1.9·g and 2.71·g: 5.61·g·lr in all.
        let heavy = Optim { momentum: Some(0.9), ..sgd.clone() };
        assert_near(&stepped(&heavy, OptimizerForm::Fused, 3), [1.0 - 1.122, 1.0 + 0.2805, 1.0 - 16.83]);
        // The penalty's gradient is λ·w: 1 − 0.1·(2 + 0.5·1) = 0.75.
        let penalised = Optim { weight_decay: 0.5, ..sgd };
        assert_near(&stepped(&penalised, OptimizerForm::Loop, 1), [0.75, 1.0, -2.05]);
    }

    #[test]
    fn weights_alone_decay_and_a_long_gradient_is_shortened() {
        let moved = |config: &Optim, form| -> [f64; 2] {
            let ones = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let (weight, bias) = (ones(&[1, 1]), ones(&[1]));
            let params = vec![weight.shallow_clone(), bias.shallow_clone()];
            let mut optimizer = Optimizer::new(config, form, params, &[true, false]).unwrap();
            (&weight * 3.0 + &bias * 4.0).sum(Kind::Float).backward();
            optimizer.step().unwrap();
            [weight, bias].map(|param| param.double_value(&[]) - 1.0)
        };
        let near = |found: [f64; 2], expected: [f64; 2]| {
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        };
        let weights = Some(Decay::Weights);
        let sgd = Optim { weight_decay: 0.5, decay: weights, ..config(OptimName::Sgd) };
        near(moved(&sgd, OptimizerForm::Loop), [-0.1 * 3.5, -0.1 * 4.0]);
        near(moved(&Optim { decay: None, ..sgd.clone() }, OptimizerForm::Loop), [-0.35, -0.45]);
        for form in FORMS {
            let adamw = Optim { weight_decay: 0.5, decay: weights, ..config(OptimName::AdamW) };
            near(moved(&adamw, form), [-0.15, -0.1]);
            // The penalty turns the gradient of the weight around, and not that of the bias.
            let adam = Optim { weight_decay: -6.0, decay: weights, ..config(OptimName::Adam) };
            near(moved(&adam, form), [0.1, -0.1]);
        }
        // Of length 5.
        let clipped = Optim { clip: Some(1.0), ..config(OptimName::Sgd) };
        near(moved(&clipped, OptimizerForm::Loop), [-0.06, -0.08]);
        near(moved(&Optim { clip: Some(6.0), ..clipped }, OptimizerForm::Loop), [-0.3, -0.4]);
    }

    /// What PyTorch makes of five steps down c·w + |w|²/2 from ones (`tools/reference.py`).
    #[test]
    fn five_steps_are_those_of_pytorch() {
        let text = include_str!("../../tests/data/pytorch.json");
        let reference: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = [
            ("adam", Optim { weight_decay: 0.01, ..config(OptimName::Adam) }),
            ("adamw", Optim { weight_decay: 0.5, ..config(OptimName::AdamW) }),
            ("sgd", Optim { weight_decay: 0.01, momentum: Some(0.9), ..config(OptimName::Sgd) }),
        ];
        for ((name, config), form) in cases.iter().flat_map(|case| FORMS.map(|form| (case, form))) {
            let weights = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let mut optimizer = Optimizer::new(config, form, vec![weights.shallow_clone()], &[true]).unwrap();
            let slopes = Tensor::from_slice(&[2.0_f32, -0.5, 30.0]);
            for _ in 0..5 {
                optimizer.clear_grads().unwrap();
                let bowl = (&weights * &weights).sum(Kind::Float) / 2.0;
                ((&slopes * &weights).sum(Kind::Float) + bowl).backward();
                optimizer.step().unwrap();
            }
            let expected: [f64; 3] = serde_json::from_value(reference["optimizers"][name].clone()).unwrap();
            assert_near(&Vec::<f32>::try_from(weights.detach()).unwrap(), expected);
        }
    }
}
