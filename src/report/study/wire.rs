//! The explanation for programs: `explanation.json`, and what every process cost as a table.

use serde_json::{Map, Value, json};

use crate::analyse::study::{CurveFound, Demonstration, Part, Point};
use crate::analyse::timing::{Cost, Measured};
use crate::clock::Phase;
use crate::experiment::study::Level;
use crate::language::Language;
use crate::planted::DELAY_NS_PER_IMAGE;
use crate::report::study::Input;

/// Version of the JSON. Keys are added under the same number, and change or go under the next.
pub(crate) const FORMAT: u32 = 2;

pub(crate) const NAME: &str = "explanation.json";

/// Numbers as they were computed: nothing is rounded.
/// `says` are the sentences of each language.
pub(crate) fn to_json(input: &Input, says: &[Vec<String>; Language::ALL.len()]) -> String {
    let [english, korean] = says;
    let Input { study, layout, explanation, .. } = input;
    let (processes, disturbed, repeated) = explanation.processes;
    let hypotheses = study.hypotheses.iter().zip(&explanation.findings).map(|(hypothesis, finding)| {
        json!({
            "id": hypothesis.id,
            "title": hypothesis.title.to_string(),
            "mechanism": hypothesis.mechanism,
            "verdict": finding.verdict.key(),
            "share": finding.share.map(|share| json!({ "value": share.value, "interval": share.interval })),
            "slowdown_given": finding.before,
            "slowdown_left": finding.left,
            "gain": finding.gain,
            "blocks": finding.blocks,
            "gauges": finding.readings,
        })
    });
    let mechanisms = explanation.mechanisms.iter().map(|mechanism| {
        let ids: Vec<&str> =
            mechanism.members.iter().map(|index| study.hypotheses[*index].id.as_str()).collect();
        json!({ "title": mechanism.title.en(), "verdict": mechanism.verdict.key(), "hypotheses": ids })
    });
    let value = json!({
        "format": FORMAT,
        "study": study.id,
        "title": study.title.to_string(),
        "says": english,
        "korean": { "title": study.title.to(Language::Ko), "says": korean },
        "base": layout.base.name.to_string(),
        "plan": layout.base,
        "low": level(&study.low),
        "high": level(&study.high),
        "ideal": study.ideal,
        "reported": study.source.as_ref().map(|source| source.ratio),
        "demonstration": layout.demonstration.as_ref().map(demonstration),
        "blocks": explanation.blocks,
        "alpha": explanation.alpha,
        "tested": explanation.tested,
        "floor": explanation.floor,
        "slowdown": {
            "presence": explanation.presence.name(),
            "ratio": explanation.ratio,
            "above_ideal": explanation.slowdown,
        },
        "mechanisms": mechanisms.collect::<Vec<Value>>(),
        "hypotheses": hypotheses.collect::<Vec<Value>>(),
        "parts": explanation.parts.iter().map(part).collect::<Vec<Value>>(),
        "curve": input.curve.as_ref().map(curve),
        "processes": processes,
        "disturbed": disturbed,
        "repeated": repeated,
        "left_out": explanation.left_out,
        "measurement": input.folder,
        "command": input.command,
    });
    format!("{value:#}\n")
}

fn level(level: &Level) -> Value {
    let set: Map<String, Value> = level.set.config.iter().cloned().collect();
    json!({ "name": level.name.to_string(), "experiment": level.experiment, "set": set })
}

fn demonstration(demonstration: &Demonstration) -> Value {
    match demonstration {
        Demonstration::Alike => json!({ "kind": "aa" }),
        Demonstration::Planted(planted) => json!({
            "kind": "planted",
            "fault": planted.name(),
            "part": planted.phase().map(Phase::name),
            // What a slow step takes is a part of it and not known beforehand.
            "us_per_image": planted.longer_percent().is_none().then_some(DELAY_NS_PER_IMAGE as f64 / 1e3),
        }),
    }
}

fn part(part: &Part) -> Value {
    json!({
        "part": Phase::ALL.get(part.part).map_or("rest", |phase| phase.name()),
        "low_us": part.low_us,
        "high_us": part.high_us,
        "more_us": part.more_us,
    })
}

fn curve(curve: &CurveFound) -> Value {
    let cost = |cost: &Option<Cost>| {
        cost.as_ref().map(|cost| {
            json!({
                "us_per_image": cost.us_per_image,
                "faults_per_step": cost.faults_per_step,
                "system_share": cost.system_share,
            })
        })
    };
    let point = |point: &Point| json!({ "value": point.value, "base": cost(&point.base), "removed": cost(&point.removed) });
    json!({ "points": curve.points.iter().map(point).collect::<Vec<Value>>(), "rise": curve.rise })
}

pub(crate) fn csv(measured: &Measured) -> String {
    let phases = Phase::ALL.map(|phase| format!("{}_us", phase.name())).join(",");
    let mut csv = format!(
        "block,condition,attempts,disturbed,steps,us_per_image,faults_per_step,system_ms_per_step,peak_rss_bytes,{phases}\n"
    );
    for (block, of) in &measured.blocks {
        for (condition, process) in &of.processes {
            let cost = &process.cost;
            let name = measured.design.conditions[*condition].name.replace('"', "\"\"");
            let parts = Phase::ALL.map(|phase| cost.phase_us_per_image(phase).to_string()).join(",");
            csv.push_str(&format!(
                "{block},\"{name}\",{},{},{},{},{},{},{},{parts}\n",
                process.attempts,
                process.disturbed.map(|share| share.to_string()).unwrap_or_default(),
                cost.steps,
                cost.us_per_image,
                cost.faults_per_step,
                cost.system_ms_per_step,
                cost.peak_rss_bytes.map(|bytes| bytes.to_string()).unwrap_or_default()
            ));
        }
    }
    csv
}
