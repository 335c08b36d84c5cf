//! Options that several verbs have, and the mistakes that can be made with them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Plan, PlanAsked, PlanChange, ProfileName};
use pinbench::row::Diagnostics;
use pinbench::stream::Seed;

pub(crate) const EXIT_FAILURE: u8 = 1;
pub(crate) const EXIT_USAGE: u8 = 2;

/// A mistake of whoever typed the command.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub String);

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
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

#[derive(Args)]
pub(crate) struct SweepArgs {
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
pub(crate) struct ProfileArg {
    /// Size of the experiment, by the name its file gives it [default: the file's default_profile, else its first, else
    /// the file as it stands]
    ///
    /// Of the built-in experiments smoke is for tests, gate for `check`, quick, the default, a first answer from a part of the images, and
    /// full the setting they are about. Experiments without that profile are left out.
    #[arg(long = "profile", value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args)]
pub(crate) struct SeedsArg {
    /// Only the first N seeds of the profile, for a first look
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seeds: Option<u32>,
}

/// How trials are executed; it changes times, not the question.
#[derive(Args)]
pub(crate) struct PlanArgs {
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
pub(crate) struct TrialPlanArgs {
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
pub(crate) struct SweepPlanArgs {
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
pub(crate) struct SeedList(pub Vec<Seed>);

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
pub(super) enum PlanChoice {
    Tuned,
    Eager,
    Fused,
    Winograd,
    Graph,
}

impl ProfileArg {
    pub(crate) fn name(&self) -> Option<ProfileName> {
        self.name.as_deref().map(ProfileName::from)
    }
}

impl SweepArgs {
    pub(crate) fn diagnostics(&self) -> Diagnostics {
        if self.no_diagnostics { Diagnostics::Off } else { Diagnostics::On }
    }
}

impl SeedsArg {
    pub(crate) fn limit(&self) -> Option<usize> {
        self.seeds.map(|seeds| seeds as usize)
    }
}

impl PlanChoice {
    pub(super) fn name(self) -> PlanName {
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
    pub(crate) fn one_thread(&self) -> PlanAsked {
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
    pub(crate) fn plan(&self) -> PlanAsked {
        self.plan.with(&self.set)
    }

    /// On one thread, unless another number was asked for.
    pub(crate) fn one_thread(&self) -> PlanAsked {
        let threads = PlanChange { threads: self.plan.threads.or(Some(1)), ..PlanChange::default() };
        self.plan.with(&[&[threads], &self.set[..]].concat())
    }
}

impl SweepPlanArgs {
    pub(crate) fn plan(&self) -> Result<PlanAsked, WrongUsage> {
        let jobs = self.at_once();
        if jobs > 1 && self.plan.set.iter().any(|set| set.threads.is_some()) {
            return Err(WrongUsage(format!(
                "--set plan.threads: --jobs {jobs} trains on one thread each; give one of the two"
            )));
        }
        let one_each = PlanChange { threads: (jobs > 1).then_some(1), ..PlanChange::default() };
        Ok(self.plan.plan.with(&[&self.plan.set[..], &[one_each]].concat()))
    }

    /// Trials that train at a time.
    pub(crate) fn at_once(&self) -> u32 {
        self.jobs.unwrap_or(1)
    }
}

#[cfg(not(feature = "torch"))]
pub(crate) fn without_torch() -> anyhow::Error {
    anyhow::anyhow!(
        "this pinbench was built without libtorch and cannot train; build it with the feature `torch`, which is on \
         by default: `just build`"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        plan: TrialPlanArgs,
    }

    /// `manifest --set plan.threads=2` froze one thread without a word.
    #[test]
    fn one_thread_is_what_nobody_says_otherwise() {
        let threads =
            |more: &[&str]| Line::parse_from([&["x"], more].concat()).plan.one_thread().base.threads;
        assert_eq!([threads(&[]), threads(&["--threads", "3"])], [1, 3]);
        assert_eq!(threads(&["--set", "plan.threads=2"]), 2);
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
}
