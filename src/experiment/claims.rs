//! Claims as they stand in a file, and their way to [`Claim`]s.
//!
//! A mistake in a claim does not refuse the experiment: its runs and its other claims are as good as before. It is
//! kept with the claim, and the page and `pinbench list` show it.

use serde::Deserialize;
use toml::Spanned;

use crate::experiment::Arm;
use crate::experiment::claim::{Claim, Statement, Test};
use crate::experiment::located::{LocatedError, Source};
use crate::experiment::metric::Metric;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireClaim {
    pub id: Spanned<String>,
    pub says: String,
    pub tests: Spanned<Vec<Spanned<WireTest>>>,
    pub note: Option<String>,
}

/// One of the statements, over one metric.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireTest {
    pub metric: Spanned<String>,
    pub margin: Option<f64>,
    /// `A > B > C`, or the same with `<`.
    pub order: Option<Spanned<String>>,
    /// `A = B`
    pub equal: Option<Spanned<String>>,
    /// `A > 0.97` or `A < 0.1`
    pub bound: Option<Spanned<String>>,
    pub rises: Option<Spanned<Vec<String>>>,
    pub falls: Option<Spanned<Vec<String>>>,
}

pub fn claims(source: &Source, wire: Vec<WireClaim>, arms: &[Arm]) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    for wire in wire {
        let repeated = claims.iter().any(|claim| claim.id == *wire.id.get_ref());
        claims.push(claim(source, wire, arms, repeated));
    }
    claims
}

fn claim(source: &Source, wire: WireClaim, arms: &[Arm], repeated: bool) -> Claim {
    let WireClaim { id, says, tests, note } = wire;
    let read = || -> Result<Vec<Test>, LocatedError> {
        if repeated {
            let message = format!("there is a claim `{}` above: give this one another id", id.get_ref());
            return Err(source.error(Some(id.span()), message));
        }
        if tests.get_ref().is_empty() {
            return Err(source.error(Some(tests.span()), "a claim needs at least one test"));
        }
        tests.get_ref().iter().map(|wire| test(source, wire, arms)).collect()
    };
    let (tests, mistake) = match read() {
        Ok(tests) => (tests, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Claim { id: id.into_inner(), says, tests, note, mistake }
}

fn test(source: &Source, wire: &Spanned<WireTest>, arms: &[Arm]) -> Result<Test, LocatedError> {
    let (wire, place) = (wire.get_ref(), wire.span());
    let metric = Metric::parse(wire.metric.get_ref())
        .map_err(|message| source.error(Some(wire.metric.span()), message))?;
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
    let statement = statement.map_err(|message| source.error(Some(place), message))?;
    Ok(Test { metric, statement, margin })
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
            [a, b] => Ok(Statement::Equal(arm(a, arms)?, arm(b, arms)?)),
            _ => Err(format!("'{text}': expected two arms, as in 'A = B'")),
        },
        Form::Bound => bound(text, arms),
        _ => order(text, arms),
    }
}

fn statement_of_list(labels: &[String], form: Form, arms: &[Arm]) -> Result<Statement, String> {
    let list = labels.iter().map(|label| arm(label, arms)).collect::<Result<Vec<usize>, _>>()?;
    if list.len() < 2 {
        return Err("a trend needs at least two arms".to_owned());
    }
    Ok(if matches!(form, Form::Rises) { Statement::Rises(list) } else { Statement::Falls(list) })
}

fn order(text: &str, arms: &[Arm]) -> Result<Statement, String> {
    let sign = match (text.contains('>'), text.contains('<')) {
        (true, false) => '>',
        (false, true) => '<',
        _ => {
            return Err(format!(
                "'{text}': expected arms with either '>' or '<' between them, as in 'A > B'"
            ));
        }
    };
    let mut list = text.split(sign).map(|label| arm(label, arms)).collect::<Result<Vec<usize>, _>>()?;
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

/// The arm of that label, whatever its case.
fn arm(label: &str, arms: &[Arm]) -> Result<usize, String> {
    let label = label.trim();
    let position = arms.iter().position(|arm| arm.label.to_lowercase() == label.to_lowercase());
    position.ok_or_else(|| {
        let known: Vec<String> = arms.iter().map(|arm| format!("'{}'", arm.label)).collect();
        format!("there is no arm '{label}' (arms: {})", known.join(", "))
    })
}
