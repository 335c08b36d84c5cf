//! `pinbench manifest`: a frozen list of trainings for a cluster, and what its engine needs to run it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use pinbench::data;
use pinbench::digest::Digest;
use pinbench::experiment::plan::Device;
use pinbench::experiment::{Arm, Experiment, Plan, PlanHash, TrialId};
use pinbench::machine::Environment;
use pinbench::record::{RunRecord, Sameness, Status};
use pinbench::row::Diagnostics;
use pinbench::schedule::{Handover, Manifest, ManifestArm, ManifestTask, Pace, expressions};
use pinbench::text;

use crate::cmd::args::{ProfileArg, SeedsArg, TrialPlanArgs, WrongUsage};
use crate::cmd::console::{print, warn};
use crate::cmd::workspace::{Workspace, command};
use crate::cmd::{data as sets, sweep};

/// Freeze trials into a manifest, a number each, for a cluster to run
///
/// When a study is too long for one machine. Data, program and libtorch are checked first, once, and the data fetched; then
/// each index is a trial for `pinbench run --manifest`. On one thread each, unless --threads or --set says otherwise. A
/// manifest has no state: what is done is what the store says, and to submit what is missing is to go on.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench manifest m1 c1 --profile full > m.json
  pinbench manifest m.json --print slurm --at-once 100 --time 60 > array.sh
  bash array.sh                       submits what is missing; again, to go on
  pinbench manifest m.json --missing  what that is, such as 0-3,7
  pinbench manifest m.json --print parallel

Exit codes of a task: 0 done, 1 failed or diverged, 75 another process has it,
85 stopped and kept: submit it again.")]
pub(crate) struct ManifestArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given. With --print or
    /// --missing the manifest's file
    #[arg(value_name = "EXPERIMENT")]
    experiments: Vec<String>,
    #[command(flatten)]
    profile: ProfileArg,
    #[command(flatten)]
    plan: TrialPlanArgs,
    #[command(flatten)]
    seeds: SeedsArg,
    /// Leave out what is measured between epochs: gradients, dead units, curvature
    #[arg(long)]
    no_diagnostics: bool,
    /// Print an array script for Slurm, or a line for GNU parallel
    #[arg(long, value_enum, value_name = "ENGINE", conflicts_with_all = FREEZING)]
    print: Option<Engine>,
    /// Print the indices that are not done, a line for each part of the largest array, with where it begins
    #[arg(long, conflicts_with = "print", conflicts_with_all = FREEZING)]
    missing: bool,
    /// Count as done only runs whose machine class has this in it, such as a processor's name [default: runs of any]
    #[arg(long, value_name = "TEXT", conflicts_with_all = FREEZING)]
    class: Option<String>,
    /// Tasks at a time, at most, of each array where there are several [default: as the engine has it]
    #[arg(long, requires = "print", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,
    /// The cluster's MaxArraySize: what has more tasks is submitted in parts
    #[arg(long, value_name = "N", default_value = "1001", value_parser = clap::value_parser!(u32).range(1..))]
    max_array: u32,
    /// Seconds before its limit at which Slurm tells a task to stop: a step and a checkpoint have to fit
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = clap::value_parser!(u32).range(1..=65535))]
    notice: u32,
    /// For `#SBATCH --partition`
    #[arg(long, requires = "print", value_name = "NAME", value_parser = slurm_value)]
    partition: Option<String>,
    /// For `#SBATCH --time`
    #[arg(long, requires = "print", value_name = "TIME", value_parser = slurm_value)]
    time: Option<String>,
    /// For `#SBATCH --mem`
    #[arg(long, requires = "print", value_name = "SIZE", value_parser = slurm_value)]
    memory: Option<String>,
    /// For `#SBATCH --account`
    #[arg(long, requires = "print", value_name = "NAME", value_parser = slurm_value)]
    account: Option<String>,
}

/// What a manifest is frozen from; one that is made has its own.
const FREEZING: [&str; 7] = ["name", "plan", "threads", "device", "set", "seeds", "no_diagnostics"];

/// A value that stands by itself in a line of `#SBATCH`.
fn slurm_value(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("expected a value without spaces and line breaks, as Slurm has it".to_owned()),
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    Slurm,
    Parallel,
}

pub(crate) fn run(workspace: &Workspace, args: &ManifestArgs) -> Result<ExitCode> {
    match (args.print, args.missing) {
        (Some(engine), _) => hand_over(workspace, args, engine)?,
        (None, true) => missing(workspace, args)?,
        (None, false) => print(&freeze(workspace, args)?.text()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn freeze(workspace: &Workspace, args: &ManifestArgs) -> Result<Manifest> {
    sweep::require_torch()?;
    let plan = args.plan.one_thread();
    let experiments = workspace.experiments(&args.experiments, args.profile.name().as_ref())?;
    let (environment, _) = workspace.environment(&plan.base)?;
    let program = environment.binary.context("the running program cannot be read; install it again")?;
    let records = workspace.listing(workspace.existing_store()?.as_ref())?.records;
    let diagnostics = if args.no_diagnostics { Diagnostics::Off } else { Diagnostics::On };
    let mut manifest = Manifest {
        program,
        pinbench: environment.pinbench.clone(),
        diagnostics,
        data: BTreeMap::new(),
        arms: Vec::new(),
        tasks: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    for experiment in &experiments {
        let first = manifest.arms.len();
        for arm in &experiment.profile.arms {
            let plan = plan.of(arm);
            manifest.arms.push(arm_of(
                workspace,
                experiment,
                arm,
                plan,
                &environment,
                (&records, diagnostics),
            ));
        }
        let seeds = args.seeds.limit().unwrap_or(usize::MAX);
        let kept = seeds.saturating_mul(experiment.profile.arms.len());
        for (arm, trial) in experiment.profile.trials().take(kept) {
            let task = ManifestTask { arm: first + arm, seed: trial.seed, trial_id: trial.id() };
            // Two experiments may ask for one trial.
            if seen.insert((task.trial_id, manifest.arms[task.arm].plan_hash)) {
                manifest.tasks.push(task);
            }
        }
    }
    sweep::require_devices(manifest.arms.iter().map(|arm| &arm.plan))?;
    manifest.data = check_data(workspace, &manifest)?;
    workspace.note(&format!(
        "{}, {} of computing; digest {}",
        text::plural(manifest.tasks.len(), "training"),
        text::duration(std::time::Duration::from_secs_f64(seconds(&manifest))),
        manifest.digest()?
    ));
    Ok(manifest)
}

fn seconds(manifest: &Manifest) -> f64 {
    manifest.tasks.iter().filter_map(|task| Some(manifest.arms.get(task.arm)?.estimate_s)).sum()
}

fn arm_of(
    workspace: &Workspace,
    experiment: &Experiment,
    arm: &Arm,
    plan: Plan,
    environment: &Environment,
    (records, diagnostics): (&[RunRecord], Diagnostics),
) -> ManifestArm {
    let class = environment.with_threads(plan.threads).class();
    let pace = Pace::of(&arm.config, &plan, Some(&class), records);
    let profile = &experiment.profile.name;
    ManifestArm {
        experiment: experiment.id.clone(),
        profile: profile.to_string(),
        arm: arm.name.to_string(),
        config: arm.config.clone(),
        plan_hash: plan.hash(),
        class,
        estimate_s: (pace.time(&arm.config, diagnostics).as_secs_f64() * 10.0).round() / 10.0,
        estimate_basis: pace.basis.name().to_owned(),
        command: command("run", &workspace.named(experiment), experiment, &plan, 1),
        plan,
    }
}

/// Every set is there and whole: a thousand tasks must not find out one by one that it is not.
fn check_data(workspace: &Workspace, manifest: &Manifest) -> Result<BTreeMap<String, Digest>> {
    let all: BTreeMap<String, _> = manifest
        .arms
        .iter()
        .map(|arm| (arm.config.data.set.to_string(), (arm.config.data.set, arm.config.data.digest)))
        .collect();
    let root = sets::fetch_missing(workspace, all.values().map(|(set, _)| *set))?;
    for (set, _) in all.values() {
        data::load(*set, &root)?;
    }
    Ok(all.into_iter().map(|(name, (_, digest))| (name, digest)).collect())
}

/// The manifest's file among the arguments, absolute, for a script that runs elsewhere.
fn file_of(workspace: &Workspace, args: &ManifestArgs) -> Result<PathBuf> {
    match &args.experiments[..] {
        [file] => Ok(workspace.root.join(file)),
        _ => Err(WrongUsage(
            "--print and --missing take one manifest's file, as in `pinbench manifest m.json --missing`"
                .to_owned(),
        )
        .into()),
    }
}

/// A manifest that cannot be used is a wrong argument, and no training that failed.
pub(super) fn load(path: &Path) -> Result<Manifest> {
    Ok(Manifest::load(path).map_err(|error| WrongUsage(error.to_string()))?)
}

fn missing(workspace: &Workspace, args: &ManifestArgs) -> Result<()> {
    let manifest = load(&file_of(workspace, args)?)?;
    let mut done: BTreeSet<(TrialId, PlanHash)> = BTreeSet::new();
    let (mut diverged, mut classes) = (BTreeSet::new(), BTreeMap::new());
    let program = std::env::current_exe().ok().and_then(|program| Digest::of_file(&program).ok());
    if let Err(error) = manifest.check_program(program) {
        warn(&error.to_string());
    }
    let is_of_class = |record: &RunRecord| {
        args.class.as_ref().is_none_or(|part| record.environment_class.to_string().contains(part))
    };
    let of_manifest: BTreeSet<(TrialId, PlanHash)> = manifest
        .tasks
        .iter()
        .filter_map(|task| Some((task.trial_id, manifest.arms.get(task.arm)?.plan_hash)))
        .collect();
    // What is damaged is not done: the runs of the manifest's trials are read whole, as a task reads them before it says so.
    let records = match workspace.existing_store()? {
        None => Vec::new(),
        Some(store) => {
            let is_of = |record: &RunRecord| of_manifest.contains(&(record.trial_id, record.plan_hash));
            let listing = store.whole(store.records()?, is_of);
            listing.problems.iter().for_each(|problem| warn(&problem.to_string()));
            listing.records
        }
    };
    for record in records.iter().filter(|record| record.program.is_none() && Sameness::of(record).is_some()) {
        let key = (record.trial_id, record.plan_hash);
        if of_manifest.contains(&key) {
            *classes.entry(record.environment_class.to_string()).or_insert(0) += 1;
        }
        if of_manifest.contains(&key) && is_of_class(record) {
            done.insert(key);
            if matches!(record.status, Status::Diverged { .. }) {
                diverged.insert(key);
            }
        }
    }
    let missing = manifest.missing(|trial, plan| done.contains(&(trial, plan)));
    let all = text::plural(manifest.tasks.len(), "training");
    let end = if diverged.is_empty() { String::new() } else { format!(", {} diverged", diverged.len()) };
    workspace.note(&format!("{} of {all} missing{end}", missing.len()));
    if classes.len() > 1 {
        let of = |(class, runs): (&String, &usize)| format!("{} of '{class}'", text::plural(*runs, "run"));
        warn(&format!(
            "{}: only runs of one machine class are compared with each other; `--class TEXT` counts those alone whose class has \
             the text in it",
            classes.iter().map(of).collect::<Vec<_>>().join(", ")
        ));
    }
    for (first, expression) in expressions(&missing, args.max_array as usize) {
        print(&if first == 0 { expression } else { format!("{expression} {first}") })?;
    }
    Ok(())
}

fn refuse_without_slurm(args: &ManifestArgs) -> Result<(), WrongUsage> {
    let given = [
        ("--partition", args.partition.is_some()),
        ("--time", args.time.is_some()),
        ("--memory", args.memory.is_some()),
        ("--account", args.account.is_some()),
        ("--class", args.class.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => {
            Err(WrongUsage(format!("{name} is for Slurm; a line for GNU parallel has no such thing")))
        }
        None => Ok(()),
    }
}

fn hand_over(workspace: &Workspace, args: &ManifestArgs, engine: Engine) -> Result<()> {
    let path = file_of(workspace, args)?;
    let manifest = load(&path)?;
    if manifest.tasks.is_empty() {
        return Err(WrongUsage(format!("'{}' has no training to run", path.display())).into());
    }
    let program = std::env::current_exe().context("this program's own path")?;
    // A script names the program that prints it, and a task refuses another than the manifest's.
    manifest
        .check_program(Digest::of_file(&program).ok())
        .map_err(|error| WrongUsage(format!("'{}': {error}", path.display())))?;
    if matches!(engine, Engine::Parallel) {
        refuse_without_slurm(args)?;
    }
    let text = |path: &Path| path.display().to_string();
    let longest = manifest.arms.iter().map(|arm| arm.estimate_s).fold(0.0, f64::max);
    let options = [
        ("partition", &args.partition),
        ("time", &args.time),
        ("mem", &args.memory),
        ("account", &args.account),
    ];
    let handover = Handover {
        program: text(&program),
        manifest: text(&path),
        store: text(&workspace.store),
        tasks: manifest.tasks.len(),
        threads: manifest.arms.iter().map(|arm| arm.plan.threads).max().unwrap_or(1),
        gpu: manifest.arms.iter().any(|arm| arm.plan.device != Device::Cpu),
        class: args.class.clone(),
        at_once: args.at_once,
        part: args.max_array as usize,
        notice_s: args.notice,
        options: options.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect(),
        longest: text::duration(std::time::Duration::from_secs_f64(longest)),
    };
    print(&match engine {
        Engine::Slurm => handover.slurm(),
        Engine::Parallel => handover.parallel(),
    })?;
    Ok(())
}
