"""The `kgrec` script: which command runs, and how what goes wrong is told to a person.

Exit codes: 0 done, 1 could not, 2 wrong use, 130 interrupted, 141 nobody reads the output.
Each command imports the engine when it runs, so that `kgrec --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import kgrec
from kgrec.commands import (
    benchmark,
    data,
    demo,
    doctor,
    evaluate,
    explain,
    fit,
    graph,
    prepare,
    recommend,
    schema,
    similar,
)
from kgrec.errors import KgrecError
from kgrec.progress import say

_COMMANDS = (
    demo, prepare, fit, recommend, evaluate, benchmark, similar, explain, graph, schema, data,
    doctor,
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; parsed arguments carry the function to run as `run`."""
    parser = argparse.ArgumentParser(
        prog="kgrec",
        description="Ranked lists from a shop's tables: text, knowledge graph, retrieval, ranking.",
        epilog="kgrec COMMAND --help says more about each.",
    )
    parser.add_argument("--version", action="version", version=f"kgrec {kgrec.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments after the script's name; None for those of the process.

    Returns:
        The exit code.
    """
    args = build_parser().parse_args(argv)
    try:
        with _termination_unwinds():
            args.run(args)
            sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Whoever read has left (`| head`); without this Python complains again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        say("kgrec: interrupted; nothing half written was left")
        return 130
    except (KgrecError, OSError, MemoryError) as error:
        if args.debug:
            raise
        say(f"kgrec: {_sentence(error)}")
        return error.exit_code if isinstance(error, KgrecError) else 1


def _sentence(error: KgrecError | OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error}".rstrip(": ")
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Lets SIGTERM, as a scheduler sends it, clean up like Ctrl-C instead of dying on the spot."""

    def unwind(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
