"""The closing table of a sweep: on the terminal, from directories, as data. No TensorFlow."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from lossreg import sweeps
from lossreg.cli import main
from lossreg.sweeps import ResultsTable, Row
from lossreg.sweeps._statistics import Settings, points, wilson
from lossreg.sweeps._summary import show
from tests.sweeps.test_results import APP, ENVIRONMENT

SETTINGS = Settings(("solved", "brier", "auc"), "brier", "solved", "seed", ("auc",), None, ("python", "train.py"))


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (1, 7), (50, 100), (99, 100), (5, 5), (312, 1000)])
def test_wilson_ends_are_where_the_score_test_just_rejects(successes: int, trials: int) -> None:
    """Its definition: the rates p with |p̂ − p| = 1.96 √(p(1−p)/n)."""
    p_hat = successes / trials
    for end in wilson(successes, trials):
        if end not in (0.0, 1.0):
            assert abs(p_hat - end) == pytest.approx(1.959963985 * math.sqrt(end * (1 - end) / trials))
        else:
            assert p_hat == end
    low, high = wilson(successes, trials)
    assert 0 <= low <= p_hat <= high <= 1
    assert low < high


def table(path: Path, rows: list[Row]) -> ResultsTable:
    made = ResultsTable(path / "results.csv", SETTINGS.columns)
    made.append(rows)
    return made


def printed(made: ResultsTable, settings: Settings = SETTINGS, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        show(made, settings, picture=False, console=console)
    return capture.get()


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


BRIER = {"bce": [0.30, 0.20, 0.40, 0.10], "mse": [0.25, 0.21, 0.30, 0.08], "mix": [0.01, 0.60, 0.50, 0.70]}
"""By loss and seed; `mix` has the luckiest seed, `mse` the best mean."""


def job(number: int, *overrides: str, brier: float) -> Row:
    return Row(number, overrides, metrics={"solved": brier < 0.25, "brier": brier, "auc": 1 - brier})


def compared(*more: str) -> list[Row]:
    places = [(loss, seed, value) for loss, values in BRIER.items() for seed, value in enumerate(values)]
    return [job(i, f"loss={loss}", f"seed={seed}", *more, brier=value) for i, (loss, seed, value) in enumerate(places)]


def test_losses_are_compared_over_seeds_and_pair_by_pair(tmp_path: Path) -> None:
    text = printed(table(tmp_path, compared("epochs=5")))
    assert "everywhere: epochs=5, jobs 4\n" in text
    rows = {line[0]: " ".join(line[1:]) for line in cells(text) if line and line[0] in BRIER}
    assert list(rows) == ["mse", "bce", "mix"]
    interval = stats.t.interval(0.95, 3, scale=stats.sem(BRIER["mse"]))
    paired = stats.ttest_rel(BRIER["mse"], BRIER["bce"]).confidence_interval()
    half, gap = interval[1], (paired.high - paired.low) / 2
    assert rows["mse"] == f"50.0% (15–85) 0.21 ± {half:.2f} 0.79 -0.040 ± {gap:.3f} 3/4"
    assert rows["bce"].endswith("baseline")
    assert rows["mix"].endswith("1/4")
    assert "difference: to loss=bce, on the same seed;" in text
    assert f"lowest mean brier: 0.21 ± {half:.2f}:\n  python train.py loss=mse epochs=5\n" in text


def test_a_baseline_and_a_direction_are_chosen(tmp_path: Path) -> None:
    made = table(tmp_path, compared())
    for asked in ("mix", "loss=mix"):
        text = printed(made, replace(SETTINGS, mean="auc", baseline=asked))
        assert [line[0] for line in cells(text) if line and line[0] in BRIER] == ["mse", "bce", "mix"]
        assert "auc: mean ± half of its 95% interval (Student's t), higher is better." in text
        assert "highest mean auc: 0.79" in text
        assert [line[-1] for line in cells(text) if line and line[0] in BRIER] == ["3/4", "3/4", "baseline"]
    assert "There is no baseline 'mxi' in the table. Did you mean 'mix'?" in printed(
        made, replace(SETTINGS, baseline="mxi")
    )


def test_without_scipy_there_is_no_interval_but_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    text = printed(table(tmp_path, compared()))
    assert "pip install 'lossreg[data]'" in text
    assert "±" not in text
    assert "lowest mean brier: 0.21:" in text


def test_what_did_not_complete_is_said(tmp_path: Path) -> None:
    rows = compared()
    rows[1] = Row(1, rows[1].overrides, "diverged", "DivergedError: NaN")
    rows[2] = Row(2, rows[2].overrides, "failed", "ValueError: no")
    text = printed(table(tmp_path, rows), width=120)
    (bce,) = (line for line in cells(text) if line[:1] == ["bce"])
    # Seed 3 of three is solved: the diverged one is not solved, the failed one does not count.
    assert " ".join(bce).startswith("bce 33.3%")
    assert " ".join(bce).endswith("baseline 1 diverged, 1 failed")
    assert "job 1: DivergedError: NaN\njob 2: ValueError: no\n" in text
    assert "12 jobs, 10 completed, 1 diverged, 1 failed" in text
    (mse,) = (line for line in cells(text) if line[:1] == ["mse"])
    assert mse[-1] == "2/2"  # the seeds that both have


def test_without_seeds_a_row_is_a_job(tmp_path: Path) -> None:
    rows = [
        *(job(i, f"loss.r=0.{i}", "seed=0", brier=1 / (i + 1)) for i in range(3)),
        Row(3, ["loss.r=1"], "failed", "E: why"),
    ]
    text = printed(table(tmp_path, rows))
    assert ["0.2", "2", "false", "0.3333", "0.6667"] in cells(text)
    assert ["1", "3", "failed"] in cells(text)
    assert "lowest brier: 0.3333, job 2:\n  python train.py loss.r=0.2\n" in text
    assert "difference" not in text


def test_seeds_alone_are_one_row(tmp_path: Path) -> None:
    lines = cells(printed(table(tmp_path, compared()[:4])))
    assert ["jobs", "solved", "brier", "auc"] in lines
    assert any(line[:5] == ["4", "50.0%", "(15–85)", "0.25", "±"] for line in lines)


def test_what_is_the_same_everywhere_is_said_once_but_not_the_objective(tmp_path: Path) -> None:
    rows = [job(i, f"loss={loss}", "reg=l2", brier=0.5) for i, loss in enumerate(("bce", "mix"))]
    text = printed(table(tmp_path, rows))
    assert "everywhere: reg=l2, solved false, auc 0.5\n" in text
    assert ["bce", "0", "0.5"] in cells(text)


def test_columns_that_the_table_lacks_are_left_out(tmp_path: Path) -> None:
    text = printed(table(tmp_path, compared()), replace(SETTINGS, success="unheard", mean="of"))
    assert ["bce", "0.5", "0.25"] in cells(text)
    assert "lowest" not in text


def test_of_several_objectives_the_front_and_the_best_of_each(tmp_path: Path, call: Any) -> None:
    # The third is bettered by the second in both, the fourth is as good in one and worse in the other.
    values = [(0.1, 0.2), (0.3, 0.8), (0.4, 0.7), (0.3, 0.6), (0.5, 0.9)]
    rows = [Row(i, [f"loss.r=0.{i}"], metrics={"brier": brier, "auc": auc}) for i, (brier, auc) in enumerate(values)]
    text = printed(table(tmp_path, rows), replace(SETTINGS, objectives=("brier", "auc")))
    lines = [line for line in cells(text) if line and line[0].startswith("0.")]
    assert [line[1] for line in lines] == ["0", "1", "4", "3", "2"]
    assert [line[-1] for line in lines] == ["yes", "yes", "yes", "0.6", "0.7"]
    assert "lowest brier: 0.1, job 0:\n  python train.py loss.r=0.0\n" in text
    assert "highest auc: 0.9, job 4:\n  python train.py loss.r=0.4\n" in text
    about = "results: {columns: [brier, auc], mean: brier, maximize: [auc], objectives: [brier, auc]}"
    (tmp_path / "sweep.yaml").write_text(about)
    assert [row["front"] for row in json.loads(call(str(tmp_path), "--json")[1])] == [True] * 3 + [False] * 2
    assert "front" not in json.loads(call(str(tmp_path), "--metric", "auc", "--json")[1])[0]


def test_an_empty_table_prints_nothing(tmp_path: Path) -> None:
    assert printed(ResultsTable(tmp_path / "results.csv")) == ""


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_eighty_columns_break_no_word(tmp_path: Path, count: int) -> None:
    values = ["binary_focal_crossentropy", "0.12345678901", "l2custom", "[64,64]", "two_moons", "adamw", "true"]
    names = ["loss", "loss.terms.second.gamma", "reg", "model.hidden_units", "data", "optimizer", "shuffle"]
    swept = [[f"{name}={value}" for name, value in zip(names, values, strict=True)], [f"{name}=1" for name in names]]
    rows = [
        job(2 * i + s, *own[:count], f"seed={s}", brier=0.1 + s / 7) for i, own in enumerate(swept) for s in range(2)
    ]
    text = printed(table(tmp_path, rows))
    lines = [line for line in text.splitlines() if not line.startswith("  python") and "results.csv" not in line]
    assert max(map(len, lines)) <= 80
    words = {word.rpartition("=")[2] for line in lines for word in line.split()}
    assert {value if value != values[1] else "0.1235" for value in values[:count]} <= words


def test_points_come_in_the_order_of_the_sweep() -> None:
    rows = [{"job": str(i), "status": "completed", "r": r} for i, r in enumerate(("0.5", "0.1", "0.5"))]
    assert [(point.place, point.jobs, point.rate) for point in points(rows, ["r"], None, None)] == [
        (("0.5",), 2, None),
        (("0.1",), 1, None),
    ]


@pytest.mark.parametrize("text", ["[/x]", "[red]a[/]", "a\x1b[2J", "[link=x]", r"$\nothing$", "a$b"])
@pytest.mark.parametrize("seeds", [1, 30])
def test_swept_text_is_shown_as_it_is(tmp_path: Path, text: str, seeds: int) -> None:
    places = [(note, r, seed) for note in (text, "b") for r in ("0.1", "0.2") for seed in range(seeds)]
    rows = [job(i, f"note[/x]={n}", f"loss.r={r}", f"seed={s}", brier=s / 10) for i, (n, r, s) in enumerate(places)]
    output = printed(table(tmp_path, [*rows, Row(999, [], "failed", text)]))
    assert text.replace("\x1b", r"\x1b") in output
    assert "\x1b" not in output


# By a sweep of the small app, and from its directory.


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep with options and overrides of all kinds, and what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "own" / "loss").mkdir(parents=True)
    (folder / "own" / "own.yaml").write_text("defaults:\n  - config\n  - _self_\n")
    (folder / "own" / "loss" / "ours.yaml").write_text("name: ours\nr: 0.4\n")
    command = [*("-cd", "own", "-cn", "own", "--multirun", "hydra/launcher=vectorized"), "loss=bce,mse,ours"]
    command += [
        "seed=range(0,4)",
        "+extra=1,2",
        "'note=\"a b\"'".strip("'"),
        "hydra.sweep.dir=sweep",
        "hydra.verbose=false",
    ]
    command += ["hydra.callbacks.results.baseline=mse"]
    done = subprocess.run(
        [sys.executable, str(APP), *command],
        cwd=folder,
        env={**ENVIRONMENT, "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def call(swept: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(swept[0])
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["results", *arguments])
        return code, *capsys.readouterr()

    return call


def test_the_best_row_s_command_runs_as_it_stands(swept: tuple[Path, str]) -> None:
    folder, output = swept
    (command,) = (line.strip() for line in output.splitlines() if line.startswith("  python"))
    assert command.endswith("-cd own -cn own hydra.verbose=false loss=ours +extra=1 'note=\"a b\"' compiled=true")
    words = [sys.executable, *shlex.split(command)[1:], "hydra.run.dir=best"]
    done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "best" / "metrics.json").read_text())["brier"] == pytest.approx(0.01)


def test_the_closing_table_is_printed_again(swept: tuple[Path, str], call: Any) -> None:
    code, output, _ = call("sweep")
    assert code == 0
    assert output in swept[1]
    assert "loss=mse extra=1" in output


def test_by_a_column_and_of_another_metric(swept: tuple[Path, str], call: Any) -> None:
    code, output, _ = call("sweep", "--by", "loss", "--metric", "loss", "--json")
    found = json.loads(output)
    assert code == 0
    assert [row["loss"] for row in found] == ["ours", "bce", "mse"]
    with (swept[0] / "sweep" / "results.csv").open(newline="") as file:
        values = [float(row["loss"]) for row in csv.DictReader(file) if row["override.loss"] == "ours"]
    low, high = stats.t.interval(0.95, 7, loc=sum(values) / 8, scale=stats.sem(values))
    first = found[0]
    assert [first["loss_mean"], first["loss_low"], first["loss_high"]] == pytest.approx([sum(values) / 8, low, high])
    assert (first["jobs"], first["won"], first["pairs"], first["solved"]) == (8, 8, 8, 1.0)
    assert first["difference"] == pytest.approx(2 * (0.01 - 0.25))
    frame = sweeps.load("sweep", by="loss", metric="loss")
    pd.testing.assert_frame_equal(frame, pd.DataFrame(found))
    read = pd.read_csv(io.StringIO(call("sweep", "--by", "loss", "--metric", "loss", "--csv")[1]))
    pd.testing.assert_frame_equal(frame, read, check_dtype=False)
    latex = call("sweep", "--by", "loss", "--metric", "brier", "--latex")[1]
    assert latex.splitlines()[4].startswith(
        r"ours & 8 & 100.0\% (68--100) & 0.0250 $\pm$ 0.0100 & 0.05 & $-$0.24 $\pm$ 0 & 8/8 \\"
    )
    assert len(sweeps.load("sweep", by="job")) == 24


def test_many_directories_are_one_table(tmp_path: Path, call: Callable[..., Any]) -> None:
    for name, losses in (("one", ["bce", "mse"]), ("two", ["mix"]), ("three", ["mix"])):
        rows = [row for row in compared() if row.overrides[0].removeprefix("loss=") in losses]
        (tmp_path / name).mkdir()
        table(tmp_path / name, rows)
        (tmp_path / name / "sweep.yaml").write_text(
            "results: {columns: [solved, brier, auc], mean: brier, replicate: seed}"
        )
    one, two, three = (str(tmp_path / name) for name in ("one", "two", "three"))
    found = json.loads(call(one, two, "--json")[1])
    assert [(row["loss"], row["won"]) for row in found] == [("mse", 3), ("bce", None), ("mix", 1)]
    found = json.loads(call(two, three, "--json")[1])  # the same jobs
    assert [(row["sweep"], row["difference"]) for row in found] == [(two, None), (three, 0.0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["."], ". has no results.csv, so it is no sweep's directory. There are some in bare, broken, empty."),
        (["gone"], "gone has no results.csv, so it is no sweep's directory."),
        (["empty"], "empty has no row yet in its results.csv."),
        (
            ["sweep", "--metric", "brie"],
            "There is no metric 'brie'. Did you mean 'brier'? There are: solved, loss, brier",
        ),
        (["sweep", "--by", "los"], "There is no column 'los'. Did you mean 'loss'?"),
        (["sweep", "--baseline", "mes"], "There is no baseline 'mes' in the table. Did you mean 'mse'?"),
        (["bare"], "sweep.yaml does not say which column is the metric."),
        (["broken"], "broken/sweep.yaml cannot be read: "),
        (["torn"], "torn/results.csv, line 2: "),
    ],
)
def test_a_mistake_is_one_line(call: Any, arguments: list[str], message: str) -> None:
    for name, text in (("empty", ""), ("bare", "job,status,error\n1,a,b\n"), ("broken", "job,status,error\n1,a,b\n")):
        Path(name).mkdir(exist_ok=True)
        Path(name, "results.csv").write_text(text)
    Path("broken", "sweep.yaml").write_text("a: [")
    Path("torn").mkdir(exist_ok=True)
    Path("torn", "results.csv").write_text("job,status,error\n1\n")
    code, output, errors = call(*arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_a_sweeper_that_looks_for_the_worst_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(APP),
        "-m",
        "hydra/sweeper=optuna",
        "loss=mix",
        "loss.r=interval(0,1)",
    ]
    command += ["hydra.sweeper.n_trials=3", "hydra.sweep.dir=sweep", "hydra.sweeper.n_jobs=1"]
    maximize = "hydra.callbacks.results.maximize=[brier]"

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)

    refused = run(maximize)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == "Of brier, a higher value is better. Add hydra.sweeper.direction=maximize"
    done = run("hydra.sweeper.direction=maximize")
    assert done.returncode == 0, done.stderr
    best = pd.read_csv(tmp_path / "sweep" / "results.csv").brier.max()
    assert f"highest brier: {best:.4g}, job " in done.stdout
