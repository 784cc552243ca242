"""The loggers, read back by TensorBoard's and MLflow's own clients."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lossreg
import train
from hydra_plugins.lossreg.app import run as run_app
from lossreg.sweeps import Loggers, Outcome, Run
from tests.conftest import ROOT, composed

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's and TensorBoard's own

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none", "verbose=0")


def call(*arguments: str) -> None:
    """Run train.py in this process."""
    before, sys.argv = sys.argv, ["train.py", "-cp", str(ROOT / "conf"), *arguments, *QUIET]
    try:
        run_app(train.main)
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a run has been logged in `run`, and a sweep in `sweep`, by both loggers."""
    import mlflow

    folder, before = tmp_path_factory.mktemp("tracked"), mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        both = ("logger=[tensorboard,mlflow]", "logger.mlflow.tracking_uri=sqlite:///mlflow.db", "epochs=12")
        fading = ("loss=mix", "+schedule@loss.r=linear", "loss.r.initial_learning_rate=1.0")
        call(*both, *fading, "data=two_moons", "data.n=60", "hydra.run.dir=run")
        vectorized = ("-m", "hydra/launcher=vectorized", "hydra.sweep.dir=sweep")
        call(*vectorized, *both, "loss=mix", "loss.r=0.2,0.8", "seed=1,2")
    yield folder
    mlflow.set_tracking_uri(before)


class TestTensorBoard:
    @pytest.fixture(scope="class")
    def events(self, folder: Path) -> Any:
        from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

        return EventMultiplexer(size_guidance={"tensors": 0}).AddRunsFromDirectory(str(folder)).Reload()

    def test_a_run_has_what_history_csv_has(self, events: Any, folder: Path) -> None:
        import tensorflow as tf

        history = Run(folder / "run", {}).history
        assert {"loss", "validation_loss", "loss.r"} <= set(history)
        for name, values in history.items():
            part, tag = ("validation", name[11:]) if name.startswith("validation_") else ("train", name)
            points = events.Tensors(f"run/tensorboard/{part}", f"epoch_{tag}")
            assert [point.step for point in points] == list(range(12))
            assert [float(tf.make_ndarray(point.tensor_proto)) for point in points] == pytest.approx(values)

    def test_a_run_has_config_metrics_picture_and_model(self, events: Any, folder: Path) -> None:
        tags = events.GetAccumulator("run/tensorboard").Tags()["tensors"]
        assert {"config", "report", "accuracy", "brier"} <= set(tags)
        assert "keras" in events.GetAccumulator("run/tensorboard/train").Tags()["tensors"]

    def test_a_sweep_is_a_table_of_hparams(self, events: Any, folder: Path) -> None:
        from tensorboard.plugins.hparams import plugin_data_pb2

        found = {}
        for job in range(4):
            data = events.SummaryMetadata(f"sweep/tensorboard/{job}", "_hparams_/session_start_info").plugin_data
            start = plugin_data_pb2.HParamsPluginData.FromString(data.content).session_start_info.hparams
            found[job] = (start["loss.r"].number_value, start["seed"].number_value, start["loss"].string_value)
        assert set(found.values()) == {(r, seed, "mix") for r in (0.2, 0.8) for seed in (1, 2)}


class TestMLflow:
    @pytest.fixture(scope="class")
    def client(self, folder: Path) -> Any:
        import mlflow

        return mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")

    @pytest.fixture(scope="class")
    def runs(self, client: Any) -> list[Any]:
        found: list[Any] = client.search_runs([client.get_experiment_by_name("lossreg").experiment_id])
        return found

    def test_a_run_has_its_config_metrics_curves_and_files(self, client: Any, runs: list[Any], folder: Path) -> None:
        (run,) = (run for run in runs if run.data.tags.get("directory") == str(folder / "run"))
        left = Run(folder / "run", {})
        assert run.info.status == "FINISHED"
        assert (run.data.params["loss.r.name"], run.data.params["epochs"]) == ("polynomial_decay", "12")
        assert {name: run.data.metrics[name] for name in left.metrics} == pytest.approx(left.metrics)
        for name in ("loss", "validation_loss", "loss.r"):
            points = sorted(client.get_metric_history(run.info.run_id, f"epoch/{name}"), key=lambda point: point.step)
            assert [point.step for point in points] == list(range(1, 13))
            assert [point.value for point in points] == pytest.approx(left.history[name])
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"report.png", "history.csv", "metrics.json"} <= files

    def test_the_model_is_loaded_by_mlflow(self, client: Any, runs: list[Any], folder: Path) -> None:
        import mlflow.tensorflow
        import numpy as np

        (model,) = client.search_logged_models([runs[0].info.experiment_id])
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            loaded = mlflow.tensorflow.load_model(model.model_uri)
        x = np.array([[0.5, -1.0], [2.0, 0.1]], np.float32)
        own = lossreg.load_model(folder / "run" / "model.keras")
        assert np.asarray(loaded(x)) == pytest.approx(np.asarray(own(x)))

    def test_a_sweep_is_a_run_with_its_jobs_as_children(self, client: Any, runs: list[Any]) -> None:
        (parent,) = (run for run in runs if run.info.run_name.endswith("/sweep"))
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert parent.info.status == "FINISHED"
        assert {"results.csv", "sweep.yaml"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
        assert sorted(int(run.data.tags["job"]) for run in children) == list(range(4))
        by_choice = {(run.data.params["loss.r"], run.data.params["seed"]) for run in children}
        assert by_choice == {(r, seed) for r in ("0.2", "0.8") for seed in "12"}
        assert {run.info.status for run in children} == {"FINISHED"}

    def test_jobs_that_trained_together_have_metrics_and_thinned_curves(
        self, client: Any, runs: list[Any], folder: Path
    ) -> None:
        (run,) = (run for run in runs if run.data.tags["directory"] == str(folder / "sweep" / "1"))
        left = Run(folder / "sweep" / "1", {})
        assert {name: run.data.metrics[name] for name in left.metrics} == pytest.approx(left.metrics)
        points = sorted(client.get_metric_history(run.info.run_id, "epoch/loss"), key=lambda point: point.step)
        assert len(points) == 7
        assert (points[0].step, points[-1].step) == (1, 12)
        assert [point.value for point in points] == pytest.approx([left.history["loss"][p.step - 1] for p in points])

    def test_jobs_that_come_later_are_children_of_the_same_run(
        self, client: Any, runs: list[Any], folder: Path
    ) -> None:
        sweep = folder / "sweep"
        config = {"logger": {"mlflow": {"name": "mlflow", "tracking_uri": f"sqlite:///{folder}/mlflow.db"}}}
        outcomes = {
            20: Outcome(metrics={"a": math.nan, "b": math.inf}, history={"loss": [1.0, math.nan]}),
            21: Outcome(error=ValueError("seven")),
        }
        Loggers().log([Run(sweep / f"{job}", config, (), o, sweep, job) for job, o in outcomes.items()], config)
        Loggers().log([Run(sweep, config, sweep=sweep)], config)
        (parent,) = (run for run in runs if run.info.run_name.endswith("/sweep"))
        assert client.get_run(parent.info.run_id).info.status == "FINISHED"
        children = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        found = {run.data.tags["job"]: run for run in client.search_runs([parent.info.experiment_id], children)}
        assert set(found) == {"0", "1", "2", "3", "20", "21"}
        assert math.isnan(found["20"].data.metrics["a"])
        assert found["20"].data.metrics["b"] > 1e307
        points = client.get_metric_history(found["20"].info.run_id, "epoch/loss")
        assert [math.isnan(point.value) for point in points] == [False, True]
        assert (found["21"].info.status, found["21"].data.tags["error"]) == ("FAILED", "ValueError: seven")


def test_several_are_chosen_at_once_and_each_has_its_own_keys() -> None:
    cfg = composed("logger=[tensorboard,mlflow]", "logger.mlflow.experiment=other")
    assert set(cfg.logger) == {"tensorboard", "mlflow"}
    assert (cfg.logger.mlflow.experiment, cfg.logger.mlflow.tracking_uri) == ("other", None)
    assert set(composed("logger=mlflow").logger) == {"mlflow"}
    assert composed().logger == {"none": {"name": "lossreg/none"}}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            "logger=[tensorbord,mlflow]",
            "logger=tensorbord: There is no logger 'tensorbord'. Did you mean 'tensorboard'?",
        ),
        ("logger=mlflow logger.mlflow.experimnt=a", "logger.mlflow.experimnt: there is no such config key."),
        ("logger=mlflow logger.mlflow.model=3", "logger.mlflow.model: logger 'mlflow'"),
    ],
)
def test_what_is_misspelt_is_refused_before_training(
    line: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refused:
        call(*line.split())
    assert str(refused.value).startswith(what)


def test_one_of_somebody_else_is_handed_what_ended(tmp_path: Path) -> None:
    handed = []

    @lossreg.loggers.register("mine")
    def mine(volume: float = 1.0) -> Any:
        return lambda runs: handed.append((volume, [run.job for run in runs]))

    try:
        config = {"logger": {"mine": {"name": "mine", "volume": 2}}}
        Loggers().log([Run(tmp_path, config, job=job, sweep=tmp_path) for job in (3, 4)], config)
    finally:
        lossreg.loggers.unregister("mine")
    assert handed == [(2.0, [3, 4])]


def test_one_that_fails_is_one_line_and_the_next_is_called(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    lossreg.loggers.register("missing")(lambda: lambda runs: __import__("not_installed"))
    lossreg.loggers.register("ends")(lambda: lambda runs: sys.exit(3))
    lossreg.loggers.register("fine")(lambda: called.append)
    try:
        config = {"logger": {name: {"name": name} for name in ("missing", "ends", "fine")}}
        for _ in range(2):
            Loggers().log([Run(tmp_path, config)], config)
    finally:
        for name in ("missing", "ends", "fine"):
            lossreg.loggers.unregister(name)
    assert len(called) == 2
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 2
    assert "No module named 'not_installed'" in lines[0]
    assert all("\n" not in line for line in lines)
