//! The order in which a plan has a network's layers computed: the same function, with less moved.

use crate::network::shape::{Op, Size, Step, Way};

/// What a plan allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// Pool before an activation with which a maximum commutes exactly, and let ReLU overwrite its input.
    pub pool_first: bool,
    /// Train with our own kernels where there is one.
    pub own_kernels: bool,
    /// Version of the table that says which convolutions are computed by our own kernels; none without.
    pub convolution: Option<u32>,
}

/// What is computed next of a sequence of steps, by their indices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pass {
    /// A step as it is.
    Stock {
        step: usize,
        /// ReLU may write over what arrives: nobody else reads that, and its own backward pass needs the output alone.
        in_place: bool,
    },
    /// A convolution, the BatchNorm behind it and what [`OwnKernels`] says by our own kernels, in training and where they serve;
    /// `stock` does the same without them.
    Own(OwnKernels),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnKernels {
    /// Of the convolution; its BatchNorm is the next one.
    pub conv: usize,
    /// In the same kernel as BatchNorm.
    pub relu: bool,
    pub pool: bool,
    /// Whether the convolution itself may be in it: one channel arrives at 3×3 pixels with padding 1.
    pub first: bool,
    /// What is left to be computed behind the kernel.
    pub rest: Vec<Pass>,
    /// The whole of it by libtorch.
    pub stock: Vec<Pass>,
}

/// How `order` has `steps` computed. What is inside a residual is a sequence of its own.
pub fn passes(steps: &[Step], order: Order) -> Vec<Pass> {
    let mut passes = Vec::new();
    let (mut at, mut last) = (0, None);
    while at < steps.len() {
        let (pass, next) = match own(steps, at, order) {
            Some((own, next)) => {
                // What our kernels give belongs to their backward pass.
                last = match own.rest.last() {
                    Some(Pass::Stock { step, .. }) => Some(*step),
                    _ => None,
                };
                (vec![Pass::Own(own)], next)
            }
            None => {
                let next = end_of_stock(steps, at, order);
                (stock(steps, at..next, order, &mut last), next)
            }
        };
        passes.extend(pass);
        at = next;
    }
    passes
}

/// An activation and the pooling behind it change places together.
fn end_of_stock(steps: &[Step], at: usize, order: Order) -> usize {
    at + if swaps(steps, at, order) { 2 } else { 1 }
}

/// Whether the activation at `at` is followed by max pooling that may come first: the maximum of the same numbers has the
/// same bits.
fn swaps(steps: &[Step], at: usize, order: Order) -> bool {
    let [Op::Activation(activation), Op::MaxPool(_)] =
        [&steps[at].op, &steps.get(at + 1).unwrap_or(&steps[at]).op]
    else {
        return false;
    };
    order.pool_first && activation.is_monotone()
}

/// `last` is the step that is computed before the first of them, and then the last of them: not always the one that is written
/// there, for an activation and a pooling may have changed places.
fn stock(steps: &[Step], range: std::ops::Range<usize>, order: Order, last: &mut Option<usize>) -> Vec<Pass> {
    let (mut passes, mut at) = (Vec::new(), range.start);
    while at < range.end {
        let is_relu = matches!(&steps[at].op, Op::Activation(activation) if activation.is_relu());
        let in_place =
            |before: Option<&Step>| order.pool_first && is_relu && before.is_some_and(may_be_overwritten);
        if swaps(steps, at, order) {
            passes.push(Pass::Stock { step: at + 1, in_place: false });
            passes.push(Pass::Stock { step: at, in_place: in_place(steps.get(at + 1)) });
            *last = Some(at);
            at += 2;
        } else {
            passes.push(Pass::Stock { step: at, in_place: in_place(last.map(|last| &steps[last])) });
            *last = Some(at);
            at += 1;
        }
    }
    passes
}

/// Whether the output of a step is a tensor of its own that its backward pass does not look at.
fn may_be_overwritten(step: &Step) -> bool {
    matches!(
        step.op,
        Op::Conv(_)
            | Op::Linear { .. }
            | Op::BatchNorm
            | Op::GroupNorm(_)
            | Op::LayerNorm
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::Residual { .. }
    )
}

/// The pattern convolution → BatchNorm (→ activation) (→ 2×2 pooling) that begins at `at`, and where it ends.
fn own(steps: &[Step], at: usize, order: Order) -> Option<(OwnKernels, usize)> {
    let Op::Conv(conv) = &steps.get(at)?.op else { return None };
    if !order.own_kernels || steps.get(at + 1)?.op != Op::BatchNorm {
        return None;
    }
    let mut next = at + 2;
    let activation = match steps.get(next).map(|step| &step.op) {
        Some(Op::Activation(activation)) => Some(*activation),
        _ => None,
    };
    let act = activation.map(|_| next);
    next += usize::from(act.is_some());
    let pool = match steps.get(next).map(|step| &step.op) {
        Some(Op::MaxPool(window)) => Some((next, (window.side, window.stride, window.pad) == (2, 2, 0))),
        _ => None,
    };
    next += usize::from(pool.is_some());
    let relu = activation.is_some_and(|activation| activation.is_relu());
    let pools = pool.is_some_and(|(_, is_plain)| is_plain) && activation.is_none_or(|act| act.never_falls());
    let channels = match steps[at].input {
        Size::Image { channels, .. } => channels,
        Size::Flat(_) => return None,
    };
    let is_small = (conv.kernel, conv.stride, conv.pad, conv.groups, conv.bias) == (3, 1, 1, 1, true);
    let plain = |step: usize| Pass::Stock { step, in_place: false };
    let rest = act.filter(|_| !relu).into_iter().chain(pool.filter(|_| !pools).map(|(pool, _)| pool));
    let own = OwnKernels {
        conv: at,
        relu,
        pool: pools,
        first: pools && is_small && channels == 1,
        rest: rest.map(plain).collect(),
        stock: stock(steps, at..next, order, &mut None),
    };
    Some((own, next))
}

/// The sequences inside a step, in the order in which their parameters are drawn.
pub(super) fn inner(step: &Step) -> Vec<&[Step]> {
    match &step.op {
        Op::Residual { body, shortcut: Way::Project(way) } => vec![body, way],
        Op::Residual { body, .. } => vec![body],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::layer::Layer;
    use crate::network::shape::infer;

    fn ordered(json: &str, pool_first: bool, own_kernels: bool) -> Vec<Pass> {
        let layers: Vec<Layer> = serde_json::from_str(json).unwrap();
        let steps = infer(&layers, Size::Image { channels: 1, height: 28, width: 28 }, 10).unwrap();
        passes(&steps, Order { pool_first, own_kernels, convolution: None })
    }

    fn stock(step: usize, in_place: bool) -> Pass {
        Pass::Stock { step, in_place }
    }

    const CONV: &str = r#"{"conv": 8, "kernel": 3, "pad": 1}"#;

    #[test]
    fn pooling_comes_first_where_the_activation_is_monotone_and_next_to_it() {
        let relu = format!(r#"[{CONV}, "relu", {{"max_pool": 2}}, "flatten", {{"linear": "classes"}}]"#);
        let expected = [stock(0, false), stock(2, false), stock(1, true), stock(3, false), stock(4, false)];
        assert_eq!(ordered(&relu, true, false), expected);
        assert_eq!(ordered(&relu, false, false), [0, 1, 2, 3, 4].map(|step| stock(step, false)));
        for (from, to) in
            [("\"relu\"", "\"tanh\""), ("\"relu\"", "\"relu\", \"lrn\""), ("max_pool", "avg_pool")]
        {
            let steps = ordered(&relu.replace(from, to), true, false);
            let order: Vec<usize> = steps
                .iter()
                .map(|pass| if let Pass::Stock { step, .. } = pass { *step } else { 99 })
                .collect();
            assert!(order.is_sorted(), "{order:?}");
        }
    }

    #[test]
    fn relu_overwrites_only_what_nobody_else_needs() {
        // The input of a residual, the output of tanh, whose backward pass reads it, and a view.
        let layers =
            r#"[{"residual": ["relu"]}, "relu", "tanh", "relu", "flatten", "relu", {"linear": "classes"}]"#;
        let expected = [false, true, false, false, false, false, false];
        let found = ordered(layers, true, false);
        assert_eq!(
            found,
            expected.into_iter().enumerate().map(|(step, is)| stock(step, is)).collect::<Vec<_>>()
        );
    }

    /// The second overwrote what the backward pass of the first needs: it looked at the pooling that is written before it.
    #[test]
    fn relu_does_not_overwrite_what_was_computed_before_it_by_another_order() {
        let with = |layers: &str| {
            format!(r#"[{CONV}{layers}, {{"max_pool": 2}}, "relu", "flatten", {{"linear": "classes"}}]"#)
        };
        let expected = [stock(0, false), stock(2, false), stock(1, true), stock(3, false)];
        assert_eq!(ordered(&with(r#", "relu""#), true, false)[..4], expected);
        let of_own = |layers: &str| ordered(&with(layers), true, true)[1].clone();
        assert_eq!(of_own(r#", "batch_norm", "tanh""#), stock(4, false));
        assert_eq!(of_own(r#", "batch_norm", "prelu""#), stock(4, true), "the pooling is computed last");
        assert_eq!(of_own(r#", "batch_norm", "relu""#), stock(4, false));
    }

    #[test]
    fn own_kernels_take_the_pattern_that_they_compute() {
        let own = |act: &str, pool: &str| {
            let layers = format!(r#"[{CONV}, "batch_norm"{act}{pool}, "flatten", {{"linear": "classes"}}]"#);
            let Pass::Own(own) = ordered(&layers, true, true).remove(0) else { panic!("no kernel of ours") };
            (own.relu, own.pool, own.first, own.rest.len(), own.stock.len())
        };
        let (pool, overlapping) = (r#", {"max_pool": 2}"#, r#", {"max_pool": 3, "stride": 2}"#);
        assert_eq!(own(r#", "relu""#, pool), (true, true, true, 0, 4));
        assert_eq!(own(r#", "relu""#, overlapping), (true, false, false, 1, 4));
        assert_eq!(own(r#", "tanh""#, pool), (false, true, true, 1, 4));
        // Its slope may be negative.
        assert_eq!(own(r#", "prelu""#, pool), (false, false, false, 2, 4));
        assert_eq!(own("", ""), (false, false, false, 0, 2));
    }
}
