//! `check` as someone meets it who gives it no options, and what it says; and whose runs are of one class.

#![cfg(feature = "torch")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "the smallest training that a baseline can be of"
data = { set = "mnist", validation = 0.2, train_limit = 512, eval_limit = 256 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0] }
full = { seeds = [0] }
"#;

fn with_baseline() -> Workspace {
    let workspace = Workspace::new(EXPERIMENT);
    let accept = ["baseline", "accept", "tiny", "--profile", "smoke", "--seeds", "0"];
    let (code, out, err) = workspace.run(&accept);
    assert_eq!(code, 0, "{out}{err}");
    workspace
}

/// Stores of `check` in the folder for temporary files.
fn stores(workspace: &Workspace) -> usize {
    let names = std::fs::read_dir(workspace.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("pinbench-check-")).count()
}

/// It looked for baselines of the profile `quick`, of which there was none, and exited with 4.
#[test]
fn check_without_options_is_of_every_baseline_there_is_and_a_profile_narrows_it() {
    let workspace = with_baseline();
    let (code, out, err) = workspace.run(&["check"]);
    assert!(out.contains("tiny smoke: ") && out.contains("seed"), "{out}{err}");
    // Equal bits got 3 on a busy machine, for its times; no time is judged by a stored one now.
    assert!(code == 0 && out.contains("bits") && !out.contains("time"), "{out}{err}");
    let (code, out, err) = workspace.run(&["check", "--profile", "quick"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(
        err.contains("no baseline of profile quick") && err.contains("pinbench baseline accept"),
        "{err}"
    );
}

/// `baseline accept` refused it, for a baseline was of one plan.
#[test]
fn a_baseline_of_arms_that_differ_by_plan_holds_each_arm_to_its_own() {
    let factor = "[plan]\nname = \"eager\"\n\n[[factors]]\nkey = \"plan.optimizer\"\nlabel = \"optimizer\"\nlevels = [{ value = \"loop\" }, { value = \"fused\" }]\n\n[profiles]";
    let workspace = Workspace::new(&EXPERIMENT.replace("[profiles]", factor));
    let accept = ["baseline", "accept", "tiny", "--profile", "smoke", "--seeds", "0,1"];
    let (code, out, err) = workspace.run(&accept);
    assert_eq!(code, 0, "{out}{err}");
    let file =
        std::fs::read_to_string(workspace.path().join("experiments/baselines/tiny.smoke.toml")).unwrap();
    assert_eq!(file.matches("\nplan_hash = ").count(), 1, "{file}");
    assert!(file.contains("name = \"eager\""), "{file}");
    // A twin of an arm is under another plan than the arm, or it could not part.
    let losses = |line: &str| -> Vec<String> {
        line.split("train_loss = ")
            .skip(1)
            .map(|rest| rest.split([',', ' ']).next().unwrap().to_owned())
            .collect()
    };
    for run in file.lines().filter(|line| line.contains("seed = ")) {
        let found = losses(run);
        assert!(found.len() == 3 && found[1..].iter().any(|twin| *twin != found[0]), "{run}");
    }
    let (code, out, err) = workspace.run(&["check"]);
    assert!(code == 0 && out.contains("bits"), "{out}{err}");
}

/// With every arm trained a gate takes minutes, and single steps answer for most of them.
#[test]
fn arms_that_are_not_trained_are_named_in_the_file_and_stay_so() {
    let factor = "[[factors]]\nkey = \"model.dropout\"\nlabel = \"dropout\"\nlevels = [{ value = 0.0 }, { value = 0.5 }]\n\n[profiles]";
    let workspace = Workspace::new(&EXPERIMENT.replace("[profiles]", factor));
    let accept = ["baseline", "accept", "tiny", "--profile", "smoke", "--seeds", "0"];
    let (code, _, err) = workspace.run(&[&accept[..], &["--arm", "dropout 0.7"]].concat());
    assert!(code == 2 && err.contains("no experiment has an arm 'dropout 0.7'"), "{err}");
    let (code, out, err) = workspace.run(&[&accept[..], &["--arm", "dropout 0.5"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let file = workspace.path().join("experiments/baselines/tiny.smoke.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("by_steps_alone = [\"0.0\"]") && text.matches("[[arms]]").count() == 1, "{text}");
    let (code, out, err) = workspace.run(&["check"]);
    assert!(code == 0 && out.contains("Single steps of 2 arms asked"), "{out}{err}");
    // Whoever accepts it again need not know which they were.
    let (code, out, err) = workspace.run(&[&accept[..], &["--trainings"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap().matches("[[arms]]").count(), 1);
}

/// The folder that was named as kept was empty.
#[test]
fn a_check_that_measured_nothing_leaves_no_folder_and_says_what_is_missing() {
    let workspace = Workspace::new(EXPERIMENT);
    for more in [&[][..], &["tiny"]] {
        let (code, out, err) = workspace.run(&[&["check"], more].concat());
        assert_eq!(code, 4, "{out}{err}");
        assert!(format!("{out}{err}").contains("pinbench baseline accept"), "{out}{err}");
        assert!(!err.contains("kept"), "{err}");
        assert_eq!(stores(&workspace), 0);
    }
}

/// A reader that had enough, as `grep -q`, made any verdict exit code 0, and what was to be written after it was not.
#[test]
fn a_closed_output_changes_no_exit_code_and_ends_no_work() {
    let workspace = Workspace::new(EXPERIMENT);
    let json = workspace.path().join("gate.json");
    let mut check = workspace.pinbench(&["check", "tiny", "--json", json.to_str().unwrap()]);
    let mut check = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(check.stdout.take());
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(4) && json.is_file() && !said.contains("error"), "{said}");
}

/// Each finding stood in the table, and again as a warning.
#[test]
fn a_finding_is_said_once_and_runs_are_kept_for_a_look_at_them() {
    let workspace = with_baseline();
    let (code, out, err) = workspace.run(&["check", "--plant", "labels"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(out.contains("the weights differ"), "{out}");
    assert!(!err.contains("the weights differ") && !err.contains("warning"), "{err}");
    assert!(err.contains("the runs are kept: "), "{err}");
    assert!(stores(&workspace) > 0);
}

/// It ended without a word, and left open whether the same command goes on.
#[test]
fn an_interrupted_check_says_that_nothing_was_judged() {
    let workspace = with_baseline();
    let mut check = workspace.pinbench(&["check"]);
    // As a terminal does: everything under it gets the signal.
    let check = check.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while stores(&workspace) == 0 {
        assert!(Instant::now() < deadline, "no check began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", "--", &format!("-{}", check.id())]).status().unwrap();
    assert!(killed.success());
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted: nothing was judged"), "{said}");
    assert_eq!(stores(&workspace), 0);
}

/// What came with the last answers was written all the same.
#[test]
fn interrupted_steps_are_not_accepted() {
    let workspace = Workspace::new(EXPERIMENT);
    let mut accept = workspace.pinbench(&["baseline", "accept", "tiny", "--profile", "smoke", "--probes"]);
    let mut accept = accept.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(accept.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("6 of 6")), "the last of the twins");
    let killed = Command::new("kill").args(["-INT", &accept.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let said: Vec<String> = lines.collect();
    assert_eq!(accept.wait().unwrap().code(), Some(130), "{said:?}");
    assert!(said.iter().any(|line| line.contains("interrupted: nothing is accepted")), "{said:?}");
    assert!(!workspace.path().join("experiments/baselines").exists());
}

/// Convolutions that were kept to older instructions give other bits, and were taken for those of the machine: the gate
/// demanded the same bits of both, and a sweep took the one for the other.
#[test]
fn a_run_with_restricted_convolutions_is_not_taken_for_one_without() {
    let workspace = Workspace::new(EXPERIMENT);
    let pinbench = |isa: Option<&str>, arguments: &[&str]| {
        let mut command =
            workspace.pinbench(&[arguments, &["tiny", "--profile", "smoke", "--threads", "1"]].concat());
        command.env_remove("ONEDNN_MAX_CPU_ISA").envs(isa.map(|isa| ("ONEDNN_MAX_CPU_ISA", isa)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let status = |isa: Option<&str>| {
        let trials: Value = serde_json::from_str(&pinbench(isa, &["list", "--json"])).unwrap();
        trials[0]["status"].as_str().unwrap().to_owned()
    };
    pinbench(Some("SSE41"), &["run"]);
    assert_eq!(status(Some("SSE41")), "done");
    assert_ne!(status(None), "done");
    pinbench(None, &["run"]);
    assert_eq!(status(None), "done");
}
