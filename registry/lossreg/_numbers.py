"""What may stand in the place of a number, and change while a model trains. This module imports Keras."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from lossreg._errors import BrokenPluginError, ParameterError
from lossreg._saving import Created
from lossreg._spec import Spec, is_number

Step = Any
"""The number of training steps done: an integer scalar, a variable that holds it, or a function that returns one."""


class Number(ABC):
    """A parameter of a created loss or regularizer that is a real number.

    It is read as a number, and handed to the plugin as a scalar tensor where it may change.
    """

    noun = "number"
    changes = True
    """Whether the plugin must be handed it anew at every call."""
    follows = False
    """Whether it needs a model to follow: see `lossreg.attach`."""
    attached = False
    """Whether it has one."""
    saved_as: int | None = None
    """What tells whether two numbers in one saved model had one variable."""

    @property
    def trained(self) -> Any:
        """The variable that is trained with the weights of a model, or `None`."""
        return None

    def follow(self, step: Step) -> None:
        """Follow the steps of a model."""
        self.attached = True

    def share(self, variable: Any) -> None:
        """Train this variable in the place of its own."""
        raise TypeError(f"a {self.noun} has no variable")

    @abstractmethod
    def value(self) -> Any:
        """Return a scalar, a tensor or a variable, that has the value whenever it is computed."""

    def now(self) -> float:
        """Return the value that it has now."""
        return float(self.value())

    def tensor(self, dtype: str) -> Any:
        """Return the value as a tensor of this dtype; a gradient flows through what is learned."""
        return tf.cast(self.value(), dtype)

    def assign(self, value: float) -> None:
        """Set the value.

        Raises:
            ParameterError: if it cannot be set, or not to this.
        """
        raise ParameterError(f"it is a {self.noun}, which is not assigned")

    def config(self) -> Any:
        """Return what a config has in this place."""
        return self.now()


class Constant(Number):
    """A number; compiled code reads it from a variable, so that another can be assigned."""

    noun = "constant"
    changes = False

    def __init__(self, value: float) -> None:
        self._value = value
        self._variable: Any = None

    def __repr__(self) -> str:
        return repr(self._value)

    def now(self) -> float:
        return self._value

    def value(self) -> Any:
        if self._variable is None:
            with tf.init_scope():  # exact in every dtype
                self._variable = tf.Variable(self._value, dtype=tf.float64, trainable=False)
        return self._variable

    def assign(self, value: float) -> None:
        if why := needs_tensorflow():
            raise ParameterError(f"a number that changes {why}")
        self._value = value
        if self._variable is not None:
            self._variable.assign(value)


class HandedIn(Number):
    """A scalar variable that somebody handed in."""

    noun = "variable"

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def __repr__(self) -> str:
        with tf.init_scope():  # Keras shows a loss while it compiles it
            return f"<Variable {self.now():g}>"

    @property
    def trained(self) -> Any:
        return self.variable if isinstance(self.variable, keras.Variable) and self.variable.trainable else None

    def share(self, variable: Any) -> None:
        self.variable = variable

    def value(self) -> Any:
        return self.variable

    def assign(self, value: float) -> None:
        self.variable.assign(value)


class Scheduled(Number):
    """A number that is a function of the training step, by a schedule of Keras."""

    noun = "schedule"
    follows = True

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        self._step: Step = 0

    def __repr__(self) -> str:
        return repr(self.schedule)

    def follow(self, step: Step) -> None:
        super().follow(step)
        self._step = step

    def value(self) -> Any:
        return self.schedule(self._step() if callable(self._step) else self._step)

    def config(self) -> Any:
        # A schedule of Keras is saved by Keras.
        return self.schedule.node if isinstance(self.schedule, RegisteredSchedule) else self.schedule


class LearnedNumber(Created, Number):
    """A number that is learned: an unconstrained variable is trained, and the plugin maps it to the number.

    Arguments:
        spec: the plugin with its parameters: an object with the value at the start, `initial`; called with what is
            trained, it returns the value; `inverse(value)` returns what is trained at a value, a float. Where it has a
            method `penalty`, what that returns of what is trained is added to the loss.

    Raises:
        BrokenPluginError: if the plugin is no such object.
        ParameterError: if the value at the start is out of bounds.
    """

    noun = "learned number"
    follows = True

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._function: Any = spec.bind(self.parameters)
        self._unconstrained: Any = None
        if not hasattr(self._function, "initial") or not callable(getattr(self._function, "inverse", None)):
            raise spec.plugin.broken(
                "a learned number is a class whose objects have an attribute `initial` and a method `inverse(value)`, "
                "and are called with what is trained."
            )
        if tf.executing_eagerly():
            self.start()  # refuses a value out of bounds at once

    def value(self) -> Any:
        return self._function(tf.convert_to_tensor(self.trained))

    def start(self) -> float:
        """Return what is trained as it is at the start; a `ParameterError` if that is out of bounds."""
        return self._inverse(self._function.initial)

    @property
    def trained(self) -> Any:
        """What is trained: a scalar `keras.Variable`, or a tensor that was put in its place."""
        if self._unconstrained is None:
            with tf.init_scope():
                self._unconstrained = keras.Variable(self.start(), dtype="float32", name=self.plugin.name)
        return self._unconstrained

    def share(self, variable: Any) -> None:
        self._unconstrained = variable

    def assign(self, value: float) -> None:
        self.trained.assign(self._inverse(value))

    def config(self) -> Any:
        return self.node

    def penalty(self) -> Any:
        """Return what is added to the loss, a scalar tensor, or `None`."""
        penalty = getattr(self._function, "penalty", None)
        return penalty(tf.convert_to_tensor(self.trained)) if penalty else None

    def _inverse(self, value: float) -> float:
        try:
            found = float(self._function.inverse(value))
        except (ValueError, ArithmeticError) as error:
            raise ParameterError(f"{self._spec.owner}: {error}") from error
        except Exception as error:
            what = f"inverse({value!r}) raised {type(error).__name__}: {error}"
            raise BrokenPluginError(f"{self._spec.owner}: {what}") from error
        if not math.isfinite(found):
            raise ParameterError(f"{self._spec.owner}: {value:g} is not a value that it can have")
        return found


@keras.saving.register_keras_serializable("lossreg")
class RegisteredSchedule(Created, keras.optimizers.schedules.LearningRateSchedule):
    """A registered schedule, as Keras takes it: called with the step, it returns a scalar."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._function: Callable[[Any], Any] = spec.bind(self.parameters)

    def __call__(self, step: Any) -> Any:
        """Return the value at a step, counted from 0: a scalar."""
        try:
            return self._function(step)
        except Exception as error:
            raise BrokenPluginError(f"{self._spec.owner} raised {type(error).__name__}: {error}") from error


def needs_tensorflow() -> str:
    """Say what a number that changes needs, where that is not there; an empty string where it is."""
    backend = keras.backend.backend()
    return "" if backend == "tensorflow" else f"needs the TensorFlow backend of Keras, and this is {backend}"


def number_of(value: Any) -> Number | None:
    """Return the number that a value is or may become, or `None` for anything else, tensors included."""
    if isinstance(value, LearnedNumber):
        return value
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return Scheduled(value)
    if isinstance(value, (keras.Variable, tf.Variable)) and len(value.shape) == 0:
        return HandedIn(value)
    return Constant(value) if is_number(value) else None
