"""What a wheel and an editable install put into site-packages, and that it lives there beside anybody's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling.build import build_editable, build_wheel

from tests.conftest import PACKAGES, ROOT

SITE = [path for path in sys.path if path.endswith("site-packages")]
In = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel, and one of an editable install."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folders = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("editable")
        return folders[0] / build_wheel(str(folders[0])), folders[1] / build_editable(str(folders[1]))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_wheel_holds_three_packages(wheels: tuple[Path, Path]) -> None:
    files = [name for name in contents(wheels[0]) if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in files} == {"lossreg", "lossreg_plugins", "hydra_plugins"}
    assert all(name.startswith("hydra_plugins/lossreg/") for name in files if name.startswith("hydra_plugins"))
    assert {"lossreg/py.typed", "lossreg_plugins/py.typed", "lossreg/sweeps/__init__.py"} <= set(files)
    assert {Path(name).suffix for name in files} == {".py", ".typed", ".txt"}  # the templates of `lossreg new`


def test_an_editable_install_puts_two_folders_on_the_path_and_they_hold_nothing_else(wheels: tuple[Path, Path]) -> None:
    files = {name: text for name, text in contents(wheels[1]).items() if ".dist-info/" not in name}
    assert [Path(name).suffix for name in files] == [".pth"]
    roots = [Path(line) for text in files.values() for line in text.decode().split("\n")]
    assert sorted(roots) == [ROOT / "plugins", ROOT / "registry"]
    inside = {path.name for root in roots for path in root.iterdir() if path.name != "__pycache__"}
    assert inside == {"lossreg", "lossreg_plugins", "hydra_plugins"}
    assert {path.name for path in (ROOT / "registry" / "hydra_plugins").iterdir()} - {"__pycache__"} == {"lossreg"}


def test_its_metadata_is_complete(wheels: tuple[Path, Path]) -> None:
    (metadata,) = (text for name, text in contents(wheels[0]).items() if name.endswith(".dist-info/METADATA"))
    found = message_from_bytes(metadata)
    for key in ("Author", "License-Expression", "License-File", "Keywords", "Classifier", "Summary", "Requires-Python"):
        assert found[key], key
    assert "# lossreg" in metadata.decode()
    capped = [line for line in found.get_all("Requires-Dist", []) if "<" in line.partition(";")[0]]
    assert not capped


@pytest.fixture(scope="module")
def environment(wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and another package called `sweeps`; what they need it has from here."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text("\n".join(SITE))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--ignore-installed", "--no-build-isolation", "--disable-pip-version-check"]
    for package in (wheels[0], PACKAGES / "sweeps"):
        subprocess.run([*pip, *options, str(package)], check=True, env=clean())
    return folder


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture
def in_folder(environment: Path, tmp_path: Path) -> In:
    """Run a command of the environment in an empty folder, or in one with packages of a person's own."""

    def in_folder(*command: str, own: bool = True) -> subprocess.CompletedProcess[str]:
        if own:
            shutil.copytree(PACKAGES / "own-names", tmp_path, dirs_exist_ok=True)
        program = environment / "bin" / command[0]
        result = subprocess.run(
            [str(program), *command[1:]], cwd=tmp_path, env=clean(), capture_output=True, text=True, timeout=240
        )
        assert result.returncode == 0, result.stderr
        return result

    return in_folder


def bring(*names: str, to: Path) -> None:
    """Copy files or folders of the repository into a folder."""
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / source.name, dirs_exist_ok=True)
        else:
            shutil.copy(source, to)


ORIGINS = """
import hydra_plugins.lossreg.app, lossreg.sweeps, lossreg_plugins.losses, sweeps
for module in (lossreg.sweeps, lossreg_plugins, hydra_plugins.lossreg.app, sweeps):
    print(module.__file__)
"""


def test_it_is_imported_from_there_and_so_is_what_else_is_called_sweeps(in_folder: In, environment: Path) -> None:
    files = in_folder("python", "-c", ORIGINS, own=False).stdout.split()
    (site,) = environment.glob("lib/python*/site-packages")
    assert [Path(file).relative_to(site).parts[0] for file in files] == [
        *("lossreg", "lossreg_plugins", "hydra_plugins", "sweeps")
    ]
    assert sorted(path.stem for path in Path(files[-1]).parent.glob("*.py")) == sorted(
        path.stem for path in (PACKAGES / "sweeps" / "sweeps").glob("*.py")
    )


def test_the_main_job_beside_packages_of_the_same_names(in_folder: In, tmp_path: Path) -> None:
    bring("train.py", "conf", to=tmp_path)
    result = in_folder("python", "train.py", "loss=mix", "loss.r=0.8", "reg=l2custom", "epochs=3")
    assert "files in outputs" in result.stdout
    assert not result.stderr


@pytest.mark.parametrize("own", [True, False], ids=["own packages", "another sweeps"])
def test_a_sweep_beside_packages_of_the_same_names(in_folder: In, tmp_path: Path, own: bool) -> None:
    bring("train.py", "conf", to=tmp_path)
    overrides = ["loss=mix", "loss.r=0.2,0.8", "epochs=3", "hydra/launcher=vectorized"]
    result = in_folder("python", "train.py", "-m", *overrides, own=own)
    assert "2 jobs, 2 completed" in result.stdout
    (table,) = tmp_path.glob("multirun/*/*/results.csv")
    assert len(table.read_text().splitlines()) == 3


@pytest.mark.parametrize("command", [["lossreg"], ["python", "-m", "lossreg"]], ids=" ".join)
def test_the_command_line_beside_packages_of_the_same_names(in_folder: In, command: list[str]) -> None:
    result = in_folder(*command, "list")
    assert {"mix", "l2custom", "bounded", "cosine_decay"} <= set(result.stdout.split())
    assert not result.stderr


def test_somebody_s_app_beside_packages_of_the_same_names(in_folder: In, tmp_path: Path) -> None:
    bring("examples/hydra_app", to=tmp_path)
    result = in_folder("python", "hydra_app/app.py", "loss=mse", "reg=l2custom", "reg.r=0.01")
    assert result.stdout.strip() == ("compiled with <loss lossreg/mse()> and <regularizer lossreg/l2custom(r=0.01)>")


def test_an_app_that_never_heard_of_it_starts_as_ever(in_folder: In) -> None:
    result = in_folder("python", "app.py")
    owners = [f"the person's own {name}" for name in ("registry", "plugins", "sweeps", "trainer")]
    assert result.stdout.splitlines() == ["hello", *owners]
    assert result.stderr == ""
