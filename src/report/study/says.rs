//! What an explanation says first, sentence by sentence: on its page, in its JSON and on a terminal.

use std::fmt::Display;

use crate::analyse::study::{Demonstration, Finding, LEAST_SLOWDOWN, Part, Presence, Verdict};
use crate::analyse::timing::Estimate;
use crate::planted::DELAY_NS_PER_IMAGE;
use crate::report::figure::phases;
use crate::report::study::{
    Input, bracketed, is_told_dearer, level_names, removal, share_view, times_interval, verdict_key,
};
use crate::text;
use crate::words::Words;

/// What the page says first, sentence by sentence, as a terminal shows it.
pub fn says(input: &Input) -> Vec<String> {
    says_in(input, Words::english())
}

/// The same in any language.
pub(super) fn says_in(input: &Input, words: Words) -> Vec<String> {
    let Input { study, layout, explanation, .. } = input;
    let (low, high) = level_names(input, words);
    let mut says: Vec<String> =
        layout.demonstration.map(|of| says_demonstration(of, (low, high), words)).into_iter().collect();
    let Some(ratio) = &explanation.ratio else {
        says.push(words.say("explained.says-nothing", &[("low", &low), ("high", &high)]));
        return says;
    };
    says.push(says_ratio(input, ratio, words));
    if let Some(slowdown) = explanation.slowdown.as_ref().filter(|_| study.ideal != 1.0) {
        let (ideal, left) = (text::fixed(study.ideal, 2), text::fixed(slowdown.value, 2));
        let interval = times_interval(slowdown, words);
        let all: [(&str, &dyn Display); 3] =
            [("ideal", &ideal), ("slowdown", &left), ("interval", &interval)];
        says.push(words.say("explained.says-hoped", &all));
    }
    let least = text::fixed(LEAST_SLOWDOWN, 2);
    match explanation.presence {
        Presence::Found => says.extend(says_found(input, words)),
        Presence::Absent => says.push(words.say("explained.says-absent", &[("least", &least)])),
        Presence::Undecided => {
            let blocks = words.count("word.block", explanation.blocks, &[]);
            let floor = match explanation.floor {
                Some(floor) => words.say("explained.says-floor", &[("floor", &text::fixed(floor, 2))]),
                None => words.say("explained.says-no-floor", &[]),
            };
            let all: [(&str, &dyn Display); 3] = [("blocks", &blocks), ("least", &least), ("floor", &floor)];
            says.push(words.say("explained.says-undecided", &all));
        }
    }
    says
}

fn says_demonstration(of: Demonstration, (low, high): (&str, &str), words: Words) -> String {
    let Demonstration::Planted(planted) = of else {
        return words.say("explained.says-aa", &[("low", &low)]);
    };
    let wait = match planted.longer_percent() {
        Some(percent) => words.say("explained.wait-share", &[("percent", &percent)]),
        None => words.say("explained.wait", &[("n", &text::fixed(DELAY_NS_PER_IMAGE as f64 / 1e3, 0))]),
    };
    let part = planted.phase().map(|phase| words.word(phases::key(phase as usize))).unwrap_or_default();
    let all: [(&str, &dyn Display); 4] =
        [("fault", &planted.name()), ("high", &high), ("wait", &wait), ("part", &part)];
    words.say("explained.says-planted", &all)
}

fn says_ratio(input: &Input, ratio: &Estimate, words: Words) -> String {
    let Input { study, layout, records, .. } = input;
    let (low, high) = level_names(input, words);
    let machine = records.first().map(|record| &record.environment).map(|environment| {
        let cores = words.count("word.core", environment.cores as usize, &[]);
        words.say("explained.says-machine", &[("cpu", &environment.cpu.trim()), ("cores", &cores)])
    });
    let source = study.source.as_ref().filter(|_| layout.demonstration.is_none()).map(|source| {
        let text = source.text.to(words.language);
        words.say("explained.says-source", &[("text", &text), ("ratio", &text::fixed(source.ratio, 2))])
    });
    let (value, interval) = (text::fixed(ratio.value, 2), times_interval(ratio, words));
    words.say(
        "explained.says-ratio",
        &[
            ("high", &high),
            ("ratio", &value),
            ("interval", &interval),
            ("low", &low),
            ("machine", &machine.unwrap_or_default()),
            ("plan", &layout.base),
            ("source", &source.unwrap_or_default()),
        ],
    )
}

/// Parts that are so much of the largest are named beside it: which of them is the largest another measurement may say otherwise.
const ABOUT_AS_LARGE: f64 = 0.8;

/// Where most of what is more is spent.
fn says_largest(input: &Input, words: Words) -> Option<String> {
    let Input { study, explanation, .. } = input;
    let largest = explanation.parts.iter().map(|part| part.more_us.value).max_by(f64::total_cmp)?;
    let mut large: Vec<&Part> =
        explanation.parts.iter().filter(|part| part.more_us.value >= ABOUT_AS_LARGE * largest).collect();
    large.sort_by(|one, other| other.more_us.value.total_cmp(&one.more_us.value));
    let part = |part: &Part| {
        let more = &part.more_us;
        let interval = more.interval.map(|(low, high)| bracketed(low, high, 1, words)).unwrap_or_default();
        let (part, us) = (words.word(phases::key(part.part)), text::signed(more.value, 1));
        words.say("explained.part-more", &[("part", &part), ("us", &us), ("interval", &interval)])
    };
    let parts: Vec<String> = large.into_iter().map(part).collect();
    let (key, ideal) = match study.ideal {
        1.0 => ("explained.says-largest", String::new()),
        ideal => ("explained.says-largest-above", text::fixed(ideal, 2)),
    };
    let (low, parts) = (level_names(input, words).0, words.list(&parts));
    (largest > 0.0).then(|| words.say(key, &[("ideal", &ideal), ("low", &low), ("parts", &parts)]))
}

/// What is left of the slowdown with a hypothesis' cause removed, and under what it was there where that is not as it is.
fn says_left(input: &Input, index: usize, words: Words) -> Option<String> {
    let finding = &input.explanation.findings[index];
    let left = text::fixed(finding.left.as_ref()?.value, 2);
    let Some(before) = &finding.before else {
        return Some(words.say("explained.says-found-left", &[("left", &left)]));
    };
    let (given, before) = (removal(&input.study.hypotheses[index]).0, text::fixed(before.value, 2));
    let all: [(&str, &dyn Display); 3] = [("given", &given), ("before", &before), ("left", &left)];
    Some(words.say("explained.says-found-given", &all))
}

/// Beside a share that the removal makes doubtful.
fn says_dearer(input: &Input, finding: &Finding, words: Words) -> String {
    let (low, high) = level_names(input, words);
    let says = || words.say("explained.says-dearer", &[("low", &low), ("high", &high)]);
    is_told_dearer(finding).then(says).unwrap_or_default()
}

/// The causes, where most of it is spent, what is open, and what is ruled out.
fn says_found(input: &Input, words: Words) -> Vec<String> {
    let explanation = &input.explanation;
    let of = |wanted: fn(Verdict) -> bool| {
        explanation.mechanisms.iter().filter(move |mechanism| wanted(mechanism.verdict)).map(|mechanism| {
            (mechanism, mechanism.title.to(words.language), &explanation.findings[mechanism.members[0]])
        })
    };
    let share = |finding: &Finding| finding.share.as_ref().map(|share| share_view(share, words));
    let mut says = Vec::new();
    for (mechanism, title, finding) in
        of(|verdict| matches!(verdict, Verdict::MainCause | Verdict::Contributes))
    {
        let share = share(finding).unwrap_or_default();
        says.push(words.say(
            "explained.says-found",
            &[
                ("title", &title),
                ("verdict", &words.word(verdict_key(mechanism.verdict))),
                ("share", &share.value),
                ("interval", &share.bracketed),
                ("left", &says_left(input, mechanism.members[0], words).unwrap_or_default()),
                ("dearer", &says_dearer(input, finding, words)),
            ],
        ));
    }
    if says.is_empty() {
        says.push(words.say("explained.says-unexplained", &[]));
    }
    says.extend(says_largest(input, words));
    for (_, title, finding) in of(|verdict| verdict == Verdict::Open) {
        let most = share(finding).map(|share| match share.most {
            Some(most) => words.say("explained.says-most", &[("most", &most)]),
            None => words.say("explained.says-no-end", &[("none", &share.value)]),
        });
        let (most, dearer) = (most.unwrap_or_default(), says_dearer(input, finding, words));
        let all: [(&str, &dyn Display); 3] = [("title", &title), ("most", &most), ("dearer", &dearer)];
        says.push(words.say("explained.says-open", &all));
    }
    says.extend(says_ruled_out(input, words));
    says
}

/// All of them in a sentence, each with the most that it may explain.
fn says_ruled_out(input: &Input, words: Words) -> Option<String> {
    let explanation = &input.explanation;
    let ruled_out = explanation.mechanisms.iter().filter(|mechanism| mechanism.verdict == Verdict::RuledOut);
    let ruled_out: Vec<String> = ruled_out
        .map(|mechanism| {
            let share = explanation.findings[mechanism.members[0]].share;
            // How far below nothing an interval reaches says how much dearer the removal made things, which is another question.
            let most = share.and_then(|share| share_view(&share, words).most).map(|most| {
                let most = if most.starts_with('−') { "0".to_owned() } else { most };
                words.say("explained.says-percent", &[("most", &most)])
            });
            format!("{}{}", mechanism.title.to(words.language), most.unwrap_or_default())
        })
        .collect();
    let titles = ruled_out.join(words.word("word.semicolon"));
    (!ruled_out.is_empty()).then(|| words.say("explained.says-ruled-out", &[("titles", &titles)]))
}
