//! The parts of a step under the roof that two rates of the machine make: FLOP a second over FLOP a byte.

use plotters::element::PathElement;

use crate::analyse::roofline::{Part, Roofline};
use crate::clock::Phase;
use crate::experiment::Colour;
use crate::report::cell::figures;
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, UNITS_PER_PIXEL, marker, picture};
use crate::report::figure::style::{Look, Mark};
use crate::report::figure::width;
use crate::report::figure::{FigureError, both, extent, phases};
use crate::report::view::{FigureView, LegendView, PictureView};
use crate::words::Words;
use crate::work::Ceilings;

const PRODUCT: Look = Look { colour: Colour::Grey, turn: 0 };
const COPY: Look = Look { colour: Colour::Purple, turn: 1 };

/// How far the roof is drawn beyond the points and the ridge.
const ROOM: f64 = 3.0;

/// A part of the step, at its FLOP a byte and its GFLOP a second.
struct Point {
    name: &'static str,
    look: Look,
    at: (f64, f64),
}

/// How people call a part.
pub(crate) fn name(part: Part, words: Words) -> &'static str {
    words.word(match part {
        Part::Phase(phase) => phases::key(phase as usize),
        Part::Rest => phases::key(Phase::ALL.len()),
        Part::Step => "traced.whole",
    })
}

pub(crate) fn draw(roofline: &Roofline, words: Words) -> Result<FigureView, FigureError> {
    let id = "roofline";
    let failed = |source| FigureError { figure: id, source };
    let points = points(roofline, words);
    let pictures = both(|size| draw_one(roofline.ceilings, &points, size, words)).map_err(failed)?;
    Ok(FigureView {
        id: id.to_owned(),
        title: words.word("traced.roof-title").to_owned(),
        caption: words.word("traced.roof-caption").to_owned(),
        legend: legend(roofline.ceilings, &points, words).map_err(failed)?,
        description: describe(roofline.ceilings, &points, words),
        pictures: Some(pictures),
    })
}

fn points(roofline: &Roofline, words: Words) -> Vec<Point> {
    let looks = [
        (Part::Phase(Phase::Forward), Look { colour: Colour::Blue, turn: 0 }),
        (Part::Phase(Phase::Backward), Look { colour: Colour::Orange, turn: 1 }),
        (Part::Step, Look { colour: Colour::Green, turn: 3 }),
    ];
    let point = |(part, look): (Part, Look)| {
        let timed = roofline.part(part)?;
        Some(Point { name: name(part, words), look, at: (timed.intensity()?, timed.flop_per_s()? / 1e9) })
    };
    looks.into_iter().filter_map(point).collect()
}

impl Point {
    fn says(&self, words: Words) -> String {
        let (intensity, rate) = (figures(self.at.0), figures(self.at.1));
        words.say("traced.roof-point", &[("part", &self.name), ("intensity", &intensity), ("rate", &rate)])
    }
}

fn product_label(ceilings: Ceilings, words: Words) -> String {
    words.say("traced.roof-product", &[("rate", &figures(ceilings.flop_per_s / 1e9))])
}

fn copy_label(ceilings: Ceilings, words: Words) -> String {
    words.say("traced.roof-copy", &[("rate", &figures(ceilings.bytes_per_s / 1e9))])
}

fn describe(ceilings: Ceilings, points: &[Point], words: Words) -> String {
    let points: Vec<String> = points.iter().map(|point| point.says(words)).collect();
    words.say(
        "traced.roof-says",
        &[
            ("product", &product_label(ceilings, words)),
            ("ridge", &figures(ceilings.ridge())),
            ("copy", &copy_label(ceilings, words)),
            ("points", &words.join(&points)),
        ],
    )
}

fn legend(ceilings: Ceilings, points: &[Point], words: Words) -> Drawn<Vec<LegendView>> {
    let mut entries = vec![
        LegendView { label: product_label(ceilings, words), swatch: line_swatch(PRODUCT)? },
        LegendView { label: copy_label(ceilings, words), swatch: line_swatch(COPY)? },
    ];
    for point in points {
        entries.push(LegendView { label: point.name.to_owned(), swatch: point_swatch(point.look)? });
    }
    Ok(entries)
}

/// A line, for it has no markers.
fn line_swatch(look: Look) -> Drawn<PictureView> {
    let height = 6 * UNITS_PER_PIXEL;
    picture(30, 12, |sheet| {
        let ends = [(0, height), (30 * UNITS_PER_PIXEL, height)];
        sheet.draw(&PathElement::new(ends, look.ink(Mark::Line).stroke()))
    })
}

/// A marker, for it is on no line.
fn point_swatch(look: Look) -> Drawn<PictureView> {
    picture(12, 12, |sheet| marker(sheet, (6 * UNITS_PER_PIXEL, 6 * UNITS_PER_PIXEL), look))
}

/// Reads straight down: axes that hold the points and the bend of the roof, the roof, the points on top.
fn draw_one(ceilings: Ceilings, points: &[Point], size: Size, words: Words) -> Drawn<PictureView> {
    let ridge = ceilings.ridge();
    let roof = |intensity: f64| ceilings.roof(intensity) / 1e9;
    let across = points.iter().map(|point| point.at.0).chain([ridge]);
    let (least, most) = extent(across).unwrap_or((ridge, ridge));
    let (left, right) = (least / ROOM, most * ROOM);
    let up = points.iter().map(|point| point.at.1).chain([roof(left), roof(right)]);
    let (low, high) = extent(up).unwrap_or((roof(left), roof(right)));
    let x = Axis::log(words.word("traced.flop-a-byte"), left, right, size.pick(9, 6));
    let y = Axis::log(words.word("traced.gflop-a-second"), low / 1.2, high * 1.5, size.pick(8, 7));
    let beside = y.ticks.iter().map(|tick| width::width(&tick.label)).max().unwrap_or(0) + 12;
    let margins = Margins { top: 26, right: 20, bottom: 44, left: beside };
    picture(size.width(), size.pick(340, 280), |sheet| {
        let mut plot = Plot::new(sheet, &x, &y, margins)?;
        plot.line(&[(left, roof(left)), (ridge, roof(ridge))], COPY.ink(Mark::Line))?;
        plot.line(&[(ridge, roof(ridge)), (right, roof(right))], PRODUCT.ink(Mark::Line))?;
        for point in points {
            plot.marker(point.at, point.look)?;
            plot.value(&point.says(words))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples::step;
    use crate::row::StepRow;
    use crate::work::{StepWork, Work};

    fn view(flop_per_s: f64) -> FigureView {
        let steps: Vec<StepRow> = (0..9).map(|index| step(index, 64, 10_000_000)).collect();
        let work = StepWork {
            forward: Work { flop: 350_000_000, bytes: 35_000_000 },
            backward: Work { flop: 650_000_000, bytes: 60_000_000 },
            optimizer: Work { flop: 0, bytes: 5_000_000 },
        };
        let ceilings = Ceilings { flop_per_s, bytes_per_s: 15e9 };
        draw(&Roofline::of(&steps, &steps, &work, ceilings).unwrap(), Words::english()).unwrap()
    }

    #[test]
    fn both_ceilings_and_the_three_points_are_drawn_and_named() {
        let view = view(120e9);
        let labels: Vec<&str> = view.legend.iter().map(|entry| entry.label.as_str()).collect();
        assert_eq!(
            labels,
            ["product or convolution: 120 GFLOP/s", "copy: 15.0 GB/s", "forward", "backward", "whole step"]
        );
        assert!(view.description.contains("from 8.00 FLOP a byte on"), "{}", view.description);
        assert!(view.description.contains("forward: 10.0 FLOP a byte, 100 GFLOP a second"));
        let pictures = view.pictures.unwrap();
        for body in [pictures.wide.body, pictures.narrow.body] {
            assert_eq!(body.matches("class=\"line ").count(), 2, "{body}");
            assert_eq!(body.matches("class=\"marker ").count(), 3, "{body}");
        }
    }

    /// Nothing is moved to an edge, where it would seem to be on the roof.
    #[test]
    fn a_point_above_the_roof_is_drawn_above_it() {
        let body = view(60e9).pictures.unwrap().wide.body;
        let roof = body.lines().rfind(|line| line.contains("class=\"line ")).unwrap();
        let points = roof.split("points=\"").nth(1).unwrap();
        let height = |pair: &str| pair.split(',').nth(1).unwrap().parse::<i32>().unwrap();
        let flat = height(points.split([' ', '"']).next().unwrap());
        let circle = body.lines().find(|line| line.starts_with("<circle")).unwrap();
        let forward: i32 = circle.split("cy=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!(forward < flat, "{forward} {flat}");
    }
}
