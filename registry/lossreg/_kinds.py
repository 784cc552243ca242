"""The registries, one row a kind: what there is, and what may stand in the place of its numbers."""

from __future__ import annotations

from lossreg._catalog import Registry
from lossreg._plugin import Kind

schedules = Registry(
    Kind("lossreg.schedules", "schedule", "schedule", ("step",), "lossreg._numbers:RegisteredSchedule"),
)
"""The schedules, functions of the training step: `lossreg.schedules`."""

learned = Registry(
    Kind(
        "lossreg.variables",
        "learned number",
        "learned",
        ("unconstrained",),
        "lossreg._numbers:LearnedNumber",
        varying=("initial",),  # its bounds are the plugin's own, in Python
    )
)
"""The numbers that are learned with the weights: `lossreg.variables`."""

_NUMBERS = (schedules, learned)
_AS_IT_IS = "lossreg._spec:Spec.made"

losses = Registry(
    Kind("lossreg.losses", "loss", "loss", ("y_true", "y_pred"), "lossreg._wrappers:RegisteredLoss", _NUMBERS)
)
"""The losses: `lossreg.losses`."""

regularizers = Registry(
    Kind(
        "lossreg.regularizers", "regularizer", "reg", ("weights",), "lossreg._wrappers:RegisteredRegularizer", _NUMBERS
    )
)
"""The regularizers: `lossreg.regularizers`."""

datasets = Registry(Kind("lossreg.datasets", "data set", "data", (), _AS_IT_IS, varying=()))
"""The data sets, functions that return arrays: `lossreg.datasets`."""

models = Registry(
    Kind(
        "lossreg.models", "model", "model", ("inputs", "outputs", "regularizer"), _AS_IT_IS, (), (), terms=regularizers
    )
)
"""The models, functions from Keras tensors to a Keras tensor: `lossreg.models`."""

optimizers = Registry(
    Kind("lossreg.optimizers", "optimizer", "optimizer", (), _AS_IT_IS, (schedules,), varying=("learning_rate",))
)
"""The optimizers: `lossreg.optimizers`."""

loggers = Registry(Kind("lossreg.loggers", "logger", "logger", (), _AS_IT_IS, varying=(), several=True))
"""The loggers, functions that return a function of what runs left: `lossreg.loggers`."""

KINDS = {"loss": losses, "regularizer": regularizers, "schedule": schedules, "learned": learned}
KINDS |= {"dataset": datasets, "model": models, "optimizer": optimizers, "logger": loggers}
"""The registries by kind."""

GROUPS = {registry.kind.config_group: registry for registry in KINDS.values()}
"""The registries by Hydra config group."""
