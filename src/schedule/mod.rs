//! Which runs are due, and running them: one child process a run, one sweep a machine.
//!
//! The parent writes a [`Job`] to the child's standard input and reads [`Event`]s, one JSON line each, from its
//! standard output. The child seals its own run; of one that dies before, the parent seals a failed run.

mod blocks;
pub(crate) mod child;
mod due;
mod estimate;
mod event;
mod exclusive;
mod handover;
mod interrupt;
mod job;
mod limit;
mod manifest;
mod sweep;

pub use blocks::{Blocks, BlocksError, Questions, Timer};
pub use child::{Children, Ending, Executor, OnCue};
pub use due::{Asked, Item, items, retime};
pub use estimate::{Basis, Pace, Paces, together};
pub use event::Event;
pub use exclusive::{Exclusive, ExclusiveError};
pub use handover::Handover;
pub use interrupt::Interrupt;
pub use job::{Export, Instructions, Job, ProbeTask, Task, Time, Trace};
pub use limit::Limit;
pub use manifest::{Indexed, Manifest, ManifestArm, ManifestError, ManifestTask, expressions};
pub use sweep::{Observer, Sweep, SweepError, Tally};

/// Exit codes of the child. It sealed a run that finished or diverged; the last event says which.
pub const EXIT_SEALED: u8 = 0;
/// Another process runs the trial (EX_TEMPFAIL of sysexits.h).
pub const EXIT_BUSY: u8 = 75;
/// Of `run --manifest`: told to stop, it has kept what it has, and the same command goes on from there. The number is
/// HTCondor's for a job that left a checkpoint.
pub const EXIT_LATER: u8 = 85;
/// As shells report a process that SIGINT ended.
pub const EXIT_INTERRUPTED: u8 = 130;
