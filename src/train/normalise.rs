//! What a config has done to pixels before anything else.

use tch::{TchError, Tensor};

use crate::data::{self, Images, Limits, Shape, SplitError};
use crate::experiment::Trial;
use crate::experiment::config::{Computed, Given, Normalise};
use crate::experiment::plan::{MemoryFormat, Normalised};

/// (pixel − mean) / std for every pixel of an image, channel by channel and row by row: the same two operations on
/// 32-bit floats, and so the same bits, whoever makes a batch.
#[derive(Clone, PartialEq, Debug)]
pub struct Normalisation {
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
    shape: Shape,
}

impl Normalisation {
    /// What `trial` is normalised by on the training file `images`; `None` where its config asks for nothing.
    pub fn of(trial: &Trial, images: &Images) -> Result<Option<Self>, SplitError> {
        let data = &trial.config.data;
        let Some(config) = &data.normalise else { return Ok(None) };
        let limits = Limits { train: data.train_limit, validation: data.eval_limit };
        let split = data::split(images.len() as u32, data.validation, limits, trial.seed)?;
        Ok(Some(Self::new(config, images, &split.train)))
    }

    /// Over the images at the positions `train` where it is computed; sums are of whole numbers, and so exact.
    fn new(config: &Normalise, images: &Images, train: &[u32]) -> Self {
        let shape = images.shape;
        let plane = shape.height * shape.width;
        let by_channel = |values: &[f64]| -> Vec<f32> {
            values.iter().flat_map(|&value| std::iter::repeat_n(value as f32, plane)).collect()
        };
        let (mean, std) = match config {
            Normalise::Given(Given { mean, std }) => (by_channel(mean), by_channel(std)),
            Normalise::Computed(Computed::Pixels) => {
                let count = 255.0 * train.len() as f64;
                let mean = sums(images, train).into_iter().map(|(sum, _)| (sum as f64 / count) as f32);
                (mean.collect(), vec![1.0; shape.len()])
            }
            Normalise::Computed(Computed::Channels) => {
                let sums = sums(images, train);
                let channels = sums.chunks(plane).map(|plane| moments(plane, train.len()));
                let (mean, std): (Vec<f64>, Vec<f64>) = channels.unzip();
                (by_channel(&mean), by_channel(&std))
            }
        };
        Self { mean, std, shape }
    }

    /// A pixel at `index` of its image.
    pub fn apply(&self, index: usize, pixel: f32) -> f32 {
        (pixel - self.mean[index]) / self.std[index]
    }

    /// Mean and standard deviation as [C, H, W], or [H, W, C] where channels come last.
    pub fn tensors(&self, format: MemoryFormat) -> Result<(Tensor, Tensor), TchError> {
        let size = [self.shape.channels, self.shape.height, self.shape.width].map(|side| side as i64);
        let tensor = |values: &[f32]| {
            let planes = Tensor::f_from_slice(values)?.f_view(size)?;
            match format {
                MemoryFormat::Contiguous => Ok(planes),
                MemoryFormat::ChannelsLast => planes.f_permute([1, 2, 0])?.f_contiguous(),
            }
        };
        Ok((tensor(&self.mean)?, tensor(&self.std)?))
    }

    /// For the record: the mean over each channel.
    pub fn summary(&self) -> Normalised {
        let plane = self.shape.height * self.shape.width;
        let means = |values: &[f32]| -> Vec<f64> {
            let mean = |plane: &[f32]| plane.iter().copied().map(f64::from).sum::<f64>() / plane.len() as f64;
            values.chunks(plane).map(mean).collect()
        };
        Normalised { mean: means(&self.mean), std: means(&self.std) }
    }
}

/// The sum of the bytes and of their squares at each place of an image.
fn sums(images: &Images, train: &[u32]) -> Vec<(u64, u64)> {
    let len = images.shape.len();
    let mut sums = vec![(0, 0); len];
    for &position in train {
        let image = &images.pixels[position as usize * len..][..len];
        for ((sum, squares), &byte) in sums.iter_mut().zip(image) {
            *sum += u64::from(byte);
            *squares += u64::from(byte).pow(2);
        }
    }
    sums
}

/// Mean and standard deviation over a channel of so many images, in [0, 1]; 1 in place of a deviation of 0.
fn moments(plane: &[(u64, u64)], images: usize) -> (f64, f64) {
    let count = (plane.len() * images) as f64;
    let (sum, squares) = plane.iter().fold((0, 0), |all, of| (all.0 + of.0, all.1 + of.1));
    let mean = sum as f64 / count;
    let std = (squares as f64 / count - mean * mean).max(0.0).sqrt();
    (mean / 255.0, if std == 0.0 { 1.0 } else { std / 255.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::resident::{Resident, indices};
    use crate::train::samples::Samples;
    use crate::train::samples::made_up::{COLOUR, images, seen};

    #[test]
    fn a_channel_of_the_training_images_has_mean_0_and_deviation_1_and_a_pixel_mean_0() {
        let images = images(COLOUR, 9);
        let train = [0, 2, 3, 8];
        for (computed, deviation) in [(Computed::Channels, Some(1.0)), (Computed::Pixels, None)] {
            let normalisation = Normalisation::new(&Normalise::Computed(computed), &images, &train);
            let set = Resident::new(&images, MemoryFormat::ChannelsLast).unwrap();
            let set = set.normalised(Some(normalisation)).unwrap();
            let batch = set.batch(&indices(&train).unwrap()).unwrap().images;
            for channel in 0..3 {
                let channel = batch.select(1, channel);
                assert!(channel.mean(tch::Kind::Float).double_value(&[]).abs() < 1e-5);
                let found = channel.std(false).double_value(&[]);
                assert!(deviation.is_none_or(|expected: f64| (found - expected).abs() < 1e-4), "{found}");
            }
        }
    }

    #[test]
    fn every_loader_gives_the_same_bits() {
        let images = images(COLOUR, 9);
        let given = Given { mean: vec![0.1, 0.5, 0.3], std: vec![0.2, 0.3, 0.7] };
        for config in [
            Normalise::Given(given),
            Normalise::Computed(Computed::Channels),
            Normalise::Computed(Computed::Pixels),
        ] {
            let normalisation = Normalisation::new(&config, &images, &[0, 1, 5]);
            for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
                let set = Resident::new(&images, format).unwrap();
                let set = set.normalised(Some(normalisation.clone())).unwrap();
                let mut samples = Samples::new(&images, None, crate::stream::Seed(3), format);
                samples.normalise(set.normalisation());
                let positions = [5, 8, 0];
                let gathered = set.batch(&indices(&positions).unwrap()).unwrap();
                assert!(
                    seen(&gathered) == seen(&samples.batch(0, &positions).unwrap()),
                    "{config:?} {format:?}"
                );
            }
        }
    }
}
