//! What a claim is about: for each of its arms the metric of every seed, their mean, and the number of the reference.

use std::collections::BTreeSet;

use plotters::element::Circle;

use crate::analyse::{ArmSummary, Summary, quantity};
use crate::experiment::claim::Claim;
use crate::experiment::metric::{Metric, Scale};
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both, capital, extent, thin};
use crate::report::provenance::distinct;
use crate::report::view::{FigureView, PictureView};
use crate::stats::Spread;
use crate::text;
use crate::words::Words;

const DOT_RADIUS: i32 = 34;
/// In a figure, at most: each is drawn twice and says its value.
const MOST_DOTS: usize = 300;
/// From here on a ratio is read on a logarithmic axis.
const WIDE: f64 = 8.0;

struct Row {
    name: String,
    look: Look,
    /// Those that are drawn.
    seeds: Vec<f64>,
    mean: Spread,
    theirs: Option<f64>,
}

/// A figure for each metric of the claim that at least two arms have: those that it is about, or all where that is one.
pub(crate) fn draw(
    claim: &Claim,
    summary: &Summary,
    anchor: &str,
    words: Words,
) -> Result<Vec<FigureView>, FigureError> {
    let metrics = distinct(claim.tests.iter().map(|test| test.metric));
    let figure = |(index, metric)| figure(metric, claim, summary, format!("{anchor}-arms-{index}"), words);
    metrics.into_iter().enumerate().filter_map(|numbered| figure(numbered).transpose()).collect()
}

fn figure(
    metric: Metric,
    claim: &Claim,
    summary: &Summary,
    id: String,
    words: Words,
) -> Result<Option<FigureView>, FigureError> {
    let mut wanted: BTreeSet<usize> =
        claim.arms().into_iter().map(|index| summary.arms[index].original(index)).collect();
    if wanted.len() == 1 {
        // What one arm is says most beside what the others are.
        wanted.clear();
    }
    let is_about = |arm: &ArmSummary| {
        wanted.is_empty() || wanted.iter().any(|&index| summary.arms[index].arm.levels == arm.arm.levels)
    };
    // Which arms these are the claim says, and not the order of the arms.
    let arms = Look::all(summary).filter(|(arm, _)| is_about(arm));
    let rows = arms.filter_map(|(arm, look)| row(metric, (arm, look), summary, words));
    let mut rows: Vec<Row> = rows.take(Look::MOST).collect();
    if rows.len() < 2 {
        return Ok(None);
    }
    let most = MOST_DOTS / rows.len();
    let is_thinned = rows.iter().any(|row| row.seeds.len() > most);
    rows.iter_mut().for_each(|row| row.seeds = thin::ranked(&row.seeds, most));
    let failed = |source| FigureError { figure: "by arm", source };
    let pictures = both(|size| draw_one(&rows, metric, size, words)).map_err(failed)?;
    let lines: Vec<String> = rows.iter().map(|row| heading(row, metric, true, words)).collect();
    let theirs = match summary.reference {
        Some(name) if rows.iter().any(|row| row.theirs.is_some()) => {
            words.say("figure.by-arm-theirs", &[("name", &name.to(words.language))])
        }
        _ => String::new(),
    };
    Ok(Some(FigureView {
        id,
        title: capital(&words.metric(metric)),
        caption: words.say("figure.by-arm", &[])
            + &theirs
            + if is_thinned { words.word("figure.dots-thinned") } else { "" },
        legend: Vec::new(),
        description: format!("{}.", lines.join("; ")),
        pictures: Some(pictures),
    }))
}

fn row(metric: Metric, (arm, look): (&ArmSummary, Look), summary: &Summary, words: Words) -> Option<Row> {
    let is_timing = metric.quantity.facts().is_timing;
    let counted =
        arm.counted.iter().filter(|(run, _)| !is_timing || summary.timed.contains(&run.record.trial.seed));
    let values = counted.filter_map(|(run, measures)| quantity::value(metric, run, measures));
    let seeds: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let mean = Spread::of(&seeds)?;
    // Another machine's time beside ours would compare machines.
    let theirs = arm.reported(metric).filter(|_| !metric.quantity.facts().is_timing);
    Some(Row { name: arm.name.to(words.language).to_owned(), look, seeds, mean, theirs })
}

/// The arm's name and mean; and the number of others, where there is room for it.
fn heading(row: &Row, metric: Metric, has_room: bool, words: Words) -> String {
    let facts = metric.quantity.facts();
    let unit = if facts.unit.is_empty() { String::new() } else { format!(" {}", words.unit(facts.unit)) };
    let places = facts.places;
    let theirs = row.theirs.filter(|_| has_room);
    let theirs = theirs.map(|value| words.say("figure.theirs", &[("value", &text::fixed(value, places))]));
    let mean = text::mean_sd(row.mean.mean, row.mean.sd, places);
    format!("{} · {mean}{unit}{}", row.name, theirs.unwrap_or_default())
}

fn with_unit(number: String, unit: &str) -> String {
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

fn axis(rows: &[Row], metric: Metric, size: Size, words: Words) -> Axis {
    let facts = metric.quantity.facts();
    let title = if facts.unit.is_empty() {
        words.label(metric).to_owned()
    } else {
        format!("{} ({})", words.label(metric), words.unit(facts.unit))
    };
    let values = rows.iter().flat_map(|row| row.seeds.iter().copied().chain(row.theirs));
    let (low, high) = extent(values).unwrap_or((0.0, 1.0));
    let ticks = size.pick(8, 4);
    if facts.scale == Scale::Ratio && low > 0.0 && high / low > WIDE {
        return Axis::log(&title, low * 0.9, high * 1.1, ticks);
    }
    let room = 0.06 * (high - low).max(0.01 * high.abs()).max(1e-9);
    Axis::exact(&title, low - room, high + room, ticks)
}

/// Reads straight down: an axis, then for each arm its name and mean, its seeds and the reference's stroke.
fn draw_one(rows: &[Row], metric: Metric, size: Size, words: Words) -> Drawn<PictureView> {
    let (x, y) = (axis(rows, metric, size, words), Axis::bare(rows.len()));
    let facts = metric.quantity.facts();
    picture(size.width(), bars::BARS.height(rows.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        for (index, row) in rows.iter().enumerate() {
            let named = heading(row, metric, size.pick(true, false), words);
            let place = bars::BARS.headed(&plot, index, rows.len(), &named)?;
            let upright = |value: f64, beyond: i32, ink: Ink| {
                let ends = [place.top - beyond, place.bottom + beyond].map(|at| (across(value), at));
                plot.rule(ends, ink)
            };
            for &seed in &row.seeds {
                let dot =
                    Circle::new((across(seed), place.middle()), DOT_RADIUS, row.look.ink(Mark::Bar).fill());
                sheet.draw(&dot)?;
                plot.value(&format!(
                    "{} · {}",
                    row.name,
                    with_unit(text::fixed(seed, facts.places), words.unit(facts.unit))
                ))?;
            }
            upright(row.mean.mean, 0, row.look.ink(Mark::Line))?;
            plot.value(&heading(row, metric, false, words))?;
            if let Some(theirs) = row.theirs {
                upright(theirs, 4 * UNITS_PER_PIXEL, Ink::of(Mark::Reference))?;
                plot.value(&with_unit(text::fixed(theirs, facts.places), words.unit(facts.unit)))?;
            }
        }
        Ok(())
    })
}
