//! What can be said on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Plan, PlanAsked, PlanChange, ProfileName};
use pinbench::row::Diagnostics;
use pinbench::stream::Seed;

use crate::cmd;

const EXIT_CODES: &str = "\
Exit codes:
  0    everything asked for is there
  1    something failed, or a run diverged
  2    wrong usage: an unknown option or id, or a mistake in a TOML file
  3, 4 of `check` alone: inconclusive, not comparable
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
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Folder of the runs [default: $PINBENCH_STORE, else runs]
    ///
    /// Another one when you want to run trials again that are done: a stored run is never overwritten.
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Folder of the experiments' TOML files [default: experiments, here or above]
    ///
    /// Where there is no such folder here or in a folder above, the experiments are those of the study, which are built into
    /// the program.
    #[arg(id = "folder", long = "experiments", global = true, value_name = "DIR")]
    pub experiments: Option<PathBuf>,
    /// No progress; warnings and errors stay
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Verb {
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
    Check(cmd::check::CheckArgs),
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

#[derive(Args)]
pub struct SweepArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: SweepPlanArgs,
    #[command(flatten)]
    pub seeds: SeedsArg,
    /// Leave out what is measured between epochs: gradients, dead units, curvature
    ///
    /// The weights come out the same; claims about what is left out cannot be decided.
    #[arg(long)]
    pub no_diagnostics: bool,
    /// Say what is due and how long it takes, and train nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct ProfileArg {
    /// Size of the experiment, by the name its file gives it [default: the file's default_profile, else its first, else
    /// the file as it stands]
    ///
    /// Of the built-in experiments smoke is for tests, gate for `check`, quick, the default, a first answer from a part of the images, and
    /// full the setting they are about. Experiments without that profile are left out.
    #[arg(long = "profile", value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args)]
pub struct SeedsArg {
    /// Only the first N seeds of the profile, for a first look
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seeds: Option<u32>,
}

/// How trials are executed; it changes times, not the question.
#[derive(Args)]
pub struct PlanArgs {
    /// How trials are executed: eager is what a plain PyTorch script does, tuned the fastest of libtorch's own operators,
    /// fused our own kernels where there is one, winograd those with Winograd convolutions, graph a GPU's steps as CUDA graphs
    /// [default: what a file's [plan] says, else winograd, and tuned on a GPU]
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = true)]
    plan: Option<PlanChoice>,
    /// Threads of libtorch [default: the cores of this machine]
    ///
    /// Another number is another plan: its runs are not mixed with those there are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Where to train: cpu, cuda or cuda:N. CUDA was run on one kind of GPU so far: docs/gpu.md says what was checked
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
}

/// How a trial is executed, knob by knob.
#[derive(Args)]
pub struct TrialPlanArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Turn a knob of the plan; may be repeated. `pinbench help experiment` has the keys
    ///
    /// Goes before --plan and a file's [plan]. What a factor of the experiment varies stays as each arm has it.
    #[arg(long, value_name = "plan.KEY=VALUE", value_parser = PlanChange::parse)]
    set: Vec<PlanChange>,
}

/// How the trials of a sweep are executed: one after the other or several at once, which nothing that times may do.
#[derive(Args)]
pub struct SweepPlanArgs {
    #[command(flatten)]
    plan: TrialPlanArgs,
    /// Train N trials at once, one thread each, where that takes less time for all of them together
    ///
    /// When results matter and times do not: every bit is that of a trial alone on one thread, but times are not measured,
    /// and no report compares them. Without --jobs such a trial is due again, for its times. 1 is none.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "threads",
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    jobs: Option<u32>,
}

/// Seeds as a person lists them.
#[derive(Clone, Debug)]
pub struct SeedList(pub Vec<Seed>);

impl FromStr for SeedList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                text.trim().parse::<u64>().map_err(|_| format!("'{part}' is no seed: expected 3 or 0-4"))
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last - first >= MOST_SEEDS {
                return Err(format!(
                    "'{part}' is no range of at most {MOST_SEEDS} seeds, the smallest first"
                ));
            }
            seeds.extend((first..=last).map(Seed));
        }
        let all = seeds.len();
        seeds.sort_unstable();
        seeds.dedup();
        if seeds.len() < all { Err(format!("'{text}' has a seed twice")) } else { Ok(Self(seeds)) }
    }
}

const MOST_SEEDS: u64 = 1_000;

#[derive(Clone, Copy, ValueEnum)]
pub enum PlanChoice {
    Tuned,
    Eager,
    Fused,
    Winograd,
    Graph,
}

impl ProfileArg {
    pub fn name(&self) -> Option<ProfileName> {
        self.name.as_deref().map(ProfileName::from)
    }
}

impl SweepArgs {
    pub fn diagnostics(&self) -> Diagnostics {
        if self.no_diagnostics { Diagnostics::Off } else { Diagnostics::On }
    }
}

impl SeedsArg {
    pub fn limit(&self) -> Option<usize> {
        self.seeds.map(|seeds| seeds as usize)
    }
}

impl PlanChoice {
    pub fn name(self) -> PlanName {
        match self {
            Self::Tuned => PlanName::Tuned,
            Self::Eager => PlanName::Eager,
            Self::Fused => PlanName::Fused,
            Self::Winograd => PlanName::Winograd,
            Self::Graph => PlanName::Graph,
        }
    }
}

impl PlanArgs {
    /// On one thread, unless another number was asked for.
    pub fn one_thread(&self) -> PlanAsked {
        self.with(&[PlanChange { threads: self.threads.or(Some(1)), ..PlanChange::default() }])
    }

    /// What was said of it, and then `more`, goes before a file's `[plan]`.
    fn with(&self, more: &[PlanChange]) -> PlanAsked {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let name = self.plan.map(PlanChoice::name);
        let said = PlanChange { name, threads: self.threads, ..PlanChange::default() };
        let set = more.iter().fold(said, |set, more| set.then(more));
        PlanAsked { base: set.apply(&Plan::by_default(cores, self.device)), set }
    }
}

impl TrialPlanArgs {
    pub fn plan(&self) -> PlanAsked {
        self.plan.with(&self.set)
    }

    /// On one thread, unless another number was asked for.
    pub fn one_thread(&self) -> PlanAsked {
        let threads = PlanChange { threads: self.plan.threads.or(Some(1)), ..PlanChange::default() };
        self.plan.with(&[&self.set[..], &[threads]].concat())
    }
}

impl SweepPlanArgs {
    pub fn plan(&self) -> PlanAsked {
        let one_each = PlanChange { threads: (self.at_once() > 1).then_some(1), ..PlanChange::default() };
        self.plan.plan.with(&[&self.plan.set[..], &[one_each]].concat())
    }

    /// Trials that train at a time.
    pub fn at_once(&self) -> u32 {
        self.jobs.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

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
    fn seeds_are_listed_one_by_one_and_as_ranges() {
        let seeds = |text: &str| {
            text.parse::<SeedList>().map(|list| list.0.iter().map(|seed| seed.0).collect::<Vec<_>>())
        };
        assert_eq!(seeds("7,0-2").unwrap(), [0, 1, 2, 7]);
        for (text, reason) in
            [("", "no seed"), ("3-1", "smallest first"), ("1,0-2", "twice"), ("0-99999999999", "1000")]
        {
            let error = seeds(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
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
            Verb::Run(args) => args.sweep.plan.plan().base,
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
