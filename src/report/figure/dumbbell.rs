//! Numbers of a source beside ours: of each arm our mean and theirs on one scale, joined by a line.

use plotters::element::Circle;
use plotters::style::text_anchor::{HPos, VPos};

use crate::dataset::Name;
use crate::experiment::metric::Metric;
use crate::language::Localised;
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Mark};
use crate::report::figure::{FigureError, both, capital, extent, width};
use crate::report::view::{FigureView, PictureView};
use crate::text;
use crate::words::Words;

/// Pixels from one arm to the next: names stand before their lines, so that the arms of a study fit on a card.
const ROW: i32 = 22;
const DOT_RADIUS: i32 = 40;
const HALF_STROKE: i32 = 70;
const GAP: i32 = 10;

pub(crate) struct Row {
    pub name: Localised,
    pub ours: f64,
    pub theirs: f64,
}

/// `set` is the data set that all rows are of.
pub(crate) fn draw(
    rows: &[&Row],
    metric: Metric,
    set: Name,
    words: Words,
) -> Result<FigureView, FigureError> {
    let places = metric.quantity.facts().places;
    let line = |row: &&Row| {
        let [ours, theirs] = [row.ours, row.theirs].map(|value| text::fixed(value, places));
        let name = row.name.to(words.language);
        words.say("figure.beside-row", &[("name", &name), ("ours", &ours), ("theirs", &theirs)])
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    let failed = |source| FigureError { figure: "beside", source };
    let title = capital(words.label(metric));
    Ok(FigureView {
        id: format!("beside-{}-{set}", metric.quantity.facts().name),
        title: words.say("figure.beside-title", &[("metric", &title), ("set", &set.title())]),
        caption: words.say("figure.beside", &[]),
        legend: Vec::new(),
        description: format!("{}.", words.join(&lines)),
        pictures: Some(both(|size| draw_one(rows, &lines, metric, size, words)).map_err(failed)?),
    })
}

/// Reads straight down: an axis, then for each arm its name, the line, the source's stroke and our dot.
fn draw_one(rows: &[&Row], lines: &[String], metric: Metric, size: Size, words: Words) -> Drawn<PictureView> {
    let margins = Margins { top: 4, right: 20, bottom: 44, left: size.pick(240, 165) };
    let (low, high) = extent(rows.iter().flat_map(|row| [row.ours, row.theirs])).unwrap_or((0.0, 1.0));
    let x = Axis::around(words.label(metric), low, high, size.pick(8, 4));
    let y = Axis::bare(rows.len());
    let height = margins.top + margins.bottom + ROW * rows.len() as i32;
    picture(size.width(), height, |sheet| {
        let plot = Plot::new(sheet, &x, &y, margins)?;
        for (index, (row, line)) in rows.iter().zip(lines).enumerate() {
            let across = |value: f64| plot.place((value, (rows.len() - index) as f64 - 0.5));
            let (ours, theirs) = (across(row.ours), across(row.theirs));
            let name = width::shortened(row.name.to(words.language), margins.left - 2 * GAP);
            let before = ((margins.left - GAP) * UNITS_PER_PIXEL, ours.1);
            plot.text(before, Mark::Tick, HPos::Right, VPos::Center, &name)?;
            plot.rule([ours, theirs], Ink::of(Mark::Leader))?;
            let stroke = [-HALF_STROKE, HALF_STROKE].map(|beyond| (theirs.0, theirs.1 + beyond));
            plot.rule(stroke, Ink::of(Mark::Reference))?;
            plot.value(line)?;
            sheet.draw(&Circle::new(ours, DOT_RADIUS, Ink::of(Mark::Dot).fill()))?;
            plot.value(line)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::metric::Quantity;
    use crate::report::figure::boxes::misplaced;

    #[test]
    fn names_of_any_length_stand_before_their_lines() {
        let names =
            ["m1 · batch 64", "a-study · an arm of which somebody has said more than fits before a line"];
        let rows = names.map(|name| Row { name: name.into(), ours: 0.9880, theirs: 0.9895 });
        let metric = Metric { quantity: Quantity::ValAcc, at: None };
        let figure = draw(&rows.iter().collect::<Vec<_>>(), metric, Name::mnist(), Words::english()).unwrap();
        let pictures = figure.pictures.unwrap();
        for picture in [pictures.wide, pictures.narrow] {
            assert_eq!(misplaced(&picture), Vec::<String>::new());
        }
        assert!(
            figure.description.starts_with("m1 · batch 64: 0.9880, the source 0.9895; "),
            "{}",
            figure.description
        );
    }
}
