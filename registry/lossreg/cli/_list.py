"""`python -m lossreg list`: list every installed plugin."""

from __future__ import annotations

import argparse
import json
import sys

from lossreg.cli._listing import KINDS, Entry, entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `list`."""
    parser.add_argument("--kind", choices=list(KINDS), help="only the plugins of one kind")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the list, and return 0; nothing is imported for it, neither a plugin nor TensorFlow."""
    kinds = [args.kind] if args.kind else list(KINDS)
    listed = {kind: [entry(kind, plugin, importing=False) for plugin in KINDS[kind].plugins()] for kind in kinds}
    if args.json:
        print(json.dumps([row.as_dict() for rows in listed.values() for row in rows], indent=2, ensure_ascii=False))
        return 0
    for kind, rows in listed.items():
        _print_table(KINDS[kind].kind.noun, rows)
    return 0


def _print_table(noun: str, rows: list[Entry]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{len(rows)} {noun}{'es' if noun.endswith('s') else 's'}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("name", "package", "parameters", "help", "state"):
        table.add_column(header)
    for row in rows:
        state = f"{row.state}: {row.reason}" if row.reason else row.state
        style = {"broken": "bold red", "ambiguous": "yellow"}.get(row.state, "")
        cells = (row.name, row.plugin.origin, row.parameters, row.description.summary if row.description else "")
        table.add_row(*map(Text, cells), Text(state, style=style))
    # A pipe has no width: one row a line, for grep.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table)
