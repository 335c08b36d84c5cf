//! `pinbench init`: an experiment to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pinbench::text::shell_word;

use crate::cli::InitArgs;
use crate::cmd::console::{print, say};
use crate::cmd::{Workspace, WrongUsage};

/// It runs as it is, and says beside each key what it is for.
const FILE: &str = include_str!("../../templates/experiment.toml");

pub fn run(workspace: &Workspace, args: &InitArgs) -> Result<ExitCode> {
    let path = &args.file;
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
