from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import lossreg
from lossreg import Registry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[1]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def make_package(folder: Path, name: str, module: str, entry_points: dict[str, dict[str, str]]) -> Path:
    """Write a distribution of one module; `entry_points` maps a group to names and targets."""
    package = folder / name
    package.mkdir(parents=True)
    module_name = name.replace("-", "_")
    groups = "".join(
        f'\n[project.entry-points."{group}"]\n' + "".join(f'{key} = "{value}"\n' for key, value in points.items())
        for group, points in entry_points.items()
    )
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{name}"\nversion = "1.2.3"\n{groups}\n'
        f'[tool.hatch.build.targets.wheel]\ninclude = ["{module_name}.py"]\n'
    )
    (package / f"{module_name}.py").write_text(textwrap.dedent(module))
    return package


def install(target: Path, *packages: Path) -> Path:
    """Install distributions into a folder of their own, as pip does it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), *map(str, packages)], check=True)
    return target


BROKEN = """
raise RuntimeError("the plugin fell over")

def shatter(y_true, y_pred, force=1.0):
    return force * (y_true - y_pred) ** 2
"""

DEPENDENT = """
import a_package_that_is_not_installed

def dependent(y_true, y_pred):
    return (y_true - y_pred) ** 2
"""

KINDS = '''
"""Every kind of target that the contract names; nothing of ours is imported."""

import functools
import math

import keras
from keras import ops

constant = 3.0


def plain(y_true, y_pred):
    """Squared error."""
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def with_parameters(y_true, y_pred, scale: float, power=2, mode: "Literal['mean', 'max']" = "mean"):
    """Scaled error; scale has no default."""
    reduce = ops.mean if mode == "mean" else ops.max
    return scale * reduce(ops.abs(y_true - y_pred) ** power, axis=-1)


def factory(scale=2.0):
    """A factory, as closures are written for Keras."""

    def scaled(y_true, y_pred):
        return scale * ops.mean(ops.square(y_true - y_pred), axis=-1)

    return scaled


def factory_of_partial(scale):
    return functools.partial(with_parameters, scale=scale)


class KerasLoss(keras.losses.Loss):
    """A Keras loss."""

    def __init__(self, scale: float = 2.0, name="keras_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


class CallableClass:
    """Not a Keras class."""

    def __init__(self, scale: float = 2.0):
        self.scale = scale

    def __call__(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


def broadcasting(y_true, y_pred):
    return ops.mean(ops.square(y_true[:, 0] - y_pred), axis=-1, keepdims=False) + 0 * (y_true[:, 0] - y_pred)


class BroadcastingClass(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.square(y_true[:, 0] - y_pred)


class ElementwiseClass(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class OwnCall(keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return ops.sum(ops.abs(y_true - y_pred))


def becomes_nan(y_true, y_pred):
    return ops.mean(ops.log(0.5 - y_pred), axis=-1)


def raises(y_true, y_pred):
    raise TypeError("this loss always raises")


def penalty(weights, scale=0.5):
    return scale * ops.sum(ops.abs(weights))


def penalty_factory(scale=0.5):
    return lambda weights: scale * ops.sum(ops.abs(weights))


class KerasRegularizer(keras.regularizers.Regularizer):
    def __init__(self, scale=0.5):
        self.scale = scale

    def __call__(self, x):
        return self.scale * ops.sum(ops.abs(x))


class CallableRegularizer:
    def __init__(self, scale=0.5):
        self.scale = scale

    def __call__(self, x):
        return self.scale * ops.sum(ops.abs(x))


def not_a_scalar(weights):
    return ops.abs(weights)


def branching(y_true, y_pred, r: float = 0.5, scale: float = 1.0):
    if r > 0.5:
        return scale * ops.mean(ops.abs(y_true - y_pred), axis=-1)
    return scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


def looking(y_true, y_pred, r: float = 0.5):
    return (r if isinstance(r, float) else 1.0) * ops.mean(ops.square(y_true - y_pred), axis=-1)


def doubling(y_true, y_pred, r: float = 0.5):
    return (2 * r if isinstance(r, float) else r) * ops.mean(ops.square(y_true - y_pred), axis=-1)


class Perceptual:
    """A loss that holds a layer."""

    def __init__(self, scale: float = 1.0):
        self.scale = scale
        self.layer = keras.layers.Dense(2, kernel_initializer="ones")

    def __call__(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(self.layer(y_true) - self.layer(y_pred)), axis=-1)


def staircase(step, height: float = 0.1, length: int = 2):
    """Up by a height every so many steps."""
    return height * ops.cast(step // length, "float32")


class Tanh:
    """A learned number between -1 and 1."""

    def __init__(self, initial: float = 0.0):
        self.initial = initial

    def __call__(self, raw):
        return ops.tanh(raw)

    def inverse(self, value):
        return math.atanh(value)


class Softplus:
    def __init__(self, initial: float = 1.0):
        self.initial = initial

    def __call__(self, raw):
        return ops.softplus(raw)

    def inverse(self, value):
        return math.log(math.expm1(value)) if value > 0 else math.nan


class BrokenInverse(Softplus):
    def __init__(self, initial: float = 1.0):
        super().__init__(initial)

    def inverse(self, value):
        return nowhere(value)


class NoInverse:
    def __init__(self, initial: float = 0.0):
        self.initial = initial

    def __call__(self, raw):
        return raw
'''

KINDS_LOSSES = (
    *("plain", "with_parameters", "factory", "factory_of_partial", "broadcasting", "becomes_nan", "raises"),
    *("branching", "looking", "doubling"),
)
KINDS_REGULARIZERS = ("penalty", "penalty_factory", "not_a_scalar")

TWIN = """
def twin(y_true, y_pred, own={own!r}):
    return (y_true - y_pred) ** 2
"""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which packages by strangers are installed: broken, ambiguous, and of every kind."""
    source = tmp_path_factory.mktemp("source")
    kinds = {name: f"every_kind:{name}" for name in KINDS_LOSSES}
    kinds |= {"keras_class": "every_kind:KerasLoss", "callable_class": "every_kind:CallableClass"}
    kinds |= {"broadcasting_class": "every_kind:BroadcastingClass", "elementwise_class": "every_kind:ElementwiseClass"}
    kinds |= {"own_call": "every_kind:OwnCall", "perceptual": "every_kind:Perceptual"}
    kinds |= {"constant": "every_kind:constant", "gone": "every_kind:gone"}
    penalties = {name: f"every_kind:{name}" for name in KINDS_REGULARIZERS}
    penalties |= {"keras_class": "every_kind:KerasRegularizer", "callable_class": "every_kind:CallableRegularizer"}
    changing = {
        "lossreg.schedules": {"staircase": "every_kind:staircase"},
        "lossreg.variables": {
            "tanh": "every_kind:Tanh",
            "no_inverse": "every_kind:NoInverse",
            "softplus": "every_kind:Softplus",
            "broken_inverse": "every_kind:BrokenInverse",
        },
    }
    return install(
        tmp_path_factory.mktemp("site"),
        make_package(source, "broken-pack", BROKEN, {"lossreg.losses": {"shatter": "broken_pack:shatter"}}),
        make_package(source, "dependent", DEPENDENT, {"lossreg.losses": {"dependent": "dependent:dependent"}}),
        make_package(
            source, "every-kind", KINDS, {"lossreg.losses": kinds, "lossreg.regularizers": penalties, **changing}
        ),
        make_package(source, "pack-a", TWIN.format(own="a"), {"lossreg.losses": {"twin": "pack_a:twin"}}),
        make_package(source, "pack-b", TWIN.format(own="b"), {"lossreg.losses": {"twin": "pack_b:twin"}}),
        ROOT / "examples" / "third_party_plugin",
    )


@pytest.fixture(scope="session")
def squatter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package that registers a name of ours."""
    module = "def mix(y_true, y_pred):\n    return 0 * y_pred\n"
    package = make_package(
        tmp_path_factory.mktemp("source"), "squatter", module, {"lossreg.losses": {"mix": "squatter:mix"}}
    )
    return install(tmp_path_factory.mktemp("site"), package)


@pytest.fixture
def losses(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The losses, with the strangers' packages installed."""
    return with_packages(packages, monkeypatch, lossreg.losses)


@pytest.fixture
def regularizers(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The regularizers, with the strangers' packages installed."""
    return with_packages(packages, monkeypatch, lossreg.regularizers)


def with_packages(packages: Path, monkeypatch: pytest.MonkeyPatch, like: Registry) -> Registry:
    """Make a registry like another, with schedules and variables, that knows the strangers' packages."""
    monkeypatch.syspath_prepend(str(packages))
    importlib.invalidate_caches()
    numbers = tuple(Registry(inner.group, inner.kind) for inner in like.kind.numbers)
    return Registry(like.group, dataclasses.replace(like.kind, numbers=numbers))


@pytest.fixture(scope="session")
def no_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which TensorFlow, and so Keras, cannot be imported: whoever tries ends with a traceback."""
    folder = tmp_path_factory.mktemp("no_tensorflow")
    (folder / "tensorflow.py").write_text("raise SystemError('TensorFlow was imported')\n")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `train.py`, or another program, as a person would, in an empty folder."""

    def run(
        *arguments: str, program: Path = ROOT / "train.py", path: tuple[Path, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **environment}
        return subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning:__main__", str(program), *arguments],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run
