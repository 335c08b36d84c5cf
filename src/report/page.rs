//! The page of one experiment, from a summary to the view its template gets.

use std::collections::BTreeSet;

use crate::analyse::{Assessment, Caveat, Summary, Verdict, assess};
use crate::report::figure::epoch_curve::{self, Metric};
use crate::report::figure::loss_curve::{self, Along};
use crate::report::figure::{FigureError, by_arm, phases, relative_time};
use crate::report::view::{ClaimView, DownloadView, ExplanationView, FigureView, PageView};
use crate::report::{Download, Input, claims, device, glance, metrics, provenance, results, setup};
use crate::text;

pub fn view(input: &Input) -> Result<PageView, FigureError> {
    let experiment = input.experiment;
    let profile = &experiment.profile;
    let reference = experiment.reference.as_ref();
    let summary = Summary::of(experiment, &input.arms);
    let assessments = assess(experiment, &summary);
    let (gaps, warnings): (Vec<&Caveat>, Vec<&Caveat>) =
        summary.caveats.iter().partition(|caveat| is_gap(caveat));
    Ok(PageView {
        id: experiment.id.clone(),
        title: experiment.title.clone(),
        why: experiment.why.clone(),
        source: experiment.source.clone(),
        profile: setup::profile(profile),
        plans: setup::plans(&summary),
        glance: glance::answer(&assessments)
            .into_iter()
            .chain(glance::sentences(&summary, experiment))
            .collect(),
        warnings: device::warning(&summary).into_iter().chain(warnings.into_iter().map(sentence)).collect(),
        gaps: gaps
            .into_iter()
            .map(sentence)
            .chain(input.left_out.iter().map(|text| capitalised(text)))
            .collect(),
        claims: claim_views(input, &summary, &assessments)?,
        results: results::learning(&summary, reference)?,
        reference: reference.map(|reference| reference.name.clone()),
        times: results::times(&summary)?,
        phases: results::shares(&summary)?,
        device: device::beside_host(&summary)?,
        learning: learning(&summary)?,
        metrics: metrics::scores(&summary)?,
        by_class: metrics::by_class(&summary)?,
        confusion: metrics::confusion(&summary),
        diagnostics: metrics::diagnostics(&summary)?,
        timing: vec![relative_time::draw(&summary)?, phases::draw(&summary)?],
        setup: setup::facts(&profile.arms),
        methods: setup::methods(experiment.reference.as_ref()),
        limits: experiment.limits.clone(),
        runs: results::runs(&summary)?,
        provenance: provenance::view(&summary, &input.command)?,
        downloads: input.downloads.iter().map(download).collect(),
    })
}

/// Steps and images tell two stories only where arms differ in how many images a step has.
fn learning(summary: &Summary) -> Result<Vec<FigureView>, FigureError> {
    let batches: BTreeSet<u32> = summary.arms.iter().map(|arm| arm.arm.config.train.batch).collect();
    let along: &[Along] = if batches.len() > 1 { &[Along::Steps, Along::Images] } else { &[Along::Steps] };
    let losses = along.iter().map(|along| loss_curve::draw(summary, *along));
    let epochs =
        [Metric::Accuracy, Metric::Loss].into_iter().map(|metric| epoch_curve::draw(summary, metric));
    losses.chain(epochs).collect()
}

/// Whether a caveat says that a run is not there, rather than that one must be read with care.
fn is_gap(caveat: &Caveat) -> bool {
    matches!(
        caveat,
        Caveat::Missing { .. } | Caveat::Damaged { .. } | Caveat::Failed { .. } | Caveat::Diverged { .. }
    )
}

/// The claims, and beside those that are about times what explains these.
fn claim_views(
    input: &Input,
    summary: &Summary,
    assessments: &[Assessment],
) -> Result<Vec<ClaimView>, FigureError> {
    let arms = &input.experiment.profile.arms;
    let plan = setup::plans(summary).into_iter().map(|plan| plan.name).collect::<Vec<_>>().join(", ");
    let mut views = claims::views(assessments)?;
    for (view, Assessment { claim, verdict, .. }) in views.iter_mut().zip(assessments) {
        if *verdict != Verdict::NotEvaluated {
            view.figures = by_arm::draw(claim, summary, &view.anchor)?;
        }
        let concerning = input.explanations.iter().filter(|explained| explained.concerns(claim, arms));
        view.explanations =
            concerning.map(|explained| ExplanationView::of(explained, "../", &plan)).collect();
    }
    Ok(views)
}

fn sentence(caveat: &Caveat) -> String {
    capitalised(&caveat.to_string())
}

/// A message, which is lower case, as a sentence of a page.
pub fn capitalised(message: &str) -> String {
    format!("{}.", text::capital(message))
}

fn download(download: &Download) -> DownloadView {
    DownloadView {
        name: download.name.clone(),
        about: download.about.clone(),
        size: text::bytes(download.bytes.len() as u64),
    }
}
