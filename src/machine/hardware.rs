//! Counters of the processor itself, where the kernel lets a program read them (perf_event_open(2)).

use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Cycles, instructions and cache misses of the thread that opened them and of those it starts afterwards, in user mode:
/// open them before libtorch starts its threads.
pub struct HardwareCounters(Vec<(&'static str, Result<Counter, String>)>);

/// The name of a counter, and its value or why there is none.
#[derive(Clone, PartialEq, Debug)]
pub struct HardwareCount<T> {
    pub name: &'static str,
    pub count: Result<T, String>,
}

impl HardwareCounters {
    pub fn open() -> Self {
        let wanted = [
            ("cycles", Hardware::CPU_CYCLES),
            ("instructions", Hardware::INSTRUCTIONS),
            // Of the last level, as far as the processor has a counter for it.
            ("cache misses", Hardware::CACHE_MISSES),
        ];
        Self(wanted.map(|(name, event)| (name, open(event).map_err(|error| error.to_string()))).into())
    }

    /// Since they were opened.
    pub fn read(&mut self) -> Vec<HardwareCount<u64>> {
        self.0.iter_mut().map(|(name, counter)| HardwareCount { name, count: value(counter) }).collect()
    }
}

fn value(counter: &mut Result<Counter, String>) -> Result<u64, String> {
    let counter = counter.as_mut().map_err(|reason| reason.clone())?;
    let read = counter.read_count_and_time().map_err(|error| error.to_string())?;
    // Where others count too, the kernel lets each have the processor's few counters for a part of the time.
    if read.time_running < read.time_enabled {
        return Err("another program has the processor's counters for a part of the time".to_owned());
    }
    Ok(read.count)
}

fn open(event: Hardware) -> std::io::Result<Counter> {
    // Not a group: the kernel does not let threads inherit one.
    let mut counter = Builder::new(event).inherit(true).build()?;
    counter.enable()?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_or_says_why_it_does_not() {
        let mut counters = HardwareCounters::open();
        let before = counters.read();
        let sum: u64 = (0..1_000_000_u64).map(std::hint::black_box).sum();
        assert_eq!(sum, 499_999_500_000);
        for (before, after) in before.iter().zip(counters.read()) {
            match (&before.count, after.count) {
                (Ok(before), Ok(after)) => assert!(after >= *before),
                (Err(reason), Err(again)) => assert!(!reason.is_empty() && *reason == again),
                (before, after) => panic!("{before:?} {after:?}"),
            }
        }
    }
}
