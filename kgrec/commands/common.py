"""What several commands share: arguments, and results on stdout."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import polars as pl

    from kgrec.engine import Engine
    from kgrec.needs import Estimate, ListShape
    from kgrec.shop import LoadReport

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DEBUG = argparse.ArgumentParser(add_help=False)
"""The option of every command: a parent of their parsers."""
DEBUG.add_argument("--debug", action="store_true", help="show tracebacks")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the MODEL argument."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="what `kgrec fit --out` wrote")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the DATA argument and the schema that reads it."""
    parser.add_argument(
        "data", metavar="DATA", help="a folder of tables, one file, or what `kgrec prepare` wrote"
    )
    parser.add_argument(
        "--schema", metavar="S",
        help="how the tables are read: a name that `kgrec schema list` gives, or a TOML file of "
        "your own",
    )  # fmt: skip


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for a machine to read")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds `--engine`."""
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="this process (local, the default), or workers of the Ray cluster at $RAY_ADDRESS, "
        "without which one worker a core of this machine (ray)",
    )  # fmt: skip


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Adds `--memory-budget`."""
    parser.add_argument(
        "--memory-budget", type=size_in_bytes, metavar="SIZE",
        help="memory that this may take (20GiB, 20000MB): options are chosen so that it fits, and "
        "said",
    )  # fmt: skip


def size_in_bytes(text: str) -> int:
    """An argument that is a size: `20GiB`, `20G` (the same), `20000MB`.

    Raises:
        argparse.ArgumentTypeError: It is none, or not above 0.
    """
    found = re.fullmatch(r"([0-9]+\.?[0-9]*)\s*([KMGT]?)(i?)(B?)", text.strip(), re.IGNORECASE)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write 20GiB, 20G or 20000MB")
    power = " KMGT".index(found[2].upper() or " ")
    binary = found[3] or not found[4]
    return max(int(float(found[1]) * (1024 if binary else 1000) ** power), 1)


def users_at_once(
    what: str,
    model: Path,
    needs: Callable[[ListShape, int], Estimate],
    budget: int | None,
    out: Path | None = None,
    *,
    fewer: bool = True,
) -> int | None:
    """Says what ranking needs; how many users to rank at once, None for as many as usual.

    Args:
        what: The command.
        model: The folder.
        needs: What the command needs with so many users at once.
        budget: Bytes that it may take; None for what the machine has.
        out: What it writes, where that takes room.
        fewer: Whether it can rank fewer at once than is usual.

    Raises:
        TooLargeError: There is not enough memory or disk.
    """
    from kgrec.errors import ArtefactError
    from kgrec.estimate import list_shape
    from kgrec.estimate_choice import Room, choose
    from kgrec.topk import batch_size

    try:
        shape = list_shape(model)
    except ArtefactError:
        return None  # whoever loads it says what is amiss
    sizes, usual = [16 * 4**step for step in range(4, -1, -1)], batch_size(shape.n_items)
    return choose(
        what,
        Room.here(out, budget),
        needs(shape, usual),
        [size for size in sizes if size < usual and fewer],
        lambda size: needs(shape, size),
        lambda size: f"--memory-budget, with which {size} users are ranked at once",
        may_choose=budget is not None,
    )


def open_engine(name: str, training_workers: int = 1) -> AbstractContextManager[Engine]:
    """What `--engine` chose, for the time of a `with`."""
    from kgrec.engine import LOCAL, RayEngine

    if name == "local":
        return nullcontext(LOCAL)
    return RayEngine(os.environ.get("RAY_ADDRESS"), training_workers=training_workers)


def at_least_one(text: str) -> int:
    """An argument that is a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def load_lines(report: LoadReport) -> list[str]:
    """What reading the tables found, for a person."""
    lines = [f"{name}: {rows:,} rows" for name, rows in report.rows.items()]
    lines += [f"changed: {rule}: {rows:,}" for rule, rows in report.changed.items()]
    lines += [f"rejected: {reason}: {rows:,}" for reason, rows in report.rejected.items()]
    if report.reject_file:
        lines.append(f"rejected rows are in {report.reject_file}")
    return lines + [f"warning: {warning}" for warning in report.warnings]


def comma_separated(text: str) -> list[str]:
    """An argument that is several values with commas between."""
    return [part.strip() for part in text.split(",") if part.strip()]


def show(text: str) -> None:
    """Writes a result to stdout."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def as_json(value: Any) -> str:
    """A result as JSON, NumPy's scalars and paths among it."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=_plain)


def show_json(value: Any) -> None:
    """Writes a result to stdout as JSON."""
    show(as_json(value))


def show_table(table: pl.DataFrame, as_json: bool) -> None:
    """Writes a table to stdout, every row of it, as aligned columns or as JSON records."""
    if as_json:
        show_json(table.to_dicts())
        return
    header = [str(name) for name in table.columns]
    columns = [[_cell(value) for value in table[name].to_list()] for name in table.columns]
    widths = [max(map(len, [name, *column])) for name, column in zip(header, columns, strict=True)]
    for row in [header, *zip(*columns, strict=True)]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        show("  ".join(cells).rstrip())


def title(item_table: pl.DataFrame, item: int) -> str:
    """A short human name of an item, empty where the catalogue has none."""
    for column in ("title", "name", "keywords"):
        if column in item_table.columns and (value := item_table[column][item]):
            return str(value)
    return ""


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= 72 else text[:71] + "…"


def _plain(value: object) -> object:
    """NumPy's scalars and paths as JSON has them."""
    return value.item() if hasattr(value, "item") else str(value)
