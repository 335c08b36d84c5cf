//! Links of a page: to files beside it and to places on pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::report::audit::Finding;

/// How many links the page at `path` has, and those that lead nowhere. Pages link nothing in the network.
pub(super) fn check(path: &Path, html: &str) -> (usize, Vec<Finding>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut pages: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
    let targets = targets(html);
    let mut dead = Vec::new();
    for target in &targets {
        let target = &text_of(target);
        let (file, place) = target.split_once('#').unwrap_or((target, ""));
        let leads_somewhere = if file.is_empty() {
            has_place(html, place)
        } else {
            let file = folder.join(decoded(file));
            let page = pages.entry(file.clone()).or_insert_with(|| fs::read_to_string(&file).ok());
            file.is_file() && (place.is_empty() || page.as_deref().is_some_and(|page| has_place(page, place)))
        };
        if !leads_somewhere {
            dead.push(Finding {
                file: path.to_owned(),
                line: None,
                found: format!("a link to '{target}'"),
                expected: "a link to a file or a place that is there".to_owned(),
            });
        }
    }
    (targets.len(), dead)
}

fn targets(html: &str) -> Vec<&str> {
    html.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// An attribute's value as a browser reads it.
fn text_of(value: &str) -> String {
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&#x2F;", "/")];
    let text = entities.iter().fold(value.to_owned(), |text, (entity, letter)| text.replace(entity, letter));
    text.replace("&amp;", "&")
}

/// A path without its `%XX`.
fn decoded(path: &str) -> String {
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(&byte) = path.as_bytes().get(at) {
        let hex = path
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.unwrap_or(byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn has_place(html: &str, id: &str) -> bool {
    html.contains(&format!(" id=\"{id}\""))
}
