//! Columns and units of every file that pinbench writes or offers, for people. Names, types and units are those of the
//! schema and the types; a test finds a column that is not described.

use std::fmt::Write as _;

use polars::prelude::DataType;

use crate::experiment::trace::keys;
use crate::record::RunRecord;
use crate::record::schema::{self, Column};
use crate::report::index::CLAIMS_HEADER;
use crate::report::trace::OPERATORS_HEADER;
use crate::report::values::{COLUMNS, VALUES_HEADER};

/// What a column or key holds, by its name.
type About = (&'static str, &'static str);

/// A Parquet table of a run: its file, what a row is, its columns.
struct Frame {
    file: &'static str,
    row: &'static str,
    columns: &'static [Column],
    about: &'static [About],
}

const FRAMES: [Frame; 5] = [
    Frame { file: schema::STEPS_FILE, row: "a step, in order", columns: &schema::STEPS, about: STEPS },
    Frame {
        file: schema::EPOCHS_FILE,
        row: "a measurement over a split, in the order they were taken",
        columns: &schema::EPOCHS,
        about: EPOCHS,
    },
    Frame {
        file: schema::CONFUSION_FILE,
        row: "a cell of a confusion matrix that has images",
        columns: &schema::CONFUSION,
        about: CONFUSION,
    },
    Frame {
        file: schema::DIAGNOSTICS_FILE,
        row: "a number measured between epochs; none with `--no-diagnostics`",
        columns: &schema::DIAGNOSTICS,
        about: DIAGNOSTICS,
    },
    Frame {
        file: schema::CHAIN_FILE,
        row: "a step's link, or a tensor at some of the steps",
        columns: &schema::CHAIN,
        about: CHAIN,
    },
];

const STEPS: &[About] = &[
    ("epoch", "the epoch it is of, from 0"),
    ("step", "its number in the run, from 0"),
    ("images", "images of its batch; the last of an epoch may have fewer"),
    ("loss", "mean cross-entropy of the batch, before the weights change"),
    ("correct", "of its images those whose largest output was the label's, in training mode"),
    ("load_ns", "making the batch; null, as the phases that follow, where the step was not divided"),
    ("copy_ns", "copying it to the device; 0 on a CPU"),
    ("forward_ns", "the network on the batch, and its loss"),
    ("backward_ns", "the gradients"),
    ("optimizer_ns", "changing the weights"),
    ("read_back_ns", "having loss and correct count on the host; on a GPU that is mostly waiting"),
    ("total_ns", "the whole step, from asking for the batch to having its loss; never null"),
    ("user_us", "processor time of the process in user space, all threads"),
    ("system_us", "processor time of the process in the kernel"),
    ("minor_faults", "pages that were mapped without reading a disk"),
    ("major_faults", "pages that were read from a disk"),
    ("voluntary_switches", "times a thread gave the processor up"),
    ("involuntary_switches", "times it was taken away"),
    ("device_load_ns", "the same phase on a GPU's own timeline; null on a CPU, as are those that follow"),
    ("device_copy_ns", "of the copy"),
    ("device_forward_ns", "of the forward pass"),
    ("device_backward_ns", "of the backward pass"),
    ("device_optimizer_ns", "of the optimizer"),
    ("device_read_back_ns", "of the read-back"),
];

const EPOCHS: &[About] = &[
    ("epoch", "after which epoch, from 0"),
    (
        "split",
        "`train`: as trained, in training mode while the weights moved; `train_eval`: training images, as many as are held \
         out, with the weights of the epoch's end; `validation`; `test`: once, after the last epoch",
    ),
    ("images", "images it is over"),
    ("loss", "mean cross-entropy; with label smoothing the smoothed one, in `train` alone"),
    ("accuracy", "images whose largest output is the label's"),
    ("wall_ns", "time the measurement took; of `train`, the sum of the epoch's steps"),
];

const CONFUSION: &[About] = &[
    ("epoch", "after which epoch, from 0"),
    ("split", "as in the table of epochs"),
    ("label", "the class the images are of, from 0, in the order of the data set's definition"),
    ("predicted", "the class they were taken for"),
    ("images", "how many"),
];

const DIAGNOSTICS: &[About] = &[
    ("epoch", "after which epoch, from 0"),
    (
        "diagnostic",
        "`top3`: share of images whose label is among the three largest outputs; `calibration_error`: expected calibration \
         error, 15 bins, a share; `gradient_norm`: 2-norm of the gradient of a layer's weights; `saturated_share`, \
         `dead_share`: of a layer's activations; `gradient_squared`, `gradient_variance`: unbiased estimates of the squared \
         norm of the true gradient and of the trace of one image's gradient's covariance; `hessian_eigenvalue`: the \
         largest; `epsilon_sharpness`: Keskar's φ, in percent",
    ),
    ("of", "the split or the layer it is of; empty for the whole network"),
    ("value", "the number, in the unit of its diagnostic"),
];

const CHAIN: &[About] = &[
    ("step", "after which step, from 0"),
    (
        "of",
        "the tensor, such as `model.conv1.weight`; empty for the link, which takes in all up to this step",
    ),
    (
        "hash",
        "the first 8 bytes of a SHA-256, little-endian: two runs of a trial share it for as long as they do the same",
    ),
];

/// Columns that the tables of many runs begin with.
const LABELS: &[About] = &[("arm", "name of the arm"), ("seed", "its seed"), ("run", "id of the run")];

/// Keys of `run.json` whose own keys another page has.
const ELSEWHERE: [About; 2] = [
    ("trial.config", "the resolved config; `pinbench help experiment` has its keys. Absent keys are off"),
    ("plan", "the plan that was asked for, every knob written out; the same page has its keys"),
];

const RECORD: &[About] = &[
    ("format", "version of the store's layout; an older one is read, a newer one refused"),
    ("run", "id of the run: when it started, the process, a count"),
    ("experiment", "experiment that asked for it; another may use it too"),
    ("profile", "its profile; empty where it has none"),
    ("trial_id", "SHA-256 of config and seed"),
    ("config_hash", "SHA-256 of the config alone"),
    ("trial.seed", "the number every random draw comes from"),
    ("plan_hash", "SHA-256 of the plan"),
    ("program", "digest of a program that is not pinbench; absent: pinbench itself"),
    ("beside", "trainings that ran next to it; above 0 its times are compared with nothing"),
    ("block.block", "the block it was measured in, from 0; absent where nobody planned one"),
    ("block.place", "its place in that block, from 0"),
    ("effective.loader", "who made the batches, which may differ from the plan"),
    ("effective.layers", "which operators our own kernels computed, by layer and pass"),
    ("effective.normalised.mean", "what pixels were normalised by, a number a channel, of pixels in 0 to 1"),
    ("effective.normalised.std", "the same for the divisor"),
    ("environment_class", "runs of one class give the same bits and comparable times"),
    ("environment.cpu", "model of the processor"),
    ("environment.cores", "logical processors there were"),
    ("environment.memory_bytes", "memory of the machine"),
    ("environment.kernel", "name and version of the operating system's kernel"),
    ("environment.os", "the operating system"),
    ("environment.load_1m", "load average of the minute before it"),
    ("environment.huge_pages", "the kernel's policy for huge pages"),
    ("environment.pinbench", "version of pinbench"),
    ("environment.binary", "SHA-256 of the program"),
    ("environment.rustc", "compiler that made it"),
    ("environment.git", "revision of the folder it was started in; `-dirty` with changes"),
    ("environment.variables", "variables that change how libtorch, glibc, OpenMP or CUDA work"),
    ("environment.torch.version", "version of libtorch"),
    ("environment.torch.capability", "instruction set of its kernels"),
    ("environment.torch.threads", "its threads"),
    ("environment.torch.parallel", "what it says of OpenMP, MKL and oneDNN"),
    ("environment.torch.cuda", "whether it is the flavour for GPUs and sees one"),
    ("environment.torch.kernels", "which copy of our own kernels was chosen"),
    ("environment.host", "name of the machine, of a task of a manifest alone"),
    ("environment.gpu.name", "the GPU of the plan; absent on a CPU, as are those that follow"),
    ("environment.gpu.memory_bytes", "its memory"),
    ("environment.gpu.driver", "version of its driver"),
    ("environment.gpu.compute_capability", "such as `9.0`"),
    ("started", "UTC, RFC 3339"),
    ("ended", "UTC, RFC 3339"),
    (
        "status",
        "`state`: `finished`, `diverged` (with `step` and `loss`, as text) or `failed` (with its `reason`)",
    ),
    ("command", "runs the trial again"),
    ("planted", "a fault that was planted to see it found; such a run counts for nothing else"),
    (
        "outcome.initial_weights",
        "SHA-256 of all weights before the first step; absent unless it finished, as all of `outcome`",
    ),
    ("outcome.final_weights", "and after the last"),
    ("outcome.steps", "steps it took"),
    ("outcome.train_ns", "sum of the steps' times, ns"),
    ("outcome.evaluate_ns", "sum of the evaluations' times, ns"),
    ("outcome.diagnose_ns", "sum of the diagnostics' times, ns"),
    ("outcome.kept_epoch", "with early stopping, the epoch whose weights were kept, from 0"),
    ("outcome.wall_ns", "from the first step to the last evaluation without the diagnostics, ns"),
    ("outcome.peak_rss_bytes", "most memory the process had, bytes"),
    ("outcome.steal_share", "share of processor time that other virtual machines took, 0 to 1"),
    ("outcome.others_cpu_s", "processor time that other processes used meanwhile, s"),
    ("outcome.watched_ns", "how long the two above were counted for, ns"),
    ("outcome.resumed", "steps that were done each time it was taken up again"),
    ("outcome.reference_ns", "in older records: median time of a fixed computation beside it, ns"),
    ("outcome.gpu_clocks.before.sm_mhz", "the GPU's clock before the first step, MHz"),
    ("outcome.gpu_clocks.before.throttle_reasons", "why it is below its most: NVML's bits"),
    ("outcome.gpu_clocks.after.sm_mhz", "and after the last, MHz"),
    ("outcome.gpu_clocks.after.throttle_reasons", "NVML's bits"),
    ("files", "SHA-256 of each file beside it, by name: a file that was changed is found"),
];

const CLAIMS: &[About] = &[
    ("experiment", "id of the experiment"),
    ("profile", "the profile it was looked at under"),
    ("setting", "what the verdict is about: `its own`, which the file states, or a `reduced` one"),
    ("claim", "id of the claim"),
    ("says", "its sentence"),
    (
        "verdict",
        "of the whole claim: supported, partly, refuted, inconclusive or not_evaluated; about the `setting`",
    ),
    (
        "q",
        "share of false findings to expect among verdicts at least as clear (Benjamini–Hochberg over the claims that were evaluated)",
    ),
    (
        "repeats",
        "an earlier claim that all its numbers are of already: the same metrics of the same runs; such a one has no q of its own",
    ),
    (
        "evidence",
        "one comparison of the claim; the columns that follow are of it and empty where there is none",
    ),
    (
        "estimate",
        "mean over seeds, in `unit`: of a difference, or of the arm itself where it has a `bound`; in % 100 · (exp of the mean logarithm of the ratios within a seed − 1), from their geometric mean",
    ),
    ("low", "lower end of the 95 % interval of that mean"),
    ("high", "upper end"),
    ("unit", "the metric's; `%` where arms are compared by ratio; empty for a pure number"),
    ("bound", "what the arm is compared with, in `unit`; empty where arms are compared"),
    ("margin", "the least effect that matters, in `unit`"),
    ("seeds", "seeds it rests on"),
    ("held", "of two seeds or more, those in which the first arm was above the second"),
    ("effect_size", "mean over standard deviation of the seeds' differences, a pure number"),
    (
        "detectable",
        "the effect that so many seeds at this spread find with a power of 75 to 80 %, in `unit`; of an equality, the margin within which equal arms are found equal",
    ),
    (
        "p",
        "how likely what `evidence_verdict` says comes out by chance alone: one-sided, and of an equality the larger of its two tests; of one that is refuted times the parts of the claim that are numbers of their own, at most 1, and of a refuted equality two-sided before that",
    ),
    ("evidence_verdict", "verdict of this comparison alone"),
];

const VALUES: &[About] = &[
    ("arm", "name of the arm, as on the page"),
    ("label", "of its levels alone, by which claims may name it"),
    (
        "trial",
        "digest of the arm's config, and what of the plan its levels set: equal for arms that are one training",
    ),
    ("seed", "seed of the run"),
    ("run", "id of the run"),
    ("metric", "as claims name it; after an `@` the epoch, the epochs or the loss it is at"),
    ("value", "of that run, in the metric's unit; absent where the run does not say"),
    ("alone", "whether it counts by itself; false of times of a run that was disturbed"),
    ("beside", "whether it counts beside other arms; false of times that were not measured together"),
];

const OPERATORS: &[About] = &[
    ("operator", "name of libtorch's operator"),
    ("calls", "calls over the profiled steps"),
    ("self_us", "time in it without the operators it calls, µs"),
    ("total_us", "time in it with them, µs"),
];

/// The page, in Markdown: what `pinbench help columns` prints and `docs/columns.md` holds.
pub fn text() -> String {
    let mut text = String::from(START);
    for Frame { file, row, columns, about } in FRAMES {
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "\n### {file}\n\nA row: {row}.\n\n| column | type | unit | what |\n| --- | --- | --- | --- |"
        );
        for column in columns {
            let unit = if column.unit.is_empty() { "–" } else { column.unit };
            let what = described(about, column.name);
            let _ = writeln!(text, "| `{}` | {} | {unit} | {what} |", column.name, kind(&column.dtype));
        }
    }
    text.push_str(
        "\n### run.json\n\nWhat was asked, how and where it was executed, and what became of it.\n\n",
    );
    table(&mut text, record_keys().iter().map(|key| (key.as_str(), described_key(key))));
    text.push_str(PAGES);
    table(&mut text, LABELS.iter().copied());
    text.push_str("\n### results.csv, results.json\n\nA row a metric of an arm, over its seeds.\n\n");
    table(&mut text, COLUMNS.iter().copied());
    text.push_str("\n### values.csv\n\nA row a metric of a run that counts: what the results and the verdicts are computed from.\n\n");
    table(&mut text, VALUES_HEADER.split(',').map(|name| (name, described(VALUES, name))));
    text.push_str(
        "\n### claims.csv\n\nA row a comparison of a claim, over all experiments of a folder of reports.\n\n",
    );
    table(&mut text, CLAIMS_HEADER.split(',').map(|name| (name, described(CLAIMS, name))));
    text.push_str("\n### operators.csv\n\nBeside the page of `pinbench trace`: a row an operator.\n\n");
    table(&mut text, OPERATORS_HEADER.split(',').map(|name| (name, described(OPERATORS, name))));
    text.push_str(END);
    text
}

const START: &str = "\
# Columns and units of every file

Made by `pinbench help columns`. Times are of a monotonic clock; ns is 10⁻⁹ s, µs is 10⁻⁶ s. Losses are in nats, the unit of a
cross-entropy with the natural logarithm. Accuracies are shares, 0 to 1.

## A run

`runs/trials/AB/TRIAL/RUN/` has a record and five Parquet tables, written whole or not at all (`pinbench list --json` has the
ids; TRIAL is the first 12 digits of one, and AB the first two, which stores of before have not). pandas, polars and DuckDB read
them. A column is null only where it says so.
";

const PAGES: &str = "
## Beside a page

| file | what |
| --- | --- |
| `results.csv`, `results.json` | mean and standard deviation by arm of accuracies, losses, gaps, times and what claims ask for |
| `values.csv` | those metrics of every run that counts |
| `epochs.csv`, `epochs.parquet` | the table of epochs of all runs of the page |
| `steps.parquet` | the table of steps of all runs; `report --no-steps` does without, and so does a page of more than 2 million rows unless it is made with `--steps`; it then shows nothing that needs it |
| `confusion.parquet` | the confusion matrices of all runs |
| `diagnostics.csv`, `diagnostics.parquet` | the diagnostics of all runs, where there are any |
| `runs.json` | a list of the records of all runs, as `run.json`, each with the name of its `arm` |
| `EXPERIMENT.toml` | the experiment's file, as it was |
| `page.json` | what the page was made from beside these files, and the SHA-256 of each: `pinbench audit` makes the page again |

Each row of the tables of epochs, steps, confusion and diagnostics begins with three columns more:

";

const END: &str = "
## Of single commands

| file | what |
| --- | --- |
| `trace.json` | of `trace`: every operator of the profiled steps as an event, for Perfetto or chrome://tracing |
| `trial.json` | of `export`: trial, plan, layers, shape and the seed of the initial weights |
| `images.u8`, `labels.u16` | the training file: a byte a value, channel by channel, row by row; a label has two, little-endian |
| `mean.f32`, `std.f32` | what each value is normalised by, where the config asks for it; 32-bit floats, little-endian |
| `steps.json` | of each exported step: the seed of its dropout, its images as positions in the training file, its loss |
| `state.safetensors` | weights and state of the optimizer after the last of these steps |

`list --json` and `show --json` print the keys of `run.json` under the same names; `check --json` and `--junit` write the findings
of the gate.
";

fn table<'a>(text: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    text.push_str("| name | what |\n| --- | --- |\n");
    for (name, about) in rows {
        let _ = writeln!(text, "| `{name}` | {about} |");
    }
}

/// In the words of whoever reads the file.
fn kind(dtype: &DataType) -> &'static str {
    match dtype {
        DataType::UInt32 => "whole number, 32 bits",
        DataType::UInt64 => "whole number, 64 bits",
        DataType::Float64 => "float, 64 bits",
        _ => "text",
    }
}

/// The keys of a record in their order, those of [`ELSEWHERE`] as one each.
fn record_keys() -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in keys::<RunRecord>("") {
        let outer = ELSEWHERE.iter().find(|(outer, _)| key.name.starts_with(&format!("{outer}.")));
        let name = outer.map_or(key.name.clone(), |(outer, _)| (*outer).to_owned());
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn described_key(key: &str) -> &'static str {
    match described(&ELSEWHERE, key) {
        "" => described(RECORD, key),
        about => about,
    }
}

fn described(all: &'static [About], name: &str) -> &'static str {
    all.iter().find(|(known, _)| *known == name).map_or("", |(_, about)| about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::values::RESULTS_HEADER;

    #[test]
    fn every_column_is_described_and_every_description_is_of_a_column() {
        let names = |about: &[About]| about.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        for Frame { file, columns, about, .. } in FRAMES {
            let columns: Vec<String> = columns.iter().map(|column| column.name.to_owned()).collect();
            assert_eq!(names(about), columns, "{file}");
        }
        let split = |header: &str| header.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(CLAIMS), split(CLAIMS_HEADER));
        assert_eq!(names(OPERATORS), split(OPERATORS_HEADER));
        assert_eq!(names(VALUES), split(VALUES_HEADER));
        assert_eq!(names(&COLUMNS), split(RESULTS_HEADER));
        let of_record: Vec<String> = record_keys()
            .into_iter()
            .filter(|key| ELSEWHERE.iter().all(|(elsewhere, _)| key != elsewhere))
            .collect();
        assert_eq!(names(RECORD), of_record);
    }

    #[test]
    fn the_page_of_the_documents_is_current() {
        let committed = include_str!("../../docs/columns.md");
        assert!(committed == text(), "docs/columns.md is stale: `pinbench help columns > docs/columns.md`");
    }
}
