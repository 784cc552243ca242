"""`python -m lossreg new`: write a plugin package that passes its own tests."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from pathlib import Path

from lossreg._errors import DuplicateNameError, ParameterError

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "my-losses"
version = "1.0.0"
description = "A loss and a regularizer for Keras."
readme = "README.md"
requires-python = ">=3.10"
dependencies = ["keras>=3"]

[project.optional-dependencies]
test = ["lossreg", "pytest>=8"]

[project.entry-points."lossreg.losses"]
scaled_error = "my_losses:scaled_error"

[project.entry-points."lossreg.regularizers"]
ridge = "my_losses:Ridge"

[tool.hatch.build.targets.wheel]
include = ["my_losses.py"]
"""

MODULE = '''\
"""A loss and a regularizer for Keras; two entry points in pyproject.toml make them plugins."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def scaled_error(y_true: Any, y_pred: Any, scale: float = 1.0) -> Any:
    """Squared error, scaled.

    Formula: `mean(scale (y - p)²)` over the last axis.

    Arguments:
        y_true: targets, of shape `(batch, …, d)`.
        y_pred: predictions, of the same shape and dtype.
        scale: the scale of the loss, above 0. Defaults to 1.

    Returns:
        The loss per sample, of shape `(batch, …)`.
    """
    return ops.mean(scale * ops.square(y_true - y_pred), axis=-1)


class Ridge(keras.regularizers.Regularizer):
    """The sum of the squared weights, scaled.

    Formula: `scale Σ w²`.

    Arguments:
        scale: the scale of the penalty, at least 0. Defaults to 0.001.
    """

    def __init__(self, scale: float = 0.001) -> None:
        self.scale = scale

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of weights of any shape, a scalar."""
        return self.scale * ops.sum(ops.square(weights))

    def get_config(self) -> dict[str, Any]:
        """Return what `Ridge(**config)` needs."""
        return {"scale": self.scale}
'''

TEST = '''\
"""Holds the plugins of this package to the contract of lossreg: one test per check."""

from __future__ import annotations

from collections.abc import Callable

from lossreg import checks


@checks.parametrize("my-losses/scaled_error", "my-losses/ridge")
def test_contract(check: Callable[[], None]) -> None:
    check()
'''

README = """\
# my-losses

A loss and a regularizer for Keras: one module, two entry points in `pyproject.toml`, no import of lossreg. Install it
where lossreg is installed, and both are options:

    pip install -e .
    python train.py loss=scaled_error reg=ridge
    python -m lossreg show scaled_error

`python -m pytest` holds both to the contract of lossreg.
"""

FILES = {"pyproject.toml": PYPROJECT, "my_losses.py": MODULE, "test_my_losses.py": TEST, "README.md": README}
"""What is written, for a package by the name of `my-losses`."""

# PEP 508.
_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `new`."""
    parser.add_argument("package", help="the name of the distribution, such as my-losses; its folder is written here")


def main(args: argparse.Namespace) -> int:
    """Write the package into a folder of its name, and say what to do next.

    Arguments:
        args: what `add_arguments` defines.

    Returns:
        The exit code: 0.

    Raises:
        ParameterError: if the name cannot be that of a distribution or of a module.
        DuplicateNameError: if the folder or the module is there already; nothing is overwritten.
    """
    folder = Path(args.package)
    files = render(args.package)
    if folder.exists():
        raise DuplicateNameError(f"{folder} is there already. Nothing was written.")
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    module = module_name(args.package)
    print(
        f"Wrote {folder}: {', '.join(files)}.\n"
        f"Your loss goes into {module}.py, its name into pyproject.toml. Next:\n"
        f"  pip install -e {folder}\n"
        f"  python -m pytest {folder}\n"
        f"  python -m lossreg show {args.package}/scaled_error"
    )
    return 0


def render(package: str) -> dict[str, str]:
    """Return the files of a new package by name.

    Raises:
        ParameterError: if the name cannot be that of a distribution or of a module.
        DuplicateNameError: if a module by that name can be imported already.
    """
    module = module_name(package)
    try:
        taken = importlib.util.find_spec(module) is not None
    except ValueError:
        taken = True
    if taken:
        raise DuplicateNameError(f"There is a module '{module}' already. Choose another name than '{package}'.")
    return {
        name.replace("my_losses", module): text.replace("my-losses", package).replace("my_losses", module)
        for name, text in FILES.items()
    }


def module_name(package: str) -> str:
    """Return the module of a distribution: `my_losses` of `my-losses`.

    Raises:
        ParameterError: if the name cannot be that of a distribution or of a module.

    Example:

    >>> module_name("My-Losses")
    'my_losses'
    """
    module = re.sub(r"[-.]+", "_", package).lower()
    if not _NAME.fullmatch(package) or not module.isidentifier() or keyword.iskeyword(module):
        raise ParameterError(
            f"'{package}' cannot be the name of a package. Use letters, digits and hyphens, and begin with a letter: "
            "my-losses."
        )
    return module
