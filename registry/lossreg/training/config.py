"""The typed schema of the config: what a person may choose, and in which range. Imports no Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

import lossreg
from lossreg import did_you_mean
from lossreg.training.errors import ConfigError

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


ConfigStore.instance().store(name="schema", node=Config, provider="trainer")


def read_config(cfg: DictConfig) -> Config:
    """Return the composed config as typed objects, each value within its range.

    Raises:
        ConfigError: names the key, the value, and what is accepted.
    """
    key = "optimizer.learning_rate"
    if OmegaConf.is_config(rate := OmegaConf.select(cfg, key)):
        lossreg.schedules.parse(rate, key=key)
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, Config)
    _require("model.hidden_units", config.model.hidden_units, config.model.hidden_units >= 1, "at least 1")
    _require_name("model.activation", config.model.activation, ACTIVATIONS)
    _require("model.dropout", config.model.dropout, 0 <= config.model.dropout < 1, "in [0, 1)")
    _require_name("optimizer.name", config.optimizer.name, OPTIMIZERS)
    if not isinstance(rate := config.optimizer.learning_rate, dict):
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        _require(key, rate, number and 0 < rate < math.inf, "a positive number, or a schedule")
        config.optimizer.learning_rate = float(rate)
    _require("epochs", config.epochs, config.epochs >= 1, "at least 1")
    _require("batch_size", config.batch_size, config.batch_size >= 1, "at least 1")
    _require("seed", config.seed, 0 <= config.seed < 2**31, "in [0, 2³¹)")
    _require("verbose", config.verbose, config.verbose in (0, 1), "0 or 1")
    _require_name("objective", config.objective, OBJECTIVES)
    config.data.inputs = _rows("data.inputs", config.data.inputs)
    config.data.targets = _rows("data.targets", config.data.targets)
    rows = len(config.data.inputs)
    widths = {len(row) for row in config.data.inputs}
    _require("data.inputs", config.data.inputs, rows > 0 and len(widths) == 1, "rows of one length")
    _require("data.targets", config.data.targets, len(config.data.targets) == rows, f"{rows} rows, as data.inputs has")
    _require(
        "data.targets", config.data.targets, all(row in ([0.0], [1.0]) for row in config.data.targets), "0 or 1 each"
    )
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


OmegaConf.register_new_resolver("steps", steps, replace=True)


def _rows(key: str, value: Any) -> list[list[float]]:
    try:
        return msgspec.convert(value, list[list[float]])
    except msgspec.ValidationError:
        raise ConfigError(f"{key}: {value!r} is not accepted; it must be a list of rows of numbers") from None


def _require_name(key: str, value: str, names: Sequence[str]) -> None:
    _require(key, value, value in names, f"one of {', '.join(names)}.{did_you_mean(value, names)}")


def _require(key: str, value: Any, holds: bool, accepted: str) -> None:
    if not holds:
        raise ConfigError(f"{key}: {value!r} is not accepted; it must be {accepted}")
