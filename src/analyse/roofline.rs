//! Where a step's time goes, and how near its parts come to two rates of the machine.

use crate::clock::{Phase, PhaseTimes};
use crate::row::{StepRow, Usage};
use crate::stats;
use crate::work::{Ceilings, StepWork, Work};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Phase(Phase),
    /// What no phase accounts for.
    Rest,
    /// All of it.
    Step,
}

impl Part {
    fn ns(self, times: &PhaseTimes) -> Option<u64> {
        match self {
            Self::Phase(phase) => times.ns(phase),
            Self::Rest => Some(times.rest_ns()),
            Self::Step => Some(times.total_ns),
        }
    }

    /// `None` of a part whose work is not counted.
    fn work(self, work: &StepWork) -> Option<Work> {
        match self {
            Self::Phase(Phase::Forward) => Some(work.forward),
            Self::Phase(Phase::Backward) => Some(work.backward),
            Self::Phase(Phase::Optimizer) => Some(work.optimizer),
            Self::Phase(_) | Self::Rest => None,
            Self::Step => Some(work.whole()),
        }
    }
}

/// A part of the step without the profiler.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timed {
    pub part: Part,
    /// Median over steps.
    pub ms: f64,
    /// Of the median step, 0 to 1. Medians of parts need not add up to that of the whole.
    pub share: f64,
    pub work: Option<Work>,
}

impl Timed {
    /// `None` where no arithmetic is counted.
    pub fn flop_per_s(&self) -> Option<f64> {
        let flop = self.work?.flop;
        (flop > 0).then(|| flop as f64 * 1e3 / self.ms)
    }

    pub fn bytes_per_s(&self) -> Option<f64> {
        Some(self.work?.bytes as f64 * 1e3 / self.ms)
    }

    /// FLOP a byte.
    pub fn intensity(&self) -> Option<f64> {
        let Work { flop, bytes } = self.work?;
        (flop > 0 && bytes > 0).then(|| flop as f64 / bytes as f64)
    }
}

/// What the operating system counted, the mean of a step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Counters {
    pub user_ms: f64,
    pub system_ms: f64,
    pub minor_faults: f64,
    pub major_faults: f64,
    pub voluntary_switches: f64,
    pub involuntary_switches: f64,
}

impl Counters {
    fn of(steps: &[StepRow]) -> Option<Self> {
        let mean = |of: fn(&Usage) -> u64| {
            stats::mean(&steps.iter().map(|step| of(&step.usage) as f64).collect::<Vec<f64>>())
        };
        Some(Self {
            user_ms: mean(|usage| usage.user_us)? / 1e3,
            system_ms: mean(|usage| usage.system_us)? / 1e3,
            minor_faults: mean(|usage| usage.minor_faults)?,
            major_faults: mean(|usage| usage.major_faults)?,
            voluntary_switches: mean(|usage| usage.voluntary_switches)?,
            involuntary_switches: mean(|usage| usage.involuntary_switches)?,
        })
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Roofline {
    pub ceilings: Ceilings,
    /// Those that took time, in the order of the step, and the whole step last.
    pub parts: Vec<Timed>,
    /// Steps without the profiler, and the images of each.
    pub steps: usize,
    pub images: u32,
    pub counters: Counters,
    /// Steps with the profiler, and the time of all of them.
    pub profiled_steps: usize,
    pub profiled_ns: u64,
    /// Median step with the profiler over that without.
    pub profiler_cost: f64,
}

impl Roofline {
    /// Of steps of full size, without the profiler and with it; `None` of steps that took no time.
    pub fn of(plain: &[StepRow], profiled: &[StepRow], work: &StepWork, ceilings: Ceilings) -> Option<Self> {
        let whole = median_ms(plain, Part::Step).filter(|ms| *ms > 0.0)?;
        let parts = Phase::ALL.map(Part::Phase).into_iter().chain([Part::Rest, Part::Step]);
        let timed = |part: Part| {
            let ms = median_ms(plain, part).filter(|ms| *ms > 0.0)?;
            Some(Timed { part, ms, share: ms / whole, work: part.work(work) })
        };
        Some(Self {
            ceilings,
            parts: parts.filter_map(timed).collect(),
            steps: plain.len(),
            images: plain.first()?.images,
            counters: Counters::of(plain)?,
            profiled_steps: profiled.len(),
            profiled_ns: profiled.iter().map(|step| step.times.total_ns).sum(),
            profiler_cost: median_ms(profiled, Part::Step)? / whole,
        })
    }

    pub fn part(&self, part: Part) -> Option<&Timed> {
        self.parts.iter().find(|timed| timed.part == part)
    }
}

fn median_ms(steps: &[StepRow], part: Part) -> Option<f64> {
    let ms: Option<Vec<f64>> = steps.iter().map(|step| Some(part.ns(&step.times)? as f64 / 1e6)).collect();
    stats::median(&ms?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples::step;

    const CEILINGS: Ceilings = Ceilings { flop_per_s: 120e9, bytes_per_s: 15e9 };

    fn work() -> StepWork {
        StepWork {
            forward: Work { flop: 350_000_000, bytes: 35_000_000 },
            backward: Work { flop: 650_000_000, bytes: 60_000_000 },
            optimizer: Work { flop: 0, bytes: 5_000_000 },
        }
    }

    /// Steps of 10 ms, of which forward is 35 %, backward 48 % and the optimizer 11 %; 12 ms under the profiler.
    fn roofline() -> Roofline {
        let plain: Vec<StepRow> = (0..9).map(|index| step(index, 64, 10_000_000)).collect();
        let profiled: Vec<StepRow> = (9..14).map(|index| step(index, 64, 12_000_000)).collect();
        Roofline::of(&plain, &profiled, &work(), CEILINGS).unwrap()
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found / expected - 1.0).abs() < 1e-9)
    }

    #[test]
    fn rates_are_work_over_the_median_time() {
        let roofline = roofline();
        let forward = roofline.part(Part::Phase(Phase::Forward)).unwrap();
        assert!(near(forward.flop_per_s(), 100e9) && near(forward.bytes_per_s(), 10e9));
        assert!(near(forward.intensity(), 10.0) && near(Some(forward.share), 0.35));
        let whole = roofline.part(Part::Step).unwrap();
        assert!(near(whole.flop_per_s(), 100e9) && near(whole.bytes_per_s(), 10e9));
        assert!(near(Some(whole.ms), 10.0) && near(Some(whole.share), 1.0));
    }

    #[test]
    fn what_has_no_arithmetic_has_no_place_under_the_roof() {
        let roofline = roofline();
        let optimizer = roofline.part(Part::Phase(Phase::Optimizer)).unwrap();
        assert_eq!((optimizer.flop_per_s(), optimizer.intensity()), (None, None));
        assert!(near(optimizer.bytes_per_s(), 5e6 / 1.1e-3));
        let load = roofline.part(Part::Phase(Phase::Load)).unwrap();
        assert_eq!((load.flop_per_s(), load.bytes_per_s()), (None, None));
        // Nothing was copied to a device.
        assert_eq!(roofline.part(Part::Phase(Phase::Copy)), None);
        assert_eq!(roofline.parts.last().unwrap().part, Part::Step);
    }

    #[test]
    fn one_slow_step_moves_no_median_and_the_profiler_is_weighed() {
        let mut plain: Vec<StepRow> = (0..9).map(|index| step(index, 64, 10_000_000)).collect();
        plain[3] = step(3, 64, 900_000_000);
        let profiled = [step(9, 64, 12_000_000)];
        let roofline = Roofline::of(&plain, &profiled, &work(), CEILINGS).unwrap();
        assert!(near(Some(roofline.part(Part::Step).unwrap().ms), 10.0));
        assert!(near(Some(roofline.profiler_cost), 1.2));
        assert_eq!((roofline.steps, roofline.profiled_steps, roofline.profiled_ns), (9, 1, 12_000_000));
    }

    #[test]
    fn counters_are_means_over_the_steps() {
        let mut plain: Vec<StepRow> = (0..4).map(|index| step(index, 64, 10_000_000)).collect();
        plain[0].usage = Usage { user_us: 20_000, minor_faults: 400, ..Usage::default() };
        let counters = Roofline::of(&plain, &plain, &work(), CEILINGS).unwrap().counters;
        assert_eq!((counters.user_ms, counters.minor_faults), (5.0, (400.0 + 3.0 * 12.0) / 4.0));
        assert_eq!((counters.major_faults, counters.system_ms), (0.0, 0.0));
    }

    #[test]
    fn without_steps_there_is_nothing_to_say() {
        let steps = [step(0, 64, 10_000_000)];
        assert_eq!(Roofline::of(&[], &steps, &work(), CEILINGS), None);
        assert_eq!(Roofline::of(&steps, &[], &work(), CEILINGS), None);
        assert_eq!(Roofline::of(&[step(0, 64, 0)], &steps, &work(), CEILINGS), None);
    }
}
