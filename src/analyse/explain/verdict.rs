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
}

impl Verdict {
    /// Of the hypothesis' part and the whole in each block. A finding is tested at its part of 5 % among so many `tests`
    /// (Bonferroni), for one of many hypotheses will always look good; that one is ruled out needs no such care.
    pub fn judge(pairs: &[(f64, f64)], tests: usize) -> Self {
        let guarded = ALPHA / tests.max(1) as f64;
        if pairs.is_empty() {
            Self::NotMeasured
        } else if exceeds(pairs, MAIN_SHARE, guarded) {
            Self::Cause
        } else if exceeds(pairs, CONTRIBUTES_SHARE, guarded) {
            Self::Contributes
        } else if stays_below(pairs, NO_CAUSE_SHARE, ALPHA) {
            Self::NoCause
        } else {
            Self::Inconclusive
        }
    }
}

/// Whether there is anything to explain.
pub fn is_slowdown(slowdown: &Estimate) -> bool {
    slowdown.value >= LEAST_SLOWDOWN && slowdown.is_above(1.0)
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(share: f64, noise: f64) -> Verdict {
        let signs = [1.0, -1.0, 0.5, -0.5, 0.8, -0.8];
        let pairs: Vec<(f64, f64)> = signs.iter().map(|sign| (0.4 * share + sign * noise, 0.4)).collect();
        Verdict::judge(&pairs, 8)
    }

    #[test]
    fn a_verdict_is_where_the_whole_interval_lies() {
        assert_eq!(judge(0.9, 0.02), Verdict::Cause);
        assert_eq!(judge(0.4, 0.02), Verdict::Contributes);
        assert_eq!(judge(0.0, 0.02), Verdict::NoCause);
        assert_eq!(judge(-0.6, 0.02), Verdict::NoCause);
        assert_eq!(judge(0.9, 0.9), Verdict::Inconclusive);
        assert_eq!(Verdict::judge(&[], 8), Verdict::NotMeasured);
        assert_eq!(Verdict::judge(&[(0.4, 0.4)], 8), Verdict::Inconclusive, "one block decides nothing");
    }

    #[test]
    fn a_slowdown_is_real_and_worth_the_trouble_or_none() {
        let slowdown = |value, interval| is_slowdown(&Estimate { value, interval, n: 6 });
        assert!(slowdown(1.3, Some((1.1, 1.5))));
        assert!(
            !slowdown(1.3, Some((0.9, 1.7))) && !slowdown(1.3, None) && !slowdown(1.02, Some((1.01, 1.03)))
        );
    }
}
