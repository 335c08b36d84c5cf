use super::*;
use crate::analyse::gate::probe::{compare, largest_distance};
use crate::dataset;
use crate::experiment::config::{Config, Data, Model, Optim, OptimName, Preset, PresetName, Train};
use crate::experiment::plan::{Device, PlanName};
use crate::experiment::probe::Stored;
use crate::train::GENERATOR;

fn config() -> Config {
    Config {
        data: Data::of(dataset::Name::mnist()),
        model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(PresetName::SimpleCnn) }),
        optim: Optim { weight_decay: 5e-4, ..Optim::of(OptimName::Adam, 0.001) },
        train: Train { batch: 64, epochs: 5, ..Train::default() },
        augment: None,
    }
}

fn answers(config: &Config, plan: PlanName, asking: Asking) -> Answers {
    answer(&Probe::of(config), &Plan::named(plan, 1, Device::Cpu), asking).unwrap()
}

/// In one process there is one number of threads and one set of instructions; `just prove-gate` has the others.
fn stored(config: &Config) -> Stored {
    let plain = answers(config, PlanName::Winograd, Asking::default());
    let nudged = Asking { nudged: true, ..Asking::default() };
    let twins =
        [answers(config, PlanName::Eager, Asking::default()), answers(config, PlanName::Tuned, nudged)];
    Stored::new(plain, &twins)
}

#[test]
fn a_probe_answers_the_same_again_and_every_plan_within_rounding() {
    let _alone = GENERATOR.lock().unwrap();
    let stored = stored(&config());
    let again = answers(&config(), PlanName::Winograd, Asking::default());
    assert_eq!(largest_distance(&stored, &again), 0.0);
    let fused = answers(&config(), PlanName::Fused, Asking::default());
    assert_eq!(compare(&stored, &fused), None, "{}", largest_distance(&stored, &fused));
}

#[test]
fn every_fault_is_found_and_named_by_what_it_is_in() {
    let _alone = GENERATOR.lock().unwrap();
    let stored = stored(&config());
    for (planted, part) in [
        (Planted::LabelsSlightly, Part::Input),
        (Planted::LastBatch, Part::Input),
        (Planted::PixelScale, Part::Input),
        (Planted::Shift, Part::Input),
        (Planted::SeedTwice, Part::Input),
        (Planted::Class, Part::Input),
        (Planted::Dropout, Part::Forward),
        (Planted::DropoutStream, Part::Forward),
        (Planted::LearningRateSlightly, Part::Optimizer),
        (Planted::LearningRateHardly, Part::Optimizer),
        (Planted::WeightDecay, Part::Optimizer),
        (Planted::Epsilon, Part::Optimizer),
        (Planted::SecondDecay, Part::Optimizer),
        (Planted::BatchNormMomentum, Part::RunningStatistics),
        (Planted::EvalDropout, Part::Evaluation),
        (Planted::EvalWithoutBatchNorm, Part::Evaluation),
        (Planted::Normalisation, Part::Evaluation),
    ] {
        let asking = Asking { planted: Some(planted), nudged: false };
        let found = answers(&config(), PlanName::Winograd, asking);
        let change = compare(&stored, &found).unwrap_or_else(|| panic!("{planted} is not found"));
        println!("{planted}: {change}; {:.0}", largest_distance(&stored, &found));
        assert_eq!(change.part, part, "{planted}: {change}");
    }
}
