//! Claims beside what the runs say of them.

use crate::analyse::{Assessment, Evidence, Verdict};
use crate::report::figure::{FigureError, strip};
use crate::report::view::{ClaimView, EvidenceView, HeldView, VerdictView};
use crate::stream::Seed;
use crate::text;

pub fn views(assessments: &[Assessment]) -> Result<Vec<ClaimView>, FigureError> {
    assessments.iter().map(view).collect()
}

pub fn view(assessment: &Assessment) -> Result<ClaimView, FigureError> {
    let Assessment { claim, verdict, evidence, remarks, is_reduced, .. } = assessment;
    let numbered = evidence.iter().enumerate();
    let anchor = anchor(&claim.id);
    Ok(ClaimView {
        id: claim.id.clone(),
        says: claim.says.clone(),
        verdict: verdict_view(*verdict, *is_reduced),
        parts: assessment.in_parts(),
        q: None,
        repeats: None,
        note: claim.note.as_ref().map(|note| note.trim().to_owned()),
        evidence: numbered
            .map(|(index, evidence)| evidence_view(evidence, *is_reduced, &format!("{anchor}-{index}")))
            .collect::<Result<_, _>>()?,
        remarks: remarks.clone(),
        figures: Vec::new(),
        explanations: Vec::new(),
        anchor,
    })
}

/// Id of a claim's place on its page.
pub fn anchor(id: &str) -> String {
    let letters = id.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' });
    format!("claim-{}", letters.collect::<String>().to_lowercase())
}

/// Words and a sign: colour never carries the verdict alone.
pub fn verdict_view(verdict: Verdict, is_reduced: bool) -> VerdictView {
    let (sign, class) = match verdict {
        Verdict::Supported => ("✓", "supported"),
        Verdict::Partly => ("◐", "partly"),
        Verdict::Refuted => ("✗", "refuted"),
        Verdict::Inconclusive => ("?", "inconclusive"),
        Verdict::NotEvaluated => ("–", "not-evaluated"),
    };
    let word = verdict.says(is_reduced).to_owned();
    VerdictView { word, sign: sign.to_owned(), class: class.to_owned() }
}

fn evidence_view(evidence: &Evidence, is_reduced: bool, id: &str) -> Result<EvidenceView, FigureError> {
    let estimate = estimate(evidence);
    let interval = interval(evidence);
    let seeds = text::plural(evidence.values.len(), "seed");
    let margin = amount_unsigned(evidence, evidence.margin);
    let by_seed = |(seed, value): &(Seed, f64)| format!("seed {seed}: {}", number(evidence, *value));
    let by_seed: Vec<String> = evidence.values.iter().map(by_seed).collect();
    let is_open = evidence.verdict == Verdict::Inconclusive;
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
        strict: strict(evidence),
        bound: evidence.bound.map(|bound| amount_unsigned(evidence, bound.value)),
        margin,
        seeds,
        is_informative: evidence.is_informative,
        is_repeated: evidence.repeats.is_some(),
        held: evidence.held.map(|held| HeldView {
            seeds: held.seeds.to_string(),
            of: text::plural(held.of, "seed"),
            low: text::fixed(held.interval.0, 2),
            high: text::fixed(held.interval.1, 2),
        }),
        effect_size: evidence.effect_size.map(|effect| text::fixed(effect, 1)),
        detectable: evidence
            .detectable
            .filter(|_| is_open && evidence.is_informative)
            .map(|effect| amount_unsigned(evidence, effect)),
        is_equality: evidence.is_two_sided,
        method: evidence.method.to_owned(),
        verdict: verdict_view(evidence.verdict, is_reduced),
        picture: strip::draw(evidence)?,
    })
}

pub fn estimate(evidence: &Evidence) -> String {
    evidence.estimate.map_or_else(|| "no value".to_owned(), |value| amount(evidence, value))
}

/// The wider interval that keeps a part of a claim from counting against it, where the one that is shown would.
fn strict(evidence: &Evidence) -> Option<String> {
    let is_open = evidence.verdict == Verdict::Inconclusive && evidence.is_informative;
    let (low, high) = evidence.interval.filter(|_| is_open)?;
    let seems_refuted = match evidence.is_two_sided {
        true => low > evidence.margin || high < -evidence.margin,
        false => high < evidence.margin,
    };
    let (low, high) = evidence.shown_ends(evidence.strict.filter(|_| seems_refuted)?);
    Some(format!("{} to {}", written(evidence, low), with_unit(written(evidence, high), evidence.unit)))
}

/// `None` too where it would be wider than all there can be.
pub fn interval(evidence: &Evidence) -> Option<String> {
    let (low, high) = evidence.shown_interval().filter(|_| evidence.is_informative)?;
    let low = written(evidence, low);
    Some(format!("{low} to {}", with_unit(written(evidence, high), evidence.unit)))
}

fn number(evidence: &Evidence, value: f64) -> String {
    written(evidence, evidence.shown(value))
}

/// A difference has a sign, the mean of an arm has one only if it is below 0.
fn written(evidence: &Evidence, shown: f64) -> String {
    match evidence.bound {
        Some(_) => text::fixed(shown, evidence.places),
        None => text::signed(shown, evidence.places),
    }
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
