"""The command line: look after losses, regularizers and what may change in them."""

from __future__ import annotations

import argparse
import os
import sys

from lossreg._errors import RegistryError, print_anything
from lossreg.cli import _check, _list, _new, _results, _show

COMMANDS = {"list": _list, "show": _show, "check": _check, "new": _new, "results": _results}
"""The subcommands: modules with a docstring, `add_arguments(parser)` and `main(args) -> exit code`."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code, which is 2 after a user's mistake."""
    print_anything()
    parser = argparse.ArgumentParser(prog="lossreg", description=__doc__.partition(": ")[2])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").partition(": ")[2].splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=text, description=text))
    args = parser.parse_args(arguments)
    try:
        return COMMANDS[args.command].main(args)
    except BrokenPipeError:  # `lossreg list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RegistryError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
