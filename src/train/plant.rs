//! Planted faults that are in the data, and those that take time.

use crate::clock::Phase;
use crate::data::{DataSet, Images};
use crate::planted::{DELAY_NS_PER_IMAGE, Planted};

/// Training labels between two that are wrong.
const LABELS_EVERY: usize = 20;

/// A slow step takes longer by its time so far, divided by this: the optimizer that follows is a small part of it.
const SLOW_STEP_DIVISOR: u64 = 5;

/// The data with the fault in it; `None` where the fault is elsewhere.
pub fn spoiled(data: &DataSet, planted: Planted) -> Option<DataSet> {
    if planted != Planted::Labels {
        return None;
    }
    let images = |images: &Images| Images {
        pixels: images.pixels.clone(),
        labels: images.labels.clone(),
        shape: images.shape,
    };
    let (mut train, test) = (images(&data.train), images(&data.test));
    // Each takes the label of the image half of the set away, so that every class keeps its share.
    let all = train.labels.len();
    for index in (0..all).step_by(LABELS_EVERY) {
        train.labels[index] = data.train.labels[(index + all / 2) % all];
    }
    Some(DataSet { name: data.name, train, test })
}

/// What a pass over `images` images, a step or a micro-batch of it, that has taken `elapsed_ns` so far has to wait at the
/// end of `phase`, as a part of it; 0 where nothing is planted there.
pub fn delay_ns(planted: Option<Planted>, phase: Phase, images: u32, elapsed_ns: u64) -> u64 {
    match planted {
        Some(planted) if planted.phase() != Some(phase) => 0,
        Some(Planted::SlowStep) => elapsed_ns / SLOW_STEP_DIVISOR,
        Some(Planted::SlowStepSlightly) => elapsed_ns * 3 / 100,
        Some(_) => u64::from(images) * DELAY_NS_PER_IMAGE,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_time_an_image_in_its_phase_and_nowhere_else() {
        for (planted, delayed) in [
            (Planted::DelayLoad, Phase::Load),
            (Planted::DelayForward, Phase::Forward),
            (Planted::DelayBackward, Phase::Backward),
            (Planted::DelayOptimizer, Phase::Optimizer),
        ] {
            for phase in Phase::ALL {
                let expected = if phase == delayed { 1024 * DELAY_NS_PER_IMAGE } else { 0 };
                assert_eq!(delay_ns(Some(planted), phase, 1024, 7_000_000), expected, "{planted}, {phase:?}");
            }
        }
    }

    #[test]
    fn a_slow_step_takes_a_fifth_of_its_time_so_far_once() {
        let delays = Phase::ALL.map(|phase| delay_ns(Some(Planted::SlowStep), phase, 64, 10_000));
        assert_eq!(delays, [0, 0, 0, 2_000, 0, 0]);
    }

    #[test]
    fn other_faults_and_none_take_no_time() {
        let faults = Planted::ALL.into_iter().filter(|planted| planted.phase().is_none());
        for planted in faults.map(Some).chain([None]) {
            assert_eq!(Phase::ALL.map(|phase| delay_ns(planted, phase, 64, 10_000)), [0; 6]);
        }
    }
}
