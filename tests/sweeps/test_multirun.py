"""Hydra's multirun with its own launcher and with joblib: one row per job, whatever happens to a job."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Run


def read(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def sweep_of(folder: Path) -> Path:
    (sweep,) = folder.glob("multirun/*/*")
    return sweep


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_six_jobs_give_six_rows(launcher: str, run: Run, tmp_path: Path) -> None:
    overrides = ("loss=bce,mse,mix", "reg=none,l2custom", "epochs=5", f"hydra/launcher={launcher}")
    jobs = ("hydra.launcher.n_jobs=2",) if launcher == "joblib" else ()
    result = run("-m", *overrides, *jobs)
    assert result.returncode == 0, result.stderr
    sweep = sweep_of(tmp_path)
    rows = sorted(read(sweep), key=lambda row: int(row["job"]))
    assert list(rows[0]) == [
        *("job", "status", "error", "override.loss", "reg", "epochs", "solved", "accuracy", "loss", "brier", "seconds")
    ]
    assert [int(row["job"]) for row in rows] == list(range(6))
    assert [(row["override.loss"], row["reg"]) for row in rows] == [
        (loss, reg) for loss in ("bce", "mse", "mix") for reg in ("none", "l2custom")
    ]
    for row in rows:
        assert (row["status"], row["error"]) == ("completed", "")
        directory = sweep / row["job"]
        metrics = json.loads((directory / "metrics.json").read_text())
        assert float(row["brier"]) == metrics["brier"]
        assert float(row["loss"]) == metrics["loss"]
        names = {path.name for path in directory.iterdir()}
        assert {".hydra", "history.csv", "metrics.json", "model.keras", "report.png"} <= names
    assert "results.csv" in result.stdout


def test_a_sweep_over_the_end_of_a_schedule_is_one_program_with_the_numbers_of_each_run_alone(
    run: Run, tmp_path: Path
) -> None:
    shared = (
        *("loss=mix", "+schedule@loss.r=linear", "loss.r.initial_learning_rate=1", "reg=l2custom"),
        *("+learned@reg.r=positive", "reg.r.initial=0.01", "epochs=60", "verbose=0"),
    )
    sweep = ("hydra/launcher=vectorized", "loss.r.end_learning_rate=0,0.5,1", "hydra.sweep.dir=sweep")
    result = run("-m", *shared, *sweep)
    assert result.returncode == 0, result.stderr
    assert "one by one" not in result.stderr
    rows = read(tmp_path / "sweep")
    assert [row["loss.r.end_learning_rate"] for row in rows] == ["0", "0.5", "1"]
    result = run(*shared, "loss.r.end_learning_rate=0.5", "jit_compile=true", "hydra.run.dir=alone")
    assert result.returncode == 0, result.stderr
    histories = []
    for directory in ("sweep/1", "alone"):
        with (tmp_path / directory / "history.csv").open(newline="") as file:
            histories.append(list(csv.DictReader(file)))
    assert list(histories[0][0]) == ["epoch", "loss", "loss.r", "reg.r"]
    for together, alone in zip(*histories, strict=True):
        for name, value in alone.items():
            assert float(together[name]) == pytest.approx(float(value), rel=1e-5, abs=1e-6)
    metrics = [json.loads((tmp_path / folder / "metrics.json").read_text()) for folder in ("sweep/1", "alone")]
    assert metrics[0]["values"] == pytest.approx(metrics[1]["values"], rel=1e-5)
    # The row says how to run it again.
    assert "+schedule@loss.r=linear" in " ".join(f"{key}={value}" for key, value in rows[1].items())


def test_a_job_that_fails_is_a_row_and_the_others_run(run: Run, packages: Path, tmp_path: Path) -> None:
    losses = "loss=bce,becomes_nan,shatter,raises,with_parameters,mse"
    result = run("-m", losses, "epochs=40", "verbose=0", path=(packages,))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    rows = {row["override.loss"]: row for row in read(sweep_of(tmp_path))}
    assert {loss: row["status"] for loss, row in rows.items()} == {
        **{"bce": "completed", "mse": "completed", "becomes_nan": "diverged"},
        **dict.fromkeys(("shatter", "raises", "with_parameters"), "failed"),
    }
    assert "at epoch" in rows["becomes_nan"]["error"]
    assert "broken-pack 1.2.3" in rows["shatter"]["error"]
    assert "this loss always raises" in rows["raises"]["error"]
    assert "needs a value for 'scale'" in rows["with_parameters"]["error"]
    assert rows["shatter"]["brier"] == ""


def test_optuna_s_trials_of_a_batch_are_one_program_and_told_both_objectives(run: Run, tmp_path: Path) -> None:
    """With the conditional space of docs/sweeps.md."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    (space,) = re.findall(r"^```python\n(# spaces.py\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (line,) = re.findall(r"^\$ python train.py (-m hydra/sweeper=optuna .*)$", page, re.MULTILINE)
    (tmp_path / "spaces.py").write_text(space)
    more = ["hydra.sweeper.sampler.seed=1", "hydra/launcher=vectorized", "epochs=5", "hydra.sweep.dir=sweep"]
    result = run(*shlex.split(line), *more, "hydra.sweeper.n_trials=6", path=(tmp_path,))
    assert result.returncode == 0, result.stderr
    rows = read(tmp_path / "sweep")
    assert [row["status"] for row in rows] == ["completed"] * 6
    losses = {row["override.loss"]: (bool(row["loss.r"]), bool(row["loss.epsilon"])) for row in rows}
    assert losses.items() <= {"bce": (False, False), "mix": (True, False), "poly_crossentropy": (False, True)}.items()
    assert len(losses) > 1
    told = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())["solutions"]
    pairs = {(float(row["brier"]), float(row["penalty"])) for row in rows}
    front = {
        pair for pair in pairs if not any(own != pair and own[0] <= pair[0] and own[1] <= pair[1] for own in pairs)
    }
    assert {tuple(solution["values"]) for solution in told} == front
    assert result.stdout.count(" yes ") == len(front)


def test_hydra_s_own_ray_launcher(run: Run, tmp_path: Path) -> None:
    # It wants cloudpickle 2, which joblib and dask refuse, so it is in no extra of ours.
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    result = run("-m", "hydra/launcher=ray", "loss=bce,mse", "epochs=5", "verbose=0")
    assert result.returncode == 0, result.stderr
    assert [row["status"] for row in read(sweep_of(tmp_path))] == ["completed"] * 2


def test_printing_costs_no_result(run: Run, tmp_path: Path) -> None:
    result = run("epochs=2", "objective=[brier,penalty]", "hydra.run.dir=one", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "one" / "metrics.json").exists()


@pytest.mark.parametrize("option", ["chunk_size=-5", "chunk_size=0", "n_jobs=0", "job_directories=maybe"])
def test_an_option_of_the_launcher_that_cannot_be_is_refused_by_its_key(option: str, run: Run) -> None:
    result = run("-m", "hydra/launcher=vectorized", f"hydra.launcher.{option}", "seed=1,2")
    assert result.returncode == 1
    assert f"hydra.launcher.{option}" in result.stderr
    assert "Traceback" not in result.stderr


SPITEFUL = {
    "quits": "import sys\nsys.exit(0)\ndef loss(y_true, y_pred): ...",
    "breaks": "def loss(y_true, y_pred): raise KeyboardInterrupt('\\x1b[2J [/red]')",
}


@pytest.mark.parametrize("launcher", ["joblib"])  # the others: test_launch
def test_plugins_that_end_by_what_is_no_error_are_rows_that_name_their_package(
    launcher: str, run: Run, tmp_path: Path, no_tensorflow: Path
) -> None:
    site = tmp_path / "site"
    (site / "spite-1.0.dist-info").mkdir(parents=True)
    (site / "spite-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spite\nVersion: 1.0\n")
    points = "".join(f"{name} = {name}_module:loss\n" for name in SPITEFUL)
    (site / "spite-1.0.dist-info" / "entry_points.txt").write_text(f"[lossreg.losses]\n{points}")
    for name, code in SPITEFUL.items():
        (site / f"{name}_module.py").write_text(code)
    options = [
        "epochs=2",
        "verbose=0",
        "hydra.sweep.dir=sweep",
        *(["hydra.launcher.n_jobs=2"] * (launcher == "joblib")),
    ]
    single = run("loss=quits", path=(no_tensorflow, site))
    assert single.returncode == 1
    assert "'quits' of package spite 1.0 cannot be used: importing" in single.stderr
    assert "Traceback" not in single.stderr
    command = ["-m", f"hydra/launcher={launcher}", "loss=quits,breaks,mse", *options]
    first = run(*command, path=(site,), PYTHONIOENCODING="ascii")
    found = {row["override.loss"]: row for row in read(tmp_path / "sweep")}
    assert {name: row["status"] for name, row in found.items()} == {
        "quits": "failed",
        "breaks": "failed",
        "mse": "completed",
    }
    assert (
        "'quits' of package spite 1.0 cannot be used: importing quits_module:loss raised SystemExit: 0"
        in (found["quits"]["error"])
    )
    assert "'breaks' of package spite 1.0 raised KeyboardInterrupt: \\x1b[2J [/red]" in found["breaks"]["error"]
    again = run(*command, path=(site,), PYTHONIOENCODING="ascii")
    for result in (first, again):
        assert result.returncode == 1
        assert "Traceback" not in result.stderr + result.stdout
        assert "\x1b[2J" not in result.stderr + result.stdout
    assert first.stderr.splitlines()[-2:] == again.stderr.splitlines()[-2:]
    assert "Traceback" in (tmp_path / "sweep" / "0" / "train.log").read_text()
