//! A study as a TOML file has it: one level costs more than another, and what might be why.
//!
//! A hypothesis names the change of config or plan that takes the suspected cause away; what that does to the slowdown is
//! then measured (`analyse::study`). Nothing here knows an experiment, a network or a batch size.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Phase;
use crate::experiment::draft::unquoted;
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::plan::bare;
use crate::experiment::{Config, Experiment, ExperimentError, Plan, PlanChange, Setting, words};
use crate::language::Localised;

#[derive(Clone, PartialEq, Debug)]
pub struct Study {
    /// Stem of the file name.
    pub id: String,
    pub title: Localised,
    /// Why anyone asks.
    pub why: Localised,
    /// What the base plan has otherwise than the named one.
    pub plan: PlanChange,
    pub low: Level,
    pub high: Level,
    /// The cost of an image at `high` over that at `low` that one would hope for: above it lies the slowdown.
    pub ideal: f64,
    pub source: Option<Reported>,
    pub curve: Option<Curve>,
    pub mechanisms: Vec<Mechanism>,
    pub hypotheses: Vec<Hypothesis>,
    /// What a reader must not conclude.
    pub limits: Vec<Localised>,
    file: (PathBuf, String),
}

/// One of the two settings that are compared.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// As a sentence says it: `batch 128`.
    pub name: Localised,
    /// Id or path; its first arm is what `set` changes.
    pub experiment: String,
    #[serde(default)]
    pub set: Change,
}

/// Values by dotted key: those of the plan start with `plan.`, all others are the config's.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>")]
pub struct Change {
    pub config: Vec<(String, Value)>,
    pub plan: PlanChange,
}

/// The ratio that somebody else reported.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    pub ratio: f64,
    /// Whose it is and of what machine, as a sentence goes on after the number.
    pub text: Localised,
}

/// One key over several values, with the main cause and without: does it account for all of what is seen?
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    pub key: String,
    pub values: Vec<Value>,
    /// What the mechanism predicts for it, and what it leaves open.
    pub says: Option<Localised>,
}

/// What several hypotheses are at bottom: it counts once.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mechanism {
    pub id: String,
    pub title: Localised,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Hypothesis {
    pub id: String,
    pub title: Localised,
    pub says: Localised,
    /// What would be seen if it were so.
    pub predicts: Localised,
    /// Whose guess it is.
    pub origin: Localised,
    /// Id of its mechanism; `None` of one that stands alone.
    pub mechanism: Option<String>,
    pub gauges: Vec<Gauge>,
    /// What to do about it, said only where it was found to help.
    pub advice: Option<Localised>,
    pub test: Test,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// How much of the slowdown goes when `remove` is applied at both levels; `given` holds with and without it.
    Remove {
        given: Change,
        remove: Change,
    },
    /// What these phases take bounds it.
    Phases(Vec<Phase>),
    NotTestable(NotTestable),
    /// It is the slowdown itself, in other words.
    Restates,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotTestable {
    pub why: Localised,
    pub what_would: Localised,
}

/// A quantity of a process that is shown beside a hypothesis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gauge {
    Faults,
    DiskFaults,
    KernelShare,
    KernelTime,
    Processors,
    Image,
    Step,
    PeakMemory,
    Load,
    Copy,
    Forward,
    Backward,
    Optimizer,
    ReadBack,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStudy {
    title: Localised,
    why: Localised,
    #[serde(default)]
    plan: PlanChange,
    low: Level,
    high: Level,
    ideal: Option<f64>,
    source: Option<Reported>,
    curve: Option<Curve>,
    #[serde(default)]
    mechanisms: Vec<Mechanism>,
    hypotheses: Vec<WireHypothesis>,
    #[serde(default)]
    limits: Vec<Localised>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHypothesis {
    id: String,
    title: Localised,
    says: Localised,
    predicts: Localised,
    origin: Localised,
    mechanism: Option<String>,
    #[serde(default)]
    gauges: Vec<Gauge>,
    advice: Option<Localised>,
    given: Option<Change>,
    remove: Option<Change>,
    phases: Option<Vec<Phase>>,
    not_testable: Option<NotTestable>,
    #[serde(default)]
    restates: bool,
}

impl TryFrom<BTreeMap<String, Value>> for Change {
    type Error = String;

    fn try_from(values: BTreeMap<String, Value>) -> Result<Self, String> {
        let (mut config, mut plan) = (Vec::new(), serde_json::Map::new());
        for (key, value) in values {
            // Of these a study may give the whole.
            let is_whole = matches!(&*key, "augment" | "model");
            if value.is_object()
                && !is_whole
                && let Some(message) = unquoted(&key)
            {
                return Err(message);
            }
            match key.strip_prefix("plan.") {
                Some(key) => drop(plan.insert(key.to_owned(), value)),
                None => config.push((key, value)),
            }
        }
        let plan: PlanChange = serde_json::from_value(Value::Object(plan))
            .map_err(|error| format!("of the plan: {}", words::plain(&error.to_string())))?;
        plan.check().map_err(|error| error.to_string())?;
        Ok(Self { config, plan })
    }
}

impl Change {
    /// One key alone.
    pub fn of(key: &str, value: &Value) -> Result<Self, String> {
        Self::try_from(BTreeMap::from([(key.to_owned(), value.clone())]))
    }

    /// This change, and then `later`, which goes before it.
    pub fn then(&self, later: &Self) -> Self {
        let is_kept = |(key, _): &&(String, Value)| later.config.iter().all(|(other, _)| other != key);
        let config = self.config.iter().filter(is_kept).chain(&later.config).cloned().collect();
        Self { config, plan: self.plan.then(&later.plan) }
    }

    pub fn apply(&self, config: &Config, plan: &Plan) -> Result<(Config, Plan), String> {
        let mut config = config.with(&self.config)?;
        // `augment = {}` is how a file without null says that images are left as they are.
        config.augment = config.augment.filter(|augment| *augment != Default::default());
        Ok((config, self.plan.apply(plan)))
    }
}

/// `train.batch=64, plan.threads=1`; empty where nothing changes.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config.iter().map(|(key, value)| format!("{key}={}", bare(value)));
        let plan = self.plan.pairs().into_iter().map(|(key, value)| format!("{key}={value}"));
        f.write_str(&config.chain(plan).collect::<Vec<_>>().join(", "))
    }
}

impl Level {
    /// What is trained at this level: the experiment's first arm at its own size, the file as it stands where a profile
    /// leaves it so.
    pub fn arm(&self, experiment: &Experiment, base: &Plan) -> Result<(Config, Plan), String> {
        let whole = experiment.profiles().iter().find(|profile| profile.setting == Setting::Own);
        let arm = whole.unwrap_or(&experiment.profile).arms.first();
        let arm = arm.ok_or_else(|| format!("'{}' has no arm", experiment.id))?;
        self.set.apply(&arm.config, &arm.plan.apply(base))
    }
}

impl Study {
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        Ok(Self::parse(path, &std::fs::read_to_string(path).map_err(ExperimentError::read(path))?)?)
    }

    /// Checks `text` as the content of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LocatedError> {
        let source = Source { path, text };
        let wire: WireStudy = toml::from_str(text).map_err(|error| source.refused(&error))?;
        let hypotheses = wire.hypotheses.into_iter().enumerate().map(|(index, wire)| {
            let at = |message: String| source.error_at_key(&format!("hypotheses.{index}"), message);
            wire.check().map_err(at)
        });
        let study = Self {
            id: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            title: wire.title,
            why: wire.why,
            plan: wire.plan,
            low: wire.low,
            high: wire.high,
            ideal: wire.ideal.unwrap_or(1.0),
            source: wire.source,
            curve: wire.curve,
            mechanisms: wire.mechanisms,
            hypotheses: hypotheses.collect::<Result<_, _>>()?,
            limits: wire.limits,
            file: (path.to_owned(), text.to_owned()),
        };
        study.check().map_err(|(key, message)| source.error_at_key(&key, message))?;
        Ok(study)
    }

    /// An error about the value under a dotted key, counted from 0 where it stands in a list.
    pub fn error_at(&self, key: &str, message: impl fmt::Display) -> LocatedError {
        Source { path: &self.file.0, text: &self.file.1 }.error_at_key(key, message)
    }

    /// The file as it was read, and its folder, from which the paths in it go out.
    pub fn text(&self) -> &str {
        &self.file.1
    }

    pub fn folder(&self) -> Option<&Path> {
        self.file.0.parent()
    }

    /// The first mistake and its key.
    fn check(&self) -> Result<(), (String, String)> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let ratios = [("ideal", Some(self.ideal)), ("source.ratio", self.source.as_ref().map(|it| it.ratio))];
        for (key, ratio) in ratios {
            if let Some(ratio) = ratio.filter(|ratio| !positive(*ratio)) {
                return Err((key.to_owned(), format!("`{key}` is {ratio}, expected a number above 0")));
            }
        }
        if (&self.low.experiment, &self.low.set) == (&self.high.experiment, &self.high.set) {
            let message = "`high` is the same as `low`: there is nothing to compare; expected another `set` or experiment";
            return Err(("high".to_owned(), message.to_owned()));
        }
        let known: Vec<&str> = self.mechanisms.iter().map(|mechanism| mechanism.id.as_str()).collect();
        let mut ids = BTreeSet::new();
        for (index, hypothesis) in self.hypotheses.iter().enumerate() {
            if !ids.insert(hypothesis.id.as_str()) {
                let message = format!("two hypotheses have the id '{}': expected one each", hypothesis.id);
                return Err((format!("hypotheses.{index}.id"), message));
            }
            match &hypothesis.mechanism {
                Some(mechanism) if !known.contains(&mechanism.as_str()) => {
                    let message = words::unknown("mechanism", mechanism, &known);
                    return Err((format!("hypotheses.{index}.mechanism"), message));
                }
                _ => {}
            }
        }
        match &self.curve {
            Some(curve) if curve.values.len() < 2 => {
                Err(("curve.values".to_owned(), "a curve has two values or more".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl WireHypothesis {
    fn check(self) -> Result<Hypothesis, String> {
        let Self { id, title, says, predicts, origin, mechanism, gauges, advice, .. } = self;
        let is_nothing = |change: &Change| *change == Change::default();
        let test = match (self.remove, self.phases, self.not_testable, self.restates) {
            (Some(remove), None, None, false) if !is_nothing(&remove) => {
                Test::Remove { given: self.given.unwrap_or_default(), remove }
            }
            (None, Some(phases), None, false) if !phases.is_empty() && self.given.is_none() => {
                Test::Phases(phases)
            }
            (None, None, Some(not_testable), false) if self.given.is_none() => {
                Test::NotTestable(not_testable)
            }
            (None, None, None, true) if self.given.is_none() => Test::Restates,
            _ => {
                return Err(format!(
                    "hypothesis '{id}': expected exactly one of `remove = {{ \"plan.key\" = value }}` (with or without \
                     `given`), `phases = [\"load\"]`, `not_testable = {{ why = \"…\", what_would = \"…\" }}` and \
                     `restates = true`"
                ));
            }
        };
        Ok(Hypothesis { id, title, says, predicts, origin, mechanism, gauges, advice, test })
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;
    use crate::analyse::samples;
    use crate::experiment::plan::{Allocator, Device, PlanName};

    pub const TEXT: &str = r#"
title = "Why is a large batch slow?"
why = { en = "A test.", ko = "시험." }
plan = { name = "eager" }
low = { name = "batch 64", experiment = "m1", set = { "train.batch" = 64 } }
high = { name = "batch 1024", experiment = "m1", set = { "train.batch" = 1024 } }
source = { ratio = 1.13, text = "in the notes, on a GPU" }
curve = { key = "train.batch", values = [64, 256, 1024] }

[[mechanisms]]
id = "memory"
title = "Memory given back"

[[hypotheses]]
id = "faults"
title = "Page faults"
says = "Memory is faulted in again."
predicts = "Kept memory takes it away."
origin = "ours"
mechanism = "memory"
gauges = ["faults", "kernel_share", "load"]
remove = { "plan.allocator" = "keep" }
advice = "Keep memory."

[[hypotheses]]
id = "passes"
title = "Large passes"
says = "More memory at a time."
predicts = "Smaller passes take it away."
origin = "the notes"
mechanism = "memory"
remove = { "train.micro_batch" = 64 }

[[hypotheses]]
id = "pages"
title = "Small pages"
says = "Pages are looked up."
predicts = "Huge pages take a further part away."
origin = "ours"
given = { "plan.allocator" = "keep" }
remove = { "plan.huge_pages" = true }

[[hypotheses]]
id = "input"
title = "Making the batch"
says = "The training waits."
predicts = "Loading takes more."
origin = "ours"
phases = ["load"]

[[hypotheses]]
id = "threads"
title = "The thread pool"
says = "Threads are in each other's way."
predicts = "One thread has no slowdown."
origin = "ours"
remove = { "plan.threads" = 1 }

[[hypotheses]]
id = "queue"
title = "A full device"
says = "Kernels queue."
predicts = "A timeline would show it."
origin = "the notes"
not_testable = { why = "there is no GPU", what_would = "a timeline" }

[[hypotheses]]
id = "growth"
title = "Steps grow"
says = "A step takes longer."
predicts = "It does."
origin = "the notes"
restates = true
"#;

    pub fn study() -> Study {
        Study::parse(Path::new("studies/slow.toml"), TEXT).unwrap()
    }

    /// The error of `TEXT` with `from` replaced.
    fn error(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        Study::parse(Path::new("studies/slow.toml"), &TEXT.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_study_has_levels_changes_and_texts_by_language() {
        let study = study();
        assert_eq!(
            (study.id.as_str(), study.ideal, study.why.to_string().as_str()),
            ("slow", 1.0, "A test.")
        );
        assert_eq!(study.high.set.config, [("train.batch".to_owned(), json!(1024))]);
        let Test::Remove { given, remove } = &study.hypotheses[2].test else { panic!("no removal") };
        assert_eq!(given.then(remove).to_string(), "plan.allocator=keep, plan.huge_pages=true");
        let plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        let (config, plan) = study.high.arm(&samples::experiment(), &given.plan.apply(&plan)).unwrap();
        assert_eq!((config.train.batch, plan.allocator), (1024, Allocator::Keep));
        let later = Change::of("train.batch", &json!(7)).unwrap();
        assert_eq!(study.high.set.then(&later), later);
        assert!(later.apply(&config, &plan).unwrap().0.train.batch == 7);
        assert!(Change::of("train.btach", &json!(7)).unwrap().apply(&config, &plan).is_err());
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_what_is_expected() {
        for (from, to, parts) in [
            ("title = \"Small", "titel = \"Small", ["slow.toml:36:1", "did you mean `title`?"]),
            ("mechanism = \"memory\"", "mechanism = \"memroy\"", [":20:1", "did you mean `memory`?"]),
            (
                "\"plan.allocator\" = \"keep\" }\nadv",
                "\"plan.allocator\" = \"kep\" }\nadv",
                [":22:", "`keep`"],
            ),
            ("restates = true", "restates = false", [":67:", "expected exactly one of `remove ="]),
            ("phases = [\"load\"]", "phases = [\"laod\"]", [":49:", "did you mean `load`?"]),
            ("gauges = [\"faults\"", "gauges = [\"fault\"", [":21:", "did you mean `faults`?"]),
            ("id = \"input\"", "id = \"pages\"", [":44:1", "two hypotheses have the id 'pages'"]),
            ("ratio = 1.13", "ratio = -1", [":7:", "expected a number above 0"]),
            ("1024 } }\nsource", "64 } }\nsource", [":6:1", "there is nothing to compare"]),
            ("ko = \"시험", "de = \"시험", [":3:", "unknown key `de` (known: en, ko)"]),
            ("[64, 256, 1024]", "[64]", [":8:", "two values or more"]),
        ] {
            let error = error(from, to);
            assert!(parts.iter().all(|part| error.contains(part)), "{to}: {parts:?}: {error}");
        }
    }
}
