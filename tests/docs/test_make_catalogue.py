"""The catalogue is up to date, and its curves are the losses."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
from matplotlib.image import imread

import lossreg
from docs.make_catalogue import DOCS, IMAGES, NOT_DRAWN, describe, draw, page, values

OF_KERAS = "## Losses of Keras"


def test_its_part_about_lossreg_is_up_to_date() -> None:
    written = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    assert written.partition(OF_KERAS)[0] == page().partition(OF_KERAS)[0]


def test_its_part_about_keras_is_up_to_date() -> None:
    written = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    if f"Keras {metadata.version('keras')};" not in written:
        pytest.skip("the page is about another version of Keras")
    assert written == page()


def test_every_first_party_plugin_has_a_formula() -> None:
    for kind in (lossreg.losses, lossreg.regularizers, lossreg.schedules, lossreg.learned):
        for description in describe(kind, "lossreg"):
            assert "\nFormula: " in description.docstring, description.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("huber", lambda y, p: (y - p) ** 2 / 2),
        ("wing", lambda y, p: 10 * np.log1p(np.abs(y - p) / 2)),
        ("categorical_hinge", lambda y, p: 2 * np.abs(y - p)),
        ("kl_divergence", lambda y, p: -np.log(np.clip(np.where(y, p, 1 - p), 1e-7, 1))),
        ("categorical_generalized_cross_entropy", lambda y, p: (1 - np.sqrt(np.where(y, p, 1 - p))) / 0.5),
    ],
)
def test_a_curve_is_the_loss_over_the_prediction(name: str, expected: object) -> None:
    grid, curves = values(name)
    for y in (0, 1):
        assert curves[y] == pytest.approx(expected(y, grid.astype(float)), rel=1e-3, abs=1e-5)  # type: ignore[operator]


def test_every_loss_is_drawn_or_it_says_why_not() -> None:
    titles = [axes.get_title().replace("\n", "") for axes in draw("lossreg").axes]
    names = {description.name for description in describe(lossreg.losses, "lossreg")}
    assert set(titles) == names - set(NOT_DRAWN)


def test_the_pictures_are_there_and_small() -> None:
    assert sum(path.stat().st_size for path in IMAGES.values()) < 300_000
    for path in IMAGES.values():
        assert imread(path).shape[1] > 1000
