"""Whether a plugin's code takes a tensor where it took a number; if not, an error that says whose code, and where."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import Any

import numpy as np
import tensorflow as tf

from lossreg.training.errors import CannotVectorizeError
from lossreg.training.groups import CATALOGS, PLUGINS, targets_of

Nodes = Mapping[str, Mapping[str, Any]]
"""The config nodes of the plugins, by config key: `{"loss": {"name": "mix", "r": 0.8}, …}`."""

_HAVE_SOURCE = (type, FunctionType)


def create(key: str, nodes: Nodes, numbers: Mapping[str, Any], *, step: Any, raws: Mapping[str, Any]) -> Any:
    """Create the loss or the regularizer of a node, with some of its parameters replaced.

    Arguments:
        key: `"loss"` or `"reg"`.
        nodes: the config nodes.
        numbers: values or tensors by config key, such as `"loss.r"`; those of other keys are ignored.
        step: the step that its schedules follow.
        raws: what is trained of its variables, by config key; those of other keys are ignored.
    """
    node = with_numbers(numbers, nodes[key], key)
    created = PLUGINS[key].create(node.pop("name"), **node)
    created.follow(step)
    for path, number in created.numbers.items():
        if (raw := raws.get(f"{key}.{path}")) is not None:
            number.share(raw)
    return created


def probe(key: str, nodes: Nodes, numbers: Mapping[str, float], raws: Mapping[str, float], *data: np.ndarray) -> None:
    """Trace a plugin with tensors for its numbers, and hold its value against the one that it has with numbers.

    Arguments:
        key: `"loss"` or `"reg"`.
        nodes: the config nodes.
        numbers: by config key, what is to be a tensor.
        raws: by config key, what is trained of variables.
        *data: what the plugin is called with.

    Raises:
        CannotVectorizeError: if the plugin raises, has another value, draws random numbers, or keeps a state.
    """

    def call(numbers: Mapping[str, Any], data: list[Any]) -> Any:
        tensors = {name: tf.constant(raw, tf.float32) for name, raw in raws.items()}
        return create(key, nodes, numbers, step=tf.constant(0), raws=tensors)(*data)

    tensors = [tf.constant(values, tf.float32) for values in data]
    varying = {name: tf.constant(value, tf.float32) for name, value in numbers.items() if name.startswith(f"{key}.")}
    names = " and ".join(f"'{name.removeprefix(f'{key}.')}'" for name in varying) or "its data"
    with refused({key: nodes[key]}, f"with a tensor for {names}, it raised"):
        traced = tf.function(call, autograph=False).get_concrete_function(varying, tensors)
        value = float(traced(varying, tensors))
        alone = float(call({name: numbers[name] for name in varying}, tensors))
    owner = _owner(key, nodes[key])
    # keras.random with a seed of its own is stateless, and fine.
    if stateful := [op.type for op in traced.graph.get_operations() if op.op_def.is_stateful]:
        raise CannotVectorizeError(f"{owner}: it has side effects, such as random numbers or a state ({stateful[0]})")
    if not np.isclose(value, alone, rtol=1e-5, atol=1e-6, equal_nan=True):
        raise CannotVectorizeError(f"{owner}: with a tensor for {names} its value is {value:g}, else {alone:g}")


@contextmanager
def refused(nodes: Nodes, what: str) -> Iterator[None]:
    """Turn any error of the block into a `CannotVectorizeError`; trained alone, a broken plugin speaks for itself.

    Arguments:
        nodes: the config nodes of the plugins that may be at fault.
        what: what was done with them, for the message.
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ or error
        message = str(cause).strip().partition("\n")[0]
        where = _line(cause, targets_of(nodes))
        owners = " with ".join(_owner(key, node) for key, node in nodes.items())
        raise CannotVectorizeError(f"{owners}: {what} {type(cause).__name__}: {message}{where}") from error


def with_numbers(numbers: Mapping[str, Any], node: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return a node with the values that `numbers` holds for it, and for the nodes inside it."""
    return {
        name: with_numbers(numbers, value, f"{path}.{name}")
        if isinstance(value, Mapping)
        else numbers.get(f"{path}.{name}", value)
        for name, value in node.items()
    }


def _line(error: BaseException, targets: Iterable[Any]) -> str:
    """Return the innermost line of the plugins' own files at which an error arose, as `" (file:line: code)"`."""
    files = set()
    for target in targets:
        with suppress(TypeError):  # what C defines has no file
            files.add(inspect.getsourcefile(target if isinstance(target, _HAVE_SOURCE) else type(target)))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f" ({frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""


def _owner(key: str, node: Mapping[str, Any]) -> str:
    plugin = CATALOGS[key].find(node["name"])
    return f"{CATALOGS[key].kind.noun} '{plugin.name}' ({plugin.origin})"
