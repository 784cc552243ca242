"""What the registries create of losses and regularizers: objects of Keras whose attributes are their parameters.

This module imports Keras.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras

from lossreg._bound import Bound, unreduced
from lossreg._errors import ShapeError
from lossreg._spec import Spec
from lossreg._tensors import CROSSED, crossing
from lossreg._terms import recorded


@keras.saving.register_keras_serializable("lossreg")
class RegisteredLoss(Bound, keras.losses.Loss):
    """A registered loss, as Keras takes it.

    A function is handed `y_true` and `y_pred` of the same rank, as Keras does; what it returns per sample is weighted
    by `sample_weight` and reduced: averaged, or as a plugin that is a `keras.losses.Loss` says.
    A `keras.losses.Loss` with a `__call__` of its own does all of this itself.

    Arguments:
        spec: the plugin with its parameters, called with `(y_true, y_pred)`.
    """

    def __init__(self, spec: Spec) -> None:
        keras.losses.Loss.__init__(self, name=spec.plugin.name)
        self._tried: dict[tuple[int, int], str | None] = {}
        self._warned = False
        Bound.__init__(self, spec)
        function: Any = self._function
        self._is_keras_loss = isinstance(function, keras.losses.Loss)
        if self._is_keras_loss:
            keras.losses.Loss.__init__(self, spec.plugin.name, function.reduction, function.dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss: a scalar, unless the reduction is `"none"`."""
        data = y_true, y_pred, sample_weight
        terms = {"": self, **self._terms}
        return recorded(self, terms, lambda: self._reduce(*data), lambda term: _Reduced(self, term)(*data))

    def _reduce(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        if self._is_keras_loss and type(self._function).__call__ is not keras.losses.Loss.__call__:
            function: Any = self._function_for((y_true, y_pred))
            function.reduction = self.reduction
            return self._finish(function(y_true, y_pred, sample_weight=sample_weight))
        return keras.losses.Loss.__call__(self, y_true, y_pred, sample_weight=sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss per sample, or one scalar if the plugin reduces by itself.

        Arguments:
            y_true: targets, of shape `(batch, …)`.
            y_pred: predictions; for a function a trailing axis of one is added or removed where the ranks differ.

        Raises:
            ShapeError: if every target was compared with every prediction: a broadcasting bug.
        """
        if keras.tree.is_nested(y_true) or keras.tree.is_nested(y_pred):
            return self._call(y_true, y_pred)
        # Keras hands an object the data as they are; one that would broadcast them is handed equal ranks, too.
        if not self._is_keras_loss or self._crossing(y_true, y_pred) == CROSSED:
            y_true, y_pred = _same_rank(y_true, y_pred)
        value = self._call(y_true, y_pred)
        if not self._in_trace and not self._terms:  # terms look after themselves
            self._refuse_broadcast(keras.ops.shape(value), y_true, y_pred)
        return value

    def _crossing(self, y_true: Any, y_pred: Any) -> str | None:
        """Say how the samples of a batch meet in it; tried once for data of these ranks."""
        ranks = len(y_true.shape), len(y_pred.shape)
        if ranks not in self._tried:
            self._tried[ranks] = crossing(lambda: unreduced(self._make({})), y_true, y_pred)
        return self._tried[ranks]

    def _refuse_broadcast(self, value: tuple[Any, ...], y_true: Any, y_pred: Any) -> None:
        """Refuse to compare every target with every prediction; warn once where that is in doubt."""
        found, shape = self._crossing(y_true, y_pred), tuple(y_pred.shape)
        if found is None:  # all that is known of it is the shape of its value
            sizes = zip(value, shape, strict=False)
            odd = any({type(a), type(b)} == {int} and a not in (1, b) for a, b in sizes) or len(value) > len(shape)
            found = f"perhaps {CROSSED}" if odd else ""
        declared = (getattr(x, "lossreg_per_sample", True) for x in (self.plugin.load(), self._function))
        if not found or (self._warned and found != CROSSED) or not all(declared):
            return
        message = (
            f"loss '{self.plugin.name}' ({self.plugin.origin}) returned a value of shape {tuple(value)} for "
            f"predictions of shape {shape}: {found}. Keep the last axis of both, or remove it from both. If it relates "
            "the samples of a batch on purpose, declare it by its attribute: lossreg_per_sample = False."
        )
        if found == CROSSED:
            raise ShapeError(message)
        self._warned = True
        warnings.warn(message, stacklevel=2)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes an equal loss of."""
        return {"reduction": self.reduction, **super().get_config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RegisteredLoss:
        """Create the loss again, through the registry."""
        loss: RegisteredLoss = super().from_config(config)
        loss.__dict__["reduction"] = config["reduction"]  # a parameter may be called so, too
        return loss


class _Reduced(keras.losses.Loss):
    """A term, weighted and reduced by Keras as the loss is that it is a term of."""

    def __init__(self, loss: keras.losses.Loss, value: Any) -> None:
        super().__init__(loss.name, loss.reduction, loss.dtype)
        self.value = value

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.value


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
class RegisteredRegularizer(Bound, keras.regularizers.Regularizer):
    """A registered regularizer, as Keras takes it.

    Arguments:
        spec: the plugin with its parameters, called with the weights; it returns a scalar.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._function  # noqa: B018  # what cannot be made is refused here, not in training

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of a tensor of weights: a scalar.

        Raises:
            ShapeError: if the plugin returns anything but a scalar, which Keras would sum up silently.
        """
        value = self._call(weights)
        if len(keras.ops.shape(value)):
            raise ShapeError(
                f"regularizer '{self.plugin.name}' ({self.plugin.origin}) returned a value of shape "
                f"{tuple(keras.ops.shape(value))}; a penalty is a scalar. Sum it over the weights."
            )
        return value
