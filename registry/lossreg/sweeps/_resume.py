"""Resuming a sweep: what it is, whether it is still the same, and which jobs are done."""

from __future__ import annotations

import itertools
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from lossreg.sweeps._batch import JobFailed, Outcome, returned
from lossreg.sweeps._results import ResultsTable, value_of, write_whole

log = logging.getLogger(__name__)

MANIFEST = "sweep.yaml"
_TAKES_VALUE = re.compile(r"(-cp|-cn|-cd|-p|--config-[a-z]+|--package|--experimental-rerun)$")  # options of Hydra
_OF_HYDRA = re.compile(r"[+~]*hydra[./](?!(launcher|sweeper|sweep|callbacks|mode)\b)")  # and of a single run too
_TOTALS = ("n_trials", "n_jobs", "max_failure_rate", "max_batch_size")  # of a sweeper: how many, but not which
_HEADER = "# What this sweep is. The same command with hydra.sweep.dir=<this folder> runs what is missing of it.\n"


class Done:
    """The jobs of a sweep that have their row, found by their overrides.

    Arguments:
        table: the sweep's table.
        objectives: the columns with what the task function returned.
        anew: whether every job is another one, as where the sweeper goes on with a study.
    """

    def __init__(self, table: ResultsTable, objectives: Sequence[str], anew: bool) -> None:
        self._table, self._objectives, self._anew = table, objectives, anew
        self._rows = {int(row["job"]): row for row in table.read()}
        self._numbers = set(self._rows)
        self._next = max(self._rows, default=-1) + 1
        self._places: dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def lost(self) -> tuple[int, int]:
        """How many jobs have no row in the table now, and of how many."""
        return len(self._numbers.difference(int(row["job"]) for row in self._table.read())), len(self._numbers)

    def _find(self, overrides: Sequence[str]) -> list[int]:
        if not self._rows:
            return []
        cells = self._table.cells(overrides)
        columns = tuple(cells)
        if columns not in self._places:
            places = self._places[columns] = {}
            for job, row in self._rows.items():
                places.setdefault(tuple(value_of(row.get(column, "")) for column in columns), []).append(job)
        return self._places[columns].get(tuple(map(value_of, cells.values())), [])

    def has(self, overrides: Sequence[str]) -> bool:
        """Whether a job with these overrides has its row."""
        return not self._anew and bool(self._find(overrides))

    def take(self, overrides: Sequence[str], job: int = -1) -> Outcome | None:
        """What a job with these overrides came to, as far as the table keeps it; each row once, that of `job` first."""
        found = self._find(overrides)
        if not found:
            return None
        row = self._rows[found.pop(found.index(job) if job in found else 0)]
        if row["status"] != "completed":
            return Outcome(error=JobFailed(row["error"], row["status"]))
        values = [value_of(row.get(column, "")) for column in self._objectives]
        return Outcome(values if len(values) > 1 else values[0] if values else None)

    def launch(self, launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Launch the jobs that have no row, with new numbers where another job has theirs."""
        returns: list[Any] = [None] * len(job_overrides)
        places: dict[int, int] = {}
        for place, overrides in enumerate(job_overrides):
            outcome = None if self._anew else self.take(overrides, first + place)
            if outcome is None:
                number = first + place if first + place not in self._numbers else self._next
                self._numbers.add(number)
                self._next = max(self._next, number + 1)
                places[number] = place
            else:
                returns[place] = returned(outcome, overrides=overrides)
        any_numbers = getattr(launcher, "launch_numbered", None)  # other launchers take consecutive ones
        for _, pairs in itertools.groupby(enumerate(sorted(places)), lambda pair: any_numbers or pair[1] - pair[0]):
            stretch = [number for _, number in pairs]
            jobs = [job_overrides[places[number]] for number in stretch]
            ended = any_numbers(jobs, stretch) if any_numbers else launcher.launch(jobs, stretch[0])
            for number, own in zip(stretch, ended, strict=True):
                returns[places[number]] = own
        return returns


class SparingLoader:
    """A config loader for a sweeper: Hydra's own only tries whether jobs can be composed, of which it spares some."""

    def __init__(self, loader: Any, spares: Callable[[Sequence[str]], bool]) -> None:
        self._loader, self._spares = loader, spares

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> Any:
        """Compose a job."""
        if self._spares(sweep_overrides):
            return master_config
        return self._loader.load_sweep_config(master_config, sweep_overrides)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def only_tries(config: DictConfig) -> bool:
    """Whether the sweeper is Hydra's own, which composes jobs only to see whether they can be."""
    return str(config.hydra.sweeper.get("_target_")).endswith(".BasicSweeper")


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


def begin(folder: Path, sweep: Mapping[str, Any], table: ResultsTable, results: Mapping[str, Any]) -> bool:
    """Begin a sweep in a folder, or go on with the one that is there; returns whether it goes on.

    What its results are about is kept with it, but does not make it another sweep.

    If the folder holds another sweep, the program ends with the difference: Hydra lets no other exception of a
    callback through.
    """
    path = folder / MANIFEST
    parts = (dict(sweep), {"results": dict(results)})
    text, about = (yaml.safe_dump(part, sort_keys=False, allow_unicode=True) for part in parts)
    header = table.header()
    if not path.exists():
        if header:
            sys.exit(
                f"{folder} holds {table.path.name}, but no {MANIFEST} that says of which sweep. "
                "Choose another hydra.sweep.dir."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, _HEADER + text + about)
        return False
    if not path.is_file():
        sys.exit(f"{path} is no file. Choose another hydra.sweep.dir.")
    then = yaml.safe_load(path.read_text(encoding="utf-8"))
    then.pop("results", None)
    lines = _differs(then, yaml.safe_load(text))
    if lines:
        sys.exit(
            f"{folder} holds another sweep, which this command cannot go on with:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nRun it as it was, or choose another hydra.sweep.dir."
        )
    missing = [column for column in (*table.cells(sweep["overrides"]), *table.metrics) if column not in header]
    if header and missing:
        sys.exit(f"{table.path}, line 1: the column {missing[0]} is missing. The file is left as it is.")
    write_whole(path, _HEADER + text + about)
    return True


def _differs(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """How a sweep differs from the one that is to go on; more values of what is swept, or more trials, are the same."""
    for sweep in (then, now):
        sweep["sweeper"] = {key: value for key, value in sweep["sweeper"].items() if key not in _TOTALS}
    options = then.setdefault("options", {})
    now["options"] = {key: value for key, value in now.get("options", {}).items() if key in options}
    lines = differences(then, now)
    if then["overrides"] == now["overrides"] or len(then["overrides"]) != len(now["overrides"]):
        return lines
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    more = []
    for before, after in zip(*map(parser.parse_overrides, (then["overrides"], now["overrides"])), strict=True):
        if before.input_line != after.input_line:
            if before.get_key_element() != after.get_key_element() or not _values(before) <= _values(after):
                return lines
            more.append(before.get_key_element())
    return [line for line in lines if line.partition(": ")[0] not in ("overrides", *more)]


def _values(override: Override) -> set[str]:
    if override.is_discrete_sweep():
        return set(override.sweep_string_iterator())
    return {override.input_line or "" if override.is_sweep_override() else override.get_value_element_as_str()}


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
    program, called = _called()
    called = [(word, own) for word, own in called if not word.lstrip("+").startswith("hydra.sweep.dir=")]
    # All overrides have to stand together, whatever options come before or after them.
    end = max((place for place, (_, own) in enumerate(called, start=1) if own), default=len(called))
    words = [word for word, _ in called]
    words.insert(end, f"hydra.sweep.dir={quoted(str(folder))}")
    return shlex.join([*program, *words])


def command_of_a_job() -> list[str]:
    """The words that run one job of this sweep, before its overrides."""
    program, called = _called()
    options = [word for word, own in called if not own and word not in ("-m", "--multirun")]
    return [*program, *options, *(word for word, own in called if own and _OF_HYDRA.match(word))]


def _called() -> tuple[list[str], list[tuple[str, bool]]]:
    """How this program was called: its name, then each word, and whether that is an override."""
    program = [sys.argv[0]] if os.access(sys.argv[0], os.X_OK) and not sys.argv[0].endswith(".py") else None
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec and spec.origin == sys.argv[0]:
        program = ["python", "-m", spec.name.removesuffix(".__main__")]
    pairs = zip(["", *sys.argv[1:]], sys.argv[1:], strict=False)
    called = [(w, bool(re.match(r"[^-].*=|~", w)) and not _TAKES_VALUE.match(before)) for before, w in pairs]
    return program or ["python", sys.argv[0]], called


def added(sweep: Mapping[str, Any]) -> dict[str, str]:
    """The overrides of a sweep that were typed with a `+`, by the name of their column."""
    typed = f"{sweep['overrides']}{sweep['sweeper']}"
    return {key: plus + key for plus, key in re.findall(r"""['"](\++)([^'"=@]+)['"=]""", typed)}


def quoted(text: str) -> str:
    """A text as Hydra's grammar has it: in quotes, if it is not plain."""
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    return "'" + re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), text) + "'"
