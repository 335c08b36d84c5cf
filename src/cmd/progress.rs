//! What a sweep says while it runs: bars on a terminal, a line an epoch elsewhere, nothing under `--quiet`.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pinbench::record::Status;
use pinbench::row::Split;
use pinbench::schedule::{Basis, Ending, Event, Item, Observer};
use pinbench::text;

use crate::cmd::console::{say, warn};

pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

pub struct Progress {
    quiet: bool,
    /// Of the run and of the sweep.
    bars: Option<(ProgressBar, ProgressBar)>,
    names: Vec<String>,
    estimates: Vec<Duration>,
    /// Estimated and real time of the runs that are over: how far off the estimates are.
    estimated: Duration,
    spent: Duration,
    began: Instant,
    current: Current,
}

/// The run that is under way.
#[derive(Default)]
struct Current {
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
}

impl Progress {
    pub fn new(quiet: bool, due: &[&Item], times: &[(Duration, Basis)]) -> Self {
        let name =
            |item: &&Item| format!("{}, seed {} ({})", item.arm_name(), item.trial.seed, item.id.short());
        let estimates = times.iter().map(|(time, _)| *time).collect();
        Self::named(quiet, due.iter().map(name).collect(), estimates)
    }

    /// Of runs with these names that will take about so long.
    pub fn named(quiet: bool, names: Vec<String>, estimates: Vec<Duration>) -> Self {
        let bars = (!quiet && is_terminal() && !names.is_empty()).then(|| bars(names.len() as u64));
        Self {
            quiet,
            bars,
            names,
            estimates,
            estimated: Duration::ZERO,
            spent: Duration::ZERO,
            began: Instant::now(),
            current: Current::default(),
        }
    }

    pub fn finish(&self) {
        if let Some((run, sweep)) = &self.bars {
            run.finish_and_clear();
            sweep.finish_and_clear();
        }
    }

    /// Above the bars, where there are any.
    fn line(&self, line: &str) {
        match &self.bars {
            Some((run, _)) => run.suspend(|| say(line)),
            None if !self.quiet => say(line),
            None => {}
        }
    }

    fn warn(&self, text: &str) {
        match &self.bars {
            Some((run, _)) => run.suspend(|| warn(text)),
            None => warn(text),
        }
    }

    /// Left of the runs that were not started yet.
    fn rest(&self, index: usize) -> Duration {
        let rest: Duration = self.estimates.iter().skip(index + 1).sum();
        if self.estimated.is_zero() {
            rest
        } else {
            rest.mul_f64(self.spent.div_duration_f64(self.estimated))
        }
    }

    fn sweep_left(&self, index: usize) -> String {
        let run =
            self.current.left.unwrap_or_else(|| self.estimates[index].saturating_sub(self.began.elapsed()));
        format!("{} left", text::duration(run.saturating_add(self.rest(index))))
    }

    fn progressed(&mut self, index: usize, epoch: u32, images: u64, (loss, accuracy): (f64, f64)) {
        let rate = self.current.images_per_s().unwrap_or(f64::NAN);
        let (all, epochs) = self.current.all;
        let left = all.saturating_sub(images) as f64 / rate;
        self.current.left = Duration::try_from_secs_f64(left).ok();
        let Some((run, sweep)) = &self.bars else { return };
        run.set_length(all);
        run.set_position(images);
        run.set_message(format!(
            "epoch {}/{epochs}  {} left  loss {}  acc {}  {} img/s",
            epoch.saturating_add(1),
            self.current.left.map_or_else(|| "?".to_owned(), text::duration),
            text::fixed(loss, 4),
            text::fixed(accuracy, 4),
            text::count(rate as u64)
        ));
        sweep.set_message(self.sweep_left(index));
    }

    fn measured(&mut self, epoch: u32, split: Split, loss: f64, accuracy: f64) {
        let score = |loss: f64, accuracy: f64| {
            let loss = if loss.is_finite() { text::fixed(loss, 4) } else { "not finite".to_owned() };
            format!("loss {loss}, accuracy {}", text::fixed(accuracy, 4))
        };
        match split {
            Split::Train => self.current.train = Some((loss, accuracy)),
            Split::TrainEval => {}
            Split::Validation => {
                let train = self.current.train.take().map(|(loss, accuracy)| score(loss, accuracy));
                // An epoch may be over before its speed was said once.
                let rate = self.current.images_per_s();
                let rate =
                    rate.map_or_else(String::new, |rate| format!("; {} images/s", text::count(rate as u64)));
                self.current.epoch = (0, 0.0);
                self.line(&format!(
                    "  epoch {}/{}: train {}; validation {}{rate}",
                    epoch.saturating_add(1),
                    self.current.all.1,
                    train.unwrap_or_else(|| "unknown".to_owned()),
                    score(loss, accuracy)
                ));
            }
            Split::Test => self.line(&format!("  test {}", score(loss, accuracy))),
        }
    }
}

/// What is in them fits into 80 columns.
fn bars(runs: u64) -> (ProgressBar, ProgressBar) {
    let style = |template: &str| {
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╾─")
    };
    let both = MultiProgress::new();
    let run = both.add(ProgressBar::new(1));
    run.set_style(style("{bar:12} {percent:>3}%  {wide_msg}"));
    let sweep = both.add(ProgressBar::new(runs));
    sweep.set_style(style("{bar:12} {pos}/{len} runs  {wide_msg}"));
    (run, sweep)
}

impl Observer for Progress {
    fn begin(&mut self, index: usize) {
        (self.began, self.current) = (Instant::now(), Current::default());
        self.line(&format!("[{}/{}] {}", index + 1, self.names.len(), self.names[index]));
        if let Some((run, sweep)) = &self.bars {
            run.reset();
            // Of nothing, a bar is full.
            run.set_length(1);
            run.set_message("starting");
            sweep.set_message(self.sweep_left(index));
        }
    }

    fn event(&mut self, index: usize, event: &Event) {
        match *event {
            Event::Started { done, steps, steps_per_epoch, images } => {
                let steps_per_epoch = steps_per_epoch.max(1);
                self.current.images = images.saturating_mul(done) / steps_per_epoch;
                if done > 0 {
                    self.line(&format!("  resumed after {done} of {steps} steps"));
                }
                // Of whole epochs exactly; a part of one to within a batch.
                self.current.all =
                    (images.saturating_mul(steps) / steps_per_epoch, steps.div_ceil(steps_per_epoch));
            }
            Event::Progress { epoch, images, loss, accuracy, images_per_s, .. } => {
                self.current.heard(images, images_per_s);
                self.progressed(index, epoch, images, (loss, accuracy));
            }
            Event::Measured { epoch, split, loss, accuracy } => {
                self.measured(epoch, split, loss, accuracy);
            }
            Event::Note { ref text } => {
                let name = &self.names[index];
                self.warn(&format!("{name}: {text}"));
            }
            Event::Sealed { .. } => {}
        }
    }

    fn end(&mut self, index: usize, ending: &Ending) {
        let took = self.began.elapsed();
        let name = &self.names[index];
        let failed = match ending {
            Ending::Sealed { status: Status::Finished, .. } => {
                self.estimated += self.estimates[index];
                self.spent += took;
                self.line(&format!("  finished in {}", text::duration(took)));
                None
            }
            Ending::Sealed { status: Status::Diverged { step, loss }, .. } => {
                Some(format!("{name}: diverged: the loss of step {step} was {loss}"))
            }
            Ending::Sealed { status: Status::Failed { reason }, .. } | Ending::Died { reason } => {
                Some(format!("{name}: failed: {reason}"))
            }
            Ending::Busy => Some(format!("{name}: another process runs it; left to that one")),
            Ending::Interrupted => None,
        };
        if let Some(failed) = failed {
            self.warn(&failed);
        }
        if let Some((_, sweep)) = &self.bars {
            sweep.inc(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of an epoch said "65 images/s": the speed of its last quarter of a second, in which others ran.
    #[test]
    fn the_speed_of_an_epoch_is_that_of_all_its_images() {
        let mut current = Current::default();
        assert_eq!(current.images_per_s(), None);
        current.heard(1000, 2000.0);
        current.heard(1500, 1000.0);
        assert_eq!(current.images_per_s(), Some(1500.0));
        current.heard(1500, 0.0);
        assert_eq!(current.images_per_s(), Some(1500.0));
    }
}
