"""The values that a person may choose, each within its range."""

from __future__ import annotations

import re
from typing import Any

import pytest
from omegaconf import OmegaConf

import lossreg
from lossreg.training import ConfigError, read_config
from tests.training.study import STUDY, study


def test_plain_data_and_hydra_s_config_are_read_alike() -> None:
    config = read_config(STUDY)
    assert config == read_config(OmegaConf.create(STUDY))
    assert config.data.inputs == [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert read_config(study(optimizer__learning_rate=1)).optimizer.learning_rate == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not accepted; it must be at least 1"),
        ({"seed": 2**31}, "seed: 2147483648 is not accepted; it must be in [0, 2³¹)"),
        ({"model__dropout": 1.0}, "model.dropout: 1.0 is not accepted; it must be in [0, 1)"),
        ({"model__activation": "sigmoit"}, "Did you mean 'sigmoid'?"),
        ({"optimizer__learning_rate": 0}, "optimizer.learning_rate: 0 is not accepted; it must be a positive number"),
        ({"optimizer__learning_rate": True}, "optimizer.learning_rate: True is not accepted"),
        ({"data__inputs": []}, "data.inputs: [] is not accepted; it must be rows of one length"),
        ({"data__inputs": "x"}, "data.inputs: 'x' is not accepted; it must be a list of rows of numbers"),
        ({"data__targets": [[0], [1]]}, "it must be 4 rows, as data.inputs has"),
        ({"data__targets": [[0], [1], [1], [2]]}, "it must be 0 or 1 each"),
    ],
)
def test_a_value_outside_its_range_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_config(study(**changes))


def test_a_schedule_of_the_learning_rate_is_held_against_its_signature() -> None:
    rate = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": "???"}
    with pytest.raises(lossreg.ParameterError, match=r"optimizer\.learning_rate\.decay_steps: .* needs a value"):
        read_config(study(optimizer__learning_rate=rate))
