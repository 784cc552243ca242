"""`python -m lossreg show`: show one plugin: all that is known, and how to use it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lossreg._startup import quiet_startup
from lossreg.cli._listing import KINDS, Entry, find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("name", help="a plugin, bare or as <distribution>/<name>")
    parser.add_argument("--kind", choices=list(KINDS), help="which one, if several kinds have the name")
    parser.add_argument("--json", action="store_true", help="print it as JSON, as a list")


def main(args: argparse.Namespace) -> int:
    """Print a plugin, and return 0, or 1 if it is broken; it is imported, to say for certain."""
    with quiet_startup():
        found = find(args.name, args.kind)
    if args.json:
        print(json.dumps([entry.as_dict() | _usage(entry) for entry in found], indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(map(_text, found)))
    return int(any(entry.state == "broken" for entry in found))


def _usage(entry: Entry) -> dict[str, Any]:
    """Return the docstring, the config node and an example command line."""
    if entry.description is None:
        return {"docstring": None, "config": None, "command": None}
    config, group = {"name": entry.name}, KINDS[entry.kind].kind.config_group
    chosen, key = [f"{group}={entry.name}"], group
    if not KINDS[entry.kind].kind.numbers:  # it stands for a number itself; `mix` is a loss with a number `r`
        chosen, key = ["loss=mix", f"+{group}@loss.r={entry.name}"], "loss.r"
    required, optional = [], []
    for parameter, shown in zip(entry.description.parameters, entry.as_dict()["parameters"], strict=True):
        config[parameter.name] = shown.get("default", "???")
        if parameter.required and parameter.takes_plugins:
            required.append(f"+{group}@{key}.{parameter.name}.<name>=<{entry.kind}>")
        elif parameter.required:
            required.append(f"{key}.{parameter.name}=<{parameter.type_name}>")
        elif isinstance(parameter.default, (bool, int, float, str)):
            optional.append(f"{key}.{parameter.name}={str(parameter.default).replace('True', 'true')}")
    command = " ".join(["python train.py", *chosen, *(required or optional[:1])])
    return {"docstring": entry.description.docstring, "config": config, "command": command}


def _text(entry: Entry) -> str:
    import yaml

    about, usage = entry.description, _usage(entry)
    head = [
        f"{entry.kind} {entry.plugin.qualified_name}",
        f"  package: {entry.plugin.origin}",
        f"  target: {entry.plugin.target}",
        f"  written as: {about.style.value if about else '?'}",
        f"  state: {entry.state}" + (f": {entry.reason}" if entry.reason else ""),
    ]
    if about is None:
        return "\n".join(head)
    commands = usage["command"]
    if KINDS[entry.kind].kind.numbers:  # there are checks of losses and regularizers
        both = sum(bool(registry.matches(entry.plugin.qualified_name)) for registry in KINDS.values()) > 1
        commands += f"\npython -m lossreg check {entry.name}" + (f" --kind {entry.kind}" if both else "")
    parts = {
        "parameters": "\n".join(map(str, about.parameters)),
        "config": yaml.safe_dump(usage["config"], sort_keys=False, allow_unicode=True),
        "command": commands,
        "docstring": usage["docstring"],
    }
    return "\n\n".join(["\n".join(head), *(f"{title}\n{_indented(text or 'none')}" for title, text in parts.items())])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())
