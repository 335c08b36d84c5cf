//! What can be said on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pinbench::data;
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Plan, PlanAsked, PlanChange, ProfileName};
use pinbench::planted::Planted;
use pinbench::row::Diagnostics;
use pinbench::stream::Seed;

const EXIT_CODES: &str = "\
Exit codes:
  0    everything asked for is there
  1    something failed, or a run diverged
  2    wrong usage: an unknown option or id, or a mistake in a TOML file
  3, 4 of `check` alone: inconclusive, not comparable
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
    Reproduce(ReproduceArgs),
    Run(RunArgs),
    Report(ReportArgs),
    List(ListArgs),
    Show(ShowArgs),
    Verify(VerifyRunsArgs),
    Diff(DiffArgs),
    Export(ExportArgs),
    Trace(TraceArgs),
    Time(crate::cmd::time::TimeArgs),
    Explain(crate::cmd::explain::ExplainArgs),
    Check(CheckArgs),
    /// Keep what an experiment gives as what is expected of it
    #[command(subcommand)]
    Baseline(BaselineVerb),
    Doctor(DoctorArgs),
    /// Fetch, list and verify the data sets
    #[command(subcommand)]
    Data(DataVerb),
    Init(InitArgs),
    Help(HelpArgs),
    /// Train one trial: what `run` starts as a child
    #[command(hide = true)]
    Train {
        /// The process that started it, with which it ends
        #[arg(long, value_name = "PID")]
        parent: Option<u32>,
    },
}

/// Train what is missing of the experiments, then make their reports
///
/// The one command to get from a fresh clone to the pages. A trial is an arm under a seed; those that are done are not trained again, so that after
/// an interruption the same command goes on. Before it starts it says what is done, what is due and how long that
/// takes. The path of each report is printed on standard output.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench reproduce m1 --profile full
  pinbench reproduce --profile smoke --report /tmp/reports
  pinbench reproduce m1 --plan eager        times of a plain PyTorch script
  pinbench reproduce --dry-run              what is due, and how long it takes

Words such as arm, profile and plan: pinbench help words.
A run that failed or diverged is in the report, and the exit code is 1.")]
pub struct ReproduceArgs {
    #[command(flatten)]
    pub sweep: SweepArgs,
    /// Folder the reports are written into, one folder an experiment
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub report: PathBuf,
}

/// Train what is missing of the experiments, without a report
///
/// When you want the runs first and the pages later, or one trial alone: a trial is an arm, which is one setting that is
/// compared, under a seed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench run m1 --profile full --seeds 1
  pinbench run m1 --trial 3f9a                one trial, by the start of its id
  pinbench run m1 --profile full --jobs 4     four at a time, for results alone
  pinbench run m1 --dry-run                   what is due, and how long it takes

Words such as arm, profile and plan: pinbench help words.")]
pub struct RunArgs {
    #[command(flatten)]
    pub sweep: SweepArgs,
    /// Only the trial whose id starts so; `pinbench list` has the ids
    #[arg(long, value_name = "ID")]
    pub trial: Option<String>,
    /// Train again, for its times, what is done but was not measured beside the other arms of its seed
    ///
    /// The arms of a seed are a block: they run one after the other, in an order drawn from the seed, and their times are
    /// compared within it. A block that was interrupted has times that lie apart.
    #[arg(long, conflicts_with_all = ["jobs", "dry_run", "trial"])]
    pub retime: bool,
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
    /// Of the built-in experiments smoke is for tests, quick, the default, a first answer from a part of the images, and
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
    /// fused our own kernels where there is one, graph a GPU's steps as CUDA graphs
    /// [default: tuned, or what a file's [plan] says]
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

/// Make the reports of the runs there are
///
/// When runs came from elsewhere, or you want the page of a sweep that is still under way. Takes the runs of the
/// newest plan and machine, those of `--jobs` only where there are no others; trains nothing and needs no libtorch.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench report m1
  pinbench report --profile full --plan eager --out /tmp/reports

Writes DIR/EXPERIMENT/index.html and, beside it, the frames and records it is made of;
DIR/index.html, DIR/open-questions.html and DIR/claims.csv over all experiments.")]
pub struct ReportArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// Only runs of this plan: tuned, eager, fused or graph [default: that with most trials done]
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = true)]
    plan: Option<PlanChoice>,
    /// Folder the reports are written into, one folder an experiment
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
    /// Leave out the rows of every step, for a folder that is kept in a repository
    #[arg(long)]
    pub no_steps: bool,
}

/// List every trial, where it stands and how long it takes: exactly what `run` would do
///
/// Trials that are missing, interrupted or failed would run; those that are done, diverged or running would not. Times
/// are of a run from start to end: measured where there are runs like it from this machine, else guessed from others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench list m1 --profile full
  pinbench list --json | jq -r '.[] | select(.status == \"missing\") | .trial_id'

--json prints an array of objects. Their keys stay:
  experiment, profile, arm, seed
  trial_id    SHA-256 of config and seed, 64 hex digits
  config      the resolved config
  plan_hash   SHA-256 of the plan
  status      done, diverged, running, failed or missing
  run         id of the run that stands for the trial, or null
  kept_steps  steps that are done of a trial that was interrupted, or null
  estimate_s  seconds that a run of it takes, from start to end
  estimate_basis  measured, of runs like it on this machine, or guessed")]
pub struct ListArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: SweepPlanArgs,
    #[command(flatten)]
    pub seeds: SeedsArg,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Show one run, or every run of a trial or an experiment: its record and its final numbers
///
/// When a number in a report looks odd and you want to know what exactly ran, where, and what became of it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench show 3f9a21                          every run of a trial
  pinbench show 20260102T030405.678901Z-4242-0  one run
  pinbench show m1 --profile smoke              every run of an experiment

--json prints one object: `runs`, each with its `arm` (null where its experiment
is not here), its `doubts` about times, its `record` and its `final` numbers
(null where there are none), and `problems`, a list of texts.")]
pub struct ShowArgs {
    /// Id of a run, a trial or an experiment, or the start of one
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Run again what is stored, in fresh processes, and grade how alike it comes out
///
/// When a number has to be had again. Grades: bit-identical; equal within 16 units in the last place of every step
/// loss; statistically equivalent, which is a validation accuracy no further off than two seeds are; different. Beside
/// the grade stands what the two environments promise. Replays are not kept.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench verify 3f9a21                        the newest run of a trial
  pinbench verify m1-batch-size --profile smoke every run of an experiment

--json prints an array of objects with the keys run, trial_id and comparison:
  grade, expected   identical, ulps, equivalent or different
  reason            why no more than that is promised
  parting           the first step that differs, its losses, the tensors
  ulps, accuracy    distances; accuracy is [difference, what chance allows]
  changes           what differs around the runs: what, first, second
The exit code is 1 when a grade is below what is promised.")]
pub struct VerifyRunsArgs {
    /// Ids of runs, trials or experiments, or starts of them, or paths of experiments' files
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Compare two stored runs: the first step and tensor that differ, and what differs around them
///
/// When a trial came out differently, here or on another machine.
#[derive(Args)]
#[command(after_help = "\
Example:
  pinbench diff 20260102T030405.678901Z-4242-0 20260103T

--json prints one object with the keys of `verify`'s comparison, and first and
second, the run ids. The exit code is 0 for identical runs and 1 for others.")]
pub struct DiffArgs {
    /// Id of a run, or of a trial for its newest run, or the start of one
    pub first: String,
    /// The run to compare it with
    pub second: String,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Write the first steps of a trial, for another program to repeat
///
/// When pinbench itself is in doubt: `just cross-check` has PyTorch repeat them and compares every bit.
#[derive(Args)]
#[command(after_help = "\
Example:
  pinbench export --trial 3f9a --steps 50 --out /tmp/steps

Writes into DIR:
  trial.json          config, seed, plan, libtorch, seed of the initial weights
                      and their SHA-256
  steps.json          of each step: its images, the seed of its dropout, its loss
  state.safetensors   weights and optimizer after the last of them
  images.u8           the training file, image by image
  labels.u16          their labels, little-endian")]
pub struct ExportArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    /// Start of the trial's id; `pinbench list` has the ids
    #[arg(long, value_name = "ID", required = true)]
    pub trial: String,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: TrialPlanArgs,
    /// Steps, from the first
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Folder the files are written into
    #[arg(long, value_name = "DIR", required = true)]
    pub out: PathBuf,
}

/// Trace the steps of a trial: its time by operator, beside what this machine could do
///
/// When a training is slow and you want to know in which operators, and how far from the machine's own rates it is.
/// Trains the trial for some steps as `run` does, then for as many under libtorch's profiler. A traced run is no result:
/// it goes into no store.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench trace 3f9a
  pinbench trace 3f9a --plan eager --out /tmp/eager

Writes into DIR/trace-TRIAL:
  index.html     time and rates of each phase, roofline, operators, counters
  operators.csv  operator, calls, self and total time over the profiled steps
  trace.json     every operator of these steps, for Perfetto or chrome://tracing
Nothing else should run meanwhile.")]
pub struct TraceArgs {
    /// Start of the trial's id, of whatever profile; `pinbench list` has the ids
    #[arg(value_name = "TRIAL")]
    pub trial: String,
    /// Steps without the profiler, and as many with it
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(5..=500))]
    pub steps: u32,
    #[command(flatten)]
    pub plan: TrialPlanArgs,
    /// Folder the trace's own folder is written into
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
}

/// Compare fresh runs with the stored baselines: the gate of a pipeline
///
/// Trains every arm that has a baseline under the baseline's seeds. On a machine of the same class and under the same
/// plan every bit of weights, losses and accuracies is compared; elsewhere means over seeds, within tolerances from the
/// spread the baseline recorded. Step time is compared as a multiple of a reference workload timed in the same run. Too
/// good is an alarm as well. An alarm counts only if a rerun repeats it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench check                                       every baseline there is
  pinbench check --profile smoke --markdown \"$GITHUB_STEP_SUMMARY\"
  pinbench check m1 --profile smoke --junit target/gate.xml --json target/gate.json
  pinbench check m1 --profile smoke --seeds 100-119    by tolerance, other seeds

Exit codes, of all baselines together, with a line for each reason:
  0  every baseline holds
  1  regressed: an alarm that recurred
  3  inconclusive: too few seeds for the stated effect, or it did not recur
  4  nothing measured or not comparable: a baseline is missing, stale or orphaned")]
pub struct CheckArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all with a baseline when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    /// Only baselines of this profile [default: every baseline]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Seeds to train under, such as 0-4 or 3,7 [default: the baseline's]
    #[arg(long, value_name = "LIST")]
    pub seeds: Option<SeedList>,
    /// Leave step times out: bits, losses and accuracies alone decide
    ///
    /// On a machine that others use too. A step time is then neither compared nor a reason for a rerun.
    #[arg(long)]
    pub no_times: bool,
    /// Write Markdown, for the summary of a job
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Train with a fault, to see it found
    #[arg(long = "plant", value_name = "FAULT", hide = true)]
    pub planted: Option<Planted>,
}

#[derive(Subcommand)]
pub enum BaselineVerb {
    Accept(AcceptArgs),
}

/// Train an experiment, show what changes, and write its baseline
///
/// When a change of the numbers is meant, or an experiment is new to the gate. The file is made for review: one line a
/// run. More seeds make tolerances narrower: below five they are wide.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench baseline accept m1 --profile smoke
  pinbench baseline accept m1 --profile smoke --seeds 0-9 --dry-run

Writes experiments/baselines/EXPERIMENT.PROFILE.toml, without PROFILE where the
file has none.")]
pub struct AcceptArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files
    #[arg(value_name = "EXPERIMENT", required = true)]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Seeds to train under, such as 0-4 or 3,7 [default: 0-7]
    #[arg(long, value_name = "LIST")]
    pub seeds: Option<SeedList>,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Check this machine, the data sets and the store, with the next step for what is wrong
///
/// When something does not work, before a long sweep, and for a bug report.
#[derive(Args)]
#[command(after_help = "\
--json prints an array of objects with the keys name, state (ok, warn or fail),
value, and advice (null when ok). The exit code is 1 when training cannot work.")]
pub struct DoctorArgs {
    /// Read and check every file of every data set and run
    #[arg(long)]
    pub verify: bool,
    /// Remove what killed runs left, and set damaged runs aside
    #[arg(long)]
    pub clean: bool,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Write an experiment to begin with: it runs as it is, and says what each key is for
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench init && pinbench reproduce experiment.toml
  pinbench help experiment                    every key and every metric")]
pub struct InitArgs {
    /// The file, which must not be there yet
    #[arg(value_name = "FILE", default_value = "experiment.toml")]
    pub file: PathBuf,
}

/// Explain the words pinbench uses, an experiment's file, or a verb
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench help words
  pinbench help experiment
  pinbench help columns
  pinbench help data fetch")]
pub struct HelpArgs {
    /// `words`, `experiment`, `columns` or a verb; everything when none is given
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}

#[derive(Subcommand)]
pub enum DataVerb {
    Fetch(FetchArgs),
    Add(AddArgs),
    /// List the data sets, where each is and the digest that trials carry
    List,
    Verify(VerifyArgs),
}

/// Get data sets into the cache, verified
///
/// `reproduce` and `run` do this by themselves; this is for a machine that is offline later, or for data of your own
/// source. What counts is content: every file's SHA-256 is pinned.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench data fetch mnist
  pinbench data fetch --from ~/Downloads/cifar-10-binary.tar.gz cifar10")]
pub struct FetchArgs {
    /// A set that `pinbench data list` has; all that are built in when none is given
    #[arg(value_name = "SET")]
    pub sets: Vec<data::Name>,
    /// A folder or .tar.gz with the files, tried before the network; may be repeated
    #[arg(long, value_name = "PATH")]
    pub from: Vec<PathBuf>,
}

/// Make a data set of your own pictures
///
/// FOLDER holds a folder a class with PNG or JPEG files in it, or IDX, CIFAR or .npy files; or it is a NAME.pin that
/// somebody handed on. The set becomes one file, NAME.pin, in the data cache, and experiments name it: set = "NAME".
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench data add pets ~/pictures/pets --size 64
  pinbench data add pets ~/pets/train --test ~/pets/test --size 64x48
  pinbench data add pets ~/Downloads/pets.pin")]
pub struct AddArgs {
    /// What experiments will call it: small letters, digits, `_` and `-`
    pub name: String,
    /// A folder of pictures or arrays, or a .pin file
    #[arg(value_name = "FOLDER")]
    pub from: PathBuf,
    /// Bring every picture to so many pixels a side, or to WIDTHxHEIGHT; without it they must all have one size
    #[arg(long, value_name = "N|WxH")]
    pub size: Option<data::add::Size>,
    /// A folder with the test images, laid out as FOLDER
    #[arg(long, value_name = "FOLDER", conflicts_with = "test_share")]
    pub test: Option<PathBuf>,
    /// Share of each class that becomes test images [default: 0.1, where FOLDER has no test files of its own]
    #[arg(long, value_name = "SHARE")]
    pub test_share: Option<f64>,
    /// Leave broken pictures out, and record their names
    #[arg(long)]
    pub skip_broken: bool,
}

/// Read and check every file of the data sets in the cache
///
/// Each run does so for its own set; this is for a doubtful disk.
#[derive(Args)]
pub struct VerifyArgs {
    /// A set that `pinbench data list` has; those in the cache when none is given
    #[arg(value_name = "SET")]
    pub sets: Vec<data::Name>,
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
enum PlanChoice {
    Tuned,
    Eager,
    Fused,
    Graph,
}

impl ProfileArg {
    pub fn name(&self) -> Option<ProfileName> {
        self.name.as_deref().map(ProfileName::from)
    }
}

impl CheckArgs {
    /// `None`: any.
    pub fn profile(&self) -> Option<ProfileName> {
        self.profile.as_deref().map(ProfileName::from)
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
    fn name(self) -> PlanName {
        match self {
            Self::Tuned => PlanName::Tuned,
            Self::Eager => PlanName::Eager,
            Self::Fused => PlanName::Fused,
            Self::Graph => PlanName::Graph,
        }
    }
}

impl PlanArgs {
    pub fn plan(&self) -> PlanAsked {
        self.with(&[])
    }

    /// What was said of it, and then `more`, goes before a file's `[plan]`.
    fn with(&self, more: &[PlanChange]) -> PlanAsked {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let name = self.plan.map(PlanChoice::name);
        let said = PlanChange { name, threads: self.threads, ..PlanChange::default() };
        let set = more.iter().fold(said, |set, more| set.then(more));
        PlanAsked { base: set.apply(&Plan::named(PlanName::Tuned, cores, self.device)), set }
    }
}

impl TrialPlanArgs {
    pub fn plan(&self) -> PlanAsked {
        self.plan.with(&self.set)
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

impl ReportArgs {
    pub fn plan(&self) -> Option<PlanName> {
        self.plan.map(PlanChoice::name)
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
