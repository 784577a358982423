"""`kgrec explain`: the paths that join a user to an item."""

from __future__ import annotations

import argparse

from kgrec.commands.common import (
    DEBUG,
    Commands,
    add_json,
    add_model,
    at_least_one,
    show,
    show_json,
    title,
)


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "explain", parents=[DEBUG], help="why an item is in a user's list: paths in the graph"
    )
    add_model(parser)
    parser.add_argument("user", metavar="USER", help="user id")
    parser.add_argument("item", metavar="ITEM", help="item id")
    parser.add_argument(
        "-n", "--paths", type=at_least_one, default=5, help="paths at most (default: %(default)s)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.explain import explain
    from kgrec.recommender import load_model

    recommender = load_model(args.model)
    user = int(recommender.users.indices([args.user])[0])
    item = int(recommender.items.indices([args.item])[0])
    history = recommender.full_history()  # as `kgrec recommend` makes its lists
    paths = explain(
        recommender.graph,
        history,
        user,
        item,
        titles=lambda i: title(recommender.item_table, i) or str(recommender.items.ids[i]),
        limit=args.paths,
        contributions=recommender.contributions(user, item, history),
    )
    if args.json:
        show_json([path.to_dict() for path in paths])
    elif paths:
        show("\n".join(f"{path.weight:.3f}  {path.sentence}" for path in paths))
    else:
        show(f"no path of three edges joins user '{args.user}' to item '{args.item}'")
