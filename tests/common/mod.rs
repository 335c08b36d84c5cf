//! A folder with one experiment, `tiny`, and the program in it.

#![allow(dead_code, reason = "each test program uses a part of this")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

pub(crate) struct Workspace(tempfile::TempDir);

/// The text between the fences of a page, in order, each with its language.
pub(crate) fn fenced(page: &str) -> Vec<(&str, &str)> {
    let inside = page.split("```").skip(1).step_by(2);
    inside.filter_map(|block| block.split_once('\n')).collect()
}

/// Those of one language.
pub(crate) fn blocks<'t>(page: &'t str, language: &str) -> Vec<&'t str> {
    fenced(page).into_iter().filter(|(of, _)| *of == language).map(|(_, block)| block).collect()
}

impl Workspace {
    /// With the repository's examples in it.
    pub(crate) fn with_examples(experiment: &str) -> Self {
        let workspace = Self::new(experiment);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        std::fs::create_dir(workspace.path().join("examples")).unwrap();
        let files = std::fs::read_dir(examples).unwrap().map(|file| file.unwrap().path());
        for file in files.filter(|file| file.is_file()) {
            std::fs::copy(&file, workspace.path().join("examples").join(file.file_name().unwrap())).unwrap();
        }
        workspace
    }

    pub(crate) fn new(experiment: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("experiments")).unwrap();
        std::fs::write(folder.path().join("experiments/tiny.toml"), experiment).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program, with this test's own folders and nothing from the environment that changes a run.
    pub(crate) fn pinbench(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinbench"));
        command.current_dir(self.path()).args(arguments).env_remove("PINBENCH_STORE");
        // Tests run beside each other: each waits only for its own workspace.
        // What `check` leaves to be looked at after an alarm goes with the rest.
        command.env("PINBENCH_LOCK_DIR", self.path()).env("TMPDIR", self.path());
        command
    }

    /// Exit code, standard output and standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.pinbench(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// What `pinbench list --json` says.
    pub(crate) fn list(&self, experiment: &str, profile: &str, more: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["list", experiment, "--profile", profile, "--json"];
        arguments.extend(more);
        self.list_with(&arguments)
    }

    /// What a `pinbench list` with `--json` among its arguments says.
    pub(crate) fn list_with(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// The record of the newest run of the first trial that is done.
    pub(crate) fn record(&self, profile: &str, more: &[&str]) -> Value {
        let run = self.list("tiny", profile, more)[0]["run"].as_str().unwrap().to_owned();
        let (code, out, err) = self.run(&["show", &run, "--json"]);
        assert_eq!(code, 0, "{err}");
        let shown: Value = serde_json::from_str(&out).unwrap();
        shown["runs"][0]["record"].clone()
    }
}
