"""A plugin with its parameters, called with the data; its numbers may change from call to call. Imports Keras."""

from __future__ import annotations

import contextlib
import functools
import textwrap
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lossreg._catalog import Description, Plugin
from lossreg._errors import BrokenPluginError, NotAttachedError, ParameterError, RegistryError, did_you_mean
from lossreg._numbers import Constant, Learned, Number, node_of, number_of
from lossreg._signature import Style, check_parameters

_READS = {"Placeholder", "ReadVariableOp", "ResourceGather"}
_OURS = {str(Path(__file__).with_name(name)) for name in ("_bound.py", "_wrappers.py", "_numbers.py")}


class Bound:
    """A plugin with its parameters.

    Where every parameter is a constant and Keras runs eagerly, the plugin is handed numbers. A schedule or a variable
    is handed to it as a tensor. So is a constant in compiled code, where the plugin takes it, so that another number
    can be assigned later without compiling again.

    Arguments:
        noun: `"loss"` or `"regularizer"`.
        plugin: where it comes from.
        description: what it is.
        target: the plugin itself.
        arguments: its parameters, with plugins, schedules and variables in it built.
    """

    def __init__(
        self, noun: str, plugin: Plugin, description: Description, target: Any, arguments: Mapping[str, Any]
    ) -> None:
        self.owner = f"{noun} '{plugin.name}' ({plugin.origin})"
        self.plugin = plugin
        self.described = {parameter.name: parameter for parameter in description.parameters}
        self.own_numbers: dict[str, Number] = {}
        self.plugins: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self._make_of = functools.partial(_bind, plugin, description, target)
        # What is created inside compiled code belongs to it: nobody can assign to it later.
        self._in_trace = not tf.executing_eagerly()
        self._fixed = False
        self._taken: frozenset[str] | None = None
        self._refused: dict[str, str] = {}
        self._made: tuple[list[Any], Callable[..., Any]] | None = None
        # In the order of the signature, as they are saved: variables are told apart by their place.
        for name, parameter in self.described.items():
            if name in arguments:
                self._sort(name, arguments[name])
            elif parameter.takes_number and isinstance(default := number_of(parameter.default), Constant):
                default.given = False
                self.own_numbers[name] = default

    def _sort(self, name: str, value: Any) -> None:
        parameter = self.described[name]
        if parameter.takes_plugins:
            self.plugins[name] = value
        elif parameter.takes_numbers and isinstance(value, Mapping):
            numbers = {key: number_of(inner) for key, inner in value.items()}
            self.own_numbers.update({f"{name}.{key}": number for key, number in numbers.items() if number})
            self.settings[name] = {key: None if numbers[key] else inner for key, inner in value.items()}
        elif (parameter.takes_number or (parameter.type is Any and not isinstance(value, (int, float)))) and (
            number := number_of(value)
        ):
            self.own_numbers[name] = number
        else:
            self.settings[name] = value

    @property
    def numbers(self) -> dict[str, Number]:
        """The numbers by path, those of plugins inside of it included: `"r"`, `"weights.a"`, `"terms.a.r"`."""
        inside = {
            f"{path}.{name}": number for path, term in self.terms().items() for name, number in term.numbers.items()
        }
        return self.own_numbers | inside

    def terms(self) -> dict[str, Any]:
        """Return the losses or regularizers inside of it by path: `"terms.a"`."""
        found = {}
        for name, value in self.plugins.items():
            keyed = (
                {f"{name}.{key}": term for key, term in value.items()} if isinstance(value, Mapping) else {name: value}
            )
            found.update(keyed)
        return found

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that were given, as a config has them."""
        return self.given(lambda number: number.config(), node_of)

    def given(self, show_number: Callable[[Number], Any], show_term: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the parameters that were given, with what the functions make of numbers and of terms."""
        found: dict[str, Any] = {}
        for name in self.described:
            if name in self.plugins:
                found[name] = _map_terms(self.plugins[name], show_term)
            elif name in self.settings:
                value = self.settings[name]
                if self.described[name].takes_numbers and isinstance(value, Mapping):
                    numbers = {key: self.own_numbers.get(f"{name}.{key}") for key in value}
                    value = {key: show_number(number) if (number := numbers[key]) else value[key] for key in value}
                found[name] = value
            elif (number := self.own_numbers.get(name)) and (not isinstance(number, Constant) or number.given):
                found[name] = show_number(number)
        return found

    def read(self, name: str) -> Any:
        """Return the value of a parameter: a number, a mapping, the plugins inside of it, or what was given.

        Raises:
            AttributeError: if there is no such parameter.
        """
        if name in self.own_numbers:
            return self.own_numbers[name].now()
        if name in self.plugins:
            terms = self.plugins[name]
            return MappingProxyType(terms) if isinstance(terms, Mapping) else terms
        parameter = self.described.get(name)
        if parameter is None:
            raise AttributeError(
                f"{self.owner} has no parameter or attribute '{name}'.{did_you_mean(name, self.described)}"
            )
        value = self.settings.get(name, None if parameter.required else parameter.default)
        return _Numbers(self, name) if parameter.takes_numbers and isinstance(value, Mapping) else value

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
        if tf.is_tensor(value) and value.shape == () and hasattr(value, "numpy"):
            value = value.numpy()
        given = check_parameters([parameter], {name: {key: value} if key else value}, owner=self.owner)[name]
        value = given[key] if key else given
        if not isinstance(value, (int, float)):
            raise ParameterError(f"{self.owner} takes {parameter.type_name} for '{path}', not {value!r}.")
        if not number.remade and self._taken is not None and path not in self._taken:
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
        for where, term in self.terms().items():
            if path.startswith(f"{where}."):
                term._parts.put(path.removeprefix(f"{where}."), number)
                return
        self.own_numbers[path] = number

    def follow(self, step: Any, fixed: bool = False) -> None:
        """Let its schedules follow a step, and say that somebody trains its variables.

        Arguments:
            step: the number of training steps done, or a function that returns it.
            fixed: whether constants are numbers in compiled code, too.
        """
        if fixed != self._fixed:
            self._fixed, self._taken = fixed, None
        for number in self.own_numbers.values():
            number.follow(step)
        for term in self.terms().values():
            term.follow(step, fixed)

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
        return self.finish(_call(self.plugin, unreduced(self.function_for(data)), *data))

    def finish(self, value: Any) -> Any:
        """Return a value of the plugin with the penalties of its variables added."""
        for number in self.own_numbers.values():
            if isinstance(number, Learned) and (penalty := number.variable.penalty()) is not None:
                value = value + tf.cast(penalty, value.dtype)
        return value

    def function_for(self, data: tuple[Any, ...]) -> Callable[..., Any]:
        """Return what is called with the data: made with tensors where a number may change.

        Raises:
            NotAttachedError: if a schedule or a variable has no model to follow.
            BrokenPluginError: if the plugin does not take a tensor in its place.
        """
        remade = [path for path, number in self.own_numbers.items() if number.remade]
        for path in remade:
            if self.own_numbers[path].follows and not self.own_numbers[path].attached:
                raise NotAttachedError(
                    f"{self.owner}: '{path}' is a {self.own_numbers[path].noun}, which follows a model's training. "
                    "Call lossreg.attach(model) after model.compile(…)."
                )
        if tf.executing_eagerly() or self._in_trace:
            paths: Collection[str] = remade
        else:
            paths = self._takes_tensors(data)
        if remade and not self._in_trace:
            self._require_tensors(remade, data)
        if not paths:
            return self.function
        dtype = _dtype(data)
        return self._make({path: self.own_numbers[path].tensor(dtype) for path in paths})

    def _make(self, chosen: Mapping[str, Any]) -> Callable[..., Any]:
        """Make the function or the object with some of the numbers replaced."""
        arguments = {
            name: dict(value) if isinstance(value, Mapping) else value for name, value in self.settings.items()
        }
        for name, value in self.plugins.items():
            # A loss inside a loss is not reduced.
            arguments[name] = _map_terms(value, lambda term: getattr(term, "call", term))
        for path, number in self.own_numbers.items():
            name, _, key = path.partition(".")
            if path not in chosen and isinstance(number, Constant) and not number.given:
                continue  # the plugin has its default
            value = chosen[path] if path in chosen else self._now(number)
            if key:
                arguments[name][key] = value
            else:
                arguments[name] = value
        return self._make_of(arguments)

    def _now(self, number: Number) -> Any:
        """Return a number's value, also while code is being compiled."""
        if self._in_trace and number.remade:
            return tf.ones(())  # stands for the tensor with which what is called will be made
        with tf.init_scope():
            return number.now()

    def _takes_tensors(self, data: tuple[Any, ...]) -> frozenset[str]:
        """Return the paths of the numbers that the plugin takes as tensors, found out at the first call."""
        if self._taken is None:
            every = frozenset(path for path, number in self.own_numbers.items() if number.remade or not self._fixed)
            self._refused = dict.fromkeys(self.own_numbers, "lossreg.attach(model, fixed=True) said so")
            if every and self._refusal(every, data):
                reasons = {path: self._refusal({path}, data) for path in every}
                self._refused |= {path: reason for path, reason in reasons.items() if reason}
                taken = frozenset(path for path, reason in reasons.items() if not reason)
                if together := self._refusal(taken, data) if taken else "":
                    self._refused |= dict.fromkeys(taken, together)
                    taken = frozenset()
                every = taken
            self._taken = every
        return self._taken

    def _require_tensors(self, paths: Collection[str], data: tuple[Any, ...]) -> None:
        taken = self._takes_tensors(data)
        for path in paths:
            if path in taken:
                continue
            if not _state_of(self.function) and (broken := self._refusal((), data)):  # in any case
                raise BrokenPluginError(f"'{self.plugin.name}' of package {self.plugin.origin} raised {broken}")
            raise BrokenPluginError(
                f"{self.owner} does not take a {self.own_numbers[path].noun} for '{path}', since that is a tensor: "
                f"{self._refused[path]}"
            )

    def _refusal(self, paths: Collection[str], data: tuple[Any, ...]) -> str:
        """Say why the plugin does not take tensors for some of its numbers; an empty string if it does."""
        if paths and (state := _state_of(self.function)):
            return f"it holds {state}, which would be made anew"
        graph = tf.__internal__.FuncGraph("takes_tensors")  # what is traced in here is thrown away
        with graph.as_default(), tf.variable_creator_scope(_refuse_to_create):
            tensors = {path: tf.compat.v1.placeholder(_dtype(data), ()) for path in paths}
            try:
                inputs = keras.tree.map_structure(lambda x: tf.compat.v1.placeholder(x.dtype, x.shape), data)
                value = unreduced(self._make(tensors) if paths else self.function)(*inputs)
            except Exception as error:
                return reason(error)
            reached = _what_it_depends_on(value)
        ignored = [path for path, tensor in tensors.items() if id(tensor.op) not in reached]
        if ignored:
            return f"its value does not depend on a tensor for '{ignored[0]}'"
        names = ", ".join(f"'{path}'" for path in paths)
        stateful = any(op.op_def.is_stateful and op.type not in _READS for op in graph.get_operations())
        # What draws random numbers or counts has another value, and another state, at each call.
        differs = paths and not stateful and self._differs(paths, data)
        return f"its value with a tensor for {names} is another" if differs else ""

    def _differs(self, paths: Collection[str], data: tuple[Any, ...]) -> bool:
        """Whether the value with tensors is another than with numbers, on a little data of the same kind."""
        with tf.init_scope():
            random = np.random.default_rng(0)
            tensors = {path: tf.cast(self.own_numbers[path].now(), _dtype(data)) for path in paths}
            try:
                inputs = keras.tree.map_structure(lambda x: _example(x, random), data)
                calls = [unreduced(self._make(chosen))(*inputs) for chosen in (tensors, {}, {})]
                found, expected, again = (
                    [np.asarray(keras.ops.cast(x, "float64")) for x in keras.tree.flatten(call)] for call in calls
                )
            except Exception:
                return False  # it does not take such data; what it takes, it takes with tensors
        tolerance = 0.02 if "16" in _dtype(data) else 1e-4
        return _close(expected, again, tolerance) and not _close(found, expected, tolerance)


class _Numbers(Mapping[str, float]):
    """A parameter that maps to numbers; they are read and assigned by key."""

    def __init__(self, bound: Bound, name: str) -> None:
        self._bound = bound
        self._name = name

    def __getitem__(self, key: str) -> Any:
        path = f"{self._name}.{key}"
        return self._bound.own_numbers[path].now() if path in self._bound.own_numbers else self._values[key]

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

    @property
    def _values(self) -> Mapping[str, Any]:
        values: Mapping[str, Any] = self._bound.settings.get(self._name, {})
        return values


def _bind(plugin: Plugin, description: Description, target: Any, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Return what is called with the data: the function with its parameters bound, or the instance."""
    if description.style is Style.FUNCTION:
        return functools.partial(target, **arguments)
    try:
        made = target(**arguments)
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
        raise BrokenPluginError(f"'{plugin.name}' of package {plugin.origin} raised {reason(error)}") from error
    if callable(value) and not hasattr(value, "shape"):
        raise BrokenPluginError(
            f"'{plugin.name}' of package {plugin.origin} returned a function when it was called with the data: "
            "are its first parameters the data, or is it a factory?"
        )
    if value is None:
        raise BrokenPluginError(f"'{plugin.name}' of package {plugin.origin} returned None; is a `return` missing?")
    return value


def unreduced(function: Any) -> Callable[..., Any]:
    """Return what a plugin's object is called by: a Keras loss by what computes per sample, if it has that."""
    is_loss = isinstance(function, keras.losses.Loss) and type(function).call is not keras.losses.Loss.call
    called: Callable[..., Any] = function.call if is_loss else function
    return called


def _state_of(function: Any) -> str:
    """Say what an object, or the function that a factory made, holds that has a state; an empty string if nothing."""
    of_keras = (keras.Layer, keras.Variable, keras.metrics.Metric, keras.random.SeedGenerator)
    stateful = (*of_keras, tf.Module, tf.Variable, tf.random.Generator)
    pending, seen = [(function, 0)], {id(function)}
    while pending:
        holder, depth = pending.pop()
        held = [*getattr(holder, "__dict__", {}).values()]
        held += [cell.cell_contents for cell in getattr(holder, "__closure__", None) or ()]
        held += [
            inner for value in held if isinstance(value, (dict, list, tuple)) for inner in keras.tree.flatten(value)
        ]
        for value in held:
            if isinstance(value, stateful):
                return f"a {type(value).__name__}"
            # Modules and classes are everybody's; terms look after themselves.
            if depth < 3 and id(value) not in seen and not isinstance(value, (type, ModuleType, Bound)):
                seen.add(id(value))
                pending.append((value, depth + 1))
    return ""


def reason(error: BaseException) -> str:
    """Say in one line what a plugin raised, and where: `"ValueError: … (file:line: code)"`."""
    if isinstance(error, BrokenPluginError) and error.__cause__ is not None:
        error = error.__cause__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in _OURS]
    where = f" ({frames[0].filename}:{frames[0].lineno}: {frames[0].line})" if frames else ""
    message = textwrap.shorten(str(error).strip().partition("\n")[0], 200, placeholder="…")
    return f"{type(error).__name__}: {message}{where}"


def _map_terms(value: Any, function: Callable[[Any], Any]) -> Any:
    return {key: function(term) for key, term in value.items()} if isinstance(value, Mapping) else function(value)


def _dtype(data: tuple[Any, ...]) -> str:
    """Return the floating dtype in which the data is computed with."""
    dtype = keras.backend.standardize_dtype(keras.tree.flatten(data)[-1].dtype)
    return dtype if "float" in dtype else keras.config.floatx()


def _close(found: list[Any], expected: list[Any], tolerance: float) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(np.allclose(a, b, rtol=tolerance, atol=1e-6, equal_nan=True) for a, b in pairs)


def _refuse_to_create(creator: Any, **settings: Any) -> Any:
    if tf.executing_eagerly():  # as Keras makes them, outside of what is traced
        return creator(**settings)
    raise TypeError("it makes a variable when it is called")


def _example(like: Any, random: np.random.Generator) -> Any:
    """Return data of the same rank and dtype, at most 8 long on each axis: numbers between 0.1 and 0.9, or zeros."""
    shape = [min(size or 2, 8) for size in like.shape]
    dtype = keras.backend.standardize_dtype(like.dtype)
    values = random.uniform(0.1, 0.9, shape) if "float" in dtype else np.zeros(shape)
    return keras.ops.convert_to_tensor(values, dtype=dtype)


def _what_it_depends_on(value: Any) -> set[int]:
    """Return the operations that a tensor of a graph is computed by, by id."""
    pending = [tensor.op for tensor in keras.tree.flatten(value) if hasattr(tensor, "op")]
    reached = set()
    while pending:
        operation = pending.pop()
        if id(operation) not in reached:
            reached.add(id(operation))
            pending.extend(tensor.op for tensor in operation.inputs)
    return reached
