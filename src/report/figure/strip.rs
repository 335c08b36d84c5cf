//! The evidence of one comparison on a strip: a dot a seed, the interval of their mean, 0 and the margin.

use plotters::element::{Circle, PathElement};

use crate::analyse::Evidence;
use crate::report::figure::plot::{Drawn, Sheet, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Mark};
use crate::report::figure::{FigureError, extent};
use crate::report::view::PictureView;

const WIDTH: i32 = 220;
const HEIGHT: i32 = 26;
const DOT_RADIUS: i32 = 24;

/// `None` where no seed says anything.
pub fn draw(evidence: &Evidence) -> Result<Option<PictureView>, FigureError> {
    let values = evidence.values.iter().map(|(_, value)| *value);
    let ends = evidence.interval.into_iter().flat_map(|(low, high)| [low, high]);
    let Some((low, high)) = extent(values.clone()).filter(|_| evidence.estimate.is_some()) else {
        return Ok(None);
    };
    // An interval over two seeds is wide beyond all use: it may run off the strip, which shows the seeds and 0.
    let reach = 4.0 * (high - low).max(evidence.margin);
    let ends = ends.map(|end| end.clamp(low - reach, high + reach));
    let shown = values.chain(ends).chain(margins(evidence)).chain([0.0]);
    let Some((low, high)) = extent(shown) else { return Ok(None) };
    let scale = Scale { low, span: (high - low).max(f64::MIN_POSITIVE) };
    let drawn = picture(WIDTH, HEIGHT, |sheet| draw_on(sheet, evidence, &scale));
    drawn.map(Some).map_err(|source| FigureError { figure: "evidence", source })
}

fn margins(evidence: &Evidence) -> impl Iterator<Item = f64> {
    let below = evidence.is_two_sided.then_some(-evidence.margin);
    std::iter::once(evidence.margin).chain(below)
}

struct Scale {
    low: f64,
    span: f64,
}

impl Scale {
    /// Units across, with room for half a dot at both ends. What lies beyond stands on the edge.
    fn across(&self, value: f64) -> i32 {
        let room = f64::from(5 * UNITS_PER_PIXEL);
        let width = f64::from(WIDTH * UNITS_PER_PIXEL) - 2.0 * room;
        (room + width * ((value - self.low) / self.span).clamp(0.0, 1.0)).round() as i32
    }
}

fn draw_on(sheet: &Sheet, evidence: &Evidence, scale: &Scale) -> Drawn {
    let (top, middle, bottom) = (0, HEIGHT * UNITS_PER_PIXEL / 2, HEIGHT * UNITS_PER_PIXEL);
    let upright = |value: f64, from: i32, to: i32, mark: Mark| {
        let at = scale.across(value);
        sheet.draw(&PathElement::new([(at, from), (at, to)], Ink::of(mark).stroke()))
    };
    upright(0.0, top, bottom, Mark::Zero)?;
    for margin in margins(evidence) {
        upright(margin, top, bottom, Mark::Margin)?;
    }
    if let Some((low, high)) = evidence.interval {
        let ends = [low, high].map(|end| (scale.across(end), middle));
        sheet.draw(&PathElement::new(ends, Ink::of(Mark::Whisker).stroke()))?;
    }
    for (_, value) in &evidence.values {
        sheet.draw(&Circle::new((scale.across(*value), middle), DOT_RADIUS, Ink::of(Mark::Dot).fill()))?;
    }
    if let Some(estimate) = evidence.estimate {
        upright(estimate, middle - 80, middle + 80, Mark::Reference)?;
    }
    Ok(())
}
