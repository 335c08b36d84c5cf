//! A config under construction: the tree of its values, which profiles and levels change by dotted key.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use crate::experiment::config::Config;
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::trace::keys;
use crate::experiment::wire::WireConfig;
use crate::experiment::words::{plain, unknown};
use crate::experiment::{PlanChange, ProfileName};

/// A config under construction, and where each of its values was written.
#[derive(Clone)]
pub(super) struct Draft {
    tree: Value,
    /// Places of the values that were not written in the base config.
    places: BTreeMap<String, Range<usize>>,
}

/// A value for a dotted key, and where it was written.
pub(super) struct Set {
    pub key: String,
    pub value: Value,
    pub place: Range<usize>,
}

impl Draft {
    /// The config as a file's tables have it.
    pub(super) fn new(source: &Source, base: &WireConfig) -> Result<Self, LocatedError> {
        let tree = serde_json::to_value(base).map_err(|error| source.error(None, error))?;
        Ok(Self { tree, places: BTreeMap::new() })
    }

    fn pointer(key: &str) -> String {
        format!("/{}", key.replace('.', "/"))
    }

    /// `key` must name a value that a config or a plan may have, or one that stands within such a value, as a layer does: a
    /// whole section is none.
    pub(super) fn require(&self, source: &Source, key: &Spanned<String>) -> Result<(), LocatedError> {
        let known = keys::<WireConfig>("");
        let is_within = || known.iter().any(|known| key.get_ref().starts_with(&format!("{}.", known.name)));
        let is_there = || self.tree.pointer(&Self::pointer(key.get_ref())).is_some();
        if known.iter().any(|known| known.name == *key.get_ref()) || (is_within() && is_there()) {
            return Ok(());
        }
        if let Some(message) = is_within().then(|| self.missing_within(key.get_ref())).flatten() {
            return Err(source.error(Some(key.span()), message));
        }
        let known: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
        Err(source.error(Some(key.span()), unknown("config value", key.get_ref(), &known)))
    }

    /// The same of a key that is set to `value`, which is a table where somebody left out the quotes around a dotted key.
    pub(super) fn require_of(
        &self,
        source: &Source,
        key: &Spanned<String>,
        value: &Spanned<toml::Value>,
    ) -> Result<(), LocatedError> {
        match unquoted(key.get_ref()).filter(|_| value.get_ref().is_table()) {
            Some(message) => Err(source.error(Some(key.span()), message)),
            None => self.require(source, key),
        }
    }

    /// What stands where a key within a value, as of a layer, stops leading to anything.
    fn missing_within(&self, key: &str) -> Option<String> {
        let ends = key.match_indices('.').map(|(at, _)| &key[..at]);
        let (there, value) =
            ends.rev().find_map(|start| Some((start, self.tree.pointer(&Self::pointer(start))?)))?;
        let wanted = key[there.len() + 1..].split('.').next()?;
        let has = match value {
            Value::Object(table) => table.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "),
            Value::Array(list) if list.is_empty() => return None,
            Value::Array(list) => format!("0 to {}", list.len() - 1),
            other => format!("nothing within it, being {other}"),
        };
        Some(format!("`{there}` has no `{wanted}`; it has {has}"))
    }

    /// Sets values that `require` found, and refuses those of a kind the config cannot hold. Two of one layer may fit it only
    /// together, so that what is wrong is the first after which it never was a config again.
    pub(super) fn set(&mut self, source: &Source, values: Vec<Set>) -> Result<(), LocatedError> {
        let mut wrong = None;
        let keys: Vec<String> = values.iter().map(|set| set.key.clone()).collect();
        for Set { key, value, place } in values {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
            if let Some(Value::Object(table)) = self.tree.pointer_mut(&Self::pointer(table)) {
                table.insert(name.to_owned(), value);
            } else if let Some(place_in_a_list) = self.tree.pointer_mut(&Self::pointer(&key)) {
                *place_in_a_list = value;
            } else if let Some(message) = self.missing_within(&key) {
                // Another factor, or the profile, has taken away what was there when the file was read.
                return Err(source.error(Some(place), message));
            }
            self.follow(source, &key, &keys);
            self.places.insert(key.clone(), place.clone());
            match serde_json::from_value::<WireConfig>(self.tree.clone()) {
                Ok(_) => wrong = None,
                Err(error) => {
                    let message = format!("`{key}`: {}", plain(&error.to_string()));
                    wrong.get_or_insert_with(|| source.error(Some(place), message));
                }
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// A pooling whose stride nobody gave moves by its side, whatever that becomes.
    fn follow(&mut self, source: &Source, key: &str, values: &[String]) {
        let Some((layer, "max_pool" | "avg_pool")) = key.rsplit_once('.') else { return };
        let stride = format!("{layer}.stride");
        if source.has(&stride) || self.places.contains_key(&stride) || values.contains(&stride) {
            return;
        }
        if let Some(Value::Object(table)) = self.tree.pointer_mut(&Self::pointer(layer)) {
            table.remove("stride");
        }
    }

    /// What profile and levels set, for an error about something else in the file.
    fn beside(&self) -> String {
        const SHOWN: usize = 4;
        let value = |key: &String| self.tree.pointer(&Self::pointer(key)).unwrap_or(&Value::Null).to_string();
        let set: Vec<String> =
            self.places.keys().take(SHOWN).map(|key| format!("`{key}` = {}", value(key))).collect();
        if set.is_empty() { String::new() } else { format!("; with {}", set.join(", ")) }
    }

    /// Lowers the number at `key` to `most`, and says whether there is one; what is absent stays so.
    pub(super) fn cap(
        &mut self,
        source: &Source,
        key: &Spanned<String>,
        most: &Spanned<toml::Value>,
    ) -> Result<bool, LocatedError> {
        let value = json(source, most)?;
        let Some(limit) = value.as_f64() else {
            let message = format!("`{}` is capped by a number, found {value}", key.get_ref());
            return Err(source.error(Some(most.span()), message));
        };
        let is_scaled = |rule: &Value| !rule.is_null();
        if key.get_ref() == "optim.lr" && self.tree.pointer("/optim/lr_rule").is_some_and(is_scaled) {
            let message = "`optim.lr` is scaled by `optim.lr_rule` after it is capped, so that arms would exceed the cap; give the \
                           profile another rate by `set`";
            return Err(source.error(Some(key.span()), message));
        }
        let found = self.tree.pointer(&Self::pointer(key.get_ref())).and_then(Value::as_f64);
        if found.is_some_and(|found| found > limit) {
            let (key, place) = (key.get_ref().clone(), most.span());
            self.set(source, vec![Set { key, value, place }])?;
        }
        Ok(found.is_some())
    }

    pub(super) fn finish(
        self,
        source: &Source,
        profile: &ProfileName,
    ) -> Result<(Config, PlanChange), LocatedError> {
        let wire: WireConfig = serde_json::from_value(self.tree.clone())
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
                // What stands in the file may be right by itself.
                None => source.error_at_key(&error.key, format!("{message}{}", self.beside())),
            }
        })?;
        Ok((config, plan))
    }
}

/// TOML reads `train.batch = 1` as a table `train`, and whoever writes it means one key.
pub(super) fn unquoted(section: &str) -> Option<String> {
    let known = keys::<WireConfig>("");
    let mut parts = known.iter().filter_map(|known| known.name.split_once('.'));
    let (_, within) = parts.find(|(of, _)| *of == section)?;
    Some(format!("`{section}` is a section: put the whole key in quotes, as in \"{section}.{within}\" = …"))
}

/// A value of a file as JSON.
pub(super) fn json(source: &Source, value: &Spanned<toml::Value>) -> Result<Value, LocatedError> {
    serde_json::to_value(value.get_ref()).map_err(|error| source.error(Some(value.span()), error))
}
