//! One trial from its first weight to its last evaluation.

mod learner;
mod observer;
pub(in crate::train) mod probe;
mod progress;
mod resumption;
mod sets;
mod times;

use std::thread::{self, Scope};

pub use observer::{Control, Ending, Kept, Observer, Options, Started, Trained};

use crate::clock::Recorder;
use crate::data::{self, DataSet};
use crate::experiment::plan::Effective;
use crate::experiment::{Config, Length, Plan, Trial};
use crate::machine;
use crate::planted::Planted;
use crate::row::{ConfusionRow, Diagnostic, DiagnosticRow, Diagnostics, EpochRow, Split, StepRow};
use crate::stats::target::LOOK_EVERY;
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::chain::Chain;
use crate::train::diagnose::{Depth, Diagnosis};
use crate::train::evaluate::evaluate;
use crate::train::place::Place;
use crate::train::plant;
use crate::train::schedule;
use crate::train::shim::CudaStream;
use crate::train::timing::Timing;
use learner::Learner;
use progress::{End, Progress, SoFar};
use sets::Sets;
use times::Times;

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
    // What the trial is called by: a user's own set may have another content under its name by now.
    let (expected, found) = (trial.config.data.digest, data.name.digest());
    if expected != found {
        return Err(TrainError::OtherDigest { name: data.name, expected, found });
    }
    let spoiled = options.planted.and_then(|planted| plant::outside(planted, trial, data));
    let (trial, data) = spoiled.as_ref().map_or((trial, data), |(trial, data)| (trial, data));
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
    place: Place,
    learner: Learner<'a>,
    sets: Sets<'a>,
    progress: Progress,
    end: End,
    times: Times,
    instruments: Instruments,
}

/// What looks at a training, or spoils it to see whether that is found, and is no part of it.
struct Instruments {
    /// Times the steps on a GPU's own timeline.
    recorder: Option<Recorder<CudaStream>>,
    diagnosis: Option<Diagnosis>,
    planted: Option<Planted>,
    only_steps: bool,
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
        let learner = Learner::new(trial, plan, place)?;
        let sets = Sets::new(trial, plan, data, place, scope)?;
        let diagnosis = match options.diagnostics {
            Diagnostics::On => {
                let smoothing = config.train.label_smoothing.unwrap_or(0.0);
                Some(Diagnosis::new(&sets.train, seed, place, smoothing)?)
            }
            Diagnostics::Off => None,
        };
        let Options { planted, only_steps, .. } = options;
        let length = Length::of(&config.train, sets.train.len() as u64);
        Ok(Self {
            config,
            seed,
            length,
            place,
            progress: Progress::new(learner.built.parameters.digest()?),
            learner,
            sets,
            end: End::new(config, length.steps),
            times: Times::new(),
            instruments: Instruments { recorder: place.recorder(), diagnosis, planted, only_steps },
        })
    }

    fn run(mut self, observer: &mut dyn Observer) -> Result<Trained, TrainError> {
        observer.started(&self.started());
        self.times.begin();
        let mut ending = Ending::Finished;
        let mut last = self.progress.epoch;
        for epoch in self.progress.epoch..self.length.epochs {
            ending = self.epoch(epoch, observer)?;
            if ending != Ending::Finished {
                break;
            }
            if self.instruments.only_steps {
                self.progress.so_far = SoFar::default();
                continue;
            }
            let fitted = self.measure(epoch, Split::TrainEval, observer)?;
            let loss = self.measure(epoch, Split::Validation, observer)?;
            ending = self.ending_at([fitted, loss]);
            if ending != Ending::Finished {
                break;
            }
            self.end.judge(epoch, loss, &self.learner.built)?;
            last = epoch;
            if self.end.is_over {
                break;
            }
            let planned = self.length.epochs - 1;
            if epoch < planned && (epoch == 0 || epoch == planned / 2) {
                self.diagnose(epoch, Depth::Cheap, observer)?;
            }
            self.progress.so_far = SoFar::default();
            self.keep(epoch + 1, observer)?;
        }
        let mut kept_epoch = None;
        if ending == Ending::Finished && !self.instruments.only_steps {
            kept_epoch = self.end.restore_best(&mut self.learner.built)?;
            let kept = kept_epoch.unwrap_or(last);
            let loss = self.measure(kept, Split::Test, observer)?;
            ending = self.ending_at([loss]);
            if ending == Ending::Finished {
                self.diagnose(kept, Depth::Full, observer)?;
            }
        }
        Ok(Trained {
            ending,
            initial_weights: self.progress.initial_weights,
            kept_epoch,
            wall_ns: self.times.wall_ns(),
            final_weights: self.learner.built.parameters.digest()?,
            effective: self.effective(),
            steps: self.progress.step,
            train_ns: self.times.train_ns,
            evaluate_ns: self.times.evaluate_ns,
            diagnose_ns: self.times.diagnose_ns,
        })
    }

    fn effective(&self) -> Effective {
        let normalisation = self.sets.training_file.normalisation();
        Effective {
            loader: self.sets.loader,
            layers: self.learner.built.network.effective(),
            normalised: normalisation.map(|normalisation| normalisation.summary()),
        }
    }

    /// The loss of a step is that before its update: weights that the last one broke show in an evaluation alone, and the
    /// accuracy of outputs that are no numbers is that of the first class.
    fn ending_at<const N: usize>(&self, losses: [f64; N]) -> Ending {
        match losses.into_iter().find(|loss| !loss.is_finite()) {
            Some(loss) => Ending::Diverged { step: self.progress.step.saturating_sub(1), loss },
            None => Ending::Finished,
        }
    }

    fn started(&self) -> Started {
        Started {
            done: self.progress.step,
            steps: self.length.steps,
            steps_per_epoch: self.length.steps_per_epoch,
            images: self.sets.train.len() as u64,
            parameters: self.learner.built.parameters.count(),
        }
    }

    /// Positions in the training file, in the order in which an epoch sees them.
    fn order(&self, epoch: u32) -> Vec<u32> {
        data::order(self.seed, epoch, &self.sets.train)
    }

    /// One pass over the training images in the epoch's own order, or what is left of one, or the part of one until the
    /// run is over; the last batch takes what is left.
    fn epoch(&mut self, epoch: u32, observer: &mut dyn Observer) -> Result<Ending, TrainError> {
        let order = self.order(epoch);
        let done = self.progress.so_far.batches as usize;
        let batches = order.chunks(self.config.train.batch as usize);
        let last = batches.len() - 1;
        self.sets.batches.begin(epoch, batches.clone().skip(done), self.place)?;
        for (number, batch) in batches.enumerate().skip(done) {
            if self.end.is_over {
                break;
            }
            observer.chose(batch);
            let row = self.step(epoch)?;
            self.progress.so_far.add(&row);
            self.end.see(&row);
            self.look(&row)?;
            let is_last = self.end.is_over || number == last;
            let tensors =
                if Chain::sees_tensors(row.step, is_last) { self.learner.tensors() } else { vec![] };
            observer.chained(self.progress.chain.step(row.step, batch, row.loss, &tensors)?);
            let control = observer.stepped(&row);
            if !row.loss.is_finite() {
                return Ok(Ending::Diverged { step: row.step, loss: row.loss });
            }
            // After the last step of an epoch comes a checkpoint with what is measured then.
            let is_due = control == Control::Stop || (control == Control::Keep && !is_last);
            if is_due && !self.instruments.only_steps {
                self.keep(epoch, observer)?;
            }
            if control == Control::Stop {
                return Ok(Ending::Stopped { step: row.step });
            }
        }
        observer.measured(&self.progress.so_far.row(epoch));
        Ok(Ending::Finished)
    }

    /// One optimizer step on the next batch of `epoch`. What a step's time holds is this function between `start` and
    /// `stop`: from asking for the batch to having its loss and correct count on the host. Evaluation, the epoch's order,
    /// the rate and the observer are outside. The counters are read outside too: reading them takes a microsecond.
    /// Nothing in it waits for a GPU before the loss is read back. It stays whole, so that what is timed is read in the
    /// order it happens.
    fn step(&mut self, epoch: u32) -> Result<StepRow, TrainError> {
        let (step, planted) = (self.progress.step, self.instruments.planted);
        self.learner.optimizer.set_lr(schedule::rate(&self.config.optim, step, self.length.steps))?;
        let usage = machine::usage();
        let mut timing = Timing::start(&self.times.clock, self.instruments.recorder.as_mut(), planted)?;
        // The dropout stream is set at every step, so that no draw depends on how many came before.
        tch::manual_seed(Key::new(self.seed, Stream::Dropout, u64::from(epoch), step).torch_seed());
        let batch = self.sets.batches.next(self.place, &mut timing)?;
        let images = batch.labels.numel() as u32;
        let (loss, correct) = self.learner.step(&batch, &mut timing)?;
        let (times, device) = timing.stop()?;
        let usage = machine::usage().since(usage);
        self.learner.record_graphs(batch)?;
        let row = StepRow { epoch, step, images, loss, correct, times, device, usage };
        self.progress.step += 1;
        self.times.train_ns += times.total_ns;
        Ok(row)
    }

    /// Evaluates where a training may end at a loss in eval mode, and a look is due.
    fn look(&mut self, row: &StepRow) -> Result<(), TrainError> {
        let Some(target) = self.config.train.target_eval_loss.filter(|_| !self.instruments.only_steps) else {
            return Ok(());
        };
        if self.end.is_over || !is_look_due(row, self.config.train.batch) {
            return Ok(());
        }
        let (set, indices) = self.sets.evaluated(Split::TrainEval);
        let looked_at = indices.narrow(0, 0, LOOKED_AT.min(indices.size()[0]));
        let began_ns = self.times.now_ns();
        let score = evaluate(&self.learner.built.network, set, &looked_at, self.sets.classes, None)?;
        self.times.evaluate_ns += self.times.now_ns() - began_ns;
        self.end.is_over = score.loss <= target;
        Ok(())
    }

    /// Evaluates the weights there are on a split: its loss in nats.
    fn measure(&mut self, epoch: u32, split: Split, observer: &mut dyn Observer) -> Result<f64, TrainError> {
        let (set, indices) = self.sets.evaluated(split);
        let began_ns = self.times.now_ns();
        let planted = self.instruments.planted;
        let score = evaluate(&self.learner.built.network, set, indices, self.sets.classes, planted)?;
        let wall_ns = self.times.now_ns() - began_ns;
        self.times.evaluate_ns += wall_ns;
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
        let Some(diagnosis) = &self.instruments.diagnosis else { return Ok(()) };
        let began_ns = self.times.now_ns();
        let rows = diagnosis.rows(epoch, depth, &self.learner.built, &self.sets.training_file)?;
        self.times.diagnose_ns += self.times.set_aside(began_ns);
        observer.diagnosed(&rows);
        Ok(())
    }
}

/// Images evaluated at a look: see `train.target_eval_loss`.
const LOOKED_AT: i64 = 2_000;

/// Whether this step is the first to see an image beyond a multiple of the distance between looks, counted over whole steps.
fn is_look_due(row: &StepRow, batch: u32) -> bool {
    let seen = |steps: u64| steps * u64::from(batch) / LOOK_EVERY;
    seen(row.step + 1) > seen(row.step) || u64::from(batch) >= LOOK_EVERY
}

#[cfg(test)]
mod gpu_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdict_tests;
