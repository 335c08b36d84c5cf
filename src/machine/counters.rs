//! Counters of the operating system for this process and for the host.

use std::fs;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::machine::{GpuClock, GpuClocks};
use crate::row::Usage;

/// The counts of this process, all threads, since it started. Costs about a microsecond.
pub fn usage() -> Usage {
    let raw = rusage();
    let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Usage {
        user_us: microseconds(raw.ru_utime),
        system_us: microseconds(raw.ru_stime),
        minor_faults: raw.ru_minflt as u64,
        major_faults: raw.ru_majflt as u64,
        voluntary_switches: raw.ru_nvcsw as u64,
        involuntary_switches: raw.ru_nivcsw as u64,
    }
}

/// The most memory this process ever had resident.
pub fn peak_rss_bytes() -> u64 {
    // Linux counts KiB, macOS bytes (getrusage(2) of each).
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    rusage().ru_maxrss as u64 * unit
}

fn rusage() -> libc::rusage {
    // SAFETY: rusage is plain integers, for which zero is a value; the call writes the one struct it is given, and
    // with RUSAGE_SELF and a valid pointer it cannot fail (getrusage(2)).
    unsafe {
        let mut raw: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut raw);
        raw
    }
}

/// Processor time of the whole host since boot, in clock ticks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostTime {
    busy: u64,
    idle: u64,
    /// Wanted but given to another virtual machine.
    steal: u64,
}

impl HostTime {
    /// `None` where /proc/stat does not exist.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The `cpu` line of proc_stat(5): user nice system idle iowait irq softirq steal ….
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|tick| tick.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        Some(Self { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal })
    }

    /// Of the processor time that passed since `earlier`: the share other virtual machines took, 0 to 1.
    pub fn steal_share_since(self, earlier: Self) -> f64 {
        let steal = self.steal.saturating_sub(earlier.steal);
        let rest = (self.busy + self.idle).saturating_sub(earlier.busy + earlier.idle);
        steal as f64 / (steal + rest).max(1) as f64
    }

    /// Busy processor time of the host since `earlier`, in seconds; proc_stat(5) counts 100 ticks a second.
    pub fn busy_s_since(self, earlier: Self) -> f64 {
        self.busy.saturating_sub(earlier.busy) as f64 / 100.0
    }
}

/// Watches what others do to the processors while this process works.
pub struct Watch {
    gpu: Option<(u32, GpuClock)>,
    began: Instant,
    host: Option<HostTime>,
    own: Usage,
}

/// What a [`Watch`] saw, all of it over the same time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Watched {
    pub time: Duration,
    /// Share of the host's processor time other virtual machines took; `None` where unknown.
    pub steal_share: Option<f64>,
    /// Seconds of processor time other processes used; `None` where unknown.
    pub others_cpu_s: Option<f64>,
    /// Of the GPU that was watched, where its driver tells.
    pub gpu_clocks: Option<GpuClocks>,
}

impl Watch {
    /// `gpu`: the index of one whose clock is watched too.
    pub fn start(gpu: Option<u32>) -> Self {
        let gpu = gpu.and_then(|index| Some((index, GpuClock::now(index)?)));
        Self { gpu, began: Instant::now(), host: HostTime::now(), own: usage() }
    }

    pub fn stop(self) -> Watched {
        let (time, own) = (self.began.elapsed(), usage().since(self.own));
        let host = self.host.zip(HostTime::now());
        let own_s = (own.user_us + own.system_us) as f64 / 1e6;
        let after = self.gpu.and_then(|(index, before)| Some((before, GpuClock::now(index)?)));
        Watched {
            gpu_clocks: after.map(|(before, after)| GpuClocks { before, after }),
            time,
            steal_share: host.map(|(before, now)| now.steal_share_since(before)),
            others_cpu_s: host.map(|(before, now)| (now.busy_s_since(before) - own_s).max(0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_fresh_memory_counts_as_minor_faults() {
        let before = usage();
        let pages = std::hint::black_box(vec![1_u8; 64 << 20]);
        let counted = usage().since(before);
        assert!(counted.minor_faults > 0, "{counted:?}");
        assert!(peak_rss_bytes() >= pages.len() as u64);
    }

    #[test]
    fn host_time_is_read_from_the_cpu_line() {
        let earlier = HostTime::parse("cpu  100 0 50 800 0 0 0 10 0 0\ncpu0 1 2").unwrap();
        let later = HostTime::parse("cpu  200 0 150 1400 0 0 0 110 0 0\n").unwrap();
        assert_eq!(later.busy_s_since(earlier), 2.0);
        assert!((later.steal_share_since(earlier) - 100.0 / 900.0).abs() < 1e-12);
        assert_eq!(HostTime::parse("intr 1 2 3"), None);
        assert_eq!(HostTime::parse("cpu 1 2"), None);
    }
}
