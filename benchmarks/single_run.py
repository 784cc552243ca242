"""The main job against a plain Keras script and against the imports; the command line against an empty Hydra app.

python -m benchmarks.single_run
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measure import HEADER, ROOT, machine, measure, row

EMPTY_APP = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    pass

if __name__ == "__main__":
    main()
"""

TRAIN = ["python", str(ROOT / "train.py")]
CHANGING = [
    *("loss=mix", "+schedule@loss.r=linear", "loss.r.initial_learning_rate=0.8"),
    *("reg=l2custom", "+learned@reg.r=positive", "reg.r.initial=0.0001"),
]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each command is counted (default: 5)")
    rounds = parser.parse_args().rounds
    print(machine(), HEADER, sep="\n")

    fit = measure(
        {
            "train.py": [*TRAIN, "loss=mix", "loss.r=0.8", "reg=l2custom"],
            "changing": [*TRAIN, *CHANGING],
            "plain Keras": ["python", str(ROOT / "benchmarks" / "plain_keras.py")],
            "imports": ["python", "-c", "import hydra, tensorflow"],
        },
        rounds=rounds,
    )
    train, plain, imports = fit["train.py"], fit["plain Keras"], fit["imports"]
    detail = f"{train.wall:.1f} s / {plain.wall:.1f} s"
    print(row("`train.py` / plain Keras script, wall time", train.wall / plain.wall, "≤ 0.30, try 0.20", detail))
    detail = f"{train.wall:.1f} s / {imports.wall:.1f} s"
    print(row("`train.py` / `import hydra, tensorflow`", train.wall / imports.wall, "≤ 1.8, try 1.4", detail))
    detail = f"{train.memory:.0f} MiB / {plain.memory:.0f} MiB"
    print(row("`train.py` / plain Keras script, peak memory", train.memory / plain.memory, "≤ 1.1", detail))
    changing = fit["changing"]
    detail = f"{changing.wall:.1f} s / {train.wall:.1f} s"
    print(row("`train.py`, a scheduled r and a learned λ / constants", changing.wall / train.wall, "", detail))

    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "app.py")
        app.write_text(EMPTY_APP)
        lines = measure(
            {
                "--help": [*TRAIN, "--help"],
                "--cfg job": [*TRAIN, "--cfg", "job"],
                "loss=mxi": [*TRAIN, "loss=mxi"],
                "empty app": ["python", str(app)],
            },
            rounds=rounds,
            expected={"loss=mxi": 1},
        )
    empty = lines.pop("empty app")
    for name, timing in lines.items():
        detail = f"{timing.wall:.2f} s / {empty.wall:.2f} s"
        print(row(f"`train.py {name}` / an empty Hydra app", timing.wall / empty.wall, "≤ 1.5", detail))


if __name__ == "__main__":
    main()
