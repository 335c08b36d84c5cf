"""What `pinbench time` finds where the answer is known: the same thing under two names, and a step that is 3 % slower.

Each is half a minute on real MNIST: `--aa 20` measurements in which nothing differs, `--planted 10` in which one condition
has a delay of 3 % in every step. Nothing else may run meanwhile. Prints a line for each and what they come to; ends with 1
where fewer than 95 % of the first or 90 % of the second were right.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "pinbench"


def measured(folder, planted, minutes):
    """Standing and ratio of the second condition, which differs from the first by nothing a step's time depends on."""
    command = [PROGRAM, "time", "m1", "--experiments", ROOT / "experiments", "--set", "model.dropout=0.5,0.4"]
    command += ["--minutes", str(minutes), "--json", "--quiet", "--keep", folder]
    if planted:
        command += ["--plant", "slow-step-3"]
    out = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = json.loads(out)
    second = found["conditions"][1]
    return second["standing"], second["ratio"], found["blocks"], found["floor"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aa", type=int, default=20, help="measurements without a difference")
    parser.add_argument("--planted", type=int, default=10, help="measurements with one of 3 %%")
    parser.add_argument("--minutes", type=float, default=0.5, help="of each")
    args = parser.parse_args()
    right = {"A/A": 0, "3 %": 0}
    with tempfile.TemporaryDirectory(prefix="pinbench-prove-time-") as folder:
        for name, count, wanted in [("A/A", args.aa, "cannot tell"), ("3 %", args.planted, "slower")]:
            for number in range(count):
                kept = pathlib.Path(folder) / f"{wanted.split()[0]}-{number}"
                standing, ratio, blocks, floor = measured(kept, name == "3 %", args.minutes)
                right[name] += standing == wanted
                low, high = ratio["interval"]
                print(f"{name} {number + 1:2}: {standing:11} {ratio['value']:.4f} [{low:.4f}, {high:.4f}] "
                      f"floor {floor:.4f} {blocks} blocks", flush=True)
    print(f"A/A: nothing found in {right['A/A']} of {args.aa}; 3 %: found in {right['3 %']} of {args.planted}")
    sys.exit(right["A/A"] < 0.95 * args.aa or right["3 %"] < 0.9 * args.planted)


if __name__ == "__main__":
    main()
