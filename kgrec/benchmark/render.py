"""The report of a benchmark, from result.json alone: as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kgrec.benchmark import render_story as story
from kgrec.benchmark import render_tables as tables
from kgrec.benchmark.render_blocks import Part, Piece, to_html, to_markdown
from kgrec.benchmark.render_headline import lead
from kgrec.benchmark.render_reading import Result

_PARTS: tuple[tuple[str, Callable[[Result], Iterator[Piece]]], ...] = (
    ("The table", tables.accuracy),
    ("Against the best baseline", tables.tests),
    ("What each part gives", tables.ablations),
    ("What it cost", tables.cost),
    ("Groups of users and items", tables.groups),
    ("Can it be trusted", story.trust),
    ("The graph", story.graph),
    ("What the search chose", story.chosen),
    ("The ladder", story.ladder),
    ("How it was made", story.origin),
)


def markdown(result: Result) -> str:
    """The report as Markdown.

    Args:
        result: What result.json holds; parts that it lacks are left out.
    """
    return to_markdown(result["suite"]["title"], lead(result), _parts(result), _footer(result))


def html(result: Result) -> str:
    """The report as one HTML page that fetches nothing, for light and dark.

    Args:
        result: What result.json holds; parts that it lacks are left out.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return to_html(result["suite"]["title"], lead(result), _parts(result), _footer(result))


def _parts(result: Result) -> list[Part]:
    parts = [Part(title, tuple(pieces(result))) for title, pieces in _PARTS]
    return [part for part in parts if part.pieces]


def _footer(result: Result) -> str:
    made = result.get("made", {})
    version = made.get("kgrec", "")
    return f"{result['suite'].get('about', '')} Made by kgrec {version}: {made.get('command', '')}"
