//! One trial from its first weight to its last evaluation.

use tch::{Reduction, Tensor};

use crate::clock::{Clock, Monotonic, Phase, Stopwatch};
use crate::data::{self, DataSet, Limits};
use crate::digest::Digest;
use crate::experiment::plan::Device;
use crate::experiment::{Config, Length, Plan, Trial};
use crate::machine;
use crate::row::{ConfusionRow, Diagnostic, DiagnosticRow, Diagnostics, EpochRow, Split, StepRow};
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::augment::Augmenter;
use crate::train::diagnose::{Depth, Diagnosis};
use crate::train::evaluate::{correct_count, cross_entropy, evaluate};
use crate::train::model::{self, Built};
use crate::train::optimizer::Adam;
use crate::train::resident::{Resident, indices};
use crate::train::schedule;
use crate::train::stopping::{Stopping, Verdict};
use crate::train::target::Target;

/// Called as `started → (stepped … → measured …) per epoch → measured`, the last time for the test split. What else is
/// known of a split follows its `measured`.
pub trait Observer {
    fn started(&mut self, started: &Started);
    fn stepped(&mut self, row: &StepRow) -> Control;
    fn measured(&mut self, row: &EpochRow);
    fn diagnosed(&mut self, rows: &[DiagnosticRow]);
    fn confused(&mut self, rows: &[ConfusionRow]);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Continue,
    /// End after this step, with what there is.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// At most: early stopping or a target loss may end the run sooner.
    pub steps: u64,
    pub steps_per_epoch: u64,
    /// Training images an epoch.
    pub images: u64,
    pub parameters: usize,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ending {
    Finished,
    /// The loss of `step` was not finite.
    Diverged {
        step: u64,
        loss: f64,
    },
    /// The observer asked to stop after `step`.
    Stopped {
        step: u64,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Trained {
    pub ending: Ending,
    pub initial_weights: Digest,
    /// Those that were kept, with early stopping.
    pub final_weights: Digest,
    /// The epoch whose weights were kept and tested: of every finished run with early stopping, and of no other.
    pub kept_epoch: Option<u32>,
    pub steps: u64,
    /// Sum of the steps, sum of the evaluations, and everything from the first step on but the diagnostics.
    pub train_ns: u64,
    pub evaluate_ns: u64,
    /// Sum of the diagnostics.
    pub diagnose_ns: u64,
    pub wall_ns: u64,
}

/// Trains `trial` under `plan`, in a process that has the plan's environment and was prepared for its threads
/// ([`super::prepare_process`]).
pub fn train(
    trial: &Trial,
    plan: &Plan,
    data: &DataSet,
    diagnostics: Diagnostics,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    if plan.device != Device::Cpu {
        return Err(TrainError::Device(plan.device.to_string()));
    }
    if data.name != trial.config.data.set {
        return Err(TrainError::OtherData { expected: trial.config.data.set, found: data.name });
    }
    Training::new(trial, plan, data, diagnostics)?.run(observer)
}

struct Training<'a> {
    config: &'a Config,
    seed: Seed,
    length: Length,
    clock: Monotonic,
    built: Built,
    optimizer: Adam,
    train_set: Resident,
    /// Loads the training batches of a config with `augment`, in place of `train_set`.
    augmenter: Option<Augmenter<'a>>,
    test_set: Resident,
    /// Positions in the training file.
    train: Vec<u32>,
    train_eval: Tensor,
    validation: Tensor,
    test: Tensor,
    classes: u8,
    diagnosis: Option<Diagnosis>,
    stopping: Option<Stopping<Vec<Tensor>>>,
    target: Option<Target>,
    /// Training ends with this epoch.
    is_over: bool,
    step: u64,
    train_ns: u64,
    evaluate_ns: u64,
    diagnose_ns: u64,
}

impl<'a> Training<'a> {
    fn new(
        trial: &'a Trial,
        plan: &Plan,
        data: &'a DataSet,
        diagnostics: Diagnostics,
    ) -> Result<Self, TrainError> {
        let (config, seed) = (&trial.config, trial.seed);
        let limits = Limits { train: config.data.train_limit, validation: config.data.eval_limit };
        let split = data::split(data.train.len() as u32, config.data.validation, limits, seed)?;
        let init = Key::new(seed, Stream::Init, 0, 0);
        let built = model::build(&config.model, plan, data.train.shape, data.name.classes(), &init)?;
        let optimizer = Adam::new(&config.optim, plan.optimizer, built.parameters.trainable_tensors())?;
        let compared = split.train.len().min(split.validation.len());
        let augmenter = |augment| Augmenter::new(augment, &data.train, seed, plan.memory_format);
        let tested = config.data.eval_limit.unwrap_or(u32::MAX).min(data.test.len() as u32);
        let diagnosis = match diagnostics {
            Diagnostics::On => Some(Diagnosis::new(&split.train, seed)?),
            Diagnostics::Off => None,
        };
        Ok(Self {
            config,
            seed,
            length: Length::of(&config.train, split.train.len() as u64),
            clock: Monotonic::start(),
            built,
            optimizer,
            train_set: Resident::new(&data.train, plan.memory_format)?,
            augmenter: config.augment.as_ref().map(augmenter),
            test_set: Resident::new(&data.test, plan.memory_format)?,
            train_eval: indices(&split.train[..compared])?,
            validation: indices(&split.validation)?,
            test: indices(&(0..tested).collect::<Vec<_>>())?,
            train: split.train,
            classes: data.name.classes(),
            diagnosis,
            stopping: Stopping::new(&config.train),
            target: config.train.target_loss.map(Target::new),
            is_over: false,
            step: 0,
            train_ns: 0,
            evaluate_ns: 0,
            diagnose_ns: 0,
        })
    }

    fn run(mut self, observer: &mut dyn Observer) -> Result<Trained, TrainError> {
        let initial_weights = self.built.parameters.digest()?;
        observer.started(&self.started());
        let began_ns = self.clock.now_ns();
        let mut ending = Ending::Finished;
        let mut last = 0;
        for epoch in 0..self.length.epochs {
            ending = self.epoch(epoch, observer)?;
            if ending != Ending::Finished {
                break;
            }
            self.measure(epoch, Split::TrainEval, observer)?;
            let loss = self.measure(epoch, Split::Validation, observer)?;
            self.judge(epoch, loss)?;
            last = epoch;
            if self.is_over {
                break;
            }
            let planned = self.length.epochs - 1;
            if epoch < planned && (epoch == 0 || epoch == planned / 2) {
                self.diagnose(epoch, Depth::Cheap, observer)?;
            }
        }
        let mut kept_epoch = None;
        if ending == Ending::Finished {
            kept_epoch = self.restore_best()?;
            let kept = kept_epoch.unwrap_or(last);
            self.measure(kept, Split::Test, observer)?;
            self.diagnose(kept, Depth::Full, observer)?;
        }
        Ok(Trained {
            ending,
            initial_weights,
            kept_epoch,
            wall_ns: self.clock.now_ns() - began_ns - self.diagnose_ns,
            final_weights: self.built.parameters.digest()?,
            steps: self.step,
            train_ns: self.train_ns,
            evaluate_ns: self.evaluate_ns,
            diagnose_ns: self.diagnose_ns,
        })
    }

    /// Asks early stopping, which copies the weights of a new best epoch. `loss` is of validation, in nats.
    fn judge(&mut self, epoch: u32, loss: f64) -> Result<(), TrainError> {
        let Some(stopping) = &mut self.stopping else { return Ok(()) };
        let verdict = stopping.judge(epoch, loss, || self.built.parameters.copy())?;
        self.is_over |= verdict == Verdict::Stop;
        Ok(())
    }

    /// Puts the weights of the best epoch back, and says which it was.
    fn restore_best(&mut self) -> Result<Option<u32>, TrainError> {
        let Some(best) = self.stopping.as_ref().and_then(Stopping::best) else { return Ok(None) };
        self.built.parameters.restore(&best.kept)?;
        Ok(Some(best.epoch))
    }

    fn started(&self) -> Started {
        Started {
            steps: self.length.steps,
            steps_per_epoch: self.length.steps_per_epoch,
            images: self.train.len() as u64,
            parameters: self.built.parameters.count(),
        }
    }

    /// One pass over the training images in the epoch's own order, or the part of one until the run is over; the last
    /// batch takes what is left.
    fn epoch(&mut self, epoch: u32, observer: &mut dyn Observer) -> Result<Ending, TrainError> {
        let order =
            Key::new(self.seed, Stream::Order, u64::from(epoch), 0).permutation(self.train.len() as u32);
        let order: Vec<u32> = order.into_iter().map(|position| self.train[position as usize]).collect();
        let order = indices(&order)?;
        let (all, batch) = (order.numel() as i64, i64::from(self.config.train.batch));
        let (mut images, mut loss, mut correct, mut wall_ns) = (0, 0.0, 0_u64, 0);
        for start in (0..all).step_by(batch as usize) {
            let row = self.step(epoch, &order.f_narrow(0, start, batch.min(all - start))?)?;
            images += row.images;
            loss += row.loss * f64::from(row.images);
            correct += u64::from(row.correct);
            wall_ns += row.times.total_ns;
            let control = observer.stepped(&row);
            if !row.loss.is_finite() {
                return Ok(Ending::Diverged { step: row.step, loss: row.loss });
            }
            if control == Control::Stop {
                return Ok(Ending::Stopped { step: row.step });
            }
            let reached = self.target.as_mut().is_some_and(|target| target.is_reached(row.images, row.loss));
            self.is_over = reached || self.step == self.length.steps;
            if self.is_over {
                break;
            }
        }
        let (loss, accuracy) = (loss / f64::from(images), correct as f64 / f64::from(images));
        observer.measured(&EpochRow { epoch, split: Split::Train, images, loss, accuracy, wall_ns });
        Ok(Ending::Finished)
    }

    /// One optimizer step. What a step's time holds is this function between `start` and `stop`: from choosing the
    /// batch to having its loss and correct count on the host. Evaluation, the epoch's shuffle, the rate and the
    /// observer are outside. The counters are read outside too: reading them takes a microsecond.
    fn step(&mut self, epoch: u32, batch: &Tensor) -> Result<StepRow, TrainError> {
        let lr =
            schedule::rate(self.config.optim.schedule, self.config.optim.lr, self.step, self.length.steps);
        self.optimizer.set_lr(lr);
        let usage = machine::usage();
        let mut watch = Stopwatch::start(&self.clock);
        // The dropout stream is set at every step, so that no draw depends on how many came before.
        tch::manual_seed(Key::new(self.seed, Stream::Dropout, u64::from(epoch), self.step).torch_seed());
        let batch = match &mut self.augmenter {
            Some(augmenter) => augmenter.batch(epoch, batch)?,
            None => self.train_set.batch(batch)?,
        };
        watch.mark(Phase::Load);
        let logits = self.built.model.forward(&batch.images, true)?;
        let loss = cross_entropy(&logits, &batch.labels, Reduction::Mean)?;
        watch.mark(Phase::Forward);
        self.optimizer.clear_grads()?;
        loss.f_backward()?;
        watch.mark(Phase::Backward);
        self.optimizer.step()?;
        watch.mark(Phase::Optimizer);
        let loss = loss.f_double_value(&[])?;
        let correct = correct_count(&logits, &batch.labels)? as u32;
        watch.mark(Phase::ReadBack);
        let times = watch.stop();
        let usage = machine::usage().since(usage);
        let row =
            StepRow { epoch, step: self.step, images: logits.size()[0] as u32, loss, correct, times, usage };
        self.step += 1;
        self.train_ns += times.total_ns;
        Ok(row)
    }

    /// Evaluates the weights there are on a split: its loss in nats.
    fn measure(&mut self, epoch: u32, split: Split, observer: &mut dyn Observer) -> Result<f64, TrainError> {
        let (set, indices) = match split {
            Split::Train | Split::TrainEval => (&self.train_set, &self.train_eval),
            Split::Validation => (&self.train_set, &self.validation),
            Split::Test => (&self.test_set, &self.test),
        };
        let began_ns = self.clock.now_ns();
        let score = evaluate(self.built.model.as_ref(), set, indices, self.classes)?;
        let wall_ns = self.clock.now_ns() - began_ns;
        self.evaluate_ns += wall_ns;
        let images = indices.numel() as u32;
        observer.measured(&EpochRow {
            epoch,
            split,
            images,
            loss: score.loss,
            accuracy: score.accuracy,
            wall_ns,
        });
        let diagnostic =
            |diagnostic, value| DiagnosticRow { epoch, diagnostic, of: split.name().to_owned(), value };
        observer.diagnosed(&[
            diagnostic(Diagnostic::Top3, score.tally.top3()),
            diagnostic(Diagnostic::CalibrationError, score.tally.calibration_error()),
        ]);
        let cell = |(label, predicted, images)| ConfusionRow { epoch, split, label, predicted, images };
        observer.confused(&score.tally.confusion().map(cell).collect::<Vec<_>>());
        Ok(score.loss)
    }

    fn diagnose(&mut self, epoch: u32, depth: Depth, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let Some(diagnosis) = &self.diagnosis else { return Ok(()) };
        let began_ns = self.clock.now_ns();
        let rows = diagnosis.rows(epoch, depth, &self.built, self.config, &self.train_set)?;
        self.diagnose_ns += self.clock.now_ns() - began_ns;
        observer.diagnosed(&rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
