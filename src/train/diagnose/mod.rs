//! Diagnostics: what the loss and the network look like at the weights there are, measured between epochs.
//!
//! They never change a training: dropout's generator is set anew before every step, BatchNorm's running statistics
//! and the weights are put back bit for bit, and gradients are cleared. Their time is neither a step's nor an
//! evaluation's.

mod activations;
mod gradient;
mod hessian;
mod sharpness;

use tch::{Reduction, Tensor};

use crate::row::{Diagnostic, DiagnosticRow};
use crate::stream::{Key, Seed, Stream};
use crate::train::TrainError;
use crate::train::evaluate::cross_entropy;
use crate::train::network::{Built, Mode};
use crate::train::place::Place;
use crate::train::resident::{Batch, Resident, indices};

/// Images the gradient is taken over, at most; an eighth of the training images of a small run, but four parts of it.
const GRADIENT_IMAGES: usize = 1024;
/// Images the curvature is taken over, at most; fewer in a small run. A Hessian-vector product costs about four
/// training steps of as many images.
const CURVATURE_IMAGES: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Gradients and activations.
    Cheap,
    /// Curvature too.
    Full,
}

/// The images that are looked at, the same at every epoch. On a GPU the power iteration of the curvature starts from a
/// vector of that device's own generator, and so from another one than on the CPU.
pub(super) struct Diagnosis {
    gradient: Tensor,
    curvature: Tensor,
    key: Key,
    /// Of the labels of the training loss.
    smoothing: f64,
}

impl Diagnosis {
    /// Draws from the positions `train` of the training file, for a set that is at `place`.
    pub(super) fn new(train: &[u32], seed: Seed, place: Place, smoothing: f64) -> Result<Self, TrainError> {
        let key = Key::new(seed, Stream::Diagnose, 0, 0);
        let order = key.permutation(train.len() as u32);
        let first = |images: usize| -> Result<Tensor, TrainError> {
            let first = &order[..images.clamp(1, train.len())];
            let first: Vec<u32> = first.iter().map(|&index| train[index as usize]).collect();
            Ok(place.put(indices(&first)?)?)
        };
        Ok(Self {
            gradient: first(GRADIENT_IMAGES.min((train.len() / 8).max(256)))?,
            curvature: first(CURVATURE_IMAGES.min(train.len() / 48))?,
            key,
            smoothing,
        })
    }

    /// Everything that is measured at the end of `epoch`.
    pub(super) fn rows(
        &self,
        epoch: u32,
        depth: Depth,
        built: &Built,
        set: &Resident,
    ) -> Result<Vec<DiagnosticRow>, TrainError> {
        let row = |(diagnostic, of, value): Reading| DiagnosticRow { epoch, diagnostic, of, value };
        let batch = set.batch(&self.gradient)?;
        let mut readings = activations::readings(&built.network, &batch)?;
        tch::manual_seed(self.key.torch_seed());
        readings.extend(keeping_buffers(built, || gradient::readings(built, &batch, self.smoothing))?);
        if depth == Depth::Full {
            let batch = set.batch(&self.curvature)?;
            let loss = || eval_loss(built, &batch);
            let params = built.parameters.trainable_tensors();
            let eigenvalue = hessian::largest_eigenvalue(&params, &loss, self.key.torch_seed())?;
            readings.push((Diagnostic::HessianEigenvalue, String::new(), eigenvalue));
            let sharpness = sharpness::epsilon_sharpness(&params, &loss)?;
            readings.push((Diagnostic::EpsilonSharpness, String::new(), sharpness));
        }
        Ok(readings.into_iter().map(row).collect())
    }
}

/// A number, what it is and what it is of.
type Reading = (Diagnostic, String, f64);

/// The loss as a function of the weights alone: no dropout, BatchNorm by its running statistics.
fn eval_loss(built: &Built, batch: &Batch) -> Result<Tensor, TrainError> {
    cross_entropy(&built.network.forward(&batch.images, Mode::CURVED)?, &batch.labels, Reduction::Mean)
}

/// Runs `work`, which may train BatchNorm's running statistics, and puts them back.
fn keeping_buffers<T>(built: &Built, work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    let buffers = built.parameters.buffers();
    let kept = copies(&buffers)?;
    let result = work();
    restore(&buffers, &kept)?;
    result
}

fn copies(tensors: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
    let copy = |tensor: &Tensor| {
        let mut copy = tensor.f_detach()?.f_empty_like()?;
        copy.f_copy_(&tensor.f_detach()?)?;
        Ok(copy)
    };
    tensors.iter().map(copy).collect()
}

fn restore(tensors: &[Tensor], kept: &[Tensor]) -> Result<(), TrainError> {
    let _no_grad = tch::no_grad_guard();
    for (tensor, kept) in tensors.iter().zip(kept) {
        tensor.shallow_clone().f_copy_(kept)?;
    }
    Ok(())
}

/// The inner product over lists of tensors, in double precision.
fn dot(a: &[Tensor], b: &[Tensor]) -> Result<f64, TrainError> {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += a.f_mul(b)?.f_sum(tch::Kind::Double)?.f_double_value(&[])?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn the_inner_product_runs_over_all_tensors() {
        let a = [Tensor::from_slice(&[1.0_f32, 2.0]), Tensor::from_slice(&[3.0_f32])];
        let b = [Tensor::from_slice(&[4.0_f32, 5.0]), Tensor::from_slice(&[6.0_f32])];
        assert_eq!(dot(&a, &b).unwrap(), 32.0);
    }

    #[test]
    fn restoring_brings_every_bit_back() {
        let tensors = [Tensor::randn([3, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true)];
        let kept = copies(&tensors).unwrap();
        let _filled = tch::no_grad(|| tensors[0].shallow_clone().fill_(7.0));
        assert!(!tensors[0].equal(&kept[0]));
        restore(&tensors, &kept).unwrap();
        assert!(tensors[0].equal(&kept[0]));
    }
}
