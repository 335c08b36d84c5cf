//! The study at a glance: every experiment, every claim and its verdict; and the page of the open questions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::analyse::{Assessment, Evidence, Summary, Verdict, assess, quantity};
use crate::dataset::Name;
use crate::experiment::front::{Front, FrontSource};
use crate::experiment::metric::{Metric, Quantity};
use crate::experiment::{Experiment, ProfileName, Setting};
use crate::language::{Language, Localised};
use crate::report::figure::dumbbell::{self, Row};
use crate::report::figure::{FigureError, by_arm, left, strip};
use crate::report::page::{capitalised, download};
use crate::report::view::{
    ClaimLinkView, CountGroupView, CountView, ExplanationView, FigureView, FindingView, IndexEntryView,
    IndexView, ManyView,
};
use crate::report::{Download, Explained, Input, PAGE, claims, csv, glance, methods, setup};
use crate::stats::{self, inference};
use crate::text;
use crate::words::Words;

/// What the pages over all experiments say of one: little beside its runs, which need not stay in memory.
pub struct Entry {
    views: Vec<(Language, IndexEntryView)>,
    id: String,
    is_question: bool,
    profile: ProfileName,
    setting: Setting,
    /// The profile that reduces nothing, if the experiment has one.
    own_setting: Option<ProfileName>,
    claims: Vec<Rated>,
    beside: Vec<Beside>,
    /// Class of the machine and beginning of each run that counts.
    made: Vec<(String, String)>,
}

/// A number of the reference beside ours.
struct Beside {
    quantity: Quantity,
    /// Of the data set: images of one say nothing about those of another.
    set: Name,
    row: Row,
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
    /// `is_made` says whether the experiment's own page of a language lies beside the index: what is not there is not linked.
    ///
    /// `findings` are ids of claims that a reader sees first, with a figure.
    pub fn of(
        input: &Input,
        is_made: impl Fn(Language) -> bool,
        findings: &[String],
    ) -> Result<Self, FigureError> {
        let summary = Summary::of(input.experiment, &input.arms);
        let assessments = assess(input.experiment, &summary);
        let mut views = Vec::new();
        for &language in input.languages {
            let words = Words::of(language);
            let mut view = entry(input, &summary, &assessments, is_made(language), words)?;
            // Claims of two experiments may have one id.
            for evidence in view.claims.iter_mut().flat_map(|claim| &mut claim.evidence) {
                evidence.id = format!("{}-{}", input.experiment.id, evidence.id);
            }
            for (view, assessment) in view.claims.iter_mut().zip(&assessments) {
                if findings.contains(&view.id) && assessment.verdict != Verdict::NotEvaluated {
                    let anchor = format!("found-{}", view.anchor);
                    view.figures = by_arm::draw(assessment.claim, &summary, &anchor, words)?;
                }
            }
            views.push((language, view));
        }
        Ok(Self {
            id: input.experiment.id.clone(),
            is_question: input.experiment.question.is_some(),
            views,
            profile: input.experiment.profile.name.clone(),
            setting: input.experiment.profile.setting,
            own_setting: own_setting(input.experiment),
            claims: assessments.iter().map(|assessment| rated(input, assessment)).collect(),
            beside: beside(&input.experiment.id, &summary),
            made: made(&summary),
        })
    }

    /// There are runs of it, and nothing that proves a number of theirs lies here.
    pub fn measured_elsewhere(mut self) -> Self {
        self.views.iter_mut().for_each(|(_, view)| view.is_elsewhere = true);
        self
    }
}

/// `command` runs all of it again.
pub(super) fn view(
    entries: &[Entry],
    explanations: &[Explained],
    front: Option<&Front>,
    command: &str,
    downloads: &[Download],
    words: Words,
) -> Result<IndexView, FigureError> {
    let (setting, settings) = setting_of(entries);
    let counts = counts(entries, front.and_then(|front| front.source.as_ref()), setting, words);
    let among = among(entries);
    let many = many(entries, &among);
    let profile =
        only(entries.iter().map(|entry| &entry.profile)).map_or_else(String::new, ToString::to_string);
    let is_full = settings.iter().all(|setting| *setting == Setting::Own);
    let own = only(entries.iter().filter_map(|entry| entry.own_setting.as_ref())).filter(|_| !is_full);
    let own_setting = own.map(|own| under(command, "reproduce", own));
    let mut experiments = experiment_views(entries, among, words);
    let findings = match front {
        Some(front) => findings(&front.findings, &mut experiments, explanations, words)?,
        None => Vec::new(),
    };
    let compared = |quantity| compared(quantity, entries, words);
    let list = list(command, &experiments, &profile);
    Ok(IndexView {
        profile,
        is_full,
        is_reduced: !settings.contains(&Setting::Other),
        is_mixed: !is_full && settings.contains(&Setting::Own),
        own_setting,
        list,
        has_questions: experiments.iter().any(|experiment| experiment.question.is_some()),
        many,
        ruler: strip::ruler()?,
        counts,
        explanations: explanations
            .iter()
            .map(|explained| ExplanationView::of(explained, "", "", words.language))
            .collect(),
        title: front.map(|front| front.title.to(words.language).to_owned()),
        why: front.map(|front| front.why.to(words.language).to_owned()),
        findings,
        beside: compared(Quantity::ValAcc)?,
        beside_more: COMPARED[1..]
            .iter()
            .map(|quantity| compared(*quantity))
            .collect::<Result<Vec<_>, _>>()?
            .concat(),
        is_tested: experiments.iter().any(|experiment| !experiment.tested.is_empty()),
        is_untested: experiments.iter().any(|one| !one.untested.is_empty() || one.tested.is_empty()),
        is_unrun: experiments.iter().any(|one| !one.has_runs && !one.is_elsewhere),
        experiments,
        methods: methods::view(words),
        command: command.to_owned(),
        made: made_views(entries.iter().flat_map(|entry| &entry.made), words),
        downloads: downloads.iter().map(|one| download(one, words)).collect(),
    })
}

fn made(summary: &Summary) -> Vec<(String, String)> {
    let counted = summary.distinct().flat_map(|arm| &arm.counted).map(|(run, _)| &run.record);
    counted.map(|record| (record.environment_class.to_string(), record.started.clone())).collect()
}

/// A line for each class of machine, the one with most runs first: where, how many, and the days of the first and the last.
fn made_views<'a>(made: impl Iterator<Item = &'a (String, String)>, words: Words) -> Vec<String> {
    let mut days: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // A run can be of several experiments.
    for (class, started) in made.collect::<BTreeSet<_>>() {
        days.entry(class).or_default().push(started.split('T').next().unwrap_or(started));
    }
    let mut classes: Vec<(&str, Vec<&str>)> = days.into_iter().collect();
    classes.sort_by_key(|(_, days)| Reverse(days.len()));
    let view = |(class, days): (&str, Vec<&str>)| {
        let (first, last) = (days.iter().min()?, days.iter().max()?);
        let runs = words.count("word.run", days.len(), &[]);
        let values: [(&str, &dyn Display); 4] =
            [("class", &class), ("runs", &runs), ("first", first), ("last", last)];
        Some(words.say(if first == last { "overview.made-day" } else { "overview.made" }, &values))
    };
    classes.into_iter().filter_map(view).collect()
}

/// How many claims came out in which way: those of the source, where there is one, apart from the others.
fn counts(
    entries: &[Entry],
    source: Option<&FrontSource>,
    setting: Setting,
    words: Words,
) -> Vec<CountGroupView> {
    let is_of_source = |claim: &Rated| source.is_some_and(|source| source.claims.contains(&claim.id));
    let claims = || entries.iter().flat_map(|entry| &entry.claims);
    let (theirs, ours): (Vec<&Rated>, Vec<&Rated>) = claims().partition(|claim| is_of_source(claim));
    let group = |key: &str, claims: &[&Rated]| {
        let name = source.map_or("", |source| source.name.to(words.language));
        let count = |verdict: Verdict| CountView {
            verdict: claims::verdict_view(verdict, setting, words),
            count: claims.iter().filter(|claim| claim.verdict == verdict).count(),
        };
        CountGroupView {
            says: words.count(key, claims.len(), &[("name", &name)]),
            counts: Verdict::ALL.into_iter().map(count).filter(|count| count.count > 0).collect(),
        }
    };
    if theirs.is_empty() {
        return vec![group("overview.claims", &ours)];
    }
    let groups = [("overview.claims-theirs", &theirs), ("overview.claims-added", &ours)];
    groups
        .into_iter()
        .filter(|(_, claims)| !claims.is_empty())
        .map(|(key, claims)| group(key, claims))
        .collect()
}

fn own_setting(experiment: &Experiment) -> Option<ProfileName> {
    let mut profiles = experiment.profiles().iter();
    Some(profiles.find(|profile| profile.setting == Setting::Own)?.name.clone())
}

/// `among` says of each claim, in their order, how it stands among all of them.
fn experiment_views(entries: &[Entry], among: Vec<Among>, words: Words) -> Vec<IndexEntryView> {
    let has_page = |id: &String| {
        let of = entries.iter().filter(|entry| entry.id == *id).flat_map(|entry| &entry.views);
        of.into_iter().any(|(language, view)| *language == words.language && view.has_page)
    };
    let mut places = among.into_iter();
    let page = words.language.file(PAGE);
    let experiments = entries.iter().filter_map(|entry| {
        let (_, view) = entry.views.iter().find(|(language, _)| *language == words.language)?;
        let mut view = view.clone();
        for (claim, among) in view.claims.iter_mut().zip(places.by_ref()) {
            claim.q = among.q.map(written_q);
            claim.repeats = among.repeats.map(|(experiment, id)| {
                let href = format!("{experiment}/{page}#{}", claims::anchor(&id));
                ClaimLinkView { id, href: has_page(&experiment).then_some(href) }
            });
        }
        let claims = view.claims.iter().cloned();
        (view.tested, view.untested) = claims.partition(|claim| claim.verdict.class != NOT_EVALUATED);
        let reasons: Vec<(&str, Option<&String>)> =
            view.untested.iter().map(|claim| (claim.id.as_str(), claim.remarks.first())).collect();
        view.why_untested = why_untested(&reasons);
        Some(view)
    });
    experiments.collect()
}

/// By id, those that answer a question after the others, unless somebody has said an order.
pub(super) fn ordered(mut entries: Vec<Entry>, front: Option<&Front>) -> Vec<Entry> {
    let order = front.map_or(&[][..], |front| &front.order);
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    let place = |entry: &Entry| {
        let said = order.iter().position(|id| *id == entry.id);
        (said.unwrap_or(order.len()), entry.is_question)
    };
    entries.sort_by_key(place);
    entries
}

/// Those that there is something of, each with its claim or its explanation.
fn findings(
    ids: &[String],
    experiments: &mut [IndexEntryView],
    explanations: &[Explained],
    words: Words,
) -> Result<Vec<FindingView>, FigureError> {
    let page = words.language.file(PAGE);
    let mut found = Vec::new();
    for id in ids {
        if let Some(explained) = explanations.iter().find(|explained| explained.folder == *id) {
            let causes = |source| left::causes(&format!("left-{id}"), source, words);
            let figures =
                explained.source.as_deref().map(causes).transpose()?.flatten().into_iter().collect();
            let explanation = Some(ExplanationView::of(explained, "", "", words.language));
            found.push(FindingView { explanation, claim: None, figures, href: None });
        }
        for entry in experiments.iter_mut() {
            let Some(claim) = entry.claims.iter_mut().find(|claim| claim.id == *id) else { continue };
            let figures = std::mem::take(&mut claim.figures);
            let href = entry.has_page.then(|| format!("{}/{page}#{}", entry.id, claim.anchor));
            if !figures.is_empty() {
                found.push(FindingView { explanation: None, claim: Some(claim.clone()), figures, href });
            }
        }
    }
    Ok(found)
}

fn entry(
    input: &Input,
    summary: &Summary,
    assessments: &[Assessment],
    is_made: bool,
    words: Words,
) -> Result<IndexEntryView, FigureError> {
    let experiment = input.experiment;
    let profile = &experiment.profile;
    let (due, counted) = summary.trainings();
    Ok(IndexEntryView {
        id: experiment.id.clone(),
        title: experiment.title.to(words.language).to_owned(),
        question: experiment.question.clone(),
        why: experiment.why.to(words.language).to_owned(),
        runs: words.say(
            if counted == due { "overview.runs-all" } else { "overview.runs" },
            &[
                ("n", &text::count(counted as u64)),
                ("runs", &words.count("word.run", due, &[])),
                ("arms", &words.count("word.arm-count", summary.distinct().count(), &[])),
                ("seeds", &words.count("word.seed-count", summary.seeds.len(), &[])),
            ],
        ),
        left_out: input.left_out.as_ref().map(|text| capitalised(text.to(words.language))),
        has_runs: counted > 0,
        has_page: counted > 0 && is_made,
        is_elsewhere: false,
        changes: profile.changes.iter().map(|one| setup::cap(one, words)).collect::<Vec<_>>().join(", "),
        glance: glance::sentences(summary, experiment, assessments, words).into_iter().take(1).collect(),
        claims: claims::views(assessments, strip::LINE, words)?,
        tested: Vec::new(),
        untested: Vec::new(),
        why_untested: None,
    })
}

/// Class of the claims without a verdict.
const NOT_EVALUATED: &str = "not-evaluated";
/// Why the first of these claims, each with what keeps it from a verdict, has none. A line of the index has room for one reason,
/// so that the claims it is of are named where others have another.
fn why_untested(claims: &[(&str, Option<&String>)]) -> Option<String> {
    let first = claims.iter().find_map(|(_, reason)| *reason)?;
    let alike: Vec<&str> =
        claims.iter().filter(|(_, reason)| *reason == Some(first)).map(|(id, _)| *id).collect();
    let reason = capitalised(first);
    Some(if alike.len() == claims.len() { reason } else { format!("{}: {reason}", alike.join(", ")) })
}

impl Beside {
    /// Its row, by the start of its experiment's id where no other has it: `m1 · 64`.
    fn shown(&self, entries: &[Entry]) -> Row {
        fn short(id: &str) -> &str {
            id.split('-').next().unwrap_or(id)
        }
        let id = self.row.name.en().split(" · ").next().unwrap_or_default();
        let is_alone = entries.iter().filter(|entry| short(&entry.id) == short(id)).count() == 1;
        let name = |name: &str| match name.strip_prefix(id) {
            Some(rest) if is_alone => format!("{}{rest}", short(id)),
            _ => name.to_owned(),
        };
        Row { name: Localised::each(|language| name(self.row.name.to(language))), ..self.row }
    }
}

/// What references have numbers of and machines do not change much: times are theirs alone.
const COMPARED: [Quantity; 4] =
    [Quantity::ValAcc, Quantity::TrainAcc, Quantity::ValLoss, Quantity::TrainLoss];

fn beside(id: &str, summary: &Summary) -> Vec<Beside> {
    let mut found = Vec::new();
    for quantity in COMPARED {
        let metric = Metric { quantity, at: None };
        for arm in summary.distinct() {
            let values =
                arm.counted.iter().filter_map(|(run, measures)| quantity::value(metric, run, measures));
            let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            let Some((ours, theirs)) = stats::mean(&values).zip(arm.reported(metric)) else { continue };
            let name = Localised::each(|language| format!("{id} · {}", arm.name.to(language)));
            found.push(Beside { quantity, set: arm.arm.config.data.set, row: Row { name, ours, theirs } });
        }
    }
    found
}

/// What verdicts of all of them are about, and of each. Of pages that are not all of one kind the words of each say it.
fn setting_of(entries: &[Entry]) -> (Setting, Vec<Setting>) {
    let settings: Vec<Setting> = entries.iter().map(|entry| entry.setting).collect();
    let setting = match settings.first() {
        Some(first) if settings.iter().all(|setting| setting == first) => *first,
        Some(_) if !settings.contains(&Setting::Own) => Setting::Other,
        _ => Setting::Own,
    };
    (setting, settings)
}

/// The one profile that all have.
fn only<'a>(profiles: impl Iterator<Item = &'a ProfileName>) -> Option<&'a ProfileName> {
    match profiles.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()[..] {
        [one] => Some(one),
        _ => None,
    }
}

/// The command that lists what was not run. That of the index need not be of it.
fn list(command: &str, experiments: &[IndexEntryView], profile: &str) -> String {
    let mut unrun = experiments.iter().filter(|one| !one.has_runs && !one.is_elsewhere);
    let of_all = if unrun.all(|one| command.contains(&one.id)) { command } else { "pinbench reproduce" };
    under(of_all, "list", &ProfileName::from(profile))
}

/// The command of the index as one of `verb` under `profile`, of the same experiments.
fn under(command: &str, verb: &str, profile: &ProfileName) -> String {
    // What comes behind the profile says how to train.
    let experiments = command.split(" --").next().unwrap_or(command);
    let shelf = command.split(" --experiments ").nth(1).and_then(|rest| rest.split(" --").next());
    let shelf = shelf.map(|shelf| format!(" --experiments {shelf}")).unwrap_or_default();
    format!(
        "{}{shelf}{}",
        experiments.replacen("pinbench reproduce", &format!("pinbench {verb}"), 1),
        profile.option()
    )
}

/// A figure for each data set.
fn compared(quantity: Quantity, entries: &[Entry], words: Words) -> Result<Vec<FigureView>, FigureError> {
    let all: Vec<&Beside> =
        entries.iter().flat_map(|entry| &entry.beside).filter(|beside| beside.quantity == quantity).collect();
    let mut sets: Vec<Name> = Vec::new();
    for beside in &all {
        if !sets.contains(&beside.set) {
            sets.push(beside.set);
        }
    }
    let metric = Metric { quantity, at: None };
    let figure = |set: Name| {
        let rows: Vec<Row> =
            all.iter().filter(|beside| beside.set == set).map(|beside| beside.shown(entries)).collect();
        dumbbell::draw(&rows.iter().collect::<Vec<_>>(), metric, set, words)
    };
    sets.into_iter().map(figure).collect()
}

/// Up to which q a verdict is one of those a reader may take as found.
const LEVEL: f64 = 0.1;

/// Every claim's place, in the order of the entries and their claims.
fn among(entries: &[Entry]) -> Vec<Among> {
    let all: Vec<(&Entry, &Rated)> =
        entries.iter().flat_map(|entry| entry.claims.iter().map(move |claim| (entry, claim))).collect();
    let repeats = |index: usize| {
        let (_, claim) = all[index];
        // Of one that was not tested there are no numbers to repeat.
        let is_known = |(_, earlier): &&(&Entry, &Rated)| {
            earlier.verdict != Verdict::NotEvaluated
                && claim.basis.iter().all(|one| earlier.basis.contains(one))
        };
        let earlier = all[..index].iter().find(is_known).filter(|_| !claim.basis.is_empty());
        earlier.map(|(entry, earlier)| (entry.id.clone(), earlier.id.clone()))
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
pub(super) const CLAIMS_HEADER: &str = "experiment,profile,setting,claim,says,verdict,q,repeats,evidence,estimate,low,high,unit,bound,margin,seeds,held,effect_size,detectable,p,evidence_verdict";

/// One line a comparison: what was claimed, what was found, and the verdict on it.
pub(super) fn claims_csv(entries: &[Entry]) -> Vec<u8> {
    let mut text = format!("{CLAIMS_HEADER}\n");
    let claims = entries.iter().flat_map(|entry| &entry.claims);
    for (claim, among) in claims.zip(among(entries)) {
        let (start, lines) = &claim.fields;
        let repeats = among.repeats.map(|(_, id)| id).unwrap_or_default();
        for line in lines {
            text.push_str(&format!("{start},{},{},{line}\n", csv::number(among.q), csv::text(&repeats)));
        }
    }
    text.into_bytes()
}

fn rated(input: &Input, assessment: &Assessment) -> Rated {
    let Assessment { claim, verdict, evidence, p, setting, .. } = assessment;
    let experiment = input.experiment;
    let start = [
        &experiment.id,
        &experiment.profile.name.0,
        setting.name(),
        &claim.id,
        claim.says.en(),
        &verdict.to_string(),
    ]
    .map(csv::text)
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
        csv::text(evidence.what.en()),
        csv::number(evidence.estimate.map(|value| evidence.shown(value))),
        csv::number(interval.map(|(low, _)| low)),
        csv::number(interval.map(|(_, high)| high)),
        csv::text(evidence.unit),
        csv::number(evidence.bound.map(|bound| bound.value)),
        evidence.margin.to_string(),
        evidence.values.len().to_string(),
        evidence.held.map(|held| held.seeds.to_string()).unwrap_or_default(),
        csv::number(evidence.effect_size),
        csv::number(evidence.detectable),
        csv::number(match evidence.verdict {
            Verdict::Refuted => evidence.p_refuted,
            _ => evidence.p_supported,
        }),
        evidence.verdict.to_string(),
    ]
    .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_its_claims_where_others_have_another() {
        let (few, gone) = ("needs 200 updates".to_owned(), "no value".to_owned());
        assert_eq!(why_untested(&[("a", Some(&few)), ("b", Some(&few))]).unwrap(), "Needs 200 updates.");
        let mixed = [("a", Some(&few)), ("b", Some(&gone)), ("c", Some(&few)), ("d", None)];
        assert_eq!(why_untested(&mixed).unwrap(), "a, c: Needs 200 updates.");
        assert_eq!(why_untested(&[("a", None)]), None);
    }

    #[test]
    fn runs_are_counted_once_and_by_machine_with_their_days() {
        let run = |class: &str, started: &str| (class.to_owned(), started.to_owned());
        let shared = run("one", "2026-11-28T10:00:00Z");
        let made =
            [run("two", "2026-11-27T09:00:00Z"), shared.clone(), run("one", "2026-11-29T10:00:00Z"), shared];
        assert_eq!(
            made_views(made.iter(), Words::english()),
            ["one: 2 runs, from 2026-11-28 to 2026-11-29.", "two: 1 run, on 2026-11-27."]
        );
    }
}
