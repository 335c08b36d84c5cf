//! How far fresh runs may lie from the baseline's before they are called worse.
//!
//! A fresh run is compared with the baseline's of the same seed: split, order, initial weights and dropout are the same,
//! so that between honest machines a pair differs by what rounding grows to, mostly less than seeds spread. Of n pairs
//! with mean d and deviation s the runs are *worse* where d lies beyond the margin m by more than chance explains: on the
//! bad side of −(m + t(n − 1, 1 − α) · s / √n), the one-sided test of a difference against a margin.
//!
//! The deviation is that of the pairs, within two bounds. It is no less than that of *twins*, honest runs of the baseline's
//! own seeds under other plans: a few pairs may agree by luck. And it is no more than √2 times that of the baseline's
//! seeds, which is what pairs come to that have nothing in common but the config: a change that is meant may part every pair
//! and be no worse. More the accused may not claim: a fault that makes one seed in three collapse raises the spread so much
//! that nothing was ever found.
//!
//! Few seeds are trained at first, and judged by eye: their mean lies beyond the margin or it does not ([`Look::First`]).
//! Only where it does the rest of the baseline's seeds are trained and the test is made, over all. Both must say so, hence
//! false alarms are no more than those of the test alone; and as the larger of two deviations is taken, those are rarer than
//! stated.

use crate::analyse::gate::verdict::{Alarm, Doubt, Verdict};
use crate::experiment::baseline::{ArmBaseline, Gauge, Margin};
use crate::stats::{Spread, inference, mean, sample_sd};
use crate::stream::Seed;

/// What must be found of an accuracy, in its own unit: two points. A gate that could miss as much says so.
pub const ACCURACY_EFFECT: f64 = 0.02;
/// Of the baseline's mean. Losses spread by 1 to 30 % from seed to seed where accuracies do by 0.03 to 0.3 points.
pub const LOSS_EFFECT: f64 = 0.10;

/// With which probability a drop is found that is called found (Cohen, Statistical Power Analysis, 1988).
pub const POWER: f64 = 0.8;

/// Least deviation of a loss, as a share of it: single precision in another order moves it by that much.
const LOSS_FLOOR: f64 = 1e-4;
/// Least deviation of an accuracy where a file does not say over how many images it is: one image of 10 000.
const ACCURACY_FLOOR: f64 = 1e-4;

/// Which seeds of the baseline were trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// A few of them: what looks worse is looked at again.
    First,
    /// All: what is worse is.
    All,
}

/// One quantity of one arm: the baseline's runs beside the fresh ones of the same seeds.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    pub gauge: Gauge,
    pub look: Look,
    /// Of the seeds that are compared.
    pub baseline: Spread,
    pub fresh: Spread,
    pub seeds: Vec<Seed>,
    /// Fresh minus baseline, by seed.
    pub pairs: Vec<f64>,
    /// How much honest pairs differ, at least and at most.
    pub bounds: (f64, f64),
    /// On the scale of the quantity, as is the effect.
    pub margin: f64,
    pub effect: f64,
    /// Seeds of the baseline.
    pub most: usize,
    /// Probability of a false alarm of this one test; 0 until it is known how many there are.
    pub alpha: f64,
}

/// What a baseline knows of one quantity of an arm.
#[derive(Clone, Debug)]
pub struct Known {
    gauge: Gauge,
    /// By seed.
    values: Vec<(Seed, f64)>,
    /// Twins minus the run of their seed.
    rounding: Vec<f64>,
    images: Option<u32>,
    margin: Margin,
}

impl Known {
    pub fn of(arm: &ArmBaseline, gauge: Gauge, margin: Margin) -> Self {
        let (mut values, mut rounding) = (Vec::new(), Vec::new());
        for run in &arm.runs {
            let Some(&value) = run.values.get(&gauge) else { continue };
            values.push((run.seed, value));
            rounding.extend(run.twins.iter().filter_map(|twin| Some(twin.get(&gauge)? - value)));
        }
        Self { gauge, values, rounding, images: arm.images.get(&gauge).copied(), margin }
    }

    /// `None` where the baseline has no value.
    fn mean(&self) -> Option<f64> {
        mean(&self.values.iter().map(|(_, value)| *value).collect::<Vec<f64>>())
    }

    /// How much honest pairs differ, at least and at most.
    fn bounds(&self) -> Option<(f64, f64)> {
        let values: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        let floor = match self.gauge.is_loss() {
            true => LOSS_FLOOR * self.mean()?.abs(),
            // Equal values are not values without spread: they are equal as far as the quantity can tell.
            false => self.images.filter(|images| *images > 0).map_or(ACCURACY_FLOOR, |n| 1.0 / f64::from(n)),
        };
        // Around 0, which is where honest pairs lie: their own mean is no part of the question.
        let squares = self.rounding.iter().map(|pair| pair * pair).sum::<f64>();
        let rounding = (squares / self.rounding.len().max(1) as f64).sqrt();
        let least = rounding.max(floor);
        let unpaired = sample_sd(&values).map_or(least, |sd| sd * std::f64::consts::SQRT_2);
        Some((least, unpaired.max(least)))
    }

    fn scaled(&self, accuracy: f64, loss: f64) -> Option<f64> {
        Some(if self.gauge.is_loss() { loss * self.mean()?.abs() } else { accuracy })
    }

    /// The least change for the worse that a check of all its seeds finds with a probability of [`POWER`], if pairs
    /// differ as twins do; their own deviation may come out larger, which is allowed for. `None` below two seeds.
    pub fn least_found(&self, alpha: f64) -> Option<f64> {
        let (margin, n) = (self.scaled(self.margin.accuracy, self.margin.loss)?, self.values.len());
        let sd = inference::sample_sd_quantile(self.bounds()?.0, n, POWER)?;
        Some(margin + inference::detectable(sd, n, alpha, POWER)?)
    }

    /// Whether that is more than what must be found. Of no value nothing is expected.
    pub fn is_too_blunt(&self, alpha: f64) -> bool {
        let effect = self.scaled(ACCURACY_EFFECT, LOSS_EFFECT);
        let is_found = |effect: f64| self.least_found(alpha).is_some_and(|found| found <= effect);
        !self.values.is_empty() && !effect.is_some_and(is_found)
    }
}

impl Comparison {
    /// `None` where the two have no seed in common. Values must be ones the quantity admits.
    pub fn of(known: &Known, fresh: &[(Seed, f64)]) -> Option<Self> {
        let stored = |seed: Seed| known.values.iter().find(|(of, _)| *of == seed).map(|(_, value)| *value);
        let both: Vec<(Seed, f64, f64)> =
            fresh.iter().filter_map(|&(seed, value)| Some((seed, stored(seed)?, value))).collect();
        let of = |part: fn(&(Seed, f64, f64)) -> f64| both.iter().map(part).collect::<Vec<f64>>();
        Some(Self {
            gauge: known.gauge,
            look: if both.len() < known.values.len() { Look::First } else { Look::All },
            baseline: Spread::of(&of(|(_, old, _)| *old))?,
            fresh: Spread::of(&of(|(_, _, new)| *new))?,
            seeds: both.iter().map(|(seed, ..)| *seed).collect(),
            pairs: of(|(_, old, new)| new - old),
            bounds: known.bounds()?,
            margin: known.scaled(known.margin.accuracy, known.margin.loss)?,
            effect: known.scaled(ACCURACY_EFFECT, LOSS_EFFECT)?,
            most: known.values.len(),
            alpha: 0.0,
        })
    }

    /// Fresh minus baseline, over the seeds.
    pub fn shift(&self) -> f64 {
        mean(&self.pairs).unwrap_or(0.0)
    }

    fn sd(&self) -> f64 {
        let (least, most) = self.bounds;
        sample_sd(&self.pairs).unwrap_or(least).clamp(least, most)
    }

    /// How far the shift may go: at the first look the margin, over all seeds more by what chance does. `None` of one seed.
    pub fn tolerance(&self) -> Option<f64> {
        if self.look == Look::First {
            return Some(self.margin);
        }
        let n = self.pairs.len();
        let t =
            inference::quantile(n.checked_sub(1).filter(|freedom| *freedom > 0)? as f64, 1.0 - self.alpha)?;
        Some(self.margin + t * self.sd() / (n as f64).sqrt())
    }

    /// The least change for the worse that all seeds of the baseline find with a probability of [`POWER`].
    pub fn least_found(&self) -> Option<f64> {
        Some(self.margin + inference::detectable(self.sd(), self.most, self.alpha, POWER)?)
    }

    pub fn verdict(&self) -> Verdict {
        let (Some(tolerance), Some(found)) = (self.tolerance(), self.least_found()) else {
            return Verdict::Inconclusive(Doubt::OneRun);
        };
        let shift = self.shift();
        if shift.abs() > tolerance {
            let is_better = (shift > 0.0) == self.gauge.higher_is_better();
            return Verdict::Alarm(if is_better { Alarm::Better } else { Alarm::Worse });
        }
        if self.look == Look::All && found > self.effect {
            return Verdict::Inconclusive(Doubt::TooWide);
        }
        Verdict::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Margin = Margin { accuracy: 0.002, loss: 0.02 };

    fn seeds(values: &[f64]) -> Vec<(Seed, f64)> {
        (0..).map(Seed).zip(values.iter().copied()).collect()
    }

    fn comparison(gauge: Gauge, baseline: &[f64], rounding: &[f64], fresh: &[f64]) -> Comparison {
        let (values, rounding) = (seeds(baseline), rounding.to_vec());
        let known = Known { gauge, values, rounding, images: Some(10_000), margin: MARGIN };
        Comparison { alpha: 0.01, ..Comparison::of(&known, &seeds(fresh)).unwrap() }
    }

    const BASELINE: [f64; 5] = [0.91, 0.92, 0.93, 0.94, 0.95];

    #[test]
    fn the_tolerance_is_the_margin_and_that_of_the_tables() {
        // t with 4 degrees of freedom at 0.99 is 3.7469 (any table); pairs of 1, 2, 3, 4, 5 thousandths have 0.00158114.
        let fresh = [0.909, 0.918, 0.927, 0.936, 0.945];
        let found = comparison(Gauge::TestAcc, &BASELINE, &[0.001], &fresh);
        assert!((found.shift() + 0.003).abs() < 1e-12);
        let tolerance = found.tolerance().unwrap();
        assert!((tolerance - 0.002 - 3.7469 * 0.001_581_14 * (0.2_f64).sqrt()).abs() < 1e-6, "{tolerance}");
    }

    #[test]
    fn pairs_claim_no_less_spread_than_twins_and_no_more_than_other_seeds() {
        let equal = comparison(Gauge::TestAcc, &BASELINE, &[0.003, -0.003], &BASELINE);
        assert!((equal.sd() - 0.003).abs() < 1e-12, "{}", equal.sd());
        // One seed collapsed: its own spread of 0.36 would hide it.
        let collapsed = comparison(Gauge::TestAcc, &BASELINE, &[0.001], &[0.91, 0.92, 0.93, 0.94, 0.1]);
        assert!((collapsed.sd() - 0.015_811_39 * 2.0_f64.sqrt()).abs() < 1e-6, "{}", collapsed.sd());
        assert_eq!(collapsed.verdict(), Verdict::Alarm(Alarm::Worse));
        let floor = comparison(Gauge::TestAcc, &BASELINE, &[0.0], &BASELINE);
        assert!((floor.sd() - 1e-4).abs() < 1e-12);
    }

    #[test]
    fn both_sides_are_alarms_and_named_by_what_is_better() {
        let (worse, better) = (Verdict::Alarm(Alarm::Worse), Verdict::Alarm(Alarm::Better));
        let (acc, loss) = ([0.980, 0.981, 0.982], [0.100, 0.101, 0.102]);
        let moved = |values: [f64; 3], by: f64| values.map(|value| value + by);
        for (gauge, values, by, expected) in [
            (Gauge::TestAcc, acc, -0.005, worse.clone()),
            (Gauge::TestAcc, acc, 0.005, better.clone()),
            (Gauge::TestAcc, acc, -0.0019, Verdict::Holds),
            (Gauge::ValLoss, loss, 0.01, worse),
            (Gauge::ValLoss, loss, -0.01, better),
            (Gauge::ValLoss, loss, 0.0019, Verdict::Holds),
        ] {
            assert_eq!(
                comparison(gauge, &values, &[1e-4], &moved(values, by)).verdict(),
                expected,
                "{gauge} {by}"
            );
        }
    }

    #[test]
    fn a_few_seeds_beyond_the_margin_are_looked_at_again() {
        let first = comparison(Gauge::TestAcc, &BASELINE, &[0.001], &[0.907, 0.917]);
        assert_eq!((first.look, first.verdict()), (Look::First, Verdict::Alarm(Alarm::Worse)));
        let all = comparison(Gauge::TestAcc, &BASELINE, &[0.001], &[0.907, 0.917, 0.93, 0.94, 0.95]);
        assert_eq!((all.look, all.verdict()), (Look::All, Verdict::Holds));
    }

    #[test]
    fn one_seed_in_all_decides_nothing() {
        let one = comparison(Gauge::TestAcc, &[0.98], &[0.001], &[0.1]);
        assert_eq!((one.tolerance(), one.verdict()), (None, Verdict::Inconclusive(Doubt::OneRun)));
    }

    #[test]
    fn what_could_miss_the_effect_is_no_success() {
        let wide = comparison(Gauge::TestAcc, &[0.95, 0.98, 0.92], &[0.03], &[0.95, 0.98, 0.92]);
        assert!(wide.least_found().unwrap() > ACCURACY_EFFECT);
        assert_eq!(wide.verdict(), Verdict::Inconclusive(Doubt::TooWide));
    }

    #[test]
    fn seeds_that_only_one_side_has_are_left_out() {
        let (gauge, values, rounding) = (Gauge::TestAcc, seeds(&BASELINE), vec![0.001]);
        let known = Known { gauge, values, rounding, images: None, margin: MARGIN };
        let found = Comparison::of(&known, &[(Seed(4), 0.9), (Seed(9), 0.1)]).unwrap();
        assert_eq!((found.seeds, found.fresh.mean), (vec![Seed(4)], 0.9));
        assert_eq!(Comparison::of(&known, &[(Seed(9), 0.1)]), None);
    }
}
