//! A revision beside another, for people and for machines, in the formats that the gate has.

use serde::Serialize;
use serde_json::{Value, json};
use tera::Context;

use super::{Counts, NOTHING, escape_markdown, escape_xml, fitted, sign, templates, word, wrap};
use crate::analyse::gate::Exit;
use crate::analyse::gate::against::{Against, ArmFound, Bits, Decision, EFFECT};
use crate::analyse::timing::Standing;
use crate::report::ReportError;
use crate::text;

/// Widths of arm, bits, ratio, interval and blocks; with the sign and the gaps they make 79.
const COLUMNS: [usize; 5] = [35, 12, 7, 14, 6];

/// Version of the JSON. Keys are added under the same number, and change or go under the next.
const FORMAT: u32 = 1;

/// An arm as strings.
#[derive(Serialize)]
struct Row {
    sign: &'static str,
    verdict: String,
    arm: String,
    bits: &'static str,
    ratio: String,
    interval: String,
    blocks: String,
    /// One sentence each; none where all is well.
    reasons: Vec<String>,
}

/// What either program or the arm is said to be, once.
#[derive(Serialize)]
struct View {
    verdict: String,
    sign: &'static str,
    old: String,
    new: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// A test of JUnit.
#[derive(Serialize)]
struct Test {
    name: String,
    kind: &'static str,
    reason: String,
    is_alarm: bool,
    is_error: bool,
    is_skipped: bool,
}

/// A suite of them.
#[derive(Serialize)]
struct Suite {
    name: &'static str,
    counts: Counts,
    rows: Vec<Test>,
}

/// At most 80 columns wide. A line an arm, and under it the reason where it does not hold.
pub fn table(against: &Against) -> String {
    let view = View::of(against);
    let mut lines = wrap(&format!("{} old: {}", view.sign, view.old), 0);
    lines.extend(wrap(&format!("new: {}", view.new), 2));
    lines.push(line("", ["arm", "bits", "ratio", "interval", "blocks"]));
    for row in &view.rows {
        lines.push(line(row.sign, [&row.arm, row.bits, &row.ratio, &row.interval, &row.blocks]));
        lines.extend(row.reasons.iter().flat_map(|reason| wrap(reason, 4)));
    }
    lines.extend(view.notes.iter().flat_map(|note| wrap(note, 2)));
    let exit = against.exit();
    lines.extend([String::new(), format!("{exit} (exit code {})", exit.code())]);
    lines.join("\n") + "\n"
}

/// For the summary of a job.
pub fn markdown(against: &Against) -> Result<String, ReportError> {
    let mut context = Context::new();
    context.insert("view", &View::of(against));
    let template = include_str!("../../../templates/against.md");
    Ok(templates("against.md", template, ".md", escape_markdown)?.render("against.md", &context)?)
}

/// JUnit XML: of each arm its bits and its step time.
pub fn junit(against: &Against) -> Result<String, ReportError> {
    let rows: Vec<Test> = against.arms.iter().flat_map(|arm| tests(against, arm)).collect();
    let count = |is: fn(&Test) -> bool| rows.iter().filter(|row| is(row)).count();
    let counts = Counts {
        tests: rows.len(),
        failures: count(|row| row.is_alarm),
        errors: count(|row| row.is_error),
        skipped: count(|row| row.is_skipped),
    };
    let mut context = Context::new();
    context.insert("counts", &counts);
    context.insert("files", &[Suite { name: "against", counts, rows }]);
    let template = include_str!("../../../templates/junit.xml");
    Ok(templates("junit.xml", template, ".xml", escape_xml)?.render("junit.xml", &context)?)
}

/// Everything, unrounded:
///
/// - `format`; `verdict` and `exit_code` of all; what `old` and `new` say they are;
/// - `arms[]`: `name`, `old_name` (null where it is the same), `bits` (`verdict`: `equal`, `changed`, `not_promised`,
///   `failed` or `not_trained`; `seed`, `parts`, `reason`), `step_time` (null where none was measured: `ratio` of new over
///   old, `interval`, `blocks`, `standing`: `slower`, `faster` or `open`; `at_most`, the slowdown that is not ruled out);
/// - `only_old[]`, `only_new[]`: arms that one side alone has; `left_out`: how many more both have.
pub fn json(against: &Against) -> String {
    let exit = against.exit();
    let value = json!({
        "format": FORMAT,
        "verdict": word(exit),
        "exit_code": exit.code(),
        "old": against.old,
        "new": against.new,
        "arms": against.arms.iter().map(arm_json).collect::<Vec<Value>>(),
        "only_old": against.only_old,
        "only_new": against.only_new,
        "left_out": against.left_out,
    });
    format!("{value:#}\n")
}

fn arm_json(arm: &ArmFound) -> Value {
    let (verdict, seed, parts) = match &arm.bits {
        Bits::Equal { seed } => ("equal", json!(seed), json!([])),
        Bits::Changed { seed, parts } => ("changed", json!(seed), json!(parts)),
        Bits::NotPromised(_) => ("not_promised", Value::Null, json!([])),
        Bits::Failed(_) => ("failed", Value::Null, json!([])),
        Bits::NotTrained(_) => ("not_trained", Value::Null, json!([])),
    };
    let time = arm.time.as_ref().map(|Decision { ratio, standing }| {
        json!({
            "ratio": ratio.value,
            "interval": ratio.interval,
            "blocks": ratio.n,
            "standing": match standing {
                Standing::Slower => "slower",
                Standing::Faster => "faster",
                Standing::Open { .. } => "open",
            },
            "at_most": ratio.interval.map(|(_, high)| high.max(1.0)),
        })
    });
    json!({
        "name": arm.name,
        "old_name": arm.old_name,
        "bits": { "verdict": verdict, "seed": seed, "parts": parts, "reason": bits_reason(arm) },
        "step_time": time,
    })
}

impl View {
    fn of(against: &Against) -> Self {
        let exit = against.exit();
        let mut notes = Vec::new();
        if against.is_timed {
            notes.push(format!(
                "Ratios are step times of new over old within blocks, with intervals at the level of the look that \
                 decided. Slower is said wrongly with a probability of 2.5 % at most, over all arms and looks; what holds \
                 is less than {} slower.",
                percent(EFFECT)
            ));
        }
        if against.arms.is_empty() {
            let what = "No arm has the same config on both sides: nothing was compared. Name experiments that both have";
            notes.push(format!("{what}, or take a revision that is nearer."));
        }
        for (side, arms) in [("old", &against.only_old), ("new", &against.only_new)] {
            if !arms.is_empty() {
                notes.push(format!("Only the {side} one has, with this config: {}.", arms.join("; ")));
            }
        }
        if against.left_out > 0 {
            let arms = text::plural(against.left_out, "more arm");
            notes.push(format!("Both have {arms}: --arms takes more of them in."));
        }
        let rows = against.arms.iter().map(|arm| Row::of(against, arm)).collect();
        let (old, new) = (against.old.clone(), against.new.clone());
        Self { verdict: exit.to_string(), sign: sign(exit), old, new, rows, notes }
    }
}

impl Row {
    fn of(against: &Against, arm: &ArmFound) -> Self {
        let nothing = || NOTHING.to_owned();
        let exit = arm.exit(against.is_timed);
        let ratio = arm.time.as_ref().map(|time| &time.ratio);
        let interval = ratio.and_then(|ratio| ratio.interval);
        // On a busy machine an end of an interval may be anywhere.
        let number = |value: f64| text::fixed(value, if value < 10.0 { 3 } else { 1 });
        let named = arm.old_name.as_ref().map(|old| format!("the old one calls it {old}"));
        let reasons = [named, bits_reason(arm), time_reason(against, arm)];
        Self {
            sign: sign(exit),
            verdict: exit.to_string(),
            arm: arm.name.clone(),
            bits: match arm.bits {
                Bits::Equal { .. } => "equal",
                Bits::Changed { .. } => "changed",
                Bits::NotPromised(_) => "not promised",
                Bits::Failed(_) => "failed",
                Bits::NotTrained(_) => "not trained",
            },
            ratio: ratio.map_or_else(nothing, |ratio| number(ratio.value)),
            interval: interval
                .map_or_else(nothing, |(low, high)| format!("{} to {}", number(low), number(high))),
            blocks: ratio.map_or_else(nothing, |ratio| ratio.n.to_string()),
            reasons: reasons.into_iter().flatten().collect(),
        }
    }
}

/// The bits and the time of an arm.
fn tests(against: &Against, arm: &ArmFound) -> Vec<Test> {
    let test = |what: &str, kind: &'static str, exit: Exit, reason: Option<String>| Test {
        name: format!("{}: {what}", arm.name),
        kind,
        reason: reason.unwrap_or_default(),
        is_alarm: matches!(exit, Exit::Regressed | Exit::Changed),
        is_error: exit == Exit::NotComparable,
        is_skipped: exit == Exit::Inconclusive,
    };
    let mut tests = vec![test("bits", "changed", arm.bits.exit(), bits_reason(arm))];
    if let Some(exit) = arm.time_exit(against.is_timed) {
        tests.push(test("step time", "slower", exit, time_reason(against, arm)));
    }
    tests
}

/// `None` where they are equal.
fn bits_reason(arm: &ArmFound) -> Option<String> {
    Some(match &arm.bits {
        Bits::Equal { .. } => return None,
        Bits::Changed { seed, parts } => format!(
            "changed under seed {seed}: {}; if it is meant, say so where you keep changes, else undo it",
            parts.join(", ")
        ),
        Bits::NotPromised(why) => format!("bits are not compared: {why}"),
        Bits::Failed(reason) => format!("the old one trains it and the new one does not: {reason}"),
        Bits::NotTrained(reason) => format!("not trained: {reason}"),
    })
}

/// `None` where a slowdown that matters is ruled out.
fn time_reason(against: &Against, arm: &ArmFound) -> Option<String> {
    let more = "give more --minutes, or a machine that is not busy";
    let Some(Decision { ratio, standing }) = &arm.time else {
        return arm.time_exit(against.is_timed).map(|_| format!("no step was timed: {more}"));
    };
    match *standing {
        Standing::Slower => Some(format!("slower: a step takes {} longer", percent(ratio.value))),
        Standing::Faster => Some(format!("faster: a step takes {} as long", text::fixed(ratio.value, 3))),
        Standing::Open { within: Some(within) } if within < EFFECT => None,
        // Twice as slow and more is nobody's guess: the blocks agree on nothing.
        Standing::Open { within: Some(within) } if within < 2.0 => {
            let could = percent(within);
            Some(format!("cannot tell: it could still be {could} slower, and no more than that; {more}"))
        }
        Standing::Open { within: None } => Some(format!("cannot tell: too few blocks ({}); {more}", ratio.n)),
        Standing::Open { .. } => Some(format!("cannot tell: the blocks differ too much; {more}")),
    }
}

/// Of a factor, what it adds.
fn percent(factor: f64) -> String {
    let percent = 100.0 * (factor - 1.0);
    let places = if (percent - percent.round()).abs() < 1e-6 || percent > 100.0 { 0 } else { 1 };
    format!("{} %", text::fixed(percent, places))
}

fn line(sign: &str, cells: [&str; COLUMNS.len()]) -> String {
    let cells: Vec<String> = cells.iter().zip(COLUMNS).map(|(cell, width)| fitted(cell, width)).collect();
    format!("{sign:<1} {}", cells.join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::timing::Estimate;
    use crate::stream::Seed;

    fn arm(name: &str, bits: Bits, value: f64, half: f64, standing: Standing) -> ArmFound {
        let ratio = Estimate { value, interval: Some((value - half, value + half)), n: 8 };
        ArmFound { name: name.to_owned(), old_name: None, bits, time: Some(Decision { ratio, standing }) }
    }

    /// Something of every kind.
    fn against() -> Against {
        let (equal, seed) = (Bits::Equal { seed: Seed(0) }, Seed(0));
        let parts = vec!["final weights".to_owned(), "test loss (0.5, now 0.25)".to_owned()];
        let open = |within| Standing::Open { within: Some(within) };
        let renamed = arm("m1: <64> & | _d_", equal.clone(), 0.999, 0.01, open(1.009));
        Against {
            old: "pinbench 0.1.0, 'target/against/main'".to_owned(),
            new: "pinbench 0.1.0".to_owned(),
            arms: vec![
                ArmFound { old_name: Some("m1: small".to_owned()), ..renamed },
                arm("m1: 128", Bits::Changed { seed, parts }, 1.07, 0.02, Standing::Slower),
                arm("c2: 512", Bits::NotPromised("other plans".to_owned()), 1.01, 0.09, open(1.1)),
                ArmFound { time: None, ..arm("c2: 64", equal, 1.0, 0.0, Standing::Faster) },
            ],
            only_old: vec!["m1: 32".to_owned()],
            only_new: vec!["m1: 256".to_owned(), "m1: 512".to_owned()],
            left_out: 3,
            is_timed: true,
        }
    }

    #[test]
    fn the_table_has_a_line_an_arm_a_reason_where_it_does_not_hold_and_fits_a_terminal() {
        let table = table(&against());
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(table.contains("\n✗ m1: 128  ") && table.contains(" 1.070   1.050 to 1.090 8\n"), "{table}");
        let flat = table.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "the old one calls it m1: small",
            "changed under seed 0: final weights, test loss (0.5, now 0.25)",
            "slower: a step takes 7 % longer",
            "it could still be 10 % slower, and no more",
            "no step was timed: give more --minutes",
            "Only the old one has, with this config: m1: 32.",
            "Only the new one has, with this config: m1: 256; m1: 512.",
            "Both have 3 more arms",
            "less than 5 % slower",
            "regressed (exit code 1)",
        ] {
            assert!(flat.contains(part), "{part}\n{table}");
        }
        assert_eq!(table.matches("m1: 32").count(), 1, "{table}");
    }

    #[test]
    fn markdown_and_xml_are_whole_whatever_an_arm_is_called() {
        let markdown = markdown(&against()).unwrap();
        assert!(markdown.contains("m1: &lt;64&gt; &amp; \\| \\_d\\_"), "{markdown}");
        assert!(markdown.contains("| ✗ regressed | m1: 128 | changed | 1.070 |"), "{markdown}");
        let junit = junit(&against()).unwrap();
        assert!(junit.contains("tests=\"8\" failures=\"2\" errors=\"0\" skipped=\"2\""), "{junit}");
        assert!(junit.contains("name=\"m1: &lt;64&gt; &amp; | _d_: step time\""), "{junit}");
        assert!(junit.contains("<failure type=\"slower\" message=\"slower: a step"), "{junit}");
    }

    #[test]
    fn programs_get_every_number() {
        let json: Value = serde_json::from_str(&json(&against())).unwrap();
        assert_eq!((json["verdict"].as_str(), json["exit_code"].as_u64()), (Some("regressed"), Some(1)));
        let slower = &json["arms"][1];
        assert_eq!(
            (slower["bits"]["verdict"].as_str(), slower["bits"]["seed"].as_u64()),
            (Some("changed"), Some(0))
        );
        assert_eq!(
            (slower["step_time"]["standing"].as_str(), slower["step_time"]["blocks"].as_u64()),
            (Some("slower"), Some(8))
        );
        assert!(json["arms"][3]["step_time"].is_null() && json["only_new"].as_array().unwrap().len() == 2);
    }

    #[test]
    fn nothing_in_common_says_so_and_is_not_comparable() {
        let table = table(&Against { arms: vec![], ..against() });
        assert!(table.contains("nothing was compared") && table.contains("(exit code 4)"), "{table}");
    }
}
