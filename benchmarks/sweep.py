"""Sweeps of 100, 1,000 and 10,000 jobs, against the imports alone, a JAX vmap script, and the ordinary way.

python -m benchmarks.sweep --jax-python <the Python of an environment with jax and numpy>
python -m benchmarks.sweep --before <another checkout>

The second measures the sweeps of another checkout too, in turn with these; its own code is found on its own paths.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import HEADER, ROOT, Timing, machine, measure, row

RATES = "loss.r=0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
DIRECTORIES = "hydra.launcher.job_directories=true"


def sweeps(root: Path = ROOT) -> dict[str, Sequence[str]]:
    """Return the commands of a checkout: sweeps over 10 mixing weights and 10 to 1,000 seeds, and the ordinary way."""
    learned = "learned" if (root / "registry" / "lossreg").is_dir() else "variable"  # as the group was called before
    path = os.pathsep.join(str(root / folder) for folder in ("registry", "plugins", "."))
    train = ["env", f"PYTHONPATH={path}", sys.executable, str(root / "train.py"), "-m", "loss=mix", "reg=l2custom"]
    train += ["verbose=0"]
    vectorized = [*train, "hydra/launcher=vectorized"]
    # The same mixing weights as the end of a schedule, and a learned λ.
    changing = [
        *("+schedule@loss.r=linear", "loss.r.initial_learning_rate=1"),
        *(RATES.replace("loss.r", "loss.r.end_learning_rate"), f"+{learned}@reg.r=positive", "reg.r.initial=0.0001"),
    ]
    return {
        "100 jobs, files": [*vectorized, RATES, "seed=range(0,10)", DIRECTORIES],
        "1,000 jobs, files": [*vectorized, RATES, "seed=range(0,100)", DIRECTORIES],
        "1,000 jobs": [*vectorized, RATES, "seed=range(0,100)"],
        "10,000 jobs": [*vectorized, RATES, "seed=range(0,1000)"],
        "10,000 jobs, changing": [*vectorized, *changing, "seed=range(0,1000)"],
        "5 jobs, ordinary": [*train, "seed=range(0,5)"],
    }


def table(timings: dict[str, Timing], imports: Timing) -> list[str]:
    """Return the rows of one checkout."""
    hundred, files, thousand, many, changing, ordinary = (timings[name] for name in sweeps())

    def against(what: str, one: Timing, other: Timing, wanted: str) -> str:
        return row(what, one.wall / other.wall, wanted, f"{one.wall:.1f} s / {other.wall:.1f} s")

    each = 1000 * (many.wall - thousand.wall) / 9000
    written = 1000 * (files.wall - hundred.wall) / 900
    growth = (many.memory - thousand.memory) * 1024 / 9000
    further = (ordinary.wall - imports.wall) / 5
    scaled = imports.wall + 1000 * further
    detail = f"{scaled:.0f} s (scaled from 5 jobs, {further:.1f} s each) / {thousand.wall:.1f} s"
    return [
        against("1,000 jobs / `import hydra, tensorflow`", thousand, imports, "≤ 2.5"),
        against("1,000 jobs with their directories / imports", files, imports, ""),
        against("10,000 jobs / imports", many, imports, "≤ 10, try 5"),
        against("10,000 jobs, a scheduled r and a learned λ / constants", changing, many, ""),
        f"| each further job, (t(10,000) - t(1,000)) / 9,000 | {each:.2f} ms | ≤ 1.5 ms | |",
        f"| each further job with its directory, (t(1,000) - t(100)) / 900 | {written:.2f} ms | ≤ 4 ms | |",
        f"| peak memory, each further job, (m(10,000) - m(1,000)) / 9,000 | {growth:.0f} kB | < 100 kB | |",
        row("1,000 jobs under Hydra's own launcher, scaled / vectorized", scaled / thousand.wall, "", detail),
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each command is counted (default: 5)")
    parser.add_argument("--jax-python", help="the Python of an environment with jax and numpy; without it no JAX row")
    parser.add_argument("--before", type=Path, help="another checkout, whose sweeps are measured too")
    arguments = parser.parse_args()
    commands: dict[str, Sequence[str]] = {"imports": ["python", "-c", "import hydra, tensorflow"], **sweeps()}
    if arguments.before:
        commands |= {f"before: {name}": command for name, command in sweeps(arguments.before.absolute()).items()}
    if arguments.jax_python:
        commands["JAX"] = [arguments.jax_python, str(ROOT / "benchmarks" / "jax_vmap.py")]
    timings = measure(commands, rounds=arguments.rounds)
    print(machine(), HEADER, *table(timings, timings["imports"]), sep="\n")
    if "JAX" in timings:
        files, jax = timings["1,000 jobs, files"], timings["JAX"]
        detail = f"{files.wall:.1f} s / {jax.wall:.1f} s"
        print(row("1,000 jobs, files included / a hand-written JAX vmap script", files.wall / jax.wall, "", detail))
    if arguments.before:
        before = {name: timings[f"before: {name}"] for name in sweeps()}
        print(f"\nbefore, in {arguments.before}", HEADER, *table(before, timings["imports"]), sep="\n")


if __name__ == "__main__":
    main()
