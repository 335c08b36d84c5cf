//! The evidence of one comparison on a strip: a dot a seed, the interval of their mean, 0 and the margin.
//!
//! All strips of all pages have one scale, so that the eye compares them: the effect in units of the least effect that matters,
//! linear about 0 and logarithmic beyond. What lies beyond the ends stands on the edge.

use plotters::element::{Circle, PathElement, Text};
use plotters::style::text_anchor::{HPos, VPos};

use crate::analyse::Evidence;
use crate::report::amount;
use crate::report::figure::FigureError;
use crate::report::figure::plot::{self, Drawn, Sheet, UNITS_PER_PIXEL, letters, picture};
use crate::report::figure::style::{Ink, Mark};
use crate::report::figure::thin;
use crate::report::view::PictureView;
use crate::words::Words;

const WIDTH: i32 = 220;
/// Pixels down where every comparison has a row of numbers.
pub(crate) const ROW: i32 = 26;
/// Pixels down where the parts of a claim lie close under each other.
pub(crate) const LINE: i32 = 14;
const DOT_RADIUS: i32 = 24;
/// More dots than these lie on each other.
const MOST_DOTS: usize = 100;
/// Effects, in least effects that matter, at the ends.
const MOST: f64 = 60.0;
/// Where the ruler over a column of strips has numbers.
const TICKS: [(f64, &str); 5] = [(-10.0, "−10"), (-1.0, "−1"), (0.0, "0"), (1.0, "1"), (10.0, "10")];

/// `None` where no seed says anything.
pub(crate) fn draw(
    evidence: &Evidence,
    height: i32,
    words: Words,
) -> Result<Option<PictureView>, FigureError> {
    if evidence.estimate.is_none() {
        return Ok(None);
    }
    let drawn = picture(WIDTH, height, |sheet| draw_on(sheet, evidence, height, words));
    drawn.map(Some).map_err(failed)
}

/// The scale that a column of strips shares.
pub(crate) fn ruler() -> Result<PictureView, FigureError> {
    let draw_on = |sheet: &Sheet| {
        for (value, text) in TICKS {
            let at = (across(value), ROW * UNITS_PER_PIXEL);
            upright(sheet, value, at.1 - 60, at.1, Mark::Axis)?;
            let ink = Ink::of(Mark::Tick);
            let style = letters(&ink, HPos::Center, VPos::Bottom);
            sheet.draw(&Text::new(text.to_owned(), (at.0, at.1 - 80), style))?;
        }
        Ok(())
    };
    picture(WIDTH, ROW, draw_on).map_err(failed)
}

fn failed(source: plotters::drawing::DrawingAreaErrorKind<std::io::Error>) -> FigureError {
    FigureError { figure: "evidence", source }
}

fn margins(evidence: &Evidence) -> impl Iterator<Item = f64> {
    let below = evidence.is_two_sided.then_some(-1.0);
    std::iter::once(1.0).chain(below)
}

/// Units across of a value in least effects that matter, with room for half a dot at both ends.
fn across(value: f64) -> i32 {
    let room = f64::from(5 * UNITS_PER_PIXEL);
    let width = f64::from(WIDTH * UNITS_PER_PIXEL) - 2.0 * room;
    let size = value.abs().min(MOST).ln_1p() / MOST.ln_1p();
    (room + width * (1.0 + size.copysign(value)) / 2.0).round() as i32
}

fn upright(sheet: &Sheet, value: f64, from: i32, to: i32, mark: Mark) -> Drawn {
    let at = across(value);
    sheet.draw(&PathElement::new([(at, from), (at, to)], Ink::of(mark).stroke()))
}

fn draw_on(sheet: &Sheet, evidence: &Evidence, height: i32, words: Words) -> Drawn {
    let (top, middle, bottom) = (0, height * UNITS_PER_PIXEL / 2, height * UNITS_PER_PIXEL);
    upright(sheet, 0.0, top, bottom, Mark::Zero)?;
    for margin in margins(evidence) {
        upright(sheet, margin, top, bottom, Mark::Margin)?;
    }
    if let Some((low, high)) = evidence.interval.filter(|_| evidence.is_informative) {
        let ends = [low, high].map(|end| (across(evidence.in_margins(end)), middle));
        sheet.draw(&PathElement::new(ends, Ink::of(Mark::Whisker).stroke()))?;
    }
    let values: Vec<f64> = evidence.values.iter().map(|(_, value)| *value).collect();
    for value in thin::ranked(&values, MOST_DOTS) {
        let at = across(evidence.in_margins(value));
        sheet.draw(&Circle::new((at, middle), DOT_RADIUS, Ink::of(Mark::Dot).fill()))?;
        plot::value(sheet, &amount::amount(evidence, value, words))?;
    }
    if let Some(estimate) = evidence.estimate {
        let reach = middle * 5 / 8;
        upright(sheet, evidence.in_margins(estimate), middle - reach, middle + reach, Mark::Reference)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_for_all_is_even_about_nothing_and_ends_somewhere() {
        let middle = WIDTH * UNITS_PER_PIXEL / 2;
        assert_eq!(across(0.0), middle);
        assert_eq!(across(1.0) - middle, middle - across(-1.0));
        assert_eq!((across(MOST), across(-MOST)), (across(1e9), across(f64::NEG_INFINITY)));
        assert!(across(1.0) < across(10.0) && across(MOST) <= WIDTH * UNITS_PER_PIXEL);
    }
}
