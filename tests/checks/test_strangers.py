"""Two packages of years ago, by authors who never heard of this project, as options through entry points alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, install

missing = [name for name in ("focal_loss", "coral_ordinal") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}; the dev extra has them")

Y = np.array([[1.0], [0.0], [1.0]])
P = np.array([[0.3], [0.2], [0.9]])
LEVEL = np.array([0.0, 3.0, 1.0, 2.0])
LOGITS = np.array([[0.5, -0.1, 0.2], [1.0, 0.3, -2.0], [-0.4, 0.0, 0.1], [0.2, 0.2, 0.2]])

ASK = """
import json, sys, zipfile
import keras, numpy as np
import lossreg
from lossreg import checks

data = json.loads(sys.argv[1])
array = lambda name: np.array(data[name], np.float32)
focal = lossreg.losses.create("binary_focal", gamma=1.5, pos_weight=3.0)
coral = lossreg.losses.create("coral_ordinal", num_classes=4)
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
model.compile("adam", loss=coral)
model.fit(np.ones((4, 2)), array("level"), verbose=0)
model.save("coral.keras")
with zipfile.ZipFile("coral.keras") as archive:
    recorded = json.loads(archive.read("config.json"))["compile_config"]["loss"]
loaded = lossreg.load_model(data["model"])
xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
checks = {
    "binary_focal": checks.check("binary_focal", gamma=2.0),
    "coral_ordinal": checks.check("coral_ordinal", num_classes=4),
}
print(json.dumps({
    "focal": float(focal(array("y"), array("p"))),
    "coral": float(coral(array("level"), array("logits"))),
    "recorded": recorded["config"],
    "coral loaded": repr(lossreg.load_model("coral.keras").loss),
    "focal loaded": repr(loaded.loss),
    "y_hat": np.ravel(loaded(xor, training=False)).tolist(),
    "verdicts": {name: {r.check: r.verdict.value for r in results} for name, results in checks.items()},
}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    site = install(tmp_path_factory.mktemp("site"), ROOT / "examples" / "strangers")
    return os.environ | {"PYTHONPATH": str(site)}


@pytest.fixture(scope="module")
def run_directory(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of `train.py` on XOR."""
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, str(ROOT / "train.py"), "loss=binary_focal", "loss.gamma=1.5", "loss.pos_weight=3"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (found,) = folder.glob("outputs/*/*")
    return found


@pytest.fixture(scope="module")
def answers(environment: dict[str, str], run_directory: Path) -> dict[str, Any]:
    """What a fresh process says of both packages."""
    data = {"y": Y.tolist(), "p": P.tolist(), "level": LEVEL.tolist(), "logits": LOGITS.tolist()}
    data["model"] = str(run_directory / "model.keras")
    command = [sys.executable, "-c", ASK, json.dumps(data)]
    result = subprocess.run(command, cwd=run_directory, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def test_the_package_that_registers_them_holds_nothing_but_entry_points() -> None:
    assert [path.name for path in (ROOT / "examples" / "strangers").iterdir()] == ["pyproject.toml"]


def test_the_focal_loss_is_the_paper_s(answers: dict[str, Any]) -> None:
    expected = -np.mean(3 * Y * (1 - P) ** 1.5 * np.log(P) + (1 - Y) * P**1.5 * np.log(1 - P))
    assert answers["focal"] == pytest.approx(expected, rel=1e-5)


def test_the_ordinal_loss_is_the_sum_of_binary_crossentropies_over_the_levels(answers: dict[str, Any]) -> None:
    exceeded = np.arange(3) < LEVEL[:, None]
    probability = 1 / (1 + np.exp(-LOGITS))
    expected = -np.log(np.where(exceeded, probability, 1 - probability)).sum(axis=1).mean()
    assert answers["coral"] == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_trains_on_xor(run_directory: Path) -> None:
    metrics = json.loads((run_directory / "metrics.json").read_text())
    assert metrics["solved"]


def test_their_models_load_again(answers: dict[str, Any], run_directory: Path) -> None:
    metrics = json.loads((run_directory / "metrics.json").read_text())
    assert answers["focal loaded"].startswith("<loss strangers/binary_focal(gamma=1.5, pos_weight=3, ")
    assert answers["y_hat"] == pytest.approx(metrics["y_hat"], abs=1e-6)
    assert answers["coral loaded"].startswith("<loss strangers/coral_ordinal(num_classes=4, ")
    assert answers["recorded"]["version"] == "1.0.0"


@pytest.mark.parametrize("name", ["binary_focal", "coral_ordinal"])
def test_they_are_checked(answers: dict[str, Any], name: str) -> None:
    verdicts = answers["verdicts"][name]
    checks = ("data", "batch_size", "finite", "gradient", "compiled", "config", "saved_model", "state")
    assert {check: verdicts[check] for check in checks} == dict.fromkeys(checks, "pass")


def test_the_contract_finds_what_is_wrong_with_them(answers: dict[str, Any]) -> None:
    # It compares every target with every prediction where the ranks differ.
    assert answers["verdicts"]["binary_focal"]["ranks"] == "fail"
    # It takes the mean itself, so sample weights are lost, and it computes in float32 alone.
    assert answers["verdicts"]["coral_ordinal"]["per_sample"] == "fail"
    assert answers["verdicts"]["coral_ordinal"]["dtypes"] == "fail"
