"""The results table, and the callback that keeps it under Hydra's own launcher and joblib. No TensorFlow."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lossreg.sweeps import ResultsTable, Row

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])}
APP = ROOT / "tests" / "sweeps" / "sweep_app" / "app.py"

Sweep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Run the small app as a person would: a multirun into the folder `sweep`."""

    def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(APP), "--multirun", "hydra.sweep.dir=sweep", *arguments]
        variables = {**ENVIRONMENT, "COLUMNS": "200"}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)

    return sweep


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["job"]))


def test_rows_are_csv(tmp_path: Path) -> None:
    table = ResultsTable(tmp_path / "sweep" / "results.csv", ["solved", "brier"])
    table.append([Row(0, ["loss=mix", "loss.r=0.5"], metrics={"solved": True, "brier": 0.1, "other": 3})])
    table.append([Row(1, ["loss=mix", "loss.r=0.75"], "failed", "ValueError: a, b\nand c")])
    assert table.path.read_text() == (
        "job,status,error,loss,loss.r,solved,brier\n"
        "0,completed,,mix,0.5,true,0.1\n"
        '1,failed,"ValueError: a, b and c",mix,0.75,,\n'
    )
    assert table.read() == rows(table.path)


def test_numbers_survive_exactly(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    table = ResultsTable(tmp_path / "results.csv", ["a", "b", "c"])
    table.append([Row(0, [], metrics={"a": 0.1 + 0.2, "b": numpy.float32(0.1), "c": numpy.bool_(True)})])
    (row,) = table.read()
    assert float(row["a"]) == 0.1 + 0.2
    assert float(row["b"]) == float(numpy.float32(0.1))
    assert row["c"] == "true"


def test_an_override_never_hides_another_column(tmp_path: Path) -> None:
    table = ResultsTable(tmp_path / "results.csv", ["loss"])
    table.append([Row(0, ["loss=bce", "job=x", "+new=1", "~gone"], metrics={"loss": 0.5})])
    assert rows(table.path) == [
        {"job": "0", "status": "completed", "error": "", "override.loss": "bce", "override.job": "x"}
        | {"new": "1", "~gone": "deleted", "loss": "0.5"}
    ]


def test_a_new_override_widens_the_table(tmp_path: Path) -> None:
    table = ResultsTable(tmp_path / "results.csv", ["brier"])
    table.append([Row(0, ["seed=0"], metrics={"brier": 0.5})])
    table.append([Row(1, ["seed=1", "note='a,\n\"b'"], metrics={"brier": 0.25})])
    table.append([Row(2, ["seed=2"])])
    assert table.path.read_text().splitlines()[0] == "job,status,error,seed,note,brier"
    assert [row["note"] for row in rows(table.path)] == ["", "'a,\\n\"b'", ""]
    assert [row["brier"] for row in rows(table.path)] == ["0.5", "0.25", ""]


@pytest.mark.parametrize("torn", ["2,completed,", "2,comp", "2", '2,failed,"half a messa'])
def test_a_torn_line_is_dropped(tmp_path: Path, torn: str) -> None:
    table = ResultsTable(tmp_path / "results.csv")
    table.append([Row(0, ["seed=0"]), Row(1, ["seed=1"])])
    whole = table.path.read_text()
    table.path.write_text(whole + torn)
    assert [row["job"] for row in table.read()] == ["0", "1"]
    table.append([Row(2, ["seed=2"])])
    assert table.path.read_text() == whole + "2,completed,,2\n"


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    table = ResultsTable(tmp_path / "results.csv")
    table.path.write_text("job,stat")
    assert table.read() == []
    table.append([Row(0, ["seed=0"])])
    assert table.path.read_text() == "job,status,error,seed\n0,completed,,0\n"


def test_appends_from_several_processes_and_threads_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    program = (
        "import sys; from lossreg.sweeps import ResultsTable, Row\n"
        "start = int(sys.argv[2])\n"
        "for job in range(start, start + 20):\n"
        "    ResultsTable(sys.argv[1], ['m']).append([Row(job, [f'k{job % 7}={job}'], metrics={'m': job})])\n"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(start)], env=ENVIRONMENT) for start in (0, 20)
    ]
    threads = [
        threading.Thread(target=lambda job=job: ResultsTable(path, ["m"]).append([Row(job, [], metrics={"m": job})]))
        for job in range(40, 50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    found = rows(path)
    assert [int(row["job"]) for row in found] == list(range(50))
    assert all(row["m"] == row["job"] for row in found)
    assert all(row[f"k{job % 7}"] == str(job) for job, row in enumerate(found[:40]))


def test_a_job_has_one_row(tmp_path: Path) -> None:
    first, second = (ResultsTable(tmp_path / "results.csv", ["brier"]) for _ in range(2))
    first.append([Row(0, ["seed=0"], metrics={"brier": 0.5})])
    second.append([Row(0, ["seed=0"], metrics={"brier": 0.75}), Row(1, ["seed=1"], metrics={"brier": 0.25})])
    first.append([Row(1, ["seed=1"], "failed", "late"), Row(1, ["seed=2"]), Row(0, ["seed=0", "r=1"])])
    cells = [(row["job"], row["seed"], row["r"], row["brier"]) for row in first.read()]
    assert cells == [("0", "0", "", "0.5"), ("1", "1", "", "0.25"), ("1", "2", "", ""), ("0", "0", "1", "")]


def test_a_full_disk_leaves_the_table_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = ResultsTable(tmp_path / "results.csv")
    table.append([Row(0, ["seed=0"])])
    before = table.path.read_text()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        table.append([Row(1, ["seed=1"])])
    with pytest.raises(OSError, match="No space"):
        table.append([Row(2, ["other=1"])])
    assert table.path.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".results.csv.lock", "results.csv"]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_multirun_has_a_row_per_job(sweep: Sweep, tmp_path: Path, launcher: str) -> None:
    done = sweep(f"hydra/launcher={launcher}", "loss=bce,mix", "seed=0,1,2", "fail=1", "diverge=2")
    assert done.returncode == 1
    found = rows(tmp_path / "sweep" / "results.csv")
    assert ",".join(found[0]) == "job,status,error,override.loss,seed,fail,diverge,solved,loss,brier"
    assert [row["status"] for row in found] == ["completed", "failed", "diverged"] * 2
    assert [row["override.loss"] for row in found] == ["bce"] * 3 + ["mix"] * 3
    assert [row["brier"] for row in found] == ["0.25", "", "", "0.0", "", ""]
    assert found[1]["error"] == "ValueError: seed 1 is unlucky"
    assert found[2]["error"] == "DivergedError: the loss became NaN at epoch 3"
    # The table is printed although Hydra ends the sweep with the exception of the failed job.
    assert "6 jobs, 2 completed, 2 diverged, 2 failed: " in done.stdout
    assert "ValueError: seed 1 is unlucky" in done.stdout


def test_the_table_is_found_from_a_job_that_changed_its_directory(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("hydra.job.chdir=true", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert [row["seed"] for row in rows(tmp_path / "sweep" / "results.csv")] == ["0", "1"]
    assert done.stdout.count("2 jobs, 2 completed: ") == 1


def test_a_single_run_has_no_table(tmp_path: Path) -> None:
    command = [sys.executable, str(APP), "hydra.run.dir=single"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0
    assert {path.name for path in (tmp_path / "single").iterdir()} == {".hydra", "app.log", "metrics.json"}


def test_a_disk_that_refuses_the_table_stops_no_job(sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "sweep" / ".results.csv.lock").mkdir(parents=True)  # no file can be opened there, whoever runs this
    done = sweep("seed=0,1")
    assert done.returncode == 1
    assert "2 of 2 jobs have no row in " in done.stderr
    assert (tmp_path / "sweep" / "1" / "metrics.json").exists()
    assert done.stdout.count(": no row in results.csv: ") == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_half_letters_cost_no_row(tmp_path: Path) -> None:
    table = ResultsTable(tmp_path / "results.csv", ["note"])
    table.append([Row(0, ["a='\udcff'"], "failed", "\ud800", {"note": "\udfff"})])
    again = ResultsTable(tmp_path / "results.csv", ["note"])
    assert again.read() == [
        {"job": "0", "status": "failed", "error": "\\ud800", **again.cells(["a='\udcff'"]), "note": "\\udfff"}
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"job;status;error;seed;brier\n0;completed;;0;0,5\n", 1),
        (b'job,status,error,seed,brier\n0,completed,,0,0.5\n1,completed,",1,0.5\n2,completed,,2,0.5\n', 3),
        (b'job,status,error,note\n0,completed,,a"b\n', 2),
        (b"job,status,error,note\n0,completed,,caf\xe9\n", 2),
        (b"0,completed,,0,0.5\n1,completed,,1,0.5\n", 1),
        (b"job,status,seed\n0,completed,0\n", 1),
        (b"job,status,error,seed,seed\n0,completed,,0,0\n", 1),
        (b"job,status,error,seed\n0,completed,,0\n1,completed,1\n2,completed,,2\n", 3),
        (b"job,status,error,seed\nx,completed,,0\n", 2),
        (b"job,status,error,seed\n0,completed,,0\n1,completed,,1,2", 3),
        (b"something else", 1),
        (b'job,status,error,r,brier\n0,completed,,0.5,0.1\n1,completed,,"0,8",0.1\n', 3),
        (b'job,status,error,r,brier\n0,completed,,"-1,5e-05",0.1\n', 2),
        (b'job,status,error,r,brier\n0,completed,,2,"1.234,5"', 2),
        ("job,status,error\n0,completed,\n".encode("utf-16"), 1),
    ],
)
def test_a_table_that_is_not_understood_whole_is_left_alone(tmp_path: Path, content: bytes, line: int) -> None:
    table = ResultsTable(tmp_path / "results.csv")
    table.path.write_bytes(content)
    for use in (table.read, lambda: table.append([Row(5, ["seed=5"])])):
        with pytest.raises(OSError, match=rf"results\.csv, line {line}: "):
            use()
    assert table.path.read_bytes() == content


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    table = ResultsTable(tmp_path / "results.csv")
    table.path.write_bytes(
        b'\xef\xbb\xbf"job","status","error","seed"\r\n0,"completed",,0\r\n,,,\r\n1,failed,"a, ""b""",1'
    )
    assert [row["error"] for row in table.read()] == ["", 'a, "b"']
    table.append([Row(0, ["seed=0"]), Row(2, ["seed=2"])])
    assert [row["seed"] for row in table.read()] == ["0", "1", "2"]


def test_no_cell_is_a_formula_and_each_reads_as_it_was(tmp_path: Path) -> None:
    values = ["=1+1", "+x", "-x", "@SUM(1)", "'=1'", "''=1", "-5", "-1e-3", "＝1", "a=b", "0,8", "'1,5"]
    values += ["+5", "+inf", "-inf", "-nan", "-1_0", "-٣", "-.5", "-5.", "5", "1e5"]
    values += ["'a, b'", "\t=1", "\tx", "'\tx", " =1"]
    table = ResultsTable(tmp_path / "results.csv", ["m"])
    table.append([Row(job, [f"note={value}", "+a@b=c"], metrics={"m": value}) for job, value in enumerate(values)])
    with table.path.open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    begun = [cell for cell in cells if cell[:1] in set("=+-@＝\t\r")]
    assert begun == [cell for number in ("-5", "-1e-3", "-.5", "-5.") for cell in (number, number)]
    again = ResultsTable(table.path, ["m"])
    assert [row["note"] for row in again.read()] == [row["m"] for row in again.read()] == values
    before = table.path.read_bytes()
    again.append([Row(0, ["note==1+1", "+a@b=c"])])
    assert table.path.read_bytes() == before
