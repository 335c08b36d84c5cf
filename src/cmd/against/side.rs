//! One of the two programs, driven by its command line from the folder of its own experiments.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Error, Result};
use libc::{SIGINT, SIGTERM};
use pinbench::analyse::gate::against::{Listed, Trained};
use pinbench::data;
use pinbench::planted::Planted;
use pinbench::schedule::EXIT_INTERRUPTED;
use serde::Deserialize;
use serde_json::Value;

use crate::cmd::args::{EXIT_USAGE, WrongUsage};
use crate::cmd::check::args::CheckArgs;
use crate::cmd::console::warn;
use crate::cmd::time::READY;
use crate::cmd::workspace::{Workspace, is_path};

/// What a comparison asks of a program: verbs and their options.
const NEEDED: [(&str, &[&str]); 4] = [
    ("list", &["--json", "--profile"]),
    ("run", &["--trial", "--no-diagnostics"]),
    ("show", &["--json"]),
    ("time", &["--json", "--arm", "--minutes", "--keep", "--on-cue"]),
];

/// Somebody interrupted.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Stopped;

pub(super) struct Side {
    program: PathBuf,
    /// Where it is run.
    tree: PathBuf,
    /// `--experiments`, where that was given and means the same to it.
    shelf: Option<PathBuf>,
    /// Experiments as command lines name them, a list a `list`; an empty one is of all there are.
    asks: Vec<Vec<String>>,
    data: PathBuf,
    scratch: PathBuf,
    calls: AtomicU32,
}

impl Side {
    /// This program, as it was started.
    pub(super) fn own(workspace: &Workspace, args: &CheckArgs, scratch: &Path) -> Result<Self> {
        Ok(Self {
            program: std::env::current_exe().context("this program's own path")?,
            tree: workspace.root.clone(),
            shelf: workspace.given_shelf(),
            asks: vec![args.experiments.clone()],
            data: std::path::absolute(data::root()?)?,
            scratch: scratch.join("new"),
            calls: AtomicU32::new(0),
        })
    }

    /// The other one. It lists all it has: an experiment that was renamed is found by its config.
    pub(super) fn other(
        workspace: &Workspace,
        args: &CheckArgs,
        program: &Path,
        scratch: &Path,
    ) -> Result<Self> {
        if !program.is_file() {
            let text = format!(
                "--against: there is no file '{}', expected a pinbench; `just against REV` builds one of a revision",
                program.display()
            );
            return Err(WrongUsage(text).into());
        }
        let tree = args.against.tree(workspace, program)?;
        let own_file = |file: &String| match tree.join(file) {
            there if there.is_file() => file.clone(),
            _ => workspace.root.join(file).to_string_lossy().into_owned(),
        };
        let files: Vec<&String> = args.experiments.iter().filter(|asked| is_path(asked)).collect();
        let shelf = (files.len() < args.experiments.len() || files.is_empty()).then(Vec::new);
        let files: Vec<String> = files.into_iter().map(own_file).collect();
        Ok(Self {
            program: program.to_owned(),
            shelf: workspace.given_shelf().filter(|_| tree == workspace.root),
            asks: shelf.into_iter().chain((!files.is_empty()).then_some(files)).collect(),
            data: std::path::absolute(data::root()?)?,
            scratch: scratch.join("old"),
            calls: AtomicU32::new(0),
            tree,
        })
    }

    /// What it says it is.
    pub(super) fn identify(&self) -> Result<String> {
        fs::create_dir_all(&self.scratch)
            .with_context(|| format!("cannot create '{}'", self.scratch.display()))?;
        let program = self.program.display();
        let version = self.says(&["--version"])?;
        let name = version.lines().next().unwrap_or_default().trim().to_owned();
        if !name.starts_with("pinbench ") {
            let text =
                format!("'{program}' says it is '{name}', expected a pinbench; name another with --against");
            return Err(WrongUsage(text).into());
        }
        Ok(format!("{name}, '{program}'"))
    }

    /// An error of wrong usage where it lacks what is needed.
    pub(super) fn require(&self, name: &str, is_timed: bool) -> Result<()> {
        for (verb, options) in NEEDED.into_iter().filter(|(verb, _)| is_timed || *verb != "time") {
            let help = self.called(&[verb, "--help"])?;
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            if let Some(option) = options.iter().find(|option| !help.contains(**option)) {
                return Err(WrongUsage(format!(
                    "{name} is too old to be compared with: found no `pinbench {verb} {option}`, expected each of list, run and \
                     show, and `time --on-cue` unless --no-times; give --against a build of a newer revision"
                ))
                .into());
            }
        }
        Ok(())
    }

    /// Every trial under the profile, of what was asked for.
    pub(super) fn list(&self, profile: Option<&str>) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for experiments in &self.asks {
            let mut words = vec!["list", "--json"];
            words.extend(profile.iter().flat_map(|profile| ["--profile", profile]));
            words.extend(experiments.iter().map(String::as_str));
            // A mistake in a claim is exit code 2 too, with all trials in its output.
            let output = self.called(&words)?;
            let rows = serde_json::from_slice::<Vec<Listed>>(&output.stdout);
            let rows = match rows {
                Err(_) if !output.status.success() => return Err(self.failed(&words, &output)),
                rows => {
                    rows.with_context(|| self.misread("list", &String::from_utf8_lossy(&output.stdout)))?
                }
            };
            listed.extend(rows);
        }
        Ok(listed)
    }

    /// The one run of a training, which may have diverged; the inner error says why there is none.
    pub(super) fn train(&self, trial: &Listed) -> Result<Result<Trained, String>> {
        let named = self.word(&trial.experiment);
        let mut words = vec!["run", &named, "--trial", &trial.trial_id, "--no-diagnostics"];
        words.extend(profile(trial));
        let ran = self.called(&words)?;
        let shown = self.called(&["show", &trial.trial_id, "--json"])?;
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        let runs = shown["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_of_plan = |run: &&Value| run["record"]["plan_hash"] == trial.plan_hash.as_str();
        let has_come_to_an_end = |run: &&Value| run["record"]["status"]["state"] != "failed";
        let run = runs.iter().filter(has_come_to_an_end).find(is_of_plan);
        Ok(run.map(trained).ok_or_else(|| last_words(&ran)))
    }

    /// A process of `time` that times the arm for so long, in turns that are given to it.
    pub(super) fn time(&self, arm: &Listed, minutes: f64, fault: Option<Planted>) -> Result<Timing<'_>> {
        let named = self.word(&arm.experiment);
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let scratch = self.scratch.join(format!("time-{call}"));
        let (keep, minutes) = (scratch.to_string_lossy(), format!("{minutes:.4}"));
        let mut words = vec!["time", &named, "--arm", &arm.arm, "--minutes", &minutes];
        words.extend(["--json", "--on-cue", "--keep", &keep]);
        words.extend(profile(arm));
        if let Some(fault) = fault {
            words.extend(["--plant", fault.name()]);
        }
        let mut command = self.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut said = Vec::new();
                // What it said is for people alone.
                let _ = pipe.read_to_end(&mut said);
                said
            })
        });
        let words = words.into_iter().map(str::to_owned).collect();
        Ok(Timing { side: self, words, child, stdout, stderr, printed: String::new() })
    }

    /// Standard output of a call that has to succeed.
    fn says(&self, words: &[&str]) -> Result<String> {
        let output = self.called(words)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failed(words, &output))
    }

    /// Of wrong usage where the program says so.
    fn failed(&self, words: &[&str], output: &Output) -> Error {
        let (program, command, tree) = (self.program.display(), words.join(" "), self.tree.display());
        let code = output.status.code();
        let how = code.map_or_else(|| output.status.to_string(), |code| format!("exit code {code}"));
        let said = last_words(output);
        let text = format!("'{program}': `pinbench {command}` in '{tree}' ended with {how}: {said}");
        if code == Some(EXIT_USAGE.into()) { WrongUsage(text).into() } else { Error::msg(text) }
    }

    /// A call, whatever comes of it. Ctrl-C reaches the program by itself, which ends as it always does.
    fn called(&self, words: &[&str]) -> Result<Output> {
        let output = self.command(words).output().map_err(|error| self.not_started(&error))?;
        refuse_interrupted(output.status)?;
        Ok(output)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.tree).args(words);
        if words != ["--version"] {
            command.args([
                OsStr::new("--quiet"),
                OsStr::new("--store"),
                self.scratch.join("runs").as_os_str(),
            ]);
            if let Some(shelf) = &self.shelf {
                command.args([OsStr::new("--experiments"), shelf.as_os_str()]);
            }
        }
        command.env_remove("PINBENCH_STORE").env("PINBENCH_DATA", &self.data).stdin(Stdio::null());
        command
    }

    fn not_started(&self, error: &io::Error) -> WrongUsage {
        let program = self.program.display();
        WrongUsage(format!(
            "'{program}' cannot be started: {error}; expected a pinbench that runs on this machine"
        ))
    }

    /// The experiment as its command line names it.
    fn word(&self, experiment: &str) -> String {
        let is_file =
            |word: &&String| is_path(word) && Path::new(word).file_stem() == Some(OsStr::new(experiment));
        self.asks.iter().flatten().find(is_file).cloned().unwrap_or_else(|| experiment.to_owned())
    }

    fn misread(&self, verb: &str, out: &str) -> String {
        let program = self.program.display();
        let start: String = out.chars().take(80).collect();
        format!(
            "'{program}': `pinbench {verb} --json` printed '{start}…', expected the keys that its help has; compare with a \
             build of another revision"
        )
    }
}

/// A verb that handles no signal ends by it.
fn refuse_interrupted(status: ExitStatus) -> Result<(), Stopped> {
    let signal = status.signal().is_some_and(|signal| [SIGINT, SIGTERM].contains(&signal));
    if signal || status.code() == Some(EXIT_INTERRUPTED.into()) { Err(Stopped) } else { Ok(()) }
}

/// A process of `time` under way.
pub(super) struct Timing<'a> {
    side: &'a Side,
    words: Vec<String>,
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    /// Apart from saying that it is ready.
    printed: String,
}

impl Timing<'_> {
    /// Waits until it is ready for a turn; `false` once it has ended.
    pub(super) fn is_ready(&mut self) -> Result<bool> {
        let Some(stdout) = &mut self.stdout else { return Ok(false) };
        loop {
            let mut line = String::new();
            if stdout.read_line(&mut line).context("what `time` prints")? == 0 {
                self.stdout = None;
                return Ok(false);
            }
            if line.trim_end() == READY {
                return Ok(true);
            }
            self.printed.push_str(&line);
        }
    }

    pub(super) fn go(&mut self) {
        if let Some(input) = &mut self.child.stdin {
            // A process that is gone says why by its exit.
            let _ = input.write_all(b"\n");
        }
    }

    /// Milliseconds a step by turn, of one that has ended.
    pub(super) fn end(mut self) -> Result<Vec<Option<f64>>> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("a process of `time`")?;
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        refuse_interrupted(status)?;
        let timed = serde_json::from_str::<Timed>(&self.printed);
        // One whose process failed prints its object without any, whatever its exit code.
        if !status.success() && timed.is_err() {
            let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
            return Err(self.side.failed(&words, &Output { status, stdout: Vec::new(), stderr }));
        }
        let misread = || self.side.misread("time", &self.printed);
        let only = timed.with_context(misread)?.conditions.into_iter().next();
        let turns =
            only.ok_or_else(|| WrongUsage(misread()))?.turns_ms.into_iter().next().unwrap_or_default();
        if turns.is_empty() {
            let program = self.side.program.display();
            let said = last_words(&Output { status, stdout: Vec::new(), stderr });
            warn(&format!("'{program}': no step was timed, and the block counts for nothing: {said}"));
        }
        Ok(turns)
    }
}

impl Drop for Timing<'_> {
    /// Where the other one failed, this one is not waited for: it ends when there are no more turns.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Of what `time --json` prints.
#[derive(Deserialize)]
struct Timed {
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    /// By process, then by turn.
    turns_ms: Vec<Vec<Option<f64>>>,
}

fn profile(trial: &Listed) -> impl Iterator<Item = &str> {
    // A file without profiles has one without a name.
    ["--profile", trial.profile.as_str()].into_iter().filter(|_| !trial.profile.is_empty())
}

fn trained(run: &Value) -> Trained {
    let record = &run["record"];
    let outcome = |key: &str| record["outcome"][key].clone();
    let mut scores = Vec::new();
    for split in ["train", "train_eval", "validation", "test"] {
        for number in ["loss", "accuracy"] {
            let value = &run["final"][split][number];
            if !value.is_null() {
                scores.push((format!("{split} {number}"), value.clone()));
            }
        }
    }
    Trained {
        status: record["status"].clone(),
        class: record["environment_class"].clone(),
        initial_weights: outcome("initial_weights"),
        final_weights: outcome("final_weights"),
        steps: outcome("steps"),
        scores,
    }
}

/// The last lines of what it said to people, on one line.
fn last_words(output: &Output) -> String {
    const MOST: usize = 400;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = said.chars().count().saturating_sub(MOST);
    match said.chars().skip(skipped).collect::<String>() {
        words if words.is_empty() => "it said nothing".to_owned(),
        words => words,
    }
}
