//! The page that explains a slowdown: from an explanation to strings, and to HTML, text and JSON.
//!
//! Sentences stand in `templates/text`; what a hypothesis says, in the study's file.

mod says;
#[cfg(test)]
pub mod tests;
pub(in crate::report) mod wire;

use serde::Serialize;
use serde_json::{Value, json};

pub use says::says;

use crate::analyse::study::{
    Arranged, CONTRIBUTES_SHARE, CurveFound, Demonstration, Explanation, Finding, Layout, MAIN_SHARE,
    MechanismFound, NO_CAUSE_SHARE, Part, Presence, Share, Verdict, gauge,
};
use crate::analyse::timing::{Estimate, LOOKS, Measured};
use crate::experiment::plan::PlanName;
use crate::experiment::study::{Hypothesis, Study, Test};
use crate::language::{Language, Localised};
use crate::record::RunRecord;
use crate::report::cell::{NOTHING, figures};
use crate::report::figure::{FigureError, left, phases, study_curve};
use crate::report::kept::explanation;
use crate::report::results::table;
use crate::report::view::{CellView, RowView, TableView, VerdictView};
use crate::report::{
    Download, File, PAGE, ReportError, context, page, provenance, templates, with_downloads,
};
use crate::text;
use crate::words::Words;

/// An explanation and where it comes from.
pub struct Input {
    pub study: Study,
    pub layout: Layout,
    pub measured: Measured,
    pub explanation: Explanation,
    /// `None` where no curve was measured.
    pub curve: Option<CurveFound>,
    pub records: Vec<RunRecord>,
    /// Measures all of it again.
    pub command: String,
    /// Of the measurement.
    pub folder: String,
    /// Whether an index lies beside the page's folder.
    pub has_index: bool,
    /// The page is made in each of these.
    pub languages: Vec<Language>,
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

/// The pages, one a language, and their downloads.
pub fn render(input: &Input) -> Result<Vec<File>, ReportError> {
    let says = Language::ALL.map(|language| says::says_in(input, Words::of(language)));
    let data = [
        (wire::NAME, "download.explanation", wire::to_json(input, &says)),
        ("processes.csv", "download.processes", wire::csv(&input.measured)),
    ];
    let data = data.map(|(name, about, text)| Download::of(name, about, text.into_bytes()));
    let downloads = explanation::downloads(input, &data)?;
    let mut pages = Vec::new();
    let all = Language::ALL.into_iter().zip(&says);
    for (language, says) in all.filter(|(language, _)| input.languages.contains(language)) {
        let words = Words::of(language);
        let mut context = context(PAGE, language, &input.languages);
        let offered: Vec<_> = downloads.iter().map(|one| page::download(one, words)).collect();
        context.insert("downloads", &offered);
        context.insert("page", &view(input, words)?);
        context.insert("says", says);
        let page = templates(words)?.render("study.html", &context)?;
        pages.push(File { name: language.file(PAGE), bytes: page.into_bytes() });
    }
    Ok(with_downloads(pages, downloads))
}

/// What the two levels are called.
fn level_names(input: &Input, words: Words) -> (&str, &str) {
    (input.study.low.name.to(words.language), input.study.high.name.to(words.language))
}

fn view(input: &Input, words: Words) -> Result<Value, FigureError> {
    let Input { study, explanation, layout, .. } = input;
    let to = |text: &Localised| text.to(words.language).to_owned();
    let (low, high) = level_names(input, words);
    let hypotheses = study.hypotheses.iter().enumerate();
    let hypotheses = hypotheses.map(|(index, of)| hypothesis(input, index, of, words));
    let percent = |share: f64| text::fixed(share * 100.0, 0);
    let floor = explanation.floor.map(|floor| text::fixed(floor, 2));
    let floor = floor.map(|floor| words.say("explained.floor-found", &[("floor", &floor)]));
    let (processes, disturbed, repeated) = explanation.processes;
    let left_out = explanation.left_out;
    let left_out = (left_out > 0).then(|| words.count("explained.left-out", left_out, &[]));
    Ok(json!({
        "title": to(&study.title),
        "is_demonstration": layout.demonstration.is_some(),
        "low": low,
        "high": high,
        "blocks": words.count("word.block", explanation.blocks, &[]),
        "floor": floor.unwrap_or_default(),
        "tested": explanation.tested,
        "mechanisms": mechanisms(input, words),
        "is_any_dearer": explanation.mechanisms.iter().any(|of| is_told_dearer(&explanation.findings[of.members[0]])),
        "why": to(&study.why),
        "has_index": input.has_index,
        "left": left::draw(study, explanation, words)?,
        "hypotheses": hypotheses.collect::<Vec<Value>>(),
        "advice": advice(input, words),
        "parts": parts(input, words),
        "curve": input.curve.as_ref().map(|curve| curve_view(input, curve, words)).transpose()?,
        "asks_curve": study.curve.is_some() && layout.demonstration.is_none(),
        "limits": study.limits.iter().map(to).collect::<Vec<_>>(),
        "shares": {
            "main": percent(MAIN_SHARE), "contributes": percent(CONTRIBUTES_SHARE), "none": percent(NO_CAUSE_SHARE),
        },
        "level": text::fixed((1.0 - explanation.alpha) * 100.0, 1),
        "looks": LOOKS.map(|look| look.blocks.to_string()).join(", "),
        "processes": processes,
        "disturbed": disturbed,
        "repeated": repeated,
        "left_out": left_out,
        "command": input.command,
        "environment": provenance::environment(&input.records.iter().collect::<Vec<_>>(), words),
    }))
}

fn mechanisms(input: &Input, words: Words) -> Vec<Value> {
    let Input { study, explanation, .. } = input;
    let view = |mechanism: &MechanismFound| {
        let titles = mechanism.members.iter().map(|index| &study.hypotheses[*index].title);
        let others = titles.filter(|title| **title != mechanism.title);
        json!({
            "title": mechanism.title.to(words.language),
            "verdict": verdict_view(mechanism.verdict, words),
            "finding": finding(input, mechanism.members[0], words),
            "members": others.map(|title| title.to(words.language)).collect::<Vec<_>>(),
        })
    };
    explanation.mechanisms.iter().map(view).collect()
}

/// `1.69× (1.45 to 1.98)` in its parts.
fn times(estimate: &Estimate, words: Words) -> Value {
    json!({
        "value": text::fixed(estimate.value, 2),
        "interval": estimate.interval.map(|(low, high)| range(low, high, 2, words)),
        "bracketed": times_interval(estimate, words),
    })
}

fn times_interval(estimate: &Estimate, words: Words) -> String {
    estimate.interval.map(|(low, high)| bracketed(low, high, 2, words)).unwrap_or_default()
}

fn range(low: f64, high: f64, places: usize, words: Words) -> String {
    words.range(&text::fixed(low, places), &text::fixed(high, places))
}

fn bracketed(low: f64, high: f64, places: usize, words: Words) -> String {
    words.say("explained.bracketed", &[("interval", &range(low, high, places, words))])
}

/// A share in percent, in its parts.
#[derive(Serialize, Default)]
struct ShareView {
    /// Whether it has an interval; the value says that there is no information where it has none.
    is_known: bool,
    value: String,
    interval: Option<String>,
    bracketed: String,
    most: Option<String>,
}

/// `99 % (86 to 110)` in its parts.
fn share_view(share: &Share, words: Words) -> ShareView {
    // Adding 0 makes −0, which nobody wants to read, 0.
    let percent = |value: f64| (value * 100.0).round() + 0.0;
    let Some((low, high)) = share.interval else {
        let value = words.word("evidence.uninformative").to_owned();
        return ShareView { value, ..ShareView::default() };
    };
    let (low, high) = (percent(low), percent(high));
    ShareView {
        is_known: true,
        value: text::fixed(percent(share.value), 0),
        interval: Some(range(low, high, 0, words)),
        bracketed: bracketed(low, high, 0, words),
        most: Some(text::fixed(high, 0)),
    }
}

fn finding(input: &Input, index: usize, words: Words) -> Value {
    let (finding, given) = (&input.explanation.findings[index], removal(&input.study.hypotheses[index]).0);
    let left = finding.left.as_ref();
    json!({
        "is_more_than_all": is_more_than_all(finding),
        "share": finding.share.as_ref().map(|share| share_view(share, words)),
        "given": given,
        "before": finding.before.as_ref().map(|before| times(before, words)),
        "left": left.map(|left| times(left, words)),
        "is_dearer": is_told_dearer(finding),
        "blocks": words.count("word.block", finding.blocks, &[]),
    })
}

/// Said only where all of what is left lies below no slowdown, and where it is the removal that turned the slowdown over and
/// not what holds on both sides of it.
fn is_more_than_all(finding: &Finding) -> bool {
    let is_below_none = finding.left.as_ref().is_some_and(|left| left.is_below(1.0));
    let is_above_all = finding.share.is_some_and(|share| share.interval.is_some() && share.value > 1.0);
    finding.before.is_none() && is_above_all && is_below_none
}

/// Of a share without an interval there is no low end to speak of.
fn is_told_dearer(finding: &Finding) -> bool {
    finding.is_dearer && finding.share.is_some_and(|share| share.interval.is_some())
}

/// What holds with and without the cause, and what removes it; both empty where nothing does.
fn removal(hypothesis: &Hypothesis) -> (String, String) {
    match &hypothesis.test {
        Test::Remove { given, remove } => (given.to_string(), remove.to_string()),
        _ => Default::default(),
    }
}

fn hypothesis(input: &Input, index: usize, hypothesis: &Hypothesis, words: Words) -> Value {
    let to = |text: &Localised| text.to(words.language).to_owned();
    let Input { study, layout, explanation, .. } = input;
    let of = &explanation.findings[index];
    let (given, removal) = removal(hypothesis);
    let phases: Vec<String> = match &hypothesis.test {
        Test::Phases(phases) => {
            phases.iter().map(|phase| words.say(phases::key(*phase as usize), &[])).collect()
        }
        _ => Vec::new(),
    };
    let not_testable = match &hypothesis.test {
        Test::NotTestable(it) => Some(json!({ "why": to(&it.why), "what_would": to(&it.what_would) })),
        _ => None,
    };
    let same_as = match layout.tests[index] {
        Arranged::SameAs(other) => Some(to(&study.hypotheses[other].title)),
        _ => None,
    };
    json!({
        "anchor": format!("hypothesis-{}", hypothesis.id),
        "title": to(&hypothesis.title),
        "origin": to(&hypothesis.origin),
        "says": to(&hypothesis.says),
        "predicts": to(&hypothesis.predicts),
        "verdict": verdict_view(of.verdict, words),
        "given": given,
        "removal": removal,
        "phases": words.list(&phases),
        "finding": finding(input, index, words),
        "not_testable": not_testable,
        "same_as": same_as,
        "readings": (!of.readings.is_empty()).then(|| readings(input, of, words)),
    })
}

/// Word and sign carry the verdict, and the colour once more.
fn verdict_view(verdict: Verdict, words: Words) -> VerdictView {
    let (sign, class) = match verdict {
        Verdict::MainCause | Verdict::Contributes => ("✓", "supported"),
        Verdict::RuledOut => ("✗", "refuted"),
        Verdict::Open => ("?", "inconclusive"),
        Verdict::Restates => ("=", "not-evaluated"),
        _ => ("–", "not-evaluated"),
    };
    VerdictView {
        word: words.word(verdict_key(verdict)).to_owned(),
        sign: sign.to_owned(),
        class: class.to_owned(),
    }
}

fn verdict_key(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NothingToExplain => "cause.nothing-to-explain",
        Verdict::NotTestable => "cause.not-testable",
        Verdict::AlreadySo => "cause.already-so",
        Verdict::SameAs => "cause.same-as",
        Verdict::NotMeasured => "cause.not-measured",
        Verdict::Restates => "cause.restates",
        Verdict::RuledOut => "cause.ruled-out",
        Verdict::Open => "cause.open",
        Verdict::Contributes => "cause.contributes",
        Verdict::MainCause => "cause.main-cause",
    }
}

fn readings(input: &Input, finding: &Finding, words: Words) -> TableView {
    let rows = finding.readings.iter().map(|reading| {
        let (name, unit, places) = gauge::about(reading.gauge);
        let (name, unit) = (words.word(name), words.word_or(unit));
        let number = |value: f64| match places {
            0 if value >= 0.0 => text::count(value.round() as u64),
            places => text::fixed(value, places),
        };
        let cells = [reading.low, reading.high, reading.removed];
        let name = if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") };
        RowView::alone(name, cells.map(|value| CellView::optional(value, number)).to_vec())
    });
    let (low, high) = level_names(input, words);
    let removed = words.say("explained.high-removed", &[("high", &high)]);
    let columns = [(low, ""), (high, ""), (removed.as_str(), "")];
    table(String::new(), words.word("explained.mean-over-blocks"), &columns, rows.collect())
}

fn parts(input: &Input, words: Words) -> TableView {
    let Input { study, explanation, .. } = input;
    let whole: f64 = explanation.parts.iter().map(|part| part.more_us.value).sum();
    // A processor copies nothing from a host.
    let takes_time = |part: &&Part| part.low_us.max(part.high_us) > 0.0;
    let rows = explanation.parts.iter().filter(takes_time).map(|part| {
        let more = &part.more_us;
        let interval = more.interval.map(|(low, high)| range(low, high, 1, words)).unwrap_or_default();
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
        RowView::alone(words.word(phases::key(part.part)), cells)
    });
    let (low, high) = level_names(input, words);
    let more = match study.ideal {
        1.0 => words.say("explained.us-more", &[]),
        ideal => words.say("explained.us-above", &[("ideal", &ideal)]),
    };
    let unit = words.word("table.us-an-image");
    let columns = [(low, unit), (high, unit), (more.as_str(), ""), (words.word("explained.of-all"), "%")];
    table(String::new(), words.word("explained.part"), &columns, rows.collect())
}

/// Only what was found to help, and by how much: the interval of the gain lies above what two names of one thing differ by.
fn advice(input: &Input, words: Words) -> Vec<Value> {
    let Input { study, layout, explanation, .. } = input;
    if layout.demonstration.is_some() {
        return Vec::new();
    }
    let least = explanation.floor.unwrap_or(f64::INFINITY).max(1.0);
    let helps = study.hypotheses.iter().zip(&explanation.findings).filter_map(|(hypothesis, finding)| {
        let gain = finding.gain.as_ref().filter(|gain| gain.is_above(1.0) && gain.value > least)?;
        let text = hypothesis.advice.as_ref()?.to(words.language);
        Some(json!({ "text": text, "gain": times(gain, words), "given": removal(hypothesis).0 }))
    });
    helps.collect()
}

fn curve_view(input: &Input, curve: &CurveFound, words: Words) -> Result<Value, FigureError> {
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
        RowView::alone(&point.value, cells.concat())
    });
    let columns = [
        ("explained.time", "table.us-an-image"),
        ("table.faults", "table.a-step"),
        ("explained.kernel", "explained.of-cpu"),
        ("explained.removed-time", "table.us-an-image"),
        ("table.faults", "table.a-step"),
        ("explained.kernel", "explained.of-cpu"),
    ]
    .map(|(name, unit)| (words.word(name), words.word(unit)));
    let rise = curve.rise.as_ref().map(|rise| {
        json!({
            "from": rise.from, "to": rise.to,
            "base": text::fixed(rise.base, 2), "removed": text::fixed(rise.removed, 2),
        })
    });
    Ok(json!({
        "key": key,
        "removal": removal,
        "figure": study_curve::draw(curve, key, &removal, words)?,
        "table": table(String::new(), key, &columns, rows.collect()),
        "rise": rise,
        "says": study.curve.as_ref().and_then(|curve| curve.says.as_ref()).map(|says| says.to(words.language)),
    }))
}
