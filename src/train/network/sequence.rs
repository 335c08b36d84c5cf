//! Layers one after the other, as operators, in the order of a plan.

use std::cell::RefCell;

use tch::{TchError, Tensor};

use crate::experiment::plan::{EffectiveLayer, Fallback, OwnOperator, Pass as Phase};
use crate::network::{
    Activation, Algorithms, Op, Order, OwnKernels, Pass, Size, Step, Way, Window, convolution, passes,
};
use crate::train::network::activation::Act;
use crate::train::network::layer::{BatchNorm, Conv, GroupNorm, LayerNorm, Linear, local_response_norm};
use crate::train::network::parameters::Parameters;
use crate::train::network::{BatchNormMode, Mode};
use crate::train::shim::fused::{self, Then};

/// Shown the name of an activation, which it is, and its output before any pooling.
pub(crate) type See<'a> = &'a mut dyn FnMut(&str, Activation, &Tensor);

pub(super) struct Sequence {
    nodes: Vec<Node>,
    passes: Vec<Pass>,
}

struct Node {
    name: String,
    layer: Layer,
}

enum Layer {
    Conv(Conv, Record),
    Linear(Linear),
    BatchNorm(BatchNorm),
    GroupNorm(GroupNorm),
    LayerNorm(LayerNorm),
    Lrn,
    Activation(Act),
    MaxPool(Window),
    AvgPool(Window),
    GlobalAvgPool,
    Flatten,
    Dropout(f64),
    Residual { body: Sequence, shortcut: Shortcut },
}

enum Shortcut {
    Identity,
    Pad { stride: i64, channels: i64 },
    Project(Sequence),
}

/// What ran of a convolution and what follows it, in the last training and in the last evaluation, once there was one.
type Record = [RefCell<Option<Ran>>; 2];

#[derive(Clone)]
struct Ran {
    /// What our own kernels computed.
    own: Vec<OwnOperator>,
    convolution: Option<Algorithms>,
}

impl Sequence {
    /// The layers of `steps` as `order` has them computed, with parameters drawn one after the other.
    pub(super) fn new(parameters: &mut Parameters, steps: &[Step], order: Order) -> Result<Self, TchError> {
        let node =
            |step: &Step| Ok(Node { name: step.name.clone(), layer: Layer::new(parameters, step, order)? });
        let nodes = steps.iter().map(node).collect::<Result<_, TchError>>()?;
        Ok(Self { nodes, passes: passes(steps, order) })
    }

    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        self.run(&self.passes, x.shallow_clone(), mode)
    }

    /// The same as it is written, showing `see` every activation.
    pub(super) fn forward_seen(&self, x: &Tensor, mode: Mode, see: See) -> Result<Tensor, TchError> {
        let mut x = x.shallow_clone();
        for Node { name, layer } in &self.nodes {
            x = match layer {
                Layer::Residual { body, shortcut } => {
                    let sum = body.forward_seen(&x, mode, see)?;
                    sum.f_add(&shortcut.forward(&x, mode)?)?
                }
                layer => layer.forward(x, mode, false)?,
            };
            if let Layer::Activation(act) = layer {
                see(name, act.activation(), &x);
            }
        }
        Ok(x)
    }

    /// What our own kernels computed in either pass that there was, convolution by convolution.
    pub(super) fn effective(&self, into: &mut Vec<EffectiveLayer>) {
        for Node { name, layer } in &self.nodes {
            match layer {
                Layer::Conv(conv, record) => {
                    let fallback = conv.is_plain().then_some(Fallback::PlainFormat);
                    for (pass, ran) in [Phase::Training, Phase::Evaluation].into_iter().zip(record) {
                        let layer = |Ran { own, convolution }| {
                            let layer = name.clone();
                            EffectiveLayer { layer, pass, own, convolution, fallback }
                        };
                        into.extend(ran.borrow().clone().map(layer));
                    }
                }
                Layer::Residual { body, shortcut } => {
                    body.effective(into);
                    if let Shortcut::Project(way) = shortcut {
                        way.effective(into);
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&self, passes: &[Pass], x: Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let one = |x: Tensor, pass: &Pass| match pass {
            Pass::Stock { step, in_place } => self.nodes[*step].layer.forward(x, mode, *in_place),
            Pass::Own(own) => match self.own(own, &x, mode)? {
                Some(y) => self.run(&own.rest, y, mode),
                None => self.run(&own.stock, x, mode),
            },
        };
        passes.iter().try_fold(x, one)
    }

    /// A convolution and what follows it by our own kernels; `None` where they do not serve.
    fn own(&self, own: &OwnKernels, x: &Tensor, mode: Mode) -> Result<Option<Tensor>, TchError> {
        let [Node { layer: Layer::Conv(conv, record), .. }, Node { layer: Layer::BatchNorm(norm), .. }] =
            &self.nodes[own.conv..own.conv + 2]
        else {
            return Ok(None);
        };
        if mode.batch_norm != BatchNormMode::Batch || mode.curved || !fused::takes(x) {
            return Ok(None);
        }
        let then = Then { pool: own.pool, relu: own.relu };
        let first = conv.bias().filter(|_| own.first && fused::takes_first(x, conv.weight()));
        let y = match first {
            Some(bias) => fused::first_block(x, (conv.weight(), bias), &norm.fused(), then.relu)?,
            None => {
                let y = conv.forward(x)?;
                if !fused::takes(&y) {
                    return Ok(None);
                }
                fused::norm_pool(&y, &norm.fused(), then)?
            }
        };
        if mode == Mode::TRAIN {
            let convolution = conv.algorithms(x);
            let is_own = first.is_some() || convolution.is_some_and(Algorithms::are_own);
            let operators = [
                (is_own, OwnOperator::Convolution),
                (true, OwnOperator::BatchNorm),
                (then.relu, OwnOperator::Relu),
                (then.pool, OwnOperator::MaxPool),
            ];
            let own = operators.into_iter().filter(|(is_own, _)| *is_own).map(|(_, operator)| operator);
            record[0].replace(Some(Ran { own: own.collect(), convolution }));
        }
        Ok(Some(y))
    }
}

impl Layer {
    fn new(parameters: &mut Parameters, step: &Step, order: Order) -> Result<Self, TchError> {
        let (name, input) = (step.name.as_str(), step.input);
        let channels = match input {
            Size::Image { channels, .. } => channels as i64,
            Size::Flat(values) => values as i64,
        };
        Ok(match &step.op {
            Op::Conv(conv) => {
                let algorithms = order.convolution.map(|policy| convolution::algorithms(policy, conv, input));
                Self::Conv(Conv::new(parameters, name, channels, *conv, algorithms)?, Record::default())
            }
            Op::Linear { bias } => {
                let sizes = (input.values() as i64, step.output.values() as i64);
                Self::Linear(Linear::new(parameters, name, sizes, *bias)?)
            }
            Op::BatchNorm => Self::BatchNorm(BatchNorm::new(parameters, name, channels)?),
            Op::GroupNorm(groups) => {
                Self::GroupNorm(GroupNorm::new(parameters, name, channels, i64::from(*groups))?)
            }
            Op::LayerNorm => Self::LayerNorm(LayerNorm::new(parameters, name, input)?),
            Op::Lrn => Self::Lrn,
            Op::Activation(activation) => Self::Activation(Act::new(parameters, name, *activation)?),
            Op::MaxPool(window) => Self::MaxPool(*window),
            Op::AvgPool(window) => Self::AvgPool(*window),
            Op::GlobalAvgPool => Self::GlobalAvgPool,
            Op::Flatten => Self::Flatten,
            Op::Dropout(p) => Self::Dropout(*p),
            Op::Residual { body, shortcut } => Self::Residual {
                body: Sequence::new(parameters, body, order)?,
                shortcut: match shortcut {
                    Way::Identity => Shortcut::Identity,
                    Way::Pad { stride, channels } => {
                        Shortcut::Pad { stride: *stride as i64, channels: *channels as i64 }
                    }
                    Way::Project(way) => Shortcut::Project(Sequence::new(parameters, way, order)?),
                },
            },
        })
    }

    fn forward(&self, x: Tensor, mode: Mode, in_place: bool) -> Result<Tensor, TchError> {
        let square = |value: u32| [i64::from(value); 2];
        match self {
            Self::Conv(conv, record) => {
                // What diagnostics ask is neither of the two passes.
                if let Some(pass) = [Mode::TRAIN, Mode::EVAL].iter().position(|pass| *pass == mode) {
                    let is_training = mode == Mode::TRAIN;
                    let ran = |algorithms: Algorithms| match is_training {
                        true => algorithms,
                        false => algorithms.forward_only(),
                    };
                    let convolution = conv.algorithms(&x).map(ran);
                    let is_own = convolution.is_some_and(Algorithms::are_own);
                    let own = is_own.then_some(OwnOperator::Convolution).into_iter().collect();
                    record[pass].replace(Some(Ran { own, convolution }));
                }
                if mode.curved { conv.stock(&x) } else { conv.forward(&x) }
            }
            Self::Linear(linear) => linear.forward(&x),
            Self::BatchNorm(norm) => norm.forward(&x, mode.batch_norm),
            Self::GroupNorm(norm) => norm.forward(&x),
            Self::LayerNorm(norm) => norm.forward(&x),
            Self::Lrn => local_response_norm(&x),
            Self::Activation(act) => act.apply(x, in_place),
            Self::MaxPool(Window { side, stride, pad }) => {
                x.f_max_pool2d(square(*side), square(*stride), square(*pad), [1, 1], false)
            }
            Self::AvgPool(Window { side, stride, pad }) => {
                x.f_avg_pool2d(square(*side), square(*stride), square(*pad), false, true, None::<i64>)
            }
            Self::GlobalAvgPool => x.f_adaptive_avg_pool2d([1, 1]),
            Self::Flatten => x.f_flatten(1, -1),
            Self::Dropout(p) if mode.dropout && !x.is_contiguous() => in_order_of_indices(&x, *p),
            Self::Dropout(p) => x.f_dropout(*p, mode.dropout),
            Self::Residual { body, shortcut } => body.forward(&x, mode)?.f_add(&shortcut.forward(&x, mode)?),
        }
    }
}

/// Dropout of a tensor that lies in memory in another order than its indices, as an image with its channels last. libtorch
/// draws in the order of the memory, and a plan would then drop other values: the mask is drawn in that of the indices.
fn in_order_of_indices(x: &Tensor, p: f64) -> Result<Tensor, TchError> {
    let mask = tch::no_grad(|| x.f_ones_like()?.f_contiguous()?.f_dropout(p, true))?;
    // In the memory order of `x`, so that what comes out has it too.
    let mut like = tch::no_grad(|| x.f_empty_like())?;
    tch::no_grad(|| like.f_copy_(&mask))?;
    x.f_mul(&like)
}

impl Shortcut {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        match self {
            Self::Identity => Ok(x.shallow_clone()),
            Self::Pad { stride, channels } => {
                let kept = x.f_slice(2, None::<i64>, None::<i64>, *stride)?;
                let kept = kept.f_slice(3, None::<i64>, None::<i64>, *stride)?;
                kept.f_constant_pad_nd([0, 0, 0, 0, 0, *channels])
            }
            Self::Project(way) => way.forward(x, mode),
        }
    }
}
