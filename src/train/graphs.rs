//! A step as CUDA graphs: recorded once, then launched in three pieces instead of operator by operator.

use tch::Tensor;

use crate::clock::{Clock, Phase};
use crate::train::TrainError;
use crate::train::place::Place;
use crate::train::resident::Batch;
use crate::train::shim::graph::Graph;
use crate::train::timing::Timing;

/// Steps of a process before it records: by then libtorch has chosen its algorithms and made its handles and workspaces.
/// They are steps like any other.
pub(super) const EAGER_STEPS: u64 = 3;

/// The three pieces read `batch`, write `result`, and change the weights and the optimizer's state where they are.
pub(super) struct StepGraphs {
    batch: Batch,
    result: Tensor,
    forward: Graph,
    backward: Graph,
    optimizer: Graph,
}

impl StepGraphs {
    /// Records a step on batches like `batch`. `forward` gives the loss and what is read back of the step; `backward` makes
    /// the gradients of the loss; `update` is the optimizer's.
    pub(super) fn record(
        batch: &Batch,
        forward: impl FnOnce(&Batch) -> Result<(Tensor, Tensor), TrainError>,
        backward: impl FnOnce(&Tensor) -> Result<(), TrainError>,
        update: impl FnOnce() -> Result<(), TrainError>,
    ) -> Result<Self, TrainError> {
        // Tensors of their own, outside the graphs' memory, in the batch's memory format.
        let batch = Batch { images: batch.images.copy(), labels: batch.labels.copy() };
        let (forward, (loss, result)) = Graph::record(None, || forward(&batch))?;
        let (backward, ()) = Graph::record(Some(&forward), || backward(&loss))?;
        let (optimizer, ()) = Graph::record(Some(&forward), update)?;
        Ok(Self { batch, result, forward, backward, optimizer })
    }

    /// Whether it was recorded for batches of this size: the last of an epoch may be shorter.
    pub(super) fn takes(&self, batch: &Batch) -> bool {
        self.batch.labels.size() == batch.labels.size()
    }

    /// The step on `batch`: its loss and its correct count. Ends the phases it consists of.
    pub(super) fn step<C: Clock>(
        &mut self,
        batch: &Batch,
        place: Place,
        timing: &mut Timing<C>,
    ) -> Result<(f64, u32), TrainError> {
        let images = batch.labels.numel() as u32;
        self.batch.images.f_copy_(&batch.images)?;
        self.batch.labels.f_copy_(&batch.labels)?;
        timing.end(Phase::Load, images)?;
        self.forward.launch()?;
        timing.end(Phase::Forward, images)?;
        self.backward.launch()?;
        timing.end(Phase::Backward, images)?;
        self.optimizer.launch()?;
        timing.end(Phase::Optimizer, images)?;
        let read = place.read(&self.result)?;
        timing.end(Phase::ReadBack, images)?;
        Ok(read)
    }
}
