use serde_json::{Value, json};

use super::*;
use crate::analyse::gate::simulated::{self, Study};
use crate::analyse::gate::{Bar, Sample, confirm, judge};
use crate::digest::Digest;

const ARM: &str = "a<b & \"c\" | _d_";

/// A file in which something of every kind was found, with an arm of an awkward name.
fn files() -> Vec<Findings> {
    let mut study = Study::new(2, 4);
    study.asked.arms[1].0 = ARM.to_owned();
    let stored = study.samples(0..5);
    let baseline = study.baseline(&stored);
    let mut fresh = stored.clone();
    simulated::numbers(&mut fresh[0]).weights = Digest::of(b"other");
    simulated::set(&mut fresh[0], Gauge::TestAcc, 0.5);
    for sample in fresh.iter_mut().filter(|sample| sample.arm == ARM) {
        *sample = simulated::elsewhere(sample.clone());
        simulated::set(sample, Gauge::TestAcc, 0.5);
    }
    let found = judge(&study.asked, Some(&baseline), &fresh);
    vec![found, Findings::barred("m2", "quick".into(), Bar::NoBaseline)]
}

#[test]
fn the_table_has_a_reason_for_every_alarm_and_fits_a_terminal() {
    let table = table(&files());
    for line in table.lines() {
        assert!(line.chars().count() <= WIDTH, "{}: {line}", line.chars().count());
    }
    let flat = table.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "✗ m1 quick: regressed",
        "False-alarm rate 1 % over 6 tests.",
        "the weights differ under seed 0; largest changes: test_acc −0.4",
        "worse than the baseline",
        "– m2 quick: not comparable",
        "there is no baseline; run `pinbench baseline accept m2 --profile quick`",
        "regressed (exit code 1)",
    ] {
        assert!(flat.contains(part), "{part}\n{table}");
    }
}

fn reasons(files: &[Findings]) -> Vec<String> {
    views(files).into_iter().flat_map(|file| file.reasons).collect()
}

#[test]
fn every_reason_is_one_line_and_names_its_arm() {
    let reasons = reasons(&files());
    assert!(reasons.iter().all(|reason| !reason.contains('\n')), "{reasons:#?}");
    assert!(reasons[0].starts_with("arm 0: bits: alarm: the weights differ"), "{reasons:#?}");
    assert!(reasons.last().unwrap().starts_with("baseline: not comparable: there is no"), "{reasons:#?}");
}

#[test]
fn junit_escapes_names_and_counts_what_it_holds() {
    let xml = junit(&files()).unwrap();
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites "), "{xml}");
    assert!(xml.contains("name=\"a&lt;b &amp; &quot;c&quot; | _d_: test_acc\""), "{xml}");
    assert!(!xml.contains("a<b"), "{xml}");
    let count = |part: &str| xml.matches(part).count();
    assert_eq!((count("<testsuite "), count("</testsuite>")), (2, 2));
    assert_eq!(count("<testcase "), count("</testcase>"));
    let head = xml.lines().nth(1).unwrap();
    for (attribute, element) in
        [("tests", "<testcase "), ("failures", "<failure "), ("errors", "<error "), ("skipped", "<skipped ")]
    {
        assert!(head.contains(&format!("{attribute}=\"{}\"", count(element))), "{attribute}\n{xml}");
    }
    assert!(count("<failure ") >= 3 && count("<error ") == 1, "{xml}");
    // Outside of tags there is only space: every name and message is an attribute.
    let mut is_tag = false;
    for letter in xml.chars() {
        match letter {
            '<' => {
                assert!(!is_tag, "{xml}");
                is_tag = true;
            }
            '>' => {
                assert!(is_tag, "{xml}");
                is_tag = false;
            }
            letter => assert!(is_tag || letter.is_whitespace(), "{letter}\n{xml}"),
        }
    }
}

#[test]
fn markdown_escapes_cells_so_that_every_row_has_the_same_columns() {
    let text = markdown(&files()).unwrap();
    assert!(text.contains("a&lt;b &amp; \"c\" \\| \\_d\\_"), "{text}");
    assert!(text.contains("### ✗ m1 quick: regressed"), "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    // Where bits differ, the three numbers of the arm are looked at too.
    assert_eq!(rows.len(), 2 * 2 + 1 + 3 + 3 + 1, "{text}");
    for row in rows {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 9, "{row}");
    }
    assert!(text.contains("\n- arm 0: bits: alarm: the weights differ"), "{text}");
}

fn escaped(text: &str) -> String {
    let mut out = Vec::new();
    escape_markdown(text, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Every backtick was escaped, so that a job's summary showed commands with backslashes around them.
#[test]
fn commands_are_code_in_markdown_and_stray_backticks_are_not() {
    let text = markdown(&files()).unwrap();
    assert!(text.contains("run `pinbench baseline accept m2 --profile quick`"), "{text}");
    assert_eq!(escaped("a_b: run `c_d <e>`; *f*"), "a\\_b: run `c_d <e>`; \\*f\\*");
    assert_eq!(escaped("a`b: run `c`"), "a\\`b: run \\`c\\`");
    assert_eq!(escaped("``<b>``"), "\\`\\`&lt;b&gt;\\`\\`");
    assert_eq!(escaped("`a|b`"), "\\`a\\|b\\`");
    assert_eq!(escaped("``"), "\\`\\`");
}

#[test]
fn json_has_the_documented_keys() {
    let value: Value = serde_json::from_str(&json(&files())).unwrap();
    assert_eq!((&value["format"], &value["exit_code"]), (&json!(2), &json!(1)));
    assert_eq!(value["verdict"], "regressed");
    assert_eq!(value["files"][1]["verdict"], "not_comparable");
    let first = &value["files"][0]["findings"][0];
    assert_eq!(
        (&first["subject"], &first["kind"], &first["test"]),
        (&json!("bits"), &json!("weights"), &Value::Null)
    );
    assert_eq!(first["bits"]["moved"][0]["metric"], "test_acc");
    let findings = value["files"][0]["findings"].as_array().unwrap();
    let accuracy = findings.iter().find(|finding| finding["subject"] == "test_acc" && finding["arm"] == ARM);
    let accuracy = accuracy.unwrap();
    assert_eq!(accuracy["test"]["baseline"]["n"], 5);
    assert!(accuracy["test"]["tolerance"].as_f64() > Some(0.0) && accuracy["test"]["least_found"].is_f64());
    assert_eq!(
        (&accuracy["test"]["look"], accuracy["test"]["pairs"].as_array().unwrap().len()),
        (&json!("all"), 5)
    );
    for key in ["arm", "subject", "verdict", "kind", "reason", "recurred", "test", "bits"] {
        assert!(findings.iter().all(|finding| finding.get(key).is_some()), "{key}");
    }
}

#[test]
fn a_confirmed_alarm_says_so() {
    let first = files().swap_remove(0);
    let confirmed = confirm(first.clone(), &first);
    let reasons = reasons(&[confirmed]);
    assert!(reasons[0].ends_with("; a rerun said the same"), "{reasons:#?}");
    let accuracy = reasons.iter().find(|reason| reason.contains("test_acc: alarm")).unwrap();
    assert!(
        accuracy.contains("over 5 seeds, tolerance ±") && accuracy.contains("worse than the baseline"),
        "{accuracy}"
    );
}

#[test]
fn a_file_that_holds_gives_no_reason() {
    let mut study = Study::new(1, 4);
    let runs: Vec<Sample> = study.samples(0..5);
    let baseline = study.baseline(&runs);
    let findings = [judge(&study.asked, Some(&baseline), &runs)];
    assert!(reasons(&findings).is_empty());
    assert!(table(&findings).contains("Whole trainings are compared bit for bit."));
    assert!(table(&findings).ends_with("\nholds (exit code 0)\n"), "{}", table(&findings));
    assert!(junit(&findings).unwrap().contains("failures=\"0\" errors=\"0\" skipped=\"0\""));
}

#[test]
fn long_words_and_labels_are_cut_to_the_terminal() {
    let lines = wrap(&"x".repeat(200), 4);
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.chars().count() <= WIDTH && line.starts_with("    x")));
    assert_eq!(fitted("a label that is long", 8), "a label…");
    let command = "`pinbench baseline accept m1-batch-size --profile smoke`";
    let said = format!("not comparable: there is no baseline; run {command} now");
    assert_eq!(wrap(&said, 4)[1], format!("    {command} now"));
    assert_eq!(fitted("a\nb", 4), "a b ");
    let widest = line("✗", ["a long cell of a row"; 6]).chars().count();
    assert!(widest <= WIDTH && COLUMNS.iter().sum::<usize>() + 7 <= WIDTH);
}

#[test]
fn what_xml_cannot_hold_is_replaced() {
    let mut out = Vec::new();
    escape_xml("\u{0}\n'\u{1b}é", &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "\u{fffd}&#10;&apos;\u{fffd}é");
}
