//! Findings as JSON.

use serde_json::{Value, json};

use super::{reason, word};
use crate::analyse::gate::{Bits, Comparison, Evidence, Exit, Finding, Findings, Moved};
use crate::experiment::baseline::Gauge;
use crate::stats::Spread;
use crate::stream::Seed;

/// Version of the JSON. Keys are added under the same number, and change or go under the next.
const FORMAT: u32 = 1;

/// Everything, unrounded:
///
/// - `format`; `verdict` and `exit_code` of all;
/// - `files[]`: `experiment`, `profile`, `verdict`, `exit_code`, `false_alarm_rate`;
/// - `files[].findings[]`: `arm` (null: the file), `subject`, `verdict` (`holds`, `alarm`, `inconclusive`,
///   `not_comparable`), `kind` of reason, `reason` in words, `recurred`;
/// - its `test` (null unless by tolerance): `baseline` and `fresh` (`n`, `mean`, `sd`), `shift`, `tolerance`, `effect`,
///   `alpha`, `seeds`, `seeds_needed` and the `scale` of them: `linear`, or `natural_logarithm` for a `step_time`, whose
///   `baseline` and `fresh` also have `geometric_mean`, the multiple of the reference workload that people compare;
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
    let is_log = comparison.gauge == Gauge::StepTime;
    let spread = |spread: Spread| {
        let mut value = json!({ "n": spread.n, "mean": spread.mean, "sd": spread.sd });
        if is_log {
            value["geometric_mean"] = json!(spread.mean.exp());
        }
        value
    };
    json!({
        "scale": if is_log { "natural_logarithm" } else { "linear" },
        "baseline": spread(comparison.baseline),
        "fresh": spread(comparison.fresh),
        "shift": comparison.shift(),
        "tolerance": comparison.tolerance(),
        "effect": comparison.effect,
        "alpha": comparison.alpha,
        "seeds": numbers(&comparison.seeds),
        "seeds_needed": comparison.seeds_needed(),
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
