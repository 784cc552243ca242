"""The directory of a run or a sweep: its own, and one for all jobs of a sweep."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lossreg.sweeps._resume import quoted

LOCK = ".running.lock"
_NUMBERS = ("hydra.job.num", "hydra.job.id", "hydra.overrides.task")
_DIRNAME = "hydra.job.override_dirname"


def take(config: DictConfig, mode: str) -> Any:
    """Give a `run` or a `sweep` a directory that no other process uses, and return the lock on it, if it needs one.

    One that is named by the time (`${now:…}`, as Hydra's own default is) is made anew: where it is there already, `-1`,
    `-2`, … is added. One that has another name is what its user named, and refused while another process runs in it.
    """
    path = Path(str(config.hydra[mode].dir))
    anew = "now" in _mentioned(_raw(config), f"hydra.{mode}.dir")
    if anew:
        path = _fresh(path)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra[mode].dir = str(path)
        if mode == "sweep":  # each job's config is composed anew
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(path))}")
    if anew and mode == "run":
        return None
    from filelock import FileLock, Timeout  # only here: 20 ms

    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK, timeout=0, thread_local=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        sys.exit(f"{path} holds a {mode} that another process is running now. Choose another hydra.{mode}.dir.")
    return lock


def _fresh(path: Path) -> Path:
    """Make a directory that was not there, and return it."""
    number = 0
    while True:
        found = path.with_name(f"{path.name}-{number}") if number else path
        try:
            found.mkdir(parents=True)
            return found
        except FileExistsError:
            number += 1


def check_places(config: DictConfig) -> None:
    """Refuse a sweep whose jobs would have several tables, or one directory for several of them."""
    raw = _raw(config)
    params = raw["hydra"]["sweeper"].get("params") or {}
    lines = [*raw["hydra"]["overrides"]["task"], *(f"{key}={value}" for key, value in params.items())]
    parsed = OverridesParser.create().parse_overrides(lines)
    swept = [line.package or line.key_or_group for line in parsed if line.is_sweep_override()]
    for key in (*swept, *_NUMBERS):
        if _depends(raw, "hydra.sweep.dir", key):
            sys.exit(
                f"hydra.sweep.dir depends on {key}, in which jobs differ, but a sweep has one directory. "
                "Name it in hydra.sweep.subdir."
            )
    subdir = "hydra.sweep.subdir"
    for key in swept if _mentioned(raw, subdir).isdisjoint(_NUMBERS) else ():
        if not _depends(raw, subdir, key):
            sys.exit(f"{subdir} is the same for jobs that differ in {key}: name it there, or ${{hydra.job.num}}.")


def _depends(raw: dict[str, Any], place: str, key: str) -> bool:
    """Whether the text at a place of the config depends on a swept key."""
    mentioned = _mentioned(raw, place)
    excluded = raw["hydra"]["job"]["config"]["override_dirname"]["exclude_keys"]
    if _DIRNAME in mentioned and key not in (*_NUMBERS, *excluded):
        return True
    names = (name.removeprefix("hydra.runtime.choices.") for name in mentioned)
    return any(f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.") for name in names)


def _raw(config: DictConfig) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))


def _mentioned(raw: dict[str, Any], place: str) -> set[str]:
    """The keys and resolvers that the text at a place of the config refers to, also through others."""
    found: set[str] = set()
    todo = [place]
    while todo:
        node: Any = raw
        for key in todo.pop().split("."):
            node = node.get(key) if isinstance(node, dict) else None
        for inside in re.findall(r"\$\{([^{}]*)\}", str(node)):
            names = set(re.findall(r"(?<![%\w])[A-Za-z_][\w.]*", inside.replace("hydra:", "hydra.")))
            todo += names - found
            found |= names
    return found
