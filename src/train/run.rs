//! One trial from its first weight to its last evaluation.

use std::thread::{self, Scope};

use tch::{Reduction, Tensor};

use crate::clock::{Clock, Monotonic, Phase, Recorder};
use crate::data::{self, DataSet, Limits};
use crate::digest::Digest;
use crate::experiment::plan::{Effective, Loader};
use crate::experiment::{Config, Length, Plan, Trial, config};
use crate::machine;
use crate::planted::Planted;
use crate::row::{ChainRow, ConfusionRow, Diagnostic, DiagnosticRow, Diagnostics, EpochRow, Split, StepRow};
use crate::stats::target::Target;
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::chain::{Chain, Named};
use crate::train::checkpoint::{self, Decoded, Position};
use crate::train::diagnose::{Depth, Diagnosis};
use crate::train::evaluate::{correct_count, evaluate, smoothed_cross_entropy};
use crate::train::graphs::{EAGER_STEPS, StepGraphs};
use crate::train::loader::Batches;
use crate::train::network::{self, Built, Mode};
use crate::train::normalise::Normalisation;
use crate::train::optimizer::Optimizer;
use crate::train::place::{self, Place};
use crate::train::plant;
use crate::train::reference::{REPEATS, Reference};
use crate::train::resident::{Batch, Resident, indices};
use crate::train::schedule;
use crate::train::shim::CudaStream;
use crate::train::stopping::{Stopping, Verdict};
use crate::train::timing::Timing;

/// Prefix of the weights early stopping kept, among the tensors of a state.
const BEST: &str = "best";

/// Called as `started → (stepped … → measured … → kept) per epoch → measured`, the last time for the test split. What else
/// is known of a split follows its `measured`, and of a step its `stepped`.
pub trait Observer {
    fn started(&mut self, started: &Started);
    /// Positions in the training file of the images of the step that follows.
    fn chose(&mut self, _: &[u32]) {}
    fn stepped(&mut self, row: &StepRow) -> Control;
    fn measured(&mut self, row: &EpochRow);
    fn diagnosed(&mut self, _: &[DiagnosticRow]) {}
    fn confused(&mut self, _: &[ConfusionRow]) {}
    /// Before `stepped` of the same step.
    fn chained(&mut self, _: Vec<ChainRow>) {}
    /// A state to go on from, together with the rows so far. Not after the last epoch.
    fn kept(&mut self, _: Kept) {}
}

/// The state of a training after `step` steps; its content is for [`Options::resume`] alone.
pub struct Kept {
    pub step: u64,
    /// A safetensors file.
    pub state: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Continue,
    /// Hand the state over, and go on.
    Keep,
    /// Hand the state over, and end.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// Steps that are done already: 0 unless resumed.
    pub done: u64,
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
    /// What the plan came to.
    pub effective: Effective,
    /// The epoch whose weights were kept and tested: of every finished run with early stopping, and of no other.
    pub kept_epoch: Option<u32>,
    pub steps: u64,
    /// Sum of the steps, sum of the evaluations, and everything from the first step on but the diagnostics.
    pub train_ns: u64,
    pub evaluate_ns: u64,
    /// Sum of the diagnostics.
    pub diagnose_ns: u64,
    /// Of all processes together, without the diagnostics and the hand-over of states.
    pub wall_ns: u64,
    /// Median time of the reference workload.
    pub reference_ns: u64,
}

/// What is no part of the trial or of its plan.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    pub diagnostics: Diagnostics,
    /// A state that [`Observer::kept`] was given, and the steps up to it.
    pub resume: Option<(&'a [u8], &'a [StepRow])>,
    pub planted: Option<Planted>,
    /// Steps and nothing else: no evaluation, no reference workload and no state to go on from.
    pub only_steps: bool,
}

/// Trains `trial` under `plan`, in a process that has the plan's environment and was prepared for its threads
/// ([`super::prepare_process`]).
pub fn train(
    trial: &Trial,
    plan: &Plan,
    data: &DataSet,
    options: Options,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    if data.name != trial.config.data.set {
        return Err(TrainError::OtherData { expected: trial.config.data.set, found: data.name });
    }
    let spoiled = options.planted.and_then(|planted| plant::spoiled(data, planted));
    let data = spoiled.as_ref().unwrap_or(data);
    // Threads that load batches read `data`, and end with the training.
    thread::scope(|scope| {
        let mut training = Training::new(trial, plan, data, options, scope)?;
        if let Some((state, steps)) = options.resume {
            training.resume(state, steps)?;
        }
        training.run(observer)
    })
}

struct Training<'a> {
    config: &'a Config,
    seed: Seed,
    length: Length,
    clock: Monotonic,
    place: Place,
    /// Times the steps on a GPU's own timeline.
    recorder: Option<Recorder<CudaStream>>,
    built: Built,
    optimizer: Optimizer,
    /// What is trained on, and who makes it.
    batches: Batches<'a>,
    loader: Loader,
    /// What is evaluated on.
    train_set: Resident,
    test_set: Resident,
    /// Positions in the training file.
    train: Vec<u32>,
    train_eval: Tensor,
    validation: Tensor,
    test: Tensor,
    classes: u16,
    diagnosis: Option<Diagnosis>,
    stopping: Option<Stopping<Vec<Tensor>>>,
    target: Option<Target>,
    /// Training ends with this epoch.
    is_over: bool,
    planted: Option<Planted>,
    only_steps: bool,
    /// The plan wants graphs; `graphs` has them once a few steps were taken.
    records_graphs: bool,
    graphs: Option<StepGraphs>,
    /// Steps of this process.
    steps_here: u64,
    reference: Reference,
    initial_weights: Digest,
    chain: Chain,
    /// Where the training begins: not at 0 when it was resumed.
    epoch: u32,
    so_far: SoFar,
    step: u64,
    train_ns: u64,
    evaluate_ns: u64,
    diagnose_ns: u64,
    /// Of the processes before this one.
    wall_ns: u64,
    /// Of this process, which `wall_ns` does not count.
    aside_ns: u64,
    began_ns: u64,
}

/// What an epoch adds up.
#[derive(Clone, Copy, Default)]
struct SoFar {
    batches: u64,
    images: u32,
    loss: f64,
    correct: u64,
    wall_ns: u64,
}

impl SoFar {
    fn add(&mut self, row: &StepRow) {
        self.batches += 1;
        self.images += row.images;
        self.loss += row.loss * f64::from(row.images);
        self.correct += u64::from(row.correct);
        self.wall_ns += row.times.total_ns;
    }

    fn row(&self, epoch: u32) -> EpochRow {
        let images = f64::from(self.images);
        EpochRow {
            epoch,
            split: Split::Train,
            images: self.images,
            loss: self.loss / images,
            accuracy: self.correct as f64 / images,
            wall_ns: self.wall_ns,
        }
    }
}

impl<'a> Training<'a> {
    fn new(
        trial: &'a Trial,
        plan: &Plan,
        data: &'a DataSet,
        options: Options,
        scope: &'a Scope<'a, '_>,
    ) -> Result<Self, TrainError> {
        let (config, seed) = (&trial.config, trial.seed);
        let place = Place::of(plan)?;
        place.set_tf32(plan.tf32)?;
        if plan.graph {
            place.use_stream()?;
        }
        let limits = Limits { train: config.data.train_limit, validation: config.data.eval_limit };
        let split = data::split(data.train.len() as u32, config.data.validation, limits, seed)?;
        let init = Key::new(seed, Stream::Init, 0, 0);
        let steps = config.network().map_err(|error| TrainError::Internal(error.to_string()))?;
        let mut built = network::build(&steps, plan, &init)?;
        // Before the optimizer makes its state beside them.
        built.parameters.move_to(place)?;
        let optimizer = Optimizer::new(&config.optim, plan.optimizer, built.parameters.trainable_tensors())?;
        let compared = split.train.len().min(split.validation.len());
        let normalisation = Normalisation::of(trial, &data.train)?;
        let resident =
            |images| Resident::new(images, plan.memory_format)?.normalised(normalisation.clone())?.on(place);
        let train_set = resident(&data.train)?;
        let placed =
            |positions: &[u32]| -> Result<Tensor, TrainError> { Ok(place.put(indices(positions)?)?) };
        let tested = config.data.eval_limit.unwrap_or(u32::MAX).min(data.test.len() as u32);
        let diagnosis = match options.diagnostics {
            Diagnostics::On => Some(Diagnosis::new(&split.train, seed, place)?),
            Diagnostics::Off => None,
        };
        let initial_weights = built.parameters.digest()?;
        Ok(Self {
            config,
            seed,
            length: Length::of(&config.train, split.train.len() as u64),
            clock: Monotonic::start(),
            place,
            recorder: place.recorder(),
            built,
            optimizer,
            loader: plan.loader.effective(config.augment.is_some()),
            batches: Batches::new(plan, config.augment.as_ref(), &data.train, &train_set, seed, scope)?,
            train_set,
            test_set: resident(&data.test)?,
            train_eval: placed(&split.train[..compared])?,
            validation: placed(&split.validation)?,
            test: placed(&(0..tested).collect::<Vec<_>>())?,
            train: split.train,
            classes: data.name.classes(),
            diagnosis,
            stopping: Stopping::new(&config.train),
            target: config.train.target_loss.map(Target::new),
            is_over: false,
            planted: options.planted,
            only_steps: options.only_steps,
            // A step of several passes is not recorded: its passes are of two sizes, and it is taken for its memory.
            records_graphs: plan.graph && config.train.micro_batch.is_none(),
            graphs: None,
            steps_here: 0,
            reference: Reference::new(place)?,
            initial_weights,
            chain: Chain::new(initial_weights),
            epoch: 0,
            so_far: SoFar::default(),
            step: 0,
            train_ns: 0,
            evaluate_ns: 0,
            diagnose_ns: 0,
            wall_ns: 0,
            aside_ns: 0,
            began_ns: 0,
        })
    }

    /// Puts everything where it was when `state` was handed over. Sums are taken again from `steps`, in their order, so
    /// that they come out with the same bits.
    fn resume(&mut self, state: &[u8], steps: &[StepRow]) -> Result<(), TrainError> {
        let decoded = Decoded::new(state)?;
        let position = decoded.position.clone();
        let rows = steps.iter().filter(|row| row.epoch == position.epoch).count() as u64;
        if position.step != steps.len() as u64 || position.batches != rows {
            let (step, found) = (position.step, steps.len());
            return Err(TrainError::Checkpoint(format!("it is of {step} steps, its rows are of {found}")));
        }
        if position.initial_weights != self.initial_weights {
            return Err(TrainError::Checkpoint("it started from other weights".to_owned()));
        }
        self.optimizer.expect_state()?;
        decoded.restore(&self.tensors())?;
        if let (Some((epoch, loss)), Some(stopping)) = (position.best, &mut self.stopping) {
            let kept = self.built.parameters.copy()?;
            decoded.restore(&self.built.parameters.name_copies(BEST, &kept))?;
            stopping.restore(epoch, f64::from_bits(loss), kept);
        }
        for row in steps {
            let reached = self.target.as_mut().is_some_and(|target| target.is_reached(row.images, row.loss));
            self.is_over = reached || row.step + 1 == self.length.steps;
            self.train_ns += row.times.total_ns;
            if row.epoch == position.epoch {
                self.so_far.add(row);
            }
        }
        (self.epoch, self.step) = (position.epoch, position.step);
        self.chain = Chain::at(position.chain);
        (self.evaluate_ns, self.diagnose_ns) = (position.evaluate_ns, position.diagnose_ns);
        self.wall_ns = position.wall_ns;
        Ok(())
    }

    /// Every tensor the next step depends on.
    fn tensors(&self) -> Vec<Named> {
        let mut tensors = self.built.parameters.named();
        tensors.extend(self.optimizer.state(self.built.parameters.trainable_names()));
        tensors
    }

    /// Hands the state over, between two steps of `epoch` or at its end.
    fn keep(&mut self, epoch: u32, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let began_ns = self.clock.now_ns();
        let mut tensors = self.tensors();
        let best = self.stopping.as_ref().and_then(Stopping::best);
        if let Some(best) = best {
            tensors.extend(self.built.parameters.name_copies(BEST, &best.kept));
        }
        let position = Position {
            epoch,
            batches: self.so_far.batches,
            step: self.step,
            initial_weights: self.initial_weights,
            chain: self.chain.link(),
            evaluate_ns: self.evaluate_ns,
            diagnose_ns: self.diagnose_ns,
            wall_ns: self.wall_ns(),
            best: best.map(|best| (best.epoch, best.loss.to_bits())),
        };
        observer.kept(Kept { step: self.step, state: checkpoint::encode(&position, &tensors)? });
        self.aside_ns += self.clock.now_ns() - began_ns;
        Ok(())
    }

    fn wall_ns(&self) -> u64 {
        self.wall_ns + (self.clock.now_ns() - self.began_ns).saturating_sub(self.aside_ns)
    }

    fn run(mut self, observer: &mut dyn Observer) -> Result<Trained, TrainError> {
        observer.started(&self.started());
        self.began_ns = self.clock.now_ns();
        self.time_reference(REPEATS)?;
        let mut ending = Ending::Finished;
        let mut last = self.epoch;
        for epoch in self.epoch..self.length.epochs {
            ending = self.epoch(epoch, observer)?;
            if ending != Ending::Finished {
                break;
            }
            if self.only_steps {
                self.so_far = SoFar::default();
                continue;
            }
            self.measure(epoch, Split::TrainEval, observer)?;
            let loss = self.measure(epoch, Split::Validation, observer)?;
            self.judge(epoch, loss)?;
            self.time_reference(REPEATS)?;
            last = epoch;
            if self.is_over {
                break;
            }
            let planned = self.length.epochs - 1;
            if epoch < planned && (epoch == 0 || epoch == planned / 2) {
                self.diagnose(epoch, Depth::Cheap, observer)?;
            }
            self.so_far = SoFar::default();
            self.keep(epoch + 1, observer)?;
        }
        let mut kept_epoch = None;
        if ending == Ending::Finished && !self.only_steps {
            kept_epoch = self.restore_best()?;
            let kept = kept_epoch.unwrap_or(last);
            self.measure(kept, Split::Test, observer)?;
            self.diagnose(kept, Depth::Full, observer)?;
        }
        Ok(Trained {
            ending,
            initial_weights: self.initial_weights,
            kept_epoch,
            wall_ns: self.wall_ns(),
            final_weights: self.built.parameters.digest()?,
            effective: Effective {
                loader: self.loader,
                layers: self.built.network.effective(),
                normalised: self.train_set.normalisation().map(|normalisation| normalisation.summary()),
            },
            steps: self.step,
            train_ns: self.train_ns,
            evaluate_ns: self.evaluate_ns,
            diagnose_ns: self.diagnose_ns,
            reference_ns: self.reference.median_ns(),
        })
    }

    /// Beside the run, so that a machine that slows down slows both.
    fn time_reference(&mut self, repeats: usize) -> Result<(), TrainError> {
        if self.only_steps {
            return Ok(());
        }
        let began_ns = self.clock.now_ns();
        self.reference.time(&self.clock, repeats)?;
        self.aside_ns += self.clock.now_ns() - began_ns;
        Ok(())
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
            done: self.step,
            steps: self.length.steps,
            steps_per_epoch: self.length.steps_per_epoch,
            images: self.train.len() as u64,
            parameters: self.built.parameters.count(),
        }
    }

    /// One pass over the training images in the epoch's own order, or what is left of one, or the part of one until the
    /// run is over; the last batch takes what is left.
    fn epoch(&mut self, epoch: u32, observer: &mut dyn Observer) -> Result<Ending, TrainError> {
        let order =
            Key::new(self.seed, Stream::Order, u64::from(epoch), 0).permutation(self.train.len() as u32);
        let order: Vec<u32> = order.into_iter().map(|position| self.train[position as usize]).collect();
        let done = self.so_far.batches as usize;
        let batches = order.chunks(self.config.train.batch as usize);
        let last = batches.len() - 1;
        self.batches.begin(epoch, batches.clone().skip(done), self.place)?;
        for (number, batch) in batches.enumerate().skip(done) {
            if self.is_over {
                break;
            }
            observer.chose(batch);
            let row = self.step(epoch)?;
            self.so_far.add(&row);
            let reached = self.target.as_mut().is_some_and(|target| target.is_reached(row.images, row.loss));
            self.is_over = reached || self.step == self.length.steps;
            let is_last = self.is_over || number == last;
            let tensors = if Chain::sees_tensors(row.step, is_last) { self.tensors() } else { vec![] };
            observer.chained(self.chain.step(row.step, batch, row.loss, &tensors)?);
            let control = observer.stepped(&row);
            if Reference::is_due(self.step) {
                self.time_reference(1)?;
            }
            if !row.loss.is_finite() {
                return Ok(Ending::Diverged { step: row.step, loss: row.loss });
            }
            if control != Control::Continue && !self.only_steps {
                self.keep(epoch, observer)?;
            }
            if control == Control::Stop {
                return Ok(Ending::Stopped { step: row.step });
            }
        }
        observer.measured(&self.so_far.row(epoch));
        Ok(Ending::Finished)
    }

    /// One optimizer step on the next batch of `epoch`. What a step's time holds is this function between `start` and
    /// `stop`: from asking for the batch to having its loss and correct count on the host. Evaluation, the epoch's order,
    /// the rate and the observer are outside. The counters are read outside too: reading them takes a microsecond.
    /// Nothing in it waits for a GPU before the loss is read back. It stays whole, so that what is timed is read in the
    /// order it happens.
    fn step(&mut self, epoch: u32) -> Result<StepRow, TrainError> {
        let lr = schedule::rate(&self.config.optim, self.step, self.length.steps);
        self.optimizer.set_lr(if self.planted == Some(Planted::LearningRate) { 3.0 * lr } else { lr })?;
        let usage = machine::usage();
        let mut timing = Timing::start(&self.clock, self.recorder.as_mut(), self.planted)?;
        // The dropout stream is set at every step, so that no draw depends on how many came before.
        tch::manual_seed(Key::new(self.seed, Stream::Dropout, u64::from(epoch), self.step).torch_seed());
        let batch = self.batches.next(self.place, &mut timing)?;
        let images = batch.labels.numel() as u32;
        let (loss, correct) = match &mut self.graphs {
            Some(graphs) if graphs.takes(&batch) => graphs.step(&batch, self.place, &mut timing)?,
            _ => Self::passes(
                &self.built,
                &mut self.optimizer,
                &batch,
                &self.config.train,
                self.place,
                &mut timing,
            )?,
        };
        let (times, device) = timing.stop()?;
        let usage = machine::usage().since(usage);
        self.record_graphs(batch)?;
        let row = StepRow { epoch, step: self.step, images, loss, correct, times, device, usage };
        self.step += 1;
        self.train_ns += times.total_ns;
        Ok(row)
    }

    /// Records the step as graphs once so many steps were taken without, for batches like this one. No step's time holds it.
    fn record_graphs(&mut self, batch: Batch) -> Result<(), TrainError> {
        self.steps_here += 1;
        let is_whole = batch.labels.numel() as u32 == self.config.train.batch;
        if !self.records_graphs || self.graphs.is_some() || self.steps_here < EAGER_STEPS || !is_whole {
            return Ok(());
        }
        let (built, optimizer) = (&self.built, &mut self.optimizer);
        let smoothing = self.config.train.label_smoothing.unwrap_or(0.0);
        // What backward leaves is written where the optimizer's graph reads it.
        optimizer.clear_grads()?;
        let forward = |batch: &Batch| {
            let logits = built.network.forward(&batch.images, Mode::TRAIN)?;
            let loss = smoothed_cross_entropy(&logits, &batch.labels, Reduction::Mean, smoothing)?;
            let result = place::result(&loss, &correct_count(&logits, &batch.labels)?)?;
            Ok((loss, result))
        };
        let backward = |loss: &Tensor| Ok(loss.f_backward()?);
        self.graphs = Some(StepGraphs::record(&batch, forward, backward, || optimizer.step())?);
        Ok(())
    }

    /// The step operator by operator: its loss and its correct count. Ends the phases it consists of.
    fn passes<C: Clock>(
        built: &Built,
        optimizer: &mut Optimizer,
        batch: &Batch,
        config: &config::Train,
        place: Place,
        timing: &mut Timing<C>,
    ) -> Result<(f64, u32), TrainError> {
        let images = batch.labels.numel() as u32;
        let all = i64::from(images);
        let part = config.micro_batch.map_or(all, i64::from).max(1);
        let smoothing = config.label_smoothing.unwrap_or(0.0);
        let mut passes = Vec::with_capacity(1);
        for start in (0..all).step_by(part as usize) {
            let len = part.min(all - start);
            let batch = batch.part(start, len)?;
            let logits = built.network.forward(&batch.images, Mode::TRAIN)?;
            let loss = smoothed_cross_entropy(&logits, &batch.labels, Reduction::Mean, smoothing)?;
            timing.end(Phase::Forward, len as u32)?;
            if start == 0 {
                optimizer.clear_grads()?;
            }
            let share = len as f64 / all as f64;
            let loss = if share < 1.0 { loss.f_mul_scalar(share)? } else { loss };
            loss.f_backward()?;
            timing.end(Phase::Backward, len as u32)?;
            passes.push((loss, logits, batch.labels));
        }
        optimizer.step()?;
        timing.end(Phase::Optimizer, images)?;
        let (mut mean, mut correct) = (0.0, 0);
        for (loss, logits, labels) in &passes {
            let (part, count) = place.read_back(loss, &correct_count(logits, labels)?)?;
            mean += part;
            correct += count;
        }
        timing.end(Phase::ReadBack, images)?;
        Ok((mean, correct))
    }

    /// Evaluates the weights there are on a split: its loss in nats.
    fn measure(&mut self, epoch: u32, split: Split, observer: &mut dyn Observer) -> Result<f64, TrainError> {
        let (set, indices) = match split {
            Split::Train | Split::TrainEval => (&self.train_set, &self.train_eval),
            Split::Validation => (&self.train_set, &self.validation),
            Split::Test => (&self.test_set, &self.test),
        };
        let began_ns = self.clock.now_ns();
        let score = evaluate(&self.built.network, set, indices, self.classes, self.planted)?;
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
        let rows = diagnosis.rows(epoch, depth, &self.built, &self.train_set)?;
        let took_ns = self.clock.now_ns() - began_ns;
        self.diagnose_ns += took_ns;
        self.aside_ns += took_ns;
        observer.diagnosed(&rows);
        Ok(())
    }
}

#[cfg(test)]
mod gpu_tests;
#[cfg(test)]
mod tests;
