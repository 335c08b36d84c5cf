//! Time of one training step of SimpleCNN on MNIST by batch size, under the tuned plan: `cargo bench --bench step`.
//!
//! Each sample is a fresh training whose first steps are left out; what is timed is `train::run`'s own step time.
//! The plan's allocator settings are read when a process starts, so the benchmark starts itself anew with them.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use pinbench::data::{self, DataSet, Name};
use pinbench::experiment::config::{Activation, Data, Model, ModelName, Optim, OptimName, Train};
use pinbench::experiment::plan::{Device, Plan, PlanName};
use pinbench::experiment::{Config, Trial};
use pinbench::row::{Diagnostics, EpochRow, StepRow};
use pinbench::stream::Seed;
use pinbench::train::{self, Control, Observer, Options, Started};

const WARM_UP_STEPS: u64 = 10;

struct Timed {
    wanted: u64,
    total_ns: u64,
}

impl Observer for Timed {
    fn started(&mut self, _: &Started) {}

    fn stepped(&mut self, row: &StepRow) -> Control {
        if row.step >= WARM_UP_STEPS {
            self.total_ns += row.times.total_ns;
        }
        if row.step + 1 < WARM_UP_STEPS + self.wanted { Control::Continue } else { Control::Stop }
    }

    fn measured(&mut self, _: &EpochRow) {}
}

fn trial(batch: u32) -> Trial {
    let set = Name::Mnist;
    let config = Config {
        data: Data { set, digest: set.digest(), validation: 0.2, train_limit: None, eval_limit: Some(500) },
        model: Model {
            name: ModelName::SimpleCnn,
            activation: Activation::Relu,
            dropout: 0.5,
            pooling: None,
            norm: None,
        },
        optim: Optim {
            name: OptimName::Adam,
            lr: 0.001,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: None,
            schedule: None,
        },
        train: Train {
            batch,
            epochs: 100,
            max_steps: None,
            target_loss: None,
            patience: None,
            min_delta: None,
            replicate: None,
        },
        augment: None,
    };
    Trial { config, seed: Seed(0) }
}

fn steps(plan: &Plan, batch: u32, wanted: u64, data: &DataSet) -> Duration {
    let mut timed = Timed { wanted, total_ns: 0 };
    let options = Options { diagnostics: Diagnostics::Off, ..Options::default() };
    train::train(&trial(batch), plan, data, options, &mut timed)
        .expect("a benchmark has nobody to recover for");
    Duration::from_nanos(timed.total_ns)
}

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let plan = Plan::named(PlanName::Tuned, threads, Device::Cpu);
    if plan.environment().iter().any(|(name, value)| std::env::var(name).ok() != *value) {
        let mut again = Command::new(std::env::current_exe().expect("own path"));
        again.args(std::env::args_os().skip(1));
        for (name, value) in plan.environment() {
            match value {
                Some(value) => again.env(name, value),
                None => again.env_remove(name),
            };
        }
        panic!("cannot start the benchmark again: {}", again.exec());
    }
    let root = data::root().expect("a cache folder");
    let data = data::load(Name::Mnist, &root).unwrap_or_else(|error| panic!("{error}"));
    train::prepare_process(threads).expect("libtorch");
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("step/tuned/simple_cnn");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(10));
    for batch in [64, 128, 1024] {
        group.throughput(Throughput::Elements(u64::from(batch)));
        let id = BenchmarkId::from_parameter(format!("{batch:04}"));
        group.bench_function(id, |bencher| bencher.iter_custom(|wanted| steps(&plan, batch, wanted, &data)));
    }
    group.finish();
    criterion.final_summary();
}
