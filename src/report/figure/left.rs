//! What is left of a slowdown when one thing is removed: a point and its interval a row, ruled at none and at all of it.

use crate::analyse::study::{Explanation, Verdict};
use crate::analyse::timing::Estimate;
use crate::experiment::Colour;
use crate::experiment::study::{Change, Study, Test};
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, marker, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both, extent};
use crate::report::view::{FigureView, PictureView};
use crate::text;
use crate::words::Words;

struct Row {
    name: String,
    left: Estimate,
    look: Look,
    /// Whether it stands for the slowdown as it is, or for what causes it.
    is_cause: bool,
}

pub(crate) fn draw(
    study: &Study,
    explanation: &Explanation,
    words: Words,
) -> Result<FigureView, FigureError> {
    figure("left", "figure.left-title", &rows(study, explanation, words), words)
}

/// The slowdown and its causes alone; none where nothing is known to cause it.
pub(in crate::report) fn causes(
    id: &str,
    (study, explanation): &(Study, Explanation),
    words: Words,
) -> Result<Option<FigureView>, FigureError> {
    let mut rows = rows(study, explanation, words);
    rows.retain(|row| row.is_cause);
    (rows.len() > 1).then(|| figure(id, "figure.left-causes-title", &rows, words)).transpose()
}

fn figure(id: &str, title: &str, rows: &[Row], words: Words) -> Result<FigureView, FigureError> {
    let failed = |source| FigureError { figure: "left", source };
    let pictures = (rows.len() > 1).then(|| both(|size| draw_one(rows, size, words))).transpose();
    let lines: Vec<String> = rows.iter().map(|row| heading(row, true, words)).collect();
    Ok(FigureView {
        id: id.to_owned(),
        title: words.say(title, &[]),
        caption: words.say(if rows.len() < 2 { "figure.left-none" } else { "figure.left" }, &[]),
        legend: Vec::new(),
        description: words.say("figure.left-described", &[("lines", &words.join(&lines))]),
        pictures: pictures.map_err(failed)?,
    })
}

fn rows(study: &Study, explanation: &Explanation, words: Words) -> Vec<Row> {
    let row = |name: String, left: &Option<Estimate>, (colour, turn), is_cause| {
        Some(Row { name, left: left.clone()?, look: Look { colour, turn }, is_cause })
    };
    let base = row(words.say("figure.as-it-is", &[]), &explanation.slowdown, (Colour::Red, 1), true);
    let removed = explanation.findings.iter().zip(&study.hypotheses).filter_map(|(finding, hypothesis)| {
        let is_cause = matches!(finding.verdict, Verdict::MainCause | Verdict::Contributes);
        let look = match finding.verdict {
            Verdict::MainCause | Verdict::Contributes => (Colour::Green, 0),
            Verdict::RuledOut => (Colour::Grey, 3),
            _ => (Colour::Orange, 2),
        };
        let title = hypothesis.title.to(words.language);
        let name = match &hypothesis.test {
            Test::Remove { given, .. } if *given != Change::default() => {
                words.say("figure.left-given", &[("title", &title), ("given", &given)])
            }
            _ => title.to_owned(),
        };
        row(name, &finding.left, look, is_cause)
    });
    base.into_iter().chain(removed).collect()
}

/// With the interval where there is room for it.
fn heading(row: &Row, has_room: bool, words: Words) -> String {
    let number = |value: f64| text::fixed(value, 2);
    let interval = row.left.interval.filter(|_| has_room).map(|(low, high)| {
        let interval = words.range(&number(low), &number(high));
        words.say("explained.bracketed", &[("interval", &interval)])
    });
    format!("{} · {}×{}", row.name, number(row.left.value), interval.unwrap_or_default())
}

/// Reads straight down: an axis, the two rules, then for each row its name, its interval and its point.
fn draw_one(rows: &[Row], size: Size, words: Words) -> Drawn<PictureView> {
    let values = rows.iter().map(|row| row.left.value).chain([1.0]);
    let (least, most) = extent(values).unwrap_or((1.0, 1.0));
    // An interval over few blocks may be wide beyond all use: what lies outside stands on the edge.
    let room = (most - least).max(0.05);
    let ends = rows.iter().filter_map(|row| row.left.interval).flat_map(|(low, high)| [low, high]);
    let (low, high) = extent(ends).unwrap_or((least, most));
    let (low, high) = (low.max(least - room).max(0.0), high.min(most + room));
    let x =
        Axis::exact(words.word("figure.left-axis"), low - 0.02 * room, high + 0.02 * room, size.pick(8, 5));
    let y = Axis::bare(rows.len());
    let height = bars::POINTS.height(rows.len());
    picture(size.width(), height, |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        let bottom = (height - bars::MARGINS.bottom) * UNITS_PER_PIXEL;
        for (at, mark) in [(1.0, Mark::Zero), (rows[0].left.value, Mark::Margin)] {
            plot.rule([(across(at), 0), (across(at), bottom)], Ink::of(mark))?;
        }
        for (index, row) in rows.iter().enumerate() {
            let whole = heading(row, true, words);
            let heading = size.pick(whole.clone(), heading(row, false, words));
            let place = bars::POINTS.headed(&plot, index, rows.len(), &heading)?;
            if let Some((low, high)) = row.left.interval {
                let ends = [low, high].map(|at| (across(at), place.middle()));
                plot.rule(ends, row.look.ink(Mark::Line))?;
            }
            marker(sheet, (across(row.left.value), place.middle()), row.look)?;
            plot.value(&whole)?;
        }
        Ok(())
    })
}
