//! SimpleCNN of the notes: two convolution blocks and two linear layers.

use crate::train::model::stack::Layout;

/// Conv 3×3 (C→32) → BatchNorm → act → MaxPool 2 → Conv 3×3 (32→64) → BatchNorm → act → MaxPool 2 → Flatten →
/// Linear(→128) → act → Dropout → Linear(128→classes).
pub const LAYOUT: Layout = Layout { blocks: &[(32, true), (64, true)], hidden: 128 };

#[cfg(test)]
mod tests {
    use tch::{Reduction, Tensor};

    use super::*;
    use crate::dataset::Name;
    use crate::experiment::config::{Activation, Model as ModelConfig, ModelName};
    use crate::experiment::plan::{Device, Plan, PlanName, Pooling};
    use crate::stream::{Key, Seed, Stream};
    use crate::train::GENERATOR;
    use crate::train::evaluate::cross_entropy;
    use crate::train::model::stack::Stack;
    use crate::train::model::{Model as _, Order};
    use crate::train::parameters::Parameters;
    use crate::train::resident::{Resident, indices};

    /// What PyTorch computed once, by `tools/reference.py`.
    fn reference(set: Name) -> serde_json::Value {
        let text = include_str!("../../../tests/data/simple_cnn.json");
        serde_json::from_str::<serde_json::Value>(text).unwrap()[set.as_str()].clone()
    }

    fn config() -> ModelConfig {
        ModelConfig {
            name: ModelName::SimpleCnn,
            activation: Activation::Relu,
            dropout: 0.5,
            pooling: None,
            norm: None,
        }
    }

    /// Called under `GENERATOR`, for it draws.
    fn model(plan: &Plan, set: Name) -> (Stack, Parameters) {
        let mut parameters = Parameters::new(&Key::new(Seed(0), Stream::Init, 0, 0), plan.memory_format);
        let order = Order::of(plan);
        let model =
            Stack::new(&mut parameters, &LAYOUT, &config(), order, set.shape(), set.classes()).unwrap();
        (model, parameters)
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

    const PLANS: [PlanName; 2] = [PlanName::Eager, PlanName::Tuned];

    #[test]
    fn initial_weights_are_those_of_pytorch_bit_for_bit() {
        for set in [Name::Mnist, Name::Cifar10] {
            let (reference, _alone) = (reference(set), GENERATOR.lock().unwrap());
            for name in PLANS {
                let (_, parameters) = model(&Plan::named(name, 1, Device::Cpu), set);
                assert_eq!(parameters.count() as u64, reference["parameters"].as_u64().unwrap());
                assert_eq!(
                    parameters.digest().unwrap().to_string(),
                    reference["initial_weights"].as_str().unwrap()
                );
            }
        }
    }

    #[test]
    fn first_step_loss_and_logits_are_those_of_pytorch() {
        for (set, name) in
            [Name::Mnist, Name::Cifar10].into_iter().flat_map(|set| PLANS.map(|name| (set, name)))
        {
            let (reference, plan) = (reference(set), Plan::named(name, 1, Device::Cpu));
            let _alone = GENERATOR.lock().unwrap();
            let (model, _) = model(&plan, set);
            let (images, labels) = batch(&plan, set);
            tch::manual_seed(Key::new(Seed(0), Stream::Dropout, 0, 0).torch_seed());
            let logits = model.forward(&images, true).unwrap();
            let loss = cross_entropy(&logits, &labels, Reduction::Mean).unwrap().double_value(&[]);
            // Another processor or thread count sums in another order; 1e-5 is a hundred roundings of a logit.
            assert!((loss - reference["loss"].as_f64().unwrap()).abs() < 1e-5, "{set} {name}: {loss}");
            let logits = Vec::<f32>::try_from(logits.flatten(0, -1)).unwrap();
            let expected: Vec<f64> = serde_json::from_value(reference["logits"].clone()).unwrap();
            assert_eq!(logits.len(), expected.len());
            for (found, expected) in logits.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{set} {name}: {found} {expected}");
            }
        }
    }

    #[test]
    fn every_activation_has_the_shape_in_the_notes() {
        let shapes = |set| {
            let plan = Plan::named(PlanName::Tuned, 1, Device::Cpu);
            let _alone = GENERATOR.lock().unwrap();
            let mut shapes = Vec::new();
            let mut see = |name: &str, tensor: &Tensor| shapes.push((name.to_owned(), tensor.size()));
            let logits = model(&plan, set).0.forward_seen(&batch(&plan, set).0, false, &mut see).unwrap();
            assert_eq!(logits.size(), [8, 10]);
            shapes
        };
        let expected = |side: i64| {
            let shapes = [vec![8, 32, side, side], vec![8, 64, side / 2, side / 2], vec![8, 128]];
            ["act1", "act2", "act3"].map(str::to_owned).into_iter().zip(shapes).collect::<Vec<_>>()
        };
        assert_eq!(shapes(Name::Mnist), expected(28));
        assert_eq!(shapes(Name::Cifar10), expected(32));
    }

    /// The tuned plan pools before ReLU; the maximum of the same numbers has the same bits.
    #[test]
    fn pooling_before_relu_changes_no_bit_of_output_or_gradient() {
        let run = |pooling| {
            let plan = Plan { pooling, ..Plan::named(PlanName::Tuned, 1, Device::Cpu) };
            let _alone = GENERATOR.lock().unwrap();
            let (model, parameters) = model(&plan, Name::Mnist);
            let (images, labels) = batch(&plan, Name::Mnist);
            tch::manual_seed(1);
            let logits = model.forward(&images, true).unwrap();
            cross_entropy(&logits, &labels, Reduction::Mean).unwrap().backward();
            let grads = parameters.trainable_tensors().iter().map(Tensor::grad).collect::<Vec<_>>();
            (logits, grads)
        };
        let (written, first) = (run(Pooling::AsWritten), run(Pooling::BeforeMonotoneActivation));
        assert!(written.0.equal(&first.0));
        assert!(written.1.iter().zip(&first.1).all(|(written, first)| written.equal(first)));
    }
}
