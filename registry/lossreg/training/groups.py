"""Which configs may train in one compiled program, and how many at once. Imports no Keras."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from omegaconf import DictConfig, OmegaConf

import lossreg
from lossreg.training.config import Config

AnyConfig = Config | DictConfig | Mapping[str, Any]
"""A composed config: typed, as Hydra composes it, or as plain data, which is the fastest to read."""

SEED = "seed"
LEARNING_RATE = "optimizer.learning_rate"
INITIAL = "initial"
"""The parameter of a variable that may differ from model to model."""
PLUGINS = {"loss": lossreg.losses, "reg": lossreg.regularizers}
"""The config keys that name a loss or a regularizer, with the registry of each."""
CATALOGS = {**PLUGINS, LEARNING_RATE: lossreg.schedules}
"""The config keys that may name a plugin, with the registry of each."""

_CHUNK_BYTES = 2**28
_CHUNK_MODELS = 2048  # more at once is not faster, and what is done is in the table only when its chunk ends


class Group(NamedTuple):
    """What configs that train in one program have in common.

    Arguments:
        varying: the config keys of the numbers that may differ from model to model.
        shared: everything else but the epochs, as JSON.
        epochs: how many epochs; programs are shared between groups that differ in this only.
    """

    varying: tuple[str, ...]
    shared: bytes
    epochs: int


def group_key(config: AnyConfig) -> Group:
    """Return what must be equal in two configs for them to train in one program.

    Not part of it are the numbers that may differ from model to model: every float parameter of the loss and of the
    regularizer, those of plugins inside them and the floats of a `dict[str, float]` included; the float parameters of a
    schedule in the place of one, and the initial value of a variable; the seed; the learning rate or the parameters of
    its schedule. A value that is no number, or outside its range, is part of it.

    Arguments:
        config: a composed config. Plain data takes some 20 µs, a DictConfig some 400 µs.

    Returns:
        A hashable group; picklable, equal across processes. A config with a mistake in it has one, too: that it is one
        shows when it is trained.

    Example:
    >>> one = {"loss": {"name": "mix", "r": 0.8}, "reg": {"name": "none"}, "epochs": 500, "seed": 0}
    >>> other = {"loss": {"name": "mix", "r": 0.5}, "reg": {"name": "none"}, "epochs": 500, "seed": 1}
    >>> group_key(one) == group_key(other)
    True
    >>> group_key(one).varying
    ('loss.r', 'seed')
    """
    return split(config)[0]


def split(config: AnyConfig) -> tuple[Group, dict[str, float]]:
    """Return the group of a config, and the numbers that make it differ from others of the group, by config key."""
    shared = dict(plain(config))
    numbers: dict[str, float] = {}
    for key, catalog in PLUGINS.items():
        if key in shared:
            shared[key] = _without_numbers(catalog, shared[key], key, numbers)
    rate = shared.get("optimizer", {}).get("learning_rate")
    if isinstance(rate, Mapping):
        rate = _without_numbers(lossreg.schedules, rate, LEARNING_RATE, numbers)
        shared["optimizer"] = {**shared["optimizer"], "learning_rate": rate}
    elif _is_number(rate) and 0 < rate < math.inf:
        numbers[LEARNING_RATE] = float(rate)
        shared["optimizer"] = {**shared["optimizer"], "learning_rate": None}
    if type(shared.get(SEED)) is int and 0 <= shared[SEED] < 2**31:
        numbers[SEED] = shared.pop(SEED)
    epochs = shared.pop("epochs", 0)
    return Group(tuple(sorted(numbers)), msgspec.json.encode(shared, order="deterministic"), epochs), numbers


def chunk_limit(config: AnyConfig) -> int:
    """Return how many models like this one are best trained at once.

    Bounded by the memory that the training takes, some 256 MB, and by the point from which more models at once are
    not faster. The study's model takes about 12 kB each: parameters, optimizer state, activations, history.

    Example:
    >>> study = {"data": {"inputs": [[0, 0]] * 4}, "model": {"hidden_units": 4}, "batch_size": 4, "epochs": 500}
    >>> chunk_limit(study)
    2048
    >>> chunk_limit(study | {"model": {"hidden_units": 4096}})
    238
    """
    values = plain(config)
    rows, width = len(values["data"]["inputs"]), len(values["data"]["inputs"][0])
    units = values["model"]["hidden_units"]
    parameters = (width + 2) * units + 1
    batch = min(values["batch_size"], rows)
    # Weights, two moments, the gradient, two temporaries; activations with their gradients and the dropout's masks.
    floats = 6 * parameters + 8 * batch * (units + 1) + 3 * rows * (units + 1)
    size = 4 * floats + 12 * values["epochs"] + 4096
    return max(1, min(_CHUNK_MODELS, _CHUNK_BYTES // size))


def plain(config: AnyConfig) -> Mapping[str, Any]:
    """Return a config as plain data."""
    if isinstance(config, DictConfig):
        return typing.cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    return dataclasses.asdict(config) if isinstance(config, Config) else config


def _is_number(value: Any) -> typing.TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def targets_of(nodes: Mapping[str, Any]) -> list[Any]:
    """Return the functions and classes that config nodes name, by their config keys, and those inside them."""
    return [
        catalog.find(inner["name"]).load()
        for key, node in nodes.items()
        for _, catalog, inner in CATALOGS[key].nodes(node, key)
    ]


def _without_numbers(catalog: lossreg.Registry, node: Any, path: str, numbers: dict[str, float]) -> Any:
    """Move the numbers that may vary out of a plugin's node; return what is left, with `None` in their place."""
    if not _is_node(node):
        return node
    try:
        plugin = catalog.find(node["name"])
        fields = _fields(catalog, node["name"], plugin, id(plugin.registered))
    except lossreg.RegistryError:
        return node
    left = dict(node)
    for name, value in node.items():
        if (name in fields.floats and _is_number(value)) or (
            name in fields.floats | fields.untyped and _is_node(value)
        ):
            left[name] = _without_number(catalog, value, f"{path}.{name}", numbers)
        elif name in fields.mappings and isinstance(value, Mapping):
            if all(_is_number(number) or _is_node(number) for number in value.values()):
                left[name] = {
                    key: _without_number(catalog, number, f"{path}.{name}.{key}", numbers)
                    for key, number in value.items()
                }
        elif name in fields.plugins and isinstance(value, Mapping):
            left[name] = {
                key: _without_numbers(catalog, term, f"{path}.{name}.{key}" if key else f"{path}.{name}", numbers)
                for key, term in _terms(value).items()
            }
    return left


def _without_number(catalog: lossreg.Registry, value: Any, path: str, numbers: dict[str, float]) -> Any:
    """Move a number, or those of the schedule or variable in its place, out; return what is left."""
    if _is_number(value):
        numbers[path] = float(value)
        return None
    try:
        return _without_numbers(catalog.number_registry(value["name"]), value, path, numbers)
    except lossreg.RegistryError:
        return value


def _is_node(value: Any) -> typing.TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _terms(value: Any) -> Mapping[str, Any]:
    """Return the nodes of a parameter that takes several: a mapping of nodes, or one node, under an empty name."""
    if not isinstance(value, Mapping):
        return {}
    return {"": value} if _is_node(value) else value


class _Fields(NamedTuple):
    """The parameters of a plugin: floats, mappings to floats, those that take plugins, and those without a type."""

    floats: frozenset[str]
    mappings: frozenset[str]
    plugins: frozenset[str]
    untyped: frozenset[str]


@functools.lru_cache(maxsize=256)
def _fields(catalog: lossreg.Registry, name: str, plugin: lossreg.Plugin, registered: int) -> _Fields:
    """Sort the parameters of a plugin; `plugin` and `registered` are here for the cache, names change hands."""
    parameters = catalog.describe(name).parameters
    floats = frozenset(p.name for p in parameters if p.takes_number)
    return _Fields(
        # The bounds of a variable are the plugin's own, in Python.
        floats & {INITIAL} if catalog is lossreg.variables else floats,
        frozenset(p.name for p in parameters if p.takes_numbers),
        frozenset(p.name for p in parameters if p.takes_plugins),
        frozenset(p.name for p in parameters if p.type is Any),
    )
