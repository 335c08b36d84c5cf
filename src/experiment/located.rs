//! Errors that point at a line of an experiment file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use crate::experiment::words;

/// The text of an experiment file, and where it came from.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

/// What is wrong, where it stands, and the line itself.
#[derive(Debug, PartialEq, Eq)]
pub struct LocatedError {
    path: PathBuf,
    /// Line number from 1, column from 1, and the text of the line.
    place: Option<(usize, usize, String)>,
    message: String,
}

impl Source<'_> {
    /// An error at the bytes `span` of the file, or about the file as a whole.
    pub(super) fn error(&self, span: Option<Range<usize>>, message: impl fmt::Display) -> LocatedError {
        let place = span.map(|span| {
            let before = self.text.get(..span.start).unwrap_or(self.text);
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = self.text[start..].lines().next().unwrap_or("");
            (before.matches('\n').count() + 1, before[start..].chars().count() + 1, line.to_owned())
        });
        LocatedError { path: self.path.to_owned(), place, message: message.to_string() }
    }

    /// What the parser refused, in plain words.
    pub(super) fn refused(&self, error: &toml::de::Error) -> LocatedError {
        let place = error.span().filter(|_| !words::is_of_a_missing_table(error.message()));
        self.error(place, words::plain(error.message()))
    }

    /// An error at the value under a dotted `key`, or at the innermost table of it that the file has.
    pub(super) fn error_at_key(&self, key: &str, message: impl fmt::Display) -> LocatedError {
        self.error(self.find(key), message)
    }

    /// Whether the file gives this key a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.walk(key).is_some_and(|(_, is_whole)| is_whole)
    }

    /// Refuses a list where a table belongs, which would be read by the order of its values.
    pub(super) fn check_tables(&self, tables: &[&str], lists: &[&str]) -> Result<(), LocatedError> {
        let Ok(table) = toml::de::DeTable::parse(self.text) else { return Ok(()) };
        for (name, value) in table.get_ref() {
            let expected = match value.get_ref() {
                DeValue::Array(_) if tables.contains(&&**name.get_ref()) => {
                    format!("expected one table, `[{}]`, found a list", name.get_ref())
                }
                DeValue::Table(_) if lists.contains(&&**name.get_ref()) => {
                    format!("expected a list of tables, each `[[{}]]`, found one table", name.get_ref())
                }
                _ => continue,
            };
            return Err(self.error(Some(name.span()), expected));
        }
        Ok(())
    }

    /// Refuses a number that is not finite: JSON, through which a config goes, would make it null, and that is an absent key.
    pub(super) fn check_numbers(&self) -> Result<(), LocatedError> {
        // What is no TOML is for the parser to say.
        let Ok(table) = toml::de::DeTable::parse(self.text) else { return Ok(()) };
        table.get_ref().values().try_for_each(|value| self.check_number(value))
    }

    fn check_number(&self, value: &Spanned<DeValue>) -> Result<(), LocatedError> {
        match value.get_ref() {
            DeValue::Float(number)
                if number.as_str().ends_with("nan") || number.as_str().ends_with("inf") =>
            {
                Err(self.error(Some(value.span()), format!("{} is not finite", number.as_str())))
            }
            DeValue::Array(values) => values.iter().try_for_each(|value| self.check_number(value)),
            DeValue::Table(values) => values.values().try_for_each(|value| self.check_number(value)),
            _ => Ok(()),
        }
    }

    fn find(&self, key: &str) -> Option<Range<usize>> {
        self.walk(key).map(|(span, _)| span)
    }

    /// Where a key stands, or as much of it as is there, and whether that is all of it.
    fn walk(&self, key: &str) -> Option<(Range<usize>, bool)> {
        let table = toml::de::DeTable::parse(self.text).ok()?;
        let mut parts = key.split('.');
        let (name, mut value) = table.get_ref().get_key_value(parts.next()?)?;
        let mut span = name.span();
        for part in parts {
            let table = value.get_ref().as_table();
            let index = part.parse::<usize>().ok();
            let item = value.get_ref().as_array().zip(index).and_then(|(array, index)| array.get(index));
            (span, value) = match (table.and_then(|table| table.get_key_value(part)), item) {
                (Some((name, inner)), _) => (name.span(), inner),
                (None, Some(inner)) => (inner.span(), inner),
                (None, None) => return Some((span, false)),
            };
        }
        Some((span, true))
    }
}

impl fmt::Display for LocatedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column, text)) = &self.place {
            let margin = " ".repeat(line.to_string().len());
            write!(f, ":{line}:{column}\n{margin} |\n{line} | {text}\n{margin} | ")?;
            write!(f, "{}^", " ".repeat(column - 1))?;
            return write!(f, "\n{}", self.message);
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for LocatedError {}
