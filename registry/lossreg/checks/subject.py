"""The plugin under test: it is called below the registry's wrapper, with other parameters, and differentiated."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import random
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lossreg
from lossreg._catalog import Registry
from lossreg._signature import Parameter
from lossreg.checks.domains import DOMAINS, EMBEDDINGS, LIKELY, UPGRADES, Domain, drawn
from lossreg.checks.report import Fault

Array = Any
REGISTRIES: dict[str, Registry] = {"loss": lossreg.losses, "regularizer": lossreg.regularizers}


def one_line(error: BaseException) -> str:
    """Return an exception as one short line."""
    text = " ".join(str(error).split()).partition(". ")[0]
    return f"{type(error).__name__}: {text[:160]}{'…' if len(text) > 160 else ''}"


@functools.cache
def tensorflow() -> Any:
    """Import TensorFlow at the first use."""
    return importlib.import_module("tensorflow")


def to_numpy(tensor: Any) -> Array:
    """Return a tensor as an array; bfloat16 and integers become floats that NumPy can compare."""
    array = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    return array.astype(np.float32) if array.dtype.kind not in "fcO" or array.dtype.itemsize < 4 else array


@dataclass
class Subject:
    """One plugin with its parameters.

    Arguments:
        kind: `"loss"` or `"regularizer"`.
        name: its registered name.
        params: the parameters that were asked for.
        domain_name: the kind of data to use, where it is known.
        in_process: whether it was registered only in this process.
        memory: what the checks found out so far, by name; a check may build on an earlier one.
    """

    kind: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    domain_name: str | None = None
    in_process: bool = False
    memory: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{self.name}({shown})" if shown else self.name

    @property
    def registry(self) -> Registry:
        """The registry that holds the plugin."""
        return REGISTRIES[self.kind]

    @functools.cached_property
    def target(self) -> Any:
        """The function, factory or class itself."""
        return self.registry.get(self.name)

    @functools.cached_property
    def docstring(self) -> str:
        """The docstring, and that of `call` or `__call__`."""
        call = getattr(self.target, "call", None) if isinstance(self.target, type) else None
        return f"{inspect.getdoc(self.target) or ''}\n{inspect.getdoc(call) or ''}"

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its hyperparameters."""
        return self.registry.describe(self.name).parameters

    def value_of(self, parameter: Parameter) -> Any:
        """Return a parameter's value: as asked for, or its default."""
        return self.params.get(parameter.name, parameter.default)

    def create(self, **params: Any) -> Any:
        """Create the registry's Keras object, with some parameters changed."""
        return self.registry.create(self.name, **{**self.params, **params})

    @functools.cached_property
    def object(self) -> Any:
        """The registry's Keras object."""
        return self.create()

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """The plugin's own callable, below the registry's wrapper."""
        return own(self.object)

    @property
    def is_keras_class(self) -> bool:
        """Whether the plugin is a Keras class of its own, which Keras calls as it is."""
        import keras

        return isinstance(self.object._function, (keras.losses.Loss, keras.regularizers.Regularizer))

    def hint(self, name: str) -> Any:
        """Return an attribute that the plugin's target, or what it made, may carry."""
        function = self.object._function
        candidates = (self.target, getattr(function, "func", None), function)
        return next((getattr(owner, name) for owner in candidates if hasattr(owner, name)), None)

    # Losses: which data.

    @functools.cached_property
    def domain(self) -> Domain:
        """The kind of data that the loss is made for: named, or found by trying.

        Raises:
            Fault: if the loss raises on every kind of data, or if the named kind does not exist.
        """
        named = self.domain_name or self.hint("lossreg_domain")
        if callable(named):
            return drawn(named)
        if named is not None:
            if named not in DOMAINS:
                raise Fault(f"there is no kind of data '{named}'", f"Choose one of: {', '.join(DOMAINS)}.")
            return DOMAINS[named]
        return _find_domain(self.function)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of outputs that the loss takes."""
        sizes = tuple(d for d in self.domain.sizes if self._error(d) is None)
        if not sizes:
            error = self._error(self.domain.sizes[0])
            raise Fault(
                f"{self.domain.words}: it raises {one_line(error) if error else ''}",
                "Make it take (y_true, y_pred), or say which data it takes by the attribute lossreg_domain.",
            )
        return sizes

    def _error(self, d: int) -> Exception | None:
        try:
            call(self.function, *self.batch(0, d=d))
        except Exception as error:
            return error
        return None

    def batch(self, seed: int, n: int | None = None, d: int | None = None) -> tuple[Array, Array]:
        """Return targets and ordinary predictions."""
        d = self.sizes[0] if d is None else d
        return self.domain.sample(seed, n or max(4, self.domain.batch), d)

    @functools.cached_property
    def scalar(self) -> bool:
        """Whether a batch has one value instead of one per sample."""
        return np.ndim(call(self.function, *self.batch(0))) == 0

    @functools.cached_property
    def broadcasts(self) -> str | None:
        """Whether every target is compared with every prediction although the ranks agree: how it shows."""
        if not self.domain.elementwise or 1 not in self.sizes:
            return None
        n = 5
        y_true, y_pred = self.batch(1, n, 1)
        pairs = np.array([[call(self.function, y[None], p[None]).sum() for p in y_pred] for y in y_true])
        together = call(self.function, y_true, y_pred)
        if together.size > n:
            return f"targets and predictions of shape ({n}, 1) gave values of shape {together.shape}"
        alone = np.diag(pairs)
        reductions: tuple[Callable[..., Any], ...] = (np.mean, np.sum)
        if together.ndim == 0:
            if any(close(together, reduce(alone)) for reduce in reductions):
                return None
            crossed = any(close(together, reduce(pairs)) for reduce in reductions)
            return "the value is that of all pairs of targets and predictions" if crossed else None
        together = together.reshape(n, -1).mean(axis=1) if together.size == n else together
        if together.shape != alone.shape or close(together, alone):
            return None
        for axis, who in ((0, "prediction with every target"), (1, "target with every prediction")):
            if any(close(together, reduce(pairs, axis=axis)) for reduce in reductions):
                return f"with targets and predictions of shape ({n}, 1) each value compares one {who}"
        return None

    # Regularizers: which weights.

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """A shape of weights that the regularizer takes, a matrix if it can."""
        errors = []
        for shape in WEIGHT_SHAPES:
            try:
                call(self.function, weights(0, shape))
            except Exception as error:
                errors.append(one_line(error))
            else:
                return shape
        raise Fault(f"weights of shape {WEIGHT_SHAPES[0]}: it raises {errors[0]}", "Make it take one tensor.")

    def probes(self) -> Iterator[tuple[Array, ...]]:
        """Yield inputs in which a parameter may show: ordinary ones, better and worse ones, and the edges."""
        if self.kind == "regularizer":
            for scale in (0.1, 1, 5):
                yield (scale * weights(1, self.shape),)
            return
        first, *others = self.sizes
        n = max(7, self.domain.batch)
        yield self.batch(1, n, first)
        for d in others or [first]:
            yield self.batch(2, n, d)
        if self.domain.ideal:
            y_true, ideal, away = self.domain.contrast(3, n, first)
            yield y_true, ideal
            yield y_true, away
        if cases := self.domain.edges(first):
            yield np.concatenate([c.y_true for c in cases]), np.concatenate([c.y_pred for c in cases])

    def values(self, function: Callable[..., Any]) -> list[Array]:
        """Return the values of a callable on all probes."""
        return [call(function, *probe) for probe in self.probes()]

    def fingerprint(self, function: Callable[..., Any]) -> list[Array]:
        """Return values and gradients of a callable on all probes."""
        return list(itertools.chain.from_iterable(differentiate(function, *probe) for probe in self.probes()))

    @functools.cached_property
    def own_fingerprint(self) -> list[Array]:
        """The fingerprint with the parameters that were asked for."""
        return self.fingerprint(self.function)

    def differs(self, **params: Any) -> bool | None:
        """Whether other parameters change a value or a gradient anywhere; `None` if they are refused."""
        try:
            return not same(self.fingerprint(own(self.create(**params))), self.own_fingerprint)
        except Exception:
            return None

    def variants(self, parameter: Parameter) -> list[Any]:
        """Return other values for a parameter, by its type and value."""
        value = self.value_of(parameter)
        literals = [choice for t in _members(parameter.type) for choice in typing.get_args(t)]
        if typing.get_origin(parameter.type) is typing.Literal:
            literals = list(typing.get_args(parameter.type))
        if literals:
            return [choice for choice in literals if choice != value and choice is not None]
        if isinstance(value, bool):
            return [not value]
        if parameter.name == "axis":
            return [-2, 0, 1]
        if isinstance(value, (int, float)):
            numbers = [2 * value, value / 2, value + 1, value + 0.1, value - 0.1, 1 - value, 10 * value, value / 10]
            if isinstance(value, int):
                numbers = [value + 1, value - 1, value + 2, *numbers]
            return [number for number in dict.fromkeys(numbers) if number != value]
        if value is None:
            return [0.5, 2.0, 0, 1, True]
        return []

    @functools.cached_property
    def effects(self) -> dict[str, dict[str, Any]]:
        """By parameter, the changed parameters with which it shows; empty if it never does.

        A parameter may need another one to be turned on: `alpha` counts only with `apply_class_balancing`.
        Parameters that refuse every other value that was tried are left out.
        """
        if "effects" not in self.memory:
            found: dict[str, dict[str, Any]] = {}
            for parameter in self.parameters:
                changes = [{parameter.name: value} for value in self.variants(parameter)]
                verdicts = [(change, self.differs(**change)) for change in changes]
                shown = next((change for change, differs in verdicts if differs), None)
                accepted = [change for change, differs in verdicts if differs is False]
                if shown is not None:
                    found[parameter.name] = shown
                # Another axis may be the same axis, counted from the other end; `None` says nothing of its type.
                elif accepted and parameter.name != "axis" and self.value_of(parameter) is not None:
                    found[parameter.name] = self._effect_with_another(parameter, accepted)
            self.memory["effects"] = found
        return typing.cast("dict[str, dict[str, Any]]", self.memory["effects"])

    def _effect_with_another(self, parameter: Parameter, accepted: list[dict[str, Any]]) -> dict[str, Any]:
        for other in self.parameters:
            if other.name == parameter.name:
                continue
            for value in self.variants(other)[:3]:
                try:
                    base = self.fingerprint(own(self.create(**{other.name: value})))
                except Exception:
                    continue
                for change in accepted[:3]:
                    both = {**change, other.name: value}
                    try:
                        if not same(self.fingerprint(own(self.create(**both))), base):
                            return both
                    except Exception:
                        continue
        return {}

    def float_parameters(self) -> list[str]:
        """Return the names of the parameters whose value is a real number."""
        return [
            parameter.name
            for parameter in self.parameters
            if not isinstance(value := self.value_of(parameter), bool)
            and isinstance(value, (int, float))
            and parameter.type is not int
        ]


WEIGHT_SHAPES = ((3, 4), (6,), (2, 3, 4), (2, 2, 3, 4))


def weights(seed: int, shape: tuple[int, ...]) -> Array:
    """Return ordinary weights: none is near zero, no two rows are alike."""
    generator = np.random.default_rng([seed, *shape])
    return generator.choice([-1, 1], size=shape) * generator.uniform(0.1, 1.5, size=shape)


def own(wrapped: Any) -> Callable[..., Any]:
    """Return the plugin's own callable of a registry's object; that of a Keras loss computes per sample."""
    return unreduced(wrapped._function)


def unreduced(function: Any) -> Callable[..., Any]:
    """Return what a plugin's object is called by: a Keras loss by what computes per sample."""
    from lossreg import _bound  # imports Keras

    return _bound.unreduced(function)


def tensors(inputs: tuple[Array, ...], dtype: str = "float32") -> list[Any]:
    """Return arrays as tensors of one dtype, as Keras hands them over."""
    return [tensorflow().convert_to_tensor(np.asarray(x), dtype=dtype) for x in inputs]


def call(function: Callable[..., Any], *inputs: Array, dtype: str = "float32") -> Array:
    """Return the value of a plugin as an array."""
    value = function(*tensors(inputs, dtype))
    if callable(value) and not hasattr(value, "shape"):
        raise TypeError("it returned a function when it was called with the data")
    array = to_numpy(value)
    if array.dtype.kind != "f":
        raise TypeError(f"it returned {value!r}, not a number")
    return array


def value_and_gradient(function: Callable[..., Any], *inputs: Any) -> tuple[Any, Any]:
    """Return value, and gradient of its sum by the last input, as tensors; the gradient may be `None`."""
    tf = tensorflow()
    with tf.GradientTape() as tape:
        tape.watch(inputs[-1])
        value = tf.convert_to_tensor(function(*inputs))
    if not value.dtype.is_floating:
        return value, None
    return value, tape.gradient(value, inputs[-1])


def differentiate(function: Callable[..., Any], *inputs: Array, dtype: str = "float32") -> tuple[Array, Array]:
    """Return value and gradient as arrays; a missing gradient is an array without elements."""
    value, gradient = value_and_gradient(function, *tensors(inputs, dtype))
    return to_numpy(value), np.empty(0) if gradient is None else to_numpy(tensorflow().convert_to_tensor(gradient))


def differentiator(
    function: Callable[..., Any], *inputs: Array, dtype: str = "float32"
) -> Callable[..., tuple[Array, Array]]:
    """Return `differentiate` for many inputs of one shape: as a graph, which is faster, where that gives the same."""
    tf = tensorflow()

    def eager(*arrays: Array) -> tuple[Array, Array]:
        return differentiate(function, *arrays, dtype=dtype)

    graph = tf.function(functools.partial(value_and_gradient, function), autograph=False)

    def traced(*arrays: Array) -> tuple[Array, Array]:
        value, gradient = graph(*tensors(arrays, dtype))
        return to_numpy(value), np.empty(0) if gradient is None else to_numpy(tf.convert_to_tensor(gradient))

    try:
        agree = all(map(close, traced(*inputs), eager(*inputs)))
    except Exception:
        agree = False
    return traced if agree else eager


def close(a: Array, b: Array, tolerance: float = 1e-4) -> bool:
    """Whether two arrays agree to a tolerance relative to their largest element; NaN equals NaN."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape:
        return False
    finite = np.isfinite(b)
    scale = float(np.abs(b[finite]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance * scale + 1e-30, equal_nan=True))


def same(a: list[Array], b: list[Array]) -> bool:
    """Whether two fingerprints agree but for rounding."""
    return all(
        x.shape == y.shape and np.allclose(x, y, rtol=1e-5, atol=1e-7 * _typical(y), equal_nan=True)
        for x, y in zip(a, b, strict=True)
    )


def _typical(x: Array) -> float:
    sizes = np.abs(x[np.isfinite(x) & (x != 0)])
    return float(np.median(sizes)) if sizes.size else 0.0


def _members(annotation: Any) -> Mapping[Any, None]:
    return dict.fromkeys(t for t in typing.get_args(annotation) if typing.get_origin(t) is typing.Literal)


def touches_random_state(function: Callable[[], Any]) -> bool:
    """Whether a call draws from, or seeds, Python's or NumPy's global generator; both are left as they were."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(271828)
        np.random.seed(271828)  # noqa: NPY002
        before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
        function()
        return before != (random.getstate(), repr(np.random.get_state()))  # noqa: NPY002
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


def _find_domain(function: Callable[..., Any]) -> Domain:
    """Find the kind of data of which a loss makes sense: finite, and lowest at the target.

    Every sample is tried alone, so that a fault of batching does not hide the domain. Highest at the target counts
    too: such a loss has its sign flipped.
    """
    if _compares_embeddings(function):
        return EMBEDDINGS
    orders: dict[str, float] = {}
    errors: list[str] = []
    for domain in DOMAINS.values():
        if domain is EMBEDDINGS:
            continue
        try:
            orders[domain.name] = _order(function, domain)
        except Exception as error:
            errors.append(one_line(error))
            continue
        if abs(orders[domain.name]) == 1:
            upgrade = DOMAINS.get(UPGRADES.get(domain.name, ""))
            return upgrade if upgrade and _takes_logits(function, upgrade, domain) else domain
    # Neither: a loss of a whole batch, or a faulty one.
    likely = [name for name in (*LIKELY, *orders) if name in orders]
    if not likely:
        raise Fault(
            f"it raises on every kind of data, first {errors[0]}",
            "Make it take (y_true, y_pred), or say which data it takes by the attribute lossreg_domain.",
        )
    return DOMAINS[next((name for name in likely if not np.isnan(orders[name])), likely[0])]


def _order(function: Callable[..., Any], domain: Domain) -> float:
    """Return 1 if every ideal prediction is below every worse one, -1 if above, 0 if neither, NaN if not finite."""
    orders = set()
    errors: list[Exception] = []
    for d in domain.sizes:
        y_true, ideal, away = domain.contrast(0, 8, d)
        try:
            low = np.array([call(function, y, p).mean() for y, p in _rows(y_true, ideal)])
            high = np.array([call(function, y, p).mean() for y, p in _rows(y_true, away)])
        except Exception as error:
            errors.append(error)
            continue
        if not np.isfinite([*low, *high]).all():
            return float("nan")
        drawn_true, drawn_pred = domain.sample(1, 8, d)
        for change in domain.invariances:
            if not close(call(function, drawn_true, change(drawn_pred)), call(function, drawn_true, drawn_pred)):
                return 0.0
        found = _signs(high - low)
        if 0 in found and np.ndim(call(function, y_true, ideal)) == 0:
            # A score of a whole batch may not tell single samples apart: change one of many.
            worse = [np.where(np.arange(8).reshape(-1, *[1] * (ideal.ndim - 1)) == i, away, ideal) for i in range(8)]
            found = _signs(np.array([call(function, y_true, p) for p in worse]) - call(function, y_true, ideal))
        for change in domain.also_away:
            found |= _signs(np.array([call(function, y, p).mean() for y, p in _rows(y_true, change(ideal))]) - low) - {
                0
            }
        orders |= found
    if not orders:
        raise errors[0]
    return float(orders.pop()) if len(orders) == 1 else 0.0


def _rows(y_true: Array, y_pred: Array) -> list[tuple[Array, Array]]:
    return [(y_true[i : i + 1], y_pred[i : i + 1]) for i in range(len(y_true))]


def _signs(differences: Array) -> set[float]:
    return {float(sign) for sign in np.sign(np.where(np.abs(differences) > 1e-6, differences, 0))}


def _takes_logits(function: Callable[..., Any], logits: Domain, probabilities: Domain) -> bool:
    """Whether a loss that makes sense of probabilities makes more of logits: they are not clipped."""
    try:
        if _order(function, logits) != 1:
            return False
        d = next(d for d in reversed(logits.sizes) if _runs(function, logits, d))
        y_true, ideal, away = logits.contrast(0, 8, d)
        pushed = differentiate(function, y_true, away)[1]
        y_near, near, _ = probabilities.contrast(0, 8, d)
        moved = np.abs(pushed) > 1e-6 if d == 1 else (np.abs(pushed) > 1e-6).any(axis=-1)
        if not np.isfinite(call(function, *logits.sample(1, 8, d))).all():
            return False
        lower = call(function, y_true, ideal).mean() < 0.5 * call(function, y_near, near).mean()
    except Exception:
        return False
    return bool(moved.all() and lower)


def _runs(function: Callable[..., Any], domain: Domain, d: int) -> bool:
    try:
        call(function, *domain.sample(0, 4, d))
    except Exception:
        return False
    return True


def _compares_embeddings(function: Callable[..., Any]) -> bool:
    """Whether a loss depends on which labels are equal, but not on what they are."""
    d, n = EMBEDDINGS.sizes[0], 8
    try:
        y_true, y_pred = EMBEDDINGS.sample(0, n, d)
        value = call(function, y_true, y_pred)
        renamed = call(function, np.choose(np.searchsorted([11, 17, 23], y_true), [23.0, 11.0, 29.0]), y_pred)
        regrouped = call(function, np.roll(y_true, 1), y_pred)
        slope = differentiate(function, y_true, y_pred)[1]
    except Exception:
        return False
    return bool(
        slope.size and np.isfinite(value).all() and np.array_equal(value, renamed) and not close(value, regrouped)
    )
