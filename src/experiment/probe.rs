//! A probe: single steps of a training from states that every machine can make itself, and what they gave.
//!
//! Two honest machines part ways by rounding, and after some fifty steps they are as far apart as two seeds. After *one* step
//! from the same state they are 1e-7 to 1e-5 apart, and a changed program is hundreds of times that. So the gate asks one
//! step at a time: forward, loss, backward, optimizer, running statistics, and an evaluation. Images are noise of the set's
//! shape, because in real ones equal neighbours tie and a tie is broken by rounding. Weights, moments and statistics come
//! from a named stream, so that nothing but the answer is stored.

mod file;

use serde::{Deserialize, Serialize};

pub use file::{Known, ProbeFile, ProbedArm, Stored, Structure, accept_command, file_name, parse_file_name};

use crate::experiment::config::{Config, Data, Train};
use crate::experiment::length::Length;
use crate::stream::Seed;

/// Images of a step at most: enough for a gradient, few enough for a hundred networks in a minute.
const BATCH: u32 = 16;
/// Of the noise that stands in the place of the training file.
const VALIDATION: f64 = 0.25;
/// Of the noise that stands in the place of the test images.
pub const TEST_IMAGES: u32 = 8;
pub const SEEDS: [Seed; 4] = [Seed(0), Seed(1), Seed(2), Seed(3)];
/// Projections of a tensor onto directions of signs.
pub const PROJECTIONS: u64 = 2;

/// What is asked. Arms that differ only by what no single step depends on ask the same.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The arm's, made small.
    pub config: Config,
    pub at: Vec<At>,
    /// Steps of the whole training, which a schedule of the rate counts in.
    pub steps: u64,
}

/// A step of the training that is probed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub epoch: u32,
    /// From the start of the training.
    pub step: u64,
    /// The last batch of its epoch, which is a short one, and not the first.
    pub is_last: bool,
}

impl Probe {
    pub fn of(config: &Config) -> Self {
        let whole = config.train.batch;
        let batch = whole.min(BATCH);
        // A BatchNorm over one value gives its bias, whatever comes before it.
        let few = |images: u32| images.max(2).min(batch);
        // Two batches and a half.
        let images = 2 * batch + few(batch.div_ceil(2));
        let Train { micro_batch, label_smoothing, .. } = config.train;
        let small = |part: u32| if part >= whole { batch } else { few(batch * part / whole) };
        let is_scheduled = config.optim.schedule.is_some() || config.optim.warm_up.is_some();
        // Without a schedule no step depends on how long the training is.
        let length = match is_scheduled {
            true => Length::of(&config.train, u64::from(config.data.train_images())),
            false => Length::of(&Train { batch, epochs: 3, ..Train::default() }, u64::from(images)),
        };
        let train = Train {
            batch,
            epochs: length.epochs,
            micro_batch: micro_batch.map(small),
            label_smoothing,
            ..Train::default()
        };
        let data = Data {
            validation: VALIDATION,
            train_limit: Some(images),
            eval_limit: None,
            ..config.data.clone()
        };
        let at = |epoch: u32, is_last: bool| {
            let within = if is_last { length.steps_per_epoch - 1 } else { 0 };
            let step = (u64::from(epoch) * length.steps_per_epoch + within).min(length.steps - 1);
            At { epoch, step, is_last }
        };
        let last = length.epochs - 1;
        Self {
            config: Config { data, train, ..config.clone() },
            at: vec![at(0, false), at(length.epochs / 2, false), at(last, true)],
            steps: length.steps,
        }
    }

    /// Images of the noise in the place of the training file: so many that what is not held out is enough.
    pub fn file_images(&self) -> u32 {
        let wanted = self.config.data.train_limit.unwrap_or(1);
        let left = |all: u32| all - (f64::from(all) * VALIDATION).round() as u32;
        (wanted + 1..).find(|&all| left(all) >= wanted).unwrap_or(wanted + 1)
    }
}

/// What a probe gave.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    pub handed: Handed,
    pub quantities: Vec<Quantity>,
}

/// What the loader handed over in the probed epochs, each as the start of a SHA-256. Bytes and their order are no matter of
/// rounding, so that these are compared exactly.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// Positions of the images, batch by batch.
    pub order: String,
    pub labels: String,
    pub pixels: String,
    /// The rate of each probed step, which the schedule gives.
    pub rates: Vec<f64>,
    /// Images and steps of what the loop made of the probed steps.
    pub images: Vec<u32>,
}

/// One thing that was computed, in each of the steps.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    pub part: Part,
    /// Of a tensor, its name; of a scalar, what it is.
    pub name: String,
    /// In the short last batches, and not in the whole ones.
    pub is_last: bool,
    /// By step: a scalar alone, or a tensor's norm and its projections. `None` in the place of what is not finite.
    pub values: Vec<Vec<Option<f64>>>,
    /// Of an update, by step: what the last place of the largest weight comes to, as a share of the update's norm. Of few and
    /// large weights, as BatchNorm's, no step can tell less, and mostly rounding moves none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grains: Vec<f64>,
}

named! {
    /// What a quantity is of, in the order in which a step computes them: what comes later follows from what comes first.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Part {
        Input = "input",
        Forward = "forward",
        Gradient = "gradient",
        Optimizer = "optimizer",
        RunningStatistics = "running statistics",
        Evaluation = "evaluation",
    }
}

impl Quantity {
    /// Whether the other is an answer to the same.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.part, &self.name, self.is_last) == (other.part, &other.name, other.is_last)
    }

    /// How far another answer is from this one: the median over the steps of the largest difference, as a share of this
    /// one's size. Any one step can be far off, where rounding decides a maximum; a fault is in most of them. `None` where
    /// the two are not of one shape.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        if self.values.len() != other.values.len() {
            return None;
        }
        let mut all = Vec::with_capacity(self.values.len());
        for (one, other) in self.values.iter().zip(&other.values) {
            if one.len() != other.len() {
                return None;
            }
            // The first is the norm, or the scalar itself.
            let size = one.first().copied().flatten().unwrap_or(0.0).abs();
            let differences = one.iter().zip(other).map(|(a, b)| match (a, b) {
                (Some(a), Some(b)) if a == b => 0.0,
                (None, None) => 0.0,
                (Some(a), Some(b)) if size > 0.0 && b.is_finite() => (a - b).abs() / size,
                _ => f64::INFINITY,
            });
            all.push(differences.fold(0.0, f64::max));
        }
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }
}

/// Seven digits: what two machines differ by is in the last of them at most.
pub fn rounded(value: f64) -> Option<f64> {
    value.is_finite().then(|| format!("{value:.6e}").parse().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;
    use crate::experiment::config::{Model, Optim, OptimName, Preset, PresetName, Schedule};

    fn config(batch: u32, epochs: u32) -> Config {
        Config {
            data: Data::of(dataset::Name::mnist()),
            model: Model::Preset(Preset::of(PresetName::SimpleCnn)),
            optim: Optim::of(OptimName::Adam, 0.001),
            train: Train { batch, epochs, ..Train::default() },
            augment: None,
        }
    }

    #[test]
    fn what_no_step_depends_on_asks_the_same_and_a_schedule_asks_at_its_own_steps() {
        let probe = Probe::of(&config(64, 5));
        assert_eq!(probe, Probe::of(&Config { train: config(1024, 20).train, ..config(64, 5) }));
        assert_ne!(probe.id(), Probe::of(&config(8, 5)).id());
        let scheduled = |epochs| {
            let mut config = config(64, epochs);
            config.optim.schedule = Some(Schedule::Cosine);
            Probe::of(&config)
        };
        assert_ne!(scheduled(5), scheduled(6));
        // 48,000 images are 750 steps an epoch.
        let steps: Vec<u64> = scheduled(5).at.iter().map(|at| at.step).collect();
        assert_eq!((steps, scheduled(5).steps), (vec![0, 1_500, 3_749], 3_750));
    }

    #[test]
    fn the_noise_is_enough_for_two_batches_and_a_half() {
        for batch in [1, 2, 7, 32, 64] {
            let probe = Probe::of(&config(batch, 1));
            let (all, wanted) = (probe.file_images(), probe.config.data.train_limit.unwrap());
            let held_out = (f64::from(all) * VALIDATION).round() as u32;
            assert!(held_out >= 1 && all - held_out >= wanted, "{batch}: {all} for {wanted}");
        }
    }

    #[test]
    fn a_distance_is_a_share_of_the_norm_and_one_step_that_flips_is_no_matter() {
        let of = |values: &[[f64; 2]]| Quantity {
            part: Part::Gradient,
            name: "conv1.weight".to_owned(),
            is_last: false,
            values: values.iter().map(|pair| pair.map(Some).to_vec()).collect(),
            grains: Vec::new(),
        };
        let stored = of(&[[2.0, 1.0], [4.0, 0.0], [1.0, -1.0]]);
        assert_eq!(stored.distance(&stored), Some(0.0));
        assert_eq!(stored.distance(&of(&[[2.0, 1.0], [4.0, 0.0], [9.0, -1.0]])), Some(0.0));
        assert_eq!(stored.distance(&of(&[[2.0, 1.2], [4.0, 0.4], [1.0, -1.1]])), Some(0.1));
        assert_eq!(stored.distance(&of(&[[2.0, 1.0]])), None);
        let mut broken = stored.clone();
        broken.values.iter_mut().for_each(|values| values[1] = None);
        assert_eq!((stored.distance(&broken), broken.distance(&broken)), (Some(f64::INFINITY), Some(0.0)));
    }

    #[test]
    fn seven_digits_are_kept_and_what_is_not_finite_is_not() {
        assert_eq!((rounded(1.234_567_89), rounded(f64::NAN)), (Some(1.234_568), None));
    }
}
