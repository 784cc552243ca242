"""The plugin under test: it is called below the registry's wrapper, on data that suits it, with other parameters."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import distribution
from typing import Any

import numpy as np

from lossreg import KINDS, Parameter, Registry
from lossreg._catalog import DOMAINS_GROUP
from lossreg._errors import ParameterError
from lossreg._source import REDUCTION
from lossreg._spec import is_created, is_number
from lossreg.checks import _arrays
from lossreg.checks._arrays import Array, close, first_of, not_finite, same
from lossreg.checks._domains import DOMAINS, WEIGHTS, Arrays, Domain, domain_of, order
from lossreg.checks._results import CheckFailed, CheckSkipped, one_line

REGISTRIES: dict[str, Registry] = {kind: KINDS[kind] for kind in ("loss", "regularizer")}
"""The kinds that have checks."""
NO_KIND = "no kind of data that is known fits"
UNKNOWN = "; see the check 'data'"
DECLARE = "Say which data it takes: lossreg_domain, or --domain."
CALLS = 10
"""How many times the same data are tried again."""
_UNSUITED = tuple(f"it raises {name}" for name in ("ValueError", "IndexError", "InvalidArgumentError"))
Change = dict[str, Any]
"""Other values of some parameters."""


def inner(made: Any) -> Any:
    """Return the plugin's own function or object, below the registry's wrapper."""
    from lossreg._bound import function_of  # imports Keras

    return function_of(made) if is_created(made) else made


@dataclass
class PluginUnderTest:
    """One plugin with the parameters that were asked for, and the kind of data to use, where it is known.

    Called with arrays, it returns the plugin's own value, below the registry's wrapper, as an array.
    """

    kind: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    domain_name: str | Callable[..., Any] | None = None

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{self.name}({shown})" if shown else self.name

    def __call__(self, *arrays: Array) -> Array:
        return _arrays.call(self.function, *arrays)

    def each(self, y_true: Array, y_pred: Array) -> list[Array]:
        """Return the value of each sample in a batch of its own."""
        return [self(y_true[i : i + 1], y_pred[i : i + 1]) for i in range(len(y_true))]

    def differentiate(self, *arrays: Array, dtype: str = "float32") -> tuple[Array, Array]:
        """Return value and gradient as arrays; a missing gradient is an array without elements."""
        return _arrays.differentiate(self.function, *arrays, dtype=dtype)

    @property
    def registry(self) -> Registry:
        return REGISTRIES[self.kind]

    @functools.cached_property
    def in_process(self) -> bool:
        """Whether it was registered in this process only."""
        return self.registry.find(self.name).registered is not None

    @functools.cached_property
    def target(self) -> Any:
        """The function, factory or class itself."""
        return self.registry.get(self.name)

    @functools.cached_property
    def docstring(self) -> str:
        """The docstring, and that of the method `call`."""
        return "\n".join(inspect.getdoc(x) or "" for x in (self.target, getattr(self.target, "call", None)) if x)

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the plugin itself; a Keras loss is held to it before it is reduced."""
        return tuple(p for p in self.registry.describe(self.name).parameters if p.default != REDUCTION)

    @property
    def numbers(self) -> dict[str, float]:
        """The parameters whose value is a real number, with the value."""
        values = {p.name: self.value_of(p) for p in self.parameters if p.type is not int}
        return {name: float(value) for name, value in values.items() if is_number(value)}

    def value_of(self, parameter: Parameter) -> Any:
        """Return a parameter's value: as asked for, or its default."""
        return self.params.get(parameter.name, parameter.default)

    def create(self, **params: Any) -> Any:
        """Create the registry's Keras object, with some parameters changed."""
        return self.registry.create(self.name, **{**self.params, **params})

    @functools.cached_property
    def made(self) -> Any:
        """The registry's Keras object."""
        return self.create()

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """The plugin's own callable, below the registry's wrapper."""
        return self.own(self.made)

    def own(self, made: Any) -> Callable[..., Any]:
        """Return what is called with arrays, below the registry: of a loss of Keras what computes per sample."""
        from lossreg._bound import unreduced  # imports Keras

        computes, unpack = unreduced(inner(made)), self.declared and self.declared.unpack
        return (lambda *arrays: computes(*unpack(*arrays))) if unpack else computes

    def hint(self, name: str) -> Any:
        """Return an attribute that the plugin's target, or what it made, may carry."""
        function = inner(self.made)
        candidates = (self.target, getattr(function, "func", None), function)
        return next((getattr(owner, name) for owner in candidates if hasattr(owner, name)), None)

    # Data.

    @functools.cached_property
    def declared(self) -> Domain | None:
        """The kind of data that it is said to take, if that is said: also by an entry point of its package."""
        if self.kind == "regularizer":
            return WEIGHTS
        plugin = self.registry.find(self.name)
        points = distribution(plugin.distribution).entry_points if plugin.distribution else ()
        by_package = (p.value for p in points if (p.group, p.name) == (DOMAINS_GROUP, plugin.name))
        named = self.domain_name or self.hint("lossreg_domain") or next(by_package, None)
        try:
            return domain_of(named) if named else None
        except ParameterError as error:
            raise CheckFailed(str(error).rstrip("."), "Name a kind of data that there is.") from None

    @functools.cached_property
    def accepted(self) -> list[tuple[Domain, tuple[Any, ...]]]:
        """Every kind of data of which it gives finite values, with the numbers of outputs, or the shapes of weights."""
        found: list[tuple[Domain, tuple[Any, ...]]] = []
        reasons = {""}
        for domain in [self.declared] if self.declared else DOMAINS.values():
            if domain.name == "outputs" and any(taken.elementwise and sizes == taken.sizes for taken, sizes in found):
                continue
            refused = dict.fromkeys(domain.sizes, "")
            for d in domain.sizes:
                try:
                    word = not_finite(self(*domain.sample(0, 7, d)))
                    refused[d] = f"its value is {word}" if word and not self.declared else ""
                except CheckFailed:
                    raise
                except Exception as error:
                    refused[d] = f"it raises {one_line(error)}"
            reasons |= {*refused.values()}
            if sizes := tuple(d for d, reason in refused.items() if not reason):
                found.append((domain, sizes))
        if not found:
            reason = min(reasons - {""})
            if not self.declared and any(each.startswith(_UNSUITED) for each in reasons):
                raise CheckSkipped(f"{NO_KIND}: {reason}", DECLARE)
            raise CheckFailed(f"on {self.declared.words if self.declared else 'every kind of data'} {reason}")
        return found

    @functools.cached_property
    def fitting(self) -> Domain | None:
        """The kind of data that it is made for: declared, or the first that fits; `None` if none does."""
        if self.declared:
            return self.declared
        meant = False  # whether it is lower away from some target, and means it
        for domain, sizes in self.accepted:
            # What takes one number of outputs alone gives them another meaning, unless it knows the number of classes.
            if sizes != domain.sizes and len({x.ndim for x in domain.sample(0, 1, sizes[0])}) == 1:
                continue
            found = 0.0
            with contextlib.suppress(Exception):
                found = order(self.function, domain, sizes)
            meant = meant or math.isnan(found)
            if found == 1 or (found == -1 and not meant):
                return domain
        return None

    @functools.cached_property
    def domain(self) -> Domain:
        """The kind of data that it is made for; where none fits, data of which nothing but finite values is known."""
        some = max((domain for domain, _ in self.accepted), key=lambda domain: domain.name == "outputs")
        unknown = replace(some, words="data of some kind", knows_ideal=False, edges=lambda d: {}, wrong=())
        return self.fitting or unknown

    @functools.cached_property
    def sizes(self) -> tuple[Any, ...]:
        """The numbers of outputs that the loss takes, or the shapes of weights that the regularizer takes."""
        return next(sizes for domain, sizes in self.accepted if domain.name == self.domain.name)

    def data(self, seed: int, n: int = 5, d: Any = None) -> Arrays:
        """Return ordinary data: targets and predictions of at least `n` samples, or weights."""
        return self.domain.sample(seed, n, self.sizes[0] if d is None else d)

    def everywhere(self, seed: int, n: int = 5) -> list[Arrays]:
        """Return ordinary data of every kind that it takes with targets of the same rank as its own kind has."""
        kinds = [domain.sample(seed, n, sizes[0]) for domain, sizes in self.accepted]
        found = [*(self.data(seed, n, d) for d in self.sizes), *kinds]
        return [x for x in found if len({a.ndim for a in x}) == len({a.ndim for a in found[0]})]

    @functools.cached_property
    def probes(self) -> list[Arrays]:
        """Data in which a parameter may show: ordinary, better and worse, small and large, and at the edges."""
        d = self.sizes[0]
        found = [self.data(1, 7, d), self.data(2, 7, self.sizes[-1])]
        if self.kind == "regularizer":
            return [*found, *((scale * found[0][0],) for scale in (0.1, 5))]
        if self.domain.knows_ideal:
            y_true, ideal, away, *_ = self.domain.contrast(3, 7, d)
            found += [(y_true, ideal), (y_true, away)]
        cases = self.domain.edges(d).values()
        edges = [case for case in cases if not any(map(not_finite, self.differentiate(*case)))]
        return [*found, tuple(np.concatenate(arrays) for arrays in zip(*edges, strict=True))] if edges else found

    # What is true of it.

    @functools.cached_property
    def compares_samples(self) -> str:
        """Why the samples of a batch may be compared with one another, or nothing."""
        if self.domain.batch > 1:
            return "the samples of a batch are compared with one another"
        if self.fitting:
            return ""
        y_true, y_pred = self.data(2, 7)
        value, other = self(y_true, y_pred), self(np.roll(y_true, 1, axis=0), y_pred)
        alone = value.ndim and len(value) == len(y_pred) and not close(value, other)
        return "" if alone else f"the samples may be compared with one another{UNKNOWN}"

    @functools.cached_property
    def broadcasts(self) -> str:
        """How it shows that every target is compared with every prediction although the ranks agree, or nothing."""
        from lossreg._tensors import CROSSED, crossing  # imports Keras

        kinds = [(self.fitting, self.sizes)] if self.fitting else self.accepted
        domain = next((domain for domain, sizes in kinds if domain.elementwise and 1 in sizes), None)
        if domain is None:
            return ""
        crossed = crossing(lambda: self.function, *_arrays.tensors(domain.sample(1, 5, 1))) == CROSSED
        return f"with shape (n, 1) for both, {CROSSED}" if crossed else ""

    @functools.cached_property
    def depends_on_data(self) -> bool:
        """Whether the value depends on the predictions, or the weights."""
        pairs = ((probe, (*probe[:-1], 0.37 * probe[-1][::-1])) for probe in self.probes)
        return any(not close(self(*a), self(*b), 1e-6) for a, b in pairs)

    @functools.cached_property
    def unsteady(self) -> str:
        """How it shows that the same data do not give the same value again, or nothing."""
        first, *others = [*self.probes, *self.everywhere(18)]
        before, values = self.differentiate(*first), [self(*other) for other in others]
        for i, j in zip(range(CALLS), itertools.cycle(range(len(others))), strict=False):
            after = [*self.differentiate(*first), self(*others[j])]
            for was, now in zip([*before, values[j]], after, strict=True):
                if not np.array_equal(was, now, equal_nan=True):
                    return f"the same data called {i + 2} times: {first_of(was, ' and then', now)}"
        touched = _arrays.touches_random_state(lambda: self(*first))
        return "a call changes the state of Python's or NumPy's global random generator" if touched else ""

    # Other parameters.

    def values(self, made: Any) -> list[Array]:
        """Return the values of the plugin on all probes."""
        return [_arrays.call(self.own(made), *probe) for probe in self.probes]

    def _fingerprint(self, params: Change) -> list[Array]:
        """Return values and gradients on all probes with some parameters changed; nothing if they are refused."""
        with contextlib.suppress(Exception):
            function = self.own(self.create(**params))
            return [x for probe in self.probes for x in _arrays.differentiate(function, *probe)]
        return []

    def _variants(self, parameter: Parameter) -> list[Change]:
        """Return changes of a parameter, by its type and value."""
        value, others = self.value_of(parameter), []
        if choices := _choices(parameter.type):
            others = [choice for choice in choices if choice is not None]
        elif isinstance(value, bool):
            others = [not value]
        elif parameter.name == "axis":
            others = [-2, 0, 1]
        elif isinstance(value, (int, float)):
            others = [value + 1, value - 1, value + 2] if isinstance(value, int) else []
            others += [2 * value, value / 2, value + 1, value + 0.1, value - 0.1, 1 - value, 10 * value, value / 10]
        elif value is None:
            others = [0.5, 2.0, 0, 1, True]
        return [{parameter.name: other} for other in dict.fromkeys(others) if other != value]

    @functools.cached_property
    def effects(self) -> dict[str, Change]:
        """By parameter, the changed parameters with which it shows; empty if it never does.

        A parameter may need another one to be turned on: `alpha` counts only with `apply_class_balancing`.
        Parameters that refuse every other value that was tried are left out.
        """
        found: dict[str, Change] = {}
        for parameter in self.parameters:
            changes = self._variants(parameter)
            shown = self._first_that_shows({}, changes)
            if not shown:
                accepted = [change for change in changes if self._fingerprint(change)][:3]
                # Another axis may be the same axis, counted from the other end; `None` says nothing of its type.
                if not accepted or parameter.name == "axis" or self.value_of(parameter) is None:
                    continue
                others = [other for p in self.parameters if p is not parameter for other in self._variants(p)[:3]]
                shown = next(filter(None, (self._first_that_shows(other, accepted) for other in others)), {})
            found[parameter.name] = shown
        return found

    def _first_that_shows(self, base: Change, changes: list[Change]) -> Change:
        """Return the first change that shows, with its base; nothing if none does."""
        before = self._fingerprint(base)
        both = [{**base, **change} for change in changes if before]
        return next((new for new in both if (after := self._fingerprint(new)) and not same(after, before)), {})


def _choices(kind: Any) -> list[Any]:
    """Return what a type allows by `Literal`, also inside of a union."""
    members = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return list(members)
    return [choice for member in members for choice in _choices(member)]
