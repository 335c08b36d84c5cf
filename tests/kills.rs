//! A sweep that is killed over and over ends with the same runs as one that never was. Through the program, on real
//! MNIST: each kill hits whatever the sweep and its child are doing.

#![cfg(feature = "torch")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Workspace;
use pinbench::stream::{Key, Seed, Stream};
use serde_json::Value;

const KILLS: u64 = 50;
/// How long a sweep is left alone at most, in runs of this machine.
const LONGEST: f64 = 1.3;

/// Four trials of some seconds, with checkpoints between the epochs.
const EXPERIMENT: &str = r#"
title = "tiny"
why = "long enough to be killed in"
data = { set = "mnist", validation = 0.2, train_limit = 1500, eval_limit = 200 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 5 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 300 }]

[profiles]
smoke = { seeds = [0, 1] }
quick = { seeds = [0] }
full = { seeds = [0] }
"#;

const RUN: [&str; 6] = ["run", "tiny", "--profile", "smoke", "--threads", "1"];

#[test]
fn fifty_kills_at_random_moments_lose_and_change_nothing() {
    let undisturbed = Workspace::new(EXPERIMENT);
    let began = Instant::now();
    assert_eq!(undisturbed.run(&RUN).0, 0);
    let longest = began.elapsed().div_f64(4.0).mul_f64(LONGEST);
    let expected = results(&undisturbed);
    assert_eq!(expected.len(), 4);

    let workspace = Workspace::new(EXPERIMENT);
    // The first is no accident: however fast the machine, one kill hits a run that has a checkpoint.
    kill_when(&workspace, 0, || has_checkpoint(&workspace));
    let mut resumed = 0;
    for kill in 1..KILLS {
        let [wait, whom] = Key::new(Seed(kill), Stream::Order, 0, 0).words::<2>();
        let moment = Instant::now() + Duration::from_micros(wait % longest.as_micros() as u64);
        kill_when(&workspace, whom % 3, || Instant::now() >= moment);
    }
    // Children whose parent alone was killed finish their step and go.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (code, _, err) = workspace.run(&RUN);
        resumed += err.matches("resumed after").count();
        if code == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{err}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let found = results(&workspace);
    assert_eq!(found.len(), 4);
    for (trial, (outcome, resumed_at)) in &found {
        let (undisturbed, never) = &expected[trial];
        assert_eq!(outcome, undisturbed, "trial {trial}");
        resumed += resumed_at.len();
        assert!(never.is_empty());
    }
    assert!(resumed > 0, "no kill ever hit a run that had a checkpoint");
    let (code, out, err) = workspace.run(&["doctor", "--verify", "--clean"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = workspace.run(&["doctor", "--verify"]);
    assert!(!out.contains("damaged") && !out.contains("abandoned"), "{out}");
}

fn has_checkpoint(workspace: &Workspace) -> bool {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    // One folder a shard, in it one a trial, in it one a checkpoint.
    let shards = entries(workspace.path().join("runs/checkpoints"));
    let mut trials = shards.flat_map(|shard| entries(shard.path()));
    trials.any(|trial| entries(trial.path()).any(|kept| kept.path().join("checkpoint.json").is_file()))
}

/// Starts the sweep and, as soon as it is time, kills the parent, the child or both.
fn kill_when(workspace: &Workspace, whom: u64, is_time: impl Fn() -> bool) {
    let mut sweep = workspace.pinbench(&RUN);
    let mut sweep = sweep.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_time() {
        assert!(Instant::now() < deadline, "nothing to kill after two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", sweep.id()));
    let children = children.unwrap_or_default();
    let children: Vec<&str> = children.split_whitespace().collect();
    if whom != 1 || children.is_empty() {
        // It may have ended by itself.
        let _ = sweep.kill();
    }
    if whom != 0 {
        for child in &children {
            Command::new("kill").args(["-9", child]).stderr(Stdio::null()).status().unwrap();
        }
    }
    if whom == 1 && !children.is_empty() {
        // The parent has to survive its child: it records the death and goes on, until it is stopped here.
        std::thread::sleep(Duration::from_millis(300));
        let _ = sweep.kill();
    }
    sweep.wait().unwrap();
}

/// By trial: what a finished run computed, and where it was resumed.
fn results(workspace: &Workspace) -> BTreeMap<String, (Value, Vec<Value>)> {
    let mut results = BTreeMap::new();
    for trial in workspace.list("tiny", "smoke", &["--threads", "1"]) {
        let id = trial["trial_id"].as_str().unwrap();
        let (_, out, err) = workspace.run(&["show", id, "--json"]);
        let shown: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {err}"));
        let runs = shown["runs"].as_array().unwrap();
        let is_finished = |run: &&Value| run["record"]["status"]["state"] == "finished";
        let finished: Vec<&Value> = runs.iter().filter(is_finished).collect();
        assert_eq!(finished.len(), 1, "trial {id}");
        let outcome = &finished[0]["record"]["outcome"];
        let computed = serde_json::json!({
            "weights": outcome["final_weights"], "steps": outcome["steps"],
            "train": finished[0]["final"]["train"], "validation": finished[0]["final"]["validation"],
            "test": finished[0]["final"]["test"],
        });
        let resumed = outcome["resumed"].as_array().cloned().unwrap_or_default();
        results.insert(id.to_owned(), (computed, resumed));
    }
    results
}
