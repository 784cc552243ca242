"""The study's config as plain data, and the run alone of a config, with which the engine is compared."""

from __future__ import annotations

import copy
import functools
import json
from typing import Any

import keras

import lossreg
from lossreg.training import Config, History, Metrics, build_model, diverged, evaluate, fit, read_config

Plain = dict[str, Any]

STUDY: Plain = {
    "loss": {"name": "mix", "r": 0.8},
    "reg": {"name": "l2custom", "r": 1e-4},
    "data": {"name": "xor"},
    "model": {"name": "mlp", "hidden_units": 4, "activation": "sigmoid", "dropout": 0.1},
    "optimizer": {"name": "adam", "learning_rate": 0.05},
    "epochs": 500,
    "batch_size": 4,
    "seed": 0,
    "jit_compile": True,
    "verbose": 0,
    "objective": "brier",
}


def study(**changes: Any) -> Plain:
    """The study's config; a name such as `optimizer__learning_rate` changes a value in a node."""
    config = copy.deepcopy(STUDY)
    for name, value in changes.items():
        node, _, key = name.rpartition("__")
        (config[node] if node else config)[key] = value
    return config


def model_of(config: Config) -> keras.Model:
    return build_model(config, lossreg.losses.build(config.loss), lossreg.regularizers.build(config.reg))


def alone(plain: Plain) -> tuple[History, Metrics]:
    return _alone(json.dumps(plain))


@functools.cache
def _alone(plain: str) -> tuple[History, Metrics]:
    config = read_config(json.loads(plain))
    model = model_of(config)
    history = fit(model, config)
    if diverged(history):
        return history, {}
    return history, evaluate(model, config, epochs_run=len(history["loss"]), seconds=0)


def weighted(first: Plain, weight: float) -> Plain:
    return {"name": "weighted", "terms": {"a": first, "b": BCE}, "weights": {"a": weight, "b": 1 - weight}}


BCE, MSE, NONE = {"name": "bce"}, {"name": "mse"}, {"name": "none"}
