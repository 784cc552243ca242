"""The picture of a sweep. No TensorFlow."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from matplotlib import image

from lossreg.sweeps._picture import draw, figure_of
from lossreg.sweeps._statistics import Cells, Settings, Summary, wilson

Place = dict[str, Any]


def summary(places: list[Place], success: str | None = None, mean: str | None = "brier") -> Summary:
    """Of jobs whose brier is their number, and solved by seeds below 10 r."""
    rows: list[Cells] = [
        {
            **{
                "job": str(job),
                "status": "completed",
                "error": "",
                **{name: str(cell) for name, cell in place.items()},
            },
            **{
                "solved": str(place.get("seed", 0) < 10 * float(place.get("loss.r", 0.5))),
                "brier": str(float(job + 1)),
            },
        }
        for job, place in enumerate(places)
    ]
    return Summary(rows, Settings(("solved", "brier"), mean, success, "seed", ("solved",)))


def grid(**axes: list[Any]) -> list[Place]:
    places: list[Place] = [{}]
    for name, values in axes.items():
        places = [{**place, name.replace("_", "."): value} for place in places for value in values]
    return places


@pytest.mark.parametrize(
    "places",
    [
        grid(loss_r=[0, 0.5, 1], seed=[0, 1]),
        grid(loss=["bce", "mix"], loss_r=[0, 1e-4, 1e-2, 1], seed=[0, 1]),
        grid(loss=["bce", "mix"], loss_r=[0, 0.5], reg_r=[0, 0.1], seed=[0, 1]),
        grid(loss_r=[0, 0.5, 1]),
        grid(loss=["bce", "mix"], seed=[0, 1]),
        grid(loss=["bce", "mix", "mse"], reg=["none", "l2"], seed=[0, 1]),
        grid(a=[1, 2], b=[1, 2], c=[1, 2]),
        grid(loss=list("abcdefghij"), loss_r=[0, 1]),
        [{"note": note, "loss.r": r} for note in ("[/x]", "a\x1b[2J", r"$\nothing$", "a$b") for r in (0, 1)],
    ],
)
@pytest.mark.parametrize("success", [None, "solved"])
def test_whatever_differs_is_drawn(tmp_path: Path, places: list[Place], success: str | None) -> None:
    assert draw(summary(places, success), tmp_path / "sweep.png")
    pixels = image.imread(tmp_path / "sweep.png")
    assert min(pixels.shape[:2]) > 200
    assert pixels[..., :3].std() > 0.05


@pytest.mark.parametrize("places", [[{"loss": "bce"}], grid(loss=["bce"], seed=[0, 1, 2])])
def test_of_one_point_there_is_no_picture(places: list[Place]) -> None:
    assert figure_of(summary(places)) is None


def test_a_curve_shows_rates_and_intervals() -> None:
    (plot,) = figure_of(summary(grid(loss_r=[0.5, 0.1, 0.8], seed=list(range(10))), "solved")).axes
    (line,) = plot.lines
    assert line.get_xydata().tolist() == [[0.1, 0.1], [0.5, 0.5], [0.8, 0.8]]
    (band,) = plot.collections
    corners = {(x, y) for x, y in band.get_paths()[0].vertices.tolist()}
    assert {(0.1, wilson(1, 10)[0]), (0.5, wilson(5, 10)[1]), (0.8, wilson(8, 10)[0])} <= corners


def test_names_are_points_with_intervals_the_best_above() -> None:
    from scipy import stats

    (plot,) = figure_of(summary(grid(loss=["bce", "mix"], reg=["none", "l2"], seed=[0, 1, 2]))).axes
    assert [label.get_text() for label in plot.get_yticklabels()] == ["bce, none", "bce, l2", "mix, none", "mix, l2"]
    assert plot.get_ylabel() == "loss, reg"
    points, *_ = plot.lines
    assert points.get_xydata().tolist() == [[2.0, 0.0], [5.0, 1.0], [8.0, 2.0], [11.0, 3.0]]
    (bars,) = plot.collections
    low, high = stats.t.interval(0.95, 2, loc=2, scale=1 / 3**0.5)
    assert bars.get_segments()[0].ravel().tolist() == pytest.approx([low, 0, high, 0])


def test_many_numbers_are_a_scatter_with_the_best_marked() -> None:
    generator = random.Random(0)
    drawn = [{"a": generator.random(), "b": 10 ** generator.uniform(-5, 0)} for _ in range(40)]
    plot, _bar = figure_of(summary(drawn)).axes
    points, best = plot.collections
    assert len(points.get_offsets()) == 40
    assert best.get_offsets().tolist() == [[drawn[0]["a"], drawn[0]["b"]]]
    assert (plot.get_xscale(), plot.get_yscale()) == ("linear", "log")
    plots = figure_of(summary([{**place, "loss": "bce" if place["a"] < 0.5 else "mix"} for place in drawn])).axes
    assert [plot.get_xlabel() for plot in plots] == ["a", "b"]
    assert plots[0].collections[-1].get_offsets().tolist() == [[drawn[0]["a"], 1.0]]
    (plot,) = figure_of(summary([{"a": place["a"]} for place in drawn])).axes
    assert len(plot.lines) == 0


def test_a_full_grid_is_a_heatmap_whatever_its_size() -> None:
    plot, _bar = figure_of(summary(grid(a=list(range(40)), b=list(range(40))))).axes
    assert plot.images[0].get_array().shape == (40, 40)
    assert len(plot.get_xticks()) <= 20
