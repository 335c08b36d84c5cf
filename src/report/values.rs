//! The numbers behind a page's tables and verdicts, for programs: a value a run and metric, and their means.

use serde_json::{Value, json};

use crate::analyse::{Summary, quantity};
use crate::digest::Digest;
use crate::experiment::Experiment;
use crate::experiment::metric::{Metric, Quantity};
use crate::report::provenance::distinct;
use crate::report::{Download, ReportError, csv};
use crate::stats::Spread;
use crate::words::Words;

/// Of `values.csv`.
pub(super) const VALUES_HEADER: &str = "arm,label,trial,seed,run,metric,value,alone,beside";
/// Of `results.csv`, and the keys of `results.json`.
pub(super) const RESULTS_HEADER: &str = "arm,metric,about,unit,n,mean,sd,reference";

/// What every page shows of an arm; claims add theirs.
const SHOWN: [Quantity; 15] = [
    Quantity::TrainAcc,
    Quantity::TrainEvalAcc,
    Quantity::ValAcc,
    Quantity::TestAcc,
    Quantity::TrainLoss,
    Quantity::TrainEvalLoss,
    Quantity::ValLoss,
    Quantity::TestLoss,
    Quantity::TrainMinutes,
    Quantity::TotalMinutes,
    Quantity::StepMs,
    Quantity::ImagesPerS,
    Quantity::LoadShare,
    Quantity::SystemShare,
    Quantity::Updates,
];

/// A metric in one run.
struct Measured {
    arm: usize,
    metric: Metric,
    fields: [String; 4],
    value: f64,
    /// Whether it counts by itself, and beside those of other arms; false only of times.
    alone: bool,
    beside: bool,
}

/// A metric of an arm, over its seeds.
struct Mean {
    arm: String,
    metric: Metric,
    spread: Spread,
    n: usize,
    reference: Option<f64>,
}

/// `values.csv`, `results.csv` and `results.json`; none where nothing was measured.
pub(super) fn downloads(experiment: &Experiment, summary: &Summary) -> Result<Vec<Download>, ReportError> {
    let values = measured(experiment, summary);
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let means = means(summary, &values);
    Ok(vec![
        Download::of("results.csv", "download.results-csv", results_csv(&means)),
        Download::of("results.json", "download.results-json", results_json(&means)?),
        Download::of("values.csv", "download.values", values_csv(summary, &values)),
    ])
}

fn metrics(experiment: &Experiment) -> Vec<Metric> {
    let shown = SHOWN.into_iter().map(|quantity| Metric { quantity, at: None });
    let claimed = experiment.claims.iter().flat_map(|claim| {
        let alike = claim.needs.alike.iter().map(|alike| alike.metric);
        claim.tests.iter().map(|test| test.metric).chain(alike)
    });
    distinct(shown.chain(claimed))
}

fn measured(experiment: &Experiment, summary: &Summary) -> Vec<Measured> {
    let mut values = Vec::new();
    for metric in metrics(experiment) {
        let is_timing = metric.quantity.facts().is_timing;
        for (index, arm) in summary.arms.iter().enumerate() {
            for (run, measures) in &arm.counted {
                let Some(value) = quantity::value(metric, run, measures) else { continue };
                let counts = |among| !is_timing || summary.why_untimed(arm, run, among).is_none();
                values.push(Measured {
                    arm: index,
                    metric,
                    fields: [
                        csv::text(arm.name.en()),
                        csv::text(&arm.arm.label),
                        run.record.trial.seed.to_string(),
                        run.record.run.0.clone(),
                    ],
                    value,
                    alone: counts(false),
                    beside: counts(true),
                });
            }
        }
    }
    values
}

fn means(summary: &Summary, values: &[Measured]) -> Vec<Mean> {
    let mut means: Vec<Mean> = Vec::new();
    let mut of = values;
    while let Some(Measured { arm, metric, .. }) = of.first() {
        let is_same = |other: &&Measured| other.arm == *arm && other.metric == *metric;
        let (same, rest) = of.split_at(of.iter().take_while(is_same).count());
        let counted = same.iter().filter(|value| value.beside && value.value.is_finite());
        let counted: Vec<f64> = counted.map(|value| value.value).collect();
        means.extend(Spread::of(&counted).map(|spread| Mean {
            arm: summary.arms[*arm].name.en().to_owned(),
            metric: *metric,
            spread,
            n: counted.len(),
            reference: summary.arms[*arm].reported(*metric),
        }));
        of = rest;
    }
    means
}

fn values_csv(summary: &Summary, values: &[Measured]) -> Vec<u8> {
    let trials = summary.arms.iter().map(|arm| Digest::of(arm.trial().as_bytes()).short());
    let trials: Vec<String> = trials.collect();
    let mut text = format!("{VALUES_HEADER}\n");
    for Measured { arm, metric, fields: [name, label, seed, run], value, alone, beside } in values {
        let (trial, metric) = (&trials[*arm], metric.key());
        text.push_str(&format!("{name},{label},{trial},{seed},{run},{metric},{value},{alone},{beside}\n"));
    }
    text.into_bytes()
}

fn results_csv(means: &[Mean]) -> Vec<u8> {
    let mut text = format!("{RESULTS_HEADER}\n");
    for Mean { arm, metric, spread, n, reference } in means {
        let fields = [
            csv::text(arm),
            metric.key(),
            csv::text(&Words::english().metric(*metric)),
            metric.quantity.facts().unit.to_owned(),
            n.to_string(),
            csv::number(Some(spread.mean)),
            csv::number(spread.sd),
            csv::number(*reference),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text.into_bytes()
}

fn results_json(means: &[Mean]) -> Result<Vec<u8>, ReportError> {
    let rows = means.iter().map(|Mean { arm, metric, spread, n, reference }| {
        json!({
            "arm": arm,
            "metric": metric.key(),
            "about": Words::english().metric(*metric),
            "unit": metric.quantity.facts().unit,
            "n": n,
            "mean": finite(spread.mean),
            "sd": spread.sd.map(finite),
            "reference": reference,
        })
    });
    let value = json!({ "columns": COLUMNS.iter().copied().collect::<std::collections::BTreeMap<_, _>>(), "rows": rows.collect::<Vec<Value>>() });
    serde_json::to_vec_pretty(&value).map_err(ReportError::json)
}

/// JSON has no word for what is not finite.
fn finite(value: f64) -> Value {
    if value.is_finite() { value.into() } else { value.to_string().into() }
}

/// What each column of the results holds.
pub(super) const COLUMNS: [(&str, &str); 8] = [
    ("arm", "name of the arm, as on the page"),
    ("metric", "as claims name it; after an `@` the epoch, the epochs or the loss it is at"),
    ("about", "what the metric is, in words"),
    ("unit", "of mean, sd and reference; empty of shares and pure numbers"),
    ("n", "seeds that count: of times those whose arms were measured together"),
    ("mean", "over these seeds"),
    ("sd", "sample standard deviation over these seeds; empty of one"),
    ("reference", "what the experiment's source reports, where it does"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    #[test]
    fn the_means_are_those_of_the_page() {
        let experiment = samples::experiment();
        let arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        let summary = Summary::of(&experiment, &arms);
        let means = means(&summary, &measured(&experiment, &summary));
        let of = |arm: &str, quantity| {
            let mean = means.iter().find(|mean| mean.arm == *arm && mean.metric.quantity == quantity);
            mean.map(|mean| mean.spread)
        };
        for arm in &summary.arms {
            let spreads = &arm.spreads;
            for (quantity, shown) in [
                (Quantity::ValAcc, spreads.val_acc),
                (Quantity::TrainLoss, spreads.train_loss),
                (Quantity::TrainMinutes, spreads.train_minutes),
                (Quantity::StepMs, spreads.step_ms),
                (Quantity::ImagesPerS, spreads.images_per_s),
            ] {
                assert!(shown.is_some());
                assert_eq!(of(arm.name.en(), quantity), shown, "{} {quantity:?}", arm.name);
            }
        }
    }

    #[test]
    fn the_tables_have_the_columns_they_say() {
        let experiment = samples::experiment();
        let arms = samples::arms(&experiment.profile, &[0, 1]);
        let files = downloads(&experiment, &Summary::of(&experiment, &arms)).unwrap();
        let text = |name: &str| {
            let file = files.iter().find(|file| file.name == name).unwrap();
            String::from_utf8(file.bytes.clone()).unwrap()
        };
        let results = text("results.csv");
        assert!(results.starts_with(RESULTS_HEADER));
        assert!(results.contains("\nbatch 64,val_acc,validation accuracy,,2,0.92,"), "{results}");
        let json: Value = serde_json::from_str(&text("results.json")).unwrap();
        let keys: Vec<&str> = json["columns"].as_object().unwrap().keys().map(String::as_str).collect();
        assert!(RESULTS_HEADER.split(',').all(|name| keys.contains(&name)));
        assert_eq!(json["rows"].as_array().unwrap().len(), results.lines().count() - 1);
        let values = text("values.csv");
        assert!(values.lines().all(|line| line.split(',').count() == 9), "{values}");
    }
}
