"""`python -m lossreg results`: the closing table of one sweep, or of many together."""

from __future__ import annotations

import argparse
import csv
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", nargs="+", metavar="DIR", help="a sweep's directory, which holds results.csv")
    parser.add_argument("--by", action="append", default=[], metavar="NAME[,NAME]", help="the overrides to compare by")
    parser.add_argument("--metric", metavar="NAME", help="the metric to compare; by default the sweep's objective")
    parser.add_argument("--baseline", metavar="VALUE", help="what to compare with, such as bce; by default the first")
    formats = parser.add_mutually_exclusive_group()
    for name in ("csv", "json", "latex"):
        formats.add_argument(f"--{name}", action="store_true", help=f"print the table as {name.upper()}")


def main(args: argparse.Namespace) -> int:
    """Print the table, and return 0."""
    from rich.console import Console

    from lossreg.sweeps._load import read
    from lossreg.sweeps._summary import show_summary, to_latex

    by = [name for text in args.by for name in text.split(",") if name]
    summary = read(args.directories, by, args.metric, args.baseline)
    if args.json:
        print(json.dumps(summary.records(), indent=2))
    elif args.csv:
        records = summary.records()
        writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    elif args.latex:
        print(to_latex(summary))
    else:
        show_summary(summary, Console())
    return 0
