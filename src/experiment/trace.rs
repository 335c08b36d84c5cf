//! What a type reads, asked of the type itself: its keys, and of each the kind of its value. Pages about files are made from
//! it, so that they cannot go stale.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer as _, MapAccess, Visitor};

/// A value that may stand in a file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Key {
    /// Dotted.
    pub name: String,
    /// In a writer's words.
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

/// Ends a reading once the answer is there.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing is read")
    }
}

impl std::error::Error for Enough {}

impl de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Asking<'_> {
    fn value<T>(&self, kind: impl Into<String>) -> Result<T, Enough> {
        *self.answer.borrow_mut() = Some(Asked::Value(kind.into()));
        Err(Enough)
    }
}

macro_rules! values {
    ($($method:ident: $kind:literal,)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
            self.value($kind)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Asking<'_> {
    type Error = Enough;

    values! {
        deserialize_any: "a value",
        deserialize_bool: "true or false",
        deserialize_i8: "a whole number",
        deserialize_i16: "a whole number",
        deserialize_i32: "a whole number",
        deserialize_i64: "a whole number",
        deserialize_u8: "a whole number",
        deserialize_u16: "a whole number",
        deserialize_u32: "a whole number",
        deserialize_u64: "a whole number",
        deserialize_f32: "a number",
        deserialize_f64: "a number",
        deserialize_char: "a text",
        deserialize_str: "a text",
        deserialize_string: "a text",
        deserialize_bytes: "a text",
        deserialize_byte_buf: "a text",
        deserialize_unit: "a value",
        deserialize_seq: "a list",
        deserialize_map: "a table",
        deserialize_identifier: "a text",
        deserialize_ignored_any: "a value",
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Enough> {
        self.value("a value")
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, _: V) -> Result<V::Value, Enough> {
        self.value(format!("a list of {len} numbers"))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        match self.path {
            [] => {
                *self.answer.borrow_mut() = Some(Asked::Table(names));
                Err(Enough)
            }
            _ => visitor.visit_map(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        self.value(quoted.join(", "))
    }
}

/// The one key of a table that the path goes through.
impl<'de> MapAccess<'de> for Asking<'_> {
    type Error = Enough;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Enough> {
        let Some(name) = self.path.first() else { return Ok(None) };
        let name: StrDeserializer<Enough> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Enough> {
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
            ("count", "a whole number"),
            ("share", "a number"),
            ("inner.choice", "\"one\", \"another_one\""),
            ("inner.pair", "a list of 2 numbers"),
            ("inner.is_on", "true or false"),
        ];
        assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
        assert_eq!(names::<Table>(), ["count", "share", "inner"]);
    }
}
