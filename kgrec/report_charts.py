"""Charts of a report: SVG that carries its data, the same figures in the same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kgrec.errors import ShapeError
from kgrec.report import block, cell, check_installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kgrec.report import Block

COLOURS = ("#0f766e", "#b6c2c9", "#e0a458", "#7c8fb5", "#c0616a", "#5d6f79")
"""Of series in their order; the first is the one that the eye is to find."""
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
        return block("picture", _data_uri(figure), alt, caption)


def _data_uri(figure: Figure) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode("ascii")
