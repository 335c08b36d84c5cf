//! Claims beside what the runs say of them.

use crate::analyse::{Assessment, Evidence, Verdict};
use crate::report::figure::{FigureError, strip};
use crate::report::view::{ClaimView, EvidenceView, VerdictView};
use crate::text;

pub fn views(assessments: &[Assessment]) -> Result<Vec<ClaimView>, FigureError> {
    assessments.iter().map(view).collect()
}

pub fn view(assessment: &Assessment) -> Result<ClaimView, FigureError> {
    let Assessment { claim, verdict, evidence, remarks } = assessment;
    let anchor: String =
        claim.id.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    let anchor = format!("claim-{}", anchor.to_lowercase());
    let numbered = evidence.iter().enumerate();
    Ok(ClaimView {
        id: claim.id.clone(),
        says: claim.says.clone(),
        verdict: verdict_view(*verdict),
        note: claim.note.as_ref().map(|note| note.trim().to_owned()),
        evidence: numbered
            .map(|(index, evidence)| evidence_view(evidence, &format!("{anchor}-{index}")))
            .collect::<Result<_, _>>()?,
        remarks: remarks.clone(),
        explanations: Vec::new(),
        anchor,
    })
}

/// A word and a sign: colour never carries the verdict alone.
pub fn verdict_view(verdict: Verdict) -> VerdictView {
    let (sign, class) = match verdict {
        Verdict::Supported => ("✓", "supported"),
        Verdict::Refuted => ("✗", "refuted"),
        Verdict::Inconclusive => ("?", "inconclusive"),
        Verdict::NotEvaluated => ("–", "not-evaluated"),
    };
    VerdictView { word: verdict.to_string(), sign: sign.to_owned(), class: class.to_owned() }
}

fn evidence_view(evidence: &Evidence, id: &str) -> Result<EvidenceView, FigureError> {
    let estimate = estimate(evidence);
    let interval = interval(evidence);
    let seeds = text::plural(evidence.values.len(), "seed");
    let margin = amount_unsigned(evidence, evidence.margin);
    let by_seed: Vec<String> = evidence
        .values
        .iter()
        .map(|(seed, value)| format!("seed {seed}: {}", number(evidence, *value)))
        .collect();
    Ok(EvidenceView {
        id: id.to_owned(),
        description: format!(
            "{}. {estimate}, interval {}, margin {margin}. {}.",
            evidence.what,
            interval.as_deref().unwrap_or("none"),
            by_seed.join("; ")
        ),
        what: evidence.what.clone(),
        estimate,
        interval,
        margin,
        seeds,
        effect_size: evidence.effect_size.map(|effect| text::fixed(effect, 1)),
        more: evidence.seeds_more.map(|more| text::plural(more as usize, "more seed")),
        method: evidence.method.to_owned(),
        verdict: verdict_view(evidence.verdict),
        picture: strip::draw(evidence)?,
    })
}

pub fn estimate(evidence: &Evidence) -> String {
    evidence.estimate.map_or_else(|| "no value".to_owned(), |value| amount(evidence, value))
}

pub fn interval(evidence: &Evidence) -> Option<String> {
    let (low, high) = evidence.interval?;
    Some(format!("{} to {}", number(evidence, low), amount(evidence, high)))
}

fn number(evidence: &Evidence, value: f64) -> String {
    text::signed(value, evidence.places)
}

fn amount(evidence: &Evidence, value: f64) -> String {
    with_unit(number(evidence, value), evidence.unit)
}

fn amount_unsigned(evidence: &Evidence, value: f64) -> String {
    with_unit(text::fixed(value, evidence.places), evidence.unit)
}

fn with_unit(number: String, unit: &str) -> String {
    match unit {
        "" => number,
        unit => format!("{number} {unit}"),
    }
}
