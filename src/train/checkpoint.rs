//! The state of a training between two steps, as the bytes of one safetensors file.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::digest::Digest;
use crate::train::TrainError;
use crate::train::chain::{Named, bytes};

/// Key of the position in the file's own metadata.
const POSITION: &str = "pinbench";

/// Where a training stands, apart from its tensors and rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The epoch that goes on, and its batches that are done: all of them when only its evaluation is left.
    pub epoch: u32,
    pub batches: u64,
    pub step: u64,
    pub initial_weights: Digest,
    pub chain: Digest,
    pub evaluate_ns: u64,
    pub diagnose_ns: u64,
    pub wall_ns: u64,
    /// With early stopping: the best epoch, and its loss as bits, which may be infinite.
    pub best: Option<(u32, u64)>,
}

pub(super) fn encode(position: &Position, tensors: &[Named]) -> Result<Vec<u8>, TrainError> {
    let internal = |error: &dyn std::fmt::Display| TrainError::Internal(format!("a checkpoint: {error}"));
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if tensor.kind() != Kind::Float {
            return Err(internal(&format!("'{name}' is {:?}, expected 32-bit floats", tensor.kind())));
        }
        let shape: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
        parts.push((name, shape, bytes(tensor)?));
    }
    let views = parts.iter().map(|(name, shape, bytes)| {
        Ok((
            name.as_str(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|error| internal(&error))?,
        ))
    });
    let views = views.collect::<Result<Vec<_>, TrainError>>()?;
    let position = serde_json::to_string(position).map_err(|error| internal(&error))?;
    let metadata = Some(HashMap::from([(POSITION.to_owned(), position)]));
    serialize(views, &metadata).map_err(|error| internal(&error))
}

/// What [`encode`] wrote.
pub(super) struct Decoded<'a> {
    pub position: Position,
    tensors: SafeTensors<'a>,
}

impl<'a> Decoded<'a> {
    pub(super) fn new(file: &'a [u8]) -> Result<Self, TrainError> {
        let (_, header) = SafeTensors::read_metadata(file).map_err(|error| refused(&error))?;
        let position = header.metadata().as_ref().and_then(|metadata| metadata.get(POSITION));
        let position = position.ok_or_else(|| refused(&"it has no position"))?;
        Ok(Self {
            position: serde_json::from_str(position).map_err(|error| refused(&error))?,
            tensors: SafeTensors::deserialize(file).map_err(|error| refused(&error))?,
        })
    }

    /// Writes the values into the tensors of these names, wherever those are; all must be in the file, in their shape.
    pub(super) fn restore(&self, into: &[Named]) -> Result<(), TrainError> {
        let _no_grad = tch::no_grad_guard();
        for (name, tensor) in into {
            tensor.shallow_clone().f_copy_(&self.tensor(name, &tensor.size())?)?;
        }
        Ok(())
    }

    fn tensor(&self, name: &str, size: &[i64]) -> Result<Tensor, TrainError> {
        let view = self.tensors.tensor(name).map_err(|error| refused(&format!("'{name}': {error}")))?;
        let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
        if view.dtype() != Dtype::F32 || shape != size {
            let found = format!("{:?} {shape:?}", view.dtype());
            return Err(refused(&format!("'{name}' is {found}, expected F32 {size:?}")));
        }
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(std::array::from_fn(|index| bytes[index])))
            .collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(size)?)
    }
}

fn refused(error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Checkpoint(error.to_string())
}
