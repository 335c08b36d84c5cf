//! The clock behind every time pinbench reports, the phases of a step, and the stopwatch that divides one into them.
//!
//! A GPU works behind the host's back: a call returns when the work is queued. The stopwatch therefore keeps two times
//! apart, the host's by its clock and the device's by events on its own timeline, and waits for the device only when the
//! step is over.

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

named! {
    /// The parts of a training step, in the order they happen.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Phase {
        /// Gather the batch: index, augment, collate.
        Load = "load",
        /// Host to device.
        Copy = "copy",
        Forward = "forward",
        Backward = "backward",
        Optimizer = "optimizer",
        /// Loss and correct count, device to host.
        ReadBack = "read_back",
    }
}

/// Nanoseconds a step took in all and, where whoever ran it divided it, in each phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhaseTimes {
    phases_ns: Option<[u64; Phase::ALL.len()]>,
    pub total_ns: u64,
}

impl PhaseTimes {
    pub fn new(phases_ns: [u64; Phase::ALL.len()], total_ns: u64) -> Self {
        Self { phases_ns: Some(phases_ns), total_ns }
    }

    /// Times of a step of which nothing is known but how long it took.
    pub fn undivided(total_ns: u64) -> Self {
        Self { phases_ns: None, total_ns }
    }

    /// Times whose total is their sum.
    pub fn summed(phases_ns: [u64; Phase::ALL.len()]) -> Self {
        Self::new(phases_ns, phases_ns.into_iter().fold(0, u64::saturating_add))
    }

    pub fn is_divided(&self) -> bool {
        self.phases_ns.is_some()
    }

    /// `None` of a step that was not divided.
    pub fn ns(&self, phase: Phase) -> Option<u64> {
        self.phases_ns.map(|phases_ns| phases_ns[phase as usize])
    }

    /// What no phase accounts for: all of a step that was not divided.
    pub fn rest_ns(&self) -> u64 {
        let phases_ns = self.phases_ns.unwrap_or_default();
        self.total_ns.saturating_sub(phases_ns.into_iter().fold(0, u64::saturating_add))
    }
}

/// Makes marks on the timeline of a device whose work goes on after the call that asked for it has returned.
pub trait EventSource {
    type Event;
    type Error;

    fn create(&self) -> Result<Self::Event, Self::Error>;

    /// Queues `event`, which may have been recorded before, behind the work there is. Waits for nothing.
    fn record(&self, event: &Self::Event) -> Result<(), Self::Error>;

    /// From one recorded event to a later one; waits until the device has come to that.
    fn elapsed_ns(&self, from: &Self::Event, to: &Self::Event) -> Result<u64, Self::Error>;
}

/// Times the phases of one step after the other on a device. Its events are made in the first step and used again, so
/// that no other step has to make any.
pub struct Recorder<S: EventSource> {
    source: S,
    /// One for the start of the step and one for each of its marks.
    events: Vec<S::Event>,
    /// What the marks of the step have ended.
    phases: Vec<Phase>,
}

impl<S: EventSource> Recorder<S> {
    pub fn new(source: S) -> Self {
        Self { source, events: Vec::new(), phases: Vec::new() }
    }

    fn start(&mut self) -> Result<(), S::Error> {
        self.phases.clear();
        self.record()
    }

    fn mark(&mut self, phase: Phase) -> Result<(), S::Error> {
        self.phases.push(phase);
        self.record()
    }

    fn record(&mut self) -> Result<(), S::Error> {
        let next = self.phases.len();
        if next == self.events.len() {
            self.events.push(self.source.create()?);
        }
        self.source.record(&self.events[next])
    }

    /// Waits for the last mark.
    fn times(&self) -> Result<PhaseTimes, S::Error> {
        let mut phases_ns = [0; Phase::ALL.len()];
        for (ends, &phase) in self.events.windows(2).zip(&self.phases) {
            phases_ns[phase as usize] += self.source.elapsed_ns(&ends[0], &ends[1])?;
        }
        Ok(PhaseTimes::summed(phases_ns))
    }
}

/// Divides one step into phases: `start → mark … → stop`. A mark ends the phase it names, on the device as well where
/// there is one.
pub struct Stopwatch<'a, C: Clock, S: EventSource> {
    clock: &'a C,
    device: Option<&'a mut Recorder<S>>,
    started_ns: u64,
    last_ns: u64,
    phases_ns: [u64; Phase::ALL.len()],
}

impl<'a, C: Clock, S: EventSource> Stopwatch<'a, C, S> {
    pub fn start(clock: &'a C, mut device: Option<&'a mut Recorder<S>>) -> Result<Self, S::Error> {
        if let Some(device) = &mut device {
            device.start()?;
        }
        let now = clock.now_ns();
        Ok(Self { clock, device, started_ns: now, last_ns: now, phases_ns: Default::default() })
    }

    pub fn mark(&mut self, phase: Phase) -> Result<(), S::Error> {
        // Before the look at the clock: each phase pays for its own mark.
        if let Some(device) = &mut self.device {
            device.mark(phase)?;
        }
        let now = self.clock.now_ns();
        self.phases_ns[phase as usize] += now - self.last_ns;
        self.last_ns = now;
        Ok(())
    }

    pub fn has_device(&self) -> bool {
        self.device.is_some()
    }

    /// Since the start.
    pub fn elapsed_ns(&self) -> u64 {
        self.clock.now_ns() - self.started_ns
    }

    /// The times by the host's clock and, of the same phases, by the device's events. It has to be waited for at the last
    /// mark, so that a step that ends with reading a result back loses nothing by it.
    pub fn stop(self) -> Result<(PhaseTimes, Option<PhaseTimes>), S::Error> {
        let times = PhaseTimes::new(self.phases_ns, self.clock.now_ns() - self.started_ns);
        let device = self.device.map(|device| device.times()).transpose()?;
        Ok((times, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A clock that moves only when told to, for tests.
    #[derive(Default)]
    struct FakeClock(Cell<u64>);

    impl FakeClock {
        fn advance_ns(&self, ns: u64) {
            self.0.set(self.0.get() + ns);
        }
    }

    impl Clock for FakeClock {
        fn now_ns(&self) -> u64 {
            self.0.get()
        }
    }

    /// A device with a time of its own.
    #[derive(Default)]
    struct FakeDevice {
        clock: FakeClock,
        made: Cell<u32>,
        /// How often it was waited for.
        waits: Cell<u32>,
        is_lost: Cell<bool>,
    }

    impl EventSource for &FakeDevice {
        type Event = Cell<u64>;
        type Error = &'static str;

        fn create(&self) -> Result<Cell<u64>, &'static str> {
            self.made.set(self.made.get() + 1);
            Ok(Cell::new(0))
        }

        fn record(&self, event: &Cell<u64>) -> Result<(), &'static str> {
            event.set(self.clock.now_ns());
            if self.is_lost.get() { Err("the device is lost") } else { Ok(()) }
        }

        fn elapsed_ns(&self, from: &Cell<u64>, to: &Cell<u64>) -> Result<u64, &'static str> {
            self.waits.set(self.waits.get() + 1);
            Ok(to.get() - from.get())
        }
    }

    fn phases_ns(times: PhaseTimes) -> [u64; Phase::ALL.len()] {
        Phase::ALL.map(|phase| times.ns(phase).unwrap())
    }

    #[test]
    fn a_stopwatch_gives_each_phase_its_time_and_the_rest_to_none() {
        let clock = FakeClock::default();
        clock.advance_ns(1000);
        let mut watch = Stopwatch::start(&clock, None::<&mut Recorder<&FakeDevice>>).unwrap();
        for (ns, phase) in [(5, Phase::Load), (7, Phase::Forward), (11, Phase::Backward), (2, Phase::Load)] {
            clock.advance_ns(ns);
            watch.mark(phase).unwrap();
        }
        clock.advance_ns(3);
        assert!(!watch.has_device());
        let (times, device) = watch.stop().unwrap();
        assert_eq!((phases_ns(times), device), ([7, 0, 7, 11, 0, 0], None));
        assert_eq!((times.total_ns, times.rest_ns()), (28, 3));
    }

    /// Two micro-batches, which the host asks for faster than the device works them off, then the read-back.
    #[test]
    fn host_and_device_are_timed_apart_and_every_pass_adds_to_its_phase() {
        let (clock, device) = (FakeClock::default(), FakeDevice::default());
        let mut recorder = Recorder::new(&device);
        for step in 1..=2_u64 {
            let mut watch = Stopwatch::start(&clock, Some(&mut recorder)).unwrap();
            for (host_ns, device_ns, phase) in [
                (1, 20, Phase::Load),
                (5, 100, Phase::Forward),
                (6, 200, Phase::Backward),
                (5, 110, Phase::Forward),
                (6, 210, Phase::Backward),
                (2, 40, Phase::Optimizer),
                (665, 3, Phase::ReadBack),
            ] {
                clock.advance_ns(host_ns);
                device.clock.advance_ns(device_ns * step);
                watch.mark(phase).unwrap();
            }
            assert!(
                watch.has_device() && device.waits.get() == 7 * (step as u32 - 1),
                "waited within a step"
            );
            clock.advance_ns(4);
            let (host, device_times) = watch.stop().unwrap();
            assert_eq!(phases_ns(host), [1, 0, 10, 12, 2, 665]);
            assert_eq!((host.total_ns, host.rest_ns()), (694, 4));
            let times = device_times.unwrap();
            assert_eq!(phases_ns(times), [20, 0, 210, 410, 40, 3].map(|ns| ns * step));
            assert_eq!((times.total_ns, times.rest_ns()), (683 * step, 0));
        }
        assert_eq!(device.made.get(), 8, "the second step made events of its own");
    }

    /// The pool may be longer than the step: a smaller batch has fewer passes.
    #[test]
    fn a_shorter_step_counts_no_event_of_the_one_before() {
        let (clock, device) = (FakeClock::default(), FakeDevice::default());
        let mut recorder = Recorder::new(&device);
        for marks in [3, 1_u64] {
            let mut watch = Stopwatch::start(&clock, Some(&mut recorder)).unwrap();
            for _ in 0..marks {
                device.clock.advance_ns(10);
                watch.mark(Phase::Forward).unwrap();
            }
            assert_eq!(watch.stop().unwrap().1, Some(PhaseTimes::summed([0, 0, 10 * marks, 0, 0, 0])));
        }
    }

    #[test]
    fn a_device_that_is_lost_is_an_error_of_the_mark() {
        let (clock, device) = (FakeClock::default(), FakeDevice::default());
        let mut recorder = Recorder::new(&device);
        let mut watch = Stopwatch::start(&clock, Some(&mut recorder)).unwrap();
        device.is_lost.set(true);
        assert_eq!(watch.mark(Phase::Load), Err("the device is lost"));
    }

    #[test]
    fn the_monotonic_clock_moves_forward() {
        let clock = Monotonic::start();
        let first = clock.now_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(clock.now_ns() >= first + 2_000_000);
    }
}
