"""`kgrec graph`: the graph's health, or its export."""

from __future__ import annotations

import argparse
from pathlib import Path

from kgrec.commands.common import DEBUG, Commands, add_data, add_json, show, show_json
from kgrec.errors import ConfigError
from kgrec.progress import say


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "graph",
        parents=[DEBUG],
        help="the knowledge graph's health, or its export",
        description="Prints nodes and edges by relation, coverage, hubs, components, dangling "
        "ends, and relations that may leak what is held out.",
    )
    add_data(parser)
    parser.add_argument(
        "--export", choices=("graphml", "pyg"), help="write networkx GraphML or a PyG HeteroData"
    )
    parser.add_argument("--out", type=Path, metavar="PATH", help="where --export writes")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.loading import load

    if bool(args.export) != bool(args.out):
        raise ConfigError("--export and --out go together: --export graphml --out shop.graphml")
    shop = load(args.data, args.schema)
    for warning in shop.report.warnings:
        say(f"warning: {warning}")
    if args.export:
        from kgrec import graph_export

        if args.export == "graphml":
            graph_export.write_graphml(shop, args.out)
        else:
            graph_export.write_hetero_data(shop, args.out)
        say(f"the graph is in {args.out}")
        return
    from kgrec.graph_health import graph_health

    health = graph_health(shop)
    if args.json:
        show_json(health.to_dict())
    else:
        show(health.to_text())
