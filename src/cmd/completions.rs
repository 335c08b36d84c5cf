//! `pinbench completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

use crate::cmd::console::print;

/// Print what a shell needs to complete pinbench's verbs and options
#[derive(Args)]
#[command(after_help = "\
Examples:
  source <(pinbench completions bash)
  pinbench completions zsh > ~/.zfunc/_pinbench
  pinbench completions fish > ~/.config/fish/completions/pinbench.fish")]
pub(crate) struct CompletionsArgs {
    /// Which
    #[arg(value_enum)]
    shell: Known,
}

/// The shells that were tried.
#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// `command` is the whole command line.
pub(crate) fn run(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode> {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut command, "pinbench", &mut text);
    print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
