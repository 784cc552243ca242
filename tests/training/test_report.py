"""The files of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossreg.training import write_whole


def test_a_file_that_could_not_be_written_does_not_appear(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "metrics.json", write)
    assert list(tmp_path.iterdir()) == []
