"""`kgrec demo`: the embedded shop, from tables to lists and a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from kgrec.commands.common import DEBUG, Commands


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "demo",
        parents=[DEBUG],
        help="the embedded shop: tables to lists and a report, no network",
        description="Builds the graph of the embedded shop, fits a model, writes the top 20 of "
        "every household as Parquet and an HTML report. Takes some minutes.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("kgrec-demo"), metavar="DIR",
        help="folder for lists, model and report (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.demo import run_demo

    run_demo(args.out)
