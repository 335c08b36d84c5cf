//! Axes: a range, and ticks at numbers a person would have chosen.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::text;

/// A coordinate for plotters whose ticks we choose: its own show as many digits as a float has.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Axis {
    /// With its unit.
    pub title: String,
    pub ticks: Vec<Tick>,
    range: Range<f64>,
    is_log: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tick {
    pub value: f64,
    pub label: String,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// What lies outside stands on the edge.
    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        // What has no logarithm stands at the low end.
        let place = |value: f64| if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let (low, high) = (place(self.range.start), place(self.range.end));
        let share = (place(*value) - low) / (high - low);
        start + (f64::from(end - start) * share.clamp(0.0, 1.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|tick| tick.value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.value == *value);
        tick.map(|tick| tick.label.clone()).unwrap_or_default()
    }
}

impl Axis {
    /// From `low` to `high` exactly, with at most `most` ticks on the way.
    pub(super) fn exact(title: &str, low: f64, high: f64, most: usize) -> Self {
        let (low, high) = apart(low, high);
        let stepped = |most| Self::stepped(title, low, high, tick_step(high - low, most));
        // One tick alone is no scale.
        let finer = (most..most + 5).map(stepped).find(|axis| axis.ticks.len() > 1);
        finer.unwrap_or_else(|| stepped(most))
    }

    /// Widened to the ticks around `low` and `high`, of which there are at most `most` and two.
    pub(super) fn around(title: &str, low: f64, high: f64, most: usize) -> Self {
        let (low, high) = apart(low, high);
        let step = tick_step(high - low, most);
        // A hair of tolerance, or a bound that is a tick is widened by a whole step.
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        Self::stepped(title, first * step, last * step, step)
    }

    fn stepped(title: &str, low: f64, high: f64, step: f64) -> Self {
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|index| tick(index as f64 * step, step)).collect();
        Self { title: title.to_owned(), ticks, range: low..high, is_log: false }
    }

    /// Whole numbers only, as epochs are, with room beside the first and the last.
    pub(super) fn whole(title: &str, low: u32, high: u32, most: usize) -> Self {
        let step = tick_step(f64::from(high.max(1) - low.min(high)), most).max(1.0);
        let room = (f64::from(high) - f64::from(low)).max(1.0) * 0.03;
        let ticks = (low..=high).filter(|value| f64::from(*value) % step == 0.0 || step == 1.0);
        let ticks = ticks.map(|value| tick(f64::from(value), 1.0)).collect();
        let range = f64::from(low) - room..f64::from(high) + room;
        Self { title: title.to_owned(), ticks, range, is_log: false }
    }

    /// Logarithmic. `low` must be above 0.
    pub(super) fn log(title: &str, low: f64, high: f64, most: usize) -> Self {
        let high = high.max(low * 1.01);
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let ticks_of = |digits: &[f64]| -> Vec<Tick> {
            let units = decades.clone().map(|decade| 10_f64.powi(decade));
            let ticks = units.flat_map(|unit| digits.iter().map(move |digit| tick(digit * unit, unit)));
            ticks.filter(|tick| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(&tick.value)).collect()
        };
        let digits: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let choices = digits.map(ticks_of);
        let ticks = choices.iter().find(|ticks| ticks.len() <= most).unwrap_or(&choices[2]);
        // More decades than there is room for: every second of them, or third.
        let every = ticks.len().div_ceil(most.max(1)).max(1);
        let mut ticks: Vec<Tick> = ticks.iter().step_by(every).cloned().collect();
        if ticks.len() < 2 {
            // One tick alone is no scale.
            let (low, high) = apart(low, high);
            let linear = Self::exact(title, low, high, most);
            ticks = linear.ticks.into_iter().filter(|tick| tick.value > 0.0).collect();
        }
        Self { title: title.to_owned(), ticks, range: low..high, is_log: true }
    }

    pub(super) fn starts_at_zero(&self) -> bool {
        self.range.start == 0.0
    }

    /// No ticks and no title, counting `rows` from the top down: for bars.
    pub(super) fn bare(rows: usize) -> Self {
        Self { title: String::new(), ticks: Vec::new(), range: 0.0..rows.max(1) as f64, is_log: false }
    }
}

/// A range with room between its ends, which plotters divides by.
fn apart(low: f64, high: f64) -> (f64, f64) {
    let room = low.abs().max(1e-3) * 0.05;
    if high - low > room * 1e-6 { (low, high) } else { (low - room, low + room) }
}

/// The smallest of 1, 2 or 5 times a power of ten that divides `span` into fewer than `most` parts.
fn tick_step(span: f64, most: usize) -> f64 {
    let rough = span / most.saturating_sub(1).max(1) as f64;
    let unit = 10_f64.powi(rough.log10().floor() as i32);
    // A hair of tolerance, or 0.1 + 0.2 asks for the next step.
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * unit >= rough * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * unit
}

/// From here on a number is read by its zeros.
const LARGE: f64 = 1e7;

/// `2·10⁸`.
fn power(value: f64) -> String {
    let exponent = (value.log10() + 1e-9).floor();
    let digits = format!("{}", (value / 10_f64.powf(exponent) * 100.0).round() / 100.0);
    let raised: String = format!("{exponent}")
        .chars()
        .filter_map(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit.to_digit(10)? as usize))
        .collect();
    if digits == "1" { format!("10{raised}") } else { format!("{digits}·10{raised}") }
}

/// Written with as many decimals as a tick `step` needs, and no more.
fn tick(value: f64, step: f64) -> Tick {
    let places = (-(step * (1.0 + 1e-9)).log10().floor()).max(0.0) as usize;
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    let label = if value >= LARGE {
        power(value)
    } else if places == 0 && value >= 0.0 {
        text::count(value.round() as u64)
    } else {
        text::fixed(value, places)
    };
    Tick { value, label }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_numbers_a_person_would_choose() {
        assert_eq!(labels(&Axis::exact("", 0.0, 3750.0, 6)), ["0", "1,000", "2,000", "3,000"]);
        assert_eq!(labels(&Axis::exact("", 0.0, 240_000.0, 4)), ["0", "100,000", "200,000"]);
        assert_eq!(
            labels(&Axis::around("", 0.9832, 0.9895, 6)),
            ["0.982", "0.984", "0.986", "0.988", "0.990"]
        );
        assert_eq!(labels(&Axis::around("", -0.1, 0.25, 6)), ["−0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&Axis::whole("", 1, 5, 10)), ["1", "2", "3", "4", "5"]);
        assert_eq!(labels(&Axis::whole("", 1, 100, 6)), ["20", "40", "60", "80", "100"]);
    }

    #[test]
    fn a_logarithmic_axis_thins_its_ticks_as_decades_come() {
        assert_eq!(labels(&Axis::log("", 0.04, 2.4, 8)), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(labels(&Axis::log("", 0.04, 2.4, 4)), ["0.1", "0.3", "1"]);
        assert_eq!(labels(&Axis::log("", 1e-4, 1e3, 5)).len(), 4);
        assert_eq!(labels(&Axis::log("", 1.0, 1e28, 4)), ["1", "10⁸", "10¹⁶", "10²⁴"]);
        assert_eq!(labels(&Axis::log("", 2.24, 2.37, 5)), ["2.25", "2.30", "2.35"]);
        assert_eq!(labels(&Axis::log("", 1.0, 200.0, 3)), ["1", "10", "100"]);
    }

    #[test]
    fn equal_ends_still_span_a_range() {
        for value in [0.0, 0.5, -3.0, 1e9] {
            let axis = Axis::around("", value, value, 6);
            assert!(axis.range().end > axis.range().start && !axis.ticks.is_empty(), "{axis:?}");
        }
        assert!(Axis::log("", 0.5, 0.5, 6).range().end > 0.5);
        assert_eq!(labels(&Axis::whole("", 1, 1, 6)), ["1"]);
    }

    #[test]
    fn what_lies_outside_stands_on_the_edge() {
        let axis = Axis::log("", 0.01, 1.0, 6);
        let places = [0.1, 1e-9, 0.0, 50.0, f64::INFINITY].map(|value| axis.map(&value, (200, 0)));
        assert_eq!(places, [100, 200, 200, 0, 0]);
    }
}
