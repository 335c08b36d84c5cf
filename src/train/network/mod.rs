//! A network as operators of libtorch: its layers, their parameters, and the order that a plan puts them in.

mod activation;
#[cfg(test)]
mod against_float64;
#[cfg(test)]
mod against_pytorch;
mod layer;
pub(super) mod parameters;
mod sequence;

use tch::{TchError, Tensor};

use crate::experiment::Plan;
use crate::experiment::plan::EffectiveLayer;
use crate::network::Step;
use crate::stream::Key;
use crate::train::TrainError;
use parameters::Parameters;
pub(super) use sequence::See;
use sequence::Sequence;

/// What a forward pass does differently in training and in evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mode {
    /// Dropout draws from libtorch's generator; without it, it does nothing.
    pub dropout: bool,
    pub batch_norm: BatchNormMode,
    /// What comes out is differentiated twice, which our own operators cannot be: libtorch computes all of it.
    pub curved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BatchNormMode {
    /// By the batch's statistics, which also move the running ones.
    Batch,
    /// By the running statistics.
    Running,
    /// Not at all: a planted fault.
    Off,
}

impl Mode {
    pub(super) const TRAIN: Self = Self { dropout: true, batch_norm: BatchNormMode::Batch, curved: false };
    pub(super) const EVAL: Self = Self { dropout: false, batch_norm: BatchNormMode::Running, curved: false };
    /// As in evaluation, by operators that can be differentiated twice.
    pub(super) const CURVED: Self = Self { curved: true, ..Self::EVAL };
}

pub(super) struct Network(Sequence);

impl Network {
    /// Logits [N, classes] of images [N, C, H, W].
    pub(super) fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        self.0.forward(images, mode)
    }

    /// The same logits, showing `see` the output of every activation: `act1`, `act2`, … from the input on, and before any
    /// pooling, whatever order the plan puts the two in.
    pub(super) fn forward_seen(&self, images: &Tensor, mode: Mode, see: See) -> Result<Tensor, TchError> {
        self.0.forward_seen(images, mode, see)
    }

    /// What our own kernels computed in the last pass of either kind that [`Self::forward`] made.
    pub(super) fn effective(&self) -> Vec<EffectiveLayer> {
        let mut layers = Vec::new();
        self.0.effective(&mut layers);
        layers
    }
}

pub(super) struct Built {
    pub network: Network,
    pub parameters: Parameters,
}

/// Builds the network of `steps` with weights drawn from `init`.
pub(super) fn build(steps: &[Step], plan: &Plan, init: &Key) -> Result<Built, TrainError> {
    let mut parameters = Parameters::new(init, plan.memory_format);
    let sequence = Sequence::new(&mut parameters, steps, plan.into())?;
    Ok(Built { network: Network(sequence), parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Name;
    use crate::experiment::plan::{Device, PlanName};
    use crate::network::{Activation, Norm, Pooling, Preset, PresetName, Size, cost, infer};
    use crate::stream::{Seed, Stream};
    use crate::train::GENERATOR;

    fn config(name: PresetName) -> Preset {
        Preset { dropout: 0.5, ..Preset::of(name) }
    }

    fn steps(config: &Preset, set: Name) -> Vec<Step> {
        let shape = set.shape();
        let [channels, height, width] = [shape.channels, shape.height, shape.width].map(|side| side as u64);
        infer(&config.layers(), Size::Image { channels, height, width }, 10).unwrap()
    }

    fn built(config: &Preset, set: Name, name: PlanName) -> Built {
        let plan = Plan::named(name, 1, Device::Cpu);
        build(&steps(config, set), &plan, &Key::new(Seed(3), Stream::Init, 0, 0)).unwrap()
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
            [PresetName::SimpleCnn, PresetName::ImprovedCnn].into_iter().zip([Name::mnist(), Name::cifar10()])
        {
            for pooling in [None, Some(Pooling::Overlapping)] {
                for norm in [None, Some(Norm::Lrn), Some(Norm::Off)] {
                    for activation in [Activation::Relu, Activation::Tanh, Activation::Prelu] {
                        let config = Preset { pooling, norm, activation, ..config(name) };
                        let built = built(&config, set, PlanName::Tuned);
                        let images = images(set, 2);
                        let logits = built.network.forward(&images, Mode::EVAL).unwrap();
                        assert_eq!(logits.size(), [2, 10]);
                        let mut seen = 0;
                        let again = built
                            .network
                            .forward_seen(&images, Mode::EVAL, &mut |_, _, _| seen += 1)
                            .unwrap();
                        assert!(logits.equal(&again), "{config:?}");
                        let order = (&Plan::named(PlanName::Tuned, 1, Device::Cpu)).into();
                        let counted = cost::of(&steps(&config, set), order).parameters;
                        assert_eq!(counted, built.parameters.count() as u64, "{config:?}");
                        assert_eq!(seen, if name == PresetName::SimpleCnn { 3 } else { 7 });
                    }
                }
            }
        }
    }

    /// Arms that differ in what has no weights start from the same ones.
    #[test]
    fn initial_weights_do_not_depend_on_activation_dropout_pooling_or_norm() {
        let _alone = GENERATOR.lock().unwrap();
        for (name, set) in
            [(PresetName::SimpleCnn, Name::mnist()), (PresetName::ImprovedCnn, Name::cifar10())]
        {
            let base = built(&config(name), set, PlanName::Tuned).parameters;
            for other in [
                Preset { activation: Activation::Prelu, ..config(name) },
                Preset { dropout: 0.0, ..config(name) },
                Preset { pooling: Some(Pooling::Overlapping), ..config(name) },
                Preset { norm: Some(Norm::Off), ..config(name) },
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
            let config = Preset { dropout, ..config(PresetName::SimpleCnn) };
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
            built(&config(PresetName::ImprovedCnn), Name::cifar10(), PlanName::Eager).parameters.count();
        assert_eq!(count, convolutions + 4096 * 256 + 256 + 256 * 10 + 10);
    }
}
