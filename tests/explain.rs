//! `pinbench explain` through the program, on real MNIST: a page from a short measurement and again from what was kept, a
//! planted cause in its phase and with its size, and nothing where there is none.

#![cfg(feature = "torch")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use common::Workspace;
use pinbench::planted::DELAY_NS_PER_IMAGE;
use serde_json::Value;

const TINY: &str = r#"
title = "tiny"
data = { set = "mnist", validation = 0.2, train_limit = 2048, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }
seeds = [0]
"#;

const STUDY: &str = r#"
title = "Is batch 64 slower than batch 32?"
why = "A test."
low = { name = "batch 32", experiment = "tiny", set = { "train.batch" = 32 } }
high = { name = "batch 64", experiment = "tiny", set = { "train.batch" = 64 } }

[[hypotheses]]
id = "dropout"
title = "Dropout"
says = "It draws numbers."
predicts = "Without it there is no slowdown."
origin = "a test"
gauges = ["faults", "image", "load"]
remove = { "model.dropout" = 0.0 }
"#;

fn workspace() -> Workspace {
    let workspace = Workspace::new(TINY);
    fs::create_dir(workspace.path().join("studies")).unwrap();
    fs::write(workspace.path().join("studies/slow.toml"), STUDY).unwrap();
    workspace
}

fn json(workspace: &Workspace, page: &str) -> Value {
    let page = workspace.path().join(page);
    assert!(page.is_file(), "{}", page.display());
    serde_json::from_slice(&fs::read(page.with_file_name("explanation.json")).unwrap()).unwrap()
}

#[test]
fn a_study_in_the_folder_is_measured_and_its_page_made_again_of_what_was_kept() {
    let workspace = workspace();
    let (code, out, err) = workspace.run(&["explain", "slow", "--minutes", "0.1", "--keep", "kept"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("Is batch 64 slower than batch 32?: 5 conditions a block"), "{err}");
    assert!(out.starts_with("An image with batch 64 takes ") && out.contains(" times"), "{out}");
    let page = "reports/explain-slow/index.html";
    assert_eq!(out.lines().last(), Some(page));
    let first = json(&workspace, page);
    assert!(first["blocks"].as_u64().unwrap() >= 1 && first["measurement"] == "kept");
    assert_eq!(first["hypotheses"][0]["gauges"].as_array().unwrap().len(), 3);
    let (code, out, err) = workspace.run(&["explain", "--from", "kept", "--out", "again"]);
    assert_eq!((code, out.lines().last()), (0, Some("again/explain-slow/index.html")), "{err}");
    let bytes = |path: &str| fs::read(workspace.path().join(path).join("explain-slow/index.html")).unwrap();
    assert!(bytes("reports") == bytes("again"), "another page of the same measurement");
    // Nothing is measured over what is there.
    let (code, _, err) = workspace.run(&["explain", "slow", "--minutes", "0.1", "--keep", "kept"]);
    assert!(code == 1 && err.contains("there is a measurement in 'kept' already"), "{err}");
    let (code, _, err) = workspace.run(&["explain", "--from", "studies"]);
    assert!(code == 2 && err.contains("'studies' has no layout.json"), "{err}");
}

#[test]
fn an_interrupted_explanation_is_of_the_blocks_that_are_whole() {
    let workspace = workspace();
    let arguments = ["explain", "slow", "--minutes", "60", "--plant", "delay-load"];
    let mut explaining =
        workspace.pinbench(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(explaining.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("block 1:")), "the first block never ended");
    Command::new("kill").args(["-TERM", &explaining.id().to_string()]).status().unwrap();
    let rest: Vec<String> = said.collect();
    let output = explaining.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.starts_with("This is a demonstration with a planted fault ('delay-load')"), "{out}");
    let explanation = json(&workspace, "reports/explain-slow-delay-load/index.html");
    assert!(explanation["blocks"].as_u64().unwrap() >= 1);
    assert_eq!(explanation["demonstration"]["fault"], "delay-load");
}

#[test]
fn mistakes_are_said_before_anything_is_measured() {
    let workspace = workspace();
    let study = |text: &str| fs::write(workspace.path().join("studies/slow.toml"), text).unwrap();
    study(&STUDY.replace("model.dropout", "model.dropuot"));
    let run = |arguments: &[&str]| workspace.run(&[&["explain"][..], arguments].concat());
    let (code, _, err) = run(&["slow"]);
    assert!(code == 2 && err.contains("slow.toml:14:1") && err.contains("dropuot"), "{err}");
    study(&STUDY.replace("remove =", "removes ="));
    let (code, _, err) = run(&["studies/slow.toml"]);
    assert!(code == 2 && err.contains("slow.toml:14:1") && err.contains("did you mean `remove`?"), "{err}");
    study(STUDY);
    for (arguments, what) in [
        (&["slow", "--plant", "labels"][..], "'labels' makes no step slower"),
        (&["slow", "--plant", "delay-load", "--aa"], "cannot be used with"),
        (&["slow", "--plan", "tuend"], "did you mean `tuned`?"),
        (&["btach-size"], "unknown study 'btach-size'; did you mean 'batch-size'?"),
        (&["s.toml"], "cannot read the study's file 's.toml'"),
    ] {
        let (code, out, err) = run(arguments);
        assert!((code, out.as_str()) == (2, "") && err.contains(what), "{what}: {err}");
    }
    assert!(!workspace.path().join("measurements").exists() && !workspace.path().join("reports").exists());
}

/// Text between the fences of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_page_on_studies_shows_one_that_is_understood_and_commands_that_work() {
    let text = include_str!("../docs/your-study.md");
    let workspace = Workspace::new(TINY);
    fs::write(workspace.path().join("why.toml"), blocks(text, "toml")[0]).unwrap();
    let commands: Vec<&str> = blocks(text, "sh").into_iter().flat_map(str::lines).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let (code, _, err) = workspace.run(&words);
        assert_eq!(code, 0, "{command}: {err}");
    }
    assert!(workspace.path().join("pages/explain-why/index.html").exists());
}

/// What is printed, and `explanation.json`. Under the tuned plan there is hardly any slowdown of its own, so that what is
/// planted is all there is.
fn explanation(more: &[&str]) -> (String, Value) {
    let workspace = Workspace::new(TINY);
    let brief = ["explain", "batch-size", "--plan", "tuned", "--minutes", "3"];
    let (code, out, err) = workspace.run(&[&brief[..], more].concat());
    assert_eq!(code, 0, "{out}{err}");
    let explanation = json(&workspace, out.lines().last().unwrap());
    println!("{out}");
    (out, explanation)
}

/// Ids of the hypotheses that have one of the verdicts.
fn found<'e>(explanation: &'e Value, verdicts: &[&str]) -> Vec<&'e str> {
    let findings = explanation["hypotheses"].as_array().unwrap().iter();
    let is_found = |finding: &&Value| verdicts.contains(&finding["verdict"].as_str().unwrap());
    findings.filter(is_found).map(|finding| finding["id"].as_str().unwrap()).collect()
}

const FOUND: &[&str] = &["main_cause", "contributes"];

fn found_with_its_size(fault: &str, phase: &str, cause: Option<&str>) {
    let (out, explanation) = explanation(&["--plant", fault]);
    assert_eq!(explanation["slowdown"]["presence"], "found", "{out}");
    let us = |part: &Value| part["more_us"]["value"].as_f64().unwrap();
    let parts = explanation["parts"].as_array().unwrap();
    let largest = parts.iter().max_by(|a, b| us(a).total_cmp(&us(b))).unwrap();
    let planted_us = DELAY_NS_PER_IMAGE as f64 / 1e3;
    println!("{fault}: planted {planted_us} µs an image; found {largest}; {}\n", explanation["slowdown"]);
    assert_eq!(largest["part"], phase, "{out}");
    assert!((us(largest) / planted_us - 1.0).abs() < 0.2, "{largest}");
    // No removal takes the delay away, so none is its cause; loading and the optimizer are hypotheses of their own. What the
    // plan has left of a slowdown of its own may have a cause too, and a small one.
    assert!(cause.is_none_or(|cause| found(&explanation, FOUND).contains(&cause)), "{out}");
    let others: Vec<&str> =
        found(&explanation, &["main_cause"]).into_iter().filter(|id| cause != Some(id)).collect();
    assert_eq!(others, Vec::<&str>::new(), "{out}");
}

/// Timed tests, which a busy machine can fail: `just prove-explain` runs them alone and one after the other.
#[test]
#[ignore = "timed; run by `just prove-explain`"]
fn a_planted_delay_is_found_in_its_phase_and_its_size_within_a_fifth() {
    found_with_its_size("delay-forward", "forward", None);
    found_with_its_size("delay-optimizer", "optimizer", Some("optimizer"));
    found_with_its_size("delay-load", "load", Some("input"));
}

#[test]
#[ignore = "timed; run by `just prove-explain`"]
fn nothing_is_found_where_every_condition_is_the_same_training() {
    let (out, explanation) = explanation(&["--aa"]);
    println!("A/A: {}\n", explanation["slowdown"]);
    assert_eq!(explanation["demonstration"]["kind"], "aa");
    assert_ne!(explanation["slowdown"]["presence"], "found", "{out}");
    assert_eq!(found(&explanation, FOUND), Vec::<&str>::new(), "{out}");
}
