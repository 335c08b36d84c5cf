//! Loss and accuracy over a list of images in eval mode.

use tch::{Kind, Reduction, Tensor};

use crate::train::TrainError;
use crate::train::model::Model;
use crate::train::resident::Resident;

/// Images a forward pass. It divides the study's splits, and its activations stay in a few MiB of cache.
pub const EVALUATION_BATCH: i64 = 500;

/// Means over the images: cross-entropy in nats, and the share whose largest logit is the label's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Score {
    pub loss: f64,
    pub accuracy: f64,
}

/// Scores the images of `set` at `indices`, which are at least one.
pub fn evaluate(model: &dyn Model, set: &Resident, indices: &Tensor) -> Result<Score, TrainError> {
    let _no_grad = tch::no_grad_guard();
    let images = indices.numel() as i64;
    let (mut loss, mut correct) = (0.0, 0);
    for start in (0..images).step_by(EVALUATION_BATCH as usize) {
        let part = indices.f_narrow(0, start, EVALUATION_BATCH.min(images - start))?;
        let batch = set.batch(&part)?;
        let logits = model.forward(&batch.images, false)?;
        loss += cross_entropy(&logits, &batch.labels, Reduction::Sum)?.f_double_value(&[])?;
        correct += correct_count(&logits, &batch.labels)?;
    }
    Ok(Score { loss: loss / images as f64, accuracy: correct as f64 / images as f64 })
}

pub fn cross_entropy(logits: &Tensor, labels: &Tensor, reduction: Reduction) -> Result<Tensor, TrainError> {
    Ok(logits.f_cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, 0.0)?)
}

pub fn correct_count(logits: &Tensor, labels: &Tensor) -> Result<i64, TrainError> {
    Ok(logits.f_argmax(1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Int64)?.f_int64_value(&[])?)
}
