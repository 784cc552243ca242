"""Losses and regularizers for Keras, found by name in every installed package.

>>> import registry
>>> "mix" in registry.losses
True
>>> loss = registry.losses.create("mix", r=0.8)  # a keras.losses.Loss
>>> loss
<loss lossreg/mix(r=0.8)>

Importing this package imports neither TensorFlow nor Keras; creating a loss or a regularizer does.
"""

from __future__ import annotations

import importlib

from registry.catalog import Description, Kind, Plugin, Registry
from registry.errors import (
    AmbiguousNameError,
    BrokenPluginError,
    DuplicateNameError,
    ModelFileError,
    ParameterError,
    RegistryError,
    ShapeError,
    UnknownNameError,
    did_you_mean,
)
from registry.import_hook import after_import
from registry.models import load_model
from registry.schema import REQUIRED, Parameter, Style

__all__ = [
    "REQUIRED",
    "AmbiguousNameError",
    "BrokenPluginError",
    "Description",
    "DuplicateNameError",
    "Kind",
    "ModelFileError",
    "Parameter",
    "ParameterError",
    "Plugin",
    "Registry",
    "RegistryError",
    "ShapeError",
    "Style",
    "UnknownNameError",
    "did_you_mean",
    "load_model",
    "losses",
    "regularizers",
]

losses = Registry("lossreg.losses", Kind("loss", ("y_true", "y_pred")))
"""The losses: `lossreg.losses`."""

regularizers = Registry("lossreg.regularizers", Kind("regularizer", ("weights",)))
"""The regularizers: `lossreg.regularizers`."""

# Keras can then load a model that holds our objects, whoever calls it.
after_import("keras", lambda: importlib.import_module("registry.objects"))
