"""Sweeps of 100, 1,000 and 10,000 jobs, against the imports alone, a JAX vmap script, and the ordinary way.

python -m benchmarks.sweep --jax-python <the Python of an environment with jax and numpy>
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.measure import HEADER, ROOT, machine, measure, row

SWEEP = ["python", str(ROOT / "train.py"), "-m", "loss=mix", "reg=l2custom", "verbose=0"]
RATES = "loss.r=0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


# The same mixing weights as the end of a schedule, and a learned λ.
CHANGING = [
    *("+schedule@loss.r=linear", "loss.r.initial_learning_rate=1", RATES.replace("loss.r", "loss.r.end_learning_rate")),
    *("+learned@reg.r=positive", "reg.r.initial=0.0001"),
]


def vectorized(seeds: int, *more: str, rates: Sequence[str] = (RATES,)) -> list[str]:
    """Return the command of a sweep over 10 mixing weights and so many seeds."""
    return [*SWEEP, "hydra/launcher=vectorized", *rates, f"seed=range(0,{seeds})", *more]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each command is counted (default: 5)")
    parser.add_argument("--jax-python", help="the Python of an environment with jax and numpy; without it no JAX row")
    arguments = parser.parse_args()
    with_directories = "hydra.launcher.job_directories=true"
    commands: dict[str, Sequence[str]] = {
        "imports": ["python", "-c", "import hydra, tensorflow"],
        "100 jobs": vectorized(10, with_directories),
        "1,000 jobs": vectorized(100, with_directories),
        "10,000 jobs": vectorized(1000),
        "10,000 jobs, changing": vectorized(1000, rates=CHANGING),
        "5 jobs, ordinary": [*SWEEP, "seed=range(0,5)"],
    }
    if arguments.jax_python:
        commands["JAX"] = [arguments.jax_python, str(ROOT / "benchmarks" / "jax_vmap.py")]
    print(machine(), HEADER, sep="\n")
    timings = measure(commands, rounds=arguments.rounds)
    imports, hundred, thousand = (timings[name] for name in ("imports", "100 jobs", "1,000 jobs"))

    detail = f"{thousand.wall:.1f} s / {imports.wall:.1f} s"
    print(
        row(
            "1,000 jobs, files included / `import hydra, tensorflow`",
            thousand.wall / imports.wall,
            "≤ 3, try 2",
            detail,
        )
    )
    if "JAX" in timings:
        jax = timings["JAX"]
        detail = f"{thousand.wall:.1f} s / {jax.wall:.1f} s"
        print(
            row(
                "1,000 jobs, files included / a hand-written JAX vmap script",
                thousand.wall / jax.wall,
                "≤ 4, try 2",
                detail,
            )
        )
    each = (thousand.wall - hundred.wall) / 900
    print(f"| each further job, (t(1000) - t(100)) / 900 | {1000 * each:.2f} ms | ≤ 4 ms, try 1 | files included |")
    many = timings["10,000 jobs"]
    detail = f"{many.wall:.1f} s / {imports.wall:.1f} s"
    print(row("10,000 jobs, without job directories / imports", many.wall / imports.wall, "≤ 10, try 5", detail))
    changing = timings["10,000 jobs, changing"]
    detail = f"{changing.wall:.1f} s / {many.wall:.1f} s"
    print(row("10,000 jobs, a scheduled r and a learned λ / constants", changing.wall / many.wall, "", detail))
    growth = (many.memory - thousand.memory) * 1024 / 9000
    print(f"| peak memory, each further job, (m(10,000) - m(1,000)) / 9,000 | {growth:.0f} kB | < 100 kB | |")
    ordinary = timings["5 jobs, ordinary"]
    further = (ordinary.wall - imports.wall) / 5
    scaled = imports.wall + 1000 * further
    detail = f"{scaled:.0f} s (scaled from 5 jobs, {further:.1f} s each) / {thousand.wall:.1f} s"
    print(row("1,000 jobs under Hydra's own launcher, scaled / vectorized", scaled / thousand.wall, "", detail))


if __name__ == "__main__":
    main()
