//! A second run of what has been run: of the same trial, plan, program and machine class, which must give the same bits.
//!
//! Where no lock is shared, as between the nodes of a cluster, two processes may run one trial. That is no harm when they
//! agree, and news when they do not.

use crate::digest::Digest;
use crate::experiment::{PlanHash, TrialId};
use crate::machine::EnvironmentClass;
use crate::record::{LoadedRun, Problem, RunRecord, Status, Store, StoreError};
use crate::row::ChainRow;

/// What has to be equal for two runs to have to agree.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sameness {
    trial: TrialId,
    plan: PlanHash,
    program: Option<Digest>,
    class: EnvironmentClass,
}

/// Of two runs that should be one.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error(
    "run {first} on {first_host} and run {second} on {second_host} are of the same trial, plan and machine class and differ: \
     {what}; `pinbench diff` compares them where both are in one store; doubt the machine that `pinbench verify` does not bear \
     out"
)]
pub struct Contradiction {
    pub first: String,
    pub first_host: String,
    pub second: String,
    pub second_host: String,
    pub what: String,
}

impl Sameness {
    /// `None` of a run that says nothing about its trial: one that failed, or that had a fault planted.
    pub fn of(record: &RunRecord) -> Option<Self> {
        let has_end = !matches!(record.status, Status::Failed { .. }) && record.planted.is_none();
        has_end.then(|| Self {
            trial: record.trial_id,
            plan: record.plan_hash,
            program: record.program,
            class: record.environment_class.clone(),
        })
    }
}

impl Store {
    /// The runs in the folder of one trial, without looking at the others: what a task of many asks for.
    pub fn runs_of(&self, trial: &TrialId) -> Result<Vec<RunRecord>, StoreError> {
        let folder = self.trial_folder(trial);
        let read = |name: String| self.record_in(&folder.join(name)).ok().flatten();
        Ok(self.names(&folder)?.into_iter().filter(|name| !name.starts_with('.')).filter_map(read).collect())
    }

    /// The whole run that came to an end before `record` and has to agree with it; what is damaged has nothing to say.
    pub fn earlier(&self, record: &RunRecord) -> Result<Option<LoadedRun>, StoreError> {
        let Some(same) = Sameness::of(record) else { return Ok(None) };
        let is_same =
            |other: &RunRecord| other.run != record.run && Sameness::of(other).as_ref() == Some(&same);
        let found = self.runs_of(&record.trial_id)?.into_iter().filter(is_same);
        Ok(found.filter_map(|other| self.load(&other).ok()).next())
    }

    /// Whether two stored runs that have to agree do; reads the chain of both only where their weights do.
    pub(super) fn agree(
        &self,
        own: &RunRecord,
        other: &RunRecord,
        theirs: &Store,
    ) -> Result<(), Disagreement> {
        let what = match difference(own, other, None) {
            None => {
                let own = self.load(own).map_err(Disagreement::OwnUnread)?;
                let other = theirs.load(other).map_err(Disagreement::Unread)?;
                difference(&own.record, &other.record, Some((&own.chain, &other.chain)))
            }
            what => what,
        };
        what.map_or(Ok(()), |what| Err(contradiction(own, other, what).into()))
    }
}

/// Why two stored runs are not one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Disagreement {
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// The one that is here cannot be read.
    #[error(transparent)]
    OwnUnread(Problem),
    /// The other one cannot.
    #[error(transparent)]
    Unread(Problem),
}

/// Whether a run that is about to be sealed says what the stored one says.
pub fn compare(stored: &LoadedRun, record: &RunRecord, chain: &[ChainRow]) -> Result<(), Contradiction> {
    match difference(&stored.record, record, Some((&stored.chain, chain))) {
        None => Ok(()),
        Some(what) => Err(contradiction(&stored.record, record, what)),
    }
}

fn difference(
    one: &RunRecord,
    other: &RunRecord,
    chains: Option<(&[ChainRow], &[ChainRow])>,
) -> Option<String> {
    let weights = |record: &RunRecord| record.outcome.as_ref().map(|outcome| outcome.final_weights);
    if one.status.name() != other.status.name() {
        return Some(format!("one {}, the other {}", one.status.name(), other.status.name()));
    }
    if let (Some(one), Some(other)) = (weights(one), weights(other))
        && one != other
    {
        return Some(format!("final weights {} and {}", one.short(), other.short()));
    }
    let (one, other) = chains?;
    // Runs from before there was a chain have none to compare.
    if one.is_empty() || other.is_empty() || one == other {
        return None;
    }
    let parting = one.iter().zip(other).position(|(one, other)| one != other);
    let at = parting.map_or("in length".to_owned(), |row| format!("from step {}", one[row].step));
    Some(format!("the chains of their steps {at}"))
}

fn contradiction(first: &RunRecord, second: &RunRecord, what: String) -> Contradiction {
    let host = |record: &RunRecord| {
        record
            .environment
            .host
            .as_ref()
            .map_or("a machine without a name".to_owned(), |host| format!("'{host}'"))
    };
    Contradiction {
        first: first.run.to_string(),
        first_host: host(first),
        second: second.run.to_string(),
        second_host: host(second),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    fn on(host: &str, run: &str) -> RunRecord {
        let mut record = samples::record(0, run);
        record.environment.host = Some(host.to_owned());
        record
    }

    fn stored(record: &RunRecord) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let rows = crate::record::Rows { chain: samples::chain(), ..Default::default() };
        store.seal(record, &rows).unwrap();
        (folder, store)
    }

    #[test]
    fn a_second_run_that_says_the_same_agrees() {
        let (_folder, store) = stored(&on("node1", "run-a"));
        let second = on("node2", "run-b");
        let earlier = store.earlier(&second).unwrap().unwrap();
        assert_eq!(compare(&earlier, &second, &samples::chain()), Ok(()));
    }

    #[test]
    fn one_that_differs_names_both_hosts_and_what_differs() {
        let (_folder, store) = stored(&on("node1", "run-a"));
        let mut second = on("node2", "run-b");
        let earlier = store.earlier(&second).unwrap().unwrap();
        let mut chain = samples::chain();
        chain[1].hash ^= 1;
        let error = compare(&earlier, &second, &chain).unwrap_err().to_string();
        for part in ["run-a on 'node1'", "run-b on 'node2'", &format!("from step {}", chain[1].step)] {
            assert!(error.contains(part), "{part}: {error}");
        }
        if let Some(outcome) = &mut second.outcome {
            outcome.final_weights = Digest::of(b"other weights");
        }
        let error = compare(&earlier, &second, &samples::chain()).unwrap_err().to_string();
        assert!(error.contains("final weights"), "{error}");
    }

    #[test]
    fn another_class_another_plan_and_a_failed_run_have_nothing_to_agree_with() {
        let (_folder, store) = stored(&on("node1", "run-a"));
        let mut other = on("node2", "run-b");
        other.environment.cores = 64;
        other.environment_class = other.environment.class();
        assert!(store.earlier(&other).unwrap().is_none());
        let failed =
            RunRecord { status: Status::Failed { reason: "killed".to_owned() }, ..on("node2", "run-b") };
        assert!(store.earlier(&failed).unwrap().is_none());
    }
}
