//! The page of an explanation.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::analyse::study::{CurveFound, Explanation, Layout};
use crate::analyse::timing::Measured;
use crate::experiment::study::Study;
use crate::language::Language;
use crate::record::RunRecord;
use crate::report::kept::{Folder, KeptError, Kind, download};
use crate::report::study::Input;
use crate::report::{Download, ReportError};

const MEASURED: &str = "measured.json";

#[derive(Serialize, Deserialize)]
struct Wire {
    study: String,
    layout: Layout,
    /// Of the measurement.
    folder: String,
    command: String,
    has_index: bool,
    /// Of its pages.
    #[serde(default = "all_languages", skip_serializing_if = "is_all")]
    languages: Vec<Language>,
}

/// What is measured is said in every language, unless somebody wants fewer.
pub(in crate::report) fn all_languages() -> Vec<Language> {
    Language::ALL.to_vec()
}

fn is_all(languages: &[Language]) -> bool {
    languages == Language::ALL
}

/// The costs of every process, and one record of each environment.
#[derive(Serialize)]
struct Costs<'a> {
    measured: &'a Measured,
    curve: Option<&'a CurveFound>,
    records: Vec<&'a RunRecord>,
}

/// The files that lie beside the page and that nobody but the page needs.
pub(in crate::report) fn downloads(input: &Input, others: &[Download]) -> Result<Vec<Download>, ReportError> {
    let mut records: Vec<&RunRecord> = Vec::new();
    for record in &input.records {
        if records.iter().all(|known| known.environment != record.environment) {
            records.push(record);
        }
    }
    let costs = Costs { measured: &input.measured, curve: input.curve.as_ref(), records };
    let mut files = others.to_vec();
    let costs = serde_json::to_vec_pretty(&costs).map_err(ReportError::json)?;
    files.push(Download::of(MEASURED, "download.measured", costs));
    let text = input.study.text().as_bytes().to_vec();
    files.push(Download::of(&format!("{}.toml", input.study.id), "download.study", text));
    let wire = Wire {
        study: input.study.id.clone(),
        layout: input.layout.clone(),
        folder: input.folder.clone(),
        command: input.command.clone(),
        has_index: input.has_index,
        languages: input.languages.clone(),
    };
    files.push(download(Kind::Explanation, wire, &files)?);
    Ok(files)
}

#[derive(Deserialize)]
struct Read {
    measured: Measured,
    curve: Option<CurveFound>,
    records: Vec<RunRecord>,
}

/// A page's folder, read back.
pub fn read(folder: &Path) -> Result<Input, KeptError> {
    let folder = Folder::<Wire>::open(folder, Kind::Explanation)?;
    let name = format!("{}.toml", folder.of.study);
    let text = folder.text(&name)?;
    let study = Study::parse(Path::new(&name), &text).map_err(|error| folder.content(&name, &error))?;
    let Read { measured, curve, records } = folder.json(MEASURED)?;
    let Wire { layout, folder, command, has_index, languages, .. } = folder.of;
    let explanation = Explanation::of(&study, &layout, &measured);
    Ok(Input { study, layout, measured, explanation, curve, records, command, folder, has_index, languages })
}
