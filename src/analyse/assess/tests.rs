use super::*;
use crate::analyse::samples;
use crate::analyse::summary::ArmRuns;
use crate::experiment::plan::{Device, Plan, PlanName};
use crate::row::{Split, StepRow};
use crate::stats::inference::draws::Normal;

/// The batch-size experiment with one claim of `tests` in TOML.
fn experiment(tests: &str) -> Experiment {
    let claim = format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\ntests = [{tests}]\n");
    samples::parse(&format!("{}\n{claim}", samples::TOML))
}

/// Arms whose validation accuracies by seed are `accuracies`.
fn arms<'a>(experiment: &'a Experiment, accuracies: &[&[f64]]) -> Vec<ArmRuns<'a>> {
    let profile = &experiment.profile;
    let mut arms = Vec::new();
    for (arm, accuracies) in profile.arms.iter().zip(accuracies) {
        let run = |(seed, &accuracy): (usize, &f64)| {
            let mut run = samples::finished(arm, seed as u64);
            samples::set_validation(&mut run, accuracy);
            run
        };
        arms.push(ArmRuns::new(arm, accuracies.iter().enumerate().map(run).collect()));
    }
    arms
}

fn verdict_of(tests: &str, accuracies: &[&[f64]]) -> (Verdict, Vec<Evidence>, Vec<Localised>) {
    let experiment = experiment(tests);
    let arms = arms(&experiment, accuracies);
    let summary = Summary::of(&experiment, &arms);
    let mut found = assess(&experiment, &summary);
    let Assessment { verdict, evidence, remarks, claim, .. } = found.remove(0);
    assert_eq!(claim.mistake, None);
    (verdict, evidence, remarks)
}

const ABOVE: &str = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.005 }";
const EQUAL: &str = "{ metric = \"val_acc\", equal = \"64 = 128\", margin = 0.005 }";

#[test]
fn a_clear_order_is_supported_and_its_reverse_refuted() {
    let (high, low) = ([0.95, 0.952, 0.949], [0.93, 0.931, 0.93]);
    let (verdict, evidence, remarks) = verdict_of(ABOVE, &[&high, &low]);
    assert_eq!((verdict, remarks), (Verdict::Supported, vec![]));
    assert!((evidence[0].estimate.unwrap() - 0.02).abs() < 1e-12);
    assert_eq!(evidence[0].what.en(), "validation accuracy: batch 64 above batch 128");
    assert_eq!(verdict_of(ABOVE, &[&low, &high]).0, Verdict::Refuted);
}

/// The samples' reference has 0.9895 for batch 64, 0.9843 for batch 128, and none for batch 1024.
#[test]
fn what_the_reference_says_is_put_as_the_comparison_puts_it() {
    let theirs = |tests: &str| verdict_of(tests, &[&[0.95, 0.96][..]; 3]).1.remove(0).theirs;
    let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
    assert!(near(theirs(ABOVE), 0.9895 - 0.9843));
    assert!(near(theirs("{ metric = \"val_acc\", bound = \"64 > 0.98\", margin = 0.005 }"), 0.0095));
    assert!(near(theirs("{ metric = \"val_acc\", falls = [\"64\", \"128\"], margin = 0.005 }"), 0.0052));
    let ratio = theirs("{ metric = \"train_minutes\", order = \"64 > 128\", margin = 0.02 }");
    assert!(near(ratio, 100.0 * (1.157 / 1.104 - 1.0)), "{ratio:?}");
    assert_eq!(theirs("{ metric = \"val_acc\", order = \"128 > 1024\", margin = 0.005 }"), None);
    assert_eq!(theirs("{ metric = \"val_acc@1\", order = \"64 > 128\", margin = 0.005 }"), None);
}

#[test]
fn an_effect_too_small_to_matter_is_refuted_and_an_unclear_one_is_not() {
    // Surely above 0, and surely below the margin.
    assert_eq!(verdict_of(ABOVE, &[&[0.951, 0.9512, 0.9511], &[0.95, 0.95, 0.95]]).0, Verdict::Refuted);
    let (verdict, evidence, _) = verdict_of(ABOVE, &[&[0.95, 0.97, 0.96], &[0.95, 0.94, 0.96]]);
    assert_eq!(verdict, Verdict::Inconclusive);
    // With 80 % power at this spread and three seeds, which is more than was there.
    assert!(evidence[0].detectable.unwrap() > evidence[0].estimate.unwrap());
}

#[test]
fn one_seed_decides_nothing_however_large_the_difference() {
    for tests in [ABOVE, EQUAL] {
        let (verdict, evidence, _) = verdict_of(tests, &[&[0.99], &[0.1]]);
        assert_eq!((verdict, evidence[0].interval), (Verdict::Inconclusive, None));
    }
}

#[test]
fn arms_are_equal_only_when_shown_to_be_within_the_margin() {
    let base = [0.95, 0.951, 0.952];
    assert_eq!(verdict_of(EQUAL, &[&base, &base]).0, Verdict::Supported);
    assert_eq!(verdict_of(EQUAL, &[&base, &[0.9501, 0.9509, 0.9521]]).0, Verdict::Supported);
    // A difference that is not found is no equality.
    assert_eq!(verdict_of(EQUAL, &[&base, &[0.94, 0.96, 0.95]]).0, Verdict::Inconclusive);
    assert_eq!(verdict_of(EQUAL, &[&base, &[0.92, 0.921, 0.922]]).0, Verdict::Refuted);
}

#[test]
fn a_chain_is_supported_by_all_of_its_links_and_holds_in_part_where_one_is_refuted() {
    let chain = "{ metric = \"val_acc\", order = \"64 > 128 > 1024\", margin = 0.005 }";
    let [high, middle, low] = [[0.95, 0.952, 0.949], [0.93, 0.931, 0.93], [0.9, 0.9, 0.901]];
    assert_eq!(verdict_of(chain, &[&high, &middle, &low]).0, Verdict::Supported);
    assert_eq!(verdict_of(chain, &[&high, &low, &middle]).0, Verdict::Partly);
    assert_eq!(verdict_of(chain, &[&low, &middle, &high]).0, Verdict::Refuted);
    let falls = "{ metric = \"val_acc\", falls = [\"64\", \"128\", \"1024\"], margin = 0.005 }";
    let (verdict, evidence, _) = verdict_of(falls, &[&high, &middle, &low]);
    assert_eq!(verdict, Verdict::Supported);
    assert!((evidence[0].estimate.unwrap() - 0.025).abs() < 1e-3);
}

#[test]
fn bounds_are_on_the_mean_of_an_arm() {
    let bound = |text: &str| format!("{{ metric = \"val_acc\", bound = \"{text}\", margin = 0.001 }}");
    let values: [&[f64]; 1] = [&[0.95, 0.951, 0.952]];
    assert_eq!(verdict_of(&bound("64 > 0.9"), &values).0, Verdict::Supported);
    assert_eq!(verdict_of(&bound("64 < 0.9"), &values).0, Verdict::Refuted);
    assert_eq!(verdict_of(&bound("64 > 0.951"), &values).0, Verdict::Inconclusive);
}

#[test]
fn ratios_are_compared_as_ratios_and_said_in_percent() {
    let experiment = experiment("{ metric = \"train_minutes\", order = \"1024 > 64\", margin = 0.1 }");
    let profile = &experiment.profile;
    let mut arms = samples::arms(profile, &[0, 1, 2]);
    for (arm, ns) in [(0, 10_000_000), (2, 15_000_000)] {
        for run in &mut arms[arm].runs {
            run.steps = (0..40).map(|index| samples::step(index, 64, ns)).collect();
        }
    }
    let summary = Summary::of(&experiment, &arms);
    let found = assess(&experiment, &summary);
    let evidence = &found[0].evidence[0];
    assert_eq!((found[0].verdict, evidence.unit), (Verdict::Supported, "%"));
    assert!((evidence.estimate.unwrap() - 50.0).abs() < 1e-9 && (evidence.margin - 10.0).abs() < 1e-9);
    // A seed of two plans has no times to compare; the others decide.
    let record = &mut arms[2].runs[0].record;
    record.plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
    record.plan_hash = record.plan.hash();
    let summary = Summary::of(&experiment, &arms);
    let found = assess(&experiment, &summary);
    assert_eq!((found[0].verdict, found[0].evidence[0].values.len()), (Verdict::Supported, 2));
    assert!(
        found[0].remarks[0].en().contains("seed 0: the arms ran under different plans"),
        "{:?}",
        found[0].remarks
    );
    // Runs that trained side by side have none, however alike.
    for record in arms.iter_mut().flat_map(|arm| arm.runs.iter_mut()).map(|run| &mut run.record) {
        record.beside = 1;
    }
    let summary = Summary::of(&experiment, &arms);
    let found = assess(&experiment, &summary);
    assert_eq!(found[0].verdict, Verdict::NotEvaluated);
    assert!(found[0].remarks[0].en().contains("trained side by side"), "{:?}", found[0].remarks);
}

/// Batch sizes whose runs lay hours apart were said to differ by what the machine did meanwhile.
#[test]
fn times_that_lie_apart_are_not_compared_and_those_of_one_arm_still_count() {
    let order = "{ metric = \"images_per_s\", order = \"64 > 128\", margin = 0.02 }";
    let bound = "{ metric = \"images_per_s\", bound = \"64 > 1\", margin = 0.02 }";
    for (tests, expected) in [(order, 2), (bound, 3)] {
        let experiment = experiment(tests);
        let mut arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        let late = &mut arms[1].runs[0].record;
        (late.started, late.ended) = ("2026-01-02T09:00:05Z".to_owned(), "2026-01-02T09:01:05Z".to_owned());
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        assert_eq!(found[0].evidence[0].values.len(), expected, "{tests}");
    }
}

/// The experiment with `needs` on a claim that is surely true of the arms' accuracies.
fn needing(needs: &str) -> (Verdict, Vec<Localised>) {
    let claim =
        format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\nneeds = {{ {needs} }}\ntests = [{ABOVE}]\n");
    let experiment = samples::parse(&format!("{}\n{claim}", samples::TOML));
    let mut arms = arms(&experiment, &[&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93]]);
    // A run kept without the rows of its steps made them all the same.
    arms[0].runs[0].steps.clear();
    for (arm, loss) in arms.iter_mut().zip([0.106, 1.0]) {
        for row in arm.runs.iter_mut().flat_map(|run| &mut run.epochs) {
            row.loss = loss;
        }
    }
    let summary = Summary::of(&experiment, &arms);
    let mut found = assess(&experiment, &summary);
    let Assessment { verdict, remarks, .. } = found.remove(0);
    (verdict, remarks)
}

/// A verdict on 50 epochs was given after one optimizer step; sharpness at an equal loss compared 0.106 with 1.000.
#[test]
fn a_claim_whose_needs_are_not_met_is_not_evaluated_and_says_what_was_found() {
    for (needs, part) in [
        ("updates = 41", "needs 41 updates of each run: batch 64 has 40"),
        ("train_loss = 0.5", "batch 128 is at 1.0000"),
        ("plan = \"eager\"", "is about plan eager: batch 64 ran under tuned"),
        ("alike = { metric = \"train_eval_loss\", within = 0.05 }", "batch 64 0.1060, batch 128 1.0000"),
    ] {
        let (verdict, remarks) = needing(needs);
        assert_eq!(verdict, Verdict::NotEvaluated, "{needs}");
        assert!(remarks.iter().any(|remark| remark.en().contains(part)), "{remarks:?}");
    }
    for needs in ["updates = 40", "train_loss = 1.0", "plan = \"tuned\""] {
        assert_eq!(needing(needs), (Verdict::Supported, vec![]), "{needs}");
    }
    let (verdict, remarks) = needing("alike = { metric = \"train_eval_loss\", within = 0.9 }");
    assert_eq!(verdict, Verdict::Supported);
    assert!(remarks[0].en().starts_with("compared at an equal training loss"), "{remarks:?}");
}

/// "About 0.94" was tested as "below 0.955", and 0.822 supported it.
#[test]
fn about_a_value_is_tested_on_both_sides() {
    let about = "{ metric = \"val_acc\", equal = \"64 = 0.94\", margin = 0.01 }";
    let found = |values: &[f64]| verdict_of(about, &[values]);
    assert_eq!(found(&[0.941, 0.94, 0.942]).0, Verdict::Supported);
    let (verdict, evidence, _) = found(&[0.822, 0.825, 0.82]);
    assert_eq!(verdict, Verdict::Refuted);
    assert_eq!(evidence[0].what.en(), "validation accuracy: batch 64 about 0.94");
    assert!((evidence[0].shown(evidence[0].estimate.unwrap()) - 0.8223).abs() < 1e-3);
    assert_eq!(found(&[0.99, 0.991, 0.992]).0, Verdict::Refuted);
}

/// A number of updates to a loss is the number of epochs to it, times a constant.
#[test]
fn two_tests_that_are_one_number_are_one_part() {
    let gap = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.001 }";
    let again = "{ metric = \"val_acc\", order = \"128 < 64\", margin = 0.002 }";
    let other = "{ metric = \"val_acc\", order = \"64 > 1024\", margin = 0.001 }";
    let values: [&[f64]; 3] = [&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93], &[0.9, 0.94, 0.91]];
    let experiment = experiment(&[gap, again, other].join(", "));
    let arms = arms(&experiment, &values);
    let summary = Summary::of(&experiment, &arms);
    let found = assess(&experiment, &summary);
    let repeats: Vec<_> = found[0].evidence.iter().map(|evidence| evidence.repeats).collect();
    assert_eq!((repeats, found[0].parts().len()), (vec![None, Some(0), None], 2));
    assert_eq!(found[0].basis().len(), 2);
}

/// Seed by seed batch 128 came as far below 64 as 1024 below 128: by chance, in other trainings.
#[test]
fn equal_numbers_of_other_trainings_are_two_parts() {
    let chain = "{ metric = \"val_acc\", order = \"64 > 128 > 1024\", margin = 0.001 }";
    let values: [&[f64]; 3] = [&[0.95, 0.94], &[0.94, 0.92], &[0.93, 0.90]];
    let (_, evidence, _) = verdict_of(chain, &values);
    assert_eq!(evidence.iter().map(|part| part.repeats).collect::<Vec<_>>(), [None, None]);
    let (_, equal, _) = verdict_of(&format!("{ABOVE}, {ABOVE}"), &[&[0.5, 0.5], &[0.25, 0.25]]);
    assert_eq!(equal[1].repeats, Some(0), "without a spread, too");
}

/// An effect of 5·10¹⁵ deviations was said of three differences that are equal but for rounding.
#[test]
fn a_spread_that_is_rounding_is_none() {
    let (verdict, evidence, _) = verdict_of(ABOVE, &[&[0.98, 0.97, 0.96], &[0.97, 0.96, 0.95]]);
    assert_eq!((verdict, evidence[0].effect_size), (Verdict::Supported, None));
    assert!(evidence[0].p_supported.unwrap() < 1e-3);
}

/// Of 32 images two seeds often differ by the same: a mean of one image above was certain then, and p was 0.
#[test]
fn equal_accuracies_have_a_spread_of_one_image_at_least() {
    let of_images = |images: u32| {
        let experiment = experiment(ABOVE);
        let mut arms = arms(&experiment, &[&[0.96875, 0.9375], &[0.9375, 0.90625], &[0.5, 0.5]]);
        for row in arms.iter_mut().flat_map(|arm| &mut arm.runs).flat_map(|run| &mut run.epochs) {
            row.images = images;
        }
        let found = assess(&experiment, &Summary::of(&experiment, &arms)).remove(0);
        (found.verdict, found.evidence[0].p_supported.unwrap(), found.evidence[0].detectable.unwrap())
    };
    let (verdict, p, detectable) = of_images(32);
    assert_eq!(verdict, Verdict::Inconclusive);
    // t = 0.03125 / (0.03125 / √2) with one degree of freedom.
    assert!(
        (p - (0.5 - 2.0_f64.sqrt().atan() / std::f64::consts::PI)).abs() < 1e-9 && detectable > 0.1,
        "{p}"
    );
    assert_eq!(of_images(12_000).0, Verdict::Supported);
}

/// Runs whose window of five steps of 1,280 images comes to a loss of 0 after so many steps; that of `None` stays at 1.5.
fn reaching(tests: &str, steps: &[&[Option<u64>]]) -> (Verdict, Vec<Evidence>, Vec<Localised>) {
    let experiment = experiment(tests);
    let accuracies: Vec<Vec<f64>> = steps.iter().map(|arm| vec![0.5; arm.len()]).collect();
    let mut arms = arms(&experiment, &accuracies.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for (arm, steps) in arms.iter_mut().zip(steps) {
        for (run, reached) in arm.runs.iter_mut().zip(*steps) {
            let loss = |index: u64| if reached.is_some_and(|steps| index + 5 >= steps) { 0.0 } else { 1.5 };
            let step = |index| StepRow { loss: loss(index), ..samples::step(index, 1280, 1_000_000) };
            run.steps = (0..60).map(step).collect();
        }
    }
    let found = assess(&experiment, &Summary::of(&experiment, &arms)).remove(0);
    (found.verdict, found.evidence, found.remarks)
}

const SOONER: &str = "{ metric = \"updates_to_train_loss@0.1\", order = \"64 < 128\", margin = 0.05 }";

/// Three seeds of five said "holds, above in 3 of 3": in a fourth it was the arm that should be first that never came there.
#[test]
fn seeds_are_not_chosen_by_what_is_compared() {
    let [first, second] = [[20, 21, 20], [30, 31, 32]].map(|steps| steps.map(Some));
    let (verdict, evidence, remarks) = reaching(SOONER, &[&first, &second]);
    assert_eq!((verdict, evidence[0].values.len(), remarks), (Verdict::Supported, 3, vec![]));
    let never = [first[0], first[1], None];
    let (verdict, evidence, remarks) = reaching(SOONER, &[&never, &second]);
    assert_eq!((verdict, evidence[0].values.len()), (Verdict::NotEvaluated, 0));
    assert!(
        remarks.iter().any(|remark| remark.en().starts_with("seed 2: updates to a training loss")),
        "{remarks:?}"
    );
    // Under a seed in which none of them came there neither is favoured.
    let neither = [second[0], second[1], None];
    assert_eq!(reaching(SOONER, &[&never, &neither]).1[0].values.len(), 2);
    let bound = "{ metric = \"updates_to_train_loss@0.1\", bound = \"64 < 50\", margin = 1 }";
    assert_eq!(reaching(bound, &[&first]).0, Verdict::Supported);
    assert_eq!(reaching(bound, &[&never]).0, Verdict::NotEvaluated);
}

/// Whole epochs of early stopping: "+60 %, 95 % interval +60 to +60 %" of two seeds.
#[test]
fn equal_lengths_have_a_spread_of_one_update_at_least() {
    let steps = [Some(20), Some(20)];
    let (verdict, evidence, _) = reaching(SOONER, &[&steps, &[Some(21), Some(21)]]);
    assert_eq!(verdict, Verdict::Inconclusive);
    let (low, high) = evidence[0].interval.unwrap();
    // ln 1.05 ± 12.7 (1 / 20) / √2, in per cent.
    let half = 12.706_204_736 / 20.0 / 2.0_f64.sqrt();
    let centre = 1.05_f64.ln();
    for (found, expected) in [(low, centre - half), (high, centre + half)] {
        assert!((found - 100.0 * expected.exp_m1()).abs() < 1e-6, "{found}");
    }
}

/// A third arm that was the second again halved the slope.
#[test]
fn a_training_has_one_rank_in_a_trend() {
    let rises = |arms: &str| format!("{{ metric = \"val_acc\", rises = [{arms}], margin = 0.005 }}");
    // A cap makes two arms of the profile one training.
    let capped =
        samples::TOML.replacen("[profiles.full]", "[profiles.full]\ncap = { \"train.batch\" = 128 }", 1);
    let of = |tests: &str| {
        let claim = format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\ntests = [{tests}]\n");
        let experiment = samples::parse(&format!("{capped}\n{claim}"));
        let arms = arms(&experiment, &[&[0.93, 0.931, 0.93], &[0.95, 0.952, 0.949], &[0.95, 0.952, 0.949]]);
        assess(&experiment, &Summary::of(&experiment, &arms)).remove(0).evidence.remove(0)
    };
    let (two, three) = (of(&rises("\"64\", \"128\"")), of(&rises("\"64\", \"128\", \"1024\"")));
    assert_eq!((two.estimate, two.verdict), (three.estimate, Verdict::Supported));
    let (_, evidence, remarks) = verdict_of(&rises("\"64\", \"128\""), &[&[0.9, 0.9], &[0.95, 0.95]]);
    assert_eq!((evidence[0].values.len(), remarks.len()), (2, 0));
}

/// 0.007 more on the test split and on the training split, seed by seed, was "the same number, seen from elsewhere".
#[test]
fn two_metrics_that_differ_by_the_same_are_two_numbers() {
    let train = "{ metric = \"train_acc\", order = \"64 > 128\", margin = 0.005 }";
    let experiment = experiment(&format!("{ABOVE}, {train}"));
    let mut arms = arms(&experiment, &[&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93]]);
    for run in arms.iter_mut().flat_map(|arm| &mut arm.runs) {
        let accuracy = run.epochs.iter().rfind(|row| row.split == Split::Validation).unwrap().accuracy;
        run.epochs.iter_mut().filter(|row| row.split == Split::Train).for_each(|row| row.accuracy = accuracy);
    }
    let found = assess(&experiment, &Summary::of(&experiment, &arms)).remove(0);
    assert_eq!(found.evidence.iter().map(|part| part.repeats).collect::<Vec<_>>(), [None, None]);
    assert_eq!(found.evidence[0].estimate, found.evidence[1].estimate);
}

/// "Supported" asks for a mean of the margin too, which an effect of 0.02 seldom shows where the margin is 0.025.
#[test]
fn what_would_be_found_is_above_the_margin() {
    let order = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.025 }";
    let (_, evidence, _) = verdict_of(order, &[&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93]]);
    let sd = evidence[0].estimate.unwrap() / evidence[0].effect_size.unwrap();
    let found = evidence[0].detectable.unwrap();
    assert!((found - (0.025 + 0.841_621_233_6 * sd / 3.0_f64.sqrt())).abs() < 1e-9, "{found}");
}

#[test]
fn a_part_has_its_verdict_and_the_claim_says_how_many_hold() {
    let tests = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.005 }, { metric = \"val_acc\", order = \"1024 > 64\", margin = 0.005 }";
    let experiment = experiment(tests);
    let arms = arms(&experiment, &[&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93], &[0.9, 0.9, 0.901]]);
    let summary = Summary::of(&experiment, &arms);
    let found = assess(&experiment, &summary);
    assert_eq!(
        (found[0].verdict, found[0].in_parts(Words::english()).as_deref()),
        (Verdict::Partly, Some("1 of 2 parts holds"))
    );
    let held = found[0].evidence[0].held.unwrap();
    assert_eq!((held.seeds, held.of), (3, 3));
    assert!(held.interval.0 < 0.5, "three of three prove no majority");
    // By chance neither of the parts would look like this.
    assert!(found[0].p.unwrap() < 0.01, "{:?}", found[0].p);
}

#[test]
fn an_interval_wider_than_what_it_measures_says_nothing() {
    let (verdict, evidence, _) = verdict_of(ABOVE, &[&[0.9, 0.1], &[0.1, 0.5]]);
    assert_eq!((verdict, evidence[0].is_informative), (Verdict::Inconclusive, false));
    let (_, evidence, _) = verdict_of(ABOVE, &[&[0.95, 0.97, 0.96], &[0.95, 0.94, 0.96]]);
    assert!(evidence[0].is_informative);
}

#[test]
fn a_verdict_of_a_smaller_profile_is_about_its_setting() {
    let experiment = experiment(ABOVE).under(&"smoke".into()).unwrap();
    let arms = samples::arms(&experiment.profile, &[0]);
    let summary = Summary::of(&experiment, &arms);
    assert_eq!(assess(&experiment, &summary)[0].setting, Setting::Reduced);
}

#[test]
fn what_is_missing_is_remarked_and_the_rest_is_evaluated() {
    let (verdict, evidence, remarks) =
        verdict_of(ABOVE, &[&[0.95, 0.952, 0.949, 0.99], &[0.93, f64::NAN, 0.93]]);
    assert_eq!(verdict, Verdict::Supported);
    assert_eq!(evidence[0].values.iter().map(|(seed, _)| seed.0).collect::<Vec<_>>(), [0, 2]);
    assert!(remarks.iter().any(|remark| remark.en().contains("batch 128, seed 1")), "{remarks:?}");
    assert!(remarks.iter().any(|remark| remark.en().contains("seed 3: only one")), "{remarks:?}");
    assert_eq!(verdict_of(ABOVE, &[&[0.95, 0.96]]).0, Verdict::NotEvaluated);
}

/// Verdicts on simulated studies of `n` seeds whose arms differ by `effect` with a deviation of 0.004.
fn share(tests: &str, wanted: Verdict, n: usize, effect: f64, stream: u8) -> f64 {
    let experiment = experiment(tests);
    let mut normal = Normal::new(stream);
    let studies = 1000;
    let mut found = 0;
    for _ in 0..studies {
        let mut draw = |mean: f64| (0..n).map(|_| normal.draw(mean, 0.004)).collect::<Vec<f64>>();
        let (high, low) = (draw(0.9 + effect), draw(0.9));
        let values: Vec<(Seed, f64)> =
            high.iter().zip(&low).enumerate().map(|(seed, (a, b))| (Seed(seed as u64), a - b)).collect();
        let comparison = Comparison {
            what: Localised::default(),
            metric: experiment.claims[0].tests[0].metric,
            kind: if tests == EQUAL { Kind::Equal } else { Kind::Above },
            values,
            theirs: None,
            margin: 0.005,
            widest: 1.0,
            trainings: Vec::new(),
            resolution: 0.0,
            runs: Vec::new(),
        };
        found += usize::from(comparison.evidence(1).verdict == wanted);
    }
    found as f64 / f64::from(studies)
}

#[test]
fn arms_that_do_not_differ_are_seldom_said_to() {
    for n in [3, 5] {
        // 2.5 % and four standard errors over 1000 studies.
        let false_alarms = share(ABOVE, Verdict::Supported, n, 0.0, 11);
        assert!(false_alarms <= 0.025 + 0.02, "{n}: {false_alarms}");
        // Arms at the margin of equality are called equal at most in 5 %.
        let false_equal = share(EQUAL, Verdict::Supported, n, 0.005, 12);
        assert!(false_equal <= 0.05 + 0.028, "{n}: {false_equal}");
        // Arms that differ by what matters are said not to in at most 2.5 %.
        let false_refuted = share(ABOVE, Verdict::Refuted, n, 0.005, 13);
        assert!(false_refuted <= 0.025 + 0.02, "{n}: {false_refuted}");
    }
}

#[test]
fn planted_effects_are_found() {
    assert!(share(ABOVE, Verdict::Supported, 5, 0.02, 14) > 0.95);
    assert!(share(ABOVE, Verdict::Refuted, 5, -0.02, 15) > 0.95);
    assert!(share(EQUAL, Verdict::Refuted, 5, 0.03, 16) > 0.95);
    assert!(share(EQUAL, Verdict::Supported, 20, 0.0, 17) > 0.8);
}
