//! What a claim is about: for each of its arms the metric of every seed, their mean, and the number of the reference.

use plotters::element::Circle;

use crate::analyse::{ArmSummary, Summary, quantity};
use crate::experiment::claim::Claim;
use crate::experiment::metric::{Metric, Quantity, Scale};
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both, extent};
use crate::report::view::{FigureView, PictureView};
use crate::stats::Spread;
use crate::text;

const DOT_RADIUS: i32 = 34;
/// From here on a ratio is read on a logarithmic axis.
const WIDE: f64 = 8.0;

struct Row {
    name: String,
    look: Look,
    seeds: Vec<f64>,
    mean: Spread,
    theirs: Option<f64>,
}

/// A figure for each metric of the claim that at least two of its arms have; none for one that was measured of one alone.
pub fn draw(claim: &Claim, summary: &Summary, anchor: &str) -> Result<Vec<FigureView>, FigureError> {
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in claim.tests.iter().map(|test| test.metric) {
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    let figure = |(index, metric)| figure(metric, claim, summary, format!("{anchor}-arms-{index}"));
    metrics.into_iter().enumerate().filter_map(|numbered| figure(numbered).transpose()).collect()
}

fn figure(
    metric: Metric,
    claim: &Claim,
    summary: &Summary,
    id: String,
) -> Result<Option<FigureView>, FigureError> {
    let wanted: Vec<usize> =
        claim.arms().into_iter().map(|index| summary.arms[index].original(index)).collect();
    let is_wanted =
        |arm: &ArmSummary| wanted.iter().any(|&index| summary.arms[index].arm.levels == arm.arm.levels);
    let arms = Look::each(summary).filter(|(arm, _)| is_wanted(arm));
    let rows: Vec<Row> = arms.filter_map(|(arm, look)| row(metric, arm, look, summary)).collect();
    if rows.len() < 2 {
        return Ok(None);
    }
    let failed = |source| FigureError { figure: "by arm", source };
    let pictures = both(|size| draw_one(&rows, metric, size)).map_err(failed)?;
    let lines: Vec<String> = rows.iter().map(|row| heading(row, metric)).collect();
    let theirs = match summary.reference {
        Some(name) if rows.iter().any(|row| row.theirs.is_some()) => format!(" Tall upright: {name}."),
        _ => String::new(),
    };
    Ok(Some(FigureView {
        id,
        title: capital(&metric.to_string()),
        caption: format!("Dots: seeds. Short upright: their mean.{theirs}"),
        legend: Vec::new(),
        description: format!("{}.", lines.join("; ")),
        pictures: Some(pictures),
    }))
}

/// A sign such as ε stays as it is.
fn capital(name: &str) -> String {
    if name.starts_with(|first: char| first.is_ascii()) { text::capital(name) } else { name.to_owned() }
}

fn row(metric: Metric, arm: &ArmSummary, look: Look, summary: &Summary) -> Option<Row> {
    let is_timing = metric.quantity.facts().is_timing;
    let counted =
        arm.counted.iter().filter(|(run, _)| !is_timing || summary.timed.contains(&run.record.trial.seed));
    let values = counted.filter_map(|(run, measures)| quantity::value(metric, run, measures));
    let seeds: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let mean = Spread::of(&seeds)?;
    Some(Row { name: arm.name.clone(), look, seeds, mean, theirs: theirs(metric, arm) })
}

/// What the reference says of the arm, where it speaks of the same quantity at the same moment.
fn theirs(metric: Metric, arm: &ArmSummary) -> Option<f64> {
    let row = arm.reference.filter(|_| metric.at.is_none())?;
    match metric.quantity {
        Quantity::TrainAcc => row.train_acc,
        Quantity::ValAcc => row.val_acc,
        Quantity::TrainLoss => row.train_loss,
        Quantity::ValLoss => row.val_loss,
        _ => None,
    }
}

fn heading(row: &Row, metric: Metric) -> String {
    let facts = metric.quantity.facts();
    let unit = if facts.unit.is_empty() { String::new() } else { format!(" {}", facts.unit) };
    let places = facts.places;
    let theirs = row.theirs.map(|value| format!(" · theirs {}", text::fixed(value, places)));
    let mean = text::mean_sd(row.mean.mean, row.mean.sd, places);
    format!("{} · {mean}{unit}{}", row.name, theirs.unwrap_or_default())
}

fn axis(rows: &[Row], metric: Metric, size: Size) -> Axis {
    let facts = metric.quantity.facts();
    let title = if facts.unit.is_empty() {
        facts.label.to_owned()
    } else {
        format!("{} ({})", facts.label, facts.unit)
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
fn draw_one(rows: &[Row], metric: Metric, size: Size) -> Drawn<PictureView> {
    let (x, y) = (axis(rows, metric, size), Axis::bare(rows.len()));
    picture(size.width(), bars::height(rows.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        for (index, row) in rows.iter().enumerate() {
            let heading = heading(row, metric);
            let short = heading.split(" · theirs").next().unwrap_or_default();
            let heading = size.pick(heading.as_str(), short);
            let place = bars::Place::headed(&plot, index, rows.len(), heading)?;
            let upright = |value: f64, beyond: i32, ink: Ink| {
                let ends = [place.top - beyond, place.bottom + beyond].map(|at| (across(value), at));
                plot.rule(ends, ink)
            };
            for &seed in &row.seeds {
                let dot =
                    Circle::new((across(seed), place.middle()), DOT_RADIUS, row.look.ink(Mark::Bar).fill());
                sheet.draw(&dot)?;
            }
            upright(row.mean.mean, 0, row.look.ink(Mark::Line))?;
            if let Some(theirs) = row.theirs {
                upright(theirs, 4 * UNITS_PER_PIXEL, Ink::of(Mark::Reference))?;
            }
        }
        Ok(())
    })
}
