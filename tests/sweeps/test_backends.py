"""Chunks of a sweep in other processes: loky, a real Ray, a real dask cluster. No TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.errors import HydraException

from lossreg.sweeps._backends import Engine
from tests.sweeps.test_launch import Multirun, multirun  # noqa: F401 - a fixture
from tests.sweeps.test_results import APP, ENVIRONMENT, rows

JOBS = ["loss=bce,mix", "seed=range(0,8)", "fail=3", "diverge=5", "hydra.launcher.chunk_size=2"]


def check(tmp_path: Path) -> set[str]:
    """Whether the table is that of the sweep `JOBS`; returns the processes that ran its chunks."""
    found = rows(tmp_path / "sweep" / "results.csv")
    assert [row["job"] for row in found] == [str(number) for number in range(16)]
    status = ["completed"] * 8
    status[3], status[5] = "failed", "diverged"
    assert [row["status"] for row in found] == status * 2
    expected = [f"{0.25 + seed / 100:.2f}" for seed in range(8)] + [f"{seed / 100:.2f}" for seed in range(8)]
    for row, brier in zip(found, expected, strict=True):
        assert row["brier"] == "" if row["error"] else float(row["brier"]) == pytest.approx(float(brier))
    assert found[3]["error"] == "ValueError: seed 3 is unlucky"
    assert (tmp_path / "sweep" / "15" / "metrics.json").exists()
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert {how for how, *_ in lines} == {"batch-of-2"}
    assert {environment for *_, environment in lines} == {"set"}
    return {process for _, _, _, process, _ in lines}


def sweep(tmp_path: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the sweep `JOBS` as a program: what a worker that dies leaves behind must not reach the other tests."""
    command = [sys.executable, str(APP), "--multirun", "hydra/launcher=vectorized", "hydra.sweep.dir=sweep"]
    done = subprocess.run(
        [*command, f"log={tmp_path}/log", *JOBS, *overrides],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert "ValueError: seed 3 is" in done.stderr
    return done


def test_loky_runs_chunks_of_a_program_in_processes(tmp_path: Path) -> None:
    sweep(tmp_path, "hydra.launcher.backend=loky", "hydra.launcher.n_jobs=2", "sleep=0.2")
    assert len(check(tmp_path)) == 2


def test_loky_worker_that_is_killed(tmp_path: Path) -> None:
    done = sweep(tmp_path, "hydra.launcher.backend=loky", "hydra.launcher.n_jobs=2", f"victim={tmp_path}/victim")
    assert (tmp_path / "victim").exists()
    check(tmp_path)
    assert "A worker died" in done.stdout


def test_a_job_that_ends_its_worker_is_a_row_and_the_others_run(tmp_path: Path) -> None:
    command = [sys.executable, str(APP), "--multirun", "hydra/launcher=vectorized", "hydra.sweep.dir=sweep"]
    jobs = ["hydra.launcher.backend=loky", "hydra.launcher.n_jobs=2", "note=quits", "fail=1", "seed=range(0,4)"]
    done = subprocess.run([*command, *jobs], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    found = {row["job"]: row for row in rows(tmp_path / "sweep" / "results.csv")}
    assert {job: row["status"] for job, row in found.items()} == {
        "0": "completed",
        "1": "failed",
        "2": "completed",
        "3": "completed",
    }
    assert "'bce' of package lossreg 0.1.0" in found["1"]["error"]


@pytest.fixture
def dask_address() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.filterwarnings("ignore")
def test_dask_worker_that_is_killed(tmp_path: Path, dask_address: str) -> None:
    """One of two worker processes of a real cluster is killed while it runs a chunk."""
    address = f"hydra.launcher.address='{dask_address}'"
    sweep(tmp_path, "hydra.launcher.backend=dask", address, f"victim={tmp_path}/victim", "sleep=0.8")
    assert (tmp_path / "victim").exists()
    check(tmp_path)


def test_a_local_ray_runs_chunks(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    sweep(tmp_path, "hydra.launcher.backend=ray", "hydra.launcher.n_jobs=2", "sleep=0.2")
    assert len(check(tmp_path)) == 2


def test_submitit_runs_chunks_as_jobs_and_one_that_is_killed_again(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    command = [sys.executable, str(APP), "--multirun", "hydra/launcher=vectorized", "hydra.sweep.dir=sweep"]
    command += [
        "hydra.launcher.backend=submitit",
        "hydra.launcher.submitit.cluster=local",
        "hydra.launcher.chunk_size=2",
    ]
    command += [
        "hydra.launcher.submitit.partition=gpu",
        "hydra.launcher.submitit.timeout_min=5",
    ]  # the former is SLURM's
    command += [f"log={tmp_path}/log", f"victim={tmp_path}/victim", "loss=mix", "seed=range(0,4)"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "victim").exists()
    assert "A worker died" in done.stdout
    found = rows(tmp_path / "sweep" / "results.csv")
    assert [(row["job"], row["status"], row["seed"]) for row in found] == [(n, "completed", n) for n in "0123"]
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert {(how, environment) for how, *_, environment in lines} == {("batch-of-2", "set")}
    assert len({process for _, _, _, process, _ in lines}) == 2
    assert len(list((tmp_path / "sweep" / ".submitit").glob("[0-9]*"))) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cluster": "local", "partiton": "gpu"}, "partiton.*submitit cannot be reached: NameError: Unknown argument"),
        ({"cluster": "slurm"}, "submitit cannot be reached: RuntimeError: Could not detect"),
    ],
)
def test_an_option_of_submitit_that_cannot_be_is_refused(options: dict[str, str], said: str, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    engine = Engine("submitit", submitit=options)
    with pytest.raises(HydraException, match=said), engine.start(1, str(tmp_path)):
        pass


def test_options_of_submitit_are_for_submitit() -> None:
    with pytest.raises(HydraException, match=r"hydra.launcher.submitit.partition=gpu needs hydra.launcher.backend="):
        Engine("loky", submitit={"cluster": None, "partition": "gpu"})


def test_an_unknown_backend_is_refused(multirun: Multirun) -> None:  # noqa: F811
    with pytest.raises(
        HydraException, match=r"hydra.launcher.backend=spark: choose one of serial, loky, ray, dask, submitit"
    ):
        multirun("hydra.launcher.backend=spark", "seed=0,1")


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("loky", "hydra.launcher.address=x: backend=loky has no address"),
        ("dask", "hydra.launcher.address=x: dask cannot be reached: ValueError: missing port"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_address_that_cannot_be_is_refused_by_its_key(backend: str, said: str) -> None:
    with pytest.raises(HydraException, match=said), Engine(backend, address="x").start(1):
        pass


def test_a_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HydraException, match=r"needs cloudpickle and ray: pip install lossreg\[ray\]"):
        Engine("ray")
