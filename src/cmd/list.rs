//! `pinbench list`: every trial, where it stands and how long it takes; and what a sweep under `--dry-run` says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use pinbench::data;
use pinbench::digest::Digest;
use pinbench::experiment::{Config, Length, PlanAsked, PlanHash, ProfileName, TrialId};
use pinbench::record::{CheckpointKept, RunId, RunRecord, Standing, Status};
use pinbench::row::Diagnostics;
use pinbench::schedule::{self, Basis, Item, Paces, items, together};
use pinbench::stream::Seed;
use pinbench::text;
use serde::Serialize;

use crate::cmd::args::{EXIT_USAGE, ProfileArg, SeedsArg, SweepArgs, SweepPlanArgs};
use crate::cmd::console::{causes, print, print_json, table, warn};
use crate::cmd::sweep::{
    basis, each_once, of_trial, refuse_too_many, refuse_varied_threads, require_devices, require_torch,
    whole_runs,
};
use crate::cmd::workspace::Workspace;

/// List every trial, where it stands and how long it takes: exactly what `run` would do
///
/// Trials that are missing, interrupted or failed would run; those that are done, diverged or running would not. Times
/// are of a run from start to end: measured where there are runs like it from this machine, else guessed from others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench list m1 --profile full
  pinbench list --json | jq -r '.[] | select(.status == \"missing\") | .trial_id'

--json prints an array of objects. Their keys stay:
  experiment, profile, arm, seed
  trial_id    SHA-256 of config and seed, 64 hex digits
  config      the resolved config
  plan_hash   SHA-256 of the plan
  status      done, diverged, running, failed or missing
  run         id of the run that stands for the trial, or null
  kept_steps  steps that are done of a trial that was interrupted, or null
  estimate_s  seconds that a run of it takes, from start to end
  estimate_basis  measured, of runs like it on this machine, or guessed")]
pub(crate) struct ListArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: SweepPlanArgs,
    #[command(flatten)]
    pub seeds: SeedsArg,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Documented in the help of `list`; keys are added, never changed.
#[derive(Serialize)]
struct Row<'a> {
    experiment: &'a str,
    profile: String,
    arm: &'a str,
    seed: Seed,
    trial_id: TrialId,
    config: &'a Config,
    plan_hash: PlanHash,
    status: &'a str,
    run: Option<&'a RunId>,
    kept_steps: Option<u64>,
    estimate_s: f64,
    estimate_basis: &'static str,
}

/// The trials of a command line.
struct Asked<'a> {
    experiments: &'a [String],
    profile: Option<ProfileName>,
    plan: &'a PlanAsked,
    at_once: u32,
    seeds: Option<usize>,
    /// Start of the one trial's id.
    trial: Option<&'a str>,
    diagnostics: Diagnostics,
}

/// One of them, and what is known of how long it takes.
struct Looked<'a> {
    item: Item<'a>,
    time: (Duration, Basis),
    /// How far it had come when it was stopped.
    kept: Option<Kept>,
    /// Whether it is due here and done otherwise: under another plan, on another machine, or beside others.
    is_done_otherwise: bool,
}

struct Kept {
    step: u64,
    /// Whether a run of this program would go on from it.
    is_ours: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &ListArgs) -> Result<ExitCode> {
    let (plan, at_once) = (args.plan.plan()?, args.plan.at_once());
    let asked = Asked {
        experiments: &args.experiments,
        profile: args.profile.name(),
        plan: &plan,
        at_once,
        seeds: args.seeds.limit(),
        trial: None,
        diagnostics: Diagnostics::On,
    };
    let has_mistake = look(workspace, &asked, |found| {
        if args.json {
            return print_json(&found.iter().map(row).collect::<Vec<_>>());
        }
        print_table(found.iter())?;
        let (all, due) = (times(found.iter(), at_once), times(found.iter().filter(is_due), at_once));
        let about = |times: &[(Duration, Basis)]| {
            text::duration(together(times.iter().map(|(time, _)| *time), at_once))
        };
        let (trials, in_all) = (text::plural(all.len(), "trial"), about(&all));
        Ok(print(&match due.len() {
            0 => format!("{trials}: about {in_all} in all, none due"),
            count => format!(
                "{trials}: about {in_all} in all; {count} due: about {}{}",
                about(&due),
                said_otherwise(found)
            ),
        })?)
    })?;
    // A mistake in a claim bars no run, but a file that has one is not as its writer means it.
    Ok(if has_mistake { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS })
}

/// What `args` would train and how long that takes. Makes no store, fetches nothing and waits for nobody.
pub(crate) fn dry_run(
    workspace: &Workspace,
    args: &SweepArgs,
    trial: Option<&str>,
    then: &str,
) -> Result<ExitCode> {
    let (plan, at_once) = (args.plan.plan()?, args.plan.at_once());
    refuse_too_many(at_once)?;
    let asked = Asked {
        experiments: &args.experiments,
        profile: args.profile.name(),
        plan: &plan,
        at_once,
        seeds: args.seeds.limit(),
        trial,
        diagnostics: args.diagnostics(),
    };
    let root = data::root()?;
    look(workspace, &asked, |found| {
        let due = times(found.iter().filter(is_due), at_once);
        if !due.is_empty() {
            let plans = found.iter().filter(is_due).map(|looked| &looked.item.plan);
            // Said of a machine that may not be the one it will run on.
            if let Err(error) = require_torch().and_then(|()| require_devices(plans)) {
                warn(&format!("`run` would refuse this here: {}", causes(&error)));
            }
            print_table(found.iter().filter(is_due))?;
            let sets = found.iter().filter(is_due).map(|looked| looked.item.trial.config.data.set);
            let missing = sets.filter(|set| !data::is_present(*set, &root));
            for set in missing.collect::<BTreeSet<_>>() {
                print(&match set.published() {
                    Some(_) => format!("would fetch {set} into '{}'", root.display()),
                    // Its file cannot be read or is gone, and nobody else has it.
                    None => format!(
                        "needs {set}, which is not in '{}': `pinbench data add {set} FOLDER`",
                        root.display()
                    ),
                })?;
            }
        }
        let done = found.iter().filter(|looked| matches!(looked.item.standing, Standing::Done(_))).count();
        let all = text::plural(found.len(), "trial");
        print(&format!("{done} of {all} done, {} due; nothing was trained", due.len()))?;
        if !due.is_empty() {
            let time = together(due.iter().map(|(time, _)| *time), at_once);
            print(&format!("training these takes about {} ({})", text::duration(time), basis(&due)))?;
        }
        if !then.is_empty() {
            print(then)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns whether some claim of theirs is a mistake.
fn look(workspace: &Workspace, asked: &Asked, tell: impl FnOnce(&[Looked]) -> Result<()>) -> Result<bool> {
    let Asked { plan, at_once, seeds, trial, diagnostics, .. } = *asked;
    let experiments = workspace.experiments(asked.experiments, asked.profile.as_ref())?;
    refuse_varied_threads(at_once, &experiments)?;
    let (environment, class) = workspace.environment(&plan.base)?;
    let own = class.map(|_| &environment);
    let wanted = schedule::Asked { plan, environment: own, alone: at_once == 1 };
    let store = workspace.existing_store()?;
    let whole = |store| whole_runs(store, &experiments);
    let listing = store.as_ref().map(whole).transpose()?.unwrap_or_default();
    listing.problems.iter().for_each(|problem| warn(&problem.to_string()));
    let holder =
        |id: &TrialId, plan: &PlanHash| store.as_ref().map_or(Ok(None), |store| store.holder(id, plan));
    let mut found = Vec::new();
    for experiment in &experiments {
        found.extend(items(experiment, seeds, &wanted, &listing.records, holder)?);
    }
    of_trial(&mut found, trial, asked.profile.as_ref())?;
    let otherwise = done_otherwise(&found, &listing.records);
    let (mut looked, mut paces) = (Vec::new(), Paces::from_runs(&listing.records));
    for item in found {
        let class = wanted.class(&item.plan);
        let pace = paces.of(&item.trial.config, &item.plan, class.as_ref());
        let time = (pace.time(&item.trial.config, diagnostics), pace.basis);
        let kept = match &store {
            Some(store) if item.is_due() => store.kept(&item.id, &item.plan_hash)?,
            _ => None,
        };
        let kept = kept
            .filter(|kept| class.as_ref().is_none_or(|class| *class == kept.key.environment_class))
            .map(|kept| seen(&kept, environment.binary));
        let is_done_otherwise = otherwise.contains(&item.key());
        looked.push(Looked { item, time, kept, is_done_otherwise });
    }
    tell(&looked)?;
    let mut claims = experiments.iter().flat_map(|experiment| &experiment.claims);
    Ok(claims.any(|claim| claim.mistake.is_some()))
}

fn seen(kept: &CheckpointKept, binary: Option<Digest>) -> Kept {
    Kept { step: kept.step, is_ours: kept.key.binary == binary }
}

/// Those that are due here and have a finished run all the same. A run of the trial's own plan is of another machine or was beside
/// others; one of another arm's plan is that arm's.
fn done_otherwise(found: &[Item], records: &[RunRecord]) -> BTreeSet<(TrialId, PlanHash)> {
    let asked: BTreeSet<(TrialId, PlanHash)> = found.iter().map(Item::key).collect();
    let mut finished: BTreeMap<TrialId, BTreeSet<PlanHash>> = BTreeMap::new();
    let is_result = |record: &&RunRecord| {
        record.status == Status::Finished && record.planted.is_none() && record.program.is_none()
    };
    for record in records.iter().filter(is_result) {
        finished.entry(record.trial_id).or_default().insert(record.plan_hash);
    }
    let is_otherwise = |item: &&Item| {
        let counts = |plan: &PlanHash| *plan == item.plan_hash || !asked.contains(&(item.id, *plan));
        item.is_due() && finished.get(&item.id).is_some_and(|plans| plans.iter().any(counts))
    };
    found.iter().filter(is_otherwise).map(Item::key).collect()
}

/// Runs that were made look missing to who asks under another plan. Each trial counts once, as in what is due.
fn said_otherwise(found: &[Looked]) -> String {
    let otherwise: BTreeSet<_> =
        found.iter().filter(|looked| looked.is_done_otherwise).map(|looked| looked.item.key()).collect();
    match otherwise.len() {
        0 => String::new(),
        count => format!(
            "; {count} of them done under another plan, on another machine or beside others (--plan, --set, --threads, --jobs)"
        ),
    }
}

fn is_due(looked: &&Looked) -> bool {
    looked.item.is_due()
}

/// Of each as often as a sweep would train it.
fn times<'a>(found: impl Iterator<Item = &'a Looked<'a>>, at_once: u32) -> Vec<(Duration, Basis)> {
    each_once(found, at_once, |looked| &looked.item).into_iter().map(|looked| looked.time).collect()
}

fn row<'a>(looked: &'a Looked) -> Row<'a> {
    let Looked { item, time: (time, basis), kept, .. } = looked;
    Row {
        experiment: &item.experiment.id,
        profile: item.experiment.profile.name.to_string(),
        arm: item.arm.name.en(),
        seed: item.trial.seed,
        trial_id: item.id,
        config: &item.trial.config,
        plan_hash: item.plan_hash,
        status: item.standing.name(),
        run: match &item.standing {
            Standing::Done(record) | Standing::Diverged(record) => Some(&record.run),
            _ => None,
        },
        kept_steps: kept.as_ref().map(|kept| kept.step),
        estimate_s: time.as_secs_f64(),
        estimate_basis: basis.name(),
    }
}

fn print_table<'a>(found: impl Iterator<Item = &'a Looked<'a>>) -> Result<()> {
    let mut rows =
        vec![["experiment", "profile", "trial", "arm", "seed", "time", "status"].map(str::to_owned).to_vec()];
    for looked in found {
        let Looked { item, time: (time, basis), .. } = looked;
        rows.push(vec![
            item.experiment.id.clone(),
            item.experiment.profile.name.to_string(),
            item.id.short(),
            item.arm.name.to_string(),
            item.trial.seed.to_string(),
            format!("{}, {}", text::duration(*time), basis.name()),
            status(looked),
        ]);
    }
    Ok(table(&rows).iter().try_for_each(|line| print(line))?)
}

fn status(looked: &Looked) -> String {
    if let Some(Kept { step, is_ours }) = looked.kept {
        let config = &looked.item.trial.config;
        let steps = Length::of(&config.train, config.data.train_images().into()).steps;
        let starts = if is_ours { "" } else { " by another build: starts anew" };
        return format!("interrupted, {step} of {steps} steps{starts}");
    }
    match &looked.item.standing {
        Standing::Failed { runs, reason } => {
            let first = reason.lines().next().unwrap_or_default();
            format!("failed ×{runs}: {}", first.chars().take(60).collect::<String>())
        }
        Standing::Running(holder) => format!("running: {holder}"),
        other => other.name().to_owned(),
    }
}
