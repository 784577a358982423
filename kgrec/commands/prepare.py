"""`kgrec prepare`: raw tables to a shop folder that other commands read at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from kgrec.commands.common import DEBUG, Commands, add_data, load_lines, show
from kgrec.errors import ConfigError


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "prepare",
        parents=[DEBUG],
        help="raw tables to a shop folder",
        description="Reads tables through a schema and writes coded interactions, vocabularies and "
        "the knowledge graph as a folder, which `kgrec fit` takes in place of the tables. Nothing "
        "is done where the folder was made of these very files and options.",
    )
    add_data(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="SHOP", help="the folder to be")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="load.FIELD=VALUE",
        help="one option of reading; may be repeated",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from dataclasses import replace

    from kgrec import shop_folder
    from kgrec.artefact import SHOP, check_replaceable
    from kgrec.atomic import claim
    from kgrec.config import Config
    from kgrec.estimate_choice import Room, refuse
    from kgrec.estimate_tables import estimate_prepare
    from kgrec.loading import load
    from kgrec.schema import Schema

    if args.schema is None:
        raise ConfigError(f"say which schema {args.data} follows: --schema S")
    schema, data = Schema.load(args.schema), Path(args.data)
    config = Config.from_toml(None, args.overrides).load
    with claim(args.out):
        check_replaceable(args.out, SHOP)
        what = shop_folder.made_of(data, schema, config)
        if shop_folder.is_made_of(args.out, what):
            show(f"{args.out} was made of these files already")
            return
        refuse("prepare", Room.here(args.out), estimate_prepare(data, schema))
        rejects = config.reject_file or f"{args.out}-rejected.tsv"
        shop = load(data, schema, replace(config, reject_file=rejects))
        shop_folder.save(shop, args.out, what)
    show("\n".join(load_lines(shop.report)))
    show(f"{len(shop.users):,} users, {len(shop.items):,} items; the shop is in {args.out}")
