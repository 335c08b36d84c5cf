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
        let (file, place) = target.split_once('#').unwrap_or((target, ""));
        let leads_somewhere = if file.is_empty() {
            has_place(html, place)
        } else {
            let file = folder.join(file);
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

fn has_place(html: &str, id: &str) -> bool {
    html.contains(&format!(" id=\"{id}\""))
}
