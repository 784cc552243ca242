"""What `list` and `show` print of a plugin: its description, and whether it works as far as that shows unimported."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import lossreg
from lossreg._catalog import Description, Plugin
from lossreg._errors import RegistryError, UnknownNameError, did_you_mean
from lossreg._signature import Parameter
from lossreg._source import fault_of_source

REGISTRIES = {
    "loss": lossreg.losses,
    "regularizer": lossreg.regularizers,
    "schedule": lossreg.schedules,
    "learned": lossreg.learned,
}
# What the config groups of a Hydra app are called.
GROUPS = {"loss": "loss", "regularizer": "reg", "schedule": "schedule", "variable": "variable"}


@dataclass(frozen=True)
class Entry:
    """One plugin as it is listed.

    Arguments:
        kind: a key of `REGISTRIES`.
        plugin: where it comes from.
        name: the name to use: bare, or qualified where several packages chose it.
        description: what it is, or `None` where only importing it could tell.
        state: `"ok"`, `"broken"` or `"ambiguous"`; `"ok"` means that its source shows no fault.
        reason: why it is not ok, and what to do.
    """

    kind: str
    plugin: Plugin
    name: str
    description: Description | None
    state: str
    reason: str

    @property
    def is_number(self) -> bool:
        """Whether it stands in the place of a number of another plugin: a schedule or a variable."""
        return self.kind in ("schedule", "variable")

    @property
    def parameters(self) -> str:
        """The parameters as in a signature; a question mark where only importing the plugin could tell."""
        if self.description is None:
            return "?"
        return ", ".join(
            parameter.name if parameter.required else f"{parameter.name}={parameter.default!r}"
            for parameter in self.description.parameters
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as data for JSON; infinities, and defaults that JSON does not know, are text."""
        description = self.description
        return {
            "kind": self.kind,
            "name": self.plugin.name,
            "qualified_name": self.plugin.qualified_name,
            "distribution": self.plugin.distribution,
            "version": self.plugin.version,
            "target": self.plugin.target,
            "style": description and description.style.value,
            "parameters": description and [_parameter(parameter) for parameter in description.parameters],
            "summary": description and description.summary,
            "state": self.state,
            "reason": self.reason,
        }


def entries(kinds: Iterable[str] = tuple(REGISTRIES)) -> Iterator[Entry]:
    """Yield every plugin of these kinds, sorted by name; nothing is imported."""
    for kind in kinds:
        names = set(REGISTRIES[kind].names())
        for plugin in REGISTRIES[kind].plugins():
            yield entry(kind, plugin, ambiguous=plugin.name not in names)


def entry(kind: str, plugin: Plugin, *, ambiguous: bool, importing: bool = False) -> Entry:
    """Describe one plugin.

    Arguments:
        kind: a key of `REGISTRIES`.
        plugin: the plugin.
        ambiguous: whether other packages chose its name too.
        importing: whether it may be imported if its source does not settle its signature.
    """
    registry_, description = REGISTRIES[kind], None
    fault = fault_of_source(plugin.target)
    try:
        description = registry_.describe_source(plugin)
        if description is None and importing and not fault:
            description = registry_.describe(plugin.qualified_name)
    except (RegistryError, ValueError) as error:
        fault = fault or str(error)
    state = "broken" if fault else "ambiguous" if ambiguous else "ok"
    reason = fault or (f"several packages register '{plugin.name}'" if ambiguous else "")
    return Entry(kind, plugin, plugin.qualified_name if ambiguous else plugin.name, description, state, reason)


def find(name: str, kind: str | None = None) -> list[Entry]:
    """Describe what a name means: one plugin, or plugins of several kinds.

    Arguments:
        name: a bare or qualified name.
        kind: a key of `REGISTRIES`; every kind if left out.

    Raises:
        UnknownNameError: if there is none; names the nearest one.
        AmbiguousNameError: if several packages register it; names them.
    """
    kinds = [kind] if kind else [kind for kind in REGISTRIES if REGISTRIES[kind].matches(name)]
    found: list[Entry] = []
    for chosen in kinds:
        registry_ = REGISTRIES[chosen]
        plugin = registry_.find(name)
        found.append(entry(chosen, plugin, ambiguous=plugin.name not in registry_.names(), importing=True))
    if not found:
        hint = did_you_mean(name, itertools.chain(*REGISTRIES.values()))
        raise UnknownNameError(f"There is no plugin '{name}'.{hint} See: python -m lossreg list")
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": parameter.name, "type": parameter.type_name, "required": parameter.required}
    return shown if parameter.required else shown | {"default": _jsonable(parameter.default)}


def _jsonable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
