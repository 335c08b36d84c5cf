//! When a training gets to a loss, whatever its batch: for the training that stops there and for whoever asks later how long
//! one took. Both have to see it at the same step, so there is one arithmetic.

use std::collections::VecDeque;

/// Images the mean is over at least: 100 steps of batch 64, so that one lucky batch ends nothing.
const WINDOW: u64 = 6_400;

/// Images trained on between two looks at the loss in eval mode: see `train.target_eval_loss`.
pub const LOOK_EVERY: u64 = 1_280;

/// Watches the mean training loss of the last steps.
pub struct Target {
    loss: f64,
    /// Images and loss of the last steps, which are at most as many as it takes for the window's images.
    steps: VecDeque<(u32, f64)>,
    images: u64,
}

impl Target {
    pub fn new(loss: f64) -> Self {
        Self { loss, steps: VecDeque::new(), images: 0 }
    }

    /// Takes in a step's images and mean loss in nats: whether the mean over the window, weighted by images, is not
    /// above the target now. Never before the window is full.
    pub fn is_reached(&mut self, images: u32, loss: f64) -> bool {
        self.steps.push_back((images, loss));
        self.images += u64::from(images);
        while let Some(&(oldest, _)) = self.steps.front()
            && self.images - u64::from(oldest) >= WINDOW
        {
            self.steps.pop_front();
            self.images -= u64::from(oldest);
        }
        // Summed anew, so that it depends on no rounding of steps that are gone.
        let sum: f64 = self.steps.iter().map(|&(images, loss)| f64::from(images) * loss).sum();
        self.has_looked() && sum / self.images as f64 <= self.loss
    }

    /// Whether there was a mean over the window yet.
    pub fn has_looked(&self) -> bool {
        self.images >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until the target is reached, `None` if it never is.
    fn reached(target: f64, batch: u32, losses: &[f64]) -> Option<usize> {
        let mut target = Target::new(target);
        losses.iter().position(|&loss| target.is_reached(batch, loss)).map(|step| step + 1)
    }

    #[test]
    fn one_low_loss_is_not_enough() {
        assert_eq!(reached(1.0, 6_400, &[2.0, 1.0, 0.0]), Some(2));
        assert_eq!(reached(1.0, 3_200, &[2.0, 0.5, 1.5, 0.75]), Some(3));
        assert_eq!(reached(1.0, 3_200, &[0.0]), None);
        assert_eq!(reached(0.0, 64, &[0.0; 99]), None);
        assert_eq!(reached(0.0, 64, &[0.0; 100]), Some(100));
        // Steps that are gone do not count: 100 of 1 push out those of 9.
        let losses: Vec<f64> = [9.0; 50].into_iter().chain([1.0; 200]).collect();
        assert_eq!(reached(1.0, 64, &losses), Some(150));
    }

    #[test]
    fn the_last_batch_of_an_epoch_counts_by_its_images() {
        let mut target = Target::new(1.0);
        assert!(!target.is_reached(6_000, 1.1));
        assert!(!target.is_reached(400, 0.0));
        assert!(target.is_reached(400, 0.0));
    }

    /// What was subtracted from a running sum left its rounding behind: a training stopped after 150 steps, and the page
    /// of the same run said that it never got there.
    #[test]
    fn rounding_of_steps_that_are_gone_hides_no_target() {
        let losses: Vec<f64> = [2.3; 50].into_iter().chain([0.25; 150]).collect();
        assert_eq!(reached(0.25, 64, &losses), Some(150));
    }

    #[test]
    fn a_loss_that_is_no_number_reaches_nothing() {
        assert_eq!(reached(1.0, 6_400, &[f64::NAN, 0.5]), Some(2));
        assert_eq!(reached(1.0, 3_200, &[f64::NAN, 0.5, 0.5]), Some(3));
    }
}
