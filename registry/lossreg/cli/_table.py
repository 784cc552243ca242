"""How the commands print a table."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any


def terminal_width(otherwise: int) -> int:
    """The width to print in: the terminal's, or what COLUMNS says; what is no terminal is as wide as is said."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return shutil.get_terminal_size().columns if known else otherwise


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]], width: int) -> None:
    """Print a table; a cell is a text, or a text and its style."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lossreg._errors import printable

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"check", "verdict", "name", "plugin"})
    for row in rows:
        cells = ((cell, "") if isinstance(cell, str) else cell for cell in row)
        table.add_row(*(Text(printable(text), style) for text, style in cells))
    Console(width=terminal_width(width)).print(table)
