"""`python -m lossreg check`: hold plugins to the contract."""

from __future__ import annotations

import argparse
import json
import logging
import os
from dataclasses import asdict
from typing import Any

from lossreg._errors import ParameterError
from lossreg._startup import quiet_startup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `check`."""
    parser.add_argument("name", nargs="?", help="a loss or regularizer, bare or as <distribution>/<name>")
    parser.add_argument("params", nargs="*", metavar="param=value", help="its parameters, as on a Hydra command line")
    parser.add_argument("--all", action="store_true", help="check everything that is installed")
    parser.add_argument("--kind", choices=["loss", "regularizer"], help="which one, if a name is both")
    parser.add_argument("--domain", help="the kind of data that a loss takes, if trying does not find it")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def main(args: argparse.Namespace) -> int:
    """Run the checks, print what they found, and return 0, or 1 on a fault."""
    from lossreg import checks

    if bool(args.name) == args.all:
        raise ParameterError("Say which one: check <name> [param=value …], or check --all.")
    if args.domain is not None and args.domain not in checks.DOMAINS:
        raise ParameterError(f"There is no kind of data '{args.domain}'. Choose one of: {', '.join(checks.DOMAINS)}.")
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
        print(json.dumps([asdict(result) for result in results], indent=2, ensure_ascii=False))
    else:
        (checks.print_summary if args.all else checks.print_results)(results)
    return int(any(result.verdict is checks.Verdict.FAIL for result in results))


def parse_parameters(texts: list[str]) -> dict[str, Any]:
    """Read `param=value` arguments as Hydra reads overrides: YAML values, nested names with dots.

    Raises:
        ParameterError: if one has no `=`, or its value is not YAML.

    Example:

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
