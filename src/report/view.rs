//! What the templates get: strings that are already formatted, in the order they are shown.
//!
//! A template decides where a thing stands and nothing else, so the JSON of a view is the whole content of a page.

use serde::Serialize;

/// The page of one experiment.
#[derive(Serialize)]
pub(super) struct PageView {
    pub id: String,
    pub title: String,
    /// The question.
    pub why: String,
    /// Where the setting comes from.
    pub source: Option<String>,
    pub profile: ProfileView,
    /// The plans of the runs, each with what it is; empty where there is no run.
    pub plans: Vec<PlanView>,
    /// Sentences computed from the data.
    pub glance: Vec<String>,
    /// What a reader must know before comparing anything.
    pub warnings: Vec<String>,
    /// Runs that are missing or did not finish.
    pub gaps: Vec<String>,
    pub claims: Vec<ClaimView>,
    /// Whether the reference has a number beside any of the claims'.
    pub has_theirs: bool,
    /// The scale of all strips.
    pub ruler: PictureView,
    pub results: TableView,
    /// Whose numbers stand beside ours; absent without a reference.
    pub reference: Option<String>,
    /// Sentences about times.
    pub speed: Vec<String>,
    pub times: TableView,
    pub phases: TableView,
    /// Absent on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<TableView>,
    pub learning: Vec<FigureView>,
    pub timing: Vec<FigureView>,
    /// Empty where no run has a confusion matrix.
    pub metrics: Vec<TableView>,
    pub by_class: Vec<TableView>,
    pub confusion: Vec<ConfusionView>,
    /// Empty where no run has diagnostics.
    pub diagnostics: Vec<TableView>,
    pub setup: Vec<FactView>,
    pub limits: Vec<String>,
    pub runs: TableView,
    pub provenance: ProvenanceView,
    pub downloads: Vec<DownloadView>,
}

/// An index over the same experiments that lies in the folder beside.
#[derive(Serialize)]
pub(super) struct NeighbourView {
    pub name: String,
    pub href: String,
}

/// A page that is the same in another language.
#[derive(Serialize)]
pub(super) struct LanguageView {
    pub tag: String,
    pub name: String,
    pub file: String,
}

/// A claim and what the runs say of it.
#[derive(Serialize, Clone)]
pub(super) struct ClaimView {
    pub id: String,
    /// Id of its place on the page.
    pub anchor: String,
    pub says: String,
    pub verdict: VerdictView,
    /// `2 of 3 parts hold`, of a claim in parts.
    pub parts: Option<String>,
    /// On pages over all claims: the share of false findings among those that are as clear, as `= 0.031`.
    pub q: Option<String>,
    /// On pages over all claims: the earlier one that is about the same numbers.
    pub repeats: Option<ClaimLinkView>,
    pub note: Option<String>,
    pub evidence: Vec<EvidenceView>,
    pub remarks: Vec<String>,
    /// What its metrics are in each of its arms.
    pub figures: Vec<FigureView>,
    /// What explains the times the claim is about.
    pub explanations: Vec<ExplanationView>,
}

#[derive(Serialize, Clone)]
pub(super) struct ClaimLinkView {
    pub id: String,
    /// Absent where its page is not there.
    pub href: Option<String>,
}

/// In how many seeds one arm was above another, and the share of seeds in which it would be.
#[derive(Serialize, Clone)]
pub(super) struct HeldView {
    pub seeds: String,
    pub of: String,
    pub low: String,
    pub high: String,
}

/// A link to an explanation and what it says first.
#[derive(Serialize, Clone)]
pub(super) struct ExplanationView {
    pub href: String,
    pub title: String,
    /// Under which plan it was measured.
    pub plan: String,
    /// The plan of the page it is linked from, where that is another.
    pub other_plan: String,
    pub says: Vec<String>,
}

/// A plan by its name, the rest of how it ran, and what it is.
#[derive(Serialize)]
pub(super) struct PlanView {
    pub name: String,
    pub how: String,
    pub says: String,
}

#[derive(Serialize, Clone)]
pub(super) struct VerdictView {
    pub word: String,
    pub sign: String,
    pub class: String,
}

#[derive(Serialize, Clone)]
pub(super) struct EvidenceView {
    pub id: String,
    pub what: String,
    pub estimate: String,
    pub interval: Option<String>,
    /// What the reference's numbers come to.
    pub theirs: Option<String>,
    /// Of a part that the interval would decide against and that is not decided: the one it has to be decided by.
    pub strict: Option<String>,
    /// What the mean of an arm is compared with.
    pub bound: Option<String>,
    pub margin: String,
    pub seeds: String,
    /// The interval is narrower than what it measures can be.
    pub is_informative: bool,
    /// It is the number of a comparison above.
    pub is_repeated: bool,
    pub held: Option<HeldView>,
    pub effect_size: Option<String>,
    /// What so many seeds would have found, of one that is not decided.
    pub detectable: Option<String>,
    pub is_equality: bool,
    /// Of an equality that cannot be told: they differ, and by how much is open.
    pub is_different: bool,
    pub method: String,
    pub verdict: VerdictView,
    /// For readers who do not see the picture.
    pub description: String,
    pub picture: Option<PictureView>,
}

/// Images by class and by predicted class, of one arm.
#[derive(Serialize)]
pub(super) struct ConfusionView {
    pub name: String,
    pub caption: String,
    pub classes: Vec<String>,
    pub rows: Vec<ConfusionRowView>,
}

#[derive(Serialize)]
pub(super) struct ConfusionRowView {
    pub name: String,
    pub cells: Vec<HeatView>,
}

#[derive(Serialize)]
pub(super) struct HeatView {
    pub text: String,
    /// From 0, none of the row, to 9, all of it.
    pub heat: u8,
}

/// The study at a glance.
#[derive(Serialize)]
pub(super) struct IndexView {
    pub profile: String,
    pub is_full: bool,
    pub is_reduced: bool,
    /// Of the index of a smaller setting, the profile that is the experiments' own.
    pub is_mixed: bool,
    /// The command that runs the files at their own setting, where these are not.
    pub own_setting: Option<String>,
    /// The command that lists them.
    pub list: String,
    pub has_questions: bool,
    /// How many claims have which verdict, of whom.
    pub counts: Vec<CountGroupView>,
    pub many: ManyView,
    /// The scale of all strips.
    pub ruler: PictureView,
    /// Those that lie beside the index.
    pub explanations: Vec<ExplanationView>,
    /// The question of all of them.
    pub title: Option<String>,
    pub why: Option<String>,
    /// What a reader sees first, in an order that somebody has said.
    pub findings: Vec<FindingView>,
    /// Accuracies of the references beside ours, and whatever else they have numbers of.
    pub beside: Vec<FigureView>,
    pub beside_more: Vec<FigureView>,
    pub experiments: Vec<IndexEntryView>,
    pub is_tested: bool,
    pub is_untested: bool,
    /// Of some there is no run anywhere.
    pub is_unrun: bool,
    pub methods: MethodsView,
    pub command: String,
    /// On which machines and when the runs were made that are shown.
    pub made: Vec<String>,
    pub downloads: Vec<DownloadView>,
}

/// Claims that are counted together.
#[derive(Serialize)]
pub(super) struct CountGroupView {
    /// How many, and whose.
    pub says: String,
    pub counts: Vec<CountView>,
}

/// What every page takes for known.
#[derive(Serialize)]
pub(super) struct MethodsView {
    pub numbers: Vec<MethodView>,
    pub causes: Vec<MethodView>,
    pub words: Vec<MethodView>,
}

/// A claim with its figures, or an explanation.
#[derive(Serialize)]
pub(super) struct FindingView {
    pub claim: Option<ClaimView>,
    pub figures: Vec<FigureView>,
    pub explanation: Option<ExplanationView>,
    /// Of the claim, where its page is there.
    pub href: Option<String>,
}

/// What many claims do to the verdict on one.
#[derive(Serialize)]
pub(super) struct ManyView {
    /// Claims that were evaluated, those that repeat others left out.
    pub tests: usize,
    /// Verdicts that decide something, of those.
    pub decided: usize,
    /// And with a q of at most `level`.
    pub survive: usize,
    /// The same whatever the claims have to do with each other.
    pub survive_any_dependence: usize,
    pub level: String,
}

#[derive(Serialize)]
pub(super) struct CountView {
    pub verdict: VerdictView,
    pub count: usize,
}

#[derive(Serialize, Clone)]
pub(super) struct IndexEntryView {
    pub id: String,
    pub title: String,
    pub question: Option<String>,
    pub why: String,
    /// Runs that count, of how many, over which seeds.
    pub runs: String,
    /// Runs of the profile that do not count, being of another plan or machine.
    pub left_out: Option<String>,
    pub has_runs: bool,
    /// There is something to link to.
    pub has_page: bool,
    /// Measured, and without a page here.
    pub is_elsewhere: bool,
    /// What the profile changes, in one line; empty for the setting of the file.
    pub changes: String,
    pub glance: Vec<String>,
    pub claims: Vec<ClaimView>,
    /// Those of them that have a verdict, and those that have none.
    pub tested: Vec<ClaimView>,
    pub untested: Vec<ClaimView>,
    /// What keeps the latter from one.
    pub why_untested: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ProfileView {
    pub name: String,
    /// Nothing differs from the file's own setting.
    pub is_full: bool,
    pub is_reduced: bool,
    /// What differs, as `key = value`.
    pub changes: Vec<String>,
    /// `3 seeds (0, 1, 2)`.
    pub seeds: String,
}

/// A table whose rows come in groups, each under the name of an arm.
#[derive(Serialize, Default)]
pub(super) struct TableView {
    pub caption: String,
    /// Heading of the column of row names.
    pub corner: String,
    pub columns: Vec<ColumnView>,
    pub rows: Vec<RowView>,
    /// What the table would be too long with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOutView>,
}

#[derive(Serialize)]
pub(super) struct LeftOutView {
    /// `9,800 rows`.
    pub what: String,
    /// The file beside the page that has all of it.
    pub file: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ColumnView {
    pub name: String,
    /// Second line of the heading; empty when there is none.
    pub unit: String,
    pub is_word: bool,
}

#[derive(Serialize)]
pub(super) struct RowView {
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
pub(super) struct CellView {
    pub text: String,
    /// A second, smaller line: the spread.
    pub note: String,
    /// Words and codes stand left, numbers right.
    pub is_word: bool,
}

/// A figure in two layouts, of which the stylesheet shows the one that fits.
#[derive(Serialize, Clone)]
pub(super) struct FigureView {
    pub id: String,
    pub title: String,
    pub caption: String,
    pub legend: Vec<LegendView>,
    /// Axes, and least, greatest and last value of each series, for readers who do not see the picture.
    pub description: String,
    /// Absent when there is nothing to draw; the caption then says why.
    pub pictures: Option<PicturesView>,
}

#[derive(Serialize, Clone)]
pub(super) struct PicturesView {
    pub wide: PictureView,
    pub narrow: PictureView,
}

/// The inside of an `<svg>`, its text already escaped, and the size of its coordinates.
#[derive(Serialize, Clone)]
pub(super) struct PictureView {
    pub width: u32,
    pub height: u32,
    pub body: String,
}

#[derive(Serialize, Clone)]
pub(super) struct LegendView {
    pub label: String,
    pub swatch: PictureView,
}

#[derive(Serialize)]
pub(super) struct FactView {
    pub name: String,
    pub value: String,
    /// The value differs between arms, or between runs.
    pub varies: bool,
}

#[derive(Serialize)]
pub(super) struct MethodView {
    pub name: String,
    pub text: String,
}

#[derive(Serialize)]
pub(super) struct ProvenanceView {
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
pub(super) struct DownloadView {
    pub name: String,
    pub about: String,
    pub size: String,
}
