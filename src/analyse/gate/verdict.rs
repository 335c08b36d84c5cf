//! What is said of one quantity of a baseline.

use crate::analyse::gate::probe::Change;
use crate::stream::Seed;

#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    Holds,
    Alarm(Alarm),
    Inconclusive(Doubt),
    NotComparable(Bar),
}

#[derive(Clone, PartialEq, Debug)]
pub enum Alarm {
    Worse,
    /// Too good: a leak of labels, a skipped step and a wrong denominator all look like this.
    Better,
    /// A loss or an accuracy of a finished run is not a number.
    NotFinite {
        seed: Seed,
        value: f64,
    },
    Weights,
    /// A single step gives something else than rounding explains.
    Changed(Change),
    /// A whole training consists of other steps.
    Structure {
        stored: String,
        found: String,
    },
    /// Of equal weights something else was measured: the evaluation changed, not the training.
    Measured,
    Diverged {
        seed: Seed,
        step: u64,
        loss: String,
    },
    /// Where the baseline diverged.
    Finished {
        seed: Seed,
    },
}

/// Why nothing is decided.
#[derive(Clone, PartialEq, Debug)]
pub enum Doubt {
    /// The baseline has one run, and one run has no spread.
    OneRun,
    /// An effect as large as the stated one could hide within the tolerance.
    TooWide,
    /// The arm diverges under some seeds, and the baseline does not know these.
    MayDiverge,
    DidNotRecur,
    /// What was to be trained for the alarm did not get as far as this.
    NotRerun,
}

/// Why nothing is compared.
#[derive(Clone, PartialEq, Debug)]
pub enum Bar {
    NoBaseline,
    /// There is a file, and it cannot be used.
    Unreadable {
        message: String,
    },
    /// The arm is another one now, and these keys say by what.
    ConfigChanged {
        keys: String,
    },
    /// The arm has no probe that was accepted.
    NotProbed,
    /// The arm is another one now.
    Stale {
        expected: String,
        found: String,
    },
    /// The experiment has the arm, the baseline does not.
    NewArm,
    /// The other way round.
    OrphanedArm,
    /// There is no experiment of this name any more.
    OrphanedFile,
    NothingMeasured,
    /// Trainings under these seeds were asked for and failed, the first of them for this reason.
    Failed {
        seeds: Vec<Seed>,
        reason: String,
    },
    /// The fresh runs are of another config than the experiment's.
    OtherConfig {
        expected: String,
        found: String,
    },
    /// The baseline has the quantity, the fresh runs do not.
    NoValue,
}
