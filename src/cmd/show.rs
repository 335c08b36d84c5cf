//! `pinbench show`: one run, or every run of a trial.

use std::process::ExitCode;

use anyhow::Result;
use pinbench::analyse::{Measures, Score};
use pinbench::record::{Listing, LoadedRun, Problem, Rows, RunRecord, Status, Store};
use pinbench::text;
use serde::Serialize;

use crate::cli::ShowArgs;
use crate::cmd::console::{print, print_json, warn};
use crate::cmd::{EXIT_FAILURE, Workspace, WrongUsage};

/// Documented in the help of `show`; keys are added, never changed.
#[derive(Serialize)]
struct Shown {
    runs: Vec<ShownRun>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct ShownRun {
    record: RunRecord,
    r#final: Final,
}

#[derive(Serialize)]
struct Final {
    train: Option<ShownScore>,
    train_eval: Option<ShownScore>,
    validation: Option<ShownScore>,
    test: Option<ShownScore>,
    /// Of the steps alone, and from the first step to the last evaluation.
    train_minutes: Option<f64>,
    total_minutes: Option<f64>,
    steps: usize,
}

#[derive(Serialize)]
struct ShownScore {
    #[serde(serialize_with = "pinbench::number::serialize")]
    loss: f64,
    #[serde(serialize_with = "pinbench::number::serialize")]
    accuracy: f64,
}

pub fn run(workspace: &Workspace, args: &ShowArgs) -> Result<ExitCode> {
    let store = workspace.existing_store()?;
    let unknown = || {
        let store = workspace.store.display();
        WrongUsage(format!(
            "no run or trial with an id that starts with '{}' in '{store}'; `pinbench list` has the ids",
            args.id
        ))
    };
    let store = store.ok_or_else(unknown)?;
    let (records, mut problems) = matching(store.records()?, &args.id)?;
    if records.is_empty() && problems.is_empty() {
        return Err(unknown().into());
    }
    let mut runs = Vec::new();
    for record in records {
        runs.push(load(&store, record, &mut problems));
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
fn load(store: &Store, record: RunRecord, problems: &mut Vec<Problem>) -> ShownRun {
    let run = store.load(&record).unwrap_or_else(|problem| {
        problems.push(problem);
        LoadedRun::new(record.clone(), Rows::default())
    });
    let measures = Measures::of(&run);
    let score = |score: Option<Score>| score.map(|Score { loss, accuracy }| ShownScore { loss, accuracy });
    ShownRun {
        r#final: Final {
            train: score(measures.train),
            train_eval: score(measures.train_eval),
            validation: score(measures.validation),
            test: score(measures.test),
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
        for (name, value) in facts(&run.record).into_iter().chain(numbers(run)) {
            print(&format!("{name:<18}{value}"))?;
        }
    }
    shown.problems.iter().for_each(|problem| warn(problem));
    Ok(())
}

type Fact = (&'static str, String);

fn facts(record: &RunRecord) -> Vec<Fact> {
    let environment = &record.environment;
    let status = match &record.status {
        Status::Finished => "finished".to_owned(),
        Status::Diverged { step, loss } => format!("diverged: the loss of step {step} was {loss}"),
        Status::Failed { reason } => format!("failed: {reason}"),
    };
    vec![
        ("run", record.run.to_string()),
        ("status", status),
        ("experiment", format!("{}, profile {}", record.experiment, record.profile)),
        ("trial", format!("{}, seed {}", record.trial_id, record.trial.seed)),
        ("config", serde_json::to_string(&record.trial.config).unwrap_or_default()),
        (
            "plan",
            format!(
                "{} ({})",
                serde_json::to_string(&record.plan).unwrap_or_default(),
                record.plan_hash.short()
            ),
        ),
        ("machine", record.environment_class.to_string()),
        ("kernel", format!("{}, {}", environment.kernel, environment.os)),
        ("git revision", environment.git.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("started", record.started.clone()),
        ("ended", record.ended.clone()),
        ("command", record.command.clone()),
    ]
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
        if let Some(ShownScore { loss, accuracy }) = score {
            let value = format!("loss {}, accuracy {}", text::fixed(*loss, 4), text::fixed(*accuracy, 4));
            facts.push((name, value));
        }
    }
    if let Some(outcome) = &run.record.outcome {
        facts.push(("training time", text::nanoseconds(outcome.train_ns)));
        facts.push(("evaluation time", text::nanoseconds(outcome.evaluate_ns)));
        facts.push(("peak memory", text::bytes(outcome.peak_rss_bytes)));
        facts.push(("first weights", outcome.initial_weights.to_string()));
        facts.push(("final weights", outcome.final_weights.to_string()));
    }
    facts
}
