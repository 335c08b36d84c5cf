//! How far a training goes.

use crate::experiment::config::Train;

/// At most, where early stopping or a target loss may end it sooner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Length {
    pub steps: u64,
    pub steps_per_epoch: u64,
    /// Epochs that are begun; the last may be a part of one.
    pub epochs: u32,
    /// Trained on through the whole run: an image counts once an epoch.
    pub images: u64,
}

impl Length {
    /// Of a whole run over `images` training images an epoch.
    pub fn of(train: &Train, images: u64) -> Self {
        let all = steps_per_epoch(train, images) * u64::from(train.epochs);
        Self::after(train, images, train.max_steps.map_or(all, |most| all.min(u64::from(most))))
    }

    /// Of a run that ends after `steps`.
    pub fn after(train: &Train, images: u64, steps: u64) -> Self {
        let steps_per_epoch = steps_per_epoch(train, images);
        // The last batch of an epoch takes what is left.
        let begun = (steps % steps_per_epoch * u64::from(train.batch)).min(images);
        Self {
            steps,
            steps_per_epoch,
            epochs: u32::try_from(steps.div_ceil(steps_per_epoch)).unwrap_or(u32::MAX),
            images: steps / steps_per_epoch * images + begun,
        }
    }
}

/// At least 1, also of a config that [`Config::check`](super::Config::check) refuses.
fn steps_per_epoch(train: &Train, images: u64) -> u64 {
    images.div_ceil(u64::from(train.batch).max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(batch: u32, epochs: u32, max_steps: Option<u32>) -> Train {
        Train { batch, epochs, max_steps, ..Train::default() }
    }

    #[test]
    fn a_run_has_all_steps_of_its_epochs_unless_it_is_cut() {
        let length = |max_steps| Length::of(&train(30, 4, max_steps), 100);
        let all = Length { steps: 16, steps_per_epoch: 4, epochs: 4, images: 400 };
        assert_eq!(length(None), all);
        assert_eq!(length(Some(17)), all);
        assert_eq!(length(Some(16)), all);
        assert_eq!(length(Some(15)), Length { steps: 15, epochs: 4, images: 390, ..all });
        assert_eq!(length(Some(4)), Length { steps: 4, epochs: 1, images: 100, ..all });
        assert_eq!(length(Some(5)), Length { steps: 5, epochs: 2, images: 130, ..all });
        assert_eq!(length(Some(1)), Length { steps: 1, epochs: 1, images: 30, ..all });
    }

    /// The study's arms of equal updates: 235 steps of batch 1024 are 5 epochs, of batch 64 a third of one.
    #[test]
    fn equal_updates_are_not_equal_epochs() {
        let length = |batch| Length::of(&train(batch, 5, Some(235)), 48_000);
        assert_eq!((length(1024).epochs, length(1024).images), (5, 240_000));
        assert_eq!((length(64).epochs, length(64).images), (1, 15_040));
    }
}
