//! What the templates get: strings that are already formatted, in the order they are shown.
//!
//! A template decides where a thing stands and nothing else, so the JSON of a view is the whole content of a page.

use serde::Serialize;

/// The page of one experiment.
#[derive(Serialize)]
pub struct PageView {
    pub id: String,
    pub title: String,
    /// The question.
    pub why: String,
    /// Where the setting comes from.
    pub source: Option<String>,
    pub profile: ProfileView,
    /// Sentences computed from the data.
    pub glance: Vec<String>,
    /// What a reader must know before comparing anything.
    pub warnings: Vec<String>,
    /// Runs that are missing or did not finish.
    pub gaps: Vec<String>,
    pub results: TableView,
    /// Where the notes' numbers are from; absent without a reference.
    pub reference: Option<String>,
    pub times: TableView,
    pub phases: TableView,
    pub learning: Vec<FigureView>,
    pub timing: Vec<FigureView>,
    pub setup: Vec<FactView>,
    pub methods: Vec<MethodView>,
    pub limits: Vec<String>,
    pub runs: TableView,
    pub provenance: ProvenanceView,
    pub downloads: Vec<DownloadView>,
}

#[derive(Serialize)]
pub struct ProfileView {
    pub name: String,
    /// Nothing differs from the notes' own setting.
    pub is_full: bool,
    /// What differs, as `key = value`.
    pub changes: Vec<String>,
    /// `3 seeds (0, 1, 2)`.
    pub seeds: String,
}

/// A table whose rows come in groups, each under the name of an arm.
#[derive(Serialize, Default)]
pub struct TableView {
    pub caption: String,
    /// Heading of the column of row names.
    pub corner: String,
    pub columns: Vec<ColumnView>,
    pub rows: Vec<RowView>,
}

#[derive(Serialize)]
pub struct ColumnView {
    pub name: String,
    /// Second line of the heading; empty when there is none.
    pub unit: String,
    pub is_word: bool,
}

#[derive(Serialize)]
pub struct RowView {
    /// Classes for the arm's colour; empty for a row that is nobody's.
    pub class: String,
    pub swatch: Option<PictureView>,
    pub name: String,
    /// What the row is of its arm, such as `difference`; the first row of a group starts one.
    pub kind: String,
    pub starts_group: bool,
    pub cells: Vec<CellView>,
}

#[derive(Serialize, Clone, PartialEq, Debug, Default)]
pub struct CellView {
    pub text: String,
    /// A second, smaller line: the spread.
    pub note: String,
    /// Words and codes stand left, numbers right.
    pub is_word: bool,
}

/// A figure in two layouts, of which the stylesheet shows the one that fits.
#[derive(Serialize)]
pub struct FigureView {
    pub id: String,
    pub title: String,
    pub caption: String,
    pub legend: Vec<LegendView>,
    /// Axes, and least, greatest and last value of each series, for readers who do not see the picture.
    pub description: String,
    /// Absent when there is nothing to draw; the caption then says why.
    pub pictures: Option<PicturesView>,
}

#[derive(Serialize)]
pub struct PicturesView {
    pub wide: PictureView,
    pub narrow: PictureView,
}

/// The inside of an `<svg>`, its text already escaped, and the size of its coordinates.
#[derive(Serialize, Clone)]
pub struct PictureView {
    pub width: u32,
    pub height: u32,
    pub body: String,
}

#[derive(Serialize)]
pub struct LegendView {
    pub label: String,
    pub swatch: PictureView,
}

#[derive(Serialize)]
pub struct FactView {
    pub name: String,
    pub value: String,
    /// The value differs between arms, or between runs.
    pub varies: bool,
}

#[derive(Serialize)]
pub struct MethodView {
    pub name: String,
    pub text: String,
}

#[derive(Serialize)]
pub struct ProvenanceView {
    /// Runs the whole experiment again.
    pub command: String,
    /// Runs one trial again: arm and seed, command.
    pub commands: Vec<FactView>,
    pub environment: Vec<FactView>,
    /// What libtorch says of how it works in parallel; one text for each that differs.
    pub parallel: Vec<String>,
    pub plan: Vec<FactView>,
    pub arms: TableView,
    pub runs: TableView,
}

#[derive(Serialize)]
pub struct DownloadView {
    pub name: String,
    pub about: String,
    pub size: String,
}
