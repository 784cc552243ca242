"""`python -m lossreg list`: list every installed plugin."""

from __future__ import annotations

import argparse
import json
import sys

from lossreg.cli.listing import REGISTRIES, Entry, entries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `list`."""
    parser.add_argument("--kind", choices=list(REGISTRIES), help="only the plugins of one kind")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the list; nothing is imported for it, neither a plugin nor TensorFlow.

    Arguments:
        args: what `add_arguments` defines.

    Returns:
        The exit code: 0, also where a plugin is broken.
    """
    kinds = [args.kind] if args.kind else list(REGISTRIES)
    listed = list(entries(kinds))
    if args.json:
        print(json.dumps([entry.as_dict() for entry in listed], indent=2, ensure_ascii=False))
        return 0
    for kind in kinds:
        _print_table(kind, [entry for entry in listed if entry.kind == kind])
    return 0


def _print_table(kind: str, listed: list[Entry]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{len(listed)} {REGISTRIES[kind].group.removeprefix('lossreg.')}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("name", "package", "parameters", "help", "state"):
        table.add_column(header)
    for entry in listed:
        state = f"{entry.state}: {entry.reason}" if entry.reason else entry.state
        style = {"ok": "", "broken": "bold red", "ambiguous": "yellow"}[entry.state]
        summary = entry.description.summary if entry.description else ""
        cells = (entry.name, entry.plugin.origin, entry.parameters, summary)
        table.add_row(*map(Text, cells), Text(state, style=style))
    # A pipe has no width: one row a line, for grep.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table)
