//! `pinbench help`: the ten words, or what a verb is for.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command};
use pinbench::experiment::manual;
use pinbench::report::columns;

use crate::cmd::args::WrongUsage;
use crate::cmd::console::print;

/// Explain the words pinbench uses, an experiment's file, or a verb
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench help words
  pinbench help experiment
  pinbench help columns
  pinbench help data fetch")]
pub(crate) struct HelpArgs {
    /// `words`, `experiment`, `columns` or a verb; everything when none is given
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}

const WORDS: &str = "\
trial    one training: an arm and a seed; its id is the hash of the two
run      a trial as it was trained once, on one machine, and kept in the store
arm      one setting that is compared: a point of the grid of the factors
plan     how a trial is executed (tuned, eager, fused), which is about its times
profile  a named size of an experiment: its seeds, and what it makes smaller
claim    a sentence about the arms, with the tests over seeds that decide it
verdict  what the runs say of a claim: it holds, does not, or cannot be told
margin   the least effect that matters to a claim; a smaller one counts as none
seed     the number every random draw of a trial comes from
block    each arm of a seed, or each condition of `time`, one after the other";

/// `command` is the whole command line.
pub(crate) fn run(topic: &[String], mut command: Command) -> Result<ExitCode> {
    if topic == ["words"] {
        print(WORDS)?;
        return Ok(ExitCode::SUCCESS);
    }
    if topic == ["experiment"] {
        print(manual::TEXT.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    if topic == ["columns"] {
        print(columns::TEXT.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    command.build();
    let mut found = &mut command;
    for name in topic {
        let known = found.get_subcommands().filter(|verb| !verb.is_hide_set());
        let known = known.map(clap::Command::get_name).collect::<Vec<_>>().join(", ");
        found = found.find_subcommand_mut(name).ok_or_else(|| {
            if known.is_empty() {
                return WrongUsage(format!("no help on '{}': nothing follows there", topic.join(" ")));
            }
            WrongUsage(format!(
                "no help on '{}': expected 'words', 'experiment', 'columns' or one of {known}",
                topic.join(" ")
            ))
        })?;
    }
    print(found.render_long_help().to_string().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_words_are_ten_lines_of_at_most_eighty_columns() {
        assert_eq!(WORDS.lines().count(), 10);
        assert!(
            WORDS.lines().all(|line| line.chars().count() <= 80 && line.as_bytes()[8] == b' '),
            "{WORDS}"
        );
    }
}
