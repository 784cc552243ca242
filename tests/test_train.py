"""`train.py` as a person runs it, and what it writes."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import lossreg
from tests.conftest import ROOT, Run


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def read_history(directory: Path) -> list[dict[str, str]]:
    with (directory / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the README's command prints, and the directory that it fills; its path has spaces and Korean letters."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("a path with 한글")
    command = [sys.executable, str(ROOT / "train.py"), "loss=mix", "loss.r=0.8", "reg=l2custom"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, env={**os.environ})
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout, only(folder, "outputs/*/*")


class TestTheRun:
    def test_it_solves_xor_and_says_so(self, finished: tuple[str, Path]) -> None:
        stdout, directory = finished
        last = stdout.strip().splitlines()[-1]
        metrics = json.loads((directory / "metrics.json").read_text())
        assert metrics["solved"] is True
        assert last.startswith(f"xor solved: loss {metrics['loss']:.4f} after 500 epochs in {metrics['seconds']:.1f} s")
        assert str(Path(*directory.parts[-3:])) in last

    def test_it_shows_the_summary_the_progress_and_the_truth_table(self, finished: tuple[str, Path]) -> None:
        stdout, directory = finished
        metrics = json.loads((directory / "metrics.json").read_text())
        assert "Total params: 17" in stdout
        assert "epoch 500/500" in stdout
        for x, y, y_hat, y_pred in zip(
            ("0 0", "0 1", "1 0", "1 1"), "0110", metrics["y_hat"], metrics["y_pred"], strict=True
        ):
            cells = " │ ".join((x, y, f"{y_hat:.4f}", str(y_pred)))
            assert cells in stdout

    def test_the_metrics_are_those_of_the_saved_outputs(self, finished: tuple[str, Path]) -> None:
        metrics = json.loads((finished[1] / "metrics.json").read_text())
        y, p = np.array([0.0, 1.0, 1.0, 0.0]), np.array(metrics["y_hat"])
        bce = -np.mean(y * np.log(p + 1e-6) + (1 - y) * np.log(1 - p + 1e-6))
        assert metrics["loss"] == pytest.approx(0.8 * bce + 0.2 * np.mean((y - p) ** 2), rel=1e-5)
        assert metrics["brier"] == pytest.approx(np.mean((y - p) ** 2), rel=1e-5)
        assert metrics["y_pred"] == [0, 1, 1, 0]
        assert (metrics["accuracy"], metrics["epochs_run"]) == (1.0, 500)
        assert list(metrics) == [
            *("solved", "accuracy", "brier", "loss", "penalty", "epochs_run", "seconds", "values", "y_hat", "y_pred")
        ]
        assert metrics["values"] == {}

    def test_the_model_is_saved_with_its_weights(self, finished: tuple[str, Path]) -> None:
        metrics = json.loads((finished[1] / "metrics.json").read_text())
        model = lossreg.load_model(finished[1] / "model.keras")
        y_hat = keras.ops.convert_to_numpy(model(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)))
        assert y_hat.ravel().tolist() == pytest.approx(metrics["y_hat"], abs=1e-7)
        kernel = model.get_layer("hidden").kernel.numpy()
        assert metrics["penalty"] == pytest.approx(0.0001 * np.sum(kernel**2), rel=1e-5)
        assert repr(model.loss) == "<loss lossreg/mix(r=0.8)>"

    def test_the_history_has_one_row_per_epoch(self, finished: tuple[str, Path]) -> None:
        rows = read_history(finished[1])
        assert [int(row["epoch"]) for row in rows] == list(range(1, 501))
        assert all(math.isfinite(float(row["loss"])) for row in rows)

    def test_the_picture_is_one(self, finished: tuple[str, Path]) -> None:
        from matplotlib.image import imread

        picture = imread(finished[1] / "report.png")
        assert picture.shape[:2] == (530, 1000)  # the penalty is a curve below the loss
        assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 100  # a surface, not a blank

    def test_nothing_else_is_left(self, finished: tuple[str, Path]) -> None:
        names = sorted(path.name for path in finished[1].iterdir())
        assert names == [".hydra", "history.csv", "metrics.json", "model.keras", "report.png", "train.log"]

    def test_its_saved_config_gives_the_same_numbers_and_verbose_0_is_silent(
        self, finished: tuple[str, Path], run: Run, tmp_path: Path
    ) -> None:
        saved = os.path.relpath(finished[1] / ".hydra", tmp_path)
        result = run("--config-path", saved, "--config-name", "config", "verbose=0")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        again = only(tmp_path, "outputs/*/*")
        assert (again / "history.csv").read_text() == (finished[1] / "history.csv").read_text()
        first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (finished[1], again))
        assert first | {"seconds": 0} == second | {"seconds": 0}


def test_a_loss_that_becomes_nan_stops_the_run_and_leaves_the_history(run: Run, packages: Path, tmp_path: Path) -> None:
    result = run("loss=becomes_nan", "epochs=100", path=(packages,))
    assert result.returncode == 1
    directory = only(tmp_path, "outputs/*/*")
    rows = read_history(directory)
    assert rows
    assert not math.isfinite(float(rows[-1]["loss"]))
    assert all(math.isfinite(float(row["loss"])) for row in rows[:-1])
    assert f"The loss became {float(rows[-1]['loss'])} at epoch {len(rows)}" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (directory / "metrics.json").exists()


def test_a_third_party_plugin_is_an_option_after_installing_it(run: Run, packages: Path, tmp_path: Path) -> None:
    result = run("loss=focal", "loss.gamma=3", "reg=hoyer", "epochs=3", "verbose=0", path=(packages,))
    assert result.returncode == 0, result.stderr
    metrics = json.loads((only(tmp_path, "outputs/*/*") / "metrics.json").read_text())
    y, p = np.array([0.0, 1.0, 1.0, 0.0]), np.array(metrics["y_hat"])
    focal = -np.mean(y * (1 - p) ** 3 * np.log(p) + (1 - y) * p**3 * np.log(1 - p))
    assert metrics["loss"] == pytest.approx(focal, rel=1e-4)
    assert metrics["penalty"] > 0


SCHEDULED = (
    *("loss=mix", "+schedule@loss.r=cosine_decay", "loss.r.initial_learning_rate=0.9", "loss.r.decay_steps=30"),
    *("reg=l2custom", "+learned@reg.r=positive", "reg.r.initial=0.001"),
    *("+schedule@optimizer.learning_rate=linear", "optimizer.learning_rate.initial_learning_rate=0.1"),
    *("epochs=20", "batch_size=2"),
)


def test_schedules_and_variables_are_in_every_file(run: Run, tmp_path: Path) -> None:
    result = run(*SCHEDULED)
    assert result.returncode == 0, result.stderr
    directory = only(tmp_path, "outputs/*/*")
    rows = read_history(directory)
    assert list(rows[0]) == ["epoch", "loss", "reg", "loss.r", "reg.r", "optimizer.learning_rate"]
    steps = np.arange(1, 41, 2)  # the second of the two steps of each epoch, counted from 0
    cosine = 0.9 * (1 + np.cos(np.pi * np.minimum(steps / 30, 1))) / 2
    assert [float(row["loss.r"]) for row in rows] == pytest.approx(cosine, abs=1e-6)
    assert [float(row["optimizer.learning_rate"]) for row in rows] == pytest.approx(0.1 * (1 - steps / 40), abs=1e-6)
    learned = [float(row["reg.r"]) for row in rows]
    assert learned == sorted(learned, reverse=True)  # a penalty alone is least where λ is 0
    assert learned[-1] < learned[0] == pytest.approx(0.001, rel=0.2)

    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["values"] == {
        "loss.r": pytest.approx(0, abs=1e-6),
        "reg.r": pytest.approx(learned[-1], rel=0.1),
        "optimizer.learning_rate": pytest.approx(0, abs=1e-6),
    }
    assert f"reg.r {metrics['values']['reg.r']:.4g}" in result.stdout
    model = lossreg.load_model(directory / "model.keras")
    assert model.loss.r == metrics["values"]["loss.r"]
    penalty = model.get_layer("hidden").kernel_regularizer
    assert penalty.r == pytest.approx(metrics["values"]["reg.r"], rel=1e-6)
    kernel = model.get_layer("hidden").kernel.numpy()
    assert metrics["penalty"] == pytest.approx(penalty.r * np.sum(kernel**2), rel=1e-5)

    from matplotlib.image import imread

    assert imread(directory / "report.png").shape[0] > 700  # three curves below the loss


def test_a_plugin_that_needs_the_number_is_named_with_its_line(run: Run, packages: Path) -> None:
    overrides = ("+schedule@loss.r=linear", "loss.r.initial_learning_rate=1")
    result = run("loss=branching", *overrides, "verbose=0", path=(packages,))
    assert result.returncode == 1
    assert (
        "loss 'branching' (every-kind 1.2.3) does not take a schedule for 'r', since that is a tensor" in result.stderr
    )
    assert "every_kind.py" in result.stderr
    assert "if r > 0.5:" in result.stderr
    assert "Traceback" not in result.stderr


MISTAKES = [
    ("loss=mxi", "loss=mxi: There is no loss 'mxi'. Did you mean 'mix'?", "lossreg 0.1.0: "),
    ("reg=l2costum", "Did you mean 'l2custom'?", "lossreg 0.1.0: "),
    (
        "loss=focal loss.gamma=abc",
        "loss.gamma: loss 'focal' (focal-hoyer 1.0.0) takes float for 'gamma', not 'abc'",
        "",
    ),
    ("loss=focal loss.gama=3", "loss.gama: loss 'focal' (focal-hoyer 1.0.0) has no parameter 'gama'.", "'gamma'?"),
    ("loss=focal +loss.gama=3", "loss.gama: loss 'focal' (focal-hoyer 1.0.0) has no parameter 'gama'.", "'gamma'?"),
    ("loss=mix loss.r=abc", "loss.r: loss 'mix' (lossreg 0.1.0) takes float for 'r', not 'abc'", ""),
    ("loss=with_parameters", "loss.scale: loss 'with_parameters' (every-kind 1.2.3) needs a value for 'scale'", ""),
    ("loss=twin", "Several packages register a loss 'twin'. Say which one: 'pack-a/twin' or 'pack-b/twin'", ""),
    ("loss=shatter", "'shatter' of package broken-pack 1.2.3 cannot be used", "RuntimeError: the plugin fell over"),
    ("loss=dependent", "'dependent' of package dependent 1.2.3 cannot be used", "a_package_that_is_not_installed"),
    ("loss.name=os.system", "There is no loss 'os.system'", ""),
    ("loss.name=lossreg_plugins.losses:mix", "There is no loss 'lossreg_plugins.losses:mix'", ""),
    ("+loss._target_=os.system", "loss._target_: loss 'bce' (lossreg 0.1.0) has no parameter '_target_'", ""),
    ("loss=mix loss.r={_target_:os.system}", "loss.r: loss 'mix' (lossreg 0.1.0) takes float for 'r'", ""),
    (
        "loss=mix +schedule@loss.r=cosin_decay",
        "schedule=cosin_decay: There is no schedule 'cosin_decay'. Did you mean 'cosine_decay'?",
        "this app: cosine, linear, warmup, warmup_cosine",
    ),
    ("loss=mix +schedule@loss.q=linear", "loss.q: loss 'mix' (lossreg 0.1.0) has no parameter 'q'.", ""),
    (
        "loss=mix +schedule@loss.r=linear",
        "loss.r.initial_learning_rate: schedule 'polynomial_decay' (lossreg 0.1.0) needs a value",
        "which has no default",
    ),
    ("loss=mix +schedule@loss.r=warmup", "loss.r.end_learning_rate: schedule 'polynomial_decay'", "needs a value"),
    ("loss=mix +schedule@loss.r=cosine loss.r.alfa=1", "loss.r.alfa: there is no such config key.", "'alpha'?"),
    (
        "loss=mix +schedule@loss.r=cosine loss.r.initial_learning_rate=1 loss.r.alpha=x",
        "loss.r.alpha: schedule 'cosine_decay'",
        "float for 'alpha'",
    ),
    (
        "+schedule@optimizer.learning_rate=warmup_cosine",
        "optimizer.learning_rate.warmup_target: schedule 'cosine_decay' (lossreg 0.1.0) needs a value",
        "",
    ),
    ("+learned@optimizer.learning_rate=bounded", "optimizer.learning_rate.name: There is no schedule 'bounded'.", ""),
    ("loss=huber +schedule@loss.delta=linear loss.delta.name=bce", "There is no schedule or learned number 'bce'.", ""),
    (
        "loss=mix +schedule@loss.r=linear loss.r.initial_learning_rate=1 batch_size=0",
        "batch_size: 0 is not accepted; it must be at least 1",
        "",
    ),
    (
        "loss=mix +schedule@loss.r=linear loss.r.initial_learning_rate=1 data.inputs=5",
        "data.inputs: data set 'xor' (lossreg 0.1.0) takes list[list[float]] for 'inputs', not 5",
        "",
    ),
    ("loss=mix +schedule@loss.r=liner", "schedule=liner: There is no schedule 'liner'. Did you mean 'linear'?", ""),
    (
        "loss=mix loss.r=0.8 +schedule@loss.r=linear loss.r.initial_learning_rate=1",
        "loss.r.initial_learning_rate: there is no such config key, since 'loss.r' is no schedule",
        "loss.r=<value> takes the place of one",
    ),
    (
        "-m loss=mix +schedule@loss.r=linear,cosine loss.r.initial_learning_rate=1",
        "loss.r.initial_learning_rate: there is no such config key, since 'loss.r' is no schedule",
        "write ++loss.r.initial_learning_rate=…",
    ),
    ("loss=null", "Config group override must be a string or a list", ""),
    ("epohcs=3", "epohcs: there is no such config key. Did you mean 'epochs'?", ""),
    ("++epohcs=3", "epohcs: there is no such config key. Did you mean 'epochs'?", ""),
    ("split=${seed}", "split: 0 is not accepted; it must be a node of validation, test and seed", ""),
    ("epochs=${steps:2}", "epochs: ${steps:2}: the share of the steps must be in (0, 1]", ""),
    ("reg=[1]", "reg=[1]: an option is chosen by its name.", ""),
    ("epochs=abc", "Value 'abc' of type 'str' could not be converted to Integer", ""),
    ("model.dropout=1", "model.dropout: model 'mlp' (lossreg 0.1.0) takes float in [0, 1) for 'dropout', not 1", ""),
    ("optimizer=adma", "optimizer=adma: There is no optimizer 'adma'. Did you mean 'adam", "sgd"),
    ("loss=[", "no viable alternative at input '['", ""),
]


def test_an_environment_variable_is_a_number(run: Run, no_tensorflow: Path) -> None:
    """Text that is none is refused by its key; a number gets as far as TensorFlow."""
    for text, message in {
        "abc": "loss.r: loss 'mix' (lossreg 0.1.0) takes float for 'r', not 'abc'",
        "1": "",
    }.items():
        result = run("loss=mix", "loss.r=${oc.env:ODD_R}", path=(no_tensorflow,), ODD_R=text)
        assert (message or "TensorFlow was imported") in result.stderr
    result = run("loss=mix", "loss.r=${oc.env:ODD_R}", path=(no_tensorflow,))
    assert "loss.r: \"Environment variable 'ODD_R' not found\"" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("overrides", "message", "more"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_is_one_short_message(
    overrides: str, message: str, more: str, run: Run, packages: Path, no_tensorflow: Path
) -> None:
    result = run(*overrides.split(), path=(no_tensorflow, packages))
    assert result.returncode == 1
    assert message in result.stderr
    assert more in result.stderr
    assert "Traceback" not in result.stderr
    assert "TensorFlow was imported" not in result.stderr
    assert len(result.stderr.splitlines()) < 20
    assert result.stdout == ""


def test_the_traceback_is_there_for_those_who_ask(run: Run) -> None:
    result = run("loss=mxi", HYDRA_FULL_ERROR="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_directory_that_cannot_be_written_is_one_short_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file, where Hydra wants a folder")
    result = run("epochs=1", "verbose=0")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_a_picture_that_fails_costs_no_result(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.png").mkdir(parents=True)
    result = run("loss=bce", "epochs=2", "verbose=0", "hydra.run.dir=out")
    assert result.returncode == 0, result.stderr
    assert "report.png is not drawn" in result.stdout + result.stderr
    assert {"metrics.json", "model.keras", "history.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_an_app_of_one_s_own_sweeps_its_own_model_in_one_program(tmp_path: Path) -> None:
    import subprocess
    import sys

    app = str(ROOT / "examples" / "own_study" / "app.py")
    overrides = ["-m", "hydra/launcher=vectorized", "seed=1,2", "epochs=1", "hydra.sweep.dir=sweep"]
    result = subprocess.run(
        [sys.executable, app, *overrides], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    assert "one by one" not in result.stdout + result.stderr
    rows = list(csv.DictReader((tmp_path / "sweep" / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["status"] for row in rows] == ["completed", "completed"]
    assert all(0 < float(row["validation_accuracy"]) < 1 for row in rows)
