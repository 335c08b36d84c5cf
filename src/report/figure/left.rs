//! What is left of a slowdown when one thing is removed: a point and its interval a row, ruled at none and at all of it.

use crate::analyse::study::{Explanation, Verdict};
use crate::analyse::timing::Estimate;
use crate::experiment::Colour;
use crate::experiment::study::{Study, Test};
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, marker, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both, extent};
use crate::report::view::{FigureView, PictureView};
use crate::text;
use crate::words::Words;

struct Row {
    title: String,
    /// What holds before and after the removal, and the slowdown under it, where that is not the one that is explained.
    given: Option<(String, f64)>,
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
    let lines: Vec<String> = rows.iter().map(|row| heading(row, words)).collect();
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
    let base = explanation.slowdown.clone().map(|left| Row {
        title: words.say("figure.as-it-is", &[]),
        given: None,
        left,
        look: Look { colour: Colour::Red, turn: 1 },
        is_cause: true,
    });
    let removed = explanation.findings.iter().zip(&study.hypotheses).filter_map(|(finding, hypothesis)| {
        let is_cause = matches!(finding.verdict, Verdict::MainCause | Verdict::Contributes);
        let (colour, turn) = match finding.verdict {
            Verdict::MainCause | Verdict::Contributes => (Colour::Green, 0),
            Verdict::RuledOut => (Colour::Grey, 3),
            _ => (Colour::Orange, 2),
        };
        let given = match (&hypothesis.test, &finding.before) {
            (Test::Remove { given, .. }, Some(before)) => Some((given.to_string(), before.value)),
            _ => None,
        };
        let title = hypothesis.title.to(words.language).to_owned();
        Some(Row { title, given, left: finding.left.clone()?, look: Look { colour, turn }, is_cause })
    });
    base.into_iter().chain(removed).collect()
}

/// All that a row says, in a line.
fn heading(row: &Row, words: Words) -> String {
    let number = |value: f64| text::fixed(value, 2);
    let interval = row.left.interval.map(|(low, high)| {
        let interval = words.range(&number(low), &number(high));
        words.say("explained.bracketed", &[("interval", &interval)])
    });
    let name = match &row.given {
        Some((given, _)) => words.say("figure.left-given", &[("title", &row.title), ("given", given)]),
        None => row.title.clone(),
    };
    format!("{name} · {}{}", times(row, words), interval.unwrap_or_default())
}

/// The same where there is little room: what holds before and after has a line of its own, or it would be cut away.
fn short_heading(row: &Row, words: Words) -> String {
    let name = match &row.given {
        Some((given, _)) => format!("{}\n{given}", row.title),
        None => row.title.clone(),
    };
    format!("{name} · {}", times(row, words))
}

/// The slowdown with the cause removed, and before it where that is not as it is.
fn times(row: &Row, words: Words) -> String {
    let number = |value: f64| format!("{}×", text::fixed(value, 2));
    let left = number(row.left.value);
    match row.given {
        Some((_, before)) => words.say("figure.left-from", &[("before", &number(before)), ("left", &left)]),
        None => left,
    }
}

/// Reads straight down: an axis, the rules, then for each row its name, its interval and its point.
fn draw_one(rows: &[Row], size: Size, words: Words) -> Drawn<PictureView> {
    // What a row is to be compared with: the slowdown with its cause still there.
    let as_it_is = rows[0].left.value;
    let before = |row: &Row| row.given.as_ref().map_or(as_it_is, |(_, before)| *before);
    let values = rows.iter().flat_map(|row| [row.left.value, before(row)]).chain([1.0]);
    let (least, most) = extent(values).unwrap_or((1.0, 1.0));
    // An interval over few blocks may be wide beyond all use: what lies outside stands on the edge.
    let room = (most - least).max(0.05);
    let ends = rows.iter().filter_map(|row| row.left.interval).flat_map(|(low, high)| [low, high]);
    let (low, high) = extent(ends).unwrap_or((least, most));
    let (low, high) = (low.max(least - room).max(0.0), high.min(most + room));
    let x =
        Axis::exact(words.word("figure.left-axis"), low - 0.02 * room, high + 0.02 * room, size.pick(8, 5));
    let y = Axis::bare(rows.len());
    let has_given = rows.iter().any(|row| row.given.is_some());
    let points = if has_given { size.pick(bars::POINTS, bars::TALL_POINTS) } else { bars::POINTS };
    let height = points.height(rows.len());
    picture(size.width(), height, |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        let bottom = (height - bars::MARGINS.bottom) * UNITS_PER_PIXEL;
        plot.rule([(across(1.0), 0), (across(1.0), bottom)], Ink::of(Mark::Zero))?;
        for (index, row) in rows.iter().enumerate() {
            let left_of = rows.len() - index;
            let ends = [left_of, left_of - 1].map(|at| (across(before(row)), plot.place((0.0, at as f64)).1));
            plot.rule(ends, Ink::of(Mark::Margin))?;
            let whole = heading(row, words);
            let heading = size.pick(whole.clone(), short_heading(row, words));
            let place = points.headed(&plot, index, rows.len(), &heading)?;
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
