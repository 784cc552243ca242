from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from absl import logging as absl_logging
from hatchling.build import build_wheel
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import lossreg
import train  # noqa: F401 - which stores the schema of its config
from lossreg import Registry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Hydra closes all handlers when it configures logging, and absl's then closes its stream, unless it is one of Python's:
# under a test's `capsys` that would be pytest's own, and every later test of the process would fail.
absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "tests" / "packages"

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# What takes long and says what a quicker test says too, of another launcher, optimizer or package: `pytest -m slow`.
SLOW = (
    "checks/test_checks.py::test_no_false_alarm_on_a_loss_of_keras",
    "checks/test_strangers.py",
    "cli/test_cli.py::TestNew::test_the_package_passes_its_own_tests_as_it_is_made",
    "docs/test_make_catalogue.py::test_every_loss_is_drawn",
    "sweeps/test_backends.py::test_a_local_ray_runs_chunks",
    "sweeps/test_backends.py::test_dask_worker_that_is_killed",
    "sweeps/test_launch.py::test_a_batch_leaves_what_a_job_alone_leaves[overrides1]",
    "sweeps/test_launch.py::test_memory_per_job",
    "sweeps/test_multirun.py::test_a_sweep_over_the_end_of_a_schedule",
    "sweeps/test_multirun.py::test_plugins_that_end_by_what_is_no_error_are_rows_that_name_their_package[joblib]",
    "sweeps/test_multirun.py::test_six_jobs_give_six_rows",
    "sweeps/test_resume.py::test_a_killed_sweep_ends_with_the_table_of_an_undisturbed_one[basic",
    "sweeps/test_resume.py::test_a_killed_sweep_ends_with_the_table_of_an_undisturbed_one[joblib",
    "sweeps/test_resume.py::test_ctrl_c_says_how_to_go_on[joblib",
    "test_numbers.py::test_a_fresh_process_loads_what_was_learned",
    "test_numbers.py::test_a_learned_number_is_read_before_it_is_updated",
    "test_terms.py::test_a_model_that_was_trained_or_loaded",
    "test_terms.py::test_every_term_and_penalty_is_the_mean_that_keras_makes_of_the_loss[options1",
    "test_wheel.py::test_a_sweep_beside_packages_of_the_same_names[another",
    "test_wheel.py::test_somebody_s_app_beside_packages_of_the_same_names",
    "training/test_stacking.py::test_a_layer_that_cannot_be_stacked_is_named_and_its_models_train_one_by_one[recurrent",
    "training/test_vectorized.py::test_a_number_that_does_not_vary_stays_what_it_is[settings1]",
    "training/test_vectorized.py::test_a_number_that_does_not_vary_stays_what_it_is[settings2]",
    "training/test_vectorized.py::test_any_model_has_the_numbers_of_its_own_fit[convolutions",
    "training/test_vectorized.py::test_any_model_has_the_numbers_of_its_own_fit[integers",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[a learned",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[a stranger's",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[a weighted",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[bce",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[end",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[mse",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[schedules",
    "training/test_vectorized.py::test_each_model_has_the_numbers_of_its_own_fit[uncertainty",
)

# Of long tables of one kind every other row.
HALVED = (
    "checks/test_checks.py::test_a_planted_fault_is_found_by_exactly_its_check",
    "sweeps/test_compose.py::test_awkward_combinations",
    "test_train.py::test_a_mistake_is_one_short_message",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, before pytest leaves it out."""
    names = [(item, item.nodeid.removeprefix("tests/")) for item in items]
    halved = [item for item, name in names if name.startswith(HALVED)]
    for item in [*halved[1::2], *(item for item, name in names if name.startswith(SLOW))]:
        item.add_marker("slow")


def install(target: Path, *packages: Path) -> Path:
    """Put packages into a folder of their own: what a wheel of each holds, as pip does, in a twentieth of the time."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for package in packages:
            patch.chdir(package)
            with zipfile.ZipFile(Path(folder) / build_wheel(folder)) as archive:
                archive.extractall(target)
    return target


def dist_info(site: Path, name: str, entry_points: bytes, metadata: bytes = b"Name: %s\nVersion: 1.0\n") -> None:
    """Leave in a folder what an installer that checks nothing would, byte for byte."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "entry_points.txt").write_bytes(entry_points)
    (folder / "METADATA").write_bytes(metadata.replace(b"%s", name.encode()))
    (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n")


BROKEN_ENTRY_POINTS = {
    "no_equals": b"[lossreg.losses]\nfocal\n",
    "no_equals_elsewhere": b"[console_scripts]\nrun it\n",
    "no_utf8": "[lossreg.losses]\nfäcal = keras.losses:MSE\n".encode("latin-1"),
    "utf16": "[lossreg.losses]\nfocal = keras.losses:MSE\n".encode("utf-16"),
    "utf16_without_bom": "[lossreg.losses]\nfocal = keras.losses:MSE\n".encode("utf-16-le"),
    "utf8_bom": "\ufeff[lossreg.losses]\nfocal = keras.losses:MSE\n".encode(),
    "no_section": b"focal = keras.losses:MSE\n",
    "twice": b"[lossreg.losses]\nfocal = a:b\n\n[lossreg.losses]\nfocal = a:c\n",
    "zeros": b"\0" * 100,
}


@pytest.fixture
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what broken packages leave behind, beside one that is in order."""
    site = tmp_path_factory.mktemp("site")
    for name, entry_points in BROKEN_ENTRY_POINTS.items():
        dist_info(site, name, entry_points)
    whole = b"[lossreg.losses]\nfocal = keras.losses:MSE\n"
    for name, metadata in {"nameless": b"Version: 1\n", "binary": b"Name: \xff\xfe\n", "absent": b""}.items():
        dist_info(site, name, whole, metadata)
    sound = (
        "[lossreg.losses]\nspaced = every_kind : plain [extra]\na/b = every_kind:plain\na b = every_kind:plain\n"
        "\x1b[2Jred = every_kind:plain\nlossreg/mix = every_kind:plain\nno_target = every_kind plain:\n"
        "module = json\n"
        "[lossreg.loss]\nlost = every_kind:plain\n[losreg.regularizers]\nlost = every_kind:plain\n"
    )
    dist_info(site, "neighbour", sound.encode())
    return site


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
