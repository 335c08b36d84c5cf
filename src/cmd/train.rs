//! The child: one job from standard input, one run into the store, events on standard output.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use pinbench::data::{self, DataSet};
use pinbench::machine::{self, Environment, Watch, Watched};
use pinbench::record::{
    Checkpoint, CheckpointKey, ClaimError, Outcome, Rows, RunId, RunRecord, Status, Store, StoreError,
    Wanted, compare_second,
};
use pinbench::row::{ChainRow, ConfusionRow, DiagnosticRow, EpochRow, StepRow};
use pinbench::schedule::{EXIT_BUSY, EXIT_INTERRUPTED, EXIT_SEALED, Event, Interrupt, Job, Task};
use pinbench::train::{self, Control, Ending, Kept, Options, Started, TrainError, Trained};

use crate::cmd::console::tell;
use crate::cmd::workspace::capture;

/// Often enough for a bar that moves, seldom enough to cost nothing.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Between two checkpoints inside an epoch: what a kill costs at most.
const KEEP_EVERY: Duration = Duration::from_mins(5);

pub(crate) fn run(parent: Option<u32>, is_patient: bool) -> anyhow::Result<ExitCode> {
    let installed =
        if is_patient { Interrupt::install_in_patient_child() } else { Interrupt::install_in_child() };
    let interrupt = installed.context("signal handlers")?;
    if !ends_with(parent) {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("the job cannot be read")?;
    let job: Job = serde_json::from_str(&line).context(
        "`train` is what pinbench starts for each run and expects a job on standard input; use `pinbench run`",
    )?;
    check_environment(&job)?;
    match &job.task {
        Task::Export(export) => crate::cmd::export::child(&job, export, &interrupt),
        Task::Trace(trace) => crate::cmd::trace::child(&job, trace, &interrupt),
        Task::Time(time) => crate::cmd::measure::child(&job, time, &interrupt),
        Task::Probe(task) => crate::cmd::probe::child(&job, task, &interrupt),
        Task::Train { .. } | Task::Indexed => train_into_the_store(&job, &interrupt),
    }
}

fn train_into_the_store(job: &Job, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let mut store = Store::open(&job.store)?;
    if job.task == Task::Indexed {
        // The index owns the trial: a file system that cannot lock is no reason not to run.
        store = store.without_need_of_locks();
    }
    let _claim = match store.claim(&job.trial.id(), &job.plan.hash()) {
        Ok(claim) => claim,
        Err(error @ ClaimError::Busy { .. }) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EXIT_BUSY));
        }
        Err(error) => return Err(error.into()),
    };
    train::prepare_process(job.plan.threads)?;
    let mut environment = capture(&job.workspace, &job.plan, Some(train::torch()?));
    if job.task == Task::Indexed {
        environment = environment.on_this_host();
    }
    // The parent of an index has looked, at that trial alone: a thousand tasks do not each read the whole store.
    let again = matches!(job.task, Task::Train { again: true, .. } | Task::Indexed);
    if !again && is_done(job, &store, &environment)? {
        // Whoever had the claim before has run it since it was found to be due.
        return Ok(ExitCode::from(EXIT_BUSY));
    }
    let data = data::load(job.trial.config.data.set, &job.data)?;
    execute(job, &environment, &store, &data, interrupt)
}

/// A fault is planted to be trained with, whatever there is.
fn is_done(job: &Job, store: &Store, environment: &Environment) -> anyhow::Result<bool> {
    let class = Some(environment.class());
    let wanted = Wanted { trial: job.trial.id(), plan: job.plan.hash(), class, alone: job.beside == 0 };
    // What is damaged since it was found to be due is no reason not to run.
    let listing = store.records()?;
    let finished = wanted.finished(&listing.records);
    Ok(job.fault().is_none() && finished.is_some_and(|record| store.check(record).is_ok()))
}

/// Without its parent nobody has the machine's lock, and another sweep may begin beside this run: as with SIGTERM, it
/// then finishes the step and keeps what it has.
///
/// `false` when the parent is gone already: it may have been killed before it was asked for that signal, which then never
/// comes.
fn ends_with(parent: Option<u32>) -> bool {
    // SAFETY: prctl(2) with this option takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    parent.is_none_or(|parent| std::os::unix::process::parent_id() == parent)
}

/// glibc and OpenMP read their settings when a process starts, so it is too late to set them here.
fn check_environment(job: &Job) -> anyhow::Result<()> {
    for (name, expected) in job.plan.environment() {
        let found = std::env::var(name).ok();
        if found != expected {
            let text = |value: Option<String>| value.map_or("unset".to_owned(), |value| format!("'{value}'"));
            bail!(
                "plan '{}' needs {name} {}, found {}; start runs with `pinbench run`, which sets it",
                job.plan.name,
                text(expected),
                text(found)
            );
        }
    }
    Ok(())
}

fn execute(
    job: &Job,
    environment: &Environment,
    store: &Store,
    data: &DataSet,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    let key = key(job, environment);
    let checkpoint = find_checkpoint(job, store, &key)?;
    let started = Timestamp::now();
    // From here on a kill leaves a trace in the store.
    let run = RunId::new(started, std::process::id());
    let staging = store.stage(&run)?;
    let keeper = Keeper { store, run: run.clone(), key };
    let mut observer = Observer::new(interrupt, keeper, started, checkpoint.as_ref());
    observer.beside = observer.beside.max(job.beside);
    observer.is_planted = job.fault().is_some();
    let options = Options {
        diagnostics: job.diagnostics,
        resume: checkpoint.as_ref().map(|kept| (&kept.state[..], &kept.rows.steps[..])),
        planted: job.fault(),
        only_steps: false,
    };
    let watch = Watch::start(job.plan.device.gpu());
    let trained = match train::train(&job.trial, &job.plan, data, options, &mut observer) {
        Err(error @ TrainError::Checkpoint(_)) if checkpoint.is_some() => {
            tell(&Event::Note { text: format!("{error}; it was removed, and the run starts anew") });
            store.remove_checkpoints(&job.trial.id(), &job.plan.hash())?;
            drop(staging);
            return execute(job, environment, store, data, interrupt);
        }
        trained => trained?,
    };
    let watched = watch.stop();
    let status = match trained.ending {
        Ending::Finished => Status::Finished,
        Ending::Diverged { step, loss } => Status::Diverged { step, loss: loss.to_string() },
        Ending::Stopped { .. } => return observer.stopped(),
    };
    let mut record = job.record(run, started, environment, status);
    record.started = observer.started.clone();
    record.beside = record.beside.max(observer.beside);
    record.effective = Some(trained.effective.clone());
    let outcome = || outcome(&trained, &watched, observer.peak_rss_bytes, observer.resumed.clone());
    record.outcome = (record.status == Status::Finished).then(outcome);
    if job.task == Task::Indexed
        && let Some(earlier) = agreeing(store, &mut record, &observer.rows.chain)?
    {
        store.remove_checkpoints(&record.trial_id, &record.plan_hash)?;
        tell(&Event::Note { text: format!("run {} says the same; this one is not kept", earlier.run) });
        tell(&Event::Sealed { run: earlier.run, status: earlier.status });
        return Ok(ExitCode::from(EXIT_SEALED));
    }
    let record = staging.seal(&record, &observer.rows)?;
    store.remove_checkpoints(&record.trial_id, &record.plan_hash)?;
    tell(&Event::Sealed { run: record.run, status: record.status });
    Ok(ExitCode::from(EXIT_SEALED))
}

/// What a checkpoint has to agree in with the training that goes on from it.
fn key(job: &Job, environment: &Environment) -> CheckpointKey {
    CheckpointKey {
        trial_id: job.trial.id(),
        plan_hash: job.plan.hash(),
        environment_class: environment.class(),
        binary: environment.binary,
        diagnostics: job.diagnostics,
    }
}

/// The run of the same trial that another task has stored meanwhile, if it says the same. One that says something else makes
/// `record` that of a failed run: what it measured is kept, as the evidence of a run that stands for nothing.
fn agreeing(store: &Store, record: &mut RunRecord, chain: &[ChainRow]) -> anyhow::Result<Option<RunRecord>> {
    let Some(earlier) = store.earlier(record)? else { return Ok(None) };
    match compare_second(&earlier, record, chain) {
        Ok(()) => Ok(Some(earlier.record)),
        Err(contradiction) => {
            (record.status, record.outcome) = (Status::Failed { reason: contradiction.to_string() }, None);
            Ok(None)
        }
    }
}

/// A planted fault is no part of the key, so that its runs neither use a checkpoint nor keep one. A training that is done again
/// for its times starts anew: one that was taken up again belongs to no block.
fn find_checkpoint(job: &Job, store: &Store, key: &CheckpointKey) -> anyhow::Result<Option<Checkpoint>> {
    if job.fault().is_some() || matches!(job.task, Task::Train { again: true, .. }) {
        return Ok(None);
    }
    let found = store.find_checkpoint(key)?;
    found.notes.into_iter().for_each(|text| tell(&Event::Note { text }));
    Ok(found.checkpoint)
}

pub(super) fn outcome(
    trained: &Trained,
    watched: &Watched,
    peak_rss_bytes: u64,
    resumed: Vec<u64>,
) -> Outcome {
    Outcome {
        initial_weights: trained.initial_weights,
        final_weights: trained.final_weights,
        steps: trained.steps,
        train_ns: trained.train_ns,
        evaluate_ns: trained.evaluate_ns,
        diagnose_ns: Some(trained.diagnose_ns),
        kept_epoch: trained.kept_epoch,
        wall_ns: trained.wall_ns,
        peak_rss_bytes,
        steal_share: watched.steal_share,
        others_cpu_s: watched.others_cpu_s,
        watched_ns: Some(watched.time.as_nanos() as u64),
        resumed,
        reference_ns: None,
        gpu_clocks: watched.gpu_clocks,
    }
}

/// Writes checkpoints.
struct Keeper<'a> {
    store: &'a Store,
    run: RunId,
    key: CheckpointKey,
}

/// Keeps the rows and tells the parent how it goes.
struct Observer<'a> {
    interrupt: &'a Interrupt,
    keeper: Keeper<'a>,
    is_planted: bool,
    /// When the run's first process started.
    started: String,
    /// Steps at which the run was taken up again.
    resumed: Vec<u64>,
    /// Trainings beside any of its processes, at most.
    beside: u32,
    rows: Rows,
    /// Until the last evaluation: the diagnostics after it need more than a training does.
    peak_rss_bytes: u64,
    images: u64,
    /// Of the epoch so far: its number, images and correct ones.
    epoch: (u32, u64, u64),
    /// When something was last said, and the images trained on by then.
    said: (Instant, u64),
    kept: Instant,
    /// Why there is no checkpoint of where the training is, since one could not be written.
    unkept: Option<String>,
}

impl<'a> Observer<'a> {
    fn new(
        interrupt: &'a Interrupt,
        keeper: Keeper<'a>,
        started: Timestamp,
        checkpoint: Option<&Checkpoint>,
    ) -> Self {
        let mut observer = Self {
            interrupt,
            keeper,
            is_planted: false,
            started: started.to_string(),
            resumed: Vec::new(),
            beside: 0,
            rows: Rows::default(),
            peak_rss_bytes: 0,
            images: 0,
            epoch: (0, 0, 0),
            said: (Instant::now(), 0),
            kept: Instant::now(),
            unkept: None,
        };
        if let Some(checkpoint) = checkpoint {
            observer.started.clone_from(&checkpoint.started);
            observer.resumed = [&checkpoint.resumed[..], &[checkpoint.step]].concat();
            observer.beside = checkpoint.beside;
            observer.peak_rss_bytes = checkpoint.peak_rss_bytes;
            checkpoint.rows.steps.iter().for_each(|row| observer.count(row));
            observer.rows = checkpoint.rows.clone();
        }
        observer
    }

    fn count(&mut self, row: &StepRow) {
        if self.epoch.0 != row.epoch {
            self.epoch = (row.epoch, 0, 0);
        }
        self.epoch.1 += u64::from(row.images);
        self.epoch.2 += u64::from(row.correct);
        self.images += u64::from(row.images);
    }

    /// What a stop comes to: where no checkpoint of it could be written, nothing goes on from here.
    fn stopped(self) -> anyhow::Result<ExitCode> {
        match self.unkept {
            None => Ok(ExitCode::from(EXIT_INTERRUPTED)),
            Some(note) => bail!("stopped, but {note}"),
        }
    }

    fn say_progress(&mut self, row: &StepRow) {
        let (since, images) = self.said;
        let passed = since.elapsed();
        if passed < PROGRESS_EVERY {
            return;
        }
        tell(&Event::Progress {
            step: row.step,
            epoch: row.epoch,
            images: self.images,
            loss: row.loss,
            accuracy: self.epoch.2 as f64 / self.epoch.1.max(1) as f64,
            images_per_s: (self.images - images) as f64 / passed.as_secs_f64(),
        });
        self.said = (Instant::now(), self.images);
    }
}

impl train::Observer for Observer<'_> {
    fn started(&mut self, started: &Started) {
        let Started { done, steps, steps_per_epoch, images, .. } = *started;
        tell(&Event::Started { done, steps, steps_per_epoch, images });
        self.said = (Instant::now(), self.images);
    }

    fn stepped(&mut self, row: &StepRow) -> Control {
        self.rows.steps.push(*row);
        if self.interrupt.was_continued() {
            // After Ctrl-Z: the step has the time that passed meanwhile.
            self.resumed.push(row.step);
        }
        self.count(row);
        self.say_progress(row);
        match self.interrupt.is_asked() {
            true => Control::Stop,
            false if self.kept.elapsed() >= KEEP_EVERY => Control::Keep,
            false => Control::Continue,
        }
    }

    fn measured(&mut self, row: &EpochRow) {
        self.rows.epochs.push(*row);
        self.peak_rss_bytes = self.peak_rss_bytes.max(machine::peak_rss_bytes());
        let EpochRow { epoch, split, loss, accuracy, .. } = *row;
        tell(&Event::Measured { epoch, split, loss, accuracy });
        // An evaluation is not training speed.
        self.said = (Instant::now(), self.images);
    }

    fn diagnosed(&mut self, rows: &[DiagnosticRow]) {
        self.rows.diagnostics.extend_from_slice(rows);
        self.said = (Instant::now(), self.images);
    }

    fn confused(&mut self, rows: &[ConfusionRow]) {
        self.rows.confusion.extend_from_slice(rows);
    }

    fn chained(&mut self, rows: Vec<ChainRow>) {
        self.rows.chain.extend(rows);
    }

    /// A checkpoint that cannot be written costs the time since the last one if the run is stopped, and no more: that is
    /// no reason to stop it.
    fn kept(&mut self, kept: Kept) {
        self.kept = Instant::now();
        if self.is_planted {
            return;
        }
        let Keeper { store, run, key } = &self.keeper;
        let checkpoint = Checkpoint {
            key: key.clone(),
            started: self.started.clone(),
            step: kept.step,
            resumed: self.resumed.clone(),
            beside: self.beside,
            peak_rss_bytes: self.peak_rss_bytes,
            state: kept.state,
            rows: self.rows.clone(),
        };
        self.unkept = store.keep(run, &checkpoint).err().map(|error| no_checkpoint(kept.step, &error));
        match &self.unkept {
            Some(note) if !self.interrupt.is_asked() => {
                tell(&Event::Note { text: format!("{note}; the run goes on") });
            }
            _ => {}
        }
        self.said = (Instant::now(), self.images);
    }
}

/// Not what the error says to do about it: the run may go on.
fn no_checkpoint(step: u64, error: &StoreError) -> String {
    let reason = match error {
        StoreError::Full { path } => format!("no space left to write '{}'", path.display()),
        other => other.to_string(),
    };
    format!("no checkpoint after {step} steps: {reason}")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use pinbench::experiment::plan::{Device, PlanName};
    use pinbench::experiment::{Experiment, Plan};
    use pinbench::row::Diagnostics;

    use super::*;
    use crate::cmd::built_in;

    fn job(task: Task) -> Job {
        let (id, text) = built_in::EXPERIMENTS[0];
        let experiment = Experiment::parse(Path::new(&format!("{id}.toml")), text).unwrap();
        let (_, trial) = experiment.profile.trials().next().unwrap();
        Job {
            experiment: id.to_owned(),
            profile: String::new(),
            trial,
            plan: Plan::named(PlanName::Eager, 1, Device::Cpu),
            store: PathBuf::new(),
            data: PathBuf::new(),
            workspace: PathBuf::new(),
            diagnostics: Diagnostics::On,
            task,
            beside: 0,
            block: None,
            command: String::new(),
        }
    }

    /// It went on from where `--retime` was stopped, and a run that was taken up again is in no block: it was due for ever.
    #[test]
    fn what_is_trained_again_for_its_times_goes_on_from_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (first, again) = (job(Task::TRAIN), job(Task::Train { fault: None, again: true }));
        let key = CheckpointKey {
            trial_id: first.trial.id(),
            plan_hash: first.plan.hash(),
            environment_class: serde_json::from_value("2 × Example CPU".into()).unwrap(),
            binary: None,
            diagnostics: Diagnostics::On,
        };
        let checkpoint = Checkpoint {
            key: key.clone(),
            started: String::new(),
            step: 3,
            resumed: Vec::new(),
            beside: 0,
            peak_rss_bytes: 0,
            state: Vec::new(),
            rows: Rows::default(),
        };
        store.keep(&RunId("run-a".to_owned()), &checkpoint).unwrap();
        assert!(find_checkpoint(&first, &store, &key).unwrap().is_some());
        assert_eq!(find_checkpoint(&again, &store, &key).unwrap(), None);
    }

    /// It ended in "free some space and run the command again" while the run went on by itself.
    #[test]
    fn a_checkpoint_that_finds_no_space_asks_for_nothing() {
        let text = no_checkpoint(38, &StoreError::Full { path: "/s/staging".into() });
        assert_eq!(text, "no checkpoint after 38 steps: no space left to write '/s/staging'");
    }
}
