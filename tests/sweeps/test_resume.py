"""A sweep that cannot be lost: killed, interrupted, resumed. No TensorFlow."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from lossreg.sweeps._resume import command
from tests.sweeps.test_launch import Multirun, multirun  # noqa: F401 - a fixture
from tests.sweeps.test_results import APP, ENVIRONMENT, Sweep, rows

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a multirun of the small app, as a person would."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(APP), "--multirun", *arguments],
            cwd=tmp_path,
            env={**ENVIRONMENT, "COLUMNS": "200", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.fixture
def sweep(start: Start) -> Sweep:
    """Run a multirun to its end."""

    def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
        started = start(*arguments)
        output, _ = started.communicate(timeout=120)
        return subprocess.CompletedProcess([], started.returncode, output)

    return sweep


def table(folder: Path) -> list[dict[str, str]]:
    return [
        {key: cell for key, cell in row.items() if key not in ("sleep", "log")} for row in rows(folder / "results.csv")
    ]


def wait_for_rows(folder: Path, count: int) -> None:
    for _ in range(600):
        if (folder / "results.csv").exists() and len(rows(folder / "results.csv")) >= count:
            return
        time.sleep(0.05)
    pytest.fail("no rows appeared")


@pytest.mark.parametrize(("launcher", "kills"), [("vectorized", 4), ("basic", 1), ("joblib", 1)])
def test_a_killed_sweep_ends_with_the_table_of_an_undisturbed_one(
    start: Start, sweep: Sweep, tmp_path: Path, launcher: str, kills: int
) -> None:
    generator = random.Random(0)
    seeds = 60 if launcher == "vectorized" else 4
    arguments = [f"hydra/launcher={launcher}", "loss=bce,mix", f"seed=range(0,{seeds})", "fail=1", "diverge=3"]
    if launcher == "vectorized":
        arguments.append("hydra.launcher.chunk_size=5")
    assert sweep(*arguments, "hydra.sweep.dir=undisturbed").returncode == 1
    disturbed = [*arguments, "hydra.sweep.dir=disturbed", "sleep=0.1", f"log={tmp_path}/log"]
    for kill in range(kills):
        started = start(*disturbed)
        if kill == 0:
            wait_for_rows(tmp_path / "disturbed", 1)
        else:
            time.sleep(generator.uniform(0.3, 1.6))
        os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
    ended = sweep(*disturbed)
    assert ended.returncode == 1
    assert "jobs are done" in ended.stdout
    assert table(tmp_path / "disturbed") == table(tmp_path / "undisturbed")
    assert len(table(tmp_path / "disturbed")) == 2 * seeds


def test_jobs_of_submitit_have_rows_and_a_killed_sweep_goes_on(start: Start, sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    arguments = ["hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2", "seed=0,1", "fail=1"]
    arguments += ["hydra.sweep.dir=sweep", "hydra.sweep.subdir='${hydra.job.num}_${hydra.job.id}'"]
    started = start(*arguments)
    wait_for_rows(tmp_path / "sweep", 1)
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate()
    begun = len(rows(tmp_path / "sweep" / "results.csv"))
    ended = sweep(*arguments)
    assert ended.returncode == 1
    assert f"{begun} jobs are done" in ended.stdout
    assert "2 jobs, 1 completed, 1 failed" in ended.stdout
    found = rows(tmp_path / "sweep" / "results.csv")
    assert [(row["job"], row["status"]) for row in found] == [("0", "completed"), ("1", "failed")]
    # Each is a job of submitit with a folder, whose number is in the job's directory, with two tasks.
    own = {path.name for path in (tmp_path / "sweep" / ".submitit").glob("[0-9]*")}
    assert {path.name.partition("_")[2] for path in (tmp_path / "sweep").glob("[0-9]_*")} <= own
    assert len(list((tmp_path / "sweep" / ".submitit").glob("*/*_1_log.out"))) >= 2


@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
@pytest.mark.parametrize(
    ("sweeper", "arguments"),
    [
        ("filter", ["seed=0,1,2", "hydra.sweeper.filters=[{hydra_filter_sweeper.Expression: {expr: 'seed == 1'}}]"]),
        ("list", ["+hydra.sweeper.list_params.seed=[0,2]", "+hydra.sweeper.list_params.note=[a,b]"]),
    ],
)
def test_sweepers_of_others(
    multirun: Multirun,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    launcher: str,
    sweeper: str,
    arguments: list[str],
) -> None:
    pytest.importorskip({"filter": "hydra_plugins.filter", "list": "hydra_plugins.list_sweeper_plugin"}[sweeper])
    arguments = [f"hydra/sweeper={sweeper}", f"hydra/launcher={launcher}", "loss=bce,mix", *arguments]
    arguments += ["hydra.callbacks.results.show=true", f"log={tmp_path}/log"]
    multirun(*arguments)
    assert "4 jobs, 4 completed" in capsys.readouterr().out
    path = tmp_path / "sweep" / "results.csv"
    assert [(row["override.loss"], row["seed"]) for row in rows(path)] == [
        *(("bce", "0"), ("bce", "2")),
        *(("mix", "0"), ("mix", "2")),
    ]
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(first + "".join(line for line in others if not line.startswith("2,")))
    multirun(*arguments)
    assert "4 jobs, 4 completed" in capsys.readouterr().out
    assert len((tmp_path / "log").read_text().splitlines()) == 5


@pytest.mark.parametrize("launcher", ["vectorized", "basic", "joblib"])
def test_ctrl_c_says_how_to_go_on(start: Start, tmp_path: Path, launcher: str) -> None:
    folder = tmp_path / "my sweep, r=1"
    options = ["hydra.launcher.chunk_size=3"] if launcher == "vectorized" else []
    started = start(
        *(f"hydra/launcher={launcher}", "seed=range(0,8)", "sleep=0.3", f"hydra.sweep.dir='{folder}'", *options),
        SLOW_TO_END="1",
    )
    wait_for_rows(folder, 3)
    os.killpg(started.pid, signal.SIGINT)  # as the terminal does it: to all processes
    output, _ = started.communicate(timeout=60)
    assert started.returncode == 130
    ended = rows(folder / "results.csv")
    assert 3 <= len(ended) < 8
    assert f"{len(ended)} jobs, {len(ended)} completed" in output
    command = output.split("To go on:\n")[1].splitlines()[0].strip()
    assert command.startswith("python ")
    going_on = subprocess.run(
        command.replace("python ", f"{shlex.quote(sys.executable)} ", 1),
        shell=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert going_on.returncode == 0, going_on.stderr
    assert [row["seed"] for row in rows(folder / "results.csv")] == [str(seed) for seed in range(8)]


def test_ctrl_c_ends_compiled_code_too(start: Start, tmp_path: Path) -> None:
    """While a compiled program runs, Python handles no signal: without help this would take minutes."""
    folder = tmp_path / "sweep"
    started = start(
        *("hydra/launcher=vectorized", "hydra.launcher.chunk_size=1", "seed=range(0,3)", "note='compiled code'"),
        f"hydra.sweep.dir={folder}",
    )
    wait_for_rows(folder, 1)
    time.sleep(0.5)  # the second is running by then
    started.send_signal(signal.SIGINT)
    output, _ = started.communicate(timeout=60)
    assert started.returncode == 130
    assert [row["seed"] for row in rows(folder / "results.csv")] == ["0"]
    assert "1 job, 1 completed" in output
    assert "Interrupted. To go on:\n  python " in output


def test_another_config_is_refused(sweep: Sweep, tmp_path: Path) -> None:
    arguments = ["hydra/launcher=vectorized", f"hydra.sweep.dir={tmp_path}/sweep"]
    assert sweep(*arguments, "seed=0,1").returncode == 0
    before = (tmp_path / "sweep" / "results.csv").read_bytes()
    refused = sweep(*arguments, "seed=0,1,2", "fail=7", "+new=x")
    assert refused.returncode == 1
    assert refused.stdout.endswith(
        f"{tmp_path}/sweep holds another sweep, which this command cannot go on with:\n"
        "  overrides: seed=0,1 then, seed=0,1,2 fail=7 +new=x now\n"
        "  fail: -1 then, 7 now\n"
        "  new: nothing then, x now\n"
        "Run it as it was, or choose another hydra.sweep.dir.\n"
    )
    assert (tmp_path / "sweep" / "results.csv").read_bytes() == before


def test_another_option_of_a_swept_group_is_refused(sweep: Sweep, tmp_path: Path) -> None:
    """The multirun's own config has only one option of each group."""
    arguments = ["loss=bce,strange", f"hydra.sweep.dir={tmp_path}/sweep", f"--config-dir={tmp_path}/more"]
    (tmp_path / "more" / "loss").mkdir(parents=True)
    (tmp_path / "more" / "loss" / "strange.yaml").write_text("name: strange\nr: 0.5\n")
    assert sweep(*arguments).returncode == 0
    assert sweep(*arguments).returncode == 0
    (tmp_path / "more" / "loss" / "strange.yaml").write_text("name: strange\nr: 0.25\n")
    refused = sweep(*arguments)
    assert refused.returncode == 1
    assert "\n  options.loss/strange.r: 0.5 then, 0.25 now\n" in refused.stdout


def test_a_table_without_its_sweep_is_refused(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep").returncode == 0
    (tmp_path / "sweep" / "sweep.yaml").unlink()
    refused = sweep("seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep")
    assert refused.returncode == 1
    assert "holds results.csv, but no sweep.yaml" in refused.stdout


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_failed_job_stays_failed_until_it_is_to_run_again(multirun: Multirun, tmp_path: Path) -> None:  # noqa: F811
    arguments = ["seed=0,1,2", "fail=1", f"log={tmp_path}/log"]
    path = tmp_path / "sweep" / "results.csv"
    for launcher in ("basic", "vectorized", "basic"):
        with pytest.raises(Exception, match=r"seed 1 is\s+unlucky"):
            multirun(*arguments, f"hydra/launcher={launcher}")
        assert len((tmp_path / "log").read_text().splitlines()) == 3
        assert [row["status"] for row in rows(path)] == ["completed", "failed", "completed"]
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "unlucky" not in line))
    retry = "++hydra.callbacks.results.retry_failed=true"
    for launcher, option in [("vectorized", ()), ("vectorized", (retry,)), ("basic", (retry,))]:
        with pytest.raises(ValueError, match="unlucky"):
            multirun(*arguments, f"hydra/launcher={launcher}", *option)
        assert [row["status"] for row in rows(path)] == ["completed", "failed", "completed"]
    again = [line.split()[:3] for line in (tmp_path / "log").read_text().splitlines()[3:]]
    assert again == [["batch-of-1", "bce", "1"], ["batch-of-1", "bce", "1"], ["alone", "bce", "1"]]


@pytest.mark.parametrize("launcher", ["basic", "vectorized"])
def test_more_seeds_extend_a_sweep(multirun: Multirun, tmp_path: Path, launcher: str) -> None:  # noqa: F811
    def extend(*seeds: str) -> list[tuple[str, ...]]:
        returns = multirun("loss=mix,bce", *seeds, f"log={tmp_path}/log", f"hydra/launcher={launcher}")
        found = rows(tmp_path / "sweep" / "results.csv")
        assert len(returns) == len(found) == len((tmp_path / "log").read_text().splitlines())
        values = {(row["override.loss"], float(row["seed"])): float(row["brier"]) for row in found}
        named = [[value.partition("=")[2] for value in returned.overrides or ()] for returned in returns]
        assert [returned.return_value for returned in returns] == [
            values[loss, float(seed)] for loss, seed, *_ in named
        ]
        return [(row["job"], row["override.loss"], row["seed"]) for row in found]

    first = extend("seed=4")
    second = extend("seed=4,5")
    assert first == [("0", "mix", "4"), ("1", "bce", "4")]
    assert second == [*first, ("2", "mix", "5"), ("3", "bce", "5")]
    path = tmp_path / "sweep" / "results.csv"
    path.write_text(path.read_text().replace(",4,", ",4.0,").replace("true", "TRUE"))  # as a spreadsheet may do
    third = extend("seed=shuffle(range(3,7))")
    assert [row[:2] for row in third[:4]] == [row[:2] for row in second]
    assert len(third) == 8
    with pytest.raises(SystemExit, match=r"overrides: loss=mix,bce seed=shuffle\(range\(3,7\)\) .* then"):
        extend("seed=4,5")


def test_the_manifest_says_what_the_sweep_is(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("seed=0,1", "reg=l2", f"hydra.sweep.dir={tmp_path}/sweep").returncode == 0
    manifest = yaml.safe_load((tmp_path / "sweep" / "sweep.yaml").read_text())
    assert manifest["overrides"] == ["seed=0,1", "reg=l2"]
    assert manifest["config"]["reg"] == {"name": "l2", "r": 0.0001}
    assert "hydra" not in manifest["config"]


@pytest.mark.parametrize("broken", ["yaml", "column", "pipe", "directory", "bytes"])
def test_a_failed_check_stops_a_multirun(multirun: Multirun, tmp_path: Path, broken: str) -> None:  # noqa: F811
    folder, log = tmp_path / "sweep", tmp_path / "log"
    multirun("seed=0,1", f"log={log}")
    results, manifest = folder / "results.csv", folder / "sweep.yaml"
    if broken == "yaml":
        manifest.write_text("a: [")
    elif broken == "column":
        results.write_text(results.read_text().replace("seed", "sead"))
    elif broken == "bytes":
        results.write_bytes(results.read_bytes().replace(b"seed", b"s\xe9\xe9d"))
    else:
        results.unlink()
        os.mkfifo(results) if broken == "pipe" else results.mkdir()
    before = results.read_bytes() if results.is_file() else b""
    with pytest.raises(SystemExit) as ended:
        multirun("seed=0,1", f"log={log}")
    assert len(str(ended.value).splitlines()) == 1
    assert str(folder if broken != "yaml" else "sweep") in str(ended.value)
    assert (results.read_bytes() if results.is_file() else b"") == before
    assert len(log.read_text().splitlines()) == 2


def test_a_sweep_that_another_process_runs_is_refused(start: Start, sweep: Sweep, tmp_path: Path) -> None:
    arguments = ["seed=range(0,9)", "sleep=0.5", f"hydra.sweep.dir={tmp_path}/sweep"]
    running = start(*arguments)
    wait_for_rows(tmp_path / "sweep", 1)
    refused = sweep(*arguments)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert refused.returncode == 1
    assert "holds a sweep that another process is running now" in refused.stdout.splitlines()[-1]


def test_done_jobs_are_neither_composed_nor_launched(multirun: Multirun, tmp_path: Path) -> None:  # noqa: F811
    first = multirun("seed=range(0,400)", "hydra.launcher.job_directories=false")
    started = time.perf_counter()
    again = multirun("seed=range(0,400)", "hydra/launcher=basic")
    assert time.perf_counter() - started < 20  # Hydra would compose each twice, in more than a minute
    assert [returned.return_value for returned in again] == [returned.return_value for returned in first]
    assert not [path for path in (tmp_path / "sweep").iterdir() if path.is_dir()]


@pytest.mark.parametrize("launcher", ["basic", "vectorized"])
def test_how_many_rows_are_lost_is_said(multirun: Multirun, tmp_path: Path, launcher: str) -> None:  # noqa: F811
    lock = tmp_path / "sweep" / ".results.csv.lock"

    def fills_the_disk(cfg: DictConfig) -> None:
        if cfg.seed == 2:
            lock.unlink()
            lock.mkdir()  # no file can be opened there, whoever runs this

    with pytest.raises(SystemExit, match=r"^3 of 5 jobs have no row in .*results\.csv: they could not be written\.$"):
        multirun("seed=range(0,5)", f"hydra/launcher={launcher}", task=fills_the_disk)
    assert [row["seed"] for row in rows(tmp_path / "sweep" / "results.csv")] == ["0", "1"]
    lock.rmdir()
    multirun("seed=range(0,5)", f"hydra/launcher={launcher}", task=lambda cfg: None)
    assert [row["seed"] for row in rows(tmp_path / "sweep" / "results.csv")] == list("01234")


@pytest.mark.parametrize("nothing", ["seed=range(5,1)", "loss=glob(zz*)"])
def test_a_multirun_that_runs_nothing_is_no_success(multirun: Multirun, nothing: str) -> None:  # noqa: F811
    for launcher in ("basic", "vectorized"):  # the second is resumed
        with pytest.raises(SystemExit, match="No job of this sweep"):
            multirun(nothing, f"hydra/launcher={launcher}")


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["seed=0,1", "-m"], "seed=0,1 hydra.sweep.dir=a -m"),
        (["-m", "x='a b'", "hydra.sweep.dir=b", "-cn", "c=d"], """-m 'x='"'"'a b'"'"'' hydra.sweep.dir=a -cn c=d"""),
        (["-cd", "e=f", "-m"], "-cd e=f -m hydra.sweep.dir=a"),
        (["-m", "~reg", "-cp=g"], "-m '~reg' hydra.sweep.dir=a -cp=g"),
        (["-m", "+hydra.sweep.dir=b", "++hydra.sweep.dir=c", "x=1"], "-m x=1 hydra.sweep.dir=a"),
    ],
)
def test_the_printed_command_is_one_that_runs(
    arguments: list[str], printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    assert command(Path("a")) == f"python train.py {printed}"


@pytest.mark.parametrize(
    "name", ["ü", "a b", "it's", "a,b=1", "x[1]", "back\\slash", "end\\", "\\'", "(a)", "50%", "日本"]
)
def test_the_printed_folder_is_the_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the shell, and then for Hydra's grammar."""
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "x=1"])
    (override,) = OverridesParser.create().parse_overrides(shlex.split(command(Path(name)))[-1:])
    assert str(override.value()) == name


@pytest.mark.parametrize(("module", "printed"), [("pkg.app", "pkg.app"), ("pkg.__main__", "pkg")])
def test_a_program_that_is_a_module_is_printed_as_one(
    module: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/pkg/app.py", "-m", "x=1"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", ModuleSpec(module, None, origin=sys.argv[0]))
    assert command(Path("a")) == f"python -m {printed} -m x=1 hydra.sweep.dir=a"
