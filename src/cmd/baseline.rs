//! `pinbench baseline accept`: what an experiment gives now becomes what is expected of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use pinbench::analyse::gate::{
    Asked, Exit, Findings, Sample, Stamp, accept, changes, compare_baselines, not_borne_out, too_blunt,
};
use pinbench::experiment::baseline::{Baseline, FALSE_ALARM_RATE, MARGIN};
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::probe::ProbeFile;
use pinbench::experiment::{Arm, Experiment, Plan, PlanAsked, PlanChange};
use pinbench::report::gate;
use pinbench::schedule::EXIT_INTERRUPTED;
use pinbench::stream::Seed;

use crate::cmd::args::{PlanArgs, ProfileArg, SeedList, WrongUsage};
use crate::cmd::check::{Bench, Wanted};
use crate::cmd::console::{print, say, warn};
use crate::cmd::probe;
use crate::cmd::workspace::Workspace;

/// Seeds of a new baseline. The test is one of pairs, and needs so many to find small changes.
const SEEDS: u64 = 12;
/// Plans that each seed is trained under besides its own.
const TWINS: usize = 2;

#[derive(Subcommand)]
pub(crate) enum BaselineVerb {
    Accept(AcceptArgs),
}

/// Train an experiment, show what changes, and write its baseline
///
/// When a change of the numbers is meant, or an experiment is new to the gate. Each seed is trained under two more plans, to
/// know what rounding does. The file is made for review: one line a run. What is worse than the baseline there is, beyond
/// its margin, is refused unless you say --worse.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench baseline accept m1 --profile gate
  pinbench baseline accept m1 --profile gate --dry-run    is it worse now?

Writes experiments/baselines/EXPERIMENT.PROFILE.toml and .probes.json, without
PROFILE where the file has none.")]
pub(crate) struct AcceptArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files
    #[arg(value_name = "EXPERIMENT", required = true)]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Train only arms of this name; may be repeated. Single steps answer for the others [default: the baseline's arms]
    #[arg(long = "arm", value_name = "NAME")]
    pub arms: Vec<String>,
    /// Seeds to train under, such as 0-4 or 3,7 [default: the baseline's, else 0-11]
    #[arg(long, value_name = "LIST")]
    pub seeds: Option<SeedList>,
    /// Only the answers of single steps, which say that something changed: accuracies stay as they are
    #[arg(long, conflicts_with = "seeds")]
    pub probes: bool,
    /// Only what is trained: single steps stay as they are
    #[arg(long, conflicts_with = "probes")]
    pub trainings: bool,
    /// Although it is worse than the baseline there is
    #[arg(long)]
    pub worse: bool,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Those of the baseline there is, each once.
fn seeds(old: Option<&Baseline>) -> Vec<Seed> {
    let runs = old.into_iter().flat_map(|old| &old.arms).flat_map(|arm| &arm.runs);
    let known: BTreeSet<Seed> = runs.map(|run| run.seed).collect();
    if known.is_empty() { (0..SEEDS).map(Seed).collect() } else { known.into_iter().collect() }
}

pub(crate) fn run(workspace: &Workspace, args: &AcceptArgs) -> Result<ExitCode> {
    let experiments = workspace.experiments(&args.experiments, args.profile.name().as_ref())?;
    let paths = experiments.iter().map(|experiment| place(workspace, experiment));
    // Before anything is trained or written.
    let paths = paths.collect::<Result<Vec<PathBuf>>>()?;
    check_arms(args, &experiments)?;
    let trained = |experiment| {
        let old = stored(workspace, experiment);
        let arms = arms(args, experiment, old.as_ref())?;
        Ok((old, arms))
    };
    let trained = experiments.iter().map(trained).collect::<Result<Vec<_>>>()?;
    let mut bench = Bench::new(workspace, None)?;
    let mut probes = Vec::new();
    if !args.trainings {
        bench.be_alone()?;
        let Some(answers) = probe::accept(workspace, &experiments, bench.interrupt())? else {
            return Ok(interrupted());
        };
        probes = answers;
    }
    if args.probes {
        let mut each = experiments.iter().zip(&probes);
        each.try_for_each(|(of, probes)| write_probes(workspace, of, probes, args.dry_run))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = args.plan.one_thread();
    let twins = twins(&plan);
    let plans: Vec<&PlanAsked> = std::iter::once(&plan).chain(twins.iter().map(|(_, plan)| plan)).collect();
    let (mut stamped, mut wanted) = (Vec::new(), Vec::new());
    for (experiment, (old, arms)) in experiments.iter().zip(trained) {
        let stamp = stamp(old.as_ref(), experiment, &arms);
        let seeds = args.seeds.as_ref().map_or_else(|| seeds(old.as_ref()), |seeds| seeds.0.clone());
        wanted.extend(plans.iter().enumerate().map(|(number, &plan)| {
            let (arms, plan, seeds) = (arms.clone(), plan.clone(), seeds.clone());
            Wanted { experiment, arms, plan, is_twin: number > 0, seeds }
        }));
        stamped.push((old, stamp));
    }
    let Some(runs) = bench.samples(&wanted)? else { return Ok(interrupted()) };
    let mut code = ExitCode::SUCCESS;
    let each = experiments.iter().zip(&paths).zip(stamped).zip(runs.chunks(plans.len()));
    for (at, (((experiment, path), (old, stamp)), runs)) in each.enumerate() {
        let names = twins.iter().map(|(name, _)| *name);
        let twins: Vec<(PlanName, Vec<Sample>)> = names.zip(runs[1..].iter().cloned()).collect();
        let asked = Asked::of(experiment, &workspace.named(experiment));
        let new = accept(&asked, stamp, &runs[0], &twins)?;
        let is_refused = is_refused(asked, old.as_ref(), &new, path, args)?;
        if is_refused {
            code = ExitCode::from(Exit::Regressed.code());
        } else if !args.dry_run {
            write(path, &new.to_toml())?;
        }
        // With the accuracies or not at all: single steps that are accepted alone would let `check` hold.
        if let Some(probes) = probes.get(at) {
            write_probes(workspace, experiment, probes, args.dry_run || is_refused)?;
        }
    }
    Ok(code)
}

/// A name that no experiment has trains nothing.
fn check_arms(args: &AcceptArgs, experiments: &[Experiment]) -> Result<(), WrongUsage> {
    let has = |name: &str| {
        experiments.iter().any(|experiment| experiment.profile.arms.iter().any(|arm| is_called(arm, name)))
    };
    match args.arms.iter().find(|name| !has(name)) {
        Some(name) => {
            Err(WrongUsage(format!("no experiment has an arm '{name}'; `pinbench list` has their names")))
        }
        None => Ok(()),
    }
}

/// `None` also where it cannot be read, with a warning: it is about to be replaced.
fn stored(workspace: &Workspace, experiment: &Experiment) -> Option<Baseline> {
    workspace.baseline(experiment).unwrap_or_else(|error| {
        warn(&format!("the baseline there was cannot be read, and is replaced: {error}"));
        None
    })
}

/// What its reviewer has set stays.
fn stamp(old: Option<&Baseline>, experiment: &Experiment, trained: &[&Arm]) -> Stamp {
    let is_left = |arm: &&Arm| !trained.iter().any(|other| other.label == arm.label);
    Stamp {
        by_steps_alone: experiment.profile.arms.iter().filter(is_left).map(|arm| arm.label.clone()).collect(),
        accepted: Timestamp::now().to_string(),
        false_alarm_rate: old.map_or(FALSE_ALARM_RATE, |old| old.false_alarm_rate),
        margin: old.map_or(MARGIN, |old| old.margin),
    }
}

/// Says what changes, what it cannot find, and whether it is worse; the latter refuses it unless that is meant.
fn is_refused(
    asked: Asked,
    old: Option<&Baseline>,
    new: &Baseline,
    path: &Path,
    args: &AcceptArgs,
) -> Result<bool> {
    print(&format!("{}:", path.display()))?;
    changes(old, new).iter().try_for_each(|change| print(&format!("  {change}")))?;
    too_blunt(new).iter().for_each(|line| warn(line));
    let Some(old) = old else { return Ok(false) };
    let findings = Findings {
        experiment: asked.experiment,
        named: asked.named,
        profile: asked.profile,
        false_alarm_rate: Some(old.false_alarm_rate),
        all: compare_baselines(old, new),
    };
    let unborne = not_borne_out(old, new);
    let is_worse = findings.exit() == Exit::Regressed || !unborne.is_empty();
    print("against the baseline there is, over the seeds of both:")?;
    print(gate::table(&[findings]).trim_end())?;
    unborne.iter().try_for_each(|line| print(&format!("  {line}")))?;
    if is_worse && !args.worse {
        say(
            "it is worse than the baseline there is, or nothing says that it is not; that one stays: mend it, or say --worse if that is meant",
        );
    }
    Ok(is_worse && !args.worse)
}

/// Two more plans of the same device, threads and file.
fn twins(plan: &PlanAsked) -> Vec<(PlanName, PlanAsked)> {
    let all: &[PlanName] = match plan.base.device {
        Device::Cpu => &[PlanName::Tuned, PlanName::Fused, PlanName::Winograd],
        Device::Cuda(_) => &[PlanName::Eager, PlanName::Tuned, PlanName::Graph],
    };
    let other = |name: PlanName| {
        let threads = Some(plan.base.threads);
        let set = PlanChange { name: Some(name), threads, ..PlanChange::default() };
        (name, PlanAsked { base: Plan::named(name, plan.base.threads, plan.base.device), set })
    };
    all.iter().filter(|name| **name != plan.base.name).take(TWINS).map(|name| other(*name)).collect()
}

fn is_called(arm: &Arm, name: &str) -> bool {
    arm.name.en() == name || arm.label == name
}

fn is_named(arm: &Arm, args: &AcceptArgs) -> bool {
    args.arms.iter().any(|name| is_called(arm, name))
}

/// Those that were asked for, else those of the baseline there is, else all.
fn arms<'a>(args: &AcceptArgs, experiment: &'a Experiment, old: Option<&Baseline>) -> Result<Vec<&'a Arm>> {
    let all = &experiment.profile.arms;
    if !args.arms.is_empty() && !all.iter().any(|arm| is_named(arm, args)) {
        let labels: Vec<&str> = all.iter().map(|arm| arm.name.en()).collect();
        let found = format!(
            "'{}' has none of the arms that --arm names; it has: {}",
            experiment.id,
            labels.join("; ")
        );
        return Err(WrongUsage(found).into());
    }
    let is_wanted = |arm: &&Arm| match (args.arms.is_empty(), old) {
        (false, _) => is_named(arm, args),
        (true, Some(old)) => !old.by_steps_alone.contains(&arm.label),
        (true, None) => true,
    };
    Ok(all.iter().filter(is_wanted).collect())
}

fn interrupted() -> ExitCode {
    say("interrupted: nothing is accepted that was not written yet; the same command starts over");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// Beside it, then moved: a file is never half there.
fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    let draft = path.with_extension("new");
    fs::write(&draft, text).with_context(|| format!("cannot write '{}'", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("cannot write '{}'", path.display()))
}

/// Says what is otherwise than it was, arm by arm, and writes the file.
fn write_probes(
    workspace: &Workspace,
    experiment: &Experiment,
    new: &ProbeFile,
    is_dry_run: bool,
) -> Result<()> {
    let Some(path) = workspace.probes_path(experiment) else { return Ok(()) };
    print(&format!("{}:", path.display()))?;
    let old = workspace.probes(experiment).unwrap_or_else(|error| {
        warn(&format!("the probes there were cannot be read, and are replaced: {error}"));
        None
    });
    probe::changes(old.as_ref(), new).iter().try_for_each(|change| print(&format!("  {change}")))?;
    if is_dry_run { Ok(()) } else { write(&path, &new.to_json()?) }
}

/// Where the baseline is written.
fn place(workspace: &Workspace, experiment: &Experiment) -> Result<PathBuf> {
    let id = &experiment.id;
    if experiment.varied().threads.is_some() {
        return Err(WrongUsage(format!(
            "'{id}' varies `plan.threads`, and a baseline is of one number of threads, which its machine class is told by; \
             accept an experiment whose factors leave it alone"
        ))
        .into());
    }
    let path = workspace.baseline_path(experiment).ok_or_else(|| {
        WrongUsage(format!(
            "'{id}' is built into the program, which cannot be written to, and a baseline lies beside its experiment's file; \
             put {id}.toml into a folder of yours and name it: `pinbench baseline accept FOLDER/{id}.toml{}`",
            experiment.profile.name.option()
        ))
    })?;
    Ok(path)
}
