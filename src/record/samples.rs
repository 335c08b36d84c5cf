//! Records and rows for the tests of this room.

use std::collections::BTreeMap;
use std::path::Path;

use crate::clock::{Phase, PhaseTimes};
use crate::dataset;
use crate::digest::Digest;
use crate::experiment::Trial;
use crate::experiment::config::{Config, Data, Model, Optim, OptimName, Preset, PresetName, Train};
use crate::experiment::plan::{Device, Effective, Plan, PlanName};
use crate::machine::Environment;
use crate::record::{Outcome, Rows, RunId, RunRecord, Status};
use crate::row::{ChainRow, ConfusionRow, Diagnostic, DiagnosticRow, EpochRow, Split, StepRow, Usage};
use crate::stream::Seed;

pub(super) fn trial(seed: u64) -> Trial {
    let digest = Digest::of(b"data");
    let set = dataset::Name::mnist();
    let config = Config {
        data: Data { digest, ..Data::of(set) },
        model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(PresetName::SimpleCnn) }),
        optim: Optim::of(OptimName::Adam, 1e-3),
        train: Train { batch: 64, epochs: 1, ..Train::default() },
        augment: None,
    };
    Trial { config, seed: Seed(seed) }
}

pub(super) fn plan() -> Plan {
    Plan::named(PlanName::Tuned, 2, Device::Cpu)
}

/// The same on every machine.
pub(super) fn environment() -> Environment {
    Environment {
        cpu: "Sample CPU".to_owned(),
        cores: 2,
        memory_bytes: Some(8 << 30),
        kernel: "6.1".to_owned(),
        os: "Linux".to_owned(),
        load_1m: Some(0.1),
        huge_pages: "madvise".to_owned(),
        pinbench: "0.1.0".to_owned(),
        binary: None,
        rustc: "rustc 1.95.0".to_owned(),
        git: None,
        variables: BTreeMap::from([("OMP_NUM_THREADS".to_owned(), "2".to_owned())]),
        torch: None,
        host: None,
        gpu: None,
    }
}

/// A finished run of the trial with this seed, as it is before it is sealed.
pub(super) fn record(seed: u64, run: &str) -> RunRecord {
    let (trial, plan, environment) = (trial(seed), plan(), environment());
    RunRecord {
        format: 0,
        run: RunId(run.to_owned()),
        experiment: "batch-size".to_owned(),
        profile: "smoke".to_owned(),
        trial_id: trial.id(),
        config_hash: trial.config.hash(),
        trial,
        plan_hash: plan.hash(),
        plan,
        program: None,
        beside: 0,
        block: None,
        effective: Some(Effective::sample()),
        environment_class: environment.class(),
        environment,
        started: "2026-01-02T03:04:05Z".to_owned(),
        ended: "2026-01-02T03:05:05Z".to_owned(),
        status: Status::Finished,
        command: "pinbench run batch-size".to_owned(),
        planted: None,
        outcome: Some(outcome()),
        files: BTreeMap::new(),
        stored_as: None,
    }
}

fn outcome() -> Outcome {
    Outcome {
        initial_weights: Digest::of(b"initial"),
        final_weights: Digest::of(b"final"),
        steps: 3,
        train_ns: 30_000_000,
        evaluate_ns: 10_000_000,
        diagnose_ns: Some(1_000_000),
        kept_epoch: None,
        wall_ns: 40_000_000,
        peak_rss_bytes: 300 << 20,
        steal_share: Some(0.0),
        others_cpu_s: None,
        watched_ns: None,
        resumed: vec![],
        reference_ns: None,
        gpu_clocks: None,
    }
}

pub(super) fn rows(steps: &[StepRow], epochs: &[EpochRow]) -> Rows {
    Rows { steps: steps.to_vec(), epochs: epochs.to_vec(), ..Rows::default() }
}

pub(super) fn confusion() -> Vec<ConfusionRow> {
    let cell = |(label, predicted)| ConfusionRow {
        epoch: 0,
        split: Split::Test,
        label,
        predicted,
        images: u32::from(label) * 10 + u32::from(predicted),
    };
    (1..9).map(|index| cell((index / 3, index % 3))).collect()
}

pub(super) fn chain() -> Vec<ChainRow> {
    (0..3).map(|step| ChainRow { step, of: String::new(), hash: step * 7 + 1 }).collect()
}

pub(super) fn diagnostics() -> Vec<DiagnosticRow> {
    let values = [0.25, f64::NAN, f64::INFINITY, -0.0, 5e-324];
    let row = |(diagnostic, value)| DiagnosticRow { epoch: 4, diagnostic, of: "conv1".to_owned(), value };
    Diagnostic::ALL.into_iter().zip(values).map(row).collect()
}

/// Steps as a real run has them: a loss that falls and jitters, times of a few milliseconds.
pub(super) fn steps(count: u64) -> Vec<StepRow> {
    let step = |step: u64| {
        let noise = Digest::of(&step.to_le_bytes());
        let jitter = u64::from(noise.bytes()[0]) << 8 | u64::from(noise.bytes()[1]);
        let phases: [u64; Phase::ALL.len()] = std::array::from_fn(|phase| {
            100_000 * (phase as u64 + 1) + jitter + u64::from(noise.bytes()[phase])
        });
        StepRow {
            epoch: (step / 750) as u32,
            step,
            images: 64,
            loss: 2.3 / (1.0 + step as f64 / 100.0) + jitter as f64 / 1e6,
            correct: 40 + (jitter % 25) as u32,
            times: PhaseTimes::new(phases, phases.iter().sum::<u64>() + 1_234),
            device: None,
            usage: Usage {
                user_us: 4_000 + jitter / 64,
                system_us: jitter % 300,
                minor_faults: jitter % 7,
                major_faults: 0,
                voluntary_switches: jitter % 5,
                involuntary_switches: jitter % 3,
            },
        }
    };
    (0..count).map(step).collect()
}

pub(super) fn epochs() -> Vec<EpochRow> {
    let row =
        |split| EpochRow { epoch: 0, split, images: 100, loss: 0.25, accuracy: 0.93, wall_ns: 5_000_000 };
    Split::ALL.map(row).to_vec()
}

/// Inverts one bit in the middle of the file.
pub(super) fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

/// The names in a folder of the disk, sorted; none where it does not exist.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The child of a test that needs another process: this test program again, running only `test`, which finds
/// the store in `STORE` and its number in `NUMBER`.
pub(super) fn child(test: &str, store: &Path, number: u64) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored"])
        .env(STORE, store)
        .env(NUMBER, number.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}
pub(super) const STORE: &str = "PINBENCH_TEST_STORE";
pub(super) const NUMBER: &str = "PINBENCH_TEST_NUMBER";

/// What `child` was given; `None` when the test was not started by it.
pub(super) fn as_child() -> Option<(std::path::PathBuf, u64)> {
    let number = std::env::var(NUMBER).ok()?.parse().unwrap();
    Some((std::env::var_os(STORE)?.into(), number))
}
