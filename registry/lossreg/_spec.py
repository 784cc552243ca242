"""A config node that was held against its plugin's signature once: what is a number in it, a term, or plain data."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

from lossreg._errors import ParameterError, did_you_mean
from lossreg._plugin import Description, Parameter, Plugin, Style
from lossreg._signature import PLAIN, check_call, check_value, plain_number, typed
from lossreg._source import REDUCTION

if TYPE_CHECKING:
    from lossreg._catalog import Registry

_MISSING = "???"


@dataclass(frozen=True)
class Spec:
    """A plugin with parameters, parsed and checked; nothing is built, and the plugin may not even be imported.

    Paths lead to what is inside of a parameter: `"r"`, `"weights.a"`, `"terms.a"`.

    Arguments:
        registry: the registry of its kind.
        plugin: the plugin and what is known of it.
        settings: plain parameters, defaults resolved; of a mapping of numbers or terms, its keys.
        numbers: real numbers by path: a constant, the `Spec` of a schedule or a learned number, or what was handed in.
        terms: plugins inside of it by path: a `Spec`, or what a registry created.

    Example:
    >>> import lossreg
    >>> spec = lossreg.losses.parse({"name": "mix", "r": 1})
    >>> spec.numbers, spec.with_numbers({"r": 0.5}).node()
    ({'r': 1.0}, {'name': 'lossreg/mix', 'r': 0.5})
    """

    registry: Registry
    plugin: Description
    settings: Mapping[str, Any]
    numbers: Mapping[str, Any]
    terms: Mapping[str, Any]

    @property
    def owner(self) -> str:
        """What it is, for messages: `"loss 'mix' (lossreg 0.1.0)"`."""
        return owner_of(self.registry, self.plugin)

    def walk(self, path: str = "") -> Iterator[tuple[str, Spec]]:
        """Yield it and every `Spec` inside of it, each with its path."""
        yield path, self
        for inner, value in (*self.terms.items(), *self.numbers.items()):
            if isinstance(value, Spec):
                yield from value.walk(join(path, inner))

    def constants(self) -> dict[str, float]:
        """Return the constants by path that may vary between models that train in one program, inside ones included."""
        varying = self.registry.kind.varying
        found = {}
        for path, value in (*self.numbers.items(), *self.terms.items()):
            if isinstance(value, Spec) and (varying is None or path in varying):
                found.update({join(path, inner): number for inner, number in value.constants().items()})
            elif is_number(value) and (varying is None or path in varying):
                found[path] = float(value)
        return found

    def with_numbers(self, values: Mapping[str, Any]) -> Spec:
        """Return a `Spec` with other values, which may be tensors, for some of its numbers, by path."""

        def replaced(path: str, value: Any) -> Any:
            if path in values or not isinstance(value, Spec):
                return values.get(path, value)
            start = f"{path}."
            inside = {key.removeprefix(start): v for key, v in values.items() if key.startswith(start)}
            return value.with_numbers(inside) if inside else value

        numbers, terms = ({p: replaced(p, v) for p, v in part.items()} for part in (self.numbers, self.terms))
        return dataclasses.replace(self, numbers=numbers, terms=terms)

    def without_numbers(self) -> bytes:
        """Return what is equal for plugins that differ in nothing but `constants`."""
        node = self.with_numbers(dict.fromkeys(self.constants())).node()
        return msgspec.json.encode(node, order="deterministic", enc_hook=repr)

    def arguments(self, number: Callable[[str, Any], Any], term: Callable[[str, Any], Any]) -> dict[str, Any]:
        """Return the parameters, with what the functions make of each number and term, by its path."""
        found = {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.settings.items()}
        for part, make in ((self.numbers, number), (self.terms, term)):
            for path, value in part.items():
                name, _, key = path.partition(".")
                if key:
                    found[name][key] = make(path, value)
                else:
                    found[name] = make(path, value)
        return {p.name: found[p.name] for p in self.plugin.parameters if p.name in found}

    def bind(self, arguments: Mapping[str, Any]) -> Any:
        """Return what is called with the data, given the arguments; see `Description.bind`."""
        parameters = {parameter.name: parameter for parameter in self.plugin.parameters}
        values = {name: typed(parameters[name], value) for name, value in arguments.items()}
        data_arguments = self.registry.kind.data_arguments
        made = self.plugin.bind(values, called=bool(data_arguments))
        is_made = bool(data_arguments) and self.plugin.style is not Style.FUNCTION
        if is_made and (why := check_call(made, data_arguments)):
            raise self.plugin.broken(why)
        return made

    def made(self) -> Any:
        """Return what `bind` makes of it with what its own numbers and terms are built to; nothing is wrapped."""

        def build(path: str, value: Any) -> Any:
            return value.registry.build(value) if isinstance(value, Spec) else value

        return self.bind(self.arguments(build, build))

    def node(self) -> dict[str, Any]:
        """Return the config node: `{name: <qualified name>, <parameter>: <value>, …}`."""

        def plain(path: str, value: Any) -> Any:
            return value.node() if isinstance(value, Spec) else value

        return {"name": self.plugin.qualified_name, **self.arguments(plain, plain)}


def parse(registry: Registry, plugin: Plugin, values: Mapping[str, Any], key: str = "") -> Spec:
    """Hold parameters against a plugin's signature; see `Registry.parse`."""
    described = registry.describe(plugin)
    accepted = {parameter.name: parameter for parameter in described.parameters}
    for name in values:
        if name not in accepted:
            hint = did_you_mean(str(name), accepted)
            owner = owner_of(registry, plugin)
            raise ParameterError(f"{join(key, name)}: {owner} has no parameter '{name}'.{hint} {_takes(described)}")
    parts: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
    spec = Spec(registry, described, *parts)
    for name, parameter in accepted.items():
        value = plain_number(values.get(name, _MISSING), parameter.takes_number or parameter.takes_numbers)
        if name == "reduction" and parameter.default == REDUCTION and value in (REDUCTION, _MISSING):
            continue  # Keras's own, which it saves itself
        if not (isinstance(value, str) and value == _MISSING):
            _sort(parameter, value, join(key, name), spec, *parts)
        elif not parameter.required and name not in values:
            own: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
            with contextlib.suppress(ParameterError):  # what is no plain data, or not of its type, is the plugin's own
                if isinstance(default := parameter.config_default, PLAIN):
                    _sort(parameter, default, join(key, name), spec, *own)
                    for part, sorted_in in zip(parts, own, strict=True):
                        part.update(sorted_in)
        else:  # a config may demand a value by `???`, where there is a default
            why = ", which has no default" if parameter.required else ""
            raise ParameterError(
                f"{join(key, name)}: {spec.owner} needs a value for '{name}'{why}. {_takes(described)}"
            )
    return spec


def _sort(
    parameter: Parameter,
    value: Any,
    key: str,
    spec: Spec,
    settings: dict[str, Any],
    numbers: dict[str, Any],
    terms: dict[str, Any],
) -> None:
    """Sort a value, and what is inside of it, into the parts of a `Spec` that is being made."""
    name, registry = parameter.name, spec.registry
    several = parameter.takes_numbers or (parameter.takes_plugins and not is_node(value))
    several = several and isinstance(value, Mapping)
    entries = {f"{name}.{inner}": v for inner, v in value.items()} if several else {name: value}
    if several:
        settings[name] = dict.fromkeys(value)
    if parameter.takes_plugins:
        of_terms = registry.kind.terms or registry
        for path, term in entries.items():
            terms[path] = term if is_created(term) else of_terms.parse(term, key=key + path.removeprefix(name))
        return
    takes_number = parameter.takes_number or parameter.takes_numbers or parameter.type is Any
    constants = {}
    for path, inner in entries.items():
        if takes_number and is_node(inner) and (found := registry.number_registry(inner, parameter, key=key)):
            numbers[path] = found.parse(inner, key=key + path.removeprefix(name))
        elif takes_number and not isinstance(inner, PLAIN):
            numbers[path] = inner
        elif is_created(inner):
            raise ParameterError(f"{key}: {spec.owner} takes {parameter.type_name} for '{name}', not {inner!r}.")
        else:
            constants[path.removeprefix(f"{name}.")] = inner
    if not constants:
        return
    checked = check_value(parameter, constants if several else value, where=key, owner=spec.owner)
    for inner, constant in (checked if several else {"": checked}).items():
        if takes_number and is_number(constant):
            numbers[join(name, inner)] = constant
        elif several:
            settings[name][inner] = constant
        else:
            settings[name] = constant


def owner_of(registry: Registry, plugin: Plugin) -> str:
    """Return what a plugin is, for messages."""
    return f"{registry.kind.noun} '{plugin.name}' ({plugin.origin})"


def join(path: str, name: str) -> str:
    """Return the path of something inside, or behind nothing its name alone."""
    return f"{path}.{name}" if path and name else path or name


def is_node(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value is a config node that names a plugin."""
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number of Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_created(value: object) -> bool:
    """Whether a registry created it, so that it knows its `plugin` and its `parameters`."""
    return isinstance(getattr(value, "plugin", None), Plugin)


def _takes(plugin: Description) -> str:
    shown = ", ".join(map(str, plugin.parameters))
    return f"It takes: {shown}." if shown else "It takes no parameters."
