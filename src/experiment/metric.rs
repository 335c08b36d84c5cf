//! The metrics a claim can speak of, as data: name, unit, scale. `analyse::quantity` computes them.

use crate::experiment::words;

/// A quantity and, where it takes one, its parameter: `val_acc`, `val_acc@1`, `epochs_to_train_loss@0.2`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Metric {
    pub quantity: Quantity,
    pub at: Option<f64>,
}

/// How a quantity is written and compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Facts {
    pub name: &'static str,
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

/// A quantity a line: what it is to the program, and its facts.
macro_rules! quantities {
    ($($quantity:ident: $facts:expr,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Quantity {
            $($quantity,)*
        }

        impl Quantity {
            pub const ALL: [Self; [$(stringify!($quantity)),*].len()] = [$(Self::$quantity),*];

            pub fn facts(self) -> Facts {
                match self {
                    $(Self::$quantity => $facts,)*
                }
            }
        }
    };
}

quantities! {
    ValAcc: share("val_acc").by(Parameter::Epoch),
    ValLoss: nats("val_loss").by(Parameter::Epoch),
    TrainAcc: share("train_acc").by(Parameter::Epoch),
    TrainLoss: nats("train_loss").by(Parameter::Epoch),
    TrainEvalAcc: share("train_eval_acc").by(Parameter::Epoch),
    TrainEvalLoss: nats("train_eval_loss").by(Parameter::Epoch),
    TestAcc: share("test_acc"),
    TestLoss: nats("test_loss"),
    GapAcc: share("gap_acc").by(Parameter::Epoch),
    GapLoss: nats("gap_loss").by(Parameter::Epoch),
    GapAsTrained: share("gap_as_trained").by(Parameter::Epoch),
    TestTop3: share("test_top3"),
    TestEce: share("test_ece"),
    TestPrecision: share("test_precision"),
    TestRecall: share("test_recall"),
    TestF1: share("test_f1"),
    EarlyLoss: nats("early_loss").by(Parameter::Epochs),
    Roughness: ratio("roughness", "nats", 4),
    EpochsToTrainLoss: ratio("epochs_to_train_loss", "epochs", 2).by(Parameter::Loss),
    UpdatesToTrainLoss: ratio("updates_to_train_loss", "updates", 0).by(Parameter::Loss),
    GradientNoiseScale: ratio("gradient_noise_scale", "images", 0),
    GradientVariance: ratio("gradient_variance", "", 5),
    GradientCovariance: ratio("gradient_covariance", "", 3),
    Sharpness: ratio("sharpness", "", 2),
    EpsilonSharpness: ratio("epsilon_sharpness", "%", 3),
    GradientNormFirst: ratio("gradient_norm_first", "", 4),
    GradientNormRatio: ratio("gradient_norm_ratio", "", 3),
    SaturatedShare: share("saturated_share"),
    DeadShare: share("dead_share"),
    Updates: ratio("updates", "updates", 0),
    TrainMinutes: ratio("train_minutes", "min", 3).timed(),
    TotalMinutes: ratio("total_minutes", "min", 3).timed(),
    ImagesPerS: ratio("images_per_s", "images/s", 0).timed(),
    StepMs: ratio("step_ms", "ms", 2).timed(),
    LoadShare: share("load_share").timed(),
    SystemShare: share("system_share").timed(),
    CpuUse: Facts { unit: "processors", ..share("cpu_use") }.timed(),
}

fn share(name: &'static str) -> Facts {
    let (scale, parameter) = (Scale::Difference, Parameter::None);
    Facts { name, unit: "", places: 4, scale, parameter, is_timing: false }
}

fn nats(name: &'static str) -> Facts {
    Facts { unit: "nats", ..share(name) }
}

fn ratio(name: &'static str, unit: &'static str, places: usize) -> Facts {
    Facts { unit, places, scale: Scale::Ratio, ..share(name) }
}

impl Facts {
    fn by(self, parameter: Parameter) -> Self {
        Self { parameter, ..self }
    }

    fn timed(self) -> Self {
        Self { is_timing: true, ..self }
    }
}

impl Metric {
    /// Whether the ratio of two trainings is the same in both: epochs are updates, of so many images each.
    pub fn is_proportional_to(self, other: Self) -> bool {
        let is_kin = |one: Self, other: Self| {
            let pair = (one.quantity, other.quantity);
            one.at == other.at
                && matches!(
                    pair,
                    (Quantity::EpochsToTrainLoss, Quantity::UpdatesToTrainLoss)
                        | (Quantity::GradientVariance, Quantity::GradientCovariance)
                )
        };
        self == other || is_kin(self, other) || is_kin(other, self)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Words;

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
        let said = |metric| Words::english().metric(metric);
        assert_eq!(said(metric), "validation accuracy after epoch 2");
        let early = Metric::parse("early_loss@0.5").unwrap();
        assert_eq!(said(early), "mean step loss at the start, first 0.5 epochs");
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
