//! Loss and scores over a list of images in eval mode.

use tch::{Kind, Reduction, Tensor};

use crate::planted::Planted;
use crate::train::TrainError;
use crate::train::network::{BatchNormMode, Mode, Network};
use crate::train::resident::Resident;
use crate::train::tally::Tally;

/// Images a forward pass. It divides the study's splits, and its activations stay in a few MiB of cache.
pub const EVALUATION_BATCH: i64 = 500;

pub(super) struct Score {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of the images whose largest logit is the label's.
    pub accuracy: f64,
    pub tally: Tally,
}

/// Scores the images of `set` at `indices`, which are at least one.
pub(super) fn evaluate(
    network: &Network,
    set: &Resident,
    indices: &Tensor,
    classes: u16,
    planted: Option<Planted>,
) -> Result<Score, TrainError> {
    let mut mode = Mode::EVAL;
    mode.dropout = planted == Some(Planted::EvalDropout);
    if planted == Some(Planted::EvalWithoutBatchNorm) {
        mode.batch_norm = BatchNormMode::Off;
    }
    let _no_grad = tch::no_grad_guard();
    let images = indices.numel() as i64;
    let (mut loss, mut tally) = (0.0, Tally::new(usize::from(classes)));
    for start in (0..images).step_by(EVALUATION_BATCH as usize) {
        let part = indices.f_narrow(0, start, EVALUATION_BATCH.min(images - start))?;
        let mut batch = set.batch(&part)?;
        if planted == Some(Planted::Normalisation) {
            batch.images = batch.images.f_mul_scalar(255.0)?;
        }
        let logits = network.forward(&batch.images, mode)?;
        loss += cross_entropy(&logits, &batch.labels, Reduction::Sum)?.f_double_value(&[])?;
        let logits = logits.f_contiguous()?;
        tally.add(&Vec::<f32>::try_from(logits.f_view(-1)?)?, &Vec::<i64>::try_from(&batch.labels)?);
    }
    Ok(Score { loss: loss / images as f64, accuracy: tally.correct() as f64 / images as f64, tally })
}

pub(super) fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    reduction: Reduction,
) -> Result<Tensor, TrainError> {
    smoothed_cross_entropy(logits, labels, reduction, 0.0)
}

/// The same against labels of which a share is spread over all classes.
pub(super) fn smoothed_cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    reduction: Reduction,
    smoothing: f64,
) -> Result<Tensor, TrainError> {
    Ok(logits.f_cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, smoothing)?)
}

/// How many of the images have their largest logit at their label: a 64-bit integer scalar, where the logits are.
pub(super) fn correct_count(logits: &Tensor, labels: &Tensor) -> Result<Tensor, TrainError> {
    Ok(logits.f_argmax(1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Int64)?)
}
