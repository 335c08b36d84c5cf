//! Training time of each arm as a multiple of the first arm's, beside that of the reference.

use crate::analyse::{ArmSummary, Summary};
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both};
use crate::report::view::{FigureView, PictureView};
use crate::stats::Spread;
use crate::text;

struct Bar {
    name: String,
    look: Look,
    ours: Spread,
    /// The same ratio of the reference's minutes.
    theirs: Option<f64>,
}

pub fn draw(summary: &Summary) -> Result<FigureView, FigureError> {
    let id = "relative-time";
    let first = summary.arms.first().and_then(reference_minutes);
    let bars: Vec<Bar> = Look::each(summary)
        .filter_map(|(arm, look)| {
            let theirs = reference_minutes(arm).zip(first).map(|(minutes, first)| minutes / first);
            arm.relative_time.map(|ours| Bar { name: arm.name.clone(), look, ours, theirs })
        })
        .collect();
    let failed = |source| FigureError { figure: id, source };
    let pictures = (!bars.is_empty()).then(|| both(|size| draw_one(&bars, size))).transpose();
    Ok(FigureView {
        id: id.to_owned(),
        title: "Training time relative to the first arm".to_owned(),
        caption: caption(&bars, summary),
        legend: Vec::new(),
        description: describe(&bars),
        pictures: pictures.map_err(failed)?,
    })
}

fn reference_minutes(arm: &ArmSummary) -> Option<f64> {
    arm.reference.and_then(|row| row.minutes).filter(|minutes| *minutes > 0.0)
}

/// `0.85× ± 0.01 · theirs 0.95×`.
fn value(bar: &Bar) -> String {
    let sd = bar.ours.sd.map(|sd| format!(" ± {}", text::fixed(sd, 2))).unwrap_or_default();
    let theirs = bar.theirs.map(|ratio| format!(" · theirs {}×", text::fixed(ratio, 2))).unwrap_or_default();
    format!("{}×{sd}{theirs}", text::fixed(bar.ours.mean, 2))
}

fn describe(bars: &[Bar]) -> String {
    let lines: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, value(bar))).collect();
    format!("Multiples of the first arm's training time. {}.", lines.join("; "))
}

fn caption(bars: &[Bar], summary: &Summary) -> String {
    let Some(first) = bars.first() else {
        return match summary.times_barred_by() {
            Some(barred) => format!("Not drawn: {barred}."),
            None => "No seed has a finished run of the first arm to compare with.".to_owned(),
        };
    };
    let mut caption = format!("Sum of all steps, divided by that of {} under the same seed.", first.name);
    if bars.iter().any(|bar| bar.ours.sd.is_some()) {
        caption.push_str(" Whiskers: ± one standard deviation over seeds.");
    }
    if bars.iter().any(|bar| bar.theirs.is_some()) {
        caption.push_str(&format!(
            " Upright strokes: the same ratio of the minutes of {}, which are another machine's.",
            summary.reference.unwrap_or("others")
        ));
    }
    caption
}

/// Reads straight down: an axis from 0, then for each arm its name and value, its bar, whisker and the reference's stroke.
fn draw_one(bars: &[Bar], size: Size) -> Drawn<PictureView> {
    let reach = |bar: &Bar| (bar.ours.mean + bar.ours.sd.unwrap_or(0.0)).max(bar.theirs.unwrap_or(0.0));
    let longest = bars.iter().map(reach).fold(1.0, f64::max);
    let x = Axis::exact("multiple of the first arm's training time", 0.0, longest * 1.05, size.pick(8, 5));
    let y = Axis::bare(bars.len());
    picture(size.width(), bars::height(bars.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        for (index, bar) in bars.iter().enumerate() {
            let heading = format!("{} · {}", bar.name, value(bar));
            let place = bars::Place::headed(&plot, index, bars.len(), &heading)?;
            let corners = [(across(0.0), place.top), (across(bar.ours.mean), place.bottom)];
            plot.bar(corners, bar.look.ink(Mark::Bar))?;
            if let Some(sd) = bar.ours.sd {
                let ends = [bar.ours.mean - sd, bar.ours.mean + sd].map(|at| (across(at), place.middle()));
                plot.rule(ends, Ink::of(Mark::Whisker))?;
            }
            if let Some(ratio) = bar.theirs {
                let beyond = 4 * UNITS_PER_PIXEL;
                let ends = [place.top - beyond, place.bottom + beyond].map(|at| (across(ratio), at));
                plot.rule(ends, Ink::of(Mark::Reference))?;
            }
        }
        Ok(())
    })
}
