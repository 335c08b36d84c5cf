//! `pinbench verify`: run again what is stored, in fresh processes, and grade how alike it comes out.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::analyse::Measures;
use pinbench::analyse::replay::{Comparison, Grade, compare};
use pinbench::experiment::{Experiment, ProfileName, TrialId};
use pinbench::record::{LoadedRun, RunRecord, Status, Store};
use pinbench::row::Diagnostics;
use pinbench::schedule::{Children, EXIT_INTERRUPTED, Ending, Event, Interrupt, Job, Observer, Sweep, Task};
use pinbench::stats::Spread;
use serde::Serialize;

use crate::cmd::args::{EXIT_FAILURE, ProfileArg, WrongUsage};
use crate::cmd::console::{print, print_json, warn};
use crate::cmd::progress::Progress;
use crate::cmd::workspace::{Workspace, is_path};
use crate::cmd::{data as sets, sweep};

/// Run again what is stored, in fresh processes, and grade how alike it comes out
///
/// When a number has to be had again. Grades: bit-identical; equal within 16 units in the last place of every step
/// loss; statistically equivalent, which is a validation accuracy no further off than two seeds are; different. Beside
/// the grade stands what the two environments promise. Replays are not kept.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench verify 3f9a21                        the newest run of a trial
  pinbench verify m1-batch-size --profile smoke every run of an experiment

--json prints an array of objects with the keys run, trial_id and comparison:
  grade, expected   identical, ulps, equivalent or different
  reason            why no more than that is promised
  parting           the first step that differs, its losses, the tensors
  ulps, accuracy    distances; accuracy is [difference, what chance allows]
  changes           what differs around the runs: what, first, second
The exit code is 1 when a grade is below what is promised.")]
pub(crate) struct VerifyRunsArgs {
    /// Ids of runs, trials or experiments, or starts of them, or paths of experiments' files
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Documented in the help of `verify`; keys are added, never changed.
#[derive(Serialize)]
struct Verified {
    run: String,
    trial_id: String,
    /// `None` when the stored run is damaged, or the replay did not finish.
    comparison: Option<Comparison>,
}

/// Starting a process and decoding a data set.
const START_UP: Duration = Duration::from_secs(2);

pub(crate) fn run(workspace: &Workspace, args: &VerifyRunsArgs) -> Result<ExitCode> {
    sweep::require_torch()?;
    let store = workspace.existing_store()?.ok_or_else(|| {
        WrongUsage(format!(
            "there are no runs in '{}' yet; `pinbench run` makes some",
            workspace.store.display()
        ))
    })?;
    let listing = workspace.listing(Some(&store))?;
    let (asked, mut verified) = readable(&store, chosen(workspace, &listing.records, args)?);
    let of_sets = asked.iter().map(|run| run.record.trial.config.data.set);
    let root = sets::fetch_missing(workspace, of_sets)?;
    // Replays go into a store of their own, so that none is ever taken for a run of a study.
    let folder = tempfile::tempdir().context("a folder for the replays")?;
    let replays = Store::open(&folder.path().join("runs"))?;
    let interrupt = Interrupt::install()?;
    let _machine = sweep::machine_alone(&interrupt)?;
    let children = Children::of_this_program(&interrupt)?;
    let names = asked.iter().map(|run| name(&run.record)).collect();
    let times = asked.iter().map(|run| time(&run.record)).collect();
    let mut progress = Progress::named(workspace.quiet, names, times);
    // One after the other, so that each grade is there as soon as its run is.
    for (index, run) in asked.iter().enumerate() {
        let record = &run.record;
        let (environment, _) = workspace.environment(&record.plan)?;
        let sweep = Sweep { store: &replays, environment: &environment, interrupt: &interrupt, at_once: 1 };
        let mut of_this = OneOf { progress: &mut progress, index };
        let tally = sweep.run(&[job(record, &replays, &root, workspace)], &children, &mut of_this)?;
        if tally.interrupted {
            break;
        }
        let grade = verify(run, &replays, spread(&store, record, &listing.records))?;
        if !args.json {
            progress.apart(|| print_one(&grade, record))?;
        }
        verified.push(grade);
    }
    progress.finish();
    if args.json {
        print_json(&verified)?;
    }
    let is_good = |verified: &Verified| verified.comparison.as_ref().is_some_and(Comparison::is_as_expected);
    Ok(match verified.iter().all(is_good) {
        _ if interrupt.is_asked() => ExitCode::from(EXIT_INTERRUPTED),
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_FAILURE),
    })
}

/// The finished runs of the ids and experiments that were named, the newest of each trial and plan.
fn chosen(workspace: &Workspace, records: &[RunRecord], args: &VerifyRunsArgs) -> Result<Vec<RunRecord>> {
    let mut chosen: Vec<RunRecord> = Vec::new();
    for id in &args.ids {
        let of_file: Vec<TrialId> = match is_path(id) {
            true => trials(&workspace.experiments(std::slice::from_ref(id), args.profile.name().as_ref())?),
            false => Vec::new(),
        };
        // Runs of an experiment are those under the profile that is meant.
        let meant =
            || Some(workspace.experiments(std::slice::from_ref(id), None).ok()?.remove(0).profile.name);
        let profile = args.profile.name().or_else(meant);
        let is_named = |record: &&RunRecord| {
            let is_id = record.run.0.starts_with(id.as_str())
                || (id.len() >= 4 && record.trial_id.to_string().starts_with(id.as_str()));
            let is_experiment = record.experiment.starts_with(id.as_str())
                && profile.as_ref().is_none_or(|profile| record.profile == profile.0);
            is_id || is_experiment || of_file.contains(&record.trial_id)
        };
        let finished = |record: &&RunRecord| record.status == Status::Finished && record.planted.is_none();
        let mut found: Vec<&RunRecord> = records.iter().filter(is_named).filter(finished).collect();
        if found.is_empty() {
            return Err(WrongUsage(format!(
                "no finished run with an id that starts with '{id}' (four digits of a trial's at least), and none of an experiment of that name{}; \
                 `pinbench list` has the ids",
                profile.as_ref().map(ProfileName::under).unwrap_or_default()
            ))
            .into());
        }
        // Newest first.
        found.reverse();
        for record in found {
            let is_new =
                |kept: &RunRecord| kept.trial_id != record.trial_id || kept.plan_hash != record.plan_hash;
            if chosen.iter().all(is_new) {
                chosen.push(record.clone());
            }
        }
    }
    chosen.reverse();
    Ok(chosen)
}

fn trials(experiments: &[Experiment]) -> Vec<TrialId> {
    let trials = experiments.iter().flat_map(|experiment| experiment.profile.trials());
    trials.map(|(_, trial)| trial.id()).collect()
}

/// Tells of the only job of a sweep as of one of several.
struct OneOf<'a> {
    progress: &'a mut Progress,
    index: usize,
}

impl Observer for OneOf<'_> {
    fn begin(&mut self, _: usize) {
        self.progress.begin(self.index);
    }

    fn event(&mut self, _: usize, event: &Event) {
        self.progress.event(self.index, event);
    }

    fn end(&mut self, _: usize, ending: &Ending) {
        self.progress.end(self.index, ending);
    }
}

/// The runs that can be compared with, read before anything is trained. What cannot be read is a warning, and is verified
/// as one that could not be repeated.
fn readable(store: &Store, chosen: Vec<RunRecord>) -> (Vec<LoadedRun>, Vec<Verified>) {
    let (mut readable, mut verified) = (Vec::new(), Vec::new());
    for record in chosen {
        match store.load(&record) {
            Ok(run) => readable.push(run),
            Err(problem) => {
                warn(&format!("{}: {problem}", name(&record)));
                verified.push(Verified::nothing(&record));
            }
        }
    }
    (readable, verified)
}

impl Verified {
    fn nothing(record: &RunRecord) -> Self {
        Self { run: record.run.to_string(), trial_id: record.trial_id.to_string(), comparison: None }
    }
}

fn job(record: &RunRecord, replays: &Store, data: &std::path::Path, workspace: &Workspace) -> Job {
    // A run that was diagnosed took some time for it.
    let command = format!("pinbench verify {}", record.run);
    let is_diagnosed = record.outcome.as_ref().and_then(|outcome| outcome.diagnose_ns) != Some(0);
    Job {
        experiment: record.experiment.clone(),
        profile: record.profile.clone(),
        store: replays.path().to_owned(),
        diagnostics: if is_diagnosed { Diagnostics::On } else { Diagnostics::Off },
        ..workspace.job(record.trial.clone(), record.plan.clone(), data, Task::TRAIN, command)
    }
}

fn name(record: &RunRecord) -> String {
    format!("{}, seed {} ({})", record.experiment, record.trial.seed, record.trial_id.short())
}

fn time(record: &RunRecord) -> Duration {
    let outcome = record.outcome.as_ref();
    let ns = outcome.map_or(0, |outcome| outcome.wall_ns + outcome.diagnose_ns.unwrap_or(0));
    START_UP + Duration::from_nanos(ns)
}

fn verify(run: &LoadedRun, replays: &Store, spread: Option<Spread>) -> Result<Verified> {
    let record = &run.record;
    let replay = replays.records()?.records.into_iter().find(|replay| {
        (replay.trial_id, replay.plan_hash) == (record.trial_id, record.plan_hash)
            && replay.status == Status::Finished
    });
    let replay = replay.map(|replay| replays.load(&replay)).transpose()?;
    let comparison = replay.map(|replay| compare(run, &replay, spread));
    Ok(Verified { comparison, ..Verified::nothing(record) })
}

/// Of validation accuracy over the seeds of the run's config that are in the store.
pub(crate) fn spread(store: &Store, record: &RunRecord, all: &[RunRecord]) -> Option<Spread> {
    let is_alike = |other: &&RunRecord| {
        (other.config_hash, other.plan_hash) == (record.config_hash, record.plan_hash)
            && other.status == Status::Finished
            && other.planted.is_none()
    };
    let mut seeds = std::collections::BTreeMap::new();
    for other in all.iter().filter(is_alike) {
        let run: Option<LoadedRun> = store.load(other).ok();
        let score = run.and_then(|run| Measures::of(&run).validation);
        seeds.extend(score.map(|score| (other.trial.seed, score.accuracy)));
    }
    let values: Vec<f64> = seeds.into_values().collect();
    Spread::of(&values)
}

fn print_one(verified: &Verified, record: &RunRecord) -> Result<()> {
    let Some(comparison) = &verified.comparison else {
        return Ok(print(&format!("{}: the replay did not finish", name(record)))?);
    };
    let sign = if comparison.is_as_expected() { "ok" } else { "NOT AS EXPECTED" };
    print(&format!("{}: {} ({sign})", name(record), comparison.grade.name()))?;
    describe(comparison)
}

/// What keeps two runs from being identical.
pub(crate) fn describe(comparison: &Comparison) -> Result<()> {
    let Comparison { is_replay, grade, expected, reason, parting, ulps, accuracy, changes } = comparison;
    if *is_replay && (*grade != Grade::Identical || *expected != Grade::Identical) {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        print(&format!("  expected          {}{why}", expected.name()))?;
    }
    if let Some(parting) = parting {
        let loss = |loss: Option<f64>| loss.map_or_else(|| "none".to_owned(), |loss| format!("{loss:?}"));
        let (first, second) = parting.losses;
        print(&format!("  parts at          step {}", parting.step))?;
        print(&format!("  losses there      {} and {}", loss(first), loss(second)))?;
        if let Some((step, names)) = &parting.tensors {
            let more = match names.len() {
                0..=3 => String::new(),
                all => format!(" and {} more", all - 3),
            };
            let shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
            print(&format!("  tensors           after step {step}: {}{more}", shown.join(", ")))?;
        }
    }
    if let (Some(ulps), true) = (ulps, *grade != Grade::Identical) {
        print(&format!("  step losses       at most {ulps} units in the last place apart"))?;
    }
    if let (Some((difference, tolerance)), true) = (accuracy, *grade != Grade::Identical) {
        print(&format!("  val accuracy      {difference:+.4}, chance allows ±{tolerance:.4}"))?;
    }
    for change in changes {
        print(&format!("  {:<17} {} → {}", change.what, change.first, change.second))?;
    }
    Ok(())
}
