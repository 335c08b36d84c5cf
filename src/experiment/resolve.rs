//! From the file to the checked experiment: the grid of the factors under each profile, every config valid.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use crate::experiment::claims;
use crate::experiment::config::Config;
use crate::experiment::draft::{Draft, Set, json};
use crate::experiment::identity::MAX_SEED;
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::plan::bare;
use crate::experiment::wire::{
    WireConfig, WireExperiment, WireFactor, WireLevel, WireProfile, WireReference, WireReferenceRow,
};
use crate::experiment::words::unknown;
use crate::experiment::{
    Arm, Colour, Experiment, Factor, Level, PlanChange, Profile, ProfileName, Reference, ReferenceRow,
    Setting,
};
use crate::language::{Language, Localised};
use crate::stream::Seed;

/// Of a grid. The study's largest has 16.
const MAX_ARMS: usize = 1_000;

pub(super) fn experiment(source: &Source) -> Result<Experiment, LocatedError> {
    const TABLES: [&str; 8] = ["data", "model", "optim", "train", "augment", "plan", "reference", "profiles"];
    source.check_tables(&TABLES, &["factors", "claims"])?;
    let wire: WireExperiment = toml::from_str(source.text).map_err(|error| source.refused(&error))?;
    let WireExperiment { title, why, question, source: origin, limits, .. } = wire;
    let WireExperiment { data, model, optim, train, augment, plan, .. } = wire;
    source.check_numbers()?;
    let base = Draft::new(source, &WireConfig { data, model, optim, train, augment, plan })?;
    let factors = wire.factors.iter().map(|factor| check_factor(source, &base, factor));
    let factors = factors.collect::<Result<Vec<Factor>, _>>()?;
    check_size(source, &factors)?;
    check_names(source, &wire.factors, &factors)?;
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
    for (index, arm) in arms.iter().enumerate() {
        if arms[..index].iter().any(|other| other.label == arm.label) {
            let message = format!("two arms are called '{}': give their levels other labels", arm.label);
            return Err(source.error_at_key("factors", message));
        }
    }
    let reference = wire.reference.map(|reference| check_reference(source, &factors, arms, reference));
    let reference = reference.transpose()?;
    let id = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(letter) = id.chars().find(|letter| "#%?".contains(*letter)) {
        let message = format!(
            "the file's name has a '{letter}', which ends or changes the address of a page; rename the file"
        );
        return Err(source.error(None, message));
    }
    let claims = claims::claims(source, wire.claims, arms);
    Ok(Experiment {
        id,
        file: None,
        text: source.text.to_owned(),
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
        None => wire.label.get_ref().to_string(),
    };
    if wire.levels.get_ref().len() < 2 {
        let message = format!("factor `{name}` has fewer than two levels: there is nothing to compare");
        return Err(source.error(Some(wire.levels.span()), message));
    }
    let mut levels: Vec<Level> = Vec::new();
    for (wire_level, place) in wire.levels.get_ref().iter().zip(level_places(wire)) {
        let level = check_level(source, base, wire, wire_level)?;
        check_one_line(source, &level.label, place.clone())?;
        if levels.iter().any(|other| other.value == level.value) {
            let message = format!("factor `{name}` has the level {} twice", level.value);
            return Err(source.error(Some(place), message));
        }
        if levels.iter().any(|other| other.label == level.label) {
            let message = format!("factor `{name}` has the label '{}' twice", level.label);
            return Err(source.error(Some(place), message));
        }
        let sets_the_same = |other: &&Level| {
            other.set.len() == level.set.len()
                && other.set.iter().all(|(key, value)| {
                    level.set.iter().any(|(own, found)| own == key && are_alike(value, found))
                })
        };
        if let Some(other) = levels.iter().find(sets_the_same) {
            let message = format!(
                "the levels '{}' and '{}' of factor `{name}` set the same: they would be one training under two names",
                other.label, level.label
            );
            return Err(source.error(Some(place), message));
        }
        if level.label.en().trim().is_empty() {
            let message = format!("a level of factor `{name}` has an empty label");
            return Err(source.error(Some(place), message));
        }
        levels.push(level);
    }
    check_one_line(source, wire.label.get_ref(), wire.label.span())?;
    Ok(Factor { name, label: wire.label.get_ref().clone(), levels })
}

/// Whether two values are one: 1 is 1.0.
fn are_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| are_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|found| are_alike(value, found)))
        }
        _ => one == other,
    }
}

/// Names of arms stand in tables, in commands and in files with a line a run.
fn check_one_line(source: &Source, label: &Localised, place: Range<usize>) -> Result<(), LocatedError> {
    let is_lines = Language::ALL.iter().any(|&language| label.to(language).contains(char::is_control));
    match is_lines {
        true => Err(source.error(
            Some(place),
            format!("the label {:?} has a line break or a control character", label.en()),
        )),
        false => Ok(()),
    }
}

/// Two factors of one name or label could not be told apart. Of two that set one value the later would win, and arms be named by
/// what they were not trained with.
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
        let keys = |factor: &Factor| {
            let of_levels =
                factor.levels.iter().flat_map(|level| level.set.iter().map(|(key, _)| key.clone()));
            of_levels.collect::<BTreeSet<String>>()
        };
        let (own, before) = (keys(factor), before.iter().flat_map(keys));
        // A whole table takes the place of what was set in it.
        let is_overridden =
            |key: &String| own.contains(key) || own.iter().any(|own| key.starts_with(&format!("{own}.")));
        if let Some(key) = before.into_iter().find(is_overridden) {
            let message = format!(
                "a factor above sets `{key}` too, and this one would win: an arm has one value of it"
            );
            return Err(source.error(Some(wire.levels.span()), message));
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
) -> Result<Level, LocatedError> {
    let WireLevel { value, set, label, colour } = wire.get_ref();
    let colour = *colour;
    match (&factor.key, value, label) {
        (Some(key), Some(value), _) if set.is_empty() => {
            let value = json(source, value)?;
            let label = label.clone().unwrap_or_else(|| Localised::from(bare(&value).as_str()));
            Ok(Level { set: vec![(key.get_ref().clone(), value.clone())], value, label, colour })
        }
        // One that sets nothing is the file as it stands: what is absent there has no other name.
        (None, None, Some(label)) => {
            let set = set.iter().map(|(key, value)| {
                base.require_of(source, key, value)?;
                Ok((key.get_ref().clone(), json(source, value)?))
            });
            let set = set.collect::<Result<_, LocatedError>>()?;
            Ok(Level { value: Value::String(label.to_string()), label: label.clone(), set, colour })
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
        let Self { source, base, factors, .. } = self;
        let mut draft = Draft::clone(base);
        let mut changes = Vec::new();
        let mut own = Vec::new();
        for (key, value) in &wire.set {
            base.require_of(source, key, value)?;
            let level = json(source, value)?;
            changes.push(format!("{} = {}", key.get_ref(), bare(&level)));
            own.push(Set { key: key.get_ref().clone(), value: level, place: value.span() });
        }
        draft.set(source, own)?;
        for (key, most) in &wire.cap {
            base.require_of(source, key, most)?;
            changes.push(format!("{} at most {}", key.get_ref(), most.get_ref()));
        }
        let seeds = match &wire.seeds {
            Some(seeds) => check_seeds(source, Some(seeds))?,
            None => self.seeds.clone(),
        };
        let mut arms = Vec::new();
        let mut capped = vec![false; wire.cap.len()];
        for levels in grid(factors) {
            let mut draft = draft.clone();
            draft.set(source, self.of_levels(&levels))?;
            for ((key, most), is_capped) in wire.cap.iter().zip(&mut capped) {
                *is_capped |= draft.cap(source, key, most)?;
            }
            let resolved = draft.finish(source, &name)?;
            arms.push(arm(factors, levels, arms.len(), resolved));
        }
        // It would be said on a page that nothing exceeds it.
        if let Some(((key, _), _)) = wire.cap.iter().zip(&capped).find(|(_, is_capped)| !**is_capped) {
            let key_name = key.get_ref();
            let message =
                format!("no arm has a number at `{key_name}` that could be capped; give it one by `set`");
            return Err(source.error(Some(key.span()), message));
        }
        let closer: Vec<_> = arms.iter().map(|arm| closer(arm, &arms)).collect();
        arms.iter_mut().zip(closer).for_each(|(arm, closer)| arm.closer = closer);
        let setting = if changes.is_empty() { Setting::Own } else { self.setting(&arms, &name) };
        if setting == Setting::Own {
            changes.clear();
        }
        Ok(Profile { name, seeds, arms, changes, setting })
    }
}

impl Grid<'_> {
    /// How the arms of a profile are beside those of the file as it stands, which need not be possible by itself.
    fn setting(&self, arms: &[Arm], name: &ProfileName) -> Setting {
        let whole = |levels: &[usize]| {
            let mut draft = self.base.clone();
            draft.set(self.source, self.of_levels(levels)).ok()?;
            Some(draft.finish(self.source, name).ok()?.0)
        };
        let mut setting = Setting::Own;
        for (levels, arm) in grid(self.factors).iter().zip(arms) {
            let Some(whole) = whole(levels) else { return Setting::Other };
            let compared: Vec<Ordering> =
                size(&arm.config).into_iter().zip(size(&whole)).map(|(own, whole)| own.cmp(&whole)).collect();
            setting = match arm.config == whole {
                true => setting,
                false if compared.contains(&Ordering::Greater) => return Setting::Other,
                false if compared.contains(&Ordering::Less) => Setting::Reduced,
                false => return Setting::Other,
            };
        }
        setting
    }

    /// What the levels of an arm set.
    fn of_levels(&self, levels: &[usize]) -> Vec<Set> {
        let factors = self.factors.iter().zip(self.places).zip(levels);
        let set = factors.flat_map(|((factor, places), &level)| {
            factor.levels[level].set.iter().map(move |(key, value)| Set {
                key: key.clone(),
                value: value.clone(),
                place: places[level].clone(),
            })
        });
        set.collect()
    }
}

/// Images to train on and to evaluate, epochs and steps, at most.
fn size(config: &Config) -> [u64; 4] {
    let Config { data, train, .. } = config;
    let evaluated = data.eval_limit.map_or(u64::MAX, u64::from);
    let steps = train.max_steps.map_or(u64::MAX, u64::from);
    [data.train_images().into(), evaluated, train.epochs.into(), steps]
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

/// What other arms of its config say of the plan beyond what it says itself.
fn closer(arm: &Arm, all: &[Arm]) -> Vec<PlanChange> {
    // Configs come last, for there may be thousands of arms, and few whose plans differ.
    let says_more = |other: &&Arm| {
        other.varied != arm.varied
            && other.varied.then(&arm.varied) == other.varied
            && other.config == arm.config
    };
    all.iter().filter(says_more).map(|other| other.varied.clone()).collect()
}

/// Arms of one colour that figures tell apart by dashes and markers.
const ALIKE: usize = 5;

/// An arm wears the colour that the file gives its level of the first factor, and in a larger grid dashes tell the others of
/// that level apart, where they are few enough; else each arm gets the next colour.
fn arm(factors: &[Factor], levels: Vec<usize>, index: usize, (config, plan): (Config, PlanChange)) -> Arm {
    let chosen: Vec<&Level> =
        factors.iter().zip(&levels).map(|(factor, &level)| &factor.levels[level]).collect();
    let next = Colour::IN_TURN[index % Colour::IN_TURN.len()];
    let of_a_level: usize = factors.iter().skip(1).map(|factor| factor.levels.len()).product();
    let is_coloured = factors.len() == 1
        || factors.first().is_some_and(|first| first.levels.iter().all(|level| level.colour.is_some()));
    let own = chosen.first().and_then(|level| level.colour).filter(|_| is_coloured && of_a_level <= ALIKE);
    let colour = own.unwrap_or(next);
    let labels = Localised::each(|language| {
        let labels: Vec<&str> = chosen.iter().map(|level| level.label.to(language)).collect();
        if labels.is_empty() { "base".to_owned() } else { labels.join(", ") }
    });
    let is_varied = |key: &str| chosen.iter().flat_map(|level| &level.set).any(|(set, _)| set == key);
    let varied = plan.only(|key| is_varied(&format!("plan.{key}")));
    let name = match factors {
        [factor] => {
            Localised::each(|language| format!("{} {}", factor.label.to(language), labels.to(language)))
        }
        _ => labels.clone(),
    };
    let label = labels.to_string();
    Arm { label, shown: labels, name, colour, levels, config, plan, varied, closer: Vec::new() }
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
        let place = || row.arm.iter().map(|(key, value)| key.span().start..value.span().end).next();
        if rows.iter().any(|other| other.arm == arm) {
            let message = format!("a reference row above is of the arm '{}' too", arms[arm].label);
            return Err(source.error(place(), message));
        }
        let of_row = [
            ("train_acc", train_acc, 1.0),
            ("val_acc", val_acc, 1.0),
            ("train_loss", train_loss, f64::MAX),
            ("val_loss", val_loss, f64::MAX),
            ("minutes", minutes, f64::MAX),
        ];
        if of_row.iter().all(|(_, value, _)| value.is_none()) {
            let message = format!("a reference row says nothing of the arm '{}'", arms[arm].label);
            return Err(source.error(place(), message));
        }
        for (key, value, most) in of_row {
            if let Some(value) = value.filter(|value| !(0.0..=most).contains(value)) {
                let expected = if most == 1.0 { "a share, 0 to 1" } else { "0 or a number above it" };
                let message =
                    format!("`{key}` of the arm '{}' is {value}, expected {expected}", arms[arm].label);
                return Err(source.error(place(), message));
            }
        }
        rows.push(ReferenceRow { arm, train_acc, val_acc, train_loss, val_loss, minutes });
    }
    let name = wire.name.unwrap_or_else(|| Localised::from("the reference"));
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
        levels[position] = factors[position].levels.iter().position(|level| are_alike(&level.value, &wanted));
        if levels[position].is_none() {
            let message = format!("factor `{}` has no level {wanted}", key.get_ref());
            return Err(source.error(Some(value.span()), message));
        }
    }
    let levels: Option<Vec<usize>> = levels.into_iter().collect();
    let arm = levels.and_then(|levels| arms.iter().position(|arm| arm.levels == levels));
    let missing = || {
        let place = row.arm.keys().next().map(Spanned::span);
        let message = "a reference row must name a level of every factor";
        place.map_or_else(
            || source.error_at_key("reference", message),
            |place| source.error(Some(place), message),
        )
    };
    arm.ok_or_else(missing)
}

#[cfg(test)]
mod tests;
