//! Where the time of a training image goes: one bar an arm, divided into the phases of a step.

use plotters::style::text_anchor::{HPos, VPos};

use crate::analyse::{ArmSummary, Summary};
use crate::clock::Phase;
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Mark};
use crate::report::figure::width;
use crate::report::figure::{FigureError, Look, bars, both};
use crate::report::glance::not_among;
use crate::report::view::{FigureView, LegendView, PictureView};
use crate::text;
use crate::words::Words;

/// Phases of a step and what none of them accounts for.
pub(crate) const PARTS: usize = Phase::ALL.len() + 1;

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

/// Key of what people call a part.
pub(crate) fn key(part: usize) -> &'static str {
    match Phase::ALL.get(part) {
        Some(Phase::Load) => "phase.load",
        Some(Phase::Copy) => "phase.copy",
        Some(Phase::Forward) => "phase.forward",
        Some(Phase::Backward) => "phase.backward",
        Some(Phase::Optimizer) => "phase.optimizer",
        Some(Phase::ReadBack) => "phase.read-back",
        None => "phase.rest",
    }
}

pub(crate) fn draw(summary: &Summary, words: Words) -> Result<FigureView, FigureError> {
    let id = "phases";
    let bars: Vec<Bar> = Look::each(summary)
        .filter_map(|(arm, _)| {
            let (phases, rest) = (arm.spreads.phase_us_per_image?, arm.spreads.rest_us_per_image?);
            let us = std::array::from_fn(|part| phases.get(part).unwrap_or(&rest).mean);
            Some(Bar { name: arm.name.to(words.language).to_owned(), us })
        })
        .collect();
    let caption = match summary.times_barred_by() {
        _ if !bars.is_empty() => {
            let missing = not_among(summary, |arm| arm.why_untimed(words), words);
            words.say("figure.phases", &[]) + &missing.unwrap_or_default()
        }
        Some(barred) => words.say("figure.not-drawn", &[("why", &barred.say(words))]),
        None if summary.arms.iter().any(ArmSummary::lacks_rows) => words.say("figure.no-rows", &[]),
        None => words.say("figure.not-warm", &[]),
    };
    let failed = |source| FigureError { figure: id, source };
    let pictures = (!bars.is_empty()).then(|| both(|size| draw_one(&bars, size, words))).transpose();
    let legend = if bars.is_empty() { Ok(Vec::new()) } else { legend(words) };
    Ok(FigureView {
        id: id.to_owned(),
        title: words.say("figure.phases-title", &[]),
        caption,
        legend: legend.map_err(failed)?,
        description: describe(&bars, words),
        pictures: pictures.map_err(failed)?,
    })
}

fn legend(words: Words) -> Drawn<Vec<LegendView>> {
    (0..PARTS)
        .map(|part| Ok(LegendView { label: words.word(key(part)).to_owned(), swatch: swatch(part)? }))
        .collect()
}

fn swatch(part: usize) -> Drawn<PictureView> {
    let side = 12 * UNITS_PER_PIXEL;
    picture(12, 12, |sheet| {
        let ink = Ink::turned(Mark::Phase, part).fill();
        sheet.draw(&plotters::element::Rectangle::new([(0, 0), (side, side)], ink))
    })
}

fn describe(bars: &[Bar], words: Words) -> String {
    let part = |us: &f64, part: usize| format!("{} {}", words.word(key(part)), text::fixed(*us, 1));
    let bar = |bar: &Bar| {
        let parts: Vec<String> = bar.us.iter().enumerate().map(|(index, us)| part(us, index)).collect();
        let (total, parts) = (text::fixed(bar.total(), 1), parts.join(", "));
        words.say("figure.phases-bar", &[("name", &bar.name), ("total", &total), ("parts", &parts)])
    };
    let lines: Vec<String> = bars.iter().map(bar).collect();
    words.say("figure.phases-described", &[("lines", &words.join(&lines))])
}

/// Reads straight down: an axis from 0, then for each arm its name and total, its parts from left to right.
fn draw_one(bars: &[Bar], size: Size, words: Words) -> Drawn<PictureView> {
    let longest = bars.iter().map(Bar::total).fold(0.0, f64::max);
    let x = Axis::exact(words.word("figure.phases-axis"), 0.0, longest * 1.02, size.pick(8, 5));
    let y = Axis::bare(bars.len());
    picture(size.width(), bars::BARS.height(bars.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        for (index, bar) in bars.iter().enumerate() {
            let heading = format!("{} · {} µs", bar.name, text::fixed(bar.total(), 1));
            let place = bars::BARS.headed(&plot, index, bars.len(), &heading)?;
            let mut from = 0.0;
            for (part, us) in bar.us.iter().enumerate() {
                let (start, end) = (plot.place((from, 0.0)).0, plot.place((from + us, 0.0)).0);
                from += us;
                plot.bar([(start, place.top), (end, place.bottom)], Ink::turned(Mark::Phase, part))?;
                plot.value(&format!(
                    "{} · {} · {} µs",
                    bar.name,
                    words.word(key(part)),
                    text::fixed(*us, 1)
                ))?;
                // Parts too small for their share have it in the table below.
                let share = format!("{} %", text::fixed(us / bar.total() * 100.0, 0));
                if end - start > width::width(&share) * UNITS_PER_PIXEL {
                    let (at, ink) = (((start + end) / 2, place.middle()), Ink::turned(Mark::OnPhase, part));
                    plot.inked_text(at, ink, HPos::Center, VPos::Center, &share)?;
                }
            }
        }
        Ok(())
    })
}
