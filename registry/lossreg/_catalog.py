"""Finding plugins by name, describing them, and building them from parameters or a config node."""

from __future__ import annotations

import functools
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, TypeVar

from lossreg._errors import (
    AmbiguousNameError,
    BrokenPluginError,
    DuplicateNameError,
    ParameterError,
    RegistryError,
    UnknownNameError,
    did_you_mean,
)
from lossreg._signature import Parameter, Style, check_parameters, read_signature
from lossreg._source import Outline, outline_of_object, outline_of_source

Target = TypeVar("Target")


@dataclass(frozen=True)
class Kind:
    """What a registry holds.

    Arguments:
        noun: what one entry is called in messages.
        data_arguments: the arguments that Keras hands to an entry when it is called.
        numbers: the registries whose entries may stand in the place of a number that is a parameter of an entry.
    """

    noun: str
    data_arguments: tuple[str, ...]
    numbers: tuple[Registry, ...] = ()


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

    def load(self) -> Any:
        """Import the target.

        Raises:
            BrokenPluginError: if it cannot be imported or is not callable; names the distribution and the cause.
        """
        if self.registered is not None:
            return self.registered
        try:
            target = metadata.EntryPoint(self.name, self.target, "").load()
        except Exception as error:
            raise BrokenPluginError(
                f"'{self.name}' of package {self.origin} cannot be used: importing {self.target} "
                f"raised {type(error).__name__}: {error}"
            ) from error
        if not callable(target):
            raise BrokenPluginError(
                f"'{self.name}' of package {self.origin} cannot be used: "
                f"{self.target} is a {type(target).__name__}, not a function or a class"
            )
        return target


@dataclass(frozen=True)
class Description:
    """What is known of a plugin without building it.

    Arguments:
        name: the bare name.
        qualified_name: `<distribution>/<name>`.
        distribution: the distribution that registers it, or `None` for `register`.
        version: that distribution's version, or `None`.
        target: `"module:attribute"`.
        style: function, factory or class.
        parameters: its hyperparameters.
        docstring: its docstring, or an empty string.
    """

    name: str
    qualified_name: str
    distribution: str | None
    version: str | None
    target: str
    style: Style
    parameters: tuple[Parameter, ...]
    docstring: str

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.docstring.strip().partition("\n")[0]


class Registry:
    """Plugins of one kind, by name, from every installed package.

    A package registers a plugin with one line of metadata:

    ```toml
    [project.entry-points."lossreg.losses"]
    focal = "their_package:focal"
    ```

    The target may be a function of the data and its parameters, a factory that takes the parameters and returns such
    a function, a Keras class, or any other callable class. Its signature is its schema.

    A bare name is enough while one package registers it; `<distribution>/<name>` always works. Listing imports
    nothing; `get` and `create` import the one plugin they are asked for.

    Arguments:
        group: the entry-point group.
        kind: what the registry holds.
    """

    def __init__(self, group: str, kind: Kind) -> None:
        self.group = group
        self.kind = kind
        self._registered: dict[str, Plugin] = {}

    def __repr__(self) -> str:
        return f"Registry({self.group!r}, {len(self.names())} names)"

    @functools.cached_property
    def _installed(self) -> list[Plugin]:
        return [
            Plugin(point.name, point.value, point.dist.name, point.dist.version)
            for point in metadata.entry_points(group=self.group)
            if point.dist is not None
        ]

    def plugins(self) -> list[Plugin]:
        """Return every plugin, sorted by name and distribution; nothing is imported."""
        return _sorted([*self._installed, *self._registered.values()])

    def names(self) -> list[str]:
        """Return every name that `get` takes, sorted; names that several packages chose are listed qualified."""
        plugins = self.plugins()
        bare = [plugin.name for plugin in plugins]
        return sorted(p.name if bare.count(p.name) == 1 else p.qualified_name for p in plugins)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and len(self.matches(name)) == 1

    def find(self, name: str, *, key: str = "") -> Plugin:
        """Return the plugin by this name; nothing is imported.

        Arguments:
            name: a bare or qualified name.
            key: the config key that holds the name, for messages.

        Raises:
            UnknownNameError: if there is none; names the nearest one, and all with their packages.
            AmbiguousNameError: if several packages register it; names them.
        """
        matches = self.matches(name)
        where = f"{key}: " if key else ""
        if len(matches) == 1:
            return matches[0]
        if matches:
            qualified = " or ".join(f"'{plugin.qualified_name}'" for plugin in matches)
            raise AmbiguousNameError(
                f"{where}Several packages register a {self.kind.noun} '{name}'. Say which one: {qualified}."
            )
        by_origin: dict[str, list[str]] = {}
        names = self.names()
        for plugin in self.plugins():
            listed = plugin.name if plugin.name in names else plugin.qualified_name
            by_origin.setdefault(plugin.origin, []).append(listed)
        options = "".join(
            textwrap.fill(", ".join(listed), 100, initial_indent=f"\n  {origin}: ", subsequent_indent="    ")
            for origin, listed in sorted(by_origin.items())
        )
        hint = did_you_mean(str(name), names)
        raise UnknownNameError(f"{where}There is no {self.kind.noun} '{name}'.{hint} Available:{options or ' nothing'}")

    def matches(self, name: str) -> list[Plugin]:
        """Return every plugin that the bare or qualified name may mean; nothing is imported."""
        distribution, slash, bare = str(name).rpartition("/")
        return _sorted(  # a sweep asks for every job: the few that match are sorted, not all
            plugin
            for plugin in (*self._installed, *self._registered.values())
            if plugin.name == bare
            and (not slash or _normalized(plugin.distribution or "") == _normalized(distribution))
        )

    def get(self, name: str) -> Any:
        """Return the target itself: the function, factory or class. Only this one plugin is imported.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            BrokenPluginError: if it cannot be imported or is not callable.
        """
        return self.find(name).load()

    def describe(self, name: str) -> Description:
        """Describe a plugin: where it comes from, its parameters with type and default, its docstring.

        The source is read without being imported wherever it settles the signature.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            BrokenPluginError: if it must be imported to be described, and cannot be.
        """
        return self._describe(self.find(name))

    def _describe(self, plugin: Plugin) -> Description:
        try:
            return self.describe_source(plugin) or self._description(plugin, outline_of_object(plugin.load()))
        except (TypeError, ValueError) as error:
            raise BrokenPluginError(f"'{plugin.name}' of package {plugin.origin} cannot be used: {error}") from error

    def describe_source(self, plugin: Plugin) -> Description | None:
        """Describe a plugin from its source alone: nothing is imported.

        Returns:
            What `describe` returns, or `None` where the source cannot be found or does not settle the signature.

        Raises:
            ValueError: if a config cannot hold its parameters.
        """
        outline = None if plugin.registered is not None else outline_of_source(plugin.target)
        return None if outline is None else self._description(plugin, outline)

    def _description(self, plugin: Plugin, outline: Outline) -> Description:
        style, parameters = read_signature(outline, self.kind.data_arguments)
        return Description(
            name=plugin.name,
            qualified_name=plugin.qualified_name,
            distribution=plugin.distribution,
            version=plugin.version,
            target=plugin.target,
            style=style,
            parameters=parameters,
            docstring=outline.docstring,
        )

    def check(self, cfg: Mapping[str, Any], *, key: str = "") -> dict[str, Any]:
        """Hold a config node against the plugin that it names; nothing is built.

        Arguments:
            cfg: `{name: <registered name>, <parameter>: <value>, …}`, a mapping or an OmegaConf node.
            key: the config key of the node, for messages: `"loss"`.

        Returns:
            The parameters that the node gives, checked, without `name`.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            ParameterError: on an unknown parameter, a missing one, or a value of the wrong type.
        """
        node = _plain(cfg)
        if not _is_node(node):
            where = f"{key}: " if key else ""
            raise ParameterError(f"{where}expected {{name: <{self.kind.noun}>, …}}, not {node!r}.")
        values = {name: value for name, value in node.items() if name != "name"}
        return self._check(self.find(node["name"], key=f"{key}.name" if key else ""), values, key)

    def _check(self, plugin: Plugin, values: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        owner = f"{self.kind.noun} '{plugin.name}' ({plugin.origin})"
        parameters = self._describe(plugin).parameters
        nodes = {p.name: found for p in parameters if (found := self.nodes_in(p, values.get(p.name)))}
        constants = {name: _without(value, nodes.get(name, {})) for name, value in values.items()}
        checked = check_parameters(parameters, constants, owner=owner, key=key)
        prefix = f"{key}." if key else ""
        for parameter in parameters:
            name = parameter.name
            if parameter.takes_plugins and name in checked:
                checked[name] = self._map_terms(checked[name], self._check_term, f"{prefix}{name}")
            for inner, node in nodes.get(name, {}).items():
                if not self.kind.numbers:
                    raise ParameterError(f"{prefix}{name}: {owner} takes {parameter.type_name}, not {node!r}.")
                number = self._check_number(node, f"{prefix}{name}.{inner}" if inner else f"{prefix}{name}")
                checked[name] = _with_number(checked[name], inner, number)
        return checked

    def nodes(self, node: Any, key: str = "") -> Iterator[tuple[str, Registry, Mapping[str, Any]]]:
        """Yield a plugin's config node and those inside it: terms, and what stands in the place of numbers.

        Arguments:
            node: the node; anything else has none inside.
            key: its config key.

        Returns:
            Each with its config key and its registry.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`, after the node in question.
        """
        if not _is_node(node):
            return
        yield key, self, node
        for parameter in self._describe(self.find(node["name"], key=f"{key}.name" if key else "")).parameters:
            value, where = node.get(parameter.name), f"{key}.{parameter.name}" if key else parameter.name
            if parameter.takes_plugins and isinstance(value, Mapping):
                for name, term in ({"": value} if _is_node(value) else value).items():
                    yield from self.nodes(term, f"{where}.{name}" if name else where)
            elif kinds := self.kind.numbers:
                for name, number in self.nodes_in(parameter, value).items():
                    kind = next((kind for kind in kinds if kind.matches(number["name"])), kinds[0])
                    yield from kind.nodes(number, f"{where}.{name}" if name else where)

    def nodes_in(self, parameter: Parameter, value: Any) -> dict[str, Mapping[str, Any]]:
        """Return the nodes that stand in the place of a parameter's numbers: by key in a mapping, else under `""`."""
        if parameter.takes_numbers and isinstance(value, Mapping):
            return {name: inner for name, inner in value.items() if _is_node(inner)}
        if _is_node(value) and (
            parameter.takes_number
            # Without a type it may be a number; data with a name is left alone.
            or (parameter.type is Any and any(registry.matches(value["name"]) for registry in self.kind.numbers))
        ):
            return {"": value}
        return {}

    def number_registry(self, name: str, *, key: str = "") -> Registry:
        """Return the registry of the schedule or variable that stands in the place of a number.

        Arguments:
            name: its registered name.
            key: the config key that holds the name, for messages.

        Raises:
            UnknownNameError: if there is none; names the nearest one.
            AmbiguousNameError: if it is several kinds of thing.
        """
        found = [registry for registry in self.kind.numbers if registry.matches(name)]
        if len(found) == 1:
            return found[0]
        where, nouns = f"{key}: " if key else "", " or ".join(registry.kind.noun for registry in self.kind.numbers)
        if found:
            raise AmbiguousNameError(f"{where}'{name}' may be a {nouns}; say which one as <distribution>/<name>.")
        names = [name for registry in self.kind.numbers for name in registry.names()]
        raise UnknownNameError(
            f"{where}There is no {nouns} '{name}'.{did_you_mean(str(name), names)} Available: {', '.join(names)}"
        )

    def _check_number(self, node: Mapping[str, Any], key: str) -> dict[str, Any]:
        registry = self.number_registry(node["name"], key=f"{key}.name")
        return registry._check_term(node, key)

    def _map_terms(self, terms: Any, function: Callable[[Any, str], Any], key: str = "") -> Any:
        """Apply a function to a parameter that holds a plugin, or a mapping of plugins by name."""
        if isinstance(terms, Mapping) and "name" not in terms:
            return {name: function(term, f"{key}.{name}") for name, term in terms.items()}
        return function(terms, key)

    def _check_term(self, term: Any, key: str) -> Any:
        """Check the node of a plugin inside a plugin; what `create` made is as it should be."""
        if is_registered(term):
            return term
        params = self.check(term, key=key)
        return {"name": self.find(term["name"]).qualified_name, **params}

    def _build_term(self, term: Any, key: str) -> Any:
        return term if is_registered(term) else self.build(term, key=key)

    def create(self, name: str, /, **params: Any) -> Any:
        """Create a Keras object: a `keras.losses.Loss`, a `Regularizer`, a `LearningRateSchedule`, or a variable.

        Arguments:
            name: a registered name, bare or qualified.
            **params: its parameters; what is left out takes its default. In the place of a number may stand a
                schedule, a variable, or the config node of one; see `lossreg.attach`.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            BrokenPluginError: if the plugin cannot be imported or called.
            ParameterError: on an unknown parameter, a missing one, or a value of the wrong type.
        """
        plugin = self.find(name)
        return self._create(plugin, self._check(plugin, params))

    def build(self, cfg: Mapping[str, Any], *, key: str = "") -> Any:
        """Create a Keras object from a config node `{name: …, <parameter>: …}`; see `check` and `create`."""
        params = self.check(cfg, key=key)
        return self._create(self.find(_plain(cfg)["name"]), params, key)

    def _create(self, plugin: Plugin, params: dict[str, Any], key: str = "") -> Any:
        target = plugin.load()
        description = self._describe(plugin)

        built = {
            p.name: self._map_terms(params[p.name], self._build_term, f"{key}.{p.name}".lstrip("."))
            for p in description.parameters
            if p.takes_plugins and p.name in params
        }
        for parameter in description.parameters:
            for inner, node in self.nodes_in(parameter, params.get(parameter.name)).items():
                where = f"{parameter.name}.{inner}" if inner else parameter.name
                try:
                    number = self.number_registry(node["name"]).build(node)
                except RegistryError as error:  # a value out of bounds
                    raise type(error)(f"{key}.{where}: {error}" if key else f"{where}: {error}") from error
                value = built.get(parameter.name, params[parameter.name])
                built[parameter.name] = _with_number(value, inner, number)
        from lossreg import _wrappers  # imports Keras

        return _wrappers.create(self.kind.noun, plugin, description, target, params | built)

    def register(self, name: str, *, replace: bool = False) -> Callable[[Target], Target]:
        """Register the decorated function or class under a name in this process, for notebooks and tests.

        Arguments:
            name: the name.
            replace: whether a name registered in this process before may be taken over.

        Raises:
            DuplicateNameError: if the name is taken; a name of an installed package always is.

        Example:
        >>> import lossreg
        >>> @lossreg.losses.register("absolute")
        ... def absolute(y_true, y_pred, scale=1.0):
        ...     return scale * abs(y_true - y_pred)
        >>> print(*lossreg.losses.describe("absolute").parameters)
        scale: float = 1.0
        >>> lossreg.losses.unregister("absolute")
        """

        def decorate(target: Target) -> Target:
            if not callable(target):
                raise BrokenPluginError(f"'{name}' cannot be registered: {target!r} is not a function or a class")
            installed = [plugin for plugin in self._installed if plugin.name == name]
            taken = installed or ([self._registered[name]] if name in self._registered and not replace else [])
            if taken:
                how = "" if installed else " Pass replace=True to take it over."
                raise DuplicateNameError(
                    f"The {self.kind.noun} '{name}' is taken: {taken[0].target} ({taken[0].origin}).{how}"
                )
            where = f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__name__)}"
            self._registered[name] = Plugin(name, where, registered=target)
            return target

        return decorate

    def unregister(self, name: str) -> None:
        """Forget a name that `register` took in this process.

        Raises:
            UnknownNameError: if it was not registered in this process.
        """
        if name not in self._registered:
            raise UnknownNameError(f"There is no {self.kind.noun} '{name}' registered in this process.")
        del self._registered[name]


def _sorted(plugins: Iterable[Plugin]) -> list[Plugin]:
    return sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution or ""))


def _normalized(distribution: str) -> str:
    """Normalize a distribution's name as PyPI does (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def is_registered(value: object) -> bool:
    """Whether a registry created it, so that it knows its `plugin` and its `parameters`."""
    return isinstance(getattr(value, "plugin", None), Plugin)


def _without(value: Any, nodes: Mapping[str, Any]) -> Any:
    """Return a value with a number in the place of each node, which `Registry.nodes_in` found in it."""
    if "" in nodes:
        return 0.0
    return {name: 0.0 if name in nodes else inner for name, inner in value.items()} if nodes else value


def _with_number(value: Any, key: str, number: Any) -> Any:
    """Return a value with something in the place of a number, in a mapping under a key that is not empty."""
    return {**value, key: number} if key else number


def _plain(cfg: Any) -> Any:
    """Return an OmegaConf node as plain data; whoever holds one has loaded OmegaConf."""
    if "omegaconf" in sys.modules:
        from omegaconf import OmegaConf

        if OmegaConf.is_config(cfg):
            return OmegaConf.to_container(cfg, resolve=True)
    return cfg
