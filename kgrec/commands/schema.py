"""`kgrec schema`: the schemas that ship, to be read and copied."""

from __future__ import annotations

import argparse

from kgrec.commands.common import DEBUG, Commands, show
from kgrec.errors import SchemaError, nearest


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("schema", help="the schemas that ship: list, show")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[DEBUG], help="their names")
    listing.set_defaults(run=run_list)
    showing = actions.add_parser("show", parents=[DEBUG], help="one of them, to start yours from")
    showing.add_argument("name", metavar="NAME", help="a name that `kgrec schema list` gives")
    showing.set_defaults(run=run_show)


def _names() -> list[str]:
    from kgrec.schema import shipped_folder

    return sorted(path.stem for path in shipped_folder().glob("*.toml"))


def run_list(args: argparse.Namespace) -> None:  # noqa: ARG001
    """Lists them."""
    show("\n".join(_names()))


def run_show(args: argparse.Namespace) -> None:
    """Shows one."""
    from kgrec.schema import shipped_folder

    if args.name not in _names():
        raise SchemaError(f"no schema '{args.name}' ships{nearest(args.name, _names())}")
    show((shipped_folder() / f"{args.name}.toml").read_text(encoding="utf-8"))
