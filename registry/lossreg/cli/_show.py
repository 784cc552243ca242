"""`python -m lossreg show`: show one plugin: all that is known, and how to use it."""

from __future__ import annotations

import argparse
import itertools
import json
import textwrap
from typing import Any

from lossreg import KINDS, UnknownNameError, did_you_mean
from lossreg._errors import printable
from lossreg._startup import quiet_startup
from lossreg.cli._list import Entry, entry

_OF_TASKS = {
    "multiclass": {"data": "wine", "loss": "categorical_crossentropy"},
    "regression": {"data": "diabetes", "loss": "mse"},
}
"""What stands beside a loss or a data set in a command, by task."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a plugin, bare or as <distribution>/<name>")
    parser.add_argument("--kind", choices=list(KINDS), help="which one, if several kinds have the name")
    parser.add_argument("--json", action="store_true", help="print it as JSON, as a list")


def main(args: argparse.Namespace) -> int:
    """Print a plugin, and return 0, or 1 if it is broken; it is imported, to say for certain."""
    kinds = [args.kind] if args.kind else [kind for kind, registry in KINDS.items() if registry.matches(args.name)]
    if not kinds:
        hint = did_you_mean(args.name, itertools.chain(*KINDS.values()))
        raise UnknownNameError(f"There is no plugin '{args.name}'.{hint} See: python -m lossreg list")
    with quiet_startup():
        found = [entry(kind, KINDS[kind].find(args.name), importing=True) for kind in kinds]
    if args.json:
        print(json.dumps([shown.as_dict() | _usage(shown) for shown in found], indent=2))
    else:
        print(printable("\n\n".join(map(_text, found))))
    return int(any(shown.state == "broken" for shown in found))


def _usage(shown: Entry) -> dict[str, Any]:
    """Return the docstring, the config node and an example command line."""
    if shown.description is None:
        return {"docstring": None, "config": None, "command": None}
    kind = KINDS[shown.kind].kind
    config, group, key = {"name": shown.name}, kind.config_group, kind.config_group
    words = ["python train.py", f"{group}={shown.name}"]
    if shown.kind in ("schedule", "learned"):  # it stands for a number itself; `mix` is a loss with a number `r`
        words, key = ["python train.py loss=mix", f"+{group}@loss.r={shown.name}"], "loss.r"
    tasks = {task.partition("_")[0] for task in shown.description.tasks}
    if tasks and "binary" not in tasks:  # as the default data set and the default loss are
        others = {task: example for task, example in _OF_TASKS.items() if task in tasks}
        words += [f"{key}={name}" for own in [*others.values()][:1] for key, name in own.items() if key != group]
    required, optional = [], []
    for parameter, known in zip(shown.description.parameters, shown.as_dict()["parameters"], strict=True):
        config[parameter.name] = known.get("default", "???")
        if parameter.required and parameter.takes_plugins:
            required.append(f"+{group}@{key}.{parameter.name}.<name>=<{shown.kind}>")
        elif parameter.required:
            required.append(f"{key}.{parameter.name}=<{parameter.type_name}>")
        elif isinstance(parameter.config_default, (bool, int, float, str)):
            optional.append(f"{key}.{parameter.name}={_word(parameter.config_default)}")
    command = " ".join([*words, *(required or optional[:1])])
    return {"docstring": shown.description.docstring, "config": config, "command": command}


def _word(value: bool | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(shown: Entry) -> str:
    import yaml

    about, usage, name = shown.description, _usage(shown), shown.plugin.qualified_name
    parts = [
        f"{shown.kind} {name}\n"
        f"  package: {shown.plugin.origin}\n"
        f"  target: {shown.plugin.target}\n"
        f"  written as: {about.style.value if about else '?'}\n"
        f"  state: {shown.state}" + (f": {shown.reason}" if shown.reason else "")
    ]
    if about:
        if shown.kind in ("loss", "regularizer"):
            both = sum(bool(registry.matches(name)) for registry in KINDS.values()) > 1
            usage["command"] += f"\npython -m lossreg check {shown.name}" + (f" --kind {shown.kind}" if both else "")
        usage["parameters"] = "\n".join(map(str, about.parameters))
        usage["config"] = yaml.safe_dump(usage["config"], sort_keys=False, allow_unicode=True)
        titles = ("parameters", "config", "command", "docstring")
        parts += [f"{title}\n{textwrap.indent((usage[title] or 'none').strip(), '  ')}" for title in titles]
    return "\n\n".join(parts)
