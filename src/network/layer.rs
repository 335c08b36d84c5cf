//! A layer as it stands in an experiment file: its name, or a table whose first key says what it is.
//!
//! Everything that may be left out is written back with its default, so that a config is hashed as resolved.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::network::Activation;

#[derive(Clone, PartialEq, Debug)]
pub enum Layer {
    Conv(Conv),
    Linear {
        units: Units,
        bias: bool,
    },
    /// Over channels: momentum 0.1, ε 1e-5.
    BatchNorm,
    /// Over so many groups of channels within an image, ε 1e-5 (Wu and He, arXiv 1803.08494).
    GroupNorm(u32),
    /// Over all values of an image, ε 1e-5 (Ba, Kiros and Hinton, arXiv 1607.06450).
    LayerNorm,
    /// Local response normalisation, k = 2, n = 5, α = 1e-4, β = 0.75 (Krizhevsky et al., NIPS 2012, section 3.3).
    Lrn,
    Activation(Activation),
    MaxPool(Window),
    /// The mean over a window, padding included.
    AvgPool(Window),
    /// The mean of each channel, which stays an image of one pixel.
    GlobalAvgPool,
    Flatten,
    /// Zeroes a value with this probability, 0 ≤ p < 1, and scales the others by 1 / (1 − p); in training only.
    Dropout(f64),
    /// The layers' output and the shortcut's, added up.
    Residual {
        layers: Vec<Layer>,
        shortcut: Shortcut,
    },
    /// The layers so many times over, each time with weights of their own.
    Repeat {
        times: u32,
        layers: Vec<Layer>,
    },
}

/// A convolution with a square kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv {
    /// Channels that come out.
    pub channels: u32,
    /// Pixels a side.
    pub kernel: u32,
    pub stride: u32,
    /// Pixels of 0 on every side.
    pub pad: u32,
    /// The channels of a group see those of the same group alone.
    pub groups: u32,
    pub bias: bool,
}

/// A square window of a pooling layer, in pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    pub side: u32,
    pub stride: u32,
    pub pad: u32,
}

/// How many values a linear layer gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Units {
    Count(u32),
    /// One for each class of the data set.
    Classes,
}

/// What a residual adds to the output of its layers, whose shape says the stride.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// The input as it is.
    Identity,
    /// Every stride-th pixel of the input, and channels of 0 behind its own (He et al., arXiv 1512.03385, option A).
    Pad,
    /// A 1×1 convolution without a bias and a BatchNorm (the same, option B).
    Project,
}

/// The names of layers that have no options, beside those of activations.
const PLAIN: [(&str, Layer); 5] = [
    ("batch_norm", Layer::BatchNorm),
    ("layer_norm", Layer::LayerNorm),
    ("lrn", Layer::Lrn),
    ("global_avg_pool", Layer::GlobalAvgPool),
    ("flatten", Layer::Flatten),
];

/// Every key that a layer's table may have.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    conv: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linear: Option<Units>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_norm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_pool: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_pool: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropout: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    residual: Option<Vec<Layer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stride: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pad: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bias: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shortcut: Option<Shortcut>,
}

impl Table {
    /// The options that are there.
    fn options(&self) -> Vec<&'static str> {
        let there = [
            ("layers", self.layers.is_some()),
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("pad", self.pad.is_some()),
            ("groups", self.groups.is_some()),
            ("bias", self.bias.is_some()),
            ("shortcut", self.shortcut.is_some()),
        ];
        there.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }

    /// What the table says it is, the options that may stand beside, and the layer.
    fn kinds(&self) -> Vec<(&'static str, &'static [&'static str], Layer)> {
        let window =
            |side: u32| Window { side, stride: self.stride.unwrap_or(side), pad: self.pad.unwrap_or(0) };
        let conv = |channels| {
            Layer::Conv(Conv {
                channels,
                kernel: self.kernel.unwrap_or(0),
                stride: self.stride.unwrap_or(1),
                pad: self.pad.unwrap_or(0),
                groups: self.groups.unwrap_or(1),
                bias: self.bias.unwrap_or(true),
            })
        };
        let inner = || self.layers.clone().unwrap_or_default();
        let shortcut = self.shortcut.unwrap_or(Shortcut::Identity);
        let linear = |units| Layer::Linear { units, bias: self.bias.unwrap_or(true) };
        let residual = |layers: &Vec<Layer>| Layer::Residual { layers: layers.clone(), shortcut };
        let kinds: [(&str, &[&str], Option<Layer>); 8] = [
            ("conv", &["kernel", "stride", "pad", "groups", "bias"], self.conv.map(conv)),
            ("linear", &["bias"], self.linear.map(linear)),
            ("group_norm", &[], self.group_norm.map(Layer::GroupNorm)),
            ("max_pool", &["stride", "pad"], self.max_pool.map(|side| Layer::MaxPool(window(side)))),
            ("avg_pool", &["stride", "pad"], self.avg_pool.map(|side| Layer::AvgPool(window(side)))),
            ("dropout", &[], self.dropout.map(Layer::Dropout)),
            ("residual", &["shortcut"], self.residual.as_ref().map(residual)),
            ("repeat", &["layers"], self.repeat.map(|times| Layer::Repeat { times, layers: inner() })),
        ];
        kinds.into_iter().filter_map(|(name, options, layer)| Some((name, options, layer?))).collect()
    }

    fn layer(&self) -> Result<Layer, String> {
        let mut kinds = self.kinds();
        let (Some((name, known, layer)), None) = (kinds.pop(), kinds.pop()) else {
            return Err("a layer's table has one of `conv`, `linear`, `group_norm`, `max_pool`, `avg_pool`, `dropout`, \
                        `residual` and `repeat`, and only one"
                .to_owned());
        };
        if let Some(option) = self.options().into_iter().find(|option| !known.contains(option)) {
            let known: Vec<String> = known.iter().map(|option| format!("`{option}`")).collect();
            let beside = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            return Err(format!("`{option}` beside `{name}`, which takes {beside}"));
        }
        layer.check()?;
        Ok(layer)
    }

    fn of(layer: &Layer) -> Option<Self> {
        let none = Self::default();
        Some(match layer {
            Layer::Conv(Conv { channels, kernel, stride, pad, groups, bias }) => Self {
                conv: Some(*channels),
                kernel: Some(*kernel),
                stride: Some(*stride),
                pad: Some(*pad),
                groups: Some(*groups),
                bias: Some(*bias),
                ..none
            },
            Layer::Linear { units, bias } => Self { linear: Some(*units), bias: Some(*bias), ..none },
            Layer::GroupNorm(groups) => Self { group_norm: Some(*groups), ..none },
            Layer::MaxPool(Window { side, stride, pad }) => {
                Self { max_pool: Some(*side), stride: Some(*stride), pad: Some(*pad), ..none }
            }
            Layer::AvgPool(Window { side, stride, pad }) => {
                Self { avg_pool: Some(*side), stride: Some(*stride), pad: Some(*pad), ..none }
            }
            Layer::Dropout(p) => Self { dropout: Some(*p), ..none },
            Layer::Residual { layers, shortcut } => {
                Self { residual: Some(layers.clone()), shortcut: Some(*shortcut), ..none }
            }
            Layer::Repeat { times, layers } => {
                Self { repeat: Some(*times), layers: Some(layers.clone()), ..none }
            }
            Layer::BatchNorm
            | Layer::LayerNorm
            | Layer::Lrn
            | Layer::Activation(_)
            | Layer::GlobalAvgPool
            | Layer::Flatten => return None,
        })
    }
}

impl Layer {
    /// What is wrong whatever arrives at the layer.
    fn check(&self) -> Result<(), String> {
        let positive = |name: &str, value: u32| match value {
            0 => Err(format!("`{name}` is 0, expected at least 1")),
            _ => Ok(()),
        };
        match self {
            Self::Conv(conv) => {
                let Conv { channels, kernel, stride, pad, groups, .. } = *conv;
                if kernel == 0 {
                    return Err("`conv` takes a `kernel`, its pixels a side, at least 1".to_owned());
                }
                for (name, value) in [("conv", channels), ("stride", stride), ("groups", groups)] {
                    positive(name, value)?;
                }
                if pad >= kernel {
                    return Err(format!("`pad` is {pad}, expected less than the kernel's {kernel}"));
                }
                Ok(())
            }
            Self::Linear { units: Units::Count(units), .. } => positive("linear", *units),
            Self::GroupNorm(groups) => positive("group_norm", *groups),
            Self::MaxPool(Window { side, stride, pad }) | Self::AvgPool(Window { side, stride, pad }) => {
                positive(if matches!(self, Self::MaxPool(_)) { "max_pool" } else { "avg_pool" }, *side)?;
                positive("stride", *stride)?;
                if u64::from(*pad) * 2 > u64::from(*side) {
                    return Err(format!("`pad` is {pad}, expected at most half of the window's {side}"));
                }
                Ok(())
            }
            Self::Dropout(p) if !(0.0..1.0).contains(p) => {
                Err(format!("`dropout` is {p}, expected 0 ≤ p < 1"))
            }
            Self::Residual { layers, .. } if layers.is_empty() => Err("`residual` has no layers".to_owned()),
            Self::Repeat { layers, .. } if layers.is_empty() => {
                Err("`repeat` has no layers: it takes `layers = [ … ]`".to_owned())
            }
            Self::Repeat { times, .. } => positive("repeat", *times),
            _ => Ok(()),
        }
    }

    fn named(name: &str) -> Option<Self> {
        let plain = PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, layer)| layer.clone());
        plain.or_else(|| Activation::named(name).map(Self::Activation))
    }
}

/// As in a message: `conv 32, kernel 3`, `batch_norm`, `dropout 0.5`.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(conv) => {
                let Conv { channels, kernel, stride, pad, groups, bias } = conv;
                write!(f, "conv {channels}, kernel {kernel}")?;
                for (name, value, default) in
                    [("stride", *stride, 1), ("pad", *pad, 0), ("groups", *groups, 1)]
                {
                    if value != default {
                        write!(f, ", {name} {value}")?;
                    }
                }
                if *bias { Ok(()) } else { write!(f, ", no bias") }
            }
            Self::Linear { units: Units::Count(units), .. } => write!(f, "linear {units}"),
            Self::Linear { units: Units::Classes, .. } => write!(f, "linear classes"),
            Self::GroupNorm(groups) => write!(f, "group_norm {groups}"),
            Self::MaxPool(window) => write!(f, "max_pool {window}"),
            Self::AvgPool(window) => write!(f, "avg_pool {window}"),
            Self::Dropout(p) => write!(f, "dropout {p}"),
            Self::Residual { layers, shortcut } => {
                let shortcut = match shortcut {
                    Shortcut::Identity => "identity",
                    Shortcut::Pad => "pad",
                    Shortcut::Project => "project",
                };
                write!(f, "residual [{}], shortcut {shortcut}", joined(layers))
            }
            Self::Repeat { times, layers } => write!(f, "{times} times [{}]", joined(layers)),
            Self::Activation(activation) => f.write_str(activation.name()),
            Self::BatchNorm => f.write_str("batch_norm"),
            Self::LayerNorm => f.write_str("layer_norm"),
            Self::Lrn => f.write_str("lrn"),
            Self::GlobalAvgPool => f.write_str("global_avg_pool"),
            Self::Flatten => f.write_str("flatten"),
        }
    }
}

fn joined(layers: &[Layer]) -> String {
    layers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, stride, pad } = self;
        write!(f, "{side}, stride {stride}")?;
        if *pad == 0 { Ok(()) } else { write!(f, ", pad {pad}") }
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Table::of(self) {
            Some(table) => table.serialize(serializer),
            None => serializer.serialize_str(&self.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Layer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfLayer;

        impl<'de> Visitor<'de> for OfLayer {
            type Value = Layer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a layer: its name, or a table such as { conv = 32, kernel = 3 }")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Layer, E> {
                Layer::named(name).ok_or_else(|| {
                    let plain = PLAIN.iter().map(|(plain, _)| *plain);
                    let known: Vec<&str> = plain.chain(Activation::ALL.iter().map(|a| a.name())).collect();
                    E::custom(format!(
                        "'{name}' is no layer without options; those are {}, and the others are tables such as \
                         {{ conv = 32, kernel = 3 }}",
                        known.join(", ")
                    ))
                })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Layer, M::Error> {
                Table::deserialize(MapAccessDeserializer::new(map))?.layer().map_err(M::Error::custom)
            }
        }

        deserializer.deserialize_any(OfLayer)
    }
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(units) => serializer.serialize_u32(*units),
            Self::Classes => serializer.serialize_str("classes"),
        }
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfUnits;

        impl Visitor<'_> for OfUnits {
            type Value = Units;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of units, or \"classes\"")
            }

            fn visit_u64<E: serde::de::Error>(self, units: u64) -> Result<Units, E> {
                let units = u32::try_from(units);
                units.map(Units::Count).map_err(|_| E::custom("more units than any network has"))
            }

            fn visit_i64<E: serde::de::Error>(self, units: i64) -> Result<Units, E> {
                let units = u64::try_from(units).map_err(|_| E::custom("units are 1 or more"))?;
                self.visit_u64(units)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Units, E> {
                match text {
                    "classes" => Ok(Units::Classes),
                    _ => Err(E::custom(format!("'{text}' is neither a number of units nor \"classes\""))),
                }
            }
        }

        deserializer.deserialize_any(OfUnits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        layers: Vec<Layer>,
    }

    fn parse(layer: &str) -> Result<Layer, String> {
        let file =
            toml::from_str::<File>(&format!("layers = [{layer}]")).map_err(|error| error.to_string())?;
        Ok(file.layers[0].clone())
    }

    #[test]
    fn what_is_left_out_is_written_back_with_its_default() {
        for (written, resolved) in [
            (
                "{ conv = 32, kernel = 3, pad = 1 }",
                r#"{"conv":32,"kernel":3,"stride":1,"pad":1,"groups":1,"bias":true}"#,
            ),
            ("{ linear = \"classes\" }", r#"{"linear":"classes","bias":true}"#),
            ("{ max_pool = 2 }", r#"{"max_pool":2,"stride":2,"pad":0}"#),
            ("{ avg_pool = 3, stride = 2, pad = 1 }", r#"{"avg_pool":3,"stride":2,"pad":1}"#),
            ("{ residual = [\"relu\"] }", r#"{"residual":["relu"],"shortcut":"identity"}"#),
            (
                "{ repeat = 3, layers = [\"batch_norm\", { dropout = 0.5 }] }",
                r#"{"repeat":3,"layers":["batch_norm",{"dropout":0.5}]}"#,
            ),
            ("\"leaky_relu\"", r#""leaky_relu""#),
            ("{ group_norm = 8 }", r#"{"group_norm":8}"#),
        ] {
            let layer = parse(written).unwrap();
            let json = serde_json::to_string(&layer).unwrap();
            assert_eq!(json, resolved);
            assert_eq!(serde_json::from_str::<Layer>(&json).unwrap(), layer);
        }
    }

    #[test]
    fn what_is_no_layer_is_refused_with_what_there_is() {
        for (written, what) in [
            ("\"relux\"", "'relux' is no layer without options"),
            ("{ conv = 32, max_pool = 2 }", "and only one"),
            ("{ kernel = 3 }", "and only one"),
            ("{ linear = 3, kernel = 3 }", "`kernel` beside `linear`, which takes `bias`"),
            ("{ conv = 3, kernal = 3 }", "unknown field `kernal`"),
            ("{ conv = 0, kernel = 3 }", "`conv` is 0"),
            ("{ conv = 8 }", "takes a `kernel`"),
            ("{ conv = 8, kernel = 3, pad = 3 }", "less than the kernel's 3"),
            ("{ max_pool = 2, pad = 2 }", "at most half"),
            ("{ dropout = 1.0 }", "0 ≤ p < 1"),
            ("{ dropout = nan }", "0 ≤ p < 1"),
            ("{ linear = \"class\" }", "nor \"classes\""),
            ("{ linear = -3 }", "units are 1 or more"),
            ("{ repeat = 2 }", "`layers = [ … ]`"),
            ("7", "a layer: its name"),
        ] {
            let error = parse(written).unwrap_err();
            assert!(error.contains(what), "{written}: {error}");
        }
    }
}
