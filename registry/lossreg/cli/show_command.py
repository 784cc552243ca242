"""`python -m lossreg show`: show one plugin: all that is known, and how to use it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lossreg.cli.listing import GROUPS, Entry, find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("name", help="a plugin, bare or as <distribution>/<name>")
    parser.add_argument(
        "--kind", choices=list(GROUPS), help="which one, if several kinds have the name; all if left out"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON, as a list")


def main(args: argparse.Namespace) -> int:
    """Print a plugin; it is imported only if its source does not settle its signature.

    Arguments:
        args: what `add_arguments` defines.

    Returns:
        The exit code: 0, or 1 if the plugin is broken.

    Raises:
        RegistryError: if the name means nothing, or several packages' plugins.
    """
    found = find(args.name, args.kind)
    if args.json:
        shown = [entry.as_dict() | _usage(entry) for entry in found]
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(map(_text, found)))
    return int(any(entry.state == "broken" for entry in found))


def _usage(entry: Entry) -> dict[str, Any]:
    """Return the docstring, the config node and an example command line."""
    if entry.description is None:
        return {"docstring": None, "config": None, "command": None}
    group, config = GROUPS[entry.kind], {"name": entry.name}
    chosen, key = [f"{group}={entry.name}"], group
    if entry.is_number:  # `mix` is a loss with a number `r`
        chosen, key = ["loss=mix", f"+{group}@loss.r={entry.name}"], "loss.r"
    overrides = []
    for described in entry.as_dict()["parameters"]:
        config[described["name"]] = "???" if described["required"] else described["default"]
    for parameter in entry.description.parameters:
        if parameter.required and parameter.takes_plugins:
            overrides.append(f"+{group}@{key}.{parameter.name}.<name>=<{entry.kind}>")
        elif parameter.required:
            overrides.append(f"{key}.{parameter.name}=<{parameter.type_name}>")
    changeable = [p for p in entry.description.parameters if isinstance(p.default, (bool, int, float, str))]
    if not overrides and changeable:
        overrides.append(f"{key}.{changeable[0].name}={str(changeable[0].default).replace('True', 'true')}")
    command = f"python train.py {' '.join(chosen + overrides)}"
    return {"docstring": entry.description.docstring, "config": config, "command": command}


def _text(entry: Entry) -> str:
    import yaml

    rows = {
        "package": entry.plugin.origin,
        "target": entry.plugin.target,
        "written as": entry.description.style.value if entry.description else "?",
        "state": f"{entry.state}: {entry.reason}" if entry.reason else entry.state,
    }
    head = f"{entry.kind} {entry.plugin.qualified_name}"
    parts = ["\n".join([head, *(f"  {label}: {value}" for label, value in rows.items())])]
    usage = _usage(entry)
    if entry.description is not None:
        parts.append("parameters\n" + _indented("\n".join(map(str, entry.description.parameters)) or "none"))
        parts.append("config\n" + _indented(yaml.safe_dump(usage["config"], sort_keys=False, allow_unicode=True)))
        commands = [usage["command"]]
        if not entry.is_number:  # the contract knows losses and regularizers
            kind = f" --kind {entry.kind}" if _is_both(entry) else ""
            commands.append(f"python -m lossreg check {entry.name}{kind}")
        parts.append("command\n" + _indented("\n".join(commands)))
        parts.append("docstring\n" + _indented(usage["docstring"] or "none"))
    return "\n\n".join(parts)


def _is_both(entry: Entry) -> bool:
    return len(find(entry.plugin.qualified_name)) > 1


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())
