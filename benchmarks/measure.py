"""Timing whole processes side by side: each command in turn, several rounds, medians and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class Timing:
    """What the runs of one command took.

    Arguments:
        seconds: the wall time of each run, in seconds.
        mebibytes: the peak memory of each run's largest process, in MiB.
    """

    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median wall time, in seconds."""
        return statistics.median(self.seconds)

    @property
    def memory(self) -> float:
        """The median peak memory, in MiB."""
        return statistics.median(self.mebibytes)


def measure(
    commands: dict[str, Sequence[str]], *, rounds: int = 5, expected: dict[str, int] | None = None
) -> dict[str, Timing]:
    """Run each command once to warm up, then all of them in turn, round after round.

    Arguments:
        commands: the commands by name; `python` as the first word is this interpreter.
        rounds: how often each is counted.
        expected: the exit codes that are not 0, by name.

    Returns:
        The timings by name.

    Raises:
        RuntimeError: if a command ends with another exit code than expected.
    """
    timings = {name: Timing() for name in commands}
    for counted in range(rounds + 1):
        for name, command in commands.items():
            seconds, mebibytes = run_once(command, (expected or {}).get(name, 0))
            if counted:
                timings[name].seconds.append(seconds)
                timings[name].mebibytes.append(mebibytes)
            print(f"  {name}: {seconds:.2f} s, {mebibytes:.0f} MiB{'' if counted else ' (warm-up)'}", file=sys.stderr)
    return timings


def run_once(command: Sequence[str], expected: int = 0) -> tuple[float, float]:
    """Run a command in an empty folder; return its wall time in seconds and its peak memory in MiB."""
    command = [sys.executable if command[0] == "python" else command[0], *command[1:]]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != expected:
            output.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}:\n{output.read().decode(errors='replace')}")
    return seconds, usage.ru_maxrss / 1024


def machine() -> str:
    """Describe the machine and the versions, for the table's caption."""
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "hydra-core"))
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}, {versions}"


def row(what: str, ratio: float, bound: str, detail: str) -> str:
    """Format one row of the table in benchmarks/README.md."""
    return f"| {what} | {ratio:.2f} | {bound} | {detail} |"


HEADER = "| what | ratio | wanted | medians |\n|---|---|---|---|"
