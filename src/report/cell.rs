//! Cells of a table: a number with the spread beneath it.

use crate::report::view::{CellView, RowView};
use crate::stats::Spread;
use crate::text;

/// What stands where there is nothing.
pub(super) const NOTHING: &str = "–";

impl CellView {
    pub(super) fn number(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn word(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_word: true, ..Self::default() }
    }

    pub(super) fn with_note(self, note: String) -> Self {
        Self { note, ..self }
    }

    pub(super) fn nothing() -> Self {
        Self::number(NOTHING)
    }

    /// A mean with so many decimals, and its standard deviation when there is one.
    pub(super) fn spread(spread: Option<Spread>, places: usize) -> Self {
        Self::written(spread, |value| text::fixed(value, places))
    }

    /// The same, with its n where that is not the `runs` of its row.
    pub(super) fn spread_among(spread: Option<Spread>, runs: usize, places: usize) -> Self {
        let cell = Self::spread(spread, places);
        match spread {
            Some(Spread { n, .. }) if n != runs => {
                let note = format!("{} n = {n}", cell.note);
                cell.with_note(note.trim_start().to_owned())
            }
            _ => cell,
        }
    }

    /// A mean to three figures, or to the unit where it has more.
    pub(super) fn rate(spread: Option<Spread>) -> Self {
        let places = spread.map_or(0, |spread| three_figures(spread.mean));
        let whole = |value: f64| text::count(value.max(0.0).round() as u64);
        Self::written(spread, |value| if places == 0 { whole(value) } else { text::fixed(value, places) })
    }

    fn written(spread: Option<Spread>, write: impl Fn(f64) -> String) -> Self {
        let Some(spread) = spread else { return Self::nothing() };
        let note = spread.sd.map(|sd| format!("± {}", small(sd, &write))).unwrap_or_default();
        Self { text: write(spread.mean), note, is_word: false }
    }

    pub(super) fn optional(value: Option<f64>, write: impl Fn(f64) -> String) -> Self {
        value.map_or_else(Self::nothing, |value| Self::number(write(value)))
    }
}

impl RowView {
    /// A row that is a group of its own and of no arm.
    pub(super) fn alone(name: impl Into<String>, cells: Vec<CellView>) -> Self {
        let (class, kind) = (String::new(), String::new());
        Self { class, swatch: None, name: name.into(), kind, starts_group: true, cells }
    }
}

/// A spread that rounding would turn into none is said to be below what is written.
fn small(sd: f64, write: impl Fn(f64) -> String) -> String {
    let text = write(sd);
    let is_zero = text.chars().all(|letter| matches!(letter, '0' | '.'));
    if is_zero && sd > 0.0 { format!("<{}", nearest_above_zero(&text)) } else { text }
}

/// `0.001` from `0.000`, and `1` from `0`.
fn nearest_above_zero(zero: &str) -> String {
    let kept = zero.len() - 1;
    format!("{}1", &zero[..kept])
}

/// Decimals that show three figures of `value`; none from 100 on.
pub(super) fn three_figures(value: f64) -> usize {
    match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    }
}

/// Three figures of `value`, all of them from 100 on; a zero is written `0`.
pub(super) fn figures(value: f64) -> String {
    match three_figures(value) {
        0 if value.is_finite() && value >= 0.0 => text::count(value.round() as u64),
        _ if value == 0.0 => "0".to_owned(),
        places => text::fixed(value, places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(mean: f64, sd: Option<f64>) -> CellView {
        CellView::rate(Some(Spread { n: 1, mean, sd }))
    }

    #[test]
    fn a_zero_has_no_decimals() {
        assert_eq!(
            [figures(0.0), figures(0.5), figures(12_511.6)],
            ["0", "0.50", "12,512"].map(str::to_owned)
        );
    }

    #[test]
    fn a_mean_and_its_spread_are_written_alike() {
        assert_eq!(cell(5214.4, Some(12.2)).text, "5,214");
        assert_eq!(cell(5214.4, Some(12.2)).note, "± 12");
        assert_eq!(cell(12.34, Some(0.06)).text, "12.3");
        assert_eq!(cell(12.34, Some(0.06)).note, "± 0.1");
        assert_eq!(cell(12.34, Some(0.01)).note, "± <0.1");
        assert_eq!(cell(512.0, Some(0.2)).note, "± <1");
        assert_eq!(cell(3.0, Some(0.0)).note, "± 0.00");
        assert_eq!(cell(0.5, None), CellView { text: "0.50".to_owned(), ..CellView::default() });
    }

    #[test]
    fn three_figures_are_written_and_more_of_a_large_number() {
        assert_eq!(
            [0.0, 1.234, 15.0, 99.94, 120.4, 5214.4].map(figures),
            ["0", "1.23", "15.0", "99.9", "120", "5,214"]
        );
        assert_eq!([-120.0, f64::INFINITY, f64::NAN].map(figures), ["−120", "+∞", "not a number"]);
    }

    #[test]
    fn one_value_has_no_spread_and_no_value_is_a_dash() {
        assert_eq!(CellView::spread(Some(Spread { n: 1, mean: 0.98, sd: None }), 4).note, "");
        assert_eq!(CellView::spread(None, 4), CellView::nothing());
        let text = CellView::spread(Some(Spread { n: 2, mean: f64::NAN, sd: None }), 4).text;
        assert_eq!(text, "not a number");
    }
}
