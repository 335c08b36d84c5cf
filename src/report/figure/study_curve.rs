//! Cost of an image over the values of a study's curve, as it is and with the main cause removed.

use crate::analyse::study::{CurveFound, Point};
use crate::analyse::timing::Cost;
use crate::experiment::Colour;
use crate::report::figure::axis::{Axis, Tick};
use crate::report::figure::label::{self, EndLabel};
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, picture};
use crate::report::figure::style::{Look, Mark};
use crate::report::figure::width;
use crate::report::figure::{FigureError, Series, both, describe, extent, legend};
use crate::report::view::{FigureView, PictureView};
use crate::text;
use crate::words::Words;

/// `key` is what varies; `removal` says what is changed.
pub(crate) fn draw(
    curve: &CurveFound,
    key: &str,
    removal: &str,
    words: Words,
) -> Result<FigureView, FigureError> {
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
        series(words.word("figure.as-it-is"), Colour::Red, 0, |point| point.base.as_ref()),
        series(&words.say("figure.with-removal", &[("removal", &removal)]), Colour::Green, 1, |point| {
            point.removed.as_ref()
        }),
    ];
    let failed = |source| FigureError { figure: id, source };
    let is_drawn = lines.iter().all(|line| line.points.len() > 1);
    let pictures = is_drawn.then(|| both(|size| draw_one(&lines, key, size, words))).transpose();
    Ok(FigureView {
        id: id.to_owned(),
        title: words.say("figure.curve-title", &[]),
        caption: words.say("figure.curve", &[]),
        legend: legend(&lines).map_err(failed)?,
        description: describe(key, words.word("figure.curve-axis"), &lines, &|us| text::fixed(us, 0), words),
        pictures: pictures.map_err(failed)?,
    })
}

/// Reads straight down: axes with a tick at every value, lines, markers on top, names beside.
fn draw_one(lines: &[Series], key: &str, size: Size, words: Words) -> Drawn<PictureView> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (least, most) = extent(points().map(|point| point.0)).unwrap_or((1.0, 2.0));
    let highest = extent(points().map(|point| point.1)).map_or(1.0, |(_, high)| high);
    let mut x = Axis::log(key, least, most, 9);
    let mut places: Vec<f64> = points().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let tick = |value: f64| Tick { value, label: format!("{value}") };
    // A narrow picture has a tick at every second value, the last among them. Labels are written from left to right.
    x.ticks = places.into_iter().rev().step_by(size.pick(1, 2)).map(tick).collect();
    x.ticks.reverse();
    let y = Axis::exact(words.word("figure.curve-axis"), 0.0, highest * 1.05, size.pick(7, 6));
    let left = y.ticks.iter().map(|tick| width::width(&tick.label)).max().unwrap_or(0) + 12;
    let names = ["figure.as-it-is", "figure.removed"].map(|key| words.word(key));
    let margins = Margins { top: 26, right: label::room(names.into_iter(), size), bottom: 44, left };
    picture(size.width(), size.pick(300, 260), |sheet| {
        let mut plot = Plot::new(sheet, &x, &y, margins)?;
        for line in lines {
            plot.line(&line.points, line.look.ink(Mark::Line))?;
        }
        let mut ends = Vec::new();
        for (line, name) in lines.iter().zip(names) {
            for point in &line.points {
                plot.marker(*point, line.look)?;
                plot.value(&format!("{} · {key} {} · {} µs", line.name, point.0, text::fixed(point.1, 0)))?;
            }
            let end = line.points.last().copied();
            ends.extend(end.map(|end| EndLabel { text: name.to_owned(), look: line.look, end }));
        }
        label::draw(&plot, &ends)
    })
}
