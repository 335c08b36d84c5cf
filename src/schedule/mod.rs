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
mod interrupt;
mod job;
mod sweep;

pub use blocks::{Blocks, BlocksError, Questions, Timer};
pub use child::{Children, Ending, Executor};
pub use due::{Asked, Item, items, retime};
pub use estimate::{Basis, Pace, together};
pub use event::Event;
pub use exclusive::{Exclusive, ExclusiveError};
pub use interrupt::Interrupt;
pub use job::{Export, Job, Task, Time, Trace};
pub use sweep::{Observer, Sweep, SweepError, Tally};

/// Exit codes of the child. It sealed a run that finished or diverged; the last event says which.
pub const EXIT_SEALED: u8 = 0;
pub const EXIT_FAILED: u8 = 1;
/// Another process runs the trial (EX_TEMPFAIL of sysexits.h).
pub const EXIT_BUSY: u8 = 75;
/// As shells report a process that SIGINT ended.
pub const EXIT_INTERRUPTED: u8 = 130;
