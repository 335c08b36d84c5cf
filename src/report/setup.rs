//! What was trained: every value of the config.

use crate::analyse::Summary;
use crate::experiment::plan::{Device, PlanName, bare};
use crate::experiment::{Arm, Config, Plan, Profile, Setting};
use crate::network::{Layer, Order, cost};
use crate::report::provenance::{self, distinct, leaves};
use crate::report::view::{FactView, PlanView, ProfileView};
use crate::text;
use crate::words::Words;

pub(super) fn profile(profile: &Profile, words: Words) -> ProfileView {
    let seeds: Vec<String> = words.some(profile.seeds.iter().map(ToString::to_string));
    ProfileView {
        name: profile.name.to_string(),
        is_full: profile.setting == Setting::Own,
        is_reduced: profile.setting == Setting::Reduced,
        changes: profile.changes.iter().map(|change| change_of(change, &profile.arms, words)).collect(),
        seeds: words.say(
            "fact.seeds",
            &[
                ("seeds", &words.count("word.seed-count", profile.seeds.len(), &[])),
                ("list", &seeds.join(", ")),
            ],
        ),
    }
}

/// A cap as it is written, in the page's language.
pub(super) fn cap(change: &str, words: Words) -> String {
    match change.split_once(" at most ") {
        Some((key, most)) => words.say("fact.at-most", &[("key", &key), ("most", &most)]),
        None => change.to_owned(),
    }
}

/// A change as it is written, and whether levels of some arms go before it.
fn change_of(change: &str, arms: &[Arm], words: Words) -> String {
    let Some((key, value)) = change.split_once(" = ") else { return cap(change, words) };
    let path = format!("/{}", key.replace('.', "/"));
    let is_number = |text: &str| text.parse::<f64>().ok();
    let is_same =
        |found: &str| found == value || is_number(found).zip(is_number(value)).is_some_and(|(a, b)| a == b);
    let is_other = |arm: &Arm| match key.strip_prefix("plan.") {
        Some(_) => arm.plan.pairs().iter().any(|(own, found)| own == key && !is_same(found)),
        None => {
            let config = serde_json::to_value(&arm.config).unwrap_or_default();
            config.pointer(&path).is_some_and(|found| !is_same(&bare(found)))
        }
    };
    match arms.iter().any(is_other) {
        true => words.say("fact.otherwise", &[("change", &change)]),
        false => change.to_owned(),
    }
}

/// The plans of the runs that count, each once, in the order of their names.
pub(super) fn plans(summary: &Summary, words: Words) -> Vec<PlanView> {
    let runs = summary.arms.iter().flat_map(|arm| &arm.counted);
    let mut plans = distinct(runs.map(|(run, _)| (&run.record.plan, run.record.beside)));
    plans.sort_by_key(|(plan, beside)| (plan.name.to_string(), *beside));
    plans.into_iter().map(|of| plan(of, words)).collect()
}

fn plan((plan, beside): (&Plan, u32), words: Words) -> PlanView {
    let mut how = words.count("word.thread", plan.threads as usize, &[]);
    if beside > 0 {
        how.push_str(&words.say("fact.at-a-time", &[("n", &(beside + 1))]));
    }
    for (key, value) in plan.changes().pairs() {
        how.push_str(&format!(", {key} = {value}"));
    }
    if plan.device != Device::Cpu {
        how.push_str(&words.say("fact.on-device", &[("device", &plan.device)]));
    }
    let says = match plan.name {
        PlanName::Eager => "fact.plan-eager",
        PlanName::Tuned => "fact.plan-tuned",
        PlanName::Graph => "fact.plan-graph",
        PlanName::Fused => "fact.plan-fused",
        PlanName::Winograd => "fact.plan-winograd",
    };
    PlanView { name: plan.name.to_string(), how, says: words.say(says, &[]) }
}

/// Each value once, or each level where a factor varies it.
pub(super) fn facts(arms: &[Arm], words: Words) -> Vec<FactView> {
    if arms.is_empty() {
        return Vec::new();
    }
    let values: Vec<Vec<(String, String)>> = arms
        .iter()
        // A checked config holds finite numbers and strings, which always have a JSON form.
        .map(|arm| {
            let mut leaves = leaves(&serde_json::to_value(&arm.config).unwrap_or_default());
            leaves.retain(|(key, _)| !arm.config.optim.idle_keys().contains(&key.as_str()));
            if let Some(at) = leaves.iter().position(|(key, _)| key == "model.layers") {
                leaves.splice(at..=at, network(&arm.config, words));
            }
            leaves
        })
        .collect();
    let keys = distinct(values.iter().flatten().map(|(key, _)| key));
    let fact = |key: &String| {
        // What a config does not say is off.
        let level = |arm: &Vec<(String, String)>| {
            arm.iter().find(|(name, _)| name == key).map_or("–".to_owned(), |(_, level)| level.clone())
        };
        let levels = distinct(values.iter().map(level));
        FactView { name: key.clone(), value: levels.join(", "), varies: levels.len() > 1 }
    };
    let images = arms.iter().map(|arm| images(&arm.config, words));
    let images = provenance::fact(words.word("fact.images"), images);
    std::iter::once(images).chain(keys.into_iter().map(fact)).collect()
}

/// A network that is written out: each of its layers, and what it costs.
fn network(config: &Config, words: Words) -> Vec<(String, String)> {
    let layers = config.model.layers();
    let layer = |(index, layer): (usize, &Layer)| (format!("model.layers.{index}"), layer.to_string());
    let mut facts: Vec<(String, String)> = layers.iter().enumerate().map(layer).collect();
    if let Ok(steps) = config.network() {
        let cost = cost::of(&steps, Order { pool_first: false, own_kernels: false, convolution: None });
        facts.push((words.word("fact.parameters").to_owned(), text::count(cost.parameters)));
        facts.push((words.word("fact.macs").to_owned(), text::count(cost.macs)));
    }
    facts
}

/// `48,000 to train, 12,000 to validate, 10,000 to test`.
fn images(config: &Config, words: Words) -> String {
    let data = &config.data;
    let limited = |images: u32| u64::from(data.eval_limit.map_or(images, |limit| limit.min(images)));
    let train = text::count(u64::from(data.train_images()));
    let validate = text::count(limited(data.held_out()));
    let test = text::count(limited(data.set.test_len()));
    words.say("fact.image-counts", &[("train", &train), ("validate", &validate), ("test", &test)])
}
