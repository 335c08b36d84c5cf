//! Baselines: what an experiment gave under one profile when its numbers were last accepted, run by run.
//!
//! One file an experiment and profile, `experiments/baselines/<experiment>.<profile>.toml`, reviewed like code.
//! `pinbench baseline accept` writes it in a fixed order, floats as the shortest text that reads back as the same
//! bits: what is accepted again unchanged is the same file but for its date.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::digest::Digest;
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::plan::{Device, PlanName};
use crate::experiment::{ConfigHash, ExperimentError, PlanHash, ProfileName, read_if_there};
use crate::stream::Seed;
use crate::text::shell_word;

/// Folder of the baselines, beside the experiments.
pub const FOLDER: &str = "baselines";
/// Once in a hundred honest checks of a file, all its arms and metrics together.
pub const FALSE_ALARM_RATE: f64 = 0.01;
/// What a new baseline lets pass.
pub const MARGIN: Margin = Margin { accuracy: 0.002, loss: 0.02 };

const FORMAT: u32 = 2;
const SUFFIX: &str = "toml";

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
    pub margin: Margin,
    /// Other plans that its seeds were trained under, to know what rounding does.
    pub twins: Vec<PlanName>,
    /// Labels of arms that are not trained: single steps answer for them.
    pub by_steps_alone: Vec<String>,
    pub arms: Vec<ArmBaseline>,
}

/// So much worse is let pass.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margin {
    /// As a share of images.
    pub accuracy: f64,
    /// As a share of the baseline's mean loss.
    pub loss: f64,
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
    /// Where arms differ by plan, and this one's is not that of the file.
    pub plan_hash: Option<PlanHash>,
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
    /// The same of each twin, of the quantities that are judged.
    pub twins: Vec<BTreeMap<Gauge, f64>>,
    /// Of the final weights.
    pub weights: Digest,
    /// Over the bits of every loss and accuracy of the run's epochs.
    pub measured: Digest,
}

named! {
    /// A quantity that a baseline pins.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub enum Gauge {
        /// As trained, over the last epoch.
        TrainLoss = "train_loss",
        TrainAcc = "train_acc",
        ValLoss = "val_loss",
        ValAcc = "val_acc",
        TestAcc = "test_acc",
    }
}

impl Baseline {
    /// Reads and checks `path`; `None` when there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, ExperimentError> {
        Ok(read_if_there(path)?.map(|text| Self::parse(path, &text)).transpose()?)
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

    /// The plan that the runs of `arm` were executed under.
    pub fn plan_hash(&self, arm: &ArmBaseline) -> PlanHash {
        arm.plan_hash.unwrap_or(self.plan.hash)
    }

    /// The whole file. A file that is parsed and written again is the same, byte for byte.
    pub fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// Name of the file in [`FOLDER`].
pub fn file_name(experiment: &str, profile: &ProfileName) -> String {
    profile.file_name(experiment, SUFFIX)
}

/// Experiment and profile a file of [`FOLDER`] is named after; `None` for a name no baseline has.
pub fn parse_file_name(name: &str) -> Option<(String, ProfileName)> {
    ProfileName::of_file_name(name, SUFFIX)
}

/// The command that writes the baseline anew, of an experiment that a command line names so.
pub fn accept_command(named: &str, profile: &ProfileName) -> String {
    format!("pinbench baseline accept {named}{}", profile.option())
}

impl Gauge {
    /// Of which *worse* is asked. The others say the same again, and each test more makes all of them blunter.
    pub const JUDGED: [Self; 3] = [Self::TrainLoss, Self::ValLoss, Self::TestAcc];

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
        }
    }

    /// In words what [`Gauge::admits`] asks for.
    pub fn range(self) -> &'static str {
        match self {
            Self::TrainAcc | Self::ValAcc | Self::TestAcc => "a share, 0 to 1",
            Self::TrainLoss | Self::ValLoss => "a finite loss of at least 0",
        }
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
    margin: Spanned<Margin>,
    #[serde(default)]
    twins: Vec<PlanName>,
    #[serde(default)]
    by_steps_alone: Vec<String>,
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
    plan_hash: Option<PlanHash>,
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
    weights: Digest,
    measured: Digest,
    #[serde(default)]
    twins: Vec<WireTwin>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTwin {
    train_loss: Option<f64>,
    val_loss: Option<f64>,
    test_acc: Option<f64>,
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
        let margin = *self.margin.get_ref();
        if !(0.0..1.0).contains(&margin.accuracy) || !(0.0..1.0).contains(&margin.loss) {
            let Margin { accuracy, loss } = margin;
            let message = format!(
                "`margin` is {accuracy} of an accuracy and {loss} of a loss, expected shares from 0 to 1"
            );
            return Err(source.error(Some(self.margin.span()), message));
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
            margin,
            twins: self.twins,
            by_steps_alone: self.by_steps_alone,
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
        let (config_hash, plan_hash) = (self.config_hash, self.plan_hash);
        Ok(ArmBaseline { label, config_hash, plan_hash, images, diverged, runs })
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
        let checked = |all: &[(Gauge, Option<f64>)]| {
            let mut values = BTreeMap::new();
            for &(gauge, value) in all {
                let Some(value) = value else { continue };
                if !gauge.admits(value) {
                    let message = format!(
                        "`{gauge}` of seed {seed} is {value}, expected {}; run `{command}`",
                        gauge.range()
                    );
                    return Err(source.error(Some(place.clone()), message));
                }
                values.insert(gauge, value);
            }
            Ok(values)
        };
        let values = checked(&[
            (Gauge::TrainLoss, self.train_loss),
            (Gauge::TrainAcc, self.train_acc),
            (Gauge::ValLoss, self.val_loss),
            (Gauge::ValAcc, self.val_acc),
            (Gauge::TestAcc, self.test_acc),
        ])?;
        let twin = |twin: &WireTwin| {
            checked(&[
                (Gauge::TrainLoss, twin.train_loss),
                (Gauge::ValLoss, twin.val_loss),
                (Gauge::TestAcc, twin.test_acc),
            ])
        };
        let twins = self.twins.iter().map(twin).collect::<Result<_, _>>()?;
        Ok(BaselineRun { seed, values, twins, weights: self.weights, measured: self.measured })
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
        let Margin { accuracy, loss } = self.margin;
        writeln!(
            f,
            "margin = {{ accuracy = {accuracy:?}, loss = {loss:?} }} # so much worse is let pass; a share of the loss"
        )?;
        let twins: Vec<String> = self.twins.iter().map(|name| format!("\"{name}\"")).collect();
        writeln!(f, "twins = [{}] # what rounding does is measured by them", twins.join(", "))?;
        if !self.by_steps_alone.is_empty() {
            let labels: Vec<String> =
                self.by_steps_alone.iter().map(|label| Quoted(label).to_string()).collect();
            writeln!(f, "by_steps_alone = [{}] # arms that are not trained", labels.join(", "))?;
        }
        let BaselinePlan { name, device, threads, hash } = self.plan;
        writeln!(f, "\n[plan]\nname = \"{name}\"\ndevice = \"{device}\"\nthreads = {threads}")?;
        writeln!(f, "hash = \"{hash}\"")?;
        self.arms.iter().try_for_each(|arm| write_arm(f, arm))
    }
}

fn write_arm(f: &mut fmt::Formatter<'_>, arm: &ArmBaseline) -> fmt::Result {
    writeln!(f, "\n[[arms]]\narm = {}\nconfig_hash = \"{}\"", Quoted(&arm.label), arm.config_hash)?;
    if let Some(hash) = arm.plan_hash {
        writeln!(f, "plan_hash = \"{hash}\"")?;
    }
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
        let (seed, values) = (run.seed, pairs(&run.values));
        let twins: Vec<String> = run.twins.iter().map(|twin| format!("{{ {} }}", pairs(twin))).collect();
        let twins =
            if twins.is_empty() { String::new() } else { format!(", twins = [{}]", twins.join(", ")) };
        let comma = if values.is_empty() { "" } else { ", " };
        let (weights, measured) = (run.weights, run.measured);
        writeln!(
            f,
            "    {{ seed = {seed}{comma}{values}, weights = \"{weights}\", measured = \"{measured}\"{twins} }},"
        )?;
    }
    writeln!(f, "]")
}

/// `Debug` of a float is the shortest text with the same bits.
fn pairs(values: &BTreeMap<Gauge, f64>) -> String {
    values.iter().map(|(gauge, value)| format!("{gauge} = {value:?}")).collect::<Vec<_>>().join(", ")
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
mod tests;
