//! How the numbers of a claim's evidence are written, wherever they stand.

use crate::analyse::Evidence;
use crate::text;
use crate::words::Words;

pub(super) fn estimate(evidence: &Evidence, words: Words) -> String {
    let none = || words.word("evidence.no-value").to_owned();
    evidence.estimate.map_or_else(none, |value| amount(evidence, value, words))
}

/// `None` too where it would be wider than all there can be.
pub(super) fn interval(evidence: &Evidence, words: Words) -> Option<String> {
    let (low, high) = evidence.shown_interval().filter(|_| evidence.is_informative)?;
    Some(words.range(&written(evidence, low), &with_unit(written(evidence, high), evidence, words)))
}

pub(super) fn number(evidence: &Evidence, value: f64) -> String {
    written(evidence, evidence.shown(value))
}

/// A difference has a sign, the mean of an arm has one only if it is below 0.
pub(super) fn written(evidence: &Evidence, shown: f64) -> String {
    match evidence.bound {
        Some(_) => text::fixed(shown, evidence.places),
        None => text::signed(shown, evidence.places),
    }
}

pub(super) fn amount(evidence: &Evidence, value: f64, words: Words) -> String {
    with_unit(number(evidence, value), evidence, words)
}

pub(super) fn amount_unsigned(evidence: &Evidence, value: f64, words: Words) -> String {
    with_unit(text::fixed(value, evidence.places), evidence, words)
}

pub(super) fn with_unit(number: String, evidence: &Evidence, words: Words) -> String {
    match words.unit(evidence.unit) {
        "" => number,
        unit => format!("{number} {unit}"),
    }
}
