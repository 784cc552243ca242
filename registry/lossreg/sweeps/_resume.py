"""Resuming a sweep: what it is, whether it is still the same, and which jobs are done."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lossreg.sweeps._batch import JobFailed, Outcome
from lossreg.sweeps._results import ResultsTable, write_whole

log = logging.getLogger(__name__)

MANIFEST = "sweep.yaml"
_TAKES_VALUE = re.compile(r"(-cp|-cn|-cd|-p|--config-[a-z]+|--package|--experimental-rerun)$")  # options of Hydra
_HEADER = "# What this sweep is. The same command with hydra.sweep.dir=<this folder> runs what is missing of it.\n"


class Done:
    """The jobs of a sweep that have their row; the column `objective` has what the task function returned."""

    def __init__(self, table: ResultsTable, objective: str | None) -> None:
        self._table, self._objective = table, objective
        self._rows = {int(row["job"]): row for row in table.read()}

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, job: int, overrides: Sequence[str]) -> Outcome | None:
        """What the job of this number came to, as far as the table keeps it, if these were its overrides."""
        row = self._rows.get(job)
        if not row or not all(_alike(row.get(key, ""), cell) for key, cell in self._table.cells(overrides).items()):
            return None
        if row["status"] != "completed":
            return Outcome(error=JobFailed(row["error"], row["status"]))
        return Outcome(_to_value(row.get(self._objective or "", "")))

    def take(self, job: int) -> int:
        """Give a number to a job of this run: its own, or one above all if another job has it."""
        free = job if job not in self._rows else max(self._rows) + 1
        self._rows[free] = {}
        return free


def _alike(cell: str, other: str) -> bool:
    """Whether two cells are the same for a spreadsheet, which writes `TRUE` and `0.5` for `true` and `0.50`."""
    return cell == other or _to_value(cell.lower()) == _to_value(other.lower())


def _to_value(cell: str) -> Any:
    if cell in ("true", "false"):
        return cell == "true"
    try:
        return float(cell)
    except ValueError:
        return cell or None


def describe_sweep(config: DictConfig) -> dict[str, Any]:
    """What makes a multirun this sweep and no other: overrides, sweeper, the app's config, and the swept options."""
    container = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False, enum_to_str=True))
    hydra = container.pop("hydra")
    found = {"overrides": hydra["overrides"]["task"], "sweeper": hydra["sweeper"], "config": container}
    options = _swept_options(hydra["overrides"]["task"])
    return {**found, "options": options} if options else found


def _swept_options(overrides: list[str]) -> dict[str, Any]:
    """The options of config groups that are swept over, which the multirun's own config does not show."""
    loader = GlobalHydra.instance().config_loader()
    options = {}
    try:
        for override in OverridesParser.create(config_loader=loader).parse_overrides(overrides):
            for name in override.sweep_string_iterator() if override.is_choice_sweep() else ():
                option = f"{override.key_or_group}/{name}"
                source = next((source for source in loader.get_sources() if source.is_config(option)), None)
                if source is not None:
                    config = source.load_config(option).config
                    options[option] = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    except Exception as error:  # Hydra will say what is wrong with the option when it composes the job
        log.debug("the swept options cannot be read: %s", error)
    return options


def begin(folder: Path, sweep: Mapping[str, Any], table: ResultsTable) -> bool:
    """Begin a sweep in a folder, or go on with the one that is there; returns whether it goes on.

    If the folder holds another sweep, the program ends with the difference: Hydra lets no other exception of a
    callback through.
    """
    path = folder / MANIFEST
    text = yaml.safe_dump(dict(sweep), sort_keys=False, allow_unicode=True)
    rows = table.read()
    if not path.exists():
        if rows:
            sys.exit(
                f"{folder} holds {table.path.name}, but no {MANIFEST} that says of which sweep. "
                "Choose another hydra.sweep.dir."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, _HEADER + text)
        return False
    if not path.is_file():
        sys.exit(f"{path} is no file. Choose another hydra.sweep.dir.")
    lines = differences(yaml.safe_load(path.read_text(encoding="utf-8")), yaml.safe_load(text))
    if lines:
        sys.exit(
            f"{folder} holds another sweep, which this command cannot go on with:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nRun it as it was, or choose another hydra.sweep.dir."
        )
    missing = [
        column for column in (*table.cells(sweep["overrides"]), *table.metrics) if rows and column not in rows[0]
    ]
    if missing:
        sys.exit(f"{table.path}, line 1: the column {missing[0]} is missing. The file is left as it is.")
    if any("shuffle(" in override for override in sweep["overrides"]):
        sys.exit(f"{folder} holds a sweep in a shuffled order, which differs each time: it cannot be resumed.")
    return True


_NOTHING = object()


def differences(then: Any, now: Any, key: str = "") -> list[str]:
    """Say in one line per key how two nested values differ.

    Example:

    >>> differences({"epochs": 500, "loss": {"r": 0.5}}, {"epochs": 100, "loss": {"r": 0.5, "s": 1}})
    ['epochs: 500 then, 100 now', 'loss.s: nothing then, 1 now']
    """
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            line
            for name in dict.fromkeys([*then, *now])
            for line in differences(then.get(name, _NOTHING), now.get(name, _NOTHING), f"{key}.{name}".lstrip("."))
        ]
    if (then == now and type(then) is type(now)) or (then != then and now != now):
        return []
    return [f"{key.removeprefix('config.')}: {_shown(then)} then, {_shown(now)} now"]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "nothing" if value is _NOTHING else str(value)


def command(folder: Path) -> str:
    """The command that goes on with this sweep.

    Example:

    >>> sys.argv, argv = ["train.py", "-m", "seed=range(0,9)"], sys.argv
    >>> command(Path("multirun/1"))
    "python train.py -m 'seed=range(0,9)' hydra.sweep.dir=multirun/1"
    >>> sys.argv = argv
    """
    program = [sys.argv[0]] if os.access(sys.argv[0], os.X_OK) and not sys.argv[0].endswith(".py") else None
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec and spec.origin == sys.argv[0]:
        program = ["python", "-m", spec.name.removesuffix(".__main__")]
    arguments = [argument for argument in sys.argv[1:] if not argument.lstrip("+").startswith("hydra.sweep.dir=")]
    # All overrides have to stand together, whatever options come before or after them.
    pairs = enumerate(zip(["", *arguments], arguments, strict=False), start=1)
    overrides = [end for end, (before, own) in pairs if re.match(r"[^-].*=|~", own) and not _TAKES_VALUE.match(before)]
    end = overrides[-1] if overrides else len(arguments)
    arguments.insert(end, f"hydra.sweep.dir={quoted(str(folder))}")
    return shlex.join([*(program or ["python", sys.argv[0]]), *arguments])


def quoted(text: str) -> str:
    """A text as Hydra's grammar has it: in quotes, if it is not plain."""
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    return "'" + re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), text) + "'"
