//! What was trained: every value of the config, and how each number of the page is computed.

use crate::analyse::{Summary, WARM_UP_STEPS};
use crate::experiment::plan::{Device, PlanName};
use crate::experiment::{Arm, Config, Plan, Profile, Reference};
use crate::network::{Layer, Order, cost};
use crate::report::provenance::leaves;
use crate::report::view::{FactView, MethodView, PlanView, ProfileView};
use crate::text;

pub fn profile(profile: &Profile) -> ProfileView {
    let seeds: Vec<String> = profile.seeds.iter().map(ToString::to_string).collect();
    ProfileView {
        name: profile.name.to_string(),
        is_full: profile.changes.is_empty(),
        changes: profile.changes.iter().map(|change| change_of(change, &profile.arms)).collect(),
        seeds: format!("{} ({})", text::plural(seeds.len(), "seed"), seeds.join(", ")),
    }
}

/// A change as it is written, and whether levels of some arms go before it.
fn change_of(change: &str, arms: &[Arm]) -> String {
    let Some((key, value)) = change.split_once(" = ") else { return change.to_owned() };
    let path = format!("/{}", key.replace('.', "/"));
    let is_other = |arm: &Arm| {
        let config = serde_json::to_value(&arm.config).unwrap_or_default();
        config
            .pointer(&path)
            .is_some_and(|found| found.to_string().trim_matches('"') != value.trim_matches('"'))
    };
    let says = if arms.iter().any(is_other) { " (but for arms that say otherwise)" } else { "" };
    format!("{change}{says}")
}

/// The plans of the runs that count, each once, in the order of their names.
pub fn plans(summary: &Summary) -> Vec<PlanView> {
    let runs = summary.arms.iter().flat_map(|arm| &arm.counted);
    let mut plans: Vec<(&Plan, u32)> = Vec::new();
    for (run, _) in runs {
        let plan = (&run.record.plan, run.record.beside);
        if !plans.contains(&plan) {
            plans.push(plan);
        }
    }
    plans.sort_by_key(|(plan, beside)| (plan.name.to_string(), *beside));
    plans.into_iter().map(plan).collect()
}

fn plan((plan, beside): (&Plan, u32)) -> PlanView {
    let threads = text::plural(plan.threads as usize, "thread");
    let beside = if beside > 0 { format!(", {} runs at a time", beside + 1) } else { String::new() };
    let device = if plan.device == Device::Cpu { String::new() } else { format!(", on {}", plan.device) };
    let plain = "plan eager is what a plain PyTorch script does";
    PlanView {
        name: plan.name.to_string(),
        how: format!("{threads}{beside}{device}"),
        says: match plan.name {
            PlanName::Eager => "what a plain PyTorch script does".to_owned(),
            PlanName::Tuned => format!("as fast as libtorch's own operators allow; {plain}"),
            PlanName::Graph => format!("as tuned, each step recorded as CUDA graphs; {plain}"),
            PlanName::Fused => format!("as tuned, with kernels of pinbench's own; {plain}"),
        },
    }
}

/// Each value once, or each level where a factor varies it.
pub fn facts(arms: &[Arm]) -> Vec<FactView> {
    let Some(first) = arms.first() else { return Vec::new() };
    let images = images(&first.config);
    let values: Vec<Vec<(String, String)>> = arms
        .iter()
        // A checked config holds finite numbers and strings, which always have a JSON form.
        .map(|arm| {
            let mut leaves = leaves(&serde_json::to_value(&arm.config).unwrap_or_default());
            leaves.retain(|(key, _)| !arm.config.optim.idle_keys().contains(&key.as_str()));
            if let Some(at) = leaves.iter().position(|(key, _)| key == "model.layers") {
                leaves.splice(at..=at, network(&arm.config));
            }
            leaves
        })
        .collect();
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in values.iter().flatten() {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let fact = |key: &String| {
        let mut levels: Vec<&str> = Vec::new();
        for arm in &values {
            // What a config does not say is off.
            let level = arm.iter().find(|(name, _)| name == key).map_or("–", |(_, level)| level.as_str());
            if !levels.contains(&level) {
                levels.push(level);
            }
        }
        FactView { name: key.clone(), value: levels.join(", "), varies: levels.len() > 1 }
    };
    let images = FactView { name: "images".to_owned(), value: images, varies: false };
    std::iter::once(images).chain(keys.into_iter().map(fact)).collect()
}

/// A network that is written out: each of its layers, and what it costs.
fn network(config: &Config) -> Vec<(String, String)> {
    let layers = config.model.layers();
    let layer = |(index, layer): (usize, &Layer)| (format!("model.layers.{index}"), layer.to_string());
    let mut facts: Vec<(String, String)> = layers.iter().enumerate().map(layer).collect();
    if let Ok(steps) = config.network() {
        let cost = cost::of(&steps, Order { pool_first: false, own_kernels: false });
        facts.push(("parameters".to_owned(), text::count(cost.parameters)));
        facts.push(("multiply–adds an image".to_owned(), text::count(cost.macs)));
    }
    facts
}

/// `48,000 to train, 12,000 to validate, 10,000 to test`.
fn images(config: &Config) -> String {
    let data = &config.data;
    let limited = |images: u32| u64::from(data.eval_limit.map_or(images, |limit| limit.min(images)));
    format!(
        "{} to train, {} to validate, {} to test",
        text::count(u64::from(data.train_images())),
        text::count(limited(data.held_out())),
        text::count(limited(data.set.test_len()))
    )
}

pub fn methods(reference: Option<&Reference>) -> Vec<MethodView> {
    let method = |name: &str, text: String| MethodView { name: name.to_owned(), text };
    let mut methods = vec![
        method(
            "mean ± sd",
            "Arithmetic mean and sample standard deviation (n − 1) over the seeds that finished; n counts them. One \
             seed has no spread, which is not a spread of 0."
                .to_owned(),
        ),
        method(
            "as trained, eval mode",
            "As trained: over the training images while the weights moved, with dropout on. Eval mode: dropout off, \
             weights of the epoch's end, over as many training images as there are validation images."
                .to_owned(),
        ),
        method("loss", "Mean cross-entropy of softmax over the logits, in nats.".to_owned()),
        method(
            "training time",
            "Sum of all steps of a run; no evaluation, no start-up. \
             “With evaluation” runs from the first step to the last evaluation."
                .to_owned(),
        ),
        method(
            "relative",
            "A run's training time divided by that of the first arm's run of the same seed. Times count only of seeds \
             whose arms ran one right after the other, by one program, on one machine, alone and undisturbed: the \
             records of the runs say so."
                .to_owned(),
        ),
        method(
            "step, throughput",
            format!(
                "Median over the steps of a run without its first {WARM_UP_STEPS}, in which allocator, caches and \
                 threads settle; then the mean over seeds. Page faults are minor faults, a mean over the same steps."
            ),
        ),
        method(
            "smoothed loss",
            "Exponential moving average with bias correction over 2 % of the run's steps, so over the same number of \
             images in every arm; then the mean over seeds."
                .to_owned(),
        ),
        method(
            "verdict",
            "Differences are taken within a seed. Holds: the 95 % interval of their mean (Student's t) lies above \
             no effect, and the mean is at least the least effect that matters. Does not hold: the interval lies below that \
             effect. Equal: two one-sided tests at 5 % within the margin (Schuirmann 1987). A claim of several \
             comparisons holds when all do; where one does not, each being tested at 5 % over their number, the claim \
             does not, or holds in part where others do. Otherwise it cannot be told. Ratios are compared by their logarithms. \
             What so many seeds would find at this spread: with a power of 75 to 80 %, the less the fewer they are. The share of all seeds: \
             Wilson's 95 % interval."
                .to_owned(),
        ),
        method(
            "precision, recall, F1, calibration",
            "From the confusion matrix on the test images, macro means over the classes, 0 where a denominator is. \
             Calibration error: mean over images of |accuracy − confidence| of their bin, 15 bins of equal width \
             (Guo et al., arXiv 1706.04599)."
                .to_owned(),
        ),
        method(
            "roughness",
            "Root of half the mean square successive difference of the step loss (von Neumann et al. 1941) over the \
             second half of the steps: the spread about the loss's own slow course, in nats."
                .to_owned(),
        ),
        method(
            "noise scale, gradient variance",
            "From the gradients of parts of 64 images and of all of them, in train mode, after the first, the middle \
             and the last epoch: noise scale tr Σ / |G|², each averaged first (McCandlish et al., arXiv 1812.06162, \
             appendix A.1); covariance tr Σ of one image's gradient, and variance tr Σ / B of a batch's, after the last epoch."
                .to_owned(),
        ),
        method(
            "sharpness, ε-sharpness",
            "Largest Hessian eigenvalue of the loss in eval mode over up to 256 training images, by power iteration \
             to 1 %; and Keskar's φ (arXiv 1609.04836) with ε = 0.001, by six projected sign-gradient steps. Neither \
             is invariant to a change of parameters (Dinh et al., arXiv 1703.04933)."
                .to_owned(),
        ),
        method(
            "saturated, dead",
            "Saturated: sigmoid or tanh within 5 % of its range of an end. Dead: a unit or channel of ReLU that is 0 \
             for every image looked at. Other activations have neither. In eval mode, before pooling; means over layers."
                .to_owned(),
        ),
    ];
    if let Some(Reference { name, .. }) = reference {
        methods.push(method("difference", format!("Our mean minus the number of {name}.")));
    }
    methods
}
