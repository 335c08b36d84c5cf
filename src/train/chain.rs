//! The hash chain of a run: what two runs of one trial compare, step by step, to find where they part.
//!
//! After each step the chain takes in the step, the images of its batch and the bits of its loss; after some it takes in
//! every tensor of the model and the optimizer too, whose own hashes are kept beside it. Two chains that agree at a step
//! agree at every step before, so that the first difference is found by bisection.

use tch::Tensor;

use crate::digest::{Digest, Hasher};
use crate::row::ChainRow;
use crate::train::TrainError;

/// Steps between two looks at all tensors. Hashing SimpleCNN's and Adam's takes as long as a step of batch 64 or less.
const TENSORS_EVERY: u64 = 100;

/// Bytes of the chain, from the start or from a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chain(Digest);

/// A tensor and its name.
pub(super) type Named = (String, Tensor);

impl Chain {
    pub(super) fn new(initial_weights: Digest) -> Self {
        Self(initial_weights)
    }

    pub(super) fn at(link: Digest) -> Self {
        Self(link)
    }

    pub(super) fn link(self) -> Digest {
        self.0
    }

    /// Whether the tensors are looked at after `step`, from 0, which may be the last of its epoch.
    pub(super) fn sees_tensors(step: u64, is_last_of_epoch: bool) -> bool {
        is_last_of_epoch || (step + 1).is_multiple_of(TENSORS_EVERY)
    }

    /// Takes in a step: the positions of its images in the training file, and its loss.
    pub(super) fn step(
        &mut self,
        step: u64,
        images: &[u32],
        loss: f64,
        tensors: &[Named],
    ) -> Result<Vec<ChainRow>, TrainError> {
        let mut hasher = Hasher::new();
        hasher.update(self.0.bytes());
        hasher.update(&step.to_le_bytes());
        images.iter().for_each(|image| hasher.update(&image.to_le_bytes()));
        hasher.update(&loss.to_bits().to_le_bytes());
        let mut rows = Vec::with_capacity(1 + tensors.len());
        for (name, tensor) in tensors {
            let digest = digest(tensor)?;
            hasher.update(digest.bytes());
            rows.push(ChainRow { step, of: name.clone(), hash: short(digest) });
        }
        self.0 = hasher.finish();
        rows.push(ChainRow { step, of: String::new(), hash: short(self.0) });
        Ok(rows)
    }
}

fn short(digest: Digest) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| digest.bytes()[index]))
}

fn digest(tensor: &Tensor) -> Result<Digest, TrainError> {
    Ok(Digest::of(&bytes(tensor)?))
}

/// The values as little-endian floats in logical order, so that neither the memory format nor the device shows:
/// `f_copy_data` copies to the host first where it has to.
pub(super) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TrainError> {
    let flat = tensor.f_detach()?.f_contiguous()?;
    let mut values = vec![0_f32; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}
