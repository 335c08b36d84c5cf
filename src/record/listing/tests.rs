use super::*;
use crate::record::schema::FORMAT;
use crate::record::{StoreError, samples};

const SUM_FILE: &str = "run.json.sha256";
const FILES: [&str; 7] =
    [RECORD_FILE, SUM_FILE, STEPS_FILE, EPOCHS_FILE, CONFUSION_FILE, DIAGNOSTICS_FILE, CHAIN_FILE];

/// A store with runs of these names, and the folder of the first.
fn store(runs: &[&str]) -> (tempfile::TempDir, Store, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for (seed, run) in runs.iter().enumerate() {
        let record = samples::record(seed as u64, run);
        store.seal(&record, &samples::rows(&samples::steps(50), &samples::epochs())).unwrap();
    }
    let first = samples::record(0, runs[0]);
    let first = store.run_folder(&first.trial_id, &first.run);
    (folder, store, first)
}

/// The one problem of the store, by listing or else by loading what is listed.
fn only_problem(store: &Store) -> Problem {
    let Listing { records, mut problems } = store.records().unwrap();
    problems.extend(records.iter().filter_map(|record| store.load(record).err()));
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

/// Replaces run.json and its sum by a record that says something else.
fn rewrite(folder: &Path, change: impl FnOnce(&str) -> String) {
    let text = change(&std::fs::read_to_string(folder.join(RECORD_FILE)).unwrap());
    std::fs::write(folder.join(RECORD_FILE), &text).unwrap();
    let sum = format!("{}  {RECORD_FILE}\n", Digest::of(text.as_bytes()));
    std::fs::write(folder.join(SUM_FILE), sum).unwrap();
}

/// The golden store of format 1, which had neither confusion matrices nor diagnostics: it stays for ever.
#[test]
fn a_run_of_format_1_is_read_and_has_no_rows_of_what_came_later() {
    let store = Store::open(Path::new("tests/data/store-format-1")).unwrap();
    let Listing { records, problems } = store.records().unwrap();
    assert_eq!((records.len(), &problems[..]), (1, &[][..]));
    let run = store.load(&records[0]).unwrap();
    assert_eq!((run.record.format, run.record.trial_id), (1, run.record.trial.id()));
    assert_eq!((run.steps.len(), run.epochs.len()), (4, 7));
    assert_eq!((run.confusion, run.diagnostics), (vec![], vec![]));
    assert_eq!(run.record.outcome.unwrap().diagnose_ns, None);
}

/// The golden store of format 3, whose steps have no times of a device: it stays for ever.
#[test]
fn a_run_of_format_3_is_read_whole() {
    let store = Store::open(Path::new("tests/data/store-format-3")).unwrap();
    let Listing { records, problems } = store.records().unwrap();
    assert_eq!((records.len(), &problems[..]), (1, &[][..]));
    let run = store.load(&records[0]).unwrap();
    let record = &records[0];
    assert_eq!((record.format, record.trial_id), (3, record.trial.id()));
    assert_eq!((record.config_hash, record.plan_hash), (record.trial.config.hash(), record.plan.hash()));
    assert_eq!(run.steps.len(), 64);
    assert!(run.steps.iter().all(|step| step.device.is_none() && step.times.total_ns > 0));
    assert!(!run.confusion.is_empty() && !run.chain.is_empty());
}

/// Of old runs the plan said how many trained at a time and of how many images a pass was. The first is a fact of the run,
/// the second a part of the config, so that the run is another trial now: it stays in the folder where it was sealed.
#[test]
fn a_run_of_an_older_format_with_micro_batches_beside_others_is_found_as_the_trial_it_is_now() {
    let (_folder, store, run) = store(&["run-a"]);
    rewrite(&run, |text| {
        let text = text.replace(&format!("\"format\": {FORMAT}"), "\"format\": 4");
        text.replacen("\"huge_pages\":", "\"jobs\": 4, \"micro_batch\": 16, \"huge_pages\":", 1)
    });
    let Listing { records, problems } = store.records().unwrap();
    assert_eq!((records.len(), &problems[..]), (1, &[][..]));
    let (record, before) = (&records[0], samples::record(0, "run-a"));
    assert_eq!((record.beside, record.trial.config.train.micro_batch), (3, Some(16)));
    assert_eq!((record.plan_hash, &record.plan), (before.plan_hash, &before.plan));
    assert_eq!((record.trial_id, record.stored_as()), (record.trial.id(), before.trial_id));
    assert_ne!(record.trial_id, before.trial_id);
    assert_eq!(record.config_hash, record.trial.config.hash());
    assert_eq!(store.load(record).unwrap().steps.len(), 50);
}

#[test]
fn a_run_without_the_rows_of_its_steps_is_whole_while_their_digest_is_there() {
    let (_folder, store, run) = store(&["run-a"]);
    let sum = run.join(sum_file(STEPS_FILE));
    let digest = Digest::of_file(&run.join(STEPS_FILE)).unwrap();
    std::fs::write(&sum, format!("{digest}  {STEPS_FILE}\n")).unwrap();
    std::fs::remove_file(run.join(STEPS_FILE)).unwrap();
    let Listing { records, problems } = store.records().unwrap();
    assert_eq!(problems, []);
    assert_eq!(store.check(&records[0]), Ok(()));
    let loaded = store.load(&records[0]).unwrap();
    assert_eq!((loaded.steps.len(), loaded.epochs), (0, samples::epochs()));
    std::fs::write(&sum, format!("{}  {STEPS_FILE}\n", Digest::of(b"others"))).unwrap();
    assert!(matches!(only_problem(&store).fault, Fault::Digest { .. }));
    std::fs::remove_file(&sum).unwrap();
    assert_eq!(only_problem(&store).fault, Fault::Missing);
}

/// The golden store of format 4, whose records do not say what a plan came to: it stays for ever.
#[test]
fn a_run_of_format_4_is_read_whole() {
    let store = Store::open(Path::new("tests/data/store-format-4")).unwrap();
    let Listing { records, problems } = store.records().unwrap();
    assert_eq!((records.len(), &problems[..]), (1, &[][..]));
    let run = store.load(&records[0]).unwrap();
    let record = &records[0];
    assert_eq!((record.format, record.trial_id, &record.effective), (4, record.trial.id(), &None));
    assert_eq!((run.steps.len(), run.epochs.len()), (16, 7));
}

#[test]
fn a_run_that_is_read_whole_is_a_problem_where_its_rows_are_damaged() {
    let (_folder, store, first) = store(&["run-a", "run-b"]);
    samples::flip_a_bit(&first.join(STEPS_FILE));
    let listed = || store.records().unwrap();
    assert_eq!(store.whole(listed(), |_| false), listed());
    let Listing { records, problems } = store.whole(listed(), |_| true);
    assert_eq!((records.len(), records[0].run.0.as_str(), problems.len()), (1, "run-b", 1));
    assert!(problems[0].is_of(&samples::record(0, "run-a").trial_id), "{problems:?}");
    assert!(!problems[0].is_of(&records[0].trial_id));
}

#[test]
fn a_flipped_bit_in_any_file_is_found_and_costs_only_that_run() {
    for file in FILES {
        let (_folder, store, run) = store(&["run-a", "run-b"]);
        samples::flip_a_bit(&run.join(file));
        let problem = only_problem(&store);
        assert!(problem.fault.is_damage(), "{problem}");
        let named = problem.to_string();
        assert!(named.contains("expected") && named.contains("found") && named.contains("rerun"), "{named}");
        assert!(named.contains(file) || file == SUM_FILE, "{named}");
    }
}

#[test]
fn every_bit_of_the_record_counts() {
    let (_folder, store, run) = store(&["run-a"]);
    let whole = std::fs::read(run.join(RECORD_FILE)).unwrap();
    for position in (0..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        std::fs::write(run.join(RECORD_FILE), bytes).unwrap();
        assert!(matches!(only_problem(&store).fault, Fault::Digest { .. }), "byte {position}");
    }
}

#[test]
fn a_file_that_is_cut_short_or_empty_is_found() {
    for (file, share) in FILES.iter().flat_map(|&file| [(file, 2), (file, usize::MAX)]) {
        let (_folder, store, run) = store(&["run-a"]);
        let bytes = std::fs::read(run.join(file)).unwrap();
        std::fs::write(run.join(file), &bytes[..bytes.len() / share]).unwrap();
        assert!(only_problem(&store).fault.is_damage());
    }
}

#[test]
fn a_missing_file_is_named_by_the_listing_itself() {
    for file in FILES {
        let (_folder, store, run) = store(&["run-a"]);
        std::fs::remove_file(run.join(file)).unwrap();
        let listing = store.records().unwrap();
        assert_eq!(listing.records, []);
        assert_eq!(listing.problems, [Problem::new(&run, file, Fault::Missing)]);
    }
}

#[test]
fn a_newer_record_is_skipped_with_both_formats_and_not_called_damaged() {
    let (_folder, store, run) = store(&["run-a"]);
    rewrite(&run, |text| {
        text.replace(&format!("\"format\": {FORMAT}"), "\"format\": 7, \"from_the_future\": true")
    });
    let problem = only_problem(&store);
    let text = problem.to_string();
    assert!(
        text.contains("format 7") && text.contains(&format!("format {FORMAT}")) && text.contains("update"),
        "{text}"
    );
    assert!(matches!(store.set_aside(&problem), Err(StoreError::NotDamaged(_))));
    assert!(run.join(RECORD_FILE).exists());
}

#[test]
fn a_record_that_is_not_one_is_refused_with_the_reason() {
    for (text, reason) in [("{", "EOF"), ("{\"format\":1}", "missing field"), ("[1]", "invalid length")] {
        let (_folder, store, run) = store(&["run-a"]);
        rewrite(&run, |_| text.to_owned());
        let problem = only_problem(&store).to_string();
        assert!(problem.contains("is not a run record") && problem.contains(reason), "{problem}");
    }
    let (_folder, store, run) = store(&["run-a"]);
    rewrite(&run, |text| text.replacen('{', "{\"surprise\": 1,", 1));
    assert!(only_problem(&store).to_string().contains("unknown field `surprise`"));
}

#[test]
fn a_copied_run_is_not_counted_twice() {
    let (_folder, store, run) = store(&["run-a"]);
    let copy = run.with_file_name("run-b");
    std::fs::create_dir(&copy).unwrap();
    for file in FILES {
        std::fs::copy(run.join(file), copy.join(file)).unwrap();
    }
    let listing = store.records().unwrap();
    assert_eq!((listing.records.len(), listing.problems.len()), (1, 1));
    assert!(listing.problems[0].to_string().contains("belongs elsewhere"), "{}", listing.problems[0]);
}

#[test]
fn frames_under_the_right_digest_with_the_wrong_columns_are_refused() {
    let (_folder, store, run) = store(&["run-a"]);
    let epochs = std::fs::read(run.join(EPOCHS_FILE)).unwrap();
    let digest = |file| Digest::of_file(&run.join(file)).unwrap().to_string();
    rewrite(&run, |text| text.replace(&digest(STEPS_FILE), &digest(EPOCHS_FILE)));
    std::fs::write(run.join(STEPS_FILE), epochs).unwrap();
    let problem = only_problem(&store).to_string();
    assert!(
        problem.contains("steps.parquet' does not hold the rows") && problem.contains("wall_ns"),
        "{problem}"
    );
}

#[test]
fn what_is_no_run_is_a_problem_and_hidden_files_are_not() {
    let (_folder, store, run) = store(&["run-a"]);
    let trial = run.parent().unwrap();
    std::fs::write(trial.join("notes.txt"), "x").unwrap();
    std::fs::write(store.trials().join("more.txt"), "x").unwrap();
    std::fs::write(trial.join(".DS_Store"), "x").unwrap();
    std::fs::create_dir_all(store.trials().join("01/0123456789ab")).unwrap();
    let listing = store.records().unwrap();
    let mut expected = [trial.join("notes.txt"), store.trials().join("more.txt")];
    expected.sort();
    assert_eq!(listing.records.len(), 1);
    assert!(listing.problems.iter().all(|problem| problem.fault == Fault::NotARun));
    assert!(listing.problems.iter().map(|problem| &problem.folder).eq(&expected));
}

#[test]
fn the_order_is_by_run_whatever_the_order_of_sealing() {
    let (_folder, store, _) = store(&["run-c", "run-a", "run-b"]);
    let listing = store.records().unwrap();
    let names: Vec<_> = listing.records.iter().map(|record| record.run.0.as_str()).collect();
    assert_eq!(names, ["run-a", "run-b", "run-c"]);
    assert_eq!(store.records().unwrap(), listing);
}

#[test]
fn a_damaged_run_is_set_aside_with_its_reason_and_can_be_made_again() {
    let (_folder, store, run) = store(&["run-a", "run-b"]);
    for round in ["", "-2"] {
        samples::flip_a_bit(&run.join(STEPS_FILE));
        let problem = only_problem(&store);
        let moved = store.set_aside(&problem).unwrap();
        let name = format!("{}-run-a{round}", samples::trial(0).id().short());
        assert_eq!(moved, store.damaged().join(&name));
        assert_eq!(samples::names(&moved).len(), FILES.len());
        let why = std::fs::read_to_string(store.damaged().join(format!("{name}.txt"))).unwrap();
        assert_eq!(why, format!("{problem}\n"));
        assert_eq!(store.records().unwrap().problems, []);
        store
            .seal(&samples::record(0, "run-a"), &samples::rows(&samples::steps(50), &samples::epochs()))
            .unwrap();
    }
    assert_eq!(store.records().unwrap().records.len(), 2);
}
