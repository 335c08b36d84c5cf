//! Cost of an image over the batch: base and tuned with their intervals, and what the line through the small batches
//! would have the base cost.

use crate::analyse::explain::{Curve, Explanation, Variant};
use crate::experiment::{Colour, Plan};
use crate::report::figure::axis::{Axis, Tick};
use crate::report::figure::label::{self, EndLabel};
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, Series, both, describe, extent, legend};
use crate::report::view::{FigureView, PictureView};
use crate::text;

const AXIS: &str = "time of an image (µs)";

/// A curve as it is drawn.
struct Line {
    series: Series,
    /// The least and the greatest of each interval; the value itself where there is none.
    band: Vec<(f64, f64, f64)>,
    label: &'static str,
}

pub fn draw(explanation: &Explanation) -> Result<FigureView, FigureError> {
    let id = "cost-curve";
    let line = |curve| Line::of(curve, &explanation.design.base);
    let lines: Vec<Line> = explanation.curves.iter().filter_map(line).collect();
    let series: Vec<Series> = lines.iter().map(|line| line.series.clone()).collect();
    let failed = |source| FigureError { figure: id, source };
    let pictures = (!lines.is_empty()).then(|| both(|size| draw_one(explanation, &lines, size))).transpose();
    Ok(FigureView {
        id: id.to_owned(),
        title: "Cost of an image by batch size".to_owned(),
        caption: caption(explanation, &lines),
        legend: legend(&series).map_err(failed)?,
        description: describe("images in a batch", AXIS, &series, &|us| text::fixed(us, 0)),
        pictures: pictures.map_err(failed)?,
    })
}

impl Line {
    fn of(curve: &Curve, base: &Plan) -> Option<Self> {
        let (look, label) = match curve.variant {
            Variant::Base => (Look { colour: Colour::Orange, turn: 0 }, "base"),
            _ => (Look { colour: Colour::Blue, turn: 1 }, "tuned"),
        };
        let points: Vec<(f64, f64)> =
            curve.points.iter().map(|point| (f64::from(point.batch), point.us_per_image.value)).collect();
        let band = curve.points.iter().map(|point| {
            let us = &point.us_per_image;
            let (low, high) = us.interval.unwrap_or((us.value, us.value));
            (f64::from(point.batch), low, high)
        });
        let series = Series { name: format!("{label}: {}", curve.variant.about(base)), look, points };
        (!series.points.is_empty()).then(|| Self { band: band.collect(), series, label })
    }

    fn outline(&self) -> Vec<(f64, f64)> {
        let low = self.band.iter().map(|(batch, low, _)| (*batch, *low));
        let high = self.band.iter().map(|(batch, _, high)| (*batch, *high));
        low.chain(high.rev()).collect()
    }
}

fn caption(explanation: &Explanation, lines: &[Line]) -> String {
    if lines.is_empty() {
        return "No run has been measured yet.".to_owned();
    }
    let mut caption = format!(
        "Median step time divided by its images, mean over {}; bands: 95 % intervals. Lower is faster.",
        text::plural(explanation.blocks, "block")
    );
    if base(explanation).is_some_and(|curve| curve.fit.is_some()) {
        caption.push_str(
            " Thin line: what the fixed cost of a step, shared by its images, would have the base cost. It falls for \
             ever; where the base leaves it, something else is at work.",
        );
    }
    if turning_point(explanation).is_some() {
        caption.push_str(" Dashed upright: the turning point of the base.");
    }
    caption
}

fn base(explanation: &Explanation) -> Option<&Curve> {
    explanation.curves.iter().find(|curve| curve.variant == Variant::Base)
}

fn turning_point(explanation: &Explanation) -> Option<u32> {
    Some(base(explanation)?.turn.as_ref()?.upward.as_ref()?.0)
}

/// Reads straight down: axes, bands, the line of the fit, curves, markers on top, names beside.
fn draw_one(explanation: &Explanation, lines: &[Line], size: Size) -> Drawn<PictureView> {
    let batches = || lines.iter().flat_map(|line| &line.series.points).map(|point| point.0);
    let (least, most) = extent(batches()).unwrap_or((16.0, 4096.0));
    let highest = extent(lines.iter().flat_map(|line| line.band.iter().map(|band| band.2)));
    let mut x = Axis::log("images in a batch", least, most, 9);
    x.ticks = ticks(batches(), size.pick(1, 2));
    let y = Axis::exact(AXIS, 0.0, highest.map_or(1.0, |(_, high)| high * 1.05), size.pick(7, 6));
    let left = y.ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(0) as i32 * 7 + 14;
    let right = label::room(lines.iter().map(|line| line.label));
    let margins = Margins { top: 26, right, bottom: 44, left };
    picture(size.width(), size.pick(340, 280), |sheet| {
        let mut plot = Plot::new(sheet, &x, &y, margins)?;
        for line in lines {
            plot.area(&line.outline(), line.series.look.ink(Mark::Band))?;
        }
        if let Some(batch) = turning_point(explanation) {
            let (top, bottom) = (f64::INFINITY, f64::NEG_INFINITY);
            let ends = [top, bottom].map(|height| plot.place((f64::from(batch), height)));
            plot.rule(ends, Ink::of(Mark::Margin))?;
        }
        let fit = base(explanation).and_then(|curve| curve.fit.as_ref());
        if let (Some(fit), Some(line)) = (fit, lines.iter().find(|line| line.label == "base")) {
            // Straight pieces between the batches would cut the corners of a hyperbola.
            let along = (0..=64).map(|part| least * (most / least).powf(f64::from(part) / 64.0));
            let points: Vec<(f64, f64)> = along.map(|batch| (batch, fit.us_at(batch))).collect();
            plot.line(&points, line.series.look.ink(Mark::Seed))?;
        }
        for line in lines {
            plot.line(&line.series.points, line.series.look.ink(Mark::Line))?;
        }
        for line in lines {
            for &point in &line.series.points {
                plot.marker(point, line.series.look)?;
            }
        }
        let ends = lines.iter().filter_map(|line| {
            let end = *line.series.points.last()?;
            Some(EndLabel { text: line.label.to_owned(), look: line.series.look, end })
        });
        label::draw(&plot, &ends.collect::<Vec<_>>())
    })
}

/// At the batches themselves, which are powers of two; every so manieth, the last one for certain.
fn ticks(batches: impl Iterator<Item = f64>, every: usize) -> Vec<Tick> {
    let mut batches: Vec<f64> = batches.collect();
    batches.sort_by(f64::total_cmp);
    batches.dedup();
    let tick = |value: f64| Tick { value, label: format!("{value}") };
    batches.into_iter().rev().step_by(every).map(tick).collect()
}
