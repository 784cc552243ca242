"""A plugin with its parameters, called with the data; its numbers may change from call to call. Imports Keras."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from lossreg._errors import BrokenPluginError, NotAttachedError, ParameterError, RegistryError, did_you_mean
from lossreg._numbers import Constant, LearnedNumber, Number, Step, number_of
from lossreg._saving import node_of
from lossreg._signature import PLAIN, check_value
from lossreg._spec import Spec, is_number
from lossreg._tensors import dtype_of, reason, refusal, state_of


class Bound:
    """A plugin with its parameters.

    Where every parameter is a constant and Keras runs eagerly, the plugin is handed numbers. A schedule or a learned
    number is handed to it as a tensor. So is a constant in compiled code, where the plugin takes it, so that another
    number can be assigned later without compiling again.

    Arguments:
        spec: the plugin with its parameters; terms, schedules and learned numbers in it are built here.
    """

    def __init__(self, spec: Spec) -> None:
        self.plugin, self.owner = spec.plugin, spec.owner
        self.described = {parameter.name: parameter for parameter in spec.plugin.parameters}
        self.terms = {p: t.registry.build(t, key=p) if isinstance(t, Spec) else t for p, t in spec.terms.items()}
        self.own_numbers: dict[str, Number] = {}
        self._handed_in: dict[str, Any] = {}  # tensors, and what else is no number that could be read
        self._spec = spec
        # What is created inside compiled code belongs to it: nobody can assign to it later.
        self._in_trace = not tf.executing_eagerly()
        self._static = False
        self._taken: frozenset[str] | None = None
        self._refused: dict[str, str] = {}
        self._made: tuple[list[Any], Callable[..., Any]] | None = None
        for path, value in spec.numbers.items():
            if (number := number_of(_built(path, value))) is None:
                self._handed_in[path] = value
            else:
                self.own_numbers[path] = number
        for name, parameter in self.described.items():
            if name in spec.settings and not isinstance(value := spec.settings[name], PLAIN) and number_of(value):
                raise ParameterError(f"{name}: {self.owner} takes {parameter.type_name} for '{name}', not {value!r}.")
            given = name in spec.settings or name in spec.numbers or name in spec.terms
            if not given and parameter.takes_number and is_number(parameter.default):
                self.own_numbers[name] = Constant(parameter.default, given=False)
        # In the order of the signature: variables in a saved model are told apart by their place.
        order = [*self.described]
        paths = sorted(self.own_numbers, key=lambda path: order.index(path.partition(".")[0]))
        self.own_numbers = {path: self.own_numbers[path] for path in paths}

    @property
    def numbers(self) -> dict[str, Number]:
        """The numbers by path, those of plugins inside of it included: `"r"`, `"weights.a"`, `"terms.a.r"`."""
        inside = {
            f"{path}.{name}": number for path, term in self.terms.items() for name, number in term.numbers.items()
        }
        return self.own_numbers | inside

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that were given, with the values that they have now, as a config has them."""
        return self.given(lambda number: number.config(), node_of)

    def given(self, show_number: Callable[[Number], Any], show_term: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the parameters that were given, with what the functions make of numbers and of terms."""

        def number(path: str, value: Any) -> Any:
            return show_number(value) if isinstance(value, Number) else value

        given = {p: n for p, n in self.own_numbers.items() if not isinstance(n, Constant) or n.given}
        return self._arguments(given | self._handed_in, number, lambda path, term: show_term(term))

    def read(self, name: str) -> Any:
        """Return the value of a parameter: a number, a mapping, the plugins inside of it, or what was given.

        Raises:
            AttributeError: if there is no such parameter.
        """
        if name in self.own_numbers:
            return self.own_numbers[name].now()
        parameter = self.described.get(name)
        if parameter is None:
            raise AttributeError(
                f"{self.owner} has no parameter or attribute '{name}'.{did_you_mean(name, self.described)}"
            )
        value = self.given(lambda number: number, lambda term: term).get(
            name, None if parameter.required else parameter.default
        )
        if not isinstance(value, Mapping):
            return value
        return _Numbers(self, name, value) if parameter.takes_numbers else MappingProxyType(value)

    def assign(self, path: str, value: Any) -> None:
        """Set a number.

        Arguments:
            path: its path, as in `numbers`.
            value: the new value.

        Raises:
            ParameterError: if the value is no number or out of bounds, the number is a schedule's, or the model was
                compiled with the number itself since the plugin does not take a tensor in its place.
        """
        number = self.own_numbers[path]
        name, _, key = path.partition(".")
        parameter = self.described[name]
        if hasattr(value, "shape") and value.shape == () and hasattr(value, "numpy"):
            value = value.numpy()
        if hasattr(value, "item"):
            value = value.item()
        given = check_value(parameter, {key: value} if key else value, where=path, owner=self.owner)
        value = given[key] if key else given
        if not is_number(value):
            raise ParameterError(f"{self.owner} takes {parameter.type_name} for '{path}', not {value!r}.")
        if not number.changes and self._taken is not None and path not in self._taken:
            raise ParameterError(
                f"{self.owner}: '{path}' cannot be assigned, since a model was compiled with it as a number: "
                f"{self._refused[path]}. Create the {self.owner.partition(' ')[0]} anew, and compile with that."
            )
        try:
            number.assign(value)
        except ParameterError as error:
            raise ParameterError(f"{self.owner}: '{path}' cannot be assigned: {error}") from error

    def put(self, path: str, number: Number) -> None:
        """Put a number in the place of another, also in a term."""
        for where, term in self.terms.items():
            if path.startswith(f"{where}."):
                bound_of(term).put(path.removeprefix(f"{where}."), number)
                return
        self.own_numbers[path] = number

    def follow(self, step: Step, static: bool = False) -> None:
        """Let its schedules follow a step, and say that somebody trains what is learned.

        Arguments:
            step: the number of training steps done, or a function that returns it.
            static: whether constants are numbers in compiled code, too.
        """
        if static != self._static:
            self._static, self._taken = static, None
        for number in self.own_numbers.values():
            number.follow(step)
        for term in self.terms.values():
            term.follow(step, static)

    @property
    def function(self) -> Callable[..., Any]:
        """What is called with the data, made with numbers."""
        values = [number.now() for number in self.own_numbers.values() if isinstance(number, Constant)]
        if self._made is None or self._made[0] != values:
            # It is kept for later calls.
            with contextlib.nullcontext() if self._in_trace else tf.init_scope():
                self._made = values, self._make({})
        return self._made[1]

    def __call__(self, *data: Any) -> Any:
        """Call the plugin with the data: what a loss of Keras returns per sample, what else returns when called."""
        try:
            value = unreduced(self.function_for(data))(*data)
        except RegistryError:
            raise
        except Exception as error:
            raise self._raised(reason(error)) from error
        if callable(value) and not hasattr(value, "shape"):
            raise BrokenPluginError(
                f"'{self.plugin.name}' of package {self.plugin.origin} returned a function when it was called with the "
                "data: are its first parameters the data, or is it a factory?"
            )
        if value is None:
            raise BrokenPluginError(
                f"'{self.plugin.name}' of package {self.plugin.origin} returned None; is a `return` missing?"
            )
        return self.finish(value)

    def finish(self, value: Any) -> Any:
        """Return a value of the plugin with the penalties of what is learned added."""
        for number in self.own_numbers.values():
            if isinstance(number, LearnedNumber) and (penalty := number.penalty()) is not None:
                value = value + tf.cast(penalty, value.dtype)
        return value

    def function_for(self, data: tuple[Any, ...]) -> Callable[..., Any]:
        """Return what is called with the data: made with tensors where a number may change.

        Raises:
            NotAttachedError: if a schedule or a learned number has no model to follow.
            BrokenPluginError: if the plugin does not take a tensor in its place.
        """
        changing = [path for path, number in self.own_numbers.items() if number.changes]
        for path in changing:
            if self.own_numbers[path].follows and not self.own_numbers[path].attached:
                raise NotAttachedError(
                    f"{self.owner}: '{path}' is a {self.own_numbers[path].noun}, which follows a model's training. "
                    "Call lossreg.attach(model) after model.compile(…)."
                )
        compiled = not tf.executing_eagerly() and not self._in_trace
        paths: Iterable[str] = self._takes_tensors(data) if compiled else changing
        if changing and not self._in_trace:
            self._require_tensors(changing, data)
        if not paths:
            return self.function
        dtype = dtype_of(data)
        return self._make({path: self.own_numbers[path].tensor(dtype) for path in paths})

    def _arguments(
        self, numbers: Mapping[str, Any], number: Callable[[str, Any], Any], term: Callable[[str, Any], Any]
    ) -> dict[str, Any]:
        spec = self._spec
        return Spec(spec.registry, spec.plugin, spec.settings, numbers, self.terms).arguments(number, term)

    def _make(self, chosen: Mapping[str, Any]) -> Callable[..., Any]:
        """Make the function or the object with some of the numbers replaced."""

        def value(path: str, number: Any) -> Any:
            if path in chosen or not isinstance(number, Number):
                return chosen.get(path, number)
            if self._in_trace and number.changes:
                return tf.ones(())  # stands for the tensor with which what is called will be made
            with tf.init_scope():  # also while code is being compiled
                return number.now()

        # Where a number is the plugin's own default, the plugin has it.
        given = {p: n for p, n in self.own_numbers.items() if p in chosen or not isinstance(n, Constant) or n.given}
        # A loss inside a loss is not reduced.
        arguments = self._arguments(given | self._handed_in, value, lambda path, term: getattr(term, "call", term))
        return self.plugin.bind(arguments)

    def _takes_tensors(self, data: tuple[Any, ...]) -> frozenset[str]:
        """Return the paths of the numbers that the plugin takes as tensors, found out at the first call."""
        if self._taken is None:
            every = frozenset(path for path, number in self.own_numbers.items() if number.changes or not self._static)
            self._refused = dict.fromkeys(self.own_numbers, "lossreg.attach(model, static=True) said so")
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
        if state := state_of(self.function):
            return f"it holds {state}, which would be made anew"
        with tf.init_scope():
            numbers = {path: self.own_numbers[path].now() for path in paths}
        return refusal(lambda tensors: unreduced(self._make(tensors)), numbers, data)

    def _require_tensors(self, paths: Iterable[str], data: tuple[Any, ...]) -> None:
        taken = self._takes_tensors(data)
        for path in paths:
            if path in taken:
                continue
            if not state_of(self.function) and (broken := self._refusal((), data)):  # in any case
                raise self._raised(broken)
            raise BrokenPluginError(
                f"{self.owner} does not take a {self.own_numbers[path].noun} for '{path}', since that is a tensor: "
                f"{self._refused[path]}"
            )

    def _raised(self, what: str) -> BrokenPluginError:
        return BrokenPluginError(f"'{self.plugin.name}' of package {self.plugin.origin} raised {what}")


class _Numbers(Mapping[str, float]):
    """A parameter that maps to numbers; they are read and assigned by key."""

    def __init__(self, bound: Bound, name: str, values: Mapping[str, Any]) -> None:
        self._bound, self._name, self._values = bound, name, values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return value.now() if isinstance(value, Number) else value

    def __setitem__(self, key: str, value: float) -> None:
        path = f"{self._name}.{key}"
        if path not in self._bound.own_numbers:
            known = ", ".join(self) or "none"
            raise ParameterError(f"{self._bound.owner} was given no number for '{path}'; in {self._name}: {known}")
        self._bound.assign(path, value)

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


def bound_of(created: Any) -> Bound:
    """Return the plugin with its parameters inside of what a registry created."""
    bound: Bound = vars(created)["_bound"]
    return bound


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
