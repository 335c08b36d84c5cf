//! The clock behind every time pinbench reports, the phases of a step, and the stopwatch that divides one into them.

use std::cell::Cell;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Nanoseconds from an arbitrary start, never going back.
pub trait Clock {
    fn now_ns(&self) -> u64;
}

/// The operating system's monotonic clock.
pub struct Monotonic(Instant);

impl Monotonic {
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        // 2^64 ns are 584 years.
        self.0.elapsed().as_nanos() as u64
    }
}

/// A clock that moves only when told to, for tests.
#[derive(Default)]
pub struct FakeClock(Cell<u64>);

impl FakeClock {
    pub fn advance_ns(&self, ns: u64) {
        self.0.set(self.0.get() + ns);
    }
}

impl Clock for FakeClock {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }
}

/// The parts of a training step, in the order they happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Gather the batch: index, augment, collate.
    Load,
    /// Host to device.
    Copy,
    Forward,
    Backward,
    Optimizer,
    /// Loss and correct count, device to host.
    ReadBack,
}

impl Phase {
    pub const ALL: [Self; 6] =
        [Self::Load, Self::Copy, Self::Forward, Self::Backward, Self::Optimizer, Self::ReadBack];

    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Copy => "copy",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Optimizer => "optimizer",
            Self::ReadBack => "read_back",
        }
    }
}

/// Nanoseconds a step spent in each phase, and in all.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PhaseTimes {
    phases_ns: [u64; Phase::ALL.len()],
    pub total_ns: u64,
}

impl PhaseTimes {
    pub fn new(phases_ns: [u64; Phase::ALL.len()], total_ns: u64) -> Self {
        Self { phases_ns, total_ns }
    }

    pub fn ns(&self, phase: Phase) -> u64 {
        self.phases_ns[phase as usize]
    }

    /// What no phase accounts for.
    pub fn rest_ns(&self) -> u64 {
        self.total_ns.saturating_sub(self.phases_ns.iter().sum())
    }
}

/// Divides one step into phases: `start → mark … → stop`. A mark ends the phase it names.
pub struct Stopwatch<'a, C: Clock> {
    clock: &'a C,
    started_ns: u64,
    last_ns: u64,
    times: PhaseTimes,
}

impl<'a, C: Clock> Stopwatch<'a, C> {
    pub fn start(clock: &'a C) -> Self {
        let now = clock.now_ns();
        Self { clock, started_ns: now, last_ns: now, times: PhaseTimes::default() }
    }

    pub fn mark(&mut self, phase: Phase) {
        let now = self.clock.now_ns();
        self.times.phases_ns[phase as usize] += now - self.last_ns;
        self.last_ns = now;
    }

    /// Since the start.
    pub fn elapsed_ns(&self) -> u64 {
        self.clock.now_ns() - self.started_ns
    }

    pub fn stop(mut self) -> PhaseTimes {
        self.times.total_ns = self.clock.now_ns() - self.started_ns;
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_gives_each_phase_its_time_and_the_rest_to_none() {
        let clock = FakeClock::default();
        clock.advance_ns(1000);
        let mut watch = Stopwatch::start(&clock);
        for (ns, phase) in [(5, Phase::Load), (7, Phase::Forward), (11, Phase::Backward), (2, Phase::Load)] {
            clock.advance_ns(ns);
            watch.mark(phase);
        }
        clock.advance_ns(3);
        let times = watch.stop();
        assert_eq!(Phase::ALL.map(|phase| times.ns(phase)), [7, 0, 7, 11, 0, 0]);
        assert_eq!((times.total_ns, times.rest_ns()), (28, 3));
    }

    #[test]
    fn the_monotonic_clock_moves_forward() {
        let clock = Monotonic::start();
        let first = clock.now_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(clock.now_ns() >= first + 2_000_000);
    }
}
