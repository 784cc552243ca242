"""What README and docs/ say: the code runs, the commands compose, the links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import lossreg
from lossreg.training import read_config
from tests.conftest import ROOT, composed

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(
        r"\]\(([^)#]+)[^)]*\)", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    for link in links:
        assert "://" in link or (path.parent / link).exists(), link


@pytest.mark.parametrize("name", ["changing.md", "trackers.md", "write_a_plugin.md", "your_own_project.md"])
def test_the_code_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(DOCS / name, "python")
    assert found
    page: dict[str, object] = {"__name__": "a page"}
    for code in found:
        exec(compile(code, name, "exec"), page)


def test_the_schedule_and_the_learned_number_of_the_page_work() -> None:
    page: dict[str, Any] = {"__name__": "a page", "np": np}
    exec(blocks(DOCS / "changing.md", "python")[-1], page)
    for kind, name in ((lossreg.schedules, "staircase"), (lossreg.learned, "Softplus")):
        kind.register(name)(page[name])
    try:
        loss = lossreg.losses.create("mix", r={"name": "staircase", "height": 0.25, "length": 2})
        penalty = lossreg.regularizers.create("l2custom", r={"name": "Softplus", "initial": 0.5})
        loss.follow(5)
        assert (loss.r, penalty.r) == (0.5, pytest.approx(0.5))
    finally:
        lossreg.schedules.unregister("staircase")
        lossreg.learned.unregister("Softplus")


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
        first = (
            value.partition("(")[2].partition(",")[0] if value.startswith(("range(", "choice(", "interval(")) else value
        )
        overrides += [f"{key}={first if first.startswith(('{', '[')) else first.partition(',')[0]}"] if value else []
    cfg = composed(*(override for override in overrides if not override.startswith("hydra")))
    lossreg.losses.build(cfg.loss, key="loss")
    lossreg.regularizers.build(cfg.reg, key="reg")
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
