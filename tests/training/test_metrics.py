"""What a model's outputs are worth, against scikit-learn; what is no number is no result. No TensorFlow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from lossreg.training import DivergedError
from lossreg.training._data import Data, Rows
from lossreg.training._metrics import measure


def held_out(test_y: list[float], task: str = "binary") -> Data:
    """A data set of which rows with these targets are held out."""
    y = {"train": [0.0, 1.0, 1.0, 0.0], "test": test_y}
    rows = {part: Rows(np.zeros((len(own), 1)), np.array(own, np.float32)[:, None]) for part, own in y.items()}
    return Data("own", task, 1, ("no", "yes"), rows, np.zeros(1), np.ones(1))


MEASURED: dict[str, Any] = {"loss": 0.5, "penalty": 0.0, "values": {}, "epochs_run": 1, "seconds": 0.1}


@pytest.mark.parametrize(
    ("task", "metric", "undetermined"), [("binary", "auc", [1.0, 1.0, 1.0]), ("regression", "r2", [3.0])]
)
def test_what_rows_do_not_determine_is_null(task: str, metric: str, undetermined: list[float]) -> None:
    outputs = {"train": np.array([[0.2], [0.9], [0.6], [0.7]]), "test": np.full((len(undetermined), 1), 0.7)}
    found = measure(held_out(undetermined, task), outputs, **MEASURED)
    assert found[f"test_{metric}"] is None
    truth, own = [0, 1, 1, 0], outputs["train"][:, 0]
    expected = metrics.roc_auc_score(truth, own) if task == "binary" else metrics.r2_score(truth, own)
    assert found[metric] == pytest.approx(expected)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": np.nan}, "loss became NaN or infinite in the last step"),
        ({"penalty": np.inf}, "penalty became"),
        ({"values": {"loss.r": np.nan}}, r"loss\.r became"),
        ({}, "The outputs for the rows of test became"),
    ],
)
def test_what_is_no_number_is_no_result(changes: dict[str, Any], message: str) -> None:
    """The loss of the last step is known before what that step does to the weights."""
    outputs = {"train": np.full((4, 1), 0.5), "test": np.full((1, 1), 0.5 if changes else np.nan)}
    with pytest.raises(DivergedError, match=message):
        measure(held_out([1.0]), outputs, **{**MEASURED, **changes})
