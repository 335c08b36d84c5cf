//! Changing values of a config by their dotted keys, as `--set` and a study do.

use serde_json::{Map, Value};

use crate::dataset::Name;
use crate::experiment::{Config, words};

/// Reads `KEY=VALUE,VALUE…` of a command line: a value as in a file, and quotes around a word may be left out.
pub fn parse(text: &str) -> Result<(String, Vec<Value>), String> {
    match text.split_once('=') {
        Some((key, values)) if !key.trim().is_empty() && !values.trim().is_empty() => {
            let values = parts(values).into_iter().map(|part| value(part.trim()));
            Ok((key.trim().to_owned(), values.collect()))
        }
        _ => Err(format!("'{text}': expected KEY=VALUE or KEY=VALUE,VALUE, such as train.batch=64,128")),
    }
}

/// Commas inside brackets separate nothing.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

impl Config {
    /// This config with other values at these dotted keys, such as `train.batch`; checked as that of a file is. Layers are
    /// counted from 0: `model.layers.3.conv`.
    pub fn with(&self, settings: &[(String, Value)]) -> Result<Self, String> {
        let mut tree = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (key, value) in settings {
            *slot(&mut tree, key).ok_or_else(|| format!("`{key}` is no key of a config"))? = value.clone();
        }
        let named = || settings.iter().map(|(key, _)| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let mut config: Self = serde_json::from_value(tree)
            .map_err(|error| format!("{}: {}", named(), words::plain(&error.to_string())))?;
        // Stored configs may name a set that is not here; nobody can ask for one.
        config.data.set.as_str().parse::<Name>().map_err(|error| error.to_string())?;
        // Where the set is another, what it holds is too.
        config.data.digest = config.data.set.digest();
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }
}

/// The place of a dotted key, made where an optional value is absent.
fn slot<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(tree, |tree, part| match tree {
        Value::Array(values) => values.get_mut(part.parse::<usize>().ok()?),
        Value::Null => {
            *tree = Value::Object(Map::new());
            tree.as_object_mut().map(|object| object.entry(part).or_insert(Value::Null))
        }
        Value::Object(object) => Some(object.entry(part).or_insert(Value::Null)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analyse::samples;

    fn config() -> Config {
        samples::profile().arms[0].config.clone()
    }

    fn set(key: &str, value: Value) -> Result<Config, String> {
        config().with(&[(key.to_owned(), value)])
    }

    #[test]
    fn values_are_set_by_key_and_the_rest_stays() {
        let changed = set("train.batch", json!(256)).unwrap();
        assert_eq!(changed.train.batch, 256);
        assert_eq!(set("train.batch", json!(config().train.batch)).unwrap(), config());
        assert_eq!(set("train.micro_batch", json!(16)).unwrap().train.micro_batch, Some(16));
        assert!(set("augment.flip", json!(true)).unwrap().augment.is_some());
    }

    #[test]
    fn what_cannot_be_set_is_an_error_that_names_the_key() {
        for (key, value) in
            [("train.batches", json!(1)), ("train.batch", json!("many")), ("train.batch.more", json!(1))]
        {
            let error = set(key, value).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        assert!(set("model.dropout", json!(1.5)).unwrap_err().contains("0 ≤ p < 1"));
    }

    #[test]
    fn a_word_of_a_command_line_has_a_key_and_values() {
        let parsed = |text| parse(text).unwrap();
        assert_eq!(parsed("train.batch=64,128"), ("train.batch".to_owned(), vec![json!(64), json!(128)]));
        assert_eq!(parsed("model.activation=relu").1, [json!("relu")]);
        assert_eq!(parsed("optim.betas=[0.9,0.99],[0.8,0.9]").1, [json!([0.9, 0.99]), json!([0.8, 0.9])]);
        assert!(parse("train.batch").is_err() && parse("=3").is_err() && parse("a=").is_err());
    }
}
