//! The rules of verdicts, asked about real trainings of which the answer is known: `just prove-verdicts`.
//!
//! Two arms that are one training under other seeds differ by chance alone. What a study of them is shifted by is the true
//! effect, and every verdict on it is right or wrong.

use super::tests::Rows;
use super::*;
use crate::analyse::{ArmRuns, Summary, Verdict, assess, samples};
use crate::data;
use crate::dataset::Name;
use crate::experiment::Experiment;
use crate::experiment::config::{Data, Model, Optim, OptimName, Preset, PresetName, Train};
use crate::experiment::plan::{Device, PlanName};
use crate::stats::{self, inference};
use crate::train::GENERATOR;

const STUDIES: usize = 200;
const SEEDS: usize = 5;
const MARGIN: f64 = 0.02;

/// The validation accuracy of each of so many short trainings: eight steps on 512 images of MNIST.
fn accuracies(count: usize) -> Vec<f64> {
    let _alone = GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let set = Name::mnist();
    let root = data::root().expect("a place for data sets");
    let images = data::load(set, &root).expect("`pinbench data fetch mnist`");
    let config = Config {
        data: Data { train_limit: Some(512), eval_limit: Some(500), ..Data::of(set) },
        model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(PresetName::SimpleCnn) }),
        optim: Optim::of(OptimName::Adam, 0.001),
        train: Train { batch: 64, epochs: 1, ..Train::default() },
        augment: None,
    };
    let plan = Plan::named(PlanName::Tuned, 2, Device::Cpu);
    let accuracy = |seed| {
        let trial = Trial { config: config.clone(), seed: Seed(seed) };
        let mut rows = Rows::default();
        let options = Options { diagnostics: Diagnostics::Off, ..Options::default() };
        train(&trial, &plan, &images, options, &mut rows).unwrap();
        rows.epochs.iter().rfind(|row| row.split == Split::Validation).unwrap().accuracy
    };
    (0..count as u64).map(accuracy).collect()
}

/// The share of the studies with that verdict on `test`, where the first arm is shifted by the true `effect`.
fn share(accuracies: &[f64], test: &str, effect: f64, wanted: Verdict) -> (usize, f64) {
    let claim = format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\ntests = [{test}]\n");
    let experiment: Experiment = samples::parse(&format!("{}\n{claim}", samples::TOML));
    let arms = &experiment.profile.arms;
    let runs = |arm: usize, values: &[f64], shift: f64| {
        let run = |(seed, value): (usize, &f64)| {
            let mut run = samples::finished(&arms[arm], seed as u64);
            samples::set_validation(&mut run, value + shift);
            run
        };
        ArmRuns::new(&arms[arm], values.iter().enumerate().map(run).collect())
    };
    let is_found = |study: &&[f64]| {
        let (first, second) = study.split_at(SEEDS);
        let arms = [runs(0, first, effect), runs(1, second, 0.0)];
        let summary = Summary::of(&experiment, &arms);
        assess(&experiment, &summary)[0].verdict == wanted
    };
    let found = accuracies.chunks_exact(2 * SEEDS).filter(is_found).count();
    (found, found as f64 / STUDIES as f64)
}

#[test]
#[ignore = "minutes of training: `just prove-verdicts`"]
fn rules_err_no_more_often_than_they_say_and_find_what_they_should() {
    let accuracies = accuracies(STUDIES * 2 * SEEDS);
    let differences: Vec<f64> = accuracies
        .chunks_exact(2 * SEEDS)
        .flat_map(|study| (0..SEEDS).map(|seed| study[seed] - study[SEEDS + seed]).collect::<Vec<_>>())
        .collect();
    let sd = stats::sample_sd(&differences).unwrap();
    let effect = inference::detectable(sd, SEEDS, 0.025, 0.8).unwrap();
    // As wide as equal arms are found equal within, four times in five.
    let within = inference::detectable(sd, SEEDS, 0.05, 0.9).unwrap();
    let above = format!("{{ metric = \"val_acc\", order = \"64 > 128\", margin = {MARGIN} }}");
    let equal = |margin: f64| format!("{{ metric = \"val_acc\", equal = \"64 = 128\", margin = {margin} }}");
    println!(
        "{} trainings, accuracy {:.3} ± {:.3}; a seed's difference of two arms ± {sd:.4}\n",
        accuracies.len(),
        stats::mean(&accuracies).unwrap(),
        stats::sample_sd(&accuracies).unwrap(),
    );
    println!("| true effect | claim | verdict | of {STUDIES} | asked |\n| --- | --- | --- | --- | --- |");
    let mut broken = Vec::new();
    let mut row = |true_effect: f64,
                   claim: &str,
                   test: &str,
                   wanted: Verdict,
                   (least, most): (usize, usize)| {
        let (found, share) = share(&accuracies, test, true_effect, wanted);
        let asked = match (least, most) {
            (0, most) => format!("at most {most}"),
            (least, STUDIES) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        println!("| {true_effect:+.4} | {claim} | {wanted} | {found} ({:.1} %) | {asked} |", 100.0 * share);
        if !(least..=most).contains(&found) {
            broken.push(format!("{claim} at {true_effect}: {wanted} {found} times, {asked}"));
        }
    };
    let order = format!("A > B, margin {MARGIN}");
    // Errors at 2.5 and 5 %, and two standard errors of 200 studies beyond.
    row(0.0, &order, &above, Verdict::Supported, (0, 10));
    row(MARGIN, &order, &above, Verdict::Refuted, (0, 10));
    let margin = format!("A = B, margin {within:.4}");
    row(within, &margin, &equal(within), Verdict::Supported, (0, 16));
    row(0.0, &margin, &equal(within), Verdict::Refuted, (0, 10));
    // A power of 80 %, and three standard errors to either side.
    row(effect.max(MARGIN), &order, &above, Verdict::Supported, (143, STUDIES));
    row(0.0, &margin, &equal(within), Verdict::Supported, (143, STUDIES));
    row(MARGIN - effect, &order, &above, Verdict::Refuted, (143, STUDIES));
    assert!(broken.is_empty(), "{broken:#?}");
}
