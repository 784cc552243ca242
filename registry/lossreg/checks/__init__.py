"""Checks that hold any loss or regularizer to the contract.

A plugin author's whole test file:

```python
from lossreg import checks

@checks.parametrize("focal", gamma=3.0, skip={"minimum": "the targets are smoothed"})
def test_focal(check):
    check()
```

On the command line: `python -m lossreg check focal gamma=3.0`. In a program: `checks.check("focal", gamma=3.0)`.

A plugin may say what the checks cannot find out, by attributes of the function or class, importing nothing of ours:
`lossreg_domain = "categorical"` names its kind of data (one of `DOMAINS`, or a function `(generator, n) -> (y_true,
y_pred)`), and `lossreg_per_sample = False` declares that its value is one scalar for the batch. An entry point of the
loss's name in the group `lossreg.domains` of its package names the kind of data as well.

Importing this package imports neither TensorFlow nor Keras; running a check does.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lossreg._errors import AmbiguousNameError, ParameterError, RegistryError, UnknownNameError, did_you_mean
from lossreg.checks import _fresh, _losses, _regularizers
from lossreg.checks._arrays import not_finite
from lossreg.checks._domains import DOMAINS, domain_of
from lossreg.checks._plugin import REGISTRIES, PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, NotPassed, Result, Verdict, one_line, skip_if
from lossreg.checks._shared import Check

__all__ = ["CHECKS", "DOMAINS", "Result", "Verdict", "check", "check_all", "kind_of", "parametrize"]

Target = str | Callable[..., Any]

CHECKS: dict[str, dict[str, Check]] = {"loss": _losses.CHECKS, "regularizer": _regularizers.CHECKS}
"""The checks by kind and name, in the order in which they run."""

_TERMS = {"loss": "mean_squared_error", "regularizer": "l2custom"}

_OF_ONE_CALL = {"data", "scalar", "state"}
"""The checks for which two calls with the same data may differ."""

# What classes of Keras 3.15 itself cannot do; where a release repairs one, the check simply passes.
_KNOWN_OF_KERAS = {
    ("CategoricalGeneralizedCrossEntropy", "ranks"): "labels of shape (n, 1) are compared with every prediction",
    ("CategoricalGeneralizedCrossEntropy", "finite"): "p ** q has an infinite gradient at p = 0",
    ("CosineSimilarity", "config"): "its get_config leaves axis out; the registry saves it",
    ("Huber", "config"): "its get_config leaves delta out; the registry saves it",
    ("KLDivergence", "finite"): "the quotient of 1 and its guard of 1e-7 is infinite in float16",
    ("OrthogonalRegularizer", "dtypes"): "it holds its factor as float32, so that other weights raise",
}


def check(
    target: Target,
    /,
    *,
    kind: str | None = None,
    domain: str | Callable[..., Any] | None = None,
    skip: Mapping[str, str] | None = None,
    **params: Any,
) -> list[Result]:
    """Hold one plugin to the contract.

    Arguments:
        target: a registered name, or a function, factory or class that is registered nowhere.
        kind: `"loss"` or `"regularizer"`; needed for a name that is both. What is registered nowhere is a loss
            unless its class or this says otherwise.
        domain: the kind of data to use: one of `DOMAINS`, `"module:function"`, or a function `(generator, n) ->
            (y_true, y_pred)`; declared by the plugin, or found by trying, if left out.
        skip: checks not to run, by name, each with the reason.
        **params: the parameters to check it with.

    Returns:
        One result per check, in the order of `CHECKS`.

    Raises:
        UnknownNameError, AmbiguousNameError, ParameterError, BrokenPluginError: as `Registry.create`; ParameterError
            also for a domain that there is not.

    Example:

    >>> from lossreg import checks
    >>> def absolute(y_true, y_pred):
    ...     return abs(y_true - y_pred)
    >>> [result.check for result in checks.check(absolute) if result.verdict == "fail"]
    []
    """
    with _registered(target, kind) as (kind, name):
        reasons = _reasons(kind, skip)
        plugin = PluginUnderTest(kind, name, params, domain)
        _ = plugin.made, domain and domain_of(domain)  # a usage error is raised here and not by every check
        if not plugin.in_process:
            _fresh.start()  # it imports Keras while this process checks
        return [_run(plugin, check_name, reasons.get(check_name)) for check_name in CHECKS[kind]]


def check_all(*, kind: str | None = None) -> Iterator[Result]:
    """Hold every registered plugin to the contract, with its default parameters.

    A parameter without a default is given 0.5 where a number fits, and a simple plugin where plugins are composed;
    where neither fits, the plugin is skipped with the reason. A plugin that cannot be imported is a fault.

    Arguments:
        kind: `"loss"` or `"regularizer"`; both if left out.

    Yields:
        The results, plugin by plugin.
    """
    for each in REGISTRIES if kind is None else [kind]:
        first, registry = next(iter(CHECKS[each])), REGISTRIES[each]
        for name in registry.names():
            try:
                required = [p for p in registry.describe(name).parameters if p.required]
                term = {"term": {"name": _TERMS[each]}}
                params: dict[str, Any] = {p.name: term if p.takes_plugins else 0.5 for p in required}
                yield from check(name, kind=each, **params)
            except ParameterError as error:
                yield Result(name, each, first, Verdict.SKIP, str(error), f"Run: check {name} <parameter>=<value>")
            except RegistryError as error:
                yield Result(name, each, first, Verdict.FAIL, str(error), "Repair or uninstall the package.")


def parametrize(
    *targets: Target,
    kind: str | None = None,
    domain: str | Callable[..., Any] | None = None,
    skip: Mapping[str, str] | None = None,
    **params: Any,
) -> Any:
    """Decorate a pytest test so that it runs once per check; the test takes `check` and calls it.

    Collecting imports neither TensorFlow nor the plugin.

    Arguments:
        *targets: names, functions or classes.
        kind, domain, skip: as `check` takes them.
        **params: the parameters to check with, the same for all targets.

    Raises:
        UnknownNameError, AmbiguousNameError: if a name is not registered, or is both a loss and a regularizer.
        ParameterError: if `skip` names a check that does not exist.
    """
    import pytest

    cases = []
    for target in targets:
        with _registered(target, kind) as (kind_, name):
            plugin = PluginUnderTest(kind_, name, params, domain)
        reasons = _reasons(kind_, skip)
        for check_name in CHECKS[kind_]:
            run = functools.partial(_require, target, plugin, check_name, reasons.get(check_name))
            cases.append(pytest.param(run, id=f"{plugin}-{check_name}"))
    return pytest.mark.parametrize("check", cases)


def kind_of(name: str, kind: str | None = None) -> str:
    """Return whether a name is a loss or a regularizer; raises UnknownNameError or AmbiguousNameError."""
    found = [kind] if kind else [each for each, registry in REGISTRIES.items() if registry.matches(name)]
    if len(found) > 1:
        raise AmbiguousNameError(f"'{name}' is a loss and a regularizer. Say which one: kind loss or regularizer.")
    if found:
        REGISTRIES[found[0]].find(name)
        return found[0]
    names = "; ".join(f"{each}: {', '.join(registry)}" for each, registry in REGISTRIES.items())
    hint = did_you_mean(name, itertools.chain(*REGISTRIES.values()))
    raise UnknownNameError(f"There is no loss or regularizer '{name}'.{hint} Available: {names}.")


@contextlib.contextmanager
def _registered(target: Target, kind: str | None) -> Iterator[tuple[str, str]]:
    """Yield kind and name of a target, registered for as long as it is checked if it is not a name."""
    if kind not in (None, *REGISTRIES):
        raise ParameterError(f"There is no kind '{kind}'. Choose {' or '.join(REGISTRIES)}.")
    if isinstance(target, str):
        yield kind_of(target, kind), target
        return
    if kind is None:
        bases = {base.__name__ for base in getattr(target, "__mro__", ())}
        kind = "regularizer" if "Regularizer" in bases else "loss"
    registry = REGISTRIES[kind]
    bare = getattr(target, "__name__", type(target).__name__)
    names = itertools.chain([bare], (f"{bare}_{i}" for i in itertools.count(2)))
    name = next(name for name in names if not registry.matches(name))
    registry.register(name)(target)
    try:
        yield kind, name
    finally:
        registry.unregister(name)


def _reasons(kind: str, skip: Mapping[str, str] | None) -> Mapping[str, str]:
    for name in set(skip or ()) - set(CHECKS[kind]):
        hint = did_you_mean(name, CHECKS[kind])
        raise ParameterError(f"There is no check '{name}'.{hint} Checks of a {kind}: {', '.join(CHECKS[kind])}.")
    return skip or {}


def _require(target: Target, plugin: PluginUnderTest, check_name: str, reason: str | None) -> None:
    """Run one check in a test of pytest; an assertion says what the plugin fails."""
    import pytest

    with _registered(target, plugin.kind):
        found = _run(plugin, check_name, reason)
    if found.verdict is Verdict.SKIP:
        pytest.skip(found.seen)
    assert found.verdict is Verdict.PASS, str(found)


def _run(plugin: PluginUnderTest, check_name: str, reason: str | None = None) -> Result:
    """Run one check of a plugin, unless there is a reason not to."""
    result = functools.partial(Result, str(plugin), plugin.kind, check_name)
    check = CHECKS[plugin.kind][check_name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # data that a loss is not made for is tried on purpose
            skip_if(reason := reason or _consequence(plugin, check_name), reason)
            return result(Verdict.PASS, check(plugin))
    except NotPassed as error:
        ended = error
    except Exception as error:
        ended = CheckFailed(f"it raises {one_line(error)}", "Take any data of the kind it is made for.")
    if ended.verdict is Verdict.SKIP:
        return result(Verdict.SKIP, ended.seen, ended.advice)
    own = type(inner(plugin.made))
    known = _KNOWN_OF_KERAS.get((own.__name__, check_name))
    if known and own.__module__.partition(".")[0] == "keras":  # a subclass of it is on its own
        return result(Verdict.SKIP, f"known of Keras itself: {known}")
    documented = " ".join((check.__doc__ or "").partition("\n\n")[2].split())
    return result(Verdict.FAIL, ended.seen, ended.advice or documented)


def _consequence(plugin: PluginUnderTest, check_name: str) -> str:
    """Say which other check tells why this one cannot; an empty string if it can."""
    first = next(iter(CHECKS[plugin.kind]))
    if check_name == first:
        return ""
    try:
        value = plugin(*plugin.data(0))
    except NotPassed:
        return f"no data is found that it takes; see the check '{first}'"
    if check_name != "finite" and not_finite(value):
        return "its value is not finite on ordinary data; see the check 'finite'"
    steady = check_name in _OF_ONE_CALL or not plugin.unsteady
    return "" if steady else "a call depends on earlier calls; see the check 'state'"
