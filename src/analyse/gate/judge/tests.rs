use super::*;
use crate::analyse::gate::simulated::{self, Study};
use crate::digest::Digest;

fn verdict(findings: &Findings, arm: &str, subject: Subject) -> Verdict {
    let finding = findings.all.iter().find(|f| f.arm.as_deref() == Some(arm) && f.subject == subject);
    finding.unwrap_or_else(|| panic!("no {subject} of {arm}: {findings:?}")).verdict.clone()
}

/// A baseline of `seeds` seeds and the runs that gave it, one arm.
fn study(seeds: u64) -> (Asked, Baseline, Vec<Sample>) {
    let mut study = Study::new(1, 1);
    let runs = study.samples(0..seeds);
    (study.asked.clone(), study.baseline(&runs), runs)
}

#[test]
fn the_same_runs_hold_bit_for_bit_and_nothing_else_is_tested() {
    let (asked, baseline, runs) = study(5);
    let findings = judge(&asked, Some(&baseline), &runs);
    assert_eq!(findings.exit().code(), 0, "{findings:?}");
    let subjects: Vec<Subject> = findings.all.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, [Subject::Bits]);
}

#[test]
fn other_weights_are_an_alarm_with_what_moved() {
    let (asked, baseline, mut runs) = study(3);
    simulated::numbers(&mut runs[1]).weights = Digest::of(b"other");
    simulated::set(&mut runs[1], Gauge::TestAcc, 0.5);
    let findings = judge(&asked, Some(&baseline), &runs);
    assert_eq!(verdict(&findings, "arm 0", Subject::Bits), Verdict::Alarm(Alarm::Weights));
    let Some(Evidence::Bits(bits)) = &findings.all[0].evidence else { panic!("{findings:?}") };
    assert_eq!((bits.seeds.len(), &bits.differing[..]), (3, &[Seed(1)][..]));
    assert_eq!((bits.moved[0].gauge, bits.moved[0].to), (Gauge::TestAcc, 0.5));
    assert_eq!(findings.exit().code(), 1);
}

#[test]
fn equal_weights_measured_otherwise_are_an_alarm_of_their_own() {
    let (asked, baseline, mut runs) = study(3);
    simulated::numbers(&mut runs[0]).measured = Digest::of(b"other");
    let findings = judge(&asked, Some(&baseline), &runs);
    assert_eq!(verdict(&findings, "arm 0", Subject::Bits), Verdict::Alarm(Alarm::Measured));
}

#[test]
fn bits_are_not_compared_on_another_machine_or_under_another_plan() {
    let (asked, baseline, runs) = study(5);
    let elsewhere: Vec<Sample> = runs.iter().cloned().map(simulated::elsewhere).collect();
    let findings = judge(&asked, Some(&baseline), &elsewhere);
    assert!(findings.all.iter().all(|finding| finding.subject != Subject::Bits), "{findings:?}");
    assert_eq!(findings.all.len(), Gauge::JUDGED.len());
    let otherwise: Vec<Sample> = runs.iter().cloned().map(simulated::under_another_plan).collect();
    let findings = judge(&asked, Some(&baseline), &otherwise);
    assert!(findings.all.iter().all(|finding| finding.subject != Subject::Bits), "{findings:?}");
    let accuracy = verdict(&findings, "arm 0", Subject::Gauge(Gauge::TestAcc));
    assert!(!matches!(accuracy, Verdict::NotComparable(_)), "{accuracy:?}");
}

/// Share of `studies` in which `meets` is true of the findings.
fn share(studies: u32, mut meets: impl FnMut(&mut Study) -> bool) -> f64 {
    let mut study = Study::new(2, 7);
    let found = (0..studies).filter(|_| meets(&mut study)).count();
    found as f64 / f64::from(studies)
}

/// Whether one of the tests was an alarm, at the margin itself, where honest and worse meet.
#[test]
fn runs_worse_by_the_margin_raise_an_alarm_as_rarely_as_stated() {
    let (rate, studies) = (0.05, 3000);
    let share = share(studies, |study| {
        let stored = study.samples(0..6);
        let baseline = Baseline { false_alarm_rate: rate, ..study.baseline(&stored) };
        let mut fresh = study.twins(&stored);
        for sample in &mut fresh {
            for gauge in Gauge::JUDGED {
                simulated::set(sample, gauge, simulated::at_the_margin(sample, gauge, &baseline));
            }
        }
        let findings = judge(&study.asked, Some(&baseline), &fresh);
        assert_eq!(findings.all.len(), 2 * Gauge::JUDGED.len());
        findings.alarms().next().is_some()
    });
    // The larger of two deviations makes it rarer than stated; never, and the gate would be blunt.
    assert!((0.002..0.05).contains(&share), "{share}");
    let honest = self::share(studies, |study| {
        let stored = study.samples(0..6);
        let baseline = Baseline { false_alarm_rate: rate, ..study.baseline(&stored) };
        let fresh = study.twins(&stored);
        judge(&study.asked, Some(&baseline), &fresh).alarms().next().is_some()
    });
    assert!(honest < 0.01, "{honest}");
}

/// A change that is meant, such as another stream of dropout, parts every pair and is no worse.
#[test]
fn runs_that_only_share_the_config_are_judged_by_the_spread_of_seeds() {
    let (rate, studies) = (0.05, 2000);
    let share = share(studies, |study| {
        let stored = study.samples(0..8);
        let baseline = Baseline { false_alarm_rate: rate, ..study.baseline(&stored) };
        let fresh: Vec<Sample> = study.samples(0..8).into_iter().map(simulated::elsewhere).collect();
        judge(&study.asked, Some(&baseline), &fresh).alarms().next().is_some()
    });
    assert!(share < 0.066, "{share}");
}

#[test]
fn the_drop_that_is_said_to_be_found_is_found_in_four_of_five() {
    let found = share(1000, |study| {
        let stored = study.samples(0..12);
        let baseline = study.baseline(&stored);
        let mut fresh = study.twins(&stored);
        let known = Known::of(&baseline.arms[0], Gauge::TestAcc, baseline.margin);
        let least = known.least_found(alpha(&baseline)).unwrap();
        for sample in fresh.iter_mut().filter(|sample| sample.arm == "arm 0") {
            let value = simulated::value(sample, Gauge::TestAcc) - least;
            simulated::set(sample, Gauge::TestAcc, value);
        }
        let is_alarm = |seeds: u64, fresh: &[Sample]| {
            let fresh: Vec<Sample> = fresh.iter().filter(|sample| sample.seed.0 < seeds).cloned().collect();
            let findings = judge(&study.asked, Some(&baseline), &fresh);
            verdict(&findings, "arm 0", Subject::Gauge(Gauge::TestAcc)) == Verdict::Alarm(Alarm::Worse)
        };
        // At the first look, and over all seeds.
        is_alarm(3, &fresh) && is_alarm(12, &fresh)
    });
    assert!((0.75..0.95).contains(&found), "{found}");
}

#[test]
fn a_planted_shift_is_found_on_another_machine_in_either_direction() {
    for (gauge, factor, alarm) in [
        (Gauge::TestAcc, 0.97, Alarm::Worse),
        (Gauge::TestAcc, 1.01, Alarm::Better),
        (Gauge::TrainLoss, 2.0, Alarm::Worse),
        (Gauge::TrainLoss, 0.3, Alarm::Better),
    ] {
        let mut study = Study::new(2, 3);
        let stored = study.samples(0..8);
        let baseline = study.baseline(&stored);
        let mut fresh = study.twins(&stored);
        for sample in fresh.iter_mut().filter(|sample| sample.arm == "arm 1") {
            let value = simulated::value(sample, gauge) * factor;
            simulated::set(sample, gauge, value);
        }
        let findings = judge(&study.asked, Some(&baseline), &fresh);
        assert_eq!(verdict(&findings, "arm 1", Subject::Gauge(gauge)), Verdict::Alarm(alarm), "{gauge}");
        let other = verdict(&findings, "arm 0", Subject::Gauge(gauge));
        assert!(!matches!(other, Verdict::Alarm(_)), "{gauge}: {other:?}");
    }
}

#[test]
fn what_is_about_to_be_accepted_is_held_to_what_was() {
    let mut study = Study::new(2, 9);
    let stored = study.samples(0..8);
    let old = study.baseline(&stored);
    assert!(compare_baselines(&old, &old).iter().all(|finding| finding.verdict == Verdict::Holds));
    let mut new = old.clone();
    // Of another config, too: whether it is worse is the question all the same.
    new.arms[1].config_hash = ConfigHash(Digest::of(b"another config"));
    for run in &mut new.arms[1].runs {
        run.values.insert(Gauge::TestAcc, run.values[&Gauge::TestAcc] - 0.02);
    }
    let findings = compare_baselines(&old, &new);
    let worse: Vec<&Finding> =
        findings.iter().filter(|finding| finding.verdict == Verdict::Alarm(Alarm::Worse)).collect();
    assert_eq!(
        (worse.len(), worse[0].arm.as_deref(), worse[0].subject),
        (1, Some("arm 1"), Subject::Gauge(Gauge::TestAcc))
    );
}

#[test]
fn arms_that_single_steps_answer_for_are_no_new_arms() {
    let (mut asked, mut baseline, runs) = study(3);
    asked.arms.push(("other".to_owned(), ConfigHash(Digest::of(b"other"))));
    assert_eq!(judge(&asked, Some(&baseline), &runs).exit().code(), 4);
    baseline.by_steps_alone.push("other".to_owned());
    assert_eq!(judge(&asked, Some(&baseline), &runs).exit().code(), 0);
}

#[test]
fn a_baseline_of_one_seed_is_exact_here_and_inconclusive_elsewhere() {
    let (asked, baseline, runs) = study(1);
    let findings = judge(&asked, Some(&baseline), &runs);
    assert_eq!(verdict(&findings, "arm 0", Subject::Bits), Verdict::Holds);
    let elsewhere: Vec<Sample> = runs.into_iter().map(simulated::elsewhere).collect();
    let findings = judge(&asked, Some(&baseline), &elsewhere);
    let is_doubt = |finding: &Finding| finding.verdict == Verdict::Inconclusive(Doubt::OneRun);
    assert!(findings.all.iter().all(is_doubt), "{findings:?}");
    assert_eq!(findings.exit().code(), 3);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let (asked, baseline, runs) = study(2);
    let bar = |findings: &Findings| match &findings.all[0].verdict {
        Verdict::NotComparable(bar) => bar.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(bar(&judge(&asked, None, &runs)), Bar::NoBaseline);
    assert_eq!(bar(&judge(&asked, Some(&baseline), &[])), Bar::NothingMeasured);
    let mut moved = asked.clone();
    moved.arms[0].1 = ConfigHash(Digest::of(b"another config"));
    assert!(matches!(bar(&judge(&moved, Some(&baseline), &runs)), Bar::Stale { .. }));
    let mut foreign = runs.clone();
    foreign.iter_mut().for_each(|sample| sample.config_hash = moved.arms[0].1);
    assert!(matches!(bar(&judge(&asked, Some(&baseline), &foreign)), Bar::OtherConfig { .. }));
    let mut renamed = asked.clone();
    renamed.arms[0].0 = "new".to_owned();
    let findings = judge(&renamed, Some(&baseline), &runs);
    assert_eq!(bar(&findings), Bar::NewArm);
    assert_eq!(findings.all[1].verdict, Verdict::NotComparable(Bar::OrphanedArm));
    assert_eq!(bar(&Findings::orphaned("m1", "quick".into())), Bar::OrphanedFile);
    let mut unmeasured: Vec<Sample> = runs.into_iter().map(simulated::elsewhere).collect();
    for sample in &mut unmeasured {
        simulated::numbers(sample).values.remove(&Gauge::TestAcc);
    }
    let findings = judge(&asked, Some(&baseline), &unmeasured);
    let accuracy = verdict(&findings, "arm 0", Subject::Gauge(Gauge::TestAcc));
    assert_eq!(accuracy, Verdict::NotComparable(Bar::NoValue));
    assert_eq!(findings.exit().code(), 4);
}

#[test]
fn what_the_baseline_does_not_have_is_not_asked_for() {
    let (asked, mut baseline, runs) = study(3);
    for run in &mut baseline.arms[0].runs {
        run.values.remove(&Gauge::TestAcc);
    }
    let elsewhere: Vec<Sample> = runs.into_iter().map(simulated::elsewhere).collect();
    let findings = judge(&asked, Some(&baseline), &elsewhere);
    assert_eq!((findings.all.len(), findings.exit().code()), (2, 0), "{findings:?}");
}

#[test]
fn a_run_that_diverges_where_the_baseline_finished_is_an_alarm() {
    let (asked, baseline, mut runs) = study(3);
    runs[2].ending = Ending::Diverged { step: 7, loss: "NaN".to_owned() };
    let findings = judge(&asked, Some(&baseline), &runs);
    let alarm = Alarm::Diverged { seed: Seed(2), step: 7, loss: "NaN".to_owned() };
    assert_eq!(verdict(&findings, "arm 0", Subject::Runs), Verdict::Alarm(alarm));
    assert_eq!(verdict(&findings, "arm 0", Subject::Bits), Verdict::Holds);
}

#[test]
fn an_arm_that_diverges_by_design_holds_while_it_does() {
    let (asked, _, mut runs) = study(3);
    runs[2].ending = Ending::Diverged { step: 7, loss: "NaN".to_owned() };
    let baseline = Study::new(1, 1).baseline(&runs);
    assert_eq!(baseline.arms[0].diverged, [Seed(2)]);
    let findings = judge(&asked, Some(&baseline), &runs);
    assert_eq!(verdict(&findings, "arm 0", Subject::Runs), Verdict::Holds);
    let mut unknown = runs.clone();
    unknown[2].seed = Seed(9);
    let findings = judge(&asked, Some(&baseline), &unknown);
    let doubt = Verdict::Inconclusive(Doubt::MayDiverge);
    assert_eq!(verdict(&findings, "arm 0", Subject::Runs), doubt);
    let mut healed = runs.clone();
    healed[2].ending = runs[0].ending.clone();
    let findings = judge(&asked, Some(&baseline), &healed);
    let alarm = Verdict::Alarm(Alarm::Finished { seed: Seed(2) });
    assert_eq!(verdict(&findings, "arm 0", Subject::Runs), alarm);
}

#[test]
fn a_value_that_is_not_a_number_is_an_alarm_elsewhere_too() {
    let (asked, baseline, runs) = study(3);
    let mut elsewhere: Vec<Sample> = runs.into_iter().map(simulated::elsewhere).collect();
    simulated::set(&mut elsewhere[1], Gauge::ValLoss, f64::INFINITY);
    let findings = judge(&asked, Some(&baseline), &elsewhere);
    let alarm = Alarm::NotFinite { seed: Seed(1), value: f64::INFINITY };
    assert_eq!(verdict(&findings, "arm 0", Subject::Gauge(Gauge::ValLoss)), Verdict::Alarm(alarm));
}

#[test]
fn a_seed_that_ran_twice_weighs_once() {
    let (asked, baseline, runs) = study(3);
    let elsewhere: Vec<Sample> = runs.into_iter().map(simulated::elsewhere).collect();
    let doubled: Vec<Sample> = elsewhere.iter().chain(&elsewhere).cloned().collect();
    assert_eq!(judge(&asked, Some(&baseline), &doubled), judge(&asked, Some(&baseline), &elsewhere));
}

#[test]
fn a_seed_that_finished_and_diverges_and_seeds_that_nobody_shares_bear_nothing_out() {
    let (_, old, _) = study(3);
    assert_eq!(not_borne_out(&old, &old), [""; 0]);
    let mut new = old.clone();
    let seed = new.arms[0].runs.remove(1).seed;
    new.arms[0].diverged.push(seed);
    assert!(not_borne_out(&old, &new)[0].contains("seed 1 finished and diverges now"));
    let mut other = old.clone();
    other.arms[0].runs.iter_mut().for_each(|run| run.seed = Seed(run.seed.0 + 100));
    assert!(not_borne_out(&old, &other)[0].contains("no seed that finished is in both"));
}
