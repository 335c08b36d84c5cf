//! Stores of several machines into one. By content: what is there already is left, what contradicts is named, every byte is
//! checked against its digest on the way, and nothing is overwritten.
//!
//! A source may be written meanwhile: what is sealed after it was listed comes with the next merge. Checkpoints stay
//! where they are, for they belong to the machine that goes on from them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::record::schema::STEPS_FILE;
use crate::record::second::{Disagreement, Sameness};
use crate::record::staging::{RECORD_FILE, sum_file};
use crate::record::{Contradiction, Problem, RunId, RunRecord, Store, StoreError};

/// What became of the runs of a source.
#[derive(Default, PartialEq, Debug)]
pub struct Merged {
    pub taken: usize,
    /// There already, the same run or another that says the same.
    pub there: usize,
    pub conflicts: Vec<Conflict>,
    /// Runs of the source that cannot be read or are damaged.
    pub problems: Vec<Problem>,
    /// The same of runs that are there, which say nothing about the source's.
    pub own_problems: Vec<Problem>,
}

/// Why a run was left where it is.
#[derive(Clone, PartialEq, Debug)]
pub enum Conflict {
    /// Two runs of one name with other content.
    SameName { run: String, own: String, other: String },
    /// Another result of what has to give the same bits.
    Result(Contradiction),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameName { run, own, other } => {
                write!(
                    f,
                    "run {run} is in '{own}' with other content than in '{other}'; one of them was changed"
                )
            }
            Self::Result(contradiction) => contradiction.fmt(f),
        }
    }
}

/// What a store has, by what a newcomer is compared with.
struct Known {
    by_name: BTreeMap<String, RunRecord>,
    by_content: BTreeMap<Sameness, String>,
}

impl Known {
    fn of(records: Vec<RunRecord>) -> Self {
        let mut known = Self { by_name: BTreeMap::new(), by_content: BTreeMap::new() };
        records.into_iter().for_each(|record| known.add(record));
        known
    }

    fn add(&mut self, record: RunRecord) {
        let name = name(&record);
        if let Some(same) = Sameness::of(&record) {
            self.by_content.entry(same).or_insert_with(|| name.clone());
        }
        self.by_name.insert(name, record);
    }

    /// A run that `record` has to agree with.
    fn like(&self, record: &RunRecord) -> Option<&RunRecord> {
        self.by_name.get(self.by_content.get(&Sameness::of(record)?)?)
    }

    /// What was like it is damaged: the next of its content is the one to agree with.
    fn forget_like(&mut self, record: &RunRecord) {
        if let Some(same) = Sameness::of(record) {
            self.by_content.remove(&same);
        }
    }
}

fn name(record: &RunRecord) -> String {
    format!("{}/{}", record.stored_as().short(), record.run)
}

impl Store {
    /// Takes over the runs of each source in turn.
    pub fn merge(&self, sources: &[Store]) -> Result<Vec<Merged>, StoreError> {
        let mut known = Known::of(self.records()?.records);
        sources.iter().map(|source| self.merge_one(source, &mut known)).collect()
    }

    fn merge_one(&self, source: &Store, known: &mut Known) -> Result<Merged, StoreError> {
        let listing = source.records()?;
        let mut merged = Merged { problems: listing.problems, ..Merged::default() };
        for record in listing.records {
            match self.take_in(source, &record, known, &mut merged.own_problems)? {
                Taken::New => {
                    merged.taken += 1;
                    known.add(record);
                }
                Taken::There => merged.there += 1,
                Taken::Not(conflict) => merged.conflicts.push(conflict),
                Taken::Damaged(problem) => merged.problems.push(problem),
                Taken::OwnDamaged(problem) => merged.own_problems.push(problem),
            }
        }
        Ok(merged)
    }

    fn take_in(
        &self,
        source: &Store,
        record: &RunRecord,
        known: &mut Known,
        own_problems: &mut Vec<Problem>,
    ) -> Result<Taken, StoreError> {
        if let Some(own) = known.by_name.get(&name(record)) {
            return Ok(self.same_name(source, own, record));
        }
        if let Some(own) = known.like(record) {
            match self.agree(own, record, source) {
                // A run alone has times of its own; of one beside others the result is all there is.
                Ok(()) if !record.is_alone() => return Ok(Taken::There),
                Ok(()) => {}
                Err(Disagreement::Contradiction(contradiction)) => {
                    return Ok(Taken::Not(Conflict::Result(contradiction)));
                }
                Err(Disagreement::Unread(problem)) => return Ok(Taken::Damaged(problem)),
                // What is damaged here must not keep a whole run out.
                Err(Disagreement::OwnUnread(problem)) => {
                    own_problems.push(problem);
                    known.forget_like(record);
                }
            }
        }
        let files = match source.whole_run(record) {
            Ok(files) => files,
            Err(problem) => return Ok(Taken::Damaged(problem)),
        };
        self.publish_copy(source, record, &files)
    }

    /// Runs never change, so that one of the same name is the same run or was tampered with; it may have rotted here.
    fn same_name(&self, source: &Store, own: &RunRecord, other: &RunRecord) -> Taken {
        if own == other {
            return self.check(own).map_or_else(Taken::OwnDamaged, |()| Taken::There);
        }
        Taken::Not(Conflict::SameName {
            run: name(other),
            own: self.path().display().to_string(),
            other: source.path().display().to_string(),
        })
    }

    /// Every file of the run as it lies there, each verified.
    fn whole_run(&self, record: &RunRecord) -> Result<Vec<(String, Vec<u8>)>, Problem> {
        let folder = self.folder_of(record);
        let mut files = Vec::new();
        for (file, &digest) in &record.files {
            if self.is_left_out(&folder, file, digest)? {
                files.push((sum_file(STEPS_FILE), self.read(&folder, &sum_file(STEPS_FILE))?));
            } else {
                files.push((file.clone(), self.verified_in(&folder, &record.files, file)?));
            }
        }
        files.push((RECORD_FILE.to_owned(), self.summed(&folder, RECORD_FILE)?));
        files.push((sum_file(RECORD_FILE), self.read(&folder, &sum_file(RECORD_FILE))?));
        Ok(files)
    }

    /// Under a name of its own until it is whole: what a merge leaves that was killed bars no later one.
    fn publish_copy(
        &self,
        source: &Store,
        record: &RunRecord,
        files: &[(String, Vec<u8>)],
    ) -> Result<Taken, StoreError> {
        let mut staging = self.stage(&RunId::new(Timestamp::now(), std::process::id()))?;
        files.iter().try_for_each(|(file, bytes)| staging.write(file, bytes))?;
        staging.concluded()?;
        let Err(error) = staging.publish(&self.trial_folder(&record.stored_as()), &record.run) else {
            return Ok(Taken::New);
        };
        // Another merge may have brought it since this one looked.
        let stored = self.runs_of(&record.stored_as())?;
        match stored.iter().find(|own| own.run == record.run) {
            Some(own) => Ok(self.same_name(source, own, record)),
            // Or its record here is damaged, so that nobody knew of it.
            None => match self.record_in(&self.folder_of(record)) {
                Err(problem) => Ok(Taken::OwnDamaged(problem)),
                Ok(_) => Err(error),
            },
        }
    }
}

enum Taken {
    New,
    There,
    Not(Conflict),
    Damaged(Problem),
    /// The run of its name that is there.
    OwnDamaged(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::record::samples;

    fn store(runs: &[RunRecord]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for record in runs {
            store.seal(record, &samples::rows(&samples::steps(5), &samples::epochs())).unwrap();
        }
        (folder, store)
    }

    /// Beside others, on that machine.
    fn beside(seed: u64, run: &str, host: &str) -> RunRecord {
        let mut record = RunRecord { beside: 1, ..samples::record(seed, run) };
        record.environment.host = Some(host.to_owned());
        record
    }

    fn merge(into: &Store, source: &Store) -> Merged {
        into.merge(std::slice::from_ref(source)).unwrap().remove(0)
    }

    #[test]
    fn runs_of_another_store_are_taken_over_whole_and_only_once() {
        let (_own, into) = store(&[samples::record(0, "run-a")]);
        let (_other, source) = store(&[samples::record(1, "run-b"), samples::record(2, "run-c")]);
        assert_eq!(merge(&into, &source), Merged { taken: 2, ..Merged::default() });
        assert_eq!(merge(&into, &source), Merged { there: 2, ..Merged::default() });
        let listing = into.records().unwrap();
        assert_eq!((listing.records.len(), listing.problems.len()), (3, 0));
        for record in &listing.records {
            assert_eq!(into.check(record), Ok(()));
        }
        assert_eq!(samples::names(&into.staging()).len() + samples::names(&into.locks()).len(), 0);
        let [theirs, ours] = [&source, &into].map(|store| {
            let record = samples::record(1, "run-b");
            std::fs::read(store.folder_of(&record).join(RECORD_FILE)).unwrap()
        });
        assert_eq!(theirs, ours);
    }

    #[test]
    fn an_equal_result_of_a_run_beside_others_is_there_already_and_one_alone_has_times_of_its_own() {
        let (_own, into) = store(&[beside(0, "run-a", "node1")]);
        let (_other, source) = store(&[beside(0, "run-b", "node2"), samples::record(0, "run-c")]);
        assert_eq!(merge(&into, &source), Merged { taken: 1, there: 1, ..Merged::default() });
        assert!(into.runs_of(&samples::trial(0).id()).unwrap().iter().any(|record| record.run.0 == "run-c"));
    }

    #[test]
    fn another_result_is_named_with_both_hosts_and_not_taken() {
        let (_own, into) = store(&[beside(0, "run-a", "node1")]);
        let mut other = beside(0, "run-b", "node2");
        if let Some(outcome) = &mut other.outcome {
            outcome.final_weights = Digest::of(b"other");
        }
        let (_other, source) = store(&[other]);
        let merged = merge(&into, &source);
        let [Conflict::Result(contradiction)] = &merged.conflicts[..] else { panic!("{merged:?}") };
        let text = contradiction.to_string();
        assert!(
            text.contains("'node1'") && text.contains("'node2'") && text.contains("final weights"),
            "{text}"
        );
        assert_eq!(into.records().unwrap().records.len(), 1);
    }

    #[test]
    fn a_run_of_the_same_name_with_other_content_is_a_conflict_and_neither_is_touched() {
        let (_own, into) = store(&[samples::record(0, "run-a")]);
        let changed = RunRecord { command: "something else".to_owned(), ..samples::record(0, "run-a") };
        let (_other, source) = store(&[changed]);
        let merged = merge(&into, &source);
        assert!(matches!(&merged.conflicts[..], [Conflict::SameName { .. }]), "{merged:?}");
        assert_eq!(into.records().unwrap().records[0].command, samples::record(0, "run-a").command);
    }

    #[test]
    fn a_damaged_run_is_named_and_left_where_it_is() {
        let (_own, into) = store(&[]);
        let (_other, source) = store(&[samples::record(1, "run-b"), samples::record(2, "run-c")]);
        samples::flip_a_bit(&source.folder_of(&samples::record(1, "run-b")).join("epochs.parquet"));
        let merged = merge(&into, &source);
        assert_eq!((merged.taken, merged.problems.len()), (1, 1));
        assert!(merged.problems[0].fault.is_damage());
        assert_eq!(into.records().unwrap().records[0].run, RunId("run-c".to_owned()));
    }

    /// The source was blamed, and its whole run left out.
    #[test]
    fn what_is_damaged_in_the_target_is_named_and_keeps_no_whole_run_out() {
        let (_own, into) = store(&[beside(0, "run-a", "node1")]);
        let (_other, source) = store(&[beside(0, "run-b", "node2"), beside(0, "run-c", "node3")]);
        samples::flip_a_bit(&into.folder_of(&samples::record(0, "run-a")).join("epochs.parquet"));
        let merged = merge(&into, &source);
        // The third says what the second says, which is there by now.
        assert_eq!((merged.taken, merged.there, merged.problems.len()), (1, 1, 0), "{merged:?}");
        assert!(merged.own_problems[0].folder.ends_with("run-a"), "{merged:?}");
    }

    /// It was "there already", or ended the merge with an error before the other runs were taken.
    #[test]
    fn a_run_that_is_damaged_in_the_target_under_the_same_name_is_not_there_already() {
        for file in ["epochs.parquet", RECORD_FILE] {
            let (_own, into) = store(&[samples::record(0, "run-a")]);
            let (_other, source) = store(&[samples::record(0, "run-a"), samples::record(1, "run-b")]);
            samples::flip_a_bit(&into.folder_of(&samples::record(0, "run-a")).join(file));
            let merged = merge(&into, &source);
            assert_eq!(
                (merged.taken, merged.there, merged.own_problems.len()),
                (1, 0, 1),
                "{file}: {merged:?}"
            );
            assert!(merged.own_problems[0].fault.is_damage(), "{merged:?}");
        }
    }

    /// A run whose steps were taken away keeps their digest.
    #[test]
    fn a_run_without_its_steps_is_taken_over_as_it_is() {
        let (_own, into) = store(&[]);
        let (_other, source) = store(&[samples::record(1, "run-b")]);
        let folder = source.folder_of(&samples::record(1, "run-b"));
        let digest = Digest::of_file(&folder.join(STEPS_FILE)).unwrap();
        std::fs::write(folder.join(sum_file(STEPS_FILE)), format!("{digest}  {STEPS_FILE}\n")).unwrap();
        std::fs::remove_file(folder.join(STEPS_FILE)).unwrap();
        assert_eq!(merge(&into, &source).taken, 1);
        let record = into.records().unwrap().records.remove(0);
        assert_eq!((into.check(&record), into.load(&record).unwrap().steps.len()), (Ok(()), 0));
    }
}
