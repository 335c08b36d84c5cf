//! `pinbench show`: one run, every run of a trial, or every run of an experiment.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pinbench::analyse::{Barred, Caveat, Measures, Score};
use pinbench::experiment::{Config, Experiment, ProfileName, Trial, TrialId};
use pinbench::record::{Listing, LoadedRun, Problem, Rows, RunRecord, Status, Store};
use pinbench::text;
use serde::Serialize;
use serde_json::Value;

use crate::cmd::args::{EXIT_FAILURE, ProfileArg, WrongUsage};
use crate::cmd::console::{print, print_json, warn};
use crate::cmd::workspace::{Workspace, is_path};

/// Show one run, or every run of a trial or an experiment: its record and its final numbers
///
/// When a number in a report looks odd and you want to know what exactly ran, where, and what became of it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench show 3f9a21                          every run of a trial
  pinbench show 20260102T030405.678901Z-4242-0  one run
  pinbench show m1 --profile smoke              every run of an experiment

--json prints one object: `runs`, each with its `arm` (null where its experiment
is not here), its `doubts` about times, its `record` and its `final` numbers
(null where there are none), and `problems`, a list of texts.")]
pub(crate) struct ShowArgs {
    /// Id of a run, a trial or an experiment, or the start of one
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Documented in the help of `show`; keys are added, never changed.
#[derive(Serialize)]
struct Shown {
    runs: Vec<ShownRun>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct ShownRun {
    /// `None` where the experiment is not here, or has no such trial any more.
    arm: Option<String>,
    /// Why its times are not to be trusted.
    doubts: Vec<String>,
    record: RunRecord,
    r#final: Final,
}

#[derive(Serialize)]
struct Final {
    train: Option<Score>,
    train_eval: Option<Score>,
    validation: Option<Score>,
    test: Option<Score>,
    /// Of the steps alone, and from the first step to the last evaluation.
    train_minutes: Option<f64>,
    total_minutes: Option<f64>,
    steps: usize,
}

pub(crate) fn run(workspace: &Workspace, args: &ShowArgs) -> Result<ExitCode> {
    let (store, profile) = (workspace.existing_store()?, args.profile.name());
    let unknown = || {
        let store = workspace.store.display();
        WrongUsage(format!(
            "no run or trial with an id that starts with '{}' in '{store}', and no run of an experiment of that name{}; \
             `pinbench list` has the ids",
            args.id,
            profile.as_ref().map(ProfileName::under).unwrap_or_default()
        ))
    };
    let store = store.ok_or_else(unknown)?;
    if is_path(&args.id) {
        // Of a file that was named its mistake is the answer.
        workspace.experiments(std::slice::from_ref(&args.id), profile.as_ref())?;
    }
    let asked = Named::find(workspace, &args.id, profile.as_ref());
    let mut listing = store.records()?;
    // The start of an id may be that of an experiment's name too, which then has no run.
    let of_asked = |asked: &Named| {
        let trials = asked.trials();
        listing.records.iter().any(|record| trials.contains(&record.trial_id))
            || listing.problems.iter().any(|problem| trials.iter().any(|trial| problem.is_of(trial)))
    };
    let asked = asked.filter(of_asked);
    // Of an experiment whose file is elsewhere, its runs know the name.
    let is_of = |record: &RunRecord| {
        record.experiment == args.id && profile.as_ref().is_none_or(|profile| profile.0 == record.profile)
    };
    let (records, mut problems) = match &asked {
        Some(asked) => of_trials(listing, &asked.trials()),
        None if listing.records.iter().any(is_of) => {
            listing.records.retain(is_of);
            (listing.records, Vec::new())
        }
        None => matching(listing, &args.id)?,
    };
    if records.is_empty() && problems.is_empty() {
        return Err(unknown().into());
    }
    let mut runs = Vec::new();
    for record in records {
        let own =
            || Named::find(workspace, &record.experiment, Some(&ProfileName::from(record.profile.as_str())));
        let arm = match &asked {
            Some(asked) => asked.arm(&record),
            None => own().and_then(|own| own.arm(&record)),
        };
        runs.push(load(&store, record, arm, &mut problems));
    }
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) };
    let shown = Shown { runs, problems };
    if args.json {
        print_json(&shown)?;
    } else {
        print_all(&shown)?;
    }
    Ok(code)
}

/// An experiment that runs are of.
struct Named {
    experiment: Experiment,
}

impl Named {
    /// `None` where the id is of no experiment here.
    fn find(workspace: &Workspace, id: &str, profile: Option<&ProfileName>) -> Option<Self> {
        let experiments = workspace.experiments(&[id.to_owned()], profile).ok()?;
        Some(Self { experiment: experiments.into_iter().next()? })
    }

    fn trials(&self) -> Vec<TrialId> {
        self.experiment.profile.trials().map(|(_, trial)| trial.id()).collect()
    }

    /// Name of the arm that the run is of.
    fn arm(&self, record: &RunRecord) -> Option<String> {
        let profile = &self.experiment.profile;
        let is_of = |(arm, trial): &(usize, Trial)| {
            trial.id() == record.trial_id && profile.arms[*arm].is_under(&record.plan)
        };
        let (arm, _) = profile.trials().find(is_of)?;
        Some(profile.arms[arm].name.to_string())
    }
}

/// Every run of these trials.
fn of_trials(listing: Listing, trials: &[TrialId]) -> (Vec<RunRecord>, Vec<Problem>) {
    let Listing { mut records, mut problems } = listing;
    records.retain(|record| trials.contains(&record.trial_id));
    problems.retain(|problem| {
        let is_of = |trial: &TrialId| problem.folder.iter().any(|part| part == trial.short().as_str());
        trials.iter().any(is_of)
    });
    (records, problems)
}

fn matching(listing: Listing, id: &str) -> Result<(Vec<RunRecord>, Vec<Problem>)> {
    let Listing { records, problems } = listing;
    let is_named =
        |record: &RunRecord| record.run.0.starts_with(id) || record.trial_id.to_string().starts_with(id);
    let records: Vec<RunRecord> = records.into_iter().filter(is_named).collect();
    if let Some(other) = records.iter().find(|record| record.trial_id != records[0].trial_id) {
        let trials = [records[0].trial_id.short(), other.trial_id.short()];
        let text = format!(
            "'{id}' is the start of several ids, of trials {} among others; give more of it",
            trials.join(" and ")
        );
        return Err(WrongUsage(text).into());
    }
    // A damaged run is known by its folder alone, which has the first 12 digits of the trial.
    let start: String = if id.len() == 64 { id.chars().take(12).collect() } else { id.to_owned() };
    let is_of = |problem: &Problem| {
        problem.folder.iter().rev().take(2).any(|part| part.to_string_lossy().starts_with(&start))
    };
    Ok((records, problems.into_iter().filter(is_of).collect()))
}

/// The record as it is, and the numbers of its rows where they can be read.
fn load(store: &Store, record: RunRecord, arm: Option<String>, problems: &mut Vec<Problem>) -> ShownRun {
    let run = store.load(&record).unwrap_or_else(|problem| {
        problems.push(problem);
        LoadedRun::new(record.clone(), Rows::default())
    });
    let measures = Measures::of(&run);
    let seeds = vec![record.trial.seed];
    let beside = (record.beside > 0).then_some(Barred::SideBySide);
    let mut doubts: Vec<Caveat> = beside.map(|why| Caveat::Untimed { seeds, why }).into_iter().collect();
    doubts.extend(Caveat::of_disturbance(&arm.as_deref().unwrap_or(&record.experiment).into(), &run));
    ShownRun {
        arm,
        doubts: doubts.iter().map(ToString::to_string).collect(),
        r#final: Final {
            train: measures.train,
            train_eval: measures.train_eval,
            validation: measures.validation,
            test: measures.test,
            train_minutes: measures.train_minutes,
            total_minutes: measures.total_minutes,
            steps: run.steps.len(),
        },
        record,
    }
}

fn print_all(shown: &Shown) -> Result<()> {
    for (index, run) in shown.runs.iter().enumerate() {
        if index > 0 {
            print("")?;
        }
        for (name, value) in facts(run).into_iter().chain(numbers(run)) {
            print(&format!("{name:<18}{value}"))?;
        }
    }
    shown.problems.iter().for_each(|problem| warn(problem));
    Ok(())
}

type Fact = (&'static str, String);

fn facts(run: &ShownRun) -> Vec<Fact> {
    let record = &run.record;
    let environment = &record.environment;
    let status = match &record.status {
        Status::Finished => "finished".to_owned(),
        Status::Diverged { step, loss } => format!("diverged: the loss of step {step} was {loss}"),
        Status::Failed { reason } => format!("failed: {reason}"),
    };
    let unknown = || {
        let id = &record.experiment;
        format!(
            "unknown: no experiment '{id}' is known here that has this trial; `pinbench show FILE` names its file"
        )
    };
    let profile = match record.profile.as_str() {
        "" => String::new(),
        profile => format!(", profile {profile}"),
    };
    let mut facts = vec![
        ("run", record.run.to_string()),
        ("status", status),
        ("experiment", format!("{}{profile}", record.experiment)),
        ("trial", format!("{}, seed {}", record.trial_id, record.trial.seed)),
        ("arm", run.arm.clone().unwrap_or_else(unknown)),
    ];
    let names = std::iter::once("config").chain(std::iter::repeat(""));
    facts.extend(names.zip(config(&record.trial.config)));
    let plan = serde_json::to_value(&record.plan).unwrap_or_default();
    facts.extend([
        ("plan", format!("{} ({})", values(&plan, "").join(", "), record.plan_hash.short())),
        ("machine", record.environment_class.to_string()),
        ("kernel", format!("{}, {}", environment.kernel, environment.os)),
        ("git revision", environment.git.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("started", record.started.clone()),
        ("ended", record.ended.clone()),
        ("command", record.command.clone()),
    ]);
    facts
}

/// A line for each section: `optim: name adam, lr 0.001, …`.
fn config(config: &Config) -> Vec<String> {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let line = |(section, value): (&String, &Value)| {
        let mut values = values(value, "");
        values.retain(|value| {
            let key = value.split(' ').next().unwrap_or_default();
            !config.optim.idle_keys().contains(&format!("{section}.{key}").as_str())
        });
        format!("{section}: {}", values.join(", "))
    };
    tree.as_object().into_iter().flatten().map(line).collect()
}

/// `key value` of each value that is there, those of inner tables under dotted keys.
fn values(tree: &Value, start: &str) -> Vec<String> {
    let value = |(key, value): (&String, &Value)| match value {
        Value::Null => Vec::new(),
        Value::Object(_) => values(value, &format!("{start}{key}.")),
        Value::String(text) => vec![format!("{start}{key} {text}")],
        other => vec![format!("{start}{key} {other}")],
    };
    tree.as_object().into_iter().flatten().flat_map(value).collect()
}

fn numbers(run: &ShownRun) -> Vec<Fact> {
    let last = &run.r#final;
    let mut facts = vec![("steps", text::count(last.steps as u64))];
    for (name, score) in [
        ("train", &last.train),
        ("train, eval mode", &last.train_eval),
        ("validation", &last.validation),
        ("test", &last.test),
    ] {
        if let Some(Score { loss, accuracy }) = score {
            let value = format!("loss {}, accuracy {}", text::fixed(*loss, 4), text::fixed(*accuracy, 4));
            facts.push((name, value));
        }
    }
    if let Some(outcome) = &run.record.outcome {
        facts.push(("training time", text::nanoseconds(outcome.train_ns)));
        facts.push(("evaluation time", text::nanoseconds(outcome.evaluate_ns)));
        if let Some(seconds) = outcome.others_cpu_s {
            let others = text::duration(std::time::Duration::from_secs_f64(seconds));
            facts.push(("others meanwhile", format!("{others} of processor time")));
        }
        if let Some(share) = outcome.steal_share {
            facts.push(("stolen by host", format!("{} % of processor time", text::fixed(share * 100.0, 1))));
        }
        facts.push(("peak memory", text::bytes(outcome.peak_rss_bytes)));
        facts.push(("first weights", outcome.initial_weights.to_string()));
        facts.push(("final weights", outcome.final_weights.to_string()));
    }
    facts.extend(run.doubts.iter().map(|doubt| ("doubtful", doubt.clone())));
    facts
}
