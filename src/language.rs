//! The languages of pages, and texts that whoever wrote them gave in several.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    En,
    Ko,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::En, Self::Ko];

    /// Those of [`ALL`](Self::ALL) that are among `some`.
    pub fn among(some: &[Self]) -> &'static [Self] {
        const ENGLISH: &[Language] = &[Language::En];
        const KOREAN: &[Language] = &[Language::Ko];
        const BOTH: &[Language] = &Language::ALL;
        match (some.contains(&Self::En), some.contains(&Self::Ko)) {
            (true, true) => BOTH,
            (true, false) => ENGLISH,
            (false, true) => KOREAN,
            (false, false) => &[],
        }
    }

    /// Its tag, as in `lang="ko"`, and its key in files.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
        }
    }

    /// What it is called by whoever reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ko => "한국어",
        }
    }

    /// The name of a page in this language, whose English one is called `name`: `index.html` is `index.ko.html`.
    pub fn file(self, name: &str) -> String {
        match (self, name.rsplit_once('.')) {
            (Self::Ko, Some((stem, ending))) => format!("{stem}.{}.{ending}", self.tag()),
            _ => name.to_owned(),
        }
    }
}

/// A text in English and, where somebody wrote one, in Korean. A file has it in quotes, or as a table by language:
/// `{ en = "…", ko = "…" }`.
///
/// It is shown and never hashed: what a thing is called changes no result.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Localised {
    en: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ko: Option<String>,
}

impl Localised {
    /// What `text` makes of each language.
    pub fn each(text: impl Fn(Language) -> String) -> Self {
        Self { en: text(Language::En), ko: Some(text(Language::Ko)) }
    }

    pub fn of(en: String, ko: Option<String>) -> Self {
        Self { en, ko }
    }

    /// The text in a language, or in English where it has none in that.
    pub fn to(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Ko => self.ko.as_deref().unwrap_or(&self.en),
        }
    }

    pub fn en(&self) -> &str {
        &self.en
    }
}

/// Text of one language stands for both.
impl From<&str> for Localised {
    fn from(text: &str) -> Self {
        Self { en: text.to_owned(), ko: None }
    }
}

/// In English.
impl fmt::Display for Localised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.en)
    }
}

impl<'de> Deserialize<'de> for Localised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts)
    }
}

/// By hand, for an untagged enum would say neither which language it does not know nor what it found instead of a text.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Localised;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text in quotes, or texts by language as in { en = \"…\", ko = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Localised, E> {
        Ok(Localised::from(text.trim()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Localised, A::Error> {
        const TAGS: &[&str] = &["en", "ko"];
        let (mut en, mut ko) = (None, None);
        while let Some((tag, text)) = map.next_entry::<String, String>()? {
            let text = Some(text.trim().to_owned());
            match tag.as_str() {
                "en" => en = text,
                "ko" => ko = text,
                _ => return Err(A::Error::unknown_field(&tag, TAGS)),
            }
        }
        Ok(Localised { en: en.ok_or_else(|| A::Error::missing_field("en"))?, ko })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    struct Wire {
        says: Localised,
    }

    fn read(text: &str) -> Result<Localised, String> {
        toml::from_str(text).map(|wire: Wire| wire.says).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_text_is_of_one_language_or_of_several_and_english_stands_in_for_what_is_missing() {
        let one = read("says = \"\"\"\nso\n\"\"\"").unwrap();
        assert_eq!((one.to(Language::En), one.to(Language::Ko)), ("so", "so"));
        let both = read("says = { en = \"so\", ko = \"그래\" }").unwrap();
        assert_eq!((both.to_string().as_str(), both.to(Language::Ko)), ("so", "그래"));
    }

    #[test]
    fn an_unknown_language_is_refused_by_its_name() {
        assert!(read("says = { en = \"so\", de = \"so\" }").unwrap_err().contains("`de`"));
        assert!(read("says = { ko = \"그래\" }").unwrap_err().contains("missing field `en`"));
        assert!(read("says = 1").unwrap_err().contains("a text in quotes, or texts by language"));
    }

    #[test]
    fn pages_of_a_language_lie_beside_the_english_ones() {
        assert_eq!(Language::Ko.file("open-questions.html"), "open-questions.ko.html");
        assert_eq!(Language::En.file("index.html"), "index.html");
    }
}
