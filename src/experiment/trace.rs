//! What a type reads, asked of the type itself: its keys, and of each the kind of its value. Pages about files are compared
//! with it, so that they cannot go stale.

use std::cell::RefCell;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Expected, IntoDeserializer as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

/// A value that may stand in a file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Key {
    /// Dotted.
    pub name: String,
    /// What its reader says it expects; of an enum the values.
    pub kind: String,
}

/// Every value under `T`, tables within tables included, in the order of the types.
pub(crate) fn keys<T: for<'de> Deserialize<'de>>(prefix: &str) -> Vec<Key> {
    leaves(prefix, &|asking: Asking| drop(T::deserialize(asking)))
}

/// The keys of `T` alone, whatever stands under them.
#[cfg(test)]
pub(crate) fn names<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    match asked(&|asking: Asking| drop(T::deserialize(asking)), &[]) {
        Some(Asked::Table(names)) => names,
        _ => &[],
    }
}

/// What a type asks its deserializer for.
enum Asked {
    Value(String),
    Table(&'static [&'static str]),
}

type Read<'a> = &'a dyn Fn(Asking);

fn leaves(prefix: &str, read: Read) -> Vec<Key> {
    fn under(prefix: &str, path: &[&'static str], read: Read, found: &mut Vec<Key>) {
        match asked(read, path) {
            Some(Asked::Table(names)) => {
                for name in names {
                    under(&join(prefix, name), &[path, &[name]].concat(), read, found);
                }
            }
            Some(Asked::Value(kind)) => found.push(Key { name: prefix.to_owned(), kind }),
            None => {}
        }
    }
    let mut found = Vec::new();
    under(prefix, &[], read, &mut found);
    found
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// What is asked for at the end of `path`.
fn asked(read: Read, path: &[&'static str]) -> Option<Asked> {
    let answer = RefCell::new(None);
    read(Asking { path, answer: &answer });
    answer.into_inner()
}

/// Gives nothing, and remembers what was asked for.
struct Asking<'a> {
    path: &'a [&'static str],
    answer: &'a RefCell<Option<Asked>>,
}

impl Asking<'_> {
    /// Ends the reading: the answer is there.
    fn answer<T>(self, asked: Asked) -> Result<T, Error> {
        *self.answer.borrow_mut() = Some(asked);
        Err(de::Error::custom("nothing is read"))
    }
}

impl<'de> de::Deserializer<'de> for Asking<'_> {
    type Error = Error;

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.answer(Asked::Value((&visitor as &dyn Expected).to_string()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.path.is_empty() { self.answer(Asked::Table(names)) } else { visitor.visit_map(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        self.answer(Asked::Value(quoted.join(", ")))
    }
}

/// The one key of a table that the path goes through.
impl<'de> MapAccess<'de> for Asking<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.path.first() else { return Ok(None) };
        let name: StrDeserializer<Error> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let path = self.path.get(1..).unwrap_or_default();
        seed.deserialize(Asking { path, answer: self.answer })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        One,
        AnotherOne,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by nobody but the tracing")]
    struct Table {
        count: u32,
        share: Option<f64>,
        inner: Inner,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read by nobody but the tracing")]
    struct Inner {
        choice: Option<Choice>,
        pair: [f64; 2],
        is_on: bool,
    }

    #[test]
    fn a_type_tells_its_keys_and_their_kinds() {
        let found: Vec<(String, String)> =
            keys::<Table>("").into_iter().map(|key| (key.name, key.kind)).collect();
        let expected = [
            ("count", "u32"),
            ("share", "f64"),
            ("inner.choice", "\"one\", \"another_one\""),
            ("inner.pair", "an array of length 2"),
            ("inner.is_on", "a boolean"),
        ];
        assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
        assert_eq!(names::<Table>(), ["count", "share", "inner"]);
    }
}
