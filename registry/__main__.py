"""`python -m registry`: look after losses and regularizers from the command line."""

from __future__ import annotations

import argparse
import sys

from registry import check_command

COMMANDS = {"check": check_command}
"""The subcommands: modules with a docstring, `add_arguments(parser)` and `main(args) -> exit code`."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m registry", description=__doc__.partition(": ")[2])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").partition(": ")[2].splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=text, description=text))
    args = parser.parse_args(arguments)
    return COMMANDS[args.command].main(args)


if __name__ == "__main__":
    sys.exit(main())
