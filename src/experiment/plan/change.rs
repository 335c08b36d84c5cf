//! Keys of a plan by name: what a file, a factor and a command line change in it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::experiment::config::Impossible;
use crate::experiment::plan::{
    Allocator, Convolution, Device, Kernels, Loader, MemoryFormat, OptimizerForm, Plan, PlanName, Pooling,
};
use crate::experiment::{Arm, words};
use crate::network::convolution::POLICIES;

/// Declares [`PlanChange`]: a line for each key, and in brackets the plan's field that it is and nothing more.
macro_rules! plan_keys {
    ($($(#[$doc:meta])* $key:ident: $type:ty $([$field:ident])?,)*) => {
        /// What a file's `[plan]`, a factor and `--set plan.KEY=VALUE` change in a plan: every knob of an execution by name.
        /// A key that is absent changes nothing.
        #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct PlanChange {
            $($(#[$doc])* #[serde(default)] pub $key: Option<$type>,)*
        }

        impl PlanChange {
            /// Key by key: that of `later`, else this one's.
            fn under(&self, later: &Self) -> Self {
                Self { $($key: later.$key.or(self.$key),)* }
            }

            /// The keys that are not the same in `other`.
            pub fn differing_from(&self, other: &Self) -> Self {
                Self { $($key: self.$key.filter(|_| self.$key != other.$key),)* }
            }

            /// This change without the keys that `others` has.
            pub fn without(&self, others: &Self) -> Self {
                Self { $($key: self.$key.filter(|_| others.$key.is_none()),)* }
            }

            /// Those of its keys of which `is_wanted` says so.
            pub fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
                Self { $($key: self.$key.filter(|_| is_wanted(stringify!($key))),)* }
            }

            /// Of the keys that are fields.
            fn of_fields(plan: &Plan) -> Self {
                Self { $($($key: Some(plan.$field),)?)* ..Self::default() }
            }

            fn apply_to_fields(&self, plan: Plan) -> Plan {
                Plan { $($($field: self.$key.unwrap_or(plan.$field),)?)* ..plan }
            }
        }
    };
}

plan_keys! {
    /// The named plan that the other keys change.
    name: PlanName [name],
    threads: u32 [threads],
    memory_format: MemoryFormat [memory_format],
    allocator: Allocator [allocator],
    huge_pages: bool [huge_pages],
    pooling: Pooling [pooling],
    optimizer: OptimizerForm [optimizer],
    kernels: Kernels [kernels],
    convolution: ConvolutionName,
    /// Of the convolution `winograd`, which it chooses: version of the table that says what runs by layer and pass.
    policy: u32,
    /// Of a GPU: convolutions round their factors to TF32.
    tf32: bool [tf32],
    /// Of a GPU: a step is recorded as CUDA graphs.
    graph: bool [graph],
    loader: LoaderName,
    /// Of the loader `samples`, which it chooses: threads that make batches; 0 is the thread that trains.
    workers: u32,
    /// Of the loader `samples`, which it chooses: batches that a worker is ahead.
    prefetch: u32,
}

/// The table of Winograd convolutions where nobody says which.
const POLICY: u32 = 1;

/// Batches a worker is ahead where nobody says how many, as in PyTorch's `DataLoader`.
const PREFETCH: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoaderName {
    Resident,
    Samples,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvolutionName {
    Direct,
    Winograd,
}

impl PlanChange {
    /// This change, and then `later`, which goes before it: a key of one loader or convolution chooses that, and takes away what
    /// was chosen before.
    pub fn then(&self, later: &Self) -> Self {
        let mut earlier = self.clone();
        let names_samples = later.workers.is_some() || later.prefetch.is_some();
        match (later.loader, self.loader) {
            (None, Some(LoaderName::Resident)) if names_samples => earlier.loader = None,
            (Some(LoaderName::Resident), _) => (earlier.workers, earlier.prefetch) = (None, None),
            _ => {}
        }
        match (later.convolution, self.convolution) {
            (None, Some(ConvolutionName::Direct)) if later.policy.is_some() => earlier.convolution = None,
            (Some(ConvolutionName::Direct), _) => earlier.policy = None,
            _ => {}
        }
        earlier.under(later)
    }

    /// Every key as `plan` has it.
    pub fn of(plan: &Plan) -> Self {
        let (loader, workers, prefetch) = match plan.loader {
            Loader::Resident => (LoaderName::Resident, None, None),
            Loader::Samples { workers, prefetch } => (LoaderName::Samples, Some(workers), Some(prefetch)),
        };
        let convolution = match plan.convolution {
            Convolution::Direct => ConvolutionName::Direct,
            Convolution::Winograd { .. } => ConvolutionName::Winograd,
        };
        Self {
            convolution: Some(convolution),
            policy: plan.convolution.policy(),
            loader: Some(loader),
            workers,
            prefetch,
            ..Self::of_fields(plan)
        }
    }

    /// Reads `KEY=VALUE`, the value as in a file; quotes around a word may be left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(format!("'{text}': expected plan.KEY=VALUE, such as plan.loader=samples"));
        };
        let Some(key) = key.trim().strip_prefix("plan.") else {
            return Err(format!(
                "'{text}': only keys of the plan can be set here, such as plan.loader=samples"
            ));
        };
        let is_word = |value: &str| value.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        let value = match value.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            word if is_word(word) => Value::String(word.to_owned()),
            other => serde_json::from_str(other).unwrap_or_else(|_| Value::String(other.to_owned())),
        };
        let change: Self = serde_json::from_value(json!({ key: value }))
            .map_err(|error| format!("'{text}': {}", words::plain(&error.to_string())))?;
        change.check().map_err(|error| error.to_string())?;
        Ok(change)
    }

    /// The first impossible value.
    pub fn check(&self) -> Result<(), Impossible> {
        let counts = [("plan.threads", self.threads, 1..=1024), ("plan.workers", self.workers, 0..=256)];
        for (key, found, range) in counts.into_iter().chain([("plan.prefetch", self.prefetch, 1..=1024)]) {
            if let Some(found) = found.filter(|found| !range.contains(found)) {
                let expected = format!("{} to {}", range.start(), range.end());
                return Err(Impossible { key: key.into(), found: found.to_string(), expected });
            }
        }
        if let Some(found) = self.policy.filter(|found| !POLICIES.contains(found)) {
            let expected = format!("{} to {}", POLICIES.start(), POLICIES.end());
            return Err(Impossible { key: "plan.policy".into(), found: found.to_string(), expected });
        }
        if let (Some(ConvolutionName::Direct), Some(found)) = (self.convolution, self.policy) {
            let expected = "nothing beside the convolution `direct`: it belongs to `winograd`".to_owned();
            return Err(Impossible { key: "plan.policy".into(), found: found.to_string(), expected });
        }
        let of_samples = [("plan.workers", self.workers), ("plan.prefetch", self.prefetch)];
        match of_samples.into_iter().find_map(|(key, found)| Some((key, found?))) {
            Some((key, found)) if self.loader == Some(LoaderName::Resident) => {
                let expected = "nothing beside the loader `resident`: it belongs to `samples`".to_owned();
                Err(Impossible { key: key.into(), found: found.to_string(), expected })
            }
            _ => Ok(()),
        }
    }

    pub fn apply(&self, plan: &Plan) -> Plan {
        let named = |name| Plan::named(name, plan.threads, plan.device);
        let plan = self.name.map_or_else(|| plan.clone(), named);
        let plan = self.apply_to_fields(plan);
        Plan { convolution: self.convolution(plan.convolution), loader: self.loader(plan.loader), ..plan }
    }

    fn convolution(&self, convolution: Convolution) -> Convolution {
        match (self.convolution, self.policy.or(convolution.policy())) {
            (Some(ConvolutionName::Direct), _) | (None, None) => Convolution::Direct,
            (_, policy) => Convolution::Winograd { policy: policy.unwrap_or(POLICY) },
        }
    }

    fn loader(&self, loader: Loader) -> Loader {
        let names_samples = self.workers.is_some() || self.prefetch.is_some();
        let (workers, prefetch) = match (self.loader, loader) {
            (Some(LoaderName::Resident), _) => return Loader::Resident,
            (None, Loader::Resident) if !names_samples => return Loader::Resident,
            (_, Loader::Resident) => (0, PREFETCH),
            (_, Loader::Samples { workers, prefetch }) => (workers, prefetch),
        };
        Loader::Samples {
            workers: self.workers.unwrap_or(workers),
            prefetch: self.prefetch.unwrap_or(prefetch),
        }
    }

    /// Whether `plan` has every key as this change would make it.
    pub fn is_in(&self, plan: &Plan) -> bool {
        let of = Self::of(plan);
        of.then(self) == of
    }

    /// `plan` but for the keys that are set here, and for a named plan all that the name stands for: what two plans have to
    /// have in common whose difference is meant.
    pub fn apart_from(&self, plan: &Plan) -> (Self, Device) {
        let mut of = Self::of(plan);
        if self.loader.or(self.workers.map(|_| LoaderName::Samples)).is_some() {
            // They are keys of one loader alone, so that another has none of them.
            (of.loader, of.workers, of.prefetch) = (None, None, None);
        }
        if self.convolution.or(self.policy.map(|_| ConvolutionName::Winograd)).is_some() {
            (of.convolution, of.policy) = (None, None);
        }
        let kept = match self.name {
            Some(_) => Self { threads: of.threads, ..Self::default() },
            None => of,
        };
        (kept.without(self), plan.device)
    }

    /// `key=value` of every key that is set, dotted as in a factor.
    pub fn pairs(&self) -> Vec<(String, String)> {
        // Numbers, words and truth values, which always have a JSON form.
        let tree = serde_json::to_value(self).unwrap_or_default();
        let set = tree.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        set.map(|(key, value)| (format!("plan.{key}"), bare(value))).collect()
    }
}

/// A value as people write it: strings without quotes, lists without brackets.
pub fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(bare).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A plan as it is asked for: what is not said otherwise by an experiment, and what a command line says whatever the
/// experiment does.
#[derive(Clone, PartialEq, Debug)]
pub struct PlanAsked {
    pub base: Plan,
    /// Goes before a file's `[plan]`; an arm's own keys go before it.
    pub set: PlanChange,
}

impl PlanAsked {
    #[cfg(test)]
    /// That plan for every arm that does not say otherwise.
    pub fn exactly(plan: Plan) -> Self {
        Self { base: plan, set: PlanChange::default() }
    }

    /// The plan under which `arm` runs.
    pub fn of(&self, arm: &Arm) -> Plan {
        arm.plan.then(&self.set).then(&arm.varied).apply(&self.base)
    }

    /// The plan under which a trial of `arm` is looked at by itself: what is asked for goes before what the arm is, for
    /// several arms may share the trial.
    pub fn of_one(&self, arm: &Arm) -> Plan {
        arm.plan.then(&self.set).apply(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_it_changes_and_a_plan_what_it_has_otherwise_than_its_name() {
        let plan = Plan::named(PlanName::Tuned, 2, Device::Cpu);
        let change = PlanChange::parse("plan.workers=3").unwrap();
        let changed = change.apply(&plan);
        assert_eq!(changed.loader, Loader::Samples { workers: 3, prefetch: PREFETCH });
        assert_eq!(changed.to_string(), "tuned with plan.loader=samples, plan.prefetch=2, plan.workers=3");
        assert_eq!(changed.changes().apply(&plan), changed);
        assert!(change.is_in(&changed) && !change.is_in(&plan));
        assert_ne!(changed.hash(), plan.hash());
        let eager = PlanChange::parse("plan.name=eager").unwrap().then(&change);
        assert_eq!(
            (eager.apply(&plan).memory_format, eager.apply(&plan).name),
            (MemoryFormat::Contiguous, PlanName::Eager)
        );
    }

    /// They were read and ignored.
    #[test]
    fn a_key_of_one_loader_or_convolution_goes_before_another_that_was_chosen() {
        let of = |keys: &[&str]| {
            let parsed = keys.iter().map(|key| PlanChange::parse(key).unwrap());
            let change = parsed.fold(PlanChange::default(), |change, key| change.then(&key));
            change.check().unwrap();
            change.apply(&Plan::named(PlanName::Winograd, 2, Device::Cpu))
        };
        let file = ["plan.loader=resident", "plan.convolution=direct"];
        assert_eq!(of(&file).loader, Loader::Resident);
        assert_eq!(
            of(&[file[0], "plan.workers=2"]).loader,
            Loader::Samples { workers: 2, prefetch: PREFETCH }
        );
        assert_eq!(of(&["plan.workers=2", file[0]]).loader, Loader::Resident);
        assert_eq!(of(&[file[1], "plan.policy=2"]).convolution, Convolution::Winograd { policy: 2 });
        assert_eq!(of(&["plan.policy=2", file[1]]).convolution, Convolution::Direct);
    }

    #[test]
    fn plans_that_differ_in_what_is_varied_alone_are_the_same_apart_from_it() {
        let varied = PlanChange::parse("plan.allocator=keep").unwrap();
        let eager = Plan::named(PlanName::Eager, 2, Device::Cpu);
        let (kept, other) = (varied.apply(&eager), Plan { huge_pages: true, ..eager.clone() });
        assert_eq!(varied.apart_from(&kept), varied.apart_from(&eager));
        assert_ne!(varied.apart_from(&other), varied.apart_from(&eager));
        let named = PlanChange::parse("plan.name=tuned").unwrap();
        assert_eq!(named.apart_from(&named.apply(&eager)), named.apart_from(&eager));
        assert_ne!(named.apart_from(&Plan { threads: 1, ..eager.clone() }), named.apart_from(&eager));
    }

    #[test]
    fn winograd_convolutions_come_with_a_version_of_their_table() {
        let tuned = Plan::named(PlanName::Tuned, 2, Device::Cpu);
        let change = PlanChange::parse("plan.convolution=winograd").unwrap();
        let changed = change.apply(&tuned);
        assert_eq!(changed.convolution, Convolution::Winograd { policy: POLICY });
        assert_eq!(changed.to_string(), "tuned with plan.convolution=winograd, plan.policy=1");
        assert_eq!(changed.changes().apply(&tuned), changed);
        assert_eq!(PlanChange::parse("plan.policy=1").unwrap().apply(&tuned), changed);
        assert_eq!(PlanChange::parse("plan.convolution=direct").unwrap().apply(&changed), tuned);
        assert_eq!(change.apart_from(&changed), change.apart_from(&tuned));
        let error =
            change.then(&PlanChange { policy: Some(9), ..PlanChange::default() }).check().unwrap_err();
        assert!(error.to_string().contains("expected 1 to 2"), "{error}");
        let direct = PlanChange { convolution: Some(ConvolutionName::Direct), policy: Some(1), ..change };
        assert!(direct.check().unwrap_err().to_string().contains("belongs to `winograd`"));
    }

    #[test]
    fn a_mistake_in_a_change_names_the_key_and_what_is_expected() {
        for (text, what) in [
            ("plan.laoder=samples", "did you mean `loader`?"),
            ("plan.loader=sampels", "did you mean `samples`?"),
            ("plan.threads=two", "expected a whole number, found the text"),
            ("plan.threads=0", "expected 1 to 1024"),
            ("train.batch=64", "only keys of the plan"),
            ("plan.loader", "expected plan.KEY=VALUE"),
        ] {
            let error = PlanChange::parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        let both =
            PlanChange { loader: Some(LoaderName::Resident), workers: Some(2), ..PlanChange::default() };
        assert!(both.check().unwrap_err().to_string().contains("belongs to `samples`"));
    }
}
