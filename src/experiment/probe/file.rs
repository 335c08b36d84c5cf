//! What the probes of an experiment gave when they were last accepted: `experiments/baselines/<experiment>.<profile>.probes.json`.
//!
//! A line a quantity, in a fixed order, so that what is accepted again unchanged is the same file but for its date.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Answers, Handed, Quantity};
use crate::experiment::{Config, ExperimentError, ProfileName, read_if_there};
use crate::stats;

const FORMAT: u32 = 1;
const SUFFIX: &str = "probes.json";

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    pub format: u32,
    pub experiment: String,
    pub profile: ProfileName,
    /// For people: when it was accepted, RFC 3339.
    pub accepted: String,
    /// Version of the program that answered.
    pub pinbench: String,
    /// The honest variants that the envelopes are of.
    pub twins: Vec<String>,
    pub arms: Vec<ProbedArm>,
    /// By the probe's id.
    pub probes: BTreeMap<String, Stored>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbedArm {
    pub arm: String,
    /// As it was then, so that what has changed is named by its key.
    pub config: Config,
    /// Id of its probe.
    pub probe: String,
    pub structure: Structure,
}

/// What a whole training consists of, which needs no training to be known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Structure {
    /// Training images an epoch, and steps.
    pub images: u64,
    pub steps_per_epoch: u64,
    pub steps: u64,
    /// Start of the SHA-256 over the positions of the images in the first and the last epoch of two seeds.
    pub order: String,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, steps_per_epoch, steps, order } = self;
        write!(
            f,
            "{images} images and {steps_per_epoch} steps an epoch, {steps} steps, images in order {order}"
        )
    }
}

/// The answers to a probe, and how far honest variants are from them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub handed: Handed,
    pub quantities: Vec<Known>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The largest [distance](Quantity::distance) of a twin, but no less than the median of its grains; `None` of what is rounding alone, as a gradient that is 0 on paper,
    /// and says nothing.
    pub envelope: Option<f64>,
    pub quantity: Quantity,
}

impl ProbeFile {
    /// Reads and checks `path`; `None` when there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, ExperimentError> {
        read_if_there(path)?.map(|text| Self::parse(&path.display().to_string(), &text)).transpose()
    }

    /// `text` as the content of the file that is called `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, ExperimentError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let refuse = |reason: String| ExperimentError::Probes { path: name.to_owned(), reason };
        // First and alone: a later format is refused by its number and not by a key that this one does not know.
        let Head { format } = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if format != FORMAT {
            return Err(refuse(format!("format {format}, expected {FORMAT}")));
        }
        let file: Self = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        match file.arms.iter().find(|arm| !file.probes.contains_key(&arm.probe)) {
            Some(arm) => {
                Err(refuse(format!("arm '{}' asks probe {}, which is not in it", arm.arm, arm.probe)))
            }
            None => Ok(file),
        }
    }

    pub fn new(experiment: &str, profile: ProfileName, accepted: String, twins: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            experiment: experiment.to_owned(),
            profile,
            accepted,
            pinbench: env!("CARGO_PKG_VERSION").to_owned(),
            twins,
            arms: Vec::new(),
            probes: BTreeMap::new(),
        }
    }

    /// The whole file. A file that is read and written again is the same, byte for byte.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = String::from("{\n");
        let mut head = |key: &str, value: serde_json::Value| {
            let _ = writeln!(text, "\"{key}\": {value},");
        };
        head("format", self.format.into());
        head("experiment", self.experiment.as_str().into());
        head("profile", self.profile.0.as_str().into());
        head("accepted", self.accepted.as_str().into());
        head("pinbench", self.pinbench.as_str().into());
        head("twins", self.twins.clone().into());
        text.push_str("\"arms\": [\n");
        text.push_str(&lines(&self.arms)?);
        text.push_str("],\n\"probes\": {");
        for (number, (id, stored)) in self.probes.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let handed = serde_json::to_string(&stored.handed)?;
            let quantities = lines(&stored.quantities)?;
            let _ = write!(
                text,
                "{comma}\n\"{id}\": {{\n\"handed\": {handed},\n\"quantities\": [\n{quantities}]}}"
            );
        }
        text.push_str("\n}\n}\n");
        Ok(text)
    }
}

fn lines(all: &[impl Serialize]) -> Result<String, serde_json::Error> {
    let lines = all.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.join(",\n") + "\n")
}

impl Stored {
    /// Answers with the envelopes of their twins. A twin whose quantities are others says nothing of them.
    pub fn new(answers: Answers, twins: &[Answers]) -> Self {
        let envelope = |quantity: &Quantity| {
            let of_twin = |twin: &Answers| {
                let other = twin.quantities.iter().find(|other| other.is_like(quantity))?;
                quantity.distance(other)
            };
            let grain = stats::median(&quantity.grains).unwrap_or(0.0);
            let largest = twins.iter().filter_map(of_twin).fold(grain, f64::max);
            // Three digits are plenty of what is taken thirtyfold.
            largest.is_finite().then(|| format!("{largest:.2e}").parse().unwrap_or(largest))
        };
        let known = |quantity: Quantity| {
            let envelope = envelope(&quantity);
            Known { envelope, quantity: Quantity { grains: Vec::new(), ..quantity } }
        };
        Self { handed: answers.handed, quantities: answers.quantities.into_iter().map(known).collect() }
    }

    pub fn answers(&self) -> Answers {
        let quantities = self.quantities.iter().map(|known| known.quantity.clone()).collect();
        Answers { handed: self.handed.clone(), quantities }
    }
}

/// Name of the file in [`crate::experiment::baseline::FOLDER`].
pub fn file_name(experiment: &str, profile: &ProfileName) -> String {
    profile.file_name(experiment, SUFFIX)
}

/// Experiment and profile that a file is named after; `None` for a name no file of probes has.
pub fn parse_file_name(name: &str) -> Option<(String, ProfileName)> {
    ProfileName::of_file_name(name, SUFFIX)
}

/// The command that writes the probes anew, of an experiment that a command line names so.
pub fn accept_command(named: &str, profile: &ProfileName) -> String {
    format!("pinbench baseline accept {named}{} --probes", profile.option())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::probe::Part;

    fn quantity(value: f64) -> Quantity {
        Quantity {
            part: Part::Gradient,
            name: "conv1.weight".to_owned(),
            is_last: false,
            values: vec![vec![Some(2.0), Some(value)], vec![None, Some(0.1)]],
            grains: Vec::new(),
        }
    }

    fn answers(value: f64) -> Answers {
        let [order, labels, pixels] = ["a", "b", "c"].map(str::to_owned);
        let handed = Handed { order, labels, pixels, rates: vec![0.001], images: vec![32] };
        Answers { handed, quantities: vec![quantity(value)] }
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let mut file =
            ProbeFile::new("m1", "quick".into(), "2026-01-02".to_owned(), vec!["eager".to_owned()]);
        file.probes.insert("p".to_owned(), Stored::new(answers(1.0), &[answers(1.5), answers(0.9)]));
        file.probes.insert("q".to_owned(), Stored::new(answers(1.0), &[]));
        let text = file.to_json().unwrap();
        let read = ProbeFile::parse("m1.quick.probes.json", &text).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.to_json().unwrap(), text);
        // Of two steps the larger counts, and what is not finite in both is alike.
        let envelopes: Vec<Option<f64>> =
            file.probes.values().map(|stored| stored.quantities[0].envelope).collect();
        assert_eq!(envelopes, [Some(0.25), Some(0.0)]);
        for (spoiled, found) in
            [(text.replace("\"format\": 1", "\"format\": 2"), "expected 1"), ("{".to_owned(), "EOF")]
        {
            let error = ProbeFile::parse("m1.quick.probes.json", &spoiled).unwrap_err().to_string();
            assert!(error.contains(found) && error.contains("m1.quick.probes.json"), "{error}");
        }
    }

    /// Twins that happen to move no weight by its last place do not make a machine wrong that moves one.
    #[test]
    fn an_update_is_known_to_the_last_place_of_its_weights_at_best() {
        let mut plain = answers(1.0);
        plain.quantities[0].grains = vec![0.1, 0.3, 0.2];
        let stored = Stored::new(plain.clone(), &[answers(1.0)]);
        assert_eq!(stored.quantities[0].envelope, Some(0.2));
        assert_eq!(Stored::new(plain, &[answers(1.5)]).quantities[0].envelope, Some(0.25));
        assert!(stored.answers().quantities[0].grains.is_empty());
    }

    #[test]
    fn files_are_named_after_experiment_and_profile() {
        for (experiment, profile) in [("m1-batch", "quick"), ("own.set", "full"), ("m1", "")] {
            let name = file_name(experiment, &profile.into());
            assert_eq!(parse_file_name(&name), Some((experiment.to_owned(), profile.into())), "{name}");
        }
        assert_eq!(parse_file_name("m1.quick.toml"), None);
    }
}
