//! What a profile is beside its file, and slips that TOML takes for something else.

use super::*;

/// A profile of more epochs was called a smaller setting, and one that changes nothing another.
#[test]
fn a_profile_is_beside_the_file_what_its_arms_are() {
    let of = |set: &str| {
        let to = format!("[profiles.quick]\nset = {{ {set} }}\n");
        let experiment = parse(&TEXT.replacen("[profiles.quick]\n", &to, 1)).unwrap();
        let profile = experiment.under(&"quick".into()).unwrap().profile;
        (profile.setting, profile.changes.len())
    };
    assert_eq!(of("\"train.epochs\" = 2"), (Setting::Reduced, 1));
    assert_eq!(of("\"train.epochs\" = 9"), (Setting::Other, 1));
    assert_eq!(of("\"train.epochs\" = 9, \"data.train_limit\" = 2048"), (Setting::Other, 2));
    assert_eq!(of("\"optim.lr\" = 0.01"), (Setting::Other, 1));
    assert_eq!(of("\"train.epochs\" = 5"), (Setting::Own, 0));
    assert_eq!(of("\"plan.threads\" = 1"), (Setting::Own, 0));
}

/// The stride that a side has by default stayed that of the file's side.
#[test]
fn a_pooling_without_a_stride_moves_by_the_side_that_it_has() {
    let arms = |pool: &str| {
        let layers =
            format!("layers = [{{ conv = 8, kernel = 3 }}, {pool}, \"flatten\", {{ linear = \"classes\" }}]");
        let factor =
            "key = \"model.layers.1.max_pool\"\nlabel = \"pool\"\nlevels = [{ value = 2 }, { value = 3 }]";
        let arms = network(factor, &layers).unwrap().profile.arms;
        arms.iter()
            .map(|arm| serde_json::to_string(&arm.config.model.layers()[1]).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        arms("{ max_pool = 2 }"),
        [r#"{"max_pool":2,"stride":2,"pad":0}"#, r#"{"max_pool":3,"stride":3,"pad":0}"#]
    );
    let given = arms("{ max_pool = 2, stride = 2 }");
    assert_eq!(given[1], r#"{"max_pool":3,"stride":2,"pad":0}"#);
}

#[test]
fn the_likeliest_slips_of_toml_are_told_as_what_they_are() {
    let cap = "optim = { name = \"sgd\", lr = 0.1, lr_rule = \"linear\", lr_base_batch = 64 }";
    let scaled = TEXT
        .replacen("[optim]\nname = \"adam\"\nlr = 0.001\n", "", 1)
        .replacen("title = \"batch size\"\n", &format!("title = \"batch size\"\n{cap}\n"), 1)
        .replacen("[profiles.quick]\n", "[profiles.quick]\ncap = { \"optim.lr\" = 0.1 }\n", 1);
    let text = parse(&scaled).unwrap_err().to_string();
    assert!(text.contains("scaled by `optim.lr_rule` after it is capped"), "{text}");
    let text = error("[profiles.quick]\n", "[profiles.quick]\nset = { train.epochs = 3 }\n");
    assert!(text.contains("put the whole key in quotes, as in \"train."), "{text}");
    let text = error("[model]", "[[model]]");
    assert!(text.contains("expected one table, `[model]`"), "{text}");
    let text = error("[[factors]]", "[factors]");
    assert!(text.contains("each `[[factors]]`"), "{text}");
    // What the arrow points at is right by itself.
    let factor = "[[factors]]\nkey = \"optim.name\"\nlabel = \"rule\"\nlevels = [{ value = \"sgd\" }, { value = \"adam\" }]\n\n[profiles.smoke]";
    let both = TEXT.replacen("name = \"adam\"\nlr = 0.001", "name = \"sgd\"\nlr = 0.001\nmomentum = 0.9", 1);
    let text = parse(&both.replacen("[profiles.smoke]", factor, 1)).unwrap_err().to_string();
    assert!(text.contains("`optim.name` = \"adam\""), "{text}");
}
