//! Cost of an image over the values of a study's curve, as it is and with the main cause removed.

use crate::analyse::study::{CurveFound, Point};
use crate::analyse::timing::Cost;
use crate::experiment::Colour;
use crate::report::figure::axis::{Axis, Tick};
use crate::report::figure::label::{self, EndLabel};
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, picture};
use crate::report::figure::style::{Look, Mark};
use crate::report::figure::{FigureError, Series, both, describe, extent, legend};
use crate::report::view::{FigureView, PictureView};
use crate::text;

const COST: &str = "time of an image (µs)";

/// `key` is what varies; `removal` says what is changed.
pub fn draw(curve: &CurveFound, key: &str, removal: &str) -> Result<FigureView, FigureError> {
    let id = "curve";
    let series = |name: &str, colour, turn, cost: fn(&Point) -> Option<&Cost>| Series {
        name: name.to_owned(),
        look: Look { colour, turn },
        points: curve
            .points
            .iter()
            .filter_map(|point| Some((point.place.filter(|place| *place > 0.0)?, cost(point)?.us_per_image)))
            .collect(),
    };
    let lines = [
        series("as it is", Colour::Red, 0, |point| point.base.as_ref()),
        series(&format!("with {removal}"), Colour::Green, 1, |point| point.removed.as_ref()),
    ];
    let failed = |source| FigureError { figure: id, source };
    let is_drawn = lines.iter().all(|line| line.points.len() > 1);
    let pictures = is_drawn.then(|| both(|size| draw_one(&lines, key, size))).transpose();
    Ok(FigureView {
        id: id.to_owned(),
        title: "Cost of an image over the whole range".to_owned(),
        caption: "Each point is one process: it shows where the cost begins, and decides nothing.".to_owned(),
        legend: legend(&lines).map_err(failed)?,
        description: describe(key, COST, &lines, &|us| text::fixed(us, 0)),
        pictures: pictures.map_err(failed)?,
    })
}

/// Reads straight down: axes with a tick at every value, lines, markers on top, names beside.
fn draw_one(lines: &[Series], key: &str, size: Size) -> Drawn<PictureView> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (least, most) = extent(points().map(|point| point.0)).unwrap_or((1.0, 2.0));
    let highest = extent(points().map(|point| point.1)).map_or(1.0, |(_, high)| high);
    let mut x = Axis::log(key, least, most, 9);
    let mut places: Vec<f64> = points().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let tick = |value: f64| Tick { value, label: format!("{value}") };
    x.ticks = places.into_iter().rev().step_by(size.pick(1, 2)).map(tick).collect();
    let y = Axis::exact(COST, 0.0, highest * 1.05, size.pick(7, 6));
    let left = y.ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(0) as i32 * 7 + 14;
    let names = ["as it is", "removed"];
    let margins = Margins { top: 26, right: label::room(names.into_iter()), bottom: 44, left };
    picture(size.width(), size.pick(300, 260), |sheet| {
        let mut plot = Plot::new(sheet, &x, &y, margins)?;
        for line in lines {
            plot.line(&line.points, line.look.ink(Mark::Line))?;
        }
        let mut ends = Vec::new();
        for (line, name) in lines.iter().zip(names) {
            line.points.iter().try_for_each(|point| plot.marker(*point, line.look))?;
            let end = line.points.last().copied();
            ends.extend(end.map(|end| EndLabel { text: name.to_owned(), look: line.look, end }));
        }
        label::draw(&plot, &ends)
    })
}
