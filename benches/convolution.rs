//! Time of one pass of a convolution by layer and algorithm, oneDNN's and Winograd's with tiles of 2×2 and of 4×4:
//! `cargo bench --bench convolution`.
//!
//! The layers are those of the two presets, at batch 64. A backward pass is timed with the multiplication that hands it its
//! gradient, which all algorithms have alike. The allocator's settings are those of plan tuned, and are read when a process
//! starts, so the benchmark starts itself anew.

use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use tch::{Device, Kind, Tensor};

use pinbench::experiment::plan::{self, Plan, PlanName};
use pinbench::network::{Algorithm, Algorithms};
use pinbench::train;

const IMAGES: i64 = 64;
/// Side of the images, channels in and out.
const LAYERS: [(i64, i64, i64); 6] =
    [(14, 32, 64), (32, 32, 64), (16, 64, 128), (16, 128, 128), (8, 128, 256), (8, 256, 256)];
const ALGORITHMS: [(Algorithm, &str); 3] = [
    (Algorithm::Direct, "direct"),
    (Algorithm::WinogradF2, "winograd-2x2"),
    (Algorithm::WinogradF4, "winograd-4x4"),
];
/// Says to a process that it has the environment.
const STARTED: &str = "PINBENCH_BENCH_STARTED";

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Forward,
    BackwardData,
    BackwardWeights,
}

struct Layer {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    grad: Tensor,
}

impl Layer {
    fn new((side, input, output): (i64, i64, i64)) -> Self {
        let normal = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let images = |size: &[i64]| normal(size).permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        Self {
            x: images(&[IMAGES, input, side, side]),
            weight: images(&[output, input, 3, 3]),
            bias: normal(&[output]),
            grad: images(&[IMAGES, output, side, side]),
        }
    }

    fn forward(&self, algorithm: Algorithm) -> Tensor {
        let (weight, bias) = (&self.weight, Some(&self.bias));
        match algorithm {
            Algorithm::Direct => self.x.conv2d(weight, bias, [1, 1], [1, 1], [1, 1], 1),
            own => train::convolution(&self.x, weight, bias, Algorithms::all(own)).expect("it fits"),
        }
    }

    /// So many passes.
    fn time(&self, pass: Pass, algorithm: Algorithm, times: u64) -> Duration {
        let _ = self.x.set_requires_grad(pass == Pass::BackwardData);
        let _ = self.weight.set_requires_grad(pass == Pass::BackwardWeights);
        let _ = self.bias.set_requires_grad(pass == Pass::BackwardWeights);
        let y = self.forward(algorithm);
        if pass == Pass::Forward {
            let began = Instant::now();
            (0..times).for_each(|_| drop(self.forward(algorithm)));
            return began.elapsed();
        }
        let loss = (y * &self.grad).sum(Kind::Float);
        let inputs = match pass {
            Pass::BackwardData => vec![&self.x],
            _ => vec![&self.weight, &self.bias],
        };
        let began = Instant::now();
        (0..times).for_each(|_| drop(Tensor::run_backward(&[&loss], &inputs, true, false)));
        began.elapsed()
    }
}

fn bench() {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    train::prepare_process(threads).expect("libtorch");
    // A short window, for they are many; criterion's interval says what it is worth.
    let criterion = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200));
    let mut criterion = criterion.measurement_time(Duration::from_millis(600)).configure_from_args();
    for shape in LAYERS {
        let (side, input, output) = shape;
        let layer = Layer::new(shape);
        let mut group = criterion.benchmark_group(format!("convolution/{input}-{output}/{side}x{side}"));
        group.throughput(Throughput::Elements((18 * IMAGES * side * side * input * output) as u64));
        for (pass, name) in
            [(Pass::Forward, "forward"), (Pass::BackwardData, "data"), (Pass::BackwardWeights, "weights")]
        {
            for (algorithm, by) in ALGORITHMS {
                group.bench_function(format!("{name}/{by}"), |bencher| {
                    bencher.iter_custom(|times| layer.time(pass, algorithm, times));
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

fn main() {
    if std::env::var_os(STARTED).is_some() {
        return bench();
    }
    let mut child = Command::new(std::env::current_exe().expect("own path"));
    child.args(std::env::args_os().skip(1)).env(STARTED, "1");
    for (name, value) in Plan::named(PlanName::Tuned, 2, plan::Device::Cpu).environment() {
        match value {
            // The number of threads is that of the machine.
            _ if name.ends_with("NUM_THREADS") => &mut child,
            Some(value) => child.env(name, value),
            None => child.env_remove(name),
        };
    }
    let status = child.status().expect("the benchmark starts again");
    assert!(status.success(), "{status}");
}
