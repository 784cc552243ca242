"""`python -m lossreg new`: write a plugin package that passes its own tests."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from importlib import resources
from pathlib import Path

from lossreg._errors import DuplicateNameError, ParameterError

_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)  # PEP 508


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", help="the name of the distribution, such as my-losses; its folder is written here")


def main(args: argparse.Namespace) -> int:
    """Write the package into a folder of its name, and return 0; nothing that is there is overwritten."""
    folder, module = Path(args.package), module_name(args.package)
    try:
        taken = importlib.util.find_spec(module) is not None
    except ValueError:  # a module without a spec, such as __main__
        taken = True
    if taken:
        raise DuplicateNameError(f"There is a module '{module}' already. Choose another name than '{args.package}'.")
    if folder.exists():
        raise DuplicateNameError(f"{folder} is there already. Nothing was written.")
    folder.mkdir()
    files = template(args.package)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(
        f"Wrote {folder}: {', '.join(files)}.\n"
        f"Your loss goes into {module}.py, its name into pyproject.toml. Next:\n"
        f"  pip install -e {folder}\n"
        f"  python -m pytest {folder}\n"
        f"  python -m lossreg show {args.package}/scaled_error"
    )
    return 0


def template(package: str) -> dict[str, str]:
    """Return the files of a package by name; they are shipped with this module as those of a package `my-losses`."""
    module = module_name(package)
    folder = resources.files("lossreg.cli") / "template"
    files = {}
    for name in ("pyproject.toml", "my_losses.py", "test_my_losses.py", "README.md"):
        text = (folder / f"{name}.txt").read_text(encoding="utf-8")
        text = text.replace("my-losses", package).replace("my_losses", module)
        files[name.replace("my_losses", module)] = text
    return files


def module_name(package: str) -> str:
    """Return the module of a distribution.

    >>> module_name("My-Losses")
    'my_losses'
    """
    module = re.sub(r"[-.]+", "_", package).lower()
    if not _NAME.fullmatch(package) or not module.isidentifier() or keyword.iskeyword(module):
        right = "Use letters, digits and hyphens, and begin with a letter: my-losses."
        raise ParameterError(f"'{package}' cannot be the name of a package. {right}")
    return module
