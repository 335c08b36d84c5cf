//! Sideways bars, each under its name: names of any length fit, on a telephone too.

use plotters::style::text_anchor::{HPos, VPos};

use crate::report::figure::plot::{Drawn, Margins, Plot, UNITS_PER_PIXEL};
use crate::report::figure::style::Mark;
use crate::report::figure::width;

/// How rows lie in a picture, each under its name, in pixels.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// From one row to the next.
    pitch: i32,
    /// Of the bar or the point itself.
    tall: i32,
}

pub(super) const BARS: Rows = Rows { pitch: 56, tall: 22 };
/// Of points with an interval, which take less.
pub(super) const POINTS: Rows = Rows { pitch: 42, tall: 10 };

/// The same with a heading of two lines.
pub(super) const TALL_POINTS: Rows = Rows { pitch: 58, tall: 10 };

/// Height of a line of a heading, in pixels.
const LINE: i32 = 16;

pub(super) const MARGINS: Margins = Margins { top: 4, right: 20, bottom: 44, left: 12 };

/// Where a bar lies on the sheet, from its left end.
pub(super) struct Place {
    pub top: i32,
    pub bottom: i32,
}

impl Rows {
    /// Height in pixels of a picture of so many.
    pub(super) fn height(self, rows: usize) -> i32 {
        MARGINS.top + MARGINS.bottom + self.pitch * rows as i32
    }

    /// Of the row at `index` of `count`, the first on top; writes `heading` above it, each of whose lines is a name and what
    /// follows a ` · `.
    pub(super) fn headed(self, plot: &Plot, index: usize, count: usize, heading: &str) -> Drawn<Place> {
        let (left, slot) = plot.place((0.0, (count - index) as f64));
        let top = slot + (self.pitch - self.tall - 8) * UNITS_PER_PIXEL;
        for (up, line) in (0..).zip(heading.lines().rev()) {
            let above = (left, top - (5 + LINE * up) * UNITS_PER_PIXEL);
            let line = fitted(line, (plot.width() - left) / UNITS_PER_PIXEL);
            plot.text(above, Mark::BarLabel, HPos::Left, VPos::Bottom, &line)?;
        }
        Ok(Place { top, bottom: top + self.tall * UNITS_PER_PIXEL })
    }
}

impl Place {
    pub(super) fn middle(&self) -> i32 {
        (self.top + self.bottom) / 2
    }
}

/// `heading` in so many pixels: of a name that is too long the middle goes, and never the number behind it.
fn fitted(heading: &str, room: i32) -> String {
    let (name, number) = heading.find(" · ").map_or((heading, ""), |at| heading.split_at(at));
    format!("{}{number}", width::shortened(name, room - width::width(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of a hypothesis with its number ran out of the picture of a telephone.
    #[test]
    fn a_long_name_is_cut_and_its_number_stays() {
        let heading = "Page faults: the allocator gives memory back after each step · 1.01×";
        let fit = fitted(heading, 340);
        assert!(fit.starts_with("Page faults") && fit.ends_with("each step · 1.01×"), "{fit}");
        assert!(width::width(&fit) <= 340);
        assert_eq!(fitted("relu · 0.9880", 340), "relu · 0.9880");
    }
}
