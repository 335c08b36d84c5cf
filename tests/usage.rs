//! What a first-time user asks: what the words mean, how long it takes, what was stopped and what went wrong.

mod common;

use std::path::Path;

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "a test"
default_profile = "quick"
data = { set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "sgd", lr = 0.01 }
train = { batch = 64, epochs = 1 }

[[factors]]
key = "train.epochs"
label = "length"
levels = [{ value = 1 }, { value = 400 }]

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0, 1] }
full = { seeds = [0, 1] }
"#;

/// A word that is used on a first screen before it is explained sends a reader away: each is in `help words`.
#[test]
fn ten_words_are_explained_and_the_first_screens_say_where() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, words, _) = workspace.run(&["help", "words"]);
    assert_eq!((code, words.lines().count()), (0, 10), "{words}");
    for word in ["trial", "run", "arm", "plan", "profile", "claim", "verdict", "margin", "seed", "block"] {
        assert!(words.lines().any(|line| line.starts_with(&format!("{word} "))), "{word}\n{words}");
    }
    assert!(words.lines().all(|line| line.chars().count() <= 80), "{words}");
    for screen in [&["--help"][..], &["run", "--help"], &["reproduce", "--help"]] {
        assert!(workspace.run(screen).1.contains("pinbench help words"), "{screen:?}");
    }
    // What clap's own subcommand did.
    for (topic, usage) in
        [(&["help", "run"][..], "pinbench run"), (&["help", "data", "fetch"], "pinbench data fetch")]
    {
        let (code, help, _) = workspace.run(topic);
        assert!(code == 0 && help.contains(&format!("Usage: {usage}")), "{help}");
    }
    let (code, out, err) = workspace.run(&["help", "wrods"]);
    assert!((code, out.as_str()) == (2, "") && err.contains("'wrods'") && err.contains("'words'"), "{err}");
}

/// What `init` writes has to run as it is, or a first hour is spent on it.
#[test]
fn init_writes_an_experiment_that_runs_as_it_is_and_never_over_another() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, out, err) = workspace.run(&["init", "my.toml"]);
    assert_eq!((code, out.as_str()), (0, "my.toml\n"), "{err}");
    assert!(err.contains("pinbench reproduce my.toml"), "{err}");
    let (code, table, err) = workspace.run(&["list", "my.toml"]);
    assert!(code == 0 && table.contains("6 trials") && !err.contains("claim"), "{table}{err}");
    let (code, _, err) = workspace.run(&["init", "my.toml"]);
    assert!(code == 2 && err.contains("'my.toml' is there already"), "{err}");
    let (code, _, err) = workspace.run(&["run", "my.toml", "--seeds", "1", "--no-diagnostics"]);
    if cfg!(feature = "torch") {
        assert!(code == 0 && err.contains("2 of 2 runs finished"), "{err}");
    }
}

#[test]
fn help_experiment_is_the_page_of_the_documents() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, out, _) = workspace.run(&["help", "experiment"]);
    assert_eq!((code, out.as_str()), (0, include_str!("../docs/experiment.md")));
}

/// A factor over the plan asks which knob helps: its arms are one trial under several plans, one after the other.
#[test]
fn arms_that_differ_by_plan_are_listed_apart_and_a_knob_is_set_by_name() {
    let plan = "[[factors]]\nkey = \"plan.loader\"\nlabel = \"loader\"\nlevels = [{ value = \"resident\" }, { value = \"samples\" }]\n";
    let start = EXPERIMENT.find("[[factors]]").unwrap();
    let end = EXPERIMENT.find("[profiles]").unwrap();
    let workspace = Workspace::new(&format!("{}{plan}\n{}", &EXPERIMENT[..start], &EXPERIMENT[end..]));
    let rows = workspace.list("tiny", "smoke", &[]);
    assert_eq!(
        (rows[0]["arm"].as_str(), rows[1]["arm"].as_str()),
        (Some("loader resident"), Some("loader samples"))
    );
    assert_eq!(rows[0]["trial_id"], rows[1]["trial_id"]);
    assert_ne!(rows[0]["plan_hash"], rows[1]["plan_hash"]);
    let set = workspace.list("tiny", "smoke", &["--set", "plan.huge_pages=false"]);
    assert_ne!(set[0]["plan_hash"], rows[0]["plan_hash"]);
    let (code, _, err) = workspace.run(&["list", "tiny", "--set", "plan.laoder=samples"]);
    assert!(code == 2 && err.contains("did you mean `loader`?"), "{err}");
    let (code, _, err) = workspace.run(&["list", "tiny", "--profile", "nightly"]);
    assert!(code == 2 && err.contains("no profile 'nightly': tiny (has smoke, quick, full)"), "{err}");
    if cfg!(feature = "torch") {
        let (code, _, err) = workspace.run(&["reproduce", "tiny", "--profile", "smoke", "--no-diagnostics"]);
        assert!(code == 0 && err.contains("2 of 2 runs finished"), "{err}");
        let page = std::fs::read_to_string(workspace.path().join("reports/tiny/index.html")).unwrap();
        assert!(page.contains("loader samples") && !page.contains("not comparable"), "plans of the arms");
    }
}

/// "smoke takes seconds" stood in the help of a profile of 55 trainings; what was said of `explain` was of one machine.
#[test]
fn no_help_promises_how_long_something_takes() {
    let workspace = Workspace::new(EXPERIMENT);
    for verb in
        [&[][..], &["reproduce"], &["run"], &["list"], &["check"], &["doctor"], &["explain", "batch-size"]]
    {
        let (_, help, _) = workspace.run(&[verb, &["--help"]].concat());
        // That option is what somebody asks for, and no promise.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace("--minutes", "");
        for promise in ["takes seconds", "in seconds", "minutes", "hours", "half the time"] {
            assert!(!help.contains(promise), "{verb:?} says '{promise}': {help}");
        }
    }
}

/// There was no way to learn it before a sweep began.
#[test]
fn list_says_how_long_each_trial_takes_and_all_of_them() {
    let workspace = Workspace::new(EXPERIMENT);
    let rows = workspace.list("tiny", "quick", &["--threads", "2"]);
    let seconds = |row: &Value| row["estimate_s"].as_f64().unwrap();
    // 1,600 steps and 4, with the start of the process.
    assert!(seconds(&rows[1]) > 10.0 * seconds(&rows[0]), "{rows:?}");
    assert!(rows.iter().all(|row| row["estimate_basis"] == "guessed" && row["kept_steps"].is_null()));
    let (_, table, _) = workspace.run(&["list", "tiny", "--threads", "2"]);
    assert!(table.lines().next().unwrap().contains("time") && table.contains(" s, guessed"), "{table}");
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("4 trials: about ") && last.contains("4 due: about "), "{last}");
}

/// It was said to take 20 hours. Its 600 epochs a seed take 49 by the seconds an epoch was measured to take, three seeds
/// 146.
#[test]
fn the_deep_study_is_known_to_take_days() {
    let workspace = Workspace::new(EXPERIMENT);
    let study = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let more = ["--threads", "2", "--experiments", study.to_str().unwrap()];
    let rows = workspace.list("c2-activation-deep", "full", &more);
    let hours = rows.iter().map(|row| row["estimate_s"].as_f64().unwrap()).sum::<f64>() / 3600.0;
    assert!((120.0..180.0).contains(&hours), "{hours}");
    let said = std::fs::read_to_string(study.join("c2-activation-deep.toml")).unwrap();
    assert!(said.contains("49 hours a seed"), "{said}");
}

#[test]
fn a_dry_run_says_what_is_due_and_makes_nothing() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, out, err) = workspace.run(&["run", "tiny", "--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("0 of 4 trials done, 4 due; nothing was trained"), "{out}");
    assert!(out.contains("length 400") && out.contains("takes about ") && out.contains("a guess"), "{out}");
    let (code, out, _) =
        workspace.run(&["reproduce", "tiny", "--dry-run", "--seeds", "1", "--report", "pages"]);
    assert!(code == 0 && out.contains("2 due") && out.contains("into 'pages'"), "{out}");
    let id = workspace.list("tiny", "quick", &[])[1]["trial_id"].as_str().unwrap().to_owned();
    let (_, out, _) = workspace.run(&["run", "tiny", "--dry-run", "--trial", &id]);
    assert!(out.contains("0 of 1 trial done, 1 due"), "{out}");
    assert_eq!(workspace.run(&["run", "tiny", "--dry-run", "--trial", "zzz"]).0, 2);
    for made in ["runs", "pages"] {
        assert!(!workspace.path().join(made).exists(), "{made}");
    }
}

/// The reason came twice, and a file in place of the store was "Not a directory (os error 20); check the disk".
#[test]
fn a_store_that_cannot_be_is_named_once_with_the_reason() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, _, err) = workspace.run(&["run", "tiny", "--store", "/proc/x"]);
    assert!(code == 1 && err.contains("cannot create '/proc/x'"), "{err}");
    assert_eq!(err.matches("No such file or directory").count(), 1, "{err}");
    std::fs::write(workspace.path().join("afile"), "").unwrap();
    let (code, _, err) = workspace.run(&["run", "tiny", "--store", "afile"]);
    assert!(
        code == 1 && err.contains("afile' is a file, expected a folder") && err.contains("--store"),
        "{err}"
    );
}

#[cfg(feature = "torch")]
mod training {
    use std::fs::{File, OpenOptions};
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Child, ChildStderr, Stdio};

    use super::*;

    /// The lock of a machine that `folder` stands for.
    fn machine(folder: &Path) -> File {
        std::fs::create_dir_all(folder).unwrap();
        // SAFETY: takes nothing and cannot fail (getuid(2)).
        let uid = unsafe { libc::getuid() };
        let path = folder.join(format!("pinbench-{uid}.lock"));
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.lock().unwrap();
        file
    }

    /// Waits for a line that has `part`.
    fn until(reader: &mut BufReader<ChildStderr>, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "it ended before it said '{part}'");
        }
    }

    fn end(mut child: Child, mut reader: BufReader<ChildStderr>) -> (i32, String) {
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        (child.wait().unwrap().code().unwrap(), rest)
    }

    fn begin(workspace: &Workspace, arguments: &[&str], lock: &Path) -> (Child, BufReader<ChildStderr>) {
        let mut command = workspace.pinbench(arguments);
        command.env("PINBENCH_LOCK_DIR", lock).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let reader = BufReader::new(child.stderr.take().unwrap());
        (child, reader)
    }

    fn signal(child: &Child, signal: libc::c_int) {
        // SAFETY: a process of this test's own, which was not waited for yet (kill(2)).
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
    }

    const SHORT: [&str; 6] = ["run", "tiny", "--profile", "smoke", "--threads", "1"];

    /// The lock was in `$XDG_RUNTIME_DIR`, so that a sweep of cron and one of a terminal timed each other. A sweep that
    /// had waited for another one with the same trials ended with "0 runs: 0 finished". `show` named no arm and had the
    /// config on one line of JSON.
    #[test]
    fn a_sweep_waits_whatever_its_session_and_then_has_nothing_left_to_say() {
        let workspace = Workspace::new(&EXPERIMENT.replace(", { value = 400 }", ", { value = 2 }"));
        let lock = workspace.path().join("lock");
        let held = machine(&lock);
        let mut command = workspace.pinbench(&SHORT);
        command.env("PINBENCH_LOCK_DIR", &lock).env("XDG_RUNTIME_DIR", workspace.path());
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        let mut waiting = command.spawn().unwrap();
        let mut reader = BufReader::new(waiting.stderr.take().unwrap());
        until(&mut reader, "waiting for");
        // One elsewhere does all of its work.
        let (code, _, err) = workspace.run(&SHORT);
        assert!(code == 0 && err.contains("2 of 2 runs finished"), "{err}");
        drop(held);
        let (code, said) = end(waiting, reader);
        assert!(code == 0 && said.contains("2 of 2 trials done, 0 due"), "{said}");
        assert!(!said.contains("finished"), "{said}");
        shown(&workspace);
    }

    fn shown(workspace: &Workspace) {
        let (code, out, err) = workspace.run(&["show", "tiny", "--profile", "smoke"]);
        assert_eq!(code, 0, "{err}");
        for part in
            ["length 1\n", "length 2\n", "optim: lr 0.01, name sgd", "train: batch 64", "others meanwhile"]
        {
            assert!(out.contains(part), "{part}\n{out}");
        }
        // SGD has none.
        assert!(!out.contains('{') && !out.contains("betas"), "{out}");
        let (_, out, _) = workspace.run(&["show", "tiny", "--profile", "smoke", "--json"]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["runs"].as_array().unwrap().len(), 2);
        assert!(json["runs"][0]["arm"] == "length 1" && json["runs"][0]["doubts"].is_array(), "{out}");
        let id = json["runs"][1]["record"]["run"].as_str().unwrap();
        assert!(workspace.run(&["show", id]).1.contains("length 2\n"));
        let rows = workspace.list("tiny", "smoke", &["--threads", "1"]);
        assert!(rows.iter().all(|row| row["estimate_basis"] == "measured"), "{rows:?}");
        let (_, out, _) =
            workspace.run(&["run", "tiny", "--profile", "smoke", "--threads", "1", "--dry-run"]);
        assert_eq!(out, "2 of 2 trials done, 0 due; nothing was trained\n");
    }

    /// `list` called it missing and `doctor` said nothing of it, though `run` went on where it had stopped.
    #[test]
    fn what_was_stopped_is_listed_with_how_far_it_came() {
        let workspace = Workspace::new(EXPERIMENT);
        let arguments = [&SHORT[..], &["--no-diagnostics"]].concat();
        let (child, mut reader) = begin(&workspace, &arguments, workspace.path());
        until(&mut reader, "epoch 2/400");
        signal(&child, libc::SIGTERM);
        let (code, said) = end(child, reader);
        assert!(code == 130 && said.contains("1 of 2 runs finished"), "{said}");
        let row = &workspace.list("tiny", "smoke", &["--threads", "1"])[1];
        let kept = row["kept_steps"].as_u64().unwrap();
        assert!(row["status"] == "missing" && (8..1600).contains(&kept), "{row}");
        let interrupted = format!("interrupted, {kept} of 1600 steps");
        let (_, table, _) = workspace.run(&["list", "tiny", "--profile", "smoke", "--threads", "1"]);
        assert!(table.contains(&interrupted), "{table}");
        let (_, out, _) =
            workspace.run(&["run", "tiny", "--profile", "smoke", "--threads", "1", "--dry-run"]);
        assert!(out.contains(&interrupted), "{out}");
        let (_, out, _) = workspace.run(&["doctor"]);
        assert!(out.contains(&format!("tiny, seed 0: {kept} of 1600 steps")), "{out}");
        assert!(out.contains("pinbench run tiny --profile quick --trial"), "{out}");
    }
}
