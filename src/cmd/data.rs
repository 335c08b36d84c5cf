//! `pinbench data …`: the data sets in the cache.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use pinbench::data::add::{self, Test, Watch};
use pinbench::data::{self, Name, Options};
use pinbench::schedule::Interrupt;
use pinbench::text;

use crate::cli::{AddArgs, FetchArgs, VerifyArgs};
use crate::cmd::console::{print, say, table, warn};
use crate::cmd::progress::is_terminal;
use crate::cmd::{EXIT_FAILURE, Workspace};

/// Makes the user's own sets known, and returns what is wrong with those that cannot be used. Without a place for data
/// there are none, and whoever needs one says so.
pub fn define_own() -> Vec<String> {
    let Ok(root) = data::root() else { return Vec::new() };
    let wrong = data::define_own(&root).into_iter();
    wrong.map(|(path, error)| format!("'{path}' {error}; it is not used")).collect()
}

pub fn fetch(workspace: &Workspace, args: &FetchArgs) -> Result<ExitCode> {
    let root = data::root()?;
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

pub fn add(workspace: &Workspace, args: &AddArgs) -> Result<ExitCode> {
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

pub fn list() -> Result<ExitCode> {
    let root = data::root()?;
    let mut rows =
        vec![["set", "state", "images", "shape", "classes", "digest", "place"].map(str::to_owned).to_vec()];
    for name in Name::all() {
        let place = data::place(name, &root);
        rows.push(vec![
            name.to_string(),
            if place.exists() { "present" } else { "missing" }.to_owned(),
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

pub fn verify(workspace: &Workspace, args: &VerifyArgs) -> Result<ExitCode> {
    let root = data::root()?;
    let present = |name: &Name| data::place(*name, &root).exists();
    let mut sets = args.sets.clone();
    if sets.is_empty() {
        sets = Name::all().into_iter().filter(present).collect();
    }
    if sets.is_empty() {
        anyhow::bail!("no data set in '{}'; run `pinbench data fetch`", root.display());
    }
    let mut code = ExitCode::SUCCESS;
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

/// Fetches those of `sets` that are not in the cache.
pub fn fetch_missing(workspace: &Workspace, sets: impl Iterator<Item = Name>, root: &Path) -> Result<()> {
    for name in sets {
        if !data::place(name, root).exists() {
            data::fetch(name, root, &Options::default(), &mut FetchProgress::new(workspace.quiet))?;
        }
    }
    Ok(())
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
