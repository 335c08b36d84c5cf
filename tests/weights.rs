//! What built-in experiments train is what it always was, bit for bit, on a class of machine that is pinned.
//!
//! `tests/data/weights.tsv` was written before networks became data. A class that is not in it pins nothing yet: the test
//! prints the lines to add.

#![cfg(feature = "torch")]

mod common;

use std::collections::BTreeSet;

use common::Workspace;
use serde_json::Value;

const PINNED: &str = include_str!("data/weights.tsv");

/// Trains one trial, and returns its line of the table.
fn line(workspace: &Workspace, [experiment, trial, plan]: [&str; 3]) -> String {
    let experiments = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments");
    let how = ["--profile", "smoke", "--plan", plan, "--threads", "2", "--experiments", experiments];
    let (code, _, err) =
        workspace.run(&[&["run", experiment, "--trial", trial, "--no-diagnostics"][..], &how].concat());
    assert_eq!(code, 0, "{experiment} {trial} {plan}: {err}");
    let listed = workspace.list_with(&[&["list", experiment, "--json"][..], &how].concat());
    let run = listed.iter().find(|listed| listed["trial_id"].as_str().unwrap().starts_with(trial)).unwrap();
    let (_, shown, _) = workspace.run(&["show", run["run"].as_str().unwrap(), "--json"]);
    let record = serde_json::from_str::<Value>(&shown).unwrap()["runs"][0]["record"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (class, weights) = (text(&record["environment_class"]), text(&record["outcome"]["final_weights"]));
    [&class, experiment, trial, plan, &weights].join("\t")
}

#[test]
fn smoke_trials_of_every_built_in_experiment_have_the_weights_they_always_had() {
    let workspace = Workspace::new("");
    let pinned: BTreeSet<&str> = PINNED.lines().filter(|line| !line.starts_with('#')).collect();
    let trials: BTreeSet<[&str; 3]> = pinned
        .iter()
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            [cells[1], cells[2], cells[3]]
        })
        .collect();
    let mut unlike = Vec::new();
    for trial in trials {
        let found = line(&workspace, trial);
        let class = format!("{}\t", found.split('\t').next().unwrap());
        if !pinned.iter().any(|line| line.starts_with(&class)) {
            println!(
                "no weights are pinned for this class; add to tests/data/weights.tsv, from a tree you trust:"
            );
            println!("{found}");
        } else if !pinned.contains(found.as_str()) {
            unlike.push(found);
        }
    }
    assert!(unlike.is_empty(), "not the weights of tests/data/weights.tsv:\n{}", unlike.join("\n"));
}
