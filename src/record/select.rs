//! Picking runs: the one that stands for a trial, and what has become of a trial so far.

use crate::experiment::{PlanHash, TrialId};
use crate::machine::EnvironmentClass;
use crate::record::claim::Holder;
use crate::record::{RunRecord, Status};

/// What has to be equal for one run to stand in for another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub trial: TrialId,
    pub plan: PlanHash,
    /// `None` takes any: for readers on another machine than the one that ran.
    pub class: Option<EnvironmentClass>,
    /// Whether it must have had the machine to itself: for who needs its times.
    pub alone: bool,
}

/// Where a trial stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Standing<'a> {
    /// There is a finished run; the newest.
    Done(&'a RunRecord),
    /// The newest run that came to an end of its own diverged. That is a result: a rerun would only repeat
    /// it.
    Diverged(&'a RunRecord),
    Running(Holder),
    /// So many runs failed, and none did better; the reason is the newest one's.
    Failed {
        runs: usize,
        reason: &'a str,
    },
    Missing,
}

impl Wanted {
    pub fn matches(&self, record: &RunRecord) -> bool {
        let class = self.class.as_ref().is_none_or(|class| *class == record.environment_class);
        let is_same = record.trial_id == self.trial && record.plan_hash == self.plan && class;
        let is_alone = record.is_alone() || !self.alone;
        is_same && is_alone && record.planted.is_none() && record.program.is_none()
    }

    /// The newest finished run. `records` are in the order of a `Listing`.
    pub fn finished<'a>(
        &self,
        records: impl IntoIterator<IntoIter = impl DoubleEndedIterator<Item = &'a RunRecord>>,
    ) -> Option<&'a RunRecord> {
        let finished = |record: &&RunRecord| record.status == Status::Finished;
        self.newest_first(records).find(finished)
    }

    /// `holder` is who has the claim on the trial, if anybody.
    pub fn standing<'a>(
        &self,
        records: impl IntoIterator<IntoIter = impl DoubleEndedIterator<Item = &'a RunRecord>>,
        holder: Option<Holder>,
    ) -> Standing<'a> {
        let mut failures = Vec::new();
        for record in self.newest_first(records) {
            match &record.status {
                Status::Finished => return Standing::Done(record),
                Status::Diverged { .. } => return Standing::Diverged(record),
                Status::Failed { reason } => failures.push(reason.as_str()),
            }
        }
        match (holder, failures.first()) {
            (Some(holder), _) => Standing::Running(holder),
            (None, Some(reason)) => Standing::Failed { runs: failures.len(), reason },
            (None, None) => Standing::Missing,
        }
    }

    fn newest_first<'a>(
        &self,
        records: impl IntoIterator<IntoIter = impl DoubleEndedIterator<Item = &'a RunRecord>>,
    ) -> impl Iterator<Item = &'a RunRecord> {
        records.into_iter().rev().filter(|record| self.matches(record))
    }
}

impl Standing<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Diverged(_) => "diverged",
            Self::Running(_) => "running",
            Self::Failed { .. } => "failed",
            Self::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Environment;
    use crate::record::samples;

    fn failed(run: &str, reason: &str) -> RunRecord {
        let status = Status::Failed { reason: reason.to_owned() };
        RunRecord { status, outcome: None, ..samples::record(0, run) }
    }

    fn diverged(run: &str) -> RunRecord {
        let status = Status::Diverged { step: 7, loss: "NaN".to_owned() };
        RunRecord { status, outcome: None, ..samples::record(0, run) }
    }

    fn wanted() -> Wanted {
        let record = samples::record(0, "run");
        let class = Some(record.environment_class);
        Wanted { trial: record.trial_id, plan: record.plan_hash, class, alone: true }
    }

    #[test]
    fn the_newest_finished_run_is_taken() {
        let records = [samples::record(0, "a"), samples::record(0, "b"), failed("c", "killed")];
        assert_eq!(wanted().finished(&records).unwrap().run.0, "b");
        assert_eq!(wanted().standing(&records, None), Standing::Done(&records[1]));
        assert_eq!(wanted().finished(&records[2..]), None);
    }

    #[test]
    fn another_trial_plan_or_environment_does_not_stand_in() {
        let mut other_plan = samples::record(0, "b");
        other_plan.plan.threads = 1;
        other_plan.plan_hash = other_plan.plan.hash();
        let mut other_class = samples::record(0, "c");
        other_class.environment_class = Environment { cores: 64, ..samples::environment() }.class();
        let records = [samples::record(1, "a"), other_plan, other_class];
        assert_eq!(wanted().finished(&records), None);
        assert_eq!(wanted().standing(&records, None), Standing::Missing);
        let anywhere = Wanted { class: None, ..wanted() };
        assert_eq!(anywhere.finished(&records).unwrap().run.0, "c");
    }

    #[test]
    fn a_run_beside_others_is_done_for_results_and_not_for_times() {
        let beside = [RunRecord { beside: 3, ..samples::record(0, "a") }];
        assert_eq!(wanted().standing(&beside, None), Standing::Missing);
        let for_results = Wanted { alone: false, ..wanted() };
        assert_eq!(for_results.standing(&beside, None), Standing::Done(&beside[0]));
        assert_eq!(for_results.standing(&[samples::record(0, "b")], None).name(), "done");
    }

    #[test]
    fn failures_are_counted_and_the_newest_gives_the_reason() {
        let records = [failed("a", "no space"), failed("b", "killed by signal 9")];
        let standing = wanted().standing(&records, None);
        assert_eq!(standing, Standing::Failed { runs: 2, reason: "killed by signal 9" });
    }

    #[test]
    fn a_claimed_trial_runs_unless_it_has_a_result_already() {
        let holder = Holder { pid: 7, since: "2026-01-02T03:04:05Z".to_owned() };
        let standing = |records: &[RunRecord]| wanted().standing(records, Some(holder.clone())).name();
        assert_eq!(standing(&[]), "running");
        assert_eq!(standing(&[failed("a", "killed")]), "running");
        assert_eq!(standing(&[samples::record(0, "a")]), "done");
        assert_eq!(standing(&[failed("a", "killed"), diverged("b"), failed("c", "killed")]), "diverged");
    }
}
