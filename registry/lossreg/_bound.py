"""A plugin with its parameters, called with the data; its numbers may change from call to call. Imports Keras."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from lossreg._errors import (
    BrokenPluginError,
    NotAttachedError,
    ParameterError,
    RegistryError,
    did_you_mean,
    is_ctrl_c,
)
from lossreg._numbers import Constant, HandedIn, LearnedNumber, Number, Step, needs_tensorflow, number_of
from lossreg._plugin import settings_kept
from lossreg._saving import Created
from lossreg._signature import PLAIN, check_value
from lossreg._source import STYLE
from lossreg._spec import Spec, is_number, join
from lossreg._tensors import dtype_of, reason, refusal, state_of
from lossreg._terms import Place, recorded


class Bound(Created):
    """A plugin with its parameters; terms, schedules and learned numbers in them are built here.

    Where every parameter is a constant and Keras runs eagerly, the plugin is handed numbers. A schedule or a learned
    number is handed to it as a tensor. So is a constant in compiled code, where the plugin takes it, so that another
    number can be assigned later without compiling again.
    """

    _spec: Any = None  # until it is made

    def __init__(self, spec: Spec) -> None:
        self._described = {parameter.name: parameter for parameter in spec.plugin.parameters}
        self._terms = {p: t.registry.build(t, key=p) if isinstance(t, Spec) else t for p, t in spec.terms.items()}
        self._own: dict[str, Number] = {}
        self._handed_in: dict[str, Any] = {}  # tensors, and what else is no number that could be read
        # What is created inside compiled code belongs to it: nobody can assign to it later.
        self._in_trace = not tf.executing_eagerly()
        self._static = False
        self._taken: frozenset[str] | None = None
        self._refused: dict[str, str] = {}
        self._made: tuple[list[Any], Callable[..., Any]] | None = None
        for name, parameter in self._described.items():  # what is learned is told apart by its place in a saved model
            inside = [path for path in spec.numbers if path.partition(".")[0] == name]
            for path in inside:
                if (number := number_of(_built(path, spec.numbers[path]))) is None:
                    self._handed_in[path] = spec.numbers[path]
                    continue
                if number.changes and (why := needs_tensorflow()):
                    raise ParameterError(f"{path}: {spec.owner}: a {number.noun} {why}.")
                self._own[path] = number
            setting = spec.settings.get(name)
            if not isinstance(setting, PLAIN) and number_of(setting):
                owner = f"{name}: {spec.owner}"
                raise ParameterError(f"{owner} takes {parameter.type_name} for '{name}', not {setting!r}.")
        self._spec = spec

    @property
    def numbers(self) -> dict[str, Number]:
        """The numbers by path, those of plugins inside of it included: `"r"`, `"weights.a"`, `"terms.a.r"`."""
        inside = {
            f"{path}.{name}": number for path, term in self._terms.items() for name, number in term.numbers.items()
        }
        return self._own | inside

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters with the values that they have now, as a config has them."""
        return self._arguments(
            lambda _, value: value.config() if isinstance(value, Number) else value, lambda _, term: term.node
        )

    def _shown(self) -> dict[str, Any]:
        return self._arguments(lambda _, number: number, lambda _, term: term)

    def __getattr__(self, name: str) -> Any:
        if self._spec is None or (name.startswith("_") and name not in self._described):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        if name in self._own:
            return self._own[name].now()
        parameter = self._described.get(name)
        if parameter is None:
            hint = did_you_mean(name, self._described)
            raise AttributeError(f"{self._spec.owner} has no parameter or attribute '{name}'.{hint}")
        value = self._shown().get(name, None if parameter.required else parameter.default)
        if not isinstance(value, Mapping):
            return value
        return _Numbers(self, name, value) if parameter.takes_numbers else MappingProxyType(value)

    def __setattr__(self, name: str, value: Any) -> None:
        ours = hasattr(type(self), name) or name in self.__dict__
        if ours and self._spec is not None and name in self._own:
            what = f"'{name}' is a method here, or an attribute of Keras's"
            raise AttributeError(f"{self._spec.owner}: {what}. Use .numbers['{name}'].assign(…).")
        if self._spec is None or ours or (name.startswith("_") and name not in self._own):
            super().__setattr__(name, value)
        elif name in self._own:
            self._assign(name, value)
        else:
            hint = did_you_mean(name, self._own)
            raise AttributeError(f"{self._spec.owner} has no number '{name}' that could be assigned.{hint}")

    def __reduce__(self) -> Any:
        return type(self).from_config, (self.get_config(),)

    def get_config(self) -> dict[str, Any]:
        """Return the qualified name, the parameters, and what was learned: what `from_config` makes it again of."""
        learned = {
            path: {"value": float(trained), "variable": id(trained)}
            for path, number in self.numbers.items()
            if (number.follows or number.attached) and (trained := number.trained) is not None
        }
        return super().get_config() | ({"learned": learned} if learned else {})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Create it again, through the registry; see `Created.from_config`."""
        created = super().from_config(config)
        for path, learned in config.get("learned", {}).items():
            number = created.numbers[path]
            if number.trained is None:  # it was handed in
                number = HandedIn(keras.Variable(learned["value"]))
                created._put(path, number)
            number.trained.assign(learned["value"])
            number.saved_as = learned["variable"]
        return created

    def _assign(self, path: str, value: Any) -> None:
        """Set a number, by its path.

        Raises:
            ParameterError: if the value is no number or out of bounds, the number is a schedule's, or the model was
                compiled with the number itself since the plugin does not take a tensor in its place.
        """
        number = self._own[path]
        name, _, key = path.partition(".")
        parameter = self._described[name]
        if getattr(value, "shape", None) == ():
            value = keras.ops.convert_to_numpy(value).item()
        given = check_value(parameter, {key: value} if key else value, where=path, owner=self._spec.owner)
        value = given[key] if key else given
        if not is_number(value):
            raise ParameterError(f"{self._spec.owner} takes {parameter.type_name} for '{path}', not {value!r}.")
        if not number.changes and self._taken is not None and path not in self._taken:
            raise ParameterError(
                f"{self._spec.owner}: '{path}' cannot be assigned, since a model was compiled with it as a number: "
                f"{self._refused[path]}. Create the {self._spec.owner.partition(' ')[0]} anew, and compile with that."
            )
        try:
            number.assign(value)
        except ParameterError as error:
            raise ParameterError(f"{self._spec.owner}: '{path}' cannot be assigned: {error}") from error

    def _put(self, path: str, number: Number) -> None:
        """Put a number in the place of another, also in a term."""
        for where, term in self._terms.items():
            if path.startswith(f"{where}."):
                term._put(path.removeprefix(f"{where}."), number)
                return
        self._own[path] = number

    def follow(self, step: Step, static: bool = False) -> None:
        """Let its schedules follow a step, and take what it learns for trained; `lossreg.attach` does it for a model.

        Arguments:
            step: the number of training steps done: an integer scalar, a variable that holds it, or a function that
                returns one of these.
            static: whether constants are numbers in compiled code, too, so that they cannot be assigned after
                compiling.
        """
        if static != self._static:
            self._static, self._taken = static, None
        for number in self._own.values():
            number.follow(step)
        for term in self._terms.values():
            term.follow(step, static)

    @property
    def _function(self) -> Callable[..., Any]:
        """What is called with the data, made with numbers."""
        values = [number.now() for number in self._own.values() if isinstance(number, Constant)]
        if self._made is None or self._made[0] != values:
            # It is kept for later calls.
            with contextlib.nullcontext() if self._in_trace else tf.init_scope():
                self._made = values, self._make({})
        return self._made[1]

    def _call(self, *data: Any) -> Any:
        """Call the plugin with the data: what a loss of Keras returns per sample, what else returns when called."""
        return recorded(self, self._terms, lambda: self._called(data), lambda term: term)

    def _called(self, data: tuple[Any, ...]) -> Any:
        try:
            with settings_kept():
                value = unreduced(self._function_for(data))(*data)
        except RegistryError:
            raise
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise self._failed(f"raised {reason(error)}") from error
        if callable(value) and not hasattr(value, "shape"):
            what = "returned a function when it was called with the data"
            raise self._failed(f"{what}. If it is a factory, say so by its attribute {STYLE} = 'factory'")
        if value is None:
            raise self._failed("returned None; is a `return` missing?")
        return self._finish(value)

    def _finish(self, value: Any) -> Any:
        """Return a value of the plugin with the penalties of what is learned added."""
        for number in self._own.values():
            if isinstance(number, LearnedNumber) and (penalty := number.penalty()) is not None:
                value = value + tf.cast(penalty, value.dtype)
        return value

    def _function_for(self, data: tuple[Any, ...]) -> Callable[..., Any]:
        """Return what is called with the data: made with tensors where a number may change."""
        changing = [path for path, number in self._own.items() if number.changes]
        for path in changing:
            if self._own[path].follows and not self._own[path].attached:
                raise NotAttachedError(
                    f"{self._spec.owner}: '{path}' is a {self._own[path].noun}, which follows a model's training. "
                    "Call lossreg.attach(model) after model.compile(…)."
                )
        compiled = not tf.executing_eagerly() and not self._in_trace
        paths: Iterable[str] = self._takes_tensors(data) if compiled else changing
        if changing and not self._in_trace:
            self._require_tensors(changing, data)
        if not paths:
            return self._function
        dtype = dtype_of(data)
        return self._make({path: self._own[path].tensor(dtype) for path in paths})

    def _arguments(self, number: Callable[[str, Any], Any], term: Callable[[str, Any], Any]) -> dict[str, Any]:
        live = replace(self._spec, numbers=self._own | self._handed_in, terms=self._terms)
        return live.arguments(number, term)

    def _make(self, chosen: Mapping[str, Any]) -> Callable[..., Any]:
        """Make the function or the object with some of the numbers replaced."""

        def value(path: str, number: Any) -> Any:
            if path in chosen or not isinstance(number, Number):
                return chosen.get(path, number)
            if self._in_trace and number.changes:
                return tf.ones(())  # stands for the tensor with which what is called will be made
            with tf.init_scope():  # also while code is being compiled
                return number.now()

        # A loss inside a loss is not reduced.
        arguments = self._arguments(value, lambda path, term: getattr(term, "call", term))
        return self._spec.bind(arguments)

    def _takes_tensors(self, data: tuple[Any, ...]) -> frozenset[str]:
        """Return the paths of the numbers that the plugin takes as tensors, found out at the first call."""
        if self._taken is None:
            every = frozenset(path for path, number in self._own.items() if number.changes or not self._static)
            self._refused = dict.fromkeys(self._own, "lossreg.attach(model, static=True) said so")
            if every and self._refusal(every, data):
                reasons = {path: self._refusal({path}, data) for path in every}
                self._refused |= {path: why for path, why in reasons.items() if why}
                every = frozenset(path for path, why in reasons.items() if not why)
                if together := self._refusal(every, data) if every else "":
                    self._refused |= dict.fromkeys(every, together)
                    every = frozenset()
            self._taken = every
        return self._taken

    def _refusal(self, paths: Iterable[str], data: tuple[Any, ...]) -> str:
        if state := state_of(self._function):
            return f"it holds {state}, which would be made anew"
        with tf.init_scope():
            numbers = {path: self._own[path].now() for path in paths}
        return refusal(lambda tensors: unreduced(self._make(tensors)), numbers, data)

    def _require_tensors(self, paths: Iterable[str], data: tuple[Any, ...]) -> None:
        taken = self._takes_tensors(data)
        for path in paths:
            if path in taken:
                continue
            if not state_of(self._function) and (broken := self._refusal((), data)):  # in any case
                raise self._failed(f"raised {broken}")
            raise BrokenPluginError(
                f"{self._spec.owner} does not take a {self._own[path].noun} for '{path}', since that is a tensor: "
                f"{self._refused[path]}"
            )

    def _failed(self, what: str) -> BrokenPluginError:
        return BrokenPluginError(f"'{self.plugin.name}' of package {self.plugin.origin} {what}")


class _Numbers(dict[str, Any]):
    """The values of a parameter that maps to numbers; they are assigned by key."""

    def __init__(self, bound: Bound, name: str, values: Mapping[str, Any]) -> None:
        super().__init__({key: value.now() if isinstance(value, Number) else value for key, value in values.items()})
        self._bound, self._name = bound, name

    def __setitem__(self, key: str, value: float) -> None:
        path, known = f"{self._name}.{key}", ", ".join(self) or "none"
        if path not in self._bound._own:
            owner = self._bound._spec.owner
            raise ParameterError(f"{owner} was given no number for '{path}'; in {self._name}: {known}")
        self._bound._assign(path, value)
        super().__setitem__(key, self._bound._own[path].now())


def columns(created: Mapping[str, Any]) -> dict[str, Place]:
    """Return what has a column, by name: the regularizers, and every term, of what was created by its name."""

    def inside(owner: Any) -> list[str]:
        return ["", *(join(path, inner) for path, term in owner._terms.items() for inner in inside(term))]

    return {
        join(name, path): Place(id(owner), path, is_penalty)
        for name, owner in created.items()
        if isinstance(owner, Bound)
        for is_penalty in [isinstance(owner, keras.regularizers.Regularizer)]
        for path in inside(owner)[not is_penalty :]
    }


def function_of(created: Bound) -> Callable[..., Any]:
    """Return the plugin's own function or object, made with numbers."""
    return created._function


def unreduced(function: Any) -> Callable[..., Any]:
    """Return what a plugin's object is called by: a Keras loss by what computes per sample, if it has that."""
    is_loss = isinstance(function, keras.losses.Loss) and type(function).call is not keras.losses.Loss.call
    called: Callable[..., Any] = function.call if is_loss else function
    return called


def _built(path: str, value: Any) -> Any:
    if not isinstance(value, Spec):
        return value
    try:
        return value.registry.build(value)
    except ParameterError as error:  # a value out of bounds
        raise ParameterError(f"{path}: {error}") from error
