//! `check --against`: this program beside another, which is itself, or a script that stands for a revision.

#![cfg(feature = "torch")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::Workspace;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pinbench");

const EXPERIMENT: &str = r#"
title = "tiny"
why = "the smallest training that two programs can both do"
data = { set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 32 }, { value = 64 }]

[profiles]
smoke = { seeds = [0] }
"#;

/// A program of this name in the workspace, which does what the lines of a shell say.
fn script(workspace: &Workspace, name: &str, lines: &str) -> PathBuf {
    let path = workspace.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Exit code, what was said and the JSON.
fn against(workspace: &Workspace, binary: &Path, more: &[&str]) -> (i32, String, Value) {
    let binary = binary.to_str().unwrap();
    let first = ["check", "--against", binary, "--against-tree", ".", "--json", "against.json"];
    let (code, out, err) = workspace.run(&[&first[..], more].concat());
    let json = fs::read(workspace.path().join("against.json")).unwrap_or_default();
    (code, format!("{out}{err}"), serde_json::from_slice(&json).unwrap_or_default())
}

#[test]
fn a_binary_that_is_none_or_too_old_exits_2_with_what_was_found_and_what_to_do() {
    let workspace = Workspace::new(EXPERIMENT);
    let stranger = script(&workspace, "stranger", "echo stranger 3");
    let text = workspace.path().join("experiments/tiny.toml");
    let old =
        "case \"$1\" in --version) echo pinbench 0.0.9;; list) echo --profile --json;; *) exit 2;; esac";
    let old = script(&workspace, "old", old);
    for (binary, says) in [
        (Path::new("nowhere"), "there is no file"),
        (&text, "cannot be started"),
        (&stranger, "says it is 'stranger 3', expected a pinbench"),
        (&old, "is too old to be compared with: found no `pinbench run --trial`"),
    ] {
        let (code, said, _) = against(&workspace, binary, &[]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(says), "{says}\n{said}");
    }
    let (code, _, err) = workspace.run(&["check", "--against", PROGRAM, "--against-tree", "gone"]);
    assert!(code == 2 && err.contains("no folder") && err.contains("gone"), "{err}");
    assert_eq!(workspace.run(&["check", "--minutes", "2"]).0, 2, "--minutes is of --against alone");
}

/// The other tree calls the experiment and its arms otherwise, and has another arm in the place of one.
#[test]
fn a_program_beside_itself_has_equal_bits_whatever_its_arms_are_called() {
    let workspace = Workspace::new(EXPERIMENT);
    let other = Workspace::new(EXPERIMENT);
    let renamed = EXPERIMENT.replace("{ value = 32 }", "{ value = 16 }").replace("\"batch\"", "\"size\"");
    fs::remove_file(other.path().join("experiments/tiny.toml")).unwrap();
    fs::write(other.path().join("experiments/little.toml"), renamed).unwrap();
    let more = ["tiny", "--no-times", "--against-tree", other.path().to_str().unwrap()];
    let first = ["check", "--against", PROGRAM, "--json", "against.json", "--junit", "against.xml"];
    let (code, out, err) = workspace.run(&[&first[..], &more[..]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let json: Value =
        serde_json::from_slice(&fs::read(workspace.path().join("against.json")).unwrap()).unwrap();
    let arms = json["arms"].as_array().unwrap();
    assert_eq!(arms.len(), 1, "{json:#}");
    assert_eq!(
        (&arms[0]["name"], &arms[0]["old_name"]),
        (&"tiny: batch 64".into(), &"little: size 64".into())
    );
    assert_eq!((&arms[0]["bits"]["verdict"], &arms[0]["step_time"]), (&"equal".into(), &Value::Null));
    // Named once, and no alarm. Of an experiment that was not asked for nothing is missed.
    assert_eq!(
        (&json["only_new"][0], json["only_old"].as_array().unwrap().len()),
        (&"tiny: batch 32".into(), 0)
    );
    assert_eq!(out.matches("batch 32").count(), 1, "{out}");
    let junit = fs::read_to_string(workspace.path().join("against.xml")).unwrap();
    assert!(junit.contains("tests=\"1\" failures=\"0\""), "{junit}");
    // Runs are no part of anybody's store.
    assert!(!workspace.path().join("runs").exists() && !other.path().join("runs").exists());
}

/// The program, but for what `time` and `show` print, which `sed` changes.
fn altered(workspace: &Workspace, verb: &str, sed: &str) -> PathBuf {
    let lines = format!(
        "[ \"$1\" = {verb} ] || exec {PROGRAM} \"$@\"\ncase \"$*\" in *--help*) exec {PROGRAM} \"$@\";; esac\n{sed}"
    );
    script(workspace, "altered", &lines)
}

#[test]
fn other_weights_under_the_same_seed_are_changed_and_one_block_of_times_tells_nothing() {
    let workspace = Workspace::new(EXPERIMENT);
    let sed = format!("{PROGRAM} \"$@\" | sed 's/\"final_weights\": \"./\"final_weights\": \"x/'");
    let more = ["--arms", "1", "--minutes", "0.05"];
    let (code, said, json) = against(&workspace, &altered(&workspace, "show", &sed), &more);
    assert_eq!(code, 5, "{said}");
    assert_eq!(json["arms"][0]["bits"]["parts"][0], "final weights");
    assert!(said.contains("✗ tiny: batch 32") && said.contains("1 more arm"), "{said}");
    let time = &json["arms"][0]["step_time"];
    assert_eq!((time["standing"].as_str(), time["blocks"].as_u64()), (Some("open"), Some(1)), "{said}");
    assert!(said.contains("too few blocks (1); give more --minutes"), "{said}");
}

/// Its JSON was called one without the keys that its help has.
#[test]
fn a_program_whose_processes_fail_gives_no_ratio_and_says_why() {
    let workspace = Workspace::new(EXPERIMENT);
    let lines = "echo 'warning: the process died' >&2; echo '{\"conditions\":[{\"turns_ms\":[]}]}'; exit 1";
    let more = ["--arms", "1", "--minutes", "0.05"];
    let (code, said, json) = against(&workspace, &altered(&workspace, "time", lines), &more);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("no step was timed") && said.contains("the process died"), "{said}");
    assert_eq!(json["arms"][0]["bits"]["verdict"], "equal", "{said}");
}

/// A timed test, which a busy machine can fail: `just prove-against` runs it alone.
#[test]
#[ignore = "timed; run by `just prove-against`"]
fn five_percent_are_found_in_five_minutes_and_nothing_is_found_of_nothing() {
    let workspace = Workspace::new(EXPERIMENT);
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let check = |planted: &[&str]| {
        let more = ["m1", "--experiments", built_in.to_str().unwrap(), "--minutes", "5"];
        let (code, said, json) = against(&workspace, Path::new(PROGRAM), &[&more[..], planted].concat());
        println!("planted: {planted:?}, exit code {code}\n{said}");
        (code, json["arms"][0]["step_time"]["standing"].clone())
    };
    assert_eq!(check(&[]).0, 0);
    assert_eq!(check(&["--plant", "slow-step-5"]), (1, "slower".into()));
}

/// What an old revision printed: a step that took no time at all, so that any machine is slower, however busy.
#[test]
#[ignore = "three blocks of real steps; run by `just prove-against`"]
fn a_slower_step_is_called_so_at_the_first_planned_look() {
    let workspace = Workspace::new(EXPERIMENT);
    let recorded = "for turn in 1 2 3; do echo ready; read -r _; done\n\
                    echo '{ \"conditions\": [{ \"turns_ms\": [[null, 1e-12, 1e-12]] }] }'";
    let old = altered(&workspace, "time", recorded);
    let more = ["--arms", "1", "--minutes", "10", "--markdown", "a.md"];
    let (code, said, json) = against(&workspace, &old, &more);
    assert_eq!(code, 1, "{said}");
    let time = &json["arms"][0]["step_time"];
    assert_eq!((time["standing"].as_str(), time["blocks"].as_u64()), (Some("slower"), Some(3)), "{json:#}");
    assert!(said.contains("slower: a step takes") && said.contains("(exit code 1)"), "{said}");
    let markdown = fs::read_to_string(workspace.path().join("a.md")).unwrap();
    assert!(markdown.contains("| ✗ regressed | tiny: batch 32 | equal |"), "{markdown}");
}
