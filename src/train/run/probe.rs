//! Answers a [`Probe`]: single steps of a training, taken by the training's own loop from states that come out of a stream.

use std::collections::BTreeMap;
use std::thread;

use tch::Tensor;

use super::{Control, Observer, Options, Started, Training};
use crate::data::{DataSet, Images};
use crate::digest::Hasher;
use crate::experiment::probe::{
    Answers, At, Handed, PROJECTIONS, Part, Probe, Quantity, SEEDS, TEST_IMAGES, rounded,
};
use crate::experiment::{Plan, Trial};
use crate::planted::Planted;
use crate::row::{Diagnostics, EpochRow, Split, StepRow};
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::chain::bytes;
use crate::train::evaluate::evaluate;
use crate::train::plant;
use crate::train::run::progress::SoFar;
use crate::train::timing::Timing;

/// How far weights are from where they started, as a share of their size: somewhere training takes them.
const MOVED: f32 = 0.3;
/// Size of what starts at 0, as biases of BatchNorm do.
const LEAST_SIZE: f32 = 0.1;
/// Steps that Adam's moments are said to have seen.
const SEEN_STEPS: f32 = 50.0;

/// So many steps further on dropout draws otherwise, and a constant rate is the same.
const ELSEWHERE: u64 = 1 << 20;

/// Which draws of the probes' stream are for what.
const PIXELS: u64 = 0;
const LABELS: u64 = 1;
const DIRECTIONS: u64 = 2;
/// And of the states, one after the other.
const STATES: u64 = 3;

/// How a probe is asked apart from its plan.
#[derive(Clone, Copy, Default)]
pub struct Asking {
    /// A fault, for those who want to see it found.
    pub planted: Option<Planted>,
    /// Every weight one unit in the last place larger: what rounding may do to a state.
    pub nudged: bool,
}

/// What the steps of `probe` give under `plan`, in a process that has the plan's environment and was prepared for its threads.
pub fn answer(probe: &Probe, plan: &Plan, asking: Asking) -> Result<Answers, TrainError> {
    let noise = noise(probe);
    let mut seen = Seen::default();
    for seed in SEEDS {
        let trial = Trial { config: probe.config.clone(), seed };
        let spoiled = asking.planted.and_then(|planted| plant::outside(planted, &trial, &noise));
        let (trial, data) = spoiled.as_ref().map_or((&trial, &noise), |(trial, data)| (trial, data));
        // Threads that load batches read `data`, and end with the training.
        thread::scope(|scope| {
            let options = Options {
                diagnostics: Diagnostics::Off,
                resume: None,
                planted: asking.planted,
                only_steps: true,
            };
            let mut training = Training::new(trial, plan, data, options, scope)?;
            training.length.steps = probe.steps;
            training.learner.optimizer.expect_state()?;
            let start = training.values()?;
            for at in &probe.at {
                training.answer(*at, &start, (seed, asking), &mut seen)?;
            }
            Ok::<_, TrainError>(())
        })?;
    }
    Ok(seen.answers())
}

/// Images of the set's shape that show nothing: no two neighbours of them tie.
fn noise(probe: &Probe) -> DataSet {
    let set = probe.config.data.set;
    let (shape, classes) = (set.shape(), u32::from(set.classes()).max(1));
    let images = |count: u32, part: u64| {
        let key = |what| Key::new(Seed(part), Stream::Probe, what, 0);
        let words = key(LABELS).bytes(4 * count as usize);
        let label = |word: &[u8]| u32::from_le_bytes([word[0], word[1], word[2], word[3]]) % classes;
        Images {
            pixels: key(PIXELS).bytes(count as usize * shape.len()),
            // There are at most 1,000 classes.
            labels: words.chunks_exact(4).map(|word| label(word) as u16).collect(),
            shape,
        }
    };
    DataSet { name: set, train: images(probe.file_images(), 0), test: images(TEST_IMAGES, 1) }
}

impl Training<'_> {
    /// Every tensor the next step depends on, as it is.
    fn values(&self) -> Result<Vec<(String, Vec<f32>)>, TrainError> {
        self.learner.tensors().into_iter().map(|(name, tensor)| Ok((name, floats(&tensor)?))).collect()
    }

    fn answer(
        &mut self,
        at: At,
        start: &[(String, Vec<f32>)],
        (seed, asking): (Seed, Asking),
        seen: &mut Seen,
    ) -> Result<(), TrainError> {
        self.hand_over(at, seen)?;
        self.take_state(at, start, seed, asking.nudged)?;
        for split in [Split::TrainEval, Split::Validation, Split::Test] {
            let (set, indices) = self.sets.evaluated(split);
            let score =
                evaluate(&self.learner.built.network, set, indices, self.sets.classes, asking.planted)?;
            seen.scalar(Part::Evaluation, format!("loss, {}", split.name()), at, score.loss);
            seen.scalar(Part::Evaluation, format!("accuracy, {}", split.name()), at, score.accuracy);
        }
        let before = self.values()?;
        if asking.planted == Some(Planted::DropoutStream) {
            self.progress.step += ELSEWHERE;
        }
        let mut step = OneStep { goes_on: at.is_last, rows: Vec::new() };
        self.epoch(at.epoch, &mut step)?;
        seen.rates.push(self.learner.optimizer.lr());
        seen.images.extend(step.rows.iter().map(|row| row.images));
        let Some(row) = step.rows.first() else { return Ok(()) };
        seen.scalar(Part::Forward, "loss".to_owned(), at, row.loss);
        seen.scalar(Part::Forward, "accuracy".to_owned(), at, f64::from(row.correct) / f64::from(row.images));
        if asking.planted == Some(Planted::BatchNormMomentum) {
            self.halve_statistics(&before)?;
        }
        let is_trained = |tensor: &Tensor| tensor.requires_grad();
        for (number, ((name, tensor), (_, before))) in
            self.learner.built.parameters.named().iter().zip(&before).enumerate()
        {
            let name = name.trim_start_matches("model.").to_owned();
            let after = floats(tensor)?;
            if is_trained(tensor) {
                seen.tensor(Part::Gradient, &name, at, number, &floats(&tensor.grad())?);
                let update: Vec<f32> =
                    after.iter().zip(before).map(|(after, before)| after - before).collect();
                seen.tensor(Part::Optimizer, &name, at, number, &update).grains.push(grain(&after, &update));
            } else {
                seen.tensor(Part::RunningStatistics, &name, at, number, &after);
            }
        }
        Ok(())
    }

    /// Has the loader hand over the whole epoch, and the loop its next steps.
    fn hand_over(&mut self, at: At, seen: &mut Seen) -> Result<(), TrainError> {
        let order = self.order(at.epoch);
        let batches = order.chunks(self.config.train.batch as usize);
        self.sets.batches.begin(at.epoch, batches.clone(), self.place)?;
        for positions in batches.clone() {
            positions.iter().for_each(|position| seen.order.update(&position.to_le_bytes()));
            let mut timing = Timing::start(&self.times.clock, None, None)?;
            let batch = self.sets.batches.next(self.place, &mut timing)?;
            let labels = Vec::<i64>::try_from(&batch.labels)?;
            labels.iter().for_each(|label| seen.labels.update(&label.to_le_bytes()));
            seen.pixels.update(&bytes(&batch.images)?);
        }
        let mut so_far = SoFar::default();
        so_far.batches = if at.is_last { batches.len() as u64 - 1 } else { 0 };
        (self.progress.so_far, self.progress.step, self.end.is_over) = (so_far, at.step, false);
        Ok(())
    }

    /// Moves everything the step depends on from where it started to where the stream says.
    fn take_state(
        &mut self,
        at: At,
        start: &[(String, Vec<f32>)],
        seed: Seed,
        nudged: bool,
    ) -> Result<(), TrainError> {
        let _no_grad = tch::no_grad_guard();
        for (number, ((name, tensor), (_, start))) in self.learner.tensors().iter().zip(start).enumerate() {
            let key = Key::new(Seed(number as u64), Stream::Probe, STATES + seed.0, at.step);
            let mut values = state(name, start, &uniform(&key, start.len()));
            if nudged && name.starts_with("model.") {
                values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits() + 1));
            }
            tensor.shallow_clone().f_copy_(&Tensor::f_from_slice(&values)?.f_view(&tensor.size()[..])?)?;
        }
        Ok(())
    }

    /// What half the momentum would have made of the running statistics.
    fn halve_statistics(&mut self, before: &[(String, Vec<f32>)]) -> Result<(), TrainError> {
        let _no_grad = tch::no_grad_guard();
        for ((_, tensor), (_, before)) in self.learner.built.parameters.named().iter().zip(before) {
            if !tensor.requires_grad() {
                let halves: Vec<f32> = floats(tensor)?
                    .iter()
                    .zip(before)
                    .map(|(after, before)| 0.5 * (after + before))
                    .collect();
                tensor.shallow_clone().f_copy_(&Tensor::f_from_slice(&halves)?)?;
            }
        }
        Ok(())
    }
}

/// Values of a tensor in the state, by what it is; `noise` is uniform in −1…1.
fn state(name: &str, start: &[f32], noise: &[f32]) -> Vec<f32> {
    let all = |of: &dyn Fn(f32) -> f32| noise.iter().map(|&noise| of(noise)).collect();
    if let Some(moment) = name.strip_prefix("optimizer.") {
        return match moment.split('.').next() {
            Some("step") => vec![SEEN_STEPS; start.len()],
            Some("exp_avg_sq") => all(&|noise| (2e-3 * noise) * (2e-3 * noise) + 1e-8),
            // A first moment and a velocity, about as large as a gradient.
            _ => all(&|noise| 1e-3 * noise),
        };
    }
    if name.ends_with("running_var") {
        return all(&|noise| 0.55 + 0.25 * noise);
    }
    if name.ends_with("running_mean") {
        return all(&|noise| 0.2 * noise);
    }
    // In double precision and in order, so that the sum is the same everywhere.
    let square: f64 = start.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let size = ((square / start.len().max(1) as f64).sqrt() as f32)
        .max(LEAST_SIZE * f32::from(u8::from(square == 0.0)));
    start.iter().zip(noise).map(|(start, noise)| start + MOVED * size * noise).collect()
}

/// Uniform in −1…1, 24 bits each.
fn uniform(key: &Key, len: usize) -> Vec<f32> {
    let bytes = key.bytes(4 * len);
    let value = |word: &[u8]| u32::from_le_bytes([word[0], word[1], word[2], word[3]]) >> 8;
    bytes.chunks_exact(4).map(|word| value(word) as f32 / 8_388_608.0 - 1.0).collect()
}

/// What the last place of the largest weight comes to, as a share of the update's norm; 0 where nothing was updated.
fn grain(weights: &[f32], update: &[f32]) -> f64 {
    let largest = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    let last_place = f64::from(f32::from_bits(largest.to_bits() + 1)) - f64::from(largest);
    let square: f64 = update.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let grain = last_place / square.sqrt();
    if grain.is_finite() { grain } else { 0.0 }
}

/// In logical order.
fn floats(tensor: &Tensor) -> Result<Vec<f32>, TrainError> {
    let flat = tensor.f_detach()?.f_contiguous()?;
    let mut values = vec![0_f32; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values)
}

/// Takes one step, and lets the loop end its epoch after the last one.
struct OneStep {
    goes_on: bool,
    rows: Vec<StepRow>,
}

impl Observer for OneStep {
    fn started(&mut self, _: &Started) {}

    fn stepped(&mut self, row: &StepRow) -> Control {
        self.rows.push(*row);
        if self.goes_on { Control::Continue } else { Control::Stop }
    }

    fn measured(&mut self, _: &EpochRow) {}
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    order: Hasher,
    labels: Hasher,
    pixels: Hasher,
    rates: Vec<f64>,
    images: Vec<u32>,
    quantities: Vec<Quantity>,
    /// By number of the tensor, eight signs a byte.
    directions: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl Seen {
    fn scalar(&mut self, part: Part, name: String, at: At, value: f64) {
        self.add(part, name, at, vec![rounded(value)]);
    }

    /// The norm, and the projections onto directions whose entries are all 1 or −1.
    fn tensor(&mut self, part: Part, name: &str, at: At, number: usize, values: &[f32]) -> &mut Quantity {
        let key = |which| Key::new(Seed(number as u64), Stream::Probe, DIRECTIONS, which);
        let drawn = || (0..PROJECTIONS).map(|which| key(which).bytes(values.len().div_ceil(8))).collect();
        let directions: &Vec<Vec<u8>> = self.directions.entry(number).or_insert_with(drawn);
        let square: f64 = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        let projection = |signs: &Vec<u8>| {
            let mut sum = 0.0;
            for (values, signs) in values.chunks(8).zip(signs) {
                for (bit, value) in values.iter().enumerate() {
                    let value = f64::from(*value);
                    sum += if signs >> bit & 1 == 1 { value } else { -value };
                }
            }
            rounded(sum)
        };
        let projections = directions.iter().map(projection);
        let all = std::iter::once(rounded(square.sqrt())).chain(projections).collect();
        self.add(part, name.to_owned(), at, all)
    }

    fn add(&mut self, part: Part, name: String, at: At, values: Vec<Option<f64>>) -> &mut Quantity {
        let wanted = Quantity { part, name, is_last: at.is_last, values: Vec::new(), grains: Vec::new() };
        let number = match self.quantities.iter().position(|quantity| quantity.is_like(&wanted)) {
            Some(number) => number,
            None => {
                self.quantities.push(wanted);
                self.quantities.len() - 1
            }
        };
        let quantity = &mut self.quantities[number];
        quantity.values.push(values);
        quantity
    }

    fn answers(mut self) -> Answers {
        // As a step computes them; a stable sort keeps the order of the tensors.
        self.quantities.sort_by_key(|quantity| (quantity.is_last, quantity.part));
        let short = |hasher: Hasher| hasher.finish().short();
        let (order, labels, pixels) = (short(self.order), short(self.labels), short(self.pixels));
        Answers {
            handed: Handed { order, labels, pixels, rates: self.rates, images: self.images },
            quantities: self.quantities,
        }
    }
}

#[cfg(test)]
mod tests;
