"""The results table: a CSV file that no crash can spoil.

A row is on the disk when `append` returns. The file is written anew beside itself and then takes its own place, so it
is there whole at any time. Several processes may append to one table. One that is not understood whole is left alone.
"""

from __future__ import annotations

import codecs
import csv
import functools
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIXED_COLUMNS = ("job", "status", "error")
"""The columns that every table begins with."""

_ERROR_LENGTH = 500
_CELLS = re.compile(r'(?:(?:"(?:[^"]|"")*"|[^",]*)(?:,|$))+')
_COMMAS = re.compile(r"[-+]?[\d.]*\d(,\d+)+(\.\d+)?([eE][-+]?\d+)?")  # a number as some spreadsheets write it
_FORMULA = re.compile(rf"'*(\s*[=+\-@＝＋－＠]|[\t\r]|{_COMMAS.pattern}$)")  # spreadsheets run the wide ones too
_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Row:
    """What one job came to, as the table keeps it.

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
        self._text = ""
        self._stamp: tuple[int, ...] = ()  # of the file that holds this text
        self._known: set[int] | None = None

    def cells(self, overrides: Sequence[str]) -> dict[str, str]:
        r"""The override columns of a job, in its order, and what stands in them.

        Example:

        >>> ResultsTable("results.csv", ["loss"]).cells(["loss=mix", "++fit.epochs=5", "~reg", "job=3"])
        {'override.loss': 'mix', 'fit.epochs': '5', '~reg': 'deleted', 'override.job': '3'}
        """
        cells = {}
        for override in overrides:
            key, equals, value = _encodable(override).partition("=")
            if "@" not in key:  # an option in a package of its own is only there if it is added
                key = key.lstrip("+")
            value = value.replace("\n", "\\n").replace("\r", "\\r") if equals else "deleted"
            cells[f"override.{key}" if key in FIXED_COLUMNS or key in self.metrics else key] = value
        return cells

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows; when this returns they are on the disk.

        A job that has its row with the same overrides keeps it: a worker that outlived a killed sweep may end the job
        that the resumed sweep runs again.

        Raises:
            OSError: if the file cannot be read whole, or not be written; the table is then as it was before.
        """
        from filelock import FileLock  # only here: 20 ms that a single run need not pay

        lines = [self._line(row) for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            text = self._load()
            header = self.header()
            known = self._known or set(map(self._identity, _parse(text)))
            lines = [line for line in lines if self._identity(line) not in known]
            if any(column not in header for line in lines for column in line):
                columns = dict.fromkeys([*FIXED_COLUMNS, *header, *(column for line in lines for column in line)])
                header = [*(column for column in columns if column not in self.metrics), *self.metrics]
                text = _to_csv(header, _parse(text), headed=True)
            text += _to_csv(header, lines)
            write_whole(self.path, text)
            known.update(map(self._identity, lines))
            self._text, self._stamp, self._known = text, self._stamp_now(), known

    def remove(self, status: str) -> int:
        """Remove the rows of a status; returns how many there were.

        Raises:
            OSError: if the file cannot be read whole, or not be written; the table is then as it was before.
        """
        rows = self.read()
        kept = [row for row in rows if row["status"] != status]
        if len(kept) < len(rows):
            write_whole(self.path, _to_csv(list(rows[0]), kept, headed=True))
        return len(rows) - len(kept)

    def header(self) -> list[str]:
        """The columns; none if there is no table yet."""
        return [_plain(cell) for cell in _split(self._load().partition("\n")[0]) or []]

    def read(self) -> list[dict[str, str]]:
        """The rows, each as text by column; empty if there is no table yet. A half-written last line is left out.

        Raises:
            OSError: if the file is no such table; the message has the line.
        """
        return _parse(self._load())

    def _load(self) -> str:
        stamp = self._stamp_now()
        if stamp != self._stamp or not stamp:
            self._text, self._stamp, self._known = self._checked() if stamp else "", stamp, None
        return self._text

    def _checked(self) -> str:
        """The file's text as it is written here, without a byte order mark or a half last line."""
        if not self.path.is_file():
            raise OSError(f"{self.path} is no file")
        data = self.path.read_bytes()
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(data)  # which may end within a letter
        except UnicodeDecodeError as error:
            raise self._refusal(data[: error.start].count(b"\n") + 1, "it is not UTF-8") from None
        *lines, last = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        header = (_split(lines[0]) or []) if lines else []
        for number, line in enumerate(lines, start=1):
            if wrong := _wrong(_split(line), header if number > 1 else None):
                raise self._refusal(number, wrong)
        fixed, cells = ",".join(FIXED_COLUMNS), _split(last)
        begun = len(cells or ()) < len(header) if lines else fixed.startswith(last) or last.startswith(fixed)
        if lines and last and not _wrong(cells, header):
            lines.append(last)
        elif not begun:
            raise self._refusal(len(lines) + 1, _wrong(cells, header or None))
        return "".join(f"{line}\n" for line in lines)

    def _refusal(self, line: int, wrong: str) -> OSError:
        return OSError(f"{self.path}, line {line}: {wrong}. The file is left as it is.")

    def _stamp_now(self) -> tuple[int, ...]:
        found = self.path.stat() if self.path.exists() else None
        return (found.st_ino, found.st_size, found.st_mtime_ns) if found else ()

    def _identity(self, line: Mapping[str, str]) -> int:
        results = {"status", "error", *self.metrics}
        return hash(frozenset((key, cell) for key, cell in line.items() if cell and key not in results))

    def _line(self, row: Row) -> dict[str, str]:
        line = {"job": str(row.job), "status": row.status, "error": " ".join(row.error.split())[:_ERROR_LENGTH]}
        line |= self.cells(row.overrides)
        line |= {name: _to_text(row.metrics.get(name)) for name in self.metrics}
        return {name: _encodable(cell) for name, cell in line.items()}


@functools.lru_cache(maxsize=100_000)
def value_of(cell: str) -> Any:
    """What a cell holds: true or false, a number, a text, or `None`; spreadsheets write `TRUE` and `0.5` for `0.50`.

    Example:

    >>> value_of("TRUE"), value_of("0.50"), value_of("mix"), value_of("")
    (True, 0.5, 'mix', None)
    """
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    try:
        value = float(cell)
    except ValueError:
        return cell or None
    return value if value == value else "nan"


def _parse(text: str) -> list[dict[str, str]]:
    plain = "'" not in text
    header, *lines = [cells if plain else list(map(_plain, cells)) for cells in csv.reader(io.StringIO(text))] or [[]]
    return [dict(zip(header, cells, strict=True)) for cells in lines if any(cells)]


def _split(line: str) -> list[str] | None:
    try:
        return next(csv.reader([line]), []) if '"' not in line or _CELLS.fullmatch(line) else None
    except csv.Error:
        return None


def _wrong(cells: list[str] | None, header: list[str] | None) -> str:
    """What is wrong with the cells of a line, or with the header if there is none yet; empty if nothing."""
    if cells is None:
        return "it is no line of CSV, a quote is missing or too many"
    if header is None:
        missing = [column for column in FIXED_COLUMNS if column not in cells]
        double = [column or "''" for column in dict.fromkeys(cells) if cells.count(column) > 1 or not column]
        if missing:
            return f"no header, with commas, that has {', '.join(missing)}"
        return f"the column {double[0]} is empty or there twice" if double else ""
    if any(cells) and len(cells) != len(header):
        return f"{len(cells)} cells for {len(header)} columns"
    if any(cells) and not (cells[header.index("job")].isdecimal() and cells[header.index("status")]):
        return "a row needs a job's number and a status"
    commas = next(filter(_COMMAS.fullmatch, cells), "")
    return f"{commas} has a comma where a number has a point, or none" if commas else ""


def _encodable(text: str) -> str:
    """A text without the half letters that bytes of another encoding become on a command line."""
    return text.encode(errors="backslashreplace").decode()


def _safe(cell: str) -> str:
    """A cell that no spreadsheet runs: one that is no number and begins like a formula has a quote before it."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _to_csv(columns: Sequence[str], lines: Sequence[Mapping[str, str]], headed: bool = False) -> str:
    text = io.StringIO()
    cells = [*[columns] * headed, *([line.get(column, "") for column in columns] for line in lines)]
    csv.writer(text, lineterminator="\n").writerows(map(_safe, own) for own in cells)
    return text.getvalue()


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
    if os.name == "posix":  # elsewhere a directory cannot be opened
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "item"):  # a NumPy number
        value = value.item()
    if isinstance(value, (str, float)):
        return " ".join(str(value).splitlines())
    return json.dumps(value, default=str)
