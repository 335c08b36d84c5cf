//! What every page takes for known: how its numbers are computed, how causes are found, and its words.

use crate::analyse::WARM_UP_STEPS;
use crate::report::view::{MethodView, MethodsView};
use crate::words::Words;

/// Keys of a name and of a text, which may say how many steps are warm-up.
type Terms = [(&'static str, &'static str)];

const NUMBERS: &Terms = &[
    ("method.mean-name", "method.mean"),
    ("table.difference", "method.difference"),
    ("method.modes-name", "method.modes"),
    ("method.loss-name", "method.loss"),
    ("method.time-name", "method.time"),
    ("method.relative-name", "method.relative"),
    ("method.step-name", "method.step"),
    ("method.smoothed-name", "method.smoothed"),
    ("method.tests-name", "method.tests"),
    ("method.scores-name", "method.scores"),
    ("method.roughness-name", "method.roughness"),
    ("method.reached-name", "method.reached"),
    ("method.noise-name", "method.noise"),
    ("method.sharpness-name", "method.sharpness"),
    ("method.dead-name", "method.dead"),
];

const CAUSES: &Terms = &[
    ("explained.cost-name", "explained.cost"),
    ("explained.blocks-name", "explained.blocks"),
    ("explained.share-name", "explained.share-about"),
];

const WORDS: &Terms = &[
    ("methods.experiment-name", "methods.experiment"),
    ("methods.claim-name", "methods.claim"),
    ("methods.arm-name", "methods.arm"),
    ("methods.seed-name", "methods.seed"),
    ("methods.trial-name", "methods.trial"),
    ("methods.profile-name", "methods.profile"),
    ("methods.plan-name", "methods.plan"),
    ("methods.margin-name", "methods.margin"),
    ("methods.interval-name", "methods.interval"),
    ("methods.step-name", "methods.step"),
    ("methods.split-name", "methods.split"),
    ("methods.faults-name", "methods.faults"),
    ("methods.hash-name", "methods.hash"),
];

pub(super) fn view(words: Words) -> MethodsView {
    let method = |&(name, text): &(&str, &str)| MethodView {
        name: words.word(name).to_owned(),
        text: words.say(text, &[("n", &WARM_UP_STEPS)]),
    };
    let all = |terms: &Terms| terms.iter().map(method).collect();
    MethodsView { numbers: all(NUMBERS), causes: all(CAUSES), words: all(WORDS) }
}
