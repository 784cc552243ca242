from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import lossreg
import train  # noqa: F401 - which stores the schema of its config
from lossreg import Registry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "tests" / "packages"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def install(target: Path, *packages: Path) -> Path:
    """Install packages, folders or wheels, into a folder of their own, as pip does it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), *map(str, packages)], check=True)
    return target


def composed(*overrides: str) -> DictConfig:
    """Compose the config of `train.py`."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=["hydra.searchpath=[lossreg://]", *overrides])


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which packages by strangers are installed: broken, ambiguous, and of every kind."""
    names = ("broken-pack", "dependent", "every-kind", "pack-a", "pack-b")
    folders = [PACKAGES / name for name in names] + [ROOT / "examples" / "third_party_plugin"]
    return install(tmp_path_factory.mktemp("site"), *folders)


@pytest.fixture(scope="session")
def squatter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package that registers a name of ours."""
    return install(tmp_path_factory.mktemp("site"), PACKAGES / "squatter")


@pytest.fixture
def losses(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The losses, with the strangers' packages installed."""
    return with_packages(packages, monkeypatch, lossreg.losses)


@pytest.fixture
def regularizers(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The regularizers, with the strangers' packages installed."""
    return with_packages(packages, monkeypatch, lossreg.regularizers)


def with_packages(packages: Path, monkeypatch: pytest.MonkeyPatch, like: Registry) -> Registry:
    """Make a registry like another, with schedules and learned numbers, that knows the strangers' packages."""
    monkeypatch.syspath_prepend(str(packages))
    importlib.invalidate_caches()
    numbers = tuple(Registry(inner.kind) for inner in like.kind.numbers)
    return Registry(dataclasses.replace(like.kind, numbers=numbers))


@pytest.fixture(scope="session")
def no_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which TensorFlow, and so Keras, cannot be imported: whoever tries ends with a traceback."""
    return install(tmp_path_factory.mktemp("site"), PACKAGES / "no-tensorflow")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `train.py`, or another program, as a person would, in an empty folder."""

    def run(
        *arguments: str, program: Path = ROOT / "train.py", path: tuple[Path, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **environment}
        return subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning:__main__", str(program), *arguments],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run
