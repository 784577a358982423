"""`kgrec similar`: the neighbours of items."""

from __future__ import annotations

import argparse

from kgrec.commands.common import DEBUG, Commands, add_json, add_model, at_least_one, show_table


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("similar", parents=[DEBUG], help="the nearest items of an item")
    add_model(parser)
    parser.add_argument("items", metavar="ITEM", nargs="+", help="item ids")
    parser.add_argument(
        "-k", type=at_least_one, default=10, help="neighbours an item (default: %(default)s)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    import polars as pl

    from kgrec.recommender import load_model

    show_table(pl.from_pandas(load_model(args.model).similar(args.items, args.k)), args.json)
