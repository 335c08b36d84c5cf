//! How far the mean of fresh runs may lie from the baseline's.
//!
//! The tolerance is the prediction interval for the mean of k further runs, given n runs of the baseline with the
//! sample deviation s: t(n − 1, 1 − α/2) · s · √(1/n + 1/k) (Hahn and Meeker, Statistical Intervals, 1991, chapter 4).
//! It holds at its rate for any n ≥ 2 and k ≥ 1 where runs are normal and the fresh ones spread like the baseline's.
//!
//! The deviation is the baseline's alone. Pooling it with that of the fresh runs, the two-sample t test, has k − 1 more
//! degrees of freedom; Welch's test frees it from equal spreads. But in both of them the accused writes the sentence: a
//! fault that makes one seed in three collapse raises the spread so much that nothing is ever found, and here it stands
//! out. The tolerance is also known when the baseline is reviewed. The price is paid once: a baseline of few seeds has
//! wide tolerances, and [`Comparison::seeds_needed`] says how many it should have.
//!
//! Runs of one seed in both are not paired. Pairing helps by as much as their numbers agree, and on another machine or
//! after a change of rounding that is not known. If they do agree, alarms are rarer than the stated rate.

use crate::analyse::gate::finding::{Alarm, Doubt, Verdict};
use crate::experiment::baseline::Gauge;
use crate::stats::{Spread, inference};
use crate::stream::Seed;

/// Two points. A gate stands in for nobody looking: what costs less is asked by a claim, whose arms share their seeds.
pub const ACCURACY_EFFECT: f64 = 0.02;
/// Of the baseline's mean. Losses spread by 1 to 30 % from seed to seed where accuracies do by 0.03 to 0.3 points.
pub const LOSS_EFFECT: f64 = 0.10;
/// Longer or shorter. Training times on a shared two-core machine spread by 7 to 12 % from run to run.
pub const TIME_EFFECT: f64 = 0.20;

/// What another machine may do to a step time although it is taken relative to the reference workload. One processor with
/// its kernels held to SSE4.1 in place of AVX2 moved M1's by 28 to 32 % (`ATEN_CPU_CAPABILITY=default
/// DNNL_MAX_CPU_ISA=SSE41 pinbench check m1 --profile smoke`), so that only more than that is told from the machine.
pub const MACHINE_EFFECT: f64 = 0.50;

/// With which probability the stated effect is found when the number of seeds is planned (Cohen, Statistical Power
/// Analysis, 1988).
pub const POWER: f64 = 0.8;
/// More seeds than these are not worth naming.
pub const MOST_SEEDS: usize = 1000;

/// Least deviation of a mean loss, as a share of it: single precision in another order moves it by that much.
const LOSS_FLOOR: f64 = 1e-4;
/// Least deviation of a step time, as a share: clock frequencies are not steadier.
const TIME_FLOOR: f64 = 0.01;
/// Least deviation of an accuracy where a file does not say over how many images it is: one image of 10 000.
const ACCURACY_FLOOR: f64 = 1e-4;

/// One quantity of one arm: the baseline's runs beside the fresh ones.
///
/// A step time is compared by its logarithm, so that slower and faster count alike and machines by their ratio.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    pub gauge: Gauge,
    /// On the scale that is compared.
    pub baseline: Spread,
    pub fresh: Spread,
    /// Of the fresh runs.
    pub seeds: Vec<Seed>,
    /// The deviation the tolerance is made of: the baseline's, but no less than what the quantity can resolve.
    /// `None` of one run.
    pub sd: Option<f64>,
    /// The stated effect, on the scale that is compared.
    pub effect: f64,
    /// All fresh runs are of the baseline's environment class.
    pub is_same_class: bool,
    /// Probability of a false alarm of this one test; 0 until it is known how many there are.
    pub alpha: f64,
}

impl Comparison {
    /// `None` where one of the two has no value. Values must be ones the quantity admits.
    pub fn of(
        gauge: Gauge,
        baseline: &[f64],
        images: Option<u32>,
        fresh: &[(Seed, f64)],
        is_same_class: bool,
    ) -> Option<Self> {
        let scale = |value: f64| if gauge == Gauge::StepTime { value.ln() } else { value };
        let known: Vec<f64> = baseline.iter().map(|value| scale(*value)).collect();
        let values: Vec<f64> = fresh.iter().map(|(_, value)| scale(*value)).collect();
        let (known, values) = (Spread::of(&known)?, Spread::of(&values)?);
        let (floor, effect) = match gauge {
            Gauge::TrainLoss | Gauge::ValLoss => {
                (LOSS_FLOOR * known.mean.abs(), LOSS_EFFECT * known.mean.abs())
            }
            Gauge::TrainAcc | Gauge::ValAcc | Gauge::TestAcc => {
                let floor =
                    images.filter(|images| *images > 0).map_or(ACCURACY_FLOOR, |n| 1.0 / f64::from(n));
                (floor, ACCURACY_EFFECT)
            }
            Gauge::StepTime => (TIME_FLOOR.ln_1p(), TIME_EFFECT.ln_1p()),
        };
        Some(Self {
            gauge,
            baseline: known,
            fresh: values,
            seeds: fresh.iter().map(|(seed, _)| *seed).collect(),
            // Equal values are not values without spread: they are equal as far as the quantity can tell.
            sd: known.sd.map(|sd| sd.max(floor)),
            effect,
            is_same_class,
            alpha: 0.0,
        })
    }

    /// Fresh mean minus the baseline's; of step times, the logarithm of their ratio.
    pub fn shift(&self) -> f64 {
        self.fresh.mean - self.baseline.mean
    }

    /// How far the shift may go; `None` when the baseline has no spread to say so.
    pub fn tolerance(&self) -> Option<f64> {
        inference::prediction(self.sd?, self.baseline.n, self.fresh.n, self.alpha)
    }

    /// With so many seeds in the baseline and as many fresh runs, the stated effect is found with a probability of
    /// [`POWER`]; `None` when more than [`MOST_SEEDS`] were needed, or when one run does not say.
    pub fn seeds_needed(&self) -> Option<usize> {
        // The difference of two means of n runs each, with the baseline's n − 1 degrees of freedom.
        let sd = self.sd? * std::f64::consts::SQRT_2;
        inference::values_needed(self.effect, sd, (2, MOST_SEEDS), self.alpha / 2.0, POWER)
    }

    pub fn verdict(&self) -> Verdict {
        let Some(tolerance) = self.tolerance() else { return Verdict::Inconclusive(Doubt::OneRun) };
        let shift = self.shift();
        if shift.abs() > tolerance {
            // How the reference workload and a step scale between machines is not in the baseline's spread.
            let is_within_machines = shift.abs() < MACHINE_EFFECT.ln_1p();
            if self.gauge == Gauge::StepTime && !self.is_same_class && is_within_machines {
                return Verdict::Inconclusive(Doubt::OtherMachine);
            }
            let is_better = (shift > 0.0) == self.gauge.higher_is_better();
            return Verdict::Alarm(if is_better { Alarm::Better } else { Alarm::Worse });
        }
        if tolerance > self.effect { Verdict::Inconclusive(Doubt::TooWide) } else { Verdict::Holds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(gauge: Gauge, baseline: &[f64], fresh: &[f64]) -> Comparison {
        let fresh: Vec<(Seed, f64)> = (0..).map(Seed).zip(fresh.iter().copied()).collect();
        let comparison = Comparison::of(gauge, baseline, Some(10_000), &fresh, true).unwrap();
        Comparison { alpha: 0.01, ..comparison }
    }

    #[test]
    fn the_tolerance_is_that_of_the_tables() {
        // t with 4 degrees of freedom at 0.995 is 4.6041 (any table); sd of 1, 2, 3, 4, 5 in hundredths is 0.0158114.
        let baseline = [0.91, 0.92, 0.93, 0.94, 0.95];
        let found = comparison(Gauge::ValAcc, &baseline, &[0.93; 5]).tolerance().unwrap();
        assert!((found - 4.6041 * 0.015_811_4 * (0.4_f64).sqrt()).abs() < 1e-5, "{found}");
    }

    #[test]
    fn both_sides_are_alarms_and_named_by_what_is_better() {
        let (acc, loss) = ([0.980, 0.981, 0.982], [0.100, 0.101, 0.102]);
        let (worse, better) = (Verdict::Alarm(Alarm::Worse), Verdict::Alarm(Alarm::Better));
        assert_eq!(comparison(Gauge::ValAcc, &acc, &[0.9; 3]).verdict(), worse);
        assert_eq!(comparison(Gauge::ValAcc, &acc, &[0.999; 3]).verdict(), better);
        assert_eq!(comparison(Gauge::ValLoss, &loss, &[0.2; 3]).verdict(), worse);
        assert_eq!(comparison(Gauge::ValLoss, &loss, &[0.05; 3]).verdict(), better);
        assert_eq!(comparison(Gauge::StepTime, &[3.0, 3.01, 3.02], &[4.0; 3]).verdict(), worse);
        assert_eq!(comparison(Gauge::StepTime, &[3.0, 3.01, 3.02], &[2.0; 3]).verdict(), better);
        assert_eq!(comparison(Gauge::ValAcc, &acc, &[0.981; 3]).verdict(), Verdict::Holds);
    }

    #[test]
    fn equal_runs_are_given_the_spread_of_one_image() {
        // 0.75, because five of it add up exactly.
        let same = comparison(Gauge::ValAcc, &[0.75; 5], &[0.75; 5]);
        assert_eq!((same.baseline.sd, same.sd), (Some(0.0), Some(1e-4)));
        assert_eq!(same.verdict(), Verdict::Holds);
        assert_eq!(comparison(Gauge::ValAcc, &[0.75; 5], &[0.7501; 5]).verdict(), Verdict::Holds);
        assert_eq!(comparison(Gauge::ValAcc, &[0.75; 5], &[0.74; 5]).verdict(), Verdict::Alarm(Alarm::Worse));
        let loss = comparison(Gauge::ValLoss, &[0.5; 5], &[0.5 + 1e-6; 5]);
        assert_eq!(loss.verdict(), Verdict::Holds);
        assert!(comparison(Gauge::StepTime, &[3.0; 5], &[3.0; 5]).sd > Some(0.009));
    }

    #[test]
    fn one_run_has_no_spread_and_decides_nothing() {
        let one = comparison(Gauge::ValAcc, &[0.98], &[0.1, 0.1]);
        assert_eq!(one.verdict(), Verdict::Inconclusive(Doubt::OneRun));
        assert_eq!((one.tolerance(), one.seeds_needed()), (None, None));
    }

    #[test]
    fn one_fresh_run_is_enough_for_a_large_effect() {
        let comparison = comparison(Gauge::ValAcc, &[0.980, 0.981, 0.982, 0.981, 0.980], &[0.1]);
        assert_eq!(comparison.verdict(), Verdict::Alarm(Alarm::Worse));
    }

    #[test]
    fn a_tolerance_wider_than_the_effect_is_no_success() {
        let wide = comparison(Gauge::ValAcc, &[0.95, 0.98, 0.92], &[0.95, 0.98, 0.92]);
        assert!(wide.tolerance().unwrap() > ACCURACY_EFFECT);
        assert_eq!(wide.verdict(), Verdict::Inconclusive(Doubt::TooWide));
        assert!(wide.seeds_needed().unwrap() > 3);
    }

    #[test]
    fn one_seed_that_collapses_is_seen_and_does_not_hide_in_its_own_spread() {
        let baseline = [0.980, 0.981, 0.982, 0.981, 0.980];
        let found = comparison(Gauge::ValAcc, &baseline, &[0.981, 0.980, 0.1]);
        assert_eq!(found.verdict(), Verdict::Alarm(Alarm::Worse));
    }

    #[test]
    fn on_another_machine_a_time_must_differ_by_an_effect_that_matters() {
        let baseline = [3.0, 3.01, 3.02, 3.01, 3.0];
        for (fresh, verdict) in [
            (3.4, Verdict::Inconclusive(Doubt::OtherMachine)),
            (2.7, Verdict::Inconclusive(Doubt::OtherMachine)),
            (4.0, Verdict::Inconclusive(Doubt::OtherMachine)),
            (5.0, Verdict::Alarm(Alarm::Worse)),
            (1.5, Verdict::Alarm(Alarm::Better)),
            (3.0, Verdict::Holds),
        ] {
            let here = comparison(Gauge::StepTime, &baseline, &[fresh; 5]);
            let there = Comparison { is_same_class: false, ..here };
            assert_eq!(there.verdict(), verdict, "{fresh}");
        }
    }

    #[test]
    fn the_seeds_needed_are_enough_and_one_fewer_is_not() {
        let study = comparison(Gauge::StepTime, &[3.0, 3.1, 2.9, 3.05, 2.95], &[3.0; 5]);
        let needed = study.seeds_needed().unwrap();
        assert!((3..=6).contains(&needed), "{needed}");
        // A quieter machine needs fewer.
        let quiet = comparison(Gauge::StepTime, &[3.0, 3.01, 2.99, 3.0, 3.0], &[3.0; 5]);
        assert!(quiet.seeds_needed().unwrap() <= needed);
    }
}
