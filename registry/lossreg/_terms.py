"""What terms and penalties come to in each step, recorded where they are computed anyway. This module imports Keras."""

from __future__ import annotations

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from lossreg._spec import join


class Place(NamedTuple):
    """What has a column: a term, by its path inside of what Keras calls, or a penalty itself, whose path is empty."""

    owner: int  # the id of what Keras calls
    path: str
    is_penalty: bool


class Recording(dict[tuple[int, str], list[Any]]):
    """What came of the calls in one piece of code, a step or a call of one plugin, by owner and path."""

    def __init__(self) -> None:
        self._graph = _graph()

    def add(self, place: tuple[int, str], value: Any) -> None:
        """Keep a value, unless it belongs to a branch or a loop, outside of which it means nothing."""
        if _graph() is self._graph:
            self.setdefault(place, []).append(value)

    def totals(self, places: Iterable[Place], regularizers: Iterable[Any], rows: Any) -> list[Any]:
        """Return the sums over the calls: 0 of what was not called, NaN of a term that was not seen.

        The regularizers are those of the weights; what else they were called with are outputs, of so many rows.
        """
        called = Counter(map(id, regularizers))

        def total(place: Place) -> Any:
            values = self.get(place[:2], [math.nan if (place.owner, "") in self else 0.0])
            of_outputs = len(values) - called[place.owner] if place.is_penalty and _divides() else 0
            values = [value / rows if i < of_outputs else value for i, value in enumerate(values)]
            return sum(keras.ops.mean(keras.ops.cast(value, keras.config.floatx())) for value in values)

        return [*map(total, places)]


_open: ContextVar[Recording | None] = ContextVar("recording", default=None)


def _graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


@functools.cache
def _divides() -> bool:
    """Whether Keras divides the penalty of a layer's outputs by the size of the batch, as newer versions do."""
    with tf.init_scope():
        layer = keras.layers.ActivityRegularization(l1=1.0)
        layer(keras.ops.ones((2, 1)))
        return float(layer.losses[0]) < 2


@contextlib.contextmanager
def recording() -> Iterator[Recording]:
    """Record what is called here, and hide it from what records around it."""
    token = _open.set(found := Recording())
    try:
        yield found
    finally:
        _open.reset(token)


def recorded(owner: Any, terms: Mapping[str, Any], call: Callable[[], Any], reduce: Callable[[Any], Any]) -> Any:
    """Return what a call of a plugin returns; where it is recorded, so are its terms, reduced, in the plugin's name.

    A term that is called several times, or stands in several places, is the mean of its calls.
    """
    if (around := _open.get()) is None:
        return call()
    with recording() as inside:
        value = call()
    around.add((id(owner), ""), value)
    for path, term in terms.items():
        for (who, inner), values in inside.items():
            if who == id(term) and (own := join(path, inner)):
                mean = values[0] if len(values) == 1 else sum(values) / len(values)
                around.add((id(owner), own), reduce(mean))
    return value


def watch(
    model: keras.Model, places: Callable[[], Iterable[Place]], keep: Callable[[Any, list[Any], Any, bool], None]
) -> None:
    """In each step of a model call `keep` with the loss, the values, the size of the batch, and whether it trains."""
    compute_loss = model.compute_loss
    _divides()  # which JAX cannot find out in compiled code

    def compute(*args: Any, **kwargs: Any) -> Any:
        with recording() as found:
            loss = compute_loss(*args, **kwargs)
        for place, values in (_open.get() or {}).items():  # of regularizers of outputs, which the forward pass calls
            found[place] = values + found.get(place, [])
        batch = next(x for x in keras.tree.flatten((args, kwargs)) if getattr(x, "shape", None))
        rows = keras.ops.cast(keras.ops.shape(batch)[0], keras.config.floatx())
        regularizers = [weight.regularizer for weight in model.trainable_variables]
        keep(loss, found.totals(places(), regularizers, rows), rows, kwargs.get("training", True))
        return loss

    model.compute_loss = compute
    model.train_step, model.test_step = recording()(model.train_step), recording()(model.test_step)


class Terms(keras.metrics.Metric):
    """The terms and penalties of a model, each the mean over examples that Keras's own `loss` is."""

    def __init__(self) -> None:
        super().__init__(name="terms")

    def hold(self, places: Mapping[str, Place]) -> None:
        """Have these columns, and no others."""
        self.places = dict(places)
        self.totals = self.add_variable((1 + len(places),), "zeros", name="totals")

    def keep(self, loss: Any, values: list[Any], rows: Any, training: bool) -> None:
        """Take what came of a batch."""
        self.totals.assign_add(keras.ops.stack([1.0, *values]) * rows)

    def result(self) -> dict[str, Any]:
        """Return the means by name."""
        rows, *totals = keras.ops.unstack(keras.ops.convert_to_tensor(self.totals))
        return {name: keras.ops.divide_no_nan(x, rows) for name, x in zip(self.places, totals, strict=True)}
