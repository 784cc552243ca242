"""What docs/ says: the catalogue is up to date, the code runs, the links lead somewhere."""

from __future__ import annotations

import re
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from matplotlib.image import imread
from omegaconf import OmegaConf

import lossreg
from docs.make_catalogue import IMAGES, NOT_DRAWN, describe, draw, page, values
from lossreg.training.config import read_config
from tests.conftest import ROOT
from tests.hydra_plugins.test_config_source import composed

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
OF_KERAS = "## Losses of Keras"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


class TestTheCatalogue:
    def test_its_part_about_lossreg_is_up_to_date(self) -> None:
        written = (DOCS / "catalogue.md").read_text(encoding="utf-8")
        assert written.partition(OF_KERAS)[0] == page().partition(OF_KERAS)[0]

    def test_its_part_about_keras_is_up_to_date(self) -> None:
        written = (DOCS / "catalogue.md").read_text(encoding="utf-8")
        if f"Keras {metadata.version('keras')};" not in written:
            pytest.skip("the page is about another version of Keras")
        assert written == page()

    def test_every_first_party_plugin_has_a_formula(self) -> None:
        for kind in (lossreg.losses, lossreg.regularizers, lossreg.schedules, lossreg.variables):
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
    def test_a_curve_is_the_loss_over_the_prediction(self, name: str, expected: object) -> None:
        grid, curves = values(name)
        for y in (0, 1):
            assert curves[y] == pytest.approx(expected(y, grid.astype(float)), rel=1e-3, abs=1e-5)  # type: ignore[operator]

    def test_every_loss_is_drawn_or_it_says_why_not(self) -> None:
        titles = [axes.get_title().replace("\n", "") for axes in draw("lossreg").axes]
        names = {description.name for description in describe(lossreg.losses, "lossreg")}
        assert set(titles) == names - set(NOT_DRAWN)

    def test_the_pictures_are_there_and_small(self) -> None:
        assert sum(path.stat().st_size for path in IMAGES.values()) < 300_000
        for path in IMAGES.values():
            assert imread(path).shape[1] > 1000


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(
        r"\]\(([^)#]+)[^)]*\)", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    for link in links:
        assert "://" in link or (path.parent / link).exists(), link


@pytest.mark.parametrize("name", ["changing.md", "write_a_plugin.md", "your_own_project.md"])
def test_the_code_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(DOCS / name, "python")
    assert found
    page: dict[str, object] = {"__name__": "a page"}
    for code in found:
        exec(compile(code, name, "exec"), page)


def test_the_schedule_and_the_variable_of_the_page_work() -> None:
    page: dict[str, Any] = {"__name__": "a page", "np": np}
    exec(blocks(DOCS / "changing.md", "python")[-1], page)
    for kind, name in ((lossreg.schedules, "staircase"), (lossreg.variables, "Softplus")):
        kind.register(name)(page[name])
    try:
        loss = lossreg.losses.create("mix", r={"name": "staircase", "height": 0.25, "length": 2})
        penalty = lossreg.regularizers.create("l2custom", r={"name": "Softplus", "initial": 0.5})
        loss.follow(5)
        assert (loss.r, penalty.r) == (0.5, pytest.approx(0.5))
    finally:
        lossreg.schedules.unregister("staircase")
        lossreg.variables.unregister("Softplus")


COMMANDS = [
    line
    for path in PAGES
    for line in re.findall(
        r"^\$? ?(?:\.venv/bin/)?python train\.py (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    if "focal" not in line and "…" not in line and "hydra.sweep.dir" not in line and "scaled_error" not in line
]


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_a_command_of_the_documentation_composes(line: str) -> None:
    overrides = []
    for word in shlex.split(line):
        key, _, value = word.partition("=")
        # Of a sweep the first job is composed.
        first = value.partition("(")[2].partition(",")[0] if value.startswith("range(") else value
        overrides += [f"{key}={first if first.startswith('{') else first.partition(',')[0]}"] if value else []
    cfg = composed(*(override for override in overrides if not override.startswith("hydra")))
    lossreg.losses.check(cfg.loss, key="loss")
    lossreg.regularizers.check(cfg.reg, key="reg")
    read_config(cfg)


def test_the_ways_to_write_a_loss_agree() -> None:
    (code,) = blocks(DOCS / "write_a_plugin.md", "python")
    made: dict[str, object] = {"__name__": "a page"}
    exec(code, made)
    y, p = np.array([[0.0], [1.0]], np.float32), np.array([[0.5], [0.75]], np.float32)
    for name in ("scaled", "power", "Scaled"):
        lossreg.losses.register(name)(made[name])
        try:
            assert float(lossreg.losses.create(name)(y, p)) == pytest.approx((0.25 + 0.0625) / 2)
        finally:
            lossreg.losses.unregister(name)


def test_the_lines_of_metadata_are_those_of_the_sample() -> None:
    (shown,) = blocks(DOCS / "write_a_plugin.md", "toml")
    assert shown in (ROOT / "examples" / "third_party_plugin" / "pyproject.toml").read_text(encoding="utf-8")


def test_the_config_composes(tmp_path: Path) -> None:
    (shown,) = blocks(DOCS / "your_own_project.md", "yaml")
    (tmp_path / "config.yaml").write_text(shown)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        cfg = compose("config", ["loss.r=0.8"])
    assert OmegaConf.to_container(cfg) == {"loss": {"name": "mix", "r": 0.8}, "reg": {"name": "none"}}
