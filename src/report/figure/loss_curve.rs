//! The loss of every training step, raw and smoothed, over steps or over images seen.

use plotters::style::text_anchor::{HPos, VPos};

use crate::analyse::{ArmSummary, Summary};
use crate::record::{LoadedRun, Status};
use crate::report::figure::axis::Axis;
use crate::report::figure::label::{self, EndLabel};
use crate::report::figure::plot::{Drawn, Margins, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::width;
use crate::report::figure::{FigureError, Series, both, describe, extent, legend, thin};
use crate::report::results::status_word;
use crate::report::view::{FigureView, PictureView};
use crate::row::StepRow;
use crate::words::Words;
use crate::{stats, text};

/// Part of a run that the smoothed curve averages over: the same number of images in every arm.
const SMOOTHED_SHARE: f64 = 0.02;

/// Raw values below this share of the lowest smoothed one stand on the edge: single batches that happen to be easy
/// would otherwise stretch a logarithmic axis over decades that say nothing.
const LOWEST_SHARE: f64 = 0.2;

/// Stretches of a curve that are told apart, about two pixels each, in the wide and the narrow layout.
const STRETCHES: [usize; 2] = [320, 160];

/// Names of arms that end early, one below the other in the room above the curves.
const MOST_EARLY_NAMES: usize = 3;

/// Places along a curve where its value is said under the pointer; between them the eye does as well.
const PROBES: usize = 9;

/// What training is measured along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Along {
    /// Optimizer steps: how far so many updates bring.
    Steps,
    /// Images seen: arms of different batch size side by side.
    Images,
}

/// One arm as it is drawn.
struct Curve {
    raw: Vec<(f64, f64)>,
    smooth: Series,
    label: String,
}

pub(crate) fn draw(summary: &Summary, along: Along, words: Words) -> Result<FigureView, FigureError> {
    let [id, title, axis] = along.keys();
    let curves: Vec<Curve> =
        Look::each(summary).filter_map(|(arm, look)| Curve::of(arm, look, along, words)).collect();
    let smooth: Vec<Series> = curves.iter().map(|curve| curve.smooth.clone()).collect();
    let scales = Scales::of(&curves);
    let pictures = scales.as_ref().map(|scales| both(|size| draw_one(&curves, scales, (along, words), size)));
    let failed = |source| FigureError { figure: id, source };
    Ok(FigureView {
        id: id.to_owned(),
        title: words.word(title).to_owned(),
        caption: caption(&curves, scales.as_ref(), summary, along, words),
        legend: legend(&smooth).map_err(failed)?,
        description: describe(
            words.word(axis),
            words.word("figure.training-loss-smoothed"),
            &smooth,
            &|loss| text::fixed(loss, 4),
            words,
        ),
        pictures: pictures.transpose().map_err(failed)?,
    })
}

impl Along {
    /// Its id, and the keys of its title and of the axis it is about.
    fn keys(self) -> [&'static str; 3] {
        match self {
            Self::Steps => ["loss-by-step", "figure.by-step", "figure.steps-axis"],
            Self::Images => ["loss-by-image", "figure.by-image", "figure.images-axis"],
        }
    }

    /// `235 steps`.
    fn count(self, reached: f64, words: Words) -> String {
        let unit = match self {
            Self::Steps => "word.step-count",
            Self::Images => "word.image-count",
        };
        words.count(unit, reached as usize, &[])
    }

    /// How far along each step's end is.
    fn places(self, steps: &[StepRow]) -> Vec<f64> {
        let mut sum = 0.0;
        let advance = |step: &StepRow| {
            sum += match self {
                Self::Steps => 1.0,
                Self::Images => f64::from(step.images),
            };
            sum
        };
        steps.iter().map(advance).collect()
    }
}

impl Curve {
    /// Of the runs that count, or else of one that did not finish: where it went before is worth seeing.
    fn of(arm: &ArmSummary, look: Look, along: Along, words: Words) -> Option<Self> {
        let counted: Vec<&LoadedRun> = arm.counted.iter().map(|(run, _)| *run).collect();
        let unfinished = || {
            let runs = arm.runs.iter().filter(|run| run.record.status != Status::Finished);
            runs.max_by_key(|run| run.steps.len()).copied()
        };
        let runs = if counted.is_empty() { Vec::from_iter(unfinished()) } else { counted };
        let first = runs.first()?;
        let name = match &first.record.status {
            Status::Finished => arm.name.to(words.language).to_owned(),
            status => words.say(
                "figure.unfinished",
                &[("arm", &arm.name.to(words.language)), ("status", &status_word(status, words))],
            ),
        };
        let smoothed: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| smooth(&run.steps, along)).collect();
        let points = mean_curve(&smoothed);
        let raw = finite(&first.steps, along);
        (!points.is_empty()).then(|| Self {
            raw,
            smooth: Series { name, look, points },
            label: arm.arm.shown.to(words.language).to_owned(),
        })
    }

    /// Whether it ends inside the picture rather than at its right edge.
    fn ends_early(&self, most: f64) -> bool {
        self.smooth.points.last().is_some_and(|end| end.0 < 0.98 * most)
    }
}

fn finite(steps: &[StepRow], along: Along) -> Vec<(f64, f64)> {
    let points = along.places(steps).into_iter().zip(steps.iter().map(|step| step.loss));
    points.filter(|point| point.1.is_finite()).collect()
}

fn smooth(steps: &[StepRow], along: Along) -> Vec<(f64, f64)> {
    let points = finite(steps, along);
    let losses: Vec<f64> = points.iter().map(|point| point.1).collect();
    let average = stats::moving_average(&losses, losses.len() as f64 * SMOOTHED_SHARE);
    points.iter().map(|point| point.0).zip(average).collect()
}

/// The mean of curves that stand at the same places, as far as all of them reach.
fn mean_curve(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let reach = curves.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |index: usize| curves.iter().map(|curve| curve[index].1).sum::<f64>() / curves.len() as f64;
    (0..reach).map(|index| (curves[0][index].0, mean(index))).collect()
}

/// The range of both axes.
struct Scales {
    most: f64,
    low: f64,
    high: f64,
    /// Least raw value.
    least: f64,
}

impl Scales {
    /// `None` when there is no loss above 0 to draw.
    fn of(curves: &[Curve]) -> Option<Self> {
        let ends = curves.iter().filter_map(|curve| curve.smooth.points.last()).map(|point| point.0);
        let (_, most) = extent(ends)?;
        let positive = |value: &f64| *value > 0.0;
        let smooth = curves.iter().flat_map(|curve| &curve.smooth.points).map(|point| point.1);
        let (low, smooth_high) = extent(smooth.filter(positive))?;
        let raw = || curves.iter().flat_map(|curve| &curve.raw).map(|point| point.1);
        let (least, raw_high) = extent(raw())?;
        // A little room below, or the lowest curve lies on the axis.
        let low = least.max(low * LOWEST_SHARE) * 0.95;
        // Room above for the names of arms that end early.
        let room = if curves.iter().any(|curve| curve.ends_early(most)) { 1.5 } else { 1.05 };
        Some(Self { most, low, high: raw_high.max(smooth_high) * room, least })
    }
}

/// Reads straight down: axes, then from the faintest to the boldest, so that means lie on top.
fn draw_one(
    curves: &[Curve],
    scales: &Scales,
    (along, words): (Along, Words),
    size: Size,
) -> Drawn<PictureView> {
    let x = Axis::exact(words.word(along.keys()[2]), 0.0, scales.most, size.pick(7, 5));
    let y = Axis::log(words.word("figure.training-loss"), scales.low, scales.high, size.pick(8, 6));
    let right = label::room(curves.iter().map(|curve| curve.label.as_str()), size);
    let left = y.ticks.iter().map(|tick| width::width(&tick.label)).max().unwrap_or(0) + 12;
    let margins = Margins { top: 26, right, bottom: 44, left };
    picture(size.width(), size.pick(400, 320), |sheet| {
        let mut plot = Plot::new(sheet, &x, &y, margins)?;
        for curve in curves {
            let raw = thin::extremes(&curve.raw, size.pick(STRETCHES[0], STRETCHES[1]));
            plot.line(&raw, curve.smooth.look.ink(Mark::Raw))?;
        }
        for curve in curves {
            let points = thin::evenly(&curve.smooth.points, size.pick(STRETCHES[0], STRETCHES[1]));
            plot.line(&points, curve.smooth.look.ink(Mark::Line))?;
        }
        let ends = |curve: &Curve| curve.smooth.points.last().copied();
        for (curve, end) in curves.iter().filter_map(|curve| ends(curve).map(|end| (curve, end))) {
            let said = |(at, loss): (f64, f64)| {
                format!("{} · {} · {}", curve.label, along.count(at, words), text::fixed(loss, 4))
            };
            for point in thin::evenly(&curve.smooth.points, PROBES) {
                plot.probe(point)?;
                plot.value(&said(point))?;
            }
            plot.marker(end, curve.smooth.look)?;
            plot.value(&said(end))?;
        }
        let (last, mut early): (Vec<_>, Vec<_>) = curves
            .iter()
            .filter_map(|curve| ends(curve).map(|end| (curve, end)))
            .partition(|(curve, _)| !curve.ends_early(scales.most));
        // The first to end is named on top: its name may reach past the others' rules, which stop below it.
        early.sort_by(|left, right| left.1.0.total_cmp(&right.1.0));
        // More names than these would come down into the curves; the legend has them all.
        early.truncate(MOST_EARLY_NAMES);
        for (row, (curve, end)) in early.into_iter().enumerate() {
            draw_early_end(&plot, curve, end, row, &along.count(end.0, words))?;
        }
        let labels = last.into_iter().map(|(curve, end)| EndLabel {
            text: curve.label.clone(),
            look: curve.smooth.look,
            end,
        });
        label::draw(&plot, &labels.collect::<Vec<_>>())
    })
}

/// Names an arm that ends inside the picture above its end, where no curve is any more, or to the left of it where that
/// would reach the names beside the right edge.
fn draw_early_end(plot: &Plot, curve: &Curve, end: (f64, f64), row: usize, reached: &str) -> Drawn {
    let (x, y) = plot.place(end);
    let (right, edge) = plot.place((f64::INFINITY, f64::INFINITY));
    let left = plot.place((f64::NEG_INFINITY, f64::INFINITY)).0;
    let top = edge + (8 + 15 * row as i32) * UNITS_PER_PIXEL;
    plot.rule([(x, y - 7 * UNITS_PER_PIXEL), (x, top - 5 * UNITS_PER_PIXEL)], Ink::of(Mark::Leader))?;
    let count = format!(": {reached}");
    let wanted = width::width(&curve.label) + width::width(&count);
    let room = |side: i32| side / UNITS_PER_PIXEL - 5;
    let is_beside = room(right - x) >= wanted || right - x >= x - left;
    let room = if is_beside { room(right - x) } else { room(x - left) };
    let text = format!("{}{count}", width::shortened(&curve.label, room - width::width(&count)));
    let (step, anchor) = if is_beside { (5, HPos::Left) } else { (-5, HPos::Right) };
    let at = (x + step * UNITS_PER_PIXEL, top);
    plot.inked_text(at, curve.smooth.look.ink(Mark::EndLabel), anchor, VPos::Center, &text)
}

fn caption(
    curves: &[Curve],
    scales: Option<&Scales>,
    summary: &Summary,
    along: Along,
    words: Words,
) -> String {
    let seeds = summary.arms.iter().map(|arm| arm.counted.len()).max().unwrap_or(0);
    let Some(scales) = scales else {
        return words.say(if seeds == 0 { "figure.no-step" } else { "figure.no-rows" }, &[]);
    };
    let mean = words.word(if seeds > 1 { "figure.smoothed-seeds" } else { "figure.smoothed-seed" });
    let axis = words.word(match along {
        Along::Steps => "figure.log-losses",
        Along::Images => "figure.same-images",
    });
    let mut caption = words.say("figure.batches", &[("mean", &mean), ("axis", &axis)]);
    if scales.least < scales.low {
        let low = text::fixed(scales.low, 3);
        caption.push_str(&words.say("figure.lower-edge", &[("low", &low)]));
    }
    if curves.iter().any(|curve| curve.raw.len() > 2 * STRETCHES[1]) {
        caption.push_str(words.word("figure.stretches"));
    }
    caption
}
