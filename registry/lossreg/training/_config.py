"""The typed schema of the config: what a person may choose, and in which range. Imports no Keras."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

import lossreg
from lossreg import did_you_mean
from lossreg._tasks import TASKS
from lossreg.training._errors import ConfigError

SCALES = ("none", "standard", "minmax", "robust")
"""How inputs may be scaled, each by scikit-learn's scaler of that name."""

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
"""Keras's policies of the dtype in which a model computes."""


@dataclass
class Split:
    """Which share of the rows is held out, at random and in each class alike; `None`: 0.2 from 50 rows on, else 0."""

    validation: float | None = None
    test: float | None = None
    seed: int = 0


@dataclass
class Config:
    """The whole config of `train.py`; conf/config.yaml holds the values and says what each is."""

    loss: Any = MISSING
    reg: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    optimizer: Any = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    seed: int = MISSING
    jit_compile: bool = MISSING
    verbose: int = MISSING
    objective: Any = None
    task: str | None = None
    split: Split = field(default_factory=Split)
    scale: str | None = None
    shuffle: bool | None = None
    class_weight: Any = None
    label_noise: float = 0.0
    patience: int | None = None
    precision: str = "float32"
    logger: Any = None


LEARNING_RATE = "optimizer.learning_rate"
NODES = {
    "loss": lossreg.losses,
    "reg": lossreg.regularizers,
    "data": lossreg.datasets,
    "model": lossreg.models,
    "optimizer": lossreg.optimizers,
}
"""The registries whose entries a config names, by its keys."""


def _are_weights(given: Any) -> bool:
    values: list[Any] = [*given.values()] if isinstance(given, dict) else [None]
    return all(type(value) in (int, float) and 0 <= value < 1e38 for value in values)


_NAMES = {"task": (None, *TASKS), "scale": (None, *SCALES), "precision": PRECISIONS}
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (lambda epochs: 1 <= epochs <= 10**7, "in [1, 10⁷]"),
    "batch_size": (lambda size: size >= 1, "at least 1"),
    "seed": (lambda seed: 0 <= seed < 2**31, "in [0, 2³¹)"),
    "verbose": (lambda verbose: verbose in (0, 1), "0 or 1"),
    "split.validation": (lambda share: share is None or 0 <= share < 1, "in [0, 1), or null"),
    "split.test": (lambda share: share is None or 0 <= share < 1, "in [0, 1), or null"),
    "split.seed": (lambda seed: 0 <= seed < 2**31, "in [0, 2³¹)"),
    "label_noise": (lambda share: 0 <= share <= 1, "in [0, 1]"),
    "class_weight": (
        lambda given: given in (None, "balanced") or _are_weights(given),
        "balanced, or a weight by class",
    ),
    "patience": (lambda epochs: epochs is None or epochs >= 1, "at least 1, or null"),
}


def read_config(cfg: Mapping[str, Any] | DictConfig) -> Config:
    """Return a composed config, Hydra's or plain data, as a typed object, each value within its range.

    Raises:
        ConfigError: names the key, the value, and what is accepted.
        lossreg.RegistryError: if the data set, the model or the optimizer is not there or does not take a parameter.
    """
    merged = OmegaConf.merge(OmegaConf.structured(Config), cfg)
    for key in sorted(OmegaConf.missing_keys(merged) & {each.name for each in fields(Config)}):
        raise ConfigError(f"{key}: it needs a value")
    # A value that is missing in a node is told with its plugin.
    values: Any = OmegaConf.to_container(merged, resolve=True)
    require("split", values["split"], isinstance(values["split"], dict), "a node of validation, test and seed")
    for prefix, kind, given in (("", Config, values), ("split.", Split, values["split"])):
        known = [each.name for each in fields(kind)]
        for key in given.keys() - set(known):
            raise ConfigError(f"{prefix}{key}: there is no such config key.{did_you_mean(key, known)}")
    config = Config(**{**values, "split": Split(**values["split"])})
    for key, (accepts, accepted) in _RANGES.items():
        value = operator.attrgetter(key)(config)
        require(key, value, accepts(value), accepted)
    for key, names in _NAMES.items():
        name = operator.attrgetter(key)(config)
        shown = ", ".join("null" if n is None else n for n in names)
        require(key, name, name in names, f"one of {shown}.{did_you_mean(str(name), [n for n in names if n])}")
    held_out = (config.split.validation or 0.0) + (config.split.test or 0.0)
    require("split", config.split, held_out < 1, "less than 1 together")
    for key in ("data", "model", "optimizer"):
        spec = NODES[key].parse(getattr(config, key), key=key)
        setattr(config, key, spec.node())
    for name, node in (config.logger or {}).items():
        lossreg.loggers.parse(node, key=f"logger.{name}")
    rate = config.optimizer.get("learning_rate")
    if not isinstance(rate, Mapping):
        holds = type(rate) in (int, float) and 2**-126 <= rate < 2**128
        require(LEARNING_RATE, rate, holds, "a positive number that float32 has, or a schedule")
    return config


def require(key: str, value: Any, holds: bool, accepted: str) -> None:
    """Raise ConfigError, unless it holds."""
    if not holds:
        raise ConfigError(f"{key}: {value!r} is not accepted; it must be {accepted}")


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Let configs use a function: `${name:}`."""
    # omegaconf 2.4 gives the older name the meaning of the newer one, which it deprecates.
    is_old = "replace" not in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_new_resolver if is_old else OmegaConf.register_resolver
    register(name, resolver, replace=True)
