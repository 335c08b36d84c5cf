//! The shapes between a network's layers, inferred when a file is read, so that a mistake names its layer.

use std::collections::BTreeMap;
use std::fmt;

use crate::network::Activation;
use crate::network::layer::{Conv, Layer, Shortcut, Units, Window};
use crate::network::passes::inner;

/// Layers of a network once its repeats are written out. ResNet-1202 has 3,000.
const MAX_STEPS: usize = 10_000;
/// Values of an image after any layer, and trained values of a layer: what is beyond fits into no machine.
const MAX_VALUES: u64 = 1 << 31;

/// The size of what is between two layers, of one image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    Image { channels: u64, height: u64, width: u64 },
    Flat(u64),
}

/// A layer with its repeats written out, and what arrives at it and leaves it.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    pub op: Op,
    /// Of its parameters and readings: `conv1`, `bn1`, `act1`, `fc1`, each kind counted from the images on.
    pub name: String,
    pub input: Size,
    pub output: Size,
}

/// A layer that says all of itself.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    Conv(Conv),
    Linear {
        bias: bool,
    },
    BatchNorm,
    GroupNorm(u32),
    LayerNorm,
    Lrn,
    Activation(Activation),
    MaxPool(Window),
    AvgPool(Window),
    GlobalAvgPool,
    Flatten,
    Dropout(f64),
    /// The output of `body`, and the input by way of `shortcut`, added up.
    Residual {
        body: Vec<Step>,
        shortcut: Way,
    },
}

/// A shortcut whose stride is known.
#[derive(Clone, PartialEq, Debug)]
pub enum Way {
    Identity,
    /// Every `stride`-th pixel, and so many channels of 0 behind.
    Pad {
        stride: u64,
        channels: u64,
    },
    /// A convolution and a BatchNorm.
    Project(Vec<Step>),
}

/// Something that a layer cannot take.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("layer {place} is {found}, expected {expected}")]
pub struct ShapeError {
    /// Dotted, from the list of layers on: `3`, or `7.residual.0`.
    pub place: String,
    /// The layer and what arrives at it.
    pub found: String,
    pub expected: String,
}

/// The steps of `layers` from images of `input` to one value for each of `classes`.
pub fn infer(layers: &[Layer], input: Size, classes: u32) -> Result<Vec<Step>, ShapeError> {
    let mut inference = Inference { classes, counts: BTreeMap::new(), steps: 0 };
    let steps = inference.sequence(layers, input, "")?;
    let output = steps.last().map_or(input, |step| step.output);
    if output == Size::Flat(u64::from(classes)) {
        return Ok(steps);
    }
    let last = layers.len().saturating_sub(1);
    let name = layers.last().map_or_else(|| "no layer".to_owned(), |layer| format!("`{layer}`"));
    Err(ShapeError {
        place: last.to_string(),
        found: format!("{name}, which gives {output}"),
        expected: format!("[{classes}], a value a class, from {{ linear = \"classes\" }} at the end"),
    })
}

struct Inference {
    classes: u32,
    counts: BTreeMap<&'static str, u32>,
    steps: usize,
}

/// Why a layer cannot take what arrives: what it expects.
type Refusal = String;

impl Inference {
    fn sequence(&mut self, layers: &[Layer], input: Size, place: &str) -> Result<Vec<Step>, ShapeError> {
        let (mut steps, mut size) = (Vec::new(), input);
        for (index, layer) in layers.iter().enumerate() {
            let place = if place.is_empty() { index.to_string() } else { format!("{place}.{index}") };
            if let Layer::Repeat { times, layers } = layer {
                for _ in 0..*times {
                    steps.extend(self.sequence(layers, size, &format!("{place}.layers"))?);
                    size = steps.last().map_or(size, |step| step.output);
                }
                continue;
            }
            let step = self.step(layer, size, &place)?;
            size = step.output;
            steps.push(step);
        }
        Ok(steps)
    }

    fn step(&mut self, layer: &Layer, input: Size, place: &str) -> Result<Step, ShapeError> {
        let refused = |expected| ShapeError {
            place: place.to_owned(),
            found: format!("`{layer}`, at which {input} arrives"),
            expected,
        };
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(refused(format!("at most {MAX_STEPS} layers in all")));
        }
        let step = match layer {
            Layer::Residual { layers, shortcut } => {
                let body = self.sequence(layers, input, &format!("{place}.residual"))?;
                let output = body.last().map_or(input, |step| step.output);
                let shortcut = self.way(*shortcut, input, output).map_err(refused)?;
                let name = self.name("residual");
                Step { op: Op::Residual { body, shortcut }, name, input, output }
            }
            layer => {
                let (kind, op) = op(layer);
                let output = self.output(layer, input).map_err(refused)?;
                Step { op, name: self.name(kind), input, output }
            }
        };
        let largest = step.output.values().max(step.parameters());
        if largest > MAX_VALUES {
            return Err(refused(format!("at most {MAX_VALUES} values and weights; it makes {largest}")));
        }
        Ok(step)
    }

    fn name(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        format!("{kind}{count}")
    }

    fn output(&self, layer: &Layer, input: Size) -> Result<Size, Refusal> {
        match (layer, input) {
            (Layer::Conv(conv), Size::Image { channels, height, width }) => {
                let groups = u64::from(conv.groups);
                if channels % groups != 0 || u64::from(conv.channels) % groups != 0 {
                    return Err(format!(
                        "{groups} groups that divide both {channels} and {} channels",
                        conv.channels
                    ));
                }
                let window = Window { side: conv.kernel, stride: conv.stride, pad: conv.pad };
                let (height, width) = window.slid(height, width)?;
                Ok(Size::Image { channels: conv.channels.into(), height, width })
            }
            (Layer::MaxPool(window) | Layer::AvgPool(window), Size::Image { channels, height, width }) => {
                let (height, width) = window.slid(height, width)?;
                Ok(Size::Image { channels, height, width })
            }
            (Layer::GroupNorm(groups), Size::Image { channels, .. }) => {
                if channels % u64::from(*groups) != 0 {
                    return Err(format!("groups that divide {channels} channels"));
                }
                Ok(input)
            }
            (Layer::GlobalAvgPool, Size::Image { channels, .. }) => {
                Ok(Size::Image { channels, height: 1, width: 1 })
            }
            (Layer::Lrn, Size::Image { .. }) => Ok(input),
            (Layer::Linear { units, .. }, Size::Flat(_)) => Ok(Size::Flat(match units {
                Units::Count(units) => u64::from(*units),
                Units::Classes => u64::from(self.classes),
            })),
            (Layer::Linear { .. }, Size::Image { .. }) => {
                Err("values in a row: put \"flatten\" before it".to_owned())
            }
            (Layer::Flatten, size) => Ok(Size::Flat(size.values())),
            (Layer::BatchNorm | Layer::LayerNorm | Layer::Activation(_) | Layer::Dropout(_), size) => {
                Ok(size)
            }
            // A sequence writes repeats out, and `step` takes residuals.
            (Layer::Repeat { .. } | Layer::Residual { .. }, size) => Ok(size),
            (_, Size::Flat(_)) => Err("an image: put it before \"flatten\"".to_owned()),
        }
    }

    /// The shortcut from `input` to `output`.
    fn way(&mut self, shortcut: Shortcut, input: Size, output: Size) -> Result<Way, Refusal> {
        if shortcut == Shortcut::Identity {
            return if input == output {
                Ok(Way::Identity)
            } else {
                Err(format!(
                    "layers that give {input} too, found {output}; or the shortcut \"pad\" or \"project\""
                ))
            };
        }
        let (
            Size::Image { channels, height, width },
            Size::Image { channels: out, height: down, width: right },
        ) = (input, output)
        else {
            return Err(format!("images in and out of its layers for this shortcut, found {output} out"));
        };
        let stride = (1..=height.max(width))
            .find(|&stride| (height.div_ceil(stride), width.div_ceil(stride)) == (down, right));
        let Some(stride) = stride else {
            return Err(format!("layers that keep every n-th row and column, found {output} out"));
        };
        match shortcut {
            Shortcut::Pad if out < channels => {
                Err(format!("layers that give at least its {channels} channels, found {out}"))
            }
            Shortcut::Pad => Ok(Way::Pad { stride, channels: out - channels }),
            Shortcut::Identity | Shortcut::Project => {
                let conv = Conv {
                    channels: out as u32,
                    kernel: 1,
                    stride: stride as u32,
                    pad: 0,
                    groups: 1,
                    bias: false,
                };
                let conv = Step { op: Op::Conv(conv), name: self.name("conv"), input, output };
                let norm = Step { op: Op::BatchNorm, name: self.name("bn"), input: output, output };
                Ok(Way::Project(vec![conv, norm]))
            }
        }
    }
}

/// The kind that a layer's name counts, and what it does.
fn op(layer: &Layer) -> (&'static str, Op) {
    match layer {
        Layer::Conv(conv) => ("conv", Op::Conv(*conv)),
        Layer::Linear { bias, .. } => ("fc", Op::Linear { bias: *bias }),
        Layer::BatchNorm => ("bn", Op::BatchNorm),
        Layer::GroupNorm(groups) => ("gn", Op::GroupNorm(*groups)),
        Layer::LayerNorm => ("ln", Op::LayerNorm),
        Layer::Lrn => ("lrn", Op::Lrn),
        Layer::Activation(activation) => ("act", Op::Activation(*activation)),
        Layer::MaxPool(window) => ("pool", Op::MaxPool(*window)),
        Layer::AvgPool(window) => ("pool", Op::AvgPool(*window)),
        Layer::GlobalAvgPool => ("pool", Op::GlobalAvgPool),
        Layer::Dropout(p) => ("dropout", Op::Dropout(*p)),
        // Both are written out before this is asked.
        Layer::Flatten | Layer::Residual { .. } | Layer::Repeat { .. } => ("flatten", Op::Flatten),
    }
}

impl Window {
    /// Rows and columns that the window has places for.
    fn slid(self, height: u64, width: u64) -> Result<(u64, u64), Refusal> {
        let [side, stride, pad] = [self.side, self.stride, self.pad].map(u64::from);
        let places = |length: u64| (length + 2 * pad).checked_sub(side).map(|room| room / stride + 1);
        let both = places(height).zip(places(width));
        both.ok_or_else(|| format!("at least {side} rows and columns, padding included"))
    }
}

/// Whether a BatchNorm has one value a channel of an image.
pub fn normalises_one_value(steps: &[Step]) -> bool {
    let is_one = |size: Size| match size {
        Size::Image { height, width, .. } => height.saturating_mul(width) == 1,
        Size::Flat(_) => true,
    };
    steps.iter().any(|step| {
        step.op == Op::BatchNorm && is_one(step.input) || inner(step).into_iter().any(normalises_one_value)
    })
}

impl Step {
    /// Trained values, without those of layers inside.
    pub fn parameters(&self) -> u64 {
        match (&self.op, self.input, self.output) {
            (Op::Conv(conv), Size::Image { channels, .. }, _) => {
                let [out, kernel, groups] = [conv.channels, conv.kernel, conv.groups].map(u64::from);
                let window = (channels / groups).saturating_mul(kernel).saturating_mul(kernel);
                out.saturating_mul(window.saturating_add(u64::from(conv.bias)))
            }
            (Op::Linear { bias }, input, output) => {
                output.values().saturating_mul(input.values().saturating_add(u64::from(*bias)))
            }
            (Op::BatchNorm | Op::GroupNorm(_), Size::Image { channels, .. }, _) => 2 * channels,
            (Op::LayerNorm, input, _) | (Op::BatchNorm, input @ Size::Flat(_), _) => 2 * input.values(),
            (Op::Activation(Activation::Prelu), ..) => 1,
            _ => 0,
        }
    }
}

impl Size {
    /// Values of an image.
    pub fn values(self) -> u64 {
        match self {
            Self::Image { channels, height, width } => channels.saturating_mul(height.saturating_mul(width)),
            Self::Flat(values) => values,
        }
    }
}

/// `[32, 14, 14]`, or `[128]`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { channels, height, width } => write!(f, "[{channels}, {height}, {width}]"),
            Self::Flat(values) => write!(f, "[{values}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(json: &str) -> Result<Vec<Step>, ShapeError> {
        let layers: Vec<Layer> = serde_json::from_str(json).unwrap();
        infer(&layers, Size::Image { channels: 3, height: 32, width: 32 }, 10)
    }

    fn sizes(json: &str) -> Vec<String> {
        let steps = inferred(&format!("[{json}, \"flatten\", {{\"linear\": \"classes\"}}]")).unwrap();
        steps.iter().take(steps.len() - 2).map(|step| step.output.to_string()).collect()
    }

    #[test]
    fn windows_slide_as_in_pytorch() {
        for (layer, size) in [
            (r#"{"conv": 8, "kernel": 3}"#, "[8, 30, 30]"),
            (r#"{"conv": 8, "kernel": 3, "pad": 1, "stride": 2}"#, "[8, 16, 16]"),
            (r#"{"conv": 6, "kernel": 1, "groups": 3}"#, "[6, 32, 32]"),
            (r#"{"max_pool": 3, "stride": 2, "pad": 1}"#, "[3, 16, 16]"),
            (r#"{"max_pool": 3, "stride": 2}"#, "[3, 15, 15]"),
            (r#"{"avg_pool": 5}"#, "[3, 6, 6]"),
            (r#""global_avg_pool""#, "[3, 1, 1]"),
            (r#""layer_norm""#, "[3, 32, 32]"),
        ] {
            assert_eq!(sizes(layer), [size], "{layer}");
        }
    }

    #[test]
    fn a_repeat_is_written_out_and_each_kind_is_counted_from_the_images_on() {
        let block = r#"{"repeat": 2, "layers": [{"conv": 8, "kernel": 3, "pad": 1}, "batch_norm", "relu"]}"#;
        let steps = inferred(&format!(r#"[{block}, "flatten", {{"linear": "classes"}}]"#)).unwrap();
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["conv1", "bn1", "act1", "conv2", "bn2", "act2", "flatten1", "fc1"]);
        assert_eq!([steps[0].parameters(), steps[3].parameters()], [8 * (27 + 1), 8 * (72 + 1)]);
        let flat = inferred(r#"["flatten", {"linear": 20}, "batch_norm", {"linear": "classes"}]"#).unwrap();
        assert_eq!((flat[2].output.to_string(), flat[2].parameters()), ("[20]".to_owned(), 2 * 20));
        assert_eq!([&steps, &flat].map(|steps| normalises_one_value(steps)), [false, true]);
    }

    #[test]
    fn a_shortcut_takes_its_stride_from_the_shapes() {
        let way = |shortcut: &str| {
            let residual = format!(
                r#"{{"residual": [{{"conv": 16, "kernel": 3, "pad": 1, "stride": 2}}], "shortcut": "{shortcut}"}}"#
            );
            let steps = inferred(&format!(r#"[{residual}, "flatten", {{"linear": "classes"}}]"#));
            let Op::Residual { shortcut, .. } = steps.unwrap().remove(0).op else { panic!("no residual") };
            shortcut
        };
        assert_eq!(way("pad"), Way::Pad { stride: 2, channels: 13 });
        let Way::Project(steps) = way("project") else { panic!("no projection") };
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!((names, steps[0].parameters()), (vec!["conv2", "bn1"], 3 * 16));
    }

    #[test]
    fn a_layer_that_cannot_take_what_arrives_is_named_with_both() {
        let conv = r#"{"conv": 8, "kernel": 3, "pad": 1}"#;
        for (layers, place, found, expected) in [
            (
                format!(r#"[{conv}, {{"linear": 3}}]"#),
                "1",
                "`linear 3`, at which [8, 32, 32] arrives",
                "\"flatten\"",
            ),
            (format!(r#"["flatten", {conv}]"#), "1", "[3072] arrives", "an image"),
            (r#"[{"conv": 8, "kernel": 40}]"#.to_owned(), "0", "kernel 40", "at least 40 rows"),
            (r#"[{"conv": 8, "kernel": 3, "groups": 2}]"#.to_owned(), "0", "groups 2", "divide both 3 and 8"),
            (r#"[{"group_norm": 2}]"#.to_owned(), "0", "group_norm 2", "divide 3 channels"),
            (format!(r#"[{{"residual": [{conv}]}}]"#), "0", "residual", "found [8, 32, 32]"),
            (
                format!(r#"[{{"residual": ["relu", {{"linear": 3}}]}}, {conv}]"#),
                "0.residual.1",
                "linear 3",
                "flatten",
            ),
            (
                format!(r#"[{{"repeat": 2, "layers": ["flatten", {conv}]}}]"#),
                "0.layers.1",
                "conv 8",
                "an image",
            ),
            (format!("[{conv}]"), "0", "which gives [8, 32, 32]", "[10], a value a class"),
            ("[]".to_owned(), "0", "no layer, which gives [3, 32, 32]", "\"classes\""),
            (
                r#"[{"repeat": 4000000, "layers": ["relu"]}]"#.to_owned(),
                "0.layers.0",
                "relu",
                "at most 10000 layers",
            ),
            (r#"["flatten", {"linear": 4000000}]"#.to_owned(), "1", "linear 4000000", "at most"),
        ] {
            let error = inferred(&layers).unwrap_err();
            assert_eq!(error.place, place, "{error:?}");
            assert!(error.found.contains(found) && error.expected.contains(expected), "{error:?}");
        }
    }
}
