//! Early stopping: the best epoch so far by validation loss, what was kept of it, and when to give up on a better one.

use crate::experiment::config::Train;

/// `W` is what is kept of the best epoch: its weights.
pub(super) struct Stopping<W> {
    patience: u32,
    min_delta: f64,
    best: Option<Best<W>>,
}

pub(super) struct Best<W> {
    pub epoch: u32,
    pub kept: W,
    /// Infinite when it was not a number.
    pub loss: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    GoOn,
    /// `patience` epochs in a row were no new best.
    Stop,
}

impl<W> Stopping<W> {
    /// `None` for a training that runs all its epochs.
    pub(super) fn new(train: &Train) -> Option<Self> {
        let patience = train.patience?;
        Some(Self { patience, min_delta: train.min_delta.unwrap_or(0.0), best: None })
    }

    /// Judges the next epoch by its validation loss in nats; `keep` is called when it is the best so far. The first
    /// epoch always is, and a loss that is not a number never beats another.
    pub(super) fn judge<E>(
        &mut self,
        epoch: u32,
        loss: f64,
        keep: impl FnOnce() -> Result<W, E>,
    ) -> Result<Verdict, E> {
        let is_better = |best: &Best<W>| loss < best.loss - self.min_delta;
        match self.best.as_ref().filter(|best| !is_better(best)) {
            Some(best) if epoch - best.epoch >= self.patience => Ok(Verdict::Stop),
            Some(_) => Ok(Verdict::GoOn),
            None => {
                let loss = if loss.is_nan() { f64::INFINITY } else { loss };
                self.best = Some(Best { epoch, kept: keep()?, loss });
                Ok(Verdict::GoOn)
            }
        }
    }

    /// As if `epoch` had been judged the best so far.
    pub(super) fn restore(&mut self, epoch: u32, loss: f64, kept: W) {
        self.best = Some(Best { epoch, kept, loss });
    }

    /// `None` before the first epoch was judged.
    pub(super) fn best(&self) -> Option<&Best<W>> {
        self.best.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Feeds validation losses until they end or training stops: the epochs judged, and the one that was kept.
    fn judged(patience: u32, min_delta: Option<f64>, losses: &[f64]) -> (u32, u32) {
        let train = Train { batch: 1, epochs: 1, patience: Some(patience), min_delta, ..Train::default() };
        let mut stopping = Stopping::new(&train).unwrap();
        let mut epochs = 0;
        for (epoch, &loss) in (0..).zip(losses) {
            epochs += 1;
            if stopping.judge(epoch, loss, || Ok::<_, Infallible>(epoch)).unwrap() == Verdict::Stop {
                break;
            }
        }
        let best = stopping.best().unwrap();
        assert_eq!(best.epoch, best.kept);
        (epochs, best.epoch)
    }

    #[test]
    fn training_ends_after_so_many_epochs_without_a_new_best() {
        assert_eq!(judged(1, None, &[3.0, 2.0, 2.5, 1.0]), (3, 1));
        assert_eq!(judged(2, None, &[3.0, 2.0, 2.5, 1.0, 1.1, 1.2, 0.0]), (6, 3));
        assert_eq!(judged(3, None, &[3.0, 2.0, 1.0]), (3, 2));
        // An equal loss is no new best.
        assert_eq!(judged(2, None, &[1.0, 1.0, 1.0, 0.0]), (3, 0));
    }

    #[test]
    fn a_new_best_must_be_better_by_min_delta() {
        assert_eq!(judged(2, Some(0.5), &[3.0, 2.75, 2.625, 0.0]), (3, 0));
        // Small steps add up: the comparison is with the best that was kept.
        assert_eq!(judged(2, Some(0.5), &[3.0, 2.75, 2.25, 2.0, 1.5]), (5, 4));
        assert_eq!(judged(1, Some(0.5), &[3.0, 2.5, 0.0]), (2, 0));
    }

    #[test]
    fn a_loss_that_is_no_number_beats_nothing_and_is_beaten_by_any() {
        assert_eq!(judged(2, None, &[1.0, f64::NAN, f64::NAN, 0.0]), (3, 0));
        assert_eq!(judged(2, None, &[f64::NAN, 2.0, 3.0]), (3, 1));
        assert_eq!(judged(1, Some(0.1), &[f64::INFINITY, 2.0]), (2, 1));
    }
}
