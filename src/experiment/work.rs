//! A config's network, and what a step of it has to do under a plan.

use crate::experiment::Config;
use crate::experiment::plan::{Kernels, Plan, Pooling};
use crate::network::{self, Order, ShapeError, Size, Step, cost};
use crate::work::StepWork;

impl From<&Plan> for Order {
    fn from(plan: &Plan) -> Self {
        Self {
            pool_first: plan.pooling == Pooling::BeforeMonotoneActivation,
            own_kernels: plan.kernels == Kernels::Fused,
            convolution: plan.convolution.policy(),
        }
    }
}

impl Config {
    /// The layers, from an image of the data set to its classes; an error is one that [`Config::check`] has too.
    pub fn network(&self) -> Result<Vec<Step>, ShapeError> {
        let shape = self.data.set.shape();
        let [channels, height, width] = [shape.channels, shape.height, shape.width].map(|side| side as u64);
        let input = Size::Image { channels, height, width };
        network::infer(&self.model.layers(), input, self.data.set.classes().into())
    }

    /// The work of one step of full size under `plan`.
    pub fn step_work(&self, plan: &Plan) -> Result<StepWork, ShapeError> {
        let cost = cost::of(&self.network()?, plan.into());
        Ok(cost.step(self.train.batch.into(), self.optim.remembered()))
    }
}
