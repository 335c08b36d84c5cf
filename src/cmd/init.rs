//! `pinbench init`: an experiment to begin with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::text::shell_word;

use crate::cmd::args::WrongUsage;
use crate::cmd::console::{print, say};
use crate::cmd::workspace::Workspace;

/// Write an experiment to begin with: it runs as it is, and says what each key is for
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench init && pinbench reproduce experiment.toml
  pinbench help experiment                    every key and every metric")]
pub(crate) struct InitArgs {
    /// The file, which must not be there yet
    #[arg(value_name = "FILE", default_value = "experiment.toml")]
    pub file: PathBuf,
}

/// It runs as it is, and says beside each key what it is for.
const FILE: &str = include_str!("../../templates/experiment.toml");

pub(crate) fn run(workspace: &Workspace, args: &InitArgs) -> Result<ExitCode> {
    let path = &args.file;
    // By the ending a file is told from an experiment's id, wherever one is named.
    if path.extension().is_none_or(|extension| extension != "toml") {
        let message = format!(
            "'{}' is no name for an experiment's file: expected one that ends in .toml",
            path.display()
        );
        return Err(WrongUsage(message).into());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message =
                format!("'{}' is there already; name another file, or take it away", path.display());
            return Err(WrongUsage(message).into());
        }
        file => file.with_context(|| format!("cannot write '{}'", path.display()))?,
    };
    let file_name = shell_word(&path.display().to_string());
    let text = FILE.replace("FILE", &file_name);
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write '{}'", path.display()))?;
    print(&path.display().to_string())?;
    if !workspace.quiet {
        say(&format!("next: pinbench list {file_name}, then pinbench reproduce {file_name}"));
    }
    Ok(ExitCode::SUCCESS)
}
