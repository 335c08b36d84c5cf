//! Committed pages: what they say is what their files say, by two ways that share no code.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::Workspace;
use serde_json::Value;

const REPORTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reports");
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools");
/// Of a repository that people clone.
const MOST_BYTES: u64 = 40 << 20;
/// At the second rate all units die, so that the ratio of two gradients is 0 / 0; at the third the loss is no number.
const RATES: &str = r#"
title = "Three rates"
why = "What is no number, and what is no claim"
seeds = [0, 1]
data = { set = "mnist", validation = 0.2, train_limit = 500, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", norm = "off" }
optim = { name = "sgd", lr = 0.01 }
train = { batch = 64, epochs = 2 }
[[factors]]
key = "optim.lr"
label = "rate"
levels = [{ value = 0.01 }, { value = 10 }, { value = 1e30 }]
[[claims]]
id = "R.numbers"
says = "Two arms that are called by numbers, and an arm and a number."
tests = [
    { metric = "val_loss", equal = "0.01 = 10", margin = 0.1 },
    { metric = "val_loss", equal = "0.01 = 2.3", margin = 0.1 },
]
[[claims]]
id = "R.dead"
says = "Of what is no number there is no verdict."
tests = [{ metric = "gradient_norm_ratio", rises = ["0.01", "10"], margin = 0.1 }]
[[claims]]
id = "R.gone"
says = "Nor of what diverged."
tests = [{ metric = "val_loss", order = "1e+30 > Rate 0.01", margin = 0.1 }]
[[claims]]
id = "R.metric"
says = "A metric that there is not."
tests = [{ metric = "val_los", order = "0.01 > 10", margin = 0.1 }]
[[claims]]
id = "R.arm"
says = "An arm that there is not."
tests = [{ metric = "val_loss", equal = "0.02 = 2.3", margin = 0.1 }]
[[claims]]
id = "R.one"
says = "A trend over one arm."
tests = [{ metric = "val_loss", falls = ["0.01"], margin = 0.1 }]
"#;

fn pinbench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinbench")).args(arguments).output().unwrap()
}

fn python(folder: &str, arguments: &[&str]) -> Output {
    let mut python = Command::new("python3");
    // Nothing is left beside the pages.
    python.env("PYTHONDONTWRITEBYTECODE", "1").args(arguments).current_dir(folder).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

#[test]
fn every_committed_page_is_made_again_from_its_files_to_the_byte() {
    let output = pinbench(&["audit", REPORTS, "--json"]);
    let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{audit:#}");
    assert!(
        audit["pages"].as_u64().unwrap() > 20 && audit["numbers"].as_u64().unwrap() > 100_000,
        "{audit:#}"
    );
    assert_eq!(audit["unknown"], Value::Array(Vec::new()));
    assert!(bytes(Path::new(REPORTS)) < MOST_BYTES);
}

#[test]
fn the_second_way_comes_to_the_same_numbers() {
    let tests = python(TOOLS, &["-m", "unittest", "test_audit"]);
    assert!(tests.status.success(), "{}", out(&tests));
    let own = fs::read(Path::new(TOOLS).join("audit.py")).unwrap();
    for entry in fs::read_dir(REPORTS).unwrap() {
        let folder = entry.unwrap().path();
        // Explanations alone have no index, and the program beside none.
        let program = match folder.join("index.html").exists() {
            true => folder.join("audit.py"),
            false => Path::new(TOOLS).join("audit.py"),
        };
        assert_eq!(fs::read(&program).unwrap(), own, "{}", folder.display());
        let found = python(folder.to_str().unwrap(), &[program.to_str().unwrap(), "."]);
        assert!(found.status.success(), "{}", out(&found));
        let last = out(&found).lines().last().unwrap().to_owned();
        assert!(last.contains(" 0 did not"), "{last}");
    }
}

/// What `audit.py` says beside the pages of `tiny`, which are made in `folder`.
fn second_way(workspace: &Workspace, folder: &str, languages: &str) -> String {
    let (code, _, err) = workspace.run(&["report", "tiny", "--out", folder, "--lang", languages]);
    assert_eq!(code, 0, "{err}");
    out(&python(workspace.path().join(folder).to_str().unwrap(), &["audit.py"]))
}

#[test]
fn the_second_way_reads_pages_without_a_run_and_in_one_language() {
    let workspace = Workspace::new(RATES);
    for (folder, languages) in [("both", "en,ko"), ("korean", "ko")] {
        let said = second_way(&workspace, folder, languages);
        assert!(said.contains(" 0 did not") && !said.contains("cannot read"), "{said}");
    }
}

/// It took 0 / 0 for a value of the verdict, and ended where an arm had no value or a claim had a mistake.
#[cfg(feature = "torch")]
#[test]
fn the_second_way_agrees_where_trainings_are_missing_die_or_diverge() {
    let workspace = Workspace::new(RATES);
    // With exit code 2, for some of its claims are mistakes.
    let (_, trials, _) = workspace.run(&["list", "tiny", "--json"]);
    let trials: Vec<serde_json::Value> = serde_json::from_str(&trials).unwrap();
    let first = trials[0]["trial_id"].as_str().unwrap();
    let (code, _, err) = workspace.run(&["run", "tiny", "--trial", first]);
    assert_eq!(code, 0, "{err}");
    let said = second_way(&workspace, "one", "en");
    assert!(said.contains(" 0 did not") && !said.contains("cannot read"), "{said}");
    let (code, _, err) = workspace.run(&["run", "tiny"]);
    assert!(code == 1 && err.contains("diverged"), "{err}");
    let said = second_way(&workspace, "all", "en");
    assert!(said.contains(" 0 did not") && !said.contains("cannot read"), "{said}");
    let folder = workspace.path().join("all");
    let values = fs::read_to_string(folder.join("tiny/values.csv")).unwrap();
    assert!(values.contains("gradient_norm_ratio,NaN,"), "{values}");
    let page = fs::read_to_string(folder.join("tiny/index.html")).unwrap();
    let before = "R.dead</span> <span class=\"verdict ";
    let changed = page.replacen(&format!("{before}not-evaluated"), &format!("{before}refuted"), 1);
    assert_ne!(page, changed);
    fs::write(folder.join("tiny/index.html"), changed).unwrap();
    let found = python(folder.to_str().unwrap(), &["audit.py"]);
    assert_eq!(found.status.code(), Some(1), "{}", out(&found));
    let named = "index.html: R.dead: verdict: found 'refuted', expected 'not_evaluated'";
    assert!(out(&found).contains(named), "{}", out(&found));
}

#[test]
fn a_bundle_is_checked_and_one_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.tar.gz");
    let file = file.to_str().unwrap();
    let gpu = format!("{REPORTS}/gpu");
    let packed = pinbench(&["bundle", &gpu, "--out", file]);
    assert!(packed.status.success(), "{}", out(&packed));
    let checked = pinbench(&["bundle", "--verify", file]);
    assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
    assert!(out(&checked).contains("all is as the files beside the pages say"), "{}", out(&checked));
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    let refused = pinbench(&["bundle", "--verify", file]);
    assert_ne!(refused.status.code(), Some(0), "{}", out(&refused));
}

#[test]
fn pages_are_made_again_elsewhere_without_a_store_and_a_changed_number_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("gpu");
    let place = place.to_str().unwrap();
    let made = pinbench(&["report", "--from", &format!("{REPORTS}/gpu"), "--out", place]);
    assert!(made.status.success(), "{}", out(&made));
    assert_eq!(pinbench(&["audit", place]).status.code(), Some(0));
    let page = Path::new(place).join("m1-batch-size/index.html");
    let text = fs::read_to_string(&page).unwrap();
    let changed = text.replacen("0.98", "0.99", 1);
    assert_ne!(text, changed);
    fs::write(&page, changed).unwrap();
    let found = pinbench(&["audit", place]);
    assert_eq!(found.status.code(), Some(1), "{}", out(&found));
    assert!(out(&found).contains("m1-batch-size/index.html:"), "{}", out(&found));
    // What is gone cannot be told.
    fs::remove_file(Path::new(place).join("m1-batch-size/runs.json")).unwrap();
    assert_eq!(pinbench(&["audit", &format!("{place}/m1-batch-size")]).status.code(), Some(2));
}
