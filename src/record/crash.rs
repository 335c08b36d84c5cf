//! The store on a simulated disk that loses power, is killed, fills up or turns read-only after any
//! operation.

use std::path::Path;
use std::sync::Arc;

use crate::record::simulated::{Failure, SimulatedDisk};
use crate::record::storage::Storage as _;
use crate::record::{Checkpoint, CheckpointKey, Fault, Problem, RunRecord, Store, StoreError, samples};
use crate::row::Diagnostics;
use crate::stream::{Key, Seed, Stream};

fn open(disk: &SimulatedDisk) -> Result<Store, StoreError> {
    Store::open_on(Arc::new(disk.clone()), Path::new("/home/someone/runs"))
}

/// Three runs of two trials.
fn runs() -> [RunRecord; 3] {
    [samples::record(0, "run-a"), samples::record(1, "run-b"), samples::record(0, "run-c")]
}

fn seal(store: &Store, record: &RunRecord) -> Result<RunRecord, StoreError> {
    store.seal(record, &samples::rows(&samples::steps(5), &samples::epochs()))
}

/// What a process does before anything goes wrong: the runs whose `seal` returned, and the error it ended
/// with.
fn work(disk: &SimulatedDisk) -> (Vec<RunRecord>, Option<StoreError>) {
    let mut sealed = Vec::new();
    let mut all = || {
        let store = open(disk)?;
        for run in runs() {
            sealed.push(seal(&store, &run)?);
        }
        Ok(())
    };
    let error = all().err();
    (sealed, error)
}

fn operations_of_undisturbed_work() -> usize {
    let disk = SimulatedDisk::new();
    assert_eq!(work(&disk).0.len(), 3);
    disk.operations()
}

/// Nothing acknowledged is lost, nothing half is seen, and work goes on.
fn check_recovery(disk: &SimulatedDisk, sealed: &[RunRecord], point: &str) {
    let store = open(disk).unwrap();
    let listing = store.records().unwrap();
    assert_eq!(listing.problems, [], "{point}");
    assert!(sealed.iter().all(|run| listing.records.contains(run)), "{point}");
    for record in &listing.records {
        assert_eq!(store.load(record).unwrap().steps, samples::steps(5), "{point}");
    }
    store.clean().unwrap();
    assert_eq!(store.names(&store.staging()).unwrap(), [""; 0], "{point}");
    for run in runs() {
        match seal(&store, &run) {
            Ok(_) => {}
            Err(StoreError::Exists { .. }) => {
                assert!(listing.records.iter().any(|record| record.run == run.run), "{point}");
            }
            Err(error) => panic!("{point}: {error}"),
        }
    }
    let names: Vec<_> = store.records().unwrap().records.into_iter().map(|record| record.run.0).collect();
    assert_eq!(names, ["run-a", "run-b", "run-c"], "{point}");
}

#[test]
fn after_100_power_losses_at_random_points_readers_see_the_old_state_or_the_new() {
    let total = operations_of_undisturbed_work();
    for loss in 0..100 {
        let random = Key::new(Seed(loss), Stream::Order, 0, 0).torch_seed().unsigned_abs();
        let stop = random as usize % (total + 1);
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, Failure::Stopped);
        let (sealed, _) = work(&disk);
        check_recovery(&disk.power_loss(random), &sealed, &format!("loss {loss} after {stop} operations"));
    }
}

#[test]
fn after_a_power_loss_at_every_operation_readers_see_the_old_state_or_the_new() {
    for stop in 0..=operations_of_undisturbed_work() {
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, Failure::Stopped);
        let (sealed, _) = work(&disk);
        for seed in 0..5 {
            check_recovery(&disk.power_loss(seed), &sealed, &format!("seed {seed}, {stop} operations"));
        }
    }
}

/// The layout of stores to format 5, which a newer pinbench goes on with.
#[test]
fn after_a_power_loss_at_every_operation_a_store_without_shards_is_whole_too() {
    let prepared = SimulatedDisk::new();
    let mut folder = std::path::PathBuf::from("/");
    for name in ["home", "someone", "runs"] {
        prepared.create_dir(&folder.join(name)).unwrap();
        prepared.sync_dir(&folder).unwrap();
        folder.push(name);
    }
    prepared.write_new(&folder.join("store.json"), b"{\"format\":5}\n").unwrap();
    prepared.sync_dir(&folder).unwrap();
    let before = prepared.operations();
    let whole = prepared.killed();
    let trial = work(&whole).0[0].trial_id.short();
    assert!(whole.list(&folder.join("trials")).unwrap().contains(&trial));
    for stop in before..=whole.operations() {
        let disk = prepared.killed();
        disk.fail_after(stop, Failure::Stopped);
        let (sealed, _) = work(&disk);
        for seed in 0..5 {
            check_recovery(&disk.power_loss(seed), &sealed, &format!("seed {seed}, {stop} operations"));
        }
    }
}

#[test]
fn a_kill_at_every_operation_leaves_only_a_staging_folder_that_is_found() {
    for stop in 0..operations_of_undisturbed_work() {
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, Failure::Stopped);
        let (sealed, _) = work(&disk);
        let disk = disk.killed();
        let store = open(&disk).unwrap();
        let staged = store.names(&store.staging()).unwrap().len();
        assert!(staged <= 1 && store.abandoned().unwrap().len() == staged, "after {stop} operations");
        check_recovery(&disk, &sealed, &format!("killed after {stop} operations"));
    }
}

#[test]
fn a_power_loss_while_cleaning_costs_no_run() {
    let prepared = SimulatedDisk::new();
    prepared.fail_after(operations_of_undisturbed_work() - 12, Failure::Stopped);
    let (sealed, _) = work(&prepared);
    let prepared = prepared.killed();
    let tidy = |disk: &SimulatedDisk| {
        let store = open(disk)?;
        assert_eq!(store.abandoned()?.len(), 1);
        store.clean()
    };
    let before = prepared.operations();
    let whole = prepared.killed();
    tidy(&whole).unwrap();
    for stop in before..=whole.operations() {
        let disk = prepared.killed();
        disk.fail_after(stop, Failure::Stopped);
        let _ = tidy(&disk);
        for seed in 0..5 {
            check_recovery(&disk.power_loss(seed), &sealed, &format!("seed {seed}, {stop} operations"));
        }
    }
}

#[test]
fn a_power_loss_while_setting_aside_leaves_the_run_in_one_place() {
    let prepared = SimulatedDisk::new();
    let (sealed, _) = work(&prepared);
    let aside = |disk: &SimulatedDisk| {
        let store = open(disk)?;
        let folder = store.run_folder(&sealed[0].trial_id, &sealed[0].run);
        store.set_aside(&Problem::new(&folder, "run.json", Fault::Missing))
    };
    let before = prepared.operations();
    let whole = prepared.killed();
    aside(&whole).unwrap();
    for stop in before..=whole.operations() {
        let disk = prepared.killed();
        disk.fail_after(stop, Failure::Stopped);
        let done = aside(&disk).is_ok();
        for seed in 0..20 {
            let store = open(&disk.power_loss(seed)).unwrap();
            let listing = store.records().unwrap();
            let moved = store.names(&store.damaged()).unwrap().iter().any(|name| name.ends_with("run-a"));
            assert_eq!(listing.records.len(), if moved { 2 } else { 3 }, "seed {seed}, {stop} operations");
            assert!(moved || !done, "seed {seed}, {stop} operations");
            assert_eq!(listing.problems, []);
        }
    }
}

#[test]
fn a_disk_that_fills_up_at_any_operation_is_named_and_nothing_half_stays() {
    for stop in 0..operations_of_undisturbed_work() {
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, Failure::Full);
        let (sealed, error) = work(&disk);
        match error {
            Some(error) => assert!(error.to_string().contains("no space left to write '/home"), "{error}"),
            // What came after needed no space.
            None => assert_eq!(sealed.len(), 3, "{stop}"),
        }
        disk.heal();
        let store = open(&disk).unwrap();
        assert_eq!(store.names(&store.staging()).unwrap(), [""; 0], "after {stop} operations");
        assert!(store.names(store.path()).unwrap().iter().all(|name| !name.starts_with("store.json.")));
        check_recovery(&disk, &sealed, &format!("full after {stop} operations"));
    }
}

#[test]
fn a_disk_that_turns_read_only_is_named_and_can_still_be_read() {
    check_refusal(Failure::ReadOnly, "' is on a read-only file system");
}

#[test]
fn a_right_that_is_missing_is_named_with_the_path_and_the_store_can_still_be_read() {
    check_refusal(Failure::Denied, "no permission to ");
}

fn check_refusal(failure: Failure, expected: &str) {
    for stop in 0..operations_of_undisturbed_work() {
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, failure);
        let (sealed, error) = work(&disk);
        match error {
            Some(error) => assert!(error.to_string().contains(expected), "{error}"),
            // Only a lock's file was left to remove.
            None => assert_eq!(sealed.len(), 3, "{stop}"),
        }
        if let Some(run) = sealed.first() {
            let store = open(&disk).unwrap();
            assert!(store.records().unwrap().records.len() >= sealed.len());
            assert_eq!(store.holder(&run.trial_id, &run.plan_hash).unwrap(), None);
        }
        disk.heal();
        check_recovery(&disk, &sealed, &format!("{failure:?} after {stop} operations"));
    }
}

/// A run with two checkpoints, up to its seal: the step of the last checkpoint that was acknowledged, whether the run
/// was sealed, and whether its checkpoints were removed.
fn checkpointed_work(disk: &SimulatedDisk) -> (Option<u64>, bool, bool) {
    let (mut kept, mut sealed, mut removed) = (None, false, false);
    let mut all = || -> Result<(), StoreError> {
        let store = open(disk)?;
        let run = samples::record(0, "run-a");
        for step in [5, 9] {
            store.keep(&run.run, &checkpoint(step))?;
            kept = Some(step);
        }
        seal(&store, &run)?;
        sealed = true;
        store.remove_checkpoints(&run.trial_id, &run.plan_hash)?;
        removed = true;
        Ok(())
    };
    let _ = all();
    (kept, sealed, removed)
}

fn checkpoint(step: u64) -> Checkpoint {
    let record = samples::record(0, "run-a");
    Checkpoint {
        key: CheckpointKey {
            trial_id: record.trial_id,
            plan_hash: record.plan_hash,
            environment_class: record.environment_class,
            binary: None,
            diagnostics: Diagnostics::On,
        },
        started: record.started,
        step,
        resumed: vec![],
        beside: 0,
        peak_rss_bytes: 0,
        state: vec![7; 4096],
        rows: samples::rows(&samples::steps(step), &samples::epochs()),
    }
}

/// The old checkpoint or the new one, never half of one, and never none once one was acknowledged.
fn check_checkpoint(disk: &SimulatedDisk, (kept, sealed, removed): (Option<u64>, bool, bool), point: &str) {
    let store = open(disk).unwrap();
    let found = store.find_checkpoint(&checkpoint(0).key).unwrap();
    assert_eq!(found.notes, [""; 0], "{point}");
    let step = found.checkpoint.as_ref().map(|found| found.step);
    if let Some(found) = found.checkpoint {
        assert_eq!(found, checkpoint(found.step), "{point}");
    }
    if !sealed {
        assert!(step >= kept, "{point}: {step:?} after {kept:?}");
    }
    assert!(!removed || step.is_none(), "{point}");
    assert_eq!(store.records().unwrap().problems, [], "{point}");
    store.clean().unwrap();
    assert_eq!(store.names(&store.staging()).unwrap(), [""; 0], "{point}");
}

#[test]
fn after_a_power_loss_or_a_kill_at_every_operation_there_is_the_last_checkpoint_or_the_one_before() {
    let whole = SimulatedDisk::new();
    assert_eq!(checkpointed_work(&whole), (Some(9), true, true));
    for stop in 0..=whole.operations() {
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, Failure::Stopped);
        let done = checkpointed_work(&disk);
        check_checkpoint(&disk.killed(), done, &format!("killed after {stop} operations"));
        for seed in 0..5 {
            check_checkpoint(&disk.power_loss(seed), done, &format!("seed {seed}, {stop} operations"));
        }
    }
}

#[test]
fn a_disk_that_fills_up_costs_the_new_checkpoint_and_not_the_old() {
    let whole = SimulatedDisk::new();
    checkpointed_work(&whole);
    for stop in 0..whole.operations() {
        let disk = SimulatedDisk::new();
        disk.fail_after(stop, Failure::Full);
        let done = checkpointed_work(&disk);
        disk.heal();
        check_checkpoint(&disk, done, &format!("full after {stop} operations"));
    }
}
