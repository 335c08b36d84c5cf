//! The options of `pinbench check`, beside baselines and beside another build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::experiment::ProfileName;
use pinbench::planted::Planted;

use crate::cmd::args::{SeedList, WrongUsage};
use crate::cmd::console::warn;
use crate::cmd::time::minutes;
use crate::cmd::workspace::Workspace;

/// Compare fresh runs with the stored baselines: the gate of a pipeline
///
/// Asks single steps first, which tell on any machine, without statistics, whether this tree still trains the same. Then it
/// trains every arm of a baseline under a few of its seeds. On a machine of the same class every bit of weights, losses and
/// accuracies is compared; elsewhere each run with the baseline's of the same seed, and the mean difference is held to the
/// margin the file states. Where it lies beyond, all seeds are trained and decide. Too good is changed, and no regression.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench check                                       every baseline there is
  pinbench check --profile gate --markdown \"$GITHUB_STEP_SUMMARY\"
  pinbench check m1 --profile gate --junit target/gate.xml --json target/gate.json
  pinbench check m1 --seeds 0-11                       all seeds at once
  pinbench check m1 --against ../old/pinbench          beside another build

Exit codes, of all baselines together, with a line for each reason:
  0  every baseline holds
  1  regressed: worse over all seeds, or diverged twice
  3  inconclusive: too few seeds for the stated effect, or it did not recur
  4  not comparable: a baseline is missing, stale or orphaned, a training failed
  5  changed: this tree trains something else, and nothing says it is worse")]
pub(crate) struct CheckArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all with a baseline when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    /// Only baselines of this profile [default: every baseline]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Seeds of the baseline to train first, such as 0-4 or 3,7 [default: its first three]
    #[arg(long, value_name = "LIST")]
    pub seeds: Option<SeedList>,
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
    #[command(flatten)]
    pub against: AgainstArgs,
}

impl CheckArgs {
    /// `None`: any.
    pub(crate) fn profile(&self) -> Option<ProfileName> {
        self.profile.as_deref().map(ProfileName::from)
    }
}

#[derive(Args)]
pub(crate) struct AgainstArgs {
    /// Compare with another build of pinbench in the place of baselines: bits, and step times in turn
    ///
    /// When a change is to be judged on one machine beside what it changes. Arms are paired by config, whatever they are
    /// called; each is trained once by both, and their steps are timed in blocks, one program right after the other.
    #[arg(long, value_name = "BINARY", conflicts_with = "seeds")]
    pub against: Option<PathBuf>,
    /// Where that build finds its experiments [default: the folder that has its target folder, else this one]
    #[arg(long, value_name = "DIR", requires = "against")]
    pub against_tree: Option<PathBuf>,
    /// How long to time steps, beside a build; a block that would end later does not begin
    #[arg(long, value_name = "N", requires = "against", default_value = "5", value_parser = minutes)]
    pub minutes: f64,
    /// Leave step times out: bits alone decide, beside a build
    #[arg(long, requires = "against", conflicts_with = "minutes")]
    pub no_times: bool,
    /// Train and time so many arms beside a build, of different networks and data first
    #[arg(
        long,
        value_name = "N",
        requires = "against",
        default_value = "2",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub arms: u16,
}

impl AgainstArgs {
    /// The folder that the other program is run in.
    pub(crate) fn tree(&self, workspace: &Workspace, binary: &Path) -> Result<PathBuf> {
        if let Some(tree) = &self.against_tree {
            let tree = workspace.root.join(tree);
            if tree.is_dir() {
                return Ok(tree);
            }
            let tree = tree.display();
            return Err(WrongUsage(format!(
                "--against-tree: there is no folder '{tree}'; give the checkout that the other program was built from"
            ))
            .into());
        }
        let target =
            binary.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
        let beside = target.and_then(Path::parent).filter(|tree| tree.join("experiments").is_dir());
        if beside.is_none() {
            let (binary, root) = (binary.display(), workspace.root.display());
            warn(&format!(
                "'{binary}' is in no checkout's target folder: it reads the experiments of '{root}'; --against-tree names others"
            ));
        }
        Ok(beside.unwrap_or(&workspace.root).to_owned())
    }
}

/// Writes what was asked for into its file, and makes the file's folder.
pub(crate) fn write(path: Option<&Path>, content: impl FnOnce() -> Result<String>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    if folder != Path::new("") {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    }
    fs::write(path, content()?).with_context(|| format!("cannot write '{}'", path.display()))
}
