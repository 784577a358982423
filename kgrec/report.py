"""Blocks of an HTML report that is one file: no script, no link, nothing fetched.

Every block function returns markup with what it was given escaped; `page` joins them. Pictures are
in `report_charts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from kgrec.errors import MissingExtraError, ShapeError

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    Block: TypeAlias = Markup

_FIGURE = re.compile(r"[-+]?\d[\d,.]*%?( \[.*\])?")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


def page(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """The whole report as one HTML document.

    Args:
        title: Heading and window title.
        lead: The sentence below it.
        sections: In order.
        footer: The small print.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    template = _environment().get_template("page.html")
    return template.render(title=title, lead=lead, sections=sections, footer=footer)


def check_installed() -> None:
    """Says before any long work whether a report can be made.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "demo", "an HTML report with pictures")


def paragraph(words: str) -> Block:
    """Running text."""
    return block("paragraph", words)


def heading(words: str) -> Block:
    """A heading within a section."""
    return block("heading", words)


def facts(pairs: Sequence[tuple[object, str]]) -> Block:
    """Tiles with one figure each and the words that say what it is."""
    return block("facts", [(cell(value), words) for value, words in pairs])


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    strong: Sequence[int] = (),
) -> Block:
    """A table; columns of numbers stand right, and a wide one scrolls by itself.

    Args:
        header: Name of each column.
        rows: Cells: text, numbers, or None for an empty one.
        caption: What it shows.
        strong: Rows to stress.

    Raises:
        ShapeError: A row has more or fewer cells than the header.
    """
    for at, row in enumerate(rows):
        if len(row) != len(header):
            raise ShapeError(f"row {at} has {len(row)} cells, the header {len(header)}")
    columns = [[row[at] for row in rows if row[at] not in (None, "")] for at in range(len(header))]
    numeric = [bool(column) and all(map(_is_figure, column)) for column in columns]
    cells = [[cell(value) for value in row] for row in rows]
    return block("table", header, cells, caption, numeric, tuple(strong))


def cell(value: object) -> str:
    """A value as a table shows it: 1,234, 0.0567, empty for None."""
    if value is None or value != value:  # NaN is what differs from itself
        return "" if value is None else "–"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_figure(value: object) -> bool:
    """Whether it is a number, or text that shows one: `12.3%`, `0.20 [0.19, 0.21]`."""
    return isinstance(value, int | float) or bool(_FIGURE.fullmatch(str(value)))


def block(name: str, *values: object) -> Block:
    """A macro of blocks.html, what it is given escaped."""
    from markupsafe import Markup

    made = getattr(_environment().get_template("blocks.html").module, name)(*values)
    return Markup(made)


@cache
def _environment() -> Environment:
    check_installed()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("kgrec"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
