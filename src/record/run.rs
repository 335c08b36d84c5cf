//! The record of one run: what was asked, how and where it was executed, and what became of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::experiment::plan::{Effective, is_default};
use crate::experiment::{ConfigHash, Plan, PlanHash, Trial, TrialId};
use crate::machine::{Environment, EnvironmentClass, GpuClocks};
use crate::planted::Planted;

/// `run.json`, beside the frames of the run. A failed or diverged run is a record too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this format and of the frames; see `record::schema`.
    pub format: u32,
    pub run: RunId,
    /// Experiment and profile that asked for the run. Not part of its identity: another may use it too.
    pub experiment: String,
    pub profile: String,
    pub trial_id: TrialId,
    pub config_hash: ConfigHash,
    pub trial: Trial,
    pub plan_hash: PlanHash,
    pub plan: Plan,
    /// Who executed it, by the digest of its files; absent: pinbench itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Digest>,
    /// Trainings that ran next to it at a time, at most. Its results are those of a run alone; its times are of a machine
    /// that was shared, and compared with nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub beside: u32,
    /// Where it stands among the runs that its times are compared with; absent where nobody planned that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// What the plan came to; absent before format 5 and of a run that did not come to its first end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
    pub environment_class: EnvironmentClass,
    pub environment: Environment,
    /// UTC, RFC 3339.
    pub started: String,
    pub ended: String,
    pub status: Status,
    /// Command that runs the trial again.
    pub command: String,
    /// A fault that was planted to see whether it is found: such a run is never used for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<Planted>,
    /// Absent unless the run finished.
    pub outcome: Option<Outcome>,
    /// SHA-256 of each file beside this one, by name.
    pub files: BTreeMap<String, Digest>,
    /// The trial under which the store has it, where the trial's identity has changed since.
    #[serde(skip)]
    pub stored_as: Option<TrialId>,
}

/// A block is one run of each arm, adjacent in time and in an order drawn from the block's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its number in the sweep, from 0.
    pub block: u64,
    /// From 0.
    pub place: u32,
}

/// Between two runs of a block there is a start, and no more.
const APART: SignedDuration = SignedDuration::from_mins(1);

/// Whether these runs are one block: planned as one, none of them resumed, and each begun as soon as the one before ended.
pub fn are_together(runs: &[&RunRecord]) -> bool {
    let block = |run: &RunRecord| {
        let is_whole = run.outcome.as_ref().is_some_and(|outcome| outcome.resumed.is_empty());
        let (started, ended): (Timestamp, Timestamp) = (run.started.parse().ok()?, run.ended.parse().ok()?);
        run.block.filter(|_| is_whole).map(|block| (started, ended, block))
    };
    let Some(mut times) = runs.iter().map(|run| block(run)).collect::<Option<Vec<_>>>() else { return false };
    times.sort_unstable_by_key(|(started, ..)| *started);
    times.windows(2).all(|pair| {
        let ((_, ended, one), (started, _, other)) = (pair[0], pair[1]);
        // Where each was due alone, all have the first place.
        let is_next = one.block == other.block && one.place < other.place;
        is_next && started.duration_since(ended) <= APART
    })
}

/// UTC time of the start, the process and a count within it, so that names sort by age and never meet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    Finished,
    /// The loss was not finite.
    Diverged {
        step: u64,
        loss: String,
    },
    Failed {
        reason: String,
    },
}

/// What a finished run is remembered by.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// SHA-256 over all weights and buffers before the first step and after the last.
    pub initial_weights: Digest,
    pub final_weights: Digest,
    pub steps: u64,
    /// Sum of the steps.
    pub train_ns: u64,
    /// Sum of all evaluations.
    pub evaluate_ns: u64,
    /// Sum of all diagnostics; absent in runs of format 1, which had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnose_ns: Option<u64>,
    /// With early stopping, the epoch whose weights were kept; from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_epoch: Option<u32>,
    /// From the first step to the last evaluation, diagnostics left out.
    pub wall_ns: u64,
    pub peak_rss_bytes: u64,
    /// Share of the host's processor time other virtual machines took meanwhile; `None` where unknown.
    #[serde(default, with = "crate::number::optional")]
    pub steal_share: Option<f64>,
    /// Seconds of processor time other processes used meanwhile, since it was last resumed, diagnostics and all: over
    /// [`RunRecord::watched_s`]. `None` where unknown.
    #[serde(default, with = "crate::number::optional")]
    pub others_cpu_s: Option<f64>,
    /// How long the two above were counted for; absent in runs from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_ns: Option<u64>,
    /// Steps that were done when the run was taken up again from a checkpoint, once for each time; the record's
    /// environment is that of the last process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<u64>,
    /// Of records that have it, the median time of a fixed computation between epochs. Nothing reads it, and nothing writes it
    /// any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_ns: Option<u64>,
    /// Of the GPU that trained, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_clocks: Option<GpuClocks>,
}

impl RunRecord {
    /// Whether it had the machine to itself, so that its times are those of its plan.
    pub fn is_alone(&self) -> bool {
        self.beside == 0
    }

    /// The trial whose folder of the store it lies in.
    pub fn stored_as(&self) -> TrialId {
        self.stored_as.unwrap_or(self.trial_id)
    }

    /// Seconds over which the outcome's `others_cpu_s` was counted. A run that does not say it was watched from its start to
    /// its end, unless it was resumed: when its last process began is then not known.
    pub fn watched_s(&self) -> Option<f64> {
        let outcome = self.outcome.as_ref()?;
        let from_start_to_end = || {
            let (started, ended): (Timestamp, Timestamp) =
                (self.started.parse().ok()?, self.ended.parse().ok()?);
            outcome.resumed.is_empty().then(|| ended.duration_since(started).as_secs_f64())
        };
        let watched_s = outcome.watched_ns.map(|ns| ns as f64 / 1e9).or_else(from_start_to_end);
        watched_s.filter(|seconds| *seconds > 0.0)
    }
}

impl RunId {
    /// A new id with every call: `20260102T030405.678901Z-4242-0`.
    ///
    /// The process and the count keep two runs apart that start in the same microsecond, or again in it after
    /// the clock was set back.
    pub fn new(started: Timestamp, pid: u32) -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let count = CREATED.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{pid}-{count}", started.strftime("%Y%m%dT%H%M%S.%6fZ")))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Status {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Diverged { .. } => "diverged",
            Self::Failed { .. } => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn run_ids_sort_by_the_time_of_the_start() {
        let times = [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000001Z",
            "2026-01-02T03:04:06Z",
            "2026-11-01T00:00:00Z",
        ];
        let ids = times.map(|time| RunId::new(at(time), 99));
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids[1].0.starts_with("20260102T030405.000001Z-99-"), "{}", ids[1]);
    }

    #[test]
    fn run_ids_never_meet_even_when_the_clock_stands_still() {
        let start = at("2026-01-02T03:04:05Z");
        let mut ids: Vec<_> = (0..1000).map(|_| RunId::new(start, 7)).collect();
        ids.push(RunId::new(start, 8));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1001);
    }
}
