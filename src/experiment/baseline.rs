//! Baselines: what an experiment gave under one profile when its numbers were last accepted, run by run.
//!
//! One file an experiment and profile, `experiments/baselines/<experiment>.<profile>.toml`, reviewed like code.
//! `pinbench baseline accept` writes it in a fixed order, floats as the shortest text that reads back as the same
//! bits: what is accepted again unchanged is the same file but for its date.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::digest::Digest;
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::plan::{Device, PlanName};
use crate::experiment::{ConfigHash, ExperimentError, PlanHash, ProfileName};
use crate::stream::Seed;
use crate::text::shell_word;

/// Folder of the baselines, beside the experiments.
pub const FOLDER: &str = "baselines";
/// Once in a hundred honest checks of a file, all its arms and metrics together.
pub const FALSE_ALARM_RATE: f64 = 0.01;

const FORMAT: u32 = 1;

/// Reviewed, stored expectations for one experiment under one profile.
#[derive(Clone, PartialEq, Debug)]
pub struct Baseline {
    pub experiment: String,
    pub profile: ProfileName,
    pub plan: BaselinePlan,
    /// Where its runs were executed; digests are compared only there.
    pub environment_class: String,
    /// Version of the program that ran them.
    pub pinbench: String,
    /// For people: when it was accepted, RFC 3339. Nothing is decided by it.
    pub accepted: String,
    /// Probability that an honest run of the whole file raises an alarm.
    pub false_alarm_rate: f64,
    pub arms: Vec<ArmBaseline>,
}

/// How its runs were executed. The hash decides; the rest is for the reader of a diff.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BaselinePlan {
    pub name: PlanName,
    pub device: Device,
    pub threads: u32,
    pub hash: PlanHash,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ArmBaseline {
    pub label: String,
    pub config_hash: ConfigHash,
    /// Over how many images an accuracy is a share: it cannot be known more finely.
    pub images: BTreeMap<Gauge, u32>,
    /// Seeds whose training diverged, which this arm may do.
    pub diverged: Vec<Seed>,
    /// The finished ones, by seed.
    pub runs: Vec<BaselineRun>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct BaselineRun {
    pub seed: Seed,
    /// Each finite; what a run does not have is absent.
    pub values: BTreeMap<Gauge, f64>,
    /// Of the final weights.
    pub weights: Digest,
    /// Over the bits of every loss and accuracy of the run's epochs.
    pub measured: Digest,
}

/// A quantity that a baseline pins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Gauge {
    /// As trained, over the last epoch.
    TrainLoss,
    TrainAcc,
    ValLoss,
    ValAcc,
    TestAcc,
    /// Median step over the reference workload timed in the same run: a pure number.
    StepTime,
}

impl Baseline {
    /// Expects nothing of step times any more.
    pub fn forget_times(&mut self) {
        for run in self.arms.iter_mut().flat_map(|arm| &mut arm.runs) {
            run.values.remove(&Gauge::StepTime);
        }
    }

    /// Reads and checks `path`; `None` when there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, ExperimentError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ExperimentError::Read { path: path.display().to_string(), source }),
        };
        Ok(Some(Self::parse(path, &text)?))
    }

    /// Checks `text` as the content of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LocatedError> {
        let source = Source { path, text };
        let refuse = |error: toml::de::Error| source.error(error.span(), error.message());
        // First and alone: a later format is refused by its number and not by a key that this one does not know.
        let WireFormat { format } = toml::from_str(text).map_err(refuse)?;
        if *format.get_ref() != FORMAT {
            let message = format!(
                "format {}, expected {FORMAT}; use the pinbench that wrote the file, or write it anew with \
                 `pinbench baseline accept`",
                format.get_ref()
            );
            return Err(source.error(Some(format.span()), message));
        }
        let wire: WireBaseline = toml::from_str(text).map_err(refuse)?;
        wire.checked(&source)
    }

    pub fn arm(&self, label: &str) -> Option<&ArmBaseline> {
        self.arms.iter().find(|arm| arm.label == label)
    }

    /// The whole file. A file that is parsed and written again is the same, byte for byte.
    pub fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// Name of the file in [`FOLDER`].
pub fn file_name(experiment: &str, profile: &ProfileName) -> String {
    match profile.0.as_str() {
        "" => format!("{experiment}.toml"),
        profile => format!("{experiment}.{profile}.toml"),
    }
}

/// Experiment and profile a file of [`FOLDER`] is named after; `None` for a name no baseline has.
pub fn parse_file_name(name: &str) -> Option<(String, ProfileName)> {
    let stem = name.strip_suffix(".toml")?;
    let (experiment, profile) = stem.rsplit_once('.').unwrap_or((stem, ""));
    (!experiment.is_empty()).then(|| (experiment.to_owned(), ProfileName::from(profile)))
}

/// The command that writes the baseline anew, of an experiment that a command line names so.
pub fn accept_command(named: &str, profile: &ProfileName) -> String {
    format!("pinbench baseline accept {named}{}", profile.option())
}

impl Gauge {
    pub const ALL: [Self; 6] =
        [Self::TrainLoss, Self::TrainAcc, Self::ValLoss, Self::ValAcc, Self::TestAcc, Self::StepTime];

    pub fn name(self) -> &'static str {
        match self {
            Self::TrainLoss => "train_loss",
            Self::TrainAcc => "train_acc",
            Self::ValLoss => "val_loss",
            Self::ValAcc => "val_acc",
            Self::TestAcc => "test_acc",
            Self::StepTime => "step_time",
        }
    }

    pub fn is_accuracy(self) -> bool {
        matches!(self, Self::TrainAcc | Self::ValAcc | Self::TestAcc)
    }

    pub fn is_loss(self) -> bool {
        matches!(self, Self::TrainLoss | Self::ValLoss)
    }

    pub fn higher_is_better(self) -> bool {
        self.is_accuracy()
    }

    /// Whether `value` is one this quantity can have.
    pub fn admits(self, value: f64) -> bool {
        match self {
            Self::TrainAcc | Self::ValAcc | Self::TestAcc => (0.0..=1.0).contains(&value),
            Self::TrainLoss | Self::ValLoss => value.is_finite() && value >= 0.0,
            Self::StepTime => value.is_finite() && value > 0.0,
        }
    }

    /// In words what [`Gauge::admits`] asks for.
    pub fn range(self) -> &'static str {
        match self {
            Self::TrainAcc | Self::ValAcc | Self::TestAcc => "a share, 0 to 1",
            Self::TrainLoss | Self::ValLoss => "a finite loss of at least 0",
            Self::StepTime => "a finite ratio above 0",
        }
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Deserialize)]
struct WireFormat {
    format: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBaseline {
    #[serde(rename = "format")]
    _format: u32,
    experiment: String,
    #[serde(default)]
    profile: ProfileName,
    environment_class: String,
    pinbench: String,
    accepted: String,
    false_alarm_rate: Spanned<f64>,
    plan: WirePlan,
    #[serde(default)]
    arms: Vec<WireArm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePlan {
    name: PlanName,
    device: Device,
    threads: u32,
    hash: PlanHash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireArm {
    arm: Spanned<String>,
    config_hash: ConfigHash,
    #[serde(default)]
    images: WireImages,
    #[serde(default)]
    diverged: Vec<Spanned<u64>>,
    #[serde(default)]
    runs: Vec<Spanned<WireRun>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireImages {
    train_acc: Option<u32>,
    val_acc: Option<u32>,
    test_acc: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRun {
    seed: u64,
    train_loss: Option<f64>,
    train_acc: Option<f64>,
    val_loss: Option<f64>,
    val_acc: Option<f64>,
    test_acc: Option<f64>,
    step_time: Option<f64>,
    weights: Digest,
    measured: Digest,
}

impl WireBaseline {
    fn checked(self, source: &Source) -> Result<Baseline, LocatedError> {
        let mut command = accept_command(&shell_word(&self.experiment), &self.profile);
        // The baselines' folder lies in that of their experiments.
        if let Some(folder) =
            source.path.ancestors().nth(2).and_then(Path::to_str).filter(|path| !path.is_empty())
        {
            command.push_str(&format!(" --experiments {}", shell_word(folder)));
        }
        let expected = file_name(&self.experiment, &self.profile);
        if source.path.file_name().and_then(|name| name.to_str()) != Some(expected.as_str()) {
            let message = format!(
                "the baseline of {}{} is expected in '{expected}'; rename the file or run `{command}`",
                self.experiment,
                self.profile.under()
            );
            return Err(source.error(None, message));
        }
        let false_alarm_rate = *self.false_alarm_rate.get_ref();
        let is_rate = false_alarm_rate > 0.0 && false_alarm_rate < 0.5;
        if !is_rate {
            let message = format!(
                "`false_alarm_rate` is {false_alarm_rate}, expected a probability above 0 and below 0.5, such as \
                 {FALSE_ALARM_RATE}"
            );
            return Err(source.error(Some(self.false_alarm_rate.span()), message));
        }
        let mut arms: Vec<ArmBaseline> = Vec::new();
        for wire in self.arms {
            let place = wire.arm.span();
            let arm = wire.checked(source, &command)?;
            if arms.iter().any(|other| other.label == arm.label) {
                let message = format!("arm '{}' is there twice; run `{command}`", arm.label);
                return Err(source.error(Some(place), message));
            }
            arms.push(arm);
        }
        let WirePlan { name, device, threads, hash } = self.plan;
        Ok(Baseline {
            experiment: self.experiment,
            profile: self.profile,
            plan: BaselinePlan { name, device, threads, hash },
            environment_class: self.environment_class,
            pinbench: self.pinbench,
            accepted: self.accepted,
            false_alarm_rate,
            arms,
        })
    }
}

impl WireArm {
    fn checked(self, source: &Source, command: &str) -> Result<ArmBaseline, LocatedError> {
        let label = self.arm.get_ref().clone();
        if self.runs.is_empty() && self.diverged.is_empty() {
            let message = format!("arm '{label}' has no run; run `{command}`");
            return Err(source.error(Some(self.arm.span()), message));
        }
        let mut seen: Vec<u64> = Vec::new();
        let mut once = |seed: u64, place: std::ops::Range<usize>| {
            if seen.contains(&seed) {
                let message = format!("seed {seed} is there twice in arm '{label}'; run `{command}`");
                return Err(source.error(Some(place), message));
            }
            seen.push(seed);
            Ok(Seed(seed))
        };
        let mut diverged = Vec::new();
        for seed in &self.diverged {
            diverged.push(once(*seed.get_ref(), seed.span())?);
        }
        let mut runs = Vec::new();
        for wire in &self.runs {
            let seed = once(wire.get_ref().seed, wire.span())?;
            runs.push(wire.get_ref().checked(seed, source, wire.span(), command)?);
        }
        let WireImages { train_acc, val_acc, test_acc } = self.images;
        let images = [(Gauge::TrainAcc, train_acc), (Gauge::ValAcc, val_acc), (Gauge::TestAcc, test_acc)];
        let images = images.into_iter().filter_map(|(gauge, images)| Some((gauge, images?))).collect();
        Ok(ArmBaseline { label, config_hash: self.config_hash, images, diverged, runs })
    }
}

impl WireRun {
    fn checked(
        &self,
        seed: Seed,
        source: &Source,
        place: std::ops::Range<usize>,
        command: &str,
    ) -> Result<BaselineRun, LocatedError> {
        let mut values = BTreeMap::new();
        for (gauge, value) in [
            (Gauge::TrainLoss, self.train_loss),
            (Gauge::TrainAcc, self.train_acc),
            (Gauge::ValLoss, self.val_loss),
            (Gauge::ValAcc, self.val_acc),
            (Gauge::TestAcc, self.test_acc),
            (Gauge::StepTime, self.step_time),
        ] {
            let Some(value) = value else { continue };
            if !gauge.admits(value) {
                let message = format!(
                    "`{gauge}` of seed {seed} is {value}, expected {}; run `{command}`",
                    gauge.range()
                );
                return Err(source.error(Some(place), message));
            }
            values.insert(gauge, value);
        }
        Ok(BaselineRun { seed, values, weights: self.weights, measured: self.measured })
    }
}

/// As TOML. By hand and not by serde, so that a run is one line of a diff.
impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = accept_command(&self.experiment, &self.profile);
        writeln!(f, "# Written by `{command}`; reviewed like code.")?;
        writeln!(f, "format = {FORMAT}")?;
        writeln!(f, "experiment = {}", Quoted(&self.experiment))?;
        if self.profile != ProfileName::default() {
            writeln!(f, "profile = {}", Quoted(&self.profile.0))?;
        }
        writeln!(f, "environment_class = {}", Quoted(&self.environment_class))?;
        writeln!(f, "pinbench = {}", Quoted(&self.pinbench))?;
        writeln!(f, "accepted = {}", Quoted(&self.accepted))?;
        writeln!(f, "false_alarm_rate = {:?} # over all arms and metrics together", self.false_alarm_rate)?;
        let BaselinePlan { name, device, threads, hash } = self.plan;
        writeln!(f, "\n[plan]\nname = \"{name}\"\ndevice = \"{device}\"\nthreads = {threads}")?;
        writeln!(f, "hash = \"{hash}\"")?;
        self.arms.iter().try_for_each(|arm| write_arm(f, arm))
    }
}

fn write_arm(f: &mut fmt::Formatter<'_>, arm: &ArmBaseline) -> fmt::Result {
    writeln!(f, "\n[[arms]]\narm = {}\nconfig_hash = \"{}\"", Quoted(&arm.label), arm.config_hash)?;
    if !arm.images.is_empty() {
        let images: Vec<String> =
            arm.images.iter().map(|(gauge, images)| format!("{gauge} = {images}")).collect();
        writeln!(f, "images = {{ {} }}", images.join(", "))?;
    }
    if !arm.diverged.is_empty() {
        let seeds: Vec<String> = arm.diverged.iter().map(Seed::to_string).collect();
        writeln!(f, "diverged = [{}]", seeds.join(", "))?;
    }
    if arm.runs.is_empty() {
        return Ok(());
    }
    writeln!(f, "runs = [")?;
    for run in &arm.runs {
        write!(f, "    {{ seed = {}", run.seed)?;
        for (gauge, value) in &run.values {
            // `Debug` of a float is the shortest text with the same bits.
            write!(f, ", {gauge} = {value:?}")?;
        }
        writeln!(f, ", weights = \"{}\", measured = \"{}\" }},", run.weights, run.measured)?;
    }
    writeln!(f, "]")
}

/// A basic string of TOML.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                letter if letter.is_control() => write!(f, "\\u{:04X}", letter as u32)?,
                letter => f.write_char(letter)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let run = |seed: u64| BaselineRun {
            seed: Seed(seed),
            values: BTreeMap::from([
                (Gauge::TrainLoss, 0.1 + 0.2), // 0.30000000000000004
                (Gauge::ValAcc, 1.0),
                (Gauge::StepTime, 1e-7 * (seed + 1) as f64),
            ]),
            weights: Digest::of(&seed.to_le_bytes()),
            measured: Digest::of(b"epochs"),
        };
        let arm = |label: &str, diverged: &[u64]| ArmBaseline {
            label: label.to_owned(),
            config_hash: ConfigHash(Digest::of(label.as_bytes())),
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
        assert!(text.contains("train_loss = 0.30000000000000004, val_acc = 1.0, step_time = 1e-7"), "{text}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_name() {
        assert!(error("threads = 2", "threads = 2\nthraeds = 2").contains("unknown field `thraeds`"));
        assert!(error("val_acc = 1.0", "val_accc = 1.0").contains("unknown field `val_accc`"));
    }

    #[test]
    fn another_format_is_refused_by_its_number_whatever_else_it_holds() {
        let text = error("format = 1", "format = 2\nfuture = true");
        assert!(text.contains("m1.quick.toml:2:") && text.contains("format 2, expected 1"), "{text}");
    }

    #[test]
    fn a_seed_twice_is_refused_where_it_stands() {
        let text = error("seed = 1,", "seed = 0,");
        assert!(
            text.contains("seed 0 is there twice in arm '64'") && text.contains("m1.quick.toml:"),
            "{text}"
        );
        assert!(error("diverged = [7]", "diverged = [1]").contains("seed 1 is there twice"));
    }

    #[test]
    fn a_value_no_run_can_have_is_refused_with_the_way_out() {
        for (from, to, what) in [
            ("train_loss = 0.30000000000000004", "train_loss = nan", "`train_loss` of seed 0 is NaN"),
            ("train_loss = 0.30000000000000004", "train_loss = inf", "a finite loss"),
            ("val_acc = 1.0", "val_acc = 98.0", "a share, 0 to 1"),
            ("step_time = 1e-7", "step_time = 0.0", "a finite ratio above 0"),
        ] {
            let text = error(from, to);
            let command = "`pinbench baseline accept m1 --profile quick --experiments experiments`";
            let has_way_out = text.contains(command);
            assert!(text.contains(what) && has_way_out, "{to}: {text}");
        }
        assert!(error("false_alarm_rate = 0.01", "false_alarm_rate = 1.0").contains("below 0.5"));
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
        for other in ["m1.toml", "m1.other.toml", ".smoke.toml", "README.md"] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }
}
