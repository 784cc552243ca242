"""Composing the configs of many jobs: by Hydra once per kind of job, then in plain data.

Hydra composes a config in 60 to 100 ms, from files. The jobs of a sweep mostly differ in a few values, so the first job
of a kind is composed by Hydra, each further value is set once in that config, by OmegaConf, and a job is put together
of plain data. What is unusual (a value that is a list, a key that another override also touches, a value that decides
what another override does, an error) Hydra composes, job by job.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from lossreg.sweeps._batch import CannotBatch

_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_KINDS = 256


@dataclass(frozen=True)
class _Line:
    """An override; `free` if it only sets one value, `reads` if what it does depends on what it finds there."""

    text: str
    keys: tuple[str, ...]  # to what it sets; none if it chooses an option of a config group
    free: bool
    reads: bool
    value: Any

    @property
    def place(self) -> Hashable:
        """What jobs of a kind have in common of it."""
        return (self.text.partition("=")[0],) if self.free else self.text


class _Kind:
    """Jobs that differ in nothing but some values, and the config of one of them, as Hydra composed it."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.task = copy.deepcopy(config)
        with read_write(self.task), open_dict(self.task):
            del self.task["hydra"]
        self.raw = _raw(self.task)
        self.late = frozenset(name for name, value in self.raw.items() if "${" in str(value))
        self.subdir = _raw(config.hydra.sweep)["subdir"]
        self.named = _raw(config.hydra.job)["override_dirname"] != "${hydra_override_dirname:}"  # as from Hydra 1.4 on
        self.texts: dict[tuple[str, ...], str] = {}
        self._values: dict[str, Any] = {}

    def holds(self, lines: Sequence[_Line]) -> bool:
        """Whether each line changes what stands at its own key, and each free one a single value."""
        for line in lines:
            parent = _find(self.raw, line.keys[:-1])
            if isinstance(parent, str):
                return False  # an interpolation: it is another key that changes
            if line.free and (not isinstance(parent, dict) or isinstance(parent.get(line.keys[-1], {}), (dict, list))):
                return False
        return True

    def value(self, line: _Line) -> Any:
        """What a line makes of its key, interpolations unresolved; OmegaConf raises what it refuses."""
        if line.text not in self._values:
            OmegaConf.update(self.task, ".".join(line.keys), line.value, force_add=True)
            *parents, last = line.keys
            parent = functools.reduce(lambda node, key: node[key], parents, cast(Any, self.task))
            as_written = OmegaConf.is_interpolation(parent, last) or OmegaConf.is_missing(parent, last)
            self._values[line.text] = line.value if as_written else parent[last]
        return self._values[line.text]


class Composed:
    """The config of one job."""

    def __init__(self, kind: _Kind, overrides: list[str], changes: list[tuple[_Line, Any]]) -> None:
        self.overrides = overrides
        self._kind = kind
        self._changes = changes

    @functools.cached_property
    def plain(self) -> dict[str, Any]:
        """The config that the task function is given, as plain data, resolved.

        Raises:
            CannotBatch: if a value of it is known only when the job runs alone.
        """
        top, task = self._raw(), self._kind.task
        late = self._kind.late.union(line.keys[0] for line, value in self._changes if "${" in str(value))
        if any("${hydra:" in str(top[name]) for name in late):
            raise CannotBatch("the config refers to ${hydra:…}, which is only known when a job runs alone")
        try:
            if late:
                self._set(task)
            for name in late:
                node = task[name]
                top[name] = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        except OmegaConfBaseException as error:
            raise CannotBatch(f"the config cannot be resolved: {error}") from error
        return top

    @property
    def files(self) -> dict[str, str]:
        """The text of `config.yaml` and `overrides.yaml`, as Hydra writes them."""
        found = []
        for name, value in self._raw().items():
            key = (name, *(line.text for line, _ in self._changes if line.keys[0] == name))
            if key not in self._kind.texts:
                node = OmegaConf.create({name: value}, flags={"allow_objects": True})
                self._kind.texts[key] = OmegaConf.to_yaml(node)
            found.append(self._kind.texts[key])
        overrides = "".join(map(_item, self.overrides))
        return {"config.yaml": "".join(found) or "{}\n", "overrides.yaml": overrides or "[]\n"}

    def subdir(self, job: int) -> str:
        """`hydra.sweep.subdir` of a job of that number."""
        if self._kind.subdir == "${hydra.job.num}":
            return str(job)
        with hydra_config(self.config(job)) as config:
            return str(config.hydra.sweep.subdir)

    def config(self, job: int | None = None) -> DictConfig:
        """The whole config as Hydra composes it, with the job's number if there is one; a copy, in 10 ms."""
        config = self._kind.config
        self._set(config)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.overrides.task = self.overrides
            if self._kind.named:
                options = config.hydra.job.config.override_dirname
                config.hydra.job.override_dirname = _dirname(self.overrides, options)
            config.hydra.job.num, config.hydra.job.id = ("???", "???") if job is None else (job, str(job))
        return copy.deepcopy(config)

    def _raw(self) -> dict[str, Any]:
        top = dict(self._kind.raw)
        for line, value in self._changes:
            parent = top
            for key in line.keys[:-1]:
                parent[key] = parent = dict(parent[key])  # what is not on the way is shared
            parent[line.keys[-1]] = value
        return top

    def _set(self, config: DictConfig) -> None:
        for line, value in self._changes:
            OmegaConf.update(config, ".".join(line.keys), value, force_add=True)


class SweepLoader:
    """A config loader that composes the jobs of a sweep from others; otherwise Hydra's own, which it wraps."""

    def __init__(self, loader: Any, whole: bool = False) -> None:
        self.loader, self._whole = loader, whole
        self._parser = OverridesParser.create(config_loader=loader)
        self._lines: dict[str, _Line] = {}
        self._groups: dict[str, bool] = {}
        self._kinds: dict[tuple[Hashable, ...], _Kind | None] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> Any:
        """Compose a job for a sweeper, whole if it looks at it."""
        composed = self.compose(master_config, sweep_overrides)
        return composed.config() if self._whole else composed

    def compose(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> Composed:
        """Compose a job, or raise what Hydra raises."""
        lines = [self._line(text, master_config) for text in sweep_overrides]
        own = [line.text for line in lines if not line.text.lstrip("+~").startswith(("hydra.", "hydra/"))]
        kind = self._kind(master_config, lines, tuple(line.place for line in lines))
        if kind is not None:
            try:
                return Composed(kind, own, [(line, kind.value(line)) for line in lines if line.free])
            except OmegaConfBaseException:
                pass  # Hydra says what is wrong
        kind = self._kind(master_config, lines, tuple(sweep_overrides))
        assert kind is not None
        return Composed(kind, own, [])

    def _line(self, text: str, master: DictConfig) -> _Line:
        if text not in self._lines:
            (override,) = self._parser.parse_overrides([text])
            key, value = override.key_or_group, override.value()
            sets = override.package is None and (isinstance(value, dict) or not self._is_group(key, master))
            plain = _PLAIN_KEY.fullmatch(key) is not None and isinstance(value, (str, int, float, bool, type(None)))
            free = sets and plain and not override.is_sweep_override() and not override.is_hydra_override()
            changes = override.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
            free = free and (changes or override.is_add())
            self._lines[text] = _Line(text, tuple(key.split(".")) if sets else (), free, sets and not changes, value)
        return self._lines[text]

    def _is_group(self, key: str, master: DictConfig) -> bool:
        if key not in self._groups:
            given = {"config_name": master.hydra.job.config_name, "overrides": _raw(master.hydra.overrides)["hydra"]}
            self._groups[key] = bool(self.loader.get_group_options(key, results_filter=None, **given))
        return self._groups[key]

    def _kind(self, master: DictConfig, lines: Sequence[_Line], places: tuple[Hashable, ...]) -> _Kind | None:
        """The jobs of these places; `None` if they have more in common than Hydra composes once."""
        if places not in self._kinds:
            varies = any(isinstance(place, tuple) for place in places)
            kind: _Kind | None = None
            if not varies or not _overlap([".".join((*line.keys, "")) for line in lines if line.keys]):
                kind = _Kind(self.loader.load_sweep_config(master, [line.text for line in lines]))
                if varies and (not kind.holds(lines) or self._depends(master, lines)):
                    kind = None
            if len(self._kinds) >= _KINDS:
                del self._kinds[next(iter(self._kinds))]
            self._kinds[places] = kind
        return self._kinds[places]

    def _depends(self, master: DictConfig, lines: Sequence[_Line]) -> bool:
        """Whether what a line does depends on a value that it finds, which depends on other values."""
        if not any(line.reads for line in lines):
            return False
        try:
            before = _raw(self.loader.load_sweep_config(master, [line.text for line in lines if not line.reads]))
        except Exception:
            return True
        return any("${" in str(_find(before, line.keys)) for line in lines if line.reads)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":  # while it is being unpickled
            raise AttributeError(name)
        return getattr(self.loader, name)


@contextmanager
def hydra_config(config: DictConfig) -> Iterator[DictConfig]:
    """Make a config the one that `${hydra:…}` refers to."""
    singleton = HydraConfig.instance()
    before = singleton.cfg
    singleton.set_config(config)
    try:
        yield config
    finally:
        singleton.cfg = before


def _find(raw: Any, keys: Sequence[str]) -> Any:
    """What stands at a key, or the interpolation on the way there; `None` if there is neither."""
    for key in keys:
        if isinstance(raw, str):
            break
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def _raw(config: DictConfig) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))


def _dirname(overrides: Sequence[str], options: Mapping[str, Any]) -> str:
    """`hydra.job.override_dirname`, as Hydra 1.3 makes it."""
    excluded = set(options["exclude_keys"])
    lines = sorted(line for line in overrides if re.split("[=@]", line.lstrip("+~"))[0] not in excluded)
    return str(options["item_sep"].join(lines).replace("=", options["kv_sep"]))


@functools.lru_cache(maxsize=10_000)
def _item(line: str) -> str:
    # YAML has no other meaning for what begins so and has no space in it, and takes a millisecond to find that out.
    plain = re.fullmatch(r"[A-Za-z][\w./]*=[\w./-]+", line)
    return f"- {line}\n" if plain else OmegaConf.to_yaml(OmegaConf.create([line]))


def _overlap(keys: Sequence[str]) -> bool:
    """Whether a key, with its last dot, is another's beginning, or the same."""
    return any(a.startswith(b) or b.startswith(a) for number, a in enumerate(keys) for b in keys[:number])
