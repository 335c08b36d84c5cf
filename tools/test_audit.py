#!/usr/bin/env python3
"""Tests of audit.py: `python3 -m unittest test_audit` beside it."""
import contextlib, csv, hashlib, io, json, math, statistics, tempfile, unittest
from pathlib import Path

import audit

STUDY = """
title = "Two arms"
[[factors]]
label = "size"
levels = [{ label = "big", set = {} }, { label = "small", set = {} }]
[reference]
name = "the notes"
rows = [{ arm = { "size" = "big" }, val_acc = 0.9 }]
[[claims]]
id = "T.a"
says = { en = "Big is better.", ko = "-" }
tests = [{ metric = "val_acc", order = "small < big", margin = 0.01 }]
[[claims]]
id = "T.b"
says = "The same numbers once more."
tests = [{ metric = "val_acc", order = "big > small", margin = 0.01 }]
[[claims]]
id = "T.c"
says = "Needs more than there is."
needs = { updates = 1000 }
tests = [{ metric = "val_acc", order = "big > small", margin = 0.01 }]
[[claims]]
id = "T.d"
says = "Both losses are about 0.5, and updates fall."
tests = [{ metric = "val_loss", equal = "big = 0.9", margin = 0.01 }, { metric = "updates", order = "big > small", margin = 0.1 }]
"""
ACCURACY = {"big": [0.80, 0.82, 0.84], "small": [0.70, 0.71, 0.72]}  # differences 0.10, 0.11, 0.12
CONFIG = {"data": {"set": "mnist"}, "train": {"batch": 64, "epochs": 2, "target_loss": 0.1}}
STEPS = {"big": [110, 120, 130], "small": [100, 100, 100]}


def upper_df2(t):
    """P(T > t) of two degrees of freedom, in closed form."""
    return (1 - t / math.sqrt(2 + t * t)) / 2


def quantile_df2(p):
    return (2 * p - 1) / math.sqrt(2 * p * (1 - p))


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def comparison(numbers, shift, p, verdict, both=False, held="", scale=lambda x: x, **texts):
    """The columns of one comparison of three seeds, by closed forms of Student's t with two degrees of freedom."""
    mean, sd = statistics.fmean(numbers), statistics.stdev(numbers)
    half = quantile_df2(0.975) * sd / math.sqrt(3)
    power = sum(map(quantile_df2, (0.95, 0.9) if both else (0.975, 0.8))) * sd / math.sqrt(3)
    return {"estimate": scale(mean) + shift, "low": scale(mean - half) + shift, "high": scale(mean + half) + shift, "seeds": 3,
            "held": held, "effect_size": mean / sd, "detectable": scale(power), "p": p, "evidence_verdict": verdict} | texts


class Folder:
    """An index with one experiment, whose numbers are made here and not by audit.py."""

    def __init__(self, top):
        self.top, self.one = top, top / "two-arms"
        self.one.mkdir()
        epochs, runs, values = [], [], []
        for arm, accuracies in ACCURACY.items():
            for seed, accuracy in enumerate(accuracies):
                run = {"arm": f"size {arm}", "seed": seed, "run": f"{arm}-{seed}"}
                kept = {"train": (0.5, 0.6), "train_eval": (0.4, 0.7), "validation": (1 - accuracy, accuracy)}
                for epoch in (0, 1):  # the second is after the one that early stopping kept
                    for split, (loss, share) in kept.items():
                        epochs.append(run | {"epoch": epoch, "split": split, "images": 100_000, "loss": loss + epoch, "accuracy": share - epoch / 10})
                epochs.append(run | {"epoch": 1, "split": "test", "images": 100_000, "loss": 0.3, "accuracy": 0.8})
                outcome = {"steps": STEPS[arm][seed], "train_ns": 60_000_000_000, "wall_ns": 90_000_000_000, "kept_epoch": 0}
                runs.append({"arm": run["arm"], "run": run["run"], "config_hash": arm, "plan_hash": "p", "trial": {"seed": seed, "config": CONFIG},
                             "status": {"state": "finished"}, "plan": {"name": "tuned"}, "outcome": outcome})
                known = {"train_acc": 0.6, "train_eval_acc": 0.7, "val_acc": accuracy, "test_acc": 0.8, "train_loss": 0.5,
                         "train_eval_loss": 0.4, "val_loss": 1 - accuracy, "test_loss": 0.3, "updates": STEPS[arm][seed],
                         "train_minutes": 1.0, "total_minutes": 1.5, "step_ms": 7.25}
                values += [{"arm": run["arm"], "label": arm, "trial": arm, "seed": seed, "run": run["run"], "metric": metric,
                            "value": value, "alone": "true", "beside": "true"} for metric, value in known.items()]
        results = []
        for arm in ACCURACY:
            for metric in known:
                of = [v["value"] for v in values if (v["label"], v["metric"]) == (arm, metric)]
                results.append({"arm": f"size {arm}", "metric": metric, "about": metric, "unit": "", "n": 3,
                                "mean": statistics.fmean(of), "sd": statistics.stdev(of),
                                "reference": 0.9 if (arm, metric) == ("big", "val_acc") else ""})
        write_csv(self.one / "epochs.csv", epochs)
        write_csv(self.one / "values.csv", values)
        write_csv(self.one / "results.csv", results)
        (self.one / "runs.json").write_text(json.dumps(runs))
        rows = [{k: v if v != "" or k == "unit" else None for k, v in row.items()} for row in results]
        (self.one / "results.json").write_text(json.dumps({"rows": rows}))
        (self.one / "two-arms.toml").write_text(STUDY)
        (self.one / "index.html").write_text(PAGE, encoding="utf-8")
        self.write_claims()
        self.seal()

    def write_claims(self):
        p = upper_df2(0.11 / (0.01 / math.sqrt(3)))
        plain = {"experiment": "two-arms", "profile": "quick", "setting": "its own", "repeats": "", "evidence": "", "estimate": "",
                 "low": "", "high": "", "unit": "", "bound": "", "margin": "", "seeds": "", "held": "", "effect_size": "",
                 "detectable": "", "p": "", "evidence_verdict": "", "q": ""}
        order = comparison([0.10, 0.11, 0.12], 0, p, "supported", held=3, margin=0.01,
                           evidence="validation accuracy: size big above size small")
        # val_loss 0.16, 0.18, 0.20 against 0.9: refuted from one side, of two parts, either side of which could have been it
        away = [loss - 0.9 for loss in (0.20, 0.18, 0.16)]
        p_away = 2 * 2 * upper_df2((0.72 - 0.01) / (0.02 / math.sqrt(3)))
        about = comparison(away, 0.9, p_away, "refuted", True, unit="nats", bound=0.9, margin=0.01,
                           evidence="validation loss: size big about 0.9") | {"detectable": power_of(0.02)}
        logs = [math.log(x / 100) for x in STEPS["big"]]
        p_logs = upper_df2(statistics.fmean(logs) / (statistics.stdev(logs) / math.sqrt(3)))
        ratio = comparison(logs, 0, p_logs, "inconclusive", held=3, unit="%", margin=10, evidence="updates: size big above size small",
                           scale=lambda x: 100 * math.expm1(x))
        ratio["evidence_verdict"] = "supported" if ratio["low"] > 0 else "inconclusive"
        # two claims are tested and not repeated: of p < p_away the q are 2 p and p_away, or the other way round
        small, large = sorted([p, p_away])
        q = {small: min(2 * small, large), large: large}
        verdict_d = "partly" if ratio["low"] > 0 else "refuted"
        a = {"claim": "T.a", "says": "Big is better.", "verdict": "supported", "q": q[p]}
        d = {"claim": "T.d", "says": "Both losses are about 0.5, and updates fall.", "verdict": verdict_d, "q": q[p_away]}
        write_csv(self.top / "claims.csv", [
            plain | a | order,
            plain | a | order | {"claim": "T.b", "says": "The same numbers once more.", "q": "", "repeats": "T.a"},
            plain | {"claim": "T.c", "says": "Needs more than there is.", "verdict": "not_evaluated"},
            plain | d | about, plain | d | ratio])

    def seal(self):
        def digest(names, folder):
            return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
        one = digest(["epochs.csv", "values.csv", "results.csv", "results.json", "runs.json", "two-arms.toml"], self.one)
        (self.one / "page.json").write_text(json.dumps({"kind": "experiment", "profile": "quick", "sha256": one}))
        index = {"kind": "index", "sha256": digest(["claims.csv"], self.top)}
        (self.top / "page.json").write_text(json.dumps(index))

    def change(self, name, old, new, seal=True):
        path = self.top / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old} is not in {name}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        if seal:
            self.seal()


def power_of(sd):
    return (quantile_df2(0.95) + quantile_df2(0.9)) * sd / math.sqrt(3)


ORDER = ("+0.1100, 95 % interval +0.0852 to +0.1348; least effect that matters 0.0100; 3 seeds, above in 3 of 3 seeds "
         "(as a share of all seeds 0.44 to 1.00); effect size d = 11.0; paired t, 95 % interval.")
PAGE = f"""<!doctype html>
<html lang="en"><table aria-label="Results"><thead>
<tr><th>arm</th><th>validation accuracy</th><th>training time <span>min</span></th></tr></thead>
<tr><th>size big <span>ours, n = 3</span></th><td>0.8200 <span>± 0.0200</span></td><td>1.000 <span>± 0.000</span></td></tr>
<tr><th>size big <span>the notes</span></th><td>0.9</td><td>–</td></tr>
<tr><th>size big <span>difference</span></th><td>−0.0800</td><td></td></tr>
<tr><th>size small <span>ours, n = 3</span></th><td>0.7100 <span>± 0.0100</span></td><td>1.000 <span>± 0.000</span></td></tr>
</table>
<p class="numbers">{ORDER}</p><p class="numbers">{ORDER}</p>
<p class="numbers">0.1800 nats, 95 % interval 0.1303 to 0.2297 nats; to be compared with 0.9000 nats, by at least 0.0100 nats; 3 seeds.</p>
<p class="numbers">+19.7 %, 95 % interval −2.7 to +47.3 %; least effect that matters 10.0 %; 3 seeds, above in 3 of 3 seeds.</p>
</html>"""


class Student(unittest.TestCase):
    def test_quantiles_are_those_of_tables(self):
        for p, df, t in [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 4, 2.77645), (0.95, 2, 2.91999), (0.95, 10, 1.81246),
                         (0.995, 5, 4.03214), (0.975, 30, 2.04227), (0.8, 2, 1.06066), (0.9, 120, 1.28865), (0.99, 9, 2.82144)]:
            self.assertAlmostEqual(audit.t_quantile(p, df), t, delta=6e-6 * max(1, t))
            self.assertAlmostEqual(audit.t_quantile(1 - p, df), -t, delta=6e-6 * max(1, t))

    def test_tails_are_those_of_closed_forms(self):
        for t in (-40, -1.5, -1e-9, 0, 0.3, 2, 7, 40):
            self.assertAlmostEqual(audit.t_above(t, 1), 0.5 - math.atan(t) / math.pi, delta=1e-14)
            self.assertAlmostEqual(audit.t_above(t, 2), upper_df2(t), delta=1e-14)
        self.assertAlmostEqual(audit.t_above(audit.t_quantile(0.975, 7), 7), 0.025, delta=1e-15)


class Audit(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Folder(Path(holder.name))

    def found(self, top=None):
        tallies, unreadable = audit.audit(top or self.folder.top)
        self.assertEqual(unreadable, [])
        return [(w["file"], w["column"]) for tally in tallies.values() for w in tally.wrong], tallies

    def code(self):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return audit.main([str(self.folder.top)])

    def test_a_folder_agrees(self):
        wrong, tallies = self.found()
        self.assertEqual(wrong, [])
        self.assertEqual(tallies[self.folder.one].left["values.csv"], {"step_ms": 6})
        self.assertGreater(tallies[self.folder.top].agreed["claims.csv"], 80)
        self.assertEqual(self.code(), 0)

    def test_one_experiment_agrees_without_its_index(self):
        self.assertEqual(self.found(self.folder.one)[0], [])

    def test_a_changed_file_is_told_by_its_digest(self):
        self.folder.change("two-arms/two-arms.toml", "Two arms", "Two legs", seal=False)
        self.assertEqual(self.found()[0], [("sha256", "sha256")])
        self.assertEqual(self.code(), 1)

    def test_a_digit_in_values(self):
        self.folder.change("two-arms/values.csv", "val_acc,0.82", "val_acc,0.83")
        self.assertIn(("values.csv", "value"), self.found()[0])
        self.assertIn(("results.csv", "mean"), self.found()[0])
        self.assertIn(("claims.csv", "estimate"), self.found()[0])

    def test_a_digit_in_results(self):
        self.folder.change("two-arms/results.csv", "updates,updates,,3,120", "updates,updates,,3,121")
        self.assertEqual(set(self.found()[0]), {("results.csv", "mean"), ("results.json", "row")})

    def test_digits_and_words_in_claims(self):
        rows = audit.rows_of(self.folder.top / "claims.csv")
        changed = 0
        for column in "verdict q estimate low high margin seeds held effect_size detectable p evidence_verdict evidence".split():
            good = rows[0][column]
            for bad in ("inconclusive",) if column.endswith("verdict") else ("x",) if column == "evidence" else (
                    repr(float(good) * (1 + 1e-6)),):
                write_csv(self.folder.top / "claims.csv", [rows[0] | {column: bad}] + rows[1:])
                self.folder.seal()
                self.assertIn(("claims.csv", column), self.found()[0])
                changed += 1
        self.assertEqual(changed, 13)
        write_csv(self.folder.top / "claims.csv", rows[:1] + [rows[1] | {"repeats": ""}] + rows[2:])
        self.assertIn(("claims.csv", "repeats"), self.found()[0])

    def test_digits_on_a_page(self):
        for old, new, column in [("0.8200 <", "0.8201 <", "validation accuracy"), ("± 0.0200", "± 0.0210", "validation accuracy sd"),
                                 ("−0.0800", "-0.0800", "validation accuracy"), ("+0.0852", "+0.0853", "low"),
                                 ("0.2297", "0.2298", "high"), ("+19.7", "−19.7", "estimate"), ("n = 3", "n = 4", "n"),
                                 ("± 0.000<", "± 0.000 n = 2<", "training time min n")]:
            self.folder.change("two-arms/index.html", old, new)
            self.assertEqual(self.found()[0], [("index.html", column)])
            self.folder.change("two-arms/index.html", new, old)

    def test_what_cannot_be_read_is_said(self):
        (self.folder.one / "runs.json").write_text("{")
        self.assertEqual(self.code(), 2)
        with tempfile.TemporaryDirectory() as empty:
            self.assertIn("no page.json", audit.audit(Path(empty))[1][0])



class NotANumber(unittest.TestCase):
    """A dead network has no gradient in any layer: 0 / 0 stands in the tables as NaN."""

    def test_it_is_read_averaged_and_compared(self):
        self.assertTrue(math.isnan(audit.number("NaN")) and audit.number("") is None)
        self.assertEqual([{"mean": audit.number("NaN")}], [{"mean": audit.number("NaN")}])
        self.assertTrue(all(math.isnan(x) for x in audit.spread([1.0, math.nan, 2.0])))
        tally = audit.Tally()
        tally.same("results.csv", "arm", "mean", math.nan, math.nan)
        self.assertEqual(tally.wrong, [])
        tally.same("results.csv", "arm", "mean", 0.5, math.nan)
        self.assertEqual(len(tally.wrong), 1)


class Explained(unittest.TestCase):
    """Two conditions, where nothing may be borrowed from others: the interval is Student's, in closed form."""

    def study(self, costs, **more):
        study = audit.Study.__new__(audit.Study)
        study.low, study.high, study.alike, study.ideal, study.tested = 0, 1, None, 1.0, 1
        study.blocks = [{c: {"us_per_image": us, **more} for c, us in enumerate(block)} for block in costs]
        study.loud = [set() for _ in costs]
        return study

    def test_what_was_disturbed_twice_is_left_out_where_it_is_rare(self):
        study = self.study([(100, 150)] * 4)
        study.loud[0] = {1}
        self.assertEqual([sorted(block) for block in study.counted(4)], [[0]] + [[0, 1]] * 3)
        self.assertEqual([sorted(block) for block in study.counted(3)], [[0, 1]] * 3)

    def test_a_ratio_is_the_geometric_mean_over_the_blocks(self):
        costs = [(100, 150), (110, 160), (90, 140)]
        seen = audit.Seen(self.study(costs), 3)
        logs = [math.log(high / low) for low, high in costs]
        mean, half = statistics.fmean(logs), quantile_df2(1 - seen.alpha / 2) * statistics.stdev(logs) / math.sqrt(3)
        value, (low, high), blocks = seen.ratio
        self.assertEqual((seen.alpha, blocks), (0.0072, 3))
        for found, expected in [(value, mean), (low, mean - half), (high, mean + half)]:
            self.assertAlmostEqual(found, math.exp(expected), 9)

    def test_a_removal_that_takes_all_away_has_the_share_1(self):
        costs = [(100, 150, 100, 100), (110, 160, 110, 110), (90, 140, 90, 90)]
        seen = audit.Seen(self.study(costs), 3)
        found = seen.removal({"low": 0, "high": 1}, {"low": 2, "high": 3})
        self.assertAlmostEqual(found["share"]["value"], 1.0, 9)
        self.assertAlmostEqual(found["slowdown_left"][0], 1.0, 9)
        self.assertIsNone(found["slowdown_given"])

    def test_a_removal_that_makes_the_low_level_dearer_has_its_ends_of_two_parts(self):
        """All of the slowdown goes, and the high level gains nothing: the share is 1, and not found."""
        wobble = [0.99, 1.0, 1.01]
        costs = [(100 * w, 150 / w, 150, 150 * w) for w in wobble]
        seen = audit.Seen(self.study(costs), 3)
        seen.floor = 1.01
        found = seen.removal({"low": 0, "high": 1}, {"low": 2, "high": 3})
        self.assertAlmostEqual(found["share"]["value"], 1.0, 3)
        low, high = found["share"]["interval"]
        self.assertTrue(low < 0 and high > 1, (low, high))
        self.assertEqual(found["verdict"], "open")

    def test_what_a_test_holds_on_both_sides_has_a_slowdown_of_its_own(self):
        costs = [(100, 150, 100, 120, 100, 110), (110, 165, 110, 132, 110, 121), (90, 135, 90, 108, 90, 99)]
        found = audit.Seen(self.study(costs), 3).removal({"low": 2, "high": 3}, {"low": 4, "high": 5})
        self.assertAlmostEqual(found["slowdown_given"][0], 1.2, 9)
        self.assertAlmostEqual(found["slowdown_left"][0], 1.1, 9)

    def test_a_block_in_which_a_phase_is_all_of_the_step_is_left_out_of_part_and_whole(self):
        study = self.study([(100, 150), (100, 400), (100, 160), (100, 170)])
        for block, more in zip(study.blocks, (50, 400, 60, 70)):
            for c, load in ((0, 0), (1, more)):
                block[c]["part_us_per_image"] = [load] + [0] * 6
        found = audit.Seen(study, 4).phases(["load"])
        self.assertEqual(found["blocks"], 3)
        self.assertAlmostEqual(found["share"]["value"], 1.0, 9)


if __name__ == "__main__":
    unittest.main()
