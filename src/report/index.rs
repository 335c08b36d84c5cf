//! The study at a glance: every experiment, every claim and its verdict; and the page of the open questions.

use std::collections::BTreeSet;

use crate::analyse::{Assessment, Summary, Verdict, assess};
use crate::experiment::ProfileName;
use crate::report::figure::FigureError;
use crate::report::page::capitalised;
use crate::report::view::{CountView, DownloadView, ExplanationView, IndexEntryView, IndexView};
use crate::report::{Download, Explained, Input, claims, glance};
use crate::text;

/// What the pages over all experiments say of one: little beside its runs, which need not stay in memory.
pub struct Entry {
    view: IndexEntryView,
    profile: ProfileName,
    is_full: bool,
    verdicts: Vec<Verdict>,
    /// Lines of the table of claims.
    csv: String,
}

impl Entry {
    /// `is_made` says whether the experiment's own page lies beside the index: what is not there is not linked.
    pub fn of(input: &Input, is_made: bool) -> Result<Self, FigureError> {
        let summary = Summary::of(input.experiment, &input.arms);
        let assessments = assess(input.experiment, &summary);
        Ok(Self {
            view: entry(input, &summary, &assessments, is_made)?,
            profile: input.experiment.profile.name.clone(),
            is_full: input.experiment.profile.changes.is_empty(),
            verdicts: assessments.iter().map(|assessment| assessment.verdict).collect(),
            csv: csv(input, &assessments),
        })
    }
}

/// `command` runs all of it again.
pub fn view(
    entries: Vec<Entry>,
    explanations: &[Explained],
    command: &str,
    downloads: &[Download],
) -> IndexView {
    let count = |verdict: Verdict| {
        let verdicts = entries.iter().flat_map(|entry| &entry.verdicts);
        CountView {
            verdict: claims::verdict_view(verdict),
            count: verdicts.filter(|found| **found == verdict).count(),
        }
    };
    let counts = [Verdict::Supported, Verdict::Refuted, Verdict::Inconclusive, Verdict::NotEvaluated];
    let counts: Vec<CountView> = counts.into_iter().map(count).collect();
    let profiles: BTreeSet<&ProfileName> = entries.iter().map(|entry| &entry.profile).collect();
    let profile = match profiles.into_iter().collect::<Vec<_>>()[..] {
        [one] => one.to_string(),
        _ => String::new(),
    };
    let is_full = entries.iter().all(|entry| entry.is_full);
    // Those that stand for themselves first, then those that answer a question.
    let experiments = entries.into_iter().map(|entry| entry.view);
    let (open, own): (Vec<_>, Vec<_>) = experiments.partition(|entry| entry.question.is_some());
    let download = |download: &Download| DownloadView {
        name: download.name.clone(),
        about: download.about.clone(),
        size: text::bytes(download.bytes.len() as u64),
    };
    IndexView {
        profile,
        is_full,
        claims: counts.iter().map(|count| count.count).sum(),
        counts,
        explanations: explanations.iter().map(|explained| ExplanationView::of(explained, "", "")).collect(),
        experiments: own.into_iter().chain(open).collect(),
        command: command.to_owned(),
        downloads: downloads.iter().map(download).collect(),
    }
}

fn entry(
    input: &Input,
    summary: &Summary,
    assessments: &[Assessment],
    is_made: bool,
) -> Result<IndexEntryView, FigureError> {
    let experiment = input.experiment;
    let profile = &experiment.profile;
    let counted: usize = summary.arms.iter().map(|arm| arm.counted.len()).sum();
    let due = summary.arms.len() * summary.seeds.len();
    Ok(IndexEntryView {
        id: experiment.id.clone(),
        title: experiment.title.clone(),
        question: experiment.question.clone(),
        why: experiment.why.trim().to_owned(),
        runs: format!(
            "{} of {}, {} over {}",
            text::count(counted as u64),
            text::plural(due, "run"),
            text::plural(summary.arms.len(), "arm"),
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

/// Of `claims.csv`.
pub const CLAIMS_HEADER: &str = "experiment,profile,claim,says,verdict,evidence,estimate,low,high,unit,margin,seeds,effect_size,seeds_more,evidence_verdict";

/// One line a comparison: what was claimed, what was found, and the verdict on it.
pub fn claims_csv(entries: &[Entry]) -> Vec<u8> {
    let mut text = format!("{CLAIMS_HEADER}\n");
    entries.iter().for_each(|entry| text.push_str(&entry.csv));
    text.into_bytes()
}

fn csv(input: &Input, assessments: &[Assessment]) -> String {
    let mut text = String::new();
    for Assessment { claim, verdict, evidence, .. } in assessments {
        let start = [
            &input.experiment.id,
            &input.experiment.profile.name.0,
            &claim.id,
            &claim.says,
            &verdict.to_string(),
        ]
        .map(|field| quoted(field))
        .join(",");
        if evidence.is_empty() {
            text.push_str(&format!("{start},,,,,,,,,,\n"));
        }
        for evidence in evidence {
            let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            text.push_str(&format!(
                "{start},{},{},{},{},{},{},{},{},{},{}\n",
                quoted(&evidence.what),
                number(evidence.estimate),
                number(evidence.interval.map(|(low, _)| low)),
                number(evidence.interval.map(|(_, high)| high)),
                quoted(evidence.unit),
                evidence.margin,
                evidence.values.len(),
                number(evidence.effect_size),
                evidence.seeds_more.map(|more| more.to_string()).unwrap_or_default(),
                evidence.verdict
            ));
        }
    }
    text
}

/// RFC 4180.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
