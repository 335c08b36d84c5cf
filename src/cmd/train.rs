//! The child: one job from standard input, one run into the store, events on standard output.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use pinbench::data::{self, DataSet};
use pinbench::machine::{self, Environment, HostTime};
use pinbench::record::{ClaimError, Outcome, Rows, RunId, Status, Store};
use pinbench::row::{ConfusionRow, DiagnosticRow, EpochRow, StepRow};
use pinbench::schedule::{EXIT_BUSY, EXIT_INTERRUPTED, EXIT_SEALED, Event, Interrupt, Job};
use pinbench::train::{self, Control, Ending, Started, Trained};

/// Often enough for a bar that moves, seldom enough to cost nothing.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub fn run() -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::install().context("signal handlers")?;
    let job: Job = serde_json::from_reader(io::stdin().lock()).context(
        "`train` is what pinbench starts for each run and expects a job on standard input; use `pinbench run`",
    )?;
    check_environment(&job)?;
    let store = Store::open(&job.store)?;
    let _claim = match store.claim(&job.trial.id(), &job.plan.hash()) {
        Ok(claim) => claim,
        Err(error @ ClaimError::Busy { .. }) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EXIT_BUSY));
        }
        Err(error) => return Err(error.into()),
    };
    let data = data::load(job.trial.config.data.set, &job.data)?;
    execute(&job, &store, &data, interrupt)
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

fn execute(job: &Job, store: &Store, data: &DataSet, interrupt: Interrupt) -> anyhow::Result<ExitCode> {
    train::prepare_process(job.plan.threads)?;
    let environment = Environment::capture(&job.workspace, Some(train::torch()?));
    let (started, host) = (Timestamp::now(), HostTime::now());
    // From here on a kill leaves a trace in the store.
    let run = RunId::new(started, std::process::id());
    let staging = store.stage(&run)?;
    let mut observer = Observer::new(interrupt);
    let before = machine::usage();
    let trained = train::train(&job.trial, &job.plan, data, job.diagnostics, &mut observer)?;
    let own = machine::usage().since(before);
    let status = match trained.ending {
        Ending::Finished => Status::Finished,
        Ending::Diverged { step, loss } => Status::Diverged { step, loss: loss.to_string() },
        Ending::Stopped { .. } => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
    };
    let own_s = (own.user_us + own.system_us) as f64 / 1e6;
    let mut record = job.record(run, started, &environment, status);
    record.outcome =
        (record.status == Status::Finished).then(|| outcome(&trained, observer.peak_rss_bytes, host, own_s));
    let record = staging.seal(&record, observer.rows())?;
    say(&Event::Sealed { run: record.run, status: record.status });
    Ok(ExitCode::from(EXIT_SEALED))
}

fn outcome(trained: &Trained, peak_rss_bytes: u64, before: Option<HostTime>, own_s: f64) -> Outcome {
    let host = before.zip(HostTime::now());
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
        steal_share: host.map(|(before, now)| now.steal_share_since(before)),
        others_cpu_s: host.map(|(before, now)| (now.busy_s_since(before) - own_s).max(0.0)),
    }
}

/// Keeps the rows and tells the parent how it goes.
struct Observer {
    interrupt: Interrupt,
    steps: Vec<StepRow>,
    epochs: Vec<EpochRow>,
    confusion: Vec<ConfusionRow>,
    diagnostics: Vec<DiagnosticRow>,
    /// Until the last evaluation: the diagnostics after it need more than a training does.
    peak_rss_bytes: u64,
    images: u64,
    /// Of the epoch so far: its number, images and correct ones.
    epoch: (u32, u64, u64),
    /// When something was last said, and the images trained on by then.
    said: (Instant, u64),
}

impl Observer {
    fn new(interrupt: Interrupt) -> Self {
        let said = (Instant::now(), 0);
        Self {
            interrupt,
            steps: Vec::new(),
            epochs: Vec::new(),
            confusion: Vec::new(),
            diagnostics: Vec::new(),
            peak_rss_bytes: 0,
            images: 0,
            epoch: (0, 0, 0),
            said,
        }
    }

    fn rows(&self) -> Rows<'_> {
        let Self { steps, epochs, confusion, diagnostics, .. } = self;
        Rows { steps, epochs, confusion, diagnostics }
    }

    fn count(&mut self, row: &StepRow) {
        if self.epoch.0 != row.epoch {
            self.epoch = (row.epoch, 0, 0);
        }
        self.epoch.1 += u64::from(row.images);
        self.epoch.2 += u64::from(row.correct);
        self.images += u64::from(row.images);
    }

    fn say_progress(&mut self, row: &StepRow) {
        let (since, images) = self.said;
        let passed = since.elapsed();
        if passed < PROGRESS_EVERY || !row.loss.is_finite() {
            return;
        }
        say(&Event::Progress {
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

impl train::Observer for Observer {
    fn started(&mut self, started: &Started) {
        let Started { steps, steps_per_epoch, images, .. } = *started;
        say(&Event::Started { steps, steps_per_epoch, images });
        self.said.0 = Instant::now();
    }

    fn stepped(&mut self, row: &StepRow) -> Control {
        self.steps.push(*row);
        self.count(row);
        self.say_progress(row);
        if self.interrupt.is_asked() { Control::Stop } else { Control::Continue }
    }

    fn measured(&mut self, row: &EpochRow) {
        self.epochs.push(*row);
        self.peak_rss_bytes = machine::peak_rss_bytes();
        let loss = row.loss.is_finite().then_some(row.loss);
        say(&Event::Measured { epoch: row.epoch, split: row.split, loss, accuracy: row.accuracy });
        // An evaluation is not training speed.
        self.said = (Instant::now(), self.images);
    }

    fn diagnosed(&mut self, rows: &[DiagnosticRow]) {
        self.diagnostics.extend_from_slice(rows);
        self.said = (Instant::now(), self.images);
    }

    fn confused(&mut self, rows: &[ConfusionRow]) {
        self.confusion.extend_from_slice(rows);
    }
}

/// A parent that is gone does not stop a run: what matters is the store.
fn say(event: &Event) {
    let mut out = io::stdout().lock();
    let line = serde_json::to_string(event).unwrap_or_else(|error| format!("unspeakable event: {error}"));
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
