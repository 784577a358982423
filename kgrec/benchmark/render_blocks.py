"""Blocks of a report that can be written as Markdown and as HTML: said once, printed twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from kgrec.report import cell

if TYPE_CHECKING:
    from kgrec import report

Point = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures, each with the words that say what it is."""

    pairs: Sequence[tuple[object, str]]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; cells are text, numbers or None."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    strong: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Scatter:
    """Named points over a logarithmic axis; HTML alone, its figures stand in a table."""

    series: Mapping[str, Sequence[Point]]
    labels: tuple[str, str]
    caption: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over a common axis; HTML alone."""

    x: Sequence[float]
    series: Mapping[str, Sequence[float]]
    labels: tuple[str, str]
    caption: str
    logarithmic: bool = False
    """Whether both axes are."""


Piece: TypeAlias = Words | Facts | Grid | Scatter | Lines


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and what stands below it."""

    title: str
    pieces: tuple[Piece, ...]


def to_markdown(title: str, lead: str, parts: Sequence[Part], footer: str) -> str:
    """The report as GitHub's Markdown; pictures are left out."""
    lines = [f"# {_escape(title)}", "", _escape(lead)]
    for part in parts:
        lines += ["", f"## {_escape(part.title)}"]
        for piece in part.pieces:
            lines += _markdown_of(piece)
    return "\n".join([*lines, "", _escape(footer), ""])


def to_html(title: str, lead: str, parts: Sequence[Part], footer: str) -> str:
    """The report as one HTML page that fetches nothing.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    from kgrec.report import Section, page

    sections = [Section(part.title, tuple(map(_html_of, part.pieces))) for part in parts]
    return page(title, lead, sections, footer)


def _markdown_of(piece: Piece) -> Iterator[str]:
    match piece:
        case Words(text):
            yield from ("", _escape(text))
        case Facts(pairs):
            yield ""
            yield from (f"- {_escape(cell(value))} {_escape(words)}" for value, words in pairs)
        case Grid(header, rows, caption, strong):
            yield from ("", _escape(caption), "") if caption else ("",)
            yield _line(header)
            yield _line(["---"] * len(header))
            for at, row in enumerate(rows):
                cells = [cell(value) for value in row]
                stressed = [f"**{c}**" if c and n == 0 else c for n, c in enumerate(cells)]
                yield _line(stressed if at in strong else cells)


def _html_of(piece: Piece) -> report.Block:
    from kgrec import report, report_charts

    match piece:
        case Words(text):
            return report.paragraph(text)
        case Facts(pairs):
            return report.facts(pairs)
        case Grid(header, rows, caption, strong):
            return report.table(header, rows, caption=caption, strong=strong)
        case Scatter(series, labels, caption):
            return report_charts.scatter_chart(series, alt=caption, labels=labels, caption=caption)
        case Lines(x, series, labels, caption, logarithmic):
            return report_charts.line_chart(
                x, series, alt=caption, labels=labels, caption=caption, logarithmic=logarithmic
            )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape(c).replace("|", "\\|") for c in cells) + " |"


def _escape(words: str) -> str:
    """One line in which nothing is read as HTML."""
    line = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(words.split()))
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", line)
