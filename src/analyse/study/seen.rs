//! What a study's blocks say at one look.

use crate::analyse::study::layout::{Arranged, Compared, Layout, Levels};
use crate::analyse::study::verdict::{Presence, Share, Verdict};
use crate::analyse::study::{Finding, Reading, gauge};
use crate::analyse::timing::{Contrast, Cost, Estimate, Look, Measured, Noise};
use crate::clock::Phase;
use crate::experiment::study::{Hypothesis, Study, Test};
use crate::stats;

/// The blocks up to a look, and how sure it must be.
pub(super) struct Seen<'a> {
    layout: &'a Layout,
    measured: Measured,
    noise: Option<Noise>,
    ln_ideal: f64,
    /// Of the look, two-sided.
    pub alpha: f64,
    /// The same for one finding of many: Bonferroni, for one of many hypotheses will always look good. That one is ruled
    /// out needs no such care.
    guarded: f64,
}

impl<'a> Seen<'a> {
    /// After the first `blocks` blocks.
    pub(super) fn of(study: &Study, layout: &'a Layout, measured: &Measured, blocks: usize) -> Self {
        let first = measured.blocks.iter().take(blocks).map(|(number, block)| (*number, block.clone()));
        let measured = Measured { blocks: first.collect(), ..Measured::new(measured.design.clone()) };
        let measured = measured.counted();
        let alpha = Look::at(blocks).alpha();
        Self {
            noise: measured.noise(),
            layout,
            measured,
            ln_ideal: study.ideal.ln(),
            alpha,
            guarded: alpha / layout.tested(study).max(1) as f64,
        }
    }

    /// Processes that others disturbed and that are not among those compared.
    pub(super) fn left_out(&self) -> usize {
        self.measured.left_out
    }

    /// The factor by which two names of one thing may differ.
    pub(super) fn floor(&self) -> Option<f64> {
        self.measured.floor(self.alpha)
    }

    /// Cost of an image at the high level over that at the low one.
    pub(super) fn ratio(&self, levels: Levels) -> Option<Estimate> {
        self.measured.ratio(levels.high, levels.low, self.alpha)
    }

    /// The same over what one would hope for.
    pub(super) fn slowdown(&self, levels: Levels) -> Option<Estimate> {
        Some(self.whole(levels).estimate(self.noise.as_ref(), self.alpha)?.exp())
    }

    pub(super) fn presence(&self) -> Presence {
        Presence::of(self.slowdown(self.layout.levels).as_ref(), self.floor())
    }

    fn whole(&self, levels: Levels) -> Contrast {
        let contrast = self.measured.contrast(&[(levels.high, 1.0), (levels.low, -1.0)]);
        Contrast { values: contrast.values.iter().map(|ln| ln - self.ln_ideal).collect(), ..contrast }
    }

    pub(super) fn finding(&self, hypothesis: &Hypothesis, arranged: Arranged) -> Finding {
        let readings = |removed: Option<Levels>| {
            let reading = |gauge: &_| Reading {
                gauge: *gauge,
                low: self.mean(self.layout.levels.low, |cost| gauge::of(*gauge, cost)),
                high: self.mean(self.layout.levels.high, |cost| gauge::of(*gauge, cost)),
                removed: removed.and_then(|levels| self.mean(levels.high, |cost| gauge::of(*gauge, cost))),
            };
            hypothesis.gauges.iter().map(reading).collect()
        };
        let bare = |verdict| Finding { readings: readings(None), ..Finding::bare(verdict) };
        match (&hypothesis.test, arranged) {
            (Test::NotTestable(_), _) => bare(Verdict::NotTestable),
            (_, Arranged::AlreadySo) => bare(Verdict::AlreadySo),
            (_, Arranged::SameAs(_)) => bare(Verdict::SameAs),
            (Test::Restates, _) => bare(Verdict::Restates),
            (Test::Phases(phases), _) => {
                let beyond = |share: f64| self.phases_beyond(phases, share);
                let finding = self.judge(&beyond, &beyond);
                Finding { readings: readings(None), ..finding }
            }
            (Test::Remove { .. }, Arranged::Compared(compared)) => {
                let is_dearer = self.is_dearer(compared);
                let gone = |share: f64| self.beyond(compared, 1.0, share);
                let sure = |share: f64| self.beyond(compared, if is_dearer { 0.0 } else { 1.0 }, share);
                let finding = self.judge(&gone, &sure);
                let Compared { given, removed } = compared;
                Finding {
                    before: (given != self.layout.levels).then(|| self.slowdown(given)).flatten(),
                    left: self.slowdown(removed),
                    gain: self.measured.ratio(given.high, removed.high, self.alpha),
                    is_dearer,
                    readings: readings(Some(removed)),
                    ..finding
                }
            }
            (Test::Remove { .. }, Arranged::Nothing) => bare(Verdict::NotMeasured),
        }
    }

    /// The slowdown that goes when the cause is removed, less `share` times the whole, block by block.
    ///
    /// In logarithms, so that what makes both levels faster by the same factor explains nothing. Of a `low_weight` of 1 it is
    /// the share as it is defined, of 0 what the high level itself gains.
    fn beyond(&self, compared: Compared, low_weight: f64, share: f64) -> Contrast {
        let Compared { given, removed } = compared;
        let Levels { low, high } = self.layout.levels;
        let mut weights: Vec<(usize, f64)> = Vec::new();
        for (condition, weight) in [
            (given.high, 1.0),
            (removed.high, -1.0),
            (given.low, -low_weight),
            (removed.low, low_weight),
            (high, -share),
            (low, share),
        ] {
            match weights.iter_mut().find(|(other, _)| *other == condition) {
                Some((_, sum)) => *sum += weight,
                None => weights.push((condition, weight)),
            }
        }
        let contrast = self.measured.contrast(&weights);
        let values = contrast.values.iter().map(|ln| ln + share * self.ln_ideal);
        Contrast { values: values.collect(), ..contrast }
    }

    /// Told to be: what is within the noise moves no share by more than that.
    fn is_dearer(&self, Compared { given, removed }: Compared) -> bool {
        let added = self.measured.contrast(&[(removed.low, 1.0), (given.low, -1.0)]);
        added.estimate(self.noise.as_ref(), self.alpha).is_some_and(|added| added.is_above(0.0))
    }

    /// The slowdown that would go if these phases took no time at either level, less `share` times the whole, block by block.
    ///
    /// A phase that takes the share s of a step strays by s / (1 − s) of what the step does, if it strays as steps do. Where a
    /// phase is all of a step nothing can be said of what would be left, and the block is left out.
    fn phases_beyond(&self, phases: &[Phase], share: f64) -> Contrast {
        let taken = |cost: &Cost| phases.iter().map(|phase| cost.phase_us_per_image(*phase)).sum::<f64>();
        let Levels { low, high } = self.layout.levels;
        let factor = |cost: &Cost| cost.us_per_image / (cost.us_per_image - taken(cost));
        let ln = |cost: &Cost| factor(cost).ln() - share * cost.us_per_image.ln();
        let contrast = self.measured.contrast_of(&[(high, 1.0), (low, -1.0)], ln);
        let known = |cost: &Cost| Some(factor(cost)).filter(|factor| factor.ln().is_finite());
        let odds = |level| self.mean(level, |cost| Some(known(cost)? - 1.0)).unwrap_or(0.0);
        let values = contrast.values.iter().map(|ln| ln + share * self.ln_ideal);
        let squares = odds(low).powi(2) + odds(high).powi(2) + share * share * contrast.squares;
        Contrast { values: values.collect(), squares }
    }

    /// Of the part of the slowdown beyond a share of it: of all that is `gone`, and of what is `sure` to be the cause's.
    ///
    /// A removal that makes the low level dearer, as one thread does, makes a slowdown smaller whatever its cause: what is gone
    /// may be all the cause's or nothing of it, and what the high level itself gains is sure. The share is of what is gone; its
    /// low end, which may find a cause, is of what is sure, and its high end, which may rule one out, of what is gone.
    fn judge(&self, gone: &dyn Fn(f64) -> Contrast, sure: &dyn Fn(f64) -> Contrast) -> Finding {
        let contrast = gone(0.0);
        let means = stats::mean(&contrast.values).zip(stats::mean(&gone(1.0).values));
        let Some((part, rest)) = means else { return Finding::bare(Verdict::NotMeasured) };
        let share = Share { value: part / (part - rest), interval: self.ends(gone, sure) };
        let is_above = |floor: f64| stats::mean(&sure(0.0).values).is_some_and(|part| part > floor.ln());
        let is_above_floor = self.floor().is_some_and(is_above);
        Finding {
            share: Some(share),
            blocks: contrast.values.len(),
            ..Finding::bare(Verdict::of(&share, is_above_floor))
        }
    }

    /// All shares that are not excluded (Fieller, Journal of the Royal Statistical Society B 16(2), 1954): from where the
    /// part beyond is not told to be above 0 to where it is not told to be below.
    fn ends(&self, gone: &dyn Fn(f64) -> Contrast, sure: &dyn Fn(f64) -> Contrast) -> Option<(f64, f64)> {
        let ends = |beyond: Contrast, alpha: f64| beyond.estimate(self.noise.as_ref(), alpha)?.interval;
        let low = root(&|share| Some(ends(sure(share), self.guarded)?.0))?;
        Some((low, root(&|share| Some(ends(gone(share), self.alpha)?.1))?))
    }

    fn mean(&self, condition: usize, of: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
        stats::mean(&self.measured.costs(condition).filter_map(of).collect::<Vec<_>>())
    }

    /// Mean over the blocks of what `of` says of the costs at both levels, with its interval.
    pub(super) fn compared(&self, of: impl Fn(&Cost, &Cost) -> f64) -> Option<Estimate> {
        let Levels { low, high } = self.layout.levels;
        let both = self.measured.blocks.values().filter_map(|block| {
            Some(of(&block.processes.get(&low)?.cost, &block.processes.get(&high)?.cost))
        });
        Contrast { values: both.collect(), squares: 0.0 }.estimate(None, self.alpha)
    }
}

/// Where a falling function passes 0; `None` where it does not fall from above to below within any share worth the name.
fn root(of: &dyn Fn(f64) -> Option<f64>) -> Option<f64> {
    const WIDEST: f64 = 1e3;
    const HALVINGS: u32 = 40;
    let (mut above, mut below) = (-WIDEST, WIDEST);
    if of(above)? <= 0.0 || of(below)? >= 0.0 {
        return None;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(above, below);
        *(if of(middle)? > 0.0 { &mut above } else { &mut below }) = middle;
    }
    Some(f64::midpoint(above, below))
}
