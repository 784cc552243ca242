"""Finding plugins by name, describing them, and building them from parameters or a config node."""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, TypeVar

from lossreg import _signature
from lossreg._errors import (
    AmbiguousNameError,
    BrokenPluginError,
    DuplicateNameError,
    ParameterError,
    UnknownNameError,
    did_you_mean,
)
from lossreg._plugin import NAME, Description, Kind, Parameter, Plugin
from lossreg._spec import Spec, is_node, join, parse

Target = TypeVar("Target")

DOMAINS_GROUP = "lossreg.domains"
"""The group in which a package says, under a loss's name, which data it takes; the checks read it."""
_GROUPS = {DOMAINS_GROUP}
"""The groups that somebody reads."""


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
        kind: what the registry holds.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._registered: dict[str, Plugin] = {}
        self._described: dict[tuple[Plugin, int], Description] = {}
        _GROUPS.add(kind.group)

    @property
    def group(self) -> str:
        """The entry-point group."""
        return self.kind.group

    def __repr__(self) -> str:
        return f"Registry({self.group!r}, {len(self.names())} names)"

    @functools.cached_property
    def _installed(self) -> dict[str, list[Plugin]]:
        found: dict[str, list[Plugin]] = {}
        for plugin in _scan(tuple(sys.path))[0].get(self.group, ()):
            found.setdefault(plugin.name, []).append(plugin)
        return found

    def plugins(self) -> list[Plugin]:
        """Return every plugin, sorted by name and distribution; nothing is imported."""
        return _sorted([*(p for plugins in self._installed.values() for p in plugins), *self._registered.values()])

    def names(self) -> list[str]:
        """Return every name that `get` takes, sorted; names that several packages chose are listed qualified."""
        plugins = [plugin for plugin in self.plugins() if NAME.fullmatch(plugin.name)]
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
            group = self.kind.config_group
            option = f" ({group}={matches[0].qualified_name})" if key in (f"{group}={name}", f"{group}.name") else ""
            raise AmbiguousNameError(
                f"{where}Several packages register a {self.kind.noun} '{name}'. Say which one: {qualified}{option}."
            )
        names = self.names()
        listed = [(p.origin, p.name if p.name in names else p.qualified_name) for p in self.plugins()]
        options = "".join(
            textwrap.fill(
                ", ".join(n for o, n in listed if o == origin),
                100,
                initial_indent=f"\n  {origin}: ",
                subsequent_indent="    ",
            )
            for origin in sorted(dict.fromkeys(origin for origin, _ in listed))
        )
        hint = did_you_mean(str(name), names)
        message = f"{where}There is no {self.kind.noun} '{name}'.{hint} Available:{options or ' nothing'}"
        message += "".join(f"\n{package} cannot be used: {why}" for package, why in unread())
        raise UnknownNameError(message, str(name), self.kind.noun, self.group)

    def matches(self, name: str) -> list[Plugin]:
        """Return every plugin that the bare or qualified name may mean; nothing is imported."""
        distribution, _, bare = str(name).partition("/")
        wanted = _normalized(distribution)
        qualified = [p for p in self._installed.get(bare, ()) if _normalized(p.distribution or "") == wanted]
        found = [*self._installed.get(name, ()), *filter(None, [self._registered.get(name)])]
        return _sorted(qualified or found)

    def get(self, name: str) -> Any:
        """Return the target itself: the function, factory or class. Only this one plugin is imported.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            BrokenPluginError: if it cannot be imported or is not callable.
        """
        return self.find(name).load()

    def describe(self, name: str | Plugin) -> Description:
        """Describe a plugin; its source is read without being imported wherever that settles the signature.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            BrokenPluginError: if it must be imported to be described, and cannot be.
        """
        plugin = self.find(name) if isinstance(name, str) else name
        key = plugin, id(plugin.registered)
        if key not in self._described:
            if fault := plugin.fault:
                raise plugin.broken(fault)
            self._described[key] = _signature.describe(plugin, self.kind.data_arguments)
        return self._described[key]

    def parse(self, cfg: Mapping[str, Any], *, key: str = "") -> Spec:
        """Hold a config node against the plugin that it names, and those inside it; nothing is built.

        Arguments:
            cfg: `{name: <registered name>, <parameter>: <value>, …}`, a mapping or an OmegaConf node.
            key: the config key of the node, for messages: `"loss"`.

        Returns:
            The parsed node, which `build` takes.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            ParameterError: on an unknown parameter, a missing one, or a value of the wrong type.
        """
        node = _plain(cfg)
        if not is_node(node):
            where = f"{key}: " if key else ""
            hint = f" A name is for create({node!r})." if isinstance(node, str) else ""
            raise ParameterError(f"{where}expected {{name: <{self.kind.noun}>, …}}, not {node!r}.{hint}")
        values = {name: value for name, value in node.items() if name != "name"}
        return parse(self, self.find(node["name"], key=join(key, "name") if key else ""), values, key)

    def number_registry(self, node: Mapping[str, Any], parameter: Parameter, *, key: str) -> Registry | None:
        """Return the registry of the node in the place of a parameter's number; `None` if it is plain data.

        Where a parameter has no type, data that has a name is left alone.
        """
        kinds, name = self.kind.numbers, node["name"]
        found: list[Registry] = [registry for registry in kinds if registry.matches(name)]
        if len(found) == 1 or not kinds or (not found and parameter.type is Any):
            return found[0] if found else None
        nouns = " or ".join(registry.kind.noun for registry in kinds)
        if found:
            raise AmbiguousNameError(f"{key}.name: '{name}' may be a {nouns}; say which as <distribution>/<name>.")
        names = [name for registry in kinds for name in registry.names()]
        message = f"{key}.name: There is no {nouns} '{name}'.{did_you_mean(name, names)} Available: {', '.join(names)}"
        raise UnknownNameError(message, name, nouns, kinds[-1].group)

    def create(self, name: str, /, **params: Any) -> Any:
        """Create a Keras object: a `keras.losses.Loss`, a `Regularizer`, a `LearningRateSchedule`, or a learned number.

        Arguments:
            name: a registered name, bare or qualified.
            **params: its parameters; what is left out takes its default. In the place of a number may stand a
                schedule, a learned number, or the config node of one; see `lossreg.attach`.

        Raises:
            UnknownNameError, AmbiguousNameError: as `find`.
            BrokenPluginError: if the plugin cannot be imported or called.
            ParameterError: on an unknown parameter, a missing one, or a value of the wrong type.
        """
        if not isinstance(name, str):
            raise ParameterError(f"create takes a name and parameters, not {name!r}. A config node is for build.")
        return self.build(parse(self, self.find(name), params))

    def build(self, cfg: Mapping[str, Any] | Spec, *, key: str = "") -> Any:
        """Create a Keras object from a config node `{name: …, <parameter>: …}`, parsed or not; see `create`."""
        spec = cfg if isinstance(cfg, Spec) else self.parse(cfg, key=key)
        spec.plugin.load(
            keras_first=bool(self.kind.data_arguments)
        )  # a broken plugin is refused before Keras is imported
        try:
            return self.kind.wrap(spec)
        except ParameterError as error:  # a value out of bounds
            raise type(error)(f"{key}.{error}" if key else str(error)) from error

    def register(self, name: str, *, replace: bool = False) -> Callable[[Target], Target]:
        """Register the decorated function or class under a name in this process, for notebooks and tests.

        Arguments:
            name: the name.
            replace: whether a name registered in this process before may be taken over, also by what is defined
                elsewhere.

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
            where = f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__name__)}"
            plugin = Plugin(name, where, registered=target)
            if plugin.fault:
                raise BrokenPluginError(f"{name!r} cannot be registered: {plugin.fault}")
            installed, before = self._installed.get(name, []), self._registered.get(name)
            # A cell of a notebook that is run again defines it again.
            again = hasattr(target, "__qualname__") and "<lambda>" not in where and before == plugin
            taken = installed or ([before] if before and not replace and not again else [])
            if taken:
                how = "" if installed else " Pass replace=True to take it over."
                raise DuplicateNameError(
                    f"The {self.kind.noun} '{name}' is taken: {taken[0].target} ({taken[0].origin}).{how}"
                )
            self._registered[name] = plugin
            return target

        return decorate

    def unregister(self, name: str) -> None:
        """Forget a name that `register` took in this process.

        Raises:
            UnknownNameError: if it was not registered in this process.
        """
        if name not in self._registered:
            raise UnknownNameError(f"There is no {self.kind.noun} '{name}' registered in this process.")
        self._described.pop((self._registered[name], id(self._registered.pop(name).registered)), None)


@functools.lru_cache(maxsize=1)
def _scan(path: tuple[str, ...]) -> tuple[dict[str, list[Plugin]], list[tuple[str, str]]]:
    """Return what the packages on `sys.path` register, by group, and those that cannot be read, each with the cause."""
    found: dict[str, list[Plugin]] = {}
    unreadable: list[tuple[str, str]] = []
    seen = set()
    for distribution in metadata.distributions():
        try:
            points = _points_of(distribution)
            if not points:
                continue
            name = _normalized(distribution.name)
            if name in seen:
                continue
            seen.add(name)
            installed = metadata.distribution(name)  # which hides others of the name further down the path
            same = installed.locate_file("") == distribution.locate_file("")
            plugins: dict[tuple[str, str], Plugin] = {}
            for point in points if same else _points_of(installed):
                target = point.value.partition("[")[0].replace(" ", "")  # an extra says what must be installed
                plugin = Plugin(point.name, target, installed.name, installed.version)
                if plugins.setdefault((point.group, point.name), plugin) != plugin:
                    raise ValueError(f"'{point.name}' stands twice in {point.group}")
            for (group, _), plugin in plugins.items():
                found.setdefault(group, []).append(plugin)
        except Exception as error:  # whatever strangers wrote
            unreadable.append((_folder_of(distribution), f"its metadata cannot be read: {error}"))
    return found, unreadable


def _points_of(distribution: metadata.Distribution) -> list[metadata.EntryPoint]:
    lines = (distribution.read_text("entry_points.txt") or "").splitlines()
    for place, line in enumerate(filter(None, map(str.strip, lines))):
        if not line.startswith(("[", "#")) and (place == 0 or "=" not in line):
            raise ValueError(f"{line!r} in entry_points.txt is no <name> = <module>:<object> in a [<group>]")
    return [point for point in distribution.entry_points if _may_be_ours(point.group)]


def _folder_of(distribution: metadata.Distribution) -> str:
    """Return the name of a distribution whose METADATA may be broken."""
    with contextlib.suppress(Exception):
        folders = {file.parts[0] for file in distribution.files or ()}
        return next(folder.rpartition(".")[0] for folder in folders if folder.endswith((".dist-info", ".egg-info")))
    return f"A package in {distribution.locate_file('')}"


def _may_be_ours(group: str) -> bool:
    return "lossreg" in group.lower() or bool(difflib.get_close_matches(group, _GROUPS, 1, 0.8))


def unread() -> list[tuple[str, str]]:
    """Return the packages that register something in vain, each with the reason."""
    found, unreadable = _scan(tuple(sys.path))
    return unreadable + [
        (plugin.origin, f"it registers '{plugin.name}' in '{group}', which nobody reads.{did_you_mean(group, _GROUPS)}")
        for group in sorted(found.keys() - _GROUPS)
        for plugin in found[group]
    ]


def _sorted(plugins: Iterable[Plugin]) -> list[Plugin]:
    return sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution or ""))


def _normalized(distribution: str) -> str:
    """Normalize a distribution's name as PyPI does (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _plain(cfg: Any) -> Any:
    """Return an OmegaConf node as plain data; whoever holds one has loaded OmegaConf."""
    if "omegaconf" in sys.modules:
        from omegaconf import OmegaConf

        if OmegaConf.is_config(cfg):
            return OmegaConf.to_container(cfg, resolve=True)
    return cfg
