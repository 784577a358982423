"""`kgrec data`: where the public data sets are, and how they get here."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from kgrec.commands.common import DEBUG, Commands, add_json, show, show_json


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("data", help="the public data sets: list, fetch")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[DEBUG], help="names, pages, schemas, categories")
    listing.add_argument("name", metavar="NAME", nargs="?", help="one of them, in full")
    add_json(listing)
    listing.set_defaults(run=run_list)
    fetching = actions.add_parser(
        "fetch",
        parents=[DEBUG],
        help="download one, checked and resumable",
        description="An interrupted download goes on where it was when the command is repeated.",
    )
    fetching.add_argument("name", metavar="NAME", help="a name that `kgrec data list` gives")
    fetching.add_argument("--category", metavar="C", help="which category of an Amazon set")
    fetching.add_argument(
        "--out", type=Path, default=Path("data"), metavar="DIR", help="default: %(default)s"
    )
    fetching.set_defaults(run=run_fetch)


def run_list(args: argparse.Namespace) -> None:
    """Lists them."""
    from kgrec.fetch import find_dataset, list_datasets

    datasets = [find_dataset(args.name)] if args.name else list_datasets()
    if args.json:
        show_json([asdict(dataset) for dataset in datasets])
        return
    for dataset in datasets:
        show(f"{dataset.name}\n    {dataset.about}\n    {dataset.page}, schema {dataset.schema}")
        if dataset.categories and not args.name:
            show(f"    {len(dataset.categories)} categories: kgrec data list {dataset.name}")
        if args.name:
            show(f"    licence: {dataset.licence}\n    cite: {dataset.citation}")
            show("\n".join(f"    {file.url}" for file in dataset.files))
            show("\n".join(f"    --category {category}" for category in dataset.categories))
        if dataset.by_hand:
            show(f"    {dataset.by_hand}")


def run_fetch(args: argparse.Namespace) -> None:
    """Fetches one."""
    from kgrec.fetch import fetch, find_dataset

    dataset = find_dataset(args.name)
    files = fetch(args.name, args.out, category=args.category)
    show("\n".join(str(file) for file in files))
    show(f"licence: {dataset.licence}\ncite: {dataset.citation}")
    show(f"next: kgrec fit {args.out} --schema {dataset.schema} --out model")
