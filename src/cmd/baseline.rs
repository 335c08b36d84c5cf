//! `pinbench baseline accept`: what an experiment gives now becomes what is expected of it.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use pinbench::analyse::gate::{Asked, Stamp, accept, changes};
use pinbench::experiment::baseline::{self, Baseline, FALSE_ALARM_RATE};
use pinbench::schedule::EXIT_INTERRUPTED;
use pinbench::stream::Seed;

use crate::cli::AcceptArgs;
use crate::cmd::Workspace;
use crate::cmd::check::Bench;
use crate::cmd::console::{print, say, warn};

pub fn run(workspace: &Workspace, args: &AcceptArgs) -> Result<ExitCode> {
    let experiments = workspace.experiments(&args.experiments)?;
    let (profile, plan) = (args.profile.name(), args.plan.plan());
    let seeds = args.seeds.as_ref().map_or_else(|| (0..8).map(Seed).collect(), |seeds| seeds.0.clone());
    let mut bench = Bench::new(workspace, None)?;
    for experiment in &experiments {
        let Some(samples) = bench.samples(experiment, profile, &plan, &seeds)? else {
            say("interrupted: nothing is accepted that was not written yet; the same command starts over");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        let path = workspace.baselines().join(baseline::file_name(&experiment.id, profile));
        let old = Baseline::load(&path).unwrap_or_else(|error| {
            warn(&format!("the baseline there was cannot be read, and is replaced: {error}"));
            None
        });
        let stamp = Stamp { accepted: Timestamp::now().to_string(), false_alarm_rate: FALSE_ALARM_RATE };
        let new = accept(&Asked::of(experiment, profile), stamp, &samples)?;
        print(&format!("{}:", path.display()))?;
        changes(old.as_ref(), &new).iter().try_for_each(|change| print(&format!("  {change}")))?;
        if args.dry_run {
            continue;
        }
        fs::create_dir_all(workspace.baselines())
            .with_context(|| format!("cannot create '{}'", workspace.baselines().display()))?;
        // Beside it, then moved: a baseline is never half there.
        let draft = path.with_extension("toml.new");
        fs::write(&draft, new.to_toml()).with_context(|| format!("cannot write '{}'", draft.display()))?;
        fs::rename(&draft, &path).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
