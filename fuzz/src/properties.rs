//! What holds of every input, whatever its bytes: no panic, no memory that a header merely claims, no path that leads
//! out of its folder.
//!
//! Each function takes one input. `fuzz_targets/` feeds them from libFuzzer, `tests/hostile.rs` of pinbench from
//! proptest and from the corpus. A function needs [`Counting`](crate::memory::Counting) as the global allocator.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pinbench::data::{archive, cifar, idx, npy, pack};
use pinbench::dataset::Name;
use pinbench::digest::Digest;
use pinbench::experiment::baseline::{self, Baseline};
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Experiment, Length, Plan};
use pinbench::fuzzing;
use pinbench::record::{CheckpointKey, RunRecord, Store};
use pinbench::row::Diagnostics;
use pinbench::schedule::{Event, Pace};

use crate::memory::peak_of;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Runs `work` on an input of so many bytes; it may take `fixed` bytes of memory, and `per_byte` for each of those.
fn bounded<T>(what: &str, input: usize, (fixed, per_byte): (usize, usize), work: impl FnOnce() -> T) -> T {
    let (result, peak) = peak_of(work);
    let most = fixed + per_byte * input;
    assert!(
        peak <= most,
        "{what}: {peak} bytes of memory for {input} bytes of input, expected at most {most}"
    );
    result
}

/// One component of a path that leads nowhere else: joined to a folder it is a file of that folder.
fn is_plain(name: &str) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(name))
}

pub(crate) fn idx(bytes: &[u8]) {
    // Four sizes, and once more in an error: the values are a slice of the input.
    match bounded("IDX", bytes.len(), (KIB, 0), || idx::decode(bytes)) {
        Ok(file) => {
            assert_eq!(file.values.len(), file.dims.iter().product::<usize>());
            assert_eq!(file.values.len() + 4 + 4 * file.dims.len(), bytes.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn npy(bytes: &[u8]) {
    // The header as text, a part of it in an error, and the sizes: the values are a slice of the input.
    match bounded("NPY", bytes.len(), (4 * KIB, 8), || npy::decode(bytes)) {
        Ok(file) => {
            assert!(bytes.ends_with(file.values));
            // A label is two bytes of at least one.
            let labels = bounded("labels", bytes.len(), (KIB, 2), || file.labels());
            assert!(labels.is_err() || file.pixels().is_err() || labels == Ok(values_of(file.values)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn values_of(bytes: &[u8]) -> Vec<u16> {
    bytes.iter().map(|&byte| u16::from(byte)).collect()
}

/// A user's own set that somebody handed on.
pub(crate) fn pin(bytes: &[u8]) {
    // The definition as TOML, and the content once.
    match bounded("PIN", bytes.len(), (64 * KIB, 64), || pack::decode(bytes, bytes.len() as u64)) {
        Ok((definition, train, test)) => {
            for (images, count) in [(train, definition.train), (test, definition.test)] {
                assert_eq!(images.len(), count as usize);
                assert_eq!(images.pixels.len(), images.len() * definition.shape.len());
                assert!(images.labels.iter().all(|label| usize::from(*label) < definition.classes.len()));
            }
            assert!(is_plain(&definition.name));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Both forms that labels and pixels come in: records, and the JSON list of a pack.
pub(crate) fn cifar(bytes: &[u8]) {
    match bounded("CIFAR-10", bytes.len(), (KIB, 1), || cifar::decode_records(bytes)) {
        Ok(records) => {
            assert_eq!(records.labels.len() + records.pixels.len(), bytes.len());
            assert_eq!(records.labels.len() * cifar::RECORD, bytes.len());
            assert!(records.labels.iter().all(|label| *label < 10));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // An error may quote the text that stands in place of a number.
    match bounded("label list", bytes.len(), (4 * KIB, 16), || cifar::labels_from_json(bytes, 10)) {
        Ok(labels) => assert!(labels.len() == 10 && labels.iter().all(|label| *label < 10)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn png(bytes: &[u8]) {
    for labels in [&[3_u8][..], &[3, 8]] {
        // The decoder's window and tables, and two records: a row that a header claims is not among them.
        match bounded("PNG", bytes.len(), (MIB, 8), || cifar::from_png(bytes, labels)) {
            Ok(records) => {
                assert_eq!(records.len(), labels.len() * cifar::RECORD);
                assert_eq!(cifar::decode_records(&records).expect("whole records").labels, labels);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// As a plain tar stream, as one in gzip, and as a package on its way into the cache.
pub(crate) fn archive(bytes: &[u8]) {
    const UNPACKED: u64 = 1 << 20;
    visit("tar", bytes.len(), bytes.len() as u64, bytes);
    if bytes.starts_with(&[0x1f, 0x8b]) {
        visit("tar.gz", bytes.len(), UNPACKED, archive::gunzip(bytes, UNPACKED));
        for set in [Name::mnist(), Name::cifar10()] {
            unpack(set, bytes);
        }
    }
}

/// The files of a tar stream that holds at most so many bytes.
fn visit(what: &str, input: usize, most: u64, stream: impl Read) {
    let mut held = 0;
    // A header and its name; a gzip stream's window, tables and header fields.
    let seen = bounded(what, input, (512 * KIB, 1), || {
        archive::each_file(stream, |name, content| {
            assert!(is_plain(name), "'{name}' is not the name of a file in a folder");
            held += io::copy(content, &mut io::sink())?;
            Ok::<_, io::Error>(ControlFlow::Continue(()))
        })
    });
    assert!(held <= most, "{what}: {held} bytes out of {most}");
    assert!(seen.map_or_else(|error| !error.to_string().is_empty(), |()| true));
}

fn unpack(set: Name, bytes: &[u8]) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let root = home.path().join("cache");
    // Label lists of at most 1 MiB, as they grow; the content goes to the disk block by block.
    let unpacked = bounded("package", bytes.len(), (8 * MIB, 8), || fuzzing::unpack(set, bytes, &root));
    // An input of a fuzzer is no data set, so that nothing was taken.
    assert!(unpacked.map_or_else(|reason| !reason.is_empty(), |taken| taken == 0));
    assert_eq!(names(home.path()), ["cache"]);
    assert!(names(&root).iter().all(|name| ["parts", "scratch", "staging"].contains(&name.as_str())));
    let files: Vec<&str> = fuzzing::files(set).collect();
    let staged = names(&root.join("staging"));
    assert!(staged.iter().all(|name| files.contains(&name.as_str())), "{staged:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect()
}

pub(crate) fn experiment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("experiments/hostile.toml");
    // The arms of the largest grid that is allowed, under three profiles.
    match bounded("experiment", bytes.len(), (16 * MIB, 2 * KIB), || Experiment::parse(path, text)) {
        Ok(experiment) => check_experiment(&experiment),
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("experiments/hostile.toml:"), "{text}");
        }
    }
}

/// What is accepted can be named, measured out and timed.
fn check_experiment(experiment: &Experiment) {
    let plan = Plan::named(PlanName::Tuned, 2, Device::Cpu);
    for Experiment { profile, .. } in experiment.each() {
        assert!(!profile.seeds.is_empty() && !profile.arms.is_empty());
        for arm in &profile.arms {
            assert_eq!(arm.config.check(), Ok(()));
            let length = Length::of(&arm.config.train, u64::from(arm.config.data.train_images()));
            assert!(length.steps >= 1 && length.epochs >= 1 && length.images >= 1, "{length:?}");
        }
        let config = &profile.arms[0].config;
        assert!(!Pace::of(config, &plan, None, &[]).time(config, Diagnostics::On).is_zero());
        let ids = profile.trials().take(2).map(|(_, trial)| trial.id()).collect::<Vec<_>>();
        assert_eq!(ids.len(), (profile.seeds.len() * profile.arms.len()).min(2));
    }
}

/// In the file that it names, so that it is not refused by its name before its content counts.
pub(crate) fn baseline(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let [experiment, profile] = ["experiment", "profile"].map(|key| value_of(text, key));
    let path = PathBuf::from(format!("experiments/baselines/{experiment}.{profile}.toml"));
    // Every part of a dotted key is a map.
    match bounded("baseline", bytes.len(), (MIB, 2 * KIB), || Baseline::parse(&path, text)) {
        Ok(baseline) => check_baseline(&path, &baseline),
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with(&format!("{}:", path.display())), "{text}");
        }
    }
}

/// What the first line `key = "value"` says; "hostile" without one.
fn value_of<'a>(text: &'a str, key: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
    text.lines().find_map(value).unwrap_or("hostile")
}

/// What is accepted stays in its folder, holds what runs can have, and is written as it is read.
fn check_baseline(path: &Path, baseline: &Baseline) {
    let name = baseline::file_name(&baseline.experiment, &baseline.profile);
    assert!(is_plain(&name), "'{name}' leads out of the folder of baselines");
    for arm in &baseline.arms {
        assert!(!arm.runs.is_empty() || !arm.diverged.is_empty(), "{arm:?}");
        let mut values = arm.runs.iter().flat_map(|run| &run.values);
        assert!(values.all(|(gauge, value)| gauge.admits(*value)), "{arm:?}");
    }
    let text = baseline.to_toml();
    let again = Baseline::parse(path, &text).expect("what was written is a baseline");
    assert_eq!(&again, baseline);
    assert_eq!(again.to_toml(), text);
}

/// The place of the run of format 1 that the tests keep, and the files of any format.
const RUN_FOLDER: &str = "store/trials/1e383082e591/20261124T122033.771957Z-26259-0";
const RUN_FILES: [&str; 8] = [
    "run.json",
    "run.json.sha256",
    "steps.parquet",
    "epochs.parquet",
    "confusion.parquet",
    "diagnostics.parquet",
    "chain.parquet",
    "weights.safetensors",
];

pub(crate) fn record(bytes: &[u8]) {
    let names = RUN_FILES.map(str::to_owned);
    let folder = Path::new(RUN_FOLDER);
    // Maps of short names take the most; an error may quote a name.
    match bounded("run record", bytes.len(), (64 * KIB, 64), || fuzzing::record(folder, bytes, &names)) {
        Ok(record) => check_record(&record),
        Err(problem) => assert!(problem.to_string().contains(RUN_FOLDER), "{problem}"),
    }
    // Whatever its place, what it ran has an identity.
    if let Ok(record) = serde_json::from_slice::<RunRecord>(bytes) {
        let _identities = (record.trial.id(), record.trial.config.hash(), record.plan.hash());
    }
}

fn check_record(record: &RunRecord) {
    assert!(is_plain(&record.run.0), "run '{}' leads out of its trial's folder", record.run);
    for name in record.files.keys() {
        assert!(is_plain(name), "file '{name}' leads out of its run's folder");
    }
    let again = serde_json::to_vec(record).expect("a record that was read has a JSON form");
    let again: RunRecord = serde_json::from_slice(&again).expect("what was written is a record");
    // By its text: NaN is not equal to itself.
    assert_eq!(format!("{again:?}"), format!("{record:?}"));
}

/// What the checkpoint of the corpus was kept under.
const CHECKPOINT_KEY: &str = r#"{
    "trial_id": "eb4d3257629933314380c0d7deffe281b78a8e6479954b23e723c18c58710a84",
    "plan_hash": "d665b3e8a8d272b77ed31536d44d4e6a15735abae2550b37d99be1b1e922a9dd",
    "environment_class": "2 × AMD EPYC, libtorch 2.13.0 AVX2, 2 threads",
    "binary": "4d4944abd1800689d7e4fe3fda96c2ecd2438faafb465118d4f0a857a38a4dee",
    "diagnostics": "on"
}"#;

/// A `checkpoint.json` where a run looks for it, with its own sum beside it and without the rows that it speaks of.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let key: CheckpointKey = serde_json::from_str(CHECKPOINT_KEY).expect("the key of a checkpoint");
    let home = tempfile::tempdir().expect("a temporary folder");
    let root = home.path().join("store");
    let store = Store::open(&root).expect("a new store");
    let trial = key.trial_id.short();
    let kept = root.join(format!("checkpoints/{}/{trial}-{}", &trial[..2], key.plan_hash.short()));
    let folder = kept.join("run-0000005625");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("checkpoint.json"), bytes).expect("a file");
    let sum = format!("{}  checkpoint.json\n", Digest::of(bytes));
    fs::write(folder.join("checkpoint.json.sha256"), sum).expect("a file");
    // Maps of short names take the most; an error may quote a name.
    let found = bounded("checkpoint", bytes.len(), (64 * KIB, 64), || store.find_checkpoint(&key));
    let found = found.expect("a store that can be read");
    assert!(found.checkpoint.is_none(), "a checkpoint without its rows");
    assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
    let mut there = names(&root);
    there.sort_unstable();
    if names(&kept).is_empty() {
        assert_eq!(there, ["checkpoints", "damaged", "store.json"]);
        assert_eq!(names(&root.join("damaged")).len(), 2, "the checkpoint and the reason");
    } else {
        // Of another version, and left alone.
        assert_eq!(names(&kept), ["run-0000005625"]);
        assert_eq!(there, ["checkpoints", "store.json"]);
    }
    assert_eq!(names(home.path()), ["store"]);
}

/// All that a child writes to its standard output: events between lines of noise.
pub(crate) fn event(bytes: &[u8]) {
    // One line, the last of the noise, and an event for each of theirs.
    let (events, noise) = bounded("events", bytes.len(), (256 * KIB, 32), || fuzzing::events(bytes));
    // Replacing what is not UTF-8 makes three bytes of one.
    assert!(noise.len() <= 3 * 8 * KIB, "{} bytes of noise", noise.len());
    for event in events {
        let line = serde_json::to_string(&event).expect("an event that was read has a JSON form");
        assert!(!line.contains('\n'));
        let again: Event = serde_json::from_str(&line).expect("what was written is an event");
        assert_eq!(format!("{again:?}"), format!("{event:?}"));
    }
}
