"""Six losses, logistic regression and gradient boosting on rare and on wrong labels: tuned alike, tested on 30 seeds.

Writes docs/comparison.md and docs/images/comparison.png, every number and every sentence about them:

python examples/comparison/compare.py
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import optuna
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn import metrics
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import lossreg
from lossreg.sweeps._statistics import Difference, Settings, Summary
from lossreg.training import fit_many, load_data

Values = Mapping[str, float]

MODEL = {"name": "mlp", "hidden_units": [32], "activation": "relu", "dropout": 0.0}
SHARED: dict[str, Any] = {"batch_size": 32, "scale": "standard", "patience": 20}
SPLIT = {"validation": 0.2, "test": 0.4}
SETTINGS: dict[str, tuple[dict[str, Any], float]] = {  # the data, and the share of flipped labels
    "breast cancer, 10% malignant": ({"name": "breast_cancer", "positives": 0.1}, 0.0),
    "two moons, 20% flipped": ({"name": "two_moons", "n": 1000, "noise": 0.2}, 0.2),
    "two moons, 40% flipped": ({"name": "two_moons", "n": 1000, "noise": 0.2}, 0.4),
}
RANGES: dict[str, dict[str, tuple[float, float]]] = {  # of a loss's own numbers
    "bce": {},
    "binary_focal_crossentropy": {"alpha": (0.05, 0.95), "gamma": (0, 5)},
    "asymmetric": {"gamma_pos": (0, 4), "gamma_neg": (0, 6), "clip": (0, 0.2)},
    "poly_crossentropy": {"epsilon": (-1, 6)},
    "symmetric_crossentropy": {"alpha": (0.01, 2), "beta": (0.01, 2)},
    "generalized_crossentropy": {"q": (0.05, 1)},
}
FIXED: dict[str, dict[str, Any]] = {"binary_focal_crossentropy": {"apply_class_balancing": True}}
BASELINE = "bce"
SCORES = {"auc": "AUC", "log_loss": "log-loss", "brier": "Brier score", "accuracy": "accuracy"}
HIGHER = ("auc", "accuracy")
ROBUST = {
    "symmetric_crossentropy": "Wang et al. (2019)",
    "generalized_crossentropy": "Zhang and Sabuncu (2018)",
}

TEXT = """# Which loss is better? One comparison

This page is written by `python examples/comparison/compare.py`, numbers, sentences and picture, in {minutes:.1f}
minutes ({machine}). On another problem another loss may win; run it on yours.

**Data.** scikit-learn's breast cancer, of which malignant rows are left out at random until {positives:.0%} of the rows
are malignant; and {moons} points of two moons with noise 0.2, of which 20% or 40% of the labels of training and
validation are flipped at random, those of the test are not. {validation:.0%} of the rows are for validation,
{test:.0%} for test. A seed decides everything: which rows are left out or drawn, the split, the flips, the initial
weights and the order of the batches.

**Methods.** A network of {units} hidden units (ReLU), trained by Adam in batches of {batch} for at most {epochs}
epochs; it stops after {patience} epochs without a better validation loss, its own, and keeps the best weights. Beside
it scikit-learn's `LogisticRegression` and `GradientBoostingClassifier`.

**Tuning.** Every method has the same budget: {trials} trials of Optuna's TPE, {population} at a time (models train in
one program), each trial the mean validation AUC over {tuning} seeds that the test does not use. Flips at random leave
the order of expected AUCs as it is, and not that of the log-loss. Tuned are a loss's own numbers, the learning rate and
the L2 penalty; `C`; and the learning rate, the depth and the number of the trees.

**Test.** {seeds} seeds. ± is half of a 95% interval (Student's t); in brackets is the paired difference to {baseline}
on the same seeds, in bold if its interval is without 0, and on how many of the seeds the method is better. The rows of
breast cancer are always the same 569, so that tuning has seen some of the test's; two moons are drawn anew.

{sections}

![Paired differences to {baseline}](images/comparison.png)

## What the papers say

{papers}
"""


@dataclass(frozen=True)
class Budget:
    """How much is tried: rounds of a population of trials, on so many seeds; and how many seeds are tested."""

    rounds: int = 4
    population: int = 8
    tuning: int = 2
    seeds: int = 30
    epochs: int = 200


def asked(method: str, trial: optuna.Trial) -> dict[str, float]:
    """Ask a trial for the numbers of a method."""
    own: dict[str, float] = {name: trial.suggest_float(name, *ends) for name, ends in RANGES.get(method, {}).items()}
    if method == "logistic regression":
        return {"C": trial.suggest_float("C", 1e-3, 1e3, log=True)}
    if method == "gradient boosting":
        own = {"max_depth": trial.suggest_int("max_depth", 1, 4)}
        own["n_estimators"] = trial.suggest_int("n_estimators", 10, 150)
        return own | {"learning_rate": trial.suggest_float("learning_rate", 0.01, 0.5, log=True)}
    own["learning_rate"] = trial.suggest_float("learning_rate", 1e-3, 0.1, log=True)
    return own | {"l2": trial.suggest_float("l2", 1e-6, 0.1, log=True)}


def scored(method: str, setting: str, population: Sequence[Values], seed: int, epochs: int) -> list[Values]:
    """Train a method with each of some numbers on a seed, networks in one program, and return their metrics."""
    node, flipped = SETTINGS[setting]
    data = {**node, "seed": seed}
    shared = {**SHARED, "split": {**SPLIT, "seed": seed}, "label_noise": flipped, "seed": seed, "epochs": epochs}
    if method in RANGES:
        fixed = {"name": method, **FIXED.get(method, {})}
        configs = [
            {
                **shared,
                "loss": {**fixed, **{name: values[name] for name in RANGES[method]}},
                "reg": {"name": "l2custom", "r": values["l2"]},
                "optimizer": {"name": "adam", "learning_rate": values["learning_rate"]},
            }
            for values in population
        ]
        return [each.metrics or {} for each in fit_many(MODEL, data, configs)]
    parts, found = load_data({**shared, "data": data}).parts, list[Values]()
    for values in population:
        boosted = method == "gradient boosting"
        model: Any = (
            GradientBoostingClassifier(random_state=seed, **values) if boosted else LogisticRegression(**values)
        )
        model.fit(parts["train"].x, parts["train"].y[:, 0])
        own: dict[str, float] = {}
        for part in ("validation", "test"):
            y, p = parts[part].y[:, 0], model.predict_proba(parts[part].x)[:, 1]
            own |= {f"{part}_auc": metrics.roc_auc_score(y, p), f"{part}_log_loss": metrics.log_loss(y, p)}
            own |= {f"{part}_brier": metrics.brier_score_loss(y, p), f"{part}_accuracy": float(((p > 0.5) == y).mean())}
        found.append(own)
    return found


def tuned(method: str, setting: str, budget: Budget) -> Values:
    """Return the best numbers of a method: those of the highest mean AUC in validation."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True))
    tried: dict[int, Values] = {}
    for _ in range(budget.rounds):
        trials = [study.ask() for _ in range(budget.population)]
        population = [asked(method, trial) for trial in trials]
        found = [scored(method, setting, population, 1000 + seed, budget.epochs) for seed in range(budget.tuning)]
        for trial, values, own in zip(trials, population, zip(*found, strict=True), strict=True):
            tried[trial.number] = values
            study.tell(trial, sum(each.get("validation_auc", 0.0) for each in own) / budget.tuning)
    return tried[study.best_trial.number]


def compared(method: str, settings: Iterable[str], budget: Budget) -> dict[str, tuple[Values, list[dict[str, str]]]]:
    """Tune and test a method, in a process of its own; return by setting the best numbers, and a row for each seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with lossreg.quiet_startup():
        import keras  # noqa: F401 - loaded without its chatter
    found = {}
    for setting in settings:
        best, rows = tuned(method, setting, budget), []
        for seed in range(budget.seeds):
            (own,) = scored(method, setting, [best], seed, budget.epochs)
            row = {"job": f"{method} {seed}", "status": "completed" if own else "diverged", "method": method}
            measured = {f"test_{score}": str(own.get(f"test_{score}", "")) for score in SCORES}
            rows.append(row | {"seed": str(seed)} | measured)
        found[setting] = best, rows
        print(f"{method}, {setting}", flush=True)
    return found


def summaries(rows: Sequence[Mapping[str, str]]) -> dict[str, Summary]:
    """Return what the rows of a setting come to, by score."""
    names = [f"test_{score}" for score in SCORES]
    best = [f"test_{score}" for score in HIGHER]
    return {
        score: Summary(rows, Settings(names, f"test_{score}", None, "seed", best, BASELINE), ["method"])
        for score in SCORES
    }


def direction(gap: Difference | None, higher: bool) -> str:
    """Say whether a difference is one: "better", "worse", or "" where its interval holds 0."""
    if gap is None or gap.mean is None or gap.half is None or abs(gap.mean) <= gap.half:
        return ""
    return "better" if (gap.mean > 0) == higher else "worse"


def section(setting: str, found: Mapping[str, Summary], best: Mapping[str, Values]) -> str:
    """Return a setting's table, and what it says."""
    lines = [f"## {setting[0].upper()}{setting[1:]}\n", f"| method | {' | '.join(SCORES.values())} |", "|---" * 5 + "|"]
    for method in best:
        cells = []
        for score, summary in found.items():
            (point,) = (each for each in summary.points if each.place == (method,))
            gap = summary.difference(point)
            bold = "**" if direction(gap, score in HIGHER) else ""
            cell = "none" if point.mean is None else f"{point.mean:.3f} ± {point.half or 0:.3f}"
            if gap and gap.mean is not None:
                cell += f" ({bold}{gap.mean:+.3f} ± {gap.half or 0:.3f}{bold}, {gap.won}/{gap.pairs})"
            cells.append(cell)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    lines.append("")
    for score, summary in found.items():
        ways = {each.place[0]: direction(summary.difference(each), score in HIGHER) for each in summary.points}
        better, worse = ([name for name, way in ways.items() if way == wanted] for wanted in ("better", "worse"))
        said = f"best mean: {summary.points[0].place[0]}; better than {BASELINE}: {', '.join(better) or 'none'}"
        lines.append(f"- {SCORES[score]}: {said}; worse: {', '.join(worse) or 'none'}.")
    tuned = (f"{m}: {', '.join(f'{n} {v:.3g}' for n, v in values.items())}" for m, values in best.items())
    return "\n".join([*lines, "", f"Tuned: {'; '.join(tuned)}."])


def papers(found: Mapping[str, Mapping[str, Summary]]) -> str:
    """Compare with the papers of the losses that are made for wrong labels."""
    said = {"better": "agrees", "worse": "goes the other way", "": "shows no difference: the papers' is not seen here"}
    lines = ["Both report a higher accuracy on clean test data than the crossentropy's, where labels are wrong.", ""]
    for setting in (name for name in found if SETTINGS[name][1]):
        for loss, paper in ROBUST.items():
            parts = []
            for score in HIGHER:
                summary = found[setting][score]
                for point in (each for each in summary.points if each.place == (loss,)):
                    parts.append(f"the {SCORES[score]} {said[direction(summary.difference(point), True)]}")
            if parts:
                lines.append(f"- {setting}, {loss} ({paper}): {'; '.join(parts)}.")
    return "\n".join(lines)


def draw(found: Mapping[str, Mapping[str, Summary]], path: Path) -> None:
    """Draw the paired differences to the baseline with their intervals: a row a score, a column a setting."""
    figure = Figure(figsize=(4.2 * len(found) + 1.5, 9.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(SCORES), len(found), squeeze=False, sharey=True)
    for column, (setting, by_score) in enumerate(found.items()):
        for row, (score, summary) in enumerate(by_score.items()):
            axes, higher = grid[row, column], score in HIGHER
            others = [point for point in summary.composed if point.place != (BASELINE,)]
            colors = {"better": "tab:green", "worse": "tab:red", "": "tab:gray"}
            for place, point in enumerate(others):
                if (gap := summary.difference(point)) and gap.mean is not None:
                    color = colors[direction(gap, higher)]
                    axes.errorbar(gap.mean, place, xerr=gap.half or 0, fmt="o", color=color, capsize=3, markersize=4)
            axes.axvline(0, color="black", linewidth=0.8)
            axes.set_yticks(range(len(others)), [point.place[0] for point in others])
            axes.set_xlabel(
                f"{SCORES[score]} − that of {BASELINE} ({'right' if higher else 'left'} is better)", fontsize=8
            )
            axes.grid(alpha=0.3)
            axes.locator_params(axis="x", nbins=5)
            if not row:
                axes.set_title(setting, fontsize=10)
    grid[0, 0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Tune, test, and write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "docs")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    arguments = parser.parse_args()
    budget = Budget(rounds=1, population=2, tuning=1, seeds=3, epochs=3) if arguments.quick else Budget()
    losses, settings = (
        ([BASELINE, "generalized_crossentropy"], [*SETTINGS][1:2]) if arguments.quick else (RANGES, SETTINGS)
    )
    started = time.perf_counter()
    methods = [*losses, "logistic regression", "gradient boosting"]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(compared, method, settings, budget) for method in methods]
        results = [run.result() for run in runs]
    best = {setting: {m: own[setting][0] for m, own in zip(methods, results, strict=True)} for setting in settings}
    rows = {setting: [row for own in results for row in own[setting][1]] for setting in settings}
    found = {setting: summaries(own) for setting, own in rows.items()}
    draw(found, arguments.output / "images" / "comparison.png")
    text = TEXT.format(
        **{"minutes": (time.perf_counter() - started) / 60, "machine": f"{os.cpu_count()} cores", "baseline": BASELINE},
        **{"positives": 0.1, "moons": 1000, "units": 32, "batch": SHARED["batch_size"], "patience": SHARED["patience"]},
        **{"trials": budget.rounds * budget.population, **vars(budget), **SPLIT},
        sections="\n\n".join(section(setting, own, best[setting]) for setting, own in found.items()),
        papers=papers(found),
    )
    (arguments.output / "comparison.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
