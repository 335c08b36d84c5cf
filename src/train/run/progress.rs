//! How far a training is, and when it is over.

use tch::Tensor;

use crate::digest::Digest;
use crate::experiment::Config;
use crate::row::{EpochRow, Split, StepRow};
use crate::stats::target::Target;
use crate::train::TrainError;
use crate::train::chain::Chain;
use crate::train::network::Built;
use crate::train::stopping::{Stopping, Verdict};

pub(super) struct Progress {
    /// Where the training begins: not at 0 when it was resumed.
    pub epoch: u32,
    /// Steps that are done.
    pub step: u64,
    pub so_far: SoFar,
    pub initial_weights: Digest,
    pub chain: Chain,
}

impl Progress {
    pub(super) fn new(initial_weights: Digest) -> Self {
        let (chain, so_far) = (Chain::new(initial_weights), SoFar::default());
        Self { epoch: 0, step: 0, so_far, initial_weights, chain }
    }
}

/// What an epoch adds up.
#[derive(Clone, Copy, Default)]
pub(super) struct SoFar {
    pub batches: u64,
    images: u32,
    loss: f64,
    correct: u64,
    wall_ns: u64,
}

impl SoFar {
    pub(super) fn add(&mut self, row: &StepRow) {
        self.batches += 1;
        self.images += row.images;
        self.loss += row.loss * f64::from(row.images);
        self.correct += u64::from(row.correct);
        self.wall_ns += row.times.total_ns;
    }

    pub(super) fn row(&self, epoch: u32) -> EpochRow {
        let images = f64::from(self.images);
        EpochRow {
            epoch,
            split: Split::Train,
            images: self.images,
            loss: self.loss / images,
            accuracy: self.correct as f64 / images,
            wall_ns: self.wall_ns,
        }
    }
}

/// What may end a training before its last epoch, and whether it has.
pub(super) struct End {
    pub stopping: Option<Stopping<Vec<Tensor>>>,
    target: Option<Target>,
    /// Steps at most.
    steps: u64,
    /// Training ends with this epoch.
    pub is_over: bool,
}

impl End {
    pub(super) fn new(config: &Config, steps: u64) -> Self {
        let target = config.train.target_loss.map(Target::new);
        Self { stopping: Stopping::new(&config.train), target, steps, is_over: false }
    }

    /// Sees every step, in order.
    pub(super) fn see(&mut self, row: &StepRow) {
        let reached = self.target.as_mut().is_some_and(|target| target.is_reached(row.images, row.loss));
        self.is_over = reached || row.step + 1 == self.steps;
    }

    /// Asks early stopping, which copies the weights of a new best epoch. `loss` is of validation, in nats.
    pub(super) fn judge(&mut self, epoch: u32, loss: f64, built: &Built) -> Result<(), TrainError> {
        let Some(stopping) = &mut self.stopping else { return Ok(()) };
        let verdict = stopping.judge(epoch, loss, || built.parameters.copy())?;
        self.is_over |= verdict == Verdict::Stop;
        Ok(())
    }

    /// Puts the weights of the best epoch back, and says which it was.
    pub(super) fn restore_best(&self, built: &mut Built) -> Result<Option<u32>, TrainError> {
        let Some(best) = self.stopping.as_ref().and_then(Stopping::best) else { return Ok(None) };
        built.parameters.restore(&best.kept)?;
        Ok(Some(best.epoch))
    }
}
