//! Pages of simulated studies.

use super::*;
use crate::analyse::samples;
use crate::analyse::study::layout::tests::layout;
use crate::analyse::study::{Explanation, Verdict};
use crate::analyse::timing::{Measured, simulated};
use crate::experiment::plan::{Allocator, PlanName};
use crate::experiment::study::tests::study;
use crate::planted::Planted;
use crate::record::{Condition, RunRecord};
use crate::report::view::FigureView;

/// A study that was measured: page faults of the large batch are its cause.
pub struct Sample {
    study: Study,
    layout: Layout,
    measured: Measured,
    curve: Option<CurveFound>,
    records: Vec<RunRecord>,
}

fn us(condition: &Condition) -> f64 {
    let pass = condition.config.train.micro_batch.unwrap_or(condition.config.train.batch);
    let us = if condition.plan.allocator == Allocator::System && pass > 64 { 450.0 } else { 300.0 };
    if condition.plan.threads == 1 { 2.0 * us } else { us }
}

impl Sample {
    pub fn new(demonstration: Option<Demonstration>) -> Self {
        Self::of(demonstration, 8, &us)
    }

    fn of(demonstration: Option<Demonstration>, blocks: u64, us: &dyn Fn(&Condition) -> f64) -> Self {
        let (design, layout) = layout(PlanName::Eager, demonstration);
        let measured = simulated::measured(&design, blocks, 0.02, 3, |index| us(&design.conditions[index]));
        let records = vec![samples::finished(&samples::profile().arms[0], 0).record];
        Self { study: study(), layout, measured, curve: None, records }
    }

    fn explanation(&self) -> Explanation {
        Explanation::of(&self.study, &self.layout, &self.measured)
    }

    fn files(&self) -> Vec<File> {
        self.files_of(self.explanation())
    }

    fn files_of(&self, explanation: Explanation) -> Vec<File> {
        render(&Input {
            study: self.study.clone(),
            layout: self.layout.clone(),
            measured: self.measured.clone(),
            explanation,
            curve: self.curve.clone(),
            records: self.records.clone(),
            command: "pinbench explain slow".to_owned(),
            folder: "measurements/explain-slow".to_owned(),
            has_index: true,
            languages: crate::language::Language::ALL.to_vec(),
        })
        .unwrap()
    }

    pub fn file(&self, name: &str) -> String {
        let file = self.files().into_iter().find(|file| file.name == name).unwrap();
        String::from_utf8(file.bytes).unwrap()
    }

    fn page(&self) -> String {
        self.page_of(self.explanation())
    }

    fn page_of(&self, explanation: Explanation) -> String {
        let page = self.files_of(explanation).into_iter().find(|file| file.name == "index.html").unwrap();
        let page = String::from_utf8(page.bytes).unwrap();
        let page = crate::report::tests::without_script(&page);
        assert!(!page.contains("NaN") && !page.contains("null"), "{page}");
        page
    }
}

#[test]
fn the_first_sentence_has_the_ratio_the_machine_and_the_sources_own() {
    let page = Sample::new(None).page();
    let first = &page[page.find("<ul><li>An image").unwrap()..];
    let first = &first[..first.find("</li>").unwrap()];
    for part in
        ["with batch 1024 takes 1.", "batch 64, on", "plan eager", "in the notes, on a GPU it was 1.13 times"]
    {
        assert!(first.contains(part), "{part}: {first}");
    }
    for part in [
        "Memory given back: main cause,",
        "<li>Ruled out as large causes: ",
        " (at most 0 %)",
        "Threads are in each other",
        "there is no GPU",
        "Keep memory. With batch 1024 this is 1.",
        "<code>plan.allocator=keep</code>",
        "The removal makes batch 64 dearer",
        " †</td>",
        "† The removal makes batch 64 dearer",
        "left-wide-title",
        "the two may differ by up to 1.0",
        "by the interval of their ratio",
        "pinbench explain slow",
        "<a href=\"../index.html\">pinbench</a>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Once in the table, although two guesses found it.
    assert_eq!(page.matches("<th scope=\"row\">Memory given back").count(), 1);
}

#[test]
fn without_a_slowdown_or_a_decision_nothing_is_claimed_anywhere() {
    let none = Sample::of(None, 8, &|_| 300.0).page();
    assert!(none.contains("There is no slowdown to explain") && none.contains("nothing to explain"));
    let undecided = Sample::of(None, 1, &us).page();
    assert!(undecided.contains("Whether there is a slowdown is not decided after 1 block"));
    for page in [none, undecided, Sample::of(None, 0, &us).page()] {
        assert!(!page.contains("main cause</span>") && !page.contains("ruled out</span>"));
        assert!(!page.contains("Keep memory. With"), "advice");
    }
}

#[test]
fn more_than_all_of_a_slowdown_is_explained_by_what_is_left() {
    let turned = |condition: &Condition| match condition.config.train.micro_batch {
        Some(_) if condition.config.train.batch == 1024 => 230.0,
        _ => us(condition),
    };
    let page = Sample::of(None, 8, &turned).page();
    assert!(
        page.contains("That is more than all of it") && page.contains("than it would without any slowdown")
    );
}

/// What is said of one guess.
fn guess<'p>(page: &'p str, id: &str) -> &'p str {
    let page = &page[page.find(&format!("id=\"hypothesis-{id}\"")).unwrap()..];
    &page[..page.find("</details>").unwrap()]
}

/// An optimizer was said to take away more than all of a slowdown that was gone before: memory was kept with it and without.
#[test]
fn what_holds_on_both_sides_of_a_removal_has_its_own_slowdown_beside_it() {
    let turned = |condition: &Condition| {
        let is_high = condition.config.train.batch == 1024;
        if is_high && condition.plan.allocator == Allocator::Keep { 240.0 } else { us(condition) }
    };
    let page = Sample::of(None, 8, &turned).page();
    assert!(guess(&page, "faults").contains("That is more than all of it"));
    let pages = guess(&page, "pages");
    assert!(
        pages.contains("where <code>plan.allocator=keep</code> holds, the removal takes a slowdown of 0."),
        "{pages}"
    );
    assert!(!pages.contains("That is more than all of it"), "{pages}");
    // In the table, and in a picture for a telephone as a line of its own, which is not cut.
    assert!(page.contains("<span class=\"given\"><code>plan.allocator=keep</code></span>"));
    assert!(page.contains(">plan.allocator=keep · 0."), "{page}");
}

/// Shares such as −101 % stood bare, of a slowdown that was hardly told from none.
#[test]
fn a_share_whose_interval_has_no_end_is_no_information() {
    let sample = Sample::new(None);
    let mut explanation = sample.explanation();
    for finding in &mut explanation.findings[..2] {
        finding.share = Some(Share { value: 1.576, interval: None });
        finding.verdict = Verdict::Open;
    }
    explanation.mechanisms[0].verdict = Verdict::Open;
    let page = sample.page_of(explanation);
    for part in [
        "<td>no information</td>",
        "Memory given back: open; no information on its share.",
        "Of its share of the slowdown there is no information, for its interval has no end; a slowdown of",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!guess(&page, "faults").contains("158 %"), "a share of 158 %");
}

#[test]
fn a_demonstration_says_first_that_it_is_one_and_what_was_planted() {
    let page = Sample::new(Some(Demonstration::Alike)).page();
    assert!(page.contains("<h1>Demonstration: ") && page.contains("whatever a condition is called"));
    let sample = Sample::new(Some(Demonstration::Planted(Planted::DelayLoad)));
    let page = sample.page();
    assert!(page.contains("waits 150 µs an image at the end of load") && !page.contains("1.13"));
    assert_eq!(folder_name(&sample.study, &sample.layout), "explain-slow-delay-load");
}

#[test]
fn a_curve_says_what_is_left_of_it_and_that_each_point_is_one_process() {
    let point = |value: u32, base: f64, removed: f64| crate::analyse::study::Point {
        value: value.to_string(),
        place: Some(f64::from(value)),
        base: Some(simulated::cost(base, value)),
        removed: Some(simulated::cost(removed, value)),
    };
    let mut sample = Sample::new(None);
    let points = vec![point(64, 250.0, 240.0), point(256, 330.0, 300.0), point(1024, 500.0, 310.0)];
    let rise = crate::analyse::study::Rise {
        from: "64".to_owned(),
        to: "1024".to_owned(),
        base: 2.0,
        removed: 1.29,
    };
    sample.curve = Some(CurveFound { points, rise: Some(rise) });
    let page = sample.page();
    assert!(page.contains("With train.batch 1024 an image takes 2.00 times as long as with 64; with "));
    // It once went on that the cause accounts for all of the rise, of points that are one process each.
    assert!(page.contains("1.29 times, by one process each.</p>") && page.contains("curve-wide-title"));
}

#[test]
fn json_has_the_documented_keys_and_processes_are_a_table() {
    let sample = Sample::new(None);
    let json: Value = serde_json::from_str(&sample.file("explanation.json")).unwrap();
    assert_eq!((&json["format"], &json["slowdown"]["presence"]), (&json!(2), &json!("found")));
    assert_eq!(json["low"]["set"], json!({ "train.batch": 64 }));
    let keys = [
        "study",
        "title",
        "says",
        "base",
        "plan",
        "high",
        "ideal",
        "reported",
        "demonstration",
        "blocks",
        "alpha",
        "tested",
        "floor",
        "mechanisms",
        "hypotheses",
        "parts",
        "curve",
        "processes",
        "disturbed",
        "repeated",
        "left_out",
        "measurement",
        "command",
    ];
    for key in keys {
        assert!(json.get(key).is_some(), "{key}");
    }
    let faults = &json["hypotheses"][0];
    assert_eq!((&faults["id"], &faults["verdict"]), (&json!("faults"), &json!("main_cause")));
    assert!(faults["share"]["interval"].is_array() && faults["gauges"][0]["low"].is_number());
    let names: Vec<&str> =
        json["parts"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(names, ["load", "copy", "forward", "backward", "optimizer", "read_back", "rest"]);
    let csv = sample.file("processes.csv");
    assert_eq!(csv.lines().count(), 1 + 8 * sample.measured.design.conditions.len());
}

/// `PINBENCH_PAGES=folder cargo test … -- --ignored explanations_to_look_at`, then open it in a browser.
#[test]
#[ignore = "writes a page for people to look at"]
fn explanations_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var("PINBENCH_PAGES").unwrap()).join("explain");
    std::fs::create_dir_all(&folder).unwrap();
    for file in Sample::new(None).files() {
        std::fs::write(folder.join(file.name), file.bytes).unwrap();
    }
}

/// As an index has it beside what it says of an explanation.
#[test]
fn a_small_figure_has_the_slowdown_and_its_causes_alone() {
    let sample = Sample::new(None);
    let source = (sample.study.clone(), Explanation::of(&sample.study, &sample.layout, &sample.measured));
    let words = Words::of(Language::En);
    let all = left::draw(&source.0, &source.1, words).unwrap();
    let causes = left::causes("left-sample", &source, words).unwrap().expect("memory is a cause");
    let headings =
        |figure: &FigureView| figure.pictures.as_ref().unwrap().narrow.body.matches("bar-label").count();
    let found = source.1.findings.iter().filter(|finding| {
        finding.left.is_some() && matches!(finding.verdict, Verdict::MainCause | Verdict::Contributes)
    });
    assert_eq!((causes.id.as_str(), headings(&causes)), ("left-sample", 1 + found.count()));
    assert!(headings(&all) > headings(&causes), "what is ruled out is on its own page");
}
