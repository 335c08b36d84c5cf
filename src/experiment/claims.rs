//! Claims as they stand in a file, and their way to [`Claim`]s.
//!
//! A mistake in a claim does not refuse the experiment: its runs and its other claims are as good as before. It is
//! kept with the claim, and the page and `pinbench list` show it.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::experiment::Arm;
use crate::experiment::claim::{Alike, Claim, Needs, Statement, Test};
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::metric::Metric;
use crate::experiment::plan::PlanName;
use crate::language::Localised;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireClaim {
    pub id: Spanned<String>,
    pub says: Localised,
    pub tests: Spanned<Vec<Spanned<WireTest>>>,
    pub needs: Option<WireNeeds>,
    pub note: Option<Localised>,
}

/// See [`Needs`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireNeeds {
    pub updates: Option<u64>,
    pub train_loss: Option<Spanned<f64>>,
    pub plan: Option<PlanName>,
    pub alike: Option<WireAlike>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireAlike {
    pub metric: Spanned<String>,
    pub within: Spanned<f64>,
}

/// One of the statements, over one metric.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireTest {
    pub metric: Spanned<String>,
    pub margin: Option<f64>,
    /// `A > B > C`, or the same with `<`.
    pub order: Option<Spanned<String>>,
    /// `A = B`, or `A = 0.94`
    pub equal: Option<Spanned<String>>,
    /// `A > 0.97` or `A < 0.1`
    pub bound: Option<Spanned<String>>,
    pub rises: Option<Spanned<Vec<String>>>,
    pub falls: Option<Spanned<Vec<String>>>,
}

pub(super) fn claims(source: &Source, wire: Vec<WireClaim>, arms: &[Arm]) -> Vec<Claim> {
    // A page shows a mistake, and is made again where the file lies in another folder.
    let path = source.path.file_name().map_or(source.path, Path::new);
    let source = Source { path, text: source.text };
    let mut claims: Vec<Claim> = Vec::new();
    for wire in wire {
        // Ids that differ in signs alone would be one place on the page.
        let place = Claim::place(wire.id.get_ref());
        let repeated = claims.iter().find(|claim| Claim::place(&claim.id) == place);
        let repeated = repeated.map(|claim| claim.id.clone());
        claims.push(claim(&source, wire, arms, repeated));
    }
    claims
}

fn claim(source: &Source, wire: WireClaim, arms: &[Arm], repeated: Option<String>) -> Claim {
    let WireClaim { id, says, tests, needs: wanted, note } = wire;
    let read = || -> Result<(Vec<Test>, Needs), LocatedError> {
        if let Some(repeated) = &repeated {
            let message = format!("there is a claim `{repeated}` above: give this one another id");
            return Err(source.error(Some(id.span()), message));
        }
        if tests.get_ref().is_empty() {
            return Err(source.error(Some(tests.span()), "a claim needs at least one test"));
        }
        let tests = tests.get_ref().iter().map(|wire| test(source, wire, arms)).collect::<Result<_, _>>()?;
        Ok((tests, wanted.map(|wire| needs(source, wire)).transpose()?.unwrap_or_default()))
    };
    let ((tests, needs), mistake) = match read() {
        Ok(read) => (read, None),
        Err(error) => (Default::default(), Some(error.to_string())),
    };
    Claim { id: id.into_inner(), says, tests, needs, note, mistake }
}

fn needs(source: &Source, wire: WireNeeds) -> Result<Needs, LocatedError> {
    let alike = |WireAlike { metric, within }| {
        let place = within.span();
        let within = Some(within.into_inner()).filter(|within| within.is_finite() && *within > 0.0);
        let message = "`within` is the most by which the arms may differ, above 0";
        Ok(Alike {
            metric: read_metric(source, &metric)?,
            within: within.ok_or_else(|| source.error(Some(place), message))?,
        })
    };
    let WireNeeds { updates, train_loss, plan, alike: wanted } = wire;
    let train_loss = train_loss.map(|loss| match loss.get_ref() {
        value if *value > 0.0 => Ok(*value),
        _ => Err(source.error(Some(loss.span()), "`train_loss` is a loss to come down to, above 0")),
    });
    let train_loss = train_loss.transpose()?;
    Ok(Needs { updates, train_loss, plan, alike: wanted.map(alike).transpose()? })
}

fn read_metric(source: &Source, name: &Spanned<String>) -> Result<Metric, LocatedError> {
    Metric::parse(name.get_ref()).map_err(|message| source.error(Some(name.span()), message))
}

fn test(source: &Source, wire: &Spanned<WireTest>, arms: &[Arm]) -> Result<Test, LocatedError> {
    let (wire, place) = (wire.get_ref(), wire.span());
    let metric = read_metric(source, &wire.metric)?;
    let margin = wire.margin.filter(|margin| margin.is_finite() && *margin > 0.0).ok_or_else(|| {
        let message = "a test needs `margin`, the least effect that matters, above 0";
        source.error(Some(place.clone()), message)
    })?;
    let text = [(&wire.order, Form::Order), (&wire.equal, Form::Equal), (&wire.bound, Form::Bound)];
    let lists = [(&wire.rises, Form::Rises), (&wire.falls, Form::Falls)];
    let text = text.into_iter().filter_map(|(text, form)| Some((text.as_ref()?, form)));
    let text = text.map(|(text, form)| (text.span(), form, statement_of_text(text.get_ref(), form, arms)));
    let lists = lists.into_iter().filter_map(|(list, form)| Some((list.as_ref()?, form)));
    let lists = lists.map(|(list, form)| (list.span(), form, statement_of_list(list.get_ref(), form, arms)));
    let mut all: Vec<_> = text.chain(lists).collect();
    let (Some((place, _, statement)), true) = (all.pop(), all.is_empty()) else {
        let message = "a test needs exactly one of `order`, `equal`, `bound`, `rises` and `falls`";
        return Err(source.error(Some(place), message));
    };
    let statement = statement.map_err(|message| source.error(Some(place.clone()), message))?;
    if metric.quantity.facts().is_share() {
        let (name, whole) = (wire.metric.get_ref(), "0 to 1: it is a share, no percentage");
        let number = match statement {
            Statement::Near(_, number) | Statement::Above(_, number) | Statement::Below(_, number) => number,
            _ => 0.0,
        };
        if margin >= 1.0 {
            return Err(source.error(
                Some(place),
                format!("the margin {margin} of `{name}`, expected less than 1: it is a share"),
            ));
        }
        if number.abs() > 1.0 {
            return Err(source.error(Some(place), format!("`{name}` beside {number}, expected {whole}")));
        }
    }
    Ok(Test { metric, statement, margin })
}

/// What stands between the arms of a claim.
const SIGNS: [char; 3] = ['<', '>', '='];
const AMBIGUOUS: &str = "an arm has '<', '>' or '=' in its name, which cannot be told from the sign of a claim: give its \
                         level a `label` without";

fn is_ambiguous(text: &str, arms: &[Arm]) -> bool {
    arms.iter().any(|arm| arm.label.contains(SIGNS) && text.contains(&arm.label))
}

#[derive(Clone, Copy)]
enum Form {
    Order,
    Equal,
    Bound,
    Rises,
    Falls,
}

fn statement_of_text(text: &str, form: Form, arms: &[Arm]) -> Result<Statement, String> {
    match form {
        Form::Equal => match text.split('=').collect::<Vec<_>>()[..] {
            [a, b] => equal(a, b, arms),
            _ if is_ambiguous(text, arms) => Err(format!("'{text}': {AMBIGUOUS}")),
            _ => Err(format!("'{text}': expected two arms, as in 'A = B', or an arm and a number")),
        },
        Form::Bound => bound(text, arms),
        _ => order(text, arms),
    }
}

/// An arm may be called by a number: such a label goes before the number.
fn equal(a: &str, b: &str, arms: &[Arm]) -> Result<Statement, String> {
    let first = arm(a, arms)?;
    match (arm(b, arms), b.trim().parse::<f64>()) {
        (Err(_), Ok(number)) if number.is_finite() => Ok(Statement::Near(first, number)),
        (second, _) => {
            let pair = different(vec![first, second?], arms)?;
            Ok(Statement::Equal(pair[0], pair[1]))
        }
    }
}

fn statement_of_list(labels: &[String], form: Form, arms: &[Arm]) -> Result<Statement, String> {
    let list = labels.iter().map(|label| arm(label, arms)).collect::<Result<Vec<usize>, _>>()?;
    let list = different(list, arms)?;
    if list.len() < 2 {
        return Err("a trend needs at least two arms".to_owned());
    }
    Ok(if matches!(form, Form::Rises) { Statement::Rises(list) } else { Statement::Falls(list) })
}

fn order(text: &str, arms: &[Arm]) -> Result<Statement, String> {
    let expected =
        || Err(format!("'{text}': expected arms with either '>' or '<' between them, as in 'A > B'"));
    let sign = match (text.contains('>'), text.contains('<')) {
        (true, false) => '>',
        (false, true) => '<',
        _ if is_ambiguous(text, arms) => {
            return Err(format!("'{text}': {AMBIGUOUS}"));
        }
        _ => return expected(),
    };
    // `>>` and `>=` are no signs.
    if text.split(sign).any(|label| label.trim().is_empty() || label.starts_with('=')) {
        return expected();
    }
    let list = text.split(sign).map(|label| arm(label, arms)).collect::<Result<Vec<usize>, _>>()?;
    let mut list = different(list, arms)?;
    if sign == '<' {
        list.reverse();
    }
    Ok(Statement::Order(list))
}

fn bound(text: &str, arms: &[Arm]) -> Result<Statement, String> {
    let expected = || format!("'{text}': expected an arm and a number, as in 'A > 0.97' or 'A < 0.1'");
    let at = text.find(['>', '<']).ok_or_else(expected)?;
    let (label, number) = (&text[..at], text[at + 1..].trim());
    let number = number.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(expected)?;
    let arm = arm(label, arms)?;
    Ok(if text[at..].starts_with('>') {
        Statement::Above(arm, number)
    } else {
        Statement::Below(arm, number)
    })
}

/// An arm beside itself would make a statement that cannot fail.
fn different(list: Vec<usize>, arms: &[Arm]) -> Result<Vec<usize>, String> {
    for (index, arm) in list.iter().enumerate() {
        if list[..index].contains(arm) {
            return Err(format!("the arm '{}' is compared with itself", arms[*arm].label));
        }
    }
    Ok(list)
}

/// The arm of that label or name, or else of one in another case.
fn arm(label: &str, arms: &[Arm]) -> Result<usize, String> {
    let label = label.trim();
    let position = arms.iter().position(|arm| arm.label == label || arm.name.en() == label);
    let is_alike = |name: &str| name.to_lowercase() == label.to_lowercase();
    let position =
        position.or_else(|| arms.iter().position(|arm| is_alike(&arm.label) || is_alike(arm.name.en())));
    position.ok_or_else(|| {
        let known: Vec<String> = arms.iter().map(|arm| format!("'{}'", arm.label)).collect();
        format!("there is no arm '{label}' (arms: {})", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::experiment::Experiment;

    const TEXT: &str = r#"
title = "dropout"
why = "a test"
data = { set = "mnist", validation = 0.2 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 5 }

[[factors]]
label = "dropout"
levels = [
    { label = "none", set = { "model.dropout" = 0.0 } },
    { label = "Half", set = { "model.dropout" = 0.5 } },
    { label = "half, long", set = { "model.dropout" = 0.5, "train.epochs" = 9 } },
]

[profiles]
smoke = { seeds = [0], cap = { "train.epochs" = 2 } }
quick = { seeds = [0] }
full = { seeds = [0] }

[[claims]]
id = "A"
says = "a sentence"
tests = [TESTS]
"#;

    fn claim(tests: &str) -> Claim {
        let experiment =
            Experiment::parse(Path::new("experiments/m3.toml"), &TEXT.replace("TESTS", tests)).unwrap();
        experiment.claims.into_iter().next().unwrap()
    }

    #[test]
    fn every_form_is_read() {
        let text = |form: &str| format!("{{ metric = \"val_acc\", {form}, margin = 0.1 }}");
        for (form, expected) in [
            ("order = \"none > half > half, long\"", Statement::Order(vec![0, 1, 2])),
            ("order = \"none < half, long\"", Statement::Order(vec![2, 0])),
            ("equal = \"half = none\"", Statement::Equal(1, 0)),
            ("equal = \"half = 0.94\"", Statement::Near(1, 0.94)),
            ("bound = \"half, long > 0.97\"", Statement::Above(2, 0.97)),
            ("bound = \"none < -1e-3\"", Statement::Below(0, -1e-3)),
            ("rises = [\"none\", \"Half\"]", Statement::Rises(vec![0, 1])),
            ("falls = [\"none\", \"Half\"]", Statement::Falls(vec![0, 1])),
        ] {
            let claim = claim(&text(form));
            assert_eq!((claim.mistake, &claim.tests[0].statement), (None, &expected), "{form}");
        }
    }

    #[test]
    fn what_a_claim_needs_is_read_and_a_mistake_in_it_is_kept() {
        let test = "{ metric = \"val_acc\", order = \"none > half\", margin = 0.1 }";
        let with = |needs: &str| claim(&format!("{test}]\nneeds = {{ {needs} }}\nnote = \"\"\n#"));
        let claim =
            with("updates = 200, plan = \"eager\", alike = { metric = \"train_eval_loss\", within = 0.1 }");
        assert_eq!(claim.mistake, None);
        assert_eq!((claim.needs.updates, claim.needs.plan), (Some(200), Some(PlanName::Eager)));
        assert!((claim.needs.alike.unwrap().within - 0.1).abs() < 1e-12);
        for (needs, part) in [
            ("alike = { metric = \"train_los\", within = 0.1 }", "did you mean"),
            ("alike = { metric = \"train_loss\", within = 0.0 }", "above 0"),
        ] {
            let mistake = with(needs).mistake.unwrap();
            assert!(mistake.contains(part), "{mistake}");
        }
    }

    #[test]
    fn a_mistake_is_kept_with_its_line_and_the_experiment_stands() {
        for (tests, part) in [
            ("{ metric = \"val_accc\", order = \"none > half\", margin = 0.1 }", "did you mean `val_acc`?"),
            ("{ metric = \"val_acc\", order = \"none > haff\", margin = 0.1 }", "there is no arm 'haff'"),
            ("{ metric = \"val_acc\", order = \"none > none\", margin = 0.1 }", "compared with itself"),
            ("{ metric = \"val_acc\", order = \"none\", margin = 0.1 }", "either '>' or '<'"),
            // It said "there is no arm ''".
            ("{ metric = \"val_acc\", order = \"none >> half\", margin = 0.1 }", "as in 'A > B'"),
            ("{ metric = \"val_acc\", order = \"none >= half\", margin = 0.1 }", "as in 'A > B'"),
            (
                "{ metric = \"val_acc\", order = \"none > half < half, long\", margin = 0.1 }",
                "either '>' or '<'",
            ),
            ("{ metric = \"val_acc\", order = \"none > half\" }", "needs `margin`"),
            ("{ metric = \"val_acc\", order = \"none > half\", margin = 0 }", "needs `margin`"),
            ("{ metric = \"val_acc\", margin = 0.1 }", "exactly one of"),
            (
                "{ metric = \"val_acc\", equal = \"none = half\", rises = [\"none\"], margin = 1 }",
                "exactly one of",
            ),
            ("{ metric = \"val_acc\", bound = \"none > much\", margin = 0.1 }", "an arm and a number"),
            ("{ metric = \"val_acc\", bound = \"none > 40\", margin = 0.1 }", "it is a share, no percentage"),
            ("{ metric = \"val_acc\", order = \"none > half\", margin = 1 }", "expected less than 1"),
            ("{ metric = \"val_acc\", rises = [\"none\"], margin = 0.1 }", "at least two arms"),
            ("", "at least one test"),
        ] {
            let claim = claim(tests);
            let mistake = claim.mistake.unwrap();
            assert!(mistake.contains(part) && mistake.contains("m3.toml:25:"), "{tests}: {mistake}");
            assert_eq!(claim.says.en(), "a sentence");
        }
    }

    #[test]
    fn a_level_sets_several_values_and_a_cap_goes_before_it() {
        let experiment = Experiment::parse(Path::new("m3.toml"), &TEXT.replace("TESTS", "")).unwrap();
        let under = |name: &str| experiment.under(&name.into()).unwrap().profile;
        assert_eq!(under("full").arms[2].label, "half, long");
        let config = |name, arm: usize| under(name).arms[arm].config.clone();
        assert_eq!(config("full", 0).model.preset_mut().dropout, 0.0);
        assert_eq!(config("full", 2).train.epochs, 9);
        assert_eq!(config("smoke", 2).train.epochs, 2);
        assert_eq!(under("smoke").changes, ["train.epochs at most 2"]);
    }

    #[test]
    fn a_level_without_a_key_needs_a_label_and_what_it_sets() {
        let from = "{ label = \"none\", set = { \"model.dropout\" = 0.0 } }";
        let text = TEXT.replace("TESTS", "").replace(from, "{ value = 0.0 }");
        let error = Experiment::parse(Path::new("m3.toml"), &text).unwrap_err().to_string();
        assert!(error.contains("m3.toml:12:") && error.contains("without a `key`"), "{error}");
        // What is absent in a file has no other name.
        let text = TEXT.replace("TESTS", "").replace(from, "{ label = \"none\", set = {} }");
        let mut arms = Experiment::parse(Path::new("m3.toml"), &text).unwrap().profile.arms;
        assert_eq!(arms[0].label, "none");
        assert_eq!(arms[0].config.model.preset_mut().dropout, 0.5);
        let text = TEXT.replace("TESTS", "").replace("\"model.dropout\" = 0.0", "\"model.dropuot\" = 0.0");
        let error = Experiment::parse(Path::new("m3.toml"), &text).unwrap_err().to_string();
        assert!(error.contains("did you mean `model.dropout`?"), "{error}");
    }
}
