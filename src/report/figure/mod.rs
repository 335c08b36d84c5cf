//! One function a figure: from a summary to a picture in two layouts, its caption and its text alternative.

mod axis;
mod bars;
#[cfg(test)]
mod boxes;
pub(super) mod by_arm;
pub(super) mod dumbbell;
pub(super) mod epoch_curve;
mod label;
pub(super) mod left;
pub(super) mod loss_curve;
pub(super) mod phases;
mod plot;
pub(super) mod relative_time;
pub(super) mod roofline;
pub(super) mod strip;
pub(super) mod study_curve;
mod style;
mod thin;
mod width;

use std::io;

use plotters::drawing::DrawingAreaErrorKind;

pub(super) use plot::swatch;
pub(super) use style::Look;

use crate::report::figure::plot::{Drawn, Size};
use crate::report::view::{LegendView, PictureView, PicturesView};
use crate::text;
use crate::words::Words;

#[derive(Debug, thiserror::Error)]
#[error("figure '{figure}' cannot be drawn: {source}")]
pub struct FigureError {
    pub figure: &'static str,
    pub source: DrawingAreaErrorKind<io::Error>,
}

/// A line of a figure.
#[derive(Clone)]
struct Series {
    name: String,
    look: Look,
    points: Vec<(f64, f64)>,
}

impl Series {
    /// `batch 64: 5 points, least 0.97, greatest 0.99, last 0.99`.
    fn description(&self, write: &dyn Fn(f64) -> String, words: Words) -> Option<String> {
        let heights = || self.points.iter().map(|point| point.1);
        let (low, high) = heights().map(|y| (y, y)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let last = heights().next_back()?;
        let points = words.count("word.point", self.points.len(), &[]);
        let (least, greatest, last) = (write(low), write(high), write(last));
        Some(words.say(
            "figure.series",
            &[
                ("name", &self.name),
                ("points", &points),
                ("least", &least),
                ("greatest", &greatest),
                ("last", &last),
            ],
        ))
    }
}

/// Titles of the axes, then each series.
fn describe(x: &str, y: &str, series: &[Series], write: &dyn Fn(f64) -> String, words: Words) -> String {
    let lines: Vec<String> = series.iter().filter_map(|series| series.description(write, words)).collect();
    words.say("figure.axes", &[("x", &x), ("y", &y), ("lines", &words.join(&lines))])
}

/// Least and greatest of what is finite.
fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite())
        .map(|value| (value, value))
        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// The name of a metric as a title; a sign such as ε stays as it is.
fn capital(name: &str) -> String {
    if name.starts_with(|first: char| first.is_ascii()) { text::capital(name) } else { name.to_owned() }
}

/// Both layouts of one drawing.
fn both(draw: impl Fn(Size) -> Drawn<PictureView>) -> Drawn<PicturesView> {
    Ok(PicturesView { wide: draw(Size::Wide)?, narrow: draw(Size::Narrow)? })
}

/// One entry for each series, named as its table row is.
fn legend(series: &[Series]) -> Drawn<Vec<LegendView>> {
    let entry = |series: &Series| Ok(LegendView { label: series.name.clone(), swatch: swatch(series.look)? });
    series.iter().map(entry).collect()
}
