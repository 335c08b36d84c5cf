//! Where the time of a training image goes: one bar an arm, divided into the phases of a step.

use plotters::style::text_anchor::{HPos, VPos};

use crate::analyse::Summary;
use crate::clock::Phase;
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Mark};
use crate::report::figure::{FigureError, bars, both};
use crate::report::glance::not_among;
use crate::report::view::{FigureView, LegendView, PictureView};
use crate::text;

/// Phases of a step and what none of them accounts for.
pub const PARTS: usize = Phase::ALL.len() + 1;

struct Bar {
    name: String,
    /// µs an image spent in each part.
    us: [f64; PARTS],
}

impl Bar {
    fn total(&self) -> f64 {
        self.us.iter().sum()
    }
}

/// How people call a part.
pub fn name(part: usize) -> &'static str {
    match Phase::ALL.get(part) {
        Some(Phase::Load) => "load",
        Some(Phase::Copy) => "copy",
        Some(Phase::Forward) => "forward",
        Some(Phase::Backward) => "backward",
        Some(Phase::Optimizer) => "optimizer",
        Some(Phase::ReadBack) => "read back",
        None => "rest",
    }
}

pub fn draw(summary: &Summary) -> Result<FigureView, FigureError> {
    let id = "phases";
    let bars: Vec<Bar> = summary
        .distinct()
        .filter_map(|arm| {
            let (phases, rest) = (arm.spreads.phase_us_per_image?, arm.spreads.rest_us_per_image?);
            let us = std::array::from_fn(|part| phases.get(part).unwrap_or(&rest).mean);
            Some(Bar { name: arm.name.clone(), us })
        })
        .collect();
    let caption = match summary.times_barred_by() {
        _ if !bars.is_empty() => {
            let said = "Time of a step divided by the images in it, so that arms of different batch size stand side by side; a \
             shorter bar trains more images per second. Mean over steps and seeds without each run's warm-up. Parts in \
             the order of the step.";
            let missing = not_among(summary, |arm| arm.why_untimed()).unwrap_or_default();
            format!("{said}{missing}")
        }
        Some(barred) => format!("Not drawn: {barred}."),
        None => "No finished run is longer than its warm-up, so no step was timed warm.".to_owned(),
    };
    let failed = |source| FigureError { figure: id, source };
    let pictures = (!bars.is_empty()).then(|| both(|size| draw_one(&bars, size))).transpose();
    let legend = if bars.is_empty() { Ok(Vec::new()) } else { legend() };
    Ok(FigureView {
        id: id.to_owned(),
        title: "Where a step's time goes".to_owned(),
        caption,
        legend: legend.map_err(failed)?,
        description: describe(&bars),
        pictures: pictures.map_err(failed)?,
    })
}

fn legend() -> Drawn<Vec<LegendView>> {
    (0..PARTS).map(|part| Ok(LegendView { label: name(part).to_owned(), swatch: swatch(part)? })).collect()
}

fn swatch(part: usize) -> Drawn<PictureView> {
    let side = 12 * UNITS_PER_PIXEL;
    picture(12, 12, |sheet| {
        let ink = Ink::turned(Mark::Phase, part).fill();
        sheet.draw(&plotters::element::Rectangle::new([(0, 0), (side, side)], ink))
    })
}

fn describe(bars: &[Bar]) -> String {
    let part = |us: &f64, part: usize| format!("{} {}", name(part), text::fixed(*us, 1));
    let bar = |bar: &Bar| {
        let parts: Vec<String> = bar.us.iter().enumerate().map(|(index, us)| part(us, index)).collect();
        format!("{}: {} in all, of which {}", bar.name, text::fixed(bar.total(), 1), parts.join(", "))
    };
    let lines: Vec<String> = bars.iter().map(bar).collect();
    format!("Microseconds per image. {}.", lines.join("; "))
}

/// Reads straight down: an axis from 0, then for each arm its name and total, its parts from left to right.
fn draw_one(bars: &[Bar], size: Size) -> Drawn<PictureView> {
    let longest = bars.iter().map(Bar::total).fold(0.0, f64::max);
    let x = Axis::exact("time per image (µs)", 0.0, longest * 1.02, size.pick(8, 5));
    let y = Axis::bare(bars.len());
    picture(size.width(), bars::height(bars.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        for (index, bar) in bars.iter().enumerate() {
            let heading = format!("{} · {} µs", bar.name, text::fixed(bar.total(), 1));
            let place = bars::Place::headed(&plot, index, bars.len(), &heading)?;
            let mut from = 0.0;
            for (part, us) in bar.us.iter().enumerate() {
                let (start, end) = (plot.place((from, 0.0)).0, plot.place((from + us, 0.0)).0);
                from += us;
                plot.bar([(start, place.top), (end, place.bottom)], Ink::turned(Mark::Phase, part))?;
                // Parts too small for their share have it in the table below.
                if end - start > 34 * UNITS_PER_PIXEL {
                    let share = format!("{} %", text::fixed(us / bar.total() * 100.0, 0));
                    let (at, ink) = (((start + end) / 2, place.middle()), Ink::turned(Mark::OnPhase, part));
                    plot.inked_text(at, ink, HPos::Center, VPos::Center, &share)?;
                }
            }
        }
        Ok(())
    })
}
