//! What a child says while it runs: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::record::{RunId, Status};
use crate::row::Split;

/// In the order `started → (progress … → measured …) per epoch → sealed`; a task without a run says `done` last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Everything is loaded and built; what is timed begins when the parent says go.
    Ready,
    Started {
        /// Steps that a checkpoint brought: 0 unless resumed.
        #[serde(default)]
        done: u64,
        /// At most: a run may end early.
        steps: u64,
        steps_per_epoch: u64,
        /// Training images an epoch.
        images: u64,
    },
    /// Now and then, not at every step.
    Progress {
        step: u64,
        epoch: u32,
        /// Trained on so far, through the whole run.
        images: u64,
        #[serde(with = "crate::number")]
        loss: f64,
        /// Of the epoch so far, in train mode.
        #[serde(with = "crate::number")]
        accuracy: f64,
        #[serde(with = "crate::number")]
        images_per_s: f64,
    },
    Measured {
        epoch: u32,
        split: Split,
        #[serde(with = "crate::number")]
        loss: f64,
        #[serde(with = "crate::number")]
        accuracy: f64,
    },
    /// What a person should know, and nobody has to act on.
    Note { text: String },
    /// The run is in the store. The last event of a training.
    Sealed { run: RunId, status: Status },
    /// What was asked for is written. The last event of a task that seals no run.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_line_and_survive_a_round_trip() {
        let sealed = Event::Sealed {
            run: RunId("run-1".to_owned()),
            status: Status::Diverged { step: 3, loss: "NaN".to_owned() },
        };
        let measured =
            Event::Measured { epoch: 1, split: Split::TrainEval, loss: f64::NEG_INFINITY, accuracy: 0.5 };
        for (event, name) in [(sealed, "sealed"), (measured, "measured")] {
            let line = serde_json::to_string(&event).unwrap();
            assert!(line.contains(&format!("\"event\":\"{name}\"")) && !line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
    }
}
