"""Packages by authors who never heard of this project, as options through entry points alone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossreg import checks
from tests.conftest import ROOT, install

PACKAGES = ("focal_loss", "coral_ordinal", "bpmll", "condor_tensorflow", "deepordinal", "tf_extra")
missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}; the dev extra has them")

Y = np.array([[1.0], [0.0], [1.0]])
P = np.array([[0.3], [0.2], [0.9]])
LEVEL = np.array([0.0, 3.0, 1.0, 2.0])
LOGITS = np.array([[0.5, -0.1, 0.2], [1.0, 0.3, -2.0], [-0.4, 0.0, 0.1], [0.2, 0.2, 0.2]])

ASK = """
import json, sys, zipfile
import keras, numpy as np
import lossreg
from lossreg import checks as lossreg_checks

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
    "binary_focal": lossreg_checks.check("binary_focal", gamma=2.0),
    "coral_ordinal": lossreg_checks.check("coral_ordinal", num_classes=4),
}
refused = {}
for name in ("rennie", "ordistic"):
    try:
        lossreg.losses.create(name)
    except lossreg.RegistryError as error:
        refused[name] = str(error)
only_data = dict.fromkeys(set(lossreg_checks.CHECKS["loss"]) - {"data"}, "only the data is asked for")
print(json.dumps({
    "refused": refused,
    "named": lossreg_checks.check("sparse_condor", skip=only_data)[0].seen,
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
    site = install(tmp_path_factory.mktemp("site"), ROOT / "examples" / "strangers", ROOT / "tests/packages/strangers")
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


FAULTS = {
    "condor": {"ranks", "dtypes"},
    "sparse_condor": {"dtypes", "compiled"},
    "earth_movers": {"dtypes"},
    "sparse_earth_movers": {"dtypes"},
    "extra_focal": {"per_sample", "ranks", "dtypes"},
    "extra_dice": {"batch_size", "dtypes"},
    "extra_tversky": {"batch_size", "dtypes"},
    "extra_smoothing": set(),
    "extra_contrastive": {"per_sample", "ranks", "dtypes"},
    "extra_triplet": {"per_sample"},
    "multilabel": {"per_sample", "dtypes"},
}
"""What is wrong with them; that it is, the tests below say without this project."""
NO_KIND = {"earth_movers", "extra_contrastive", "extra_triplet"}


def target(name: str) -> Any:
    text = (ROOT / "tests" / "packages" / "strangers" / "pyproject.toml").read_text()
    return EntryPoint(name, re.findall(rf'^{name} = "(.+:.+)"$', text, re.MULTILINE)[0], "").load()


@pytest.mark.parametrize("name", FAULTS)
def test_exactly_the_faults_of_other_packages_are_found(name: str) -> None:
    results = {result.check: result for result in checks.check(target(name))}
    assert {result.check for result in results.values() if result.verdict == "fail"} == FAULTS[name], results
    assert ("no kind of data" in results["data"].seen) == (name in NO_KIND)


def test_a_package_names_the_data_of_a_loss_by_an_entry_point(answers: dict[str, Any]) -> None:
    assert re.match(r"takes one logit per threshold .*\(named by the plugin;", answers["named"])


@pytest.mark.parametrize("name", ["rennie", "ordistic"])
def test_arguments_in_another_order_are_refused(answers: dict[str, Any], name: str) -> None:
    assert "it takes (logits, targets, " in answers["refused"][name]


def published(name: str) -> Any:
    """Return a loss as plain Keras calls it, below the reduction."""
    made = target(name)
    return made().call if isinstance(made, type) else made


RANDOM = np.random.default_rng(0)
ONE_HOT = np.eye(4)[[0, 2, 1, 3, 1]]
ORDERED = {"sparse_condor": np.array([0.0, 2, 1, 3, 1]), "sparse_earth_movers": np.array([0.0, 2, 1, 3, 1])}
PREDICTED = RANDOM.uniform(0.1, 0.9, (5, 4))


@pytest.mark.parametrize("name", [name for name, faults in FAULTS.items() if "dtypes" in faults])
def test_they_raise_in_other_dtypes_or_compute_in_float32(name: str) -> None:
    import tensorflow as tf

    data = [tf.constant(x, tf.float64) for x in (ORDERED.get(name, ONE_HOT), PREDICTED)]
    try:
        found = published(name)(*data).dtype.name
    except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
        found = type(error).__name__
    assert found in {"float32", "InvalidArgumentError", "ValueError", "TypeError"}


@pytest.mark.parametrize("name", [name for name, faults in FAULTS.items() if "ranks" in faults])
def test_they_compare_every_target_with_every_prediction_where_the_ranks_differ(name: str) -> None:
    y, p = np.array([1, 0, 1, 0, 0], np.float32), np.array(PREDICTED[:, :1], np.float32)
    call = published(name)
    pairs = np.array([[np.sum(call(y[i : i + 1, None], p[j : j + 1])) for i in range(5)] for j in range(5)])
    crossed = pairs.sum(axis=1) if name == "condor" else pairs.mean()  # which sums over the last axis
    np.testing.assert_allclose(call(y, p), crossed, rtol=1e-4)
    assert np.mean(call(y[:, None], p)) == pytest.approx(np.diag(pairs).mean(), rel=1e-4)


@pytest.mark.parametrize("name", [name for name, faults in FAULTS.items() if "per_sample" in faults])
def test_they_take_the_mean_of_the_samples_themselves(name: str) -> None:
    y, p = np.array(ONE_HOT, np.float32), np.array(RANDOM.uniform(0.1, 0.9, (5, 4)), np.float32)
    alone = [published(name)(y[i : i + 1], p[i : i + 1]) for i in range(5)]
    value = np.asarray(published(name)(y, p))
    assert value.shape == ()
    assert value == pytest.approx(np.mean(alone), rel=1e-4)


@pytest.mark.parametrize("name", ["extra_dice", "extra_tversky"])
def test_their_value_changes_when_every_sample_is_there_twice(name: str) -> None:
    y, p = np.array(ONE_HOT, np.float32), np.array(PREDICTED, np.float32)
    # Tversky's halves the sums and adds the same constant.
    smooth, overlap, total = {"extra_dice": 1, "extra_tversky": 2}[name], np.sum(y * p), np.sum(y + p)
    once, twice = (1 - (2 * k * overlap + smooth) / (k * total + smooth) for k in (1, 2))
    assert float(published(name)(y, p)) == pytest.approx(once, rel=1e-4)
    assert float(published(name)(np.tile(y, (2, 1)), np.tile(p, (2, 1)))) == pytest.approx(twice, rel=1e-4)
    assert abs(twice - once) > 1e-3


def test_labels_of_condor_do_not_compile() -> None:
    import tensorflow as tf

    compiled = tf.function(published("sparse_condor"), jit_compile=True)
    data = [tf.constant(x, tf.float32) for x in (ORDERED["sparse_condor"], PREDICTED[:, :3])]
    with pytest.raises(tf.errors.InvalidArgumentError, match="compile-time constant"):
        compiled(*data)
