#!/usr/bin/env python3
"""Checks the numbers of a folder of pinbench reports a second time.

    python3 audit.py [FOLDER] [--json]

FOLDER is an index, one experiment, one explanation, or a tree of them; by default where this script lies. Everything is written from
the definitions in pinbench's documents (docs/columns.md, experiment.md, reading-a-verdict.md, reference.md), not from
its source. What they leave open was read off one set of pages and is marked "read off".

Numbers agree where |found - expected| <= 1e-9 * max(|found|, |expected|) + 1e-13: the second term is for differences that
cancel to about 0, and is left out for p and q. A number on a page agrees where it is the rounding to its own decimals.
Not looked at: whether `alone` and `beside` bar the right times, which of several runs counts, and Parquet files.
Exit: 0 all agrees, 1 something does not, 2 something could not be read.
"""
import csv, hashlib, html, io, itertools, json, math, re, statistics, sys, tomllib
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

RELATIVE, ABSOLUTE = 1e-9, 1e-13
# docs/experiment.md, "Metrics": those "compared by ratio", and those that are "a time".
BY_RATIO = set("""roughness epochs_to_train_loss updates_to_train_loss gradient_noise_scale gradient_variance gradient_covariance
    sharpness epsilon_sharpness gradient_norm_first gradient_norm_ratio updates train_minutes total_minutes images_per_s
    step_ms""".split())
TIMES = set("train_minutes total_minutes images_per_s step_ms load_share system_share cpu_use".split())
# What may stand after an `@`: an epoch, a loss that must stand there, or of `early_loss` epochs; nothing after the others.
AT_EPOCHS = set("""val_acc val_loss train_acc train_loss train_eval_acc train_eval_loss gap_acc gap_loss
    gap_as_trained""".split())
AT_LOSSES = {"epochs_to_train_loss", "updates_to_train_loss"}
METRICS = BY_RATIO | TIMES | AT_EPOCHS | AT_LOSSES | set("""test_acc test_loss test_top3 test_ece test_precision test_recall
    test_f1 early_loss saturated_share dead_share""".split())
UNITS = {**dict.fromkeys("val_loss train_loss train_eval_loss test_loss gap_loss early_loss roughness".split(), "nats"),
         "epochs_to_train_loss": "epochs", "updates_to_train_loss": "updates", "updates": "updates", "step_ms": "ms",
         "gradient_noise_scale": "images", "epsilon_sharpness": "%", "train_minutes": "min", "total_minutes": "min",
         "images_per_s": "images/s", "cpu_use": "processors"}
EVERY_RUN_HAS = set("""train_acc train_eval_acc val_acc test_acc train_loss train_eval_loss val_loss test_loss updates
    train_minutes total_minutes""".split())
OF_A_SPLIT = {f"{prefix}_{short}": (split, column)
              for prefix, split in [("train", "train"), ("train_eval", "train_eval"), ("val", "validation"), ("test", "test")]
              for short, column in [("acc", "accuracy"), ("loss", "loss")]}
GAPS = {"gap_acc": ("train_eval_acc", "val_acc"), "gap_loss": ("val_loss", "train_eval_loss"),
        "gap_as_trained": ("train_acc", "val_acc")}
# The table's headings; the page is made for people, so that these words are what ties it to results.csv.
HEADINGS = {"train accuracy as trained": "train_acc", "train accuracy eval mode": "train_eval_acc",
            "validation accuracy": "val_acc", "test accuracy": "test_acc", "train loss as trained": "train_loss",
            "train loss eval mode": "train_eval_loss", "validation loss": "val_loss", "test loss": "test_loss",
            "training time min": "train_minutes"}


# ---- Student's t ------------------------------------------------------------------------------------------------------

def incomplete_beta(a, b, x):
    """Regularised I_x(a, b), by the continued fraction of DLMF 8.17.22 with Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below its mean
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d, c = 1 / (1 + term * d), 1 + term / c
            value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return front * value


def t_above(t, df):
    """P(T > t) for Student's t: I_x(df/2, 1/2) / 2 with x = df / (df + t^2) (DLMF 8.17, Abramowitz and Stegun 26.7.1)."""
    square = t * t / (df + t * t)  # near t = 0 its complement would have rounded to 1, and far from it 1 less the other to 0
    is_near = square < 1.5 / (df / 2 + 2.5)
    tail = (1 - incomplete_beta(0.5, df / 2, square)) / 2 if is_near else incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return tail if t >= 0 else 1 - tail


def t_quantile(p, df):
    """The t below which the share p lies, by bisection to the last bit."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high = 0.0, 1.0
    while t_above(high, df) > 1 - p:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if t_above(middle, df) > 1 - p else (low, middle)
    return high


# ---- what is found ----------------------------------------------------------------------------------------------------

class Tally:
    """What agreed, what did not, and what could not be recomputed and why, by kind of check."""

    def __init__(self):
        self.agreed, self.left, self.wrong = Counter(), defaultdict(Counter), []

    def same(self, check, row, column, found, expected, absolute=ABSOLUTE):
        equal = found == expected
        if isinstance(expected, float) and isinstance(found, float) and not equal:
            if math.isfinite(found) and math.isfinite(expected):
                equal = abs(found - expected) <= RELATIVE * max(abs(found), abs(expected)) + absolute
            else:  # the difference to an infinity is within any share of it
                equal = math.isnan(found) and math.isnan(expected)
        if equal:
            self.agreed[check] += 1
        else:
            if isinstance(found, list) and isinstance(expected, list) and found != expected:
                # of long lists, what the other has not
                apart = [x for x in found if x not in expected], [x for x in expected if x not in found]
                found, expected = apart if any(apart) else (found, expected)
            self.wrong.append({"file": check, "row": row, "column": column, "found": found, "expected": expected})

    def line(self):
        names = sorted(self.agreed.keys() | self.left.keys() | {w["file"] for w in self.wrong})
        parts = []
        for name in names:
            bad = sum(w["file"] == name for w in self.wrong)
            count = self.agreed[name] + bad
            parts.append(f"{name}: {count} recomputed, {self.agreed[name]} agreed"
                         + (f", {self.left[name].total()} could not be" if self.left[name] else ""))
        reasons = Counter()
        for left in self.left.values():
            reasons.update(left)
        return "; ".join(parts) + (" (" + ", ".join(f"{k} {n}" for k, n in sorted(reasons.items())) + ")" if reasons else "")


def number(text):
    try:
        value = None if text in ("", None) else float(text)
    except ValueError:
        raise ValueError(f"found '{text}', expected a number") from None
    # one object for all of them: rows that hold it are then equal
    return math.nan if value != value else value


def parsed(path, parse):
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return parse(file.read())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def rows_of(path, columns=""):
    """The rows of a table, which has these columns at least, as texts."""
    def parse(text):
        table = csv.DictReader(io.StringIO(text, newline=""))
        names = table.fieldnames or []
        if missing := sorted(set(columns.split()) - set(names)):
            raise ValueError(f"found the columns {', '.join(names)}, expected {', '.join(missing)} too")
        rows = list(table)
        for at, row in enumerate(rows):
            if None in row or None in row.values():
                raise ValueError(f"row {at + 1}: expected {len(names)} fields, as in the first line")
        return rows

    return parsed(path, parse)


def english(text):
    return (text["en"] if isinstance(text, dict) else text).strip()


def decimal(value):
    """A number without exponent, and no `.0`."""
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


def base(metric):
    return metric.split("@")[0]


def spread(numbers):
    """Mean and sample standard deviation (docs/columns.md); of one there is no spread."""
    several = len(numbers) > 1
    if not all(map(math.isfinite, numbers)):  # a training may end with a loss that is no number
        return sum(numbers) / len(numbers), math.nan if several else None
    return statistics.fmean(numbers), statistics.stdev(numbers) if several else None


# ---- an experiment's folder -------------------------------------------------------------------------------------------

class Experiment:
    """A page's folder. Where nothing has finished there are no tables, and where nothing ran no records either."""

    def __init__(self, folder, page):
        self.folder, self.page = folder, page
        files = sorted(name for name in page["sha256"] if name.endswith(".toml")) or sorted(p.name for p in folder.glob("*.toml"))
        if not files:
            raise ValueError("found no file of an experiment, expected one that ends in .toml")
        self.id = Path(files[0]).stem
        self.file = parsed(folder / files[0], tomllib.loads)
        self.values = self.table("values.csv", "arm label trial seed run metric value alone beside")
        self.results = self.table("results.csv", "arm metric n mean sd reference")
        self.runs = {(r["arm"], r["run"]): r for r in parsed(folder / "runs.json", json.loads)} if self.has("runs.json") else {}
        self.levels = {}  # of each arm by name: of each factor, by its key or label, what a reference calls it
        self.arms = {}  # the label of each arm by its name, in their order
        for name, label, levels in arms_of(self.file.get("factors", [])):
            self.arms[name], self.levels[name] = label, levels
        self.trial, self.by_metric = {}, defaultdict(dict)
        for row in self.values:
            self.trial.setdefault(row["arm"], row["trial"])
            self.by_metric[row["arm"], row["metric"]][row["seed"]] = row
        self.images = {(row["run"], row["split"], int(row["epoch"])): int(row["images"])
                       for row in self.table("epochs.csv", "run epoch split images")}

    def has(self, name):
        return name in self.page["sha256"] or (self.folder / name).is_file()

    def table(self, name, columns):
        return rows_of(self.folder / name, columns) if self.has(name) else []

    def arm(self, name):
        """Claims name arms "as on the page" (CONTRIBUTING.md), or by their levels alone; in another case where none has this."""
        name = name.strip()
        exact = (arm for arm, label in self.arms.items() if name in (arm, label))
        alike = (arm for arm, label in self.arms.items() if name.lower() in (arm.lower(), label.lower()))
        return next(itertools.chain(exact, alike), None)

    def images_of(self, run, split, metric):
        """Of the epoch that the metric is read after: the one that stands there, else the one whose weights were kept, else the last."""
        of_run = next((record["outcome"] or {} for (_, known), record in self.runs.items() if known == run), {})
        at = metric.partition("@")[2]
        epochs = {(epoch, of): n for (known, of, epoch), n in self.images.items() if known == run}
        if split == "test":  # it is evaluated once, after the last epoch
            return next((n for (_, of), n in epochs.items() if of == "test"), None)
        after = int(float(at)) - 1 if at else of_run.get("kept_epoch", max((epoch for epoch, _ in epochs), default=0))
        return epochs.get((after, split))

    def step_of(self, arm, run, metric):
        """By how much a metric of a run can differ at least: an image of a share, an update or an epoch of a length, else 0."""
        name = base(metric)
        if name == "updates_to_train_loss":
            return 1.0
        if name in ("epochs_to_train_loss", "updates"):
            config = self.runs[arm, run]["trial"]["config"]
            train = config["train"]
            # Of whatever run saw all of the same images in an epoch.
            alike = {known for (_, known), record in self.runs.items() if record["trial"]["config"]["data"] == config["data"]}
            images = max((n for (known, of, _), n in self.images.items() if of == "train" and known in alike), default=0)
            if name == "epochs_to_train_loss":
                return train["batch"] / images
            if "patience" in train:
                return math.ceil(images / train["batch"])
            return 1.0 if "target_loss" in train else math.ceil(1280 / train["batch"]) if "target_eval_loss" in train else 0.0
        return max((1 / n for split in SPLITS.get(name, ()) if (n := self.images_of(run, split, metric))), default=0.0)

    def number(self, arm, metric, seed):
        return float(self.by_metric[arm, metric][seed]["value"])

    def weights(self, arm, run):
        return (self.runs[arm, run]["outcome"] or {}).get("final_weights")

    def per_seed(self, arm, metric, column=None):
        """What counts as `column` says, of that what is a number."""
        rows = self.by_metric.get((arm, metric), {})
        values = {seed: float(row["value"]) for seed, row in rows.items() if column is None or row[column] == "true"}
        return {seed: value for seed, value in values.items() if math.isfinite(value)}


def arms_of(factors):
    """Name, label and levels of each arm; read off: a single factor's label is part of the name, and no factor makes `base`."""
    grid = [[(english(level["label"]) if "label" in level else scalar(level["value"]), factor.get("key", english(factor["label"])),
              level["value"] if "value" in level else english(level["label"])) for level in factor["levels"]] for factor in factors]
    for arm in itertools.product(*grid):
        label = ", ".join(x[0] for x in arm) or "base"
        yield f"{english(factors[0]['label'])} {label}" if len(factors) == 1 else label, label, {x[1]: x[2] for x in arm}


def scalar(value):
    """A level's value as its label, when it has no other."""
    if isinstance(value, list):
        return ", ".join(map(scalar, value))
    if isinstance(value, float):  # read off: Python's digits, but an exponent only below 0.00001, and without a 0 before it
        return decimal(value) if 1e-5 <= abs(value) < 1e-4 else repr(value).replace("e-0", "e-")
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def check_hashes(experiment_folder, page, tally):
    for name, digest in page.get("sha256", {}).items():
        path = experiment_folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
        tally.same("sha256", name, "sha256", found, digest)


# ---- values.csv -------------------------------------------------------------------------------------------------------

def run_metric(metric, epochs, diagnostics, record):
    """A metric of a run from its rows by its definition in docs/experiment.md; None where these files do not decide it.

    With early stopping the weights of `outcome.kept_epoch` are kept, so that it is the last epoch (docs/columns.md).
    `@3` is after the third epoch. Read off: shares are means over the layers after the last epoch measured; a ratio of
    norms is the first layer's over the last's there; the noise scale is the epochs' mean tr(Sigma) over their mean
    |G|^2 (McCandlish et al. 2018, B_simple); minutes with evaluation are `outcome.wall_ns`.
    """
    name, _, at = metric.partition("@")
    outcome = record["outcome"]
    after = int(at) - 1 if at.isdigit() else outcome.get("kept_epoch", max((epoch for epoch, _ in epochs), default=0))

    def measured(of):
        split, column = OF_A_SPLIT[of]
        if split == "test":  # it is evaluated once, after the last epoch
            return next((float(row[column]) for (_, s), row in epochs.items() if s == "test"), None)
        return float(epochs[after, split][column]) if (after, split) in epochs else None

    def diagnosed(kind, of=None):
        rows = [r for r in diagnostics if r["diagnostic"] == kind and of in (None, r["of"])]
        by_epoch = defaultdict(list)
        for row in rows:
            by_epoch[int(row["epoch"])].append(float(row["value"]))
        return [by_epoch[epoch] for epoch in sorted(by_epoch)]

    if name in OF_A_SPLIT:
        return measured(name)
    if name in GAPS:
        first, second = (measured(of) for of in GAPS[name])
        return None if first is None or second is None else first - second
    minutes = {"train_minutes": "train_ns", "total_minutes": "wall_ns"}
    if name in minutes:
        return outcome[minutes[name]] / 6e10
    if name == "updates":
        return float(outcome["steps"])
    kinds = {"test_ece": ("calibration_error", "test"), "test_top3": ("top3", "test"), "sharpness": ("hessian_eigenvalue",),
             "epsilon_sharpness": ("epsilon_sharpness",), "gradient_covariance": ("gradient_variance",),
             "gradient_norm_first": ("gradient_norm",), "gradient_norm_ratio": ("gradient_norm",),
             "saturated_share": ("saturated_share",), "dead_share": ("dead_share",)}
    if name == "gradient_noise_scale":
        variance, squared = (list(itertools.chain(*diagnosed(k))) for k in ("gradient_variance", "gradient_squared"))
        return statistics.fmean(variance) / statistics.fmean(squared) if squared else None
    found = diagnosed(*kinds[name]) if name in kinds else []
    if not found:
        return None
    last = found[-1]
    if name == "gradient_norm_ratio":
        # of a dead network both are 0
        return last[0] / last[-1] if last[-1] else math.inf if last[0] else math.nan
    return statistics.fmean(last) if name.endswith("_share") else last[0]


def check_values(e, tally):
    epochs, diagnostics = defaultdict(dict), defaultdict(list)
    for row in e.table("epochs.csv", "run epoch split images loss accuracy"):
        epochs[row["run"]][int(row["epoch"]), row["split"]] = row
    seen = set()  # a run that several arms share stands in the table once for each
    for row in e.table("diagnostics.csv", "run epoch diagnostic of value"):
        key = (row["run"], row["epoch"], row["diagnostic"], row["of"])
        if key not in seen:
            seen.add(key)
            diagnostics[row["run"]].append(row)
    identity, have = {}, defaultdict(set)
    for row in e.values:
        what = f"{row['arm']}, seed {row['seed']}, {row['metric']}"
        record = e.runs.get((row["arm"], row["run"]))
        state = record["status"]["state"] if record else "no such run of this arm"
        tally.same("values.csv", what, "run", state, "finished")
        if state != "finished":
            continue
        tally.same("values.csv", what, "seed", row["seed"], str(record["trial"]["seed"]))
        known = e.arms.get(row["arm"], "no such arm"), e.trial[row["arm"]]
        tally.same("values.csv", what, "label, trial", (row["label"], row["trial"]), known)
        have[row["metric"]].add((row["arm"], row["seed"]))
        identity[row["arm"]] = record["config_hash"], record["plan_hash"]
        if base(row["metric"]) not in TIMES:  # only times can be barred
            tally.same("values.csv", what, "alone, beside", (row["alone"], row["beside"]), ("true", "true"))
        expected = run_metric(row["metric"], epochs[row["run"]], diagnostics[row["run"]], record)
        if expected is None and base(row["metric"]) not in OF_A_SPLIT | GAPS:
            tally.left["values.csv"][base(row["metric"])] += 1
        else:
            tally.same("values.csv", what, "value", number(row["value"]), expected)
    tally.same("values.csv", "all rows", "one a run and metric", len(e.values), sum(map(len, e.by_metric.values())))
    finished = {(r["arm"], str(r["trial"]["seed"])) for r in e.runs.values()
                if r["status"]["state"] == "finished" and not r.get("planted")}
    for metric in EVERY_RUN_HAS:
        tally.same("values.csv", metric, "arms and seeds", sorted(have[metric]), sorted(finished))
    for one, other in itertools.combinations(identity, 2):
        tally.same("values.csv", f"{one} / {other}", "trial", e.trial[one] == e.trial[other], identity[one] == identity[other])


# ---- results.csv ------------------------------------------------------------------------------------------------------

def reported(e, arm, metric):
    """What the experiment's source says of a metric of an arm, by the experiment's file."""
    level = e.levels.get(arm)
    key = {"train_minutes": "minutes"}.get(metric, metric)
    known = [number(r.get(key)) for r in e.file.get("reference", {}).get("rows", []) if r["arm"] == level]
    return known[0] if known else None


def check_results(e, tally):
    counted, listed = defaultdict(list), set()
    for row in e.values:
        if row["beside"] == "true" and math.isfinite(float(row["value"])):
            counted[row["arm"], row["metric"]].append(number(row["value"]))
    for row in e.results:
        what = f"{row['arm']}, {row['metric']}"
        listed.add((row["arm"], row["metric"]))
        values = counted.get((row["arm"], row["metric"]), [])
        tally.same("results.csv", what, "n", row["n"], str(len(values)))
        if values:
            mean, sd = spread(values)
            tally.same("results.csv", what, "mean", number(row["mean"]), mean)
            # the sd of near-equal numbers is known to the rounding of the numbers only
            tally.same("results.csv", what, "sd", number(row["sd"]), sd, ABSOLUTE * max(1, abs(mean)))
        tally.same("results.csv", what, "reference", number(row["reference"]), reported(e, row["arm"], row["metric"]))
    tally.same("results.csv", "all rows", "arms and metrics", sorted(listed), sorted(counted))
    twin = parsed(e.folder / "results.json", json.loads)["rows"] if e.has("results.json") else []
    numbers = {"n", "mean", "sd", "reference"}
    plain = [{k: number(v) if k in numbers else v for k, v in row.items()} for row in e.results]
    tally.same("results.json", "all rows", "count", len(twin), len(plain))
    for row, other in zip(twin, plain):
        row = {k: number(v) if k in numbers else v for k, v in row.items()}
        tally.same("results.json", f"{other['arm']}, {other['metric']}", "row", row, other)


# ---- claims -----------------------------------------------------------------------------------------------------------

class Mistake(Exception):
    """What keeps a claim from being evaluated as it is written; its runs and the other claims stand."""


class Part:
    """One comparison of a claim: a number a seed, and what Student's t says of its mean."""

    def __init__(self, e, test, form, arms, value=None, below=False):
        self.metric, self.form, self.arms, self.value = metric_of(test["metric"]), form, arms, value
        # A value is compared with in the metric's own unit, whatever the metric (docs/columns.md, `bound` and `unit`).
        self.ratio = base(self.metric) in BY_RATIO and value is None
        self.margin = float(test["margin"])
        self.words = {"order": "above", "equal": "equal to", "bound": "below" if below else "above", "about": "about"}.get(form)
        self.below = below
        self.of = [e.per_seed(a, self.metric, "alone" if len(arms) == 1 else "beside") for a in arms]
        if len(arms) > 1 and base(self.metric) in TIMES:  # "the runs are of 20 steps or fewer, which are mostly the first one"
            steps = lambda a, seed: (e.runs[a, e.by_metric[a, self.metric][seed]["run"]]["outcome"] or {}).get("steps", 21)
            self.of = [{seed: x for seed, x in known.items() if steps(a, seed) > 20} for a, known in zip(arms, self.of)]
        if self.ratio:  # read off: a seed without a number above 0 is left out
            self.of = [{seed: x for seed, x in known.items() if x > 0} for known in self.of]
        trials = [e.trial.get(a, a) for a in arms]
        # What it is a number of; claims about the same use the same runs again.
        self.trainings = sorted(trials)
        self.seeds = [s for s in self.of[0] if all(s in known for known in self.of)]
        if len(arms) > 1 and len(set(trials)) == 1:
            self.seeds = []  # "arms that come down to the same training are one arm": nothing is compared
        if base(self.metric) in TO_A_LOSS:  # the seeds that are left would be chosen by what is measured
            came = {a: set(e.by_metric.get((a, self.metric), ())) for a in arms}
            missed = set().union(*(set(e.by_metric.get((a, "roughness"), ())) - came[a] for a in arms))  # of runs with rows of steps
            if missed if len(arms) == 1 else missed & set().union(*came.values()):
                self.seeds = []
        # What it is a number of; claims about the same use the same runs again.
        runs = {e.by_metric[a, self.metric][s]["run"] for a in arms for s in self.seeds}
        # An accuracy is known to one image of its split, a length to one update: equal ones have no smaller spread (docs/reading-a-verdict.md).
        steps = [e.step_of(a, e.by_metric[a, self.metric][s]["run"], self.metric) / (e.number(a, self.metric, s) if self.ratio else 1)
                 for a in arms for s in self.seeds]
        weights = {(s, e.weights(a, e.by_metric[a, self.metric][s]["run"])) for a in arms for s in self.seeds}
        if len(arms) > 1 and len(weights) == len(self.seeds):
            steps = []  # runs of a seed that end with the same weights are one: that they are equal is no luck
        self.step = max(steps, default=0.0)
        self.basis = self.metric, tuple(sorted(runs or trials))
        table = [[known[s] for known in self.of] for s in self.seeds]
        table = [[math.log(x) for x in row] if self.ratio else row for row in table]
        self.sign = -1 if below else 1
        self.numbers = [self.sign * self.reduced(row) for row in table]
        self.n = len(self.numbers)
        self.mean, self.sd = spread(self.numbers) if self.n else (None, None)
        if self.sd and self.sd <= ABSOLUTE * max(abs(x) for row in table for x in row):
            self.sd = 0.0  # of equal numbers there is the rounding of their subtraction

    def is_same_number(self, other):
        """Whether it is that number "seen from two sides": of the same trainings, but for its sign and what it is counted from."""
        if self.trainings != other.trainings or self.seeds != other.seeds or not self.n:
            return False
        if not self.sd or not is_proportional(self.metric, other.metric):
            return self.metric == other.metric
        rests = ([one - sign * two for one, two in zip(self.numbers, other.numbers)] for sign in (1, -1))
        return any(max(rest) - min(rest) <= RELATIVE * self.sd for rest in rests)

    def reduced(self, row):
        if self.value is not None:
            return row[0] - self.value
        if self.form in ("order", "equal"):
            return row[0] - row[1]
        ranks = [i - (len(row) - 1) / 2 for i in range(len(row))]  # least squares over 0, 1, 2, ...
        return sum(r * x for r, x in zip(ranks, row)) / sum(r * r for r in ranks)

    def interval(self, outside):
        """The Student-t interval of the mean that leaves out the share `outside`, half on each side."""
        half = t_quantile(1 - outside / 2, self.n - 1) * max(self.sd, self.step) / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def chance(self, distance):
        """P of a mean at least so far above its boundary by chance."""
        sd = max(self.sd, self.step)
        if sd == 0:
            return 0.0 if distance > 0 else 1.0
        return t_above(distance / (sd / math.sqrt(self.n)), self.n - 1)

    def decide(self, parts):
        """Verdict and p of this part alone, of `parts` distinct ones (docs/reading-a-verdict.md, "The answers").

        Both sides of an equality can refute it: its p is the two-sided one (read off). An order's is one-sided.
        """
        self.supports = self.refutes = None
        if not self.n:
            return "not_evaluated"
        if self.n < 2:  # "One seed never decides anything"
            return "inconclusive"
        least = math.log1p(self.margin) if self.ratio else self.margin
        low, high = self.interval(0.05)
        strict_low, strict_high = self.interval(0.05 / parts)
        if self.form in ("equal", "about"):
            self.supports = max(self.chance(least - self.mean), self.chance(least + self.mean))
            inner_low, inner_high = self.interval(0.1)
            supported = -least < inner_low and inner_high < least
            refuted = strict_low > least or strict_high < -least
            self.refutes = 2 * parts * min(self.chance(self.mean - least), self.chance(-least - self.mean))
        else:
            self.supports = self.chance(self.mean)
            supported, refuted = low > 0 and self.mean >= least, strict_high < least
            self.refutes = parts * self.chance(least - self.mean)
        return "supported" if supported else "refuted" if refuted else "inconclusive"

    def shown(self, x):
        """A number of the scale it was computed on, as claims.csv shows it: an arm's own, a per cent, or a difference."""
        return self.sign * x + self.value if self.value is not None else self.distance(x)

    def distance(self, x):
        if not self.ratio:
            return x
        return 100 * math.expm1(x) if x < 700 else math.inf  # near the largest number there is

    def shown_interval(self, outside):
        return sorted(map(self.shown, self.interval(outside))) if self.n > 1 else (None, None)

    def row(self, parts):
        """The columns of claims.csv that are of one comparison (docs/columns.md).

        detectable is (t_0.975 + t_0.8) s / sqrt n, of an equality (t_0.95 + t_0.9) s / sqrt n: the usual
        approximation to "a power of 75 to 80 %" (read off); of all but an equality margin + z_0.8 s / sqrt n at least,
        for the mean must come to the margin too.
        """
        verdict = self.decide(parts)
        low, high = self.shown_interval(0.05)
        both = self.form in ("equal", "about")
        detectable = None
        if self.n > 1:
            power = sum(t_quantile(p, self.n - 1) for p in ((0.95, 0.9) if both else (0.975, 0.8)))
            error = max(self.sd, self.step) / math.sqrt(self.n)
            least = math.log1p(self.margin) if self.ratio else self.margin
            found = power * error if both else max(power * error, least + statistics.NormalDist().inv_cdf(0.8) * error)
            detectable = self.distance(found)
        p = self.refutes if verdict == "refuted" else self.supports
        unit = "%" if self.ratio else UNITS.get(base(self.metric), "")
        return {"estimate": self.shown(self.mean) if self.n else None, "low": low, "high": high, "unit": unit,
                "bound": self.value, "margin": self.margin * (100.0 if self.ratio else 1.0), "seeds": float(self.n),
                "held": float(sum(x > 0 for x in self.numbers)) if self.form == "order" and self.n > 1 else None,
                "effect_size": self.mean / self.sd if self.sd else None, "detectable": detectable, "p": p,
                "evidence_verdict": verdict}


SPLITS = {"val_acc": ("validation",), "test_acc": ("test",), "test_top3": ("test",), "train_acc": ("train",), "train_eval_acc": ("train_eval",),
          "gap_acc": ("train_eval", "validation"), "gap_as_trained": ("train", "validation"),
          "test_precision": ("test",), "test_recall": ("test",), "test_f1": ("test",)}
TO_A_LOSS = {"updates_to_train_loss", "epochs_to_train_loss"}
KIN = TO_A_LOSS, {"gradient_variance", "gradient_covariance"}


def is_proportional(one, other):
    return one == other or any({base(one), base(other)} == kin for kin in KIN) and one.partition("@")[2] == other.partition("@")[2]


FORMS = ("order", "equal", "bound", "rises", "falls")


def is_number(text):
    return bool(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text, re.A | re.I)) and math.isfinite(float(text))


def metric_of(text):
    """A metric as tables name it (docs/experiment.md, "Metrics")."""
    name, has_at, at = text.partition("@")
    if name not in METRICS or has_at and not (is_number(at) and float(at) > 0):
        raise Mistake(f"metric {text}")
    if name in AT_LOSSES:
        is_right = bool(has_at)
    else:
        is_right = not has_at or name == "early_loss" or name in AT_EPOCHS and float(at) % 1 == 0
    if not is_right:
        raise Mistake(f"what stands after the @ of {text}")
    return f"{name}@{decimal(at)}" if has_at else name


def arms_named(e, names):
    arms = tuple(map(e.arm, names))
    if None in arms:
        raise Mistake(f"no arm '{names[arms.index(None)]}'")
    if len(set(arms)) < len(arms):
        raise Mistake("an arm beside itself")
    return arms


def parts_of(e, test):
    """The comparisons of a test (docs/experiment.md, "tests of a claim"); of a chain the consecutive pairs."""
    forms = [form for form in FORMS if form in test]
    margin = test.get("margin", 0)
    if len(forms) != 1 or not (math.isfinite(margin) and margin > 0):
        raise Mistake("one form, and a margin above 0")
    metric = base(metric_of(test["metric"]))
    is_share = metric not in BY_RATIO and not UNITS.get(metric)
    if is_share and margin >= 1:
        raise Mistake("a margin of shares below 1")
    form, said = forms[0], test[forms[0]]
    if form in ("rises", "falls"):
        arms = arms_named(e, said)
        if len(arms) < 2:
            raise Mistake("a trend over fewer than two arms")
        # "Arms that come down to the same training are one arm": a rank, and not two.
        distinct = [arm for i, arm in enumerate(arms) if e.trial.get(arm, arm) not in {e.trial.get(other, other) for other in arms[:i]}]
        return [Part(e, test, "trend", distinct if len(distinct) > 1 else arms, below=form == "falls")]
    signs = [sign for sign in ("=" if form == "equal" else "<>") if sign in said]
    sides = said.split(signs[0]) if signs else [said]
    if form == "order":
        if len(signs) != 1 or any(not side.strip() or side.startswith("=") for side in sides):
            raise Mistake("an order has either < or > between its arms")
        chain = arms_named(e, sides)
        return [Part(e, test, "order", pair) for pair in itertools.pairwise(chain[::-1] if signs == ["<"] else chain)]
    if form == "equal":
        if len(sides) != 2:
            raise Mistake("an equality has two sides")
        # An arm may be called by a number: it goes before the value.
        if e.arm(sides[1]) is None and is_number(sides[1].strip()):
            if is_share and abs(float(sides[1])) > 1:
                raise Mistake("a share is no percentage")
            return [Part(e, test, "about", arms_named(e, sides[:1]), float(sides[1]))]
        return [Part(e, test, "equal", arms_named(e, sides))]
    found = re.fullmatch(r"([^<>]*)([<>])(.*)", said, re.S)
    if not found or not is_number(found[3].strip()):
        raise Mistake("a bound has an arm, < or >, and a number")
    if is_share and abs(float(found[3])) > 1:
        raise Mistake("a share is no percentage")
    return [Part(e, test, "bound", arms_named(e, [found[1]]), float(found[3]), found[2] == "<")]


def needs_met(e, needs, parts):
    """Whether the runs are what a claim needs (docs/experiment.md, "needs of a claim")."""
    arms = {arm for part in parts for arm in part.arms}
    of = lambda metric: [list(e.per_seed(arm, metric).values()) for arm in arms]
    met = True
    if "updates" in needs:
        met &= all(x >= needs["updates"] for arm in of("updates") for x in arm)
    if "train_loss" in needs:
        if not needs["train_loss"] > 0:
            raise Mistake("`train_loss` is above 0")
        met &= all(x <= needs["train_loss"] for arm in of("train_eval_loss") for x in arm)
    if "plan" in needs:
        used = {(row["arm"], row["run"]) for row in e.values if row["arm"] in arms}
        met &= all(e.runs[run]["plan"]["name"] == needs["plan"] for run in used if run in e.runs)
    if "alike" in needs:  # an arm without a value is alike with none
        within = needs["alike"]["within"]
        of_arms = [e.per_seed(arm, metric_of(needs["alike"]["metric"])) for arm in arms]
        known = [[x for seed, x in of_arm.items() if all(seed in other for other in of_arms)] for of_arm in of_arms]
        if not (math.isfinite(within) and within > 0):
            raise Mistake("`within` is above 0")
        means = [statistics.fmean(arm) for arm in known if arm]
        met &= len(means) == len(arms) and max(means) - min(means) <= within
    return met


def overall(verdicts):
    """Of parts that must all hold (docs/reading-a-verdict.md, "The answers")."""
    if verdicts <= {"not_evaluated", "supported"}:
        return "supported" if verdicts == {"supported"} else "not_evaluated"
    if "refuted" in verdicts:
        return "partly" if "supported" in verdicts else "refuted"
    return "inconclusive"


class Claim:
    def __init__(self, e, table, again, is_repeated):
        """`again`: how many claims above it have its id; `is_repeated`: one has its place on the page."""
        self.id, self.says, self.experiment = table["id"], english(table["says"]), e
        self.key = e.id, self.id, again
        try:
            if is_repeated or not table["tests"]:
                raise Mistake("an id of its own, and a test")
            self.parts = [part for test in table["tests"] for part in parts_of(e, test)]
            is_judged = needs_met(e, table.get("needs", {}), self.parts)
        except Mistake:
            self.parts, is_judged = [], False
        self.count = sum(not any(part.is_same_number(other) for other in self.parts[:i]) for i, part in enumerate(self.parts))
        self.rows = [part.row(self.count) for part in self.parts] if is_judged else []
        self.bases = {part.basis for part in self.parts} if is_judged else set()
        sides = defaultdict(set)  # of each number, as one may be asked for on both sides
        for i, (part, row) in enumerate(zip(self.parts, self.rows)):
            first = next((j for j, other in enumerate(self.parts[:i]) if part.is_same_number(other)), i)
            sides[first].add(row["evidence_verdict"])
        # A number that is as asked on one side and not on the other is not as asked.
        of_parts = [overall(side).replace("partly", "refuted") for side in sides.values()]
        self.verdict = overall(set(of_parts))
        against = [p.refutes for p, row in zip(self.parts, self.rows) if row["evidence_verdict"] == "refuted"]
        support = [p.supports for p in self.parts] if self.rows else [None]
        self.p = min(against) if against else None if None in support else max(support)
        self.repeats, self.q = "", None


def claims_of(e):
    """The claims of an experiment's file, in its order."""
    tables = e.file.get("claims", [])
    ids = [table["id"] for table in tables]
    # Ids that differ in signs or case alone would be one place on the page.
    places = ["".join(letter if letter.isalnum() else "-" for letter in id).lower() for id in ids]
    return [Claim(e, table, ids[:i].count(ids[i]), places[i] in places[:i]) for i, table in enumerate(tables)]


def settle(claims):
    """Which claims repeat an earlier one's numbers, and q of the others: Benjamini and Hochberg 1995, over those tested."""
    tested = []
    for claim in (c for c in claims if c.bases):
        claim.repeats = next((c.id for c in tested if claim.bases <= c.bases), "")
        if claim.verdict != "not_evaluated":
            tested.append(claim)
    ranked = sorted((c for c in tested if not c.repeats and c.p is not None), key=lambda c: c.p)
    least = 1.0
    for rank in range(len(ranked), 0, -1):
        least = min(least, ranked[rank - 1].p * len(ranked) / rank)
        ranked[rank - 1].q = least


CLAIMS = "experiment profile claim says verdict q repeats evidence unit evidence_verdict"


def check_claims(folder, experiments, tally):
    """claims.csv of an index against the values and files of its experiments; gives each claim its rows there."""
    numeric = "estimate low high bound margin seeds held effect_size detectable p".split()
    groups = defaultdict(list)
    for row in rows_of(folder / "claims.csv", " ".join([CLAIMS, *numeric])):
        groups[row["experiment"], row["claim"], 0].append(row)
    made = {claim.key: claim for e in experiments for claim in claims_of(e)}
    for key in sorted((key for key in made if key[2]), reverse=True):  # of a second claim of one id, a mistake, there is one row
        if len(groups.get(key[:2] + (0,), [])) > 1:
            groups[key].append(groups[key[:2] + (0,)].pop())
    # experiments without a page here are listed, and no number of theirs
    index = parsed(folder / "page.json", json.loads)
    bare = {other["id"] for other in index.get("others", [])}
    for key in [key for key in groups if key[0] in bare]:
        verdicts = [row["verdict"] for row in groups.pop(key)]
        tally.same("claims.csv", " ".join(key[:2]), "verdict", verdicts, ["not_evaluated"] * len(verdicts))
    for key in sorted(groups.keys() | made.keys()):
        tally.same("claims.csv", " ".join(key[:2]), "is there", key in groups, key in made)
    claims = [made[key] for key in groups if key in made]
    settle(claims)
    for claim in claims:
        rows = groups[claim.key]
        whole = {"verdict": claim.verdict, "q": claim.q, "repeats": claim.repeats, "says": claim.says,
                 "profile": claim.experiment.page.get("profile") or ""}
        expected_rows = claim.rows or [{}]
        tally.same("claims.csv", claim.id, "rows", len(rows), len(expected_rows))
        for i, (row, expected) in enumerate(zip(rows, expected_rows)):
            what = f"{claim.id}, part {i + 1}"
            for column, value in {**dict.fromkeys(numeric), "unit": "", "evidence_verdict": "", **expected, **whole}.items():
                found = number(row[column]) if column in numeric or column == "q" else row[column]
                tally.same("claims.csv", what, column, found, value, 0 if column in ("p", "q") else ABSOLUTE)
            part = claim.parts[i] if expected else None
            if part and part.words:
                end = f": {part.arms[0]} {part.words} " + (part.arms[1] if part.value is None else "")
                tally.same("claims.csv", what, "evidence", end if end in row["evidence"] else row["evidence"], end)
    return groups


# ---- pages ------------------------------------------------------------------------------------------------------------

def text_of(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"<svg.*?</svg>", "", markup, flags=re.S))).split())


WORDS = {math.inf: "\u221e", -math.inf: "-\u221e"}


def check_rounding(tally, check, row, column, shown, value, decimals=None):
    """A number on a page, with U+2212 for minus, is the rounding of a value to as many decimals as it shows."""
    plain = shown.replace("\u2212", "-").replace(",", "")
    if plain.startswith("<") and value is not None:  # a spread that its decimals would write as none
        places = len(plain.partition(".")[2])
        is_below = value > 0 and float(f"{value:.{places}f}") == 0 and plain == f"<{10.0 ** -places:.{places}f}"
        tally.same(check, row, column, shown, shown if is_below else value)
        return
    if value is not None and not math.isfinite(value):
        tally.same(check, row, column, plain.removeprefix("+"), WORDS.get(value, "not a number"))
        return
    if value is None or not re.fullmatch(r"[+-]?\d+(\.\d+)?", plain):
        tally.same(check, row, column, shown, value)
        return
    places = len(plain.partition(".")[2]) if decimals is None else decimals
    expected = f"{value:.{places}f}"
    equal = Decimal(plain) == Decimal(expected) and len(plain.partition(".")[2]) == places and not shown.startswith("-")
    expected = expected.replace("-", "\u2212")
    tally.same(check, row, column, expected if equal else shown, expected)


def check_table(e, page, tally):
    table = re.search(r'<table aria-label="Results">(.*?)</table>', page, re.S)
    if not table:
        tally.same("index.html", "Results", "table", "none", "one")
        return
    results = {(r["arm"], r["metric"]): r for r in e.results}
    name = english(e.file.get("reference", {}).get("name", "\0"))
    heads = []
    for markup in re.findall(r"<tr[^>]*>(.*?)</tr>", table[1], re.S):
        cells = [text_of(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", markup, re.S)]
        if not heads:
            heads = cells
            continue
        kind = next((k for k in (name, "difference") if cells[0].endswith(" " + k)), None)
        ours = re.fullmatch(r"(.*) ours, n = (\d+)", cells[0])
        if not kind and not ours:
            tally.same("index.html", "Results", "row", cells[0], "an arm, and n")
            continue
        arm, n = (cells[0].removesuffix(" " + kind), None) if kind else ours.groups()
        tally.same("index.html", arm, "arm", arm in e.arms, True)
        whole = results.get((arm, "val_acc"), {}).get("n", "0")
        if n is not None:
            tally.same("index.html", arm, "n", n, whole)
        for head, cell in zip(heads[1:], cells[1:]):
            what, decimals = f"{arm}, {kind or 'ours'}", 3 if head.endswith(" min") else 4
            if head not in HEADINGS:
                tally.left["index.html"][f"column {head}"] += 1
                continue
            row = results.get((arm, HEADINGS[head]), {})
            mean, sd = (number(row.get(k)) for k in ("mean", "sd"))
            # a source's number is shown also beside an arm of which there is none
            reference = reported(e, arm, HEADINGS[head])
            if kind is None and mean is not None:
                # a mean of fewer seeds than its row says of how many
                cell, _, fewer = cell.partition(" n = ")
                tally.same("index.html", what, head + " n", fewer or whole, row["n"])
                first, _, second = cell.partition(" \u00b1 ")
                check_rounding(tally, "index.html", what, head, first, mean, decimals)
                if sd is not None or second:
                    check_rounding(tally, "index.html", what, head + " sd", second, sd, decimals)
            elif kind == name and reference is not None:
                check_rounding(tally, "index.html", what, head, cell, reference)
            elif kind == "difference" and reference is not None and mean is not None:
                check_rounding(tally, "index.html", what, head, cell, mean - reference, decimals)
            else:
                tally.same("index.html", what, head, cell if cell else "\u2013", "\u2013")


# the widest interval of a ratio, high over low, that says anything
WIDEST_RATIO = 100
N = r"([+\u2212-]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\u221e))"
SHOWN = [(rf"^{N}", ["estimate"]), (rf"^[^;]*95 % interval {N} to {N}", ["low", "high"]),
         (rf"(?:least effect that matters|by at least) {N}", ["margin"]), (rf"to be compared with {N}", ["bound"]),
         (rf"to be within {N}(?: [^;]*?)? of {N}", ["margin", "bound"]),
         (rf"; {N} seeds?\b", ["seeds"]), (rf"above in {N} of {N} seeds", ["held", "seeds"]),
         (rf"share of all seeds {N} to {N}\)", ["share low", "share high"]), (rf"With {N} seeds? and this spread", ["seeds"]),
         (rf"effect size d = {N}", ["effect_size"]),
         (rf"this spread .*?(?:an effect of|equal within) {N}", ["detectable"]), (rf"wider interval, {N} to {N}", ["wide low", "wide high"])]


def share_interval(k, n):
    """The 95 % interval of a share (Wilson 1927): three of three is 0.44 to 1 (docs/reading-a-verdict.md)."""
    z = statistics.NormalDist().inv_cdf(0.975)
    half = z * math.sqrt(k * (n - k) / n + z * z / 4)
    return (k + z * z / 2 - half) / (n + z * z), (k + z * z / 2 + half) / (n + z * z)


def check_numbers(e, page, groups, tally):
    """The line of numbers below each comparison; beside a claims.csv it is that file's rounding, else our own number's."""
    claims, pairs = claims_of(e), []
    for claim in claims:
        rows = [row for row in groups.get(claim.key, []) if row["evidence"]] if groups else claim.rows
        pairs += [(f"{claim.id}, part {i + 1}", row, part, claim.count) for i, (row, part) in enumerate(zip(rows, claim.parts))]
    for kind, before, expected in [("claims", r'<h3><span class="claim-id">[^<]*</span> ', [(c.id, c.verdict) for c in claims]),
                                   ("parts", r'<p class="what">\s*', [(what, row["evidence_verdict"]) for what, row, *_ in pairs])]:
        found = re.findall(before + r'<span class="verdict ([a-z-]+)', page)
        if expected and not found:
            tally.left["index.html"][f"verdicts of {kind}, of which the page has none"] += 1
            continue
        tally.same("index.html", "verdicts", kind, len(found), len(expected))
        for verdict, (what, right) in zip(found, expected):
            tally.same("index.html", what, "verdict", verdict.replace("-", "_"), right)
    lines = [text_of(m) for m in re.findall(r'<p class="numbers">(.*?)</p>', page, re.S)]
    tally.same("index.html", "numbers", "lines", len(lines), len(pairs))
    for line, (what, row, part, parts) in zip(lines, pairs):
        wide = part.shown_interval(0.05 / parts)
        known = {k: number(row[k]) for k in row if k in "estimate low high margin bound seeds held effect_size detectable".split()}
        known |= {"wide low": wide[0], "wide high": wide[1]}
        if known["held"] is not None:
            known["share low"], known["share high"] = share_interval(known["held"], known["seeds"])
        read = set()
        for pattern, columns in SHOWN:
            match = re.search(pattern, line)
            for column, shown in zip(columns, match.groups() if match else []):
                read.add(column)
                check_rounding(tally, "index.html", what, column, shown, known.get(column))
        must = {k for k in ("estimate", "low", "high", "margin", "bound", "seeds") if known[k] is not None}
        if "; no information, for" in line:  # then the interval is not shown
            must -= {"low", "high"}
            if part.ratio:
                low, high = part.interval(0.05)
                tally.same("index.html", what, "too wide to say anything", True, high - low > math.log(WIDEST_RATIO))
        tally.same("index.html", what, "numbers shown", sorted(must - read), [])


# ---- an explanation's folder ------------------------------------------------------------------------------------------

# Blocks after which a verdict is looked for, with the one-sided level of that look: linear alpha spending of 2.5 % on
# either side (as the page says under "How it is decided").
LOOKS = {3: 0.0036, 5: 0.0029, 8: 0.0045, 12: 0.0064, 20: 0.0127}
MAIN, CONTRIBUTES, NO_CAUSE, LEAST_SLOWDOWN, BORROWED = 0.5, 0.1, 0.25, 1.05, 2
# A share's ends are found by bisection, which ends there.
SHARE_ENDS = 4e-9


class Seen:
    """What the first blocks of an explanation say; costs are by block and condition, as measured.json has them."""

    def __init__(self, study, blocks):
        self.study, self.blocks = study, study.counted(blocks)
        level = next((level for n, level in LOOKS.items() if blocks <= n), LOOKS[20])
        self.alpha = 2 * level
        self.noise = self.noise_of_all()
        low, high = study.low, study.high
        self.ratio = self.exp(self.contrast({high: 1, low: -1}))
        self.above = self.exp(self.contrast({high: 1, low: -1}, -math.log(study.ideal)))
        self.floor = None
        if study.alike:
            control = self.exp(self.contrast({study.alike[1]: 1, study.alike[0]: -1}))
            self.floor = control and control[1] and max(control[1][1], 1 / control[1][0])
        self.presence = "undecided"
        if self.above and self.above[1] and self.floor:
            (value, (lower, upper), _) = self.above
            if lower > 1 and value >= max(LEAST_SLOWDOWN, self.floor):
                self.presence = "found"
            elif upper < LEAST_SLOWDOWN:
                self.presence = "absent"

    def noise_of_all(self):
        """Standard deviation and degrees of freedom of what block and condition leave (randomised complete blocks)."""
        cells = [(b, c, math.log(cost["us_per_image"])) for b, block in enumerate(self.blocks) for c, cost in block.items()]
        of_block, of_condition = defaultdict(float), defaultdict(float)
        for _ in range(100):
            for own, other, at in [(of_block, of_condition, 0), (of_condition, of_block, 1)]:
                rests = defaultdict(list)
                for cell in cells:
                    rests[cell[at]].append(cell[2] - other[cell[1 - at]])
                own.update({key: sum(rest) / len(rest) for key, rest in rests.items()})
        freedom = len(cells) + 1 - len({b for b, _, _ in cells}) - len({c for _, c, _ in cells})
        if freedom <= 0:
            return None
        return math.sqrt(sum((ln - of_block[b] - of_condition[c]) ** 2 for b, c, ln in cells) / freedom), freedom

    def contrast(self, weights, plus=0.0, of=lambda cost: cost["us_per_image"], squares=None, among=None):
        """A weighted sum of logarithms in each block that has all conditions, and the squares of the weights."""
        blocks = [block for block in (self.blocks if among is None else among) if all(c in block for c in weights)]
        values = [sum(w * math.log(of(block[c])) for c, w in weights.items()) + plus for block in blocks]
        return values, sum(w * w for w in weights.values()) if squares is None else squares

    def estimate(self, contrast, alpha, noise=True):
        """Mean, interval and blocks: Student's t, the variance moderated by that of all conditions (Smyth 2004)."""
        values, squares = contrast
        if not values:
            return None
        own, (sd, known) = len(values) - 1, self.noise if noise and self.noise else (0.0, 0)
        borrowed = max(0.0, min(BORROWED, known - own)) if noise and self.noise else 0.0
        mean, freedom = statistics.fmean(values), own + borrowed
        if freedom <= 0:
            return mean, None, len(values)
        spread = own * statistics.variance(values) if own else 0.0
        error = math.sqrt((spread + borrowed * sd * sd * squares) / freedom / len(values))
        half = error * t_quantile(1 - alpha / 2, freedom)
        return mean, (mean - half, mean + half), len(values)

    def exp(self, contrast):
        found = self.estimate(contrast, self.alpha)
        return found and (math.exp(found[0]), found[1] and tuple(map(math.exp, found[1])), found[2])

    def judge(self, beyond, sure=None):
        """Share, its interval (Fieller 1954), blocks and verdict of what goes beyond a share of the slowdown.

        `sure` is that of which the low end is, where it is not the same: what is the cause's beyond doubt.
        """
        contrast, rest, sure = beyond(0.0), beyond(1.0), sure or beyond
        if not contrast[0]:
            return {"verdict": "not_measured", "share": None, "blocks": 0}
        part, rest = statistics.fmean(contrast[0]), statistics.fmean(rest[0])
        ends = []
        for end, at, alpha in [(0, sure, self.alpha / max(1, self.study.tested)), (1, beyond, self.alpha)]:
            of = lambda share: (self.estimate(at(share), alpha)[1] or (None, None))[end]
            above, below = -1000.0, 1000.0
            if of(above) is None or of(above) <= 0 or of(below) >= 0:
                break
            for _ in range(40):
                middle = (above + below) / 2
                above, below = (middle, below) if of(middle) > 0 else (above, middle)
            ends.append((above + below) / 2)
        counts = self.floor is not None and statistics.fmean(sure(0.0)[0]) > math.log(self.floor)
        verdict = "open"
        if len(ends) == 2:
            verdict = ("main_cause" if ends[0] > MAIN and counts else "contributes" if ends[0] > CONTRIBUTES and counts
                       else "ruled_out" if ends[1] < NO_CAUSE else "open")
        share = {"value": part / (part - rest), "interval": ends if len(ends) == 2 else None}
        return {"verdict": verdict, "share": share, "blocks": len(contrast[0])}

    def removal(self, given, removed):
        low, high, ideal = self.study.low, self.study.high, math.log(self.study.ideal)
        added = self.estimate(self.contrast({removed["low"]: 1, given["low"]: -1}), self.alpha)
        # "Where a removal makes the low level dearer beyond doubt ... the low end ... counts only what the high one itself gains."
        is_dearer = added and added[1] and added[1][0] > 0

        def beyond(share, kept=1.0):
            weights = defaultdict(float)
            for condition, weight in [(given["high"], 1), (removed["high"], -1), (given["low"], -kept), (removed["low"], kept),
                                      (high, -share), (low, share)]:
                weights[condition] += weight
            return self.contrast(weights, share * ideal)

        left = self.exp(self.contrast({removed["high"]: 1, removed["low"]: -1}, -ideal))
        gain = self.exp(self.contrast({given["high"]: 1, removed["high"]: -1}))
        is_as_it_is = given == {"low": low, "high": high}
        before = None if is_as_it_is else self.exp(self.contrast({given["high"]: 1, given["low"]: -1}, -ideal))
        sure = (lambda share: beyond(share, 0.0)) if is_dearer else beyond
        return self.judge(beyond, sure) | {"slowdown_given": before, "slowdown_left": left, "gain": gain}

    def phases(self, names):
        at = [self.study.PARTS.index(name) for name in names]
        low, high = self.study.low, self.study.high
        left = lambda cost: cost["us_per_image"] - sum(cost["part_us_per_image"][i] for i in at)
        factor = lambda cost: cost["us_per_image"] / left(cost)
        odds = lambda c: statistics.fmean([factor(block[c]) - 1 for block in self.blocks if c in block and left(block[c]) > 0] or [0.0])
        # A block in which these phases were all of a step says nothing of what would be left of it, of part and whole alike.
        told = [block for block in self.blocks if all(left(block[c]) > 0 for c in (low, high) if c in block)]
        part = self.contrast({high: 1, low: -1}, of=factor, squares=odds(low) ** 2 + odds(high) ** 2, among=told)
        whole = self.contrast({high: 1, low: -1}, -math.log(self.study.ideal), among=told)

        def beyond(share):
            return [p - share * w for p, w in zip(part[0], whole[0])], part[1] + share * share * whole[1]

        return self.judge(beyond) | {"slowdown_given": None, "slowdown_left": None, "gain": None}


class Study:
    PARTS = "load copy forward backward optimizer read_back rest".split()

    def __init__(self, folder, page):
        self.file = parsed(folder / f"{page['study']}.toml", tomllib.loads)
        kept = parsed(folder / "measured.json", json.loads)["measured"]
        self.said = parsed(folder / "explanation.json", json.loads)
        self.alike = kept["design"].get("alike")
        blocks = [block["processes"] for _, block in sorted(kept["blocks"].items(), key=lambda item: int(item[0]))]
        self.blocks = [{int(c): process["cost"] for c, process in block.items()} for block in blocks]
        # Disturbed when it was measured again, too.
        self.loud = [{int(c) for c, process in block.items() if process["disturbed"] is not None and process["attempts"] > 1}
                     for block in blocks]
        self.low, self.high = page["layout"]["levels"]["low"], page["layout"]["levels"]["high"]
        self.tests, self.ideal = page["layout"]["tests"], self.file.get("ideal", 1.0)
        self.hypotheses = list(zip(self.file["hypotheses"], self.tests))
        self.tested = sum("phases" in h or isinstance(t, dict) and "compared" in t for h, t in self.hypotheses)

    def counted(self, blocks):
        """The first blocks without what was disturbed twice, where that is at most a quarter of a condition's processes."""
        first, loud = self.blocks[:blocks], self.loud[:blocks]
        of, twice = (Counter(c for block in each for c in block) for each in (first, loud))
        return [{c: cost for c, cost in block.items() if not (c in away and twice[c] <= of[c] / 4)}
                for block, away in zip(first, loud)]

    def found(self):
        """Of each hypothesis what was found at the look that decided it, and the last look."""
        found = [None] * len(self.hypotheses)
        for blocks in [n for n in LOOKS if n < len(self.blocks)] + [len(self.blocks)]:
            seen = Seen(self, blocks)
            for i, (hypothesis, test) in enumerate(self.hypotheses):
                known = found[i]["verdict"] if found[i] else "open"
                ends = found[i] and found[i]["share"] and found[i]["share"]["interval"]
                # What contributes may still turn out to be the main cause.
                may_be_main = known == "contributes" and ends and ends[1] > MAIN
                is_open = known in ("open", "not_measured") or may_be_main
                if not is_open or not (blocks == len(self.blocks) or seen.presence == "found"):
                    continue
                now = None
                if "phases" in hypothesis:
                    now = seen.phases(hypothesis["phases"])
                elif isinstance(test, dict) and "compared" in test:
                    now = seen.removal(**test["compared"])
                if now and (not may_be_main or now["verdict"] == "main_cause"):
                    found[i] = now
        return found, seen


def check_explanation(folder, page, tally):
    study = Study(folder, page)
    found, seen = study.found()
    name, said = "explanation.json", study.said

    def estimate(row, column, shown, expected):
        if shown is None or expected is None:
            tally.same(name, row, column, shown, expected)
            return
        tally.same(name, row, column, shown["value"], expected[0])
        tally.same(name, row, column + " blocks", shown["n"], expected[2])
        for end, a, b in zip(("low", "high"), shown["interval"] or (None, None), expected[1] or (None, None)):
            tally.same(name, row, f"{column} {end}", a, b)

    for column, value in [("alpha", seen.alpha), ("blocks", len(study.blocks)), ("tested", study.tested), ("floor", seen.floor),
                          ("left_out", sum(map(len, study.blocks)) - sum(map(len, seen.blocks)))]:
        tally.same(name, "whole", column, said[column], value)
    tally.same(name, "slowdown", "presence", said["slowdown"]["presence"], seen.presence)
    estimate("slowdown", "ratio", said["slowdown"]["ratio"], seen.ratio)
    estimate("slowdown", "above_ideal", said["slowdown"]["above_ideal"], seen.above)
    for shown, expected in zip(said["hypotheses"], found):
        if expected is None:
            tally.left[name]["hypothesis that is not tested by numbers"] += 1
            continue
        share = expected["share"] if seen.presence == "found" else None
        if seen.presence == "found":
            tally.same(name, shown["id"], "verdict", shown["verdict"], expected["verdict"])
        tally.same(name, shown["id"], "blocks", shown["blocks"], expected["blocks"])
        tally.same(name, shown["id"], "share", (shown["share"] or {}).get("value"), share and share["value"])
        ends = (shown["share"] or {}).get("interval") or (None, None)
        for end, a, b in zip(("low", "high"), ends, (share and share["interval"]) or (None, None)):
            tally.same(name, shown["id"], f"share {end}", a, b, SHARE_ENDS)
        estimate(shown["id"], "slowdown_given", shown.get("slowdown_given"), expected["slowdown_given"])
        estimate(shown["id"], "slowdown_left", shown["slowdown_left"], expected["slowdown_left"])
        estimate(shown["id"], "gain", shown["gain"], expected["gain"])
    both = [(b[study.low], b[study.high]) for b in seen.blocks if study.low in b and study.high in b]
    for i, shown in enumerate(said["parts"]):
        low, high = ([pair[k]["part_us_per_image"][i] for pair in both] for k in (0, 1))
        tally.same(name, shown["part"], "low_us", shown["low_us"], statistics.fmean(low))
        tally.same(name, shown["part"], "high_us", shown["high_us"], statistics.fmean(high))
        more = [h - study.ideal * l for l, h in zip(low, high)]
        estimate(shown["part"], "more_us", shown["more_us"], seen.estimate((more, 0.0), seen.alpha, noise=False))
    check_causes(folder, study, tally)


def check_causes(folder, study, tally):
    """The table of causes on the page: roundings of what explanation.json has of the first guess of each mechanism."""
    page = folder / "index.html"
    table = re.search(r'<table class="causes".*?</table>', page.read_text(encoding="utf-8"), re.S) if page.is_file() else None
    if not table:
        tally.left["index.html"]["no English page"] += 1
        return
    rows = re.findall(r"<tr>(.*?)</tr>", re.search(r"<tbody>(.*?)</tbody>", table[0], re.S)[1], re.S)
    by_id = {h["id"]: h for h in study.said["hypotheses"]}
    tally.same("index.html", "causes", "rows", len(rows), len(study.said["mechanisms"]))
    for row, mechanism in zip(rows, study.said["mechanisms"]):
        first = by_id[mechanism["hypotheses"][0]]
        # What a test holds on both sides of its removal is a name, which may have digits.
        row = re.sub(r'<span class="given">.*?</span>', "", row, flags=re.S)
        cells = [text_of(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]
        share, left, given = first["share"], first["slowdown_left"], first.get("slowdown_given")
        if share and not share["interval"]:
            tally.same("index.html", mechanism["title"], "share", cells[1], "no information")
        for column, cell, shown, scale, places in [("share", cells[1], share, 100, 0), ("left", cells[2], left, 1, 2)]:
            if shown is None:
                tally.same("index.html", mechanism["title"], column, cell, "\u2013")
                continue
            if column == "share" and not shown["interval"]:
                continue
            numbers = re.findall(N, cell)
            from_given = [given["value"]] if column == "left" and given else []
            expected = [*from_given, shown["value"], *(shown["interval"] or ())]
            tally.same("index.html", mechanism["title"], column + " numbers", len(numbers), len(expected))
            for number_shown, value in zip(numbers, expected):
                check_rounding(tally, "index.html", mechanism["title"], column, number_shown, scale * value, places)


# ---- folders ----------------------------------------------------------------------------------------------------------

def audit(top):
    """A tally for each folder below `top` that has a page.json, by its path, and what could not be read."""
    tallies, unreadable, experiments = {}, [], {}
    folders = sorted(path.parent for path in top.rglob("page.json"))
    if not folders:
        unreadable.append(f"{top}: no page.json in it or below")
    indexes = []

    def guarded(path, work, *arguments):
        """What the work gives; whatever a file has that it cannot be read by is said."""
        try:
            return work(*arguments)
        except KeyError as error:
            unreadable.append(f"{path}: found no {error} where it is expected")
        except (OSError, ValueError) as error:
            unreadable.append(f"{path}: {error}")
        except Exception as error:
            unreadable.append(f"{path}: it has not the form that pinbench writes: {type(error).__name__}: {error}")

    def first_pass(folder):
        page = parsed(folder / "page.json", json.loads)
        tally = tallies[folder]
        check_hashes(folder, page, tally)
        if page["kind"] == "experiment":
            experiments[folder] = e = Experiment(folder, page)
            guarded(folder / "values.csv", check_values, e, tally)
            guarded(folder / "results.csv", check_results, e, tally)
        elif page["kind"] == "explanation":
            check_explanation(folder, page, tally)
        elif (folder / "claims.csv").is_file():
            indexes.append(folder)
        else:
            tally.left["page.json"][f"of kind {page['kind']}"] += 1

    def pages(folder, e, groups):
        path = folder / "index.html"
        page = path.read_text(encoding="utf-8") if path.is_file() else ""
        if re.search(r'<html[^>]*\blang="en', page):
            check_table(e, page, tallies[folder])
            check_numbers(e, page, groups, tallies[folder])
        elif "en" in e.page.get("languages", []):
            tallies[folder].same("index.html", "page", "language", "none in English" if page else "no such file", "English")
        else:
            tallies[folder].left["index.html"]["not in English"] += 1

    for folder in folders:
        tallies[folder] = Tally()
        guarded(folder, first_pass, folder)
    groups = {}
    for folder in indexes:
        inside = [e for f, e in experiments.items() if f.parent == folder]
        groups[folder] = guarded(folder / "claims.csv", check_claims, folder, inside, tallies[folder])
    for folder, e in experiments.items():
        guarded(folder / "index.html", pages, folder, e, groups.get(folder.parent))
    return tallies, unreadable


def main(arguments):
    names = [a for a in arguments if a != "--json"]
    if len(names) > 1 or names and names[0].startswith("-"):
        print(__doc__)
        return 0 if names in (["-h"], ["--help"]) else 2
    top = Path(names[0]) if names else Path(__file__).resolve().parent
    tallies, unreadable = audit(top)
    name = lambda folder: str(folder.relative_to(top)) if folder != top else top.name or "."
    if "--json" in arguments:
        print(json.dumps({"folders": {name(f): {"agreed": t.agreed, "could_not": t.left, "disagreements": t.wrong}
                                      for f, t in tallies.items()}, "unreadable": unreadable}, indent=1, ensure_ascii=False))
    else:
        for folder, tally in tallies.items():
            print(f"{name(folder)}: {tally.line()}")
            for w in tally.wrong:
                print(f"  {w['file']}: {w['row']}: {w['column']}: found {w['found']!r}, expected {w['expected']!r}")
        for text in unreadable:
            print(f"cannot read {text}", file=sys.stderr)
        agreed, wrong = sum(t.agreed.total() for t in tallies.values()), sum(len(t.wrong) for t in tallies.values())
        left = sum(c.total() for t in tallies.values() for c in t.left.values())
        print(f"{len(tallies)} folders: {agreed + wrong} recomputed, {agreed} agreed, {wrong} did not, {left} could not be recomputed")
    return 2 if unreadable else int(any(t.wrong for t in tallies.values()))


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may lack a sign of a page
    sys.exit(main(sys.argv[1:]))
