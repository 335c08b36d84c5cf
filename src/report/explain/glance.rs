//! What the page and the terminal say first.

use crate::analyse::explain::{
    Demonstration, Estimate, Explanation, Finding, LARGE, LEAST_SLOWDOWN, Presence, SMALL, Variant, Verdict,
};
use crate::planted::{DELAY_NS_PER_IMAGE, Planted};
use crate::report::explain::{ratio, whole};
use crate::report::figure::{phases, waterfall};
use crate::text;

pub fn title(explanation: &Explanation) -> String {
    match explanation.design.demonstration {
        None => format!("Why batch {LARGE} is slower than batch {SMALL}"),
        Some(Demonstration::Planted(_)) => {
            format!("Demonstration with a planted fault: why batch {LARGE} is slower than batch {SMALL}")
        }
        Some(Demonstration::Alike) => {
            format!("Demonstration without a difference: “batch {LARGE}” against batch {SMALL}")
        }
    }
}

/// What was done on purpose, and what should therefore be found.
fn demonstration(demonstration: &Demonstration) -> String {
    match demonstration {
        Demonstration::Planted(planted) => {
            let size = match planted {
                Planted::SlowStep => "a fifth of its time so far".to_owned(),
                _ => format!("{} µs an image", DELAY_NS_PER_IMAGE / 1000),
            };
            let phase = planted.phase().map_or("no part", |phase| phases::name(phase as usize));
            format!(
                "This is a demonstration with a planted fault and says nothing of any real slowdown: each step of \
                 batches from {LARGE} on waits {size} at the end of {phase} ('{planted}'). That is to be found below."
            )
        }
        Demonstration::Alike => format!(
            "This is a demonstration without a difference (an A/A run) and says nothing of any real slowdown: whatever a \
             condition is called, it was batch {SMALL} under the base. Nothing is to be found below."
        ),
    }
}

pub fn glance(explanation: &Explanation) -> Vec<String> {
    let mut sentences: Vec<String> = explanation.design.demonstration.iter().map(demonstration).collect();
    let (Some(slowdown), Some(presence)) = (&explanation.slowdown, explanation.presence()) else {
        sentences.push(format!("Batches {SMALL} and {LARGE} have not both been measured in any block yet."));
        return sentences;
    };
    let costs = format!(
        "an image in a batch of {LARGE} costs {} what it costs in a batch of {SMALL}, over {}",
        ratio(slowdown),
        text::plural(explanation.blocks, "block")
    );
    let least = text::fixed(LEAST_SLOWDOWN, 2);
    match presence {
        Presence::Found => sentences.extend(found(explanation, slowdown)),
        Presence::Absent => sentences.push(format!(
            "There is no slowdown here to explain: {costs}, and a slowdown would have to be told from 1 and be at least \
             {least}."
        )),
        Presence::Undecided => sentences.push(format!(
            "Whether there is a slowdown here is not decided: {costs}. The interval has to lie above 1, or else below \
             {least}; measure more blocks (`--blocks`)."
        )),
    }
    if presence != Presence::Found {
        // What makes another variant slow has not to be in the base.
        sentences.extend(explanation.findings.iter().filter_map(blamed));
    }
    sentences
}

/// A cause that was found.
fn blamed(finding: &Finding) -> Option<String> {
    let (Verdict::Cause | Verdict::Contributes) = finding.verdict else { return None };
    let share = finding.share.as_ref()?;
    let of = if finding.of == Variant::Base { "it".to_owned() } else { whole(finding) };
    Some(format!(
        "{}: {}, explains {} of {of}.",
        finding.hypothesis.title,
        finding.verdict,
        waterfall::share(share)
    ))
}

fn found(explanation: &Explanation, slowdown: &Estimate) -> Vec<String> {
    let whose = match explanation.design.demonstration {
        None => ": the notes' slowdown is here too, on a processor",
        Some(_) => "",
    };
    let mut sentences = vec![format!(
        "An image in a batch of {LARGE} costs {} what it costs in a batch of {SMALL}{whose} (95 % interval, {}).",
        ratio(slowdown),
        text::plural(explanation.blocks, "block")
    )];
    sentences.extend(explanation.findings.iter().filter_map(blamed));
    if sentences.len() == 1 {
        sentences.push("None of the hypotheses tested here is found to explain it.".to_owned());
    }
    sentences.extend(largest_part(explanation));
    if let Some(rest) = explanation.waterfall.as_ref().and_then(|waterfall| waterfall.steps.last()) {
        sentences.push(format!("Unexplained by memory: {}.", waterfall::share(&rest.share)));
    }
    let tuned = explanation.gains.iter().find(|gain| gain.variant == Variant::Tuned);
    if let Some(large) = tuned.and_then(|gain| gain.large.as_ref()) {
        sentences.push(format!(
            "With every knob turned, an image in a batch of {LARGE} costs {} what it cost.",
            ratio(large)
        ));
    }
    sentences
}

fn largest_part(explanation: &Explanation) -> Option<String> {
    let part = explanation.largest_part()?;
    let share = part.share.as_ref()?;
    let number = |value: f64| text::signed(value, 1);
    let interval = part
        .us
        .interval
        .map_or_else(String::new, |(low, high)| format!(" ({} to {})", number(low), number(high)));
    Some(format!(
        "The largest part of the additional time is spent in {}: {} µs an image{interval}, {} of all.",
        phases::name(part.part),
        number(part.us.value),
        waterfall::share(share)
    ))
}
