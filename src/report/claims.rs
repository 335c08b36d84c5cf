//! Claims beside what the runs say of them.

use crate::analyse::{Assessment, Evidence, Held, Verdict};
use crate::experiment::Setting;
use crate::experiment::claim::Claim;
use crate::report::amount::{amount, amount_unsigned, estimate, interval, number, with_unit, written};
use crate::report::figure::{FigureError, strip};
use crate::report::view::{ClaimView, EvidenceView, HeldView, PictureView, VerdictView};
use crate::stream::Seed;
use crate::text;
use crate::words::Words;

/// `height`: of the strips of their comparisons, in pixels.
pub(super) fn views(
    assessments: &[Assessment],
    height: i32,
    words: Words,
) -> Result<Vec<ClaimView>, FigureError> {
    assessments.iter().map(|assessment| view(assessment, height, words)).collect()
}

fn view(assessment: &Assessment, height: i32, words: Words) -> Result<ClaimView, FigureError> {
    let Assessment { claim, verdict, evidence, remarks, setting, .. } = assessment;
    let numbered = evidence.iter().enumerate();
    let anchor = anchor(&claim.id);
    Ok(ClaimView {
        id: claim.id.clone(),
        says: claim.says.to(words.language).to_owned(),
        verdict: verdict_view(*verdict, *setting, words),
        parts: assessment.in_parts(words),
        q: None,
        repeats: None,
        note: claim.note.as_ref().map(|note| note.to(words.language).to_owned()),
        evidence: numbered
            .map(|(index, evidence)| {
                let picture = strip::draw(evidence, height, words)?;
                Ok(evidence_view(evidence, *setting, format!("{anchor}-{index}"), picture, words))
            })
            .collect::<Result<_, _>>()?,
        remarks: remarks.iter().map(|remark| remark.to(words.language).to_owned()).collect(),
        figures: Vec::new(),
        explanations: Vec::new(),
        anchor,
    })
}

/// Id of a claim's place on its page.
pub(super) fn anchor(id: &str) -> String {
    format!("claim-{}", Claim::place(id))
}

/// Words and a sign: colour never carries the verdict alone.
pub(super) fn verdict_view(verdict: Verdict, setting: Setting, words: Words) -> VerdictView {
    let (sign, class) = match verdict {
        Verdict::Supported => ("✓", "supported"),
        Verdict::Partly => ("◐", "partly"),
        Verdict::Refuted => ("✗", "refuted"),
        Verdict::Inconclusive => ("?", "inconclusive"),
        Verdict::NotEvaluated => ("–", "not-evaluated"),
    };
    let word = verdict.says(setting, words).to_owned();
    VerdictView { word, sign: sign.to_owned(), class: class.to_owned() }
}

fn held_view(held: Held) -> HeldView {
    HeldView {
        seeds: held.seeds.to_string(),
        of: held.of.to_string(),
        low: text::fixed(held.interval.0, 2),
        high: text::fixed(held.interval.1, 2),
    }
}

/// What a strip shows, for those who do not see it.
fn description(
    evidence: &Evidence,
    what: &str,
    estimate: &str,
    interval: Option<&str>,
    margin: &str,
    words: Words,
) -> String {
    let none = if evidence.is_informative { "word.none" } else { "evidence.uninformative" };
    let by_seed = |(seed, value): &(Seed, f64)| {
        words.say("evidence.seed-value", &[("seed", seed), ("value", &number(evidence, *value))])
    };
    let by_seed: Vec<String> = words.some(evidence.values.iter().map(by_seed));
    words.say(
        "evidence.description",
        &[
            ("what", &what),
            ("estimate", &estimate),
            ("interval", &interval.unwrap_or(words.word(none))),
            ("margin", &margin),
            ("seeds", &words.join(&by_seed)),
        ],
    )
}

fn evidence_view(
    evidence: &Evidence,
    setting: Setting,
    id: String,
    picture: Option<PictureView>,
    words: Words,
) -> EvidenceView {
    let what = evidence.what.to(words.language);
    let estimate = estimate(evidence, words);
    let interval = interval(evidence, words);
    let seeds = words.count("word.seed-count", evidence.values.len(), &[]);
    let margin = amount_unsigned(evidence, evidence.margin, words);
    let is_open = evidence.verdict == Verdict::Inconclusive;
    EvidenceView {
        id,
        description: description(evidence, what, &estimate, interval.as_deref(), &margin, words),
        what: what.to_owned(),
        estimate,
        interval,
        theirs: evidence.theirs.map(|value| amount(evidence, value, words)),
        strict: strict(evidence, words),
        bound: evidence.bound.map(|bound| amount_unsigned(evidence, bound.value, words)),
        margin,
        seeds,
        is_informative: evidence.is_informative,
        is_repeated: evidence.repeats.is_some(),
        held: evidence.held.map(held_view),
        effect_size: evidence
            .effect_size
            .filter(|_| evidence.bound.is_none())
            .map(|effect| text::fixed(effect, 1)),
        detectable: evidence
            .detectable
            .filter(|_| is_open && evidence.is_informative)
            .map(|effect| amount_unsigned(evidence, effect, words)),
        is_equality: evidence.is_two_sided,
        is_different: is_open
            && evidence.is_two_sided
            && evidence.is_informative
            && evidence.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0),
        method: format!("{}{}", words.word(evidence.method), of_ratios(evidence, words)),
        verdict: verdict_view(evidence.verdict, setting, words),
        picture,
    }
}

/// A table beside it may have the means of both arms, of which it is not the quotient.
fn of_ratios(evidence: &Evidence, words: Words) -> &'static str {
    if evidence.is_ratio { words.word("evidence.of-ratios") } else { "" }
}

/// The wider interval that keeps a part of a claim from counting against it, where the one that is shown would.
fn strict(evidence: &Evidence, words: Words) -> Option<String> {
    let is_open = evidence.verdict == Verdict::Inconclusive && evidence.is_informative;
    let (low, high) = evidence.interval.filter(|_| is_open)?;
    let seems_refuted = match evidence.is_two_sided {
        true => low > evidence.margin || high < -evidence.margin,
        false => high < evidence.margin,
    };
    let (low, high) = evidence.shown_ends(evidence.strict.filter(|_| seems_refuted)?);
    Some(words.range(&written(evidence, low), &with_unit(written(evidence, high), evidence, words)))
}
