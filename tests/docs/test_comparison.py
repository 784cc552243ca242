"""The comparison of examples/: what it says follows from its rows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def compare() -> Any:
    found = importlib.util.spec_from_file_location("compare", ROOT / "examples" / "comparison" / "compare.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module.__name__] = module  # where a dataclass looks its annotations up
    found.loader.exec_module(module)
    return module


def test_what_the_page_says_follows_from_the_rows(compare: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        {"job": f"{method} {seed}", "status": "completed", "method": method, "seed": str(seed)}
        | {f"test_{score}": str(0.5 + shift + noise) for score in compare.SCORES}
        for method, shift in (("bce", 0.0), ("generalized_crossentropy", 0.1), ("symmetric_crossentropy", -0.1))
        for seed, noise in enumerate(random.normal(0, 0.01, 10))
    ]
    setting = "two moons, 40% flipped"
    found = {setting: compare.summaries(rows)}
    best: dict[str, dict[str, float]] = {row["method"]: {} for row in rows}
    text = compare.section(setting, found[setting], best)
    assert (
        "- AUC: best mean: generalized_crossentropy; better than bce: generalized_crossentropy; worse: symmetric"
        in text
    )
    assert (
        "- Brier score: best mean: symmetric_crossentropy; better than bce: symmetric_crossentropy; worse: gen" in text
    )
    said = compare.papers(found)
    assert (
        "40% flipped, generalized_crossentropy (Zhang and Sabuncu (2018)): the AUC agrees; the accuracy agrees." in said
    )
    assert "symmetric_crossentropy (Wang et al. (2019)): the AUC goes the other way" in said
    compare.draw(found, tmp_path / "images" / "comparison.png")
    assert (tmp_path / "images" / "comparison.png").stat().st_size > 10_000


def test_a_method_is_tuned_and_tested(compare: Any) -> None:
    budget = compare.Budget(rounds=1, population=2, tuning=1, seeds=2, epochs=1)
    setting = "two moons, 20% flipped"
    best, rows = compare.compared("logistic regression", [setting], budget)[setting]
    assert 1e-3 < best["C"] < 1e3
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert all(0.5 < float(row["test_auc"]) < 1 for row in rows)
