"""Blocks of an HTML report that is one file: no script, no link, nothing fetched.

Every block function returns markup with what it was given escaped; `page` joins them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from kgrec.errors import MissingExtraError, ShapeError

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Block: TypeAlias = Markup

COLOURS = ("#0f766e", "#b6c2c9", "#e0a458", "#7c8fb5", "#c0616a", "#5d6f79")
"""Of series in their order; the first is the one that the eye is to find."""
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.edgecolor": "#9fb0b8",
    "axes.labelcolor": "#5d6f79",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": "#1d2b33",
    "xtick.color": "#5d6f79",
    "ytick.color": "#5d6f79",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e8eef0",
    "legend.frameon": False,
    "svg.hashsalt": "kgrec",  # the same figures give the same bytes
}


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
    return _block("paragraph", words)


def heading(words: str) -> Block:
    """A heading within a section."""
    return _block("heading", words)


def facts(pairs: Sequence[tuple[object, str]]) -> Block:
    """Tiles with one figure each and the words that say what it is."""
    return _block("facts", [(cell(value), words) for value, words in pairs])


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
    numeric = [
        any(isinstance(row[at], int | float) for row in rows)
        and all(row[at] is None or isinstance(row[at], int | float) for row in rows)
        for at in range(len(header))
    ]
    cells = [[cell(value) for value in row] for row in rows]
    return _block("table", header, cells, caption, numeric, tuple(strong))


def bar_chart(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    alt: str,
    caption: str = "",
    height: float = 2.8,
) -> Block:
    """Bars side by side in each group, their values on top.

    Args:
        groups: Names below the bars.
        series: One value a group for each series.
        alt: What the picture shows, for who cannot see it.
        caption: The words below it.
        height: In inches, at a width of 5.4.

    Raises:
        ShapeError: A series has more or fewer values than there are groups.
    """
    _check_lengths(series, len(groups), "groups")

    def draw(axes: Axes) -> None:
        width = 0.8 / max(len(series), 1)
        for at, (name, values) in enumerate(series.items()):
            places = [g + (at - (len(series) - 1) / 2) * width for g in range(len(groups))]
            bars = axes.bar(places, values, width * 0.92, label=name, color=_colour(at))
            axes.bar_label(bars, [cell(float(v)) for v in values], padding=2, fontsize=7)
        axes.set_xticks(range(len(groups)), groups)
        axes.tick_params(axis="x", length=0)

    return _picture(draw, alt, caption, height, legend=len(series) > 1)


def line_chart(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    alt: str,
    labels: tuple[str, str] = ("", ""),
    caption: str = "",
    shaded: tuple[float, float] | None = None,
    logarithmic: bool = False,
    height: float = 2.6,
) -> Block:
    """Lines over a common axis.

    Args:
        x: Where the values stand.
        series: One value each of them for each series.
        alt: What the picture shows, for who cannot see it.
        labels: Of the axes.
        caption: The words below it.
        shaded: A stretch of the axis to mark.
        logarithmic: Whether both axes are.
        height: In inches, at a width of 5.4.

    Raises:
        ShapeError: A series has more or fewer values than `x`.
    """
    _check_lengths(series, len(x), "places on the axis")

    def draw(axes: Axes) -> None:
        if shaded is not None:
            axes.axvspan(*shaded, color="#e0a458", alpha=0.25, linewidth=0)
        for at, (name, values) in enumerate(series.items()):
            axes.plot(x, values, label=name, color=_colour(at), linewidth=1.8)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])

    return _picture(draw, alt, caption, height, legend=len(series) > 1)


def cell(value: object) -> str:
    """A value as a table shows it: 1,234, 0.0567, empty for None."""
    if value is None or value != value:  # NaN is what differs from itself
        return "" if value is None else "–"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _colour(at: int) -> str:
    return COLOURS[at % len(COLOURS)]


def _check_lengths(series: Mapping[str, Sequence[float]], length: int, what: str) -> None:
    for name, values in series.items():
        if len(values) != length:
            raise ShapeError(f"series '{name}' has {len(values)} values for {length} {what}")


def _picture(draw: Any, alt: str, caption: str, height: float, *, legend: bool) -> Block:
    """Draws on axes of its own and wraps the SVG as an image that carries its data."""
    check_installed()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if legend:
            figure.legend(loc="outside upper left", ncols=4, fontsize=8, handlelength=1.2)
        return _block("picture", _data_uri(figure), alt, caption)


def _data_uri(figure: Figure) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode("ascii")


def _block(name: str, *values: object) -> Block:
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
