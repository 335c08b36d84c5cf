//! The tensors of a model by name, in the order they were made, and how they start.
//!
//! Initial values are PyTorch's `reset_parameters`, drawn in PyTorch's order (layer by layer, weight before bias)
//! from libtorch's generator, so that one seed gives the same weights as a Python script. tch's own layers do not:
//! their bounds are √6 larger, convolution biases 0, BatchNorm weights uniform, and biases are drawn first.

use std::collections::BTreeSet;

use tch::{Device, Kind, TchError, Tensor};

use crate::digest::{Digest, Hasher};
use crate::experiment::plan::MemoryFormat;
use crate::stream::Key;
use crate::train::TrainError;
use crate::train::chain::{Named, bytes};
use crate::train::place::Place;

pub(crate) struct Parameters {
    format: MemoryFormat,
    names: Vec<String>,
    tensors: Vec<Tensor>,
    /// Names of the weights of convolutions and linear layers.
    weights: BTreeSet<String>,
}

impl Parameters {
    /// Starts libtorch's generator from `init`; the layers then draw from it one after the other.
    pub(crate) fn new(init: &Key, format: MemoryFormat) -> Self {
        tch::manual_seed(init.torch_seed());
        Self { format, names: Vec::new(), tensors: Vec::new(), weights: BTreeSet::new() }
    }

    /// Of tensors with four dimensions.
    pub(crate) fn format(&self) -> MemoryFormat {
        self.format
    }

    /// Kaiming-uniform with a = √5, as `nn.Conv2d` and `nn.Linear` have it: U(−1/√fan_in, 1/√fan_in), computed
    /// as PyTorch does so that the bound has the same bits.
    pub(crate) fn weight(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, TchError> {
        let drawn = kaiming(shape)?;
        let tensor = match (self.format, shape.len()) {
            (MemoryFormat::ChannelsLast, 4) => channels_last(&drawn)?,
            _ => drawn,
        };
        self.weights.insert(name.to_owned());
        self.trainable(name, tensor)
    }

    /// The same, whatever the memory format.
    pub(crate) fn plain_weight(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, TchError> {
        let drawn = kaiming(shape)?;
        self.weights.insert(name.to_owned());
        self.trainable(name, drawn)
    }

    /// U(−1/√fan_in, 1/√fan_in), where the fan-in is that of the weight; draws nothing where there is none.
    pub(crate) fn bias(
        &mut self,
        name: &str,
        weight_shape: &[i64],
        is_there: bool,
    ) -> Result<Option<Tensor>, TchError> {
        if !is_there {
            return Ok(None);
        }
        let bound = 1.0 / (fan_in(weight_shape) as f64).sqrt();
        let tensor = uniform(&weight_shape[..1], bound)?;
        self.trainable(name, tensor).map(Some)
    }

    pub(crate) fn constant(&mut self, name: &str, shape: &[i64], value: f64) -> Result<Tensor, TchError> {
        let tensor = Tensor::f_full(shape, value, (Kind::Float, Device::Cpu))?;
        self.trainable(name, tensor)
    }

    /// A tensor the forward pass updates and no gradient reaches.
    pub(crate) fn buffer(&mut self, name: &str, len: i64, value: f64) -> Result<Tensor, TchError> {
        let tensor = Tensor::f_full([len], value, (Kind::Float, Device::Cpu))?;
        self.register(name, &tensor);
        Ok(tensor)
    }

    fn trainable(&mut self, name: &str, tensor: Tensor) -> Result<Tensor, TchError> {
        let tensor = tensor.f_set_requires_grad(true)?;
        self.register(name, &tensor);
        Ok(tensor)
    }

    fn register(&mut self, name: &str, tensor: &Tensor) {
        self.names.push(name.to_owned());
        self.tensors.push(tensor.shallow_clone());
    }

    /// Moves the values, which are drawn on the host so that one seed gives the same ones everywhere, to `place`. The
    /// tensors stay the ones that the layers hold; those that others copy or make beside them have to be made afterwards.
    pub(crate) fn move_to(&mut self, place: Place) -> Result<(), TchError> {
        if place == Place::HOST {
            return Ok(());
        }
        self.replace_values(|values| place.put(values))
    }

    /// As PyTorch's `Module.to`: what every handle of a tensor shares stays, its storage goes.
    fn replace_values(
        &mut self,
        replaced: impl Fn(Tensor) -> Result<Tensor, TchError>,
    ) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        for tensor in &mut self.tensors {
            let values = replaced(tensor.f_detach()?)?;
            tensor.f_set_data(&values)?;
        }
        Ok(())
    }

    pub(crate) fn trainable_tensors(&self) -> Vec<Tensor> {
        self.tensors.iter().filter(|tensor| tensor.requires_grad()).map(Tensor::shallow_clone).collect()
    }

    /// Names of [`Self::trainable_tensors`], in their order.
    pub(crate) fn trainable_names(&self) -> impl Iterator<Item = &str> {
        let pairs = self.names.iter().zip(&self.tensors);
        pairs.filter(|(_, tensor)| tensor.requires_grad()).map(|(name, _)| name.as_str())
    }

    /// Of each of [`Self::trainable_tensors`] whether it is a weight of a convolution or a linear layer: neither a bias nor a
    /// slope nor of a norm, whatever its dimensions.
    pub(crate) fn are_weights(&self) -> Vec<bool> {
        self.trainable_names().map(|name| self.weights.contains(name)).collect()
    }

    /// All tensors, buffers too, as `model.<name>`.
    pub(crate) fn named(&self) -> Vec<Named> {
        let named = |(name, tensor): (&String, &Tensor)| (format!("model.{name}"), tensor.shallow_clone());
        self.names.iter().zip(&self.tensors).map(named).collect()
    }

    /// Names for a copy of all tensors: `<prefix>.<name>`.
    pub(crate) fn name_copies(&self, prefix: &str, copies: &[Tensor]) -> Vec<Named> {
        let named = |(name, tensor): (&String, &Tensor)| (format!("{prefix}.{name}"), tensor.shallow_clone());
        self.names.iter().zip(copies).map(named).collect()
    }

    /// What a forward pass in train mode updates.
    pub(crate) fn buffers(&self) -> Vec<Tensor> {
        self.tensors.iter().filter(|tensor| !tensor.requires_grad()).map(Tensor::shallow_clone).collect()
    }

    /// Number of trained values.
    pub(crate) fn count(&self) -> usize {
        self.trainable_tensors().iter().map(Tensor::numel).sum()
    }

    /// Copies of all tensors, buffers too, in the order they were made.
    pub(crate) fn copy(&self) -> Result<Vec<Tensor>, TchError> {
        let _no_grad = tch::no_grad_guard();
        let copy = |tensor: &Tensor| {
            let mut copy = tensor.f_empty_like()?;
            copy.f_copy_(tensor)?;
            Ok(copy)
        };
        self.tensors.iter().map(copy).collect()
    }

    /// Puts the values of [`Self::copy`] back, bit for bit, into the tensors the model holds.
    pub(crate) fn restore(&mut self, kept: &[Tensor]) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        self.tensors.iter_mut().zip(kept).try_for_each(|(tensor, kept)| tensor.f_copy_(kept))
    }

    /// SHA-256 over name, shape and values of every tensor, buffers too, in the order they were made. Values are
    /// little-endian floats in logical order, so the memory format does not show.
    pub(crate) fn digest(&self) -> Result<Digest, TrainError> {
        let mut hasher = Hasher::new();
        for (name, tensor) in self.names.iter().zip(&self.tensors) {
            hasher.update(format!("{name} {:?}\n", tensor.size()).as_bytes());
            hasher.update(&bytes(tensor)?);
        }
        Ok(hasher.finish())
    }
}

fn kaiming(shape: &[i64]) -> Result<Tensor, TchError> {
    let gain = (2.0_f64 / (1.0 + 5.0_f64.sqrt().powi(2))).sqrt();
    uniform(shape, 3.0_f64.sqrt() * (gain / (fan_in(shape) as f64).sqrt()))
}

fn fan_in(shape: &[i64]) -> i64 {
    shape[1..].iter().product()
}

fn uniform(shape: &[i64], bound: f64) -> Result<Tensor, TchError> {
    Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?.f_uniform_(-bound, bound)
}

/// The strides are spelled out because for one input channel both layouts have the same size-1 stride and libtorch
/// would leave the tensor as it is.
fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    let [_, channels, height, width] = tensor.size()[..] else {
        return Ok(tensor.shallow_clone());
    };
    let strides = [channels * height * width, 1, width * channels, channels];
    let mut out = Tensor::f_empty_strided(tensor.size(), strides, (tensor.kind(), tensor.device()))?;
    out.f_copy_(tensor)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Seed, Stream};
    use crate::train::GENERATOR;

    /// Of a convolution of one channel, whose strides are the delicate ones.
    fn parameters() -> (Parameters, Tensor) {
        let key = Key::new(Seed(0), Stream::Init, 0, 0);
        let mut parameters = Parameters::new(&key, MemoryFormat::ChannelsLast);
        let weight = parameters.weight("conv1.weight", &[4, 1, 3, 3]).unwrap();
        let _buffer = parameters.buffer("bn1.running_var", 4, 1.0).unwrap();
        (parameters, weight)
    }

    #[test]
    fn on_the_host_nothing_moves() {
        let _alone = GENERATOR.lock().unwrap();
        let (mut parameters, weight) = parameters();
        let before = weight.data_ptr();
        parameters.move_to(Place::HOST).unwrap();
        assert_eq!(weight.data_ptr(), before);
    }

    /// What a device gets, with another place in memory for it.
    #[test]
    fn values_that_are_moved_are_those_of_every_handle_and_learn_as_before() {
        let _alone = GENERATOR.lock().unwrap();
        let (mut parameters, weight) = parameters();
        let (address, strides) = (weight.data_ptr(), weight.stride());
        let digest = parameters.digest().unwrap();
        let copied = |values: Tensor| -> Result<Tensor, TchError> {
            let mut copy = values.f_empty_like()?;
            copy.f_copy_(&values)?;
            Ok(copy)
        };
        parameters.replace_values(copied).unwrap();
        assert_ne!(weight.data_ptr(), address);
        assert_eq!((weight.stride(), parameters.digest().unwrap()), (strides, digest));
        assert_eq!((parameters.trainable_tensors().len(), parameters.buffers().len()), (1, 1));
        // LayerNorm has as many dimensions as an image.
        let _norm = parameters.constant("ln.weight", &[2, 3, 3], 1.0).unwrap();
        let _bias = parameters.bias("fc.bias", &[4, 2], true).unwrap();
        let _linear = parameters.plain_weight("fc.weight", &[4, 2]).unwrap();
        assert_eq!(parameters.are_weights(), [true, false, false, true]);
        weight.f_mul_scalar(3.0).unwrap().sum(Kind::Float).backward();
        let gradient = parameters.trainable_tensors()[0].grad();
        assert_eq!(Vec::<f32>::try_from(gradient.reshape([-1])).unwrap(), [3.0; 36]);
    }
}
