//! Pages of results: one folder an experiment, that needs no network and no server, and whose one script may be missing.
//!
//! `Input → Summary → view → page`: what is computed is the summary's, what is written is the view's, where it
//! stands is the template's. Everything is pure and in a fixed order: the same input gives the same bytes.

mod amount;
pub mod audit;
pub mod bundle;
mod cell;
mod claims;
pub mod columns;
mod csv;
mod device;
mod explained;
mod figure;
#[cfg(test)]
mod fixture;
pub mod gate;
mod glance;
mod index;
pub mod kept;
mod lead;
mod methods;
mod metrics;
mod page;
mod provenance;
mod results;
mod setup;
pub mod study;
pub mod timing;
pub mod trace;
mod values;
mod view;

pub use explained::Explained;
pub use index::Entry;
pub use lead::{Lead, lead};

use std::fmt::Display;
use std::sync::LazyLock;

use tera::{Context, Kwargs, State, Tera, Value};

use crate::analyse::{ArmRuns, Summary, assess};
use crate::digest::Digest;
use crate::experiment::Experiment;
use crate::language::{Language, Localised};
use crate::record::frame::FrameError;
use crate::report::figure::FigureError;
use crate::report::kept::KeptError;
use crate::report::kept::index::Index;
use crate::report::view::{LanguageView, NeighbourView};
use crate::words::Words;

/// What the page of one experiment is made from.
pub struct Input<'a> {
    pub experiment: &'a Experiment,
    /// Every run there is of each arm of its profile, finished or not; an arm may be absent.
    pub arms: Vec<ArmRuns<'a>>,
    /// Which runs of the profile are not among them, being of another plan or machine.
    pub left_out: Option<Localised>,
    /// Those that lie beside the page's folder.
    pub explanations: &'a [Explained],
    /// Runs the whole experiment again.
    pub command: String,
    /// Files that are offered beside the page, in this order.
    pub downloads: Vec<Download>,
    /// The page is made in each of these.
    pub languages: &'a [Language],
}

/// A file to offer beside a page.
#[derive(Clone, PartialEq, Debug)]
pub struct Download {
    /// A plain file name: it will lie in the page's own folder.
    pub name: String,
    /// What is in it, in a few words.
    pub about: Localised,
    pub bytes: Vec<u8>,
}

/// A file of the report, to be written into the page's own folder.
#[derive(Clone, PartialEq, Debug)]
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Figure(#[from] FigureError),
    #[error("the page cannot be rendered: {0}; this is a bug in pinbench's templates")]
    Template(#[from] tera::Error),
    #[error("download '{0}' cannot lie beside the page: expected a plain file name that no other file has")]
    Download(String),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a file beside the page cannot be written: {0}")]
    Encode(String),
}

impl ReportError {
    fn json(error: serde_json::Error) -> Self {
        Self::Encode(error.to_string())
    }
}

impl Download {
    /// `about` is a key of [`Words`].
    fn of(name: &str, about: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), about: Words::each(|words| words.say(about, &[])), bytes }
    }
}

/// The English page of a folder; those of other languages lie beside it.
pub const PAGE: &str = "index.html";
const QUESTIONS: &str = "open-questions.html";
/// Beside the index, for all pages of the folder.
const METHODS: &str = "methods.html";

/// Names of all pages that an index may have, in whatever language.
pub fn index_pages() -> impl Iterator<Item = String> {
    let names = [PAGE, QUESTIONS, METHODS];
    Language::ALL.into_iter().flat_map(move |language| names.map(|name| language.file(name)))
}

/// The page and its downloads.
pub fn render(input: &Input) -> Result<Vec<File>, ReportError> {
    let summary = Summary::of(input.experiment, &input.arms);
    let assessments = assess(input.experiment, &summary);
    let mut pages = Vec::new();
    for &language in input.languages {
        let words = Words::of(language);
        let mut context = context(PAGE, language, input.languages);
        context.insert("page", &page::view(input, &summary, &assessments, words)?);
        let page = templates(words)?.render("experiment.html", &context)?;
        pages.push(File { name: language.file(PAGE), bytes: page.into_bytes() });
    }
    for (index, Download { name, .. }) in input.downloads.iter().enumerate() {
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']);
        let is_taken = pages.iter().any(|page| page.name == *name)
            || input.downloads[..index].iter().any(|other| other.name == *name);
        if !is_plain || is_taken {
            return Err(ReportError::Download(name.clone()));
        }
    }
    Ok(with_downloads(pages, input.downloads.clone()))
}

/// What every page is given: its language, its name in it, and where the others are.
fn context(name: &str, language: Language, languages: &[Language]) -> Context {
    let others = languages.iter().filter(|other| **other != language).map(|other| LanguageView {
        tag: other.tag().to_owned(),
        name: other.name().to_owned(),
        file: other.file(name),
    });
    let mut context = Context::new();
    context.insert("lang", language.tag());
    context.insert("languages", &others.collect::<Vec<LanguageView>>());
    // What a link to a page leads to that is of the same language.
    context.insert("index", &language.file(PAGE));
    context.insert("questions", &language.file(QUESTIONS));
    context.insert("methods", &language.file(METHODS));
    context.insert("style", style());
    context
}

fn with_downloads(pages: Vec<File>, downloads: Vec<Download>) -> Vec<File> {
    let files = downloads.into_iter().map(|Download { name, bytes, .. }| File { name, bytes });
    pages.into_iter().chain(files).collect()
}

/// The pages over all pages of a folder: the index, the open questions, what all take for known, and the claims as a table to
/// download.
///
/// `pages` are the entries of those that lie there; what has none is named by `index`.
pub fn render_index(
    pages: Vec<Entry>,
    explanations: &[Explained],
    index: &Index,
) -> Result<Vec<File>, KeptError> {
    let front = index.front()?;
    let entries = index::ordered(pages.into_iter().chain(index.others()?).collect(), front.as_ref());
    let claims = Download {
        name: "claims.csv".to_owned(),
        about: Words::each(|words| words.say("overview.claims-csv", &[])),
        bytes: index::claims_csv(&entries),
    };
    let second = Download::of("audit.py", "download.audit", include_bytes!("../../tools/audit.py").to_vec());
    let downloads = kept::index::downloads(index, &[claims, second])?;
    let mut pages = Vec::new();
    for &language in &index.languages {
        let words = Words::of(language);
        let view = index::view(&entries, explanations, front.as_ref(), &index.command, &downloads, words);
        let view = view.map_err(ReportError::from)?;
        let templates = templates(words).map_err(ReportError::from)?;
        for (name, template) in
            [(PAGE, "index.html"), (QUESTIONS, "open-questions.html"), (METHODS, "methods.html")]
        {
            let mut context = context(name, language, &index.languages);
            context.insert("overview", &view);
            let neighbours = index.neighbours.iter().map(|neighbour| NeighbourView {
                name: neighbour.folder.clone(),
                href: neighbour.href(language),
            });
            context.insert("neighbours", &neighbours.collect::<Vec<_>>());
            let page = templates.render(template, &context).map_err(ReportError::from)?;
            pages.push(File { name: language.file(name), bytes: page.into_bytes() });
        }
    }
    let files = with_downloads(pages, downloads);
    Ok(files)
}

/// The templates are part of the program. Their names end in `.html`, by which tera escapes what is put into them.
///
/// In them `say(key="…", name=value)` is a text of `words`: HTML as it stands, its values escaped. `plain(key="…")`
/// is one that is none, for what is given to a component as any other text.
fn templates(words: Words) -> Result<Tera, tera::Error> {
    let mut tera = Tera::new();
    tera.register_function("say", move |values: Kwargs, _: &State| said(words, &values));
    let plain = move |values: Kwargs, _: &State| Ok::<_, tera::Error>(words.word(values.must_get("key")?));
    tera.register_function("plain", plain);
    tera.register_function("prose", |values: Kwargs, _: &State| prose(values.must_get("text")?));
    tera.add_raw_templates([
        ("base.html", include_str!("../../templates/base.html")),
        ("parts.html", include_str!("../../templates/parts.html")),
        ("experiment.html", include_str!("../../templates/experiment.html")),
        ("index.html", include_str!("../../templates/index.html")),
        ("methods.html", include_str!("../../templates/methods.html")),
        ("open-questions.html", include_str!("../../templates/open-questions.html")),
        ("study.html", include_str!("../../templates/study.html")),
        ("timing.html", include_str!("../../templates/timing.html")),
        ("trace.html", include_str!("../../templates/trace.html")),
    ])?;
    let context = tera.global_context();
    context.insert("script", script());
    context.insert("policy", &policy());
    Ok(tera)
}

/// How every page looks. Pages hold it without what is for whoever works on it: a report has a hundred copies.
fn style() -> &'static str {
    static STYLE: LazyLock<String> =
        LazyLock::new(|| without_comments(include_str!("../../templates/style.css")));
    &STYLE
}

/// What every page runs, and nothing else.
fn script() -> &'static str {
    static SCRIPT: LazyLock<String> =
        LazyLock::new(|| without_comments(include_str!("../../templates/script.js")));
    &SCRIPT
}

/// Neither indents nor lines that are a comment: in both files a comment has lines of its own.
fn without_comments(text: &str) -> String {
    let mut is_inside = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        is_inside |= line.starts_with("/*");
        if !is_inside && !line.is_empty() && !line.starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
        is_inside &= !line.ends_with("*/");
    }
    kept
}

/// What a browser lets a page do: show itself and run the one script of this digest, and ask nobody for anything.
fn policy() -> String {
    // The element's content, to the letter: templates/base.html puts a line break before the script.
    let script = Digest::of(format!("\n{}", script()).as_bytes()).base64();
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; img-src data:; base-uri 'none'; \
         form-action 'none'"
    )
}

/// What somebody wrote in a file, with `names` in backquotes as code.
fn prose(text: &str) -> Result<Value, tera::Error> {
    let mut out = Vec::new();
    for (index, part) in text.split('`').enumerate() {
        let is_code = index % 2 == 1;
        out.extend_from_slice(if is_code { b"<code>" } else { b"" });
        tera::escape_html(part, &mut out).map_err(tera::Error::message)?;
        out.extend_from_slice(if is_code { b"</code>" } else { b"" });
    }
    Ok(Value::safe_string(&String::from_utf8_lossy(&out)))
}

fn said(words: Words, values: &Kwargs) -> Result<Value, tera::Error> {
    let key: &str = values.must_get("key")?;
    let mut escaped = Vec::new();
    for (name, value) in values.iter() {
        let mut text = Vec::new();
        match value.is_safe() {
            true => text.extend(value.to_string().into_bytes()),
            false => tera::escape_html(&value.to_string(), &mut text).map_err(tera::Error::message)?,
        }
        escaped.push((name.to_string(), String::from_utf8_lossy(&text).into_owned()));
    }
    let values: Vec<(&str, &dyn Display)> =
        escaped.iter().map(|(name, text)| (name.as_str(), text as &dyn Display)).collect();
    Ok(Value::safe_string(&words.say(key, &values)))
}

#[cfg(test)]
mod tests;
