//! The page of an experiment.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::analyse::{ArmRuns, Summary};
use crate::dataset::{self, Definition};
use crate::experiment::{Experiment, ProfileName};
use crate::language::{Language, Localised};
use crate::record::joined::{self, ByRun, Labelled};
use crate::record::schema::FORMAT;
use crate::record::{LoadedRun, Rows, RunRecord, parse_listed};
use crate::report::kept::{Folder, KeptError, Kind, download};
use crate::report::{Download, Explained, Input, ReportError, values};
use crate::row::Split;
use crate::stream::Seed;

const RUNS: &str = "runs.json";
const EPOCHS: &str = "epochs.parquet";
const STEPS: &str = "steps.parquet";
const CONFUSION: &str = "confusion.parquet";
const DIAGNOSTICS: &str = "diagnostics.parquet";

#[derive(Serialize, Deserialize)]
struct Wire {
    profile: ProfileName,
    command: String,
    /// Of its pages.
    languages: Vec<Language>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<Localised>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<WireDamaged>,
    /// Definitions of the sets that are a user's own, TOML.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    data_sets: Vec<String>,
}

/// A run that could not be read when the page was made.
#[derive(Serialize, Deserialize)]
struct WireDamaged {
    arm: String,
    seed: Seed,
    file: String,
}

/// A run record, with the arm that its frames call it by.
#[derive(Serialize)]
struct ArmRecord<'a> {
    arm: &'a str,
    #[serde(flatten)]
    record: &'a RunRecord,
}

/// The files that lie beside the page of `input`.
pub fn downloads(input: &Input) -> Result<Vec<Download>, ReportError> {
    let labelled: Vec<Labelled> =
        input.arms.iter().flat_map(|arm| arm.runs.iter().map(|run| (arm.arm.name.en(), run))).collect();
    let experiment = input.experiment;
    let mut files = values::downloads(experiment, &Summary::of(experiment, &input.arms))?;
    if !labelled.is_empty() {
        files.extend(tables(&labelled)?);
    }
    let text = experiment.text.clone().into_bytes();
    files.push(Download::of(&file_name(&experiment.id), "download.experiment", text));
    let damaged = input.arms.iter().flat_map(|arm| {
        let of = |(seed, file): &(Seed, String)| WireDamaged {
            arm: arm.arm.name.en().to_owned(),
            seed: *seed,
            file: file.clone(),
        };
        arm.damaged.iter().map(of)
    });
    let wire = Wire {
        profile: experiment.profile.name.clone(),
        command: input.command.clone(),
        languages: input.languages.to_vec(),
        left_out: input.left_out.clone(),
        damaged: damaged.collect(),
        data_sets: data_sets(experiment)?,
    };
    files.push(download(Kind::Experiment, wire, &files)?);
    Ok(files)
}

fn tables(labelled: &[Labelled]) -> Result<Vec<Download>, ReportError> {
    let records: Vec<ArmRecord> =
        labelled.iter().map(|&(arm, run)| ArmRecord { arm, record: &run.record }).collect();
    let mut files = vec![
        Download::of("epochs.csv", "download.epochs-csv", joined::epochs_csv(labelled)?),
        Download::of(EPOCHS, "download.parquet", joined::epochs_parquet(labelled)?),
    ];
    if labelled.iter().any(|(_, run)| !run.steps.is_empty()) {
        files.push(Download::of(STEPS, "download.steps", joined::steps_parquet(labelled)?));
    }
    if labelled.iter().any(|(_, run)| !run.confusion.is_empty()) {
        files.push(Download::of(CONFUSION, "download.confusion", joined::confusion_parquet(labelled)?));
    }
    if labelled.iter().any(|(_, run)| !run.diagnostics.is_empty()) {
        files.push(Download::of(
            "diagnostics.csv",
            "download.diagnostics",
            joined::diagnostics_csv(labelled)?,
        ));
        files.push(Download::of(DIAGNOSTICS, "download.parquet", joined::diagnostics_parquet(labelled)?));
    }
    let records = serde_json::to_vec_pretty(&records).map_err(ReportError::json)?;
    files.push(Download::of(RUNS, "download.runs", records));
    Ok(files)
}

const SUFFIX: &str = ".toml";

fn file_name(id: &str) -> String {
    format!("{id}{SUFFIX}")
}

/// Without them nobody else could read the experiment's file.
fn data_sets(experiment: &Experiment) -> Result<Vec<String>, ReportError> {
    let mut texts = Vec::new();
    for arm in &experiment.profile.arms {
        let Some(definition) = arm.config.data.set.definition() else { continue };
        let Some(import) = definition.import() else { continue };
        let text = definition.packed_text(import).map_err(|error| ReportError::Encode(error.to_string()))?;
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}

/// A page's folder, read back.
pub struct Page {
    pub experiment: Experiment,
    pub content: Content,
}

/// The runs of an arm, and those that could not be read, as [`ArmRuns`] has them.
type Runs = (Vec<LoadedRun>, Vec<(Seed, String)>);

/// What there is of it beside the experiment.
pub struct Content {
    /// By arm of the profile.
    arms: Vec<Runs>,
    left_out: Option<Localised>,
    /// Of its pages.
    pub languages: &'static [Language],
    command: String,
}

impl Content {
    /// As the page is made from it, the downloads included.
    pub fn input<'a>(
        self,
        experiment: &'a Experiment,
        explanations: &'a [Explained],
    ) -> Result<Input<'a>, ReportError> {
        let arms = experiment.profile.arms.iter().zip(self.arms);
        let arms = arms.map(|(arm, (runs, damaged))| ArmRuns { damaged, ..ArmRuns::new(arm, runs) });
        let mut input = Input {
            experiment,
            arms: arms.collect(),
            left_out: self.left_out,
            explanations,
            languages: self.languages,
            command: self.command,
            downloads: Vec::new(),
        };
        input.downloads = downloads(&input)?;
        Ok(input)
    }
}

/// Reads the folder of a page, whatever it is called now; every file is verified before it is decoded.
pub fn read(folder: &Path) -> Result<Page, KeptError> {
    let folder = Folder::<Wire>::open(folder, Kind::Experiment)?;
    for text in &folder.of.data_sets {
        define(&folder, text)?;
    }
    let name = file_name(&id(&folder)?);
    let text = folder.text(&name)?;
    let experiment =
        Experiment::parse(Path::new(&name), &text).map_err(|error| folder.content(&name, &error))?;
    let profile = &folder.of.profile;
    let experiment = experiment
        .under(profile)
        .ok_or_else(|| folder.content(&name, &format!("it has no profile '{profile}'")))?;
    let mut arms: Vec<Runs> = experiment.profile.arms.iter().map(|_| Default::default()).collect();
    let place = |of: &str, file: &str| {
        let place = experiment.profile.arms.iter().position(|arm| arm.name.en() == of);
        place.ok_or_else(|| folder.content(file, &format!("the experiment has no arm '{of}'")))
    };
    for (arm, run) in runs(&folder)? {
        arms[place(&arm, RUNS)?].0.push(run);
    }
    for WireDamaged { arm, seed, file } in &folder.of.damaged {
        arms[place(arm, super::NAME)?].1.push((*seed, file.clone()));
    }
    let Wire { left_out, command, languages, .. } = folder.of;
    let languages = Language::among(&languages);
    Ok(Page { experiment, content: Content { arms, left_out, languages, command } })
}

/// Of the runs in a page's folder, how many have the rows that their records were sealed with, and how many have rows at all.
///
/// Parquet files of another writer have other bytes for the same rows, so that none agreeing says nothing.
pub fn sealed(folder: &Path) -> Result<(usize, usize), KeptError> {
    let folder = Folder::<Wire>::open(folder, Kind::Experiment)?;
    let runs = runs(&folder)?;
    let with_rows: Vec<&LoadedRun> = runs
        .iter()
        .map(|(_, run)| run)
        .filter(|run| run.record.format == FORMAT && !run.epochs.is_empty())
        .collect();
    let mut sealed = 0;
    for run in &with_rows {
        sealed += usize::from(run.has_sealed_rows().map_err(ReportError::from)?);
    }
    Ok((sealed, with_rows.len()))
}

/// What the page in a folder is of, without its rows.
pub struct Asked {
    pub id: String,
    pub profile: ProfileName,
    /// Makes it again.
    pub command: String,
}

pub fn asked(folder: &Path) -> Result<Asked, KeptError> {
    let folder = Folder::<Wire>::open(folder, Kind::Experiment)?;
    let id = id(&folder)?;
    let Wire { profile, command, .. } = folder.of;
    Ok(Asked { id, profile, command })
}

/// That of the one experiment whose file lies there.
fn id(folder: &Folder<Wire>) -> Result<String, KeptError> {
    let mut ids = folder.sha256.keys().filter_map(|name| name.strip_suffix(SUFFIX));
    match (ids.next(), ids.next()) {
        (Some(id), None) => Ok(id.to_owned()),
        _ => Err(folder.content(super::NAME, &"it does not name one experiment's file")),
    }
}

fn define(folder: &Folder<Wire>, text: &str) -> Result<(), KeptError> {
    let refused = |reason: &dyn std::fmt::Display| folder.content(super::NAME, reason);
    let definition = Definition::parse(text).map_err(|error| refused(&error))?;
    let (name, digest) = (definition.name.clone(), definition.digest);
    match dataset::define(definition).digest() {
        found if found == digest => Ok(()),
        found => Err(refused(&format!(
            "its data set '{name}' has the content {digest}, and the one of that name here {found}; set PINBENCH_CACHE to an empty folder"
        ))),
    }
}

/// Each with the name of its arm, in the order of the records.
fn runs(folder: &Folder<Wire>) -> Result<Vec<(String, LoadedRun)>, KeptError> {
    if !folder.has(RUNS) {
        return Ok(Vec::new());
    }
    let records: Vec<Value> = folder.json(RUNS)?;
    let mut steps = table(folder, STEPS, joined::read_steps)?;
    let mut epochs = table(folder, EPOCHS, joined::read_epochs)?;
    let mut confusion = table(folder, CONFUSION, joined::read_confusion)?;
    let mut diagnostics = table(folder, DIAGNOSTICS, joined::read_diagnostics)?;
    let mut runs = Vec::with_capacity(records.len());
    for mut value in records {
        let arm = value.as_object_mut().and_then(|record| record.remove("arm"));
        let Some(Value::String(arm)) = arm else {
            return Err(folder.content(RUNS, &"a record in it has no key `arm`"));
        };
        let record = parse_listed(value).map_err(|fault| folder.content(RUNS, &fault))?;
        let key = (arm.clone(), record.run.0.clone());
        let rows = Rows {
            steps: steps.remove(&key).unwrap_or_default(),
            epochs: epochs.remove(&key).unwrap_or_default(),
            confusion: confusion.remove(&key).unwrap_or_default(),
            diagnostics: diagnostics.remove(&key).unwrap_or_default(),
            chain: Vec::new(),
        };
        if let Some((epoch, split, counted)) = miscounted(&rows) {
            let reason = format!(
                "the matrix of {} after epoch {epoch} of run {} is of {counted} images, expected as many as were evaluated",
                split.name(),
                record.run
            );
            return Err(folder.content(CONFUSION, &reason));
        }
        runs.push((arm, LoadedRun::new(record, rows)));
    }
    Ok(runs)
}

/// Epoch, from 1, and split of a confusion matrix that is not of all images that were evaluated, and of how many it is.
fn miscounted(rows: &Rows) -> Option<(u32, Split, u64)> {
    let mut counted: BTreeMap<(u32, Split), u64> = BTreeMap::new();
    for row in &rows.confusion {
        *counted.entry((row.epoch, row.split)).or_default() += u64::from(row.images);
    }
    let evaluated = |(epoch, split)| {
        let row = rows.epochs.iter().find(|row| row.epoch == epoch && row.split == split);
        row.map(|row| u64::from(row.images))
    };
    let wrong = counted.into_iter().find(|(of, counted)| evaluated(*of) != Some(*counted));
    wrong.map(|((epoch, split), counted)| (epoch + 1, split, counted))
}

/// A table of the folder; empty where no run had a row of it.
fn table<R, E: std::fmt::Display>(
    folder: &Folder<Wire>,
    name: &str,
    read: impl Fn(Vec<u8>) -> Result<ByRun<R>, E>,
) -> Result<ByRun<R>, KeptError> {
    if !folder.has(name) {
        return Ok(ByRun::new());
    }
    read(folder.verified(name)?).map_err(|error| folder.content(name, &error))
}
