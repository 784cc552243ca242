"""A target's signature as a config schema: which parameters it takes, of which type, and what their values may be."""

from __future__ import annotations

import contextlib
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from enum import Enum, Flag
from typing import Annotated, Any, Literal

import msgspec

from lossreg._errors import ParameterError, did_you_mean
from lossreg._plugin import REQUIRED, Description, Parameter, Plugin, Style, plain
from lossreg._ranges import OF_KERAS, bare, within
from lossreg._source import REDUCTION, STYLE, Outline, outline_of_object, outline_of_source
from lossreg._tasks import known_tasks

PLAIN = (str, int, float, bool, type(None), list, tuple, dict)
"""The types of plain data; anything else (a tensor, a variable, a schedule) is handed to a plugin as it is."""

# What Keras's own base classes take besides hyperparameters.
_BOOKKEEPING = {"name", "dtype"}
_REDUCTIONS = Literal["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"] | None

# First arguments by these names hold data, not hyperparameters.
_DATA_NAMES = re.compile(
    r"(y|t|p|w|x|a|b|o)|(y|t|p|w|x)_?\w{0,4}(true|pred|hat|prob)\w*|(true|pred|act|target|label|output|logit|prob"
    r"|expect|ground|gt|truth|weight|kernel|matri|tensor|param|var|value|input|coef)\w*",
    re.IGNORECASE,
)
# Names that leave no doubt; Keras hands a loss the targets first.
_TRUE = re.compile(r"y|t|(y_?)?(true|target|label|truth|gt|ground_?truth|expected|actual)s?", re.IGNORECASE)
_PREDICTED = re.compile(r"(y_?)?(pred|prediction|hat|prob|probabilitie|logit|output|score)s?", re.IGNORECASE)
# What Keras calls so, without an annotation and, in its schedules, without a default.
_TYPES_BY_NAME = {"axis": int, "_rate": float, "_steps": int}
_TYPE_NAMES = {**vars(typing), "typing": typing, "t": typing, "__builtins__": {}}  # where a module imports none of it


def describe(plugin: Plugin, data_arguments: tuple[str, ...]) -> Description:
    """Describe a plugin; its source is read without being imported wherever it settles the signature.

    Raises:
        BrokenPluginError: if it cannot be imported, or a config cannot hold its parameters.
    """
    try:
        outline = outline_of_source(plugin.target) if plugin.registered is None else None
        outline = outline or outline_of_object(plugin.load())
        style, parameters = read_signature(outline, data_arguments)
        limits = OF_KERAS if plugin.target.startswith("keras.") else {}
        parameters = tuple(
            replace(p, declared=Annotated[p.type, limits[p.name]]) if p.name in limits else p for p in parameters
        )
    except (TypeError, ValueError) as error:
        raise plugin.broken(str(error)) from error
    tasks = outline.tasks or known_tasks(plugin.target)
    return Description(**vars(plugin), style=style, parameters=parameters, docstring=outline.docstring, tasks=tasks)


def read_signature(outline: Outline, data_arguments: tuple[str, ...]) -> tuple[Style, tuple[Parameter, ...]]:
    """Tell a target's style and hyperparameters from its outline.

    A function whose first parameters are the data (`y_true, y_pred` of a loss, `weights` of a regularizer) is called
    with them; any other function is a factory. Names that people commonly give to data are recognised.

    Raises:
        ValueError: if a parameter is called `name` and has no default: a config node's `name` is the plugin's.
    """
    parameters = list(outline.signature.parameters.values())
    if outline.is_class:
        style = Style.CLASS
    elif _takes_data(outline, parameters, data_arguments):
        style = Style.FUNCTION
        parameters = parameters[len(data_arguments) :]
    else:
        style = Style.FACTORY
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    handed_on = not parameters or parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    if outline.is_keras_loss and handed_on and "reduction" not in outline.signature.parameters:
        named.append(inspect.Parameter("reduction", inspect.Parameter.KEYWORD_ONLY, default=REDUCTION))
    if not outline.is_class and not outline.is_factory and (why := _misfit(outline.signature, style, data_arguments)):
        raise ValueError(f"{why}. If it is a factory, say so by its attribute {STYLE} = 'factory'")
    if style is Style.FUNCTION and (why := _unweighted(p.name for p in named)):
        raise ValueError(f"its {why}")
    if any(p.name == "name" and p.default is REQUIRED for p in named):
        raise ValueError("its parameter 'name' has no default; 'name' is the plugin's own name in a config")
    return style, tuple(
        Parameter(
            p.name, bare(kind := _type_of(p, outline.names)), p.default, kind if "Annotated" in str(kind) else None
        )
        for p in named
        if p.name != "name" and not (style is Style.CLASS and p.name in _BOOKKEEPING)
    )


def check_call(made: Any, data_arguments: tuple[str, ...]) -> str:
    """Say why what a factory or class made cannot be called with the data; an empty string if it can."""
    try:
        signature = inspect.signature(made.call if hasattr(made, "reduction") and hasattr(made, "call") else made)
    except (TypeError, ValueError):  # of a builtin it is not known
        return ""
    try:
        signature.bind(*data_arguments)
    except TypeError:
        return f"what it makes takes {signature}, not ({', '.join(data_arguments)})"
    if why := _unweighted(signature.parameters):
        return f"what it makes cannot weigh: its {why}"
    return _misfit(signature, Style.FUNCTION, data_arguments)


def _unweighted(names: Iterable[str]) -> str:
    """Say which parameter wants the sample weights, which Keras hands to nothing that it calls per sample."""
    found = next((name for name in names if name in ("sample_weight", "sample_weights")), "")
    return found and f"parameter '{found}' would be handed no weights; Keras weights what it returns"


def _misfit(signature: inspect.Signature, style: Style, data_arguments: tuple[str, ...]) -> str:
    """Say why a function is no loss, though the names of its parameters say that they are the data of one."""
    required = [name for name, p in signature.parameters.items() if p.default is REQUIRED]
    first, second = (*required, "", "")[:2]
    lacks = style is Style.FACTORY and (first == "x" or _TRUE.fullmatch(first) or _PREDICTED.fullmatch(first))
    if len(data_arguments) != 2 or not (lacks or (_PREDICTED.fullmatch(first) and _TRUE.fullmatch(second))):
        return ""
    return f"it takes {signature}, but it is called with ({', '.join(data_arguments)}), in this order"


def _takes_data(outline: Outline, parameters: list[inspect.Parameter], data_arguments: tuple[str, ...]) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = parameters[: len(data_arguments)]
    if not data_arguments or len(first) < len(data_arguments):
        return False
    if any(p.kind not in positional or p.default is not REQUIRED for p in first):
        return False
    if [p.name for p in first] == list(data_arguments):
        return True
    returns = outline.signature.return_annotation
    if outline.is_factory or "Callable" in str(returns if returns is not inspect.Signature.empty else ""):
        return False
    if all(_DATA_NAMES.fullmatch(p.name) for p in first):
        return True
    return not any(bare(_type_of(p, outline.names)) in (float, int, bool, str) for p in first)


def _type_of(parameter: inspect.Parameter, names: Mapping[str, Any]) -> Any:
    annotation, default = parameter.annotation, parameter.default
    while isinstance(annotation, str):  # a quoted annotation may stand in a module that quotes them all
        try:
            # The text of an installed package's own annotation, never a config value; typing.get_type_hints does this.
            annotation = eval(annotation, _TYPE_NAMES, names)
        except Exception:
            return Any
    if annotation is not inspect.Parameter.empty:
        return type(None) if annotation is None else annotation
    if isinstance(default, (bool, str)):
        return _REDUCTIONS if (parameter.name, default) == ("reduction", REDUCTION) else type(default)
    if isinstance(default, Enum) or (is_dataclass(default) and not isinstance(default, type)):
        return type(default)
    for ending, kind in _TYPES_BY_NAME.items():
        if parameter.name.endswith(ending) and (default is REQUIRED or isinstance(default, (int, float))):
            return kind
    # `gamma=2` in a signature means a number; whether it may have a fraction, only its author knows.
    return int | float if isinstance(default, int) else float if isinstance(default, float) else Any


def check_value(parameter: Parameter, value: Any, *, where: str, owner: str) -> Any:
    """Hold a value against a parameter's type, and return it as the plugin takes it.

    An integer given for a float becomes a float. What is no plain data is passed through: a plugin receives a tensor
    where it received a number.

    Arguments:
        parameter: what is accepted.
        value: what was given.
        where: its config key, for messages: `"loss.r"`.
        owner: who accepts it: `"loss 'mix' (lossreg 0.1.0)"`.

    Raises:
        ParameterError: if it is of another type.

    Example:
    >>> check_value(Parameter("r", float, 0.5), 1, where="loss.r", owner="loss 'mix'")
    1.0
    """
    if not isinstance(value := plain(value), PLAIN):
        return value
    try:
        found, accepted = plain(_converted(parameter, value)), parameter.accepted
        misspelt = next(_unknown(value, found, where), None)
        if not misspelt and (within(parameter.declared, found) or found == parameter.config_default):
            return found
    except msgspec.ValidationError:
        accepted, misspelt = parameter.type_name, None
    except (TypeError, ValueError):  # a type that msgspec does not know
        return value
    if value is None and parameter.default is None:
        return None
    if misspelt:
        path, name, known = misspelt
        raise ParameterError(f"{path}.{name}: {owner} has no '{name}' there.{did_you_mean(name, known)}")
    hint = did_you_mean(str(value), [name for name in typing.get_args(parameter.type) if isinstance(name, str)])
    raise ParameterError(f"{where}: {owner} takes {accepted} for '{parameter.name}', not {value!r}.{hint}")


def _unknown(value: Any, found: Any, where: str) -> Iterator[tuple[str, str, Iterable[str]]]:
    """Yield what a value names and its type does not have: the place, the name, and what there is."""
    if isinstance(value, dict) and isinstance(found, dict):
        yield from ((where, str(name), found) for name in value if name not in found)
        for name in value.keys() & found.keys():
            yield from _unknown(value[name], found[name], f"{where}.{name}")
    if isinstance(value, (list, tuple)) and isinstance(found, (list, tuple)):
        for inner, converted in zip(value, found, strict=False):
            yield from _unknown(inner, converted, where)


def _converted(parameter: Parameter, value: Any) -> Any:
    kind = parameter.type
    if getattr(kind, "__module__", "") == "numpy":
        import numpy as np

        return np.asarray(value, getattr(parameter.default, "dtype", None)) if kind is np.ndarray else kind(value)
    if isinstance(kind, type) and issubclass(kind, Enum) and not issubclass(kind, Flag):
        try:  # its values may be of any type
            return kind(tuple(value) if isinstance(value, list) else value)
        except ValueError as error:
            raise msgspec.ValidationError(str(error)) from error
    return msgspec.convert(value, kind, strict=False)  # a text of a number is one, as `${oc.env:R}` gives it


def typed(parameter: Parameter, value: Any) -> Any:
    """Return a value as the plugin takes it: of a config's plain data, an enum member, a dataclass, or an array."""
    if value is None or not isinstance(value, PLAIN):
        return value
    with contextlib.suppress(msgspec.ValidationError, TypeError, ValueError):  # the plugin's own default
        value = _converted(parameter, value)
    if isinstance(value, list) and parameter.type is Any:
        default = parameter.default
        if type(default).__module__ == "numpy":
            return _converted(replace(parameter, type=type(default)), value)
        return type(default)(value) if isinstance(default, (tuple, set, frozenset)) else value
    return value


def plain_number(value: Any, takes_numbers: bool = False) -> Any:
    """Return what is given as plain data, where it can be; an array stays one in the place of a number."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    if isinstance(value, dict):
        return {name: plain_number(inner, takes_numbers) for name, inner in value.items()}
    value = value if takes_numbers else plain(value)
    if isinstance(value, list) and {type(inner) for inner in value} == {int, float}:
        return [float(inner) for inner in value]
    return value
