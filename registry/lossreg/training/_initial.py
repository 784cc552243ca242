"""The state that models start from: drawn by each layer's own initializer, from one seed; for many seeds at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def start(model: keras.Model, seed: int) -> None:
    """Set every random number of a model, its initial weights and what its layers draw later, from one seed.

    Where an author gave a layer a seed, it keeps it.
    """
    drawn, generators = _random_in(model)
    seeds = _seeds(seed, len(drawn) + len(generators))
    for (variable, initializer), own in zip(drawn, seeds, strict=False):
        variable.assign(_draw(initializer, int(own), tuple(variable.shape), variable.dtype))
    for state, own in zip(generators, seeds[len(drawn) :], strict=True):
        state.assign([int(own), 0])


class InitialState:
    """Computes what models start from, to the bit, without building a model for each where that can be.

    Arguments:
        build: builds a model that `start` was called with, of a seed.
        model: such a model, of any seed.
    """

    def __init__(self, build: Callable[[int], keras.Model], model: keras.Model) -> None:
        self._build, self._model = build, model
        self._random, self._generators = _random_in(model)
        known = {*(id(variable) for variable, _ in self._random), *map(id, self._generators)}
        # What is equal everywhere in a variable, as zeros, was not drawn in a way that is not seen here.
        self._hidden = any(np.unique(v.numpy()).size > 1 for v in model.variables if id(v) not in known)
        drawn = () if self._hidden else self._random
        self._draws = {id(variable): _drawing(initializer, variable) for variable, initializer in drawn}

    def __call__(self, seeds: Iterable[int]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Compute the state of one model per seed of a config.

        Returns:
            The trainable weights, flattened in Keras's order, float32 of shape `(seeds, parameters)`; and the other
            variables, each with the seeds first.
        """
        seeds = [int(seed) for seed in seeds]
        if self._hidden:
            models = [self._build(seed) for seed in seeds]
            rows = [np.concatenate([w.numpy().ravel() for w in model.trainable_variables]) for model in models]
            states = zip(*([s.numpy() for s in model.non_trainable_variables] for model in models), strict=True)
            return np.stack(rows), [np.stack(own) for own in states]
        own = np.array([_seeds(seed, len(self._random) + len(self._generators)) for seed in seeds], np.int32).T
        count = len(seeds)
        drawn = {
            id(variable): self._draws[id(variable)](column)
            for (variable, _), column in zip(self._random, own, strict=False)
        }
        columns = [drawn.get(id(w), _tiled(w, count)) for w in self._model.trainable_variables]
        later = {
            id(state): np.stack([column, np.zeros_like(column)], axis=1)
            for state, column in zip(self._generators, own[len(self._random) :], strict=True)
        }
        weights = np.concatenate([np.reshape(c, (count, -1)) for c in columns], axis=1)
        return weights, [later.get(id(s), _tiled(s, count)) for s in self._model.non_trainable_variables]


def _tiled(variable: Any, count: int) -> np.ndarray:
    return np.tile(variable.numpy(), (count, *[1] * len(variable.shape)))


def _seeds(seed: int, count: int) -> np.ndarray:
    """Return seeds as independent as one allows."""
    return np.random.SeedSequence(seed).generate_state(count) >> 1  # Keras keeps seeds as int32


def _random_in(model: keras.Model) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Return the variables that are drawn, each with its initializer, and the states of generators, layer by layer."""
    drawn: list[tuple[Any, Any]] = []
    generators: list[Any] = []
    seen: set[int] = set()
    pending: list[Any] = list(model.layers)
    while pending:
        layer = pending.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        held = [*vars(layer).values(), *getattr(layer, "layers", ())]
        for value in held:
            if isinstance(value, keras.Layer):
                pending.append(value)
            elif isinstance(value, keras.random.SeedGenerator) and value.get_config()["seed"] is None:
                generators.append(value.state)
            elif isinstance(value, keras.Variable) and id(value) not in seen:
                seen.add(id(value))
                names = (f"{value.name}_initializer", f"{value.name.removesuffix('_kernel')}_initializer")
                found: Any = next((getattr(layer, name) for name in names if hasattr(layer, name)), None)
                if hasattr(found, "seed") and found.get_config().get("seed", 0) is None:
                    drawn.append((value, found))
    return drawn, generators


class _Given(keras.random.SeedGenerator):
    """A seed that is a tensor; Keras's initializers take integers and seed generators."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Any:
        """Return what Keras makes of an integer seed."""
        return tf.stack([self.seed, 0])


def _draw(initializer: Any, seed: Any, shape: tuple[int, ...], dtype: str) -> Any:
    return type(initializer)(**{**initializer.get_config(), "seed": seed})(shape, dtype=dtype)


def _drawing(initializer: Any, variable: Any) -> Callable[[Any], Any]:
    """Return the function from seeds to what an initializer draws from each for a variable, the seeds first."""
    shape, dtype = tuple(variable.shape), variable.dtype

    def draw(seed: Any) -> Any:
        return _draw(initializer, _Given(seed), shape, dtype)

    # Not compiled with XLA, which draws other numbers: Keras draws these before it compiles anything.
    every = tf.function(lambda seeds: tf.map_fn(draw, seeds, fn_output_signature=dtype), autograph=False)
    return every.get_concrete_function(tf.TensorSpec((None,), tf.int32))
