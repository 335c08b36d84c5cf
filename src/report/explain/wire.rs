//! The explanation for programs: `explanation.json`.

use serde_json::{Value, json};

use crate::analyse::explain::{
    Demonstration, Estimate, Explanation, Finding, Gain, LARGE, PartExcess, Presence, SMALL, Share,
};
use crate::clock::Phase;
use crate::planted::{DELAY_NS_PER_IMAGE, Planted};
use crate::report::explain::glance::{glance, title};

/// Version of the JSON. Keys are added under the same number, and change or go under the next.
pub const FORMAT: u32 = 1;

/// Numbers as they were computed: nothing is rounded.
pub fn to_json(explanation: &Explanation) -> String {
    let design = &explanation.design;
    let value = json!({
        "format": FORMAT,
        "title": title(explanation),
        "says": glance(explanation),
        "base": design.base.name.to_string(),
        "threads": design.base.threads,
        "batches": design.batches,
        "small": SMALL,
        "large": LARGE,
        "blocks": explanation.blocks,
        "demonstration": design.demonstration.as_ref().map(demonstration),
        "slowdown": slowdown(explanation),
        "parts": explanation.parts.iter().map(part).collect::<Vec<Value>>(),
        "findings": explanation.findings.iter().map(finding).collect::<Vec<Value>>(),
        "knobs": explanation.gains.iter().map(knob).collect::<Vec<Value>>(),
        "gaps": explanation.gaps.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "warnings": explanation.warnings,
    });
    format!("{value:#}\n")
}

fn demonstration(demonstration: &Demonstration) -> Value {
    match demonstration {
        Demonstration::Alike => json!({ "kind": "aa" }),
        Demonstration::Planted(planted) => json!({
            "kind": "planted",
            "fault": planted.name(),
            "part": planted.phase().map(Phase::name),
            // What a slow step takes is a part of it and not known beforehand.
            "us_per_image": (*planted != Planted::SlowStep).then_some(DELAY_NS_PER_IMAGE as f64 / 1e3),
        }),
    }
}

fn slowdown(explanation: &Explanation) -> Value {
    let presence = explanation.presence().map(|presence| match presence {
        Presence::Found => "found",
        Presence::Absent => "absent",
        Presence::Undecided => "undecided",
    });
    json!({ "presence": presence, "ratio": explanation.slowdown.as_ref().map(estimate) })
}

fn part(part: &PartExcess) -> Value {
    json!({
        "part": Phase::ALL.get(part.part).map_or("rest", |phase| phase.name()),
        "small_us": part.small_us,
        "more_us": estimate(&part.us),
        "share": part.share.as_ref().map(share),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "id": finding.hypothesis.id,
        "title": finding.hypothesis.title,
        "of": finding.of.name(),
        "verdict": finding.verdict.to_string().replace(' ', "_"),
        "share": finding.share.as_ref().map(share),
        "share_us": finding.share_us.as_ref().map(share),
        "slowdown_left": finding.left.as_ref().map(estimate),
    })
}

fn knob(gain: &Gain) -> Value {
    json!({
        "knob": gain.variant.name(),
        "small": gain.small.as_ref().map(estimate),
        "large": gain.large.as_ref().map(estimate),
        "slowdown": gain.slowdown.as_ref().map(estimate),
    })
}

fn estimate(estimate: &Estimate) -> Value {
    json!({ "value": estimate.value, "interval": estimate.interval, "n": estimate.n })
}

fn share(share: &Share) -> Value {
    json!({ "value": share.value, "interval": share.interval, "n": share.n })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated;

    fn value(explanation: &Explanation) -> Value {
        serde_json::from_str(&to_json(explanation)).unwrap()
    }

    #[test]
    fn json_has_the_documented_keys() {
        let value = value(&Explanation::of(&simulated::design(), &simulated::faults(3, 8), None));
        assert_eq!((&value["format"], &value["base"]), (&json!(1), &json!("eager")));
        assert_eq!(
            (&value["demonstration"], &value["slowdown"]["presence"]),
            (&Value::Null, &json!("found"))
        );
        assert_eq!(value["slowdown"]["ratio"]["interval"].as_array().unwrap().len(), 2);
        let parts = value["parts"].as_array().unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part["part"].as_str().unwrap()).collect();
        assert_eq!(names, ["load", "copy", "forward", "backward", "optimizer", "read_back", "rest"]);
        assert!((parts[3]["more_us"]["value"].as_f64().unwrap() / 250.0 - 1.0).abs() < 0.2);
        let findings = value["findings"].as_array().unwrap();
        let faults = findings.iter().find(|finding| finding["id"] == "faults").unwrap();
        assert_eq!((&faults["verdict"], &faults["of"]), (&json!("main_cause"), &json!("base")));
        for share in ["share", "share_us"] {
            assert!((faults[share]["value"].as_f64().unwrap() - 1.0).abs() < 0.2, "{share}");
        }
        for key in
            ["batches", "small", "large", "blocks", "threads", "knobs", "gaps", "warnings", "title", "says"]
        {
            assert!(!value[key].is_null(), "{key}");
        }
    }

    #[test]
    fn what_is_not_known_is_null() {
        let value = value(&Explanation::of(&simulated::design(), &[], None));
        assert_eq!(value["slowdown"], json!({ "presence": null, "ratio": null }));
        assert_eq!(value["parts"], json!([]));
    }

    #[test]
    fn a_demonstration_says_what_it_is() {
        let planted = demonstration(&Demonstration::Planted(Planted::DelayLoad));
        assert_eq!(
            planted,
            json!({ "kind": "planted", "fault": "delay-load", "part": "load", "us_per_image": 150.0 })
        );
        assert!(demonstration(&Demonstration::Planted(Planted::SlowStep))["us_per_image"].is_null());
        assert_eq!(demonstration(&Demonstration::Alike), json!({ "kind": "aa" }));
    }
}
