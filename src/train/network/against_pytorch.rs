//! Both presets beside what PyTorch made of them, and beside the notes.

use tch::{Reduction, Tensor};

use crate::dataset::Name;
use crate::experiment::plan::{Device, Plan, PlanName, Pooling};
use crate::network::{Activation, Preset, PresetName, Size, infer};
use crate::stream::{Key, Seed, Stream};
use crate::train::GENERATOR;
use crate::train::evaluate::cross_entropy;
use crate::train::network::{Built, Mode, build};
use crate::train::resident::{Resident, indices};

/// What PyTorch computed once, by `tools/reference.py`.
fn reference(name: PresetName, set: Name) -> serde_json::Value {
    let text = include_str!("../../../tests/data/pytorch.json");
    let name = if name == PresetName::SimpleCnn { "simple_cnn" } else { "improved_cnn" };
    serde_json::from_str::<serde_json::Value>(text).unwrap()[name][set.as_str()].clone()
}

fn config(name: PresetName) -> Preset {
    Preset { dropout: 0.5, ..Preset::of(name) }
}

/// Called under `GENERATOR`, for it draws.
fn built(name: PresetName, plan: &Plan, set: Name) -> Built {
    let init = Key::new(Seed(0), Stream::Init, 0, 0);
    let shape = set.shape();
    let [channels, height, width] = [shape.channels, shape.height, shape.width].map(|side| side as u64);
    let steps = infer(&config(name).layers(), Size::Image { channels, height, width }, 10).unwrap();
    build(&steps, plan, &init).unwrap()
}

/// Eight images of a pattern that Python can make too.
fn batch(plan: &Plan, set: Name) -> (Tensor, Tensor) {
    let shape = set.shape();
    let pixels = (0..8 * shape.len() as u64).map(|index| (index * 7919 % 256) as u8).collect();
    let images = crate::data::Images { pixels, labels: (0..8).collect(), shape };
    let set = Resident::new(&images, plan.memory_format).unwrap();
    let batch = set.batch(&indices(&(0..8).collect::<Vec<_>>()).unwrap()).unwrap();
    (batch.images, batch.labels)
}

/// Both models on both shapes of image, under both plans that equal PyTorch.
fn cases() -> impl Iterator<Item = (PresetName, Name, PlanName)> {
    let models = [PresetName::SimpleCnn, PresetName::ImprovedCnn].into_iter();
    let pairs = models.flat_map(|name| [Name::mnist(), Name::cifar10()].map(|set| (name, set)));
    pairs.flat_map(|(name, set)| [PlanName::Eager, PlanName::Tuned].map(|plan| (name, set, plan)))
}

#[test]
fn initial_weights_are_those_of_pytorch_bit_for_bit() {
    for (name, set, plan) in cases() {
        let (reference, _alone) = (reference(name, set), GENERATOR.lock().unwrap());
        let parameters = built(name, &Plan::named(plan, 1, Device::Cpu), set).parameters;
        assert_eq!(parameters.count() as u64, reference["parameters"].as_u64().unwrap());
        let expected = reference["initial_weights"].as_str().unwrap();
        assert_eq!(parameters.digest().unwrap().to_string(), expected, "{name:?} {set} {plan}");
    }
}

#[test]
fn first_step_loss_and_logits_are_those_of_pytorch() {
    for (name, set, plan) in cases() {
        let (reference, plan) = (reference(name, set), Plan::named(plan, 1, Device::Cpu));
        let _alone = GENERATOR.lock().unwrap();
        let built = built(name, &plan, set);
        let (images, labels) = batch(&plan, set);
        tch::manual_seed(Key::new(Seed(0), Stream::Dropout, 0, 0).torch_seed());
        let logits = built.network.forward(&images, Mode::TRAIN).unwrap();
        let loss = cross_entropy(&logits, &labels, Reduction::Mean).unwrap().double_value(&[]);
        // Another processor or thread count sums in another order; 1e-5 is a hundred roundings of a logit.
        assert!((loss - reference["loss"].as_f64().unwrap()).abs() < 1e-5, "{name:?} {set}: {loss}");
        let logits = Vec::<f32>::try_from(logits.flatten(0, -1)).unwrap();
        let expected: Vec<f64> = serde_json::from_value(reference["logits"].clone()).unwrap();
        assert_eq!(logits.len(), expected.len());
        for (found, expected) in logits.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 2e-5, "{name:?} {set}: {found} {expected}");
        }
    }
}

#[test]
fn every_activation_has_the_shape_in_the_notes() {
    let shapes = |set| {
        let plan = Plan::named(PlanName::Tuned, 1, Device::Cpu);
        let _alone = GENERATOR.lock().unwrap();
        let mut shapes = Vec::new();
        let mut see =
            |name: &str, _: Activation, tensor: &Tensor| shapes.push((name.to_owned(), tensor.size()));
        let logits = built(PresetName::SimpleCnn, &plan, set)
            .network
            .forward_seen(&batch(&plan, set).0, Mode::EVAL, &mut see)
            .unwrap();
        assert_eq!(logits.size(), [8, 10]);
        shapes
    };
    let expected = |side: i64| {
        let shapes = [vec![8, 32, side, side], vec![8, 64, side / 2, side / 2], vec![8, 128]];
        ["act1", "act2", "act3"].map(str::to_owned).into_iter().zip(shapes).collect::<Vec<_>>()
    };
    assert_eq!(shapes(Name::mnist()), expected(28));
    assert_eq!(shapes(Name::cifar10()), expected(32));
}

/// The tuned plan pools before ReLU; the maximum of the same numbers has the same bits.
#[test]
fn pooling_before_relu_changes_no_bit_of_output_or_gradient() {
    let run = |pooling| {
        let plan = Plan { pooling, ..Plan::named(PlanName::Tuned, 1, Device::Cpu) };
        let _alone = GENERATOR.lock().unwrap();
        let Built { network, parameters } = built(PresetName::SimpleCnn, &plan, Name::mnist());
        let (images, labels) = batch(&plan, Name::mnist());
        tch::manual_seed(1);
        let logits = network.forward(&images, Mode::TRAIN).unwrap();
        cross_entropy(&logits, &labels, Reduction::Mean).unwrap().backward();
        let grads = parameters.trainable_tensors().iter().map(Tensor::grad).collect::<Vec<_>>();
        (logits, grads)
    };
    let (written, first) = (run(Pooling::AsWritten), run(Pooling::BeforeMonotoneActivation));
    assert!(written.0.equal(&first.0));
    assert!(written.1.iter().zip(&first.1).all(|(written, first)| written.equal(first)));
}
