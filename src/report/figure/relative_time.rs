//! Training time of each arm as a multiple of the first arm's, beside that of the reference.

use crate::analyse::{ArmSummary, Summary, WARM_UP_STEPS};
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both};
use crate::report::view::{FigureView, PictureView};
use crate::stats::Spread;
use crate::text;
use crate::words::Words;

struct Bar {
    name: String,
    look: Look,
    ours: Spread,
    /// The same ratio of the reference's minutes.
    theirs: Option<f64>,
}

pub(crate) fn draw(summary: &Summary, words: Words) -> Result<FigureView, FigureError> {
    let id = "relative-time";
    let first = summary.arms.first().and_then(reference_minutes);
    let bars: Vec<Bar> = Look::each(summary)
        .filter_map(|(arm, look)| {
            let theirs = reference_minutes(arm).zip(first).map(|(minutes, first)| minutes / first);
            arm.relative_time.map(|ours| Bar {
                name: arm.name.to(words.language).to_owned(),
                look,
                ours,
                theirs,
            })
        })
        .collect();
    let failed = |source| FigureError { figure: id, source };
    let pictures = (!bars.is_empty()).then(|| both(|size| draw_one(&bars, size, words))).transpose();
    Ok(FigureView {
        id: id.to_owned(),
        title: words.say("figure.relative-title", &[]),
        caption: caption(&bars, summary, words),
        legend: Vec::new(),
        description: describe(&bars, words),
        pictures: pictures.map_err(failed)?,
    })
}

fn reference_minutes(arm: &ArmSummary) -> Option<f64> {
    arm.reference.and_then(|row| row.minutes).filter(|minutes| *minutes > 0.0)
}

/// `0.85× ± 0.01 · theirs 0.95×`.
fn value(bar: &Bar, words: Words) -> String {
    let sd = bar.ours.sd.map(|sd| format!(" ± {}", text::fixed(sd, 2))).unwrap_or_default();
    let theirs = bar.theirs.map(|ratio| format!("{}×", text::fixed(ratio, 2)));
    let theirs = theirs.map(|value| words.say("figure.theirs", &[("value", &value)])).unwrap_or_default();
    format!("{}×{sd}{theirs}", text::fixed(bar.ours.mean, 2))
}

fn describe(bars: &[Bar], words: Words) -> String {
    let lines: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, value(bar, words))).collect();
    words.say("figure.relative-described", &[("lines", &words.join(&lines))])
}

fn caption(bars: &[Bar], summary: &Summary, words: Words) -> String {
    let Some(first) = bars.first() else {
        return match summary.times_barred_by() {
            Some(barred) => words.say("figure.not-drawn", &[("why", &barred.say(words))]),
            None if summary.arms.first().is_some_and(|first| !first.counted.is_empty()) => {
                words.say("caveat.short", &[("least", &WARM_UP_STEPS)])
            }
            None => words.say("figure.no-first", &[]),
        };
    };
    let mut caption = words.say("figure.relative", &[("arm", &first.name)]);
    if bars.iter().any(|bar| bar.ours.sd.is_some()) {
        caption.push_str(words.word("figure.whiskers"));
    }
    if bars.iter().any(|bar| bar.theirs.is_some()) {
        let name = summary.reference.map_or(words.word("word.others"), |name| name.to(words.language));
        caption.push_str(&words.say("figure.relative-theirs", &[("name", &name)]));
    }
    caption
}

/// Reads straight down: an axis from 0, then for each arm its name and value, its bar, whisker and the reference's stroke.
fn draw_one(bars: &[Bar], size: Size, words: Words) -> Drawn<PictureView> {
    let reach = |bar: &Bar| (bar.ours.mean + bar.ours.sd.unwrap_or(0.0)).max(bar.theirs.unwrap_or(0.0));
    let longest = bars.iter().map(reach).fold(1.0, f64::max);
    let x = Axis::exact(words.word("figure.relative-axis"), 0.0, longest * 1.05, size.pick(8, 5));
    let y = Axis::bare(bars.len());
    picture(size.width(), bars::BARS.height(bars.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        for (index, bar) in bars.iter().enumerate() {
            let heading = format!("{} · {}", bar.name, value(bar, words));
            let place = bars::BARS.headed(&plot, index, bars.len(), &heading)?;
            let corners = [(across(0.0), place.top), (across(bar.ours.mean), place.bottom)];
            plot.bar(corners, bar.look.ink(Mark::Bar))?;
            plot.value(&heading)?;
            if let Some(sd) = bar.ours.sd {
                let ends = [bar.ours.mean - sd, bar.ours.mean + sd].map(|at| (across(at), place.middle()));
                plot.rule(ends, Ink::of(Mark::Whisker))?;
            }
            if let Some(ratio) = bar.theirs {
                let beyond = 4 * UNITS_PER_PIXEL;
                let ends = [place.top - beyond, place.bottom + beyond].map(|at| (across(ratio), at));
                plot.rule(ends, Ink::of(Mark::Reference))?;
                plot.value(&format!("{}×", text::fixed(ratio, 2)))?;
            }
        }
        Ok(())
    })
}
