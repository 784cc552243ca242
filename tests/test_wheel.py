"""A wheel of this repository, installed away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (found,) = folder.glob("lossreg-*.whl")
    return found


def test_its_packages_are_deliberate(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folders = {tuple(name.split("/")[:2]) for name in archive.namelist() if ".dist-info/" not in name}
    assert {top for top, _ in folders} == {"lossreg", "lossreg_plugins", "hydra_plugins"}
    assert {inside for top, inside in folders if top == "hydra_plugins"} == {"lossreg"}


def test_it_works_away_from_the_checkout(wheel: Path, run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True)
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        f"sys.path = [p for p in sys.path if not p.startswith({str(ROOT)!r}) or 'site-packages' in p]\n"
        "import lossreg, lossreg.sweeps, lossreg_plugins, hydra_plugins.lossreg\n"
        f"assert all(m.__file__.startswith({str(site)!r}) for m in (lossreg, lossreg_plugins)), lossreg.__file__\n"
        "from hydra import compose, initialize\n"
        "with initialize(None, version_base='1.3'):\n"
        "    cfg = compose(overrides=['hydra.searchpath=[lossreg://]', '+loss=mix', '+reg=l2custom'])\n"
        "assert 'keras' not in sys.modules\n"
        "print(lossreg.losses.build(cfg.loss), lossreg.regularizers.build(cfg.reg))\n"
    )
    result = run(program=program, path=(site,))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "<loss lossreg/mix(r=0.5)> <regularizer lossreg/l2custom(r=0.0001)>"
