"""A run and a sweep have a directory of their own, and the jobs of a sweep one each. No TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.sweeps.test_launch import Multirun, multirun  # noqa: F401 - a fixture
from tests.sweeps.test_results import APP, ENVIRONMENT, rows


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(APP), *arguments]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=-2, text=True)


def test_who_starts_at_the_same_time_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """At the same time is, here, in the same year; so it is by the second."""
    named = ["hydra.run.dir='single/${now:%Y}'", "hydra.sweep.dir='multi/${now:%Y}'"]
    started = [start(tmp_path, *named, f"seed={place}", *(["-m"] if place % 2 else [])) for place in range(6)]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 6, outputs
    singles, sweeps = (sorted((tmp_path / name).iterdir()) for name in ("single", "multi"))
    assert [path.name[4:] for path in singles] == [path.name[4:] for path in sweeps] == ["", "-1", "-2"]
    seeds = [yaml.safe_load((path / ".hydra" / "overrides.yaml").read_text()) for path in singles]
    assert sorted(seeds) == [["seed=0"], ["seed=2"], ["seed=4"]]
    for path in sweeps:
        (row,) = rows(path / "results.csv")
        assert yaml.safe_load((path / "0" / ".hydra" / "overrides.yaml").read_text()) == [f"seed={row['seed']}"]
        assert yaml.safe_load((path / "sweep.yaml").read_text())["overrides"] == [f"seed={row['seed']}"]


def test_a_named_directory_in_which_a_run_goes_on_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path, "hydra.run.dir=a b", "sleep=60")
    while not (tmp_path / "a b" / ".hydra" / "overrides.yaml").exists():
        assert first.poll() is None
    second = start(tmp_path, "hydra.run.dir=a b", "seed=5")
    output, _ = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert output == "a b holds a run that another process is running now. Choose another hydra.run.dir.\n"
    assert yaml.safe_load((tmp_path / "a b" / ".hydra" / "overrides.yaml").read_text()) == ["sleep=60"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hydra.sweep.dir=out/${loss.name}"], "hydra.sweep.dir depends on loss, in which jobs differ"),
        (["hydra.sweep.dir=${where}", "+where=out-${hydra:runtime.choices.loss}"], "hydra.sweep.dir depends on loss"),
        (["hydra.sweep.dir=out/${hydra.job.override_dirname}"], "hydra.sweep.dir depends on loss"),
        (["hydra.sweep.dir=out/${hydra.job.num}"], "hydra.sweep.dir depends on hydra.job.num"),
        (["hydra.sweep.subdir=same"], "hydra.sweep.subdir is the same for jobs that differ in loss"),
        (["hydra.sweep.subdir=${loss.name}"], "hydra.sweep.subdir is the same for jobs that differ in seed"),
        (
            [
                "hydra.sweep.subdir=${hydra.job.override_dirname}",
                "hydra.job.config.override_dirname.exclude_keys=[seed]",
            ],
            "hydra.sweep.subdir is the same for jobs that differ in seed",
        ),
    ],
)
def test_several_tables_or_one_directory_for_several_jobs_are_refused(
    multirun: Multirun,  # noqa: F811
    tmp_path: Path,
    overrides: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        multirun("loss=bce,mix", "seed=0,1", *overrides)
    assert str(ended.value).startswith(said)
    assert len(str(ended.value).splitlines()) == 1
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["hydra.sweep.subdir=${twice}", "seed=0,1"],
        ["hydra.sweep.subdir=${hydra.job.override_dirname}", "seed=0,1"],
        ["hydra.sweep.subdir='${oc.select:loss.name}-${hydra:job.id}'", "seed=0,1"],
        ["hydra.sweep.subdir=same", "seed=1"],
        ["hydra.sweep.subdir=${opt.name}", "+loss@opt=bce,mix"],
        ["hydra.sweep.dir=out/${reg.name}/${now:%Y-%m-%d}", "loss=bce,mix"],
    ],
)
def test_directories_that_differ_are_fine(
    multirun: Multirun,  # noqa: F811
    tmp_path: Path,
    overrides: list[str],
) -> None:
    multirun(*overrides, "hydra/launcher=basic")
    (table,) = tmp_path.rglob("results.csv")
    assert len(list(tmp_path.rglob("metrics.json"))) == len(rows(table))
