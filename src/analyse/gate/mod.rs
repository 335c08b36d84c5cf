//! The regression gate: stored baselines beside fresh runs.
//!
//! `Sample::of` each fresh run → [`judge()`] → where an alarm was raised, rerun and [`confirm()`] → [`Exit`]. An arm is
//! judged in one of two ways:
//!
//! - *Exactly*, where a fresh run has the baseline's environment class, plan and seed: its weights, and the losses and
//!   accuracies measured of them, must be equal bit for bit. There is no tolerance and no false alarm.
//! - *By tolerance* otherwise: runs are paired by seed, and their mean difference is held to a margin; see
//!   [`Comparison`]. Worse is a regression; better is *changed*, and asks to be accepted. So do other bits, where the
//!   numbers say whether they are worse.
//!
//! Before either, single steps ([`mod@probe`]) say on any machine whether a training still does the same.
//!
//! The false-alarm rate is that of a whole file: each of its m tests has the m-th part of it (Bonferroni).
//!
//! Time is no matter of stored numbers: a revision is timed beside another, on one machine and in turn.

mod accept;
pub mod against;
mod confirm;
mod finding;
mod judge;
pub mod probe;
#[cfg(test)]
mod resampled;
mod sample;
#[cfg(test)]
pub mod simulated;
mod tolerance;
mod verdict;

pub use accept::{AcceptError, Stamp, accept, changes, too_blunt};
pub use confirm::{Rerun, confirm};
pub use finding::{Bits, Evidence, Exit, Finding, Findings, Moved, Subject};
pub use judge::{Asked, compare_baselines, judge, not_borne_out};
pub use sample::{Ending, Numbers, Sample};
pub use tolerance::{ACCURACY_EFFECT, Comparison, LOSS_EFFECT, Look, POWER};
pub use verdict::{Alarm, Bar, Doubt, Verdict};
