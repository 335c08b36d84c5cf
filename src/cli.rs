//! What can be said on the command line.

use clap::{Parser, Subcommand};

use crate::cmd;

const EXIT_CODES: &str = "\
Exit codes:
  0    everything asked for is there
  1    something failed, or a run diverged
  2    wrong usage: an unknown option or id, or a mistake in a TOML file
  3-5  of `check` alone: inconclusive, not comparable, changed
  75   of `run --manifest`: another process has that trial
  85   of `run --manifest`: stopped and kept; the same command goes on
  130  interrupted

Environment:
  PINBENCH_STORE  folder of the runs, as --store
  PINBENCH_DATA   folder of the data sets; else pinbench-data beside the program,
                  where there is one, else pinbench/data in the XDG cache
  PINBENCH_LOCK_DIR  folder of the lock that lets one sweep of a user run at a
                  time; else /tmp

Examples:
  pinbench reproduce m1               train what is missing, make the report
  pinbench reproduce m1 --dry-run     what that would train, and how long it takes
  pinbench list m1 --json             what would run, for scripts
  pinbench doctor                     why does it not work here?";

/// Reproducible benchmarks of small CNN trainings.
///
/// An experiment is a TOML file with a question, a config and factors. Each point of their grid is an arm, and an arm
/// under a seed is a trial. Training a trial, in a process of its own, makes a run, which is stored; reports are made
/// from the store. `pinbench help words` has these words and the rest of them, in ten lines.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 80,
    after_help = EXIT_CODES,
    infer_long_args = false,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: cmd::Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    Reproduce(cmd::reproduce::ReproduceArgs),
    Run(cmd::run::RunArgs),
    Report(cmd::report::ReportArgs),
    Audit(cmd::audit::AuditArgs),
    Bundle(cmd::bundle::BundleArgs),
    List(cmd::list::ListArgs),
    Show(cmd::show::ShowArgs),
    Verify(cmd::verify::VerifyRunsArgs),
    Diff(cmd::diff::DiffArgs),
    Export(cmd::export::ExportArgs),
    Trace(cmd::trace::TraceArgs),
    Time(cmd::time::TimeArgs),
    Explain(cmd::explain::ExplainArgs),
    Check(cmd::check::args::CheckArgs),
    /// Keep what an experiment gives as what is expected of it
    #[command(subcommand)]
    Baseline(cmd::baseline::BaselineVerb),
    Manifest(cmd::manifest::ManifestArgs),
    Merge(cmd::merge::MergeArgs),
    Doctor(cmd::doctor::DoctorArgs),
    /// Fetch, list and verify the data sets
    #[command(subcommand)]
    Data(cmd::data::DataVerb),
    Init(cmd::init::InitArgs),
    Help(cmd::help::HelpArgs),
    Completions(cmd::completions::CompletionsArgs),
    /// Train one trial: what `run` starts as a child
    #[command(hide = true)]
    Train {
        /// The process that started it, with which it ends
        #[arg(long, value_name = "PID")]
        parent: Option<u32>,
        /// Takes a repeated signal for the first: whoever sends them kills in the end
        #[arg(long)]
        patient: bool,
    },
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory as _;
    use pinbench::experiment::Plan;
    use pinbench::experiment::plan::{Device, PlanName};

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The readme showed `pinbench show 1c2d` and `pinbench diff 2026… 2026…`, which nobody can type.
    #[test]
    fn every_command_of_the_documents_can_be_typed_as_it_stands() {
        let ids = include_str!("../tests/data/identities.tsv");
        let mut seen = 0;
        for text in [include_str!("../README.md"), include_str!("../docs/reference.md")] {
            // Inline code, and what follows a line's start up to a comment.
            let inline = text.split('`').skip(1).step_by(2);
            let blocks = text.lines().map(|line| line.split("  #").next().unwrap_or_default());
            for command in inline.chain(blocks).filter(|command| command.starts_with("pinbench ")) {
                let words: Vec<&str> = command.split_whitespace().collect();
                seen += 1;
                // A verb's name alone is no command, but a verb there must be.
                let named = words[1..]
                    .iter()
                    .try_fold(Cli::command(), |verb, word| verb.find_subcommand(word).cloned());
                if named.is_some() {
                    continue;
                }
                if let Err(error) = Cli::try_parse_from(&words) {
                    assert!(!error.use_stderr(), "{command}: {error}");
                }
                if words[1] == "trace" {
                    assert!(ids.contains(words[2]), "{command}");
                }
            }
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn a_trace_takes_a_trial_and_has_a_length_that_gives_a_median() {
        let parse = |more: &[&str]| Cli::try_parse_from([&["pinbench", "trace"][..], more].concat());
        let Verb::Trace(args) = parse(&["3f9a"]).unwrap().verb else { panic!("another verb") };
        assert_eq!((args.trial.as_str(), args.steps, args.out), ("3f9a", 20, PathBuf::from("reports")));
        let more = ["3f9a", "--steps", "50", "--plan", "eager", "--threads", "1", "--out", "pages"];
        let Verb::Trace(args) = parse(&more).unwrap().verb else { panic!("another verb") };
        assert_eq!((args.steps, args.plan.plan().base), (50, Plan::named(PlanName::Eager, 1, Device::Cpu)));
        let wrong = [&["--steps", "20"][..], &["3f9a", "--steps", "4"], &["3f9a", "--steps", "501"]];
        for wrong in wrong {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn trials_at_once_are_a_plan_of_one_thread_each_that_only_sweeps_have() {
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["pinbench"][..], arguments].concat());
        let plan = |more: &[&str]| match parse(&[&["run", "m1"][..], more].concat()).unwrap().verb {
            Verb::Run(args) => args.sweep.plan.plan().unwrap().base,
            _ => panic!("another verb"),
        };
        let alone = Plan::named(PlanName::Eager, 1, Device::Cpu);
        assert_eq!(plan(&["--jobs", "3", "--plan", "eager"]), alone);
        assert_eq!(plan(&["--jobs", "1"]), plan(&[]));
        assert!(parse(&["reproduce", "--jobs", "2"]).is_ok() && parse(&["list", "--jobs", "2"]).is_ok());
        let wrong = [&["--jobs", "0"][..], &["--jobs", "65"], &["--jobs", "2", "--threads", "1"]];
        for wrong in wrong {
            assert!(parse(&[&["run", "m1"][..], wrong].concat()).is_err(), "{wrong:?}");
        }
        let timed = [
            &["check"][..],
            &["trace", "3f9a"],
            &["explain", "batch-size"],
            &["baseline", "accept", "m1"],
            &["export", "m1", "--trial", "3f9a", "--out", "steps"],
        ];
        for verb in timed {
            assert!(parse(verb).is_ok(), "{verb:?}");
            assert!(parse(&[verb, &["--jobs", "2"]].concat()).is_err(), "{verb:?}");
        }
    }

    #[test]
    fn help_fits_eighty_columns() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            for inner in command.get_subcommands_mut() {
                check(inner);
            }
        }
        let mut command = Cli::command().term_width(80);
        command.build();
        check(&mut command);
    }
}
