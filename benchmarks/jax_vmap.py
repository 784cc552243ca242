"""The study's training of 1,000 models, written by hand in JAX: the independent competitor of a vectorized sweep.

10 mixing weights r x 100 seeds, 500 epochs each: XOR, Dense(4, sigmoid), Dropout(0.1), Dense(1, sigmoid), the mix
loss, an L2 penalty of 1e-4 on the hidden kernel, Adam with learning rate 0.05. One `vmap` over the models, one `scan`
over the epochs, one `jit`. Of the ways to write it that were tried this is the fastest: the masks of all epochs are
drawn before the scan, by XLA's own generator ("rbg"); JAX's default generator, or drawing inside the scan, trains
slower and compiles for 6 to 9 s. It needs only jax and numpy, in an environment of its own:

python benchmarks/jax_vmap.py --seeds 100 --output jax.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

started = time.perf_counter()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

imported = time.perf_counter()

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)
PENALTY = 1e-4
DROPOUT = 0.1
LEARNING_RATE = 0.05
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7

Weights = dict[str, Any]


def initial_weights(key: Any) -> Weights:
    """Draw Glorot-uniform kernels of shapes (2, 4) and (4, 1); biases are zero."""
    hidden, output = jax.random.split(key)
    limit_hidden, limit_output = (6 / (2 + 4)) ** 0.5, (6 / (4 + 1)) ** 0.5
    return {
        "hidden": jax.random.uniform(hidden, (2, 4), minval=-limit_hidden, maxval=limit_hidden),
        "hidden_bias": jnp.zeros(4),
        "output": jax.random.uniform(output, (4, 1), minval=-limit_output, maxval=limit_output),
        "output_bias": jnp.zeros(1),
    }


def predict(weights: Weights, keep: Any) -> Any:
    """Return the outputs, of shape (4, 1); `keep` masks and scales the hidden units."""
    hidden = jax.nn.sigmoid(X @ weights["hidden"] + weights["hidden_bias"]) * keep
    return jax.nn.sigmoid(hidden @ weights["output"] + weights["output_bias"])


def mix(y_hat: Any, r: Any) -> Any:
    """Return r bce + (1 - r) mse."""
    bce = -jnp.mean(Y * jnp.log(y_hat + 1e-6) + (1 - Y) * jnp.log(1 - y_hat + 1e-6))
    return r * bce + (1 - r) * jnp.mean(jnp.square(Y - y_hat))


def objective(weights: Weights, keep: Any, r: Any) -> Any:
    """Return the loss with dropout, and the penalty on the hidden kernel."""
    return mix(predict(weights, keep / (1 - DROPOUT)), r) + jnp.sum(PENALTY * jnp.square(weights["hidden"]))


def train(seed: Any, r: Any, epochs: int) -> tuple[Any, Any, Any]:
    """Train one model with Adam; return its outputs, its loss in inference mode, and the loss of every epoch."""
    init_key, dropout_key = jax.random.split(jax.random.key(seed, impl="rbg"))
    weights = initial_weights(init_key)
    zeros = jax.tree.map(jnp.zeros_like, weights)

    def epoch(state: Any, drawn: Any) -> tuple[Any, Any]:
        weights, first, second = state
        index, keep = drawn
        loss, gradient = jax.value_and_grad(objective)(weights, keep, r)
        first = jax.tree.map(lambda m, g: m + (g - m) * (1 - BETA_1), first, gradient)
        second = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - BETA_2), second, gradient)
        count = index + 1.0
        rate = LEARNING_RATE * jnp.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
        weights = jax.tree.map(lambda w, m, v: w - m * rate / (jnp.sqrt(v) + EPSILON), weights, first, second)
        return (weights, first, second), loss

    masks = jax.random.bernoulli(dropout_key, 1 - DROPOUT, (epochs, 4, 4))
    (weights, _, _), history = jax.lax.scan(epoch, (weights, zeros, zeros), (jnp.arange(epochs), masks))
    y_hat = predict(weights, 1.0)
    return y_hat[:, 0], mix(y_hat, r), history


def main() -> None:
    """Train, write the table, and print where the time went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="seeds per mixing weight")
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=0, help="run the compiled program so many times more")
    parser.add_argument("--output", type=Path, default=Path("jax.csv"))
    arguments = parser.parse_args()

    r, seeds = (axis.ravel() for axis in np.meshgrid(np.arange(1, 11) / 10, np.arange(arguments.seeds), indexing="ij"))
    r = r.astype(np.float32)
    program = jax.jit(jax.vmap(lambda seed, r: train(seed, r, arguments.epochs))).lower(seeds, r).compile()
    compiled = time.perf_counter()
    y_hat, loss, history = (np.asarray(value) for value in program(seeds, r))
    trained = time.perf_counter()

    solved = ((y_hat > 0.5) == (Y[:, 0] > 0.5)).all(axis=1)
    brier = np.square(y_hat - Y[:, 0]).mean(axis=1)
    with arguments.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["r", "seed", "solved", "loss", "brier", *(f"y_hat_{row}" for row in range(4))])
        for row in zip(r, seeds, solved, loss, brier, y_hat, strict=True):
            writer.writerow([f"{row[0]:g}", row[1], row[2], row[3], row[4], *row[5]])
    ended = time.perf_counter()
    print(f"{len(r)} models x {arguments.epochs} epochs: solved {solved.mean():.3f}, loss {history[:, -1].mean():.4f}")
    print(
        f"import {imported - started:.2f} s, compile {compiled - imported:.2f} s, "
        f"train {trained - compiled:.2f} s, write {ended - trained:.2f} s, in all {ended - started:.2f} s"
    )
    for _ in range(arguments.repeat):
        begun = time.perf_counter()
        jax.block_until_ready(program(seeds, r))
        print(f"train again {time.perf_counter() - begun:.3f} s")


if __name__ == "__main__":
    main()
