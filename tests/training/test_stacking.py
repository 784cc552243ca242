"""A stranger's model that cannot be stacked: the layer is named, and the models train one by one."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lossreg
from lossreg.training import fit_many
from tests.conftest import ROOT
from tests.training.study import BCE, Plain, alone, study

MODELS = ("counting", "noisy", "reading", "scripted", "scaling", "recurrent")


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    found = importlib.util.spec_from_file_location("layered", ROOT / "tests" / "packages" / "layered" / "layered.py")
    assert found is not None
    assert found.loader is not None
    layered: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(layered)
    for name in MODELS:
        lossreg.models.register(name)(getattr(layered, name))
    yield
    for name in MODELS:
        lossreg.models.unregister(name)


def configs(model: str) -> list[Plain]:
    settings: Plain = {"loss": BCE, "model": {"name": model}, "reg": {"name": "none"}, "epochs": 2, "shuffle": False}
    return [study(**settings, seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("counting", r"layer 'calls' \(Counting\): it has side effects, .*AssignAdd"),
        ("noisy", r"layer 'noise' \(Noisy\): it has side effects, .*RandomStandardNormal"),
        ("reading", r"layer 'reads' \(Reading\): its outputs depend on the seed that it was built with"),
        ("recurrent", r"layer 'remembers' \(GRU\): compiling it raised "),
        ("scripted", r"layer 'python' \(Lambda\): it has side effects, .*PyFunc"),
    ],
)
def test_a_layer_that_cannot_be_stacked_is_named_and_its_models_train_one_by_one(
    model: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = fit_many(model, "xor", configs(model))
    (message,) = (record.message for record in caplog.records if record.name.startswith("lossreg"))
    assert re.search(rf"^model: {reason}.*; 2 models train one by one$", message), message
    assert "\n" not in message
    assert [len(each.history["loss"]) for each in found] == [2, 2]
    assert found[0].metrics != found[1].metrics


def test_another_layer_trains_in_one_program_with_the_numbers_of_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = "scaling"
    with caplog.at_level(logging.WARNING):
        found = fit_many(model, "xor", configs(model))
    assert not caplog.messages
    for config, together in zip(configs(model), found, strict=True):
        np.testing.assert_allclose(together.history["loss"], alone(config)[0]["loss"], atol=1e-5)
