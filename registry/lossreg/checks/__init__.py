"""The contract: what every loss and regularizer can be held to, as checks that run.

A plugin author's whole test file:

```python
from lossreg import checks

@checks.parametrize("focal", gamma=3.0)
def test_focal(check):
    check()
```

On the command line: `python -m lossreg check focal gamma=3.0`. In a program: `checks.check("focal", gamma=3.0)`.

A plugin may say what the checks cannot find out, by attributes of the function or class, importing nothing of ours:
`lossreg_domain = "categorical"` names its kind of data (one of `DOMAINS`, or a function `(generator, n) -> (y_true,
y_pred)`), and `lossreg_per_sample = False` declares that its value is one scalar for the batch.

Importing this package imports neither TensorFlow nor Keras; running a check does.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lossreg._errors import AmbiguousNameError, ParameterError, RegistryError, UnknownNameError, did_you_mean
from lossreg.checks import losses, regularizers
from lossreg.checks.domains import DOMAINS
from lossreg.checks.known import known_of_keras
from lossreg.checks.report import Fault, Result, Skip, Verdict, print_results, print_summary
from lossreg.checks.shared import Check
from lossreg.checks.subject import REGISTRIES, Subject, one_line

__all__ = [
    "CHECKS",
    "DOMAINS",
    "Result",
    "Verdict",
    "check",
    "check_all",
    "kind_of",
    "parametrize",
    "print_results",
    "print_summary",
]

CHECKS: dict[str, dict[str, Check]] = {"loss": losses.CHECKS, "regularizer": regularizers.CHECKS}
"""The checks by kind and name, in the order in which they run; the first docstring line says what each holds."""


_TERMS = {"loss": "mean_squared_error", "regularizer": "l2custom"}


def check(
    target: str | Callable[..., Any],
    /,
    *,
    kind: str | None = None,
    domain: str | None = None,
    skip: Mapping[str, str] | None = None,
    **params: Any,
) -> list[Result]:
    """Hold one plugin to the contract.

    Arguments:
        target: a registered name, or a function, factory or class that is registered nowhere.
        kind: `"loss"` or `"regularizer"`; needed for a name that is both. What is registered nowhere is a loss
            unless its class or this says otherwise.
        domain: the kind of data to use, one of `DOMAINS`; found by trying if left out.
        skip: checks not to run, by name, each with the reason.
        **params: the parameters to check it with.

    Returns:
        One result per check, in the order of `CHECKS`.

    Raises:
        UnknownNameError, AmbiguousNameError, ParameterError, BrokenPluginError: as `Registry.create`.

    Example:

    >>> from lossreg import checks
    >>> def absolute(y_true, y_pred):
    ...     return abs(y_true - y_pred)
    >>> [result.check for result in checks.check(absolute) if result.verdict == "fail"]
    []
    """
    skip = dict(skip or {})
    with _registered(target, kind) as (kind, name, in_process):
        _check_names(kind, skip)
        subject = Subject(kind, name, params, domain, in_process)
        _ = subject.object  # a usage error is raised here and not by every check
        return [_run(subject, check_name, skip.get(check_name)) for check_name in CHECKS[kind]]


def check_all(*, kind: str | None = None) -> Iterator[Result]:
    """Hold every registered plugin to the contract, with its default parameters.

    A parameter without a default is given 0.5 where a number fits, and a simple plugin where plugins are composed;
    where neither fits, the plugin is skipped with the reason. A plugin that cannot be imported is a fault.

    Arguments:
        kind: `"loss"` or `"regularizer"`; both if left out.

    Yields:
        The results, plugin by plugin.
    """
    for kind_, registry_ in REGISTRIES.items():
        if kind not in (None, kind_):
            continue
        first = next(iter(CHECKS[kind_]))
        for name in registry_.names():
            try:
                required = [p for p in registry_.describe(name).parameters if p.required]
                term = {"term": {"name": _TERMS[kind_]}}
                params: dict[str, Any] = {p.name: term if p.takes_plugins else 0.5 for p in required}
                yield from check(name, kind=kind_, **params)
            except ParameterError as error:
                yield Result(name, kind_, first, Verdict.SKIP, str(error), f"Run: check {name} <parameter>=<value>")
            except RegistryError as error:
                yield Result(name, kind_, first, Verdict.FAIL, str(error), "Repair or uninstall the package.")


def kind_of(name: str, kind: str | None = None) -> str:
    """Return whether a name is a loss or a regularizer.

    Raises:
        AmbiguousNameError: if it is both, or if several packages register it.
        UnknownNameError: if it is neither; names the nearest one.
    """
    if kind is not None:
        if kind not in REGISTRIES:
            raise ParameterError(f"There is no kind '{kind}'. Choose loss or regularizer.")
        REGISTRIES[kind].find(name)
        return kind
    found = [kind_ for kind_, registry_ in REGISTRIES.items() if name in registry_]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousNameError(f"'{name}' is a loss and a regularizer. Say which one: kind loss or regularizer.")
    for registry_ in REGISTRIES.values():
        try:
            registry_.find(name)
        except AmbiguousNameError:
            raise
        except UnknownNameError:
            continue
    hint = did_you_mean(name, itertools.chain.from_iterable(REGISTRIES.values()))
    raise UnknownNameError(
        f"There is no loss or regularizer '{name}'.{hint} "
        f"Losses: {', '.join(REGISTRIES['loss'])}. Regularizers: {', '.join(REGISTRIES['regularizer'])}."
    )


@contextlib.contextmanager
def _registered(target: str | Callable[..., Any], kind: str | None) -> Iterator[tuple[str, str, bool]]:
    """Yield kind and name of a target, registered for as long as it is checked if it is not a name."""
    if isinstance(target, str):
        kind = kind_of(target, kind)
        yield kind, target, REGISTRIES[kind].find(target).registered is not None
        return
    if kind is None:
        bases = {base.__name__ for base in getattr(target, "__mro__", ())}
        kind = "regularizer" if "Regularizer" in bases else "loss"
    elif kind not in REGISTRIES:
        raise ParameterError(f"There is no kind '{kind}'. Choose loss or regularizer.")
    registry_ = REGISTRIES[kind]
    bare = getattr(target, "__name__", type(target).__name__)
    taken = {plugin.name for plugin in registry_.plugins()}
    name = next(n for n in itertools.chain([bare], (f"{bare}_{i}" for i in itertools.count(2))) if n not in taken)
    registry_.register(name)(target)
    try:
        yield kind, name, True
    finally:
        registry_.unregister(name)


def _check_names(kind: str, names: Mapping[str, str]) -> None:
    for name in names:
        if name not in CHECKS[kind]:
            hint = did_you_mean(name, CHECKS[kind])
            raise ParameterError(f"There is no check '{name}'.{hint} Checks of a {kind}: {', '.join(CHECKS[kind])}.")


def _run(subject: Subject, check_name: str, skip: str | None = None) -> Result:
    def result(verdict: Verdict, seen: str, advice: str = "") -> Result:
        return Result(str(subject), subject.kind, check_name, verdict, seen, advice)

    if skip is not None:
        return result(Verdict.SKIP, skip)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # data that a loss is not made for is tried on purpose
            if subject.kind == "loss" and check_name != "data":
                _require_data(subject)
            return result(Verdict.PASS, CHECKS[subject.kind][check_name](subject))
    except Skip as reason:
        return result(Verdict.SKIP, reason.seen, reason.advice)
    except Fault as fault:
        if reason_of_keras := known_of_keras(subject, check_name):
            return result(Verdict.SKIP, f"known of Keras itself: {reason_of_keras}", fault.advice)
        return result(Verdict.FAIL, fault.seen, fault.advice)
    except Exception as error:
        return result(Verdict.FAIL, f"it raises {one_line(error)}", "Take any data of the kind it is made for.")


def _require_data(subject: Subject) -> None:
    try:
        _ = subject.sizes
    except Fault:
        raise Skip("no data is found that it takes; see the check 'data'") from None


@dataclass(frozen=True)
class BoundCheck:
    """One check of one plugin, for pytest: call it.

    Arguments:
        target: as `check` takes it.
        kind: `"loss"` or `"regularizer"`.
        domain: as `check` takes it.
        params: as `check` takes them.
        check_name: the name of the check.
        subjects: what the checks of the same plugin share.
    """

    target: str | Callable[..., Any]
    kind: str
    domain: str | None
    params: Mapping[str, Any]
    check_name: str
    subjects: dict[str, Subject]

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: if the plugin fails it.
        """
        import pytest

        with _registered(self.target, self.kind) as (kind, name, in_process):
            subject = self.subjects.setdefault(name, Subject(kind, name, dict(self.params), self.domain, in_process))
            found = _run(subject, self.check_name)
        if found.verdict is Verdict.SKIP:
            pytest.skip(found.seen)
        assert found.verdict is Verdict.PASS, str(found)


def parametrize(
    *targets: str | Callable[..., Any],
    kind: str | None = None,
    domain: str | None = None,
    skip: Mapping[str, str] | None = None,
    **params: Any,
) -> Any:
    """Decorate a pytest test so that it runs once per check; the test takes `check` and calls it.

    Collecting imports neither TensorFlow nor the plugin.

    Arguments:
        *targets: names, functions or classes, as `check` takes them.
        kind: as `check` takes it.
        domain: as `check` takes it.
        skip: checks that are not to run, by name, each with the reason.
        **params: the parameters to check with, the same for all targets.

    Raises:
        UnknownNameError, AmbiguousNameError: if a name is not registered, or is both a loss and a regularizer.
        ParameterError: if `skip` names a check that does not exist.

    Example:

    ```python
    @checks.parametrize("focal", gamma=3.0, skip={"minimum": "the targets are smoothed"})
    def test_focal(check):
        check()
    ```
    """
    import pytest

    skip = dict(skip or {})
    cases = []
    for target in targets:
        with _registered(target, kind) as (kind_, name, in_process):
            label = str(Subject(kind_, name, params, domain, in_process))
        _check_names(kind_, skip)
        subjects: dict[str, Subject] = {}
        for check_name in CHECKS[kind_]:
            marks = [pytest.mark.skip(reason=skip[check_name])] if check_name in skip else []
            bound = BoundCheck(target, kind_, domain, params, check_name, subjects)
            cases.append(pytest.param(bound, id=f"{label}-{check_name}", marks=marks))
    return pytest.mark.parametrize("check", cases)
