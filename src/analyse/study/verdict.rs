//! From the share of a slowdown, and the interval that is shown with it, to a verdict.

use std::fmt;

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

/// Whether there is anything to explain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Told from 1, at least [`LEAST_SLOWDOWN`], and more than two names of one thing differ by.
    Found,
    /// Told from [`LEAST_SLOWDOWN`]: what there may be is less.
    Absent,
    /// The blocks are too few or too unlike each other.
    Undecided,
}

/// The share of a slowdown that goes when a cause is removed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    pub value: f64,
    /// The one that decides: its low end is at the level of a finding among so many hypotheses, its high end at that of one
    /// that is ruled out. `None` where the whole is not clearly above 0, so that the share may be anything.
    pub interval: Option<(f64, f64)>,
}

/// From the least to the most that is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// There is no slowdown here.
    NothingToExplain,
    NotTestable,
    /// The base has its cause removed.
    AlreadySo,
    /// It compares the same conditions as another hypothesis.
    SameAs,
    /// What it needs was not measured, or failed.
    NotMeasured,
    /// It says that there is a slowdown, in other words; true, and no cause.
    Restates,
    /// It explains less than [`NO_CAUSE_SHARE`].
    RuledOut,
    Open,
    /// It explains more than [`CONTRIBUTES_SHARE`].
    Contributes,
    /// It explains more than [`MAIN_SHARE`].
    MainCause,
}

impl Presence {
    /// Of the slowdown, and of the factor within which two names of one thing came out.
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

    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Undecided => "undecided",
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
    pub fn name(self) -> String {
        self.to_string().replace(' ', "_")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingToExplain => "nothing to explain",
            Self::NotTestable => "not testable here",
            Self::AlreadySo => "already so in this plan",
            Self::SameAs => "same comparison as another",
            Self::NotMeasured => "not measured",
            Self::Restates => "restates it",
            Self::RuledOut => "ruled out",
            Self::Open => "open",
            Self::Contributes => "contributes",
            Self::MainCause => "main cause",
        })
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
