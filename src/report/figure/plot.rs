//! The sheet a figure is drawn on: its size, its axes, and marks at data coordinates.

use std::io;

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::Cartesian2d;
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{IntoFont as _, TextStyle};

use crate::report::figure::axis::{Axis, Tick};
use crate::report::figure::style::{self, Ink, Look, Mark};
use crate::report::figure::width::width;
use crate::report::view::PictureView;

pub(super) type Sheet<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// plotters rounds to whole units: a unit is a tenth of a pixel, or curves would show stairs.
pub(super) const UNITS_PER_PIXEL: i32 = 10;

const MARKER_RADIUS: i32 = 38;
const HALF_TICK: i32 = 40;

/// The two layouts of a figure. A picture that is merely scaled down to a telephone has letters nobody can read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    Wide,
    Narrow,
}

impl Size {
    /// Width in pixels at which letters have the size of the page's small print.
    pub(super) fn width(self) -> i32 {
        match self {
            Self::Wide => 720,
            Self::Narrow => 360,
        }
    }

    /// The first for the wide layout, the second for the narrow one.
    pub(super) fn pick<T>(self, wide: T, narrow: T) -> T {
        match self {
            Self::Wide => wide,
            Self::Narrow => narrow,
        }
    }
}

/// Draws on a sheet of so many pixels.
pub(super) fn picture(width: i32, height: i32, draw: impl FnOnce(&Sheet) -> Drawn) -> Drawn<PictureView> {
    let size = ((width * UNITS_PER_PIXEL) as u32, (height * UNITS_PER_PIXEL) as u32);
    let mut svg = String::new();
    let sheet = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&sheet)?;
    sheet.present()?;
    drop(sheet);
    Ok(PictureView { width: size.0, height: size.1, body: style::classed(&svg) })
}

/// Where the axes leave room, in pixels.
#[derive(Clone, Copy)]
pub(super) struct Margins {
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
    pub left: i32,
}

/// A pair of axes on a sheet.
pub(super) struct Plot<'a, 's> {
    sheet: &'s Sheet<'a>,
    chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>,
}

impl<'a, 's> Plot<'a, 's> {
    /// Draws the axes: a grid across, ticks below, the name of the upright axis above it where it can be read
    /// without turning the head.
    pub(super) fn new(sheet: &'s Sheet<'a>, x: &Axis, y: &Axis, margins: Margins) -> Drawn<Self> {
        let Margins { top, right, bottom, left } = margins;
        let mut chart = ChartBuilder::on(sheet)
            .margin_top(top * UNITS_PER_PIXEL)
            .margin_right(right * UNITS_PER_PIXEL)
            .x_label_area_size(bottom * UNITS_PER_PIXEL)
            .y_label_area_size(left * UNITS_PER_PIXEL)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_axes()
            .bold_line_style(Ink::of(Mark::Grid).stroke())
            .draw()?;
        let plot = Self { sheet, chart };
        let (width, height) = sheet.dim_in_pixel();
        plot.foot(&x.ticks)?;
        let title = Mark::AxisTitle;
        plot.text((0, 0), title, HPos::Left, VPos::Top, &y.title)?;
        // plotters would draw the upright line along with its labels; the grid is enough.
        for tick in &y.ticks {
            let (edge, height) = plot.place((f64::NEG_INFINITY, tick.value));
            let beside = (edge - 8 * UNITS_PER_PIXEL, height);
            plot.text(beside, Mark::Tick, HPos::Right, VPos::Center, &tick.label)?;
        }
        let below = (width as i32 - right * UNITS_PER_PIXEL, height as i32);
        plot.text(below, title, HPos::Right, VPos::Bottom, &x.title)?;
        Ok(plot)
    }

    /// The axis below. plotters would write a number half outside of the picture, and numbers over one another.
    fn foot(&self, ticks: &[Tick]) -> Drawn {
        let (left, bottom) = self.place((f64::NEG_INFINITY, f64::NEG_INFINITY));
        let right = self.place((f64::INFINITY, f64::NEG_INFINITY)).0;
        self.rule([(left, bottom), (right, bottom)], Ink::of(Mark::Axis))?;
        let mut written = i32::MIN;
        for tick in ticks {
            let at = self.place((tick.value, f64::NEG_INFINITY)).0;
            self.rule([(at, bottom), (at, bottom + HALF_TICK)], Ink::of(Mark::Axis))?;
            let half = width(&tick.label) * UNITS_PER_PIXEL / 2;
            let middle = at.min(self.width() - half).max(half);
            if middle - half >= written {
                let below = (middle, bottom + 2 * HALF_TICK);
                self.text(below, Mark::Tick, HPos::Center, VPos::Top, &tick.label)?;
                written = middle + half + 4 * UNITS_PER_PIXEL;
            }
        }
        Ok(())
    }

    /// Of the whole sheet.
    pub(super) fn width(&self) -> i32 {
        self.sheet.dim_in_pixel().0 as i32
    }

    /// Where a pair of values stands on the sheet.
    pub(super) fn place(&self, (x, y): (f64, f64)) -> (i32, i32) {
        self.chart.plotting_area().map_coordinate(&(x, y))
    }

    pub(super) fn line(&mut self, points: &[(f64, f64)], ink: Ink) -> Drawn {
        self.chart.draw_series(LineSeries::new(points.iter().copied(), ink.stroke()))?;
        Ok(())
    }

    /// The area inside an outline.
    pub(super) fn area(&self, outline: &[(f64, f64)], ink: Ink) -> Drawn {
        let places: Vec<(i32, i32)> = outline.iter().map(|&point| self.place(point)).collect();
        self.sheet.draw(&Polygon::new(places, ink.fill()))
    }

    pub(super) fn marker(&self, at: (f64, f64), look: Look) -> Drawn {
        marker(self.sheet, self.place(at), look)
    }

    /// A place to point at where a curve has no marker.
    pub(super) fn probe(&self, at: (f64, f64)) -> Drawn {
        self.sheet.draw(&Circle::new(self.place(at), MARKER_RADIUS, Ink::of(Mark::Probe).fill()))
    }

    /// A filled rectangle between two places on the sheet.
    pub(super) fn bar(&self, corners: [(i32, i32); 2], ink: Ink) -> Drawn {
        self.sheet.draw(&Rectangle::new(corners, ink.fill()))
    }

    /// A straight line between two places on the sheet.
    pub(super) fn rule(&self, ends: [(i32, i32); 2], ink: Ink) -> Drawn {
        self.sheet.draw(&PathElement::new(ends, ink.stroke()))
    }

    /// `text` at a place on the sheet.
    pub(super) fn text(&self, at: (i32, i32), mark: Mark, h: HPos, v: VPos, text: &str) -> Drawn {
        self.inked_text(at, Ink::of(mark), h, v, text)
    }

    /// What the mark that was drawn last stands for.
    pub(super) fn value(&self, text: &str) -> Drawn {
        value(self.sheet, text)
    }

    pub(super) fn inked_text(&self, at: (i32, i32), ink: Ink, h: HPos, v: VPos, text: &str) -> Drawn {
        if text.is_empty() {
            return Ok(());
        }
        self.sheet.draw(&Text::new(text.to_owned(), at, letters(&ink, h, v)))
    }
}

/// What the mark that was drawn last stands for: `templates/script.js` says it under the pointer.
pub(super) fn value(sheet: &Sheet, text: &str) -> Drawn {
    let ink = Ink::of(Mark::Value);
    sheet.draw(&Text::new(text.to_owned(), (0, 0), letters(&ink, HPos::Left, VPos::Top)))
}

/// Letters in the size of the page's small print.
pub(super) fn letters(ink: &Ink, h: HPos, v: VPos) -> TextStyle<'_> {
    // The size is the stylesheet's; plotters needs one to leave room between an axis and its labels.
    let size = 12 * UNITS_PER_PIXEL;
    TextStyle::from(("sans-serif", size).into_font()).color(&ink.0).pos(Pos::new(h, v))
}

/// An arm's marker: a circle, a square, a triangle, a diamond or a triangle on its head.
pub(super) fn marker(sheet: &Sheet, (x, y): (i32, i32), look: Look) -> Drawn {
    let ink = look.ink(Mark::Marker).fill();
    let r = MARKER_RADIUS;
    let corners: &[(i32, i32)] = match look.turn {
        0 => return sheet.draw(&Circle::new((x, y), r, ink)),
        1 => &[(-r, -r), (r, -r), (r, r), (-r, r)],
        2 => &[(0, -r - 6), (r + 6, r), (-r - 6, r)],
        3 => &[(0, -r - 12), (r + 12, 0), (0, r + 12), (-r - 12, 0)],
        _ => &[(0, r + 6), (r + 6, -r), (-r - 6, -r)],
    };
    let corners: Vec<(i32, i32)> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
    sheet.draw(&Polygon::new(corners, ink))
}

/// An arm's line and marker, as legends and tables show it.
pub(crate) fn swatch(look: Look) -> Drawn<PictureView> {
    picture(30, 12, |sheet| {
        let ends = [(0, 6 * UNITS_PER_PIXEL), (30 * UNITS_PER_PIXEL, 6 * UNITS_PER_PIXEL)];
        sheet.draw(&PathElement::new(ends, look.ink(Mark::Line).stroke()))?;
        marker(sheet, (15 * UNITS_PER_PIXEL, 6 * UNITS_PER_PIXEL), look)
    })
}
