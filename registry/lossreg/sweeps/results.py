"""The results table: a CSV file that only grows, row by row, and that no crash can spoil.

A row is on the disk when `append` returns. A line that a killed process left half written is dropped by whoever opens
the table next, so a row is in the table whole or not at all. Several processes may append to one table.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIXED_COLUMNS = ("job", "status", "error")
"""The columns that every table begins with."""

_ERROR_LENGTH = 500


@dataclass(frozen=True)
class Row:
    """What one job came to.

    Arguments:
        job: the job's number in its sweep.
        overrides: the job's overrides, as Hydra lists them: `["loss=mix", "loss.r=0.3"]`.
        status: `"completed"`, `"failed"`, or another word that the app's exception carries as `status`.
        error: why it did not complete; empty if it did.
        metrics: what it measured; only the table's metric columns are kept.
    """

    job: int
    overrides: Sequence[str]
    status: str = "completed"
    error: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)


class ResultsTable:
    """A CSV file of rows: `job`, `status`, `error`, one column per override, then the metrics.

    An override's column is its key as it is written (`loss.r`), without a leading `+`; where that name is taken by
    another column it is `override.<key>`. A job with an override that the header lacks widens the table.

    Arguments:
        path: the file; made by the first `append`, with its directory.
        metrics: the metric columns.

    Example:

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> table = ResultsTable(Path(folder.name) / "results.csv", ["brier"])
    >>> table.append([Row(0, ["loss=mix", "+r=0.3"], metrics={"brier": 0.25, "seconds": 1.5})])
    >>> table.read()
    [{'job': '0', 'status': 'completed', 'error': '', 'loss': 'mix', 'r': '0.3', 'brier': '0.25'}]
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], metrics: Iterable[str] = ()) -> None:
        self.path = Path(path)
        self.metrics = tuple(metrics)
        self._results = {"status", "error", *self.metrics}
        self._known: set[frozenset[tuple[str, str]]] = set()
        self._size = -1  # of the file when it was last read or written here

    def cells(self, overrides: Sequence[str]) -> dict[str, str]:
        """The override columns of a job, in its order, and what stands in them."""
        return override_cells(overrides, taken=(*FIXED_COLUMNS, *self.metrics))

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows; when this returns they are on the disk.

        A job that has its row with the same overrides keeps it: a worker that outlived a killed sweep may end the job
        that the resumed sweep runs again.

        Raises:
            OSError: if the file cannot be written; the table is then as it was before.
        """
        if not rows:
            return
        from filelock import FileLock  # only here: 20 ms that a single run need not pay

        lines = [self._line(row) for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            header = self._repair()
            if header and self.path.stat().st_size != self._size:
                self._known = {self._identity(row) for row in self.read()}
            lines = [line for line in lines if self._identity(line) not in self._known]
            missing = [column for line in lines for column in line if column not in header]
            if missing or not header:
                header = self._widen(header, missing)
            _append_bytes(self.path, _to_csv(header, lines).encode())
            self._known.update(map(self._identity, lines))
            self._size = self.path.stat().st_size

    def read(self) -> list[dict[str, str]]:
        """The rows, each as text by column; empty if there is no table yet. A half-written last line is left out."""
        try:
            text = self.path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        header, *lines = list(csv.reader(io.StringIO(whole))) or [[]]
        return [dict(zip(header, cells, strict=True)) for cells in lines if len(cells) == len(header)]

    def _identity(self, line: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        return frozenset((key, cell) for key, cell in line.items() if cell and key not in self._results)

    def _line(self, row: Row) -> dict[str, str]:
        line = {"job": str(row.job), "status": row.status, "error": " ".join(row.error.split())[:_ERROR_LENGTH]}
        line |= self.cells(row.overrides)
        return line | {name: _to_text(row.metrics.get(name)) for name in self.metrics}

    def _repair(self) -> list[str]:
        """Cut off a half-written last line, and return the header; empty if there is none."""
        try:
            with self.path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                whole = _end_of_last_line(file, size)
                if whole < size:
                    file.truncate(whole)
                file.seek(0)
                return next(csv.reader([file.readline().decode()]), [])
        except FileNotFoundError:
            return []

    def _widen(self, header: list[str], missing: list[str]) -> list[str]:
        """Rewrite the table with more columns, the metrics last."""
        columns = [
            column for column in dict.fromkeys([*FIXED_COLUMNS, *header, *missing]) if column not in self.metrics
        ]
        columns += self.metrics
        header_line = dict(zip(columns, columns, strict=True))
        write_whole(self.path, _to_csv(columns, [header_line, *self.read()]))
        return columns


def override_cells(overrides: Sequence[str], taken: Iterable[str] = FIXED_COLUMNS) -> dict[str, str]:
    r"""The column and the cell of each override; a column that is `taken` becomes `override.<key>`.

    Example:

    >>> override_cells(["loss=mix", "++fit.epochs=5", "~reg", "job=3"])
    {'loss': 'mix', 'fit.epochs': '5', '~reg': 'deleted', 'override.job': '3'}
    """
    taken = set(taken)
    cells = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if "@" not in key:  # an option in a package of its own is only there if it is added
            key = key.lstrip("+")
        # One line per row is what makes a half-written row recognisable.
        value = value.replace("\n", "\\n").replace("\r", "\\r") if equals else "deleted"
        cells[f"override.{key}" if key in taken else key] = value
    return cells


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it appears whole or not at all, and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    if os.name == "posix":  # elsewhere a directory cannot be opened
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _append_bytes(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _end_of_last_line(file: Any, size: int) -> int:
    end = size
    while end:
        start = max(0, end - 8192)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _to_csv(columns: Sequence[str], lines: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([line.get(column, "") for column in columns] for line in lines)
    return text.getvalue()


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "item"):  # a NumPy number
        value = value.item()
    if isinstance(value, (str, float)):
        return str(value).replace("\n", " ")
    return json.dumps(value, default=str)
