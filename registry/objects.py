"""Plugins as Keras objects: functions, factories and classes become a `Loss` or a `Regularizer`.

This module imports Keras; the rest of the package does not.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

import keras

from registry.catalog import Description, Plugin
from registry.errors import BrokenPluginError, RegistryError, ShapeError
from registry.models import create_again
from registry.schema import Style


def create(
    noun: str,
    plugin: Plugin,
    description: Description,
    target: Any,
    parameters: dict[str, Any],
    arguments: dict[str, Any],
) -> Any:
    """Create the Keras object of a plugin.

    Arguments:
        noun: `"loss"` or `"regularizer"`.
        plugin: where it comes from.
        description: what it is.
        target: the plugin itself.
        parameters: its parameters as a config has them.
        arguments: the same as the target takes them, with plugins inside of it built.
    """
    wrapper = {"loss": RegisteredLoss, "regularizer": RegisteredRegularizer}[noun]
    return wrapper(plugin, _bind(plugin, description, target, arguments), parameters)


def _bind(plugin: Plugin, description: Description, target: Any, params: dict[str, Any]) -> Callable[..., Any]:
    """Return what is called with the data: the function with its parameters bound, or the instance."""
    if description.style is Style.FUNCTION:
        return functools.partial(target, **params)
    try:
        made = target(**params)
    except Exception as error:
        raise BrokenPluginError(
            f"'{plugin.name}' of package {plugin.origin} cannot be used: {plugin.target} "
            f"raised {type(error).__name__}: {error}"
        ) from error
    if not callable(made):
        raise BrokenPluginError(
            f"'{plugin.name}' of package {plugin.origin} cannot be used: {plugin.target} returned "
            f"a {type(made).__name__}, not a function; is one of its parameters the data?"
        )
    return made


def _call(plugin: Plugin, function: Callable[..., Any], *data: Any) -> Any:
    """Call a plugin with the data; an error says whose it is and in which line."""
    try:
        value = function(*data)
    except RegistryError:
        raise
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        where = f" ({frames[0].filename}:{frames[0].lineno}: {frames[0].line})" if frames else ""
        message = str(error).strip().partition("\n")[0]
        raise BrokenPluginError(
            f"'{plugin.name}' of package {plugin.origin} raised {type(error).__name__}: {message}{where}"
        ) from error
    if callable(value) and not hasattr(value, "shape"):
        raise BrokenPluginError(
            f"'{plugin.name}' of package {plugin.origin} returned a function when it was called with the data: "
            "are its first parameters the data, or is it a factory?"
        )
    if value is None:
        raise BrokenPluginError(f"'{plugin.name}' of package {plugin.origin} returned None; is a `return` missing?")
    return value


def _show(noun: str, plugin: Plugin, params: dict[str, Any]) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in params.items())
    return f"<{noun} {plugin.qualified_name}({shown})>"


def _config(plugin: Plugin, params: dict[str, Any]) -> dict[str, Any]:
    return {"plugin": plugin.qualified_name, "version": plugin.version, "parameters": params}


@keras.saving.register_keras_serializable("lossreg")
class RegisteredLoss(keras.losses.Loss):
    """A registered loss, as Keras takes it.

    The plugin is handed `y_true` and `y_pred` of the same rank, as Keras does for its own functions; what it returns
    per sample is weighted by `sample_weight` and reduced: averaged, or as a plugin that is a `keras.losses.Loss` says.
    A `keras.losses.Loss` with a `__call__` of its own does all of this itself.

    Arguments:
        plugin: where the loss comes from.
        function: called with `(y_true, y_pred)`.
        parameters: what the function was made with.
    """

    def __init__(self, plugin: Plugin, function: Any, parameters: dict[str, Any]) -> None:
        self._is_keras_loss = isinstance(function, keras.losses.Loss)
        if self._is_keras_loss:
            super().__init__(name=plugin.name, reduction=function.reduction, dtype=function.dtype)
        else:
            super().__init__(name=plugin.name)
        self.plugin = plugin
        self.parameters = parameters
        self._function: Any = function

    def __repr__(self) -> str:
        return _show("loss", self.plugin, self.parameters)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss: a scalar, unless the reduction is `"none"`."""
        if self._is_keras_loss and type(self._function).__call__ is not keras.losses.Loss.__call__:
            self._function.reduction = self.reduction
            return self._function(y_true, y_pred, sample_weight=sample_weight)
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss per sample, or one scalar if the plugin reduces by itself.

        Arguments:
            y_true: targets, of shape `(batch, …)`.
            y_pred: predictions, of the same rank; a trailing axis of one is added or removed where they differ.

        Raises:
            ShapeError: if the result has an axis that the predictions do not have: a broadcasting bug.
        """
        function = self._function.call if self._is_keras_loss else self._function
        if not keras.tree.is_nested(y_true) and not keras.tree.is_nested(y_pred):
            y_true, y_pred = _same_rank(y_true, y_pred)
        value = _call(self.plugin, function, y_true, y_pred)
        if not keras.tree.is_nested(y_pred):
            self._refuse_broadcast(keras.ops.shape(value), keras.ops.shape(y_pred))
        return value

    def _refuse_broadcast(self, value: tuple[Any, ...], y_pred: tuple[Any, ...]) -> None:
        known = all(
            not isinstance(size, int) or size == 1 or not isinstance(expected, int) or size == expected
            for size, expected in zip(value, y_pred, strict=False)
        )
        if len(value) > len(y_pred) or not known:
            raise ShapeError(
                f"loss '{self.plugin.name}' ({self.plugin.origin}) returned a value of shape {tuple(value)} for "
                f"predictions of shape {tuple(y_pred)}: every target was compared with every prediction. "
                "Keep the last axis of both, or remove it from both."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the qualified name and the parameters; `from_config` makes an equal loss of them."""
        return {"reduction": self.reduction, **_config(self.plugin, self.parameters)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RegisteredLoss:
        """Create the loss again, through the registry."""
        import registry

        loss = create_again(registry.losses, config)
        loss.reduction = config["reduction"]
        return loss


def _same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Add or remove a trailing axis of one where the ranks differ by one, so that `(n,)` meets `(n, 1)` elementwise."""
    true_rank, pred_rank = len(y_true.shape), len(y_pred.shape)
    if true_rank == pred_rank + 1 and y_true.shape[-1] == 1:
        if pred_rank == 1:  # the last axis of (n,) is the batch, over which no loss may reduce
            y_pred = keras.ops.expand_dims(y_pred, axis=-1)
        else:
            y_true = keras.ops.squeeze(y_true, axis=-1)
    elif pred_rank == true_rank + 1 and y_pred.shape[-1] == 1:
        y_true = keras.ops.expand_dims(y_true, axis=-1)
    return y_true, y_pred


@keras.saving.register_keras_serializable("lossreg")
class RegisteredRegularizer(keras.regularizers.Regularizer):
    """A registered regularizer, as Keras takes it.

    Arguments:
        plugin: where the regularizer comes from.
        function: called with the weights; returns a scalar.
        parameters: what the function was made with.
    """

    def __init__(self, plugin: Plugin, function: Callable[..., Any], parameters: dict[str, Any]) -> None:
        self.plugin = plugin
        self.parameters = parameters
        self._function = function

    def __repr__(self) -> str:
        return _show("regularizer", self.plugin, self.parameters)

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of a tensor of weights: a scalar.

        Raises:
            ShapeError: if the plugin returns anything but a scalar, which Keras would sum up silently.
        """
        value = _call(self.plugin, self._function, weights)
        if len(keras.ops.shape(value)):
            raise ShapeError(
                f"regularizer '{self.plugin.name}' ({self.plugin.origin}) returned a value of shape "
                f"{tuple(keras.ops.shape(value))}; a penalty is a scalar. Sum it over the weights."
            )
        return value

    def get_config(self) -> dict[str, Any]:
        """Return the qualified name and the parameters; `from_config` makes an equal regularizer of them."""
        return _config(self.plugin, self.parameters)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RegisteredRegularizer:
        """Create the regularizer again, through the registry."""
        import registry

        return create_again(registry.regularizers, config)
