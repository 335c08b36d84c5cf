//! From the share of a slowdown to a verdict.

use std::fmt;

use crate::analyse::explain::estimate::{ALPHA, Estimate, exceeds, stays_below};

/// A slowdown below this is not worth an explanation: shares of it would be quotients of noise.
pub const LEAST_SLOWDOWN: f64 = 1.05;

/// A cause that explains less than a tenth changes nothing that anyone would do.
pub const CONTRIBUTES_SHARE: f64 = 0.1;

/// The main cause explains more than half: the rest together is less.
pub const MAIN_SHARE: f64 = 0.5;

/// What is found to explain less than a quarter is ruled out as the answer. Not a tenth: with the blocks that fit into
/// an hour the interval of a share is about ±0.2 wide, and every other hypothesis would stay open for ever.
pub const NO_CAUSE_SHARE: f64 = 0.25;

/// Whether there is anything to explain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Told from 1, and at least [`LEAST_SLOWDOWN`].
    Found,
    /// Told from [`LEAST_SLOWDOWN`]: what there may be is less.
    Absent,
    /// The blocks are too few or too unlike each other.
    Undecided,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It explains more than [`MAIN_SHARE`].
    Cause,
    /// It explains more than [`CONTRIBUTES_SHARE`].
    Contributes,
    /// It explains less than [`NO_CAUSE_SHARE`].
    NoCause,
    Inconclusive,
    /// It says that there is a slowdown, in other words; true, and no cause.
    Restates,
    NotTestable {
        why: &'static str,
        what_would: &'static str,
    },
    /// What it needs was not measured.
    NotMeasured,
    /// There is no slowdown here.
    NothingToExplain,
    /// The base has its knob turned, so that no counterfactual is left.
    AlreadySo,
    /// Under the base it compares the same two plans as this other hypothesis, which has the numbers.
    SameAs {
        title: &'static str,
    },
}

impl Presence {
    pub fn of(slowdown: &Estimate) -> Self {
        if slowdown.value >= LEAST_SLOWDOWN && slowdown.is_above(1.0) {
            Self::Found
        } else if slowdown.interval.is_some_and(|(_, high)| high < LEAST_SLOWDOWN) {
            Self::Absent
        } else {
            Self::Undecided
        }
    }
}

impl Verdict {
    /// Of the hypothesis' part and the whole in each block, on every scale: a finding has to hold on all of them, and what
    /// is ruled out has to be ruled out by all, for where they disagree neither is the true one. A finding is tested at its part of 5 % among so many `tests` (Bonferroni), for
    /// one of many hypotheses will always look good; that one is ruled out needs no such care.
    pub fn judge(scales: &[Vec<(f64, f64)>], tests: usize) -> Self {
        let guarded = ALPHA / tests.max(1) as f64;
        let all_exceed = |bound: f64| scales.iter().all(|pairs| exceeds(pairs, bound, guarded));
        if scales.is_empty() || scales.iter().any(Vec::is_empty) {
            Self::NotMeasured
        } else if all_exceed(MAIN_SHARE) {
            Self::Cause
        } else if all_exceed(CONTRIBUTES_SHARE) {
            Self::Contributes
        } else if scales.iter().all(|pairs| stays_below(pairs, NO_CAUSE_SHARE, ALPHA)) {
            Self::NoCause
        } else {
            Self::Inconclusive
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cause => "main cause",
            Self::Contributes => "contributes",
            Self::NoCause => "not the cause",
            Self::Inconclusive => "inconclusive",
            Self::Restates => "restates it",
            Self::NotTestable { .. } => "not testable on this machine",
            Self::NotMeasured => "not measured",
            Self::NothingToExplain => "nothing to explain",
            Self::AlreadySo => "already so in this plan",
            Self::SameAs { .. } => "same comparison as another",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(share: f64, noise: f64) -> Vec<(f64, f64)> {
        let signs = [1.0, -1.0, 0.5, -0.5, 0.8, -0.8];
        signs.iter().map(|sign| (0.4 * share + sign * noise, 0.4)).collect()
    }

    fn judge(share: f64, noise: f64) -> Verdict {
        Verdict::judge(&[pairs(share, noise)], 8)
    }

    #[test]
    fn a_verdict_is_where_the_whole_interval_lies() {
        assert_eq!(judge(0.9, 0.02), Verdict::Cause);
        assert_eq!(judge(0.4, 0.02), Verdict::Contributes);
        assert_eq!(judge(0.0, 0.02), Verdict::NoCause);
        assert_eq!(judge(-0.6, 0.02), Verdict::NoCause);
        assert_eq!(judge(0.9, 0.9), Verdict::Inconclusive);
        assert_eq!(Verdict::judge(&[vec![]], 8), Verdict::NotMeasured);
        assert_eq!(
            Verdict::judge(&[vec![(0.4, 0.4)]], 8),
            Verdict::Inconclusive,
            "one block decides nothing"
        );
    }

    #[test]
    fn a_verdict_has_to_hold_on_every_scale() {
        let both = |ratio: f64, us: f64| Verdict::judge(&[pairs(ratio, 0.02), pairs(us, 0.02)], 8);
        assert_eq!((both(0.9, 0.9), both(0.9, 0.4)), (Verdict::Cause, Verdict::Contributes));
        assert_eq!((both(0.9, 0.0), both(0.0, 0.9)), (Verdict::Inconclusive, Verdict::Inconclusive));
        assert_eq!(both(0.0, 0.0), Verdict::NoCause);
    }

    #[test]
    fn a_slowdown_is_real_and_worth_the_trouble_or_none() {
        let presence = |value, interval| Presence::of(&Estimate { value, interval, n: 6 });
        assert_eq!(presence(1.3, Some((1.1, 1.5))), Presence::Found);
        assert_eq!(presence(1.02, Some((1.01, 1.03))), Presence::Absent);
        assert_eq!(presence(0.8, Some((0.7, 0.9))), Presence::Absent);
    }

    /// The page once said that there was no slowdown where two blocks had one of 1.81, with an interval around it that
    /// held almost anything.
    #[test]
    fn a_slowdown_that_may_be_there_is_neither_found_nor_absent() {
        let presence = |value, interval| Presence::of(&Estimate { value, interval, n: 2 });
        assert_eq!(presence(1.81, Some((0.6, 5.5))), Presence::Undecided);
        assert_eq!(presence(1.81, None), Presence::Undecided);
        assert_eq!(presence(0.98, Some((0.9, 1.07))), Presence::Undecided);
    }
}
