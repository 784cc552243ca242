"""A target's signature as a config schema: which parameters it takes, of which type, with which default."""

from __future__ import annotations

import collections.abc
import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from lossreg._errors import ParameterError, did_you_mean
from lossreg._source import Outline

REQUIRED: Any = inspect.Parameter.empty
"""The default of a parameter that has none."""

# What Keras's own base classes take besides hyperparameters.
_BOOKKEEPING = {"name", "reduction", "dtype"}

# First arguments by these names hold data, not hyperparameters.
_DATA_NAMES = re.compile(
    r"(y|t|p|w|x|a|b|o)|(y|t|p|w|x)_?\w{0,4}(true|pred|hat|prob)\w*|(true|pred|act|target|label|output|logit|prob"
    r"|expect|ground|gt|truth|weight|kernel|matri|tensor|param|var|value|input|coef)\w*",
    re.IGNORECASE,
)
# What Keras calls so, without an annotation and, in its schedules, without a default.
_TYPES_BY_NAME = {"axis": int, "_rate": float, "_steps": int}
_SCALARS = {"float", "int", "bool", "str"}

_TYPE_NAMES: dict[str, Any] = {
    name: getattr(typing, name)
    for name in ("Any", "Callable", "Dict", "List", "Literal", "Optional", "Sequence", "Tuple", "Union", "Mapping")
} | {"typing": typing, "t": typing, "collections": collections}


class Style(str, Enum):
    """The three ways to write a plugin."""

    FUNCTION = "function"
    FACTORY = "factory"
    CLASS = "class"


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter of a plugin.

    Arguments:
        name: its name, also its config key.
        type: a type such as `float`, `bool | None` or `Literal["a", "b"]`; `Any` where the signature does not tell.
        default: its default, or `REQUIRED`.

    Example:
    >>> print(Parameter("r", float, 0.5))
    r: float = 0.5
    """

    name: str
    type: Any
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    @property
    def takes_plugins(self) -> bool:
        """Whether its values are plugins themselves, by name: annotated as `Callable`, or as a `dict` of them."""
        return _is_callable(self.type) or any(_is_callable(kind) for kind in typing.get_args(self.type)[1:])

    @property
    def takes_number(self) -> bool:
        """Whether its values are real numbers, so that a schedule or a variable may stand in its place."""
        return float in (self.type, *typing.get_args(self.type)) and not self.takes_numbers

    @property
    def takes_numbers(self) -> bool:
        """Whether its values are mappings to real numbers, such as weights by name."""
        return typing.get_args(self.type) == (str, float)

    @property
    def type_name(self) -> str:
        """The type as a person writes it."""
        if isinstance(self.type, type) and not typing.get_args(self.type):
            return "None" if self.type is type(None) else self.type.__name__
        return str(self.type).replace("typing.", "").replace("NoneType", "None")

    def __str__(self) -> str:
        return f"{self.name}: {self.type_name}" + ("" if self.required else f" = {self.default!r}")


def read_signature(outline: Outline, data_arguments: tuple[str, ...]) -> tuple[Style, tuple[Parameter, ...]]:
    """Tell a target's style and hyperparameters from its outline.

    A function whose first parameters are the data (`y_true, y_pred` of a loss, `weights` of a regularizer) is called
    with them; any other function is a factory. Names that people commonly give to data are recognised.

    Arguments:
        outline: what is known of the target.
        data_arguments: the names of the data arguments; as many as there are, the first parameters hold data.

    Returns:
        The style and the hyperparameters in the order of the signature.

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
    for parameter in named:
        if parameter.name == "name" and parameter.default is REQUIRED:
            raise ValueError("its parameter 'name' has no default; 'name' is the plugin's own name in a config")
    return style, tuple(
        Parameter(p.name, _type_of(p), p.default)
        for p in named
        if p.name != "name" and not (style is Style.CLASS and p.name in _BOOKKEEPING)
    )


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
    if outline.returns_function or "Callable" in str(returns if returns is not inspect.Signature.empty else ""):
        return False
    if all(_DATA_NAMES.fullmatch(p.name) for p in first):
        return True
    return not any(getattr(p.annotation, "__name__", p.annotation) in _SCALARS for p in first)


def _type_of(parameter: inspect.Parameter) -> Any:
    annotation, default = parameter.annotation, parameter.default
    while isinstance(annotation, str):  # a quoted annotation may stand in a module that quotes them all
        try:
            # The text of an installed package's own annotation, never a config value; typing.get_type_hints does this.
            annotation = eval(annotation, {"__builtins__": _BUILTIN_TYPES}, _TYPE_NAMES)
        except Exception:
            return Any
    if annotation is not inspect.Parameter.empty:
        return type(None) if annotation is None else annotation
    if isinstance(default, (bool, str)):
        return type(default)
    for ending, kind in _TYPES_BY_NAME.items():
        if parameter.name.endswith(ending) and (default is REQUIRED or isinstance(default, (int, float))):
            return kind
    # `gamma=2` in a signature means a number, not an integer.
    return float if isinstance(default, (int, float)) else Any


_BUILTIN_TYPES = {kind.__name__: kind for kind in (bool, dict, float, int, list, set, str, tuple)} | {"None": None}


def check_parameters(
    parameters: Iterable[Parameter], values: Mapping[str, Any], *, owner: str, key: str = ""
) -> dict[str, Any]:
    """Hold values against parameters.

    An integer given for a float becomes a float. Values that are no plain data (tensors, variables, arrays) are
    passed through: a plugin receives a tensor where it received a number.

    Arguments:
        parameters: what is accepted.
        values: what was given, by name.
        owner: who accepts it, for the message: `"loss 'mix' (lossreg 0.1.0)"`.
        key: the config key that holds the values, for the message: `"loss"`.

    Returns:
        The checked values, without defaults.

    Raises:
        ParameterError: on an unknown name, a missing required value, or a wrong type.

    Example:
    >>> check_parameters([Parameter("r", float, 0.5)], {"r": 1}, owner="loss 'mix'")
    {'r': 1.0}
    """
    accepted = {parameter.name: parameter for parameter in parameters}
    prefix = f"{key}." if key else ""
    takes = f"It takes: {', '.join(map(str, accepted.values()))}." if accepted else "It takes no parameters."
    checked: dict[str, Any] = {}
    for name, value in values.items():
        value = _python(value)
        if name not in accepted:
            hint = did_you_mean(str(name), accepted)
            raise ParameterError(f"{prefix}{name}: {owner} has no parameter '{name}'.{hint} {takes}")
        if not _is_missing(value):
            checked[name] = _check_value(accepted[name], value, where=f"{prefix}{name}", owner=owner)
    for parameter in accepted.values():
        # A config may demand a value by `???`, where the plugin has a default.
        if parameter.name not in checked and (parameter.required or parameter.name in values):
            default = ", which has no default" if parameter.required else ""
            raise ParameterError(
                f"{prefix}{parameter.name}: {owner} needs a value for '{parameter.name}'{default}. {takes}"
            )
    return checked


def _is_callable(kind: Any) -> bool:
    return kind is collections.abc.Callable or typing.get_origin(kind) is collections.abc.Callable


def _is_missing(value: Any) -> bool:
    return isinstance(value, str) and value == "???"


def _python(value: Any) -> Any:
    """Return NumPy's scalars as numbers of Python, and a list with a float in it as a list of floats."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    if isinstance(value, dict):
        return {name: _python(inner) for name, inner in value.items()}
    if isinstance(value, list) and {type(inner) for inner in value} == {int, float}:
        return [float(inner) for inner in value]
    return value


_PLAIN = (str, int, float, bool, type(None), list, tuple, dict)


def _check_value(parameter: Parameter, value: Any, *, where: str, owner: str) -> Any:
    if parameter.takes_plugins or not isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict) and (others := {name: v for name, v in value.items() if not isinstance(v, _PLAIN)}):
        rest = {name: v for name, v in value.items() if name not in others}
        return {**_check_value(parameter, rest, where=where, owner=owner), **others}
    try:
        return msgspec.convert(value, parameter.type)
    except msgspec.ValidationError:
        if value is None and parameter.default is None:
            return None
        raise ParameterError(
            f"{where}: {owner} takes {parameter.type_name} for '{parameter.name}', not {value!r}."
        ) from None
    except (TypeError, ValueError):  # a type that msgspec does not know
        return value
