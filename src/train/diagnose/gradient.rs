//! The gradient of the training loss, in train mode: its norm layer by layer, and how much it varies between images.

use tch::{Reduction, Tensor};

use crate::row::Diagnostic;
use crate::train::TrainError;
use crate::train::diagnose::{Reading, dot};
use crate::train::evaluate::smoothed_cross_entropy;
use crate::train::network::{Built, Mode};
use crate::train::resident::Batch;

/// Images a gradient is taken of at once: BatchNorm normalises over them.
const SMALL: i64 = 64;

pub(super) fn readings(built: &Built, batch: &Batch, smoothing: f64) -> Result<Vec<Reading>, TrainError> {
    let params = built.parameters.trainable_tensors();
    let gradient = |index: i64| -> Result<Vec<Tensor>, TrainError> {
        let part = |tensor: &Tensor| tensor.f_narrow(0, index * SMALL, SMALL);
        let logits = built.network.forward(&part(&batch.images)?, Mode::TRAIN)?;
        let loss = smoothed_cross_entropy(&logits, &part(&batch.labels)?, Reduction::Mean, smoothing)?;
        Ok(Tensor::f_run_backward(&[loss], &params, false, false)?)
    };
    let count = batch.labels.size()[0] / SMALL;
    // A tiny training set may not even have two parts.
    let Some(Noise { mean, squared, variance }) = noise(count, SMALL as f64, gradient)? else {
        return Ok(Vec::new());
    };
    let mut readings = Vec::new();
    let parameters = &built.parameters;
    for ((name, is_weight), gradient) in parameters.trainable_names().zip(parameters.are_weights()).zip(&mean)
    {
        // A norm over biases, or over what normalises, says little.
        if let Some(layer) = name.strip_suffix(".weight").filter(|_| is_weight) {
            let norm = dot(std::slice::from_ref(gradient), std::slice::from_ref(gradient))?.sqrt();
            readings.push((Diagnostic::GradientNorm, layer.to_owned(), norm));
        }
    }
    readings.push((Diagnostic::GradientSquared, String::new(), squared));
    readings.push((Diagnostic::GradientVariance, String::new(), variance));
    Ok(readings)
}

/// The mean gradient, and the unbiased estimates of |G|² and tr Σ.
struct Noise {
    mean: Vec<Tensor>,
    squared: f64,
    variance: f64,
}

/// From the gradients of `count` parts of `small` images each; `None` below two parts.
///
/// McCandlish et al., arXiv 1812.06162, appendix A.1: with |g_b|² the squared norm of a part's gradient, averaged
/// over the parts, and |g_B|² that of the gradient of all B = count·b images,
/// |G|² = (B·|g_B|² − b·|g_b|²) / (B − b) and tr Σ = (|g_b|² − |g_B|²) / (1/b − 1/B). Either may come out below 0.
fn noise(
    count: i64,
    small: f64,
    gradient: impl Fn(i64) -> Result<Vec<Tensor>, TrainError>,
) -> Result<Option<Noise>, TrainError> {
    if count < 2 {
        return Ok(None);
    }
    let mut mean = gradient(0)?;
    let mut small_squared = dot(&mean, &mean)?;
    for index in 1..count {
        let part = gradient(index)?;
        small_squared += dot(&part, &part)?;
        for (sum, part) in mean.iter_mut().zip(&part) {
            *sum = sum.f_add(part)?;
        }
    }
    for sum in &mut mean {
        *sum = sum.f_div_scalar(count)?;
    }
    let small_squared = small_squared / count as f64;
    let (large, large_squared) = (small * count as f64, dot(&mean, &mean)?);
    Ok(Some(Noise {
        mean,
        squared: (large * large_squared - small * small_squared) / (large - small),
        variance: (small_squared - large_squared) / (1.0 / small - 1.0 / large),
    }))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::train::GENERATOR;

    #[test]
    fn parts_without_noise_have_no_variance() {
        let gradient = |_| Ok(vec![Tensor::from_slice(&[3.0_f32, 4.0])]);
        let found = noise(4, 64.0, gradient).unwrap().unwrap();
        assert_eq!((found.squared, found.variance), (25.0, 0.0));
        assert!(noise(1, 64.0, gradient).unwrap().is_none());
    }

    /// Gradients of 8 images each, drawn with |G|² = 4 and tr Σ = 100 · 0.25 = 25.
    #[test]
    fn estimates_are_unbiased_for_gradients_of_known_mean_and_covariance() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(7);
        let gradient = |_| {
            let noise = Tensor::randn([8, 100], (Kind::Double, Device::Cpu)) * 0.5;
            Ok(vec![noise.mean_dim([0_i64].as_slice(), false, Kind::Double) + 0.2])
        };
        let studies = 400;
        let found: Vec<Noise> = (0..studies).map(|_| noise(8, 8.0, gradient).unwrap().unwrap()).collect();
        let mean = |value: fn(&Noise) -> f64| found.iter().map(value).sum::<f64>() / f64::from(studies);
        // Standard errors of the means are about 0.01 and 0.07.
        assert!((mean(|noise| noise.squared) - 4.0).abs() < 0.05, "{}", mean(|noise| noise.squared));
        assert!((mean(|noise| noise.variance) - 25.0).abs() < 0.35, "{}", mean(|noise| noise.variance));
    }
}
