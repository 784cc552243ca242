"""The typed schema of the config: what a person may choose, and in which range. Imports no Keras."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from omegaconf import MISSING, DictConfig, OmegaConf

import lossreg
from lossreg import did_you_mean
from lossreg.training._errors import ConfigError

OBJECTIVES = ("brier", "loss", "penalty", "accuracy", "solved", "epochs_run", "seconds")
"""The numbers of metrics.json, any of which a sweeper may minimise."""

ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_tanh", "leaky_relu", "linear", "mish", "relu"),
    *("relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh", "tanh_shrink"),
)
"""The names of Keras's activations that work on single units."""

OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")
"""The names of Keras's optimizers in conf/optimizer."""


@dataclass
class Data:
    """What is learned: one row of `inputs` and one of `targets` per example."""

    name: str = MISSING
    inputs: Any = MISSING  # OmegaConf's list[list[float]] refuses integers
    targets: Any = MISSING


@dataclass
class Model:
    """inputs → Dense(hidden_units, activation) → Dropout(dropout) → Dense(1, sigmoid)."""

    name: str = MISSING
    hidden_units: int = MISSING
    activation: str = MISSING
    dropout: float = MISSING


@dataclass
class Optimizer:
    """A Keras optimizer by name; its learning rate is a number or the node of a schedule."""

    name: str = MISSING
    learning_rate: Any = MISSING


@dataclass
class Config:
    """The whole config of `train.py`; conf/config.yaml holds the values."""

    loss: Any = MISSING
    reg: Any = MISSING
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    epochs: int = MISSING
    batch_size: int = MISSING
    seed: int = MISSING
    jit_compile: bool = MISSING
    verbose: int = MISSING
    objective: str = MISSING


LEARNING_RATE = "optimizer.learning_rate"
_NAMES = {"model.activation": ACTIVATIONS, "optimizer.name": OPTIMIZERS, "objective": OBJECTIVES}
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model.hidden_units": (lambda units: units >= 1, "at least 1"),
    "model.dropout": (lambda share: 0 <= share < 1, "in [0, 1)"),
    "epochs": (lambda epochs: epochs >= 1, "at least 1"),
    "batch_size": (lambda size: size >= 1, "at least 1"),
    "seed": (lambda seed: 0 <= seed < 2**31, "in [0, 2³¹)"),
    "verbose": (lambda verbose: verbose in (0, 1), "0 or 1"),
}


def read_config(cfg: Mapping[str, Any] | DictConfig) -> Config:
    """Return a composed config, Hydra's or plain data, as typed objects, each value within its range.

    Raises:
        ConfigError: names the key, the value, and what is accepted.
    """
    merged = OmegaConf.merge(OmegaConf.structured(Config), cfg)
    if OmegaConf.is_config(rate := OmegaConf.select(merged, LEARNING_RATE)):
        lossreg.schedules.parse(rate, key=LEARNING_RATE)
    config = OmegaConf.to_object(merged)
    assert isinstance(config, Config)
    for key, names in _NAMES.items():
        name = operator.attrgetter(key)(config)
        _require(key, name, name in names, f"one of {', '.join(names)}.{did_you_mean(name, names)}")
    for key, (accepts, accepted) in _RANGES.items():
        value = operator.attrgetter(key)(config)
        _require(key, value, accepts(value), accepted)
    if not isinstance(rate := config.optimizer.learning_rate, dict):
        holds = type(rate) in (int, float) and 0 < rate < math.inf
        _require(LEARNING_RATE, rate, holds, "a positive number, or a schedule")
        config.optimizer.learning_rate = float(rate)
    config.data.inputs = inputs = _rows("data.inputs", config.data.inputs)
    config.data.targets = targets = _rows("data.targets", config.data.targets)
    _require("data.inputs", inputs, len({len(row) for row in inputs}) == 1, "rows of one length")
    _require("data.targets", targets, len(targets) == len(inputs), f"{len(inputs)} rows, as data.inputs has")
    _require("data.targets", targets, all(row in ([0.0], [1.0]) for row in targets), "0 or 1 each")
    return config


def steps(share: float = 1.0, *, _root_: DictConfig) -> int:
    """Return the number of steps of the whole fit, or of a share of it: `${steps:}`, `${steps:0.1}` in a config.

    Arguments:
        share: the share, in (0, 1]. Defaults to all.

    Example:

    >>> study = {"data": {"inputs": [[0, 0]] * 4}, "batch_size": 3, "epochs": 500, "warm_up": "${steps:0.1}"}
    >>> OmegaConf.create(study).warm_up
    100
    """
    if not 0 < share <= 1:
        raise ValueError(f"${{steps:{share}}}: the share of the steps must be in (0, 1]")
    rows, size, epochs = _root_.data.inputs, _root_.batch_size, _root_.epochs
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows or size < 1:
        return 1  # read_config says what is wrong
    return max(1, round(share * epochs * math.ceil(len(rows) / min(size, len(rows)))))


# omegaconf 2.4 gives the older name the meaning of the newer one, which it deprecates.
_is_old = "replace" not in inspect.signature(OmegaConf.register_resolver).parameters
_register: Any = OmegaConf.register_new_resolver if _is_old else OmegaConf.register_resolver
_register("steps", steps, replace=True)


def _rows(key: str, value: Any) -> list[list[float]]:
    try:
        return msgspec.convert(value, list[list[float]])
    except msgspec.ValidationError:
        raise ConfigError(f"{key}: {value!r} is not accepted; it must be a list of rows of numbers") from None


def _require(key: str, value: Any, holds: bool, accepted: str) -> None:
    if not holds:
        raise ConfigError(f"{key}: {value!r} is not accepted; it must be {accepted}")
