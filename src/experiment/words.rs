//! What the parsers say of an experiment file, in the words of whoever wrote it: `u32` is a whole number.

use crate::text::edit_distance;

/// Tables that every file has.
const TABLES: [&str; 4] = ["data", "model", "optim", "train"];

/// Names from elsewhere that no distance of letters would find.
const MEANT: [(&str, &str); 6] = [
    ("rate", "lr"),
    ("learning_rate", "lr"),
    ("step_size", "lr"),
    ("batch_size", "batch"),
    ("decay", "weight_decay"),
    ("dataset", "set"),
];

/// A message of serde or toml as a sentence; one that is none of theirs as it is.
pub(super) fn plain(message: &str) -> String {
    if let Some(name) = missing(message) {
        return match name {
            name if TABLES.contains(&name) => {
                format!("the table [{name}] is missing: a file has [data], [model], [optim] and [train]")
            }
            "title" => format!("the key `{name}` is missing; it stands above the first [table]"),
            name => format!("the key `{name}` is missing"),
        };
    }
    for (start, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        if let Some((found, known)) = message.strip_prefix(start).and_then(|rest| rest.split_once('`')) {
            let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
            return unknown(what, found, &known);
        }
    }
    if message.starts_with("string values must be quoted") {
        return "expected one value: a text stands in quotes, as in \"relu\"; to compare several values, make them the \
                levels of a [[factors]]"
            .to_owned();
    }
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = kinds.iter().find_map(|kind| message.strip_prefix(kind));
    let Some((found, wanted)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    format!("expected {}, found {}", expected(wanted, found), self::found(found))
}

/// Whether the message is of a table that is missing, which stands nowhere in the file.
pub(super) fn is_of_a_missing_table(message: &str) -> bool {
    missing(message).is_some_and(|name| TABLES.contains(&name))
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

fn expected(kind: &str, found: &str) -> String {
    let whole = |most: u64| match found.strip_prefix("integer `") {
        Some(number) if number.starts_with('-') => "a whole number, 0 or above".to_owned(),
        Some(_) => format!("a whole number, at most {most}"),
        None => "a whole number".to_owned(),
    };
    match kind {
        "u32" => whole(u32::MAX.into()),
        "u64" => whole(u64::MAX),
        "f64" => "a number".to_owned(),
        "a string" | "string or table" => "a text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list, as in [1, 2]".to_owned(),
        "a map" => "a table, as in { key = value }".to_owned(),
        kind if kind.starts_with("struct ") => "a table, as in { key = value }".to_owned(),
        kind if kind.starts_with("enum ") => "a text in quotes".to_owned(),
        kind => kind.replace("an array of length", "a list of length"),
    }
}

fn found(kind: &str) -> String {
    let quoted = |start| kind.strip_prefix(start).and_then(|rest: &str| rest.strip_suffix('`'));
    let number = ["integer `", "floating point `", "boolean `"].into_iter().find_map(quoted);
    match kind {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        "null" | "unit value" => "nothing".to_owned(),
        kind => number.map_or_else(|| kind.replacen("string ", "the text ", 1), str::to_owned),
    }
}

/// That there is no `what` of the name `found`, which one may have been meant, and which there are.
pub(super) fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let hint = nearest(found, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("unknown {what} `{found}`{hint} (known: {})", known.join(", "))
}

/// The name of that meaning in whatever table, else the nearest by letters.
fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let last = found.rsplit('.').next().unwrap_or(found);
    let meant = MEANT.iter().find(|(said, _)| *said == last).map_or(last, |(_, meant)| meant);
    let is_meant = |name: &&&str| name.rsplit('.').next() == Some(meant);
    if let Some(name) = known.iter().find(is_meant) {
        return Some(name);
    }
    let distance = |name: &str| edit_distance(name, found);
    let near = known.iter().min_by_key(|name| distance(name));
    near.filter(|name| distance(name) <= last.chars().count().div_ceil(3).min(3)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_values_have_the_names_of_whoever_writes_the_file() {
        for (message, plainly) in [
            ("invalid type: string \"64\", expected u32", "expected a whole number, found the text \"64\""),
            ("invalid type: floating point `0.5`, expected u32", "expected a whole number, found 0.5"),
            ("invalid value: integer `-64`, expected u32", "expected a whole number, 0 or above, found -64"),
            (
                "invalid value: integer `5000000000`, expected u32",
                "expected a whole number, at most 4294967295, found 5000000000",
            ),
            ("invalid type: boolean `true`, expected a string", "expected a text in quotes, found true"),
            ("invalid type: integer `1`, expected a boolean", "expected true or false, found 1"),
            ("invalid type: sequence, expected f64", "expected a number, found a list"),
            ("invalid type: map, expected a sequence", "expected a list, as in [1, 2], found a table"),
            ("invalid length 1, expected an array of length 2", "expected a list of length 2, found 1"),
            ("what nobody foresaw", "what nobody foresaw"),
        ] {
            assert_eq!(plain(message), plainly);
        }
    }

    #[test]
    fn a_name_is_guessed_by_its_meaning_before_its_letters() {
        let known = ["optim.name", "optim.lr", "train.batch"];
        assert_eq!(nearest("optim.rate", &known), Some("optim.lr"));
        assert_eq!(nearest("train.lr", &known), Some("optim.lr"));
        assert_eq!(nearest("train.bacth", &known), Some("train.batch"));
        assert_eq!(nearest("optim.betas", &known), None);
    }
}
