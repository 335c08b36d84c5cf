//! Where the time of a run went, and its only clock.

use crate::clock::{Clock as _, Monotonic};

pub(super) struct Times {
    pub clock: Monotonic,
    /// Sum of the steps, those of processes before this one included; so with what follows.
    pub train_ns: u64,
    pub evaluate_ns: u64,
    pub diagnose_ns: u64,
    /// From the first step on, of the processes before this one.
    pub earlier_wall_ns: u64,
    /// Time of this process that no wall time holds: diagnostics and the hand-over of states.
    aside_ns: u64,
    began_ns: u64,
}

impl Times {
    pub(super) fn new() -> Self {
        let (train_ns, evaluate_ns, diagnose_ns) = (0, 0, 0);
        let clock = Monotonic::start();
        Self { clock, train_ns, evaluate_ns, diagnose_ns, earlier_wall_ns: 0, aside_ns: 0, began_ns: 0 }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Wall time counts from here.
    pub(super) fn begin(&mut self) {
        self.began_ns = self.clock.now_ns();
    }

    /// What has passed since `began_ns` belongs to no wall time; says how much that is.
    pub(super) fn set_aside(&mut self, began_ns: u64) -> u64 {
        let took_ns = self.clock.now_ns() - began_ns;
        self.aside_ns += took_ns;
        took_ns
    }

    pub(super) fn wall_ns(&self) -> u64 {
        self.earlier_wall_ns + (self.clock.now_ns() - self.began_ns).saturating_sub(self.aside_ns)
    }
}
