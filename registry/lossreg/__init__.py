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

import importlib

from lossreg._attach import attach
from lossreg._catalog import Description, Kind, Plugin, Registry, is_registered
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
from lossreg._import_hook import after_import
from lossreg._models import load_model
from lossreg._signature import REQUIRED, Parameter, Style

__all__ = [
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
    "Style",
    "UnknownNameError",
    "attach",
    "did_you_mean",
    "is_registered",
    "load_model",
    "losses",
    "regularizers",
    "schedules",
    "variables",
]

schedules = Registry("lossreg.schedules", Kind("schedule", ("step",)))
"""The schedules, functions of the training step: `lossreg.schedules`."""

variables = Registry("lossreg.variables", Kind("variable", ("raw",)))
"""The variables, numbers that are learned: `lossreg.variables`."""

losses = Registry("lossreg.losses", Kind("loss", ("y_true", "y_pred"), (schedules, variables)))
"""The losses: `lossreg.losses`."""

regularizers = Registry("lossreg.regularizers", Kind("regularizer", ("weights",), (schedules, variables)))
"""The regularizers: `lossreg.regularizers`."""

# Keras can then load a model that holds our objects, whoever calls it.
after_import("keras", lambda: importlib.import_module("lossreg._wrappers"))
