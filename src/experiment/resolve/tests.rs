mod settings;

use std::path::Path;

use super::*;
use crate::experiment::plan::{Device, Loader, MemoryFormat, Plan, PlanAsked, PlanName};

const TEXT: &str = r#"
title = "batch size"
why = "a test"

[data]
set = "mnist"
validation = 0.2

[model]
name = "simple_cnn"
activation = "relu"
dropout = 0.5

[optim]
name = "adam"
lr = 0.001

[train]
batch = 64
epochs = 5

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64, colour = "green" }, { value = 128 }, { value = 1024, label = "1 Ki" }]

[profiles.smoke]
seeds = [0]
set = { "data.train_limit" = 2048, "train.epochs" = 1 }

[profiles.quick]
seeds = [0, 1]

[profiles.full]
seeds = [0, 1, 2]

[reference]
name = "the notes"
rows = [{ arm = { "train.batch" = 128 }, val_acc = 0.98 }]
"#;

fn parse(text: &str) -> Result<Experiment, LocatedError> {
    Experiment::parse(Path::new("experiments/m1.toml"), text)
}

/// The error of `TEXT` with `from` replaced.
fn error(from: &str, to: &str) -> String {
    assert!(TEXT.contains(from), "{from}");
    parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn the_grid_has_one_arm_a_level_under_every_profile() {
    let experiment = parse(TEXT).unwrap();
    assert_eq!(experiment.id, "m1");
    let smoke = experiment.under(&"smoke".into()).unwrap().profile;
    let labels: Vec<&str> = smoke.arms.iter().map(|arm| arm.label.as_str()).collect();
    assert_eq!(labels, ["64", "128", "1 Ki"]);
    assert_eq!(smoke.arms[0].colour, Colour::Green);
    assert_eq!(smoke.arms[2].config.train.batch, 1024);
    assert_eq!(smoke.arms[2].config.train.epochs, 1);
    assert_eq!(smoke.arms[2].config.data.train_limit, Some(2048));
    assert_eq!(smoke.changes, ["data.train_limit = 2048", "train.epochs = 1"]);
    let full = experiment.under(&"full".into()).unwrap().profile;
    assert_eq!(full.arms[0].config.data.train_limit, None);
    assert_eq!(experiment.reference.unwrap().rows[0].arm, 1);
}

#[test]
fn a_file_needs_no_profile_and_says_which_of_its_own_is_taken() {
    let start = TEXT.find("[profiles.smoke]").unwrap();
    let bare = parse(&TEXT[..start]).unwrap();
    assert_eq!((bare.profile.name.0.as_str(), bare.profiles().len()), ("", 0));
    assert_eq!(bare.profile.seeds, SEEDS);
    assert_eq!(bare.under(&"full".into()), None);
    let seeded = TEXT[..start].replace("why = \"a test\"", "seeds = [4]");
    assert_eq!(parse(&seeded).unwrap().profile.seeds, [Seed(4)]);
    // The first, where the file does not say which.
    assert_eq!(parse(TEXT).unwrap().profile.name.0, "smoke");
    let named = TEXT.replace("why = \"a test\"", "default_profile = \"full\"");
    assert_eq!(parse(&named).unwrap().profile.name.0, "full");
    assert_eq!(parse(&named).unwrap().each().count(), 3);
}

#[test]
fn trials_come_seed_by_seed() {
    let experiment = parse(TEXT).unwrap();
    let trials: Vec<_> = experiment.under(&"quick".into()).unwrap().profile.trials().collect();
    let order: Vec<_> = trials.iter().map(|(arm, trial)| (*arm, trial.seed.0)).collect();
    assert_eq!(order, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
}

#[test]
fn two_factors_give_every_combination() {
    let two = r#"label = "batch"
levels = [{ value = 64 }, { value = 128 }]

[[factors]]
key = "model.activation"
label = "activation"
levels = [{ value = "relu" }, { value = "tanh" }]

[[factors]]
key = "train.epochs"
label = "epochs""#;
    let text = TEXT.replace("label = \"batch\"", two);
    let text = text.replace(", { value = 1024, label = \"1 Ki\" }", ", { value = 3 }");
    let text = &text[..text.find("[reference]").unwrap()];
    let experiment = parse(text).unwrap();
    let arms = &experiment.profile.arms;
    assert_eq!(arms.len(), 12);
    assert_eq!(arms[4].label, "64, tanh, 128");
}

#[test]
fn unknown_toml_key_is_refused_with_its_name_and_line() {
    let text = error("batch = 64", "btach = 64");
    assert!(
        text.contains("experiments/m1.toml:19:1")
            && text.contains("unknown key `btach`; did you mean `batch`?"),
        "{text}"
    );
}

#[test]
fn a_typo_in_a_factor_points_at_it_and_names_the_nearest_key() {
    let text = error("key = \"train.batch\"", "key = \"train.bacth\"");
    assert!(text.contains("m1.toml:23:7") && text.contains("did you mean `train.batch`?"), "{text}");
    let lines = error("{ value = 1024, label = \"1 Ki\" }", "{ value = 1024, label = \"1\\nKi\" }");
    assert!(lines.contains(r#"the label "1\nKi" has a line break"#), "{lines}");
    let text = error("key = \"train.batch\"", "key = \"train\"");
    assert!(text.contains("unknown config value `train`"), "{text}");
}

#[test]
fn impossible_values_point_at_the_line_they_were_written_on() {
    for (from, to, place, what) in [
        ("batch = 64", "batch = 0", ":25:", "batch"),
        ("dropout = 0.5", "dropout = 1.0", ":12:1", "0 ≤ p < 1"),
        ("validation = 0.2", "validation = 1.5", ":7:1", "a share"),
        ("lr = 0.001", "lr = -1", ":16:1", "above 0"),
        ("epochs = 5", "epochs = 0", ":20:1", "at least 1"),
        ("epochs = 5", "epochs = 5\nmax_steps = 0", ":21:1", "at least 1"),
        ("epochs = 5", "epochs = 5\npatience = 0", ":21:1", "at least 1"),
        ("epochs = 5", "epochs = 5\nmin_delta = 0.1", ":21:1", "beside a `patience`"),
        ("epochs = 5", "epochs = 5\ntarget_loss = nan", ":21:", "is not finite"),
        ("epochs = 5", "epochs = 5\n[augment]\nshift = 28", ":22:1", "less than the 28 pixels"),
        ("epochs = 5", "epochs = 5\n[augment]\nrotation = inf", ":22:", "is not finite"),
        ("epochs = 5", "epochs = 5\n[augment]\nrotation = 181.0", ":22:1", "0 to 180 degrees"),
        ("epochs = 5", "epochs = 5\n[augment]\ncutout = 28", ":22:1", "at least 1"),
        (
            "{ value = 128 }",
            "{ value = 0 }",
            ":25:",
            "1 to 2048, the training images there are under the profile 'smoke'",
        ),
        (
            "{ value = 128 }",
            "{ value = \"x\" }",
            ":25:",
            "`train.batch`: expected a whole number, found the text",
        ),
        ("{ value = 128 }", "{ value = nan }", ":25:", "is not finite"),
        ("{ value = 128 }", "{ value = 64 }", ":25:", "twice"),
        ("\"data.train_limit\" = 2048", "\"data.train_limit\" = 0", ":29:", "1 to 48000"),
        ("seeds = [0, 1, 2]", "seeds = [0, 1, 1]", ":35:16", "twice"),
        ("seeds = [0, 1, 2]", "seeds = []", ":35:9", "at least one seed"),
        ("seeds = [0, 1, 2]", "seeds = [9007199254740993]", ":35:10", "largest whole number"),
        ("{ \"train.batch\" = 128 }", "{ \"train.batch\" = 129 }", ":39:", "no level 129"),
        ("{ \"train.batch\" = 128 }", "{ \"train.btach\" = 128 }", ":39:", "did you mean"),
        ("set = \"mnist\"", "set = \"mnits\"", ":6:7", "unknown data set `mnits`; did you mean `mnist`?"),
    ] {
        if from == "batch = 64" {
            // Every arm sets the batch, so the base value is never trained.
            assert!(parse(&TEXT.replacen(from, to, 1)).is_ok());
            continue;
        }
        let text = error(from, to);
        assert!(text.contains(place) && text.contains(what), "{from} -> {to}\n{text}");
    }
}

/// Each was said in Rust's words, or taken as it stood.
#[test]
fn mistakes_are_said_in_the_words_of_whoever_writes_the_file() {
    for (from, to, place, what) in [
        ("dropout = 0.5", "dorpout = 0.5", ":12:1", "unknown key `dorpout`; did you mean `dropout`?"),
        ("[optim]\n", "[optim]\nlearning_rate = 1\n", ":15:1", "did you mean `lr`?"),
        ("key = \"train.batch\"", "key = \"optim.rate\"", ":23:7", "did you mean `optim.lr`?"),
        ("batch = 64", "batch = \"64\"", ":19:9", "expected a whole number, found the text \"64\""),
        ("batch = 64", "batch = -64", ":19:9", "expected a whole number, 0 or above, found -64"),
        ("lr = 0.001", "lr = 0.01 0.02", ":16:", "make them the levels of a [[factors]]"),
        ("lr = 0.001", "", ":14:1", "the key `lr` is missing"),
        (
            "title = \"batch size\"",
            "",
            "m1.toml",
            "the key `title` is missing; it stands above the first [table]",
        ),
        (
            "why = \"a test\"",
            "default_profile = \"ful\"",
            ":3:19",
            "unknown profile `ful`; did you mean `full`?",
        ),
        ("[optim]\nname = \"adam\"\nlr = 0.001", "", "m1.toml: the table [optim] is missing", "[train]"),
    ] {
        let text = error(from, to);
        assert!(text.contains(place) && text.contains(what), "{from} -> {to}\n{text}");
    }
}

#[test]
fn a_factor_over_the_plan_makes_arms_of_one_trial_under_several_plans() {
    let text = TEXT.replace("key = \"train.batch\"", "key = \"plan.workers\"");
    let text = text.replace("[[factors]]", "[plan]\nmemory_format = \"contiguous\"\n\n[[factors]]");
    let text = &text[..text.find("[reference]").unwrap()];
    let text = text.replace("value = 1024", "value = 0");
    let experiment = parse(&text).unwrap();
    let arms = &experiment.profile.arms;
    let plain = parse(TEXT).unwrap();
    // What varies in the plan changes no trial.
    assert!(arms.iter().all(|arm| arm.config == plain.profile.arms[0].config));
    let base = Plan::named(PlanName::Tuned, 2, Device::Cpu);
    let set = PlanChange::parse("plan.memory_format=channels_last").unwrap();
    let set = set.then(&PlanChange::parse("plan.workers=9").unwrap());
    let plans: Vec<Plan> =
        arms.iter().map(|arm| PlanAsked { base: base.clone(), set: set.clone() }.of(arm)).collect();
    let loaders: Vec<Loader> = plans.iter().map(|plan| plan.loader).collect();
    assert_eq!(loaders, [64, 128, 0].map(|workers| Loader::Samples { workers, prefetch: 2 }));
    // A command line goes before the file, and what an arm is goes before both.
    assert!(plans.iter().all(|plan| plan.memory_format == MemoryFormat::ChannelsLast));
    let alone = PlanAsked::exactly(base).of(&arms[0]);
    assert_eq!(alone.memory_format, MemoryFormat::Contiguous);
    let error = parse(&text.replace("value = 0", "value = 257")).unwrap_err().to_string();
    assert!(error.contains("`plan.workers` is 257, expected 0 to 256"), "{error}");
}

/// Two factors of one label made arms that nobody could tell apart, and two over one key made one trial under two
/// names.
#[test]
fn two_factors_of_one_label_or_key_are_refused() {
    let second = |key: &str, label: &str| {
        let factor = format!(
            "[[factors]]\nkey = \"{key}\"\nlabel = \"{label}\"\nlevels = [{{ value = 3 }}, {{ value = 4 }}]\n\n[profiles.smoke]"
        );
        error("[profiles.smoke]", &factor)
    };
    let text = second("train.epochs", "batch");
    assert!(text.contains(":29:9") && text.contains("the label 'batch' too"), "{text}");
    let text = second("train.batch", "size");
    assert!(text.contains(":28:7") && text.contains("varies `train.batch` too"), "{text}");
}

/// A level's `set` went over another factor's key without a word: the arm "64, fast" was trained with 32.
#[test]
fn two_factors_that_set_one_value_are_refused() {
    let second = |set: &str| {
        let factor = format!(
            "[[factors]]\nlabel = \"how\"\nlevels = [{{ label = \"plain\", set = {{ \"optim.lr\" = 0.002 }} }}, {{ label = \"fast\", set = {{ {set} }} }}]\n\n[profiles.smoke]"
        );
        parse(&TEXT[..TEXT.find("[reference]").unwrap()].replacen("[profiles.smoke]", &factor, 1))
    };
    let text = second("\"train.batch\" = 32").unwrap_err().to_string();
    assert!(text.contains("sets `train.batch` too"), "{text}");
    assert_eq!(second("\"train.epochs\" = 9").unwrap().profile.arms.len(), 6);
}

#[test]
fn arms_that_would_have_one_name_are_refused() {
    let second = "label = \"b, c\", set = { \"train.epochs\" = 9 }";
    let text = TEXT[..TEXT.find("[reference]").unwrap()].replacen(
        "{ value = 128 }, { value = 1024, label = \"1 Ki\" }",
        "{ value = 128, label = \"64, b\" }",
        1,
    );
    let factor = format!(
        "[[factors]]\nlabel = \"how\"\nlevels = [{{ label = \"c\", set = {{ \"train.epochs\" = 5 }} }}, {{ {second} }}]\n\n[profiles.smoke]"
    );
    let text = parse(&text.replacen("[profiles.smoke]", &factor, 1)).unwrap_err().to_string();
    assert!(text.contains("two arms are called '64, b, c'"), "{text}");
}

/// "differs by −94.5625" was said of percentages, and an arm's second row was dropped.
#[test]
fn numbers_of_others_are_what_they_say_they_are_and_once_an_arm() {
    let row = "{ arm = { \"train.batch\" = 128 }, val_acc = 0.98 }";
    for (to, part) in [
        (
            "{ arm = { \"train.batch\" = 128 }, val_acc = 98.0 }",
            "`val_acc` of the arm '128' is 98, expected a share",
        ),
        (
            "{ arm = { \"train.batch\" = 128 }, minutes = -3 }",
            "`minutes` of the arm '128' is -3, expected 0 or",
        ),
        ("{ arm = { \"train.batch\" = 128 } }", "says nothing of the arm '128'"),
        (&format!("{row}, {row}"), "a reference row above is of the arm '128' too"),
    ] {
        let text = error(row, to);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_rule_without_a_base_batch_scales_nothing_and_is_refused() {
    for (keys, part) in [
        ("lr_base_batch = 64", "`lr_rule` beside it"),
        ("lr_rule = \"linear\"", "`lr_base_batch` beside it"),
        ("lr_rule = \"sqrt\"", "`lr_base_batch` beside it"),
        ("lr_rule = \"linear\"\nlr_base_batch = 0", "`optim.lr_base_batch` is 0, expected at least 1 image"),
    ] {
        let text = error("lr = 0.001", &format!("lr = 0.001\n{keys}"));
        assert!(text.contains(part), "{text}");
    }
    assert!(parse(&TEXT.replacen("lr = 0.001", "lr = 0.001\nlr_rule = \"constant\"", 1)).is_ok());
    // As it was written, and not as it would be scaled.
    let text = error("lr = 0.001", "lr = -0.01\nlr_rule = \"linear\"\nlr_base_batch = 8");
    assert!(text.contains("`optim.lr` is -0.01"), "{text}");
}

/// The page of such a profile said that nothing exceeds it.
#[test]
fn a_cap_that_caps_nothing_is_refused() {
    let capped = |cap: &str| {
        parse(&TEXT.replacen("[profiles.quick]\n", &format!("[profiles.quick]\ncap = {{ {cap} }}\n"), 1))
    };
    assert!(capped("\"train.epochs\" = 9, \"train.batch\" = 128").is_ok());
    for cap in ["\"train.max_steps\" = 20", "\"model.activation\" = 3", "\"plan.threads\" = 1"] {
        let text = capped(cap).unwrap_err().to_string();
        assert!(text.contains("no arm has a number at") && text.contains("m1.toml:32:"), "{text}");
    }
}

/// Two names of one training: a claim that they are equal cannot fail.
#[test]
fn two_levels_that_set_the_same_are_refused() {
    let text = error("{ value = 128 }", "{ value = 64.0, label = \"b\" }");
    assert!(text.contains("the levels '64' and 'b' of factor `train.batch` set the same"), "{text}");
    let text = error("{ value = 128 }", "{ value = 128, label = \"\" }");
    assert!(text.contains("empty label"), "{text}");
    let rows = TEXT.replacen("arm = { \"train.batch\" = 128 }", "arm = { \"train.batch\" = 128.0 }", 1);
    assert_eq!(parse(&rows).unwrap().reference.unwrap().rows[0].arm, 1);
    let text = error("arm = { \"train.batch\" = 128 }", "arm = {}");
    assert!(text.contains("must name a level of every factor"), "{text}");
}

const NETWORK: &str = r#"layers = [
    { conv = 8, kernel = 3, pad = 1 },
    "relu",
    { repeat = 2, layers = [{ residual = [{ conv = 8, kernel = 3, pad = 1 }, "relu"] }] },
    "flatten",
    { dropout = 0.5 },
    { linear = "classes" },
]"#;
const PRESET: &str = "name = \"simple_cnn\"\nactivation = \"relu\"\ndropout = 0.5";

fn network(factor: &str, layers: &str) -> Result<Experiment, LocatedError> {
    network_of(TEXT, factor, layers)
}

fn network_of(text: &str, factor: &str, layers: &str) -> Result<Experiment, LocatedError> {
    let text = text.replacen(PRESET, layers, 1);
    let at = text.find("[[factors]]").unwrap();
    let end = text.find("[profiles.smoke]").unwrap();
    let factor = format!("[[factors]]\n{factor}\n\n");
    let text = [&text[..at], &factor, &text[end..text.find("[reference]").unwrap()]].concat();
    parse(&text)
}

/// A kernel of 3 does not go with a padding of 3, and both are changed at once.
#[test]
fn keys_of_a_layer_fit_together_and_not_one_by_one() {
    let wide = NETWORK.replacen("kernel = 3, pad = 1", "kernel = 7, pad = 3", 1);
    let level = |kernel: u32, pad: u32| {
        format!(
            "{{ label = \"{kernel}\", set = {{ \"model.layers.0.kernel\" = {kernel}, \"model.layers.0.pad\" = {pad} }} }}"
        )
    };
    let levels = |other: &str| format!("label = \"kernel\"\nlevels = [{}, {other}]", level(7, 3));
    assert_eq!(network(&levels(&level(3, 1)), &wide).unwrap().profile.arms.len(), 2);
    let error = network(&levels(&level(3, 3)), &wide).unwrap_err().to_string();
    assert!(error.contains("`pad` is 3, expected less than the kernel's 3"), "{error}");
    // A layer that an arm does not have cannot be another in it.
    let short = "label = \"depth\"\nlevels = [{ label = \"as it is\", set = { \"train.epochs\" = 5 } }, { label = \"short\", set = { \"model.layers\" = [\"flatten\", { linear = \"classes\" }] } }]";
    let units = "[[factors]]\nkey = \"model.layers.0.kernel\"\nlabel = \"kernel\"\nlevels = [{ value = 3 }, { value = 5 }]";
    let error = network(&format!("{short}\n\n{units}"), NETWORK).unwrap_err().to_string();
    assert!(error.contains("`model.layers.0`"), "{error}");
}

#[test]
fn a_factor_varies_a_layers_key_or_a_layer_as_a_whole() {
    let layer = |key: &str, levels: &str| {
        let factor = format!("key = \"{key}\"\nlabel = \"layer\"\nlevels = {levels}");
        network(&factor, NETWORK).unwrap()
    };
    let configs = |experiment: Experiment| -> Vec<String> {
        let arms = experiment.under(&"full".into()).unwrap().profile.arms.clone();
        arms.iter().map(|arm| serde_json::to_string(&arm.config.model).unwrap()).collect()
    };
    let dropout = layer("model.layers.4.dropout", "[{ value = 0.5 }, { value = 0.1 }]");
    let found = configs(dropout);
    assert!(found[0].contains("{\"dropout\":0.5}") && found[1].contains("{\"dropout\":0.1}"), "{found:?}");
    // What the file leaves out is there to be varied.
    let stride = layer("model.layers.0.stride", "[{ value = 1 }, { value = 2 }]");
    assert!(configs(stride)[1].contains("\"stride\":2"));
    let switched = layer(
        "model.layers.1",
        "[{ value = \"tanh\" }, { value = { group_norm = 4 }, label = \"normalised\" }]",
    );
    let found = configs(switched);
    assert!(found[0].contains("\"tanh\"") && found[1].contains("{\"group_norm\":4}"), "{found:?}");
}

#[test]
fn a_network_is_hashed_by_its_layers_with_their_defaults() {
    let factor = "key = \"train.batch\"\nlabel = \"batch\"\nlevels = [{ value = 64 }, { value = 128 }]";
    let hash = |layers: &str| {
        let experiment = network(factor, layers).unwrap();
        experiment.under(&"full".into()).unwrap().profile.arms[0].config.hash()
    };
    let written = NETWORK.replacen("pad = 1 }", "pad = 1, stride = 1, groups = 1, bias = true }", 1);
    assert_eq!(hash(NETWORK), hash(&written));
    assert_ne!(hash(NETWORK), hash(&NETWORK.replacen("pad = 1", "pad = 2", 1)));
}

/// A level's colour was read in a grid of two factors, and no arm wore it.
#[test]
fn arms_of_a_grid_wear_the_colours_that_all_levels_of_the_first_factor_have() {
    let plans = "[[factors]]\nkey = \"plan.name\"\nlabel = \"plan\"\nlevels = [{ value = \"eager\" }, { value = \"tuned\" }]\n";
    let whole = TEXT.split("[reference]").next().unwrap();
    let grid = whole.replacen("[profiles.smoke]", &format!("{plans}\n[profiles.smoke]"), 1);
    let colours =
        |text: &str| parse(text).unwrap().profile.arms.iter().map(|arm| arm.colour).collect::<Vec<_>>();
    assert_eq!(colours(&grid), Colour::IN_TURN[..6]);
    let all = grid.replacen("{ value = 128 }", "{ value = 128, colour = \"orange\" }", 1);
    let all = all.replacen("label = \"1 Ki\" }", "label = \"1 Ki\", colour = \"grey\" }", 1);
    let each = [Colour::Green, Colour::Orange, Colour::Grey];
    assert_eq!(colours(&all), each.map(|colour| [colour; 2]).concat());
}

/// `crop = 0` and a `micro_batch` of the whole batch were other trials of the same training.
#[test]
fn what_changes_nothing_makes_no_other_trial() {
    let hash = |text: &str| parse(text).unwrap().profile.arms[0].config.hash();
    let with = |lines: &str| hash(&TEXT.replacen("epochs = 5", &format!("epochs = 5\n{lines}"), 1));
    let plain = hash(TEXT);
    for nothing in [
        "micro_batch = 64",
        "micro_batch = 900",
        "label_smoothing = 0.0",
        "[augment]\ncrop = 0\nshift = 0\nrotation = 0.0",
    ] {
        assert_eq!(with(nothing), plain, "{nothing}");
    }
    assert_ne!(with("micro_batch = 32"), plain);
    assert_eq!(with("patience = 2\nmin_delta = 0.0"), with("patience = 2"));
    let optim = |lines: &str| hash(&TEXT.replacen("lr = 0.001", lines, 1));
    assert_eq!(optim("lr = 0.001\ndecay = \"weights\""), plain);
    let decayed = "lr = 0.001\nweight_decay = 0.1";
    assert_ne!(optim(&format!("{decayed}\ndecay = \"weights\"")), optim(decayed));
    assert!(error("lr = 0.001", "lr = 0.001\nmomentum = 0.0").contains("the optimizer `sgd` only"));
}

/// It was trained, and came out as a divergence.
#[test]
fn a_batch_norm_over_one_value_is_refused() {
    let factor = "key = \"train.batch\"\nlabel = \"batch\"\nlevels = [{ value = 64 }, { value = 128 }]";
    let normed = |norm: &str, more: &str| {
        let layers = NETWORK.replacen("\"flatten\",", norm, 1);
        let limited = format!("{layers}\n[data]\nset = \"mnist\"\nvalidation = 0.2\n{more}");
        let text = TEXT.replacen("[data]\nset = \"mnist\"\nvalidation = 0.2\n", "", 1);
        network_of(&text, factor, &limited)
    };
    let small = "\"global_avg_pool\", \"batch_norm\", \"flatten\",";
    let flat = "\"flatten\", { linear = 20 }, \"batch_norm\", \"relu\",";
    for norm in [small, flat] {
        assert!(normed(norm, "train_limit = 1280").is_ok());
        let text = normed(norm, "train_limit = 1281").unwrap_err().to_string();
        assert!(text.contains("`train.batch` is 64") && text.contains("no pass of a single image"), "{text}");
    }
    assert!(normed("\"batch_norm\", \"flatten\",", "train_limit = 1281").is_ok());
}

#[test]
fn a_mistake_in_a_network_is_shown_at_its_layer() {
    let factor = "key = \"train.batch\"\nlabel = \"batch\"\nlevels = [{ value = 64 }, { value = 128 }]";
    for (from, to, line, what) in [
        ("\"relu\",", "\"relux\",", ":12:", "'relux' is no layer"),
        ("\"flatten\",", "", ":16:", "at which [8, 28, 28] arrives, expected values in a row"),
        ("{ conv = 8, kernel = 3, pad = 1 }, \"relu\"]", "{ conv = 9, kernel = 3 }]", ":13:", "residual"),
        ("{ linear = \"classes\" }", "{ linear = 3 }", ":16:", "which gives [3], expected [10]"),
    ] {
        assert!(NETWORK.contains(from), "{from}");
        let text = network(factor, &NETWORK.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(text.contains(line) && text.contains(what), "{text}");
    }
    let text = network(factor, &format!("{NETWORK}\ndropout = 0.5")).unwrap_err().to_string();
    assert!(text.contains("either a preset's `name`"), "{text}");
    let wide = "key = \"model.layers.0.kernel\"\nlabel = \"k\"\nlevels = [{ value = 3 }, { value = 99 }]";
    let text = network(wide, NETWORK).unwrap_err().to_string();
    assert!(text.contains("value = 99") && text.contains("at least 99 rows"), "{text}");
    let key = "key = \"model.layers.9.kernel\"\nlabel = \"k\"\nlevels = [{ value = 3 }, { value = 5 }]";
    let text = network(key, NETWORK).unwrap_err().to_string();
    assert!(text.contains("`model.layers` has no `9`; it has 0 to 5"), "{text}");
    let text = network(&key.replacen("9.kernel", "4.kernel", 1), NETWORK).unwrap_err().to_string();
    assert!(text.contains("`model.layers.4` has no `kernel`; it has `dropout`"), "{text}");
}

#[test]
fn a_preset_needs_its_name_alone_and_is_hashed_with_what_was_left_out() {
    let config = |text: &str| parse(text).unwrap().profile.arms[0].config.clone();
    let bare = config(&TEXT.replacen("activation = \"relu\"\ndropout = 0.5\n", "", 1));
    let all = "dropout = 0.0\npooling = \"plain\"\nnorm = \"batch_norm\"";
    assert_eq!(bare.hash(), config(&TEXT.replacen("dropout = 0.5", all, 1)).hash());
    assert_ne!(bare.hash(), config(TEXT).hash());
    let written = serde_json::json!({ "name": "simple_cnn", "activation": "relu", "dropout": 0.0 });
    assert_eq!(serde_json::to_value(&bare).unwrap()["model"], written);
    let text = error("name = \"simple_cnn\"", "");
    assert!(text.contains("a preset's, or `layers` in its place"), "{text}");
}

/// It would have been null in JSON, and null an absent key: the file's clipping would have been none.
#[test]
fn a_number_that_is_not_finite_is_refused_wherever_it_stands() {
    for (from, to, place) in [
        ("lr = 0.001", "lr = nan", ":16:6"),
        ("lr = 0.001", "lr = 0.1\nclip = +inf", ":17:8"),
        ("\"train.epochs\" = 1 }", "\"train.target_loss\" = -inf }", "inf is not finite"),
        ("val_acc = 0.98", "val_acc = nan", ":39:"),
    ] {
        let text = error(from, to);
        assert!(text.contains(place) && text.contains("is not finite"), "{from} -> {to}\n{text}");
    }
}

/// `momentum` beside `adam` was an error and `betas` beside `sgd` was not, though SGD has none.
#[test]
fn betas_and_eps_are_refused_beside_an_optimizer_that_has_none() {
    let sgd = |more: &str| TEXT.replacen("name = \"adam\"", &format!("name = \"sgd\"{more}"), 1);
    let plain = parse(&sgd("")).unwrap();
    // What a config holds, and with it every trial's id, is as before.
    let optim = &plain.profile.arms[0].config.optim;
    assert_eq!((optim.betas, optim.eps), (Some([0.9, 0.999]), Some(1e-8)));
    for (more, key) in [("\nbetas = [0.8, 0.99]", "optim.betas"), ("\neps = 1e-7", "optim.eps")] {
        let text = parse(&sgd(more)).unwrap_err().to_string();
        assert!(text.contains(":16:1") && text.contains(key) && text.contains("belongs to `adam`"), "{text}");
    }
}

#[test]
fn one_level_is_nothing_to_compare() {
    let text = error(", { value = 128 }, { value = 1024, label = \"1 Ki\" }", "");
    assert!(text.contains("fewer than two levels"), "{text}");
}
