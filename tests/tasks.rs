//! What a command does when things around it go wrong: a damaged run, a task that fails, a signal, a parent that is gone.
//! Through the program, on real MNIST.

#![cfg(feature = "torch")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "the smallest training that uses every part"
data = { set = "mnist", validation = 0.2, train_limit = 500, eval_limit = 100 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 300 }]

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0], set = { "augment.flip" = true } }
full = { seeds = [0], set = { "train.epochs" = 2000 } }
"#;

const SMOKE: [&str; 4] = ["--profile", "smoke", "--threads", "1"];

fn with_smoke<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &SMOKE].concat()
}

/// The folder of the one sealed run of the trial at `index`.
fn run_folder(workspace: &Workspace, index: usize) -> PathBuf {
    let trial = workspace.list("tiny", "smoke", &SMOKE[2..])[index].clone();
    let (id, run) = (trial["trial_id"].as_str().unwrap(), trial["run"].as_str().unwrap());
    workspace.path().join("runs/trials").join(&id[..2]).join(&id[..12]).join(run)
}

fn flip_bits(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(file, bytes).unwrap();
}

/// `report` said "rerun it", and no command did: to `run` and `reproduce` the trial was done.
#[test]
fn a_run_whose_rows_are_damaged_is_set_aside_and_run_again_by_the_same_command() {
    let workspace = Workspace::new(EXPERIMENT);
    assert_eq!(workspace.run(&with_smoke(&["run", "tiny"])).0, 0);
    let before = workspace.record("smoke", &SMOKE[2..])["outcome"]["final_weights"].clone();
    let damaged = run_folder(&workspace, 0);
    flip_bits(&damaged.join("steps.parquet"));
    let states = || -> Vec<Value> {
        workspace.list("tiny", "smoke", &SMOKE[2..]).iter().map(|trial| trial["status"].clone()).collect()
    };
    assert_eq!(states(), ["missing", "done"]);
    let (code, out, err) = workspace.run(&with_smoke(&["reproduce", "tiny"]));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("1 of 2 trials done, 1 due") && err.contains("is set aside as"), "{err}");
    assert_eq!(err.matches("steps.parquet").count(), 1, "named once: {err}");
    assert!(!damaged.exists());
    assert_eq!(fs::read_dir(workspace.path().join("runs/damaged")).unwrap().count(), 2, "the run and why");
    assert_eq!(states(), ["done", "done"]);
    assert_eq!(workspace.record("smoke", &SMOKE[2..])["outcome"]["final_weights"], before);
    let page = fs::read_to_string(workspace.path().join(out.lines().next().unwrap())).unwrap();
    assert!(!page.contains("has no run"), "the arm is missing from the page");
    let records = fs::read_to_string(workspace.path().join("reports/tiny/runs.json")).unwrap();
    let records: Vec<Value> = serde_json::from_str(&records).unwrap();
    // A record had to be joined by its run's id to learn its arm.
    let arms: Vec<&str> = records.iter().map(|record| record["arm"].as_str().unwrap()).collect();
    assert_eq!(arms, ["batch 64", "batch 300"]);
    let (code, out, _) = workspace.run(&["doctor", "--verify"]);
    assert!(code == 0 && !out.contains("damaged"), "{out}");
}

/// `doctor --clean`, which is what every text advised, left damaged rows where they were.
#[test]
fn doctor_sets_aside_what_it_says_it_sets_aside() {
    let workspace = Workspace::new(EXPERIMENT);
    assert_eq!(workspace.run(&with_smoke(&["run", "tiny"])).0, 0);
    let damaged = run_folder(&workspace, 1);
    flip_bits(&damaged.join("epochs.parquet"));
    let (_, out, _) = workspace.run(&["doctor", "--verify"]);
    assert!(out.contains("epochs.parquet") && out.contains("pinbench doctor --clean"), "{out}");
    let (_, out, _) = workspace.run(&["doctor", "--clean"]);
    assert!(out.contains("set aside as") && !damaged.exists(), "{out}");
}

/// All three were trained, and then only the error was printed.
#[test]
fn verify_reads_before_it_trains_and_grades_what_is_whole() {
    let workspace = Workspace::new(EXPERIMENT);
    assert_eq!(workspace.run(&with_smoke(&["run", "tiny"])).0, 0);
    flip_bits(&run_folder(&workspace, 0).join("chain.parquet"));
    let (code, out, err) = workspace.run(&["verify", "tiny", "--profile", "smoke"]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(out.matches("bit-identical (ok)").count(), 1, "{out}");
    assert!(err.contains("chain.parquet") && err.contains("[1/1]"), "one is trained: {err}");
    assert!(err.find("chain.parquet") < err.find("[1/1]"), "{err}");
}

/// It printed the folder and returned success over what an earlier export had left there.
#[test]
fn an_export_that_fails_says_so_and_leaves_an_earlier_one_whole() {
    let workspace = Workspace::new(EXPERIMENT);
    let trial = workspace.list("tiny", "smoke", &SMOKE[2..])[0]["trial_id"].as_str().unwrap().to_owned();
    let export = |steps: &str| {
        workspace.run(&with_smoke(&["export", "tiny", "--trial", &trial, "--steps", steps, "--out", "steps"]))
    };
    let (code, out, err) = export("3");
    assert_eq!((code, out.trim()), (0, "steps"), "{err}");
    let written = |name: &str| fs::read(workspace.path().join("steps").join(name)).unwrap();
    let first = ["trial.json", "steps.json", "state.safetensors"].map(written);
    let (code, out, err) = export("1000");
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("8 steps") && err.contains("1000"), "{err}");
    assert_eq!(["trial.json", "steps.json", "state.safetensors"].map(written), first);
    let (code, _, err) = export("2");
    assert_eq!(code, 0, "{err}");
    assert_ne!(written("steps.json"), first[1]);
}

/// It ran the plan `tuned`, whatever the file said of it.
#[test]
fn an_export_is_of_the_plan_that_the_file_asks_for() {
    let plan = "[plan]\nname = \"eager\"\nloader = \"samples\"\n\n[profiles]";
    let workspace = Workspace::new(&EXPERIMENT.replace("[profiles]", plan));
    let trial = workspace.list("tiny", "smoke", &SMOKE[2..])[0]["trial_id"].as_str().unwrap().to_owned();
    let exported = |more: &[&str]| -> Value {
        let arguments = ["export", "tiny", "--trial", &trial, "--steps", "2", "--out", "steps"];
        let (code, _, err) = workspace.run(&with_smoke(&[&arguments[..], more].concat()));
        assert_eq!(code, 0, "{err}");
        let about = fs::read(workspace.path().join("steps/trial.json")).unwrap();
        serde_json::from_slice::<Value>(&about).unwrap()["plan"].clone()
    };
    let plan = exported(&[]);
    assert_eq!(
        (plan["name"].as_str(), plan["loader"]["samples"]["workers"].as_u64()),
        (Some("eager"), Some(0))
    );
    let plan = exported(&["--plan", "tuned", "--set", "plan.loader=resident"]);
    assert_eq!((plan["name"].as_str(), plan["loader"].as_str()), (Some("tuned"), Some("resident")));
}

/// It trained beside whatever was being timed.
#[test]
fn an_export_waits_for_the_machine() {
    let workspace = Workspace::new(EXPERIMENT);
    let trial = workspace.list("tiny", "smoke", &SMOKE[2..])[0]["trial_id"].as_str().unwrap().to_owned();
    let mut sweep = long_sweep(&workspace);
    let arguments = with_smoke(&["export", "tiny", "--trial", &trial, "--steps", "2", "--out", "steps"]);
    let mut export = workspace.pinbench(&arguments);
    let mut export = export.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    let mut errors = std::io::BufReader::new(export.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut errors, &mut said).unwrap();
    signal(&sweep, "INT");
    assert!(said.starts_with(&format!("waiting for pid {}", sweep.id())), "{said}");
    assert_eq!(ended(&mut sweep), Some(130));
    assert!(export.wait().unwrap().success());
}

/// It went on for as long as its training lasted: only a terminal's Ctrl-C reached the child.
#[test]
fn a_signal_to_the_sweep_alone_ends_it_with_a_checkpoint() {
    for name in ["INT", "TERM"] {
        let workspace = Workspace::new(EXPERIMENT);
        let mut sweep = long_sweep(&workspace);
        signal(&sweep, name);
        assert_eq!(ended(&mut sweep), Some(130), "SIG{name}");
        let kept = workspace.path().join("runs/checkpoints");
        assert_eq!(fs::read_dir(kept).unwrap().count(), 1, "SIG{name}");
        assert!(children(&sweep).is_empty());
    }
}

/// Children have process groups of their own, which a terminal does not stop.
#[test]
fn ctrl_z_stops_the_training_too_and_it_goes_on_with_the_sweep() {
    let workspace = Workspace::new(EXPERIMENT);
    let mut sweep = long_sweep(&workspace);
    let child: u32 = children(&sweep).trim().parse().unwrap();
    let state = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        status.split_once("State:\t").unwrap().1.chars().next().unwrap()
    };
    let becomes = |is_stopped: bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while [sweep.id(), child].iter().any(|&process| (state(process) == 'T') != is_stopped) {
            assert!(Instant::now() < deadline, "stopped: {is_stopped}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    signal(&sweep, "TSTP");
    becomes(true);
    signal(&sweep, "CONT");
    becomes(false);
    signal(&sweep, "INT");
    assert_eq!(ended(&mut sweep), Some(130));
}

/// A sweep that was killed before its child had asked to be told of that left it training.
#[test]
fn a_child_whose_parent_is_gone_before_it_asks_does_not_train() {
    let workspace = Workspace::new(EXPERIMENT);
    // A process that has ended, and was the parent of nobody.
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let mut child = workspace.pinbench(&["train", "--parent", &gone.id().to_string()]);
    let mut child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // What it does not read is no error here.
    let _ = child.stdin.take().unwrap().write_all(b"{}");
    assert_eq!(ended(&mut child), Some(130));
}

/// The record had the plan, and nothing of what became of it.
#[test]
fn a_record_says_which_loader_and_whose_kernels_ran() {
    let workspace = Workspace::new(EXPERIMENT);
    let ran = |profile: &str, plan: &str| {
        let how = ["--threads", "1", "--plan", plan];
        let (code, _, err) = workspace.run(&[&["run", "tiny", "--profile", profile][..], &how].concat());
        assert_eq!(code, 0, "{err}");
        let record = workspace.record(profile, &how);
        (record["plan"]["loader"].clone(), record["effective"].clone())
    };
    let own = |effective: &Value, layer: usize| effective["layers"][layer]["own"].clone();
    let (asked, effective) = ran("smoke", "fused");
    assert_eq!(effective["loader"], asked);
    let layers: Vec<String> = effective["layers"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(layers.len(), 4, "two convolutions in two passes: {layers:?}");
    let all = serde_json::json!(["convolution", "batch_norm", "relu", "max_pool"]);
    assert_eq!(
        (own(&effective, 0), &effective["layers"][0]["pass"]),
        (all.clone(), &Value::from("training"))
    );
    assert_eq!(own(&effective, 1), serde_json::json!([]), "evaluation falls back to libtorch");
    assert_eq!(own(&effective, 2), serde_json::json!(["batch_norm", "relu", "max_pool"]));
    let (_, effective) = ran("smoke", "winograd");
    let own = [own(&effective, 0), own(&effective, 1), own(&effective, 2), own(&effective, 3)];
    assert_eq!(own, [all.clone(), serde_json::json!([]), all, serde_json::json!(["convolution"])]);
    let layers = &effective["layers"];
    let passes = ["forward", "backward_data", "backward_weights"];
    assert_eq!(passes.map(|pass| layers[0]["convolution"][pass].clone()), ["direct"; 3]);
    assert_eq!(passes.map(|pass| layers[2]["convolution"][pass].clone()), ["winograd_f2"; 3]);
    assert_eq!(
        layers[3]["convolution"],
        serde_json::json!({ "forward": "winograd_f2" }),
        "in evaluation too"
    );
    let own = |effective: &Value, layer: usize| effective["layers"][layer]["own"].clone();
    let (asked, effective) = ran("quick", "tuned");
    assert_eq!(asked, "resident");
    assert_eq!(effective["loader"], serde_json::json!({ "samples": { "workers": 0, "prefetch": 0 } }));
    assert!((0..4).all(|layer| own(&effective, layer) == serde_json::json!([])));
}

/// A sweep whose child trains, and would for minutes.
fn long_sweep(workspace: &Workspace) -> Child {
    let mut sweep = workspace.pinbench(&["run", "tiny", "--profile", "full", "--threads", "1"]);
    let sweep = sweep.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !fs::read_dir(workspace.path().join("runs/checkpoints")).is_ok_and(|kept| kept.count() > 0) {
        assert!(Instant::now() < deadline, "nothing was trained within two minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
    sweep
}

fn children(process: &Child) -> String {
    fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap_or_default()
}

fn signal(process: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap().success());
}

/// Its exit code, within a time in which no long training ends.
fn ended(process: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().unwrap();
    panic!("it goes on");
}
