//! Many processes, one store: every trial is run once, by whoever claims it first. Needs no libtorch: a run is the kept
//! one of format 1 under another seed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pinbench::experiment::TrialId;
use pinbench::record::{ClaimError, LoadedRun, Rows, RunId, RunRecord, Status, Store};
use pinbench::stream::Seed;

const WRITERS: u32 = 50;
const TRIALS: u64 = 30;
/// Some seconds on two cores, and two minutes beside other builds; a process that waits for something that never comes must not hold up the tests.
const DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(5);

/// Where a child works and the files that start it.
const HOME: &str = "PINBENCH_TEST_HOME";
const NUMBER: &str = "PINBENCH_TEST_NUMBER";

#[test]
fn fifty_processes_that_want_the_same_trials_run_each_of_them_once() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("runs");
    fs::create_dir(home.path().join("ready")).unwrap();
    let started = Instant::now();
    let mut children = Children((0..WRITERS).map(|number| writer(home.path(), number)).collect());
    // None starts before all can: else the first would be done before the last is there.
    let ready = home.path().join("ready");
    wait_for("every process to start", started, || names(&ready).len() == WRITERS as usize);
    fs::write(home.path().join("go"), "").unwrap();
    wait_for("every process to end", started, || children.all_ended());
    check(&Store::open(&path).unwrap());
}

#[test]
#[ignore = "started by fifty_processes_that_want_the_same_trials_run_each_of_them_once"]
fn one_of_fifty_writers() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let number = std::env::var(NUMBER).unwrap();
    let started = Instant::now();
    let kept = kept_run();
    fs::write(home.join("ready").join(number), "").unwrap();
    wait_for("the others", started, || home.join("go").exists());
    // All of them make the store, too: it is not there yet.
    let store = Store::open(&home.join("runs")).unwrap();
    wait_for("every trial to be done", started, || {
        let done = finished(&store);
        for seed in 0..TRIALS {
            let record = record(&kept, seed);
            if !done.contains(&record.trial_id) {
                run_unless_done(&store, &kept, &record);
            }
        }
        done.len() == TRIALS as usize
    });
}

/// Of the processes of a cluster that has no common disk.
const ON_NODES: u32 = 200;
const NODES: u32 = 4;
const RUNS_EACH: u64 = 2;
const MERGE_EVERY: Duration = Duration::from_millis(500);

/// The file that says that so many merges have taken a run.
fn merged_so_far(merges: u64) -> String {
    format!("merged-{merges}")
}

/// A merge reads what others write: it takes what is sealed and leaves the rest for the next.
#[test]
fn two_hundred_processes_on_four_stores_that_are_merged_while_they_write_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let sources: Vec<Store> =
        (0..NODES).map(|node| Store::open(&home.path().join(format!("node{node}"))).unwrap()).collect();
    let all = Store::open(&home.path().join("all")).unwrap();
    let (started, mut under_way) = (Instant::now(), 0);
    let mut children =
        Children((0..ON_NODES).map(|number| process("one_of_two_hundred", home.path(), number)).collect());
    while !children.all_ended() {
        assert!(started.elapsed() < DEADLINE, "the writers do not end");
        let merged = all.merge(&sources).unwrap();
        assert!(merged.iter().all(|merged| merged.conflicts.is_empty() && merged.problems.is_empty()));
        if merged.iter().any(|merged| merged.taken > 0) {
            under_way += 1;
            std::fs::write(home.path().join(merged_so_far(under_way)), "").unwrap();
        }
        // Each merge reads what there is: without a pause they take the processor from the writers.
        thread::sleep(MERGE_EVERY);
    }
    all.merge(&sources).unwrap();
    let listing = all.records().unwrap();
    assert_eq!(listing.problems, []);
    assert_eq!(listing.records.len() as u64, u64::from(ON_NODES) * RUNS_EACH);
    assert_eq!(finished(&all).len(), listing.records.len());
    let kept = kept_run();
    for record in &listing.records {
        let loaded = all.load(record).unwrap();
        assert_eq!((&loaded.steps, &loaded.epochs), (&kept.steps, &kept.epochs));
    }
    // A merge again brings nothing.
    let merged = all.merge(&sources).unwrap();
    let there: usize = merged.iter().map(|merged| merged.there).sum();
    assert_eq!((merged.iter().map(|merged| merged.taken).sum::<usize>(), there), (0, listing.records.len()));
    assert_eq!(names(&all.path().join("staging")), [""; 0]);
    assert!(under_way >= RUNS_EACH, "only {under_way} merges met a writer");
}

#[test]
#[ignore = "started by two_hundred_processes_on_four_stores_that_are_merged_while_they_write_lose_nothing"]
fn one_of_two_hundred() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let number: u32 = std::env::var(NUMBER).unwrap().parse().unwrap();
    let kept = kept_run();
    let store = Store::open(&home.join(format!("node{}", number % NODES))).unwrap();
    let rows = Rows { steps: kept.steps.clone(), epochs: kept.epochs.clone(), ..Rows::default() };
    for run in 0..RUNS_EACH {
        // Writers that were done before a second merge would show nothing, so that each waits for one between its runs.
        while run > 0 && !home.join(merged_so_far(run)).exists() {
            thread::sleep(MERGE_EVERY);
        }
        store.seal(&record(&kept, u64::from(number) * RUNS_EACH + run), &rows).unwrap();
    }
}

/// What a process does for one trial: claim it, and look again, because whoever had it may have finished it since.
fn run_unless_done(store: &Store, kept: &LoadedRun, record: &RunRecord) {
    let _claim = match store.claim(&record.trial_id, &record.plan_hash) {
        Ok(claim) => claim,
        Err(ClaimError::Busy { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    if finished(store).contains(&record.trial_id) {
        return;
    }
    let rows = Rows { steps: kept.steps.clone(), epochs: kept.epochs.clone(), ..Rows::default() };
    store.seal(record, &rows).unwrap();
}

/// The trials that have a finished run. A process that looks while others write sees no half of anything.
fn finished(store: &Store) -> BTreeSet<TrialId> {
    let listing = store.records().unwrap();
    assert_eq!(listing.problems, []);
    let done = listing.records.iter().filter(|record| record.status == Status::Finished);
    done.map(|record| record.trial_id).collect()
}

/// The run of format 1 that the tests keep.
fn kept_run() -> LoadedRun {
    let store = Store::open(Path::new("tests/data/store-format-1")).unwrap();
    let listing = store.records().unwrap();
    store.load(&listing.records[0]).unwrap()
}

/// The record of a run of this process, of the trial with this seed.
fn record(kept: &LoadedRun, seed: u64) -> RunRecord {
    let mut record = kept.record.clone();
    record.run = RunId::new(Timestamp::now(), std::process::id());
    record.trial.seed = Seed(seed);
    record.trial_id = record.trial.id();
    record
}

/// Every trial once, whole, and nothing left that a process did not finish.
fn check(store: &Store) {
    let kept = kept_run();
    let listing = store.records().unwrap();
    assert_eq!(listing.problems, []);
    let expected: BTreeSet<TrialId> = (0..TRIALS).map(|seed| record(&kept, seed).trial_id).collect();
    assert_eq!(finished(store), expected);
    let runs: Vec<String> = listing.records.iter().map(|record| record.run.to_string()).collect();
    assert_eq!(runs.len(), TRIALS as usize, "a trial was run twice: {runs:?}");
    for record in &listing.records {
        assert_eq!(store.check(record), Ok(()));
        let loaded = store.load(record).unwrap();
        assert_eq!((&loaded.steps, &loaded.epochs), (&kept.steps, &kept.epochs));
    }
    assert_eq!(store.abandoned().unwrap(), []);
    assert_eq!(names(&store.path().join("staging")), [""; 0]);
    assert_eq!(names(store.path()), ["locks", "staging", "store.json", "trials"]);
    // Locks of trials stay, locks of staging folders go with them.
    let folder = store.path().join("locks");
    let locks: Vec<String> = names(&folder).iter().flat_map(|shard| names(&folder.join(shard))).collect();
    assert!(
        locks.len() == TRIALS as usize && locks.iter().all(|lock| !lock.starts_with("run-")),
        "{locks:?}"
    );
    // <time>-<process>-<count>: whether there was anything to fight over.
    let writers: BTreeSet<&str> = runs.iter().filter_map(|run| run.rsplit('-').nth(1)).collect();
    assert!(writers.len() > 1, "one process ran all trials: {runs:?}");
}

fn writer(home: &Path, number: u32) -> Child {
    process("one_of_fifty_writers", home, number)
}

/// This test program again, as one of the writers.
fn process(test: &str, home: &Path, number: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(HOME, home)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Ended with this, whatever happens.
struct Children(Vec<Child>);

impl Children {
    /// Whether all have ended, and well.
    fn all_ended(&mut self) -> bool {
        let mut ended = 0;
        for child in &mut self.0 {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "a writer failed: {status}");
                ended += 1;
            }
        }
        ended == self.0.len()
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that is gone cannot be killed, and needs not be.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_for(what: &str, started: Instant, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "still waiting for {what} after {DEADLINE:?}");
        thread::sleep(POLL);
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort_unstable();
    names
}
