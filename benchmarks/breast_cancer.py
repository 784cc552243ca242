"""Many models of a 30-32-1 network on breast cancer, 100 epochs of batches of 32, against plain Keras and JAX.

python -m benchmarks.breast_cancer --jax-python <the Python of an environment with jax and scikit-learn>
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from benchmarks.measure import HEADER, ROOT, machine, measure, row

TRAIN = [
    *("python", str(ROOT / "train.py"), "data=breast_cancer", "split.validation=0", "split.test=0", "scale=standard"),
    *("shuffle=true", "model.hidden_units=[32]", "model.activation=relu", "model.dropout=0", "epochs=100"),
    "optimizer.learning_rate=0.001",
]
LOSSES = "bce,binary_focal_crossentropy,asymmetric,poly_crossentropy,symmetric_crossentropy,generalized_crossentropy"
MANY = ["hydra/launcher=vectorized", "verbose=0", f"loss={LOSSES}", "seed=range(0,40)", "-m"]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each command is counted (default: 3)")
    parser.add_argument("--jax-python", default="python", help="the Python with jax (default: this one)")
    arguments = parser.parse_args()
    keras = ["python", str(ROOT / "benchmarks" / "breast_cancer_keras.py")]
    commands: dict[str, Sequence[str]] = {
        "240 models": [*TRAIN, *MANY],
        "JAX": [arguments.jax_python, str(ROOT / "benchmarks" / "breast_cancer_jax.py")],
        "6 by fit": [*keras, "6"],
        "1 by fit": [*keras, "1"],
        "1 model": TRAIN,
    }
    found = measure(commands, rounds=arguments.rounds)
    many, jax, six, one, own = (found[name].wall for name in commands)
    each = (six - one) / 5
    scaled = one + 239 * each
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f}", HEADER, sep="\n")
    detail = f"{many:.1f} s / {scaled:.0f} s (scaled from 6 models, {each:.1f} s each)"
    print(f"| 240 models / `model.fit` in a loop | 1/{scaled / many:.0f} | ≤ 1/40 | {detail} |")
    print(row("240 models / a hand-written JAX vmap script", many / jax, "≤ 2", f"{many:.1f} s / {jax:.1f} s"))
    print(row("one model / `model.fit`", own / one, "≤ 0.5", f"{own:.1f} s / {one:.1f} s"))


if __name__ == "__main__":
    main()
