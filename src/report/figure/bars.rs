//! Sideways bars, each under its name: names of any length fit, on a telephone too.

use plotters::style::text_anchor::{HPos, VPos};

use crate::report::figure::plot::{Drawn, Margins, Plot, UNITS_PER_PIXEL};
use crate::report::figure::style::Mark;
use crate::report::figure::width;

/// Pixels from one bar to the next: its name above, the bar, a gap.
const ROW: i32 = 56;
const BAR: i32 = 22;

pub(super) const MARGINS: Margins = Margins { top: 4, right: 20, bottom: 44, left: 12 };

/// Height in pixels of a picture of so many bars.
pub(super) fn height(bars: usize) -> i32 {
    MARGINS.top + MARGINS.bottom + ROW * bars as i32
}

/// Where a bar lies on the sheet, from its left end.
pub(super) struct Place {
    pub top: i32,
    pub bottom: i32,
}

impl Place {
    /// Of the bar at `index` of `count`, the first on top; writes `heading` above it, a name and what follows a ` · `.
    pub(super) fn headed(plot: &Plot, index: usize, count: usize, heading: &str) -> Drawn<Self> {
        let (left, slot) = plot.place((0.0, (count - index) as f64));
        let top = slot + (ROW - BAR - 8) * UNITS_PER_PIXEL;
        let above = (left, top - 5 * UNITS_PER_PIXEL);
        let heading = fitted(heading, (plot.width() - left) / UNITS_PER_PIXEL);
        plot.text(above, Mark::BarLabel, HPos::Left, VPos::Bottom, &heading)?;
        Ok(Self { top, bottom: top + BAR * UNITS_PER_PIXEL })
    }

    pub(super) fn middle(&self) -> i32 {
        (self.top + self.bottom) / 2
    }
}

/// `heading` in so many pixels: of a name that is too long the end goes, and never the number behind it.
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
        assert!(fit.starts_with("Page faults") && fit.ends_with("… · 1.01×"), "{fit}");
        assert!(width::width(&fit) <= 340);
        assert_eq!(fitted("relu · 0.9880", 340), "relu · 0.9880");
    }
}
