"""Which configs may train in one program, and how many at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import lossreg
from lossreg.training import chunk_limit, group_key, read_config, train_many
from tests.conftest import ROOT
from tests.training.study import BCE, NONE, STUDY, Plain, study, weighted


@pytest.mark.parametrize(
    "other",
    [
        study(loss__r=0.1),
        study(loss__r=1),
        study(reg__r=0.0),
        study(seed=7),
        study(optimizer__learning_rate=1),
    ],
)
def test_numbers_that_may_vary_are_not_in_the_key(other: Plain) -> None:
    assert group_key(other) == group_key(STUDY)


@pytest.mark.parametrize(
    "other",
    [
        study(loss=BCE),
        study(reg=NONE),
        study(data__targets=[[0], [1], [1], [1]]),
        study(model__hidden_units=5),
        study(model__dropout=0.2),
        study(optimizer__name="adamw"),
        study(epochs=100),
        study(batch_size=2),
        study(jit_compile=False),
        study(seed=-1),
        study(optimizer__learning_rate=-1.0),
        study(loss__r="half"),
    ],
)
def test_all_else_is_in_the_key(other: Plain) -> None:
    assert group_key(other) != group_key(STUDY)


def test_numbers_of_data_and_model_are_in_the_key() -> None:
    for key, name, number in (("data", "two_moons", "noise"), ("model", "mlp", "dropout")):
        one, other = (study(**{key: {"name": name, number: value}}) for value in (0.1, 0.2))
        assert group_key(one) != group_key(other)


def test_parameters_of_other_types_are_in_the_key() -> None:
    mean, largest = (study(loss={"name": "own_focal", "gamma": 2.0, "mode": mode}) for mode in ("mean", "max"))
    assert group_key(mean) != group_key(largest)


def test_a_float_that_may_be_left_out_varies_where_it_is_given() -> None:
    unset, small, large = (study(reg={"name": "own_elastic", "l1": 0.1, "l2": l2}) for l2 in (None, 0.1, 0.2))
    assert group_key(unset) != group_key(small) == group_key(large)


def test_numbers_inside_of_nested_plugins_vary() -> None:
    one, other = (study(loss=weighted({"name": "mix", "r": r}, r)) for r in (0.1, 0.2))
    assert group_key(one) == group_key(other)
    assert {"loss.terms.a.r", "loss.weights.a", "loss.weights.b"} <= set(group_key(one).varying)
    assert group_key(one) != group_key(study(loss=weighted(BCE, 0.1)))


def test_a_config_with_a_mistake_has_a_key_of_its_own() -> None:
    wrong, nested = study(loss={"name": "mxi", "r": 0.5}), study(loss=weighted({"name": "mxi"}, 0.5))
    assert len({group_key(config) for config in (wrong, nested, STUDY)}) == 3
    for config in (wrong, nested):
        with pytest.raises(lossreg.UnknownNameError, match="Did you mean 'mix'"):
            train_many([config])


def test_the_key_is_the_same_however_the_config_is_held() -> None:
    config = read_config(STUDY)
    assert group_key(config) == group_key(OmegaConf.structured(config))
    assert group_key(OmegaConf.create(STUDY)) == group_key(STUDY)


def test_grouping_needs_no_tensorflow(no_tensorflow: Path) -> None:
    program = "from lossreg.training import chunk_limit, group_key\n"
    program += f"print(group_key({STUDY!r}), chunk_limit({STUDY!r}))"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env={"PYTHONPATH": f"{no_tensorflow}:{ROOT}"})


def test_fewer_large_models_than_small_ones_train_at_once() -> None:
    small, large = chunk_limit(STUDY), chunk_limit(study(model__hidden_units=[100_000]))
    assert small >= 1000
    assert 1 <= large < small / 10


def test_a_name_that_changes_hands_is_split_anew() -> None:
    one, other = (study(loss={"name": "own_number", "r": r}) for r in (1, 2))

    @lossreg.losses.register("own_number")
    def first(y_true: float, y_pred: float, r: float = 1.0) -> float:
        return r * (y_true - y_pred)

    try:
        assert group_key(one) == group_key(other)

        @lossreg.losses.register("own_number", replace=True)
        def second(y_true: float, y_pred: float, r: int = 1) -> float:
            return r * (y_true - y_pred)

        assert group_key(one) != group_key(other)
    finally:
        lossreg.losses.unregister("own_number")
