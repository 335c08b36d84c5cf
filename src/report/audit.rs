//! Whether pages say what the files beside them say.
//!
//! Every page is made again from the files in its folder alone, and compared byte by byte with the page that is there: words,
//! numbers and the coordinates of every figure. So a number that was changed, on a page or in a table, is found, whatever it is
//! a number of. What that cannot tell is whether the files themselves are those that were measured: for that the rows of each run
//! are held against the digests its record was sealed with, and `audit.py` computes the verdicts a second way.

mod links;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::report::kept::{self, KeptError, Kind, Place};
use crate::report::{File, PAGE};

/// What was looked at, and what is wrong with it.
#[derive(Default, Debug, Serialize)]
pub struct Audit {
    pub pages: usize,
    pub files: usize,
    /// Numbers on the pages: groups of digits, those in figures and their coordinates included.
    pub numbers: usize,
    pub links: usize,
    /// Runs whose rows have the digests that their records were sealed with, and all that have rows.
    pub sealed: usize,
    pub runs: usize,
    /// Files in the folders that no page is made from.
    pub unknown: Vec<PathBuf>,
    pub findings: Vec<Finding>,
    /// Pages that cannot be made again here, and why.
    pub unreadable: Vec<String>,
}

/// Something that is not as the files say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub file: PathBuf,
    /// From 1; absent of what is no text.
    pub line: Option<usize>,
    pub found: String,
    pub expected: String,
}

impl Audit {
    /// Audits the pages in `folder` and below.
    pub fn of(folder: &Path) -> Result<Self, KeptError> {
        let mut audit = Self::default();
        for place in kept::tree(folder)? {
            audit.pages += 1;
            if let Err(error) = audit.page(&place) {
                audit.refuse(error);
            }
        }
        Ok(audit)
    }

    /// Whether everything could be looked at and nothing is wrong.
    pub fn holds(&self) -> bool {
        self.findings.is_empty() && self.unreadable.is_empty()
    }

    fn page(&mut self, place: &Place) -> Result<(), KeptError> {
        let Place { kind, folder } = place;
        let made = kept::remake(*kind, folder, None)?;
        let mut names: BTreeSet<&str> = made.iter().map(|file| file.name.as_str()).collect();
        for file in &made {
            self.file(folder, file)?;
        }
        if *kind == Kind::Experiment {
            let (sealed, runs) = kept::experiment::sealed(folder)?;
            self.sealed += sealed;
            self.runs += runs;
            if 0 < sealed && sealed < runs {
                self.findings.push(Finding {
                    file: folder.join(PAGE),
                    line: None,
                    found: format!("{sealed} of {runs} runs have the rows they were sealed with"),
                    expected: "all of them, or by another version of the Parquet writer none".to_owned(),
                });
            }
        }
        names.insert(PAGE);
        let entries = fs::read_dir(folder)
            .map_err(|source| KeptError::Read { path: folder.clone(), source })?
            .filter_map(|entry| Some(entry.ok()?.path()));
        // What lies in a folder of its own below an index is a page of its own or none.
        let is_unknown = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.is_file() && !names.contains(&*name) && !name.starts_with('.')
        };
        self.unknown.extend(entries.filter(is_unknown));
        Ok(())
    }

    fn file(&mut self, folder: &Path, expected: &File) -> Result<(), KeptError> {
        let path = folder.join(&expected.name);
        let found = fs::read(&path).map_err(|source| KeptError::Read { path: path.clone(), source })?;
        self.files += 1;
        if expected.name.ends_with(".html") {
            let text = String::from_utf8_lossy(&found);
            self.numbers += numbers(&text);
            let (links, dead) = links::check(&path, &text);
            self.links += links;
            self.findings.extend(dead);
        }
        self.findings.extend(differences(&path, &found, &expected.bytes));
        Ok(())
    }

    fn refuse(&mut self, error: KeptError) {
        match error {
            KeptError::Digest { path, expected, found } => self.findings.push(Finding {
                file: path,
                line: None,
                found: format!("SHA-256 {found}"),
                expected: format!("SHA-256 {expected}"),
            }),
            error => self.unreadable.push(error.to_string()),
        }
    }
}

/// Groups of digits in the body of a page: a style sheet shows no number.
fn numbers(html: &str) -> usize {
    let body = html.find("<body").map_or(html, |start| &html[start..]);
    let is_digit = |letter: char| letter.is_ascii_digit();
    let mut before = ' ';
    let mut count = 0;
    for letter in body.chars() {
        count += usize::from(is_digit(letter) && !is_digit(before) && before != '.');
        before = letter;
    }
    count
}

/// Of one file no more are told: whoever reads them mends the file, not the line.
const MOST: usize = 5;

fn differences(path: &Path, found: &[u8], expected: &[u8]) -> Vec<Finding> {
    if found == expected {
        return Vec::new();
    }
    let finding =
        |line, found: String, expected: String| Finding { file: path.to_owned(), line, found, expected };
    let (Ok(found), Ok(expected)) = (std::str::from_utf8(found), std::str::from_utf8(expected)) else {
        return vec![finding(None, format!("{} bytes", found.len()), format!("{} others", expected.len()))];
    };
    let (mut ours, mut theirs) = (found.lines(), expected.lines());
    let mut findings = Vec::new();
    for line in 1.. {
        match (ours.next(), theirs.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                let (one, other) = apart(one.unwrap_or("no such line"), other.unwrap_or("no such line"));
                findings.push(finding(Some(line), one, other));
                // Where a line is missing every line after it differs too.
                if findings.len() == MOST || found.lines().count() != expected.lines().count() {
                    break;
                }
            }
        }
    }
    if findings.is_empty() {
        findings.push(finding(
            None,
            "another end of a line".to_owned(),
            "that of the page as it is made".to_owned(),
        ));
    }
    findings
}

/// Letters on either side of what differs.
const CONTEXT: usize = 24;

/// Where two lines differ first, with what stands around it.
fn apart(one: &str, other: &str) -> (String, String) {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(CONTEXT);
    let cut = |line: &str| line.chars().skip(from).take(2 * CONTEXT).collect::<String>().trim().to_owned();
    (cut(one), cut(other))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::report::kept::index::Index;
    use crate::report::{Entry, fixture, render, render_index};

    /// A folder of one page and its index, as `pinbench report` writes them.
    pub fn pages() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let experiment = samples::experiment();
        let mut input = fixture::input(&experiment, samples::arms(&experiment.profile, &[0, 1, 2]));
        input.downloads = kept::experiment::downloads(&input).unwrap();
        let index = Index {
            pages: vec![experiment.id.clone()],
            others: Vec::new(),
            command: input.command.clone(),
            front: None,
            neighbours: Vec::new(),
            languages: input.languages.to_vec(),
        };
        let write = |folder: &Path, files: Vec<File>| {
            fs::create_dir_all(folder).unwrap();
            files.iter().for_each(|file| fs::write(folder.join(&file.name), &file.bytes).unwrap());
        };
        write(&folder.path().join(&experiment.id), render(&input).unwrap());
        let entry = Entry::of(&input, |_| true, &[]).unwrap();
        write(folder.path(), render_index(vec![entry], &[], &index).unwrap());
        folder
    }

    fn findings(folder: &Path) -> String {
        let audit = Audit::of(folder).unwrap();
        format!("{:?} {:?}", audit.findings, audit.unreadable)
    }

    #[test]
    fn pages_as_they_were_made_are_made_again_to_the_byte() {
        let folder = pages();
        let audit = Audit::of(folder.path()).unwrap();
        assert!(audit.holds(), "{audit:?}");
        assert_eq!((audit.pages, audit.unknown.len()), (2, 0));
        assert!(audit.numbers > 1000 && audit.links > 10, "{audit:?}");
    }

    /// A page's folder had to bear the name of its experiment.
    #[test]
    fn a_page_is_made_again_in_a_folder_of_another_name() {
        let folder = pages();
        let renamed = folder.path().join("m1 of Tuesday");
        fs::rename(folder.path().join("m1"), &renamed).unwrap();
        let audit = Audit::of(&renamed).unwrap();
        assert!(audit.holds(), "{audit:?}");
    }

    /// Every one of them, in words, tables, figures and their descriptions.
    #[test]
    fn a_digit_that_was_changed_is_found_wherever_it_stands() {
        let folder = pages();
        let places = kept::tree(folder.path()).unwrap();
        let mut changed = 0;
        for Place { kind, folder } in &places {
            for File { name, bytes } in kept::remake(*kind, folder, None).unwrap() {
                if !name.ends_with(".html") {
                    continue;
                }
                let text = String::from_utf8(bytes.clone()).unwrap();
                let body = text.find("<body").unwrap();
                for at in (body..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()) {
                    let mut other = bytes.clone();
                    other[at] = if other[at] == b'9' { b'0' } else { other[at] + 1 };
                    assert_eq!(differences(Path::new(&name), &other, &bytes).len(), 1, "{name}: {at}");
                    changed += 1;
                }
            }
        }
        assert!(changed > 10_000, "{changed}");
    }

    #[test]
    fn what_was_changed_is_named_with_its_line() {
        let folder = pages();
        let page = folder.path().join("m1").join(PAGE);
        let text = fs::read_to_string(&page).unwrap();
        let at = text.find(" ± 0.0").unwrap();
        fs::write(&page, format!("{}7{}", &text[..at - 1], &text[at..])).unwrap();
        let audit = Audit::of(folder.path()).unwrap();
        let [finding] = &audit.findings[..] else { panic!("{audit:?}") };
        assert_eq!((&finding.file, finding.line), (&page, Some(text[..at].matches('\n').count() + 1)));
        assert!(finding.found.contains("7 ± 0.0") && finding.expected.contains(" ± 0.0"), "{finding:?}");
    }

    /// A table, the record of the runs, the experiment, and what the page was made from.
    #[test]
    fn a_file_beside_the_page_that_was_changed_is_found() {
        for (name, from, to) in [
            ("epochs.csv", "0", "1"),
            ("runs.json", "\"seed\": 1", "\"seed\": 7"),
            ("m1.toml", "64", "65"),
            ("page.json", "pinbench reproduce", "pinbench reproduce --profile other"),
        ] {
            let folder = pages();
            let path = folder.path().join("m1").join(name);
            let text = fs::read_to_string(&path).unwrap();
            let other = text.replacen(from, to, 1);
            assert_ne!(text, other, "{name}");
            fs::write(&path, other).unwrap();
            assert!(findings(folder.path()).contains("expected:"), "{name}: {}", findings(folder.path()));
        }
    }

    /// Everything was changed as somebody would who wants another number: rows, digests, pages.
    #[test]
    fn rows_that_their_run_was_not_sealed_with_are_found() {
        let experiment = samples::experiment();
        let mut arms = samples::arms(&experiment.profile, &[0, 1]);
        arms.iter_mut().flat_map(|arm| &mut arm.runs).for_each(samples::seal);
        let files = |arms: Vec<crate::analyse::ArmRuns>| {
            let mut input = fixture::input(&experiment, arms);
            input.downloads = kept::experiment::downloads(&input).unwrap();
            render(&input).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join(&experiment.id);
        fs::create_dir(&page).unwrap();
        let write = |files: Vec<File>| {
            files.iter().for_each(|file| fs::write(page.join(&file.name), &file.bytes).unwrap())
        };
        write(files(arms.clone()));
        assert_eq!(kept::experiment::sealed(&page).unwrap(), (6, 6));
        arms[0].runs[0].epochs[0].loss += 0.001;
        write(files(arms));
        assert_eq!(kept::experiment::sealed(&page).unwrap(), (5, 6));
        assert!(findings(&page).contains("5 of 6 runs"), "{}", findings(&page));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let folder = pages();
        fs::remove_dir_all(folder.path().join("m1")).unwrap();
        let audit = Audit::of(folder.path()).unwrap();
        assert!(!audit.unreadable.is_empty(), "{audit:?}");
        let index = folder.path().join(PAGE);
        let (links, dead) = links::check(&index, &fs::read_to_string(&index).unwrap());
        assert!(links > 3 && dead.iter().any(|dead| dead.found.contains("m1/index.html")), "{dead:?}");
    }
}
