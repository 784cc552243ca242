"""Which configs may train in one compiled program, and how many at once. Imports no Keras."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec
from omegaconf import DictConfig, OmegaConf

import lossreg
from lossreg.training._config import LEARNING_RATE, NODES, Config
from lossreg.training._data import load_data

AnyConfig = Config | DictConfig | Mapping[str, Any]
"""A composed config: typed, as Hydra composes it, or as plain data, which is the fastest to read."""

SEED = "seed"

_CHUNK_BYTES = 2**28
_CHUNK_MODELS = 2048  # more at once is not faster, and what is done is in the table only when its chunk ends
_SPLITS_KEPT = 4096
_UNITS_OF_OTHERS = 1024  # what is assumed of models whose units are not said

_splits: dict[tuple[str, str], tuple[bytes, dict[str, float]]] = {}


class Group(NamedTuple):
    """What configs that train in one program have in common.

    Arguments:
        varying: the config keys of the numbers that may differ from model to model.
        shared: everything else but the epochs.
        epochs: how many epochs; programs are shared between groups that differ in this only.
    """

    varying: tuple[str, ...]
    shared: bytes
    epochs: int


def group_key(config: AnyConfig) -> Group:
    """Return what must be equal in two configs for them to train in one program.

    Not part of it are the numbers that may differ from model to model: every float parameter of the loss and of the
    regularizer, those of plugins inside them and the floats of a `dict[str, float]` included; the float parameters of a
    schedule in the place of one, and the initial value of a learned number; the seed; the learning rate or the
    parameters of its schedule. A value that is no number, or outside its range, is part of it.

    Arguments:
        config: a composed config. Plain data takes some 10 µs, with a loss or a regularizer not seen before some
            100 µs, a DictConfig some 400 µs.

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
    rest = dict(plain(config))
    numbers: dict[str, float] = {}
    parts = []
    for key, registry in NODES.items():
        part, constants = _split_node(registry, rest.pop(key, None))
        parts.append(part)
        numbers |= {f"{key}.{path}": number for path, number in constants.items()}
    if type(rest.get(SEED)) is int and 0 <= rest[SEED] < 2**31:
        numbers[SEED] = rest.pop(SEED)
    if not 0 < numbers.get(LEARNING_RATE, 1.0) < math.inf:
        rest[LEARNING_RATE] = numbers.pop(LEARNING_RATE)
    epochs = rest.pop("epochs", 0)
    parts.append(
        msgspec.json.encode(rest)
    )  # unsorted: classes may be numbers, which the keys of what is sorted are not
    return Group(tuple(sorted(numbers)), b"\n".join(parts), epochs), numbers


def chunk_limit(config: AnyConfig) -> int:
    """Return how many models like this one are best trained at once.

    Bounded by the memory, some 256 MB, of which a model of the study takes about 12 kB (parameters, optimizer state,
    activations, history), and by the point from which more models at once are not faster.

    Example:
    >>> study = {"data": {"name": "xor"}, "model": {"name": "mlp"}, "batch_size": 4, "epochs": 500}
    >>> chunk_limit(study)
    2048
    >>> chunk_limit(study | {"model": {"name": "mlp", "hidden_units": [4096]}})
    238
    """
    values = plain(config)
    data = load_data({key: value for key, value in values.items() if key != "loss"})
    rows = sum(map(len, data.parts.values()))
    units = lossreg.models.parse(values["model"]).node().get("hidden_units", [_UNITS_OF_OTHERS])
    widths = [data.train.x[0].size, *([units] if isinstance(units, int) else units), data.outputs]
    parameters = sum((width + 1) * following for width, following in itertools.pairwise(widths))
    batch = min(values["batch_size"], len(data.train))
    # Weights, two moments, the gradient, two temporaries; activations with their gradients and the dropout's masks.
    floats = 6 * parameters + (8 * batch + 3 * rows) * sum(widths[1:])
    size = 4 * floats + 12 * values["epochs"] + 4096
    return max(1, min(_CHUNK_MODELS, _CHUNK_BYTES // size))


def plain(config: AnyConfig) -> Mapping[str, Any]:
    """Return a config as plain data."""
    if isinstance(config, DictConfig):
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    return dataclasses.asdict(config) if isinstance(config, Config) else config


def _split_node(registry: lossreg.Registry, node: Any) -> tuple[bytes, dict[str, float]]:
    """Return what is equal for nodes that differ in numbers only, and the numbers by path."""
    key = registry.group, repr(node)
    if key in _splits:
        return _splits[key]
    try:
        spec = registry.parse(node)
    except lossreg.RegistryError:
        return key[1].encode(), {}
    found = spec.without_numbers(), spec.constants()
    if all(inner.plugin.registered is None for _, inner in spec.walk()):  # else the name may change hands
        if len(_splits) >= _SPLITS_KEPT:
            _splits.clear()
        _splits[key] = found
    return found
