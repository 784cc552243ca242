"""What can be printed on any stream."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from lossreg._errors import print_anything


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file that is always full")
@pytest.mark.parametrize("encoding", ["cp949", "ascii", "latin-1"])
def test_what_a_stream_refuses_ends_nothing(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "")
    with Path("/dev/full").open("wb", buffering=0) as full:
        stdout = io.TextIOWrapper(full, encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", None)
        print_anything()
        print("손실 ✓ \U0001f600", flush=True)
        print("손실 ✓ \U0001f600", file=sys.stderr, flush=True)
        sys.stderr.close()
        assert stdout.errors == "backslashreplace"
