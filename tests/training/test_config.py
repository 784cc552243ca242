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
    assert config.data["name"] == "lossreg/xor"
    assert read_config(study(optimizer__learning_rate=1)).optimizer["learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not accepted; it must be in [1, 10⁷]"),
        ({"epochs": "???"}, "epochs: it needs a value"),
        ({"class_weight": {0: -1}}, "class_weight: {0: -1} is not accepted; it must be balanced, or a weight by class"),
        ({"optimizer__learning_rate": 1e39}, "it must be a positive number that float32 has, or a schedule"),
        ({"seed": 2**31}, "seed: 2147483648 is not accepted; it must be in [0, 2³¹)"),
        ({"split": {"test": 1}}, "split.test: 1.0 is not accepted; it must be in [0, 1), or null"),
        ({"split": {"test": 0.5, "validation": 0.5}}, "it must be less than 1 together"),
        ({"label_noise": 2}, "label_noise: 2.0 is not accepted; it must be in [0, 1]"),
        ({"patience": 0}, "patience: 0 is not accepted; it must be at least 1, or null"),
        ({"task": "binaries"}, "one of null, binary, multiclass, multilabel, regression. Did you mean 'binary'?"),
        ({"scale": "standart"}, "Did you mean 'standard'?"),
        ({"precision": "float16"}, "precision: 'float16' is not accepted; it must be one of float32, mixed_float16"),
        ({"optimizer__learning_rate": 0}, "optimizer.learning_rate: 0.0 is not accepted; it must be a positive number"),
    ],
)
def test_a_value_outside_its_range_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_config(study(**changes))


def test_a_schedule_of_the_learning_rate_is_held_against_its_signature() -> None:
    rate = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": "???"}
    with pytest.raises(lossreg.ParameterError, match=r"optimizer\.learning_rate\.decay_steps: .* needs a value"):
        read_config(study(optimizer__learning_rate=rate))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__dropout": 1.0}, r"model\.dropout: .* takes float in \[0, 1\) for 'dropout', not 1\.0"),
        ({"model__hidden_units": [4, 0]}, r"model\.hidden_units: .*int in \[1, 1000000\]"),
        ({"model__hidden_units": 2000000000}, r"model\.hidden_units: .*not 2000000000"),
        ({"model__activation": "sigmoit"}, "Did you mean 'sigmoid'"),
        ({"model__hidden_unit": [4]}, "no parameter 'hidden_unit'. Did you mean 'hidden_units'"),
        ({"optimizer__learning_rate": True}, "optimizer.learning_rate: .*not True"),
        ({"data__inputs": "x"}, "data.inputs: .*'x'"),
        ({"data": {"name": "two_moon"}}, "Did you mean 'two_moons'"),
        ({"optimizer": {"name": "adamm", "learning_rate": 0.1}}, "Did you mean 'adam"),
    ],
)
def test_a_node_is_held_against_the_signature_of_its_plugin(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(lossreg.RegistryError, match=message):
        read_config(study(**changes))
