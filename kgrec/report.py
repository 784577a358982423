"""Blocks of an HTML report that is one file: no script, no link, nothing fetched.

Every block function returns markup with what it was given escaped; `page` joins them.
"""

from __future__ import annotations

import base64
import io
import re
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
_FIGURE = re.compile(r"[-+]?\d[\d,.]*%?( \[.*\])?")
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "figure.facecolor": "none",  # the page's own colour, which may be dark
    "axes.facecolor": "none",
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
    columns = [[row[at] for row in rows if row[at] not in (None, "")] for at in range(len(header))]
    numeric = [bool(column) and all(map(_is_figure, column)) for column in columns]
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


def scatter_chart(
    series: Mapping[str, Sequence[tuple[str, float, float]]],
    *,
    alt: str,
    labels: tuple[str, str] = ("", ""),
    caption: str = "",
    height: float = 3.4,
) -> Block:
    """Named points, the horizontal axis logarithmic.

    Args:
        series: Points by series, each its name, where it stands (> 0) and its value.
        alt: What the picture shows, for who cannot see it.
        labels: Of the axes.
        caption: The words below it.
        height: In inches, at a width of 5.4.

    Raises:
        ShapeError: A point stands at 0 or below, which a logarithm cannot show.
    """
    check_installed()
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    points = [point for of_series in series.values() for point in of_series]
    for name, x, _ in points:
        if not x > 0:
            raise ShapeError(f"point '{name}' stands at {x}, which a logarithmic axis cannot show")

    def draw(axes: Axes) -> None:
        for at, (name, of_series) in enumerate(series.items()):
            x, y = [p[1] for p in of_series], [p[2] for p in of_series]
            axes.scatter(x, y, s=26, label=name, color=_colour(at), zorder=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.18, y=0.1)  # room for the names
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        _name_points(axes, points)

    return _picture(draw, alt, caption, height, legend=len(series) > 1)


def _name_points(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Writes each name beside its point, higher where another name stands there already."""
    axes.get_xlim(), axes.get_ylim()  # the limits are set when they are asked for
    taken: list[tuple[float, float, float]] = []  # left, right and height of the names so far
    for name, x, y in sorted(points, key=lambda point: point[2]):
        across, up = axes.transData.transform((x, y))
        scale = 72 / axes.figure.dpi
        left, base = across * scale + 5, up * scale - 2.5
        right = left + 3.9 * len(name)  # of 7-point letters
        height = base
        for other_left, other_right, other in sorted(taken, key=lambda t: t[2]):
            if left < other_right and other_left < right and abs(other - height) < 7:
                height = other + 7
        taken.append((left, right, height))
        axes.annotate(
            name, (x, y), (5, height - base - 2.5), textcoords="offset points", fontsize=7
        )


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
