//! What a sweep says while it runs: bars on a terminal, a line an epoch elsewhere, nothing under `--quiet`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pinbench::record::Status;
use pinbench::row::Split;
use pinbench::schedule::{Basis, Ending, Event, Item, Observer};
use pinbench::text;

use crate::cmd::console::{say, warn};

pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

pub(super) struct Progress {
    quiet: bool,
    bars: Option<Bars>,
    names: Vec<String>,
    estimates: Vec<Duration>,
    /// Estimated and real time of the runs that are over: how far off the estimates are.
    estimated: Duration,
    spent: Duration,
    /// Runs under way, by their index.
    current: BTreeMap<usize, Current>,
    /// Runs that have begun: the first so many.
    begun: usize,
    /// Most runs that were under way at once so far.
    most: usize,
}

/// One for each run under way, and below them the sweep's.
struct Bars {
    all: MultiProgress,
    sweep: ProgressBar,
}

/// A run that is under way.
struct Current {
    began: Instant,
    bar: Option<ProgressBar>,
    /// Images and epochs of the whole run, at most.
    all: (u64, u64),
    /// Trained on when last heard of.
    images: u64,
    /// Images and seconds of the epoch that were heard of: a single report is of a moment, and jumps.
    epoch: (u64, f64),
    left: Option<Duration>,
    /// Loss and accuracy of the epoch's training.
    train: Option<(f64, f64)>,
}

impl Current {
    fn new(bar: Option<ProgressBar>) -> Self {
        Self { began: Instant::now(), bar, all: (0, 0), images: 0, epoch: (0, 0.0), left: None, train: None }
    }

    fn heard(&mut self, images: u64, images_per_s: f64) {
        let more = images.saturating_sub(self.images);
        self.images = images;
        if images_per_s > 0.0 {
            self.epoch = (self.epoch.0 + more, self.epoch.1 + more as f64 / images_per_s);
        }
    }

    /// Of the epoch so far.
    fn images_per_s(&self) -> Option<f64> {
        let (images, seconds) = self.epoch;
        (seconds > 0.0).then(|| images as f64 / seconds)
    }

    /// Says so on its bar; its speed only while it is alone: beside others it says little, and there is no room for it.
    fn progressed(&mut self, epoch: u32, images: u64, (loss, accuracy): (f64, f64), is_alone: bool) {
        let rate = self.images_per_s().unwrap_or(f64::NAN);
        let (all, epochs) = self.all;
        let left = all.saturating_sub(images) as f64 / rate;
        self.left = Duration::try_from_secs_f64(left).ok();
        let Some(bar) = &self.bar else { return };
        bar.set_length(all);
        bar.set_position(images);
        let speed = if is_alone { format!("  {} img/s", text::count(rate as u64)) } else { String::new() };
        bar.set_message(format!(
            "epoch {}/{epochs}  {} left  loss {}  acc {}{speed}",
            epoch.saturating_add(1),
            self.left.map_or_else(|| "?".to_owned(), text::duration),
            text::fixed(loss, 4),
            text::fixed(accuracy, 4)
        ));
    }

    /// What there is to say of it: an epoch has one line for all of its splits.
    fn measured(&mut self, epoch: u32, split: Split, loss: f64, accuracy: f64) -> Option<String> {
        let score = |loss: f64, accuracy: f64| {
            let loss = if loss.is_finite() { text::fixed(loss, 4) } else { "not finite".to_owned() };
            format!("loss {loss}, accuracy {}", text::fixed(accuracy, 4))
        };
        match split {
            Split::Train => {
                self.train = Some((loss, accuracy));
                None
            }
            Split::TrainEval => None,
            Split::Validation => {
                let train = self.train.take().map(|(loss, accuracy)| score(loss, accuracy));
                // An epoch may be over before its speed was said once.
                let rate = self.images_per_s();
                let rate =
                    rate.map_or_else(String::new, |rate| format!("; {} images/s", text::count(rate as u64)));
                self.epoch = (0, 0.0);
                Some(format!(
                    "epoch {}/{}: train {}; validation {}{rate}",
                    epoch.saturating_add(1),
                    self.all.1,
                    train.unwrap_or_else(|| "unknown".to_owned()),
                    score(loss, accuracy)
                ))
            }
            Split::Test => Some(format!("test {}", score(loss, accuracy))),
        }
    }
}

impl Progress {
    pub(super) fn new(quiet: bool, due: &[&Item], times: &[(Duration, Basis)]) -> Self {
        let name =
            |item: &&Item| format!("{}, seed {} ({})", item.arm.name, item.trial.seed, item.id.short());
        let estimates = times.iter().map(|(time, _)| *time).collect();
        Self::named(quiet, due.iter().map(name).collect(), estimates)
    }

    /// Of runs with these names that will take about so long.
    pub(super) fn named(quiet: bool, names: Vec<String>, estimates: Vec<Duration>) -> Self {
        let is_drawn = !quiet && is_terminal() && !names.is_empty();
        let bars = is_drawn.then(|| Bars::new(names.len() as u64));
        Self {
            quiet,
            bars,
            names,
            estimates,
            estimated: Duration::ZERO,
            spent: Duration::ZERO,
            current: BTreeMap::new(),
            begun: 0,
            most: 0,
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.sweep.finish_and_clear();
        }
    }

    /// Above the bars, where there are any.
    fn line(&self, line: &str) {
        if !self.quiet {
            self.apart(|| say(line));
        }
    }

    /// What `write` writes, above the bars where there are any.
    pub(super) fn apart<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        }
    }

    /// About a run that has begun, and which one where others may have.
    fn line_of(&self, index: usize, line: &str) {
        match self.most {
            0 | 1 => self.line(&format!("  {line}")),
            _ => self.line(&format!("{} {line}", self.tag(index))),
        }
    }

    fn tag(&self, index: usize) -> String {
        format!("[{}/{}]", index + 1, self.names.len())
    }

    fn warn(&self, text: &str) {
        self.apart(|| warn(text));
    }

    /// Left of the runs that were not started yet.
    fn rest(&self) -> Duration {
        let rest: Duration = self.estimates.iter().skip(self.begun).sum();
        if self.estimated.is_zero() {
            rest
        } else {
            rest.mul_f64(self.spent.div_duration_f64(self.estimated))
        }
    }

    /// Left of the sweep if its runs go on being so many at once: as long as the longest of them at least.
    fn left(&self) -> Duration {
        let of_run = |(&index, run): (&usize, &Current)| {
            run.left.unwrap_or_else(|| self.estimates[index].saturating_sub(run.began.elapsed()))
        };
        let under_way: Vec<Duration> = self.current.iter().map(of_run).collect();
        let longest = under_way.iter().copied().max().unwrap_or_default();
        let all = under_way.into_iter().fold(self.rest(), Duration::saturating_add);
        longest.max(all / self.most.max(1) as u32)
    }

    fn show_left(&self) {
        if let Some(bars) = &self.bars {
            bars.sweep.set_message(format!("{} left", text::duration(self.left())));
        }
    }
}

/// What is in them fits into 80 columns.
impl Bars {
    fn new(runs: u64) -> Self {
        let all = MultiProgress::new();
        let sweep = all.add(ProgressBar::new(runs));
        sweep.set_style(style("{bar:12} {pos}/{len} runs  {wide_msg}"));
        Self { all, sweep }
    }

    fn run(&self) -> ProgressBar {
        // Of nothing, a bar is full.
        let run = self.all.insert_before(&self.sweep, ProgressBar::new(1));
        run.set_style(style("{bar:12} {percent:>3}%  {wide_msg}"));
        run.set_message("starting");
        run
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╾─")
}

impl Observer for Progress {
    fn begin(&mut self, index: usize) {
        self.line(&format!("{} {}", self.tag(index), self.names[index]));
        self.current.insert(index, Current::new(self.bars.as_ref().map(Bars::run)));
        self.begun += 1;
        self.most = self.most.max(self.current.len());
        if self.most > 1 {
            for (&index, run) in &self.current {
                let Some(bar) = &run.bar else { continue };
                bar.set_style(style("{prefix} {bar:6} {percent:>3}%  {wide_msg}"));
                bar.set_prefix(self.tag(index));
            }
        }
        self.show_left();
    }

    fn event(&mut self, index: usize, event: &Event) {
        // There is one between `begin` and `end`.
        let Some(run) = self.current.get_mut(&index) else { return };
        match *event {
            Event::Started { done, steps, steps_per_epoch, images } => {
                let steps_per_epoch = steps_per_epoch.max(1);
                run.images = images.saturating_mul(done) / steps_per_epoch;
                // Of whole epochs exactly; a part of one to within a batch.
                run.all = (images.saturating_mul(steps) / steps_per_epoch, steps.div_ceil(steps_per_epoch));
                if done > 0 {
                    self.line_of(index, &format!("resumed after {done} of {steps} steps"));
                }
            }
            Event::Progress { epoch, images, loss, accuracy, images_per_s, .. } => {
                run.heard(images, images_per_s);
                run.progressed(epoch, images, (loss, accuracy), self.most < 2);
                self.show_left();
            }
            Event::Measured { epoch, split, loss, accuracy } => {
                if let Some(line) = run.measured(epoch, split, loss, accuracy) {
                    self.line_of(index, &line);
                }
            }
            Event::Note { ref text } => {
                let name = &self.names[index];
                self.warn(&format!("{name}: {text}"));
            }
            Event::Ready | Event::Sealed { .. } | Event::Done => {}
        }
    }

    fn end(&mut self, index: usize, ending: &Ending) {
        let Some(run) = self.current.remove(&index) else { return };
        let took = run.began.elapsed();
        if let (Some(bars), Some(bar)) = (&self.bars, &run.bar) {
            bar.finish_and_clear();
            bars.all.remove(bar);
        }
        let name = &self.names[index];
        let failed = match ending {
            Ending::Sealed { status: Status::Finished, .. } => {
                self.estimated += self.estimates[index];
                self.spent += took;
                self.line_of(index, &format!("finished in {}", text::duration(took)));
                None
            }
            Ending::Sealed { status: Status::Diverged { step, loss }, .. } => {
                Some(format!("{name}: diverged: the loss of step {step} was {loss}"))
            }
            Ending::Sealed { status: Status::Failed { reason }, .. } | Ending::Died { reason } => {
                Some(format!("{name}: failed: {reason}"))
            }
            Ending::Busy => Some(format!("{name}: another process runs it; left to that one")),
            Ending::Interrupted | Ending::Done => None,
        };
        if let Some(failed) = failed {
            self.warn(&failed);
        }
        if let Some(bars) = &self.bars {
            // What was interrupted is not done, and the next sweep goes on with it.
            bars.sweep.inc(u64::from(*ending != Ending::Interrupted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of an epoch said "65 images/s": the speed of its last quarter of a second, in which others ran.
    #[test]
    fn the_speed_of_an_epoch_is_that_of_all_its_images() {
        let mut current = Current::new(None);
        assert_eq!(current.images_per_s(), None);
        current.heard(1000, 2000.0);
        current.heard(1500, 1000.0);
        assert_eq!(current.images_per_s(), Some(1500.0));
        current.heard(1500, 0.0);
        assert_eq!(current.images_per_s(), Some(1500.0));
    }

    #[test]
    fn what_is_left_is_shared_out_among_the_runs_that_are_under_way_at_once() {
        let seconds = Duration::from_secs;
        let mut progress =
            Progress::named(true, vec![String::new(); 4], [100, 40, 40, 20].map(seconds).to_vec());
        let mut left_of = |begun: &[(usize, u64)]| {
            for &(index, left) in begun {
                progress.begin(index);
                progress.current.get_mut(&index).unwrap().left = Some(seconds(left));
            }
            progress.left()
        };
        assert_eq!(left_of(&[(0, 60)]), seconds(60 + 40 + 40 + 20));
        assert_eq!(left_of(&[(1, 30)]), seconds((60 + 30 + 40 + 20) / 2));
        // One of them alone takes longer than its share.
        progress.current.get_mut(&0).unwrap().left = Some(seconds(99));
        assert_eq!(progress.left(), seconds(99));
    }
}
