//! `pinbench list`: every trial and where it stands.

use std::process::ExitCode;

use anyhow::Result;
use pinbench::experiment::{Config, PlanHash, TrialId};
use pinbench::record::{RunId, Standing};
use pinbench::schedule::{Item, items};
use pinbench::stream::Seed;
use serde::Serialize;

use crate::cli::ListArgs;
use crate::cmd::console::{print, print_json, table, warn};
use crate::cmd::{Workspace, sweep};

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
}

pub fn run(workspace: &Workspace, args: &ListArgs) -> Result<ExitCode> {
    let experiments = workspace.experiments(&args.experiments)?;
    let plan = args.plan.plan();
    let (_, class) = workspace.environment(&plan)?;
    let store = workspace.existing_store()?;
    let whole = |store| sweep::whole_runs(store, &experiments, args.profile.name());
    let listing = store.as_ref().map(whole).transpose()?.unwrap_or_default();
    listing.problems.iter().for_each(|problem| warn(&problem.to_string()));
    let hash = plan.hash();
    let holder = |id: &TrialId| store.as_ref().map_or(Ok(None), |store| store.holder(id, &hash));
    let mut found = Vec::new();
    for experiment in &experiments {
        let asked = (experiment, args.profile.name());
        found.extend(items(asked, args.seeds.limit(), (hash, class.as_ref()), &listing.records, holder)?);
    }
    if args.json {
        print_json(&found.iter().map(|item| row(item, hash)).collect::<Vec<_>>())?;
    } else {
        print_table(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row<'a>(item: &'a Item, plan_hash: PlanHash) -> Row<'a> {
    Row {
        experiment: &item.experiment.id,
        profile: item.profile.to_string(),
        arm: &item.arm.label,
        seed: item.trial.seed,
        trial_id: item.id,
        config: &item.trial.config,
        plan_hash,
        status: item.standing.name(),
        run: match &item.standing {
            Standing::Done(record) | Standing::Diverged(record) => Some(&record.run),
            _ => None,
        },
    }
}

fn print_table(found: &[Item]) -> Result<()> {
    let mut rows =
        vec![["experiment", "profile", "trial", "arm", "seed", "status"].map(str::to_owned).to_vec()];
    for item in found {
        rows.push(vec![
            item.experiment.id.clone(),
            item.profile.to_string(),
            item.id.short(),
            item.arm_name(),
            item.trial.seed.to_string(),
            status(&item.standing),
        ]);
    }
    Ok(table(&rows).iter().try_for_each(|line| print(line))?)
}

fn status(standing: &Standing) -> String {
    match standing {
        Standing::Failed { runs, reason } => {
            let first = reason.lines().next().unwrap_or_default();
            format!("failed ×{runs}: {}", first.chars().take(60).collect::<String>())
        }
        Standing::Running(holder) => format!("running: {holder}"),
        other => other.name().to_owned(),
    }
}
