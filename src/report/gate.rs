//! What the gate found, for people and for machines: a table for a terminal, Markdown for a job summary, JUnit XML and
//! JSON. Pure functions of the findings.

pub mod against;
mod json;

use std::io::{self, Write};

pub use json::json;
use serde::Serialize;
use tera::{Context, EscapeFn, Tera};

use crate::analyse::gate::{
    Alarm, Comparison, Doubt, Evidence, Exit, Finding, Findings, Look, Moved, POWER, Subject, Verdict,
};
use crate::experiment::baseline::Gauge;
use crate::report::ReportError;
use crate::stats::Spread;
use crate::stream::Seed;
use crate::text;

/// Columns of a terminal that is not asked.
const WIDTH: usize = 80;
/// Widths of arm, metric, baseline, fresh, shift and tolerance; with the sign and the gaps they make 79.
const COLUMNS: [usize; 6] = [14, 10, 15, 15, 9, 9];
const NOTHING: &str = "–";

/// One file's findings as strings.
#[derive(Serialize)]
struct FileView {
    name: String,
    sign: &'static str,
    verdict: String,
    summary: String,
    rows: Vec<RowView>,
    /// One line each.
    reasons: Vec<String>,
    counts: Counts,
}

#[derive(Serialize)]
struct RowView {
    /// Arm and metric.
    name: String,
    arm: String,
    what: String,
    sign: &'static str,
    verdict: String,
    kind: &'static str,
    baseline: String,
    fresh: String,
    shift: String,
    tolerance: String,
    least_found: String,
    /// Empty where all is well.
    reason: String,
    is_alarm: bool,
    is_error: bool,
    is_skipped: bool,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

/// At most 80 columns wide. A line a finding, and under it the reason where it does not hold.
pub fn table(files: &[Findings]) -> String {
    let mut lines = Vec::new();
    for file in files.iter().map(FileView::of) {
        lines.extend(wrap(&format!("{} {}: {}", file.sign, file.name, file.verdict), 0));
        lines.extend(wrap(&file.summary, 2));
        lines.push(line("", ["arm", "metric", "baseline", "fresh", "shift", "tolerance"]));
        for row in &file.rows {
            let cells = [&row.arm, &row.what, &row.baseline, &row.fresh, &row.shift, &row.tolerance];
            lines.push(line(row.sign, cells.map(String::as_str)));
            if !row.reason.is_empty() {
                lines.extend(wrap(&format!("{}: {}", row.verdict, row.reason), 4));
            }
        }
        lines.push(String::new());
    }
    let exit = Exit::of(files);
    lines.push(format!("{exit} (exit code {})", exit.code()));
    lines.join("\n") + "\n"
}

/// For the summary of a job.
pub fn markdown(files: &[Findings]) -> Result<String, ReportError> {
    let mut context = Context::new();
    context.insert("files", &views(files));
    let template = include_str!("../../templates/gate.md");
    Ok(templates("gate.md", template, ".md", escape_markdown)?.render("gate.md", &context)?)
}

/// JUnit XML: an alarm is a failure, what is not comparable an error, what is inconclusive a skipped test.
pub fn junit(files: &[Findings]) -> Result<String, ReportError> {
    let views = views(files);
    let mut context = Context::new();
    context.insert("counts", &views.iter().fold(Counts::default(), |sum, file| sum.plus(file.counts)));
    context.insert("files", &views);
    let template = include_str!("../../templates/junit.xml");
    Ok(templates("junit.xml", template, ".xml", escape_xml)?.render("junit.xml", &context)?)
}

fn sign(exit: Exit) -> &'static str {
    match exit {
        Exit::Holds => "✓",
        Exit::Regressed | Exit::Changed => "✗",
        Exit::Inconclusive => "?",
        Exit::NotComparable => NOTHING,
    }
}

/// As programs read it.
fn word(exit: Exit) -> String {
    exit.to_string().replace(' ', "_")
}

fn views(files: &[Findings]) -> Vec<FileView> {
    files.iter().map(FileView::of).collect()
}

impl FileView {
    fn of(findings: &Findings) -> Self {
        let exit = findings.exit();
        let rows: Vec<RowView> = findings.all.iter().map(|finding| RowView::of(findings, finding)).collect();
        let count = |is: fn(&RowView) -> bool| rows.iter().filter(|row| is(row)).count();
        Self {
            name: format!("{} {}", findings.experiment, findings.profile).trim_end().to_owned(),
            sign: sign(exit),
            verdict: exit.to_string(),
            summary: summary(findings),
            reasons: rows.iter().filter(|row| !row.reason.is_empty()).map(RowView::sentence).collect(),
            counts: Counts {
                tests: rows.len(),
                failures: count(|row| row.is_alarm),
                errors: count(|row| row.is_error),
                skipped: count(|row| row.is_skipped),
            },
            rows,
        }
    }
}

impl RowView {
    fn of(findings: &Findings, finding: &Finding) -> Self {
        let nothing = || NOTHING.to_owned();
        let arm = finding.arm.clone().unwrap_or_else(nothing);
        let what = finding.subject.to_string();
        let mut row = Self {
            name: finding.arm.as_ref().map_or_else(|| what.clone(), |arm| format!("{arm}: {what}")),
            arm,
            what,
            sign: match finding.verdict {
                Verdict::Holds => "✓",
                Verdict::Alarm(_) => "✗",
                Verdict::Inconclusive(_) => "?",
                Verdict::NotComparable(_) => NOTHING,
            },
            verdict: finding.verdict.to_string(),
            kind: finding.verdict.kind().unwrap_or_default(),
            baseline: nothing(),
            fresh: nothing(),
            shift: nothing(),
            tolerance: nothing(),
            least_found: nothing(),
            reason: reason(findings, finding).unwrap_or_default(),
            is_alarm: matches!(finding.verdict, Verdict::Alarm(_)),
            is_error: matches!(finding.verdict, Verdict::NotComparable(_)),
            is_skipped: matches!(finding.verdict, Verdict::Inconclusive(_)),
        };
        match &finding.evidence {
            Some(Evidence::Test(comparison)) => {
                row.baseline = spread(comparison.baseline);
                row.fresh = spread(comparison.fresh);
                row.shift = change(comparison, comparison.shift());
                row.tolerance = tolerance(comparison);
                row.least_found = least_found(comparison);
            }
            Some(Evidence::Bits(bits)) => {
                row.baseline = text::plural(bits.seeds.len(), "seed");
                row.fresh = if bits.differing.is_empty() {
                    "equal".to_owned()
                } else {
                    format!("{} differ", bits.differing.len())
                };
            }
            None if finding.subject == Subject::Probe => {
                row.fresh = match finding.verdict {
                    Verdict::Holds => "within rounding",
                    Verdict::Alarm(_) => "changed",
                    _ => NOTHING,
                }
                .to_owned();
            }
            None => {}
        }
        row
    }

    fn sentence(&self) -> String {
        format!("{}: {}: {}", self.name, self.verdict, self.reason)
    }
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            tests: self.tests + other.tests,
            failures: self.failures + other.failures,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// What the file is held to, and how large a change it finds.
fn summary(findings: &Findings) -> String {
    let tests = || {
        findings.all.iter().filter_map(|finding| match &finding.evidence {
            Some(Evidence::Test(comparison)) => Some(comparison),
            _ => None,
        })
    };
    let probed = findings.all.iter().filter(|finding| finding.subject == Subject::Probe).count();
    let steps = (probed > 0).then(|| format!("Single steps of {} asked.", text::plural(probed, "arm")));
    let Some(rate) = findings.false_alarm_rate else {
        return steps.unwrap_or_else(|| "Nothing was compared.".to_owned());
    };
    let steps = steps.map_or_else(String::new, |steps| format!("{steps} "));
    let mut text = match tests().count() {
        0 => format!("{steps}Whole trainings are compared bit for bit."),
        count => format!("{steps}False-alarm rate {} over {}.", percent(rate), text::plural(count, "test")),
    };
    let mut found = Vec::new();
    for gauge in Gauge::JUDGED {
        let of_gauge = tests().filter(|comparison| comparison.gauge == gauge);
        // The arm that finds least.
        let found_of = |comparison: &Comparison| comparison.least_found().unwrap_or(f64::INFINITY);
        let bluntest = of_gauge.max_by(|a, b| found_of(a).total_cmp(&found_of(b)));
        found.extend(bluntest.map(|comparison| format!("{gauge} {}", least_found(comparison))));
    }
    if !found.is_empty() {
        text.push_str(&format!(
            " Found with {} probability, where the first seeds call for all of the baseline: worse by {}.",
            percent(POWER),
            found.join(", ")
        ));
    }
    text
}

/// Why a finding does not hold, on one line; `None` where it does.
fn reason(findings: &Findings, finding: &Finding) -> Option<String> {
    let comparison = match &finding.evidence {
        Some(Evidence::Test(comparison)) => Some(comparison),
        _ => None,
    };
    let reason = match &finding.verdict {
        Verdict::Holds => return None,
        Verdict::Alarm(alarm) => {
            let recurred = if finding.recurred { "; a rerun said the same" } else { "" };
            let rounding = match (alarm, findings.steps_of(finding.arm.as_deref())) {
                (Alarm::Weights, Some(Verdict::Holds)) => {
                    "; single steps are as they were, so that this is rounding only: if it is meant, accept it"
                }
                _ => "",
            };
            format!("{}{recurred}{rounding}", alarm_reason(alarm, finding, comparison))
        }
        Verdict::Inconclusive(doubt) => doubt_reason(doubt, comparison),
        Verdict::NotComparable(bar) => {
            let profile = finding.profile.as_ref().unwrap_or(&findings.profile);
            bar.message(&findings.experiment, &findings.named, profile)
        }
    };
    Some(reason)
}

fn alarm_reason(alarm: &Alarm, finding: &Finding, comparison: Option<&Comparison>) -> String {
    let moved = || comparison.map_or_else(String::new, beyond);
    match alarm {
        Alarm::Worse => format!("{}worse than the baseline", moved()),
        Alarm::Better => format!("{}better than the baseline, which must be explained as well", moved()),
        Alarm::NotFinite { seed, value } => format!("{} under seed {seed}", text::fixed(*value, 4)),
        Alarm::Changed(change) => {
            format!("{change}: this tree trains something else; if it is meant, accept it")
        }
        Alarm::Structure { stored, found } => {
            format!(
                "a whole training is {found}, was {stored}: this tree trains something else; if it is meant, accept it"
            )
        }
        Alarm::Weights => format!("the weights differ{}", differing(finding)),
        Alarm::Measured => {
            format!("the weights are equal, but what was measured of them differs{}", differing(finding))
        }
        Alarm::Diverged { seed, step, loss } => {
            format!("diverged under seed {seed} at step {step} (loss {loss}) where the baseline finished")
        }
        Alarm::Finished { seed } => format!("finished under seed {seed} where the baseline diverged"),
    }
}

fn doubt_reason(doubt: &Doubt, comparison: Option<&Comparison>) -> String {
    let found = || comparison.map_or_else(|| NOTHING.to_owned(), least_found);
    let moved = || comparison.map_or_else(String::new, beyond);
    match doubt {
        Doubt::OneRun => {
            "the baseline has one run, which has no spread; accept one of at least 3 seeds".to_owned()
        }
        Doubt::TooWide => format!(
            "the pairs differ so much that only {} is found with {} probability; accept a baseline of more seeds, or \
             of longer trainings",
            found(),
            percent(POWER)
        ),
        Doubt::MayDiverge => {
            "this arm diverges under some seeds, and the baseline does not know these; run it under its seeds"
                .to_owned()
        }
        Doubt::DidNotRecur => format!("{}a rerun did not repeat it", moved()),
        Doubt::NotRerun => format!("{}what was to be trained for it was not; run the check again", moved()),
    }
}

/// `+20.1 % over 12 seeds, tolerance ±8.7 %: `
fn beyond(comparison: &Comparison) -> String {
    let seeds = text::plural(comparison.seeds.len(), "seed");
    format!("{} over {seeds}, tolerance {}: ", change(comparison, comparison.shift()), tolerance(comparison))
}

/// ` under seeds 0, 1; largest change of val_acc −0.0012 (seed 1)`
fn differing(finding: &Finding) -> String {
    let Some(Evidence::Bits(bits)) = &finding.evidence else { return String::new() };
    let seeds: Vec<String> = bits.differing.iter().map(Seed::to_string).collect();
    let noun = if seeds.len() == 1 { "seed" } else { "seeds" };
    let largest = |gauge: Gauge| {
        let of_gauge = bits.moved.iter().filter(|moved| moved.gauge == gauge);
        let size = |moved: &&Moved| (moved.to - moved.from).abs();
        let moved = of_gauge.max_by(|a, b| size(a).total_cmp(&size(b)))?;
        Some(format!("{gauge} {} (seed {})", text::signed(moved.to - moved.from, 4), moved.seed))
    };
    let changes: Vec<String> = Gauge::ALL.into_iter().filter_map(largest).collect();
    let changes =
        if changes.is_empty() { String::new() } else { format!("; largest changes: {}", changes.join(", ")) };
    format!(" under {noun} {}{changes}", seeds.join(", "))
}

/// Mean and deviation.
fn spread(spread: Spread) -> String {
    text::mean_sd(spread.mean, spread.sd, 4)
}

/// A change in the unit people compare by: points of a share, and percent of a loss.
fn change(comparison: &Comparison, shift: f64) -> String {
    match relative(comparison, shift) {
        Some(share) => format!("{} %", text::signed(100.0 * share, if share.abs() < 1.0 { 1 } else { 0 })),
        None => text::signed(shift, 4),
    }
}

fn tolerance(comparison: &Comparison) -> String {
    let Some(tolerance) = comparison.tolerance() else { return NOTHING.to_owned() };
    match relative(comparison, tolerance) {
        Some(share) if share < 10.0 => {
            format!("±{} %", text::fixed(100.0 * share, if share < 1.0 { 1 } else { 0 }))
        }
        Some(_) => ">1000 %".to_owned(),
        None => format!("±{}", text::fixed(tolerance, 4)),
    }
}

/// A difference on the scale that is compared as a share of the baseline's mean; `None` where it is no such thing.
fn relative(comparison: &Comparison, difference: f64) -> Option<f64> {
    let is_share = comparison.gauge.is_loss() && comparison.baseline.mean > 0.0;
    is_share.then(|| difference / comparison.baseline.mean)
}

/// How much worse is found; at the first look nobody knows yet how much the pairs differ.
fn least_found(comparison: &Comparison) -> String {
    let Some(found) = comparison.least_found() else { return NOTHING.to_owned() };
    let about = if comparison.look == Look::First { "about " } else { "" };
    match relative(comparison, found) {
        Some(share) => format!("{about}{} %", text::fixed(100.0 * share, 1)),
        None => format!("{about}{}", text::fixed(found, 4)),
    }
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    // Shares that are set are mostly whole percents.
    let places = if (percent - percent.round()).abs() < 1e-9 { 0 } else { 2 };
    format!("{} %", text::fixed(percent, places))
}

/// A row of the table.
fn line(sign: &str, cells: [&str; COLUMNS.len()]) -> String {
    let cells: Vec<String> = cells.iter().zip(COLUMNS).map(|(cell, width)| fitted(cell, width)).collect();
    let line = format!("{sign:<1} {}", cells.join(" "));
    line.trim_end().to_owned()
}

/// `text` in exactly so many columns, cut where it is longer.
fn fitted(text: &str, width: usize) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// Words of a text, of which a command between backticks is one: broken in two it could not be copied.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(open) if open.matches('`').count() % 2 == 1 => *open += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// Lines of at most [`WIDTH`] columns that start after `indent` spaces.
fn wrap(text: &str, indent: usize) -> Vec<String> {
    let width = WIDTH - indent;
    let mut lines: Vec<String> = Vec::new();
    let mut current = String::new();
    for word in words(text) {
        let fits = current.is_empty() || current.chars().count() + 1 + word.chars().count() <= width;
        if !fits {
            lines.push(std::mem::take(&mut current));
        }
        if !current.is_empty() {
            current.push(' ');
        }
        for letter in word.chars() {
            // Only a word longer than a line gets here.
            if current.chars().count() == width {
                lines.push(std::mem::take(&mut current));
            }
            current.push(letter);
        }
    }
    if !current.is_empty() {
        lines.push(current);
    }
    let margin = " ".repeat(indent);
    lines.into_iter().map(|line| format!("{margin}{line}")).collect()
}

/// A template whose insertions are all escaped by `escape`: an engine has one way to escape, so each format has its own.
fn templates(
    name: &str,
    template: &str,
    suffix: &'static str,
    escape: EscapeFn,
) -> Result<Tera, tera::Error> {
    let mut tera = Tera::new();
    tera.set_escape_fn(escape);
    tera.autoescape_on([suffix]);
    tera.add_raw_templates([(name, template)])?;
    Ok(tera)
}

/// Everything that GitHub's Markdown could take for markup, inside a cell of a table or outside; but what our own
/// sentences put between backticks, commands, stays code.
fn escape_markdown(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let parts: Vec<&str> = text.split('`').collect();
    let codes = || parts.iter().skip(1).step_by(2);
    // Other backticks, of a label say, GitHub would pair up differently; and a bar ends the cell, or shows its backslash.
    let is_code = parts.len() % 2 == 1
        && !text.contains("``")
        && codes().all(|code| !code.is_empty() && !code.contains('|'));
    if !is_code {
        return escape_all_markdown(text, out);
    }
    for (index, part) in parts.into_iter().enumerate() {
        if index % 2 == 0 {
            escape_all_markdown(part, out)?;
        } else {
            write!(out, "`{}`", part.replace(char::is_control, " "))?;
        }
    }
    Ok(())
}

fn escape_all_markdown(text: &str, out: &mut dyn Write) -> io::Result<()> {
    for letter in text.chars() {
        match letter {
            '&' => out.write_all(b"&amp;")?,
            '<' => out.write_all(b"&lt;")?,
            '>' => out.write_all(b"&gt;")?,
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => write!(out, "\\{letter}")?,
            letter if letter.is_control() => out.write_all(b" ")?,
            letter => write!(out, "{letter}")?,
        }
    }
    Ok(())
}

/// For text and attributes alike. A character that XML 1.0 cannot hold at all becomes the replacement character.
fn escape_xml(text: &str, out: &mut dyn Write) -> io::Result<()> {
    for letter in text.chars() {
        match letter {
            '&' => out.write_all(b"&amp;")?,
            '<' => out.write_all(b"&lt;")?,
            '>' => out.write_all(b"&gt;")?,
            '"' => out.write_all(b"&quot;")?,
            '\'' => out.write_all(b"&apos;")?,
            // As they are, an attribute would make spaces of them.
            '\t' | '\n' | '\r' => write!(out, "&#{};", letter as u32)?,
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.write_all("\u{fffd}".as_bytes())?,
            letter => write!(out, "{letter}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
