"""The note's questions, measured: how often XOR is solved, over epochs, λ and r, also where λ and r change.

Writes docs/study.md and its pictures.

python -m benchmarks.study
"""

from __future__ import annotations

import argparse
import csv
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, machine
from lossreg.sweeps import ResultsTable
from lossreg.sweeps._summary import Point, points

PAGE = ROOT / "docs" / "study.md"
PICTURE = ROOT / "docs" / "images" / "study.png"

VARIABLES_PICTURE = ROOT / "docs" / "images" / "variables.png"

SWEEP = ["train.py", "-m", "hydra/launcher=vectorized", "verbose=0"]
MIX = ["loss=mix", "reg=l2custom"]
EPOCHS = [*MIX, "loss.r=0.8", "epochs=500,100", "reg.r=0.0001,0.0002"]
GRID = [*MIX, "loss.r=0,0.5,0.8,1", "reg.r=0,0.0001,0.001,0.01"]

FROM_003 = ["+schedule@reg.r=linear", "reg.r.initial_learning_rate=0.003"]
FROM_1 = ["+schedule@loss.r=linear", "loss.r.initial_learning_rate=1"]
ANNEALED_PENALTY = [*MIX, "loss.r=0.8", *FROM_003, "reg.r.end_learning_rate=0.003,0.002,0.001,0"]
ANNEALED_WEIGHT = [*MIX, "reg.r=0.0001", *FROM_1, "loss.r.end_learning_rate=1,0.5,0"]
LEARNED = [*MIX, "reg.r=0.0001", "+learned@loss.r=bounded", "loss.r.initial=0.2,0.5,0.8"]
UNCERTAINTY = [
    *("loss=weighted", "+loss@loss.terms.bce=bce", "+loss@loss.terms.mse=mse", "reg=l2custom"),
    *("+learned@loss.weights.bce=uncertainty", "+learned@loss.weights.mse=uncertainty", "reg.r=0.0001"),
]

SCHEDULED_RUN = [*MIX, *FROM_1, "+schedule@reg.r=cosine", "reg.r.initial_learning_rate=0.001"]
LEARNED_RUN = [
    *(*MIX, "+learned@loss.r=bounded", "loss.r.initial=0.8"),
    *("+learned@reg.r=bounded", "reg.r.initial=0.0005", "reg.r.upper=0.001"),
]

TEXT = """# The study, measured

A 2020 lecture note trains a 2-4-1 network on XOR with the loss r·bce + (1-r)·mse and an L2 penalty λ on the hidden
kernel. It observes that 100 epochs with λ = 0.0002 did not solve XOR. One run cannot tell whether that is λ, the
number of epochs, or the seed; {seeds} seeds can. This page is written by `python -m benchmarks.study`, which runs the
sweeps below ({jobs:,} jobs in {seconds:.0f} s; {machine}).
"Solved" means that all four outputs are on the right side of 0.5; the interval is the 95% Wilson interval over the
seeds.

## 100 epochs or λ?

```text
{epochs_command}
```

{epochs_table}

{sentence}

## The mixing weight and λ, at 500 epochs

```text
{grid_command}
```

{grid_table}

![The share of seeds that solve XOR, over r and λ](images/study.png)

## The mixing weight and λ as variables

The note closes with what it left for later: the mixing weight r and λ can also be handed in as *variables*. Here any
number of any loss or regularizer can be, in three ways (see [changing numbers](changing.md)):

```text
{scheduled_run}
{learned_run}
python examples/by_hand.py
```

![r and λ over the epochs: by a schedule, learned, and by hand](images/variables.png)

**λ that ends lower than it begins.** λ = 0.003 keeps most seeds from solving XOR (the first row). When it falls on a
line to the value in the first column, the penalty shapes the beginning of the training and not its end:

```text
{annealed_penalty_command}
```

{annealed_penalty_table}

**A mixing weight that ends elsewhere.** r begins at 1, which is bce alone, and falls on a line to the value in the
first column; at 0 the end of the training is mse alone:

```text
{annealed_weight_command}
```

{annealed_weight_table}

**A mixing weight that is learned** minimises the loss, too: bce is above mse wherever the model errs, so r falls
towards 0, wherever it begins, and the same holds for a learned λ. That is what the gradient says, and rarely what is
wanted.

```text
{learned_command}
```

{learned_table}

**Weights that may be learned** need a term that keeps them from 0. The uncertainty weighting of Kendall, Gal and
Cipolla (2018) has one for each weight; {uncertainty_rate} of the seeds solve XOR with it ({uncertainty_interval}), at a
mean Brier score of {uncertainty_mean}.

```text
{uncertainty_command}
```
"""


def main() -> None:
    """Run the sweeps and the runs, and write the page and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds per setting (default: 500)")
    seeds = parser.parse_args().seeds
    sweeps = {
        "epochs": EPOCHS,
        "grid": GRID,
        "annealed_penalty": ANNEALED_PENALTY,
        "annealed_weight": ANNEALED_WEIGHT,
        "learned": LEARNED,
        "uncertainty": UNCERTAINTY,
    }
    over = {
        "epochs": {"epochs": "epochs", "reg.r": "λ"},
        "grid": {"loss.r": "r", "reg.r": "λ"},
        "annealed_penalty": {"reg.r.end_learning_rate": "λ at the end"},
        "annealed_weight": {"loss.r.end_learning_rate": "r at the end"},
        "learned": {"loss.r.initial": "r at the start"},
        "uncertainty": {"override.loss": "loss"},
    }
    found: dict[str, list[Point]] = {}
    values: dict[str, Any] = {}
    jobs, started = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in sweeps.items():
            command = [*SWEEP, *overrides, f"seed=range(0,{seeds})"]
            rows = sweep(Path(folder, name), command)
            jobs += len(rows)
            found[name] = points(rows, list(over[name]), "solved", "brier")
            values[f"{name}_command"] = shown(command)
            values[f"{name}_table"] = table(list(over[name].values()), found[name])
        values["seconds"] = time.perf_counter() - started
        PICTURE.write_bytes(Path(folder, "grid", "sweep.png").read_bytes())
        histories = {
            "by a schedule": run(Path(folder, "scheduled"), SCHEDULED_RUN),
            "learned": run(Path(folder, "learned_run"), LEARNED_RUN),
            "by hand": by_hand(),
        }
    draw(histories).savefig(VARIABLES_PICTURE)
    (uncertainty,) = found["uncertainty"]
    low, high = uncertainty.interval
    text = TEXT.format(
        **values,
        seeds=seeds,
        jobs=jobs,
        machine=machine(),
        sentence=conclude({point.place: point for point in found["epochs"]}),
        scheduled_run=shown(["train.py", *SCHEDULED_RUN]),
        learned_run=shown(["train.py", *LEARNED_RUN]),
        uncertainty_rate=f"{uncertainty.rate:.1%}",
        uncertainty_interval=f"{low:.1%} to {high:.1%}",
        uncertainty_mean=f"{uncertainty.mean:.4f}",
    )
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def sweep(directory: Path, command: Sequence[str]) -> list[dict[str, str]]:
    """Run a sweep, and return its rows."""
    started = [sys.executable, *command, f"hydra.sweep.dir={directory}"]
    subprocess.run(started, cwd=ROOT, check=True, stdout=sys.stderr)
    return ResultsTable(directory / "results.csv").read()


def run(directory: Path, overrides: Sequence[str]) -> dict[str, list[float]]:
    """Run one training; return r and λ over the epochs."""
    command = [sys.executable, "train.py", *overrides, f"hydra.run.dir={directory}"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    with (directory / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {"r": [float(row["loss.r"]) for row in rows], "λ": [float(row["reg.r"]) for row in rows]}


def by_hand() -> dict[str, list[float]]:
    """Run the example that assigns from a callback; return r and λ over the epochs, which it prints every hundred."""
    command = [sys.executable, "examples/by_hand.py"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    print(printed, file=sys.stderr)
    found = re.findall(r"^epoch (\d+): r = ([\d.]+), λ = ([\d.]+)", printed, re.MULTILINE)
    assert found
    length = int(found[0][0])
    return {name: [float(row[column]) for row in found for _ in range(length)] for column, name in ((1, "r"), (2, "λ"))}


def draw(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Any:
    """Draw r above λ over the epochs, a column for each way to change them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(histories), sharex=True, sharey="row")
    for column, (title, history) in enumerate(histories.items()):
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel("epoch")
        for row, (name, values) in enumerate(history.items()):
            axes[row, column].plot(range(1, len(values) + 1), values, color=("tab:blue", "tab:orange")[row])
            axes[row, column].grid(alpha=0.3)
            axes[row, 0].set_ylabel(name)
    return figure


def shown(command: Sequence[str]) -> str:
    """Return a command as a person types it."""
    return shlex.join(["python", *command])


def table(names: Sequence[str], found: Sequence[Point]) -> str:
    """Format points as a Markdown table."""
    lines = [f"| {' | '.join(names)} | solved | 95% interval | mean Brier score |", "|---" * (len(names) + 3) + "|"]
    for point in found:
        assert point.rate is not None
        assert point.mean is not None
        low, high = point.interval
        cells = [*point.place, f"{point.rate:.1%}", f"{low:.1%} to {high:.1%}", f"{point.mean:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conclude(by: Mapping[tuple[str, ...], Point]) -> str:
    """Say what the note's observation turns into."""
    noted, smaller, longer = by["100", "0.0002"], by["100", "0.0001"], by["500", "0.0001"]
    overlap = noted.interval[0] <= smaller.interval[1] and smaller.interval[0] <= noted.interval[1]
    assert noted.rate is not None
    assert smaller.rate is not None
    assert longer.rate is not None
    penalty = (
        "the penalty makes no difference that these seeds could show" if overlap else "the penalty makes a difference"
    )
    return (
        '"100 epochs with λ = 0.0002 did not solve XOR" becomes: '
        f"**100 epochs solve XOR for {noted.rate:.0%} of the seeds with λ = 0.0002 and for {smaller.rate:.0%} with "
        f"λ = 0.0001, so {penalty}; 500 epochs solve it for {longer.rate:.0%}.**"
    )


if __name__ == "__main__":
    main()
