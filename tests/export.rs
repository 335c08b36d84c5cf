//! What `export` gives other programs, and what shells are given to complete.
#![cfg(feature = "torch")]

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
data = { set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 2 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 128 }]

[profiles]
smoke = { seeds = [0] }
"#;

#[test]
fn runs_are_exported_as_csv_json_and_events_that_say_the_same() {
    let workspace = Workspace::new(EXPERIMENT);
    let export = |more: &[&str]| workspace.run(&[&["export", "tiny", "--out", "out"], more].concat());
    let (code, _, err) = export(&["--csv"]);
    assert!(code == 2 && err.contains("there is no finished run"), "{err}");
    assert_eq!(workspace.run(&["run", "tiny", "--no-diagnostics"]).0, 0);
    for format in ["--csv", "--json", "--tensorboard"] {
        let (code, _, err) = export(&[format]);
        assert_eq!(code, 0, "{format}: {err}");
    }
    let out = workspace.path().join("out");
    let text = |file: &str| fs::read_to_string(out.join(file)).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text("runs.json")).unwrap();
    assert_eq!(rows.len(), 2);
    let csv = text("runs.csv");
    let (header, lines) = csv.split_once('\n').unwrap();
    for (line, row) in lines.lines().zip(&rows) {
        let test = row["epochs"].as_array().unwrap().iter().find(|epoch| epoch["split"] == "test").unwrap();
        assert!(header.ends_with("test_loss,test_accuracy"));
        assert!(line.ends_with(&format!(",{},{}", test["loss"], test["accuracy"])), "{line}");
        assert!(line.contains(row["final_weights"].as_str().unwrap()), "{line}");
    }
    let epochs: usize = rows.iter().map(|row| row["epochs"].as_array().unwrap().len()).sum();
    assert_eq!(text("epochs.csv").lines().count(), epochs + 1);
    let arms: Vec<String> = fs::read_dir(out.join("tiny"))
        .unwrap()
        .map(|arm| arm.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(arms.len() == 2 && arms.contains(&"batch-64".to_owned()), "{arms:?}");
    let (code, _, err) = export(&["--csv", "--device", "cuda:3"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
    let (code, _, err) = export(&["--csv", "--json"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}

/// Each by the shell itself, where that is here.
#[test]
fn completions_are_what_their_shell_takes() {
    let workspace = Workspace::new(EXPERIMENT);
    for (shell, check) in [("bash", "bash -n"), ("zsh", "zsh -n"), ("fish", "fish --no-execute")] {
        let (code, out, err) = workspace.run(&["completions", shell]);
        assert_eq!(code, 0, "{err}");
        for word in ["reproduce", "manifest", "profile"] {
            assert!(out.contains(word), "{shell}: {word}");
        }
        let file = workspace.path().join(shell);
        fs::write(&file, out).unwrap();
        let mut words = check.split(' ');
        let mut command = Command::new(words.next().unwrap());
        if let Ok(status) = command.args(words).arg(&file).stderr(Stdio::null()).status() {
            assert!(status.success(), "{shell}");
        }
    }
    let complete = format!(
        "source {}; COMP_WORDS=(pinbench man); COMP_CWORD=1; _pinbench pinbench man pinbench; echo \"${{COMPREPLY[@]}}\"",
        workspace.path().join("bash").display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "manifest");
}
