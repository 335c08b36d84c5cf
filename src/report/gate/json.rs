//! Findings as JSON.

use serde_json::{Value, json};

use super::{reason, word};
use crate::analyse::gate::{Bits, Comparison, Evidence, Exit, Finding, Findings, Look, Moved};
use crate::stats::Spread;
use crate::stream::Seed;

/// Version of the JSON. Keys are added under the same number, and change or go under the next.
const FORMAT: u32 = 2;

/// Everything, unrounded:
///
/// - `format`; `verdict` and `exit_code` of all;
/// - `files[]`: `experiment`, `profile`, `verdict`, `exit_code`, `false_alarm_rate`;
/// - `files[].findings[]`: `arm` (null: the file), `subject`, `verdict` (`holds`, `alarm`, `inconclusive`,
///   `not_comparable`), `kind` of reason, `reason` in words, `recurred`;
/// - its `test` (null unless by tolerance): `look` (`first`: a few seeds; `all`), `baseline` and `fresh` (`n`, `mean`,
///   `sd`), `seeds`, `pairs` (fresh minus baseline, by seed), `shift`, `margin`, `tolerance`, `least_found`, `effect`,
///   `alpha`;
/// - its `bits` (null unless exact): `seeds`, `differing`, and `moved[]`: `seed`, `metric`, `from`, `to`.
pub fn json(files: &[Findings]) -> String {
    let exit = Exit::of(files);
    let value = json!({
        "format": FORMAT,
        "verdict": word(exit),
        "exit_code": exit.code(),
        "files": files.iter().map(file_json).collect::<Vec<Value>>(),
    });
    format!("{value:#}\n")
}

fn file_json(findings: &Findings) -> Value {
    json!({
        "experiment": findings.experiment,
        "profile": findings.profile.to_string(),
        "verdict": word(findings.exit()),
        "exit_code": findings.exit().code(),
        "false_alarm_rate": findings.false_alarm_rate,
        "findings": findings.all.iter().map(|finding| finding_json(findings, finding)).collect::<Vec<Value>>(),
    })
}

fn finding_json(findings: &Findings, finding: &Finding) -> Value {
    let (mut test, mut bits) = (Value::Null, Value::Null);
    match &finding.evidence {
        Some(Evidence::Test(comparison)) => test = test_json(comparison),
        Some(Evidence::Bits(found)) => bits = bits_json(found),
        None => {}
    }
    json!({
        "arm": finding.arm,
        "subject": finding.subject.to_string(),
        "verdict": finding.verdict.to_string().replace(' ', "_"),
        "kind": finding.verdict.kind(),
        "reason": reason(findings, finding),
        "recurred": finding.recurred,
        "test": test,
        "bits": bits,
    })
}

fn test_json(comparison: &Comparison) -> Value {
    let spread = |spread: Spread| json!({ "n": spread.n, "mean": spread.mean, "sd": spread.sd });
    json!({
        "look": if comparison.look == Look::First { "first" } else { "all" },
        "baseline": spread(comparison.baseline),
        "fresh": spread(comparison.fresh),
        "seeds": numbers(&comparison.seeds),
        "pairs": comparison.pairs,
        "shift": comparison.shift(),
        "margin": comparison.margin,
        "tolerance": comparison.tolerance(),
        "least_found": comparison.least_found(),
        "effect": comparison.effect,
        "alpha": comparison.alpha,
    })
}

fn bits_json(bits: &Bits) -> Value {
    let moved = |moved: &Moved| json!({ "seed": moved.seed.0, "metric": moved.gauge.name(), "from": moved.from, "to": moved.to });
    json!({
        "seeds": numbers(&bits.seeds),
        "differing": numbers(&bits.differing),
        "moved": bits.moved.iter().map(moved).collect::<Vec<Value>>(),
    })
}

fn numbers(seeds: &[Seed]) -> Vec<u64> {
    seeds.iter().map(|seed| seed.0).collect()
}
