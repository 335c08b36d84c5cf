//! What may stand in an experiment's file, for people: every key with its kind, its default and what it is for, and every
//! metric a claim may speak of. The tests compare names, kinds and metrics with those of the types.

/// In Markdown: what `pinbench help experiment` prints.
pub const TEXT: &str = include_str!("../../docs/experiment.md");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::claims::{WireClaim, WireNeeds, WireTest};
    use crate::experiment::metric::{Metric, Parameter, Quantity, Scale};
    use crate::experiment::trace::{Key, keys, names};
    use crate::experiment::wire::{
        WireConfig, WireExperiment, WireFactor, WireLevel, WireProfile, WireReference, WireReferenceRow,
    };
    use crate::words::Words;

    /// Each section's title, and of each of its lines the name and what is said of it.
    fn sections() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
        let line = |line: &'static str| line.strip_prefix("- `").and_then(|line| line.split_once("`: "));
        let section = |text: &'static str| {
            let (title, lines) = text.split_once("\n\n").expect("a title");
            let lines = lines.trim_end().lines();
            (title, lines.map(|text| line(text).unwrap_or_else(|| panic!("{text}"))).collect())
        };
        TEXT.split("\n## ").skip(1).map(section).collect()
    }

    /// In a writer's words.
    fn said(kind: &str) -> &str {
        match kind {
            "u32" | "u64" => "a whole number",
            "f64" => "a number",
            "a boolean" => "true or false",
            "a string" => "a text",
            "a sequence" => "a list",
            "an array of length 2" => "a list of 2 numbers",
            "any value" => "a value",
            values => values,
        }
    }

    #[test]
    fn every_key_around_the_config_is_described_and_every_description_is_of_a_key() {
        let types = [
            names::<WireExperiment>(),
            names::<WireFactor>(),
            names::<WireLevel>(),
            names::<WireProfile>(),
            names::<WireReference>(),
            names::<WireReferenceRow>(),
            names::<WireClaim>(),
            names::<WireNeeds>(),
            names::<WireTest>(),
        ];
        for ((title, lines), names) in sections().into_iter().zip(types) {
            let mut described: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
            let mut names = names.to_vec();
            described.sort_unstable();
            names.sort_unstable();
            assert_eq!(described, names, "'{title}'");
        }
    }

    #[test]
    fn every_value_of_the_config_is_described_in_its_order_with_its_kind_and_a_default() {
        let all = sections();
        let mut lines = all.iter().flat_map(|(title, lines)| lines.iter().map(move |line| (*title, line)));
        let mut lines = lines.by_ref().skip_while(|(title, _)| *title != "[data]");
        for Key { name, kind } in keys::<WireConfig>("") {
            let Some((title, &(described, about))) = lines.next() else { panic!("{name} is missing") };
            assert_eq!((title, described), (&*format!("[{}]", name.split('.').next().unwrap()), &*name));
            let kind = said(&kind);
            let about = about.strip_prefix(&format!("{kind}; ")).unwrap_or_else(|| panic!("{name}: {kind}"));
            assert!(about.starts_with("default ") || about.starts_with("required"), "{name}: {about}");
        }
        assert_eq!(lines.next().map(|(title, _)| title), Some("Metrics"));
    }

    #[test]
    fn every_metric_is_described_as_its_facts_are() {
        let facts = Quantity::ALL.map(|quantity| {
            let facts = quantity.facts();
            let parameter = match facts.parameter {
                Parameter::None => "",
                Parameter::Epoch => "; `@3` is after epoch 3, else after the last",
                Parameter::Epochs => "; `@2` is over the first 2 epochs, else over one",
                Parameter::Loss => {
                    "; needs a loss in nats, as in `@0.1`, that the mean over at least the last 6,400 images comes down to"
                }
            };
            let unit = if facts.unit.is_empty() { String::new() } else { format!(", in {}", facts.unit) };
            let scale = if facts.scale == Scale::Ratio { "; compared by ratio" } else { "" };
            let timing = if facts.is_timing { "; a time" } else { "" };
            let images =
                if facts.name.starts_with("gradient_") { "; of 128 training images or more" } else { "" };
            let label = Words::english().label(Metric { quantity, at: None });
            format!("- `{}`: {label}{unit}{parameter}{scale}{timing}{images}\n", facts.name)
        });
        let (_, described) = TEXT.split_once("\n## Metrics\n\n").unwrap();
        assert_eq!(described, facts.concat());
    }
}
