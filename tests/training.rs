//! Whole trainings through the program, on real MNIST. libtorch's state belongs to a process, so each is a child.

#![cfg(feature = "torch")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
full = { seeds = [0], set = { "train.epochs" = 500 } }
"#;

struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("experiments")).unwrap();
        std::fs::write(folder.path().join("experiments/tiny.toml"), EXPERIMENT).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program, with this test's own folders and nothing from the environment that changes a run.
    fn pinbench(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinbench"));
        command.current_dir(self.path()).args(arguments).env_remove("PINBENCH_STORE");
        // Tests run beside each other: each waits only for its own workspace.
        command.env("XDG_RUNTIME_DIR", self.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.pinbench(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn list(&self, profile: &str, plan: &str) -> Vec<Value> {
        self.list_with(profile, plan, &[])
    }

    fn list_with(&self, profile: &str, plan: &str, more: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["list", "tiny", "--profile", profile, "--plan", plan, "--json"];
        arguments.extend(more);
        let (code, out, err) = self.run(&arguments);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// The record of the run that stands for the first trial under the plan.
    fn record(&self, profile: &str, plan: &str) -> Value {
        let run = self.list(profile, plan)[0]["run"].as_str().unwrap().to_owned();
        let (code, out, err) = self.run(&["show", &run, "--json"]);
        assert_eq!(code, 0, "{err}");
        let shown: Value = serde_json::from_str(&out).unwrap();
        shown["runs"][0]["record"].clone()
    }
}

#[test]
fn the_same_trial_gives_the_same_weights_in_two_processes() {
    let digests: Vec<(Value, Value, Value)> = (0..2)
        .map(|_| {
            let workspace = Workspace::new();
            let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke", "--threads", "2"]);
            assert_eq!(code, 0, "{err}");
            let record = workspace.record("smoke", "tuned");
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
        let workspace = Workspace::new();
        let mut arguments = vec!["run", "tiny", "--profile", "smoke", "--threads", "1"];
        arguments.extend(more);
        let (code, _, err) = workspace.run(&arguments);
        assert_eq!(code, 0, "{err}");
        let trial =
            workspace.list_with("smoke", "tuned", &["--threads", "1"])[0]["run"].as_str().unwrap().to_owned();
        let (_, out, _) = workspace.run(&["show", &trial, "--json"]);
        let outcome = serde_json::from_str::<Value>(&out).unwrap()["runs"][0]["record"]["outcome"].clone();
        (outcome["final_weights"].clone(), outcome["diagnose_ns"].as_u64().unwrap())
    };
    let (with, without) = (digest(&[]), digest(&["--no-diagnostics"]));
    assert_eq!(with.0, without.0);
    assert!(with.1 > 0 && without.1 == 0);
}

#[test]
fn a_finished_trial_is_skipped_and_its_report_is_made_again() {
    let workspace = Workspace::new();
    let (code, out, err) = workspace.run(&["reproduce", "tiny", "--profile", "smoke"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("2 due"), "{err}");
    let page = workspace.path().join(out.lines().next().unwrap());
    assert!(out.lines().nth(1).is_some_and(|line| line.ends_with("reports/index.html")), "{out}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("<svg"));
    assert!(workspace.list("smoke", "tuned").iter().all(|trial| trial["status"] == "done"));
    let (code, again, err) = workspace.run(&["reproduce", "tiny", "--profile", "smoke"]);
    assert_eq!((code, &again), (0, &out), "{err}");
    assert!(err.contains("2 of 2 trials done"), "{err}");
}

#[test]
fn a_killed_run_leaves_nothing_that_reads_as_finished() {
    let workspace = Workspace::new();
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
    assert!(workspace.list("full", "tuned").iter().all(|trial| trial["status"] == "missing"));
    let (_, out, err) = workspace.run(&["doctor"]);
    assert!(format!("{out}{err}").contains("abandoned"), "{out}{err}");
}

#[test]
fn a_loss_that_is_not_finite_is_a_diverged_run_with_its_step() {
    let workspace = Workspace::new();
    let (code, out, err) = workspace.run(&["reproduce", "tiny", "--profile", "quick"]);
    assert_eq!(code, 1, "{err}");
    let trials = workspace.list("quick", "tuned");
    assert!(trials.iter().all(|trial| trial["status"] == "diverged"), "{trials:?}");
    let page = std::fs::read_to_string(workspace.path().join(out.lines().next().unwrap())).unwrap();
    assert!(page.contains("diverged"));
    // A diverged run is a result: it is not run again.
    let (_, _, err) = workspace.run(&["run", "tiny", "--profile", "quick"]);
    assert!(err.contains("0 due") && err.contains("not run again"), "{err}");
}

#[test]
fn a_child_that_is_started_without_the_environment_of_its_plan_says_which_variable() {
    let workspace = Workspace::new();
    let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke"]);
    assert_eq!(code, 0, "{err}");
    let record = workspace.record("smoke", "tuned");
    let job = serde_json::json!({
        "experiment": "tiny", "profile": "smoke", "trial": record["trial"], "plan": record["plan"],
        "store": "other", "data": "nowhere", "workspace": ".", "command": "",
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
    let workspace = Workspace::new();
    let records: Vec<Value> = ["eager", "tuned"]
        .map(|plan| {
            let (code, _, err) = workspace.run(&["run", "tiny", "--profile", "smoke", "--plan", plan]);
            assert_eq!(code, 0, "{err}");
            workspace.record("smoke", plan)
        })
        .into();
    assert_eq!(records[0]["trial_id"], records[1]["trial_id"]);
    assert_ne!(records[0]["plan_hash"], records[1]["plan_hash"]);
    assert_eq!(records[0]["outcome"]["initial_weights"], records[1]["outcome"]["initial_weights"]);
}
