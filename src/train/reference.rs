//! The reference workload: a fixed computation of stock operators, timed beside the run it is a yardstick for.
//!
//! A step's time divided by it says how much work the step is on this machine at this moment, so that the ratio can be
//! compared with one taken elsewhere. It therefore runs where the training does: a processor is no yardstick for a GPU.

use tch::{Kind, Tensor};

use crate::clock::Clock;
use crate::stats;
use crate::train::TrainError;
use crate::train::place::Place;

/// The two convolutions of SimpleCNN, whose mix of operators most runs of the study share, so that another processor
/// speeds up both alike.
const IMAGES: i64 = 32;
const CHANNELS: [i64; 3] = [1, 32, 64];
const SIDE: i64 = 28;
/// Looks within the epochs: one after so many steps, in the first so many. A neighbour on a shared machine comes and goes
/// within seconds, and short runs would otherwise be measured at other moments than their yardstick. What it costs a long
/// run is half a second.
const STEPS_APART: u64 = 8;
const STEPS_WITH_LOOKS: u64 = 400;
/// Times it is run between two epochs.
pub const REPEATS: usize = 3;

pub struct Reference {
    place: Place,
    images: Tensor,
    weights: [Tensor; 2],
    times_ns: Vec<f64>,
    is_warm: bool,
}

impl Reference {
    /// Draws nothing: libtorch's generator belongs to the training.
    pub fn new(place: Place) -> Result<Self, TrainError> {
        let weight =
            |input: i64, output: i64| place.put(ramp(&[output, input, 3, 3])?)?.f_set_requires_grad(true);
        Ok(Self {
            place,
            images: place.put(ramp(&[IMAGES, CHANNELS[0], SIDE, SIDE])?)?,
            weights: [weight(CHANNELS[0], CHANNELS[1])?, weight(CHANNELS[1], CHANNELS[2])?],
            times_ns: Vec::new(),
            is_warm: false,
        })
    }

    /// Whether a look is due after `step` steps.
    pub fn is_due(step: u64) -> bool {
        step <= STEPS_WITH_LOOKS && step.is_multiple_of(STEPS_APART)
    }

    pub fn time(&mut self, clock: &impl Clock, repeats: usize) -> Result<(), TrainError> {
        // The first of a process settles caches and is not counted.
        if !self.is_warm {
            self.work()?;
            self.is_warm = true;
        }
        for _ in 0..repeats {
            let began_ns = clock.now_ns();
            self.work()?;
            self.times_ns.push((clock.now_ns() - began_ns) as f64);
        }
        Ok(())
    }

    fn work(&mut self) -> Result<(), TrainError> {
        let mut output = self.images.shallow_clone();
        for weight in &mut self.weights {
            weight.zero_grad();
            let images = output.f_conv2d(weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)?;
            output = images.f_relu()?.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        output.f_mean(Kind::Float)?.f_backward()?;
        self.place.wait()
    }

    /// 0 before the first look.
    pub fn median_ns(&self) -> u64 {
        stats::median(&self.times_ns).unwrap_or(0.0) as u64
    }
}

/// From −1 to 1.
fn ramp(size: &[i64]) -> Result<Tensor, tch::TchError> {
    let count = size.iter().product::<i64>();
    let values = Tensor::f_linspace(-1.0, 1.0, count, (Kind::Float, tch::Device::Cpu))?;
    values.f_view(size)
}
