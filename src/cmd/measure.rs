//! Timing conditions in blocks: what `time` and `explain` share.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use pinbench::analyse::timing::{Look, Measured, disturbed};
use pinbench::experiment::plan::Loader;
use pinbench::experiment::{Config, Plan, Trial};
use pinbench::machine::Environment;
use pinbench::record::{self, Condition, Design, LoadedRun, Measurement, MeasurementError, Timed};
use pinbench::schedule::{Blocks, Children, Exclusive, Interrupt, Job, OnCue, Questions, Task, Time, Timer};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cmd::console::warn;
use crate::cmd::workspace::Workspace;
use crate::cmd::{data as sets, sweep};

/// Steps of a process: two may be warm-up, and three are left for a median.
const LEAST_STEPS: u64 = 5;
const MOST_STEPS: u64 = 400;
/// Long enough for a median over many steps where they are short.
const SPAN: Duration = Duration::from_millis(600);
/// A turn is at least as long, and at least a step.
const TURN: Duration = Duration::from_millis(100);

/// Folder of the measurements beside a store.
const FOLDER: &str = "measurements";

/// What was measured.
pub(crate) struct Taken {
    pub measured: Measured,
    /// Somebody ended it before its time.
    pub is_interrupted: bool,
    /// The machine, for what belongs to the measurement and comes after it.
    pub alone: Option<Exclusive>,
}

/// Who gives processes their turns.
#[derive(Clone, Copy)]
pub(crate) enum Turns<'a> {
    /// This program, which has the machine to itself, in blocks until the budget is spent.
    Own { budget: Duration },
    /// Whoever started it and has the machine: one process for each condition, which is timed for the span. `cue` waits for
    /// the next turn; `false` where there will be none.
    OnCue { span: Duration, cue: &'a dyn Fn() -> bool },
}

/// A folder that was made for a measurement and got nothing goes again; what has something in it cannot.
struct Unused<'a>(&'a Path);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0);
    }
}

/// Measures the conditions of `design` into `folder`. After each planned look `wanted` says which conditions are still
/// needed; none ends the measurement. `command` makes it again. `alone` is of who has the machine already. `None` where somebody
/// interrupted before a block was whole.
pub(crate) fn measure(
    workspace: &Workspace,
    design: Design,
    folder: &Path,
    command: &str,
    turns: Turns,
    alone: Option<Exclusive>,
    wanted: &mut dyn FnMut(&Measured) -> Vec<usize>,
) -> Result<Option<Taken>> {
    let _unused = Unused(folder);
    sweep::require_torch()?;
    for condition in &design.conditions {
        sweep::require_device(&condition.plan)?;
    }
    let of_sets = design.conditions.iter().map(|condition| condition.config.data.set);
    let root = sets::fetch_missing(workspace, of_sets)?;
    let conditions = design.conditions.into_iter().map(timed).collect();
    let interrupt = Interrupt::install()?;
    let alone = match turns {
        Turns::Own { .. } if alone.is_none() => Some(sweep::machine_alone(&interrupt)?),
        Turns::Own { .. } | Turns::OnCue { .. } => alone,
    };
    // Who gives up waiting for the machine leaves nothing that the same command would meet.
    let measurement = Measurement::create(folder, Design { conditions, ..design }, command)?;
    let Some(first) = measurement.design.conditions.first() else { return Ok(None) };
    let (environment, _) = workspace.environment(&first.plan)?;
    let job = |condition: usize, block: record::Block| {
        let time = time(turns, &measurement.design.conditions[condition], &environment);
        job(&measurement.design.conditions[condition], block, &measurement, time, workspace, &root)
    };
    let children = Children::of_this_program(&interrupt)?;
    let on_cue;
    let (timer, budget): (&dyn Timer, Duration) = match turns {
        Turns::Own { budget } => (&children, budget),
        Turns::OnCue { cue, .. } => {
            on_cue = OnCue { children: &children, cue };
            // Of blocks the first is always measured.
            (&on_cue, Duration::ZERO)
        }
    };
    let blocks = Blocks { measurement: &measurement, timer, interrupt: &interrupt, job: &job, budget };
    let all = (0..measurement.design.conditions.len()).collect();
    let is_repeated = matches!(turns, Turns::Own { .. });
    let measured = Measured::new(measurement.design.clone());
    let mut asking = Asking { measured, current: all, is_repeated, wanted };
    let (began, mut progress) = (Instant::now(), Progress::default());
    let measuring = blocks.run(&mut asking, &mut |block, timed| {
        progress.ended(workspace, block, timed, &measurement.design, (began.elapsed(), budget));
    })?;
    let mut measured = asking.measured;
    if measuring.interrupted && !keep_whole(workspace, &measurement, measuring.blocks, &mut measured)? {
        return Ok(None);
    }
    Ok(Some(Taken { measured, is_interrupted: measuring.interrupted, alone }))
}

/// Leaves what is left of a block that did not end out, which is compared with nothing. Whether there is one that did.
fn keep_whole(
    workspace: &Workspace,
    measurement: &Measurement,
    blocks: u64,
    measured: &mut Measured,
) -> Result<bool> {
    measurement.interrupted(blocks)?;
    measured.blocks.retain(|number, _| *number < blocks);
    let note = match measured.blocks.len() {
        0 => "interrupted before the first block was whole: nothing can be said".to_owned(),
        whole => format!("interrupted: what follows is of {}", text::plural(whole, "whole block")),
    };
    workspace.note(&note);
    Ok(!measured.blocks.is_empty())
}

/// A folder for a measurement of now, beside the store. It is made here, so that two of one second have each their own.
pub(crate) fn new_folder(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let beside = workspace.store.parent().unwrap_or(&workspace.root).join(FOLDER);
    Ok(claim_folder(&beside, &format!("{name}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S")))?)
}

/// Of `name` and that with a number behind it the first that nobody has.
fn claim_folder(beside: &Path, name: &str) -> Result<PathBuf, MeasurementError> {
    let failed = |path: &Path, source| MeasurementError::Io { what: "create", path: path.to_owned(), source };
    fs::create_dir_all(beside).map_err(|error| failed(beside, error))?;
    let (mut folder, mut number) = (beside.join(name), 1);
    loop {
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                number += 1;
                folder = beside.join(format!("{name}-{number}"));
            }
            Err(error) => return Err(failed(&folder, error)),
        }
    }
}

/// What is timed are steps: nothing ends a run before enough of them were taken.
fn timed(condition: Condition) -> Condition {
    let mut config: Config = condition.config;
    config.train.epochs = config.train.epochs.max(MOST_STEPS as u32);
    config.train.max_steps = None;
    (config.train.target_loss, config.train.target_eval_loss) = (None, None);
    config.train.patience = None;
    config.train.min_delta = None;
    Condition { config, ..condition }
}

fn time(turns: Turns, condition: &Condition, environment: &Environment) -> Time {
    let (most_steps, span) = match turns {
        Turns::Own { .. } => (MOST_STEPS, SPAN),
        Turns::OnCue { span, .. } => (u64::MAX, span),
    };
    Time {
        least_steps: LEAST_STEPS,
        most_steps,
        span_ms: span.as_millis() as u64,
        // Workers make batches while their process waits for its turn, and a short turn would find all it needs made.
        turn_ms: if has_workers(&condition.plan) { span } else { TURN }.as_millis() as u64,
        fault: condition.fault,
        environment: Box::new(environment.clone()),
    }
}

fn has_workers(plan: &Plan) -> bool {
    matches!(plan.loader, Loader::Samples { workers: 1.., .. })
}

fn job(
    condition: &Condition,
    block: record::Block,
    measurement: &Measurement,
    time: Time,
    workspace: &Workspace,
    data: &Path,
) -> Job {
    let trial = Trial { config: condition.config.clone(), seed: Seed(block.block) };
    Job {
        experiment: condition.experiment.clone(),
        store: measurement.store.path().to_owned(),
        block: Some(block),
        ..workspace.job(trial, condition.plan.clone(), data, Task::Time(time), measurement.command.clone())
    }
}

/// Keeps what was measured, and asks at the planned looks what else is needed.
struct Asking<'a> {
    measured: Measured,
    /// Conditions that are still measured.
    current: Vec<usize>,
    /// Whether a process that was disturbed is measured again.
    is_repeated: bool,
    wanted: &'a mut dyn FnMut(&Measured) -> Vec<usize>,
}

impl Questions for Asking<'_> {
    fn take(&mut self, timed: &Timed, run: Option<&LoadedRun>) -> bool {
        let Some(run) = run else { return false };
        self.measured.add(timed, run);
        self.is_repeated && disturbed(run).is_some()
    }

    fn wanted(&mut self, blocks: u64) -> Vec<usize> {
        if Look::is_planned(blocks as usize) {
            let still: BTreeSet<usize> = (self.wanted)(&self.measured).into_iter().collect();
            self.current.retain(|condition| still.contains(condition));
        }
        self.current.clone()
    }
}

/// A line for each block.
#[derive(Default)]
struct Progress {
    block: u64,
    processes: usize,
}

impl Progress {
    fn ended(
        &mut self,
        workspace: &Workspace,
        block: u64,
        timed: &Timed,
        design: &Design,
        (passed, budget): (Duration, Duration),
    ) {
        if let Some(reason) = &timed.failed {
            let name = &design.conditions[timed.condition].name;
            warn(&format!("'{name}' failed and is left out from here on: {reason}"));
        }
        if block != self.block {
            let left = text::duration(budget.saturating_sub(passed));
            let (ended, timed) = (self.block + 1, self.processes);
            workspace.note(&format!("block {ended}: processes timed: {timed}; {left} left"));
            (self.block, self.processes) = (block, 0);
        }
        self.processes += 1;
    }
}

/// In the process that has the environment of the plan: everything is made ready, then a few steps are timed.
#[cfg(feature = "torch")]
pub(crate) fn child(job: &Job, time: &Time, interrupt: &Interrupt) -> Result<std::process::ExitCode> {
    use std::process::ExitCode;

    use anyhow::Context as _;
    use pinbench::record::{Outcome, Rows, RunId, Status, Store};
    use pinbench::row::Diagnostics;
    use pinbench::schedule::{EXIT_INTERRUPTED, EXIT_SEALED, Event};
    use pinbench::train::{self, Ending, Options};

    train::prepare_process(job.plan.threads)?;
    let environment = time.environment.with_threads(job.plan.threads);
    let data = pinbench::data::load(job.trial.config.data.set, &job.data)?;
    let store = Store::open(&job.store)?;
    let mut steps = steps::Steps::new(time, job.trial.config.train.batch, interrupt, job.plan.device.gpu());
    let options =
        Options { diagnostics: Diagnostics::Off, resume: None, planted: time.fault, only_steps: true };
    let trained = train::train(&job.trial, &job.plan, &data, options, &mut steps)?;
    let (started, watched) =
        steps.stop().context("a training that took no step; this is a bug in pinbench")?;
    let status = match trained.ending {
        Ending::Stopped { .. } if interrupt.is_asked() => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
        Ending::Finished | Ending::Stopped { .. } => Status::Finished,
        Ending::Diverged { step, loss } => Status::Diverged { step, loss: loss.to_string() },
    };
    let run = RunId::new(started, std::process::id());
    let mut record = job.record(run, started, &environment, status);
    let outcome =
        crate::cmd::train::outcome(&trained, &watched, pinbench::machine::peak_rss_bytes(), steps.resumed);
    record.outcome = Some(Outcome { evaluate_ns: 0, diagnose_ns: None, kept_epoch: None, ..outcome });
    record.effective = Some(trained.effective);
    let rows = Rows { steps: steps.rows, ..Rows::default() };
    let record = store.seal(&record, &rows)?;
    crate::cmd::console::tell(&Event::Sealed { run: record.run, status: record.status });
    // SAFETY: ends the process at once and touches no memory. The run is sealed and said; to take libtorch and the data apart
    // takes as long as several steps, and the next process waits for it.
    unsafe { libc::_exit(i32::from(EXIT_SEALED)) }
}

#[cfg(feature = "torch")]
mod steps {
    use std::io;
    use std::time::{Duration, Instant};

    use jiff::Timestamp;
    use pinbench::machine::{GpuClocks, Watch, Watched, peak_rss_bytes};
    use pinbench::row::{EpochRow, StepRow};
    use pinbench::schedule::{EXIT_INTERRUPTED, Event, Interrupt, Time};
    use pinbench::train::{Control, Observer, Started};

    /// How much longer a process may go on whose memory still grows.
    const SETTLING: Duration = Duration::from_secs(2);
    /// Steps after which no step is whole: the batch is larger than the images there are.
    const NONE_WHOLE: u64 = 20;
    /// A growth of the memory by less than one in so many is of what any program does.
    const NO_GROWTH: u64 = 1000;

    /// Whether at least half of the steps, and so their median, were taken in memory that was there, where it grew in `grown` of
    /// them: a plan that keeps its memory takes it from the kernel over the first ten steps, which at a large batch are all
    /// that the span has room for. A late step that takes some is one step; to wait for the last of these would make a
    /// process twice as long as its neighbours in the block, and let it meet another machine than they did.
    fn has_settled(grown: u64, steps: u64) -> bool {
        2 * grown <= steps
    }

    /// Waits for its turns, and stops when there are enough steps.
    pub(super) struct Steps<'a> {
        time: &'a Time,
        /// Images of a step that is whole.
        batch: u32,
        /// Whole steps, but for the first of a turn of several.
        counted: u64,
        interrupt: &'a Interrupt,
        gpu: Option<u32>,
        pub rows: Vec<StepRow>,
        /// Steps that were done when a turn after the first began.
        pub resumed: Vec<u64>,
        /// The most memory so far.
        most_bytes: u64,
        /// Steps in which that grew.
        grown: u64,
        started: Option<Timestamp>,
        turn: Option<(Instant, Watch)>,
        /// Of the turns that have ended.
        turns: Vec<Watched>,
    }

    impl<'a> Steps<'a> {
        pub(super) fn new(time: &'a Time, batch: u32, interrupt: &'a Interrupt, gpu: Option<u32>) -> Self {
            let (rows, resumed, turns) = (Vec::new(), Vec::new(), Vec::new());
            let (counted, most_bytes, grown, started, turn) = (0, 0, 0, None, None);
            Self {
                time,
                batch,
                counted,
                interrupt,
                gpu,
                rows,
                resumed,
                most_bytes,
                grown,
                started,
                turn,
                turns,
            }
        }

        /// When the first turn began, and what happened beside all of them.
        pub(super) fn stop(&mut self) -> Option<(Timestamp, Watched)> {
            self.end_turn();
            let time: Duration = self.turns.iter().map(|turn| turn.time).sum();
            let stolen = |turn: &Watched| Some(turn.steal_share? * turn.time.as_secs_f64());
            let steal: Option<f64> = self.turns.iter().map(stolen).sum();
            let others: Option<f64> = self.turns.iter().map(|turn| turn.others_cpu_s).sum();
            let steal_share = steal.map(|steal| steal / time.as_secs_f64().max(1e-9));
            let clocks = |turn: &Watched| turn.gpu_clocks;
            let ends = self.turns.first().and_then(clocks).zip(self.turns.last().and_then(clocks));
            let gpu_clocks = ends.map(|(first, last)| GpuClocks { before: first.before, after: last.after });
            Some((self.started?, Watched { time, steal_share, others_cpu_s: others, gpu_clocks }))
        }

        fn end_turn(&mut self) {
            self.turns.extend(self.turn.take().map(|(_, watch)| watch.stop()));
        }

        fn wait_for_turn(&mut self) {
            crate::cmd::console::tell(&Event::Ready);
            let mut line = String::new();
            let told = io::stdin().read_line(&mut line);
            if told.is_err() || line.trim() != "go" {
                // Its turn never came: the parent ends, or the measurement was interrupted. Nothing was written.
                std::process::exit(i32::from(EXIT_INTERRUPTED));
            }
            // The watch asks the driver of a GPU, which takes longer than some turns.
            let watch = Watch::start(self.gpu);
            self.turn = Some((Instant::now(), watch));
        }

        fn is_enough(&self) -> bool {
            let Time { least_steps, most_steps, span_ms, .. } = *self.time;
            let steps = self.rows.len() as u64;
            let ended: Duration = self.turns.iter().map(|turn| turn.time).sum();
            let passed = ended + self.passed();
            let span = Duration::from_millis(span_ms);
            // Where an epoch is a step or two, half of the steps are short ones, which count for nothing.
            let has_some = self.counted >= least_steps || (self.counted == 0 && steps >= NONE_WHOLE);
            let is_long = has_some && passed >= span;
            steps >= most_steps || (is_long && (has_settled(self.grown, steps) || passed >= span + SETTLING))
        }

        /// Of this turn.
        fn passed(&self) -> Duration {
            self.turn.as_ref().map_or(Duration::ZERO, |(began, _)| began.elapsed())
        }
    }

    impl Observer for Steps<'_> {
        fn started(&mut self, _: &Started) {
            self.wait_for_turn();
            self.started = Some(Timestamp::now());
        }

        fn stepped(&mut self, row: &StepRow) -> Control {
            let is_first = match self.resumed.last() {
                Some(begun) => *begun == row.step && self.passed() < Duration::from_millis(self.time.turn_ms),
                None => false,
            };
            self.counted += u64::from(row.images == self.batch && !is_first);
            self.rows.push(*row);
            let now = peak_rss_bytes();
            if now > self.most_bytes + self.most_bytes / NO_GROWTH {
                self.most_bytes = now;
                self.grown += 1;
            }
            if self.interrupt.is_asked() || self.is_enough() {
                return Control::Stop;
            }
            if self.passed() >= Duration::from_millis(self.time.turn_ms) {
                self.end_turn();
                self.resumed.push(row.step + 1);
                self.wait_for_turn();
            }
            Control::Continue
        }

        fn measured(&mut self, _: &EpochRow) {}
    }

    #[cfg(test)]
    mod tests {
        use super::has_settled;

        #[test]
        fn a_median_is_of_steps_in_memory_that_was_there() {
            assert!(has_settled(1, 5), "what every process takes in its first step");
            assert!(!has_settled(7, 8) && has_settled(7, 14));
            assert!(has_settled(3, 100), "whichever these were");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both had the one folder, and their processes one list.
    #[test]
    fn two_measurements_of_one_second_have_a_folder_each() {
        let beside = tempfile::tempdir().unwrap();
        let names = [0; 3].map(|_| claim_folder(beside.path(), "time-m1-now").unwrap());
        let expected = ["time-m1-now", "time-m1-now-2", "time-m1-now-3"].map(|name| beside.path().join(name));
        assert_eq!(names, expected);
    }
}
