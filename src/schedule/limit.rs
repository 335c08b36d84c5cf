//! When a cluster's scheduler ends this job: read from the clock, for a signal does not say why it came.

use std::time::Duration;

use jiff::Timestamp;

/// What a checkpoint and the end of two processes are given at most.
const ROOM: Duration = Duration::from_mins(1);

/// The end of the job this process is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit(Timestamp);

impl Limit {
    /// As Slurm says it in the environment of a job; `None` elsewhere, and under versions that do not say it.
    pub fn of_this_job() -> Option<Self> {
        Self::parse(&std::env::var("SLURM_JOB_END_TIME").ok()?)
    }

    /// Seconds since 1970.
    fn parse(text: &str) -> Option<Self> {
        Some(Self(Timestamp::from_second(text.trim().parse().ok()?).ok()?))
    }

    /// None once it has passed.
    pub fn left(self, now: Timestamp) -> Duration {
        Duration::try_from(self.0.duration_since(now)).unwrap_or_default()
    }

    /// How long to go on for before stopping by oneself, should no signal come: a short job still gets half of its time.
    pub fn work(self, now: Timestamp) -> Duration {
        let left = self.left(now);
        left - ROOM.min(left / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_a_minute_before_the_job_and_of_a_short_one_at_half_of_it() {
        let (limit, at) = (Limit::parse("1000600\n").unwrap(), |s| Timestamp::from_second(s).unwrap());
        let seconds = Duration::from_secs;
        assert_eq!((limit.left(at(1_000_000)), limit.work(at(1_000_000))), (seconds(600), seconds(540)));
        assert_eq!(limit.work(at(1_000_560)), seconds(20));
        assert_eq!((limit.left(at(1_000_601)), limit.work(at(1_000_601))), (seconds(0), seconds(0)));
        assert_eq!(Limit::parse("NONE"), None);
    }
}
