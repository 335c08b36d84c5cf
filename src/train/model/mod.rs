//! The models a config can name: one file and one line in `build` each.

#[cfg(test)]
mod against_pytorch;
mod block;
mod flops;
mod improved_cnn;
mod simple_cnn;
mod stack;

pub use flops::work;

use tch::Tensor;

use crate::data::Shape;
use crate::experiment::config::{Model as ModelConfig, ModelName};
use crate::experiment::plan::{EffectiveLayer, Kernels, Plan, Pooling};
use crate::stream::Key;
use crate::train::TrainError;
use crate::train::parameters::Parameters;

/// What a forward pass does differently in training and in evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Dropout draws from libtorch's generator; without it, it does nothing.
    pub dropout: bool,
    pub batch_norm: BatchNormMode,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchNormMode {
    /// By the batch's statistics, which also move the running ones.
    Batch,
    /// By the running statistics.
    Running,
    /// Not at all: a planted fault.
    Off,
}

impl Mode {
    pub const TRAIN: Self = Self { dropout: true, batch_norm: BatchNormMode::Batch };
    pub const EVAL: Self = Self { dropout: false, batch_norm: BatchNormMode::Running };
}

pub trait Model {
    /// Logits [N, classes] of images [N, C, H, W].
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, tch::TchError>;

    /// The same logits, showing `see` the output of every activation: `act1`, `act2`, … from the input on, and
    /// before any pooling, whatever order the plan puts the two in.
    fn forward_seen(
        &self,
        images: &Tensor,
        mode: Mode,
        see: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor, tch::TchError>;

    /// What our own kernels computed in the last pass of either kind that `forward` made.
    fn effective(&self) -> Vec<EffectiveLayer>;
}

pub struct Built {
    pub model: Box<dyn Model>,
    pub parameters: Parameters,
}

/// How a plan lets a model order and place its operators.
#[derive(Clone, Copy)]
pub struct Order {
    /// Pool before an activation with which a maximum commutes exactly, and let that activation overwrite its input.
    pub pool_first: bool,
    /// Train with our own kernels where there is one.
    pub own_kernels: bool,
}

impl Order {
    pub fn of(plan: &Plan) -> Self {
        Self {
            pool_first: plan.pooling == Pooling::BeforeMonotoneActivation,
            own_kernels: plan.kernels == Kernels::Fused,
        }
    }
}

/// Builds the model for images of `shape` with weights drawn from `init`.
pub fn build(
    config: &ModelConfig,
    plan: &Plan,
    shape: Shape,
    classes: u16,
    init: &Key,
) -> Result<Built, TrainError> {
    let mut parameters = Parameters::new(init, plan.memory_format);
    let order = Order::of(plan);
    let layout = layout(config.name);
    let model = Box::new(stack::Stack::new(&mut parameters, layout, config, order, shape, classes)?);
    Ok(Built { model, parameters })
}

fn layout(name: ModelName) -> &'static stack::Layout<'static> {
    match name {
        ModelName::SimpleCnn => &simple_cnn::LAYOUT,
        ModelName::ImprovedCnn => &improved_cnn::LAYOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Name;
    use crate::experiment::config::{Activation, Norm, Pooling as PoolingConfig};
    use crate::experiment::plan::{Device, PlanName};
    use crate::stream::{Seed, Stream};
    use crate::train::GENERATOR;

    fn config(name: ModelName) -> ModelConfig {
        ModelConfig { name, activation: Activation::Relu, dropout: 0.5, pooling: None, norm: None }
    }

    fn built(config: &ModelConfig, set: Name, name: PlanName) -> Built {
        let plan = Plan::named(name, 1, Device::Cpu);
        build(config, &plan, set.shape(), set.classes(), &Key::new(Seed(3), Stream::Init, 0, 0)).unwrap()
    }

    fn images(set: Name, count: i64) -> Tensor {
        let shape = set.shape();
        let size = [count, shape.channels as i64, shape.height as i64, shape.width as i64];
        Tensor::rand(size, (tch::Kind::Float, tch::Device::Cpu))
    }

    /// Every option a config has, on both models and both shapes of image, trained and seen.
    #[test]
    fn every_option_gives_logits_and_the_same_bits_when_it_is_looked_at() {
        let _alone = GENERATOR.lock().unwrap();
        for (name, set) in
            [ModelName::SimpleCnn, ModelName::ImprovedCnn].into_iter().zip([Name::mnist(), Name::cifar10()])
        {
            for pooling in [None, Some(PoolingConfig::Overlapping)] {
                for norm in [None, Some(Norm::Lrn), Some(Norm::Off)] {
                    for activation in [Activation::Relu, Activation::Tanh, Activation::Prelu] {
                        let config = ModelConfig { pooling, norm, activation, ..config(name) };
                        let built = built(&config, set, PlanName::Tuned);
                        let images = images(set, 2);
                        let logits = built.model.forward(&images, Mode::EVAL).unwrap();
                        assert_eq!(logits.size(), [2, 10]);
                        let mut seen = 0;
                        let again =
                            built.model.forward_seen(&images, Mode::EVAL, &mut |_, _| seen += 1).unwrap();
                        assert!(logits.equal(&again), "{config:?}");
                        assert_eq!(seen, if name == ModelName::SimpleCnn { 3 } else { 7 });
                    }
                }
            }
        }
    }

    /// Arms that differ in what has no weights start from the same ones.
    #[test]
    fn initial_weights_do_not_depend_on_activation_dropout_pooling_or_norm() {
        let _alone = GENERATOR.lock().unwrap();
        for (name, set) in [(ModelName::SimpleCnn, Name::mnist()), (ModelName::ImprovedCnn, Name::cifar10())]
        {
            let base = built(&config(name), set, PlanName::Tuned).parameters;
            for other in [
                ModelConfig { activation: Activation::Prelu, ..config(name) },
                ModelConfig { dropout: 0.0, ..config(name) },
                ModelConfig { pooling: Some(PoolingConfig::Overlapping), ..config(name) },
                ModelConfig { norm: Some(Norm::Off), ..config(name) },
            ] {
                let other = built(&other, set, PlanName::Tuned).parameters;
                for (name, tensor) in base.trainable_names().zip(base.trainable_tensors()) {
                    let same =
                        other.trainable_names().zip(other.trainable_tensors()).find(|(n, _)| *n == name);
                    // Without BatchNorm its weights are not there to compare.
                    assert!(same.is_none_or(|(_, other)| tensor.equal(&other)), "{name}");
                }
                let shared =
                    other.trainable_names().filter(|name| name.starts_with("conv") || name.starts_with("fc"));
                let expected = base.trainable_names().filter(|name| !name.starts_with("bn"));
                assert!(shared.eq(expected));
            }
        }
    }

    #[test]
    fn arms_of_dropout_start_from_one_digest() {
        let _alone = GENERATOR.lock().unwrap();
        let digest = |dropout| {
            let config = ModelConfig { dropout, ..config(ModelName::SimpleCnn) };
            built(&config, Name::mnist(), PlanName::Tuned).parameters.digest().unwrap()
        };
        assert_eq!(digest(0.0), digest(0.3));
        assert_eq!(digest(0.0), digest(0.5));
    }

    #[test]
    fn the_deep_model_has_the_size_of_the_notes() {
        let _alone = GENERATOR.lock().unwrap();
        let convolutions: usize = [(3, 32), (32, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
            .map(|(input, output)| input * output * 9 + 3 * output)
            .iter()
            .sum();
        let count =
            built(&config(ModelName::ImprovedCnn), Name::cifar10(), PlanName::Eager).parameters.count();
        assert_eq!(count, convolutions + 4096 * 256 + 256 + 256 * 10 + 10);
    }
}
