"""What `list` and `show` print of a plugin: its description, and whether it works as far as that is known."""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import dataclass
from typing import Any

from lossreg import KINDS, Description, Plugin, RegistryError, UnknownNameError, did_you_mean
from lossreg._source import outline_of_source


@dataclass(frozen=True)
class Entry:
    """One plugin as it is listed.

    Arguments:
        kind: a key of `KINDS`.
        plugin: where it comes from.
        name: the name to use: bare, or qualified where several packages chose it.
        description: what it is, or `None` where that is not known.
        state: `"ok"`, `"broken"`, `"ambiguous"`, or `"unknown"` where only importing it can tell.
        reason: why it is not ok, and what to do.
    """

    kind: str
    plugin: Plugin
    name: str
    description: Description | None
    state: str
    reason: str

    @property
    def parameters(self) -> str:
        """The parameters as in a signature, or a question mark."""
        if self.description is None:
            return "?"
        shown = ((p.name, "" if p.required else f"={p.default!r}") for p in self.description.parameters)
        return ", ".join(map("".join, shown))

    def as_dict(self) -> dict[str, Any]:
        """Return it as data for JSON; infinities, and defaults that JSON does not know, are text."""
        about = self.description
        return {
            "kind": self.kind,
            "name": self.plugin.name,
            "qualified_name": self.plugin.qualified_name,
            "distribution": self.plugin.distribution,
            "version": self.plugin.version,
            "target": self.plugin.target,
            "style": about and about.style.value,
            "parameters": about
            and [
                {"name": p.name, "type": p.type_name, "required": p.required}
                | ({} if p.required else {"default": _jsonable(p.default)})
                for p in about.parameters
            ],
            "summary": about and about.summary,
            "state": self.state,
            "reason": self.reason,
        }


def entry(kind: str, plugin: Plugin, *, importing: bool) -> Entry:
    """Describe one plugin.

    Arguments:
        kind: a key of `KINDS`.
        plugin: the plugin.
        importing: whether it may be imported, to say for certain; otherwise only its source is read.
    """
    registry = KINDS[kind]
    name = plugin.name if plugin.name in registry.names() else plugin.qualified_name
    state, reason = ("ok", "") if name == plugin.name else ("ambiguous", f"several packages register '{plugin.name}'")
    module = plugin.target.partition(":")[0].partition(".")[0]
    try:
        if importing:
            plugin.load()
        elif plugin.registered is None and importlib.util.find_spec(module) is None:
            return Entry(kind, plugin, name, None, "broken", f"No module named '{module}'")
        elif plugin.registered is None and outline_of_source(plugin.target) is None:
            return Entry(
                kind, plugin, name, None, "unknown", f"only importing it tells; see: python -m lossreg show {name}"
            )
        return Entry(kind, plugin, name, registry.describe(plugin.qualified_name), state, reason)
    except RegistryError as error:
        return Entry(kind, plugin, name, None, "broken", str(error))


def find(name: str, kind: str | None = None) -> list[Entry]:
    """Describe what a name means, by importing it: one plugin, or plugins of several kinds.

    Arguments:
        name: a bare or qualified name.
        kind: a key of `KINDS`; every kind if left out.

    Raises:
        UnknownNameError: if there is none; names the nearest one.
        AmbiguousNameError: if several packages register it; names them.
    """
    kinds = [kind] if kind else [kind for kind, registry in KINDS.items() if registry.matches(name)]
    if not kinds:
        hint = did_you_mean(name, itertools.chain(*KINDS.values()))
        raise UnknownNameError(f"There is no plugin '{name}'.{hint} See: python -m lossreg list")
    return [entry(kind, KINDS[kind].find(name), importing=True) for kind in kinds]


def _jsonable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
