//! The clockwork of a step: its stopwatch, and the delays that are planted into its phases.

use crate::clock::{Clock, Monotonic, Phase, PhaseTimes, Recorder, Stopwatch};
use crate::machine;
use crate::planted::Planted;
use crate::train::TrainError;
use crate::train::plant;
use crate::train::shim::CudaStream;

/// `start → end … → stop`, as of a stopwatch.
pub(super) struct Timing<'a, C: Clock> {
    watch: Stopwatch<'a, C, CudaStream>,
    clock: &'a C,
    planted: Option<Planted>,
    /// When the pass under way began, from the start of the step.
    pass_ns: u64,
}

impl<'a, C: Clock> Timing<'a, C> {
    pub(super) fn start(
        clock: &'a C,
        device: Option<&'a mut Recorder<CudaStream>>,
        planted: Option<Planted>,
    ) -> Result<Self, TrainError> {
        Ok(Self { watch: Stopwatch::start(clock, device)?, clock, planted, pass_ns: 0 })
    }

    /// Ends `phase`, which worked on so many images.
    pub(super) fn end(&mut self, phase: Phase, images: u32) -> Result<(), TrainError> {
        // Without a fault to plant there is no further look at the clock.
        if self.planted.is_some() {
            self.delay(phase, images);
        }
        self.watch.mark(phase)
    }

    /// Ends the copy to the device, where there is one.
    pub(super) fn end_copy(&mut self, images: u32) -> Result<(), TrainError> {
        if self.watch.has_device() { self.end(Phase::Copy, images) } else { Ok(()) }
    }

    /// The times by the host's clock, and by the device's own.
    pub(super) fn stop(self) -> Result<(PhaseTimes, Option<PhaseTimes>), TrainError> {
        self.watch.stop()
    }

    /// Waits for as long as the planted fault asks, as busy as a computation. A pass over a micro-batch is slowed by its
    /// own time: by that of the step so far, the first passes would count again in each that follows.
    fn delay(&mut self, phase: Phase, images: u32) {
        let step_ns = self.watch.elapsed_ns();
        let elapsed_ns = match phase {
            Phase::Forward | Phase::Backward => step_ns - self.pass_ns,
            _ => step_ns,
        };
        let until_ns = self.clock.now_ns() + plant::delay_ns(self.planted, phase, images, elapsed_ns);
        while self.clock.now_ns() < until_ns {}
        if phase == Phase::Backward {
            self.pass_ns = self.watch.elapsed_ns();
        }
    }
}

/// What timing a step costs by itself, in nanoseconds: the mean of many steps in which nothing happens.
pub(super) fn cost_ns() -> Result<f64, TrainError> {
    const STEPS: u32 = 10_000;
    let clock = Monotonic::start();
    let began_ns = clock.now_ns();
    for _ in 0..STEPS {
        let before = machine::usage();
        let mut timing = Timing::start(&clock, None, None)?;
        for phase in [Phase::Load, Phase::Forward, Phase::Backward, Phase::Optimizer, Phase::ReadBack] {
            timing.end(phase, 1)?;
        }
        std::hint::black_box((timing.stop()?, machine::usage().since(before)));
    }
    Ok((clock.now_ns() - began_ns) as f64 / f64::from(STEPS))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::planted::DELAY_NS_PER_IMAGE;

    /// Goes on by 1 ns with every look at it, so that waiting for it ends.
    #[derive(Default)]
    struct Ticking(Cell<u64>);

    impl Ticking {
        fn advance_ns(&self, ns: u64) {
            self.0.set(self.0.get() + ns);
        }
    }

    impl Clock for Ticking {
        fn now_ns(&self) -> u64 {
            self.advance_ns(1);
            self.0.get()
        }
    }

    /// A step of so many passes over 10 images, in each of which both phases take 1 ms.
    fn step(passes: u32, planted: Option<Planted>) -> PhaseTimes {
        let clock = Ticking::default();
        let mut timing = Timing::start(&clock, None, planted).unwrap();
        timing.end_copy(10 * passes).unwrap();
        for _ in 0..passes {
            for phase in [Phase::Forward, Phase::Backward] {
                clock.advance_ns(1_000_000);
                timing.end(phase, 10).unwrap();
            }
        }
        timing.end(Phase::Optimizer, 10 * passes).unwrap();
        let (times, device) = timing.stop().unwrap();
        assert_eq!((device, times.ns(Phase::Copy)), (None, Some(0)));
        times
    }

    /// To within the looks at the clock.
    fn assert_near(found: u64, expected: u64) {
        assert!((expected..expected + 200).contains(&found), "{found} is not {expected}");
    }

    #[test]
    fn without_a_fault_every_phase_takes_its_own_time() {
        let times = step(2, None);
        assert_near(times.ns(Phase::Forward).unwrap(), 2_000_000);
        assert_near(times.ns(Phase::Backward).unwrap(), 2_000_000);
        assert_near(times.total_ns, 4_000_000);
    }

    #[test]
    fn a_delay_of_each_pass_adds_up_to_that_of_the_step() {
        let times = step(3, Some(Planted::DelayForward));
        assert_near(times.ns(Phase::Forward).unwrap(), 3_000_000 + 30 * DELAY_NS_PER_IMAGE);
        assert_near(times.ns(Phase::Backward).unwrap(), 3_000_000);
        assert_near(
            step(3, Some(Planted::DelayOptimizer)).ns(Phase::Optimizer).unwrap(),
            30 * DELAY_NS_PER_IMAGE,
        );
    }

    /// A fifth of the whole step so far at the end of each pass would grow with the square of their number.
    #[test]
    fn a_slow_step_is_a_fifth_longer_whatever_the_passes_it_takes() {
        for passes in [1, 4] {
            let times = step(passes, Some(Planted::SlowStep));
            assert_near(times.total_ns, u64::from(passes) * 2_400_000);
        }
    }
}
