//! The page of one experiment, from a summary to the view its template gets.

use std::collections::BTreeSet;

use crate::analyse::{Assessment, Caveat, Summary, Verdict};
use crate::experiment::Experiment;
use crate::language::Localised;
use crate::report::figure::epoch_curve::{self, Metric};
use crate::report::figure::loss_curve::{self, Along};
use crate::report::figure::{FigureError, Look, by_arm, phases, relative_time, strip};
use crate::report::view::{
    ClaimView, DownloadView, ExplanationView, FigureView, LeftOutView, PageView, ProvenanceView, TableView,
};
use crate::report::{Download, Input, claims, device, glance, lead, metrics, provenance, results, setup};
use crate::text;
use crate::words::Words;

fn provenance_view(
    input: &Input,
    summary: &Summary,
    cut: &Cut,
    words: Words,
) -> Result<ProvenanceView, FigureError> {
    let view = provenance::view(summary, &input.command, words)?;
    let recorded: usize = Look::all(summary).map(|(arm, _)| arm.runs.len()).sum();
    let unrecorded = recorded - view.runs.rows.len();
    Ok(ProvenanceView {
        arms: cut.arms(view.arms, "runs.json"),
        runs: cut.table(view.runs, unrecorded, "word.row", "runs.json"),
        ..view
    })
}

pub(super) fn view(
    input: &Input,
    summary: &Summary,
    assessments: &[Assessment],
    words: Words,
) -> Result<PageView, FigureError> {
    let experiment = input.experiment;
    let profile = &experiment.profile;
    let reference = experiment.reference.as_ref();
    let to = |text: &Localised| text.to(words.language).to_owned();
    let (gaps, warnings): (Vec<&Caveat>, Vec<&Caveat>) =
        summary.caveats.iter().partition(|caveat| is_gap(caveat));
    let left_out = input.left_out.iter().map(|text| capitalised(text.to(words.language)));
    let claims = claim_views(input, summary, assessments, words)?;
    let cut = Cut {
        downloads: &input.downloads,
        arms: summary.distinct().count().saturating_sub(Look::MOST),
        words,
    };
    let of_arms = |table| cut.arms(table, "results.csv");
    let all_of_arms =
        |tables: Vec<TableView>, file| tables.into_iter().map(|table| cut.arms(table, file)).collect();
    let drawn = |figure| cut.figure(figure);
    let (runs, more_runs) = results::runs(summary, words)?;
    Ok(PageView {
        id: experiment.id.clone(),
        title: to(&experiment.title),
        why: to(&experiment.why),
        source: experiment.source.as_ref().map(to),
        profile: setup::profile(profile, words),
        plans: setup::plans(summary, words),
        glance: at_a_glance(experiment, summary, assessments, words),
        warnings: device::warning(summary, words).into_iter().chain(sentences(&warnings, words)).collect(),
        gaps: sentences(&gaps, words).into_iter().chain(left_out).collect(),
        has_theirs: claims.iter().flat_map(|claim| &claim.evidence).any(|evidence| evidence.theirs.is_some()),
        claims,
        ruler: strip::ruler()?,
        results: of_arms(results::learning(summary, reference, words)?),
        reference: reference.map(|reference| to(&reference.name)),
        speed: glance::speed(summary, words),
        times: of_arms(results::times(summary, words)?),
        phases: of_arms(results::shares(summary, words)?),
        device: device::beside_host(summary, words)?.map(of_arms),
        learning: learning(summary, words)?.into_iter().map(drawn).collect(),
        metrics: all_of_arms(metrics::scores(summary, words)?, "confusion.parquet"),
        by_class: all_of_arms(metrics::by_class(summary, words)?, "confusion.parquet"),
        confusion: metrics::confusion(summary, words),
        diagnostics: all_of_arms(metrics::diagnostics(summary, words)?, "diagnostics.csv"),
        timing: [relative_time::draw(summary, words)?, phases::draw(summary, words)?].map(drawn).into(),
        setup: setup::facts(&profile.arms, words),
        limits: experiment.limits.iter().map(to).collect(),
        runs: cut.table(runs, more_runs, "word.row", "values.csv"),
        provenance: provenance_view(input, summary, &cut, words)?,
        downloads: input.downloads.iter().map(|one| download(one, words)).collect(),
    })
}

fn at_a_glance(
    experiment: &Experiment,
    summary: &Summary,
    assessments: &[Assessment],
    words: Words,
) -> Vec<String> {
    let answer = glance::answer(assessments, words).into_iter().chain(decided(assessments, words));
    answer.chain(glance::sentences(summary, experiment, assessments, words)).collect()
}

/// Says of tables and figures what they leave out.
struct Cut<'a> {
    downloads: &'a [Download],
    /// How many arms are in none of them.
    arms: usize,
    words: Words,
}

impl Cut<'_> {
    /// `left_out` is how many of `what` are not in the table, `file` the one that has all of it, if it is there.
    fn table(&self, table: TableView, left_out: usize, what: &str, file: &str) -> TableView {
        let is_there = self.downloads.iter().any(|download| download.name == file);
        let left_out = (left_out > 0).then(|| LeftOutView {
            what: self.words.count(what, left_out, &[]),
            file: is_there.then(|| file.to_owned()),
        });
        TableView { left_out, ..table }
    }

    fn arms(&self, table: TableView, file: &str) -> TableView {
        self.table(table, self.arms, "word.arm-count", file)
    }

    fn figure(&self, figure: FigureView) -> FigureView {
        if self.arms == 0 {
            return figure;
        }
        let arms = self.words.count("word.arm-count", self.arms, &[]);
        let left_out = self.words.say("figure.arms-left-out", &[("arms", &arms)]);
        FigureView { caption: figure.caption.clone() + &left_out, ..figure }
    }
}

/// Of the claims that are decided, so many are said in words before the scoreboard has them all.
const MOST_SAID: usize = 3;

fn decided<'s>(assessments: &'s [Assessment], words: Words) -> impl Iterator<Item = String> + 's {
    let is_decided = |assessment: &&Assessment| {
        matches!(assessment.verdict, Verdict::Supported | Verdict::Partly | Verdict::Refuted)
    };
    assessments.iter().filter(is_decided).take(MOST_SAID).map(move |one| lead::sentence(one, words))
}

/// Steps and images tell two stories only where arms differ in how many images a step has.
fn learning(summary: &Summary, words: Words) -> Result<Vec<FigureView>, FigureError> {
    let batches: BTreeSet<u32> = summary.arms.iter().map(|arm| arm.arm.config.train.batch).collect();
    let along: &[Along] = if batches.len() > 1 { &[Along::Steps, Along::Images] } else { &[Along::Steps] };
    let losses = along.iter().map(|along| loss_curve::draw(summary, *along, words));
    let epochs =
        [Metric::Accuracy, Metric::Loss].into_iter().map(|metric| epoch_curve::draw(summary, metric, words));
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
    words: Words,
) -> Result<Vec<ClaimView>, FigureError> {
    let arms = &input.experiment.profile.arms;
    let plan = setup::plans(summary, words).into_iter().map(|plan| plan.name).collect::<Vec<_>>().join(", ");
    let mut views = claims::views(assessments, strip::ROW, words)?;
    let mut said = BTreeSet::new();
    for (view, Assessment { claim, verdict, .. }) in views.iter_mut().zip(assessments) {
        if *verdict != Verdict::NotEvaluated {
            view.figures = by_arm::draw(claim, summary, &view.anchor, words)?;
        }
        let concerning = input.explanations.iter().filter(|explained| explained.concerns(claim, arms));
        view.explanations = concerning
            .map(|explained| ExplanationView::of(explained, "../", &plan, words.language))
            .collect();
        // What it says is said beside the first claim that it concerns.
        let again = view.explanations.iter_mut().filter(|one| !said.insert(one.href.clone()));
        again.for_each(|one| one.says.clear());
    }
    Ok(views)
}

/// Caveats of one kind that a page tells one by one.
const MOST_CAVEATS: usize = 50;

fn sentences(caveats: &[&Caveat], words: Words) -> Vec<String> {
    let told = caveats.iter().take(MOST_CAVEATS).map(|caveat| capitalised(&caveat.say(words)));
    let more = caveats.len().saturating_sub(MOST_CAVEATS);
    told.chain((more > 0).then(|| words.count("page.more-caveats", more, &[]))).collect()
}

/// A message, which is lower case and has no full stop, as a sentence of a page.
pub(super) fn capitalised(message: &str) -> String {
    format!("{}.", text::capital(message))
}

pub(super) fn download(download: &Download, words: Words) -> DownloadView {
    DownloadView {
        name: download.name.clone(),
        about: download.about.to(words.language).to_owned(),
        size: text::bytes(download.bytes.len() as u64),
    }
}
