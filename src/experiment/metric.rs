//! The metrics a claim can speak of, as data: name, unit, scale. `analyse::quantity` computes them.

use std::fmt;

use crate::experiment::words;

/// A quantity and, where it takes one, its parameter: `val_acc`, `val_acc@1`, `epochs_to_train_loss@0.2`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Metric {
    pub quantity: Quantity,
    pub at: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantity {
    ValAcc,
    ValLoss,
    TrainAcc,
    TrainLoss,
    TrainEvalAcc,
    TrainEvalLoss,
    TestAcc,
    TestLoss,
    GapAcc,
    GapLoss,
    GapAsTrained,
    TestTop3,
    TestEce,
    TestPrecision,
    TestRecall,
    TestF1,
    EarlyLoss,
    Roughness,
    EpochsToTrainLoss,
    UpdatesToTrainLoss,
    GradientNoiseScale,
    GradientVariance,
    GradientCovariance,
    Sharpness,
    EpsilonSharpness,
    GradientNormFirst,
    GradientNormRatio,
    SaturatedShare,
    DeadShare,
    Updates,
    TrainMinutes,
    TotalMinutes,
    ImagesPerS,
    StepMs,
    LoadShare,
    SystemShare,
    CpuUse,
}

/// How a quantity is written and compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Facts {
    pub name: &'static str,
    pub label: &'static str,
    /// Empty for a pure number.
    pub unit: &'static str,
    /// Decimals to show.
    pub places: usize,
    pub scale: Scale,
    pub parameter: Parameter,
    /// It is a time or a rate, which only runs of one plan and environment share.
    pub is_timing: bool,
}

impl Facts {
    /// Between 0 and 1, or the difference of two such.
    pub fn is_share(&self) -> bool {
        self.scale == Scale::Difference && self.unit.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Arms are compared by their difference.
    Difference,
    /// Arms are compared by their ratio: the quantity is positive and its spread grows with it.
    Ratio,
}

/// What stands after the `@`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parameter {
    None,
    /// After which epoch, from 1; the last when absent.
    Epoch,
    /// Over how many epochs from the start; one when absent.
    Epochs,
    /// A loss in nats; required.
    Loss,
}

impl Quantity {
    pub const ALL: [Self; 37] = [
        Self::ValAcc,
        Self::ValLoss,
        Self::TrainAcc,
        Self::TrainLoss,
        Self::TrainEvalAcc,
        Self::TrainEvalLoss,
        Self::TestAcc,
        Self::TestLoss,
        Self::GapAcc,
        Self::GapLoss,
        Self::GapAsTrained,
        Self::TestTop3,
        Self::TestEce,
        Self::TestPrecision,
        Self::TestRecall,
        Self::TestF1,
        Self::EarlyLoss,
        Self::Roughness,
        Self::EpochsToTrainLoss,
        Self::UpdatesToTrainLoss,
        Self::GradientNoiseScale,
        Self::GradientVariance,
        Self::GradientCovariance,
        Self::Sharpness,
        Self::EpsilonSharpness,
        Self::GradientNormFirst,
        Self::GradientNormRatio,
        Self::SaturatedShare,
        Self::DeadShare,
        Self::Updates,
        Self::TrainMinutes,
        Self::TotalMinutes,
        Self::ImagesPerS,
        Self::StepMs,
        Self::LoadShare,
        Self::SystemShare,
        Self::CpuUse,
    ];

    pub fn facts(self) -> Facts {
        let share = |name, label| Facts {
            name,
            label,
            unit: "",
            places: 4,
            scale: Scale::Difference,
            parameter: Parameter::None,
            is_timing: false,
        };
        let nats = |name, label| Facts { unit: "nats", ..share(name, label) };
        let ratio =
            |name, label, unit, places| Facts { unit, places, scale: Scale::Ratio, ..share(name, label) };
        let timing = |facts: Facts| Facts { is_timing: true, ..facts };
        let by_epoch = |facts: Facts| Facts { parameter: Parameter::Epoch, ..facts };
        match self {
            Self::ValAcc => by_epoch(share("val_acc", "validation accuracy")),
            Self::ValLoss => by_epoch(nats("val_loss", "validation loss")),
            Self::TrainAcc => by_epoch(share("train_acc", "training accuracy as trained")),
            Self::TrainLoss => by_epoch(nats("train_loss", "training loss as trained")),
            Self::TrainEvalAcc => by_epoch(share("train_eval_acc", "training accuracy in eval mode")),
            Self::TrainEvalLoss => by_epoch(nats("train_eval_loss", "training loss in eval mode")),
            Self::TestAcc => share("test_acc", "test accuracy"),
            Self::TestLoss => nats("test_loss", "test loss"),
            Self::GapAcc => by_epoch(share("gap_acc", "gap of accuracy, training in eval mode − validation")),
            Self::GapLoss => by_epoch(nats("gap_loss", "gap of loss, validation − training in eval mode")),
            Self::GapAsTrained => {
                by_epoch(share("gap_as_trained", "gap of accuracy, training as trained − validation"))
            }
            Self::TestTop3 => share("test_top3", "top-3 test accuracy"),
            Self::TestEce => share("test_ece", "calibration error on the test split"),
            Self::TestPrecision => share("test_precision", "macro precision on the test split"),
            Self::TestRecall => share("test_recall", "macro recall on the test split"),
            Self::TestF1 => share("test_f1", "macro F1 on the test split"),
            Self::EarlyLoss => {
                Facts { parameter: Parameter::Epochs, ..nats("early_loss", "mean step loss at the start") }
            }
            Self::Roughness => ratio("roughness", "roughness of the step loss", "nats", 4),
            Self::EpochsToTrainLoss => Facts {
                parameter: Parameter::Loss,
                ..ratio("epochs_to_train_loss", "epochs to a training loss", "epochs", 2)
            },
            Self::UpdatesToTrainLoss => Facts {
                parameter: Parameter::Loss,
                ..ratio("updates_to_train_loss", "updates to a training loss", "updates", 0)
            },
            Self::GradientNoiseScale => ratio("gradient_noise_scale", "gradient noise scale", "images", 0),
            Self::GradientVariance => ratio("gradient_variance", "variance of the minibatch gradient", "", 5),
            Self::GradientCovariance => {
                ratio("gradient_covariance", "trace of the covariance of one image's gradient", "", 3)
            }
            Self::Sharpness => ratio("sharpness", "Hessian eigenvalue of largest magnitude", "", 2),
            Self::EpsilonSharpness => ratio("epsilon_sharpness", "ε-sharpness", "%", 3),
            Self::GradientNormFirst => {
                ratio("gradient_norm_first", "norm of the first layer's gradient", "", 4)
            }
            Self::GradientNormRatio => {
                ratio("gradient_norm_ratio", "gradient norm, first layer over last", "", 3)
            }
            Self::SaturatedShare => share("saturated_share", "share of saturated activations"),
            Self::DeadShare => share("dead_share", "share of dead units"),
            Self::Updates => ratio("updates", "updates", "updates", 0),
            Self::TrainMinutes => timing(ratio("train_minutes", "training time", "min", 3)),
            Self::TotalMinutes => timing(ratio("total_minutes", "time with evaluation", "min", 3)),
            Self::ImagesPerS => timing(ratio("images_per_s", "throughput", "images/s", 0)),
            Self::StepMs => timing(ratio("step_ms", "time of a step", "ms", 2)),
            Self::LoadShare => timing(share("load_share", "share of a step spent loading")),
            Self::SystemShare => timing(share("system_share", "share of processor time in the kernel")),
            Self::CpuUse => {
                timing(Facts { unit: "processors", ..share("cpu_use", "processors in use during a step") })
            }
        }
    }
}

impl Metric {
    /// As a claim names it: what [`parse`](Self::parse) reads.
    pub fn key(self) -> String {
        let at = self.at.map(|at| format!("@{at}")).unwrap_or_default();
        format!("{}{at}", self.quantity.facts().name)
    }

    /// Reads `name` or `name@number`; what is wrong comes back as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, at) = match text.split_once('@') {
            Some((name, at)) => (name, Some(at)),
            None => (text, None),
        };
        let quantity = Quantity::ALL.into_iter().find(|quantity| quantity.facts().name == name);
        let quantity = quantity.ok_or_else(|| unknown(name))?;
        let at = at.map(|at| positive(name, at)).transpose()?;
        match (quantity.facts().parameter, at) {
            (Parameter::None, Some(_)) => Err(format!("metric `{name}` takes no `@`")),
            (Parameter::Loss, None) => Err(format!("metric `{name}` needs a loss, such as `{name}@0.1`")),
            (Parameter::Epoch, Some(epoch)) if epoch.fract() != 0.0 => {
                Err(format!("metric `{name}` needs a whole epoch after its `@`, found {epoch}"))
            }
            _ => Ok(Self { quantity, at }),
        }
    }
}

fn positive(name: &str, at: &str) -> Result<f64, String> {
    let number = at.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("metric `{name}@{at}`: expected a number above 0 after the `@`"))
}

fn unknown(name: &str) -> String {
    words::unknown("metric", name, &Quantity::ALL.map(|quantity| quantity.facts().name))
}

impl fmt::Display for Metric {
    /// For people: `validation accuracy after epoch 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.quantity.facts();
        match (facts.parameter, self.at) {
            (Parameter::Epoch, Some(epoch)) => write!(f, "{} after epoch {epoch}", facts.label),
            (Parameter::Epochs, None | Some(1.0)) => write!(f, "{}, first epoch", facts.label),
            (Parameter::Epochs, Some(epochs)) => write!(f, "{}, first {epochs} epochs", facts.label),
            (Parameter::Loss, Some(loss)) => write!(f, "{} of {loss} nats", facts.label),
            _ => f.write_str(facts.label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_is_found_by_its_name_and_names_are_unique() {
        for quantity in Quantity::ALL {
            let name = quantity.facts().name;
            let text = if quantity.facts().parameter == Parameter::Loss {
                format!("{name}@0.5")
            } else {
                name.into()
            };
            let metric = Metric::parse(&text).unwrap();
            assert_eq!((metric.quantity, metric.key()), (quantity, text));
        }
    }

    #[test]
    fn a_parameter_is_read_and_said() {
        let metric = Metric::parse("val_acc@2").unwrap();
        assert_eq!(metric, Metric { quantity: Quantity::ValAcc, at: Some(2.0) });
        assert_eq!(metric.to_string(), "validation accuracy after epoch 2");
        assert_eq!(
            Metric::parse("early_loss@0.5").unwrap().to_string(),
            "mean step loss at the start, first 0.5 epochs"
        );
    }

    #[test]
    fn a_mistake_says_what_is_wrong_with_it() {
        for (text, part) in [
            ("val_accc", "did you mean `val_acc`?"),
            ("test_acc@1", "takes no `@`"),
            ("val_acc@1.5", "whole epoch"),
            ("val_acc@zero", "a number above 0"),
            ("val_acc@-1", "a number above 0"),
            ("epochs_to_train_loss", "needs a loss"),
        ] {
            assert!(
                Metric::parse(text).unwrap_err().contains(part),
                "{text}: {}",
                Metric::parse(text).unwrap_err()
            );
        }
    }
}
