//! The regression gate: stored baselines beside fresh runs.
//!
//! `Sample::of` each fresh run → [`judge()`] → where an alarm was raised, rerun and [`confirm()`] → [`Exit`]. An arm is
//! judged in one of two ways:
//!
//! - *Exactly*, where a fresh run has the baseline's environment class, plan and seed: its weights, and the losses and
//!   accuracies measured of them, must be equal bit for bit. There is no tolerance and no false alarm.
//! - *By tolerance* otherwise, and always for the time of a step: the fresh mean must lie in the prediction interval of
//!   the baseline's; see [`Comparison`]. Both sides are alarms: too good to be true is a bug as well.
//!
//! The false-alarm rate is that of a whole file: each of its m tests has the m-th part of it (Bonferroni).
//!
//! A rerun must be able to say something new. One machine gives the same losses and accuracies under the same seeds
//! again, so an unlucky draw of seeds would recur for ever: [`Rerun`] says which seeds a finding must be rerun under.

mod accept;
mod confirm;
mod finding;
mod judge;
mod sample;
#[cfg(test)]
pub mod simulated;
mod tolerance;

pub use accept::{AcceptError, Stamp, accept, changes};
pub use confirm::{Rerun, confirm};
pub use finding::{Alarm, Bar, Bits, Doubt, Evidence, Exit, Finding, Findings, Moved, Subject, Verdict};
pub use judge::{Asked, judge};
pub use sample::{Ending, Numbers, Sample};
pub use tolerance::{ACCURACY_EFFECT, Comparison, LOSS_EFFECT, MOST_SEEDS, POWER, TIME_EFFECT};
