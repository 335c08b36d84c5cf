//! The models a config can name: one file and one line in `build` each.

mod simple_cnn;

use tch::Tensor;

use crate::data::Shape;
use crate::experiment::config::{Model as ModelConfig, ModelName};
use crate::experiment::plan::{Plan, Pooling};
use crate::stream::Key;
use crate::train::TrainError;
use crate::train::parameters::Parameters;

pub trait Model {
    /// Logits [N, classes] of images [N, C, H, W]. In train mode dropout draws from libtorch's generator and
    /// BatchNorm updates its running statistics.
    fn forward(&self, images: &Tensor, train: bool) -> Result<Tensor, tch::TchError>;

    /// The same logits, showing `see` the output of every activation: `act1`, `act2`, … from the input on, and
    /// before any pooling, whatever order the plan puts the two in.
    fn forward_seen(
        &self,
        images: &Tensor,
        train: bool,
        see: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor, tch::TchError>;
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
}

impl Order {
    pub fn of(plan: &Plan) -> Self {
        Self { pool_first: plan.pooling == Pooling::BeforeMonotoneActivation }
    }
}

/// Builds the model for images of `shape` with weights drawn from `init`.
pub fn build(
    config: &ModelConfig,
    plan: &Plan,
    shape: Shape,
    classes: u8,
    init: &Key,
) -> Result<Built, TrainError> {
    let mut parameters = Parameters::new(init, plan.memory_format);
    let order = Order::of(plan);
    let model: Box<dyn Model> = match config.name {
        ModelName::SimpleCnn => {
            Box::new(simple_cnn::SimpleCnn::new(&mut parameters, config, order, shape, classes)?)
        }
        ModelName::ImprovedCnn => return Err(TrainError::Internal("not built".to_owned())),
    };
    Ok(Built { model, parameters })
}
