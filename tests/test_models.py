"""Saved models load again by `lossreg.load_model`, and a file that names anything strange does not."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lossreg
from lossreg import ModelFileError, ParameterError, Registry, UnknownNameError
from tests.conftest import ROOT

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


def compiled(loss: Any, regularizer: Any = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(3, "sigmoid", kernel_regularizer=regularizer), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile("adam", loss=loss, run_eagerly=True)  # tracing would take most of the time
    model.train_on_batch(X, Y)
    return model


def state(model: keras.Model) -> list[Any]:
    loss = float(model.test_on_batch(X, Y))
    return [repr(model.loss), repr(model.layers[0].kernel_regularizer), loss, int(model.optimizer.iterations)]


PAIRS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("mix", {"r": 0.8}, "l2custom", {"r": 1e-3}),
    ("general_robust", {"alpha": float("-inf")}, "none", {}),
    ("huber", {"delta": 0.3}, "l1_l2", {"l1": 0.1, "l2": 0.3}),
    ("every-kind/with_parameters", {"scale": 0.1, "mode": "max"}, "penalty", {"scale": 0.25}),
    ("every-kind/factory", {"scale": 3}, "penalty_factory", {"scale": 0.25}),
    ("every-kind/factory_of_partial", {"scale": 2.0}, "every-kind/keras_class", {"scale": 0.25}),
    ("every-kind/keras_class", {"scale": 0.7}, "every-kind/callable_class", {}),
    ("every-kind/callable_class", {"scale": 0.7}, "hoyer", {"scale": 0.01}),
    ("focal", {"gamma": 3}, "hoyer", {}),
    ("pack-b/twin", {"own": "c"}, "l2", {}),
    (
        "weighted",
        {"terms": {"a": {"name": "focal", "gamma": 3}, "b": {"name": "mix", "r": 0.8}}, "weights": {"a": 0.3}},
        "weighted",
        {"terms": {"a": {"name": "weighted", "terms": {"b": {"name": "hoyer", "scale": 0.01}}}}},
    ),
]

LOAD = """
import json, sys
import lossreg
assert "keras" not in sys.modules
from tests.test_models import keras, state
loaders = {"lossreg": lossreg.load_model, "keras": keras.models.load_model}
print(json.dumps({name: [state(load(path)) for path in sys.argv[1:]] for name, load in loaders.items()}))
"""


@pytest.fixture(scope="module")
def states(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[Any]]]:
    """The states of models of every kind: as they were saved, and as a process finds them that knows nothing."""
    folder = tmp_path_factory.mktemp("models")
    found: dict[str, list[list[Any]]] = {"saved": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packages))
        losses = Registry(lossreg.losses.kind)
        regularizers = Registry(lossreg.regularizers.kind)
        for number, (loss, params, penalty, penalty_params) in enumerate(PAIRS):
            model = compiled(losses.create(loss, **params), regularizers.create(penalty, **penalty_params))
            model.save(folder / f"{number}.keras")
            found["saved"].append(state(model))
    paths = [str(folder / f"{number}.keras") for number in range(len(PAIRS))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    process = subprocess.run([sys.executable, "-c", LOAD, *paths], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return found | json.loads(process.stdout)


@pytest.mark.parametrize("loader", ["lossreg", "keras"])
@pytest.mark.parametrize("number", range(len(PAIRS)), ids=[pair[0] for pair in PAIRS])
def test_a_model_loads_as_it_was_saved(states: dict[str, Any], loader: str, number: int) -> None:
    saved, loaded = states["saved"][number], states[loader][number]
    assert loaded[:2] == saved[:2]  # names and parameters
    assert loaded[2:] == pytest.approx(saved[2:], rel=1e-6)


def test_a_functional_model_with_two_losses_a_schedule_and_a_tensor_loads(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    added = keras.layers.Dense(1, "sigmoid", name="a")(inputs) + keras.ops.sin(inputs[:, :1])
    outputs = {"a": added, "b": keras.layers.Dense(1, activation=keras.activations.relu, name="b")(inputs)}
    model = keras.Model(inputs, outputs)
    weight = keras.Variable(0.3)
    losses = {
        "a": lossreg.losses.create("general_robust", alpha=weight),
        "b": lossreg.losses.create("quantile", tau=0.1),
    }
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model.compile(keras.optimizers.SGD(rate), loss=losses, metrics={"b": ["mae", lossreg.losses.create("mse")]})
    data = {"a": Y, "b": Y}
    model.train_on_batch(X, data)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert loaded.loss["a"].alpha == float(weight)
    assert loaded.test_on_batch(X, data) == pytest.approx(model.test_on_batch(X, data), rel=1e-6)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("original") / "model.keras"
    compiled(lossreg.losses.create("mix", r=0.8), lossreg.regularizers.create("l2custom", r=0.1)).save(path)
    return path.read_bytes()


@pytest.fixture
def saved(original: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    path.write_bytes(original)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change config.json inside a .keras file, as somebody could who hands it on."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def loss_node(config: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = config["compile_config"]["loss"]
    return node


def change_loss(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: loss_node(config).update(changes)


def change_plugin(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: loss_node(config)["config"].update(changes)


def change_layer(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"]["layers"][1]["config"].update({key: value})


def node(module: str | None, class_name: str, config: Any, registered_name: str | None) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered_name}


LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
STRANGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "another module": change_loss(module="subprocess", class_name="Popen", registered_name="Popen"),
    "our class from another module": change_loss(module="os"),
    "os.system": change_loss(**node("os", "function", "system", "system")),
    "os.system as a class": change_loss(**node("os", "system", {"command": "true"}, None)),
    "builtins.eval": change_loss(**node("builtins", "function", "eval", "eval")),
    "a dotted function": change_loss(**node("builtins", "function", "os.system", "os.system")),
    "a lambda": change_layer("activation", LAMBDA),
    "a lambda as a parameter": change_plugin(parameters={"r": LAMBDA}),
    "a lambda layer": change_layer("activation", node("keras.layers", "Lambda", {"function": LAMBDA}, None)),
    "a layer that runs a saved program": change_layer(
        "activation", node("keras.layers", "TFSMLayer", {"filepath": "program"}, None)
    ),
    "a layer that runs a module of torch": change_layer(
        "activation", node("keras.layers", "TorchModuleWrapper", {"module": "x"}, None)
    ),
    "a custom object": change_loss(**node("tests.test_models", "Planted", {}, "Custom>Planted")),
    "a custom object behind a class of Keras": change_loss(
        **node("keras.losses", "MeanSquaredError", {}, "Custom>Planted")
    ),
    "a custom object by its bare string": lambda config: config["compile_config"].update(loss="Custom>Planted"),
    "a custom function by its string": change_layer("activation", "Custom>planted"),
    "a function of Keras that is no part of a model": change_loss(
        **node("keras.config", "function", "enable_unsafe_deserialization", "enable_unsafe_deserialization")
    ),
    "a function of Keras as a class": change_loss(**node("keras.utils", "get_file", {"origin": "x"}, None)),
    "a module that sounds like Keras": change_loss(**node("keras_evil.losses", "Loss", {}, None)),
    "a plugin's module": change_loss(**node("lossreg_plugins.losses", "function", "mix", "mix")),
    "a module as a plugin": change_plugin(plugin="os.system"),
    "a target as a plugin": change_plugin(plugin="lossreg/lossreg_plugins.losses:mix"),
    "a path as a plugin": change_plugin(plugin="../mix"),
    "no plugin": change_plugin(plugin=["mix"]),
    "an unknown string": lambda config: config["compile_config"].update(loss="os.system"),
    "a type of TensorFlow": change_layer(
        "activation", {"class_name": "__typespec__", "spec_name": "system", "module": "os", "config": []}
    ),
    "a custom function by its bare name": change_layer("activation", node("builtins", "function", "planted", None)),
    "a custom function of a module of Keras by its bare name": change_layer(
        "activation", node("keras.activations", "function", "planted", "planted")
    ),
    "a custom loss by its bare name": change_loss(**node("builtins", "function", "planted", None)),
    "a function of Keras that fetches weights": change_layer(
        "activation", node("keras.applications", "ResNet50", {}, None)
    ),
    "a class of Keras that writes files": change_loss(
        **node("keras.callbacks", "CSVLogger", {"filename": "planted"}, None)
    ),
    "a function without a name": change_layer("activation", {"class_name": "function", "module": "builtins"}),
    "our class by its string": lambda config: config["compile_config"].update(loss="lossreg>RegisteredLoss"),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_a_file_that_names_anything_strange_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Planted(keras.losses.MeanSquaredError):
        def __init__(self, **config: Any) -> None:
            made.append("a class")

    custom = keras.saving.get_custom_objects()
    monkeypatch.setitem(custom, "Custom>Planted", Planted)
    monkeypatch.setitem(custom, "Custom>planted", lambda x: made.append("a function"))
    monkeypatch.setattr("os.system", lambda command: made.append(command))
    with pytest.raises((ModelFileError, UnknownNameError)) as error:
        lossreg.load_model(edit(saved, change))
    assert str(error.value).startswith(str(saved))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(saved)) + 400
    assert made == []


READS = {
    **dict.fromkeys(("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"), "vocabulary"),
    **{"TFSMLayer": "filepath", "TorchModuleWrapper": "module", "FlaxLayer": "module", "JaxLayer": "call_fn"},
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("path", ["/etc/passwd", "https://example.com/words.txt", "words.txt"])
def test_what_reads_a_path_or_a_url_is_refused(saved: Path, name: str, path: str) -> None:
    layer = node("keras.layers", name, {READS[name]: path}, None)
    with pytest.raises(ModelFileError, match=f"refused, since .* is 'keras.layers.{name}'"):
        lossreg.load_model(edit(saved, lambda config: config["config"]["layers"].insert(1, layer)))


def test_every_class_of_keras_that_reads_a_path_is_known() -> None:
    modules = [keras, *filter(inspect.ismodule, (getattr(keras, name) for name in dir(keras) if name != "src"))]
    classes = {each for module in modules for each in vars(module).values() if inspect.isclass(each)}
    reads = re.compile(r"path|file(name)?|url|vocabulary|module|call_fn|dir(ectory)?", re.IGNORECASE)
    found = {
        each.__name__
        for each in classes
        if hasattr(each, "from_config") and any(map(reads.fullmatch, inspect.signature(each.__init__).parameters))
    }
    found |= {each.__name__ for each in classes if "filepath" in inspect.signature(each.__init__).parameters}
    no_part = {"BackupAndRestore", "ModelCheckpoint", "KerasFileEditor"}  # they have no config
    assert found - no_part == READS.keys() - {"IndexLookup"}


def test_a_vocabulary_that_is_in_the_file_loads(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    for vocabulary in (["earth", "wind"], str(words)):
        words.write_text("earth\nwind\n")
        inputs = keras.Input((1,), dtype="string")
        model = keras.Model(inputs, keras.layers.StringLookup(vocabulary=vocabulary)(inputs))
        model.save(tmp_path / "model.keras")
        words.unlink()
        assert lossreg.load_model(tmp_path / "model.keras").layers[1].get_vocabulary() == ["[UNK]", "earth", "wind"]


def test_a_function_of_keras_by_the_name_of_a_custom_one_is_keras_s(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(keras.saving.get_custom_objects(), "mine>relu", lambda x: 7 * x)
    edit(saved, change_layer("activation", node("builtins", "function", "relu", None)))
    assert lossreg.load_model(saved).layers[0].activation is keras.activations.relu


def test_a_refusal_says_what_and_where(saved: Path) -> None:
    edit(saved, change_loss(**node("os", "function", "system", "system")))
    with pytest.raises(ModelFileError, match=r"model\.keras: refused, since compile_config\.loss is 'os\.system'"):
        lossreg.load_model(saved)


def test_a_package_that_is_not_installed_is_named(saved: Path) -> None:
    edit(saved, change_plugin(plugin="shop-window/mix", version="3.1"))
    expected = r"the loss 'mix' comes from package shop-window 3\.1, which is not installed"
    with pytest.raises(UnknownNameError, match=expected):
        lossreg.load_model(saved)
    with pytest.raises(UnknownNameError, match=expected.replace("the", "The", 1)):
        keras.models.load_model(saved)


def test_a_package_of_a_term_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    compiled(lossreg.losses.create("weighted", terms={"a": {"name": "mix", "r": 0.8}})).save(path)
    edit(path, lambda config: loss_node(config)["config"]["parameters"]["terms"]["a"].update(name="shop-window/mix"))
    with pytest.raises(
        UnknownNameError, match=r"the loss 'mix' comes from package shop-window, which is not installed"
    ):
        lossreg.load_model(path)


def test_a_plugin_that_its_package_no_longer_has_is_named(saved: Path) -> None:
    edit(saved, change_plugin(plugin="lossreg/mixed", version="0.0.1"))
    with pytest.raises(UnknownNameError, match=r"package lossreg 0\.0\.1, but lossreg .* has no such loss"):
        lossreg.load_model(saved)


def test_a_parameter_that_the_installed_version_does_not_take_is_named(saved: Path) -> None:
    edit(saved, change_plugin(parameters={"ratio": 0.8}, version="0.0.1"))
    with pytest.raises(ParameterError, match=r"saved with lossreg 0\.0\.1\. .* has no parameter 'ratio'"):
        lossreg.load_model(saved)


def test_what_was_registered_in_process_loads_once_it_is_registered_again(tmp_path: Path) -> None:
    def absolute(y_true: Any, y_pred: Any, scale: float = 1.0) -> Any:
        return keras.ops.mean(scale * keras.ops.abs(y_true - y_pred), axis=-1)

    path = tmp_path / "model.keras"
    lossreg.losses.register("absolute")(absolute)
    try:
        compiled(lossreg.losses.create("absolute", scale=2)).save(path)
        assert repr(lossreg.load_model(path).loss) == "<loss absolute(scale=2.0)>"
    finally:
        lossreg.losses.unregister("absolute")
    with pytest.raises(UnknownNameError, match=r"registered in the process .* lossreg\.losses\.register\('absolute'\)"):
        lossreg.load_model(path)


def test_a_file_that_is_no_model_is_an_error_that_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    model = lossreg.load_model(saved)
    model.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "model.h5").write_bytes((tmp_path / "model.weights.h5").read_bytes())
    (tmp_path / "text.keras").write_text("not a zip file")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("readme", "")
    with zipfile.ZipFile(tmp_path / "list.keras", "w") as archive:
        archive.writestr("config.json", "[]")
    expected = {
        "model.weights.h5": "holds weights, not a model.*load_weights",
        "model.h5": "HDF5.*model.save",
        "text.keras": "is no .keras file",
        "empty.keras": "damaged",
        "list.keras": "describes no model",
        "gone.keras": "there is no such file",
        ".": "is a folder",
    }
    for name, message in expected.items():
        with pytest.raises(ModelFileError, match=message):
            lossreg.load_model(tmp_path / name)


def test_a_saved_model_means_the_same_when_a_default_changes(tmp_path: Path) -> None:
    @lossreg.losses.register("aging", replace=True)
    def aging(y_true: Any, y_pred: Any, q: float = 1.5) -> Any:
        return q * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

    model = compiled(lossreg.losses.create("aging"))
    model.save(tmp_path / "model.keras")

    @lossreg.losses.register("aging", replace=True)
    def older(y_true: Any, y_pred: Any, q: float = 9.0) -> Any:
        return q * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

    assert repr(lossreg.load_model(tmp_path / "model.keras").loss) == "<loss aging(q=1.5)>"
    lossreg.losses.unregister("aging")


def test_another_version_of_any_package_in_it_is_a_warning(tmp_path: Path, losses: Registry) -> None:
    """Also that of a term's package, or of a schedule's in a term, and also where Keras alone loads it."""
    ours, twins = metadata.version("lossreg"), {"a": {"name": "pack-a/twin"}, "b": {"name": "pack-b/twin"}}
    found = losses.create("weighted", terms={"c": {"name": "weighted", "terms": twins}}).get_config()["packages"]
    assert found == {"lossreg": ours, "pack-a": "1.2.3", "pack-b": "1.2.3"}
    model = compiled(lossreg.losses.create("weighted", terms={"a": {"name": "mix"}}))
    config = {**model.loss.get_config(), "packages": {"lossreg": "0.0.1"}}
    model.loss.get_config = lambda: config
    model.save(tmp_path / "model.keras")
    for load in (lossreg.load_model, keras.models.load_model):
        with pytest.warns(UserWarning, match=r"saved with lossreg 0\.0\.1; lossreg \d") as said:
            assert repr(load(tmp_path / "model.keras").loss).startswith("<loss lossreg/weighted(terms={'a': <loss ")
        assert len(said) == 1


class Mode(enum.Enum):
    L1 = "l1"
    L2 = "l2"


@dataclasses.dataclass
class Settings:
    scale: float = 1.0


SETTINGS, ONES = Settings(), np.ones(2)


@pytest.mark.parametrize(
    ("given", "factor"),
    [
        ({}, 1.0),
        ({"mode": "l1"}, 1.0),
        ({"mode": Mode.L1}, 1.0),
        ({"settings": {"scale": 3}}, 3.0),
        ({"by": [2, 2]}, 2),
    ],
)
def test_enums_dataclasses_and_arrays_are_saved_as_a_config_has_them(
    tmp_path: Path, given: dict[str, Any], factor: float
) -> None:
    @lossreg.losses.register("by_mode", replace=True)
    def by_mode(y_true: Any, y_pred: Any, mode: Mode = Mode.L2, settings: Settings = SETTINGS, by: Any = ONES) -> Any:
        distance = keras.ops.abs(y_true - y_pred) if mode is Mode.L1 else keras.ops.square(y_true - y_pred)
        return settings.scale * float(by.mean()) * keras.ops.mean(distance, axis=-1)

    assert [str(p) for p in lossreg.losses.describe("by_mode").parameters] == [
        *("mode: 'l1' | 'l2' = 'l2'", "settings: Settings = {'scale': 1.0}", "by: Any = [1.0, 1.0]"),
    ]
    model = compiled(lossreg.losses.create("by_mode", **given))
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    p = np.asarray(model(X))
    error = np.abs(Y - p) if given.get("mode") else np.square(Y - p)
    assert float(loaded.loss(Y, p)) == pytest.approx(factor * error.mean(), rel=1e-5)
    for wrong, message in (({"settings": {"scal": 3.0}}, "Did you mean 'scale'"), ({"mode": "l3"}, "'l1' | 'l2'")):
        with pytest.raises(lossreg.ParameterError, match=re.escape(message)):
            lossreg.losses.create("by_mode", **wrong)


def test_a_config_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("config.json", "w") as config:
        for _ in range(80):
            config.write(b" " * 2**20)
    with pytest.raises(ModelFileError, match=r"model\.keras is damaged: its config\.json cannot be read"):
        lossreg.load_model(path)


def test_a_file_whose_root_is_no_model_is_refused(saved: Path) -> None:
    def loss_alone(config: dict[str, Any]) -> None:
        loss = dict(loss_node(config))
        config.clear()
        config.update(loss)

    with pytest.raises(ModelFileError, match=r"model\.keras"):
        lossreg.load_model(edit(saved, loss_alone))
