//! What may stand in an experiment's file, for people: every key with its kind, its default and what it is for, and every
//! metric a claim may speak of. Names, kinds and metrics are those of the types; a test finds a key that is not described.

use std::fmt::Write as _;

use crate::experiment::metric::{Parameter, Quantity, Scale};
use crate::experiment::trace::{Key, keys};
use crate::experiment::wire::WireConfig;

/// Default and purpose of each value of the config and the plan, by its dotted key.
const ABOUT: &[(&str, &str, &str)] = &[
    ("data.set", "required", "The data set, by name; `pinbench data list` has them."),
    ("data.validation", "0.2", "Share of the training file that is held out for validation."),
    ("data.train_limit", "all", "Train on the first so many training images of the split alone."),
    ("data.eval_limit", "all", "The same for the validation and the test images."),
    (
        "data.normalise",
        "none",
        "Subtract a mean and divide by a standard deviation: `{ mean = [..], std = [..] }`, a number a channel; `channels`, both computed over the training images; `pixels`, the mean of each pixel, divided by nothing.",
    ),
    ("model.name", "required, or `layers`", "A network with a name; the keys up to `norm` are its own."),
    ("model.activation", "relu", "What stands after each convolution and the hidden linear layer."),
    ("model.dropout", "0", "Probability that a unit of the hidden linear layer is zeroed, 0 ≤ p < 1."),
    ("model.pooling", "plain", "Max-pooling window: 2 × 2 with stride 2, or 3 × 3 with stride 2."),
    ("model.norm", "batch_norm", "Normalisation after each convolution."),
    (
        "model.layers",
        "required, or `name`",
        "A network of your own: its layers from the input on, such as `[{ conv = 32, kernel = 3, pad = 1 }, \"relu\", \"flatten\", { linear = \"classes\" }]`.",
    ),
    ("optim.name", "required", "The optimizer."),
    ("optim.lr", "required", "Step size."),
    ("optim.betas", "[0.9, 0.999]", "Decay rates of Adam's and AdamW's two moments."),
    ("optim.eps", "1e-8", "Of Adam and AdamW."),
    ("optim.weight_decay", "0", "L2 penalty that is added to the gradient; for AdamW, decoupled from it."),
    ("optim.momentum", "none", "Of SGD, 0 ≤ momentum < 1."),
    ("optim.schedule", "constant", "How the step size changes over the steps."),
    (
        "optim.milestones",
        "none",
        "Of `multistep`: the steps after which the step size is multiplied by `gamma`.",
    ),
    ("optim.gamma", "0.1", "Of `multistep`: by what it is multiplied at each milestone."),
    (
        "optim.warm_up",
        "none",
        "In the first so many steps it rises in equal parts to what the schedule says.",
    ),
    ("optim.decay", "all", "What `weight_decay` is of: all that is trained, or no bias and no norm."),
    (
        "optim.clip",
        "none",
        "Shorten the gradient of all parameters to this Euclidean norm where it is longer.",
    ),
    (
        "optim.lr_rule",
        "constant",
        "Scale `lr` to the batch there is: k times the batch, k or √k times the rate.",
    ),
    ("optim.lr_base_batch", "the batch", "The batch that `lr` is meant for, beside an `lr_rule`."),
    ("train.batch", "required", "Images a step; the last step of an epoch takes what is left."),
    ("train.epochs", "required", "Times that all training images are gone through."),
    ("train.max_steps", "none", "End after so many steps, within whatever epoch that is."),
    (
        "train.target_loss",
        "none",
        "End once the mean training loss of the last 6,400 images is not above this, in nats.",
    ),
    (
        "train.target_eval_loss",
        "none",
        "End once the loss in eval mode over the first 2,000 of the training images that are evaluated is not above this, in nats; looked at every 1,280 images, or after each step of a larger batch.",
    ),
    (
        "train.patience",
        "none",
        "End after so many epochs without a new best validation loss, and keep the best weights.",
    ),
    (
        "train.min_delta",
        "0",
        "By so much, in nats, a validation loss must fall to be a new best; beside `patience`.",
    ),
    (
        "train.micro_batch",
        "the batch",
        "Images a pass takes at most: a larger batch is several, whose gradients add up. BatchNorm then normalises over these.",
    ),
    (
        "train.label_smoothing",
        "none",
        "So much of each label's weight is spread evenly over all classes, in training alone.",
    ),
    (
        "train.replicate",
        "none",
        "Changes nothing but the trial's identity: the same training again, for A/A tests.",
    ),
    ("augment.shift", "none", "Shift each training image by up to so many pixels along each axis."),
    ("augment.rotation", "none", "Rotate it by up to so many degrees."),
    ("augment.flip", "false", "Mirror it left to right with probability ½."),
    (
        "augment.crop",
        "none",
        "Pad it by so many pixels of 0 on each side, then cut it to the old size at a random place.",
    ),
    ("augment.cutout", "none", "Set a square of so many pixels a side to 0, at a random place."),
    (
        "plan.name",
        "winograd; tuned on a GPU",
        "The named plan that the other keys change: eager is what a plain PyTorch script does, tuned the fastest of libtorch's own operators, fused our own kernels where there is one, winograd those with Winograd convolutions.",
    ),
    ("plan.threads", "the machine's cores", "Threads of libtorch."),
    (
        "plan.memory_format",
        "of the named plan",
        "Order of a tensor's values: channels outermost, or innermost, as oneDNN's convolutions want them.",
    ),
    (
        "plan.allocator",
        "of the named plan",
        "Whether glibc gives freed memory back to the kernel, or keeps it for the next step.",
    ),
    ("plan.huge_pages", "of the named plan", "Ask the kernel for pages of 2 MiB behind large tensors."),
    (
        "plan.pooling",
        "of the named plan",
        "Pool before an activation that commutes exactly with a maximum, or as the network is written.",
    ),
    ("plan.optimizer", "of the named plan", "One tensor after the other, or one kernel for the whole step."),
    (
        "plan.kernels",
        "of the named plan",
        "Who computes what lies between two convolutions: libtorch, or pinbench's own kernels.",
    ),
    (
        "plan.convolution",
        "of the named plan",
        "Who computes 3 × 3 convolutions with stride 1 and padding 1: libtorch as the formula says, or pinbench with fewer multiplications (docs/convolutions.md).",
    ),
    (
        "plan.policy",
        "1",
        "Of the convolution `winograd`, which it chooses: version of the table that says what runs by layer and pass.",
    ),
    (
        "plan.tf32",
        "of the named plan",
        "On a GPU: convolutions round their factors to TF32, as PyTorch does by default.",
    ),
    (
        "plan.graph",
        "of the named plan",
        "On a GPU: a step is recorded once as CUDA graphs and launched from then on.",
    ),
    ("plan.loader", "resident", "The whole set as one tensor, or batches made image by image."),
    (
        "plan.workers",
        "0",
        "Of the loader `samples`, which it chooses: threads that make batches; 0 is the thread that trains.",
    ),
    ("plan.prefetch", "2", "Of the loader `samples`, which it chooses: batches that a worker is ahead."),
];

/// A key, its kind, and what it is for and by default.
type Row = (&'static str, &'static str, &'static str);

/// The keys outside of the config, by the table they stand in.
const AROUND: &[(&str, &[Row])] = &[
    (
        "",
        &[
            ("title", "a text by language", "required: what the page is called."),
            ("why", "a text by language", "why the experiment exists."),
            ("question", "a text", "the open question that it answers, such as \"F1\"."),
            ("source", "a text by language", "where the setting comes from."),
            ("limits", "a list of texts by language", "what a reader must not conclude from it."),
            ("data", "a table", "required: the data set; below."),
            ("model", "a table", "required: the network; below."),
            ("optim", "a table", "required: the optimizer; below."),
            ("train", "a table", "required: batch, epochs and when to end; below."),
            ("augment", "a table", "random changes of the training images; below."),
            ("plan", "a table", "how trials are executed; below."),
            ("factors", "a list of tables", "what varies: their grid makes the arms; none makes one arm."),
            (
                "seeds",
                "a list of whole numbers",
                "seeds of a profile that says none, and of the file as it stands; [0, 1, 2] when absent.",
            ),
            (
                "default_profile",
                "a text",
                "the profile that is taken without `--profile`; the first when absent.",
            ),
            ("profiles", "a table of tables", "sizes of the experiment, of any name."),
            ("reference", "a table", "numbers of others, beside ours."),
            ("claims", "a list of tables", "sentences, and the tests that decide them."),
        ],
    ),
    (
        "[[factors]]",
        &[
            (
                "key",
                "a text",
                "the dotted key of the config or the plan that varies; absent where each level sets several.",
            ),
            ("label", "a text by language", "required: what the factor is called in the names of arms."),
            ("levels", "a list of tables", "required: two or more."),
        ],
    ),
    (
        "levels of a factor",
        &[
            ("value", "a value", "what the factor's key is set to."),
            ("set", "a table", "for a factor without a key: values by dotted key."),
            ("label", "a text by language", "what the level is called; its value when absent."),
            ("colour", "a text", "green, orange, grey, blue, red, purple, teal or brown."),
        ],
    ),
    (
        "[profiles.NAME]",
        &[
            ("seeds", "a list of whole numbers", "the seeds of this size; the file's when absent."),
            ("set", "a table", "what it changes, by dotted key; a level's own value goes before it."),
            ("cap", "a table", "numbers, by dotted key, that no arm exceeds whatever its levels say."),
        ],
    ),
    (
        "[reference]",
        &[
            ("name", "a text by language", "whose numbers they are, as a sentence says it: \"the notes\"."),
            ("source", "a text by language", "where they stand."),
            ("rows", "a list of tables", "required: one for each arm that has some."),
        ],
    ),
    (
        "rows of a reference",
        &[
            ("arm", "a table", "required: the level of each factor, by the factor's key."),
            ("train_acc", "a number", "as trained, over the last epoch; a share, 0 to 1."),
            ("val_acc", "a number", "after the last epoch."),
            ("train_loss", "a number", "in nats."),
            ("val_loss", "a number", "in nats."),
            ("minutes", "a number", "of training."),
        ],
    ),
    (
        "[[claims]]",
        &[
            ("id", "a text", "required: such as \"M1.a\"."),
            ("says", "a text by language", "required: the sentence."),
            ("tests", "a list of tables", "required: all of them must hold."),
            ("needs", "a table", "what the runs must have come to for the claim to be judged at all; below."),
            ("note", "a text by language", "what a reader must know beside the verdict."),
        ],
    ),
    (
        "needs of a claim: where they are not met, it is not evaluated",
        &[
            ("updates", "a whole number", "optimizer steps that each run of its arms has made."),
            ("train_loss", "a number", "a training loss in eval mode, in nats, to which each has come down."),
            (
                "plan",
                "a text",
                "the named plan its runs are under: \"eager\" for a sentence about a plain script.",
            ),
            (
                "alike",
                "a table",
                "a `metric` in which the means of its arms lie `within` so much of each other, in the metric's unit: where arms are compared at an equal training loss.",
            ),
        ],
    ),
    (
        "tests of a claim: one of order, equal, bound, rises and falls",
        &[
            ("metric", "a text", "required: one of the metrics below."),
            (
                "margin",
                "a number",
                "required: the least effect that matters, in the metric's unit; where arms are compared by the ratio of a metric, a share.",
            ),
            ("order", "a text", "\"A > B > C\", or the same with <; arms by their names."),
            ("equal", "a text", "\"A = B\": within the margin; or \"A = 0.94\", a value."),
            ("bound", "a text", "\"A > 0.97\" or \"A < 0.1\"."),
            ("rises", "a list of texts", "the metric rises from each of these arms to the next."),
            ("falls", "a list of texts", "it falls."),
        ],
    ),
];

/// The page, in Markdown: what `pinbench help experiment` prints and `docs/experiment.md` holds.
pub fn text() -> String {
    let mut text = String::from(
        "# An experiment's file\n\nTOML. Made by `pinbench help experiment`; `pinbench init` writes a file that runs as it is. A text by language \
         stands in quotes, or as a table: `{ en = \"…\", ko = \"…\" }`; where a language is missing, English stands in.\n",
    );
    for (table, around) in AROUND {
        let title = if table.is_empty() { "The file" } else { table };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "\n## {title}\n");
        for (name, kind, about) in *around {
            let _ = writeln!(text, "- `{name}`: {kind}; {about}");
        }
    }
    let mut section = String::new();
    for Key { name, kind } in keys::<WireConfig>("") {
        let of = name.split('.').next().unwrap_or_default();
        if of != section {
            let _ = writeln!(text, "\n## [{of}]\n");
            of.clone_into(&mut section);
        }
        let about = ABOUT.iter().find(|(key, ..)| *key == name);
        let (_, default, about) = about.copied().unwrap_or(("", "", ""));
        let default =
            if default.starts_with("required") { default.to_owned() } else { format!("default {default}") };
        let _ = writeln!(text, "- `{name}`: {kind}; {default}. {about}");
    }
    let _ = writeln!(text, "\n## Metrics\n");
    for quantity in Quantity::ALL {
        let facts = quantity.facts();
        let parameter = match facts.parameter {
            Parameter::None => "",
            Parameter::Epoch => "; `@3` is after epoch 3, else after the last",
            Parameter::Epochs => "; `@2` is over the first 2 epochs, else over one",
            Parameter::Loss => {
                "; needs a loss in nats, as in `@0.1`, that the mean over the last 6,400 images comes down to"
            }
        };
        let unit = if facts.unit.is_empty() { String::new() } else { format!(", in {}", facts.unit) };
        let scale = if facts.scale == Scale::Ratio { "; compared by ratio" } else { "" };
        let timing = if facts.is_timing { "; a time" } else { "" };
        let gradients =
            if facts.name.starts_with("gradient_") { "; of 128 training images or more" } else { "" };
        let _ =
            writeln!(text, "- `{}`: {}{unit}{parameter}{scale}{timing}{gradients}", facts.name, facts.label);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::claims::{WireClaim, WireNeeds, WireTest};
    use crate::experiment::trace::names;
    use crate::experiment::wire::{
        WireExperiment, WireFactor, WireLevel, WireProfile, WireReference, WireReferenceRow,
    };

    #[test]
    fn every_key_is_described_and_every_description_is_of_a_key() {
        let found: Vec<String> = keys::<WireConfig>("").into_iter().map(|key| key.name).collect();
        let described: Vec<&str> = ABOUT.iter().map(|(key, ..)| *key).collect();
        assert_eq!(found, described);
        for ((table, around), names) in AROUND.iter().zip([
            names::<WireExperiment>(),
            names::<WireFactor>(),
            names::<WireLevel>(),
            names::<WireProfile>(),
            names::<WireReference>(),
            names::<WireReferenceRow>(),
            names::<WireClaim>(),
            names::<WireNeeds>(),
            names::<WireTest>(),
        ]) {
            let mut described: Vec<&str> = around.iter().map(|(name, ..)| *name).collect();
            let mut names = names.to_vec();
            described.sort_unstable();
            names.sort_unstable();
            assert_eq!(described, names, "'{table}'");
        }
    }

    #[test]
    fn the_page_of_the_documents_is_current() {
        let committed = include_str!("../../docs/experiment.md");
        assert!(
            committed == text(),
            "docs/experiment.md is stale: `pinbench help experiment > docs/experiment.md`"
        );
    }

    #[test]
    fn a_key_has_its_kind_and_a_metric_its_unit() {
        let text = text();
        for part in [
            "- `train.batch`: a whole number; required. Images a step",
            "- `plan.loader`: \"resident\", \"samples\"; default resident.",
            "- `train_minutes`: training time, in min; compared by ratio; a time",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
