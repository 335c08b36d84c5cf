//! Whole trainings through the program, on real MNIST. libtorch's state belongs to a process, so each is a child.

#![cfg(feature = "torch")]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "the smallest training that uses every part"
data = { set = "mnist", validation = 0.2, train_limit = 1000, eval_limit = 500 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 2 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 300 }]

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0, 1], set = { "optim.lr" = 1e30 } }
last = { seeds = [0], set = { "data.train_limit" = 300, "train.epochs" = 1, "optim.lr" = 1e38 } }
full = { seeds = [0], set = { "train.epochs" = 500 } }
"#;

#[test]
fn the_same_trial_gives_the_same_weights_in_two_processes() {
    let digests: Vec<(Value, Value, Value)> = (0..2)
        .map(|_| {
            let workspace = Workspace::new(EXPERIMENT);
            let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke", "--threads", "2"]);
            assert_eq!(code, 0, "{err}");
            let record = workspace.record("smoke", &[]);
            let outcome = &record["outcome"];
            let initial = outcome["initial_weights"].clone();
            (record["trial_id"].clone(), initial, outcome["final_weights"].clone())
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0].1, digests[0].2, "training moved no weight");
    assert_eq!(digests[0].2.as_str().unwrap().len(), 64);
}

#[test]
fn diagnostics_change_no_bit_of_the_weights() {
    let digest = |more: &[&str]| {
        let workspace = Workspace::new(EXPERIMENT);
        let mut arguments = vec!["run", "tiny", "--profile", "smoke", "--threads", "1"];
        arguments.extend(more);
        let (code, _, err) = workspace.run(&arguments);
        assert_eq!(code, 0, "{err}");
        let trial =
            workspace.list("tiny", "smoke", &["--threads", "1"])[0]["run"].as_str().unwrap().to_owned();
        let (_, out, _) = workspace.run(&["show", &trial, "--json"]);
        let outcome = serde_json::from_str::<Value>(&out).unwrap()["runs"][0]["record"]["outcome"].clone();
        (outcome["final_weights"].clone(), outcome["diagnose_ns"].as_u64().unwrap())
    };
    let (with, without) = (digest(&[]), digest(&["--no-diagnostics"]));
    assert_eq!(with.0, without.0);
    assert!(with.1 > 0 && without.1 == 0);
}

/// One-hot labels and those smoothed by 0.1, and a gradient that is cut to next to nothing, each through a whole training.
const SMOOTHED: &str = r#"
title = "tiny"
why = "what a step does beside the network"
data = { set = "mnist", validation = 0.2, train_limit = 1000, eval_limit = 500 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.0 }
optim = { name = "sgd", lr = 0.1 }
train = { batch = 64, epochs = 4 }

[[factors]]
label = "arm"
levels = [
    { label = "plain", set = { "train.epochs" = 4 } },
    { label = "smoothed", set = { "train.label_smoothing" = 0.1 } },
    { label = "clipped", set = { "optim.clip" = 1e-6 } },
]

[profiles.smoke]
seeds = [0]
"#;

#[test]
fn smoothed_labels_and_a_clipped_gradient_hold_through_whole_trainings() {
    let trained = || {
        let workspace = Workspace::new(SMOOTHED);
        let (code, _, err) = workspace.run(&["run", "tiny", "--threads", "2", "--quiet"]);
        assert_eq!(code, 0, "{err}");
        let (code, _, err) = workspace.run(&["export", "tiny", "--json", "--out", "out"]);
        assert_eq!(code, 0, "{err}");
        let runs = std::fs::read(workspace.path().join("out/runs.json")).unwrap();
        serde_json::from_slice::<Vec<Value>>(&runs).unwrap()
    };
    let runs = trained();
    let of = |name: &str| runs.iter().find(|run| run["arm"] == format!("arm {name}")).unwrap();
    let losses = |name: &str, split: &str| -> Vec<f64> {
        let epochs = of(name)["epochs"].as_array().unwrap();
        let of_split = epochs.iter().filter(|epoch| epoch["split"] == split);
        of_split.map(|epoch| epoch["loss"].as_f64().unwrap()).collect()
    };
    // No answer is closer to a label of 0.91 and nine of 0.01 than that label itself, whose entropy is 0.5003 nats. What is
    // evaluated are the labels as they are.
    let entropy = -(0.91 * f64::ln(0.91) + 9.0 * 0.01 * f64::ln(0.01));
    let smoothed = losses("smoothed", "train");
    assert!(smoothed.iter().all(|loss| *loss > entropy) && smoothed[3] < 1.2, "{smoothed:?}");
    let (plain, evaluated) = (losses("plain", "train"), losses("smoothed", "validation"));
    assert!(plain[3] < 1.2 && evaluated[3] < entropy, "{plain:?} {evaluated:?}");
    // 64 steps of a ten millionth each go nowhere.
    let clipped = losses("clipped", "train");
    assert!(clipped[3] > 2.0 && (clipped[3] - clipped[0]).abs() < 0.1, "{clipped:?}");
    let weights =
        |runs: &[Value]| -> Vec<Value> { runs.iter().map(|run| run["final_weights"].clone()).collect() };
    assert_eq!(weights(&runs), weights(&trained()), "not the same bits twice");
}

#[test]
fn trials_at_once_have_the_weights_of_each_alone_on_one_thread_and_no_times() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    assert!(
        cores >= 2,
        "two trials at once are refused on one core: leave this out there with `-- --skip trials_at_once`"
    );
    let workspace = Workspace::new(EXPERIMENT);
    let weights = |how: &[&str]| {
        let (code, out, err) =
            workspace.run(&[&["reproduce", "tiny", "--profile", "smoke"][..], how].concat());
        assert_eq!(code, 0, "{err}");
        let weights: Vec<Value> = workspace
            .list("tiny", "smoke", how)
            .iter()
            .map(|trial| {
                let (_, shown, _) = workspace.run(&["show", trial["run"].as_str().unwrap(), "--json"]);
                let shown: Value = serde_json::from_str(&shown).unwrap();
                shown["runs"][0]["record"]["outcome"]["final_weights"].clone()
            })
            .collect();
        let page = workspace.path().join(out.lines().next().unwrap());
        (weights, err, std::fs::read_to_string(page).unwrap())
    };
    let (beside, said, page) = weights(&["--jobs", "2"]);
    // Their results are there, and their times are not: without the others they are due again.
    let (alone, again, _) = weights(&["--threads", "1"]);
    assert!(again.contains("2 due"), "{again}");
    assert_eq!(alone.len(), 2);
    assert!(alone.iter().all(Value::is_string), "{alone:?}");
    assert_eq!(beside, alone);
    assert!(said.contains("2 at a time, one thread each; times are not measured"), "{said}");
    for run in 1..=2 {
        assert!(said.contains(&format!("\n[{run}/2] finished in ")), "{said}");
    }
    assert!(
        page.contains("trained side by side") && page.contains("smoke --plan winograd --jobs 2"),
        "{page}"
    );
}

#[test]
fn a_finished_trial_is_skipped_and_its_report_is_made_again() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, out, err) = workspace.run(&["reproduce", "tiny", "--profile", "smoke"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("2 due"), "{err}");
    let page = workspace.path().join(out.lines().next().unwrap());
    assert!(out.lines().nth(1).is_some_and(|line| line.ends_with("reports/index.html")), "{out}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("<svg"));
    assert!(workspace.list("tiny", "smoke", &[]).iter().all(|trial| trial["status"] == "done"));
    let (code, again, err) = workspace.run(&["reproduce", "tiny", "--profile", "smoke"]);
    assert_eq!((code, &again), (0, &out), "{err}");
    assert!(err.contains("2 of 2 trials done"), "{err}");
}

#[test]
fn a_killed_run_leaves_nothing_that_reads_as_finished() {
    let workspace = Workspace::new(EXPERIMENT);
    let mut sweep = workspace.pinbench(&["run", "tiny", "--profile", "full"]);
    let mut sweep = sweep.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let staging = workspace.path().join("runs/staging");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_dir(&staging).map_or(0, |entries| entries.count()) == 0 {
        assert!(Instant::now() < deadline, "no run began");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Both, so that the child does not outlive the test.
    let children = format!("/proc/{0}/task/{0}/children", sweep.id());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    for child in children.split_whitespace() {
        Command::new("kill").args(["-9", child]).status().unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(workspace.list("tiny", "full", &[]).iter().all(|trial| trial["status"] == "missing"));
    let (_, out, err) = workspace.run(&["doctor"]);
    assert!(format!("{out}{err}").contains("abandoned"), "{out}{err}");
}

#[test]
fn a_loss_that_is_not_finite_is_a_diverged_run_with_its_step() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, out, err) = workspace.run(&["reproduce", "tiny", "--profile", "quick"]);
    assert_eq!(code, 1, "{err}");
    let trials = workspace.list("tiny", "quick", &[]);
    assert!(trials.iter().all(|trial| trial["status"] == "diverged"), "{trials:?}");
    let page = std::fs::read_to_string(workspace.path().join(out.lines().next().unwrap())).unwrap();
    assert!(page.contains("diverged"));
    // A diverged run is a result: it is not run again.
    let (_, _, err) = workspace.run(&["run", "tiny", "--profile", "quick"]);
    assert!(err.contains("0 due") && err.contains("not run again"), "{err}");
    // What the last update broke no step's loss shows, which is that before its update.
    let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "last"]);
    assert_eq!(code, 1, "{err}");
    let trials = workspace.list("tiny", "last", &[]);
    assert!(trials.iter().all(|trial| trial["status"] == "diverged"), "{trials:?}");
}

#[test]
fn a_child_that_is_started_without_the_environment_of_its_plan_says_which_variable() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke"]);
    assert_eq!(code, 0, "{err}");
    let record = workspace.record("smoke", &[]);
    let job = serde_json::json!({
        "experiment": "tiny", "profile": "smoke", "trial": record["trial"], "plan": record["plan"],
        "store": "other", "data": "nowhere", "workspace": ".", "task": { "task": "train", "fault": null }, "command": "",
    });
    let mut child = workspace.pinbench(&["train"]);
    child.env_remove("MALLOC_MMAP_MAX_").stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &job).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("MALLOC_MMAP_MAX_") && text.contains("pinbench run"), "{text}");
    assert!(!workspace.path().join("other").exists());
}

#[test]
fn the_tuned_and_the_eager_plan_start_from_the_same_weights_and_are_told_apart() {
    let workspace = Workspace::new(EXPERIMENT);
    let records: Vec<Value> = ["eager", "tuned"]
        .map(|plan| {
            let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke", "--plan", plan]);
            assert_eq!(code, 0, "{err}");
            workspace.record("smoke", &["--plan", plan])
        })
        .into();
    assert_eq!(records[0]["trial_id"], records[1]["trial_id"]);
    assert_ne!(records[0]["plan_hash"], records[1]["plan_hash"]);
    assert_eq!(records[0]["outcome"]["initial_weights"], records[1]["outcome"]["initial_weights"]);
}

/// The first signal finishes the step and keeps a checkpoint; the same command goes on from there.
#[test]
fn an_interrupted_run_goes_on_where_it_stopped_and_verifies_as_the_same() {
    let workspace = Workspace::new(&EXPERIMENT.replace("500", "12"));
    let arguments = ["run", "tiny", "--profile", "full", "--threads", "1"];
    let mut sweep = workspace.pinbench(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoints = workspace.path().join("runs/checkpoints");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !checkpoints.exists() {
        assert!(Instant::now() < deadline, "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-TERM", &sweep.id().to_string()]).status().unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(130));
    let (code, _, err) = workspace.run(&arguments);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("resumed after"), "{err}");
    let record = workspace.record("full", &["--threads", "1"]);
    let resumed = record["outcome"]["resumed"][0].as_u64().unwrap();
    assert!(resumed > 0 && resumed < 12 * 16, "{resumed}");
    assert_eq!(record["outcome"]["steps"], 12 * 16);
    // Nothing is left of it.
    let entries = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    // A folder a shard, in it one a trial.
    let trials: Vec<_> = entries(&checkpoints).iter().flat_map(|shard| entries(shard)).collect();
    assert!(trials.iter().all(|trial| entries(trial).is_empty()), "{trials:?}");
    // A replay that is never stopped has the same bits.
    let run = record["run"].as_str().unwrap();
    let (code, out, err) = workspace.run(&["verify", run, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let verified: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(verified[0]["comparison"]["grade"], "identical", "{out}");
    assert_eq!(verified[0]["comparison"]["expected"], "identical");
}

#[test]
fn two_runs_under_two_plans_are_compared_and_what_differs_is_named() {
    let workspace = Workspace::new(EXPERIMENT);
    for plan in ["eager", "tuned"] {
        let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke", "--plan", plan]);
        assert_eq!(code, 0, "{err}");
    }
    let runs = ["eager", "tuned"]
        .map(|plan| workspace.record("smoke", &["--plan", plan])["run"].as_str().unwrap().to_owned());
    let (code, out, err) = workspace.run(&["diff", &runs[0], &runs[1], "--json"]);
    let compared: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {err}"));
    assert_eq!(compared["expected"], "equivalent");
    let grade = compared["grade"].as_str().unwrap();
    assert!(["identical", "ulps", "equivalent"].contains(&grade), "{out}");
    assert_eq!(code, i32::from(grade != "identical"), "{out}");
    let changes = compared["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["what"] == "plan.name"), "{out}");
}
