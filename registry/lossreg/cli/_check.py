"""`python -m lossreg check`: hold plugins to the contract."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
from dataclasses import asdict
from typing import Any

from lossreg._errors import ParameterError
from lossreg._startup import quiet_startup
from lossreg.cli._table import print_table

_STYLES = {"pass": "green", "fail": "bold red", "skip": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a loss or regularizer, bare or as <distribution>/<name>")
    parser.add_argument("params", nargs="*", metavar="param=value", help="its parameters, as on a Hydra command line")
    parser.add_argument("--all", action="store_true", help="check everything that is installed")
    parser.add_argument("--kind", choices=["loss", "regularizer"], help="which one, if a name is both")
    parser.add_argument("--domain", help="the data that a loss takes: a kind, or module:function")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def main(args: argparse.Namespace) -> int:
    """Run the checks, print what they found, and return 0, or 1 on a fault."""
    from lossreg import checks

    if bool(args.name) == args.all:
        raise ParameterError("Say which one: check <name> [param=value …], or check --all.")
    params = parse_parameters(args.params)
    kind = args.kind if args.all else checks.kind_of(args.name, args.kind)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of many small programs, which checks are
    with quiet_startup():
        import keras  # noqa: F401  TensorFlow is loaded here
    if args.all:
        results = list(checks.check_all(kind=kind))
    else:
        results = checks.check(args.name, kind=kind, domain=args.domain, **params)
    if args.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    elif args.all:
        _print_summary(results)
    else:
        _print_results(results)
    if not args.json:
        print(_verdict(results))
    return int(any(result.verdict == "fail" for result in results))


def _verdict(results: list[Any]) -> str:
    """Say in one line what the results come to."""
    passed, failed, skipped = (sum(r.verdict == verdict for r in results) for verdict in ("pass", "fail", "skip"))
    faulty = ", ".join(dict.fromkeys(r.plugin for r in results if r.verdict == "fail"))
    word = f"faulty: {faulty}" if failed else "no fault found" if passed else "nothing could be checked"
    return f"{word} ({passed} passed, {failed} failed, {skipped} skipped)"


def _print_results(results: list[Any]) -> None:
    """Print the results of one plugin."""
    rows = [(r.check, (r.verdict.value, _STYLES[r.verdict]), r.seen, r.advice) for r in results]
    title = f"{results[0].kind} {results[0].plugin}"
    print_table(title, ("check", "verdict", "what was seen", "what to do"), rows, width=160)


def _print_summary(results: list[Any]) -> None:
    """Print the results of many plugins: the counts of each, then every fault in full."""
    plugins = {key: list(found) for key, found in itertools.groupby(results, lambda r: (r.kind, r.plugin))}
    faults = {key: [r for r in found if r.verdict == "fail"] for key, found in plugins.items()}
    rows = []
    for key, found in plugins.items():
        counts = [str(sum(r.verdict == verdict for r in found)) for verdict in _STYLES]
        rows.append([*key, *counts, (", ".join(r.check for r in faults[key]), _STYLES["fail"])])
    print_table("", ("kind", "plugin", *_STYLES, "faults"), rows, width=160)
    for faulty in filter(None, faults.values()):
        _print_results(faulty)


def parse_parameters(texts: list[str]) -> dict[str, Any]:
    """Read `param=value` arguments as Hydra reads overrides: YAML values, nested names with dots.

    >>> parse_parameters(["gamma=3e-1", "balance=true", "weights=[1, 2]"])
    {'gamma': 0.3, 'balance': True, 'weights': [1, 2]}
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise ParameterError(f"'{text}' is no parameter. Write it as <name>=<value>.")
    try:
        container = OmegaConf.to_container(OmegaConf.from_dotlist(texts), resolve=True)
    except (YAMLError, ValueError) as error:
        raise ParameterError(f"The parameters cannot be read: {str(error).splitlines()[0]}") from None
    assert isinstance(container, dict)
    return {str(name): value for name, value in container.items()}
