//! Convolution blocks one after the other, then a hidden linear layer and one for the classes.

use tch::{TchError, Tensor};

use crate::data::Shape;
use crate::experiment::config::Model as ModelConfig;
use crate::experiment::plan::EffectiveLayer;
use crate::train::activation::Act;
use crate::train::layer::Linear;
use crate::train::model::block::{Block, Pool};
use crate::train::model::{Mode, Model, Order};
use crate::train::parameters::Parameters;

/// What tells one stack from another.
pub struct Layout<'a> {
    /// Channels after each block, and whether it ends in pooling.
    pub blocks: &'a [(i64, bool)],
    /// Units of the hidden linear layer.
    pub hidden: i64,
}

/// Blocks → Flatten → Linear → act → Dropout → Linear.
pub struct Stack {
    blocks: Vec<Block>,
    fc1: Linear,
    act: Act,
    /// `act3` after two blocks.
    act_name: String,
    fc2: Linear,
    dropout: f64,
    order: Order,
}

impl Stack {
    pub fn new(
        parameters: &mut Parameters,
        layout: &Layout,
        config: &ModelConfig,
        order: Order,
        shape: Shape,
        classes: u16,
    ) -> Result<Self, TchError> {
        let pool = Pool::of(config);
        let (mut channels, mut height, mut width) = (shape.channels as i64, shape.height, shape.width);
        let mut blocks = Vec::with_capacity(layout.blocks.len());
        for (number, &(output, is_pooled)) in (1..).zip(layout.blocks) {
            let pool = is_pooled.then_some(pool);
            blocks.push(Block::new(parameters, number, (channels, output), pool, config, order)?);
            channels = output;
            if let Some(pool) = pool {
                (height, width) = (pool.side(height), pool.side(width));
            }
        }
        let flattened = channels * (height * width) as i64;
        let fc1 = Linear::new(parameters, "fc1", flattened, layout.hidden)?;
        let act_name = format!("act{}", blocks.len() + 1);
        let act = Act::new(parameters, &act_name, config.activation)?;
        let fc2 = Linear::new(parameters, "fc2", layout.hidden, i64::from(classes))?;
        Ok(Self { blocks, fc1, act, act_name, fc2, dropout: config.dropout, order })
    }
}

impl Stack {
    /// The linear layers.
    fn classify(
        &self,
        x: &Tensor,
        mode: Mode,
        in_place: bool,
        see: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor, TchError> {
        let hidden = self.act.apply(self.fc1.forward(&x.f_flatten(1, -1)?)?, in_place)?;
        see(&self.act_name, &hidden);
        self.fc2.forward(&hidden.f_dropout(self.dropout, mode.dropout)?)
    }
}

impl Model for Stack {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let mut x = images.shallow_clone();
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        self.classify(&x, mode, self.order.pool_first, &mut |_, _| {})
    }

    fn effective(&self) -> Vec<EffectiveLayer> {
        self.blocks.iter().flat_map(Block::effective).collect()
    }

    fn forward_seen(
        &self,
        images: &Tensor,
        mode: Mode,
        see: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor, TchError> {
        let mut x = images.shallow_clone();
        for block in &self.blocks {
            x = block.forward_seen(&x, mode, see)?;
        }
        self.classify(&x, mode, false, see)
    }
}
