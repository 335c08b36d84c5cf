//! `pinbench baseline accept`: what an experiment gives now becomes what is expected of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use pinbench::analyse::gate::{Asked, Stamp, accept, changes};
use pinbench::experiment::Experiment;
use pinbench::experiment::baseline::FALSE_ALARM_RATE;
use pinbench::schedule::EXIT_INTERRUPTED;
use pinbench::stream::Seed;

use crate::cli::AcceptArgs;
use crate::cmd::check::Bench;
use crate::cmd::console::{print, say, warn};
use crate::cmd::{Workspace, WrongUsage};

pub fn run(workspace: &Workspace, args: &AcceptArgs) -> Result<ExitCode> {
    let plan = args.plan.plan();
    let experiments = workspace.experiments(&args.experiments, args.profile.name().as_ref())?;
    let seeds = args.seeds.as_ref().map_or_else(|| (0..8).map(Seed).collect(), |seeds| seeds.0.clone());
    let paths = experiments.iter().map(|experiment| place(workspace, experiment));
    // Before anything is trained.
    let paths = paths.collect::<Result<Vec<PathBuf>>>()?;
    let mut bench = Bench::new(workspace, None)?;
    for (experiment, path) in experiments.iter().zip(&paths) {
        let Some(samples) = bench.samples(experiment, &plan, &seeds)? else {
            say("interrupted: nothing is accepted that was not written yet; the same command starts over");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        let old = workspace.baseline(experiment).unwrap_or_else(|error| {
            warn(&format!("the baseline there was cannot be read, and is replaced: {error}"));
            None
        });
        let stamp = Stamp { accepted: Timestamp::now().to_string(), false_alarm_rate: FALSE_ALARM_RATE };
        let new = accept(&Asked::of(experiment, &workspace.named(experiment)), stamp, &samples)?;
        print(&format!("{}:", path.display()))?;
        changes(old.as_ref(), &new).iter().try_for_each(|change| print(&format!("  {change}")))?;
        if args.dry_run {
            continue;
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
        // Beside it, then moved: a baseline is never half there.
        let draft = path.with_extension("toml.new");
        fs::write(&draft, new.to_toml()).with_context(|| format!("cannot write '{}'", draft.display()))?;
        fs::rename(&draft, path).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
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
