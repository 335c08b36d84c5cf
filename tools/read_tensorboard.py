#!/usr/bin/env python3
"""Has TensorBoard's own reader read what `pinbench export --tensorboard` wrote, and compares it with `--json`'s.

`python3 tools/read_tensorboard.py EVENTS RUNS.JSON`, both of the same runs. TensorBoard, without TensorFlow, is what the recipe
`just test-tensorboard` installs into a folder of its own.
"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2


def check(folder: pathlib.Path, run: dict) -> tuple[int, int]:
    """Scalars and hyperparameters that were read."""
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0}).Reload()
    tags = events.Tags()
    scalars = {tag: events.Scalars(tag) for tag in tags["scalars"]}
    steps = [event.step for event in scalars["train/loss"]]
    assert steps == list(range(run["steps"])), f"steps {steps[:3]}… of {run['steps']}"
    assert all(event.value > 0 for event in scalars["time/step_ms"])
    for split in ["validation", "test"]:
        measured = [row for row in run["epochs"] if row["split"] == split]
        for what in ["loss", "accuracy"]:
            found = [event.value for event in scalars[f"{split}/{what}"]]
            expected = [row[what] for row in measured]
            assert len(found) == len(expected) > 0
            # A scalar is a float of 32 bits.
            assert all(abs(one - other) <= 1e-6 * max(1, abs(other)) for one, other in zip(found, expected)), split
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    hparams = {key: getattr(value, value.WhichOneof("kind")) for key, value in session.hparams.items()}
    assert hparams["seed"] == run["seed"], hparams
    assert hparams["data.set"] == "mnist" and hparams["plan.threads"] >= 1 and hparams["optim.lr"] > 0, hparams
    end = events.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(end).session_end_info.end_time_secs > session.start_time_secs
    return sum(map(len, scalars.values())), len(hparams)


def main() -> None:
    root, runs = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
    folders = {str(file.parent).rsplit(f"seed-{run['seed']}-", 1)[-1]: file.parent
               for run in runs for file in root.rglob(f"events.out.tfevents.*{run['run']}")}
    assert len(folders) == len(runs) > 0, f"{len(folders)} event files of {len(runs)} runs"
    for run in runs:
        scalars, hparams = check(folders[run["run"]], run)
        print(f"{run['arm']}, seed {run['seed']}: {scalars} scalars, {hparams} hyperparameters, as exported")


if __name__ == "__main__":
    main()
