//! What a reader takes away from a page, for a terminal: its first sentence, then every claim with its verdict.

use crate::analyse::{Assessment, Evidence, Summary, Verdict, assess};
use crate::report::{Input, amount, glance};
use crate::text;
use crate::words::Words;

pub struct Lead {
    pub id: String,
    pub title: String,
    pub sentences: Vec<String>,
    /// How many claims came out in which way, of those ways that there are.
    pub verdicts: Vec<(Verdict, usize)>,
}

pub fn lead(input: &Input) -> Lead {
    let summary = Summary::of(input.experiment, &input.arms);
    let assessments = assess(input.experiment, &summary);
    let glance =
        glance::sentences(&summary, input.experiment, &assessments, Words::english()).into_iter().take(1);
    let count = |verdict| {
        let found = assessments.iter().filter(|assessment| assessment.verdict == verdict).count();
        (found > 0).then_some((verdict, found))
    };
    Lead {
        id: input.experiment.id.clone(),
        title: input.experiment.title.to_string(),
        sentences: glance.chain(assessments.iter().map(|one| sentence(one, Words::english()))).collect(),
        verdicts: Verdict::ALL.into_iter().filter_map(count).collect(),
    }
}

/// `Holds: A is better than B (M1.a: accuracy: A above B, +0.21, interval +0.18 to +0.24, 3 seeds).`
pub(super) fn sentence(assessment: &Assessment, words: Words) -> String {
    let Assessment { claim, verdict, evidence, remarks, setting, .. } = assessment;
    // Of a claim in several parts the one that decides, or keeps it open; of one that holds in part an example of either.
    let wanted = match verdict {
        Verdict::Partly => &[Verdict::Supported, Verdict::Refuted][..],
        other => std::slice::from_ref(other),
    };
    let example = |wanted: &Verdict| {
        let found_in = found(evidence.iter().find(|evidence| evidence.verdict == *wanted)?, words);
        match wanted == verdict {
            true => Some(found_in),
            false => Some(format!("{}: {found_in}", wanted.says(*setting, words))),
        }
    };
    let examples: Vec<String> = wanted.iter().filter_map(example).collect();
    let reason = match examples.is_empty() {
        false => assessment.in_parts(words).into_iter().chain(examples).collect::<Vec<_>>().join("; "),
        true => remarks.first().map_or_else(
            || words.word("remark.nothing").to_owned(),
            |remark| remark.to(words.language).to_owned(),
        ),
    };
    let says = claim.says.to(words.language).trim_end_matches('.');
    format!("{}: {says} ({}: {reason}).", text::capital(verdict.says(*setting, words)), claim.id)
}

fn found(evidence: &Evidence, words: Words) -> String {
    let what = evidence.what.to(words.language);
    let mut parts =
        vec![words.say("glance.found", &[("what", &what), ("estimate", &amount::estimate(evidence, words))])];
    if let Some(interval) = amount::interval(evidence, words) {
        parts.push(words.say("evidence.interval", &[("interval", &interval)]));
    } else if !evidence.is_informative {
        parts.push(words.word("evidence.uninformative").to_owned());
    }
    parts.push(words.count("word.seed-count", evidence.values.len(), &[]));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::{ArmRuns, samples};
    use crate::report::fixture;

    /// What `reproduce` ends with: the same sentence and verdicts as the page, not words of its own.
    #[test]
    fn the_lead_is_the_pages_first_sentence_and_every_claim_with_its_verdict_and_numbers() {
        let text = format!(
            "{}\n[[claims]]\nid = \"T.a\"\nsays = \"The large batch ends behind.\"\ntests = [{{ metric = \"val_acc\", \
             order = \"64 > 1024\", margin = 0.01 }}]\n\n[[claims]]\nid = \"T.b\"\nsays = \"The small one does.\"\n\
             tests = [{{ metric = \"val_acc\", order = \"1024 > 64\", margin = 0.01 }}]\n",
            samples::TOML
        );
        let experiment = samples::parse(&text);
        let mut arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        for (arm, base) in arms.iter_mut().zip([0.95, 0.9, 0.8]) {
            for (run, noise) in arm.runs.iter_mut().zip([0.0, 0.001, 0.002]) {
                samples::set_validation(run, base + noise);
            }
        }
        let lead = of(&experiment, arms);
        assert_eq!(lead.sentences.len(), 3);
        assert!(
            lead.sentences[0].starts_with("Highest validation accuracy: batch 64"),
            "{:?}",
            lead.sentences
        );
        let supported = "Holds: The large batch ends behind (T.a: validation accuracy: batch 64 above batch 1024, +0.1500, interval +0.1498 to +0.1502, 3 seeds).";
        assert_eq!(lead.sentences[1], supported);
        assert!(
            lead.sentences[2].starts_with("Does not hold: The small one does (T.b: ")
                && lead.sentences[2].contains(", −0.15"),
            "{:?}",
            lead.sentences
        );
        assert_eq!(lead.verdicts, [(Verdict::Supported, 1), (Verdict::Refuted, 1)]);
        let lead = of(&experiment, samples::arms(&experiment.profile, &[]));
        assert!(
            lead.sentences[1].starts_with("Not tested: The large batch ends behind (T.a: "),
            "{:?}",
            lead.sentences
        );
    }

    fn of(experiment: &crate::experiment::Experiment, arms: Vec<ArmRuns>) -> Lead {
        lead(&fixture::input(experiment, arms))
    }
}
