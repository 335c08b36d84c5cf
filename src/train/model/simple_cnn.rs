//! SimpleCNN of the notes: two convolution blocks and two linear layers.

use tch::{TchError, Tensor};

use crate::data::Shape;
use crate::experiment::config::{Activation, Model as ModelConfig};
use crate::train::activation;
use crate::train::layer::{BatchNorm, Conv3x3, Linear};
use crate::train::model::{Model, Order};
use crate::train::parameters::Parameters;

/// Conv 3×3 (C→32) → BatchNorm → act → MaxPool 2 → Conv 3×3 (32→64) → BatchNorm → act → MaxPool 2 → Flatten →
/// Linear(→128) → act → Dropout → Linear(128→classes).
pub struct SimpleCnn {
    blocks: [(Conv3x3, BatchNorm); 2],
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    dropout: f64,
    order: Order,
}

impl SimpleCnn {
    pub fn new(
        parameters: &mut Parameters,
        config: &ModelConfig,
        order: Order,
        shape: Shape,
        classes: u8,
    ) -> Result<Self, TchError> {
        let conv1 = Conv3x3::new(parameters, "conv1", shape.channels as i64, 32)?;
        let bn1 = BatchNorm::new(parameters, "bn1", 32)?;
        let conv2 = Conv3x3::new(parameters, "conv2", 32, 64)?;
        let bn2 = BatchNorm::new(parameters, "bn2", 64)?;
        // Each pooling halves both sides: 28 → 14 → 7, 32 → 16 → 8.
        let flattened = 64 * (shape.height / 4) * (shape.width / 4);
        let fc1 = Linear::new(parameters, "fc1", flattened as i64, 128)?;
        let fc2 = Linear::new(parameters, "fc2", 128, i64::from(classes))?;
        let (activation, dropout) = (config.activation, config.dropout);
        Ok(Self { blocks: [(conv1, bn1), (conv2, bn2)], fc1, fc2, activation, dropout, order })
    }

    fn activate_and_pool(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let pool = |x: &Tensor| x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        if self.order.pool_first && self.activation.is_monotone() {
            activation::apply(self.activation, pool(x)?, true)
        } else {
            pool(&activation::apply(self.activation, x.shallow_clone(), false)?)
        }
    }

    /// The output of every layer that changes the shape, for the tests; `forward` with the walls taken out.
    fn forward_through(
        &self,
        images: &Tensor,
        train: bool,
        mut seen: impl FnMut(&'static str, &Tensor),
    ) -> Result<Tensor, TchError> {
        let mut x = images.shallow_clone();
        for ((conv, norm), names) in self.blocks.iter().zip([["conv1", "pool1"], ["conv2", "pool2"]]) {
            x = conv.forward(&x)?;
            seen(names[0], &x);
            x = self.activate_and_pool(&norm.forward(&x, train)?)?;
            seen(names[1], &x);
        }
        let flat = x.f_flatten(1, -1)?;
        seen("flatten", &flat);
        let hidden = activation::apply(self.activation, self.fc1.forward(&flat)?, self.order.pool_first)?;
        seen("fc1", &hidden);
        self.fc2.forward(&hidden.f_dropout(self.dropout, train)?)
    }
}

impl Model for SimpleCnn {
    fn forward(&self, images: &Tensor, train: bool) -> Result<Tensor, TchError> {
        self.forward_through(images, train, |_, _| {})
    }

    fn forward_seen(
        &self,
        images: &Tensor,
        train: bool,
        see: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor, TchError> {
        let mut x = images.shallow_clone();
        for ((conv, norm), name) in self.blocks.iter().zip(["act1", "act2"]) {
            x = activation::apply(self.activation, norm.forward(&conv.forward(&x)?, train)?, false)?;
            see(name, &x);
            x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        let hidden = activation::apply(self.activation, self.fc1.forward(&x.f_flatten(1, -1)?)?, false)?;
        see("act3", &hidden);
        self.fc2.forward(&hidden.f_dropout(self.dropout, train)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Name;
    use crate::experiment::config::ModelName;
    use crate::experiment::plan::{Device, Plan, PlanName, Pooling};
    use crate::stream::{Key, Seed, Stream};
    use crate::train::GENERATOR;
    use crate::train::evaluate::cross_entropy;
    use crate::train::resident::{Resident, indices};
    use tch::Reduction;

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
    fn model(plan: &Plan, set: Name) -> (SimpleCnn, Parameters) {
        let mut parameters = Parameters::new(&Key::new(Seed(0), Stream::Init, 0, 0), plan.memory_format);
        let order = Order::of(plan);
        let model = SimpleCnn::new(&mut parameters, &config(), order, set.shape(), set.classes()).unwrap();
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
    fn every_intermediate_shape_is_the_one_in_the_notes() {
        let shapes = |set| {
            let plan = Plan::named(PlanName::Tuned, 1, Device::Cpu);
            let _alone = GENERATOR.lock().unwrap();
            let mut shapes = Vec::new();
            let see = |name, tensor: &Tensor| shapes.push((name, tensor.size()));
            let logits = model(&plan, set).0.forward_through(&batch(&plan, set).0, false, see).unwrap();
            assert_eq!(logits.size(), [8, 10]);
            shapes
        };
        let expected = |side: i64| {
            let (half, quarter) = (side / 2, side / 4);
            vec![
                ("conv1", vec![8, 32, side, side]),
                ("pool1", vec![8, 32, half, half]),
                ("conv2", vec![8, 64, half, half]),
                ("pool2", vec![8, 64, quarter, quarter]),
                ("flatten", vec![8, 64 * quarter * quarter]),
                ("fc1", vec![8, 128]),
            ]
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
