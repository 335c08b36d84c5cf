//! The page of a trace: where the time of a training step goes, from numbers to strings, and to HTML.

use std::fmt::Display;

use serde::Serialize;

use crate::analyse::operators::{Operator, self_ns};
use crate::analyse::roofline::{Part, Roofline, Timed};
use crate::clock::Phase;
use crate::language::Language;
use crate::machine::{Amount, HardwareCount};
use crate::record::RunRecord;
use crate::report::cell::figures;
use crate::report::figure::{FigureError, roofline as figure};
use crate::report::results::table;
use crate::report::view::{CellView, DownloadView, FactView, FigureView, MethodView, RowView, TableView};
use crate::report::{File, PAGE, ReportError, context, provenance, templates};
use crate::text;
use crate::words::Words;
use crate::work::{COPY_BYTES, Ceilings, PRODUCT_SIDE};

/// Operators on the page; the others are in the table beside it.
const SHOWN: usize = 20;

/// Steps at the start of a traced training that do not count: the first makes the optimizer's state and the thread pool, and
/// the heap grows until every size of tensor has come round.
pub const WARM_UP: usize = 4;

/// What the page is made from.
pub struct Input<'a> {
    pub roofline: &'a Roofline,
    /// Those first that take most time by themselves.
    pub operators: &'a [Operator],
    /// Of the process, until the profiler was turned on.
    pub peak_rss_bytes: u64,
    /// The mean of a step, without the profiler.
    pub hardware: &'a [HardwareCount<f64>],
    /// Of a GPU, which computes no step of a trace.
    pub gpu: &'a [HardwareCount<Amount>],
    /// What timing a step costs by itself.
    pub timing_ns: f64,
    /// Share of the processor time that others took meanwhile, where that makes times doubtful.
    pub disturbed: Option<f64>,
    /// Of the run that was traced, which is in no store.
    pub record: &'a RunRecord,
    /// The files beside the page.
    pub files: Vec<Beside>,
}

pub struct Beside {
    pub name: String,
    /// Key of what is in it, in a few words.
    pub about: &'static str,
    pub bytes: u64,
}

#[derive(Serialize)]
struct TraceView {
    title: String,
    glance: Vec<String>,
    warnings: Vec<String>,
    rates: TableView,
    roofline: FigureView,
    operators: TableView,
    operators_say: String,
    counters: Vec<FactView>,
    methods: Vec<MethodView>,
    limits: Vec<String>,
    command: String,
    trial: Vec<FactView>,
    plan: Vec<FactView>,
    environment: Vec<FactView>,
    downloads: Vec<DownloadView>,
}

/// The page in every language, without the files beside it.
pub fn pages(input: &Input) -> Result<Vec<File>, ReportError> {
    let page = |language: Language| {
        let words = Words::of(language);
        let mut context = context(PAGE, language, &Language::ALL);
        context.insert("page", &view(input, words)?);
        let page = templates(words)?.render("trace.html", &context)?;
        Ok(File { name: language.file(PAGE), bytes: page.into_bytes() })
    };
    Language::ALL.into_iter().map(page).collect()
}

/// Of `operators.csv`.
pub const OPERATORS_HEADER: &str = "operator,calls,self_us,total_us";

/// Every operator, in the order given.
pub fn csv(operators: &[Operator]) -> String {
    let mut out = format!("{OPERATORS_HEADER}\n");
    for Operator { name, calls, self_ns, total_ns } in operators {
        let us = |ns: i64| format!("{:.3}", ns as f64 / 1e3);
        out.push_str(&format!(
            "{},{calls},{},{}\n",
            crate::report::csv::text(name),
            us(*self_ns),
            us(*total_ns)
        ));
    }
    out
}

/// What there is to know, in a few sentences, for the page and for a terminal.
pub fn glance(roofline: &Roofline, operators: &[Operator], words: Words) -> Vec<String> {
    let mut sentences = vec![times(roofline, words)];
    sentences.extend(rates(roofline, words));
    sentences.extend(under_the_roof(roofline, words));
    let all = self_ns(operators);
    if let Some(first) = operators.first().filter(|_| all > 0) {
        let share = percent(first.self_ns as f64 / all as f64);
        sentences.push(words.say("traced.first-operator", &[("operator", &first.name), ("share", &share)]));
    }
    let cost = text::fixed(roofline.profiler_cost, 2);
    sentences.push(words.say("traced.profiler-cost", &[("times", &cost)]));
    sentences
}

/// For the page and for a terminal.
pub fn warning(disturbed: f64, words: Words) -> String {
    words.say("traced.disturbed", &[("share", &percent(disturbed))])
}

fn times(roofline: &Roofline, words: Words) -> String {
    let part = |phase: Phase| {
        let timed = roofline.part(Part::Phase(phase))?;
        Some(words.say(
            "traced.part",
            &[
                ("part", &figure::name(timed.part, words)),
                ("ms", &figures(timed.ms)),
                ("share", &percent(timed.share)),
            ],
        ))
    };
    let parts: Vec<String> = [Phase::Forward, Phase::Backward].into_iter().filter_map(part).collect();
    let whole = roofline.part(Part::Step).map_or(0.0, |timed| timed.ms);
    words.say(
        "traced.step",
        &[
            ("images", &words.count("word.image-count", roofline.images as usize, &[])),
            ("ms", &figures(whole)),
            ("parts", &words.list(&parts)),
            ("steps", &words.count("word.step-count", roofline.steps, &[])),
        ],
    )
}

fn rates(roofline: &Roofline, words: Words) -> Option<String> {
    let Ceilings { flop_per_s, bytes_per_s } = roofline.ceilings;
    let whole = roofline.part(Part::Step)?;
    let (flop, bytes) = (whole.flop_per_s()?, whole.bytes_per_s()?);
    Some(words.say(
        "traced.rate",
        &[
            ("rate", &figures(flop / 1e9)),
            ("share", &percent(flop / flop_per_s)),
            ("product", &figures(flop_per_s / 1e9)),
            ("traffic", &figures(bytes / 1e9)),
            ("traffic_share", &percent(bytes / bytes_per_s)),
            ("copy", &figures(bytes_per_s / 1e9)),
        ],
    ))
}

fn under_the_roof(roofline: &Roofline, words: Words) -> Option<String> {
    let whole = roofline.part(Part::Step)?;
    let (intensity, flop) = (whole.intensity()?, whole.flop_per_s()?);
    let ridge = roofline.ceilings.ridge();
    let key = if intensity < ridge { "traced.under-copy" } else { "traced.under-product" };
    Some(words.say(
        key,
        &[
            ("intensity", &figures(intensity)),
            ("ridge", &figures(ridge)),
            ("share", &percent(flop / roofline.ceilings.roof(intensity))),
        ],
    ))
}

fn percent(share: f64) -> String {
    format!("{} %", text::fixed(share * 100.0, 0))
}

fn view(input: &Input, words: Words) -> Result<TraceView, FigureError> {
    let Input { roofline, operators, record, .. } = input;
    let download = |file: &Beside| DownloadView {
        name: file.name.clone(),
        about: words.word(file.about).to_owned(),
        size: text::bytes(file.bytes),
    };
    Ok(TraceView {
        title: words.say("traced.title", &[("trial", &record.trial_id.short())]),
        glance: glance(roofline, operators, words),
        warnings: input.disturbed.map(|disturbed| warning(disturbed, words)).into_iter().collect(),
        rates: rate_table(roofline, words),
        roofline: figure::draw(roofline, words)?,
        operators: operator_table(roofline, operators, words),
        operators_say: operators_say(roofline, operators, words),
        counters: counters(input, words),
        methods: methods(roofline, words),
        limits: LIMITS.map(|key| words.word(key).to_owned()).to_vec(),
        command: record.command.clone(),
        trial: trial(record, words),
        plan: leaves(&record.plan),
        environment: provenance::environment(&[*record], words),
        downloads: input.files.iter().map(download).collect(),
    })
}

fn rate_table(roofline: &Roofline, words: Words) -> TableView {
    let rows = roofline
        .parts
        .iter()
        .map(|timed| RowView::alone(figure::name(timed.part, words), rate_cells(timed, roofline.ceilings)));
    let word = |key| words.word(key);
    let columns = [
        (word("traced.time"), "ms"),
        (word("traced.share"), word("traced.of-step")),
        (word("traced.arithmetic"), "GFLOP/s"),
        (word("traced.of-product"), "%"),
        (word("traced.traffic"), word("traced.at-least")),
        (word("traced.of-copy"), "%"),
        (word("traced.intensity"), word("traced.flop-a-byte")),
    ];
    let steps = words.count("word.step-count", roofline.steps, &[]);
    let caption = words.say("traced.rates-caption", &[("steps", &steps)]);
    table(caption, word("traced.corner-part"), &columns, rows.collect())
}

fn rate_cells(timed: &Timed, ceilings: Ceilings) -> Vec<CellView> {
    let whole = |share: f64| text::fixed(share * 100.0, 0);
    let rate = |rate: Option<f64>, of: String| {
        rate.map_or_else(CellView::nothing, |rate| CellView::number(figures(rate / 1e9)).with_note(of))
    };
    let work = timed.work.unwrap_or_default();
    vec![
        CellView::number(figures(timed.ms)),
        CellView::number(text::fixed(timed.share * 100.0, 1)),
        rate(timed.flop_per_s(), format!("{} GFLOP", figures(work.flop as f64 / 1e9))),
        CellView::optional(timed.flop_per_s().map(|rate| rate / ceilings.flop_per_s), whole),
        rate(timed.bytes_per_s(), format!("{} MB", figures(work.bytes as f64 / 1e6))),
        CellView::optional(timed.bytes_per_s().map(|rate| rate / ceilings.bytes_per_s), whole),
        CellView::optional(timed.intensity(), figures),
    ]
}

fn operator_table(roofline: &Roofline, operators: &[Operator], words: Words) -> TableView {
    let (steps, all) = (roofline.profiled_steps.max(1) as f64, self_ns(operators).max(1) as f64);
    let ms = |ns: i64| text::fixed(ns as f64 / 1e6 / steps, 3);
    let rows = operators.iter().take(SHOWN).map(|operator| {
        let cells = vec![
            CellView::number(text::fixed(operator.calls as f64 / steps, 1)),
            CellView::number(ms(operator.self_ns)),
            CellView::number(text::fixed(operator.self_ns as f64 / all * 100.0, 1)),
            CellView::number(ms(operator.total_ns)),
        ];
        RowView::alone(operator.name.clone(), cells)
    });
    let word = |key| words.word(key);
    let columns = [
        (word("traced.calls"), word("traced.a-step")),
        (word("traced.by-itself"), word("traced.ms-a-step")),
        (word("traced.share"), word("traced.of-operators")),
        (word("traced.with-callees"), word("traced.ms-a-step")),
    ];
    let caption = match operators.len() {
        count if count > SHOWN => words.say("traced.operators-first", &[("shown", &SHOWN), ("all", &count)]),
        _ => word("traced.operators-all").to_owned(),
    };
    table(caption, word("traced.corner-operator"), &columns, rows.collect())
}

fn operators_say(roofline: &Roofline, operators: &[Operator], words: Words) -> String {
    let share = percent(self_ns(operators) as f64 / roofline.profiled_ns.max(1) as f64);
    let steps = words.count("word.step-count", roofline.profiled_steps, &[]);
    words.say("traced.operators-say", &[("steps", &steps), ("share", &share)])
}

fn fact(name: &str, value: String) -> FactView {
    FactView { name: name.to_owned(), value, varies: false }
}

fn counters(input: &Input, words: Words) -> Vec<FactView> {
    let counters = &input.roofline.counters;
    let fact = |key: &str, value: String| fact(words.word(key), value);
    let per_step = |n: f64| words.say("traced.per-step", &[("n", &figures(n))]);
    let mut facts = vec![
        fact("traced.minor-faults", per_step(counters.minor_faults)),
        fact("traced.major-faults", per_step(counters.major_faults)),
        fact(
            "traced.processor-time",
            words.say(
                "traced.processor-times",
                &[("user", &figures(counters.user_ms)), ("system", &figures(counters.system_ms))],
            ),
        ),
        fact(
            "traced.switches",
            words.say(
                "traced.switches-each",
                &[
                    ("voluntary", &figures(counters.voluntary_switches)),
                    ("involuntary", &figures(counters.involuntary_switches)),
                ],
            ),
        ),
        fact("traced.peak-memory", text::bytes(input.peak_rss_bytes)),
    ];
    facts.extend(input.hardware.iter().map(|counter| hardware(counter, words)));
    facts.extend(gpu(input.gpu, words));
    let step_ms = input.roofline.part(Part::Step).map_or(f64::INFINITY, |step| step.ms);
    let (us, share) = (figures(input.timing_ns / 1e3), figures(input.timing_ns / 1e6 / step_ms * 100.0));
    facts.push(fact("traced.cost", words.say("traced.cost-each", &[("us", &us), ("share", &share)])));
    facts
}

/// Of the processor, in user mode.
fn hardware(counter: &HardwareCount<f64>, words: Words) -> FactView {
    let value = match &counter.count {
        Ok(count) => words.say("traced.millions", &[("n", &figures(count / 1e6))]),
        Err(reason) => words.say("traced.not-counted", &[("reason", reason)]),
    };
    fact(counter.name, value)
}

/// Of the driver. A reason that all of them have is said once.
fn gpu(counters: &[HardwareCount<Amount>], words: Words) -> Vec<FactView> {
    let absent = |reason: &String| words.say("traced.absent", &[("reason", reason)]);
    let mut reasons = counters.iter().map(|counter| counter.count.as_ref().err());
    if let Some(Some(first)) = reasons.next()
        && reasons.all(|reason| reason == Some(first))
    {
        return vec![fact("GPU", absent(first))];
    }
    let value = |counter: &HardwareCount<Amount>| match &counter.count {
        Ok(amount) => amount.to_string(),
        Err(reason) => absent(reason),
    };
    counters.iter().map(|counter| fact(counter.name, value(counter))).collect()
}

fn trial(record: &RunRecord, words: Words) -> Vec<FactView> {
    let fact = |key: &str, value: String| fact(words.word(key), value);
    let mut facts = vec![
        fact("traced.fact-experiment", record.experiment.clone()),
        fact("traced.fact-profile", record.profile.clone()),
        fact("traced.fact-trial", record.trial_id.to_string()),
        fact("traced.fact-seed", record.trial.seed.to_string()),
    ];
    facts.extend(leaves(&record.trial.config));
    facts
}

fn leaves(value: &impl Serialize) -> Vec<FactView> {
    // Configs and plans hold finite numbers and strings, which always have a JSON form.
    let leaves = provenance::leaves(&serde_json::to_value(value).unwrap_or_default());
    leaves.into_iter().map(|(name, value)| fact(&name, value)).collect()
}

/// Keys of the names and texts.
const METHODS: [(&str, &str); 8] = [
    ("traced.steps-name", "traced.steps"),
    ("traced.flop-name", "traced.flop"),
    ("traced.bytes-name", "traced.bytes"),
    ("traced.product-name", "traced.product"),
    ("traced.copy-name", "traced.copy"),
    ("traced.operators-name", "traced.operators"),
    ("traced.trace-name", "traced.trace"),
    ("traced.counters-name", "traced.counters"),
];

fn methods(roofline: &Roofline, words: Words) -> Vec<MethodView> {
    let (side, bytes) = (text::count(u64::from(PRODUCT_SIDE)), text::bytes(COPY_BYTES));
    let values: [(&str, &dyn Display); 5] = [
        ("warm_up", &WARM_UP),
        ("timed", &roofline.steps),
        ("profiled", &roofline.profiled_steps),
        ("side", &side),
        ("bytes", &bytes),
    ];
    let method = |(name, text): (&str, &str)| MethodView {
        name: words.word(name).to_owned(),
        text: words.say(text, &values),
    };
    METHODS.map(method).into()
}

const LIMITS: [&str; 5] = [
    "traced.limit-product",
    "traced.limit-bytes",
    "traced.limit-profiler",
    "traced.limit-counters",
    "traced.limit-process",
];

#[cfg(test)]
mod tests;
