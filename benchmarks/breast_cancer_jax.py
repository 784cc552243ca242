"""Six losses × 40 seeds of a 30-32-1 network on breast cancer, by hand in JAX: one `vmap`, `scan` and `jit` a loss.

It needs jax, numpy and scikit-learn.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

EPOCHS, SIZE, SEEDS = 100, 32, 40
inputs, benign = load_breast_cancer(return_X_y=True)
X, Y = StandardScaler().fit_transform(inputs).astype("float32"), (1 - benign).astype("float32")[:, None]
X, Y = jnp.asarray(X), jnp.asarray(Y)
WHOLE, REST = divmod(len(X), SIZE)


def log(x: Any) -> Any:
    """Return the logarithm, guarded."""
    return jnp.log(x + 1e-7)


def bce(y: Any, p: Any) -> Any:
    """Return the crossentropy."""
    return -y * log(p) - (1 - y) * log(1 - p)


def focal(y: Any, p: Any) -> Any:
    """Return (1 - p_t)² times the crossentropy."""
    return (1 - y * p - (1 - y) * (1 - p)) ** 2.0 * bce(y, p)


def asymmetric(y: Any, p: Any) -> Any:
    """Return the asymmetric loss with its defaults."""
    m = jax.nn.relu(p - 0.05)
    return -y * log(p) - (1 - y) * jnp.exp(4 * log(m)) * log(1 - m)


def poly(y: Any, p: Any) -> Any:
    """Return Poly-1 with ε = 2."""
    return bce(y, p) + 2 * (1 - y * p - (1 - y) * (1 - p))


def symmetric(y: Any, p: Any) -> Any:
    """Return the symmetric crossentropy with its defaults."""
    return 0.1 * bce(y, p) - p * jnp.maximum(log(y), -4) - (1 - p) * jnp.maximum(log(1 - y), -4)


def generalized(y: Any, p: Any) -> Any:
    """Return the generalized crossentropy with q = 0.7."""
    return -(y * jnp.expm1(0.7 * log(p)) + (1 - y) * jnp.expm1(0.7 * log(1 - p))) / 0.7


def predict(weights: Any, x: Any) -> Any:
    """Return the outputs."""
    hidden = jax.nn.relu(x @ weights[0] + weights[1])
    return jax.nn.sigmoid(hidden @ weights[2] + weights[3])


def train(loss: Any, seed: Any) -> Any:
    """Train one model with Adam; return its outputs."""
    first, second, shuffle = jax.random.split(jax.random.key(seed, impl="rbg"), 3)
    a, b = (6 / (30 + 32)) ** 0.5, (6 / (32 + 1)) ** 0.5
    weights = [jax.random.uniform(first, (30, 32), minval=-a, maxval=a), jnp.zeros(32)]
    weights += [jax.random.uniform(second, (32, 1), minval=-b, maxval=b), jnp.zeros(1)]
    zeros = jax.tree.map(jnp.zeros_like, weights)

    def step(state: Any, rows: Any) -> tuple[Any, None]:
        weights, m, v, count = state
        gradient = jax.grad(lambda own: loss(Y[rows], predict(own, X[rows])).mean())(weights)
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, gradient)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, gradient)
        rate = 0.001 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
        return (weights, m, v, count + 1), None

    def epoch(state: Any, key: Any) -> tuple[Any, None]:
        order = jax.random.permutation(key, len(X))
        state, _ = jax.lax.scan(step, state, order[: WHOLE * SIZE].reshape(WHOLE, SIZE))
        return step(state, order[-REST:])

    state, _ = jax.lax.scan(epoch, (weights, zeros, zeros, 1.0), jax.random.split(shuffle, EPOCHS))
    return predict(state[0], X)


for loss in (bce, focal, asymmetric, poly, symmetric, generalized):
    y_hat = np.asarray(jax.jit(jax.vmap(lambda seed, loss=loss: train(loss, seed)))(jnp.arange(SEEDS)))
    print(loss.__name__, ((y_hat > 0.5) == Y).mean())
