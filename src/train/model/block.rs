//! What both models are made of: convolution, normalisation, activation and, at the end of a group, pooling.

use std::cell::RefCell;

use tch::{TchError, Tensor};

use crate::experiment::config::{Model as ModelConfig, Norm, Pooling};
use crate::experiment::plan::{EffectiveLayer, OwnOperator, Pass};
use crate::train::activation::Act;
use crate::train::layer::{BatchNorm, Conv3x3, local_response_norm};
use crate::train::model::{BatchNormMode, Mode, Order};
use crate::train::parameters::Parameters;
use crate::train::shim::fused::{self, Then};

pub struct Block {
    conv: Conv3x3,
    norm: Normalisation,
    act: Act,
    pool: Option<Pool>,
    order: Order,
    number: usize,
    /// What our own kernels computed in the last training and in the last evaluation, once there was one.
    own: [RefCell<Option<Vec<OwnOperator>>>; 2],
}

enum Normalisation {
    BatchNorm(BatchNorm),
    Lrn,
    Off,
}

/// Max pooling, which halves both sides.
#[derive(Clone, Copy)]
pub enum Pool {
    /// 2×2, stride 2.
    Plain,
    /// 3×3, stride 2. Padded by one, unlike AlexNet's, so that even sides come out as from plain pooling: the arms
    /// then have the same shapes and start from the same weights.
    Overlapping,
}

impl Block {
    /// Block `number`, from 1; its layers are `conv1`, `bn1`, `act1`.
    pub fn new(
        parameters: &mut Parameters,
        number: usize,
        (input, output): (i64, i64),
        pool: Option<Pool>,
        config: &ModelConfig,
        order: Order,
    ) -> Result<Self, TchError> {
        let conv = Conv3x3::new(parameters, &format!("conv{number}"), input, output)?;
        let norm = match config.norm {
            None | Some(Norm::BatchNorm) => {
                Normalisation::BatchNorm(BatchNorm::new(parameters, &format!("bn{number}"), output)?)
            }
            Some(Norm::Lrn) => Normalisation::Lrn,
            Some(Norm::Off) => Normalisation::Off,
        };
        let act = Act::new(parameters, &format!("act{number}"), config.activation)?;
        Ok(Self { conv, norm, act, pool, order, number, own: Default::default() })
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let (fused, operators) = self.forward_fused(x, mode)?.unzip();
        // What diagnostics ask is neither of the two.
        if let Some(pass) = [Mode::TRAIN, Mode::EVAL].iter().position(|pass| *pass == mode) {
            self.own[pass].replace(Some(operators.unwrap_or_default()));
        }
        if let Some(y) = fused {
            return Ok(y);
        }
        let x = self.before_activation(x, mode)?;
        match self.pool {
            // BatchNorm's output is needed by nobody else; the maximum of the same numbers has the same bits.
            Some(pool) if self.order.pool_first && self.act.is_monotone() && !self.has_lrn() => {
                self.act.apply(pool.forward(&x)?, true)
            }
            _ => self.after_activation(self.act.apply(x, self.order.pool_first)?),
        }
    }

    /// What our own kernels computed in either pass that there was.
    pub fn effective(&self) -> impl Iterator<Item = EffectiveLayer> {
        [Pass::Training, Pass::Evaluation].into_iter().zip(&self.own).filter_map(|(pass, own)| {
            Some(EffectiveLayer { layer: format!("conv{}", self.number), pass, own: own.borrow().clone()? })
        })
    }

    /// The same function by our own kernels, and what they computed of it; `None` where they do not serve.
    fn forward_fused(&self, x: &Tensor, mode: Mode) -> Result<Option<(Tensor, Vec<OwnOperator>)>, TchError> {
        let Normalisation::BatchNorm(norm) = &self.norm else { return Ok(None) };
        if !self.order.own_kernels || mode.batch_norm != BatchNormMode::Batch || !fused::takes(x) {
            return Ok(None);
        }
        let then = Then {
            pool: matches!(self.pool, Some(Pool::Plain)) && self.act.never_falls(),
            relu: self.act.is_relu(),
        };
        let is_first = then.pool && fused::takes_first(x, &self.conv.weight);
        let operators = [
            (is_first, OwnOperator::Convolution),
            (true, OwnOperator::BatchNorm),
            (then.relu, OwnOperator::Relu),
            (then.pool, OwnOperator::MaxPool),
        ];
        let y = if is_first {
            fused::first_block(x, (&self.conv.weight, &self.conv.bias), &norm.fused(), then.relu)?
        } else {
            fused::norm_pool(&self.conv.forward(x)?, &norm.fused(), then)?
        };
        let y = if then.relu { y } else { self.act.apply(y, false)? };
        let y = if then.pool { y } else { self.after_activation(y)? };
        let own = operators.into_iter().filter(|(is_own, _)| *is_own).map(|(_, operator)| operator);
        Ok(Some((y, own.collect())))
    }

    /// The same, showing `see` the activation before any pooling.
    pub fn forward_seen(
        &self,
        x: &Tensor,
        mode: Mode,
        see: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor, TchError> {
        let x = self.act.apply(self.before_activation(x, mode)?, false)?;
        see(&format!("act{}", self.number), &x);
        self.after_activation(x)
    }

    fn has_lrn(&self) -> bool {
        matches!(self.norm, Normalisation::Lrn)
    }

    fn before_activation(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let x = self.conv.forward(x)?;
        match &self.norm {
            Normalisation::BatchNorm(norm) => norm.forward(&x, mode.batch_norm),
            Normalisation::Lrn | Normalisation::Off => Ok(x),
        }
    }

    /// AlexNet normalises what it has activated, and pools that.
    fn after_activation(&self, x: Tensor) -> Result<Tensor, TchError> {
        let x = if self.has_lrn() { local_response_norm(&x)? } else { x };
        self.pool.map_or(Ok(x.shallow_clone()), |pool| pool.forward(&x))
    }
}

impl Pool {
    pub fn of(config: &ModelConfig) -> Self {
        match config.pooling {
            None | Some(Pooling::Plain) => Self::Plain,
            Some(Pooling::Overlapping) => Self::Overlapping,
        }
    }

    fn forward(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Plain => x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false),
            Self::Overlapping => x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false),
        }
    }

    /// A side of `length` after pooling.
    pub fn side(self, length: usize) -> usize {
        match self {
            Self::Plain => length / 2,
            Self::Overlapping => length.div_ceil(2),
        }
    }
}
