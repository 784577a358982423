"""`kgrec evaluate`: the held-out part, every metric."""

from __future__ import annotations

import argparse
from pathlib import Path

from kgrec.commands.common import (
    DEBUG,
    Commands,
    add_budget,
    add_json,
    add_model,
    as_json,
    at_least_one,
    comma_separated,
    show,
    show_json,
    users_at_once,
)


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "evaluate",
        parents=[DEBUG],
        help="score the held-out part: every metric, by user group",
        description="Ranks the full catalogue for every user with held-out items, seen items "
        "removed, and scores the lists.",
    )
    add_model(parser)
    parser.add_argument(
        "-k", type=_ks, default=[5, 10, 20], metavar="K,K,...",
        help="lengths of list (default: 5,10,20)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON to a file too")
    add_budget(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def _ks(text: str) -> list[int]:
    return sorted({at_least_one(part) for part in comma_separated(text)})


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.atomic import claim, disk_space, replace_file
    from kgrec.evaluate import evaluate_model
    from kgrec.needs import evaluation_needs
    from kgrec.recommender import load_model

    n_at_once = users_at_once(
        "evaluate",
        args.model,
        lambda shape, batch: evaluation_needs(shape, args.k, batch),
        args.memory_budget,
    )
    evaluation = evaluate_model(load_model(args.model), args.k, batch_size=n_at_once)
    if args.out:
        text = as_json(evaluation.to_dict()) + "\n"
        with disk_space(args.out), claim(args.out), replace_file(args.out) as beside:
            beside.write_text(text, encoding="utf-8")
    if args.json:
        show_json(evaluation.to_dict())
    else:
        show(evaluation.to_text())
