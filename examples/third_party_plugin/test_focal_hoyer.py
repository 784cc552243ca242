"""Holds the plugins of this package to the contract of lossreg: one test per check."""

from __future__ import annotations

from collections.abc import Callable

from lossreg import checks


@checks.parametrize("focal-hoyer/focal", "focal-hoyer/hoyer")
def test_checks(check: Callable[[], None]) -> None:
    check()
