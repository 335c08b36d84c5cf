//! A study of 10,000 trials: what the verbs over a whole store take, and what one task asks of its file system.
//!
//! One trial is trained; the others are its run under other seeds with a thousand steps of other times and other
//! accuracies, sealed as a task seals them.
#![cfg(feature = "torch")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::Workspace;
use jiff::Timestamp;
use pinbench::clock::{Phase, PhaseTimes};
use pinbench::record::{LoadedRun, Rows, RunId, Store};
use pinbench::row::{ChainRow, EpochRow, StepRow};
use pinbench::stream::Seed;

const SEEDS: u64 = 2500;
const STEPS: usize = 1000;
/// What a page may have.
const PAGE_BYTES: u64 = 1_500_000;

fn experiment() -> String {
    let seeds: Vec<String> = (0..SEEDS).map(|seed| seed.to_string()).collect();
    format!(
        r#"
title = "ten thousand"
why = "a study for a cluster"
data = {{ set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }}
model = {{ name = "simple_cnn", activation = "relu", dropout = 0.5 }}
optim = {{ name = "adam", lr = 0.001 }}
train = {{ batch = 64, epochs = 1 }}
[[factors]]
key = "train.batch"
label = "batch"
levels = [{{ value = 32 }}, {{ value = 64 }}, {{ value = 128 }}, {{ value = 256 }}]
[profiles]
smoke = {{ seeds = [{}] }}
[[claims]]
id = "T1"
says = "a small batch is more accurate than a large one"
tests = [
    {{ metric = "val_acc", order = "batch 32 > batch 256", margin = 0.001 }},
    {{ metric = "val_loss", order = "batch 256 > batch 32", margin = 0.001 }},
]
"#,
        seeds.join(", ")
    )
}

#[test]
#[ignore = "`just prove-ten-thousand`: minutes, and a file system that is not waited for"]
fn ten_thousand_trials_are_listed_merged_and_reported() {
    let workspace = Workspace::new(&experiment());
    let (code, manifest, err) = workspace.run(&["manifest", "tiny", "--profile", "smoke"]);
    assert_eq!(code, 0, "{err}");
    fs::write(workspace.path().join("m.json"), &manifest).unwrap();
    println!("m.json: {} bytes", manifest.len());
    calls_of_a_task(&workspace);
    fill(&workspace);
    println!("{:<44}{:>9}{:>12}", "10,000 runs, as many trials", "s", "peak MB");
    measured(&workspace, "list", &["list", "tiny", "--jobs", "2"], None);
    measured(&workspace, "manifest", &["manifest", "tiny", "--profile", "smoke"], None);
    measured(&workspace, "manifest --missing", &["manifest", "m.json", "--missing"], None);
    measured(&workspace, "run --index, done", &["run", "--manifest", "m.json", "--index", "7777"], None);
    measured(&workspace, "merge, all new", &["merge", "runs", "--store", "all"], None);
    measured(&workspace, "merge, all there", &["merge", "runs", "--store", "all"], None);
    measured(&workspace, "report --steps", &["report", "tiny", "--steps"], None);
    let has_steps = || workspace.path().join("reports/tiny/steps.parquet").exists();
    assert!(has_steps(), "asked for, they lie beside the page");
    measured(&workspace, "report", &["report", "tiny"], None);
    assert!(!has_steps(), "ten million rows are more than a page takes unasked");
    let page = |name: &str| fs::metadata(workspace.path().join("reports/tiny").join(name)).unwrap().len();
    for name in ["index.html", "index.ko.html"] {
        println!("{name}: {} bytes", page(name));
        assert!(
            page(name) < PAGE_BYTES,
            "{name} has {} bytes, at most {PAGE_BYTES} were asked for",
            page(name)
        );
    }
    measured(&workspace, "report --from", &["report", "--from", "reports"], None);
    measured(&workspace, "audit", &["audit", "reports"], None);
    second_path(&workspace);
    assert_eq!(Store::open(&workspace.path().join("all")).unwrap().records().unwrap().records.len(), 10_000);
}

/// `audit.py` beside the index computes the page's numbers too.
fn second_path(workspace: &Workspace) {
    let mut python = Command::new("python3");
    let Ok(output) = python.arg("audit.py").current_dir(workspace.path().join("reports")).output() else {
        println!("no python3 here: audit.py is not run");
        return;
    };
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Every other trial has a run like the first.
fn fill(workspace: &Workspace) {
    let store = Store::open(&workspace.path().join("runs")).unwrap();
    let first = store.load(&store.records().unwrap().records[0]).unwrap();
    let path = workspace.path().join("experiments/tiny.toml");
    let experiment = pinbench::experiment::Experiment::load(&path).unwrap();
    let began = Instant::now();
    for (_, trial) in experiment.profile.trials() {
        if trial.id() == first.record.trial_id {
            continue;
        }
        let mut record = first.record.clone();
        record.run = RunId::new(Timestamp::now(), std::process::id());
        (record.trial_id, record.config_hash) = (trial.id(), trial.config.hash());
        record.trial = trial;
        // The store refuses a seed that is none, not one that was never trained.
        assert!(record.trial.seed <= Seed(SEEDS));
        if let Some(outcome) = &mut record.outcome {
            outcome.steps = STEPS as u64;
        }
        let rows = rows(&first, record.trial.seed);
        store.seal(&record, &rows).unwrap();
    }
    println!("sealed 9,999 runs in {:.1} s", began.elapsed().as_secs_f64());
}

/// Rows like those of the first run, of which each has times, losses and accuracies of its own: equal ones would be
/// compressed to next to nothing.
fn rows(first: &LoadedRun, seed: Seed) -> Rows {
    // SplitMix64's last step: any number that looks like none of its neighbours will do.
    let draw = |row: usize, column: u64| {
        let mixed = (seed.0 << 40 ^ column << 32 ^ row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 31
    };
    let noise = |row: usize, column: u64| 0.95 + 0.1 * (draw(row, column) % 1000) as f64 / 1000.0;
    let step = |row: usize| {
        let like = first.steps[row % first.steps.len()];
        let ns = |phase: Phase| (like.times.ns(phase).unwrap_or(0) as f64 * noise(row, phase as u64)) as u64;
        let times = PhaseTimes::summed(Phase::ALL.map(ns));
        StepRow { step: row as u64, loss: like.loss * noise(row, 10), times, ..like }
    };
    let epoch = |(row, like): (usize, &EpochRow)| {
        let (loss, accuracy) = (like.loss * noise(row, 11), like.accuracy * noise(row, 12).min(1.0));
        EpochRow { loss, accuracy, ..*like }
    };
    let chain = |row: usize| ChainRow { step: row as u64, of: String::new(), hash: draw(row, 13) };
    Rows {
        steps: (0..STEPS).map(step).collect(),
        epochs: first.epochs.iter().enumerate().map(epoch).collect(),
        confusion: first.confusion.clone(),
        diagnostics: first.diagnostics.clone(),
        chain: (0..STEPS).map(chain).collect(),
    }
}

/// Runs the program to its end; prints the time it took and the most memory it had.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and says what it used")]
fn measured(workspace: &Workspace, name: &str, arguments: &[&str], code: Option<i32>) {
    let began = Instant::now();
    let mut command = workspace.pinbench(arguments);
    let errors = fs::File::create(workspace.path().join("errors")).unwrap();
    let child = command.stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    // SAFETY: rusage is plain integers, for which zero is a value; the child is this process's own and waited for here alone.
    let (status, usage) = unsafe {
        let (mut status, mut usage): (libc::c_int, libc::rusage) = (0, std::mem::zeroed());
        assert_eq!(
            libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage),
            child.id() as libc::pid_t
        );
        (status, usage)
    };
    let said = fs::read_to_string(workspace.path().join("errors")).unwrap();
    assert_eq!(libc::WEXITSTATUS(status), code.unwrap_or(0), "{name}: {said}");
    let (seconds, memory) = (began.elapsed().as_secs_f64(), usage.ru_maxrss as f64 / 1024.0);
    println!("{name:<44}{seconds:>9.1}{memory:>12.0}");
}

/// What the task of one index, parent and child, asks of the store and of the file system around it, by strace.
fn calls_of_a_task(workspace: &Workspace) {
    let log = workspace.path().join("calls");
    let task = ["run", "--manifest", "m.json", "--index", "0", "--quiet"];
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-e", "trace=%file,%desc", "-o"]).arg(&log);
    command.arg(env!("CARGO_BIN_EXE_pinbench")).args(task).current_dir(workspace.path());
    let Ok(status) = command.env("PINBENCH_LOCK_DIR", workspace.path()).env_remove("PINBENCH_STORE").status()
    else {
        println!("no strace here: calls are not counted");
        assert_eq!(workspace.run(&task).0, 0);
        return;
    };
    assert!(status.success());
    let store = workspace.path().join("runs").display().to_string();
    let calls = counted(&log, &store);
    let all: usize = calls.values().sum();
    println!("calls of a task on its store, {all} in all: {calls:?}");
    // Some dozens: a task that looks at other trials' folders would show here first.
    assert!(all < 400, "{calls:?}");
}

/// Calls by name whose line names the store.
fn counted(log: &Path, store: &str) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines().filter(|line| line.contains(store)) {
        let call = line.split_whitespace().nth(1).and_then(|word| word.split('(').next()).unwrap_or_default();
        *calls.entry(call.to_owned()).or_insert(0) += 1;
    }
    calls
}
