//! The page that explains a slowdown: from an explanation to strings, and to HTML, text and JSON.
//!
//! Sentences stand in `templates/study.html` and `templates/study.txt`; what a hypothesis says, in the study's file.

#[cfg(test)]
pub mod tests;
mod wire;

use serde_json::{Value, json};
use tera::Context;

pub use wire::FORMAT;

use crate::analyse::study::{
    Arranged, CONTRIBUTES_SHARE, CurveFound, Demonstration, Explanation, Finding, LEAST_SLOWDOWN, Layout,
    MAIN_SHARE, NO_CAUSE_SHARE, Presence, Share, Verdict, gauge,
};
use crate::analyse::timing::{Estimate, LOOKS, Measured};
use crate::experiment::plan::PlanName;
use crate::experiment::study::{Hypothesis, Study, Test};
use crate::planted::{DELAY_NS_PER_IMAGE, Planted};
use crate::record::RunRecord;
use crate::report::cell::{NOTHING, figures};
use crate::report::figure::{FigureError, left, phases, study_curve};
use crate::report::results::table;
use crate::report::view::{CellView, RowView, TableView, VerdictView};
use crate::report::{File, PAGE, ReportError, provenance, templates};
use crate::text;

/// An explanation and where it comes from.
pub struct Input<'a> {
    pub study: &'a Study,
    pub layout: &'a Layout,
    pub measured: &'a Measured,
    pub explanation: &'a Explanation,
    /// `None` where no curve was measured.
    pub curve: Option<&'a CurveFound>,
    pub records: &'a [RunRecord],
    /// Measures all of it again.
    pub command: &'a str,
    /// Of the measurement.
    pub folder: &'a str,
    /// Whether an index lies beside the page's folder.
    pub has_index: bool,
}

/// Name of the page's folder: a demonstration must not take the place of an explanation that is meant, nor one plan that of
/// another.
pub fn folder_name(study: &Study, layout: &Layout) -> String {
    let plan = layout.base.name.to_string();
    let is_own = study.plan.name.unwrap_or(PlanName::Eager) == layout.base.name;
    let plan = if is_own { String::new() } else { format!("-{plan}") };
    let demonstration = match layout.demonstration {
        Some(Demonstration::Planted(planted)) => format!("-{planted}"),
        Some(Demonstration::Alike) => "-aa".to_owned(),
        None => String::new(),
    };
    format!("explain-{}{plan}{demonstration}", study.id)
}

/// The page and its downloads.
pub fn render(input: &Input) -> Result<Vec<File>, ReportError> {
    let (view, says) = (view(input)?, says(input)?);
    let mut files = vec![
        (wire::NAME, "everything the page says, for programs, JSON", wire::to_json(input, &says)),
        ("processes.csv", "what every process cost, by block and condition, CSV", wire::csv(input.measured)),
    ];
    let downloads = files.iter().map(
        |(name, about, text)| json!({ "name": name, "about": about, "size": text::bytes(text.len() as u64) }),
    );
    let mut context = Context::new();
    context.insert("downloads", &downloads.collect::<Vec<Value>>());
    context.insert("page", &view);
    context.insert("says", &says);
    context.insert("style", include_str!("../../templates/style.css"));
    files.insert(0, (PAGE, "", templates()?.render("study.html", &context)?));
    let file =
        |(name, _, text): (&str, &str, String)| File { name: name.to_owned(), bytes: text.into_bytes() };
    Ok(files.into_iter().map(file).collect())
}

/// What the page says first, sentence by sentence, as a terminal shows it too.
pub fn says(input: &Input) -> Result<Vec<String>, ReportError> {
    let mut context = Context::new();
    context.insert("page", &lead(input));
    let text = templates()?.render("study.txt", &context)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// What both templates know.
fn lead(input: &Input) -> Value {
    let Input { study, layout, explanation, .. } = input;
    let environment = input.records.first().map(|record| &record.environment);
    let mechanisms: Vec<Value> = explanation
        .mechanisms
        .iter()
        .map(|mechanism| {
            let titles = mechanism.members.iter().map(|index| study.hypotheses[*index].title.to_string());
            json!({
                "title": mechanism.title,
                "verdict": verdict_view(mechanism.verdict),
                "finding": finding(&explanation.findings[mechanism.members[0]]),
                "members": titles.filter(|title| *title != mechanism.title).collect::<Vec<_>>(),
            })
        })
        .collect();
    let largest = explanation.parts.iter().max_by(|a, b| a.more_us.value.total_cmp(&b.more_us.value));
    let largest = largest.filter(|_| explanation.presence == Presence::Found).map(|part| {
        json!({
            "name": phases::name(part.part),
            "us": text::signed(part.more_us.value, 1),
            "interval": part.more_us.interval.map(|(low, high)| range(low, high, 1)),
        })
    });
    json!({
        "title": study.title.to_string(),
        "demonstration": layout.demonstration.map(demonstration),
        "presence": explanation.presence.name(),
        "low": study.low.name.to_string(),
        "high": study.high.name.to_string(),
        "ratio": explanation.ratio.as_ref().map(times),
        "slowdown": explanation.slowdown.as_ref().map(times),
        "ideal": (study.ideal != 1.0).then(|| text::fixed(study.ideal, 2)),
        "source": study.source.as_ref().map(|source| {
            json!({ "ratio": text::fixed(source.ratio, 2), "text": source.text.to_string() })
        }),
        "machine": environment.map(|environment| {
            json!({ "cpu": environment.cpu.trim(), "cores": text::plural(environment.cores as usize, "core") })
        }),
        "plan": layout.base.to_string(),
        "threads": text::plural(layout.base.threads as usize, "thread"),
        "blocks": text::plural(explanation.blocks, "block"),
        "floor": explanation.floor.map(|floor| text::fixed(floor, 2)),
        "least": text::fixed(LEAST_SLOWDOWN, 2),
        "tested": explanation.tested,
        "mechanisms": mechanisms,
        "largest": largest,
    })
}

/// The rest of the page.
fn view(input: &Input) -> Result<Value, FigureError> {
    let Input { study, explanation, layout, .. } = input;
    let mut view = lead(input);
    let hypotheses = study.hypotheses.iter().enumerate().map(|(index, of)| hypothesis(input, index, of));
    let percent = |share: f64| text::fixed(share * 100.0, 0);
    let (processes, disturbed, repeated) = explanation.processes;
    let rest = json!({
        "why": study.why.to_string(),
        "has_index": input.has_index,
        "left": left::draw(study, explanation)?,
        "hypotheses": hypotheses.collect::<Vec<Value>>(),
        "advice": advice(input),
        "parts": parts(input),
        "curve": input.curve.map(|curve| curve_view(input, curve)).transpose()?,
        "asks_curve": study.curve.is_some() && layout.demonstration.is_none(),
        "limits": study.limits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "shares": {
            "main": percent(MAIN_SHARE), "contributes": percent(CONTRIBUTES_SHARE), "none": percent(NO_CAUSE_SHARE),
        },
        "level": text::fixed((1.0 - explanation.alpha) * 100.0, 1),
        "looks": LOOKS.map(|look| look.blocks.to_string()).join(", "),
        "processes": processes,
        "disturbed": disturbed,
        "repeated": repeated,
        "command": input.command,
        "folder": input.folder,
        "environment": provenance::environment(&input.records.iter().collect::<Vec<_>>()),
    });
    if let (Some(view), Value::Object(rest)) = (view.as_object_mut(), rest) {
        view.extend(rest);
    }
    Ok(view)
}

/// `1.69× (1.45 to 1.98)` in its parts.
fn times(estimate: &Estimate) -> Value {
    json!({
        "value": text::fixed(estimate.value, 2),
        "interval": estimate.interval.map(|(low, high)| range(low, high, 2)),
    })
}

fn range(low: f64, high: f64, places: usize) -> String {
    format!("{} to {}", text::fixed(low, places), text::fixed(high, places))
}

/// `99 % (86 to 110)` in its parts.
fn share_view(share: &Share) -> Value {
    // Adding 0 makes −0, which nobody wants to read, 0.
    let percent = |value: f64| (value * 100.0).round() + 0.0;
    json!({
        "value": text::fixed(percent(share.value), 0),
        "interval": share.interval.map(|(low, high)| range(percent(low), percent(high), 0)),
        "most": share.interval.map(|(_, high)| text::fixed(percent(high), 0)),
        "is_more_than_all": share.value > 1.0,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "share": finding.share.as_ref().map(share_view),
        "left": finding.left.as_ref().map(times),
        "is_dearer": finding.is_dearer,
        "blocks": text::plural(finding.blocks, "block"),
    })
}

fn demonstration(demonstration: Demonstration) -> Value {
    match demonstration {
        Demonstration::Alike => json!({ "kind": "aa" }),
        Demonstration::Planted(planted) => json!({
            "kind": "planted",
            "fault": planted.name(),
            "part": planted.phase().map(|phase| phases::name(phase as usize)),
            "wait": match planted {
                Planted::SlowStep => "a fifth of its time so far".to_owned(),
                Planted::SlowStepSlightly => "3 % of its time so far".to_owned(),
                _ => format!("{} µs an image", text::fixed(DELAY_NS_PER_IMAGE as f64 / 1e3, 0)),
            },
        }),
    }
}

fn hypothesis(input: &Input, index: usize, hypothesis: &Hypothesis) -> Value {
    let Input { study, layout, explanation, .. } = input;
    let of = &explanation.findings[index];
    let (given, removal) = match &hypothesis.test {
        Test::Remove { given, remove } => (given.to_string(), remove.to_string()),
        _ => Default::default(),
    };
    let phases: Vec<&str> = match &hypothesis.test {
        Test::Phases(phases) => phases.iter().map(|phase| phases::name(*phase as usize)).collect(),
        _ => Vec::new(),
    };
    let not_testable = match &hypothesis.test {
        Test::NotTestable(it) => {
            Some(json!({ "why": it.why.to_string(), "what_would": it.what_would.to_string() }))
        }
        _ => None,
    };
    let same_as = match layout.tests[index] {
        Arranged::SameAs(other) => Some(study.hypotheses[other].title.to_string()),
        _ => None,
    };
    json!({
        "anchor": format!("hypothesis-{}", hypothesis.id),
        "title": hypothesis.title.to_string(),
        "origin": hypothesis.origin.to_string(),
        "says": hypothesis.says.to_string(),
        "predicts": hypothesis.predicts.to_string(),
        "verdict": verdict_view(of.verdict),
        "given": given,
        "removal": removal,
        "phases": phases.join(" and "),
        "finding": finding(of),
        "not_testable": not_testable,
        "same_as": same_as,
        "readings": (!of.readings.is_empty()).then(|| readings(input, of)),
    })
}

/// Word and sign carry the verdict, and the colour once more.
fn verdict_view(verdict: Verdict) -> VerdictView {
    let (sign, class) = match verdict {
        Verdict::MainCause | Verdict::Contributes => ("✓", "supported"),
        Verdict::RuledOut => ("✗", "refuted"),
        Verdict::Open => ("?", "inconclusive"),
        Verdict::Restates => ("=", "not-evaluated"),
        _ => ("–", "not-evaluated"),
    };
    VerdictView { word: verdict.to_string(), sign: sign.to_owned(), class: class.to_owned() }
}

fn row(name: impl Into<String>, cells: Vec<CellView>) -> RowView {
    RowView {
        class: String::new(),
        swatch: None,
        name: name.into(),
        kind: String::new(),
        starts_group: true,
        cells,
    }
}

fn readings(input: &Input, finding: &Finding) -> TableView {
    let rows = finding.readings.iter().map(|reading| {
        let (name, unit, places) = gauge::about(reading.gauge);
        let number = |value: f64| match places {
            0 if value >= 0.0 => text::count(value.round() as u64),
            places => text::fixed(value, places),
        };
        let cells = [reading.low, reading.high, reading.removed];
        let name = if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") };
        row(name, cells.map(|value| CellView::optional(value, number)).to_vec())
    });
    let (low, high) = (input.study.low.name.to_string(), input.study.high.name.to_string());
    let removed = format!("{high}, removed");
    let columns = [(low.as_str(), ""), (high.as_str(), ""), (removed.as_str(), "")];
    table(String::new(), "mean over blocks", &columns, rows.collect())
}

fn parts(input: &Input) -> TableView {
    let Input { study, explanation, .. } = input;
    let whole: f64 = explanation.parts.iter().map(|part| part.more_us.value).sum();
    let rows = explanation.parts.iter().map(|part| {
        let more = &part.more_us;
        let interval = more.interval.map(|(low, high)| range(low, high, 1)).unwrap_or_default();
        let of_whole = match explanation.presence {
            Presence::Found => text::fixed((more.value / whole * 100.0).round() + 0.0, 0),
            _ => NOTHING.to_owned(),
        };
        let cells = vec![
            CellView::number(text::fixed(part.low_us, 1)),
            CellView::number(text::fixed(part.high_us, 1)),
            CellView::number(text::signed(more.value, 1)).with_note(interval),
            CellView::number(of_whole),
        ];
        row(phases::name(part.part), cells)
    });
    let (low, high) = (study.low.name.to_string(), study.high.name.to_string());
    let more =
        if study.ideal == 1.0 { "µs more".to_owned() } else { format!("µs above {}×", study.ideal) };
    let columns =
        [(low.as_str(), "µs an image"), (high.as_str(), "µs an image"), (more.as_str(), ""), ("of all", "%")];
    table(String::new(), "part of the step", &columns, rows.collect())
}

/// Only what was found to help, and by how much: the interval of the gain lies above what two names of one thing differ by.
fn advice(input: &Input) -> Vec<Value> {
    let Input { study, layout, explanation, .. } = input;
    if layout.demonstration.is_some() {
        return Vec::new();
    }
    let least = explanation.floor.unwrap_or(f64::INFINITY).max(1.0);
    let helps = study.hypotheses.iter().zip(&explanation.findings).filter_map(|(hypothesis, finding)| {
        let gain = finding.gain.as_ref().filter(|gain| gain.is_above(1.0) && gain.value > least)?;
        Some(json!({ "text": hypothesis.advice.as_ref()?.to_string(), "gain": times(gain) }))
    });
    helps.collect()
}

fn curve_view(input: &Input, curve: &CurveFound) -> Result<Value, FigureError> {
    let Input { study, explanation, .. } = input;
    let key = study.curve.as_ref().map(|curve| curve.key.as_str()).unwrap_or_default();
    let removal = explanation.removal(study).map(|change| change.to_string()).unwrap_or_default();
    let rows = curve.points.iter().map(|point| {
        let number = |cost: &Option<_>, of: fn(&crate::analyse::timing::Cost) -> Option<f64>| {
            CellView::optional(cost.as_ref().and_then(of), figures)
        };
        let cells = [&point.base, &point.removed].map(|cost| {
            [
                number(cost, |cost| Some(cost.us_per_image)),
                number(cost, |cost| Some(cost.faults_per_step)),
                number(cost, |cost| cost.system_share.map(|share| share * 100.0)),
            ]
        });
        row(&point.value, cells.concat())
    });
    let columns = [
        ("time", "µs an image"),
        ("page faults", "a step"),
        ("kernel", "% of CPU time"),
        ("removed: time", "µs an image"),
        ("page faults", "a step"),
        ("kernel", "% of CPU time"),
    ];
    let rise = curve.rise.as_ref().map(|rise| {
        json!({
            "from": rise.from, "to": rise.to,
            "base": text::fixed(rise.base, 2), "removed": text::fixed(rise.removed, 2),
            "is_explained": rise.removed < LEAST_SLOWDOWN.max(explanation.floor.unwrap_or(1.0)),
        })
    });
    Ok(json!({
        "key": key,
        "removal": removal,
        "figure": study_curve::draw(curve, key, &removal)?,
        "table": table(String::new(), key, &columns, rows.collect()),
        "rise": rise,
        "says": study.curve.as_ref().and_then(|curve| curve.says.as_ref()).map(ToString::to_string),
    }))
}
