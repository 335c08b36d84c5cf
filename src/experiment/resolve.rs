//! From the file to the checked experiment: the grid of the factors under each profile, every config valid.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use crate::experiment::claims;
use crate::experiment::config::Config;
use crate::experiment::identity::MAX_SEED;
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::plan::bare;
use crate::experiment::wire::{
    WireConfig, WireExperiment, WireFactor, WireLevel, WireProfile, WireReference, WireReferenceRow,
};
use crate::experiment::words::{plain, unknown};
use crate::experiment::{
    Arm, Colour, Experiment, Factor, Level, PlanChange, Profile, ProfileName, Reference, ReferenceRow,
};
use crate::stream::Seed;

/// Of a grid. The study's largest has 16.
const MAX_ARMS: usize = 1_000;

/// A config under construction, and where each of its values was written.
#[derive(Clone)]
struct Draft {
    tree: Value,
    /// Places of the values that were not written in the base config.
    places: BTreeMap<String, Range<usize>>,
}

pub fn experiment(source: &Source) -> Result<Experiment, LocatedError> {
    let wire: WireExperiment = toml::from_str(source.text).map_err(|error| source.refused(&error))?;
    let WireExperiment { title, why, question, source: origin, limits, .. } = wire;
    let WireExperiment { data, model, optim, train, augment, plan, .. } = wire;
    let tree = serde_json::to_value(WireConfig { data, model, optim, train, augment, plan })
        .map_err(|error| source.error(None, error))?;
    let base = Draft { tree, places: BTreeMap::new() };
    let factors = wire.factors.iter().map(|factor| check_factor(source, &base, factor));
    let factors = factors.collect::<Result<Vec<Factor>, _>>()?;
    check_names(source, &wire.factors, &factors)?;
    check_size(source, &factors)?;
    let places: Vec<Vec<Range<usize>>> = wire.factors.iter().map(level_places).collect();
    let seeds = check_seeds(source, wire.seeds.as_ref())?;
    let mut named: Vec<(&Spanned<String>, &WireProfile)> = wire.profiles.iter().collect();
    named.sort_by_key(|(name, _)| name.span().start);
    let grid = Grid { source, base: &base, factors: &factors, places: &places, seeds };
    let mut profiles = Vec::new();
    for (name, profile) in named {
        profiles.push(grid.profile(check_profile_name(source, name)?, profile)?);
    }
    let profile = match (default_profile(source, wire.default_profile.as_ref(), &profiles)?, profiles.first())
    {
        (Some(profile), _) | (None, Some(profile)) => profile.clone(),
        (None, None) => grid.profile(ProfileName::default(), &WireProfile::default())?,
    };
    let arms = &profile.arms;
    let reference = wire.reference.map(|reference| check_reference(source, &factors, arms, reference));
    let reference = reference.transpose()?;
    let id = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let claims = claims::claims(source, wire.claims, arms);
    Ok(Experiment {
        id,
        file: None,
        title,
        why,
        question,
        source: origin,
        limits,
        factors,
        profile,
        profiles,
        reference,
        claims,
    })
}

/// Where each level was written.
fn level_places(factor: &WireFactor) -> Vec<Range<usize>> {
    let place = |level: &Spanned<WireLevel>| match &level.get_ref().value {
        Some(value) => value.span(),
        None => level.span(),
    };
    factor.levels.get_ref().iter().map(place).collect()
}

fn check_factor(source: &Source, base: &Draft, wire: &WireFactor) -> Result<Factor, LocatedError> {
    let name = match &wire.key {
        Some(key) => {
            base.require(source, key)?;
            key.get_ref().clone()
        }
        None => wire.label.get_ref().clone(),
    };
    if wire.levels.get_ref().len() < 2 {
        let message = format!("factor `{name}` has fewer than two levels: there is nothing to compare");
        return Err(source.error(Some(wire.levels.span()), message));
    }
    let mut levels: Vec<Level> = Vec::new();
    for (index, (wire_level, place)) in wire.levels.get_ref().iter().zip(level_places(wire)).enumerate() {
        let level = check_level(source, base, wire, wire_level, index)?;
        if levels.iter().any(|other| other.value == level.value) {
            let message = format!("factor `{name}` has the level {} twice", level.value);
            return Err(source.error(Some(place), message));
        }
        if levels.iter().any(|other| other.label == level.label) {
            let message = format!("factor `{name}` has the label '{}' twice", level.label);
            return Err(source.error(Some(place), message));
        }
        levels.push(level);
    }
    Ok(Factor { name, label: wire.label.get_ref().clone(), levels })
}

/// Two factors of one name or label could not be told apart, nor two that set one value.
fn check_names(source: &Source, wire: &[WireFactor], factors: &[Factor]) -> Result<(), LocatedError> {
    for (index, (wire, factor)) in wire.iter().zip(factors).enumerate() {
        let before = &factors[..index];
        if before.iter().any(|other| other.label == factor.label) {
            let message =
                format!("a factor above has the label '{}' too: give this one another", factor.label);
            return Err(source.error(Some(wire.label.span()), message));
        }
        if before.iter().any(|other| other.name == factor.name) {
            let place = wire.key.as_ref().map(Spanned::span);
            let message = format!("a factor above varies `{}` too: put all of its levels there", factor.name);
            return Err(source.error(place, message));
        }
    }
    Ok(())
}

/// Before the grid is made: thirty factors of two levels would not fit into memory.
fn check_size(source: &Source, factors: &[Factor]) -> Result<(), LocatedError> {
    let arms = factors.iter().try_fold(1_usize, |arms, factor| arms.checked_mul(factor.levels.len()));
    if arms.is_some_and(|arms| arms <= MAX_ARMS) {
        return Ok(());
    }
    let found = arms.map_or_else(|| "far more".to_owned(), |arms| arms.to_string());
    let message = format!("the factors make {found} arms, expected at most {MAX_ARMS}; take levels away");
    Err(source.error_at_key("factors", message))
}

/// A level of a factor with a key has a value; one of a factor without has a label and what it sets.
fn check_level(
    source: &Source,
    base: &Draft,
    factor: &WireFactor,
    wire: &Spanned<WireLevel>,
    index: usize,
) -> Result<Level, LocatedError> {
    let WireLevel { value, set, label, colour } = wire.get_ref();
    let colour = colour.or(Some(Colour::ALL[index % Colour::ALL.len()]));
    match (&factor.key, value, label) {
        (Some(key), Some(value), _) if set.is_empty() => {
            let value = json(source, value)?;
            let label = label.clone().unwrap_or_else(|| bare(&value));
            Ok(Level { set: vec![(key.get_ref().clone(), value.clone())], value, label, colour })
        }
        (None, None, Some(label)) if !set.is_empty() => {
            let set = set.iter().map(|(key, value)| {
                base.require(source, key)?;
                Ok((key.get_ref().clone(), json(source, value)?))
            });
            let set = set.collect::<Result<_, LocatedError>>()?;
            Ok(Level { value: Value::String(label.clone()), label: label.clone(), set, colour })
        }
        _ => {
            let message = "a level has a `value` where its factor has a `key`; without a `key`, it has a `label` \
                           and `set = { \"dotted.key\" = value, … }`";
            Err(source.error(Some(wire.span()), message))
        }
    }
}

/// What all profiles share.
struct Grid<'a> {
    source: &'a Source<'a>,
    base: &'a Draft,
    factors: &'a [Factor],
    /// Where the levels of each factor were written.
    places: &'a [Vec<Range<usize>>],
    /// Of a profile that says none.
    seeds: Vec<Seed>,
}

impl Grid<'_> {
    fn profile(&self, name: ProfileName, wire: &WireProfile) -> Result<Profile, LocatedError> {
        let Self { source, base, factors, places, .. } = self;
        let mut draft = Draft::clone(base);
        let mut changes = Vec::new();
        for (key, value) in &wire.set {
            base.require(source, key)?;
            let level = json(source, value)?;
            changes.push(format!("{} = {}", key.get_ref(), bare(&level)));
            draft.set(source, key.get_ref(), level, value.span())?;
        }
        for (key, most) in &wire.cap {
            base.require(source, key)?;
            changes.push(format!("{} at most {}", key.get_ref(), most.get_ref()));
        }
        let seeds = match &wire.seeds {
            Some(seeds) => check_seeds(source, Some(seeds))?,
            None => self.seeds.clone(),
        };
        let mut arms = Vec::new();
        for levels in grid(factors) {
            let mut draft = draft.clone();
            for ((factor, places), &level) in factors.iter().zip(*places).zip(&levels) {
                for (key, value) in &factor.levels[level].set {
                    draft.set(source, key, value.clone(), places[level].clone())?;
                }
            }
            for (key, most) in &wire.cap {
                draft.cap(source, key, most)?;
            }
            let resolved = draft.finish(source, &name)?;
            arms.push(arm(factors, levels, arms.len(), resolved));
        }
        Ok(Profile { name, seeds, arms, changes })
    }
}

/// It becomes a part of file names and of command lines.
fn check_profile_name(source: &Source, name: &Spanned<String>) -> Result<ProfileName, LocatedError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    if !name.get_ref().is_empty() && name.get_ref().chars().all(is_plain) {
        return Ok(ProfileName::from(name.get_ref().as_str()));
    }
    let message = format!("profile '{}': expected letters, digits, '_' and '-' alone", name.get_ref());
    Err(source.error(Some(name.span()), message))
}

fn default_profile<'a>(
    source: &Source,
    wire: Option<&Spanned<String>>,
    profiles: &'a [Profile],
) -> Result<Option<&'a Profile>, LocatedError> {
    let Some(wire) = wire else { return Ok(None) };
    let found = profiles.iter().find(|profile| profile.name.0 == *wire.get_ref());
    let names: Vec<&str> = profiles.iter().map(|profile| profile.name.0.as_str()).collect();
    let unknown = || source.error(Some(wire.span()), unknown("profile", wire.get_ref(), &names));
    found.map(Some).ok_or_else(unknown)
}

/// Where nobody says otherwise: one seed alone decides no claim.
const SEEDS: [Seed; 3] = [Seed(0), Seed(1), Seed(2)];

fn check_seeds(
    source: &Source,
    wire: Option<&Spanned<Vec<Spanned<u64>>>>,
) -> Result<Vec<Seed>, LocatedError> {
    let Some(wire) = wire else { return Ok(SEEDS.to_vec()) };
    let mut seeds = Vec::new();
    for seed in wire.get_ref() {
        let value = *seed.get_ref();
        if value > MAX_SEED {
            let message = format!("seed {value} is above {MAX_SEED}, the largest whole number in JSON");
            return Err(source.error(Some(seed.span()), message));
        }
        if seeds.contains(&Seed(value)) {
            let message = format!("seed {value} is there twice: the same run would count as two");
            return Err(source.error(Some(seed.span()), message));
        }
        seeds.push(Seed(value));
    }
    if seeds.is_empty() {
        return Err(source.error(Some(wire.span()), "expected at least one seed"));
    }
    Ok(seeds)
}

/// Every combination of levels, the last factor varying fastest; one empty combination without factors.
fn grid(factors: &[Factor]) -> Vec<Vec<usize>> {
    factors.iter().fold(vec![vec![]], |arms, factor| {
        let extend =
            |arm: Vec<usize>| (0..factor.levels.len()).map(move |level| [arm.as_slice(), &[level]].concat());
        arms.into_iter().flat_map(extend).collect()
    })
}

/// With one factor an arm wears its level's colour; in a larger grid each arm gets the next one.
fn arm(factors: &[Factor], levels: Vec<usize>, index: usize, (config, plan): (Config, PlanChange)) -> Arm {
    let chosen: Vec<&Level> =
        factors.iter().zip(&levels).map(|(factor, &level)| &factor.levels[level]).collect();
    let next = Colour::ALL[index % Colour::ALL.len()];
    let colour = match chosen[..] {
        [level] => level.colour.unwrap_or(next),
        _ => next,
    };
    let labels: Vec<&str> = chosen.iter().map(|level| level.label.as_str()).collect();
    let label = if labels.is_empty() { "base".to_owned() } else { labels.join(", ") };
    let is_varied = |key: &str| chosen.iter().flat_map(|level| &level.set).any(|(set, _)| set == key);
    let varied = plan.only(|key| is_varied(&format!("plan.{key}")));
    Arm { label, colour, levels, config, plan, varied }
}

fn check_reference(
    source: &Source,
    factors: &[Factor],
    arms: &[Arm],
    wire: WireReference,
) -> Result<Reference, LocatedError> {
    let mut rows: Vec<ReferenceRow> = Vec::new();
    for row in &wire.rows {
        let arm = find_arm(source, factors, arms, row)?;
        let WireReferenceRow { train_acc, val_acc, train_loss, val_loss, minutes, .. } = *row;
        rows.push(ReferenceRow { arm, train_acc, val_acc, train_loss, val_loss, minutes });
    }
    let name = wire.name.unwrap_or_else(|| "the reference".to_owned());
    Ok(Reference { name, source: wire.source, rows })
}

fn find_arm(
    source: &Source,
    factors: &[Factor],
    arms: &[Arm],
    row: &WireReferenceRow,
) -> Result<usize, LocatedError> {
    let mut levels = vec![None; factors.len()];
    for (key, value) in &row.arm {
        let Some(position) = factors.iter().position(|factor| factor.name == *key.get_ref()) else {
            let known: Vec<&str> = factors.iter().map(|factor| factor.name.as_str()).collect();
            return Err(source.error(Some(key.span()), unknown("factor", key.get_ref(), &known)));
        };
        let wanted = json(source, value)?;
        levels[position] = factors[position].levels.iter().position(|level| level.value == wanted);
        if levels[position].is_none() {
            let message = format!("factor `{}` has no level {wanted}", key.get_ref());
            return Err(source.error(Some(value.span()), message));
        }
    }
    let levels: Option<Vec<usize>> = levels.into_iter().collect();
    let arm = levels.and_then(|levels| arms.iter().position(|arm| arm.levels == levels));
    arm.ok_or_else(|| source.error_at_key("reference", "a reference row must name a level of every factor"))
}

impl Draft {
    fn pointer(key: &str) -> String {
        format!("/{}", key.replace('.', "/"))
    }

    /// `key` must name a value of the config, or a layer of a network: a whole section is not one.
    fn require(&self, source: &Source, key: &Spanned<String>) -> Result<(), LocatedError> {
        match self.tree.pointer(&Self::pointer(key.get_ref())) {
            Some(value) if !value.is_object() || key.get_ref().starts_with("model.layers.") => Ok(()),
            _ => {
                let leaves = self.leaves();
                let known: Vec<&str> = leaves.iter().map(String::as_str).collect();
                let message = unknown("config value", key.get_ref(), &known);
                Err(source.error(Some(key.span()), message))
            }
        }
    }

    fn leaves(&self) -> Vec<String> {
        let sections = self.tree.as_object().into_iter().flatten();
        let leaf = |(section, values): (&String, &Value)| {
            let names = values.as_object().into_iter().flat_map(|values| values.keys());
            names.map(|name| format!("{section}.{name}")).collect::<Vec<_>>()
        };
        sections.flat_map(leaf).collect()
    }

    /// Sets a value that `require` found, and refuses one of a kind the config cannot hold.
    fn set(
        &mut self,
        source: &Source,
        key: &str,
        value: Value,
        place: Range<usize>,
    ) -> Result<(), LocatedError> {
        if let Some(slot) = self.tree.pointer_mut(&Self::pointer(key)) {
            *slot = value;
        }
        self.places.insert(key.to_owned(), place.clone());
        match serde_json::from_value::<WireConfig>(self.tree.clone()) {
            Ok(_) => Ok(()),
            Err(error) => Err(source.error(Some(place), format!("`{key}`: {}", plain(&error.to_string())))),
        }
    }

    /// Lowers the number at `key` to `most`; what is absent stays so.
    fn cap(
        &mut self,
        source: &Source,
        key: &Spanned<String>,
        most: &Spanned<toml::Value>,
    ) -> Result<(), LocatedError> {
        let value = json(source, most)?;
        let Some(limit) = value.as_f64() else {
            let message = format!("`{}` is capped by a number, found {value}", key.get_ref());
            return Err(source.error(Some(most.span()), message));
        };
        let found = self.tree.pointer(&Self::pointer(key.get_ref())).and_then(Value::as_f64);
        if found.is_some_and(|found| found > limit) {
            self.set(source, key.get_ref(), value, most.span())?;
        }
        Ok(())
    }

    fn finish(self, source: &Source, profile: &ProfileName) -> Result<(Config, PlanChange), LocatedError> {
        let wire: WireConfig = serde_json::from_value(self.tree)
            .map_err(|error| source.error(None, plain(&error.to_string())))?;
        let plan = wire.plan.clone();
        let config = Config::try_from(wire).and_then(|config| config.check().map(|()| config));
        let config = config.and_then(|config| plan.check().map(|()| config)).map_err(|error| {
            // How many images there are is for the profile to say, and whoever reads this may have asked for another.
            let message = match &*error.key {
                "train.batch" => format!("{error}{}", profile.under()),
                _ => error.to_string(),
            };
            // A layer may have been set whole, or one of its keys.
            let is_there = |set: &str| {
                set == error.key
                    || [(set, &*error.key), (&*error.key, set)].iter().any(|(outer, inner)| {
                        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
                    })
            };
            match self.places.iter().find(|(set, _)| is_there(set)) {
                Some((_, place)) => source.error(Some(place.clone()), message),
                None => source.error_at_key(&error.key, message),
            }
        })?;
        Ok((config, plan))
    }
}

fn json(source: &Source, value: &Spanned<toml::Value>) -> Result<Value, LocatedError> {
    match serde_json::to_value(value.get_ref()) {
        // Only a number that JSON cannot write: TOML has no null.
        Ok(Value::Null) => {
            Err(source.error(Some(value.span()), format!("{} is not finite", value.get_ref())))
        }
        Ok(value) => Ok(value),
        Err(error) => Err(source.error(Some(value.span()), error)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::experiment::plan::{Device, Loader, MemoryFormat, Plan, PlanAsked, PlanName};

    const TEXT: &str = r#"
title = "batch size"
why = "a test"

[data]
set = "mnist"
validation = 0.2

[model]
name = "simple_cnn"
activation = "relu"
dropout = 0.5

[optim]
name = "adam"
lr = 0.001

[train]
batch = 64
epochs = 5

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64, colour = "green" }, { value = 128 }, { value = 1024, label = "1 Ki" }]

[profiles.smoke]
seeds = [0]
set = { "data.train_limit" = 2048, "train.epochs" = 1 }

[profiles.quick]
seeds = [0, 1]

[profiles.full]
seeds = [0, 1, 2]

[reference]
name = "the notes"
rows = [{ arm = { "train.batch" = 128 }, val_acc = 0.98 }]
"#;

    fn parse(text: &str) -> Result<Experiment, LocatedError> {
        Experiment::parse(Path::new("experiments/m1.toml"), text)
    }

    /// The error of `TEXT` with `from` replaced.
    fn error(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn the_grid_has_one_arm_a_level_under_every_profile() {
        let experiment = parse(TEXT).unwrap();
        assert_eq!(experiment.id, "m1");
        let smoke = experiment.under(&"smoke".into()).unwrap().profile;
        let labels: Vec<&str> = smoke.arms.iter().map(|arm| arm.label.as_str()).collect();
        assert_eq!(labels, ["64", "128", "1 Ki"]);
        assert_eq!(smoke.arms[0].colour, Colour::Green);
        assert_eq!(smoke.arms[2].config.train.batch, 1024);
        assert_eq!(smoke.arms[2].config.train.epochs, 1);
        assert_eq!(smoke.arms[2].config.data.train_limit, Some(2048));
        assert_eq!(smoke.changes, ["data.train_limit = 2048", "train.epochs = 1"]);
        assert_eq!(experiment.profile.arms[0].config.data.train_limit, None);
        assert_eq!(experiment.reference.unwrap().rows[0].arm, 1);
    }

    #[test]
    fn trials_come_seed_by_seed() {
        let experiment = parse(TEXT).unwrap();
        let trials: Vec<_> = experiment.under(&"quick".into()).unwrap().profile.trials().collect();
        let order: Vec<_> = trials.iter().map(|(arm, trial)| (*arm, trial.seed.0)).collect();
        assert_eq!(order, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
    }

    #[test]
    fn two_factors_give_every_combination() {
        let two = r#"label = "batch"
levels = [{ value = 64 }, { value = 128 }]

[[factors]]
key = "model.activation"
label = "activation"
levels = [{ value = "relu" }, { value = "tanh" }]

[[factors]]
key = "train.epochs"
label = "epochs""#;
        let text = TEXT.replace("label = \"batch\"", two);
        let text = text.replace(", { value = 1024, label = \"1 Ki\" }", ", { value = 3 }");
        let text = &text[..text.find("[reference]").unwrap()];
        let experiment = parse(text).unwrap();
        let arms = &experiment.profile.arms;
        assert_eq!(arms.len(), 12);
        assert_eq!(arms[4].label, "64, tanh, 128");
    }

    #[test]
    fn unknown_toml_key_is_refused_with_its_name_and_line() {
        let text = error("batch = 64", "btach = 64");
        assert!(
            text.contains("experiments/m1.toml:19:1")
                && text.contains("unknown key `btach`; did you mean `batch`?"),
            "{text}"
        );
    }

    #[test]
    fn a_typo_in_a_factor_points_at_it_and_names_the_nearest_key() {
        let text = error("key = \"train.batch\"", "key = \"train.bacth\"");
        assert!(text.contains("m1.toml:23:7") && text.contains("did you mean `train.batch`?"), "{text}");
        let text = error("key = \"train.batch\"", "key = \"train\"");
        assert!(text.contains("unknown config value `train`"), "{text}");
    }

    #[test]
    fn impossible_values_point_at_the_line_they_were_written_on() {
        for (from, to, place, what) in [
            ("batch = 64", "batch = 0", ":25:", "batch"),
            ("dropout = 0.5", "dropout = 1.0", ":12:1", "0 ≤ p < 1"),
            ("validation = 0.2", "validation = 1.5", ":7:1", "a share"),
            ("lr = 0.001", "lr = -1", ":16:1", "above 0"),
            ("epochs = 5", "epochs = 0", ":20:1", "at least 1"),
            ("epochs = 5", "epochs = 5\nmax_steps = 0", ":21:1", "at least 1"),
            ("epochs = 5", "epochs = 5\npatience = 0", ":21:1", "at least 1"),
            ("epochs = 5", "epochs = 5\nmin_delta = 0.1", ":21:1", "beside a `patience`"),
            ("epochs = 5", "epochs = 5\ntarget_loss = nan", ":21:", "is not finite"),
            ("epochs = 5", "epochs = 5\n[augment]\nshift = 28", ":22:1", "less than the 28 pixels"),
            ("epochs = 5", "epochs = 5\n[augment]\nrotation = inf", ":22:", "is not finite"),
            ("epochs = 5", "epochs = 5\n[augment]\nrotation = 181.0", ":22:1", "0 to 180 degrees"),
            ("epochs = 5", "epochs = 5\n[augment]\ncutout = 0", ":22:1", "at least 1"),
            (
                "{ value = 128 }",
                "{ value = 0 }",
                ":25:",
                "1 to 2048, the training images there are under the profile 'smoke'",
            ),
            (
                "{ value = 128 }",
                "{ value = \"x\" }",
                ":25:",
                "`train.batch`: expected a whole number, found the text",
            ),
            ("{ value = 128 }", "{ value = nan }", ":25:", "is not finite"),
            ("{ value = 128 }", "{ value = 64 }", ":25:", "twice"),
            ("\"data.train_limit\" = 2048", "\"data.train_limit\" = 0", ":29:", "1 to 48000"),
            ("seeds = [0, 1, 2]", "seeds = [0, 1, 1]", ":35:16", "twice"),
            ("seeds = [0, 1, 2]", "seeds = []", ":35:9", "at least one seed"),
            ("seeds = [0, 1, 2]", "seeds = [9007199254740993]", ":35:10", "largest whole number"),
            ("{ \"train.batch\" = 128 }", "{ \"train.batch\" = 129 }", ":39:", "no level 129"),
            ("{ \"train.batch\" = 128 }", "{ \"train.btach\" = 128 }", ":39:", "did you mean"),
            ("set = \"mnist\"", "set = \"mnits\"", ":6:7", "unknown value `mnits`; did you mean `mnist`?"),
        ] {
            if from == "batch = 64" {
                // Every arm sets the batch, so the base value is never trained.
                assert!(parse(&TEXT.replacen(from, to, 1)).is_ok());
                continue;
            }
            let text = error(from, to);
            assert!(text.contains(place) && text.contains(what), "{from} -> {to}\n{text}");
        }
    }

    /// Each was said in Rust's words, or taken as it stood.
    #[test]
    fn mistakes_are_said_in_the_words_of_whoever_writes_the_file() {
        for (from, to, place, what) in [
            ("dropout = 0.5", "dorpout = 0.5", ":12:1", "unknown key `dorpout`; did you mean `dropout`?"),
            ("[optim]\n", "[optim]\nlearning_rate = 1\n", ":15:1", "did you mean `lr`?"),
            ("key = \"train.batch\"", "key = \"optim.rate\"", ":23:7", "did you mean `optim.lr`?"),
            ("batch = 64", "batch = \"64\"", ":19:9", "expected a whole number, found the text \"64\""),
            ("batch = 64", "batch = -64", ":19:9", "expected a whole number, 0 or above, found -64"),
            ("lr = 0.001", "lr = 0.01 0.02", ":16:", "make them the levels of a [[factors]]"),
            ("lr = 0.001", "", ":14:1", "the key `lr` is missing"),
            (
                "title = \"batch size\"",
                "",
                "m1.toml",
                "the key `title` is missing; it stands above the first [table]",
            ),
            (
                "why = \"a test\"",
                "default_profile = \"ful\"",
                ":3:19",
                "unknown profile `ful`; did you mean `full`?",
            ),
            ("[optim]\nname = \"adam\"\nlr = 0.001", "", "m1.toml: the table [optim] is missing", "[train]"),
        ] {
            let text = error(from, to);
            assert!(text.contains(place) && text.contains(what), "{from} -> {to}\n{text}");
        }
    }

    #[test]
    fn a_factor_over_the_plan_makes_arms_of_one_trial_under_several_plans() {
        let text = TEXT.replace("key = \"train.batch\"", "key = \"plan.workers\"");
        let text = text.replace("[[factors]]", "[plan]\nmemory_format = \"contiguous\"\n\n[[factors]]");
        let text = &text[..text.find("[reference]").unwrap()];
        let text = text.replace("value = 1024", "value = 0");
        let experiment = parse(&text).unwrap();
        let arms = &experiment.profile.arms;
        let plain = parse(TEXT).unwrap();
        // What varies in the plan changes no trial.
        assert!(arms.iter().all(|arm| arm.config == plain.profile.arms[0].config));
        let base = Plan::named(PlanName::Tuned, 2, Device::Cpu);
        let set = PlanChange::parse("plan.memory_format=channels_last").unwrap();
        let set = set.then(&PlanChange::parse("plan.workers=9").unwrap());
        let plans: Vec<Plan> =
            arms.iter().map(|arm| PlanAsked { base: base.clone(), set: set.clone() }.of(arm)).collect();
        let loaders: Vec<Loader> = plans.iter().map(|plan| plan.loader).collect();
        assert_eq!(loaders, [64, 128, 0].map(|workers| Loader::Samples { workers, prefetch: 2 }));
        // A command line goes before the file, and what an arm is goes before both.
        assert!(plans.iter().all(|plan| plan.memory_format == MemoryFormat::ChannelsLast));
        let alone = PlanAsked::exactly(base).of(&arms[0]);
        assert_eq!(alone.memory_format, MemoryFormat::Contiguous);
        let error = parse(&text.replace("value = 0", "value = 257")).unwrap_err().to_string();
        assert!(error.contains("`plan.workers` is 257, expected 0 to 256"), "{error}");
    }

    /// Two factors of one label made arms that nobody could tell apart, and two over one key made one trial under two
    /// names.
    #[test]
    fn two_factors_of_one_label_or_key_are_refused() {
        let second = |key: &str, label: &str| {
            let factor = format!(
                "[[factors]]\nkey = \"{key}\"\nlabel = \"{label}\"\nlevels = [{{ value = 3 }}, {{ value = 4 }}]\n\n[profiles.smoke]"
            );
            error("[profiles.smoke]", &factor)
        };
        let text = second("train.epochs", "batch");
        assert!(text.contains(":29:9") && text.contains("the label 'batch' too"), "{text}");
        let text = second("train.batch", "size");
        assert!(text.contains(":28:7") && text.contains("varies `train.batch` too"), "{text}");
    }

    const NETWORK: &str = r#"layers = [
    { conv = 8, kernel = 3, pad = 1 },
    "relu",
    { repeat = 2, layers = [{ residual = [{ conv = 8, kernel = 3, pad = 1 }, "relu"] }] },
    "flatten",
    { dropout = 0.5 },
    { linear = "classes" },
]"#;
    const PRESET: &str = "name = \"simple_cnn\"\nactivation = \"relu\"\ndropout = 0.5";

    fn network(factor: &str, layers: &str) -> Result<Experiment, LocatedError> {
        let text = TEXT.replacen(PRESET, layers, 1);
        let at = text.find("[[factors]]").unwrap();
        let end = text.find("[profiles.smoke]").unwrap();
        let factor = format!("[[factors]]\n{factor}\n\n");
        let text = [&text[..at], &factor, &text[end..text.find("[reference]").unwrap()]].concat();
        parse(&text)
    }

    #[test]
    fn a_factor_varies_a_layers_key_or_a_layer_as_a_whole() {
        let layer = |key: &str, levels: &str| {
            let factor = format!("key = \"{key}\"\nlabel = \"layer\"\nlevels = {levels}");
            network(&factor, NETWORK).unwrap()
        };
        let configs = |experiment: Experiment| -> Vec<String> {
            let arms = experiment.under(&"full".into()).unwrap().profile.arms.clone();
            arms.iter().map(|arm| serde_json::to_string(&arm.config.model).unwrap()).collect()
        };
        let dropout = layer("model.layers.4.dropout", "[{ value = 0.5 }, { value = 0.1 }]");
        let found = configs(dropout);
        assert!(
            found[0].contains("{\"dropout\":0.5}") && found[1].contains("{\"dropout\":0.1}"),
            "{found:?}"
        );
        // What the file leaves out is there to be varied.
        let stride = layer("model.layers.0.stride", "[{ value = 1 }, { value = 2 }]");
        assert!(configs(stride)[1].contains("\"stride\":2"));
        let switched = layer(
            "model.layers.1",
            "[{ value = \"tanh\" }, { value = { group_norm = 4 }, label = \"normalised\" }]",
        );
        let found = configs(switched);
        assert!(found[0].contains("\"tanh\"") && found[1].contains("{\"group_norm\":4}"), "{found:?}");
    }

    #[test]
    fn a_network_is_hashed_by_its_layers_with_their_defaults() {
        let factor = "key = \"train.batch\"\nlabel = \"batch\"\nlevels = [{ value = 64 }, { value = 128 }]";
        let hash = |layers: &str| {
            let experiment = network(factor, layers).unwrap();
            experiment.under(&"full".into()).unwrap().profile.arms[0].config.hash()
        };
        let written = NETWORK.replacen("pad = 1 }", "pad = 1, stride = 1, groups = 1, bias = true }", 1);
        assert_eq!(hash(NETWORK), hash(&written));
        assert_ne!(hash(NETWORK), hash(&NETWORK.replacen("pad = 1", "pad = 2", 1)));
    }

    #[test]
    fn a_mistake_in_a_network_is_shown_at_its_layer() {
        let factor = "key = \"train.batch\"\nlabel = \"batch\"\nlevels = [{ value = 64 }, { value = 128 }]";
        for (from, to, line, what) in [
            ("\"relu\",", "\"relux\",", ":12:", "'relux' is no layer"),
            ("\"flatten\",", "", ":16:", "at which [8, 28, 28] arrives, expected values in a row"),
            ("{ conv = 8, kernel = 3, pad = 1 }, \"relu\"]", "{ conv = 9, kernel = 3 }]", ":13:", "residual"),
            ("{ linear = \"classes\" }", "{ linear = 3 }", ":16:", "which gives [3], expected [10]"),
        ] {
            assert!(NETWORK.contains(from), "{from}");
            let text = network(factor, &NETWORK.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(text.contains(line) && text.contains(what), "{text}");
        }
        let text = network(factor, &format!("{NETWORK}\ndropout = 0.5")).unwrap_err().to_string();
        assert!(text.contains("either a preset's `name`"), "{text}");
        let wide = "key = \"model.layers.0.kernel\"\nlabel = \"k\"\nlevels = [{ value = 3 }, { value = 99 }]";
        let text = network(wide, NETWORK).unwrap_err().to_string();
        assert!(text.contains("value = 99") && text.contains("at least 99 rows"), "{text}");
        let key = "key = \"model.layers.9.kernel\"\nlabel = \"k\"\nlevels = [{ value = 3 }, { value = 5 }]";
        assert!(network(key, NETWORK).unwrap_err().to_string().contains("model.layers.9.kernel"));
    }

    /// `momentum` beside `adam` was an error and `betas` beside `sgd` was not, though SGD has none.
    #[test]
    fn betas_and_eps_are_refused_beside_an_optimizer_that_has_none() {
        let sgd = |more: &str| TEXT.replacen("name = \"adam\"", &format!("name = \"sgd\"{more}"), 1);
        let plain = parse(&sgd("")).unwrap();
        // What a config holds, and with it every trial's id, is as before.
        let optim = &plain.profile.arms[0].config.optim;
        assert_eq!((optim.betas, optim.eps), ([0.9, 0.999], 1e-8));
        for (more, key) in [("\nbetas = [0.8, 0.99]", "optim.betas"), ("\neps = 1e-7", "optim.eps")] {
            let text = parse(&sgd(more)).unwrap_err().to_string();
            assert!(
                text.contains(":16:1") && text.contains(key) && text.contains("belongs to `adam`"),
                "{text}"
            );
        }
    }

    #[test]
    fn one_level_is_nothing_to_compare() {
        let text = error(", { value = 128 }, { value = 1024, label = \"1 Ki\" }", "");
        assert!(text.contains("fewer than two levels"), "{text}");
    }
}
