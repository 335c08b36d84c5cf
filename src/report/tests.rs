use serde_json::Value;

use super::*;
use crate::analyse::samples;
use crate::record::Status;

fn html(input: &Input) -> String {
    String::from_utf8(render(input).unwrap().swap_remove(0).bytes).unwrap()
}

/// `page` without the script that every page has once, as its last element; what else is script is left in.
pub(super) fn without_script(page: &str) -> String {
    let end = format!("<script>\n{}</script>\n</body>\n</html>\n", script());
    page.strip_suffix(&end).unwrap_or_else(|| panic!("the script does not end the page")).to_owned()
}

/// A page whose policy names another digest than its script's has neither sorting nor values, and says so nowhere.
#[test]
fn the_policy_lets_exactly_the_script_of_the_page_run() {
    let experiment = samples::experiment();
    let page = html(&fixture::input(&experiment, samples::arms(&experiment.profile, &[0])));
    let script = page.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
    let digest = Digest::of(script.as_bytes()).base64();
    let attribute = page.split_once("Content-Security-Policy\" content=\"").unwrap().1;
    let policy = &attribute[..attribute.find('"').unwrap()];
    let allowed = policy.split("; ").find(|part| part.starts_with("script-src")).unwrap();
    assert_eq!(allowed, format!("script-src 'sha256-{digest}'"));
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("http"), "{policy}");
    let at = |part: &str| page.find(part).unwrap();
    assert!(at("Content-Security-Policy") < at("<style>"), "it holds only for what comes after it");
}

#[test]
fn the_script_is_a_few_kilobytes_and_asks_nobody() {
    assert!(script().len() < 7_000, "{} bytes", script().len());
    for foreign in ["http", "fetch(", "XMLHttpRequest", "import", "innerHTML", "eval", "</"] {
        assert!(!script().contains(foreign), "{foreign}");
    }
}

/// `text` with every digest replaced, so that a snapshot does not move with the data set's.
fn without_digests(text: &str) -> String {
    let is_hex = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_hex) {
        let end = rest[start..].find(|letter| !is_hex(letter)).map_or(rest.len(), |length| start + length);
        out.push_str(&rest[..start]);
        out.push_str(if matches!(end - start, 12 | 40 | 64) { "‹digest›" } else { &rest[start..end] });
        rest = &rest[end..];
    }
    out + rest
}

/// Puts the length of a picture in place of it: pictures have a snapshot of their own, in the page.
fn without_pictures(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(body) if key == "body" => {
                        *value = Value::from(format!("{} elements", body.lines().count()))
                    }
                    _ => without_pictures(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_pictures),
        _ => {}
    }
}

#[test]
fn the_view_of_the_study_is_as_it_was() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let mut arms = fixture::study(profile, &[0, 1, 2]);
    fixture::cut(&mut arms[1].runs[2], Status::Failed { reason: "killed by signal 9".to_owned() }, 700);
    let input = fixture::input(&experiment, arms);
    let summary = Summary::of(&experiment, &input.arms);
    let assessments = assess(&experiment, &summary);
    let view = page::view(&input, &summary, &assessments, Words::english()).unwrap();
    let mut json = serde_json::to_value(&view).unwrap();
    without_pictures(&mut json);
    insta::assert_snapshot!(without_digests(&serde_json::to_string_pretty(&json).unwrap()));
}

#[test]
fn a_small_page_is_as_it_was() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let page = html(&fixture::input(&experiment, samples::arms(profile, &[0])));
    assert!(page.contains(style()) && page.contains(script()));
    for text in [style(), script()] {
        assert!(!text.contains("/*") && !text.contains("\n ") && !text.contains("\n//"), "{text}");
    }
    // Either may change without a word of a page, and the policy's digest goes with the script.
    let page = page.replace(style(), "").replace(script(), "").replace(&policy(), "");
    insta::assert_snapshot!(without_digests(&page));
}

/// 10,000 runs made a page of 15 MB.
#[test]
fn a_page_of_many_runs_shows_some_and_says_where_all_of_them_are() {
    let experiment = samples::experiment();
    let seeds: Vec<u64> = (0..150).collect();
    let mut input = fixture::input(&experiment, samples::arms(&experiment.profile, &seeds));
    input.downloads = kept::experiment::downloads(&input).unwrap();
    let page = html(&input);
    for file in ["values.csv", "runs.json"] {
        let said = format!("250 rows are left out here; all of them are in <a href=\"{file}\">{file}</a>.");
        assert!(page.contains(&said), "{said}");
    }
    assert!(page.contains("some of the seeds"), "thin lines");
    assert!(page.len() < 1_000_000, "{}", page.len());
}

#[test]
fn a_page_of_many_arms_shows_some_and_says_how_many_it_leaves_out() {
    let levels: Vec<String> = (1..=50).map(|batch| format!("{{ value = {batch} }}")).collect();
    let text = format!(
        "title = \"many\"\nwhy = \"a wide grid\"\n\
         data = {{ set = \"mnist\", validation = 0.2 }}\n\
         model = {{ name = \"simple_cnn\" }}\n\
         optim = {{ name = \"adam\", lr = 0.001 }}\n\
         train = {{ batch = 64, epochs = 1 }}\n\
         [[factors]]\nkey = \"train.batch\"\nlabel = \"batch\"\nlevels = [{}]\n\
         [profiles]\nfull = {{ seeds = [0] }}\n",
        levels.join(", ")
    );
    let experiment = Experiment::parse(std::path::Path::new("many.toml"), &text).unwrap();
    let page = html(&fixture::input(&experiment, vec![]));
    assert!(page.contains("10 arms are left out here.") && page.contains("10 arms are not drawn."));
    assert!(!page.contains("href=\"results.csv\""), "a file that is not there");
}

#[test]
fn the_same_runs_give_the_same_bytes() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let page = || render(&fixture::input(&experiment, fixture::study(profile, &[0, 1, 2]))).unwrap();
    assert_eq!(page(), page());
}

#[test]
fn the_page_of_a_full_study_stays_small() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let page = html(&fixture::input(&experiment, fixture::study(profile, &[0, 1, 2])));
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

#[test]
fn script_in_a_title_a_reason_or_a_label_is_text() {
    let script = "<script>alert('x')</script>";
    let text = samples::TOML
        .replace("Batch size on MNIST", script)
        .replace("The notes found", script)
        .replace("label = \"batch\"", &format!("label = \"{script}\""))
        .replace("value = 128, colour", &format!("value = 128, label = \"{script}\", colour"))
        .replace("MNIST notes, experiment 1", script)
        .replace("the notes' table", script)
        .replace("One data set", script);
    let experiment = samples::parse(&text);
    let profile = &experiment.profile;
    let mut arms = fixture::study(profile, &[0]);
    fixture::cut(&mut arms[0].runs[0], Status::Failed { reason: script.to_owned() }, 100);
    arms[1].runs[0].record.environment.cpu = script.to_owned();
    let mut input = fixture::input(&experiment, arms);
    input.command = script.to_owned();
    input.downloads[0].name = format!("{}.csv", script.replace('/', ""));
    input.downloads[0].about = script.into();
    let page = without_script(&html(&input));
    assert!(!page.contains("<script"), "{}", &page[page.find("<script").unwrap()..][..200]);
    assert!(page.matches("&lt;script&gt;").count() > 20);
}

#[test]
fn the_page_asks_the_network_for_nothing_and_has_no_colour_of_its_own() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let page = html(&fixture::input(&experiment, samples::arms(profile, &[0, 1])));
    let page = without_script(&page);
    let body = &page[page.find("</style>").unwrap()..];
    for foreign in ["http:", "https:", "src=", "<link", "<script", "url(", "style=", "fill=\"#", "stroke=\"#"]
    {
        assert!(!body.contains(foreign), "{foreign}");
    }
}

#[test]
fn ids_are_unique_and_what_is_referred_to_is_there() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let page = html(&fixture::input(&experiment, samples::arms(profile, &[0, 1])));
    let values = |attribute: &str| -> Vec<String> {
        let start = format!(" {attribute}=\"");
        let parts = page.split(&start).skip(1);
        parts.flat_map(|part| part[..part.find('"').unwrap()].split(' ').map(str::to_owned)).collect()
    };
    let ids = values("id");
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "{id} is there twice");
    }
    let links = values("href").into_iter().filter_map(|link| link.strip_prefix('#').map(str::to_owned));
    for target in links.chain(values("aria-labelledby")) {
        assert!(ids.contains(&target), "{target}");
    }
}

#[test]
fn a_page_without_runs_says_so() {
    let experiment = samples::experiment();
    let page = html(&fixture::input(&experiment, vec![]));
    assert!(page.contains("None of 9 runs has finished yet"));
    assert!(page.contains("No run has a step to show yet."));
}

#[test]
fn a_diverged_run_is_shown_with_its_step_and_left_out_of_the_means() {
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let mut arms = fixture::study(profile, &[0]);
    fixture::cut(&mut arms[2].runs[0], Status::Diverged { step: 60, loss: "NaN".to_owned() }, 61);
    arms[2].runs[0].steps[60].loss = f64::NAN;
    let page = html(&fixture::input(&experiment, arms));
    assert!(page.contains("diverged at step 60"));
    assert!(page.contains("batch 1024 (diverged)"));
    assert!(!page.contains("NaN,") && !page.contains(",NaN"), "a coordinate is not a number");
}

#[test]
fn an_experiment_without_factors_and_reference_has_a_page() {
    let text = samples::TOML.replace("[[factors]]", "[[factors]]\n#");
    let factors = text.find("[[factors]]").unwrap();
    let profiles = text.find("[profiles.smoke]").unwrap();
    let reference = text.find("[reference]").unwrap();
    let text = format!("{}{}", &text[..factors], &text[profiles..reference]);
    let experiment = samples::parse(&text);
    let profile = &experiment.profile;
    let page = html(&fixture::input(&experiment, samples::arms(profile, &[0, 1])));
    assert!(page.contains(">base<") && !page.contains("notes 0"));
}

#[test]
fn a_smaller_profile_says_what_it_changes() {
    let experiment = samples::experiment().under(&"smoke".into()).unwrap();
    let page = html(&fixture::input(&experiment, samples::arms(&experiment.profile, &[0])));
    assert!(page.contains("Profile smoke") && page.contains("data.train_limit = 2048"));
    assert!(page.contains("do not reproduce those of the notes"));
}

#[test]
fn a_download_that_would_leave_the_folder_is_refused() {
    let experiment = samples::experiment();
    for name in ["", "../up.csv", "a/b", ".hidden", "index.html", "c:\\x"] {
        let mut input = fixture::input(&experiment, vec![]);
        input.downloads[0].name = name.to_owned();
        let error = render(&input).unwrap_err().to_string();
        assert!(error.contains(&format!("'{name}'")), "{error}");
    }
}

/// The experiment with claims: one that can be decided, one with a mistake, one that nothing was measured for.
fn with_claims() -> crate::experiment::Experiment {
    let claims = r#"
[[claims]]
id = "M1.a"
says = "small batches generalise <better>"
tests = [{ metric = "val_acc", order = "64 > 128 > 1024", margin = 0.001 }]
note = "a note"

[[claims]]
id = "M1.b"
says = "a mistake"
tests = [{ metric = "val_accc", order = "64 > 128", margin = 0.001 }]

[[claims]]
id = "M1.c"
says = "never measured"
tests = [{ metric = "sharpness", order = "1024 > 64", margin = 0.1 }]
"#;
    samples::parse(&format!("{}{claims}", samples::TOML))
}

/// The index of experiments whose pages are all there.
fn index(inputs: &[Input]) -> Vec<File> {
    let entries = inputs.iter().map(|input| Entry::of(input, |_| true, &[]).unwrap()).collect();
    let index = Index {
        pages: inputs.iter().map(|input| input.experiment.id.clone()).collect(),
        others: Vec::new(),
        command: "pinbench reproduce".to_owned(),
        front: None,
        neighbours: Vec::new(),
        languages: vec![Language::En],
    };
    render_index(entries, &[], &index).unwrap()
}

/// Of 57 claims 34 were not those of the notes that the title asked about.
#[test]
fn an_index_counts_the_claims_of_its_source_apart() {
    let experiment = with_claims();
    let input = fixture::input(&experiment, fixture::study(&experiment.profile, &[0, 1, 2]));
    let front = "title = \"Why?\"\nwhy = \"So.\"\n[source]\nname = \"the paper\"\nclaims = [\"M1.a\"]\n";
    let index = Index {
        pages: vec![experiment.id.clone()],
        others: Vec::new(),
        command: "pinbench reproduce".to_owned(),
        front: Some(front.to_owned()),
        neighbours: Vec::new(),
        languages: vec![Language::En],
    };
    let entry = Entry::of(&input, |_| true, &[]).unwrap();
    let page = text_of(&render_index(vec![entry], &[], &index).unwrap(), "index.html");
    let more = format!("{} more, asked here:", experiment.claims.len() - 1);
    assert!(page.contains("1 claim of the paper:") && page.contains(&more), "{page}");
}

#[test]
fn names_in_backquotes_are_code_and_all_else_is_escaped() {
    let written = |text: &str| prose(text).unwrap().to_string();
    assert_eq!(written("see `m1` & `a<b`"), "see <code>m1</code> &amp; <code>a&lt;b</code>");
    assert_eq!(written("no end `m1"), "no end <code>m1</code>");
}

fn text_of(files: &[File], name: &str) -> String {
    let file = files.iter().find(|file| file.name == name).unwrap();
    String::from_utf8(file.bytes.clone()).unwrap()
}

#[test]
fn a_page_shows_every_claim_with_its_verdict_and_its_mistake() {
    let experiment = with_claims();
    let profile = &experiment.profile;
    let page = html(&fixture::input(&experiment, fixture::study(profile, &[0, 1, 2])));
    assert!(page.contains("id=\"claim-m1-a\"") && page.contains("small batches generalise &lt;better&gt;"));
    assert!(page.contains("did you mean `val_acc`?"));
    assert!(page.contains("no usable Hessian eigenvalue of largest magnitude"));
    assert!(page.contains("95 % interval") && page.contains("a note"));
}

#[test]
fn the_index_has_every_experiment_and_links_to_what_is_there() {
    let (with, without) = (with_claims(), samples::experiment());
    let profile = &with.profile;
    let inputs =
        [fixture::input(&with, fixture::study(profile, &[0, 1, 2])), fixture::input(&without, vec![])];
    let files = index(&inputs);
    let page = without_script(&text_of(&files, "index.html"));
    assert!(page.contains("3 claims:") && page.contains("href=\"m1/index.html#claim-m1-a\""));
    assert!(page.contains("None of the runs shown here is of these under this profile; <code>pinbench list"));
    assert!(page.contains("not tested") && page.contains("did you mean"));
    for foreign in ["http:", "https:", "src=", "<link", "<script", "style=", "fill=\"#"] {
        assert!(!page[page.find("</style>").unwrap()..].contains(foreign), "{foreign}");
    }
    let lines: Vec<String> = text_of(&files, "claims.csv").lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("experiment,profile,setting,claim,says,verdict,q,repeats"));
    // Two links of the chain, the mistake, the one without a value.
    assert_eq!(lines.len(), 1 + 2 + 1 + 1);
    let fields = lines[0].split(',').count();
    assert!(lines.iter().all(|line| line.split(',').count() == fields), "{lines:#?}");
}

#[test]
fn an_open_question_is_answered_on_its_own_page() {
    let text = samples::TOML.replacen("why =", "question = \"F1\"\nwhy =", 1);
    let experiment = samples::parse(&text);
    let profile = &experiment.profile;
    let other = samples::experiment();
    let inputs =
        [fixture::input(&experiment, samples::arms(profile, &[0, 1])), fixture::input(&other, vec![])];
    let page = text_of(&index(&inputs), "open-questions.html");
    assert_eq!(page.matches("<h2 id=\"question-m1\">F1").count(), 1);
    assert_eq!(page.matches("<h2").count(), 1);
    assert!(page.contains("m1/index.html"));
}

/// What a text says where no value is: a page in another language has none of it.
fn is_english(page: &str) -> Vec<&'static str> {
    let (english, korean) = (Words::english(), Words::of(Language::Ko));
    let own = english.keys().map(|key| (english.word(key), korean.word(key)));
    let own =
        own.filter(|(english, korean)| english != korean && english.len() > 12 && !english.contains('{'));
    own.map(|(english, _)| english).filter(|text| page.contains(text)).collect()
}

#[test]
fn pages_in_korean_lie_beside_the_english_ones_and_are_korean_throughout() {
    let experiment = with_claims();
    let arms = fixture::study(&experiment.profile, &[0, 1, 2]);
    let input = Input { languages: &Language::ALL, downloads: vec![], ..fixture::input(&experiment, arms) };
    let mut files = render(&input).unwrap();
    let entries = vec![Entry::of(&input, |_| true, &["M1.a".to_owned()]).unwrap()];
    let index = Index {
        pages: vec![experiment.id.clone()],
        others: Vec::new(),
        command: "pinbench reproduce".to_owned(),
        front: None,
        neighbours: Vec::new(),
        languages: Language::ALL.to_vec(),
    };
    let of_all = render_index(entries, &[], &index).unwrap();
    assert!(
        text_of(&files, "index.html")
            .contains("<a href=\"index.ko.html\" lang=\"ko\" hreflang=\"ko\">한국어</a>")
    );
    assert!(text_of(&of_all, "index.ko.html").contains("href=\"m1/index.ko.html#claim-m1-a\""));
    // Nobody asks a question here, and the page of those would be empty.
    assert!(!text_of(&of_all, "index.ko.html").contains("href=\"open-questions.ko.html\""));
    files.extend(of_all);
    for page in files.iter().filter(|file| file.name.ends_with(".ko.html")) {
        let text = String::from_utf8(page.bytes.clone()).unwrap();
        assert!(text.contains("<html lang=\"ko\">") && text.contains("hreflang=\"en\">English</a>"));
        assert_eq!(is_english(&text), Vec::<&str>::new(), "{}", page.name);
    }
}

#[test]
fn metrics_and_diagnostics_are_shown_where_runs_have_them() {
    use crate::row::{ConfusionRow, Diagnostic, DiagnosticRow, Split};
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let plain = html(&fixture::input(&experiment, samples::arms(profile, &[0])));
    assert!(!plain.contains("Confusion matrix"));
    let mut arms = samples::arms(profile, &[0, 1]);
    for run in arms.iter_mut().flat_map(|arm| &mut arm.runs) {
        for (label, predicted, images) in [(0, 0, 90), (0, 1, 10), (1, 0, 5), (1, 1, 95)] {
            run.confusion.push(ConfusionRow { epoch: 1, split: Split::Test, label, predicted, images });
        }
        for (diagnostic, of, value) in [
            (Diagnostic::Top3, "test", 0.99),
            (Diagnostic::GradientNorm, "conv1", 0.125),
            (Diagnostic::GradientNorm, "fc2", 0.5),
            (Diagnostic::HessianEigenvalue, "", 12.5),
        ] {
            run.diagnostics.push(DiagnosticRow { epoch: 1, diagnostic, of: of.to_owned(), value });
        }
    }
    let page = html(&fixture::input(&experiment, arms));
    // Two seeds: 180 of 200 images of class 0 are right; macro recall is (0.9 + 0.95) / 2, for of the other eight nothing is known.
    assert!(page.contains("Confusion matrix") && page.contains(">180<") && page.contains(">0.9250"));
    assert!(page.contains(">0.9900") && page.contains(">12.50") && page.contains(">0.250"), "first / last");
}

#[test]
fn a_hundred_classes_have_no_square_but_their_most_confused_pairs() {
    use crate::row::{ConfusionRow, Split};
    let experiment = samples::experiment();
    let mut arms = samples::arms(&experiment.profile, &[0]);
    for run in arms.iter_mut().flat_map(|arm| &mut arm.runs) {
        for label in 0..100 {
            let predicted = (label * 7 + 3) % 100;
            let images = u32::from(label) + 1;
            run.confusion.push(ConfusionRow { epoch: 1, split: Split::Test, label, predicted, images });
        }
    }
    let page = html(&fixture::input(&experiment, arms));
    assert!(!page.contains("Confusion matrix"));
    assert!(page.contains("The 20 pairs most confused of 100 classes"), "the pairs have a table");
    assert!(page.contains("The 20 of 100 classes with the lowest F1"));
}

/// `PINBENCH_PAGES=folder cargo test … -- --ignored pages_to_look_at`, then open them in a browser.
#[test]
#[ignore = "writes pages for people to look at"]
fn pages_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var("PINBENCH_PAGES").unwrap());
    let experiment = samples::experiment();
    let profile = &experiment.profile;
    let mut gaps = fixture::study(profile, &[0]);
    gaps[1].runs[0].record.environment_class = serde_json::from_str("\"4 × Other CPU\"").unwrap();
    fixture::cut(&mut gaps[2].runs[0], Status::Diverged { step: 60, loss: "NaN".to_owned() }, 60);
    let small = experiment.under(&"smoke".into()).unwrap();
    for (name, experiment, arms) in [
        ("study", &experiment, fixture::study(profile, &[0, 1, 2])),
        ("gaps", &experiment, gaps),
        ("small", &small, samples::arms(&small.profile, &[0])),
        ("empty", &experiment, vec![]),
    ] {
        let input = Input { languages: &Language::ALL, ..fixture::input(experiment, arms) };
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for file in render(&input).unwrap() {
            std::fs::write(folder.join(name).join(file.name), file.bytes).unwrap();
        }
    }
}
