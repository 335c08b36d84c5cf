//! The gate's single steps in every cell there is on a machine: plans, threads and sets of instructions. Honest ones are
//! within rounding of each other, and each planted fault is beyond it in every cell. `just prove-gate` runs it and prints the
//! table of docs/gate.md.

#![cfg(feature = "torch")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use pinbench::analyse::gate::probe::{compare, largest_distance};
use pinbench::dataset::Name;
use pinbench::experiment::config::{
    Augment, Config, Data, Model, Optim, OptimName, Preset, PresetName, Train,
};
use pinbench::experiment::plan::{Device, Plan, PlanChange, PlanName};
use pinbench::experiment::probe::{Answers, Probe, Stored};
use pinbench::planted::Planted;
use pinbench::schedule::Instructions;
use pinbench::train::{self, Asking};

/// What a child is asked: plan, threads, and where it writes.
const CELL: &str = "PINBENCH_TEST_CELL";
/// Folder of this test as builds with fewer copies of our own kernels have it, named after the greatest they have.
const COPIES: &str = "PINBENCH_TEST_COPIES";

/// As changes of the plan.
const PLANS: [&str; 5] = [EAGER, TUNED, FUSED, WINOGRAD, LARGER_TILES];
const EAGER: &str = "plan.name=eager";
const TUNED: &str = "plan.name=tuned";
const FUSED: &str = "plan.name=fused";
const WINOGRAD: &str = "plan.name=winograd";
const LARGER_TILES: &str = "plan.name=winograd,plan.policy=2";
const THREADS: [u32; 2] = [1, 2];

/// The processor's own, and those below it.
fn instructions() -> impl Iterator<Item = Instructions> {
    let has_avx512 = std::arch::is_x86_feature_detected!("avx512f");
    let avx2 = has_avx512.then_some(Instructions::Avx2);
    std::iter::once(Instructions::Own).chain(avx2).chain([Instructions::Sse41])
}

const FAULTS: [Planted; 18] = [
    Planted::LabelsSlightly,
    Planted::Class,
    Planted::PixelScale,
    Planted::Shift,
    Planted::SeedTwice,
    Planted::LastBatch,
    Planted::Dropout,
    Planted::DropoutStream,
    Planted::LearningRateSlightly,
    Planted::LearningRateHardly,
    Planted::WeightDecay,
    Planted::Epsilon,
    Planted::SecondDecay,
    Planted::BatchNormMomentum,
    Planted::EvalDropout,
    Planted::EvalWithoutBatchNorm,
    Planted::Normalisation,
    Planted::Labels,
];

/// Both networks with what no experiment has all of: weight decay, dropout and augmentation.
fn configs() -> [(&'static str, Config); 2] {
    let config = |set: Name, name, augment| Config {
        data: Data::of(set),
        model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(name) }),
        optim: Optim { weight_decay: 5e-4, ..Optim::of(OptimName::Adam, 0.001) },
        train: Train { batch: 64, epochs: 5, ..Train::default() },
        augment,
    };
    let flipped = Augment { flip: Some(true), crop: Some(4), ..Augment::default() };
    [
        ("SimpleCNN", config(Name::mnist(), PresetName::SimpleCnn, None)),
        ("ImprovedCNN", config(Name::cifar10(), PresetName::ImprovedCnn, Some(flipped))),
    ]
}

/// By network, then by fault; an honest answer has no name.
type Found = BTreeMap<String, BTreeMap<String, Answers>>;

fn plan(changes: &str, threads: u32) -> Plan {
    let plain = Plan::named(PlanName::Eager, threads, Device::Cpu);
    changes.split(',').fold(plain, |plan, change| PlanChange::parse(change).unwrap().apply(&plan))
}

fn cell(plan: &str, threads: u32, instructions: Instructions, asked: &str) -> Found {
    cell_by(&std::env::current_exe().unwrap(), plan, threads, instructions, asked)
}

fn cell_by(program: &Path, named: &str, threads: u32, instructions: Instructions, asked: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("found.json");
    let mut child = Command::new(program);
    child.args(["one_cell", "--exact", "--ignored", "--nocapture"]);
    child.env(CELL, format!("{named} {threads} {asked} {}", out.display()));
    child.envs(instructions.environment().iter().copied());
    for (name, value) in plan(named, threads).environment() {
        match value {
            Some(value) => child.env(name, value),
            None => child.env_remove(name),
        };
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap()
}

#[test]
#[ignore = "started by the others"]
fn one_cell() {
    let Ok(asked) = std::env::var(CELL) else { return };
    let [named, threads, asked, out] = asked.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{asked}")
    };
    let threads = threads.parse().unwrap();
    train::prepare_process(threads).unwrap();
    let plan = plan(named, threads);
    let mut found = Found::new();
    for (network, config) in configs() {
        let of_network = found.entry(network.to_owned()).or_default();
        let mut answer = |name: &str, asking| {
            let answers = train::answer(&Probe::of(&config), &plan, asking).unwrap();
            of_network.insert(name.to_owned(), answers);
        };
        answer("", Asking::default());
        if asked == "nudged" {
            answer("nudged", Asking { nudged: true, ..Asking::default() });
        }
        if asked == "faults" {
            for fault in FAULTS {
                answer(fault.name(), Asking { planted: Some(fault), nudged: false });
            }
        }
    }
    std::fs::write(out, serde_json::to_vec(&found).unwrap()).unwrap();
}

/// As `baseline accept` stores it: what its twins are is in `cmd/probe.rs`.
fn stored() -> BTreeMap<String, Stored> {
    let plain = cell(WINOGRAD, 1, Instructions::Own, "plain");
    let nudged = cell(WINOGRAD, 2, Instructions::Own, "nudged");
    let twins = [
        cell(EAGER, 2, Instructions::Own, "plain"),
        cell(TUNED, 1, Instructions::Avx2, "plain"),
        cell(FUSED, 2, Instructions::Own, "plain"),
        cell(EAGER, 1, Instructions::Sse41, "plain"),
    ];
    let of_network = |(network, answers): (String, BTreeMap<String, Answers>)| {
        let mut of_twins: Vec<Answers> = twins.iter().map(|twin| twin[&network][""].clone()).collect();
        of_twins.push(nudged[&network]["nudged"].clone());
        let stored = Stored::new(answers[""].clone(), &of_twins);
        (network, stored)
    };
    plain.into_iter().map(of_network).collect()
}

/// What every cell answers, by its name: of one thread as many at a time as there are cores.
fn cells(asked: &str) -> Vec<(String, Found)> {
    let mut found = Vec::new();
    for threads in THREADS {
        let all: Vec<_> =
            PLANS.into_iter().flat_map(|plan| instructions().map(move |of| (plan, of))).collect();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        for some in all.chunks((cores / threads as usize).max(1)) {
            std::thread::scope(|scope| {
                let ask = |&(plan, instructions): &(&'static str, Instructions)| {
                    let name = format!("{plan}, {threads} threads, {instructions:?}");
                    scope.spawn(move || (name, cell(plan, threads, instructions, asked)))
                };
                let asked: Vec<_> = some.iter().map(ask).collect();
                found.extend(asked.into_iter().map(|asked| asked.join().unwrap()));
            });
        }
    }
    found
}

/// Those of older processors whole: libtorch kept to their instructions by the environment, our own kernels by the build. Only
/// plans that have kernels of ours have other cells there.
fn cells_of_copies(asked: &str) -> Vec<(String, Found)> {
    let folder = std::env::var_os(COPIES);
    let folder = PathBuf::from(folder.expect("a folder of builds, as `just prove-gate` makes it"));
    let mut found = Vec::new();
    for (copy, instructions) in [("x86-64-v3", Instructions::Avx2), ("portable", Instructions::Sse41)] {
        for (plan, threads) in [(FUSED, 1), (WINOGRAD, 2), (LARGER_TILES, 1)] {
            let name = format!("{plan}, {threads} threads, {instructions:?}, own kernels {copy}");
            found.push((name, cell_by(&folder.join(copy), plan, threads, instructions, asked)));
        }
    }
    found
}

#[test]
#[ignore = "run by `just prove-gate`"]
fn honest_cells_are_within_rounding() {
    assert_honest(cells("plain"));
}

#[test]
#[ignore = "half an hour; run by `just prove-gate`"]
fn every_fault_is_beyond_rounding_in_every_cell() {
    assert_found(cells("faults"));
}

#[test]
#[ignore = "needs builds of its own; run by `just prove-gate`"]
fn honest_cells_of_our_own_copies_are_within_rounding() {
    assert_honest(cells_of_copies("plain"));
}

#[test]
#[ignore = "needs builds of its own; run by `just prove-gate`"]
fn every_fault_is_beyond_rounding_with_our_own_copies() {
    assert_found(cells_of_copies("faults"));
}

fn assert_honest(cells: Vec<(String, Found)>) {
    let stored = stored();
    let mut most: BTreeMap<String, f64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (cell, found) in cells {
        for (network, found) in found {
            let (stored, answers) = (&stored[&network], &found[""]);
            let distance = most.entry(network.clone()).or_default();
            *distance = distance.max(largest_distance(stored, answers));
            wrong.extend(compare(stored, answers).map(|change| format!("{network}, {cell}: {change}")));
        }
    }
    for (network, distance) in most {
        println!("{network}: honest cells are up to {distance:.1} envelopes away");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn assert_found(cells: Vec<(String, Found)>) {
    let stored = stored();
    // Of a network and a fault: the cells, the least distance and the parts that are named.
    let mut table: BTreeMap<(String, String), (u32, f64, Vec<&str>)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (cell, found) in cells {
        for (network, mut found) in found {
            let stored = &stored[&network];
            found.remove("");
            for (fault, answers) in found {
                let distance = largest_distance(stored, &answers);
                let Some(change) = compare(stored, &answers) else {
                    wrong.push(format!("{network}, {cell}: {fault} is not found ({distance:.1})"));
                    continue;
                };
                let row = table.entry((network.clone(), fault)).or_insert((0, f64::INFINITY, Vec::new()));
                // What is handed over is compared exactly, and needs no distance.
                let distance = change.distance.map_or(f64::INFINITY, |_| distance);
                (row.0, row.1) = (row.0 + 1, row.1.min(distance));
                if !row.2.contains(&change.part.name()) {
                    row.2.push(change.part.name());
                }
            }
        }
    }
    for ((network, fault), (cells, distance, parts)) in table {
        let distance = if distance.is_finite() { format!("{distance:.0}") } else { "exact".to_owned() };
        println!("| {network} | {fault} | {cells} | {distance} | {} |", parts.join(", "));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
