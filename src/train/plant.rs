//! Planted faults that are in the data, and those that take time.

use crate::clock::Phase;
use crate::data::{DataSet, Images};
use crate::experiment::Trial;
use crate::experiment::config::{Layer, Model};
use crate::planted::{DELAY_NS_PER_IMAGE, Planted};

/// The trial and the data with the fault in them, so that nothing of the training knows of it; `None` where the fault is
/// elsewhere.
pub(super) fn outside(planted: Planted, trial: &Trial, data: &DataSet) -> Option<(Trial, DataSet)> {
    let (mut trial, mut data) = (trial.clone(), copy(data));
    let Trial { config, seed } = &mut trial;
    let train = &mut data.train;
    match planted {
        Planted::LearningRate => config.optim.lr *= 3.0,
        Planted::LearningRateSlightly => config.optim.lr *= 1.05,
        Planted::LearningRateHardly => config.optim.lr *= 1.001,
        Planted::WeightDecay => config.optim.weight_decay = 0.0,
        Planted::Epsilon => config.optim.eps = config.optim.eps.map(|eps| 100.0 * eps),
        Planted::SecondDecay => config.optim.betas = config.optim.betas.map(|[first, _]| [first, 0.99]),
        Planted::Dropout => match &mut config.model {
            Model::Preset(preset) => preset.dropout *= 0.9,
            Model::Own(network) => network.layers.iter_mut().for_each(|layer| {
                if let Layer::Dropout(share) = layer {
                    *share *= 0.9;
                }
            }),
        },
        Planted::SeedTwice => seed.0 &= !1,
        Planted::LastBatch => {
            let (images, batch) = (config.data.train_images(), config.train.batch.max(1));
            config.data.train_limit = Some((images / batch).max(1) * batch);
        }
        Planted::Labels => swap_labels(train, 20),
        Planted::LabelsSlightly => swap_labels(train, 100),
        Planted::Class => train.labels.iter_mut().filter(|label| **label == 3).for_each(|label| *label = 5),
        Planted::PixelScale => {
            let darker = |value: &mut u8| *value = (f64::from(*value) / 1.01).round() as u8;
            train.pixels.iter_mut().for_each(darker);
        }
        Planted::Shift => {
            train.pixels.chunks_exact_mut(train.shape.width).for_each(|row| row.rotate_right(1))
        }
        _ => return None,
    }
    Some((trial, data))
}

fn copy(data: &DataSet) -> DataSet {
    let images = |images: &Images| Images {
        pixels: images.pixels.clone(),
        labels: images.labels.clone(),
        shape: images.shape,
    };
    DataSet { name: data.name, train: images(&data.train), test: images(&data.test) }
}

/// Each of every so many takes the label of the image half of the set away, so that every class keeps its share.
fn swap_labels(images: &mut Images, every: usize) {
    let right = images.labels.clone();
    for index in (0..right.len()).step_by(every) {
        images.labels[index] = right[(index + right.len() / 2) % right.len()];
    }
}

/// What a pass over `images` images, a step or a micro-batch of it, that has taken `elapsed_ns` so far has to wait at the
/// end of `phase`, as a part of it; 0 where nothing is planted there.
pub(super) fn delay_ns(planted: Option<Planted>, phase: Phase, images: u32, elapsed_ns: u64) -> u64 {
    match planted {
        Some(planted) if planted.phase() != Some(phase) => 0,
        Some(planted) => match planted.longer_percent() {
            Some(percent) => elapsed_ns * percent / 100,
            None => u64::from(images) * DELAY_NS_PER_IMAGE,
        },
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
        assert_eq!(delays, [0, 0, 0, 0, 2_000, 0]);
    }

    #[test]
    fn other_faults_and_none_take_no_time() {
        let faults = Planted::ALL.into_iter().filter(|planted| planted.phase().is_none());
        for planted in faults.map(Some).chain([None]) {
            assert_eq!(Phase::ALL.map(|phase| delay_ns(planted, phase, 64, 10_000)), [0; 6]);
        }
    }
}
