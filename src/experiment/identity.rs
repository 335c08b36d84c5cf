//! The identity of a result: SHA-256 over the RFC 8785 canonical JSON of what defines it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::experiment::config::Config;
use crate::experiment::plan::Plan;
use crate::experiment::probe::Probe;
use crate::stream::Seed;

/// Raised when the *meaning* of a config changes without its values doing so, such as a fixed bug in a model.
const GENERATION: u32 = 1;

/// Seeds above this are not whole numbers in JSON (RFC 8785, section 3.2.2.3).
pub const MAX_SEED: u64 = (1 << 53) - 1;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The first 12 hex digits.
            pub fn short(&self) -> String {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

identity!(
    /// Of one config and one seed.
    TrialId
);
identity!(
    /// Of a config whatever the seed.
    ConfigHash
);
identity!(
    /// Of an execution plan.
    PlanHash
);

identity!(
    /// Of a probe.
    ProbeId
);

/// One fully resolved config with one seed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    pub config: Config,
    pub seed: Seed,
}

#[derive(Serialize)]
struct Identified<'a, T> {
    generation: u32,
    #[serde(flatten)]
    content: &'a T,
}

impl Trial {
    pub fn id(&self) -> TrialId {
        TrialId(canonical_digest(self))
    }
}

impl Config {
    pub fn hash(&self) -> ConfigHash {
        ConfigHash(canonical_digest(self))
    }
}

impl Probe {
    pub fn id(&self) -> ProbeId {
        ProbeId(canonical_digest(self))
    }
}

impl Plan {
    pub fn hash(&self) -> PlanHash {
        PlanHash(canonical_digest(self))
    }
}

fn canonical_digest(content: &impl Serialize) -> Digest {
    let bytes = serde_json_canonicalizer::to_vec(&Identified { generation: GENERATION, content })
        // These types hold only numbers that `Config::check` found finite, strings and maps with string keys.
        .expect("a config, trial or plan always has a JSON form");
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;
    use crate::experiment::config::{
        Activation, BETAS, Data, Model, Optim, OptimName, Preset, PresetName, Train,
    };
    use crate::experiment::plan::{Device, PlanName};

    fn trial() -> Trial {
        let set = dataset::Name::mnist();
        let config = Config {
            data: Data::of(set),
            model: Model::Preset(Preset { dropout: 0.5, ..Preset::of(PresetName::SimpleCnn) }),
            optim: Optim::of(OptimName::Adam, 0.001),
            train: Train { batch: 64, epochs: 5, ..Train::default() },
            augment: None,
        };
        Trial { config, seed: Seed(0) }
    }

    #[test]
    fn known_identities_stay_as_they_are() {
        let trial = trial();
        assert_eq!(trial.id().to_string(), PINNED_TRIAL);
        assert_eq!(trial.config.hash().to_string(), PINNED_CONFIG);
        assert_eq!(Plan::named(PlanName::Tuned, 2, Device::Cpu).hash().to_string(), PINNED_PLAN);
    }
    const PINNED_TRIAL: &str = "24f10e4c23ec4b4882e32915370cf6c40a92540f359f0304b78ea142d7ec7553";
    const PINNED_CONFIG: &str = "4b01a3048b1fe67b785d8558f23201048837fc7b7de7ac7da651694775624834";
    const PINNED_PLAN: &str = "d665b3e8a8d272b77ed31536d44d4e6a15735abae2550b37d99be1b1e922a9dd";

    #[test]
    fn the_canonical_form_is_sorted_and_without_spaces() {
        let bytes =
            serde_json_canonicalizer::to_vec(&Identified { generation: 1, content: &trial() }).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let digest = dataset::Name::mnist().digest();
        let expected = format!(
            r#"{{"config":{{"data":{{"digest":"{digest}","set":"mnist","validation":0.2}},"model":{{"activation":"relu","dropout":0.5,"name":"simple_cnn"}},"optim":{{"betas":[0.9,0.999],"eps":1e-8,"lr":0.001,"name":"adam","weight_decay":0}},"train":{{"batch":64,"epochs":5}}}},"generation":1,"seed":0}}"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn changing_any_value_changes_the_identity() {
        let changes: [fn(&mut Trial); 15] = [
            |trial| trial.seed = Seed(1),
            |trial| trial.config.data.set = dataset::Name::fashion_mnist(),
            |trial| trial.config.data.digest = Digest::of(b"other bytes"),
            |trial| trial.config.data.validation = 0.1,
            |trial| trial.config.data.train_limit = Some(48_000),
            |trial| trial.config.data.eval_limit = Some(10_000),
            |trial| trial.config.model.preset_mut().activation = Activation::Tanh,
            |trial| trial.config.model.preset_mut().dropout = 0.3,
            |trial| trial.config.optim.lr = 0.01,
            |trial| trial.config.optim.betas = Some([0.8, BETAS[1]]),
            |trial| trial.config.optim.betas = Some([BETAS[0], 0.99]),
            |trial| trial.config.optim.eps = Some(1e-7),
            |trial| trial.config.optim.weight_decay = 1e-4,
            |trial| trial.config.train.batch = 128,
            |trial| trial.config.train.epochs = 6,
        ];
        let mut seen = vec![trial().id()];
        for change in changes {
            let mut changed = trial();
            change(&mut changed);
            let id = changed.id();
            assert!(!seen.contains(&id), "{changed:?}");
            seen.push(id);
        }
    }

    #[test]
    fn an_identity_survives_json() {
        let trial = trial();
        let text = serde_json::to_string_pretty(&trial).unwrap();
        assert_eq!(serde_json::from_str::<Trial>(&text).unwrap().id(), trial.id());
    }
}
