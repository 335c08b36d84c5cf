//! An experiment and runs for the tests of this room and of the report: fixed dates, a fixed machine.

use std::collections::BTreeMap;
use std::path::Path;

use crate::analyse::ArmRuns;
use crate::clock::{Phase, PhaseTimes};
use crate::digest::Digest;
use crate::experiment::plan::{Device, Effective, Plan, PlanName};
use crate::experiment::{Arm, Experiment, Profile, Trial};
use crate::machine::{Environment, Gpu, Torch};
use crate::record::{Block, LoadedRun, Outcome, Rows, RunId, RunRecord, Status};
use crate::row::{EpochRow, Split, StepRow, Usage};
use crate::stream::Seed;

pub const TOML: &str = r#"
title = "Batch size on MNIST"
why = "The notes found that small batches generalise better and that batch 1024 trained slowest. Do both hold when only the batch size differs?"
source = "MNIST notes, experiment 1"
limits = [
    "One data set and one small model: nothing here speaks of other settings.",
    "Equal epochs are not equal updates: batch 64 makes 16 times as many steps as batch 1024.",
]
default_profile = "full"

[data]
set = "mnist"
validation = 0.2

[model]
name = "simple_cnn"
activation = "relu"
dropout = 0.5

[optim]
name = "adam"
lr = 0.001

[train]
batch = 64
epochs = 5

[[factors]]
key = "train.batch"
label = "batch"
levels = [
    { value = 64, colour = "green" },
    { value = 128, colour = "orange" },
    { value = 1024, colour = "grey" },
]

[profiles.smoke]
seeds = [0]
set = { "data.train_limit" = 2048, "train.epochs" = 1 }

[profiles.quick]
seeds = [0]
set = { "train.epochs" = 2 }

[profiles.full]
seeds = [0, 1, 2]

[reference]
name = "the notes"
source = "table of experiment 1"
rows = [
    { arm = { "train.batch" = 64 }, train_acc = 0.944, val_acc = 0.9895, train_loss = 0.179, val_loss = 0.0375, minutes = 1.157 },
    { arm = { "train.batch" = 128 }, train_acc = 0.934, val_acc = 0.9843, train_loss = 0.212, val_loss = 0.0523, minutes = 1.104 },
]
"#;

pub fn experiment() -> Experiment {
    parse(TOML)
}

pub fn parse(text: &str) -> Experiment {
    Experiment::parse(Path::new("experiments/m1.toml"), text).unwrap()
}

pub fn profile() -> Profile {
    experiment().profile
}

/// A finished run of each arm under each seed.
pub fn arms<'a>(profile: &'a Profile, seeds: &[u64]) -> Vec<ArmRuns<'a>> {
    let runs = |arm| seeds.iter().map(|&seed| finished(arm, seed)).collect();
    profile.arms.iter().map(|arm| ArmRuns::new(arm, runs(arm))).collect()
}

/// Forty steps over two epochs.
pub fn finished(arm: &Arm, seed: u64) -> LoadedRun {
    let batch = arm.config.train.batch;
    let step_ns = 20_000_000 + u64::from(batch) * 100_000;
    let steps: Vec<StepRow> = (0..40).map(|index| step(index, batch, step_ns)).collect();
    let epochs = (0..2).flat_map(|epoch| epoch_rows(epoch, 0.9 + 0.02 * f64::from(epoch))).collect();
    LoadedRun::new(record(arm, seed, &steps), Rows { steps, epochs, ..Rows::default() })
}

/// Puts the digests of its rows into the record of a run, as the store does.
pub fn seal(run: &mut LoadedRun) {
    let digests = run.digests().unwrap();
    run.record.format = crate::record::schema::FORMAT;
    run.record.files = digests.into_iter().map(|(file, digest)| (file.to_owned(), digest)).collect();
}

/// A step of `total_ns`; its loss falls with its index.
pub fn step(index: u64, images: u32, total_ns: u64) -> StepRow {
    let mut phases_ns = [0; Phase::ALL.len()];
    for (phase, percent) in [
        (Phase::Load, 3),
        (Phase::Forward, 35),
        (Phase::Backward, 48),
        (Phase::Optimizer, 11),
        (Phase::ReadBack, 2),
    ] {
        phases_ns[phase as usize] = total_ns * percent / 100;
    }
    StepRow {
        epoch: (index / 20) as u32,
        step: index,
        images,
        loss: 2.3 / (1.0 + index as f64 / 10.0),
        correct: images / 2,
        times: PhaseTimes::new(phases_ns, total_ns),
        device: None,
        usage: Usage { minor_faults: 12, ..Usage::default() },
    }
}

/// Every split of an epoch; the test split too, of which readers take the last.
pub fn epoch_rows(epoch: u32, accuracy: f64) -> Vec<EpochRow> {
    let row = |split| EpochRow {
        epoch,
        split,
        images: 12_000,
        loss: 1.2 - accuracy,
        accuracy: if split == Split::Train { accuracy - 0.05 } else { accuracy },
        wall_ns: 1_000_000_000,
    };
    Split::ALL.map(row).to_vec()
}

/// Sets the accuracy on the validation split to `accuracy` after every epoch.
pub fn set_validation(run: &mut LoadedRun, accuracy: f64) {
    for row in run.epochs.iter_mut().filter(|row| row.split == Split::Validation) {
        row.accuracy = accuracy;
    }
}

/// Makes the run one on a GPU that works through each whole step, and that the host, having asked for everything, waits
/// for during so many percent of it.
pub fn put_on_gpu(run: &mut LoadedRun, behind_percent: u64) {
    let halves = |ns: u64| (ns / 2, ns - ns / 2);
    for step in &mut run.steps {
        let total_ns = step.times.total_ns;
        let behind_ns = total_ns * behind_percent / 100;
        let (forward, backward) = halves(total_ns - behind_ns);
        step.times = PhaseTimes::new([0, 0, forward, backward, 0, behind_ns], total_ns);
        let (forward, backward) = halves(total_ns);
        step.device = Some(PhaseTimes::summed([0, 0, forward, backward, 0, 0]));
    }
    let record = &mut run.record;
    record.plan.device = Device::Cuda(0);
    record.plan_hash = record.plan.hash();
    record.environment.gpu = Some(Gpu {
        name: "Example GPU".to_owned(),
        memory_bytes: Some(80 << 30),
        driver: Some("550.54".to_owned()),
        compute_capability: Some("9.0".to_owned()),
    });
    record.environment_class = record.environment.class();
}

pub fn record(arm: &Arm, seed: u64, steps: &[StepRow]) -> RunRecord {
    let trial = Trial { config: arm.config.clone(), seed: Seed(seed) };
    let (plan, environment) = (Plan::named(PlanName::Tuned, 2, Device::Cpu), environment());
    let batch = arm.config.train.batch;
    let place = arm.levels.iter().fold(0, |place, &level| 8 * place + level as u32);
    let fraction = if place > 0 { format!(".{place:03}") } else { String::new() };
    RunRecord {
        format: 1,
        run: RunId(format!("20260102T03{seed:02}05Z-{batch}")),
        experiment: "m1".to_owned(),
        profile: "full".to_owned(),
        trial_id: trial.id(),
        config_hash: trial.config.hash(),
        command: format!("pinbench run m1 --profile full --arm {} --seed {seed}", arm.label),
        trial,
        plan_hash: plan.hash(),
        plan,
        program: None,
        beside: 0,
        block: Some(Block { block: seed, place }),
        effective: Some(Effective::sample()),
        environment_class: environment.class(),
        environment,
        started: format!("2026-01-02T03:{seed:02}:05{fraction}Z"),
        ended: format!("2026-01-02T03:{:02}:35Z", seed + 1),
        status: Status::Finished,
        planted: None,
        outcome: Some(outcome(seed, batch, steps)),
        files: BTreeMap::new(),
        stored_as: None,
    }
}

fn outcome(seed: u64, batch: u32, steps: &[StepRow]) -> Outcome {
    let train_ns = steps.iter().map(|step| step.times.total_ns).sum();
    let evaluate_ns = train_ns / 5;
    Outcome {
        initial_weights: Digest::of(&seed.to_le_bytes()),
        final_weights: Digest::of(format!("{seed} {batch}").as_bytes()),
        steps: steps.len() as u64,
        train_ns,
        diagnose_ns: None,
        kept_epoch: None,
        evaluate_ns,
        wall_ns: train_ns + evaluate_ns,
        peak_rss_bytes: 640 << 20,
        steal_share: Some(0.001),
        others_cpu_s: Some(0.0),
        watched_ns: None,
        resumed: vec![],
        reference_ns: None,
        gpu_clocks: None,
    }
}

/// The same on every machine.
pub fn environment() -> Environment {
    let torch = Torch {
        version: "2.13.0".to_owned(),
        capability: "AVX512".to_owned(),
        threads: 2,
        parallel: "ATen/Parallel:\n\tat::get_num_threads() : 2\nOpenMP 201511".to_owned(),
        cuda: false,
        kernels: None,
    };
    Environment {
        cpu: "Example Processor 4210".to_owned(),
        cores: 2,
        memory_bytes: Some(8 << 30),
        kernel: "Linux 6.1.0-example".to_owned(),
        os: "Debian GNU/Linux 12".to_owned(),
        load_1m: Some(0.08),
        huge_pages: "madvise".to_owned(),
        pinbench: "0.1.0".to_owned(),
        binary: Some(Digest::of(b"program")),
        rustc: "rustc 1.95.0".to_owned(),
        git: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        variables: BTreeMap::from([("OMP_NUM_THREADS".to_owned(), "2".to_owned())]),
        torch: Some(torch),
        host: None,
        gpu: None,
    }
}
