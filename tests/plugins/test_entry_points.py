"""Which names the project registers, and that describing them costs no TensorFlow."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import keras
import pytest

import lossreg

KINDS = [lossreg.losses, lossreg.regularizers, lossreg.schedules, lossreg.learned]
BOOKKEEPING = {"self", "name", "dtype"}
DESCRIBE_ALL = """
import json, sys
import lossreg
found = {
    kind.kind.noun: {
        plugin.qualified_name: {p.name: repr(p.default) for p in kind.describe(plugin.qualified_name).parameters}
        for plugin in kind.plugins() if plugin.distribution == "lossreg"
    }
    for kind in (lossreg.losses, lossreg.regularizers, lossreg.schedules, lossreg.learned)
}
print(json.dumps({"found": found, "imported": sorted({"tensorflow", "keras"} & set(sys.modules))}))
"""


@pytest.fixture(scope="module")
def described():
    """All first-party names with their parameters, as a process that has imported nothing else finds them."""
    process = subprocess.run([sys.executable, "-c", DESCRIBE_ALL], capture_output=True, text=True, check=True)
    return json.loads(process.stdout)


@pytest.mark.parametrize(
    ("kind", "module", "base"),
    [
        (lossreg.losses, keras.losses, keras.losses.Loss),
        (lossreg.regularizers, keras.regularizers, keras.regularizers.Regularizer),
        (lossreg.schedules, keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule),
    ],
)
def test_every_public_class_of_keras_has_one_name(kind, module, base):
    # Keras also exposes some classes under a second, lower-case name.
    public = {target for target in vars(module).values() if inspect.isclass(target) and issubclass(target, base)}
    registered = [
        plugin.load()
        for plugin in kind.plugins()
        if plugin.distribution == "lossreg" and plugin.target.startswith("keras.")
    ]
    assert sorted(c.__name__ for c in registered) == sorted(c.__name__ for c in public - {base})


def test_a_loss_of_keras_has_the_name_of_its_function_in_keras():
    for plugin in lossreg.losses.plugins():
        if plugin.target.startswith("keras."):
            assert hasattr(keras.losses, plugin.name), plugin.name


def test_describing_the_catalogue_imports_neither_tensorflow_nor_keras(described):
    assert described["imported"] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_parameters_read_from_the_source_are_those_of_the_signature(described, kind):
    found = described["found"][kind.kind.noun]
    data = list(kind.kind.data_arguments)
    expected = {}
    for plugin in kind.plugins():
        if plugin.distribution == "lossreg":
            signature = inspect.signature(plugin.load())
            names = [n for n in signature.parameters if n not in BOOKKEEPING]
            names = names[len(data) :] if names[: len(data)] == data else names
            expected[plugin.qualified_name] = {n: repr(signature.parameters[n].default) for n in names}
    assert found == expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_every_name_has_a_summary_of_one_line(kind):
    for plugin in kind.plugins():
        if plugin.distribution == "lossreg":
            summary = kind.describe(plugin.qualified_name).summary
            assert 0 < len(summary) < 90, plugin.name
