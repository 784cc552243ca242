"""The data of a config: loaded, its task told, split, scaled, encoded; each mistake by its key in one line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from sklearn.preprocessing import StandardScaler

import lossreg
from lossreg.training import ConfigError, Data, load_data
from tests.conftest import composed
from tests.training.study import Plain

# What a data set of a stranger returns, by name.
STRANGERS: dict[str, Any] = {
    "own_text": (np.arange(6.0), np.array(["no", "yes", "yes", "no", "yes", "no"])),
    "own_classes": (np.arange(60.0).reshape(30, 2), np.arange(30) % 3),
    "own_labels": (np.arange(8.0).reshape(4, 2), np.array([[1, 1], [0, 1], [1, 0], [0, 0]])),
    "own_numbers": (np.arange(8.0).reshape(4, 2), np.array([0.5, 1.5, 2.5, 3.5])),
    "own_one_class": (np.arange(4.0), np.ones(4)),
    "own_nan": (np.arange(4.0), np.array([0, 1, np.nan, 1])),
    "own_lengths": (np.arange(4.0), np.arange(3)),
    "own_empty": (np.empty((0, 2)), np.empty(0)),
    "own_letters": (np.array(["a", "b"]), np.arange(2)),
    "own_nothing": None,
}


@pytest.fixture(autouse=True)
def strangers() -> Iterator[None]:
    for name, made in STRANGERS.items():
        lossreg.datasets.register(name)(lambda made=made: made)
    yield
    for name in STRANGERS:
        lossreg.datasets.unregister(name)


def data(name: str, loss: Any = None, parameters: Plain | None = None, **settings: Any) -> Data:
    return load_data({"data": {"name": name, **(parameters or {})}, "loss": loss, **settings})


@pytest.mark.parametrize(
    ("name", "task", "outputs", "classes"),
    [
        ("xor", "binary", 1, ("0", "1")),
        ("own_text", "binary", 1, ("no", "yes")),
        ("own_classes", "multiclass", 3, ("0", "1", "2")),
        ("own_labels", "multilabel", 2, ("0", "1")),
        ("own_numbers", "regression", 1, ()),
        ("breast_cancer", "binary", 1, ("0", "1")),
        ("wine", "multiclass", 3, ("0", "1", "2")),
        ("digits", "multiclass", 10, tuple(map(str, range(10)))),
        ("diabetes", "regression", 1, ()),
        ("parity", "binary", 1, ("0", "1")),
        ("two_moons", "binary", 1, ("0", "1")),
        ("spirals", "binary", 1, ("0", "1")),
        ("imbalanced", "binary", 1, ("0", "1")),
    ],
)
def test_the_task_follows_from_the_targets(name: str, task: str, outputs: int, classes: tuple[str, ...]) -> None:
    found = data(name)
    assert (found.task, found.outputs, found.classes) == (task, outputs, classes)
    assert found.train.x.dtype == np.float32


def test_a_task_that_is_said_is_taken_or_refused() -> None:
    assert data("own_classes", task="regression").outputs == 1
    with pytest.raises(ConfigError, match="data=own_classes have 3 classes, so that it is not binary"):
        data("own_classes", task="binary")


def test_targets_are_encoded_as_the_loss_takes_them() -> None:
    one_hot = data("own_classes", {"name": "categorical_crossentropy"}).train.y
    indices = data("own_classes", {"name": "sparse_categorical_crossentropy"}).train.y
    assert (one_hot.shape, indices.shape, indices.dtype.name) == ((30, 3), (30,), "int32")
    np.testing.assert_array_equal(one_hot.argmax(axis=1), indices)


def test_rows_are_held_out_of_each_class_alike_and_scaled_as_the_others_say() -> None:
    found = data("breast_cancer", split={"validation": 0.25, "test": 0.2, "seed": 7})
    sizes = {part: len(rows) for part, rows in found.parts.items()}
    assert sizes == {"train": 312, "validation": 143, "test": 114}
    for rows in found.parts.values():
        assert rows.y.mean() == pytest.approx(212 / 569, abs=0.01)
    raw = data("breast_cancer", split={"validation": 0.25, "test": 0.2, "seed": 7}, scale="none")
    scaler = StandardScaler().fit(raw.train.x)
    for part in found.parts:
        np.testing.assert_allclose(found.parts[part].x, scaler.transform(raw.parts[part].x), atol=2e-4)
    together = np.concatenate([rows.x for rows in raw.parts.values()])
    assert len(np.unique(together, axis=0)) == 569
    other = data("breast_cancer", split={"validation": 0.25, "test": 0.2, "seed": 8}, scale="none")
    assert not np.array_equal(raw.parts["test"].x, other.parts["test"].x)


def test_a_few_rows_are_not_split_and_not_scaled() -> None:
    assert [*data("xor").parts] == ["train"]
    np.testing.assert_array_equal(data("xor").train.x, [[0, 0], [0, 1], [1, 0], [1, 1]])


def test_targets_of_a_regression_come_back_in_their_units() -> None:
    found = data("diabetes")
    assert found.train.y.mean() == pytest.approx(0, abs=1e-5)
    own = np.concatenate([rows.y[:, 0] * found.scale + found.shift for rows in found.parts.values()])
    assert sorted(own.round(2)) == sorted(lossreg.datasets.build({"name": "diabetes"})[1].tolist())


def test_a_share_of_the_targets_is_of_another_class_but_in_test() -> None:
    clean, noisy = data("two_moons"), data("two_moons", label_noise=0.25)
    flipped = {part: float((clean.parts[part].y != rows.y).mean()) for part, rows in noisy.parts.items()}
    assert flipped == {"train": 0.25, "validation": 0.25, "test": 0.0}


def test_classes_are_weighted() -> None:
    train = data("breast_cancer", class_weight="balanced").train
    assert train.weight is not None
    for label in (0, 1):
        assert train.weight[train.y[:, 0] == label].sum() == pytest.approx(len(train) / 2, rel=1e-5)
    assert data("xor", class_weight={0: 2}).train.weight.tolist() == [2, 1, 1, 2]  # type: ignore[union-attr]
    train = data("own_text", class_weight={"yes": 3}).train
    assert train.weight is not None
    assert train.weight.tolist() == [1, 3, 3, 1, 3, 1]
    with pytest.raises(ConfigError, match=r"class_weight: .* it must be balanced, or weights of no, yes"):
        data("own_text", class_weight={"perhaps": 3})


TABLE = "age,town,ill\n30,Bonn,no\n,Ulm,yes\n50,,no\n61,Bonn,yes\n"


def csv(tmp_path: Path, text: str | bytes, **parameters: Any) -> Data:
    path = tmp_path / "표 1.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return data("csv", parameters={"path": str(path), "target": "ill", **parameters})


def test_a_table_is_read_its_text_encoded_and_its_gaps_filled(tmp_path: Path) -> None:
    found = csv(tmp_path, TABLE)
    assert (found.task, found.classes) == ("binary", ("no", "yes"))
    assert found.train.x[:, 0].tolist() == [30, 50, 50, 61]  # the median
    np.testing.assert_array_equal(found.train.x[:, 1:], [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_arrays_of_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", a=np.arange(4.0), b=np.arange(4) % 2)
    found = data("npz", parameters={"path": str(tmp_path / "own.npz"), "x": "a", "y": "b"})
    assert found.train.y.ravel().tolist() == [0, 1, 0, 1]
    with pytest.raises(ConfigError, match=r"data\.x: .* has no array 'x'; it has a, b"):
        data("npz", parameters={"path": str(tmp_path / "own.npz")})
    (tmp_path / "not.npz").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"data\.path: .* is not a file of numpy\.savez"):
        data("npz", parameters={"path": str(tmp_path / "not.npz")})


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("", {}, "data.path: "),
        ("age,ill\n", {}, "has no rows"),
        (TABLE, {"target": "il"}, "data.target: "),
        (TABLE, {"target": "il"}, "has no column 'il'; its columns are age, town, ill"),
        (TABLE, {"ignore": ["size"]}, "data.ignore: "),
        (TABLE, {"ignore": ["age", "town"]}, "has no column but the target 'ill'"),
        ("age,ill\n1,no\n2,\n", {}, "column 'ill' of"),
        ("age,ill\n1,no\n2,no\n", {}, "all 2 targets of data=csv are of one class, no"),
        ("age,ill\n1,no\n2,3,4,5\n", {}, "is not a table"),
        (b"age,ill\n\xff\xfe,no\n", {}, "is not a table"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, text: str, parameters: Plain, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        csv(tmp_path, text, **parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("xor", {"inputs": []}, "data.inputs: [] is not accepted; it must be rows of one length"),
        ("xor", {"inputs": [[0, 1], [1]]}, "it must be rows of one length"),
        ("xor", {"targets": [[0], [1]]}, "it must be 4 rows, as inputs has"),
        ("csv", {"path": "nowhere.csv", "target": "y"}, "data.path: there is no file 'nowhere.csv'"),
        ("breast_cancer", {"positives": 0.9}, "data.positives: 0.9 is not accepted"),
        ("own_one_class", {}, "data: all 4 targets of data=own_one_class are of one class, 1: nothing to learn"),
        ("own_nan", {}, "has 1 targets that are NaN or infinite"),
        ("own_lengths", {}, "has 4 rows of inputs and 3 of targets"),
        ("own_empty", {}, "has 0 rows of inputs"),
        ("own_letters", {}, "has inputs that are no numbers"),
        ("own_nothing", {}, "must return (x, y) or (x, y, sample_weight), not NoneType"),
    ],
)
def test_data_that_cannot_be_used_is_told_in_one_line(name: str, parameters: Plain, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        data(name, parameters=parameters)


def test_a_share_that_leaves_no_row_is_told() -> None:
    with pytest.raises(ConfigError, match=r"split\.test: 0\.9 of the 4 rows of data=xor"):
        data("xor", split={"test": 0.9})


def test_steps_are_counted_where_the_data_refer_to_other_keys() -> None:
    study = {"seed": 3, "data": {"name": "two_moons", "seed": "${seed}"}, "batch_size": 64, "epochs": 2}
    assert OmegaConf.create({**study, "steps": "${steps:}"}).steps == 2 * math.ceil(len(data("two_moons").train) / 64)


@pytest.mark.parametrize(
    ("overrides", "loss"),
    [
        (["data=xor"], "lossreg/bce"),
        (["data=wine"], "lossreg/categorical_crossentropy"),
        (["data=diabetes"], "lossreg/mse"),
        (["data=wine", "task=regression"], "lossreg/mse"),
        (["data=wine", "loss=dice"], "dice"),
        (["data=csv", "data.path=absent", "data.target=y"], "lossreg/bce"),
    ],
)
def test_the_loss_follows_from_the_task_where_nobody_chooses_one(overrides: list[str], loss: str) -> None:
    assert composed(*overrides).loss.name == loss
