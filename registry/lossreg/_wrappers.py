"""What the registries create of losses and regularizers: objects of Keras whose attributes are their parameters.

This module imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from lossreg._bound import Bound, bound_of
from lossreg._errors import ShapeError, did_you_mean
from lossreg._kinds import losses, regularizers
from lossreg._numbers import HandedIn, Number, Step
from lossreg._plugin import Plugin
from lossreg._saving import config_of, create_again, show
from lossreg._spec import Spec


class _Registered:
    """A plugin with its parameters, as an object whose attributes are the parameters."""

    _bound: Bound | None = None

    @property
    def plugin(self) -> Plugin:
        """Where it comes from."""
        return bound_of(self).plugin

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that were given, with the values that they have now, as a config has them."""
        return bound_of(self).parameters

    @property
    def numbers(self) -> dict[str, Number]:
        """Its numbers by path, those of terms inside of it included: `"r"`, `"weights.a"`, `"terms.a.r"`."""
        return bound_of(self).numbers

    def follow(self, step: Step, static: bool = False) -> None:
        """Let its schedules follow a step, and take what it learns for trained; `lossreg.attach` does it for a model.

        Arguments:
            step: the number of training steps done: an integer scalar, a variable that holds it, or a function that
                returns one of these.
            static: whether constants are numbers in compiled code, too, so that they cannot be assigned after
                compiling.
        """
        bound_of(self).follow(step, static)

    def __getattr__(self, name: str) -> Any:
        if self._bound is None or name.startswith("_"):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return self._bound.read(name)

    def __setattr__(self, name: str, value: Any) -> None:
        bound = self._bound
        if bound is None or name.startswith("_") or name in self.__dict__ or hasattr(type(self), name):
            super().__setattr__(name, value)
        elif name in bound.own_numbers:
            bound.assign(name, value)
        else:
            hint = did_you_mean(name, bound.own_numbers)
            raise AttributeError(f"{bound.owner} has no number '{name}' that could be assigned.{hint}")

    def __repr__(self) -> str:
        bound = bound_of(self)
        shown = show(bound.given(lambda number: number, lambda term: term))
        return f"<{bound.owner.partition(' ')[0]} {bound.plugin.qualified_name}({shown})>"

    def __reduce__(self) -> Any:
        return type(self).from_config, (self.get_config(),)

    def get_config(self) -> dict[str, Any]:
        """Return the qualified name, the parameters, and what was learned: what `from_config` makes it again of."""
        learned = {
            path: {"value": float(trained), "variable": id(trained)}
            for path, number in self.numbers.items()
            if (number.follows or number.attached) and (trained := number.trained) is not None
        }
        return config_of(self) | ({"learned": learned} if learned else {})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Create it again, through the registry."""
        created = create_again(losses if issubclass(cls, RegisteredLoss) else regularizers, config)
        for path, learned in config.get("learned", {}).items():
            number = created.numbers[path]
            if number.trained is None:  # it was handed in
                number = HandedIn(keras.Variable(learned["value"]))
                bound_of(created).put(path, number)
            number.trained.assign(learned["value"])
            number.saved_as = learned["variable"]
        return created


@keras.saving.register_keras_serializable("lossreg")
class RegisteredLoss(_Registered, keras.losses.Loss):
    """A registered loss, as Keras takes it.

    The plugin is handed `y_true` and `y_pred` of the same rank, as Keras does for its own functions; what it returns
    per sample is weighted by `sample_weight` and reduced: averaged, or as a plugin that is a `keras.losses.Loss` says.
    A `keras.losses.Loss` with a `__call__` of its own does all of this itself.

    Arguments:
        spec: the plugin with its parameters, called with `(y_true, y_pred)`.
    """

    def __init__(self, spec: Spec) -> None:
        bound = Bound(spec)
        function: Any = bound.function
        self._is_keras_loss = isinstance(function, keras.losses.Loss)
        if self._is_keras_loss:
            super().__init__(name=bound.plugin.name, reduction=function.reduction, dtype=function.dtype)
        else:
            super().__init__(name=bound.plugin.name)
        self._bound = bound

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss: a scalar, unless the reduction is `"none"`."""
        bound = bound_of(self)
        if self._is_keras_loss and type(bound.function).__call__ is not keras.losses.Loss.__call__:
            function: Any = bound.function_for((y_true, y_pred))
            function.reduction = self.reduction
            return bound.finish(function(y_true, y_pred, sample_weight=sample_weight))
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss per sample, or one scalar if the plugin reduces by itself.

        Arguments:
            y_true: targets, of shape `(batch, …)`.
            y_pred: predictions, of the same rank; a trailing axis of one is added or removed where they differ.

        Raises:
            ShapeError: if the result has an axis that the predictions do not have: a broadcasting bug.
        """
        if not keras.tree.is_nested(y_true) and not keras.tree.is_nested(y_pred):
            y_true, y_pred = _same_rank(y_true, y_pred)
        value = bound_of(self)(y_true, y_pred)
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
        """Return what `from_config` makes an equal loss of."""
        return {"reduction": self.reduction, **super().get_config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RegisteredLoss:
        """Create the loss again, through the registry."""
        loss: RegisteredLoss = super().from_config(config)
        loss.reduction = config["reduction"]
        return loss


def _same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Make ranks that differ by one equal, as Keras does for its own functions: `(n,)` meets `(n, 1)` elementwise."""
    lower, higher = sorted((y_true, y_pred), key=lambda x: len(x.shape))
    if len(higher.shape) != len(lower.shape) + 1 or higher.shape[-1] != 1:
        return y_true, y_pred
    if len(lower.shape) == 1:  # the last axis of (n,) is the batch, over which no loss may reduce
        same = keras.ops.expand_dims(lower, axis=-1), higher
    else:
        same = lower, keras.ops.squeeze(higher, axis=-1)
    return same if lower is y_true else same[::-1]


@keras.saving.register_keras_serializable("lossreg")
class RegisteredRegularizer(_Registered, keras.regularizers.Regularizer):
    """A registered regularizer, as Keras takes it.

    Arguments:
        spec: the plugin with its parameters, called with the weights; it returns a scalar.
    """

    def __init__(self, spec: Spec) -> None:
        bound = Bound(spec)
        bound.function  # noqa: B018  # what cannot be made is refused here, not in training
        self._bound = bound

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of a tensor of weights: a scalar.

        Raises:
            ShapeError: if the plugin returns anything but a scalar, which Keras would sum up silently.
        """
        value = bound_of(self)(weights)
        if len(keras.ops.shape(value)):
            raise ShapeError(
                f"regularizer '{self.plugin.name}' ({self.plugin.origin}) returned a value of shape "
                f"{tuple(keras.ops.shape(value))}; a penalty is a scalar. Sum it over the weights."
            )
        return value


def function_of(created: Any) -> Callable[..., Any]:
    """Return the plugin's own function or object, made with numbers."""
    return bound_of(created).function
