"""`kgrec doctor`: what is installed, active and missing."""

from __future__ import annotations

import argparse

from kgrec.commands.common import DEBUG, Commands, add_json, show, show_json
from kgrec.errors import KgrecError


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "doctor",
        parents=[DEBUG],
        help="what is installed, what is active, what is missing and how to get it",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.doctor import diagnose

    diagnosis = diagnose()
    if args.json:
        show_json(diagnosis.to_dict())
    else:
        show(diagnosis.to_text())
    if not diagnosis.healthy:
        raise KgrecError("not everything is as it should be; the report says what to do")
