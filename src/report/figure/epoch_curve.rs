//! A validation metric after each epoch: a band over the seeds, every seed faint, their mean bold.

use crate::analyse::{ArmSummary, Summary};
use crate::record::LoadedRun;
use crate::report::figure::axis::Axis;
use crate::report::figure::label::{self, EndLabel};
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, picture};
use crate::report::figure::style::{Look, Mark};
use crate::report::figure::width;
use crate::report::figure::{FigureError, Series, both, describe, extent, legend, thin};
use crate::report::view::{FigureView, PictureView};
use crate::row::{EpochRow, Split};
use crate::text;
use crate::words::Words;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Metric {
    Accuracy,
    Loss,
}

/// As many in both layouts, so that what is said of the axis holds for both.
const TICKS: usize = 7;

/// Thin lines in a figure, at most: the band is of all seeds all the same.
const MOST_LINES: usize = 400;

struct Curve {
    seeds: Vec<Vec<(f64, f64)>>,
    mean: Series,
    label: String,
}

pub(crate) fn draw(summary: &Summary, metric: Metric, words: Words) -> Result<FigureView, FigureError> {
    let [id, title, axis] = metric.keys();
    let curves: Vec<Curve> =
        Look::each(summary).filter_map(|(arm, look)| Curve::of(arm, look, metric, words)).collect();
    let means: Vec<Series> = curves.iter().map(|curve| curve.mean.clone()).collect();
    let range = extent(curves.iter().flat_map(|curve| curve.seeds.iter().flatten()).map(|point| point.1));
    let failed = |source| FigureError { figure: id, source };
    let axis = words.word(axis);
    let y = range.map(|(low, high)| Axis::around(axis, low, high, TICKS));
    let pictures = y.as_ref().map(|y| both(|size| draw_one(&curves, y, size, words)));
    let caption = match &y {
        Some(y) => caption(&curves, metric, y, words),
        None => words.say("figure.not-evaluated", &[]),
    };
    Ok(FigureView {
        id: id.to_owned(),
        title: words.word(title).to_owned(),
        caption,
        legend: legend(&means).map_err(failed)?,
        description: describe(
            words.word("figure.epoch"),
            axis,
            &means,
            &|value| text::fixed(value, 4),
            words,
        ),
        pictures: pictures.transpose().map_err(failed)?,
    })
}

impl Metric {
    /// Its id, and the keys of its title and of the axis it is about.
    fn keys(self) -> [&'static str; 3] {
        match self {
            Self::Accuracy => ["validation-accuracy", "figure.accuracy-title", "figure.accuracy-axis"],
            Self::Loss => ["validation-loss", "figure.loss-title", "figure.loss-axis"],
        }
    }

    fn of(self, row: &EpochRow) -> f64 {
        match self {
            Self::Accuracy => row.accuracy,
            Self::Loss => row.loss,
        }
    }
}

impl Curve {
    /// `None` when no run of the arm counts, or none has a value to show.
    fn of(arm: &ArmSummary, look: Look, metric: Metric, words: Words) -> Option<Self> {
        let seeds: Vec<_> = arm.counted.iter().map(|(run, _)| points(run, metric)).collect();
        let reach = seeds.iter().map(Vec::len).min()?;
        let mean = |index: usize| seeds.iter().map(|seed| seed[index].1).sum::<f64>() / seeds.len() as f64;
        let points: Vec<(f64, f64)> = (0..reach).map(|index| (seeds[0][index].0, mean(index))).collect();
        let mean = Series { name: arm.name.to(words.language).to_owned(), look, points };
        (reach > 0).then(|| Self { seeds, mean, label: arm.arm.shown.to(words.language).to_owned() })
    }

    /// The outline from the least to the greatest of the seeds, over the epochs all of them have.
    fn band(&self) -> Vec<(f64, f64)> {
        let edge = |pick: fn(f64, f64) -> f64| {
            let at = move |index: usize| {
                let heights = self.seeds.iter().map(|seed| seed[index].1);
                (self.mean.points[index].0, heights.reduce(pick).unwrap_or_default())
            };
            (0..self.mean.points.len()).map(at)
        };
        edge(f64::min).chain(edge(f64::max).rev()).collect()
    }
}

/// Epochs as people count them, from 1. The last row of an epoch counts.
fn points(run: &LoadedRun, metric: Metric) -> Vec<(f64, f64)> {
    let rows = run.epochs.iter().filter(|row| row.split == Split::Validation);
    let points = rows.map(|row| (f64::from(row.epoch) + 1.0, metric.of(row)));
    points.filter(|point| point.1.is_finite()).collect()
}

/// Reads straight down: axes, seeds, means, markers on top, names beside.
fn draw_one(curves: &[Curve], y: &Axis, size: Size, words: Words) -> Drawn<PictureView> {
    let epochs = curves.iter().flat_map(|curve| &curve.mean.points).map(|point| point.0 as u32);
    let x = Axis::whole(words.word("figure.epoch"), 1, epochs.max().unwrap_or(1), size.pick(11, 6));
    let right = label::room(curves.iter().map(|curve| curve.label.as_str()), size);
    let left = y.ticks.iter().map(|tick| width::width(&tick.label)).max().unwrap_or(0) + 12;
    let margins = Margins { top: 26, right, bottom: 44, left };
    picture(size.width(), size.pick(340, 280), |sheet| {
        let mut plot = Plot::new(sheet, &x, y, margins)?;
        for curve in curves.iter().filter(|curve| curve.seeds.len() > 1) {
            plot.area(&curve.band(), curve.mean.look.ink(Mark::Band))?;
            for seed in thin::evenly(&Vec::from_iter(&curve.seeds), MOST_LINES / curves.len()) {
                plot.line(seed, curve.mean.look.ink(Mark::Seed))?;
            }
        }
        for curve in curves {
            plot.line(&curve.mean.points, curve.mean.look.ink(Mark::Line))?;
        }
        for curve in curves {
            for &point in &curve.mean.points {
                plot.marker(point, curve.mean.look)?;
                plot.value(&format!(
                    "{} · {} {} · {}",
                    curve.label,
                    x.title,
                    point.0,
                    text::fixed(point.1, 4)
                ))?;
            }
        }
        let ends = curves.iter().filter_map(|curve| {
            let end = *curve.mean.points.last()?;
            Some(EndLabel { text: curve.label.clone(), look: curve.mean.look, end })
        });
        label::draw(&plot, &ends.collect::<Vec<_>>())
    })
}

fn caption(curves: &[Curve], metric: Metric, y: &Axis, words: Words) -> String {
    let seeds = curves.iter().map(|curve| curve.seeds.len()).max().unwrap_or(0);
    let lines = match seeds {
        0 | 1 => words.word("figure.one-seed"),
        seeds if seeds > MOST_LINES / curves.len() => words.word("figure.some-seeds"),
        _ => words.word("figure.seeds"),
    };
    let axis = match metric {
        Metric::Accuracy if y.starts_at_zero() => "",
        Metric::Accuracy => words.word("figure.not-from-zero"),
        Metric::Loss => words.word("figure.lower-better"),
    };
    words.say("figure.epochs-about", &[("lines", &lines), ("axis", &axis)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    /// The sentence stood under every picture of accuracies, also above a lowest label of 0.0.
    #[test]
    fn an_axis_that_starts_at_zero_is_not_said_not_to() {
        let experiment = samples::experiment();
        let caption = |lowest: f64| {
            let mut arms = samples::arms(&experiment.profile, &[0]);
            samples::set_validation(&mut arms[0].runs[0], lowest);
            let summary = Summary::of(&experiment, &arms);
            draw(&summary, Metric::Accuracy, Words::english()).unwrap().caption
        };
        assert!(caption(0.9).contains("does not start at 0"));
        assert!(!caption(0.05).contains("does not start at 0"));
    }
}
