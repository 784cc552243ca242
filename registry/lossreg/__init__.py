"""Losses and regularizers for Keras, and what may change in them, found by name in every installed package.

>>> import lossreg
>>> "mix" in lossreg.losses
True
>>> loss = lossreg.losses.create("mix", r=0.8)  # a keras.losses.Loss
>>> loss
<loss lossreg/mix(r=0.8)>

Importing this package imports neither TensorFlow nor Keras; creating a loss or a regularizer does.
"""

from __future__ import annotations

from lossreg._attach import attach
from lossreg._catalog import Registry
from lossreg._errors import (
    AmbiguousNameError,
    BrokenPluginError,
    DuplicateNameError,
    ModelFileError,
    NotAttachedError,
    ParameterError,
    RegistryError,
    ShapeError,
    UnknownNameError,
    did_you_mean,
)
from lossreg._kinds import (
    GROUPS,
    KINDS,
    datasets,
    learned,
    loggers,
    losses,
    models,
    optimizers,
    regularizers,
    schedules,
)
from lossreg._models import load_model
from lossreg._plugin import REQUIRED, Description, Kind, Parameter, Plugin, Style
from lossreg._spec import Spec, is_created
from lossreg._startup import quiet_startup

__all__ = [
    "GROUPS",
    "KINDS",
    "REQUIRED",
    "AmbiguousNameError",
    "BrokenPluginError",
    "Description",
    "DuplicateNameError",
    "Kind",
    "ModelFileError",
    "NotAttachedError",
    "Parameter",
    "ParameterError",
    "Plugin",
    "Registry",
    "RegistryError",
    "ShapeError",
    "Spec",
    "Style",
    "UnknownNameError",
    "attach",
    "datasets",
    "did_you_mean",
    "is_created",
    "learned",
    "load_model",
    "loggers",
    "losses",
    "models",
    "optimizers",
    "quiet_startup",
    "regularizers",
    "schedules",
]
