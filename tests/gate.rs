//! The gate through the program, on real MNIST: planted faults are caught, honest seeds raise no alarm, and exit codes
//! mean what they say.

#![cfg(feature = "torch")]

mod common;

use std::process::Command;

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "large enough for a fault to show"
data = { set = "mnist", validation = 0.2, train_limit = 2000, eval_limit = 500 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 2 }

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0] }
full = { seeds = [0] }
"#;

const FAULTS: [&str; 5] =
    ["eval-dropout", "eval-without-batch-norm", "normalisation", "labels", "learning-rate"];

/// As on a processor without AVX: another machine class, whose bits are others.
const ELSEWHERE: [(&str, &str); 3] = [
    ("ATEN_CPU_CAPABILITY", "default"),
    ("ONEDNN_MAX_CPU_ISA", "SSE41"),
    ("MKL_ENABLE_INSTRUCTIONS", "SSE4_2"),
];

fn with_baseline(seeds: &str) -> Workspace {
    let workspace = Workspace::new(EXPERIMENT);
    let accept = ["baseline", "accept", "tiny", "--profile", "smoke", "--seeds", seeds];
    let (code, out, err) = workspace.run(&accept);
    assert_eq!(code, 0, "{out}{err}");
    workspace
}

fn check(workspace: &Workspace, more: &[&str]) -> (i32, Value, String) {
    check_on(workspace, &[], more)
}

fn check_on(workspace: &Workspace, machine: &[(&str, &str)], more: &[&str]) -> (i32, Value, String) {
    let json = workspace.path().join("gate.json");
    let arguments = ["check", "tiny", "--profile", "smoke", "--json", json.to_str().unwrap()];
    let mut command = workspace.pinbench(&[&arguments[..], more].concat());
    let output = command.envs(machine.iter().copied()).output().unwrap();
    let report =
        std::fs::read(&json).map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), report, text(&output.stdout) + &text(&output.stderr))
}

/// `subject: verdict` of every finding.
fn findings(report: &Value) -> Vec<(String, String)> {
    let all = report["files"][0]["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|finding| (text(&finding["subject"]), text(&finding["verdict"]))).collect()
}

/// On the machine of the baseline every bit is compared, so that one seed finds any fault.
#[test]
fn every_planted_fault_is_caught_bit_by_bit_and_an_honest_run_is_not() {
    let workspace = with_baseline("0");
    let (_, report, said) = check(&workspace, &[]);
    let bits: Vec<_> = findings(&report).into_iter().filter(|(subject, _)| subject == "bits").collect();
    assert_eq!(bits, [("bits".to_owned(), "holds".to_owned())], "{said}");
    for fault in FAULTS {
        let (code, report, said) = check(&workspace, &["--plant", fault]);
        // One run has no spread to call it worse by.
        assert_eq!(code, 5, "{fault}: {said}");
        for subject in ["step", "bits"] {
            assert!(findings(&report).contains(&(subject.to_owned(), "alarm".to_owned())), "{fault}: {said}");
        }
    }
}

/// On another class of machine every bit is another, and only single steps and means can say anything.
#[test]
fn elsewhere_an_honest_run_raises_no_alarm_and_a_fault_is_changed_or_worse() {
    let workspace = with_baseline("0-5");
    let (code, report, said) = check_on(&workspace, &ELSEWHERE, &[]);
    assert_eq!(code, 0, "{said}");
    let found = findings(&report);
    assert!(found.iter().all(|(subject, _)| subject != "bits"), "{said}");
    assert!(found.contains(&("test_acc".to_owned(), "holds".to_owned())), "{said}");
    // One of an evaluation, one of the data, one of the optimizer: each takes the trainings of all seeds.
    for fault in ["eval-dropout", "labels", "learning-rate"] {
        let (code, report, said) = check_on(&workspace, &ELSEWHERE, &["--plant", fault]);
        assert!(findings(&report).contains(&("step".to_owned(), "alarm".to_owned())), "{fault}: {said}");
        // What ruins an evaluation, or labels, is worse; of three times the rate that depends on the processor's rounding.
        assert!(code == 1 || (fault == "learning-rate" && code == 5), "{fault}: {code}: {said}");
    }
}

/// A change that is meant, and is worse, went by the gate with the command that takes new numbers.
#[test]
fn what_is_worse_is_accepted_only_by_name_and_only_seeds_of_the_baseline_are_compared() {
    let workspace = with_baseline("0-3");
    let file = workspace.path().join("experiments/baselines/tiny.smoke.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let (code, out, err) = workspace.run(&["check", "tiny", "--profile", "smoke", "--seeds", "3,9"]);
    assert_eq!(code, 2, "{out}{err}");
    assert!(err.contains("seed 9 is not in the baseline") && err.contains("0, 1, 2, 3"), "{err}");
    let slow = EXPERIMENT.replace("lr = 0.001", "lr = 0.00003");
    std::fs::write(workspace.path().join("experiments/tiny.toml"), slow).unwrap();
    let accept = ["baseline", "accept", "tiny", "--profile", "smoke", "--seeds", "0-3", "--trainings"];
    let (code, out, err) = workspace.run(&accept);
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        out.contains("worse than the baseline") && err.contains("say --worse if that is meant"),
        "{out}{err}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let (code, out, err) = workspace.run(&[&accept[..], &["--worse"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    assert_ne!(std::fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn a_missing_a_stale_and_an_orphaned_baseline_are_named_and_exit_codes_survive_just() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, _, said) = check(&workspace, &[]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("pinbench baseline accept tiny --profile smoke"), "{said}");
    let workspace = with_baseline("0");
    let experiments = workspace.path().join("experiments");
    // Another value makes it another experiment.
    std::fs::write(experiments.join("tiny.toml"), EXPERIMENT.replace("0.001", "0.002")).unwrap();
    let (code, _, said) = check(&workspace, &[]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("config"), "{said}");
    std::fs::rename(
        experiments.join("baselines/tiny.smoke.toml"),
        experiments.join("baselines/gone.smoke.toml"),
    )
    .unwrap();
    let (code, out, err) = workspace.run(&["check", "--profile", "smoke"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(out.contains("gone"), "{out}");
    // `just` passes the code of its recipe on.
    let justfile = workspace.path().join("justfile");
    std::fs::write(
        &justfile,
        format!("check:\n    @{} check tiny --profile smoke\n", env!("CARGO_BIN_EXE_pinbench")),
    )
    .unwrap();
    match Command::new("just")
        .current_dir(workspace.path())
        .env("PINBENCH_LOCK_DIR", workspace.path())
        .arg("check")
        .output()
    {
        Ok(output) => assert_eq!(output.status.code(), Some(4)),
        Err(error) => panic!("these tests are started by just, which is not to be found: {error}"),
    }
}
