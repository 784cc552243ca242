"""Optuna's sweeper goes on with its study: each trial is told once, `n_trials` is a total. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.sweeps.sweep_app import app
from tests.sweeps.test_launch import Multirun, multirun  # noqa: F401 - a fixture
from tests.sweeps.test_results import rows

optuna = pytest.importorskip("optuna")
pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
pytestmark = pytest.mark.filterwarnings("ignore")  # Optuna 2.10 has some

Optimize = Callable[..., BaseException]


@pytest.fixture
def optimize(multirun: Multirun) -> Optimize:  # noqa: F811
    """Run an Optuna sweep; returns what ends it, which is at best `NONE`."""

    def optimize(*arguments: str, launcher: str = "basic", task: Any = app.main.__wrapped__) -> BaseException:
        with pytest.raises(BaseException) as ended:  # noqa: PT011
            multirun("hydra/sweeper=optuna", f"hydra/launcher={launcher}", *arguments, task=task)
        return ended.value

    return optimize


NONE = "'NoneType' object is not iterable"  # Optuna's sweeper returns nothing, which the fixture does not expect


def told(storage: str, name: str | None = None) -> list[tuple[float, ...] | None]:
    """What the trials of a study came to; `None` for those that did not."""
    return [trial.values and tuple(trial.values) for trial in optuna.load_study(name, storage).trials]


class Killed:
    """The app, in a process that ends when it begins its n-th job."""

    def __init__(self, jobs: int, task: Any = app.main.__wrapped__) -> None:
        self.left, self.task = jobs, task

    def __call__(self, cfg: DictConfig) -> Any:
        self.left -= 1
        if self.left < 0:
            raise SystemExit("killed")
        return self.task(cfg)


SPACE = ("loss=mix", "loss.r=interval(0,1)", "hydra.sweeper.n_jobs=2")


@pytest.mark.parametrize(("launcher", "storage"), [("basic", None), ("vectorized", "sqlite:///mine.db")])
def test_a_killed_study_goes_on_to_its_total(
    optimize: Optimize, tmp_path: Path, storage: str | None, launcher: str
) -> None:
    arguments = [*SPACE, "hydra.sweeper.sampler.seed=1", f"log={tmp_path}/log"]
    arguments += [f"hydra.sweeper.storage='{storage}'"] if storage else []
    # Three trials have their rows when it is killed, two of them are told.
    assert str(optimize(*arguments, "hydra.sweeper.n_trials=5", task=Killed(3))) == "killed"
    begun = rows(tmp_path / "sweep" / "results.csv")
    assert [row["job"] for row in begun] == ["0", "1", "2"]
    for trials in (5, 5, 6):
        assert str(optimize(*arguments, f"hydra.sweeper.n_trials={trials}", launcher=launcher)) == NONE
        found = rows(tmp_path / "sweep" / "results.csv")
        assert [row["job"] for row in found] == list("012345"[:trials])
        assert [row["loss.r"] for row in found[:3]] == [row["loss.r"] for row in begun]
        assert len({row["loss.r"] for row in found}) == trials  # a seed does not begin again
        assert len((tmp_path / "log").read_text().splitlines()) == trials
        values = [value[0] for value in told(storage or "sqlite:///sweep/study.db") if value]
        assert sorted(values) == sorted(float(row["brier"]) for row in found)


def test_after_a_failed_trial_a_grid_is_finished(optimize: Optimize, tmp_path: Path) -> None:
    arguments = ["hydra/sweeper/sampler=grid", "seed=choice(0,1,2,3)", "fail=choice(2)", "hydra.sweeper.n_jobs=1"]
    # The order is random; after the last one Optuna's sweeper fails to stop.
    ended = str(optimize(*arguments))
    assert "unlucky" in ended or "Study.stop" in ended
    assert str(optimize(*arguments)) == NONE
    found = rows(tmp_path / "sweep" / "results.csv")
    assert [row["job"] for row in found] == ["0", "1", "2", "3"]
    assert sorted((row["seed"], row["status"] == "failed") for row in found) == [(str(n), n == 2) for n in range(4)]


def test_a_study_of_which_nothing_succeeds_says_so(optimize: Optimize, tmp_path: Path) -> None:
    arguments = ["seed=choice(2)", "fail=choice(2)", "hydra.sweeper.n_jobs=1"]
    assert "unlucky" in str(optimize(*arguments, "hydra.sweeper.n_trials=1"))
    assert "unlucky" in str(optimize(*arguments, "hydra.sweeper.n_trials=2"))
    ended = optimize(*arguments, "hydra.sweeper.n_trials=2")
    assert str(ended) == f"All 2 trials of {tmp_path}/sweep have failed: run more by hydra.sweeper.n_trials."
    assert [row["job"] for row in rows(tmp_path / "sweep" / "results.csv")] == ["0", "1"]


def test_a_table_without_its_study_is_refused(optimize: Optimize, tmp_path: Path) -> None:
    assert str(optimize(*SPACE, "hydra.sweeper.n_trials=2")) == NONE
    before = (tmp_path / "sweep" / "results.csv").read_bytes()
    (tmp_path / "sweep" / "study.db").unlink()
    ended = optimize(*SPACE, "hydra.sweeper.n_trials=4")
    assert isinstance(ended, SystemExit)
    assert str(ended).startswith(f"{tmp_path}/sweep holds trials, but sqlite:///")
    assert len(str(ended).splitlines()) == 1
    assert (tmp_path / "sweep" / "results.csv").read_bytes() == before


def space(cfg: DictConfig, trial: Any) -> None:
    """Each loss has its own parameters."""
    if trial.params["loss"] == "mix":
        trial.suggest_float("loss.r", 0, 1)


def test_conditional_spaces_and_several_objectives(optimize: Optimize, tmp_path: Path) -> None:
    def task(cfg: DictConfig) -> Any:
        metrics = app.measure(cfg)
        return metrics["brier"], -metrics["loss"]

    arguments = (
        *("loss=choice(bce,mix)", "seed=choice(0,1,2)", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=8"),
        *(
            "hydra/sweeper/sampler=random",
            "hydra.sweeper.sampler.seed=1",
            "hydra.sweeper.direction=[minimize,maximize]",
        ),
        *(f"hydra.sweeper.custom_search_space={__name__}.space", "hydra.callbacks.results.objective=[brier,gain]"),
        *("hydra.callbacks.results.columns=[]", "hydra.callbacks.results.mean=null"),
    )
    assert str(optimize(*arguments, task=Killed(5, task))) == "killed"
    assert str(optimize(*arguments, launcher="vectorized", task=task)) == NONE
    found = rows(tmp_path / "sweep" / "results.csv")
    assert [row["job"] for row in found] == list("01234567")
    assert {(row["loss"], bool(row["loss.r"])) for row in found} == {("bce", False), ("mix", True)}
    assert all(float(row["gain"]) == -2 * float(row["brier"]) for row in found)
    values = [value for value in told("sqlite:///sweep/study.db") if value]
    assert sorted(values) == sorted((float(row["brier"]), float(row["gain"])) for row in found)
