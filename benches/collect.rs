//! What happens around a training: hashing, rows to Parquet and back, the store, a page: `cargo bench --bench collect`.
//!
//! Runs are the kept one of format 1, stretched to the steps of a run of the study.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput};

use pinbench::analyse::ArmRuns;
use pinbench::digest::Digest;
use pinbench::experiment::{Arm, Experiment, Trial};
use pinbench::record::schema::FORMAT;
use pinbench::record::{LoadedRun, Rows, RunId, RunRecord, Store, frame, parquet};
use pinbench::report::{Input, render};
use pinbench::row::StepRow;
use pinbench::stream::Seed;

/// Five epochs of 48,000 images in batches of 64.
const STEPS: u64 = 3_750;
const RUNS: u64 = 100;

fn kept() -> LoadedRun {
    let store = Store::open(Path::new("tests/data/store-format-1")).expect("the kept store");
    let listing = store.records().expect("a listing");
    store.load(&listing.records[0]).expect("the kept run")
}

fn steps(kept: &LoadedRun) -> Vec<StepRow> {
    let step = |step: u64| {
        let row = kept.steps[step as usize % kept.steps.len()];
        // Losses and times that compress no better than real ones.
        let noise = Digest::of(&step.to_le_bytes()).bytes()[0];
        let loss = row.loss / (1.0 + step as f64 / 300.0) + f64::from(noise) / 1e4;
        StepRow { epoch: (step / 750) as u32, step, loss, ..row }
    };
    (0..STEPS).map(step).collect()
}

fn record(kept: &LoadedRun, trial: Trial, number: u64) -> RunRecord {
    let mut record = kept.record.clone();
    record.run = RunId(format!("run-{number:06}"));
    (record.trial_id, record.config_hash) = (trial.id(), trial.config.hash());
    record.trial = trial;
    record
}

fn digest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    let bytes = vec![7_u8; 1 << 20];
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("sha256/1MiB", |bencher| bencher.iter(|| black_box(Digest::of(&bytes))));
    group.finish();
}

fn frames(criterion: &mut Criterion, kept: &LoadedRun) {
    let rows = steps(kept);
    let encode = || {
        let mut frame = frame::from_steps(&rows).expect("a frame");
        parquet::encode("steps.parquet", &mut frame, &kept.record.run, &kept.record.trial_id)
            .expect("Parquet")
    };
    let bytes = encode();
    let mut group = criterion.benchmark_group("parquet");
    group.throughput(Throughput::Elements(STEPS));
    group.bench_function("steps/encode", |bencher| bencher.iter(|| black_box(encode())));
    group.bench_function("steps/decode", |bencher| {
        let read =
            |bytes| frame::to_steps(&parquet::decode("steps.parquet", bytes).expect("a frame"), FORMAT);
        bencher.iter_batched(
            || bytes.clone(),
            |bytes| black_box(read(bytes).expect("rows")),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn store(criterion: &mut Criterion, kept: &LoadedRun) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let rows = Rows { steps: steps(kept), epochs: kept.epochs.clone(), ..Rows::default() };
    let mut number = 0;
    let mut seal = || {
        number += 1;
        let trial = Trial { seed: Seed(number), ..kept.record.trial.clone() };
        store.seal(&record(kept, trial, number), &rows).expect("a sealed run")
    };
    let sealed: Vec<RunRecord> = (0..RUNS).map(|_| seal()).collect();
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    group.bench_function(format!("list/{RUNS}-runs"), |bencher| {
        bencher.iter(|| black_box(store.records().expect("a listing")));
    });
    group.bench_function("load/3750-steps", |bencher| {
        bencher.iter(|| black_box(store.load(&sealed[0]).expect("a run")));
    });
    // Last: it makes the store longer.
    group.bench_function("seal/3750-steps", |bencher| bencher.iter(|| black_box(seal())));
    group.finish();
}

fn page(criterion: &mut Criterion, kept: &LoadedRun) {
    let experiment = Experiment::load(Path::new("experiments/m1-batch-size.toml")).expect("M1");
    let profile = &experiment.profile;
    let rows = Rows { steps: steps(kept), epochs: kept.epochs.clone(), ..Rows::default() };
    let mut number = 0;
    let mut run = |arm: &Arm, seed: Seed| {
        number += 1;
        let trial = Trial { config: arm.config.clone(), seed };
        LoadedRun::new(record(kept, trial, number), rows.clone())
    };
    let mut arms = Vec::new();
    for arm in &profile.arms {
        arms.push(ArmRuns::new(arm, profile.seeds.iter().map(|&seed| run(arm, seed)).collect()));
    }
    let command = "pinbench reproduce m1-batch-size --profile full".to_owned();
    let input = Input {
        languages: &[pinbench::language::Language::En],
        experiment: &experiment,
        arms,
        left_out: None,
        explanations: &[],
        command,
        downloads: vec![],
    };
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10);
    group.bench_function("page/15-runs", |bencher| {
        bencher.iter(|| black_box(render(&input).expect("a page")))
    });
    group.finish();
}

fn main() {
    let kept = kept();
    let mut criterion = Criterion::default().configure_from_args();
    digest(&mut criterion);
    frames(&mut criterion, &kept);
    store(&mut criterion, &kept);
    page(&mut criterion, &kept);
    criterion.final_summary();
}
