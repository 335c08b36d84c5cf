use super::*;
use crate::analyse::operators::parse;
use crate::analyse::samples::{self, step};
use crate::row::StepRow;
use crate::work::{StepWork, Work};

const TABLE: &str = "aten::conv2d\t40\t1000000\t90000000\naten::mkldnn_convolution\t40\t60000000\t80000000\n\
                     aten::copy_, twice\t10\t5000000\t5000000\n";

fn roofline() -> Roofline {
    let plain: Vec<StepRow> = (0..20).map(|index| step(index, 64, 10_000_000)).collect();
    let profiled: Vec<StepRow> = (20..40).map(|index| step(index, 64, 11_000_000)).collect();
    let work = StepWork {
        forward: Work { flop: 350_000_000, bytes: 35_000_000 },
        backward: Work { flop: 650_000_000, bytes: 60_000_000 },
        optimizer: Work { flop: 0, bytes: 5_000_000 },
    };
    let ceilings = Ceilings { flop_per_s: 125e9, bytes_per_s: 16e9 };
    Roofline::of(&plain, &profiled, &work, ceilings).unwrap()
}

fn html(change: impl FnOnce(&mut RunRecord)) -> String {
    html_beside(&[HardwareCount { name: "GPU power", count: Err("no NVIDIA driver".to_owned()) }], change)
}

fn html_beside(gpu: &[HardwareCount<Amount>], change: impl FnOnce(&mut RunRecord)) -> String {
    html_disturbed(gpu, None, change)
}

fn html_disturbed(
    gpu: &[HardwareCount<Amount>],
    disturbed: Option<f64>,
    change: impl FnOnce(&mut RunRecord),
) -> String {
    let mut record = samples::finished(&samples::profile().arms[0], 0).record;
    record.command = "pinbench trace 3f9a".to_owned();
    change(&mut record);
    let files = vec![Beside { name: "trace.json".to_owned(), about: "traced.events-json", bytes: 1536 }];
    let (roofline, operators) = (roofline(), parse(TABLE).unwrap());
    let hardware = [
        HardwareCount { name: "cycles", count: Ok(50e6) },
        HardwareCount { name: "cache misses", count: Err("No such file".to_owned()) },
    ];
    let input = Input {
        roofline: &roofline,
        operators: &operators,
        peak_rss_bytes: 300 << 20,
        hardware: &hardware,
        gpu,
        timing_ns: 2_000.0,
        disturbed,
        record: &record,
        files,
    };
    let [english, korean] = &pages(&input).unwrap()[..] else { panic!("two languages") };
    assert_eq!((&*english.name, &*korean.name), ("index.html", "index.ko.html"));
    String::from_utf8(english.bytes.clone()).unwrap()
}

#[test]
fn the_page_has_times_rates_both_ceilings_operators_and_counters() {
    let page = html(|_| {});
    for part in [
        "A step of 64 images takes 10.0 ms, of which forward 3.50 ms (35 %) and backward 4.80 ms (48 %)",
        "It computes 100 GFLOP/s, 80 % of what libtorch reaches here in a product of matrices or a convolution, whichever is faster (125 GFLOP/s)",
        "moves at least 10.0 GB/s, 62 % of what a copy reaches (16.0 GB/s)",
        "At 10.0 FLOP a byte, where both rates allow the same at 7.81, arithmetic sets the roof",
        "The operator that takes most by itself is aten::mkldnn_convolution: 91 % of all of them.",
        "Under the profiler a step takes 1.10 times as long",
        "The operators of 20 steps under the profiler take 30 % of the time of these steps.",
        "not an upper bound",
        "id=\"roofline\"",
        "12.0 a step",
        "300.0 MiB",
        "50.0 million a step, in user mode",
        "absent: the kernel does not count them here (No such file)",
        "absent: no NVIDIA driver",
        "2.00 µs a step, ",
        "href=\"trace.json\"",
        "1.5 KiB",
        "pinbench trace 3f9a",
        "in no store",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

/// Parts of 82 % stood above a rest of 0, and an operator took 31 ms of an optimizer step of 2; on a busy machine
/// nothing said so.
#[test]
fn what_was_disturbed_does_not_add_up_or_is_of_other_steps_is_said_to_be_so() {
    let page = html(|_| {});
    assert!(
        page.contains("so that they need not add up to the whole")
            && page.contains("other steps than those timed")
    );
    assert!(!page.contains("Read with care"));
    let page = html_disturbed(&[], Some(0.49), |_| {});
    assert!(page.contains("Read with care") && page.contains("Others took 49 % of the processor time"));
}

#[test]
fn a_gpu_is_shown_with_units_and_without_one_the_reason_is_said_once() {
    let facts = |counts: [Result<Amount, String>; 2]| -> Vec<(String, String)> {
        let [power, clock] = counts;
        let counters = [("GPU power", power), ("GPU clock", clock)];
        let facts = gpu(&counters.map(|(name, count)| HardwareCount { name, count }), Words::english());
        facts.into_iter().map(|fact| (fact.name, fact.value)).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let no = |reason: &str| Err(reason.to_owned());
    assert_eq!(facts([no("no driver"), no("no driver")]), [pair("GPU", "absent: no driver")]);
    assert_eq!(
        facts([Ok(Amount::Watts(61.3)), no("not supported")]),
        [pair("GPU power", "61.3 W"), pair("GPU clock", "absent: not supported")]
    );
    assert_eq!(
        facts([no("not supported"), Ok(Amount::MegaHertz(1980))]),
        [pair("GPU power", "absent: not supported"), pair("GPU clock", "1980 MHz")]
    );
    assert!(gpu(&[], Words::english()).is_empty());
    let page = html_beside(&[HardwareCount { name: "GPU power", count: Ok(Amount::Watts(61.3)) }], |_| {});
    assert!(page.contains("61.3 W"));
}

#[test]
fn what_is_not_counted_is_a_dash_and_not_a_zero() {
    let cells = rate_table(&roofline(), Words::english()).rows.into_iter().map(|row| {
        let texts: Vec<String> = row.cells.into_iter().map(|cell| cell.text).collect();
        (row.name, texts)
    });
    let cells: Vec<(String, Vec<String>)> = cells.collect();
    let of = |name: &str| cells.iter().find(|(row, _)| row == name).unwrap().1.join(" ");
    assert_eq!(of("load"), "0.30 3.0 – – – – –");
    assert_eq!(of("forward"), "3.50 35.0 100 80 10.0 62 10.0");
    assert_eq!(of("optimizer"), "1.10 11.0 – – 4.55 28 –");
    assert_eq!(of("whole step"), "10.0 100.0 100 80 10.0 62 10.0");
}

#[test]
fn the_table_beside_the_page_has_every_operator_in_microseconds() {
    assert_eq!(
        csv(&parse(TABLE).unwrap()),
        "operator,calls,self_us,total_us\n\
         aten::mkldnn_convolution,40,60000.000,80000.000\n\
         \"aten::copy_, twice\",10,5000.000,5000.000\n\
         aten::conv2d,40,1000.000,90000.000\n"
    );
}

#[test]
fn the_page_asks_the_network_for_nothing_and_what_is_foreign_is_text() {
    let page = html(|record| record.environment.cpu = "<script>alert('x')</script>".to_owned());
    let page = crate::report::tests::without_script(&page);
    let body = &page[page.find("</style>").unwrap()..];
    for foreign in ["http:", "https:", "src=", "<link", "<script", "url(", "style=", "fill=\"#", "stroke=\"#"]
    {
        assert!(!body.contains(foreign), "{foreign}");
    }
}

#[test]
fn ids_are_unique_and_what_is_referred_to_is_there() {
    let page = html(|_| {});
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
fn without_operators_there_is_still_a_page() {
    let roofline = roofline();
    assert_eq!(glance(&roofline, &[], Words::english()).len(), 4);
    assert!(operator_table(&roofline, &[], Words::english()).rows.is_empty());
    assert!(operators_say(&roofline, &[], Words::english()).contains("0 %"));
}

/// `PINBENCH_PAGES=folder cargo test … -- --ignored traces_to_look_at`, then open it in a browser.
#[test]
#[ignore = "writes a page for people to look at"]
fn traces_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var("PINBENCH_PAGES").unwrap()).join("trace");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("index.html"), html(|_| {})).unwrap();
}
