"""The closing table and the picture of a sweep. No TensorFlow."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib import image
from rich.console import Console

from lossreg.sweeps import ResultsTable, Row
from lossreg.sweeps._summary import draw, figure_of, points, show, wilson

Columns = tuple[str | None, str | None, str | None]
COLUMNS = ("solved", "brier", "seed")


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (1, 7), (50, 100), (99, 100), (5, 5), (312, 1000)])
def test_wilson_ends_are_where_the_score_test_just_rejects(successes: int, trials: int) -> None:
    """Its definition: the rates p with |p̂ − p| = 1.96 √(p(1−p)/n)."""
    p_hat = successes / trials
    for end in wilson(successes, trials):
        if end not in (0.0, 1.0):
            assert abs(p_hat - end) == pytest.approx(1.959963985 * math.sqrt(end * (1 - end) / trials))
        else:
            assert p_hat == end
    low, high = wilson(successes, trials)
    assert 0 <= low <= p_hat <= high <= 1
    assert low < high


def table(path: Path, rows: list[Row]) -> ResultsTable:
    made = ResultsTable(path / "results.csv", ["solved", "brier"])
    made.append(rows)
    return made


def printed(made: ResultsTable, columns: Columns = COLUMNS, picture: bool = False) -> str:
    console = Console(width=150)
    with console.capture() as capture:
        show(made, *columns, picture=picture, console=console)
    return capture.get()


def grid(rs: list[str], lambdas: list[str], seeds: int, losses: tuple[str, ...] = ("mix",)) -> list[Row]:
    """Solved by the seeds below 10 r; brier = seed / 100."""
    places = [(loss, r, scale, seed) for loss in losses for r in rs for scale in lambdas for seed in range(seeds)]
    return [
        Row(
            job,
            [f"loss={loss}", f"loss.r={r}", f"reg.r={scale}", f"seed={seed}"],
            metrics={"solved": seed < 10 * float(r), "brier": seed / 100},
        )
        for job, (loss, r, scale, seed) in enumerate(places)
    ]


def test_replicates_are_taken_together(tmp_path: Path) -> None:
    rows = grid(["0.2", "0.5"], ["0"], 20)
    rows[3] = Row(3, rows[3].overrides, "diverged", "DivergedError: NaN")
    rows[4] = Row(4, rows[4].overrides, "failed", "ValueError: no")
    text = printed(table(tmp_path, rows))
    lines = [line.split() for line in text.splitlines()]
    # r = 0.2: 2 of 19 solved (the diverged one is not solved, the failed one does not count); brier without two seeds.
    low, high = wilson(2, 19)
    mean = (sum(range(20)) - 3 - 4) / 100 / 18
    assert ["0.2", "20", "10.5%", f"{low:.1%}", "–", f"{high:.1%}", f"{mean:.4g}", "2"] in lines
    assert ["0.5", "20", "25.0%", "11.2%", "–", "46.9%", "0.095"] in lines
    assert "lowest brier: 0.0, job 0: loss=mix loss.r=0.2 reg.r=0 seed=0" in text
    assert "40 jobs, 38 completed, 1 diverged, 1 failed" in text


def test_few_jobs_are_shown_row_by_row(tmp_path: Path) -> None:
    rows = [*grid(["0.2"], ["0"], 2), Row(2, ["loss=mix", "loss.r=0.2", "reg.r=0", "seed=2"], "failed", "Error: why")]
    lines = [line.split() for line in printed(table(tmp_path, rows)).splitlines()]
    assert ["0", "0", "true", "0.0", "completed"] in lines
    assert ["2", "2", "Error:", "why"] in lines


def test_columns_that_the_table_lacks_are_left_out(tmp_path: Path) -> None:
    rows = grid(["0.2", "0.5"], ["0"], 20)
    text = printed(table(tmp_path, rows), ("unheard", "of", "seed"))
    assert ["0.2", "20"] in [line.split() for line in text.splitlines()]
    assert "lowest" not in text


def test_an_empty_table_prints_nothing(tmp_path: Path) -> None:
    assert printed(ResultsTable(tmp_path / "results.csv")) == ""


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        (grid(["0", "0.5", "1"], ["0"], 4), True),
        (grid(["0", "1e-4", "1e-2", "1"], ["0"], 4, ("bce", "mix")), True),
        (grid(["0", "0.5", "1"], ["0", "0.1"], 4), True),
        (grid(["0", "0.5", "1"], ["0", "0.1"], 4, ("bce", "mix")), True),
        (grid(["0", "0.5", "1"], ["0"], 1), True),
        (grid(["0"], ["0"], 4, ("bce", "mix")), False),  # no number is swept
    ],
)
def test_a_picture_of_one_or_two_numbers(tmp_path: Path, rows: list[Row], drawn: bool) -> None:
    made = table(tmp_path, rows)
    text = printed(made, picture=True)
    assert (tmp_path / "sweep.png").exists() == drawn == ("sweep.png" in text)
    if drawn:
        pixels = image.imread(tmp_path / "sweep.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


def test_points_come_in_the_order_of_the_sweep() -> None:
    rows = [{"status": "completed", "r": r} for r in ("0.5", "0.1", "0.5")]
    assert [(point.place, point.jobs, point.rate) for point in points(rows, ["r"], None, None)] == [
        (("0.5",), 2, None),
        (("0.1",), 1, None),
    ]


def test_a_curve_shows_rates_and_intervals() -> None:
    rows = [
        {"status": "completed", "r": r, "solved": "true" if seed < count else "false"}
        for r, count in (("0.5", 3), ("0.1", 1), ("1", 8))
        for seed in range(10)
    ]
    figure = figure_of(rows, ["r"], "solved", None)
    (plot,) = figure.axes
    (line,) = plot.lines
    assert line.get_xydata().tolist() == [[0.1, 0.1], [0.5, 0.3], [1.0, 0.8]]
    (band,) = plot.collections
    corners = {(x, y) for x, y in band.get_paths()[0].vertices.tolist()}
    assert {(0.1, wilson(1, 10)[0]), (0.5, wilson(3, 10)[1]), (1.0, wilson(8, 10)[0])} <= corners


def test_nothing_is_drawn_of_three_numbers(tmp_path: Path) -> None:
    rows = [
        {"status": "completed", "a": a, "b": b, "c": c, "e": "1"} for a in ("1", "2") for b in ("1", "2") for c in "12"
    ]
    assert draw(rows, ["a", "b", "c"], None, "e", tmp_path / "sweep.png") is False


@pytest.mark.parametrize("text", ["[/x]", "[red]a[/]", "a\x1b[2J", "[link=x]", r"$\nothing$", "a$b"])
@pytest.mark.parametrize("seeds", [1, 30])
def test_swept_text_is_shown_as_it_is(tmp_path: Path, text: str, seeds: int) -> None:
    rows = [
        Row(0, [f"note[/x]={note}", f"loss.r={r}", f"seed={seed}"], metrics={"solved": True, "brier": seed / 10})
        for note in (text, "b")
        for r in ("0.1", "0.2")
        for seed in range(seeds)
    ]
    output = printed(table(tmp_path, [*rows, Row(1, [], "failed", text)]), picture=False)
    assert text.replace("\x1b", r"\x1b") in output
    assert "\x1b" not in output
    assert draw(
        table(tmp_path, rows).read()[: len(rows)], ["note[/x]", "loss.r"], "solved", "brier", tmp_path / "a.png"
    )
