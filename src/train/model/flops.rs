//! What a training step has to compute and to move, counted from the shapes of its model.
//!
//! *FLOP* are those of convolutions and linear layers, a multiply–add being two; normalisation, activations, pooling,
//! loss and optimizer are left out, being a few FLOP a value. A backward pass takes twice the forward pass, once for the
//! gradient of the weights and once for that of the input; the first convolution has no input that wants a gradient.
//! What a kernel computes a second time instead of reading it is not counted again.
//!
//! *Bytes* are the least that is moved if every operator of the plan reads and writes each value once. Forward, an
//! operator's output is written by it and read by the next one; backward, it is read again, and its gradient is written
//! and read: three passes, where those operators that need two looks make more. Beside that the images are read in both
//! passes, the weights in the first, and the gradients of the weights are written in the second; the optimizer reads
//! these, and reads and writes the weights and what it remembers.

use crate::experiment::Config;
use crate::experiment::config::{Activation, Model, Norm, Optim, OptimName, Pooling as PoolingConfig};
use crate::experiment::plan::{Kernels, Plan, Pooling};
use crate::train::model::block::Pool;
use crate::train::model::layout;
use crate::work::{StepWork, Work};

const BYTES_PER_VALUE: u64 = 4;
const FLOP_PER_MAC: u64 = 2;
/// Passes over the output of an operator: written and read.
const FORWARD_PASSES: u64 = 2;
/// Read again, its gradient written and read.
const BACKWARD_PASSES: u64 = 3;

/// Of one step of full size.
pub fn work(config: &Config, plan: &Plan) -> StepWork {
    let (sizes, images) = (Sizes::of(config, plan), u64::from(config.train.batch));
    let work = |macs: u64, values: u64| Work { flop: FLOP_PER_MAC * macs, bytes: BYTES_PER_VALUE * values };
    let values = |passes: u64| images * (sizes.image + passes * sizes.outputs) + sizes.parameters;
    let optimizer = sizes.parameters * (3 + 2 * remembered(&config.optim));
    StepWork {
        forward: work(images * sizes.macs, values(FORWARD_PASSES)),
        backward: work(images * (2 * sizes.macs - sizes.first_macs), values(BACKWARD_PASSES)),
        optimizer: work(0, optimizer),
    }
}

/// Values the optimizer keeps for each weight.
fn remembered(optim: &Optim) -> u64 {
    match optim.name {
        OptimName::Adam | OptimName::AdamW => 2,
        OptimName::Sgd => u64::from(optim.momentum.unwrap_or(0.0) != 0.0),
    }
}

/// Of one image, but for the parameters.
#[derive(Default)]
struct Sizes {
    /// Values of an image.
    image: u64,
    /// Multiply–adds of every convolution and linear layer, and of the first.
    macs: u64,
    first_macs: u64,
    /// Values that the operators write.
    outputs: u64,
    parameters: u64,
}

impl Sizes {
    fn of(config: &Config, plan: &Plan) -> Self {
        let (model, shape) = (&config.model, config.data.set.shape());
        let layout = layout(model.name);
        let slopes = u64::from(model.activation == Activation::Prelu);
        let mut sizes = Self { image: shape.len() as u64, ..Self::default() };
        let (mut channels, mut height, mut width) = (shape.channels as u64, shape.height, shape.width);
        for &(output, is_pooled) in layout.blocks {
            let output = output as u64;
            let before = output * (height * width) as u64;
            if is_pooled {
                let pool = Pool::of(model);
                (height, width) = (pool.side(height), pool.side(width));
            }
            let after = output * (height * width) as u64;
            sizes.add_layer(9 * channels * before, output * (9 * channels + 1));
            sizes.parameters += slopes + if has_batch_norm(model) { 2 * output } else { 0 };
            sizes.outputs += Block { channels, before, after, is_pooled }.written(model, plan);
            channels = output;
        }
        let (hidden, classes) = (layout.hidden as u64, u64::from(config.data.set.classes()));
        for (input, output) in [(channels * (height * width) as u64, hidden), (hidden, classes)] {
            sizes.add_layer(input * output, output * (input + 1));
        }
        sizes.parameters += slopes;
        // The hidden layer, its activation, and the logits.
        sizes.outputs += 2 * hidden + classes;
        sizes
    }

    fn add_layer(&mut self, macs: u64, parameters: u64) {
        if self.macs == 0 {
            self.first_macs = macs;
        }
        self.macs += macs;
        self.parameters += parameters;
    }
}

fn has_batch_norm(model: &Model) -> bool {
    matches!(model.norm, None | Some(Norm::BatchNorm))
}

/// A convolution block, in values an image.
struct Block {
    /// Of its input.
    channels: u64,
    /// Before pooling, and after it; alike without.
    before: u64,
    after: u64,
    is_pooled: bool,
}

impl Block {
    /// What its operators write: this follows `Block::forward`, and changes with it.
    fn written(&self, model: &Model, plan: &Plan) -> u64 {
        if plan.kernels == Kernels::Fused && has_batch_norm(model) {
            self.written_by_own_kernels(model)
        } else {
            self.written_by_stock(model, plan)
        }
    }

    fn written_by_stock(&self, model: &Model, plan: &Plan) -> u64 {
        let norm = if model.norm == Some(Norm::Off) { 0 } else { self.before };
        let pools_first = plan.pooling == Pooling::BeforeMonotoneActivation
            && model.activation.is_monotone()
            && model.norm != Some(Norm::Lrn);
        let activation = if self.is_pooled && pools_first { self.after } else { self.before };
        let pool = if self.is_pooled { self.after } else { 0 };
        self.before + norm + activation + pool
    }

    /// BatchNorm, and what is in the same kernel with it, write once; for grey images the first convolution is in it too.
    fn written_by_own_kernels(&self, model: &Model) -> u64 {
        let has_pool = self.is_pooled
            && !matches!(model.pooling, Some(PoolingConfig::Overlapping))
            && model.activation.never_falls();
        let convolution = if has_pool && self.channels == 1 { 0 } else { self.before };
        let kernel = if has_pool { self.after } else { self.before };
        let activation = if model.activation == Activation::Relu { 0 } else { kernel };
        let pool = if self.is_pooled && !has_pool { self.after } else { 0 };
        convolution + kernel + activation + pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Name;
    use crate::experiment::config::{Data, ModelName, Train};
    use crate::experiment::plan::{Device, PlanName};
    use crate::stream::{Key, Seed, Stream};
    use crate::train::GENERATOR;
    use crate::train::model::build;

    fn config(name: ModelName, set: Name, batch: u32) -> Config {
        Config {
            data: Data { set, digest: set.digest(), validation: 0.2, train_limit: None, eval_limit: None },
            model: Model { name, activation: Activation::Relu, dropout: 0.5, pooling: None, norm: None },
            optim: Optim {
                name: OptimName::Adam,
                lr: 0.001,
                betas: [0.9, 0.999],
                eps: 1e-8,
                weight_decay: 0.0,
                momentum: None,
                schedule: None,
            },
            train: Train {
                batch,
                epochs: 1,
                max_steps: None,
                target_loss: None,
                patience: None,
                min_delta: None,
                micro_batch: None,
                replicate: None,
            },
            augment: None,
        }
    }

    fn simple(batch: u32) -> Config {
        config(ModelName::SimpleCnn, Name::mnist(), batch)
    }

    fn plan(name: PlanName) -> Plan {
        Plan::named(name, 1, Device::Cpu)
    }

    /// 28·28·9·32 + 14·14·9·32·64 + 3136·128 + 128·10 = 4,241,152 multiply–adds, of which the first layer's are 225,792.
    #[test]
    fn simple_cnn_takes_25_megaflop_an_image() {
        let work = work(&simple(1), &plan(PlanName::Eager));
        assert_eq!((work.forward.flop, work.backward.flop), (8_482_304, 4 * 4_241_152 - 2 * 225_792));
        assert_eq!(3 * work.forward.flop, 25_446_912);
        assert_eq!(work.whole().flop, 24_995_328);
    }

    /// 1024·9·(3·32 + 32·64) + 256·9·(64·128 + 128·128) + 64·9·(128·256 + 256·256) + 4096·256 + 256·10 = 134,056,448.
    #[test]
    fn improved_cnn_takes_804_megaflop_an_image() {
        let work = work(&config(ModelName::ImprovedCnn, Name::cifar10(), 1), &plan(PlanName::Eager));
        assert_eq!((work.forward.flop, work.backward.flop), (268_112_896, 534_456_320));
        assert_eq!(3 * work.forward.flop, 804_338_688);
    }

    #[test]
    fn arithmetic_grows_with_the_batch_and_is_the_same_under_every_plan() {
        let one = work(&simple(1), &plan(PlanName::Eager)).whole().flop;
        for name in [PlanName::Eager, PlanName::Tuned, PlanName::Fused] {
            assert_eq!(work(&simple(64), &plan(name)).whole().flop, 64 * one, "{name}");
        }
    }

    /// Values an image as written: 25,088 each by convolution, BatchNorm and ReLU and 6,272 by pooling, half of each in the
    /// second block, then 128, 128 and 10: 122,570. Parameters: 421,834.
    #[test]
    fn bytes_are_those_of_shapes_counted_by_hand() {
        let work = work(&simple(64), &plan(PlanName::Eager));
        assert_eq!(work.forward.bytes, 4 * (64 * (784 + 2 * 122_570) + 421_834));
        assert_eq!(work.backward.bytes, 4 * (64 * (784 + 3 * 122_570) + 421_834));
        assert_eq!(work.optimizer, Work { flop: 0, bytes: 4 * 7 * 421_834 });
    }

    #[test]
    fn a_plan_that_moves_less_is_counted_as_less() {
        let outputs = |name| Sizes::of(&simple(64), &plan(name)).outputs;
        assert_eq!(outputs(PlanName::Eager), 122_570);
        // ReLU comes after pooling.
        assert_eq!(outputs(PlanName::Tuned), 122_570 - (25_088 - 6_272) - (12_544 - 3_136));
        // The first block writes what it has pooled; the second its convolution, and what it has pooled.
        assert_eq!(outputs(PlanName::Fused), 6_272 + 12_544 + 3_136 + 266);
    }

    #[test]
    fn what_a_model_leaves_out_is_not_counted() {
        let outputs = |change: fn(&mut Model), name| {
            let mut config = simple(64);
            change(&mut config.model);
            Sizes::of(&config, &plan(name)).outputs
        };
        let (eager, tuned) = (PlanName::Eager, PlanName::Tuned);
        assert_eq!(outputs(|model| model.norm = Some(Norm::Off), eager), 122_570 - 25_088 - 12_544);
        // Normalised after it is activated, so that pooling stays last.
        assert_eq!(outputs(|model| model.norm = Some(Norm::Lrn), tuned), 122_570);
        assert_eq!(outputs(|model| model.activation = Activation::Tanh, tuned), 122_570);
    }

    #[test]
    fn sgd_remembers_only_with_momentum() {
        let bytes = |momentum| {
            let mut config = simple(64);
            (config.optim.name, config.optim.momentum) = (OptimName::Sgd, momentum);
            work(&config, &plan(PlanName::Tuned)).optimizer.bytes / 4 / 421_834
        };
        assert_eq!([None, Some(0.0), Some(0.9)].map(bytes), [3, 3, 5]);
    }

    #[test]
    fn parameters_are_those_of_the_model_that_is_built() {
        let _alone = GENERATOR.lock().unwrap();
        let init = Key::new(Seed(0), Stream::Init, 0, 0);
        for (name, set) in [(ModelName::SimpleCnn, Name::mnist()), (ModelName::ImprovedCnn, Name::cifar10())]
        {
            for activation in [Activation::Relu, Activation::Prelu] {
                for norm in [None, Some(Norm::Lrn), Some(Norm::Off)] {
                    for pooling in [None, Some(PoolingConfig::Overlapping)] {
                        let mut config = config(name, set, 64);
                        config.model = Model { activation, norm, pooling, ..config.model };
                        let plan = plan(PlanName::Eager);
                        let built = build(&config.model, &plan, set.shape(), set.classes(), &init).unwrap();
                        let counted = Sizes::of(&config, &plan).parameters;
                        assert_eq!(counted, built.parameters.count() as u64, "{:?}", config.model);
                    }
                }
            }
        }
    }
}
