//! The study at a glance: every experiment, every claim and its verdict; and the page of the open questions.

use crate::analyse::{Assessment, Summary, Verdict, assess};
use crate::experiment::ProfileName;
use crate::report::figure::FigureError;
use crate::report::view::{CountView, DownloadView, IndexEntryView, IndexView};
use crate::report::{Download, Input, claims, glance};
use crate::text;

/// `inputs` are of one profile. `command` runs all of it again.
pub fn view(
    inputs: &[Input],
    profile: ProfileName,
    command: &str,
    downloads: &[Download],
) -> Result<IndexView, FigureError> {
    let mut counts = Verdict::ALL.map(|verdict| (verdict, 0));
    let mut experiments = Vec::new();
    // The notes' own experiments first, then what they left open.
    let (open, own): (Vec<&Input>, Vec<&Input>) =
        inputs.iter().partition(|input| input.experiment.question.is_some());
    for input in own.into_iter().chain(open) {
        let summary = Summary::of(input.experiment, input.profile, &input.arms);
        let assessments = assess(input.experiment, &summary);
        for (verdict, count) in &mut counts {
            *count += assessments.iter().filter(|assessment| assessment.verdict == *verdict).count();
        }
        experiments.push(entry(input, &summary, &assessments)?);
    }
    let download = |download: &Download| DownloadView {
        name: download.name.clone(),
        about: download.about.clone(),
        size: text::bytes(download.bytes.len() as u64),
    };
    Ok(IndexView {
        profile: profile.to_string(),
        is_full: profile == ProfileName::Full,
        claims: counts.iter().map(|(_, count)| count).sum(),
        counts: counts
            .map(|(verdict, count)| CountView { verdict: claims::verdict_view(verdict), count })
            .into_iter()
            .collect(),
        experiments,
        command: command.to_owned(),
        downloads: downloads.iter().map(download).collect(),
    })
}

fn entry(
    input: &Input,
    summary: &Summary,
    assessments: &[Assessment],
) -> Result<IndexEntryView, FigureError> {
    let experiment = input.experiment;
    let profile = experiment.profile(input.profile);
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
        has_page: counted > 0,
        changes: profile.changes.join(", "),
        glance: glance::sentences(summary, input.profile).into_iter().take(1).collect(),
        claims: claims::views(assessments)?,
    })
}

/// One line a comparison: what was claimed, what was found, and the verdict on it.
pub fn claims_csv(inputs: &[Input]) -> Vec<u8> {
    let mut text = String::from(
        "experiment,profile,claim,says,verdict,evidence,estimate,low,high,unit,margin,seeds,effect_size,seeds_more,evidence_verdict\n",
    );
    for input in inputs {
        let summary = Summary::of(input.experiment, input.profile, &input.arms);
        for Assessment { claim, verdict, evidence, .. } in assess(input.experiment, &summary) {
            let start = [
                &input.experiment.id,
                &input.profile.to_string(),
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
    }
    text.into_bytes()
}

/// RFC 4180.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
