//! What a metric is worth in one run.

use std::collections::BTreeMap;

use crate::analyse::confusion::Confusion;
use crate::analyse::measure::Measures;
use crate::experiment::metric::{Metric, Quantity};
use crate::record::LoadedRun;
use crate::row::{Diagnostic, Split, StepRow};
use crate::stats;
use crate::stats::target::{LOOK_EVERY, Target};

/// The value of `metric`; `None` where the run's rows do not say, as for what was never measured or never reached.
pub fn value(metric: Metric, run: &LoadedRun, measures: &Measures) -> Option<f64> {
    let at = metric.at;
    let accuracy = |split| Some(epoch_row(run, split, at)?.accuracy);
    let loss = |split| Some(epoch_row(run, split, at)?.loss);
    let timing = measures.timing.as_ref();
    match metric.quantity {
        Quantity::ValAcc => accuracy(Split::Validation),
        Quantity::ValLoss => loss(Split::Validation),
        Quantity::TrainAcc => accuracy(Split::Train),
        Quantity::TrainLoss => loss(Split::Train),
        Quantity::TrainEvalAcc => accuracy(Split::TrainEval),
        Quantity::TrainEvalLoss => loss(Split::TrainEval),
        Quantity::TestAcc => accuracy(Split::Test),
        Quantity::TestLoss => loss(Split::Test),
        Quantity::GapAcc => Some(accuracy(Split::TrainEval)? - accuracy(Split::Validation)?),
        Quantity::GapLoss => Some(loss(Split::Validation)? - loss(Split::TrainEval)?),
        Quantity::GapAsTrained => Some(accuracy(Split::Train)? - accuracy(Split::Validation)?),
        Quantity::TestTop3 => of_test(run, Diagnostic::Top3),
        Quantity::TestEce => of_test(run, Diagnostic::CalibrationError),
        Quantity::TestPrecision => Some(test_confusion(run)?.macro_mean(Confusion::precision)),
        Quantity::TestRecall => Some(test_confusion(run)?.macro_mean(Confusion::recall)),
        Quantity::TestF1 => Some(test_confusion(run)?.macro_mean(Confusion::f1)),
        Quantity::EarlyLoss => early_loss(run, at.unwrap_or(1.0)),
        Quantity::Roughness => roughness(&run.steps),
        Quantity::EpochsToTrainLoss => {
            let images = images_to(&run.steps, at?)?.1;
            Some(images as f64 / images_per_epoch(run))
        }
        Quantity::UpdatesToTrainLoss => Some(images_to(&run.steps, at?)?.0 as f64),
        Quantity::GradientNoiseScale => noise_scale(run),
        Quantity::GradientVariance => {
            Some(last(run, Diagnostic::GradientVariance)? / f64::from(run.record.trial.config.train.batch))
        }
        Quantity::GradientCovariance => last(run, Diagnostic::GradientVariance),
        Quantity::Sharpness => last(run, Diagnostic::HessianEigenvalue),
        Quantity::EpsilonSharpness => last(run, Diagnostic::EpsilonSharpness),
        Quantity::GradientNormFirst => layers(run, Diagnostic::GradientNorm).first().map(|(_, norm)| *norm),
        Quantity::GradientNormRatio => {
            let norms = layers(run, Diagnostic::GradientNorm);
            Some(norms.first()?.1 / norms.last()?.1)
        }
        Quantity::SaturatedShare => mean_of_layers(run, Diagnostic::SaturatedShare),
        Quantity::DeadShare => mean_of_layers(run, Diagnostic::DeadShare),
        // The rows of its steps may have been taken away from a run.
        Quantity::Updates => Some(match &run.record.outcome {
            Some(outcome) => outcome.steps as f64,
            None => run.steps.len() as f64,
        }),
        Quantity::TrainMinutes => measures.train_minutes,
        Quantity::TotalMinutes => measures.total_minutes,
        Quantity::ImagesPerS => timing.map(|timing| timing.images_per_s),
        Quantity::StepMs => timing.map(|timing| timing.step_ms),
        Quantity::LoadShare => timing.and_then(|timing| timing.load_share()),
        Quantity::SystemShare => {
            let (user, system) = cpu_us(&run.steps);
            (user + system > 0).then(|| system as f64 / (user + system) as f64)
        }
        Quantity::CpuUse => {
            let (user, system) = cpu_us(&run.steps);
            let wall_ns: u64 = run.steps.iter().map(|step| step.times.total_ns).sum();
            (wall_ns > 0).then(|| (user + system) as f64 * 1e3 / wall_ns as f64)
        }
    }
}

/// The step in which `metric` is known in a run, in its own unit: of an accuracy one image of its split, of a training's length
/// one update, or the epoch after which it is decided whether to go on; 0 of what has none.
pub fn resolution(metric: Metric, run: &LoadedRun) -> f64 {
    let config = &run.record.trial.config;
    let batch = f64::from(config.train.batch);
    match metric.quantity {
        Quantity::UpdatesToTrainLoss => return 1.0,
        Quantity::EpochsToTrainLoss => return batch / images_per_epoch(run),
        Quantity::Updates if config.train.patience.is_some() => {
            return (images_per_epoch(run) / batch).ceil();
        }
        Quantity::Updates if config.train.target_loss.is_some() => return 1.0,
        Quantity::Updates if config.train.target_eval_loss.is_some() => {
            return (LOOK_EVERY as f64 / batch).ceil();
        }
        _ => {}
    }
    let splits: &[Split] = match metric.quantity {
        Quantity::ValAcc => &[Split::Validation],
        Quantity::TrainAcc => &[Split::Train],
        Quantity::TrainEvalAcc => &[Split::TrainEval],
        Quantity::GapAcc => &[Split::TrainEval, Split::Validation],
        Quantity::GapAsTrained => &[Split::Train, Split::Validation],
        // Of classes of as many images each, so is a macro mean.
        Quantity::TestAcc
        | Quantity::TestTop3
        | Quantity::TestPrecision
        | Quantity::TestRecall
        | Quantity::TestF1 => &[Split::Test],
        _ => &[],
    };
    let rows = splits.iter().filter_map(|&split| epoch_row(run, split, metric.at));
    rows.map(|row| 1.0 / f64::from(row.images.max(1))).fold(0.0, f64::max)
}

/// The epoch whose weights a run ended with: with early stopping that is not the last one trained.
pub fn last_epoch(run: &LoadedRun) -> Option<u32> {
    let kept = run.record.outcome.as_ref().and_then(|outcome| outcome.kept_epoch);
    kept.or_else(|| run.epochs.iter().map(|row| row.epoch).max())
}

/// The row after epoch `at`, from 1, or after the last.
fn epoch_row(run: &LoadedRun, split: Split, at: Option<f64>) -> Option<&crate::row::EpochRow> {
    let epoch = match at {
        Some(at) => at as u32 - 1,
        None => last_epoch(run)?,
    };
    // A later row of the same epoch is of the weights that were put back.
    run.epochs.iter().rfind(|row| row.split == split && row.epoch == epoch)
}

/// The confusion matrix on the test split.
pub fn test_confusion(run: &LoadedRun) -> Option<Confusion> {
    let classes = run.record.trial.config.data.set.classes();
    Confusion::of(&run.confusion, Split::Test, last_epoch(run)?, classes)
}

fn of_test(run: &LoadedRun, diagnostic: Diagnostic) -> Option<f64> {
    let rows = run.diagnostics.iter().rev().filter(|row| row.diagnostic == diagnostic);
    rows.filter(|row| row.of == Split::Test.name()).map(|row| row.value).next()
}

/// The last value of a diagnostic of the whole model.
fn last(run: &LoadedRun, diagnostic: Diagnostic) -> Option<f64> {
    run.diagnostics.iter().rfind(|row| row.diagnostic == diagnostic && row.of.is_empty()).map(|row| row.value)
}

/// The values of a diagnostic by layer, from the input on, as they were last measured.
pub fn layers(run: &LoadedRun, diagnostic: Diagnostic) -> Vec<(&str, f64)> {
    let last = last_epoch(run);
    let rows = run.diagnostics.iter().filter(|row| row.diagnostic == diagnostic && Some(row.epoch) == last);
    let mut layers: Vec<(&str, f64)> = Vec::new();
    for row in rows {
        // An epoch that early stopping kept may have been looked at before: the later row stands.
        match layers.iter_mut().find(|(layer, _)| *layer == row.of) {
            Some((_, value)) => *value = row.value,
            None => layers.push((&row.of, row.value)),
        }
    }
    layers
}

fn mean_of_layers(run: &LoadedRun, diagnostic: Diagnostic) -> Option<f64> {
    let values: Vec<f64> = layers(run, diagnostic).into_iter().map(|(_, value)| value).collect();
    stats::mean(&values)
}

/// tr Σ / |G|², each averaged over the run first (McCandlish et al., arXiv 1812.06162, equation 2.8 and appendix
/// A.1): a quotient of two noisy estimates would be biased. `None` where noise leaves no positive estimate.
fn noise_scale(run: &LoadedRun) -> Option<f64> {
    let mean = |diagnostic| {
        let rows = run.diagnostics.iter().filter(|row| row.diagnostic == diagnostic);
        // An epoch that early stopping kept may have been looked at before: the later row stands.
        let of_epochs: BTreeMap<u32, f64> = rows.map(|row| (row.epoch, row.value)).collect();
        stats::mean(&of_epochs.into_values().collect::<Vec<_>>())
    };
    let (variance, squared) = (mean(Diagnostic::GradientVariance)?, mean(Diagnostic::GradientSquared)?);
    (variance > 0.0 && squared > 0.0).then(|| variance / squared)
}

/// By the config: a run may end within its first epoch.
fn images_per_epoch(run: &LoadedRun) -> f64 {
    f64::from(run.record.trial.config.data.train_images())
}

/// Mean loss of the images of the first `epochs`, step by step; `None` of a run that ended before.
fn early_loss(run: &LoadedRun, epochs: f64) -> Option<f64> {
    let most = images_per_epoch(run) * epochs;
    let (mut sum, mut images) = (0.0, 0.0);
    for step in &run.steps {
        if images >= most {
            break;
        }
        sum += step.loss * f64::from(step.images);
        images += f64::from(step.images);
    }
    (images > 0.0 && images >= most).then(|| sum / images)
}

/// Standard deviation of the step loss about its own slow course: the root of half the mean square successive
/// difference (von Neumann et al., Annals of Mathematical Statistics 12(2), 1941), over the second half of the
/// steps, where the loss has stopped falling steeply. In nats.
fn roughness(steps: &[StepRow]) -> Option<f64> {
    let half = &steps[steps.len() / 2..];
    let squares: Vec<f64> = half.windows(2).map(|pair| (pair[1].loss - pair[0].loss).powi(2)).collect();
    stats::mean(&squares).map(|mean| (mean / 2.0).sqrt())
}

/// Steps and images until the loss is first at most `target`, as a training that stops there sees it. `None` where it is so
/// at the first look already: then nobody saw when.
fn images_to(steps: &[StepRow], target: f64) -> Option<(u64, u64)> {
    let mut target = Target::new(target);
    let mut images = 0;
    let mut is_first_look = true;
    for (step, count) in steps.iter().zip(1..) {
        images += u64::from(step.images);
        if target.is_reached(step.images, step.loss) {
            return (!is_first_look).then_some((count, images));
        }
        is_first_look &= !target.has_looked();
    }
    None
}

/// Processor time of the steps, in user mode and in the kernel.
fn cpu_us(steps: &[StepRow]) -> (u64, u64) {
    (steps.iter().map(|step| step.usage.user_us).sum(), steps.iter().map(|step| step.usage.system_us).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::row::{ConfusionRow, DiagnosticRow};

    fn run() -> LoadedRun {
        samples::finished(&samples::profile().arms[0], 0)
    }

    fn of(run: &LoadedRun, metric: &str) -> Option<f64> {
        value(Metric::parse(metric).unwrap(), run, &Measures::of(run))
    }

    fn with_losses(losses: impl IntoIterator<Item = f64>) -> LoadedRun {
        let mut run = run();
        let step = |(index, loss)| StepRow { loss, ..samples::step(index as u64, 1280, 1_000_000) };
        run.steps = losses.into_iter().enumerate().map(step).collect();
        run
    }

    #[test]
    fn every_quantity_is_computed_of_a_complete_run() {
        let mut run = run();
        for diagnostic in Diagnostic::ALL {
            for of in ["", "test", "conv1", "fc2"] {
                run.diagnostics.push(DiagnosticRow { epoch: 1, diagnostic, of: of.to_owned(), value: 0.5 });
            }
        }
        run.confusion =
            vec![ConfusionRow { epoch: 1, split: Split::Test, label: 1, predicted: 1, images: 9 }];
        run.steps.iter_mut().for_each(|step| (step.images, step.usage.user_us) = (1280, 5));
        run.steps[0].loss = 99.0;
        for quantity in Quantity::ALL {
            let at =
                (quantity.facts().parameter == crate::experiment::metric::Parameter::Loss).then_some(2.0);
            let found = value(Metric { quantity, at }, &run, &Measures::of(&run));
            assert!(found.is_some_and(f64::is_finite), "{quantity:?} {found:?}");
        }
    }

    #[test]
    fn a_run_without_rows_has_no_value_of_any_quantity_but_its_own_length() {
        let mut run = run();
        (run.steps, run.epochs, run.record.outcome) = (vec![], vec![], None);
        for quantity in Quantity::ALL.into_iter().filter(|quantity| *quantity != Quantity::Updates) {
            let found = value(Metric { quantity, at: Some(1.0) }, &run, &Measures::of(&run));
            assert_eq!(found, None, "{quantity:?}");
        }
    }

    #[test]
    fn scores_are_of_the_epoch_that_was_asked_for_or_kept() {
        let mut run = run();
        assert_eq!(
            (of(&run, "val_acc@1"), of(&run, "val_acc"), of(&run, "val_acc@3")),
            (Some(0.9), Some(0.92), None)
        );
        run.record.outcome.as_mut().unwrap().kept_epoch = Some(0);
        assert_eq!(of(&run, "val_acc"), Some(0.9));
    }

    #[test]
    fn a_trend_is_not_roughness_and_a_zigzag_is() {
        let falling = with_losses((0..100).map(|step| 2.0 - 0.01 * f64::from(step)));
        assert!((of(&falling, "roughness").unwrap() - 0.01 / 2.0_f64.sqrt()).abs() < 1e-12);
        // Independent noise of ±0.1 has a standard deviation of 0.1; a zigzag is the roughest there is, √2 of it.
        let zigzag = with_losses((0..100).map(|step| 1.0 + 0.1 * f64::from(1 - 2 * (step % 2))));
        assert!((of(&zigzag, "roughness").unwrap() - 0.1 * 2.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_target_is_reached_when_the_mean_of_the_window_is() {
        // Five steps of 1,280 images are a window: the mean of losses 1 (…5 steps) then 0 is 0.4 after three zeros.
        let run = with_losses([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(of(&run, "updates_to_train_loss@0.4"), Some(8.0));
        assert_eq!(of(&run, "updates_to_train_loss@0.8"), Some(6.0));
        // At the first look already: when it came there nobody saw.
        assert_eq!(of(&run, "updates_to_train_loss@1"), None);
        assert_eq!(of(&run, "updates_to_train_loss@0.1"), None);
        assert_eq!(of(&run, "epochs_to_train_loss@0.4"), Some(8.0 * 1280.0 / 48_000.0));
    }

    /// The mean was kept by subtracting what leaves the window, and its rounding hid a target that a training stops at: with
    /// the losses below after 150 steps.
    #[test]
    fn a_target_is_reached_at_the_step_at_which_a_training_stops() {
        let mut run = with_losses([2.3; 50].into_iter().chain([0.25; 150]));
        run.steps.iter_mut().for_each(|step| step.images = 64);
        let mut training = Target::new(0.25);
        let stopped = run.steps.iter().position(|step| training.is_reached(step.images, step.loss));
        assert_eq!(stopped, Some(149));
        assert_eq!(of(&run, "updates_to_train_loss@0.25"), Some(150.0));
    }

    #[test]
    fn the_loss_at_the_start_is_of_the_first_images() {
        let run = with_losses([4.0, 2.0, 1.0, 1.0]);
        assert_eq!((of(&run, "early_loss@0.05"), of(&run, "early_loss@0.1")), (Some(3.0), Some(2.0)));
        assert_eq!(of(&run, "early_loss"), None, "the run is shorter than an epoch");
    }

    #[test]
    fn the_noise_scale_is_a_quotient_of_means() {
        let mut run = run();
        for (epoch, squared, variance) in [(0, 1.0, 30.0), (1, 3.0, 10.0)] {
            for (diagnostic, value) in
                [(Diagnostic::GradientSquared, squared), (Diagnostic::GradientVariance, variance)]
            {
                run.diagnostics.push(DiagnosticRow { epoch, diagnostic, of: String::new(), value });
            }
        }
        assert_eq!(of(&run, "gradient_noise_scale"), Some(10.0));
        assert_eq!(of(&run, "gradient_variance"), Some(10.0 / 64.0));
    }
}
