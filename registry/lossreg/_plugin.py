"""What a registered name is: where it comes from, what kind of thing it is, and what it takes."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import logging
import os
import re
import sys
import threading
import typing
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from importlib import metadata
from typing import Any

from lossreg._errors import BrokenPluginError, is_ctrl_c, said
from lossreg._ranges import UNIONS, shown

REQUIRED: Any = inspect.Parameter.empty
"""The default of a parameter that has none."""

NAME = re.compile(r"\w[\w.+-]*")
"""What can be typed as a name, in a config and on a command line."""

_OF_KERAS = ("floatx", "epsilon", "image_data_format", "dtype_policy", "max_epochs", "max_steps_per_epoch")
_importing = threading.RLock()  # two threads that import Keras at once get halves of it


def import_target(target: str, *, keras_first: bool = True) -> Any:
    """Import `"module:attribute"`; Keras before it, so that it finds Keras as any other finds it."""
    with _importing:
        if keras_first and target.partition(":")[0] not in sys.modules:
            with contextlib.suppress(Exception):  # whoever needs it says why it cannot be imported
                import keras  # noqa: F401
        with settings_kept():
            return metadata.EntryPoint("", target, "").load()


def _settings() -> Iterator[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """What holds for a whole process: how each is read, and how it is set."""
    yield _folder, os.chdir
    yield sys.getrecursionlimit, sys.setrecursionlimit
    yield lambda: {name: getattr(sys, name) for name in ("stdout", "stderr")}, vars(sys).update
    yield lambda: logging.root.manager.disable, logging.disable
    yield lambda: warnings.filters[:], _set_filters
    if keras := sys.modules.get("keras"):
        yield from ((getattr(keras.config, name), getattr(keras.config, f"set_{name}")) for name in _OF_KERAS)
    if tf := sys.modules.get("tensorflow"):
        yield tf.config.functions_run_eagerly, tf.config.run_functions_eagerly
        yield tf.config.optimizer.get_jit, tf.config.optimizer.set_jit
        yield tf.executing_eagerly, lambda eagerly: tf.compat.v1.enable_eager_execution()
    if np := sys.modules.get("numpy"):
        yield np.geterr, lambda errors: np.seterr(**errors)


def _folder() -> str:
    with contextlib.suppress(OSError):  # it may have been deleted
        return os.getcwd()  # noqa: PTH109 - as os.chdir takes it
    return "."


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters += filters  # type: ignore[operator]


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Set back what the code inside sets for all."""
    with _importing:  # a Keras that another thread imports has no settings yet
        before = [(get, put, get()) for get, put in _settings()]
    try:
        yield
    finally:
        for get, put, value in before:
            if get() != value:
                put(value)


@dataclass(frozen=True)
class Kind:
    """What a registry holds.

    Arguments:
        group: the entry-point group.
        noun: what one entry is called in messages.
        config_group: the Hydra config group whose options are the names.
        data_arguments: the arguments that Keras hands to an entry when it is called.
        wrapper: `"module:class"` of what is created, made from a `Spec`; it is imported when something is created.
        numbers: the registries whose entries may stand in the place of a number that is a parameter of an entry.
        varying: which numbers may differ between models that train in one program; `None`: all.
        terms: the registry whose entries may be parameters of an entry; `None`: its own.
        several: whether a config may name several at once, each under its own name: `logger=[tensorboard,mlflow]`.
    """

    group: str
    noun: str
    config_group: str
    data_arguments: tuple[str, ...]
    wrapper: str
    numbers: tuple[Any, ...] = ()
    varying: tuple[str, ...] | None = None
    terms: Any = None
    several: bool = False

    def wrap(self, spec: Any) -> Any:
        """Create what stands for a plugin. For what Keras is handed, imports Keras."""
        return import_target(self.wrapper, keras_first=bool(self.data_arguments))(spec)


@dataclass(frozen=True)
class Plugin:
    """One registered name and where it comes from; nothing of it is imported.

    Arguments:
        name: the bare name.
        target: `"module:attribute"`.
        distribution: the distribution that registers it, or `None` for `register`.
        version: that distribution's version, or `None`.
        registered: the object itself, where it was registered in this process.
    """

    name: str
    target: str
    distribution: str | None = None
    version: str | None = None
    registered: Any = field(default=None, repr=False, compare=False)

    @property
    def qualified_name(self) -> str:
        """`<distribution>/<name>`; the bare name for what was registered in this process."""
        return f"{self.distribution}/{self.name}" if self.distribution else self.name

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}" if self.distribution else "registered in this process"

    @property
    def fault(self) -> str:
        """What keeps it from being used, as far as that shows without importing it; an empty string if nothing."""
        if not NAME.fullmatch(self.name):
            return f"a name has letters, digits, '_', '.', '+' and '-', unlike {self.name!r}"
        if self.registered is not None:
            return ""
        if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", self.target):
            return f"its entry point is {self.target!r}, not <module>:<object>"
        module = self.target.partition(":")[0].partition(".")[0]
        return "" if importlib.util.find_spec(module) else f"No module named '{module}'"

    def load(self, *, keras_first: bool = True) -> Any:
        """Import the target, and Keras before it unless it is not for Keras.

        Raises:
            BrokenPluginError: if it cannot be imported or is not callable; names the distribution and the cause.
        """
        if self.registered is not None:
            return self.registered
        with self.running(f"importing {self.target}"):
            target = import_target(self.target, keras_first=keras_first)
        if not callable(target):
            raise self.broken(f"{self.target} is a {type(target).__name__}, not a function or a class")
        return target

    @contextlib.contextmanager
    def running(self, what: str) -> Iterator[None]:
        """Run the plugin's own code: whatever it raises, but the user's Ctrl-C, is an error that names the plugin."""
        try:
            with settings_kept():
                yield
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise self.broken(f"{what} raised {said(error)}") from error

    def broken(self, what: str) -> BrokenPluginError:
        """Return an error that says what keeps the plugin from being used, and whose it is."""
        return BrokenPluginError(f"'{self.name}' of package {self.origin} cannot be used: {what}")


def plain(value: Any) -> Any:
    """Return enum members, dataclasses, arrays of NumPy and sets, also inside, as a config has them."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value


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
        declared: its type with the ranges that its annotation declares, if it does.

    Example:
    >>> print(Parameter("r", float, 0.5))
    r: float = 0.5
    """

    name: str
    type: Any
    default: Any = REQUIRED
    declared: Any = None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    @property
    def takes_plugins(self) -> bool:
        """Whether its values are plugins themselves, by name: annotated as `Callable`, or as a `dict` of them."""
        return any(
            collections.abc.Callable in (kind, typing.get_origin(kind))
            for kind in (self.type, *typing.get_args(self.type)[1:])
        )

    @property
    def takes_number(self) -> bool:
        """Whether its values are real numbers, so that a schedule or a learned number may stand in its place."""
        return float in (self.type, *(typing.get_args(self.type) if typing.get_origin(self.type) in UNIONS else ()))

    @property
    def takes_numbers(self) -> bool:
        """Whether its values are mappings to real numbers, such as weights by name."""
        return typing.get_args(self.type) == (str, float)

    @property
    def type_name(self) -> str:
        """The type as a person writes it."""
        return shown(self.type)

    @property
    def accepted(self) -> str:
        """The type as a person writes it, with the ranges that are declared: `"float in [0, 1]"`."""
        return self.type_name if self.declared is None else shown(self.declared)

    @property
    def config_default(self) -> Any:
        """The default as a config has it: an enum member by its value, a dataclass as a mapping, an array as a list."""
        return plain(self.default)

    def __str__(self) -> str:
        return f"{self.name}: {self.accepted}" + ("" if self.required else f" = {self.config_default!r}")


@dataclass(frozen=True)
class Description(Plugin):
    """A plugin, and what is known of it without building it.

    Arguments:
        style: function, factory or class.
        parameters: its hyperparameters.
        docstring: its docstring, or an empty string.
        tasks: of a loss, which tasks it is made for, as far as somebody said so.
    """

    style: Style = Style.FUNCTION
    parameters: tuple[Parameter, ...] = ()
    docstring: str = ""
    tasks: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.docstring.strip().partition("\n")[0]

    def bind(self, arguments: dict[str, Any], *, called: bool = True) -> Any:
        """Return what is called with the data: the function with its parameters, or what a factory or class makes.

        Arguments:
            arguments: the parameters.
            called: whether what a factory or class makes must be one that can be called.

        Raises:
            BrokenPluginError: if it raises, or makes nothing that can be called.
        """
        target: Any = self.load(keras_first=called)
        if self.style is Style.FUNCTION:
            # A loss of Keras that is made already stays one.
            return functools.partial(target, **arguments) if arguments else target
        with self.running(self.target):
            made = target(**arguments)
        if called and not callable(made):
            what = f"{self.target} returned a {type(made).__name__}, not a function"
            raise self.broken(f"{what}; is one of its parameters the data?")
        return made
