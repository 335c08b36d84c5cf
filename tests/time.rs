//! `pinbench time` through the program, on real MNIST.

#![cfg(feature = "torch")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::Workspace;
use serde_json::Value;

/// Smaller than an epoch of what is timed, with a target that the first step reaches and a patience: none of them may end
/// the steps.
const EXPERIMENT: &str = r#"
title = "tiny"
why = "a test"
seeds = [0]
data = { set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "sgd", lr = 0.01 }
train = { batch = 32, epochs = 1, target_loss = 50.0 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 32 }, { value = 64 }]
"#;

fn time(workspace: &Workspace, more: &[&str]) -> (i32, String, String) {
    workspace.run(&[&["time", "tiny"][..], more].concat())
}

#[test]
fn every_combination_is_timed_and_what_was_kept_is_printed_again() {
    let workspace = Workspace::new(EXPERIMENT);
    let more = ["--set", "train.batch=32,64", "--plan", "eager,tuned", "--minutes", "0.25", "--keep", "kept"];
    let (code, out, err) = time(&workspace, &more);
    assert_eq!(code, 0, "{err}");
    for name in ["eager, batch 32", "eager, batch 64", "tuned, batch 32", "tuned, batch 64"] {
        let rows = out.lines().filter(|line| line.starts_with(name)).count();
        // Twice in each table where it is measured again as the control.
        assert_eq!(rows, if name == "eager, batch 32" { 4 } else { 2 }, "{out}");
    }
    assert!(out.lines().all(|line| !line.contains('|') && !line.contains('–')), "{out}");
    let again = workspace.run(&["time", "--from", "kept", "--json", "--page", "page"]);
    assert_eq!(again.0, 0, "{}", again.2);
    // Nothing is measured anew, the machine neither.
    assert_eq!(workspace.run(&["time", "--from", "kept", "--json"]).1, again.1);
    assert_eq!(workspace.run(&["time", "--from", "kept"]).1, out);
    let json: Value = serde_json::from_str(&again.1).unwrap();
    assert!(json["machine_arithmetic_flop_per_s"].as_f64().unwrap() > 1e9, "{json}");
    assert_eq!(json["conditions"].as_array().unwrap().len(), 5);
    for condition in json["conditions"].as_array().unwrap() {
        let ms = condition["ms_per_step"]["value"].as_f64().unwrap();
        assert!(ms > 0.05 && condition["processes"].as_u64().unwrap() >= 1, "{condition}");
        let shares = condition["share_of_step"].as_object().unwrap().values();
        let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
        // Medians of parts need not add up, least of all beside other tests.
        assert!((0.3..1.5).contains(&sum), "{condition}");
    }
    let batches: Vec<u64> =
        json["conditions"].as_array().unwrap().iter().map(|one| one["batch"].as_u64().unwrap()).collect();
    assert_eq!(batches, [32, 64, 32, 64, 32]);
    let page = std::fs::read_to_string(workspace.path().join("page/index.html")).unwrap();
    assert!(page.contains("Step times of tiny") && workspace.path().join("page/timing.json").exists());
    // A measurement is no run: the store has none.
    assert!(!workspace.path().join("runs").exists(), "a measurement must not touch the store");
}

/// That it is called slower is for a quiet machine to show (`just prove-time`); where the delay lies, any machine shows.
#[test]
fn a_planted_delay_is_found_in_its_phase() {
    let workspace = Workspace::new(EXPERIMENT);
    // On a machine that others use one measurement of a few seconds may be of them: of three one has to show it.
    let found = (0..3).map(|attempt| {
        let kept = format!("kept-{attempt}");
        let more = [
            "--set",
            "model.dropout=0.5,0.4",
            "--plant",
            "delay-load",
            "--minutes",
            "0.1",
            "--keep",
            &kept,
            "--json",
        ];
        let (code, out, err) = time(&workspace, &more);
        assert_eq!(code, 0, "{err}");
        let json: Value = serde_json::from_str(&out).unwrap();
        let loading_ms = |condition: usize| {
            let condition = &json["conditions"][condition];
            let ms = condition["ms_per_step"]["value"].as_f64().unwrap();
            ms * condition["share_of_step"]["load"].as_f64().unwrap()
        };
        [0, 1, 2].map(loading_ms)
    });
    let mut found = found.inspect(|ms| eprintln!("{ms:?}"));
    // 150 µs for each of 32 images are 4.8 ms: half of it beyond what loading takes without.
    assert!(found.any(|[one, late, again]| late > 4.0 && late - one.max(again) > 2.4));
}

#[test]
fn what_cannot_be_timed_is_wrong_usage_and_says_what_was_expected() {
    let workspace = Workspace::new(EXPERIMENT);
    for (more, says) in [
        (&["--arm", "batch 7"][..], "expected one of batch 32; batch 64"),
        (&["--set", "train.batches=1"], "train.batches"),
        (&["--set", "plan.loader=fast"], "plan.loader"),
        (&["--minutes", "0"], "from 0.05"),
        (&["--plan", "slow"], "slow"),
        (&["--on-cue"], "--json"),
        (&["--on-cue", "--json", "--arm", "all"], "found 2 combinations"),
    ] {
        let (code, out, err) = time(&workspace, more);
        assert_eq!((code, out.as_str()), (2, ""), "{more:?}: {err}");
        assert!(err.contains(says), "{more:?}: {err}");
    }
    // Of a loss that is none nothing is measured: that was exit code 0.
    let (code, out, err) = time(&workspace, &["--set", "optim.lr=1e30", "--minutes", "0.05", "--json"]);
    assert!(
        code == 1 && out.contains("\"turns_ms\": []") && err.contains("failed and is left out"),
        "{out}{err}"
    );
    // One condition has nothing to be compared with, and its control was the same without the fault.
    let (code, _, err) = time(&workspace, &["--plant", "slow-step", "--minutes", "0.05"]);
    assert!(code == 2 && err.contains("give two"), "{err}");
    let (code, _, err) = workspace.run(&["time", "--from", "nowhere"]);
    assert!(code == 2 && err.contains("no folder 'nowhere'"), "{err}");
    std::fs::create_dir(workspace.path().join("empty")).unwrap();
    let (code, _, err) = workspace.run(&["time", "--from", "empty"]);
    assert!(code != 0 && err.contains("measurement.json"), "{err}");
}

#[test]
fn on_cue_a_turn_comes_with_each_line_and_nothing_is_kept_where_they_cease() {
    let workspace = Workspace::new(EXPERIMENT);
    let start = |lines: usize| {
        let words = ["time", "tiny", "--arm", "batch 32", "--on-cue", "--json", "--minutes", "0.05"];
        let mut command = workspace.pinbench(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // As many as it may need, or too few: what is given ahead waits in the pipe.
        input.write_all("\n".repeat(lines).as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = start(500);
    let said: Value = serde_json::from_str(out.trim_start_matches("ready\n")).unwrap();
    let turns = said["conditions"][0]["turns_ms"][0].as_array().unwrap().len();
    assert_eq!(
        (code, out.matches("ready").count(), said["blocks"].as_u64()),
        (Some(0), turns, Some(1)),
        "{out}"
    );
    // Three seconds in turns of a tenth at least, or of a step where that is longer.
    assert!((2..=31).contains(&turns), "{turns}");
    let (code, out) = start(1);
    assert_eq!((code, out.as_str()), (Some(130), "ready\nready\n"));
}

/// Children wait for their turn: none may be left waiting.
#[test]
fn ctrl_c_ends_the_children_that_wait_and_keeps_what_is_whole() {
    is_ended_by_ctrl_c_after(Duration::ZERO);
}

/// It waited for ever, with the machine's lock, for children that had no turn any more.
#[test]
fn ctrl_c_between_turns_ends_them_too() {
    is_ended_by_ctrl_c_after(Duration::from_millis(2500));
}

fn is_ended_by_ctrl_c_after(pause: Duration) {
    let workspace = Workspace::new(EXPERIMENT);
    let mut command =
        workspace.pinbench(&["time", "tiny", "--arm", "all", "--minutes", "5", "--keep", "kept"]);
    let mut parent = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(parent.stderr.take().unwrap()).lines();
    let first = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("block 1")));
    assert!(first.is_some());
    thread::sleep(pause);
    let own = parent.id().to_string();
    let signal = std::process::Command::new("kill").args(["-INT", &own]).status().unwrap();
    assert!(signal.success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = parent.wait().unwrap();
    assert!(rest.iter().any(|line| line.contains("what follows is of")), "{rest:?}");
    assert_eq!(status.code(), Some(130), "{rest:?}");
    let left = std::process::Command::new("pgrep").args(["-f", &format!("train --parent {own}$")]).output();
    assert_eq!(String::from_utf8(left.unwrap().stdout).unwrap(), "");
}

/// The second arm first, by hand, and the first later: the two were never measured together.
#[test]
fn retime_trains_a_block_again_that_was_not_measured_together() {
    let workspace = Workspace::new(&EXPERIMENT.replace(", target_loss = 50.0", ", max_steps = 2"));
    let run = |more: &[&str]| {
        let (code, _, err) = workspace.run(&[&["run", "tiny", "--no-diagnostics"][..], more].concat());
        assert_eq!(code, 0, "{err}");
        err
    };
    let trials = workspace.list_with(&["list", "tiny", "--json"]);
    assert_eq!(trials.len(), 2);
    run(&["--trial", trials[1]["trial_id"].as_str().unwrap()]);
    run(&[]);
    let weights = || -> Vec<Value> {
        let records = workspace.list_with(&["list", "tiny", "--json"]);
        let shown = records.iter().map(|record| {
            let (_, out, _) = workspace.run(&["show", record["run"].as_str().unwrap(), "--json"]);
            let shown: Value = serde_json::from_str(&out).unwrap();
            shown["runs"][0]["record"]["outcome"]["final_weights"].clone()
        });
        shown.collect()
    };
    let before = weights();
    assert!(run(&[]).contains("2 of 2 trials done, 0 due"), "a plain run trains nothing again");
    // Alone in its block, the arm that ran first has no place in one with the other.
    assert!(run(&["--retime"]).contains("0 of 2 trials done, 2 due"));
    assert_eq!(weights(), before);
    assert!(run(&["--retime"]).contains("2 of 2 trials done, 0 due"), "now they were measured together");
}

/// The second's shared arm was done for the first, hours before in a long sweep, so that no page could compare the second's.
#[test]
fn two_experiments_that_share_an_arm_both_have_times_where_they_claim_something_of_them() {
    let short = EXPERIMENT.replace(", target_loss = 50.0", ", max_steps = 2");
    let claim = |arms: &str| {
        format!(
            "\n[[claims]]\nid = \"T\"\nsays = \"a time\"\ntests = [{{ metric = \"train_minutes\", order = \"{arms}\", \
             margin = 0.1 }}]\n"
        )
    };
    let workspace = Workspace::new(&format!("{short}{}", claim("32 > 64")));
    let other = short.replace("{ value = 64 }", "{ value = 128 }") + &claim("32 > 128");
    std::fs::write(workspace.path().join("experiments/other.toml"), other).unwrap();
    // Three were said, and four trained.
    let (_, out, err) = workspace.run(&["run", "--dry-run"]);
    assert!(out.contains("4 due; nothing was trained"), "{out}{err}");
    let (_, out, _) = workspace.run(&["list"]);
    assert!(out.contains("4 trials: about") && out.contains("; 4 due: about"), "{out}");
    let (code, _, err) = workspace.run(&["run", "--no-diagnostics"]);
    assert!(code == 0 && err.contains("4 of 4 runs finished"), "{err}");
    let (code, _, err) = workspace.run(&["report"]);
    assert_eq!(code, 0, "{err}");
    // Other tests may disturb the machine; that the arms ran apart would be another reason.
    for id in ["tiny", "other"] {
        let page =
            std::fs::read_to_string(workspace.path().join(format!("reports/{id}/index.html"))).unwrap();
        assert!(!page.contains("the arms did not run one right after the other"), "{id}");
    }
}
