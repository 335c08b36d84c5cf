//! From the share of a slowdown, and the interval that is shown with it, to a verdict.

use crate::analyse::timing::Estimate;

/// A slowdown below this is not worth an explanation: shares of it would be quotients of noise.
pub const LEAST_SLOWDOWN: f64 = 1.05;

/// A cause that explains less than a tenth changes nothing that anyone would do.
pub const CONTRIBUTES_SHARE: f64 = 0.1;

/// The main cause explains more than half: the rest together is less.
pub const MAIN_SHARE: f64 = 0.5;

/// What is found to explain less than a quarter is ruled out as the answer. Not a tenth: with the blocks that fit into
/// minutes the interval of a share is about ±0.2 wide, and every other hypothesis would stay open for ever.
pub const NO_CAUSE_SHARE: f64 = 0.25;

named! {
    /// Whether there is anything to explain.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Presence {
        /// Told from 1, at least [`LEAST_SLOWDOWN`], and more than two names of one thing differ by.
        Found = "found",
        /// Told from [`LEAST_SLOWDOWN`]: what there may be is less.
        Absent = "absent",
        /// The blocks are too few or too unlike each other.
        Undecided = "undecided",
    }
}

/// The share of a slowdown that goes when a cause is removed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    pub value: f64,
    /// The one that decides: its low end is at the level of a finding among so many hypotheses, its high end at that of one
    /// that is ruled out. `None` where the whole is not clearly above 0, so that the share may be anything.
    pub interval: Option<(f64, f64)>,
}

named! {
    /// From the least to the most that is said.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub enum Verdict {
        /// There is no slowdown here.
        NothingToExplain = "nothing to explain",
        NotTestable = "not testable here",
        /// The base has its cause removed.
        AlreadySo = "already so in this plan",
        /// It compares the same conditions as another hypothesis.
        SameAs = "same comparison as another",
        /// What it needs was not measured, or failed.
        NotMeasured = "not measured",
        /// It says that there is a slowdown, in other words; true, and no cause.
        Restates = "restates it",
        /// It explains less than [`NO_CAUSE_SHARE`].
        RuledOut = "ruled out",
        Open = "open",
        /// It explains more than [`CONTRIBUTES_SHARE`].
        Contributes = "contributes",
        /// It explains more than [`MAIN_SHARE`].
        MainCause = "main cause",
    }
}

impl Presence {
    /// Of the slowdown, and of the factor by which two names of one thing may differ.
    pub fn of(slowdown: Option<&Estimate>, floor: Option<f64>) -> Self {
        let (Some(slowdown), Some(floor)) = (slowdown, floor) else { return Self::Undecided };
        if slowdown.is_above(1.0) && slowdown.value >= LEAST_SLOWDOWN.max(floor) {
            Self::Found
        } else if slowdown.is_below(LEAST_SLOWDOWN) {
            Self::Absent
        } else {
            Self::Undecided
        }
    }
}

impl Verdict {
    /// By where the interval lies. Nothing is found that takes away less than two names of one thing differ by.
    pub fn of(share: &Share, is_above_floor: bool) -> Self {
        match share.interval {
            Some((low, _)) if low > MAIN_SHARE && is_above_floor => Self::MainCause,
            Some((low, _)) if low > CONTRIBUTES_SHARE && is_above_floor => Self::Contributes,
            Some((_, high)) if high < NO_CAUSE_SHARE => Self::RuledOut,
            _ => Self::Open,
        }
    }

    pub fn is_found(self) -> bool {
        self >= Self::Contributes
    }

    /// Something is said, and no later look takes it back.
    pub fn is_decided(self) -> bool {
        !matches!(self, Self::Open | Self::NotMeasured)
    }

    /// For programs.
    pub fn key(self) -> String {
        self.name().replace(' ', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_where_the_shown_interval_lies() {
        let judge =
            |low, high| Verdict::of(&Share { value: (low + high) / 2.0, interval: Some((low, high)) }, true);
        assert_eq!(judge(0.51, 1.4), Verdict::MainCause);
        assert_eq!(judge(0.3, 0.7), Verdict::Contributes);
        assert_eq!(judge(-0.6, 0.24), Verdict::RuledOut);
        assert_eq!([judge(0.05, 0.9), judge(-0.2, 0.3)], [Verdict::Open; 2]);
        assert_eq!(Verdict::of(&Share { value: 0.9, interval: None }, true), Verdict::Open);
        assert_eq!(Verdict::of(&Share { value: 0.9, interval: Some((0.8, 1.0)) }, false), Verdict::Open);
    }

    #[test]
    fn a_slowdown_is_real_and_worth_the_trouble_or_none_or_undecided() {
        let presence =
            |value, interval, floor| Presence::of(Some(&Estimate { value, interval, n: 6 }), Some(floor));
        assert_eq!(presence(1.3, Some((1.1, 1.5)), 1.02), Presence::Found);
        assert_eq!(presence(1.02, Some((1.01, 1.03)), 1.02), Presence::Absent);
        assert_eq!(presence(0.8, Some((0.7, 0.9)), 1.02), Presence::Absent);
        assert_eq!(presence(1.81, Some((0.6, 5.5)), 1.02), Presence::Undecided);
        assert_eq!(presence(1.3, None, 1.02), Presence::Undecided);
        assert_eq!(presence(1.1, Some((1.05, 1.15)), 1.12), Presence::Undecided, "below the A/A floor");
        assert_eq!(Presence::of(None, None), Presence::Undecided);
    }
}
