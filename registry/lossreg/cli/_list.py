"""`python -m lossreg list`: list every installed plugin."""

from __future__ import annotations

import argparse
import functools
import json
from dataclasses import dataclass
from typing import Any

from lossreg import KINDS, Description, Parameter, Plugin, RegistryError, UnknownNameError, did_you_mean
from lossreg._catalog import unread
from lossreg._source import outline_of_source
from lossreg.cli._table import print_table, terminal_width

_WIDE = 1000  # one row a line, for grep
_PLURALS = {registry.kind.group.partition(".")[2]: kind for kind, registry in KINDS.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("only", nargs="?", metavar="KIND", help=f"only the plugins of one kind: {', '.join(_PLURALS)}")
    parser.add_argument("--kind", choices=list(KINDS), help="the same")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the list, and return 0; nothing is imported for it, neither a plugin nor TensorFlow."""
    kind = args.kind or (args.only and {**_PLURALS, **dict(zip(KINDS, KINDS, strict=True))}.get(args.only.lower()))
    if args.only and not kind:
        raise UnknownNameError(f"There is no kind '{args.only}'.{did_you_mean(args.only, _PLURALS)}")
    kinds = [kind] if kind else list(KINDS)
    listed = {kind: [entry(kind, plugin, importing=False) for plugin in KINDS[kind].plugins()] for kind in kinds}
    if args.json:
        broken = [{"kind": None, "distribution": p, "state": "broken", "reason": why} for p, why in unread()]
        print(json.dumps([*(row.as_dict() for rows in listed.values() for row in rows), *broken], indent=2))
        return 0
    for kind, rows in listed.items():
        noun = KINDS[kind].kind.noun
        title = f"{len(rows)} {noun}{'es' if noun.endswith('s') else 's'}"
        wide = terminal_width(_WIDE) >= _WIDE // 5
        columns = ("name", "package", "parameters", "help", "state") if wide else ("name", "what it is")
        print_table(title, columns, [row.cells() if wide else row.narrow() for row in rows], width=_WIDE)
    if broken_packages := [(package, (f"broken: {why}", "bold red")) for package, why in unread()]:
        print_table("packages of which something cannot be used", ("package", "state"), broken_packages, _WIDE)
    return 0


@dataclass(frozen=True)
class Entry:
    """What is known of a plugin, and whether it works as far as that is known."""

    kind: str
    plugin: Plugin
    name: str  # bare, or qualified where several packages chose it
    description: Description | None
    state: str  # "ok", "broken", "ambiguous", or "unknown" where only importing it can tell
    reason: str = ""  # why it is not ok, and what to do

    def cells(self) -> list[Any]:
        """Return the row of a table."""
        parameters, summary = "?", ""
        if self.description:
            shown = ((p.name, "" if p.required else f"={p.config_default!r}") for p in self.description.parameters)
            parameters, summary = ", ".join(map("".join, shown)), self.description.summary
        state = f"{self.state}: {self.reason}" if self.reason else self.state
        style = {"broken": "bold red", "ambiguous": "yellow"}.get(self.state, "")
        return [self.name, self.plugin.origin, parameters, summary, (state, style)]

    def narrow(self) -> list[Any]:
        """Return the row of a table for a terminal: the name, and all else below each other."""
        name, package, parameters, summary, (state, style) = self.cells()
        package = "" if self.plugin.distribution == "lossreg" else package
        about = [summary, parameters if self.description else "", package, "" if self.state == "ok" else state]
        return [name, ("\n".join(filter(None, about)), style)]

    def as_dict(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        about, origin = self.description, ("name", "qualified_name", "distribution", "version", "target")
        return {
            "kind": self.kind,
            **{name: getattr(self.plugin, name) for name in origin},
            "style": about and about.style.value,
            "parameters": about and [_as_dict(parameter) for parameter in about.parameters],
            "summary": about and about.summary,
            "state": self.state,
            "reason": self.reason,
        }


def entry(kind: str, plugin: Plugin, *, importing: bool) -> Entry:
    """Describe one plugin: for certain, by importing it, or else by its source."""
    registry = KINDS[kind]
    bare = plugin.name in registry.names()
    found = functools.partial(Entry, kind, plugin, plugin.name if bare else plugin.qualified_name)
    if plugin.fault:
        return found(None, "broken", plugin.fault)
    try:
        if importing:
            plugin.load()
        elif plugin.registered is None and outline_of_source(plugin.target) is None:
            return found(None, "unknown", f"only importing it tells; see: python -m lossreg show {found.args[2]}")
        description = registry.describe(plugin)
    except RegistryError as error:
        return found(None, "broken", str(error))
    several = "" if bare else f"several packages register '{plugin.name}'"
    return found(description, "ambiguous" if several else "ok", several)


def _as_dict(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter as data for JSON; a default that JSON does not know, as an infinity, is text."""
    shown = {"name": parameter.name, "type": parameter.accepted, "required": parameter.required}
    if parameter.required:
        return shown
    try:
        return shown | {"default": json.loads(json.dumps(parameter.config_default, allow_nan=False))}
    except (TypeError, ValueError):
        return shown | {"default": str(parameter.config_default)}
