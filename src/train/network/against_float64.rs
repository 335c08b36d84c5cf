//! The gradients of a whole step against those in float64, beside the distance that libtorch's operators have from them.

use tch::{Kind, Reduction, Tensor};

use super::{Built, Mode, build};
use crate::experiment::Plan;
use crate::experiment::plan::{Convolution, Device, PlanName};
use crate::network::{Layer, Preset, PresetName, Size, infer};
use crate::stream::{Key, Seed, Stream};
use crate::train::GENERATOR;

const BATCH: i64 = 16;

/// Smooth, so that no rounding decides which way a gradient goes.
const SMOOTH: &str = r#"[
    {"conv": 32, "kernel": 3, "pad": 1}, "batch_norm", "tanh",
    {"conv": 64, "kernel": 3, "pad": 1}, "batch_norm", "tanh", {"avg_pool": 2},
    {"residual": [{"conv": 64, "kernel": 3, "pad": 1}, "batch_norm", "tanh"]},
    {"conv": 128, "kernel": 3, "pad": 1}, "tanh", {"avg_pool": 2},
    {"conv": 128, "kernel": 3, "pad": 1, "bias": false}, "batch_norm", "tanh",
    "flatten", {"linear": "classes"}
]"#;

fn built(layers: &[Layer], plan: &Plan) -> Built {
    let input = Size::Image { channels: 3, height: 32, width: 32 };
    let steps = infer(layers, input, 10).unwrap();
    build(&steps, plan, &Key::new(Seed(3), Stream::Init, 0, 0)).unwrap()
}

/// The loss of one batch and what each parameter gets of it, under `plan` with numbers of `kind`.
fn gradients(layers: &[Layer], plan: &Plan, kind: Kind, images: &Tensor) -> Vec<(String, Tensor)> {
    let built = built(layers, plan);
    {
        let _no_grad = tch::no_grad_guard();
        let parameters = &built.parameters;
        for mut tensor in parameters.trainable_tensors().into_iter().chain(parameters.buffers()) {
            tensor.set_data(&tensor.detach().to_kind(kind));
        }
    }
    let labels = Tensor::arange(BATCH, (Kind::Int64, tch::Device::Cpu)).remainder(10);
    let mode = Mode { dropout: false, ..Mode::TRAIN };
    let logits = built.network.forward(&images.to_kind(kind), mode).unwrap();
    logits.cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Mean, -100, 0.0).backward();
    let names = built.parameters.trainable_names().map(str::to_owned);
    names.zip(built.parameters.trainable_tensors().into_iter().map(|tensor| tensor.grad().copy())).collect()
}

fn distance(found: &Tensor, truth: &Tensor) -> f64 {
    let found = found.to_kind(Kind::Double);
    let error = (&found - truth).square().mean(Kind::Double).sqrt().double_value(&[]);
    error / truth.square().mean(Kind::Double).sqrt().double_value(&[])
}

/// By layer, the distances from float64 of plan tuned and of tuned with Winograd convolutions by each version of their table.
/// The bias of a convolution in front of BatchNorm is left out: its gradient is 0.
fn distances(layers: &[Layer]) -> Vec<(String, f64, [f64; 2])> {
    let _alone = GENERATOR.lock().unwrap();
    let tuned = Plan::named(PlanName::Tuned, 1, Device::Cpu);
    tch::manual_seed(21);
    let images = Tensor::rand([BATCH, 3, 32, 32], (Kind::Float, tch::Device::Cpu));
    let images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let truth = gradients(layers, &tuned, Kind::Double, &images);
    let stock = gradients(layers, &tuned, Kind::Float, &images);
    let own = [1, 2].map(|policy| {
        let own = Plan { convolution: Convolution::Winograd { policy }, ..tuned.clone() };
        gradients(layers, &own, Kind::Float, &images)
    });
    let all = truth.into_iter().zip(stock).enumerate();
    all.filter(|(_, ((name, _), _))| name.ends_with("weight"))
        .map(|(index, ((name, truth), stock))| {
            let own = own.each_ref().map(|own| distance(&own[index].1, &truth));
            (name, distance(&stock.1, &truth), own)
        })
        .collect()
}

#[test]
fn the_gradients_of_a_smooth_network_are_within_rounding_of_float64() {
    let layers: Vec<Layer> = serde_json::from_str(SMOOTH).unwrap();
    for (name, stock, [own, larger]) in distances(&layers) {
        println!("{name}: tuned {stock:.2e}, with winograd {own:.2e}, with tiles of 4×4 {larger:.2e}");
        assert!(own <= (2.0 * stock).max(2e-6), "{name}: {own:e}, {stock:e}");
        assert!(larger <= (6.0 * stock).max(6e-6), "{name}: {larger:e}, {stock:e}");
    }
}

/// With ReLU and max-pooling a value within rounding of another may decide otherwise, under either plan: a layer's
/// gradient then moves by a thousandth.
#[test]
fn the_gradients_of_the_deep_preset_stay_within_what_decisions_move() {
    for (name, stock, [own, larger]) in distances(&Preset::of(PresetName::ImprovedCnn).layers()) {
        println!("{name}: tuned {stock:.2e}, with winograd {own:.2e}, with tiles of 4×4 {larger:.2e}");
        assert!([stock, own, larger].iter().all(|one| *one < 0.03), "{name}: {stock:e}, {own:e}, {larger:e}");
    }
}
