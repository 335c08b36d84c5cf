//! A manifest from its freezing to the runs it comes to, and stores that come together, through the program and on real MNIST.
#![cfg(feature = "torch")]

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "tasks of a moment, and one that is long enough to be stopped"
data = { set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 128 }]

[profiles]
smoke = { seeds = [0, 1] }
full = { seeds = [0], set = { "data.train_limit" = 6000, "train.epochs" = 4 } }
"#;

/// Freezes the profile into `m.json`.
fn freeze(workspace: &Workspace, profile: &str) {
    let (code, out, err) =
        workspace.run(&["manifest", "tiny", "--profile", profile, "--no-diagnostics", "--quiet"]);
    assert_eq!(code, 0, "{err}");
    fs::write(workspace.path().join("m.json"), out).unwrap();
}

fn missing(workspace: &Workspace, more: &[&str]) -> String {
    let (code, out, err) = workspace.run(&[&["manifest", "m.json", "--missing", "--quiet"], more].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    out
}

fn records(workspace: &Workspace, store: &str) -> Vec<Value> {
    let (code, out, err) = workspace.run(&["show", "tiny", "--profile", "smoke", "--json", "--store", store]);
    assert_eq!(code, 0, "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    shown["runs"].as_array().unwrap().iter().map(|run| run["record"].clone()).collect()
}

#[test]
fn an_index_is_run_once_beside_others_and_what_is_missing_shrinks_by_it() {
    let workspace = Workspace::new(EXPERIMENT);
    freeze(&workspace, "smoke");
    assert_eq!(missing(&workspace, &[]), "0-3\n");
    let (code, _, err) = workspace.run(&["run", "--manifest", "m.json", "--index", "1"]);
    assert!(code == 0 && err.contains("index 1: batch 128, seed 0") && err.contains("finished"), "{err}");
    assert_eq!(missing(&workspace, &[]), "0,2-3\n");
    assert_eq!(missing(&workspace, &["--max-array", "2"]), "0\n0-1 2\n");
    let (code, _, err) = workspace.run(&["run", "--manifest", "m.json", "--index", "1"]);
    assert!(code == 0 && err.contains("finished already"), "{err}");
    let records = records(&workspace, "runs");
    assert_eq!(records.len(), 1);
    assert!(records[0]["beside"].as_u64() >= Some(1), "its times are nobody's");
    assert!(records[0]["environment"]["host"].is_string() && records[0]["plan"]["threads"] == 1);
    let command = records[0]["command"].as_str().unwrap();
    assert!(
        command.starts_with("pinbench run tiny --profile smoke") && command.contains("--trial"),
        "{command}"
    );
    // A sweep of results takes it for done, one of times does not.
    let due = |more: &[&str]| {
        let rows = workspace.list("tiny", "smoke", more);
        rows.iter().filter(|row| row["status"] == "missing").count()
    };
    assert_eq!((due(&["--jobs", "2"]), due(&["--threads", "1"])), (3, 4));
    let last_line = |more: &[&str]| {
        let (_, out, _) = workspace.run(&[&["list", "tiny", "--profile", "smoke"], more].concat());
        out.lines().last().unwrap_or_default().to_owned()
    };
    assert!(!last_line(&["--jobs", "2"]).contains("another plan"));
    let asked_otherwise = last_line(&["--threads", "2"]);
    assert!(asked_otherwise.contains("1 of them done under another plan"), "{asked_otherwise}");
    assert!(last_line(&["--threads", "1"]).contains("1 of them done under"), "it was beside others");
}

#[test]
fn a_manifest_is_refused_when_it_was_touched_and_an_index_when_there_is_none_or_its_data_are_gone() {
    let workspace = Workspace::new(EXPERIMENT);
    freeze(&workspace, "smoke");
    let (code, _, err) = workspace.run(&["run", "--manifest", "m.json", "--index", "4"]);
    assert!(code == 2 && err.contains("no index 4: it has 4, from 0"), "{err}");
    let mut task = workspace.pinbench(&["run", "--manifest", "m.json", "--index", "0"]);
    let nowhere = task.env("PINBENCH_DATA", workspace.path().join("nowhere")).output().unwrap();
    let err = String::from_utf8(nowhere.stderr).unwrap();
    assert!(nowhere.status.code() == Some(1) && err.contains("a task fetches nothing"), "{err}");
    let path = workspace.path().join("m.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"seed\": 1", "\"seed\": 7");
    fs::write(&path, text).unwrap();
    let (code, _, err) = workspace.run(&["run", "--manifest", "m.json", "--index", "0"]);
    assert!(code == 2 && err.contains("was changed since it was made"), "{err}");
    let (code, _, err) = workspace.run(&["run", "m1", "--manifest", "m.json", "--index", "0"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
    freeze(&workspace, "smoke");
    let (code, _, err) = workspace.run(&["manifest", "m.json", "--print", "parallel", "--time", "60"]);
    assert!(code == 2 && err.contains("--time is for Slurm"), "{err}");
    // Runs of other machines are done, unless one class alone is asked for.
    assert_eq!(missing(&workspace, &["--class", "no such processor"]), "0-3\n");
}

/// Slurm tells the batch script, then every process of a job, and says it again: a second SIGTERM once ended a child without
/// a checkpoint.
#[test]
fn a_notice_keeps_what_there_is_and_the_same_index_goes_on_to_the_same_weights() {
    let undisturbed = Workspace::new(EXPERIMENT);
    freeze(&undisturbed, "full");
    assert_eq!(undisturbed.run(&["run", "--manifest", "m.json", "--index", "0"]).0, 0);
    let workspace = Workspace::new(EXPERIMENT);
    freeze(&workspace, "full");
    let mut task = begin(&workspace);
    signal(&task, "USR1");
    for child in children(&task).split_whitespace() {
        let both = format!("kill -TERM {child} {}; kill -TERM {child}", task.id());
        Command::new("sh").args(["-c", &both]).stderr(Stdio::null()).status().unwrap();
    }
    assert_eq!(ended(&mut task), Some(85));
    assert_eq!(missing(&workspace, &[]), "0-1\n");
    let (code, _, err) = workspace.run(&["run", "--manifest", "m.json", "--index", "0"]);
    assert!(code == 0 && err.contains("resumed after"), "{err}");
    let weights = |workspace: &Workspace| {
        let (_, out, _) = workspace.run(&["show", "tiny", "--profile", "full", "--json"]);
        let shown: Value = serde_json::from_str(&out).unwrap();
        shown["runs"][0]["record"]["outcome"]["final_weights"].clone()
    };
    assert!(weights(&workspace).is_string());
    assert_eq!(weights(&workspace), weights(&undisturbed));
}

/// The end of a job is read from the clock: no signal came.
#[test]
fn a_task_stops_by_itself_before_its_job_ends() {
    let workspace = Workspace::new(EXPERIMENT);
    freeze(&workspace, "full");
    let end = jiff::Timestamp::now().as_second() + 3;
    let mut task = workspace.pinbench(&["run", "--manifest", "m.json", "--index", "0"]);
    let output = task.env("SLURM_JOB_END_TIME", end.to_string()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(85), "{err}");
    assert!(err.contains("left to this job; what is done is kept"), "{err}");
}

#[test]
fn stores_of_two_machines_come_together_and_a_result_that_was_changed_is_named() {
    let workspace = Workspace::new(EXPERIMENT);
    freeze(&workspace, "smoke");
    let run = |index: &str, store: &str| {
        let (code, _, err) =
            workspace.run(&["run", "--manifest", "m.json", "--index", index, "--store", store]);
        assert_eq!(code, 0, "{err}");
    };
    for (index, store) in [("0", "one"), ("1", "one"), ("1", "two"), ("2", "two"), ("3", "two")] {
        run(index, store);
    }
    let (code, out, err) = workspace.run(&["merge", "one", "two", "--store", "all"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("one: 2 runs taken over, 0 there already, 0 conflicts, 0 damaged"), "{out}");
    assert!(out.contains("two: 2 runs taken over, 1 there already, 0 conflicts, 0 damaged"), "{out}");
    assert_eq!(records(&workspace, "all").len(), 4);
    assert_eq!(missing(&workspace, &["--store", "all"]), "");
    let (code, _, err) = workspace.run(&["merge", "nowhere", "--store", "all"]);
    assert!(
        code == 2 && err.contains("is no folder of runs") && !workspace.path().join("nowhere").exists(),
        "{err}"
    );
    let (code, _, err) = workspace.run(&["merge", "all", "--store", "all"]);
    assert!(code == 2 && err.contains("is the store that is merged into"), "{err}");
}

#[test]
fn what_an_engine_is_given_names_program_manifest_and_store_by_their_paths() {
    let workspace = Workspace::new(EXPERIMENT);
    freeze(&workspace, "smoke");
    let print = |more: &[&str]| {
        let (code, out, err) = workspace.run(&[&["manifest", "m.json", "--print"], more].concat());
        assert_eq!(code, 0, "{err}");
        out
    };
    let script = print(&["slurm", "--at-once", "2", "--partition", "cpu", "--time", "10", "--memory", "2G"]);
    let manifest = workspace.path().join("m.json").display().to_string();
    for part in
        ["--array=0-3%2", "--partition=cpu", "--time=10", "--mem=2G", "--signal=B:USR1@180", &manifest]
    {
        assert!(script.contains(part), "{part}: {script}");
    }
    let bash = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
    assert!(bash.success(), "{script}");
    assert!(print(&["parallel"]).starts_with("seq 0 3 | parallel "));
    let (code, _, err) = workspace.run(&["manifest", "--missing"]);
    assert!(code == 2 && err.contains("one manifest's file"), "{err}");
}

/// Index 0, once it trains.
fn begin(workspace: &Workspace) -> Child {
    let mut task = workspace.pinbench(&["run", "--manifest", "m.json", "--index", "0"]);
    let task = task.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let staged = workspace.path().join("runs/staging");
    while !fs::read_dir(&staged).is_ok_and(|kept| kept.count() > 0) {
        assert!(Instant::now() < deadline, "nothing was trained within two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Into its first steps.
    std::thread::sleep(Duration::from_millis(300));
    task
}

fn children(process: &Child) -> String {
    fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap_or_default()
}

fn signal(process: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap().success());
}

/// Its exit code, within a time in which a step and a checkpoint end.
fn ended(process: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().unwrap();
    panic!("it goes on");
}
