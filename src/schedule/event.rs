//! What a child says while it runs: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::record::{RunId, Status};
use crate::row::Split;

/// In the order `started → (progress … → measured …) per epoch → sealed`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Started {
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
        loss: f64,
        /// Of the epoch so far, in train mode.
        accuracy: f64,
        images_per_s: f64,
    },
    Measured {
        epoch: u32,
        split: Split,
        /// `None` when not finite, which JSON cannot say.
        loss: Option<f64>,
        accuracy: f64,
    },
    /// The run is in the store. The last event.
    Sealed { run: RunId, status: Status },
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
        let measured = Event::Measured { epoch: 1, split: Split::TrainEval, loss: None, accuracy: 0.5 };
        for (event, name) in [(sealed, "sealed"), (measured, "measured")] {
            let line = serde_json::to_string(&event).unwrap();
            assert!(line.contains(&format!("\"event\":\"{name}\"")) && !line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
    }
}
