//! What only a GPU can show, for `pinbench`'s own sessions with one: `cargo test --release --lib gpu -- --ignored`.

use std::sync::PoisonError;

use tch::{Kind, Reduction, Tensor};

use super::tests::{Rows, config, data};
use super::*;
use crate::dataset::Name;
use crate::experiment::config::{Activation, Model, ModelName};
use crate::experiment::plan::{Device, MemoryFormat, PlanName};
use crate::train::GENERATOR;
use crate::train::optimizer::Optimizer;

const GPU: Device = Device::Cuda(0);

fn model(name: ModelName) -> Model {
    // Dropout is off, for its draws are the device's own.
    Model { name, activation: Activation::Relu, dropout: 0.0, pooling: None, norm: None }
}

/// Noise has no ties in a pooling window, which rounding would break.
fn noise(set: Name, count: i64) -> (Tensor, Tensor) {
    let shape = set.shape();
    let size = [count, shape.channels as i64, shape.height as i64, shape.width as i64];
    tch::manual_seed(7);
    let images = Tensor::rand(size, (Kind::Float, tch::Device::Cpu));
    let labels = Tensor::randint(i64::from(set.classes()), [count], (Kind::Int64, tch::Device::Cpu));
    (images, labels)
}

struct Step {
    loss: f64,
    /// In double precision on the host, in the order of the parameters.
    gradients: Vec<Tensor>,
    updates: Vec<Tensor>,
    names: Vec<String>,
}

/// One step from the initial weights of a seed on the same 64 images.
fn one_step(name: ModelName, set: Name, plan: &Plan, kind: Kind) -> Step {
    let place = Place::of(plan).unwrap();
    place.set_tf32(plan.tf32).unwrap();
    let init = Key::new(Seed(3), Stream::Init, 0, 0);
    let mut built = model::build(&model(name), plan, set.shape(), set.classes(), &init).unwrap();
    built.parameters.move_to(place).unwrap();
    for (_, mut tensor) in built.parameters.named() {
        if tensor.kind() == Kind::Float && kind != Kind::Float {
            let wide = tensor.to_kind(kind).detach();
            tch::no_grad(|| tensor.set_data(&wide));
        }
    }
    let params = built.parameters.trainable_tensors();
    let before: Vec<Tensor> = params.iter().map(|param| on_host(param)).collect();
    let mut optimizer = Optimizer::new(&config(1).optim, plan.optimizer, params).unwrap();
    let (images, labels) = noise(set, 64);
    let (images, labels) = (place.put(images.to_kind(kind)).unwrap(), place.put(labels).unwrap());
    let images = match plan.memory_format {
        MemoryFormat::Contiguous => images,
        MemoryFormat::ChannelsLast => images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
    };
    let logits = built.model.forward(&images, Mode::TRAIN).unwrap();
    let loss = cross_entropy(&logits, &labels, Reduction::Mean).unwrap();
    loss.backward();
    let params = built.parameters.trainable_tensors();
    let gradients = params.iter().map(|param| on_host(&param.grad())).collect();
    optimizer.step().unwrap();
    let updates = params.iter().zip(&before).map(|(param, before)| on_host(param) - before).collect();
    let names = built.parameters.trainable_names().map(str::to_owned).collect();
    Step { loss: loss.double_value(&[]), gradients, updates, names }
}

fn on_host(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double).contiguous().copy()
}

fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    let size = expected.norm().double_value(&[]);
    (found - expected).norm().double_value(&[]) / size
}

/// An open report has cuDNN give wrong gradients on an H100 (pytorch/pytorch#150700). The yardstick is the step in double
/// precision on the CPU; the CPU's own floats say how far honest rounding goes.
#[test]
#[ignore = "needs a GPU and a libtorch with CUDA"]
fn loss_gradients_and_updates_of_a_gpu_are_those_of_the_cpu_in_double_precision() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, set) in [(ModelName::SimpleCnn, Name::Mnist), (ModelName::ImprovedCnn, Name::Cifar10)] {
        let host = Plan::named(PlanName::Eager, 1, Device::Cpu);
        let exact = one_step(name, set, &host, Kind::Double);
        let rounded = one_step(name, set, &host, Kind::Float);
        let eager = Plan { tf32: false, ..Plan::named(PlanName::Eager, 1, GPU) };
        let plans = [
            ("eager without TF32", eager.clone(), 1e-3),
            ("tuned", Plan::named(PlanName::Tuned, 1, GPU), 1e-3),
            ("eager with TF32", Plan { tf32: true, ..eager }, 5e-2),
        ];
        let largest = exact.gradients.iter().map(|g| g.norm().double_value(&[])).fold(0.0, f64::max);
        for (what, plan, tolerance) in plans {
            let found = one_step(name, set, &plan, Kind::Float);
            println!("{name:?}, {what}: loss {} for {}", found.loss, exact.loss);
            assert!((found.loss - exact.loss).abs() < tolerance * exact.loss, "{name:?} {what}");
            for (i, parameter) in exact.names.iter().enumerate() {
                // The gradient of a bias before BatchNorm is 0 on paper, and rounding is all there is of it.
                if exact.gradients[i].norm().double_value(&[]) < 1e-9 * largest {
                    continue;
                }
                let of = |step: &Step| relative(&step.gradients[i], &exact.gradients[i]);
                let update = relative(&found.updates[i], &exact.updates[i]);
                println!(
                    "  {parameter}: gradient {:.1e} (CPU {:.1e}), update {update:.1e}",
                    of(&found),
                    of(&rounded)
                );
                assert!(of(&found) < tolerance, "{name:?} {what} {parameter}: {}", of(&found));
            }
        }
    }
}

/// Whole, again, and stopped in the middle: the same bits, dropout and the short last batch included.
#[test]
#[ignore = "needs a GPU and a libtorch with CUDA"]
fn a_training_on_a_gpu_has_the_same_bits_again_and_resumed() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (trial, data) = (Trial { config: config(3), seed: Seed(5) }, data());
    for plan in [PlanName::Eager, PlanName::Tuned].map(|name| Plan::named(name, 1, GPU)) {
        let run = |rows: &mut Rows, state: Option<Vec<u8>>| {
            let steps = rows.steps.clone();
            let resume = state.as_deref().map(|state| (state, steps.as_slice()));
            train(&trial, &plan, &data, Options { resume, ..Options::default() }, rows).unwrap()
        };
        let whole = run(&mut Rows::default(), None);
        assert_eq!(run(&mut Rows::default(), None).final_weights, whole.final_weights, "{plan:?}");
        let mut rows = Rows { stop_after: Some(6), ..Rows::default() };
        assert_eq!(run(&mut rows, None).ending, Ending::Stopped { step: 6 });
        let state = rows.kept.take().unwrap().state;
        rows.stop_after = None;
        assert_eq!(run(&mut rows, Some(state)).final_weights, whole.final_weights, "{plan:?}");
    }
}

/// Beside a test of bits: the marks of a step, and what they cost the host.
#[test]
#[ignore = "needs a GPU and a libtorch with CUDA"]
fn the_marks_of_a_step_on_a_gpu_cost_microseconds() {
    let place = Place::of(&Plan::named(PlanName::Tuned, 1, GPU)).unwrap();
    let mut recorder = place.recorder().unwrap();
    let clock = Monotonic::start();
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = clock.now_ns();
        let mut timing = Timing::start(&clock, Some(&mut recorder), None).unwrap();
        for phase in
            [Phase::Copy, Phase::Load, Phase::Forward, Phase::Backward, Phase::Optimizer, Phase::ReadBack]
        {
            timing.end(phase, 1).unwrap();
        }
        timing.stop().unwrap();
        took.push((clock.now_ns() - began) as f64);
    }
    let ns = crate::stats::median(&took).unwrap();
    println!(
        "seven marks and reading them: {:.1} µs a step, median of 200 steps in which nothing happens",
        ns / 1e3
    );
    assert!(ns < 1e6, "{ns}");
}
