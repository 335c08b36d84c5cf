//! `pinbench data …`: the data sets in the cache.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use pinbench::data::add::{self, Test, Watch};
use pinbench::data::{self, Name, Options};
use pinbench::schedule::Interrupt;
use pinbench::text;

use crate::cmd::args::{EXIT_FAILURE, WrongUsage};
use crate::cmd::console::{print, say, table, warn};
use crate::cmd::progress::is_terminal;
use crate::cmd::workspace::Workspace;

#[derive(Subcommand)]
pub(crate) enum DataVerb {
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
pub(crate) struct FetchArgs {
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
pub(crate) struct AddArgs {
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
pub(crate) struct VerifyArgs {
    /// A set that `pinbench data list` has; those in the cache when none is given
    #[arg(value_name = "SET")]
    pub sets: Vec<data::Name>,
}

/// Makes the user's own sets known, and returns what is wrong with those that cannot be used. Without a place for data
/// there are none, and whoever needs one says so.
pub(crate) fn define_own() -> Vec<String> {
    let Ok(root) = data::root() else { return Vec::new() };
    let wrong = data::define_own(&root).into_iter();
    wrong.map(|(path, error)| format!("'{path}' {error}; it is not used")).collect()
}

pub(crate) fn fetch(workspace: &Workspace, args: &FetchArgs) -> Result<ExitCode> {
    let root = data::root()?;
    if let Some(missing) = args.from.iter().find(|from| !from.exists()) {
        let text =
            format!("--from: there is no '{}', expected a folder or a file with the data", missing.display());
        return Err(WrongUsage(text).into());
    }
    let options = Options { from: args.from.clone() };
    let sets = if args.sets.is_empty() { Name::built_in() } else { args.sets.clone() };
    for name in sets {
        let fetched = data::fetch(name, &root, &options, &mut FetchProgress::new(workspace.quiet))?;
        let how = if fetched.sources.is_empty() {
            "was there already".to_owned()
        } else {
            format!("from {}", fetched.sources.join(", "))
        };
        workspace.note(&format!("{name}: verified, {how}"));
        print(&fetched.folder.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn add(workspace: &Workspace, args: &AddArgs) -> Result<ExitCode> {
    let root = data::root()?;
    let interrupt = Interrupt::install_in_child()?;
    let test = match (&args.test, args.test_share) {
        (Some(folder), _) => Test::Folder(folder.clone()),
        (None, Some(share)) => Test::Share(share),
        (None, None) => Test::Found,
    };
    let options = add::Options { size: args.size, test, skip_broken: args.skip_broken };
    let mut progress = FetchProgress::new(workspace.quiet);
    let mut watch = Watch { observer: &mut progress, is_stopped: &|| interrupt.is_asked() };
    let added = add::add(&args.name, &args.from, &options, &root, &mut watch)?;
    drop(progress);
    let row = |class: &str, train: usize, test: usize| {
        vec![class.to_owned(), text::count(train as u64), text::count(test as u64)]
    };
    let mut rows = vec![["class", "train", "test"].map(str::to_owned).to_vec()];
    rows.extend(added.counts.iter().map(|(class, train, test)| row(class, *train, *test)));
    let sum = |part: fn(&(String, usize, usize)) -> usize| added.counts.iter().map(part).sum();
    rows.push(row("all", sum(|(_, train, _)| *train), sum(|(.., test)| *test)));
    table(&rows).iter().try_for_each(|line| print(line))?;
    added.warnings.iter().for_each(|text| warn(text));
    let how = if added.was_there { "was there already" } else { "added" };
    let (name, shape, digest) = (&args.name, added.shape, added.digest.short());
    print(&format!("{name}: {how}, {shape}, digest {digest}, {}", added.path.display()))?;
    workspace.note(&format!("an experiment names it so: data = {{ set = \"{name}\", validation = 0.2 }}"));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn list() -> Result<ExitCode> {
    let root = data::root()?;
    let mut rows =
        vec![["set", "state", "images", "shape", "classes", "digest", "place"].map(str::to_owned).to_vec()];
    for name in Name::all() {
        let place = data::place(name, &root);
        rows.push(vec![
            name.to_string(),
            if data::is_present(name, &root) { "present" } else { "missing" }.to_owned(),
            format!("{} + {}", text::count(name.train_len().into()), text::count(name.test_len().into())),
            name.shape().to_string(),
            name.classes().to_string(),
            name.digest().short(),
            place.display().to_string(),
        ]);
    }
    table(&rows).iter().try_for_each(|line| print(line))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn verify(workspace: &Workspace, args: &VerifyArgs) -> Result<ExitCode> {
    let root = data::root()?;
    let present = |name: &Name| data::is_present(*name, &root);
    let mut sets = args.sets.clone();
    if sets.is_empty() {
        sets = Name::all().into_iter().filter(present).collect();
    }
    if sets.is_empty() {
        anyhow::bail!("no data set in '{}'; run `pinbench data fetch`", root.display());
    }
    let mut code = ExitCode::SUCCESS;
    if args.sets.is_empty() {
        for wrong in define_own() {
            say(&format!("error: {wrong}"));
            code = ExitCode::from(EXIT_FAILURE);
        }
    }
    for name in sets {
        match data::load(name, &root) {
            Ok(_) => print(&format!("{name}: verified, {}", data::place(name, &root).display()))?,
            Err(error) => {
                say(&format!("error: {error}"));
                code = ExitCode::from(EXIT_FAILURE);
            }
        }
    }
    workspace.note("each has the SHA-256 of its definition, unless named above");
    Ok(code)
}

/// The cache, after those of `sets` that were not in it are fetched.
pub(crate) fn fetch_missing(workspace: &Workspace, sets: impl Iterator<Item = Name>) -> Result<PathBuf> {
    let root = std::path::absolute(data::root()?)?;
    for name in sets {
        if !data::is_present(name, &root) {
            data::fetch(name, &root, &Options::default(), &mut FetchProgress::new(workspace.quiet))?;
        }
    }
    Ok(root)
}

/// Notes and a bar on a terminal, notes alone elsewhere.
struct FetchProgress {
    quiet: bool,
    bar: ProgressBar,
    what: String,
    /// When the bar was last moved: it is told of every block.
    moved: Instant,
}

const THROTTLE: Duration = Duration::from_millis(100);

impl FetchProgress {
    fn new(quiet: bool) -> Self {
        let bar = if quiet || !is_terminal() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { quiet, bar, what: String::new(), moved: Instant::now() }
    }
}

impl data::Observer for FetchProgress {
    fn note(&mut self, text: &str) {
        // Said also under --quiet where something was wrong; a source that is tried is only progress.
        if text.contains("set aside") {
            self.bar.suspend(|| warn(text));
        } else if !self.quiet {
            self.bar.suspend(|| say(text));
        }
    }

    fn progress(&mut self, what: &str, done: u64, total: Option<u64>) {
        let is_new = self.what != what;
        if is_new {
            what.clone_into(&mut self.what);
            self.bar.reset();
            self.bar.set_message(self.what.clone());
        } else if self.moved.elapsed() < THROTTLE && total != Some(done) {
            return;
        }
        self.moved = Instant::now();
        self.bar.set_length(total.unwrap_or(done));
        self.bar.set_position(done);
    }
}

impl Drop for FetchProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
