"""`python -m lossreg`: look after losses, regularizers and what may change in them."""

from __future__ import annotations

import argparse
import os
import sys

from lossreg._errors import RegistryError
from lossreg.cli import check_command, list_command, new_command, show_command

COMMANDS = {"list": list_command, "show": show_command, "check": check_command, "new": new_command}
"""The subcommands: modules with a docstring, `add_arguments(parser)` and `main(args) -> exit code`."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code, which is 2 after a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m lossreg", description=__doc__.partition(": ")[2])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").partition(": ")[2].splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=text, description=text))
    args = parser.parse_args(arguments)
    try:
        return COMMANDS[args.command].main(args)
    except BrokenPipeError:  # `python -m lossreg list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RegistryError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
