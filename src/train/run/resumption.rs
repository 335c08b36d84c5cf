//! A training is handed over between two steps, and goes on from there in another process with the same bits.

use super::{Kept, Observer, Training};
use crate::row::StepRow;
use crate::train::TrainError;
use crate::train::chain::Chain;
use crate::train::checkpoint::{self, Decoded, Position};
use crate::train::stopping::Stopping;

/// Prefix of the weights early stopping kept, among the tensors of a state.
const BEST: &str = "best";

impl Training<'_> {
    /// Puts everything where it was when `state` was handed over. Sums are taken again from `steps`, in their order, so
    /// that they come out with the same bits.
    pub(super) fn resume(&mut self, state: &[u8], steps: &[StepRow]) -> Result<(), TrainError> {
        let decoded = Decoded::new(state)?;
        let position = decoded.position.clone();
        let rows = steps.iter().filter(|row| row.epoch == position.epoch).count() as u64;
        if position.step != steps.len() as u64 || position.batches != rows {
            let (step, found) = (position.step, steps.len());
            return Err(TrainError::Checkpoint(format!("it is of {step} steps, its rows are of {found}")));
        }
        if position.initial_weights != self.progress.initial_weights {
            return Err(TrainError::Checkpoint("it started from other weights".to_owned()));
        }
        self.learner.optimizer.expect_state()?;
        decoded.restore(&self.learner.tensors())?;
        let parameters = &self.learner.built.parameters;
        if let (Some((epoch, loss)), Some(stopping)) = (position.best, &mut self.end.stopping) {
            let kept = parameters.copy()?;
            decoded.restore(&parameters.name_copies(BEST, &kept))?;
            stopping.restore(epoch, f64::from_bits(loss), kept);
        }
        for row in steps {
            self.end.see(row);
            self.times.train_ns += row.times.total_ns;
            if row.epoch == position.epoch {
                self.progress.so_far.add(row);
            }
        }
        // What the look after the last step found is not kept: it is taken again.
        if let Some(last) = steps.last() {
            self.look(last)?;
        }
        (self.progress.epoch, self.progress.step) = (position.epoch, position.step);
        self.progress.chain = Chain::at(position.chain);
        (self.times.evaluate_ns, self.times.diagnose_ns) = (position.evaluate_ns, position.diagnose_ns);
        self.times.earlier_wall_ns = position.wall_ns;
        Ok(())
    }

    /// Hands the state over, between two steps of `epoch` or at its end.
    pub(super) fn keep(&mut self, epoch: u32, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let began_ns = self.times.now_ns();
        let mut tensors = self.learner.tensors();
        let best = self.end.stopping.as_ref().and_then(Stopping::best);
        if let Some(best) = best {
            tensors.extend(self.learner.built.parameters.name_copies(BEST, &best.kept));
        }
        let position = Position {
            epoch,
            batches: self.progress.so_far.batches,
            step: self.progress.step,
            initial_weights: self.progress.initial_weights,
            chain: self.progress.chain.link(),
            evaluate_ns: self.times.evaluate_ns,
            diagnose_ns: self.times.diagnose_ns,
            wall_ns: self.times.wall_ns(),
            best: best.map(|best| (best.epoch, best.loss.to_bits())),
        };
        observer.kept(Kept { step: self.progress.step, state: checkpoint::encode(&position, &tensors)? });
        self.times.set_aside(began_ns);
        Ok(())
    }
}
