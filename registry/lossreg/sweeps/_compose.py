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
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
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
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class _Line:
    """One override.

    Arguments:
        text: as it is written.
        key: the key whose value it changes; empty if it chooses an option of a config group.
        free: whether it does nothing but set one value, so that jobs of a kind may differ in it.
        reads: whether what it does depends on what it finds there.
        value: what it sets.
    """

    text: str
    key: str
    free: bool
    reads: bool
    value: Any

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))

    @functools.cached_property
    def place(self) -> Hashable:
        """What the jobs of a kind have in common of it."""
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
            parent = _find(self.raw, line.keys[:-1]) if line.key else None
            if isinstance(parent, str):
                return False  # an interpolation: it is another key that changes
            if line.free and (not isinstance(parent, dict) or isinstance(parent.get(line.keys[-1], {}), (dict, list))):
                return False
        return True

    def value(self, line: _Line) -> Any:
        """What a line makes of its key, interpolations unresolved.

        Raises:
            OmegaConfBaseException: if the value is refused there.
        """
        if line.text not in self._values:
            OmegaConf.update(self.task, line.key, line.value, force_add=True)
            parent = self.task
            for key in line.keys[:-1]:
                parent = parent[key]
            last = line.keys[-1]
            as_written = OmegaConf.is_interpolation(parent, last) or OmegaConf.is_missing(parent, last)
            self._values[line.text] = line.value if as_written else parent[last]
        return self._values[line.text]


class Composed:
    """The config of one job.

    Arguments:
        kind: what it shares with other jobs.
        overrides: its overrides.
        changes: the lines that set values of its own, and these values.
    """

    def __init__(self, kind: _Kind, overrides: list[str], changes: list[tuple[_Line, Any]]) -> None:
        self.overrides = overrides
        self._kind = kind
        self._changes = changes

    @functools.cached_property
    def plain(self) -> dict[str, Any]:
        """The config that the task function is given as plain data, resolved.

        Raises:
            CannotBatch: if a value of it is known only when the job runs alone.
        """
        top = self._raw()
        late = self._kind.late.union(line.keys[0] for line, value in self._changes if "${" in str(value))
        if any("${hydra:" in str(top[name]) for name in late):
            raise CannotBatch("the config refers to ${hydra:…}, which is only known when a job runs alone")
        task = self._kind.task
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
    def yaml(self) -> str:
        """The text of `.hydra/config.yaml`."""
        texts = self._kind.texts
        found = []
        for name, value in self._raw().items():
            key = (name, *(line.text for line, _ in self._changes if line.keys[0] == name))
            if key not in texts:
                texts[key] = OmegaConf.to_yaml(OmegaConf.create({name: value}, flags={"allow_objects": True}))
            found.append(texts[key])
        return "".join(found) or "{}\n"

    @property
    def overrides_yaml(self) -> str:
        """The text of `.hydra/overrides.yaml`."""
        return "".join(map(_item, self.overrides)) or "[]\n"

    def subdir(self, job: int) -> str:
        """`hydra.sweep.subdir` of a job of that number."""
        if self._kind.subdir == "${hydra.job.num}":
            return str(job)
        with hydra_config(self._whole(job)) as config:
            return str(config.hydra.sweep.subdir)

    def config(self, job: int | None = None) -> DictConfig:
        """The whole config as Hydra composes it, with the job's number if there is one; a copy, in 10 ms."""
        return copy.deepcopy(self._whole(job))

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
            OmegaConf.update(config, line.key, value, force_add=True)

    def _whole(self, job: int | None) -> DictConfig:
        config = self._kind.config
        self._set(config)
        with read_write(config.hydra), open_dict(config.hydra):
            hydra = config.hydra
            hydra.overrides.task = self.overrides
            if self._kind.named:
                hydra.job.override_dirname = _dirname(self.overrides, hydra.job.config.override_dirname)
            hydra.job.num = "???" if job is None else job
            hydra.job.id = "???" if job is None else str(job)
        return config


class Unread:
    """Stands for the config of a job, which is made when somebody looks into it; a sweeper that validates does not."""

    def __init__(self, compose: Callable[[], DictConfig]) -> None:
        self._compose = compose

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compose(), name)

    def __getitem__(self, name: str) -> Any:
        return self._compose()[name]


class SweepLoader:
    """A config loader that composes the jobs of a sweep from others; otherwise the loader that it wraps.

    Arguments:
        loader: Hydra's own.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._parser = OverridesParser.create(config_loader=loader)
        self._lines: dict[str, _Line] = {}
        self._groups: dict[str, bool] = {}
        self._kinds: dict[tuple[Hashable, ...], _Kind | None] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> Any:
        """Compose a job's config, as Hydra does."""
        return Unread(self.compose(master_config, sweep_overrides).config)

    def compose(self, master: DictConfig, overrides: Sequence[str]) -> Composed:
        """Compose a job.

        Raises:
            HydraException: what Hydra raises.
        """
        lines = [self._line(text, master) for text in overrides]
        own = [line.text for line in lines if not line.text.lstrip("+~").startswith(("hydra.", "hydra/"))]
        kind = self._kind(master, lines, tuple(line.place for line in lines))
        if kind is not None:
            try:
                return Composed(kind, own, [(line, kind.value(line)) for line in lines if line.free])
            except OmegaConfBaseException:
                pass  # Hydra says what is wrong
        kind = self._kind(master, lines, tuple(overrides))
        assert kind is not None
        return Composed(kind, own, [])

    def _line(self, text: str, master: DictConfig) -> _Line:
        if text not in self._lines:
            (override,) = self._parser.parse_overrides([text])
            value = override.value()
            key = override.key_or_group
            is_value = override.package is None and (isinstance(value, dict) or not self._is_group(key, master))
            free = (
                is_value
                and override.type in (OverrideType.CHANGE, OverrideType.ADD, OverrideType.FORCE_ADD)
                and not override.is_sweep_override()
                and not override.is_hydra_override()
                and isinstance(value, _SCALARS)
                and _PLAIN_KEY.fullmatch(key) is not None
            )
            reads = is_value and override.type not in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
            self._lines[text] = _Line(text, key if is_value else "", free, reads, value)
        return self._lines[text]

    def _is_group(self, key: str, master: DictConfig) -> bool:
        if key not in self._groups:
            hydra = _raw(master.hydra.overrides)["hydra"]
            name = master.hydra.job.config_name
            options = self.loader.get_group_options(key, results_filter=None, config_name=name, overrides=hydra)
            self._groups[key] = bool(options)
        return self._groups[key]

    def _kind(self, master: DictConfig, lines: Sequence[_Line], places: tuple[Hashable, ...]) -> _Kind | None:
        """The jobs of these places; `None` if they have more in common than Hydra composes once."""
        if places not in self._kinds:
            varies = any(isinstance(place, tuple) for place in places)
            kind: _Kind | None = None
            if not varies or not _overlap([line.key for line in lines if line.key]):
                kind = _Kind(self.loader.load_sweep_config(master, [line.text for line in lines]))
                if varies and (not kind.holds(lines) or self._depends(master, lines)):
                    kind = None
            if len(self._kinds) >= _KINDS:
                del self._kinds[next(iter(self._kinds))]
            self._kinds[places] = kind
        return self._kinds[places]

    def _depends(self, master: DictConfig, lines: Sequence[_Line]) -> bool:
        """Whether what a line does depends on a value that it finds, which depends on other values."""
        reading = [line for line in lines if line.reads]
        if not reading:
            return False
        try:
            before: Any = self.loader.load_sweep_config(master, [line.text for line in lines if not line.reads])
        except Exception:
            return True
        raw = _raw(before)
        return any("${" in str(_find(raw, line.keys)) for line in reading)

    def __getattr__(self, name: str) -> Any:
        """Whatever else a loader does, the wrapped loader does."""
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
    return OmegaConf.to_yaml(OmegaConf.create([line]))


def _overlap(keys: Sequence[str]) -> bool:
    """Whether a key is another's beginning, or the same.

    Example:

    >>> _overlap(["a.b", "a.c", "ab"]), _overlap(["a.b", "a"]), _overlap(["a", "a"])
    (False, True, True)
    """
    return any(
        first == second or first.startswith(f"{second}.") or second.startswith(f"{first}.")
        for number, first in enumerate(keys)
        for second in keys[:number]
    )
