//! The study at a glance: every experiment, every claim and its verdict; and the page of the open questions.

use std::collections::BTreeSet;

use crate::analyse::{Assessment, Evidence, Summary, Verdict, assess};
use crate::experiment::ProfileName;
use crate::experiment::front::Front;
use crate::report::figure::{FigureError, by_arm, strip};
use crate::report::page::capitalised;
use crate::report::view::{
    ClaimLinkView, CountView, DownloadView, ExplanationView, FindingView, IndexEntryView, IndexView, ManyView,
};
use crate::report::{Download, Explained, Input, claims, glance};
use crate::stats::inference;
use crate::text;

/// What the pages over all experiments say of one: little beside its runs, which need not stay in memory.
pub struct Entry {
    view: IndexEntryView,
    profile: ProfileName,
    is_full: bool,
    claims: Vec<Rated>,
}

/// What is kept of a claim until all are there.
struct Rated {
    id: String,
    verdict: Verdict,
    p: Option<f64>,
    /// See [`Assessment::basis`].
    basis: Vec<String>,
    /// Fields of its lines in the table of claims: those of the claim up to its q, those after, and those of each evidence.
    fields: (String, Vec<String>),
}

/// Where a claim stands among all.
#[derive(Clone, Default)]
struct Among {
    q: Option<f64>,
    /// The experiment and the claim it repeats.
    repeats: Option<(String, String)>,
}

impl Entry {
    /// `is_made` says whether the experiment's own page lies beside the index: what is not there is not linked.
    ///
    /// `findings` are ids of claims that a reader sees first, with a figure.
    pub fn of(input: &Input, is_made: bool, findings: &[String]) -> Result<Self, FigureError> {
        let summary = Summary::of(input.experiment, &input.arms);
        let assessments = assess(input.experiment, &summary);
        let mut view = entry(input, &summary, &assessments, is_made)?;
        for (view, assessment) in view.claims.iter_mut().zip(&assessments) {
            if findings.contains(&view.id) && assessment.verdict != Verdict::NotEvaluated {
                view.figures = by_arm::draw(assessment.claim, &summary, &format!("found-{}", view.anchor))?;
            }
        }
        Ok(Self {
            view,
            profile: input.experiment.profile.name.clone(),
            is_full: input.experiment.profile.changes.is_empty(),
            claims: assessments.iter().map(|assessment| rated(input, assessment)).collect(),
        })
    }
}

/// `command` runs all of it again.
pub fn view(
    entries: Vec<Entry>,
    explanations: &[Explained],
    front: Option<&Front>,
    command: &str,
    downloads: &[Download],
) -> Result<IndexView, FigureError> {
    let is_reduced = !entries.is_empty() && entries.iter().all(|entry| !entry.is_full);
    let count = |verdict: Verdict| {
        let claims = entries.iter().flat_map(|entry| &entry.claims);
        CountView {
            verdict: claims::verdict_view(verdict, is_reduced),
            count: claims.filter(|claim| claim.verdict == verdict).count(),
        }
    };
    let counts: Vec<CountView> = Verdict::ALL.into_iter().map(count).collect();
    let among = among(&entries);
    let many = many(&entries, &among);
    let profiles: BTreeSet<&ProfileName> = entries.iter().map(|entry| &entry.profile).collect();
    let profile = match profiles.into_iter().collect::<Vec<_>>()[..] {
        [one] => one.to_string(),
        _ => String::new(),
    };
    let is_full = entries.iter().all(|entry| entry.is_full);
    let has_page: Vec<String> =
        entries.iter().filter(|entry| entry.view.has_page).map(|entry| entry.view.id.clone()).collect();
    let mut places = among.into_iter();
    let experiments = entries.into_iter().map(|entry| {
        let mut view = entry.view;
        for (claim, among) in view.claims.iter_mut().zip(places.by_ref()) {
            claim.q = among.q.map(written_q);
            claim.repeats = among.repeats.map(|(experiment, id)| {
                let href = format!("{experiment}/index.html#{}", claims::anchor(&id));
                ClaimLinkView { id, href: has_page.contains(&experiment).then_some(href) }
            });
        }
        view
    });
    let mut experiments: Vec<IndexEntryView> = experiments.collect();
    let findings =
        front.map_or_else(Vec::new, |front| findings(&front.findings, &mut experiments, explanations));
    let download = |download: &Download| DownloadView {
        name: download.name.clone(),
        about: download.about.clone(),
        size: text::bytes(download.bytes.len() as u64),
    };
    Ok(IndexView {
        profile,
        is_full,
        claims: counts.iter().map(|count| count.count).sum(),
        many,
        ruler: strip::ruler()?,
        counts,
        explanations: explanations.iter().map(|explained| ExplanationView::of(explained, "", "")).collect(),
        title: front.map(|front| front.title.clone()),
        why: front.map(|front| front.why.trim().to_owned()),
        findings,
        experiments,
        command: command.to_owned(),
        downloads: downloads.iter().map(download).collect(),
    })
}

/// Those that stand for themselves first, then those that answer a question, unless somebody has said an order.
pub fn ordered(mut entries: Vec<Entry>, front: Option<&Front>) -> Vec<Entry> {
    let order = front.map_or(&[][..], |front| &front.order);
    let place = |entry: &Entry| {
        let said = order.iter().position(|id| *id == entry.view.id);
        (said.unwrap_or(order.len()), entry.view.question.is_some())
    };
    entries.sort_by_key(place);
    entries
}

/// Those that there is something of, each with its claim or its explanation.
fn findings(
    ids: &[String],
    experiments: &mut [IndexEntryView],
    explanations: &[Explained],
) -> Vec<FindingView> {
    let mut found = Vec::new();
    for id in ids {
        if let Some(explained) = explanations.iter().find(|explained| explained.folder == *id) {
            let explanation = Some(ExplanationView::of(explained, "", ""));
            found.push(FindingView { explanation, claim: None, figures: Vec::new(), href: None });
        }
        for entry in experiments.iter_mut() {
            let Some(claim) = entry.claims.iter_mut().find(|claim| claim.id == *id) else { continue };
            let figures = std::mem::take(&mut claim.figures);
            let href = entry.has_page.then(|| format!("{}/index.html#{}", entry.id, claim.anchor));
            if !figures.is_empty() {
                found.push(FindingView { explanation: None, claim: Some(claim.clone()), figures, href });
            }
        }
    }
    found
}

fn entry(
    input: &Input,
    summary: &Summary,
    assessments: &[Assessment],
    is_made: bool,
) -> Result<IndexEntryView, FigureError> {
    let experiment = input.experiment;
    let profile = &experiment.profile;
    let (due, counted) = summary.trainings();
    Ok(IndexEntryView {
        id: experiment.id.clone(),
        title: experiment.title.clone(),
        question: experiment.question.clone(),
        why: experiment.why.trim().to_owned(),
        runs: format!(
            "{} of {}, {} over {}",
            text::count(counted as u64),
            text::plural(due, "run"),
            text::plural(summary.distinct().count(), "arm"),
            text::plural(summary.seeds.len(), "seed")
        ),
        left_out: input.left_out.as_deref().map(capitalised),
        has_runs: counted > 0,
        has_page: counted > 0 && is_made,
        changes: profile.changes.join(", "),
        glance: glance::sentences(summary, experiment).into_iter().take(1).collect(),
        claims: claims::views(assessments)?,
    })
}

/// Up to which q a verdict is one of those a reader may take as found.
const LEVEL: f64 = 0.1;

/// Every claim's place, in the order of the entries and their claims.
fn among(entries: &[Entry]) -> Vec<Among> {
    let all: Vec<(&Entry, &Rated)> =
        entries.iter().flat_map(|entry| entry.claims.iter().map(move |claim| (entry, claim))).collect();
    let repeats = |index: usize| {
        let (_, claim) = all[index];
        let is_known =
            |(_, earlier): &&(&Entry, &Rated)| claim.basis.iter().all(|one| earlier.basis.contains(one));
        let earlier = all[..index].iter().find(is_known).filter(|_| !claim.basis.is_empty());
        earlier.map(|(entry, earlier)| (entry.view.id.clone(), earlier.id.clone()))
    };
    let mut among: Vec<Among> =
        (0..all.len()).map(|index| Among { q: None, repeats: repeats(index) }).collect();
    let tested: Vec<(usize, f64)> = (0..all.len())
        .filter(|&index| among[index].repeats.is_none())
        .filter_map(|index| Some((index, all[index].1.p?)))
        .collect();
    let q = inference::q_values(&tested.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    for ((index, _), q) in tested.into_iter().zip(q) {
        among[index].q = Some(q);
    }
    among
}

fn many(entries: &[Entry], among: &[Among]) -> ManyView {
    let verdicts = entries.iter().flat_map(|entry| entry.claims.iter().map(|claim| claim.verdict));
    let tested: Vec<(Verdict, f64)> =
        verdicts.zip(among).filter_map(|(verdict, among)| Some((verdict, among.q?))).collect();
    let decides = |verdict| matches!(verdict, Verdict::Supported | Verdict::Partly | Verdict::Refuted);
    let decided: Vec<f64> = tested.iter().filter(|(verdict, _)| decides(*verdict)).map(|(_, q)| *q).collect();
    let any = inference::any_dependence(tested.len());
    ManyView {
        tests: tested.len(),
        decided: decided.len(),
        survive: decided.iter().filter(|q| **q <= LEVEL).count(),
        survive_any_dependence: decided.iter().filter(|q| **q * any <= LEVEL).count(),
        level: text::fixed(LEVEL * 100.0, 0),
    }
}

/// `= 0.031`, and `< 0.001` where that would be 0.
fn written_q(q: f64) -> String {
    if q < 0.001 { "< 0.001".to_owned() } else { format!("= {}", text::fixed(q, 3)) }
}

/// Of `claims.csv`.
pub const CLAIMS_HEADER: &str = "experiment,profile,setting,claim,says,verdict,q,repeats,evidence,estimate,low,high,unit,bound,margin,seeds,held,effect_size,detectable,p,evidence_verdict";

/// One line a comparison: what was claimed, what was found, and the verdict on it.
pub fn claims_csv(entries: &[Entry]) -> Vec<u8> {
    let mut text = format!("{CLAIMS_HEADER}\n");
    let claims = entries.iter().flat_map(|entry| &entry.claims);
    for (claim, among) in claims.zip(among(entries)) {
        let (start, lines) = &claim.fields;
        let repeats = among.repeats.map(|(_, id)| id).unwrap_or_default();
        for line in lines {
            text.push_str(&format!("{start},{},{},{line}\n", number(among.q), quoted(&repeats)));
        }
    }
    text.into_bytes()
}

fn rated(input: &Input, assessment: &Assessment) -> Rated {
    let Assessment { claim, verdict, evidence, p, is_reduced, .. } = assessment;
    let experiment = input.experiment;
    let setting = if *is_reduced { "reduced" } else { "its own" };
    let start =
        [&experiment.id, &experiment.profile.name.0, setting, &claim.id, &claim.says, &verdict.to_string()]
            .map(quoted)
            .join(",");
    let lines = match evidence.is_empty() {
        true => vec![",".repeat(12)],
        false => evidence.iter().map(fields).collect(),
    };
    Rated {
        id: claim.id.clone(),
        verdict: *verdict,
        p: *p,
        basis: assessment.basis().into_iter().map(str::to_owned).collect(),
        fields: (start, lines),
    }
}

fn fields(evidence: &Evidence) -> String {
    let interval = evidence.shown_interval();
    [
        quoted(&evidence.what),
        number(evidence.estimate.map(|value| evidence.shown(value))),
        number(interval.map(|(low, _)| low)),
        number(interval.map(|(_, high)| high)),
        quoted(evidence.unit),
        number(evidence.bound.map(|bound| bound.value)),
        evidence.margin.to_string(),
        evidence.values.len().to_string(),
        evidence.held.map(|held| held.seeds.to_string()).unwrap_or_default(),
        number(evidence.effect_size),
        number(evidence.detectable),
        number(match evidence.verdict {
            Verdict::Refuted => evidence.p_refuted,
            _ => evidence.p_supported,
        }),
        evidence.verdict.to_string(),
    ]
    .join(",")
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// RFC 4180.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
