"""What a row of result.json says, read the same way wherever it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Result: TypeAlias = Mapping[str, Any]
Row: TypeAlias = Mapping[str, Any]

PUBLISHED = "published, not rerun"
STAGES = ("tune", "fit", "lists")
ALPHA = 0.05
"""Of every p-value that is called a difference."""


def headline(result: Result) -> list[str]:
    """The metrics that the suite is judged by."""
    return list(result["suite"]["headline"])


def is_done(row: Row) -> bool:
    """Whether the row has figures."""
    return bool(row["status"] == "done")


def ours(result: Result) -> Row | None:
    """The full model; None where it was not run or did not end."""
    found = [row for row in result["rows"] if row["kind"] == "kgrec" and is_done(row)]
    return found[0] if found else None


def row_named(result: Result, name: str) -> Row | None:
    """The row of this name."""
    return next((row for row in result["rows"] if row["name"] == name), None)


def of_kind(result: Result, *kinds: str) -> list[Row]:
    """Rows of some kinds that have figures, best first by the first headline metric."""
    rows = [row for row in result["rows"] if row["kind"] in kinds and is_done(row)]
    return sorted(rows, key=lambda row: -(figure(row, headline(result)[0]) or 0.0))


def figure(row: Row, metric: str, part: str = "mean") -> float | None:
    """A figure of a row, or None where it is absent or not a number."""
    value = row.get("metrics", {}).get(metric, {}).get(part)
    return None if value is None or math.isnan(value) else float(value)


def with_interval(row: Row, metric: str) -> str | None:
    """`0.2000 [0.1960, 0.2040]`."""
    mean, low, high = (figure(row, metric, part) for part in ("mean", "low", "high"))
    if mean is None:
        return None
    return f"{mean:.4f}" if low is None or high is None else f"{mean:.4f} {span(low, high)}"


def span(low: float, high: float, sign: str = "") -> str:
    """`[0.1960, 0.2040]`."""
    return f"[{low:{sign}.4f}, {high:{sign}.4f}]"


def p_words(p: float | None) -> str:
    """`p = 0.0123`; a small one is only said to be small."""
    if p is None or math.isnan(p):
        return "no p-value"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Every metric that some row has, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.get("metrics", {})))


def seconds(row: Row, *stages: str) -> float | None:
    """Mean over seeds of the seconds that these stages took together."""
    took = [
        sum(seed["seconds"].get(stage) or 0.0 for stage in stages)
        for seed in row.get("seeds", ())
        if seed.get("seconds")
    ]
    return sum(took) / len(took) if took else None


def peak_gib(row: Row) -> float | None:
    """The most memory that any seed held."""
    peaks = [seed["peak_gib"] for seed in row.get("seeds", ()) if seed.get("peak_gib")]
    return max(peaks, default=None)


def trials(row: Row) -> str | None:
    """`20`, or `12 of 20` where the search ended early; None where there is nothing to tune."""
    seeds = [seed for seed in row.get("seeds", ()) if seed.get("space")]
    if not seeds:
        return None
    ran = min(seed.get("trials") or 0 for seed in seeds)
    asked = max(seed.get("trials_asked") or 0 for seed in seeds)
    return f"{ran} of {asked}" if ran < asked else str(ran)


def seed_name(seed: Mapping[str, Any]) -> str:
    """`seed 7`, or `fold 3`."""
    return f"fold {seed['fold']}" if seed.get("fold") is not None else f"seed {seed['seed']}"


def best_published(result: Result, metric: str) -> Mapping[str, Any] | None:
    """The published figure that is highest in this metric."""
    found = [p for p in result["suite"].get("published", ()) if metric in p["metrics"]]
    return max(found, key=lambda p: p["metrics"][metric], default=None)


def apart(a: Row, b: Row, metric: str) -> tuple[float, float, float] | None:
    """Difference a - b with an interval from both rows' own, as if their users were others.

    Wider than a paired one, for users who are hard for one model are hard for the other too. Half
    the width is the root of the summed squares (Zou & Donner 2008, "MOVER").
    """
    figures = [figure(row, metric, part) for row in (a, b) for part in ("mean", "low", "high")]
    if any(value is None for value in figures):
        return None
    mean_a, low_a, high_a, mean_b, low_b, high_b = (float(value or 0.0) for value in figures)
    difference = mean_a - mean_b
    return (
        difference,
        difference - math.hypot(mean_a - low_a, high_b - mean_b),
        difference + math.hypot(high_a - mean_a, mean_b - low_b),
    )
