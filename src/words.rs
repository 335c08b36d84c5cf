//! Every sentence and word of the pages, by language: keys to texts with `{name}` where a value goes.
//!
//! They stand in `templates/text`, a folder a language, and are part of the program. That each key is in every language with
//! the same values, that each one that is used is there and that each one there is used, is what the tests find out, so that
//! at run time none can be missing.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use crate::experiment::metric::{Metric, Parameter};
use crate::language::{Language, Localised};
use crate::stream::Seed;
use crate::text;

type Texts = BTreeMap<String, String>;

macro_rules! texts {
    ($language:literal) => {
        [
            include_str!(concat!("../templates/text/", $language, "/words.toml")),
            include_str!(concat!("../templates/text/", $language, "/claims.toml")),
            include_str!(concat!("../templates/text/", $language, "/page.toml")),
            include_str!(concat!("../templates/text/", $language, "/figures.toml")),
            include_str!(concat!("../templates/text/", $language, "/overview.toml")),
            include_str!(concat!("../templates/text/", $language, "/explained.toml")),
            include_str!(concat!("../templates/text/", $language, "/step.toml")),
        ]
    };
}

static ENGLISH: LazyLock<Texts> = LazyLock::new(|| parse(texts!("en")));
static KOREAN: LazyLock<Texts> = LazyLock::new(|| parse(texts!("ko")));

/// `table.key` to the text. A file that does not parse has no keys, which a test would not let by.
fn parse(files: [&str; 7]) -> Texts {
    let tables = files.into_iter().filter_map(|file| toml::from_str::<BTreeMap<String, Texts>>(file).ok());
    let keys = |(table, texts): (String, Texts)| {
        texts.into_iter().map(move |(key, text)| (format!("{table}.{key}"), text))
    };
    tables.flatten().flat_map(keys).collect()
}

/// Parts of a list that a sentence names.
const MOST_PARTS: usize = 100;

/// The texts of one language.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    pub language: Language,
    texts: &'static Texts,
}

impl Words {
    pub fn of(language: Language) -> Self {
        let texts = match language {
            Language::En => &*ENGLISH,
            Language::Ko => &*KOREAN,
        };
        Self { language, texts }
    }

    pub fn english() -> Self {
        Self::of(Language::En)
    }

    /// What `text` says in each language.
    pub fn each(text: impl Fn(Self) -> String) -> Localised {
        Localised::each(|language| text(Self::of(language)))
    }

    /// The text under `key`, with `values` in their places.
    pub fn say(self, key: &str, values: &[(&str, &dyn Display)]) -> String {
        fill(self.text(key), values)
    }

    /// A text without values.
    pub fn word(self, key: &str) -> &'static str {
        self.text(key)
    }

    /// The text under `key`, or `key` itself where it is none but a name: a class, a unit.
    pub fn word_or(self, key: &str) -> &str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// A text of `n` things, the first of its forms where there is one: `{n} run|{n} runs`. A language without a plural has
    /// one form.
    pub fn count(self, key: &str, n: usize, values: &[(&str, &dyn Display)]) -> String {
        let (one, many) = self.text(key).split_once('|').unwrap_or((self.text(key), self.text(key)));
        let number = text::count(n as u64);
        let mut all: Vec<(&str, &dyn Display)> = vec![("n", &number)];
        all.extend_from_slice(values);
        fill(if n == 1 { one } else { many }, &all)
    }

    /// `a, b and c`.
    pub fn list(self, parts: &[String]) -> String {
        match parts {
            [] => String::new(),
            [only] => only.clone(),
            [most @ .., last] => self.say("word.and", &[("most", &most.join(", ")), ("last", last)]),
        }
    }

    pub fn list_of(self, parts: &[Localised]) -> String {
        self.list(&parts.iter().map(|part| part.to(self.language).to_owned()).collect::<Vec<_>>())
    }

    /// Parts of which each may have commas in it.
    pub fn join(self, parts: &[String]) -> String {
        parts.join(self.word("word.semicolon"))
    }

    /// `seed 0` or `seeds 0, 1 and 2`.
    pub fn seeds<'a>(self, seeds: impl IntoIterator<Item = &'a Seed>) -> String {
        let seeds: Vec<String> = self.some(seeds.into_iter().map(Seed::to_string));
        self.count("word.seeds-named", seeds.len(), &[("list", &self.list(&seeds))])
    }

    /// The parts, or the first of so many that nobody reads on, and how many more there are.
    pub fn some(self, mut parts: impl Iterator<Item = String>) -> Vec<String> {
        let mut some: Vec<String> = parts.by_ref().take(MOST_PARTS).collect();
        match parts.count() {
            0 => {}
            more => some.push(self.count("word.more", more, &[])),
        }
        some
    }

    pub fn range(self, low: &str, high: &str) -> String {
        self.say("word.range", &[("low", &low), ("high", &high)])
    }

    /// `validation accuracy after epoch 1`.
    pub fn metric(self, metric: Metric) -> String {
        let facts = metric.quantity.facts();
        let label = self.label(metric);
        match (facts.parameter, metric.at) {
            (Parameter::Epoch, Some(epoch)) => {
                self.say("metric.after-epoch", &[("metric", &label), ("epoch", &epoch)])
            }
            (Parameter::Epochs, None | Some(1.0)) => self.say("metric.first-epoch", &[("metric", &label)]),
            (Parameter::Epochs, Some(n)) => self.say("metric.first-epochs", &[("metric", &label), ("n", &n)]),
            (Parameter::Loss, Some(loss)) => {
                self.say("metric.of-loss", &[("metric", &label), ("loss", &loss)])
            }
            _ => label.to_owned(),
        }
    }

    /// A unit as it is written after a number: most are the same everywhere.
    pub fn unit(self, unit: &str) -> &str {
        match unit {
            "epochs" => self.text("unit.epochs"),
            "updates" => self.text("unit.updates"),
            "images" => self.text("unit.images"),
            "images/s" => self.text("unit.images-per-s"),
            "min" => self.text("unit.minutes"),
            unit => unit,
        }
    }

    /// As [`text::duration`], its units in this language.
    pub fn duration(self, time: Duration) -> String {
        let units = [
            (" h", "unit.hours"),
            (" min", "unit.minutes"),
            (" ms", "unit.milliseconds"),
            (" s", "unit.seconds"),
        ];
        let english = text::duration(time);
        match self.language {
            Language::En => english,
            Language::Ko => {
                units.into_iter().fold(english, |said, (unit, key)| said.replace(unit, self.text(key)))
            }
        }
    }

    /// The metric without the moment it is of.
    pub fn label(self, metric: Metric) -> &'static str {
        self.text(&format!("metric.{}", metric.quantity.facts().name))
    }

    /// Every key there is.
    #[cfg(test)]
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        self.texts.keys().map(String::as_str)
    }

    fn text(self, key: &str) -> &'static str {
        self.texts.get(key).map_or("", String::as_str)
    }
}

/// What was put in is not looked at again: a name with braces stays one.
fn fill(text: &str, values: &[(&str, &dyn Display)]) -> String {
    let mut out = String::with_capacity(text.len() + 16 * values.len());
    let mut rest = text;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        out.push_str(before);
        let value = values.iter().find(|(known, _)| *known == name);
        debug_assert!(value.is_some(), "nothing is given for {{{name}}} in '{text}'");
        out.extend(value.map(|(_, value)| value.to_string()));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::experiment::metric::Quantity;

    /// The most digits of the texts that no value is: each stands in the list beside them.
    const MOST_DIGITS: usize = 60;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect()
    }

    /// Every text of the program and of the templates that has the form of a key.
    fn used() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut literals = BTreeSet::new();
        let mut folders = vec![root.join("src"), root.join("templates")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.extension().and_then(std::ffi::OsStr::to_str) {
                    None if path.is_dir() => folders.push(path),
                    Some("rs" | "html") => {
                        let text = std::fs::read_to_string(&path).unwrap();
                        literals.extend(text.split('"').map(str::to_owned));
                    }
                    _ => {}
                }
            }
        }
        let tables: BTreeSet<&str> = ENGLISH.keys().filter_map(|key| Some(key.split_once('.')?.0)).collect();
        let is_key = |text: &String| {
            let (table, key) = text.split_once('.').unwrap_or_default();
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            // `page.json` is a file.
            let is_file = ["json", "html", "toml", "csv", "txt"].contains(&key);
            tables.contains(table) && !key.is_empty() && !is_file && key.chars().all(plain)
        };
        literals.into_iter().filter(is_key).collect()
    }

    #[test]
    fn both_languages_have_the_same_keys_and_the_same_values_in_them() {
        assert!(ENGLISH.len() > 500, "{}", ENGLISH.len());
        assert!(ENGLISH.keys().eq(KOREAN.keys()));
        for (key, english) in ENGLISH.iter() {
            let korean = &KOREAN[key];
            assert_eq!(placeholders(english), placeholders(korean), "{key}");
            assert!(!english.is_empty() && !korean.is_empty(), "{key}");
            let forms: Vec<&str> = english.split('|').collect();
            let is_counted =
                forms.len() == 2 && forms.iter().all(|form| placeholders(form) == placeholders(english));
            assert!(forms.len() == 1 || is_counted || key.starts_with("method."), "{key}");
        }
    }

    #[test]
    fn every_key_that_is_used_is_there_and_every_one_there_is_used() {
        let mut used = used();
        used.extend(Quantity::ALL.map(|quantity| format!("metric.{}", quantity.facts().name)));
        let known: BTreeSet<String> = ENGLISH.keys().cloned().collect();
        assert_eq!(used.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "used, not there");
        assert_eq!(known.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "there, not used");
    }

    #[test]
    fn what_a_text_is_given_is_what_it_asks_for() {
        let korean = Words::of(Language::Ko);
        assert_eq!(Words::english().count("word.run", 1, &[]), "1 run");
        assert_eq!(Words::english().count("word.run", 1500, &[]), "1,500 runs");
        assert_eq!(korean.count("word.run", 1500, &[]), "실행 1,500개");
        let parts = ["a", "{b}", "c"].map(str::to_owned);
        assert_eq!(
            (Words::english().list(&parts), korean.list(&parts)),
            ("a, {b} and c".to_owned(), "a, {b}, c".to_owned())
        );
        assert_eq!(Words::english().seeds(&[Seed(0), Seed(2), Seed(3)]), "seeds 0, 2 and 3");
    }

    /// A digit that stands in a text is a number that nobody computed: few, and known.
    #[test]
    fn digits_outside_of_values_are_on_a_list() {
        let listed = include_str!("../templates/text/digits.txt");
        let mut found = String::new();
        let mut count = 0;
        for (key, text) in ENGLISH.iter() {
            let outside: String =
                text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect();
            let numbers = numbers(&outside);
            if !numbers.is_empty() {
                count += numbers.len();
                found.push_str(&format!("{key}: {}\n", numbers.join(" ")));
            }
            let korean = &KOREAN[key];
            let outside: String =
                korean.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect();
            let (mut ours, mut theirs) = (self::numbers(&outside), numbers);
            // One may say in a word what the other says in a digit, but no number of its own.
            (ours, theirs) = (dedup(ours), dedup(theirs));
            assert!(
                ours.iter().all(|number| theirs.contains(number) || number.len() == 1),
                "{key}: {ours:?} {theirs:?}"
            );
        }
        assert!(count <= MOST_DIGITS, "{count} numbers");
        assert!(found == listed, "templates/text/digits.txt is stale; it should be:\n{found}");
    }

    fn dedup(mut numbers: Vec<String>) -> Vec<String> {
        numbers.sort();
        numbers.dedup();
        numbers
    }

    /// Digits in a row, decimals with them; those of a name such as SHA-256 or F1 are none.
    fn numbers(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut current = String::new();
        let mut before = ' ';
        for letter in text.chars().chain([' ']) {
            if letter.is_ascii_digit() || (letter == '.' && !current.is_empty()) {
                if current.is_empty() && (before.is_ascii_alphabetic() || before == '-') {
                    current.push('#');
                }
                current.push(letter);
                continue;
            }
            let number = std::mem::take(&mut current);
            if !number.is_empty() && !number.starts_with('#') {
                found.push(number.trim_end_matches('.').to_owned());
            }
            before = letter;
        }
        found
    }
}
