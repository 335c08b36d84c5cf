//! The command line as a user meets it, without training: needs no libtorch, no network and no data set.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::{contains, is_empty};
use serde_json::Value;
use tempfile::TempDir;

const TOML: &str = r#"title = "dropout"
why = "a test"
default_profile = "quick"

[data]
set = "mnist"
validation = 0.2

[model]
name = "simple_cnn"
activation = "relu"
dropout = 0.5

[optim]
name = "adam"
lr = 0.001

[train]
batch = 64
epochs = 1

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 128 }]

[profiles.smoke]
seeds = [0]
set = { "data.train_limit" = 256 }

[profiles.quick]
seeds = [0, 1]

[profiles.full]
seeds = [0, 1, 2]
"#;

/// A folder with the experiments `m1-batch` and `m2-other`, an empty cache and no store.
fn workspace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("experiments")).unwrap();
    for id in ["m1-batch", "m2-other"] {
        fs::write(folder.path().join(format!("experiments/{id}.toml")), TOML).unwrap();
    }
    folder
}

fn pinbench(workspace: &TempDir) -> Command {
    let mut command = Command::cargo_bin("pinbench").unwrap();
    command.current_dir(workspace.path()).env_remove("PINBENCH_STORE");
    command.env("PINBENCH_DATA", workspace.path().join("data")).env("PINBENCH_LOCK_DIR", workspace.path());
    command
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

#[test]
fn every_verb_has_help_that_fits_eighty_columns() {
    let workspace = workspace();
    for verb in [
        &["reproduce"][..],
        &["run"],
        &["report"],
        &["list"],
        &["show"],
        &["doctor"],
        &["data"],
        &["data", "fetch"],
        &["data", "list"],
        &["data", "verify"],
    ] {
        let output = pinbench(&workspace).args(verb).arg("--help").assert().success().get_output().clone();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Usage: pinbench") && help.contains("--store"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
    let top = pinbench(&workspace).arg("--help").assert().success();
    top.stdout(contains("130  interrupted").and(contains("\n  train ").not()));
}

#[test]
fn an_unknown_experiment_names_the_nearest_and_exits_2() {
    let workspace = workspace();
    for verb in ["list", "run", "report", "reproduce"] {
        let assert = pinbench(&workspace).args([verb, "m1-bach"]).assert().code(2);
        assert.stdout(is_empty()).stderr(contains("did you mean 'm1-batch'?").and(contains("m2-other")));
    }
}

#[test]
fn an_ambiguous_start_of_an_experiment_names_all_it_could_be() {
    let workspace = workspace();
    pinbench(&workspace).args(["list", "m"]).assert().code(2).stderr(contains("m1-batch, m2-other"));
    pinbench(&workspace).args(["list", "m2"]).assert().success().stdout(contains("m2-other"));
}

#[test]
fn a_folder_without_experiments_says_where_it_looked() {
    let workspace = workspace();
    let mut list = pinbench(&workspace);
    list.args(["list", "--experiments", "nowhere"]).assert().code(2).stderr(contains("'nowhere'"));
}

#[test]
fn an_unknown_key_in_a_toml_file_exits_2_and_points_at_the_line() {
    let workspace = workspace();
    let path = workspace.path().join("experiments/m1-batch.toml");
    fs::write(&path, TOML.replace("batch = 64\n", "bacth = 64\n")).unwrap();
    let assert = pinbench(&workspace).args(["list", "m1"]).assert().code(2);
    assert.stderr(
        contains("m1-batch.toml:19:1").and(contains("bacth = 64")).and(contains("did you mean `batch`?")),
    );
    // The other file is whole.
    pinbench(&workspace).args(["list", "m2"]).assert().success();
}

#[test]
fn list_as_json_has_the_documented_keys_and_one_object_a_trial() {
    let workspace = workspace();
    let rows = json(pinbench(&workspace).args(["list", "m1", "--json", "--threads", "2"]));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let mut keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let documented = [
        "arm",
        "config",
        "estimate_basis",
        "estimate_s",
        "experiment",
        "kept_steps",
        "plan_hash",
        "profile",
        "run",
        "seed",
        "status",
        "trial_id",
    ];
    assert_eq!(keys, documented);
    assert_eq!(rows[1]["arm"], "batch 128");
    assert_eq!(rows[1]["config"]["train"]["batch"], 128);
    assert_eq!((&rows[0]["status"], &rows[0]["run"]), (&Value::from("missing"), &Value::Null));
    assert_eq!(rows[0]["trial_id"].as_str().unwrap().len(), 64);
}

#[test]
fn listing_makes_no_store() {
    let workspace = workspace();
    pinbench(&workspace).args(["list", "m1"]).assert().success();
    let _ = pinbench(&workspace).args(["doctor", "--json"]).assert();
    assert!(!workspace.path().join("runs").exists());
}

#[test]
fn seeds_cuts_the_list_after_so_many_seeds() {
    let workspace = workspace();
    let rows = json(pinbench(&workspace).args(["list", "m1", "--json", "--profile", "full", "--seeds", "1"]));
    let seeds: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["seed"]).collect();
    assert_eq!(seeds, [0, 0]);
}

#[test]
fn wrong_values_of_options_exit_2() {
    let workspace = workspace();
    for (arguments, named) in [
        (["list", "--profile", "fast"], "fast"),
        (["list", "--plan", "lazy"], "lazy"),
        (["list", "--threads", "0"], "0"),
        (["list", "--seeds", "0"], "0"),
        (["list", "--device", "gpu"], "gpu"),
        (["data", "fetch", "imagenet"], "imagenet"),
    ] {
        pinbench(&workspace).args(arguments).assert().code(2).stderr(contains(named)).stdout(is_empty());
    }
}

#[test]
fn trials_at_once_have_one_thread_each_on_cores_that_are_there() {
    let workspace = workspace();
    let varied =
        TOML.replace("train.batch", "plan.threads").replace("64 }, { value = 128", "1 }, { value = 2");
    fs::write(workspace.path().join("experiments/m3-threads.toml"), varied).unwrap();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut wrong = vec![
        (vec!["run", "m1", "--jobs", "2", "--threads", "2"], "--threads"),
        (vec!["list", "m1", "--jobs", "2", "--set", "plan.threads=2"], "--set plan.threads"),
        (vec!["list", "m3", "--jobs", "2"], "'m3-threads' varies `plan.threads`"),
        (vec!["run", "--manifest", "m.json", "--index", "0", "--device", "cuda"], "--device"),
        (vec!["run", "--jobs", "65"], "65"),
        (vec!["check", "--jobs", "2"], "--jobs"),
        (vec!["trace", "3f9a", "--jobs", "2"], "--jobs"),
    ];
    if cores < 64 {
        wrong.push((vec!["run", "m1", "--jobs", "64"], "asks for a core each, found"));
    }
    for (arguments, named) in wrong {
        pinbench(&workspace).args(arguments).assert().code(2).stderr(contains(named)).stdout(is_empty());
    }
    // Nothing was begun.
    assert!(!workspace.path().join("runs").exists() && !workspace.path().join("data").exists());
}

#[test]
fn trials_at_once_are_of_the_plan_with_one_thread() {
    let workspace = workspace();
    let hash = |more: &[&str]| {
        let rows = json(pinbench(&workspace).args(["list", "m1", "--json"]).args(more));
        rows[0]["plan_hash"].clone()
    };
    assert_eq!(hash(&["--jobs", "1"]), hash(&[]));
    assert_eq!(hash(&["--jobs", "2"]), hash(&["--threads", "1"]));
}

#[test]
fn a_report_on_an_empty_store_renders_and_prints_its_path() {
    let workspace = workspace();
    let assert = pinbench(&workspace).args(["report", "m1", "--out", "pages", "--quiet"]).assert().success();
    let said = contains("there is no run of m1-batch under the profile 'quick'");
    assert.stdout("pages/m1-batch/index.html\npages/index.html\n").stderr(said);
    let page = fs::read_to_string(workspace.path().join("pages/m1-batch/index.html")).unwrap();
    assert!(page.contains("pinbench reproduce m1-batch --profile quick"), "{page}");
    let files = [
        "audit.py",
        "claims.csv",
        "index.html",
        "index.ko.html",
        "m1-batch",
        "methods.html",
        "methods.ko.html",
        "open-questions.html",
        "open-questions.ko.html",
        "page.json",
    ];
    assert_eq!(names(&workspace.path().join("pages")), files);
    let korean = ["report", "m1", "--out", "korean", "--lang", "ko", "--quiet"];
    let assert = pinbench(&workspace).args(korean).assert().success();
    assert.stdout("korean/m1-batch/index.ko.html\nkorean/index.ko.html\n");
    // A folder with a page of either language is a report, which may be replaced.
    pinbench(&workspace).args(korean).assert().success();
    let files = [
        "audit.py",
        "claims.csv",
        "index.ko.html",
        "m1-batch",
        "methods.ko.html",
        "open-questions.ko.html",
        "page.json",
    ];
    assert_eq!(names(&workspace.path().join("korean")), files);
    let index = fs::read_to_string(workspace.path().join("pages/index.html")).unwrap();
    assert!(
        index.contains("None of the runs shown here is of these under this profile; <code>pinbench list")
    );
}

#[test]
fn a_folder_that_is_no_report_is_not_replaced_by_one() {
    let workspace = workspace();
    let mine = workspace.path().join("pages/m1-batch");
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("notes.txt"), "mine").unwrap();
    let mut report = pinbench(&workspace);
    report.args(["report", "m1", "--out", "pages"]).assert().code(1).stderr(contains("is in the way"));
    assert_eq!(names(&mine), ["notes.txt"]);
}

#[test]
fn a_folder_that_is_no_store_is_refused_by_name() {
    let workspace = workspace();
    let mut list = pinbench(&workspace);
    list.args(["list", "m1", "--store", "experiments"])
        .assert()
        .code(1)
        .stderr(contains("not a pinbench store"));
}

#[test]
fn show_of_an_unknown_id_exits_2_and_says_where_ids_are() {
    let workspace = workspace();
    pinbench(&workspace).args(["show", "abc"]).assert().code(2).stderr(contains("pinbench list"));
}

#[test]
fn an_unknown_trial_is_wrong_usage() {
    let workspace = workspace();
    let assert = pinbench(&workspace).args(["run", "m1", "--trial", "zzz"]).assert().code(2);
    assert.stderr(contains("starts with 'zzz'"));
}

#[test]
fn doctor_as_json_names_the_store_and_the_data_sets_with_advice() {
    let workspace = workspace();
    let output = pinbench(&workspace).args(["doctor", "--json"]).assert().get_output().stdout.clone();
    let checks: Value = serde_json::from_slice(&output).unwrap();
    let find = |name: &str| checks.as_array().unwrap().iter().find(|check| check["name"] == name).cloned();
    assert_eq!(find("store").unwrap()["state"], "ok");
    let mnist = find("data mnist").unwrap();
    assert_eq!(mnist["state"], "warn");
    assert!(mnist["advice"].as_str().unwrap().contains("pinbench data fetch mnist"));
}

#[test]
fn data_list_names_every_set_and_verify_fails_on_an_empty_cache() {
    let workspace = workspace();
    let assert = pinbench(&workspace).args(["data", "list"]).assert().success();
    assert.stdout(
        contains("mnist").and(contains("fashion_mnist")).and(contains("cifar10")).and(contains("missing")),
    );
    pinbench(&workspace).args(["data", "verify"]).assert().code(1).stderr(contains("pinbench data fetch"));
    pinbench(&workspace).args(["data", "verify", "mnist"]).assert().code(1).stderr(contains("fetch mnist"));
}

/// It panicked: `println!` does when a reader such as `head` has gone.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let workspace = workspace();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pinbench"))
        .args(["list", "--json", "--profile", "full"])
        .current_dir(workspace.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// With CUDA too: no machine has a hundred GPUs.
#[cfg(feature = "torch")]
#[test]
fn a_gpu_that_is_not_there_is_refused_before_anything_is_fetched() {
    let workspace = workspace();
    let assert = pinbench(&workspace).args(["run", "m1", "--device", "cuda:99"]).assert().code(1);
    assert.stderr(contains("device 'cuda:99' cannot be used").and(contains("libtorch")).and(contains("use")));
    assert!(!workspace.path().join("data").exists());
    let fused = ["run", "m1", "--device", "cuda", "--plan", "fused"];
    pinbench(&workspace).args(fused).assert().code(1).stderr(contains("--plan tuned"));
}

#[test]
fn the_help_says_on_what_gpus_this_was_run() {
    let workspace = workspace();
    let output = pinbench(&workspace).args(["run", "--help"]).assert().success().get_output().clone();
    // Wherever the lines are broken.
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("on one kind of GPU so far: docs/gpu.md"), "{help}");
}

#[cfg(not(feature = "torch"))]
#[test]
fn without_libtorch_training_says_how_to_get_it() {
    let workspace = workspace();
    for arguments in [&["train"][..], &["run", "m1"], &["reproduce", "m1"]] {
        pinbench(&workspace).args(arguments).assert().code(1).stderr(contains("built without libtorch"));
    }
    pinbench(&workspace).arg("doctor").assert().code(1).stdout(contains("FAIL  libtorch"));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
