"""The files that Hydra keeps of a job, `.hydra/*.yaml`, for many jobs at once.

Hydra dumps each job's config to YAML, 10 ms per job. The files of jobs that share a template differ in a few lines, so
the text is dumped once with those lines left out, and each job's own lines are put in. Byte for byte what Hydra writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from lossreg.sweeps.compose import Composed, Template

Path_ = tuple[str, ...]

# Strings that YAML writes as they are: no number, boolean, null or date begins with a letter or slash and has one of
# these characters inside, and without spaces no line is ever wrapped.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+-]*[=/][A-Za-z0-9_./=,+-]*")
_HYDRA_BLANKS: tuple[Path_, ...] = (
    ("hydra", "overrides", "task"),
    ("hydra", "job", "override_dirname"),
    ("hydra", "job", "id"),
    ("hydra", "job", "num"),
    ("hydra", "runtime", "output_dir"),
)
_INTEGER = re.compile(r"0|[1-9][0-9]*")  # as text, which is quoted so that it stays text


class JobFiles:
    """Writes `config.yaml`, `hydra.yaml` and `overrides.yaml` of a template's jobs.

    Arguments:
        template: what the jobs share.
    """

    def __init__(self, template: Template) -> None:
        self.subdir: str | None = template.config.hydra.output_subdir
        self._template = template
        hydra = OmegaConf.to_container(template.hydra, resolve=False, enum_to_str=True)
        self._hydra = _Form(hydra, _HYDRA_BLANKS)
        self._forms: dict[tuple[Path_, ...], _Form | None] = {}

    def write(self, composed: Composed, job: int, output_dir: Path) -> None:
        """Write the files of one job into its directory, which is made.

        Raises:
            OSError: if they cannot be written.
        """
        if self.subdir is None:
            output_dir.mkdir(parents=True, exist_ok=True)
            return
        folder = output_dir / self.subdir
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "config.yaml", self.config(composed))
        _write(folder / "hydra.yaml", self.hydra(composed, job, str(output_dir)))
        _write(folder / "overrides.yaml", _list("", composed.overrides))

    def config(self, composed: Composed) -> str:
        """The text of config.yaml."""
        blanks = tuple(patch.keys for patch in composed.patches)
        if blanks not in self._forms:
            self._forms[blanks] = self._make_form(blanks)
        form = self._forms[blanks]
        values = [patch.node._value() for patch in composed.patches]
        if form is None or not all(isinstance(value, (str, int, float, type(None))) for value in values):
            return OmegaConf.to_yaml(composed.task())
        return form.fill(values)

    def hydra(self, composed: Composed, job: int, output_dir: str) -> str:
        """The text of hydra.yaml."""
        return self._hydra.fill([composed.overrides, composed.dirname, str(job), job, output_dir])

    def _make_form(self, blanks: tuple[Path_, ...]) -> _Form | None:
        container = OmegaConf.to_container(self._template.task, resolve=False, enum_to_str=True)
        for keys in blanks:
            value = container
            for key in keys:
                if not isinstance(value, dict) or key not in value:
                    return None  # a key that only the job has
                value = value[key]
            if isinstance(value, (dict, list)):
                return None
        return _Form(container, blanks)


class _Form:
    """A YAML text with blanks for the values at some keys."""

    def __init__(self, container: Any, blanks: Sequence[Path_]) -> None:
        for number, keys in enumerate(blanks):
            parent = container
            for key in keys[:-1]:
                parent = parent[key]
            parent[keys[-1]] = f"__blank_{number}__"
        # A blank's line is "<indent><key>: <blank>"; blanks come in the order of the text, not of `blanks`.
        pattern = re.compile(r"^( *)([^ ].*): __blank_(\d+)__\n", re.MULTILINE)
        pieces = pattern.split(_dump(container))
        self._blanks = blanks
        self._order = [int(number) for number in pieces[3::4]]
        self._heads = [f"{indent}{key}:" for indent, key in zip(pieces[1::4], pieces[2::4], strict=True)]
        self._texts = pieces[0::4]
        self._lines: dict[Any, str] = {}
        assert sorted(self._order) == list(range(len(blanks)))

    def fill(self, values: Sequence[Any]) -> str:
        """The text with these values, given in the order of the blanks."""
        text = [self._texts[0]]
        for number, head, after in zip(self._order, self._heads, self._texts[1:], strict=True):
            text += (self._line(number, head, values[number]), after)
        return "".join(text)

    def _line(self, number: int, head: str, value: Any) -> str:
        if isinstance(value, str) and _PLAIN.fullmatch(value):
            return f"{head} {value}\n"
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return f"{head} '{value}'\n"
        if isinstance(value, list):
            return f"{head}{_list(head[: -len(head.lstrip())], value, self._blanks[number])}"
        if type(value) is int:
            return f"{head} {value}\n"
        key = number, type(value), value
        if key not in self._lines:
            self._lines[key] = _own_lines(self._blanks[number], value)
        return self._lines[key]


def _list(indent: str, items: Sequence[str], keys: Path_ = ()) -> str:
    """A list of strings; below a key it begins with what follows the colon."""
    if items and all(_PLAIN.fullmatch(item) for item in items):
        return ("\n" if keys else "") + "".join(f"{indent}- {item}\n" for item in items)
    text = _own_lines(keys, list(items))
    return text.partition(":")[2] if keys else text


def _own_lines(keys: Path_, value: Any) -> str:
    """The lines of a value in a text where it stands below `keys`: YAML wraps by the column where a value begins."""
    container = value
    for key in reversed(keys):
        container = {key: container}
    lines = _dump(container).splitlines(keepends=True)
    return "".join(lines[max(len(keys) - 1, 0) :])


def _dump(container: Any) -> str:
    """As `OmegaConf.to_yaml` does it."""
    dumper = get_omega_conf_dumper()
    return str(yaml.dump(container, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=dumper))


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - twice as fast as Path.open
        file.write(text)
