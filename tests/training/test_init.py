"""The face of the engine."""

from __future__ import annotations

import pytest

from lossreg import training


@pytest.mark.parametrize("name", training.__all__)
def test_every_name_of_the_face_is_there(name: str) -> None:
    assert getattr(training, name) is not None


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match=r"module 'lossreg\.training' has no attribute 'fitt'"):
        _ = training.fitt
