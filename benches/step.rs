//! Time of a training step by plan, model and batch, and of its phases: `cargo bench --bench step`.
//!
//! Each sample is a fresh training whose first steps are left out; what is timed is `train::run`'s own step time. A
//! plan's allocator settings are read when a process starts, so the benchmark starts itself anew for each plan.

use std::process::Command;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use pinbench::clock::Phase;
use pinbench::data::{self, DataSet, Name};
use pinbench::experiment::config::{Data, Model, Optim, OptimName, Preset, PresetName, Train};
use pinbench::experiment::plan::{Device, Plan, PlanName};
use pinbench::experiment::{Config, Trial};
use pinbench::row::{Diagnostics, EpochRow, StepRow};
use pinbench::stream::Seed;
use pinbench::train::{self, Control, Observer, Options, Started};

/// Each sample has its own: more would be most of the time at batch 1024.
const WARM_UP_STEPS: u64 = 4;
/// Says to a process which plan it has the environment of.
const PLAN: &str = "PINBENCH_BENCH_PLAN";

/// What of a step is timed; `None` is all of it.
#[derive(Clone, Copy)]
struct Timed {
    phase: Option<Phase>,
    wanted: u64,
    total_ns: u64,
}

impl Observer for Timed {
    fn started(&mut self, _: &Started) {}

    fn stepped(&mut self, row: &StepRow) -> Control {
        if row.step >= WARM_UP_STEPS {
            self.total_ns += self.phase.map_or(row.times.total_ns, |phase| row.times.ns(phase).unwrap_or(0));
        }
        if row.step + 1 < WARM_UP_STEPS + self.wanted { Control::Continue } else { Control::Stop }
    }

    fn measured(&mut self, _: &EpochRow) {}
}

fn trial(name: PresetName, set: Name, batch: u32) -> Trial {
    let config = Config {
        data: Data { eval_limit: Some(500), ..Data::of(set) },
        model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(name) }),
        optim: Optim::of(OptimName::Adam, 0.001),
        train: Train { batch, epochs: 100, ..Train::default() },
        augment: None,
    };
    Trial { config, seed: Seed(0) }
}

fn steps(plan: &Plan, trial: &Trial, phase: Option<Phase>, wanted: u64, data: &DataSet) -> Duration {
    let mut timed = Timed { phase, wanted, total_ns: 0 };
    let options = Options { diagnostics: Diagnostics::Off, ..Options::default() };
    train::train(trial, plan, data, options, &mut timed).expect("a benchmark has nobody to recover for");
    // A phase that the plan does not have takes no time, which criterion cannot divide by.
    Duration::from_nanos(timed.total_ns.max(1))
}

fn bench(plan: &Plan) {
    let root = data::root().expect("a cache folder");
    let load = |set| data::load(set, &root).unwrap_or_else(|error| panic!("{error}"));
    train::prepare_process(plan.threads).expect("libtorch");
    let mut criterion = Criterion::default().configure_from_args();
    let (mnist, cifar10) = (load(Name::mnist()), load(Name::cifar10()));
    let cases: [(PresetName, &str, &DataSet, &[u32]); 2] = [
        (PresetName::SimpleCnn, "simple_cnn", &mnist, &[64, 128, 1024]),
        (PresetName::ImprovedCnn, "improved_cnn", &cifar10, &[64]),
    ];
    for (model, name, data, batches) in cases {
        let mut group = criterion.benchmark_group(format!("step/{}/{name}", plan.name));
        group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(8));
        for &batch in batches {
            group.throughput(Throughput::Elements(u64::from(batch)));
            let trial = trial(model, data.name, batch);
            group.bench_function(BenchmarkId::from_parameter(format!("{batch:04}")), |bencher| {
                bencher.iter_custom(|wanted| steps(plan, &trial, None, wanted, data));
            });
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group(format!("phase/{}/simple_cnn/0128", plan.name));
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(128));
    let trial = trial(PresetName::SimpleCnn, Name::mnist(), 128);
    for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Copy) {
        group.bench_function(phase.name(), |bencher| {
            bencher.iter_custom(|wanted| steps(plan, &trial, Some(phase), wanted, &mnist));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let plans = [PlanName::Eager, PlanName::Tuned, PlanName::Fused, PlanName::Winograd]
        .map(|name| Plan::named(name, threads, Device::Cpu));
    if let Ok(wanted) = std::env::var(PLAN) {
        return plans.iter().filter(|plan| plan.name.to_string() == wanted).for_each(bench);
    }
    for plan in plans {
        let mut child = Command::new(std::env::current_exe().expect("own path"));
        child.args(std::env::args_os().skip(1)).env(PLAN, plan.name.to_string());
        for (name, value) in plan.environment() {
            match value {
                Some(value) => child.env(name, value),
                None => child.env_remove(name),
            };
        }
        let status = child.status().expect("the benchmark starts again");
        assert!(status.success(), "plan {}: {status}", plan.name);
    }
}
