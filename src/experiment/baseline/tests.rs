use super::*;

fn baseline() -> Baseline {
    let run = |seed: u64| BaselineRun {
        seed: Seed(seed),
        values: BTreeMap::from([
            (Gauge::TrainLoss, 0.1 + 0.2), // 0.30000000000000004
            (Gauge::ValAcc, 1.0),
        ]),
        twins: vec![BTreeMap::from([(Gauge::TestAcc, 0.1 * seed as f64)]), BTreeMap::new()],
        weights: Digest::of(&seed.to_le_bytes()),
        measured: Digest::of(b"epochs"),
    };
    let arm = |label: &str, diverged: &[u64]| ArmBaseline {
        label: label.to_owned(),
        config_hash: ConfigHash(Digest::of(label.as_bytes())),
        plan_hash: (!diverged.is_empty()).then_some(PlanHash(Digest::of(b"another plan"))),
        images: BTreeMap::from([(Gauge::ValAcc, 12_000)]),
        diverged: diverged.iter().copied().map(Seed).collect(),
        runs: vec![run(0), run(1)],
    };
    Baseline {
        experiment: "m1".to_owned(),
        profile: "quick".into(),
        plan: BaselinePlan {
            name: PlanName::Tuned,
            device: Device::Cpu,
            threads: 2,
            hash: PlanHash(Digest::of(b"plan")),
        },
        environment_class: "2 × Example CPU, libtorch 2.13.0 AVX512, 2 threads".to_owned(),
        pinbench: "0.1.0".to_owned(),
        accepted: "2026-01-02T03:04:05Z".to_owned(),
        false_alarm_rate: 0.01,
        margin: MARGIN,
        twins: vec![PlanName::Eager, PlanName::Fused],
        by_steps_alone: vec!["1024, \"linear\"".to_owned()],
        arms: vec![arm("64", &[]), arm("a \"quoted\\ \n arm", &[7])],
    }
}

fn parse(text: &str) -> Result<Baseline, LocatedError> {
    Baseline::parse(Path::new("experiments/baselines/m1.quick.toml"), text)
}

/// The error of the baseline with `from` replaced once.
fn error(from: &str, to: &str) -> String {
    let text = baseline().to_toml();
    assert!(text.contains(from), "{from}\n{text}");
    parse(&text.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn what_is_written_reads_back_and_is_written_the_same_again() {
    let text = baseline().to_toml();
    let read = parse(&text).unwrap();
    assert_eq!(read, baseline());
    assert_eq!(read.to_toml(), text);
}

#[test]
fn a_run_is_one_line_of_a_diff() {
    let text = baseline().to_toml();
    assert!(text.starts_with("# Written by `pinbench baseline accept m1 --profile quick`"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("seed = 1,")).count(), 2, "{text}");
    assert!(text.contains("train_loss = 0.30000000000000004, val_acc = 1.0, weights = "), "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_its_name() {
    assert!(error("threads = 2", "threads = 2\nthraeds = 2").contains("unknown field `thraeds`"));
    assert!(error("val_acc = 1.0", "val_accc = 1.0").contains("unknown field `val_accc`"));
}

#[test]
fn another_format_is_refused_by_its_number_whatever_else_it_holds() {
    let text = error("format = 2", "format = 3\nfuture = true");
    assert!(text.contains("m1.quick.toml:2:") && text.contains("format 3, expected 2"), "{text}");
}

#[test]
fn a_seed_twice_is_refused_where_it_stands() {
    let text = error("seed = 1,", "seed = 0,");
    assert!(text.contains("seed 0 is there twice in arm '64'") && text.contains("m1.quick.toml:"), "{text}");
    assert!(error("diverged = [7]", "diverged = [1]").contains("seed 1 is there twice"));
}

#[test]
fn a_value_no_run_can_have_is_refused_with_the_way_out() {
    for (from, to, what) in [
        ("train_loss = 0.30000000000000004", "train_loss = nan", "`train_loss` of seed 0 is NaN"),
        ("train_loss = 0.30000000000000004", "train_loss = inf", "a finite loss"),
        ("val_acc = 1.0", "val_acc = 98.0", "a share, 0 to 1"),
        ("test_acc = 0.1", "test_acc = 1.1", "`test_acc` of seed 1 is 1.1"),
    ] {
        let text = error(from, to);
        let command = "`pinbench baseline accept m1 --profile quick --experiments experiments`";
        let has_way_out = text.contains(command);
        assert!(text.contains(what) && has_way_out, "{to}: {text}");
    }
    assert!(error("false_alarm_rate = 0.01", "false_alarm_rate = 1.0").contains("below 0.5"));
    assert!(error("accuracy = 0.002", "accuracy = 2.0").contains("`margin` is 2 of an accuracy"));
}

#[test]
fn a_digest_that_is_none_and_an_arm_without_runs_are_refused() {
    assert!(error("measured = \"", "measured = \"x").contains("not a SHA-256"));
    let mut empty = baseline();
    empty.arms[0].runs.clear();
    assert!(parse(&empty.to_toml()).unwrap_err().to_string().contains("arm '64' has no run"));
    let mut double = baseline();
    double.arms[1].label = "64".to_owned();
    assert!(parse(&double.to_toml()).unwrap_err().to_string().contains("arm '64' is there twice"));
}

#[test]
fn a_renamed_file_is_refused_with_the_name_it_should_have() {
    let path = Path::new("experiments/baselines/m2.quick.toml");
    let text = Baseline::parse(path, &baseline().to_toml()).unwrap_err().to_string();
    assert!(text.contains("m2.quick.toml") && text.contains("'m1.quick.toml'"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Baseline::load(&folder.path().join("m1.quick.toml")).unwrap(), None);
}

#[test]
fn names_of_files_give_experiment_and_profile() {
    let name = file_name("m1-batch-size", &"smoke".into());
    assert_eq!(name, "m1-batch-size.smoke.toml");
    assert_eq!(parse_file_name(&name), Some(("m1-batch-size".to_owned(), "smoke".into())));
    assert_eq!(file_name("own", &ProfileName::default()), "own.toml");
    assert_eq!(parse_file_name("own.toml"), Some(("own".to_owned(), ProfileName::default())));
    for other in [".smoke.toml", "README.md"] {
        assert_eq!(parse_file_name(other), None, "{other}");
    }
}
