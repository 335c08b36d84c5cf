//! What a training step has to compute and to move, counted from the shapes of its network.
//!
//! *FLOP* are those of convolutions and linear layers, a multiply–add being two; normalisation, activations, pooling,
//! loss and optimizer are left out, being a few FLOP a value. A backward pass takes twice the forward pass, once for the
//! gradient of the weights and once for that of the input; what reads the images has no input that wants a gradient.
//! What a kernel computes a second time instead of reading it is not counted again.
//!
//! *Bytes* are the least that is moved if every operator of the plan reads and writes each value once. Forward, an
//! operator's output is written by it and read by the next one; backward, it is read again, and its gradient is written
//! and read: three passes, where those operators that need two looks make more. Dropout is not counted. Beside that the
//! images are read in both passes, the weights in the first, and the gradients of the weights are written in the second;
//! the optimizer reads these, and reads and writes the weights and what it remembers.

use crate::network::passes::{Order, OwnKernels, Pass, inner, passes};
use crate::network::shape::{Op, Size, Step, Way};
use crate::work::{StepWork, Work};

const BYTES_PER_VALUE: u64 = 4;
const FLOP_PER_MAC: u64 = 2;
/// Passes over the output of an operator: written and read.
const FORWARD_PASSES: u64 = 2;
/// Read again, its gradient written and read.
const BACKWARD_PASSES: u64 = 3;

/// What one image costs, but for the parameters.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Values of an image.
    pub image: u64,
    /// Multiply–adds of a forward pass.
    pub macs: u64,
    /// Those of the layers that read the images themselves.
    pub image_macs: u64,
    /// Values that the operators write.
    pub outputs: u64,
    /// Values that are trained.
    pub parameters: u64,
}

/// The cost of `steps` as `order` has them computed.
pub fn of(steps: &[Step], order: Order) -> Cost {
    let image = steps.first().map_or(0, |step| step.input.values());
    let mut cost = Cost { image, outputs: written(steps, &passes(steps, order), order), ..Cost::default() };
    cost.add_arithmetic(steps, true);
    cost
}

/// Multiply–adds of a forward pass over one image, whatever the plan.
pub fn multiply_adds(steps: &[Step]) -> u64 {
    of(steps, Order { pool_first: false, own_kernels: false, convolution: None }).macs
}

impl Cost {
    /// The work of one step over so many images, by an optimizer that keeps so many values for each weight.
    pub fn step(&self, images: u64, remembered: u64) -> StepWork {
        let work = |macs: u64, values: u64| Work {
            flop: FLOP_PER_MAC.saturating_mul(macs),
            bytes: BYTES_PER_VALUE.saturating_mul(values),
        };
        let values = |passes: u64| {
            let image = self.image.saturating_add(passes.saturating_mul(self.outputs));
            images.saturating_mul(image).saturating_add(self.parameters)
        };
        let forward = images.saturating_mul(self.macs);
        let backward = forward.saturating_mul(2).saturating_sub(images.saturating_mul(self.image_macs));
        StepWork {
            forward: work(forward, values(FORWARD_PASSES)),
            backward: work(backward, values(BACKWARD_PASSES)),
            optimizer: work(0, self.parameters.saturating_mul(3 + 2 * remembered)),
        }
    }

    /// Adds multiply–adds and parameters; says whether what leaves the steps is still the images.
    fn add_arithmetic(&mut self, steps: &[Step], mut is_image: bool) -> bool {
        for step in steps {
            self.parameters = self.parameters.saturating_add(step.parameters());
            let macs = multiply_adds_of(step);
            self.macs = self.macs.saturating_add(macs);
            if is_image {
                self.image_macs = self.image_macs.saturating_add(macs);
            }
            let inner = inner(step);
            let stays = inner.iter().map(|steps| self.add_arithmetic(steps, is_image)).collect::<Vec<_>>();
            // Trained values in front want a gradient of what they give.
            is_image &= step.parameters() == 0 && stays.into_iter().all(|stays| stays);
        }
        is_image
    }
}

fn multiply_adds_of(step: &Step) -> u64 {
    match (&step.op, step.input, step.output) {
        (Op::Conv(conv), Size::Image { channels, .. }, output) => {
            let [kernel, groups] = [conv.kernel, conv.groups].map(u64::from);
            (channels / groups).saturating_mul(kernel * kernel).saturating_mul(output.values())
        }
        (Op::Linear { .. }, input, output) => input.values().saturating_mul(output.values()),
        _ => 0,
    }
}

/// Values that `passes` write.
fn written(steps: &[Step], passes: &[Pass], order: Order) -> u64 {
    let mut size = steps.first().map_or(0, |step| step.input.values());
    passes.iter().map(|pass| written_by(steps, pass, order, &mut size)).fold(0, u64::saturating_add)
}

/// Values that a pass writes where `size` arrive; `size` becomes what leaves it.
fn written_by(steps: &[Step], pass: &Pass, order: Order, size: &mut u64) -> u64 {
    match pass {
        Pass::Stock { step, .. } => {
            let step = &steps[*step];
            // An activation keeps what arrives, which may have been pooled already.
            if !matches!(step.op, Op::Activation(_)) {
                *size = step.output.values();
            }
            match &step.op {
                Op::Flatten | Op::Dropout(_) => 0,
                Op::Residual { body, shortcut } => {
                    let way = match shortcut {
                        Way::Identity => 0,
                        Way::Pad { .. } => *size,
                        Way::Project(way) => written(way, &passes(way, order), order),
                    };
                    written(body, &passes(body, order), order).saturating_add(way).saturating_add(*size)
                }
                _ => *size,
            }
        }
        Pass::Own(own) => written_by_own_kernels(steps, own, order, size),
    }
}

/// BatchNorm, and what is in the same kernel with it, write once; the convolution may be in it too.
fn written_by_own_kernels(steps: &[Step], own: &OwnKernels, order: Order, size: &mut u64) -> u64 {
    let before = steps[own.conv].output.values();
    let last = own.conv + own.stock.len() - 1;
    *size = if own.pool { steps[last].output.values() } else { before };
    let kernel = *size;
    let rest = own.rest.iter().map(|pass| written_by(steps, pass, order, size)).sum::<u64>();
    (if own.first { 0 } else { before }) + kernel + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Norm, Pooling, Preset, PresetName, infer};

    const EAGER: Order = Order { pool_first: false, own_kernels: false, convolution: None };
    const TUNED: Order = Order { pool_first: true, ..EAGER };
    const FUSED: Order = Order { own_kernels: true, ..TUNED };

    fn preset(name: PresetName) -> Preset {
        Preset { dropout: 0.5, ..Preset::of(name) }
    }

    fn cost(preset: &Preset, order: Order) -> Cost {
        let size = match preset.name {
            PresetName::SimpleCnn => Size::Image { channels: 1, height: 28, width: 28 },
            PresetName::ImprovedCnn => Size::Image { channels: 3, height: 32, width: 32 },
        };
        of(&infer(&preset.layers(), size, 10).unwrap(), order)
    }

    fn simple(order: Order) -> Cost {
        cost(&preset(PresetName::SimpleCnn), order)
    }

    /// 28·28·9·32 + 14·14·9·32·64 + 3136·128 + 128·10 = 4,241,152 multiply–adds, of which the first layer's are 225,792.
    #[test]
    fn simple_cnn_takes_25_megaflop_an_image() {
        let work = simple(EAGER).step(1, 2);
        assert_eq!((work.forward.flop, work.backward.flop), (8_482_304, 4 * 4_241_152 - 2 * 225_792));
        assert_eq!(work.whole().flop, 24_995_328);
    }

    /// 1024·9·(3·32 + 32·64) + 256·9·(64·128 + 128·128) + 64·9·(128·256 + 256·256) + 4096·256 + 256·10 = 134,056,448.
    #[test]
    fn improved_cnn_takes_804_megaflop_an_image() {
        let work = cost(&preset(PresetName::ImprovedCnn), EAGER).step(1, 2);
        assert_eq!((work.forward.flop, work.backward.flop), (268_112_896, 534_456_320));
    }

    #[test]
    fn arithmetic_grows_with_the_batch_and_is_the_same_under_every_plan() {
        let one = simple(EAGER).step(1, 2).whole().flop;
        for order in [EAGER, TUNED, FUSED] {
            assert_eq!(simple(order).step(64, 2).whole().flop, 64 * one);
        }
    }

    /// Values an image as written: 25,088 each by convolution, BatchNorm and ReLU and 6,272 by pooling, half of each in the
    /// second block, then 128, 128 and 10: 122,570. Parameters: 421,834.
    #[test]
    fn bytes_are_those_of_shapes_counted_by_hand() {
        let work = simple(EAGER).step(64, 2);
        assert_eq!(work.forward.bytes, 4 * (64 * (784 + 2 * 122_570) + 421_834));
        assert_eq!(work.backward.bytes, 4 * (64 * (784 + 3 * 122_570) + 421_834));
        assert_eq!(work.optimizer, Work { flop: 0, bytes: 4 * 7 * 421_834 });
    }

    #[test]
    fn a_plan_that_moves_less_is_counted_as_less() {
        assert_eq!(simple(EAGER).outputs, 122_570);
        // ReLU comes after pooling.
        assert_eq!(simple(TUNED).outputs, 122_570 - (25_088 - 6_272) - (12_544 - 3_136));
        // The first block writes what it has pooled; the second its convolution, and what it has pooled.
        assert_eq!(simple(FUSED).outputs, 6_272 + 12_544 + 3_136 + 266);
    }

    #[test]
    fn what_a_network_leaves_out_is_not_counted() {
        let outputs = |change: fn(&mut Preset), order| {
            let mut preset = preset(PresetName::SimpleCnn);
            change(&mut preset);
            cost(&preset, order).outputs
        };
        assert_eq!(outputs(|preset| preset.norm = Some(Norm::Off), EAGER), 122_570 - 25_088 - 12_544);
        // Normalised after it is activated, so that pooling stays last.
        assert_eq!(outputs(|preset| preset.norm = Some(Norm::Lrn), TUNED), 122_570);
        assert_eq!(outputs(|preset| preset.activation = Activation::Tanh, TUNED), 122_570);
        // By our own kernels BatchNorm alone is fused, with ReLU; overlapping pooling comes behind it.
        let overlapping = |preset: &mut Preset| preset.pooling = Some(Pooling::Overlapping);
        assert_eq!(outputs(overlapping, FUSED), 2 * 25_088 + 6_272 + 2 * 12_544 + 3_136 + 266);
    }

    /// A 3×3 convolution of 3 to 8 channels with a projection beside it, both of which read the images: 16·16 places.
    #[test]
    fn a_residual_costs_its_layers_its_shortcut_and_the_sum() {
        let layers = r#"[{"residual": [{"conv": 8, "kernel": 3, "pad": 1, "stride": 2, "bias": false}, "batch_norm"],
            "shortcut": "project"}, "relu", "global_avg_pool", "flatten", {"linear": "classes"}]"#;
        let layers: Vec<crate::network::Layer> = serde_json::from_str(layers).unwrap();
        let steps = infer(&layers, Size::Image { channels: 3, height: 32, width: 32 }, 10).unwrap();
        let cost = of(&steps, EAGER);
        let (conv, project) = (256 * 9 * 3 * 8, 256 * 3 * 8);
        assert_eq!((cost.macs, cost.image_macs), (conv + project + 80, conv + project));
        assert_eq!(cost.parameters, 216 + 16 + 24 + 16 + 90);
        // Two convolutions, two BatchNorms, the sum and ReLU; the means and the logits.
        assert_eq!(cost.outputs, 6 * 2048 + 8 + 10);
    }
}
