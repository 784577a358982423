"""The sections of a report that say how good each row is, what it cost and what each part gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kgrec.benchmark.render_blocks import Facts, Grid, Piece, Scatter, Words
from kgrec.benchmark.render_reading import (
    PUBLISHED,
    STAGES,
    Result,
    Row,
    apart,
    figure,
    headline,
    is_done,
    metric_names,
    of_kind,
    ours,
    p_words,
    peak_gib,
    seconds,
    span,
    trials,
    with_interval,
)

KINDS = {"kgrec": "kgrec", "ablation": "kgrec with a part off", "baseline": "baselines"}


def accuracy(result: Result) -> Iterator[Piece]:
    """Every row by the headline metrics; who did not end; what was published."""
    data, names = result.get("data", {}), headline(result)
    yield Words(result["suite"].get("protocol", ""))
    shown = {
        "users": "users",
        "items": "items",
        "train": "interactions to train on",
        "test_users": "users tested",
        "cold_items": "items that training never saw",
    }
    yield Facts([(data[key], words) for key, words in shown.items() if data.get(key) is not None])
    rows = of_kind(result, *KINDS)
    header = ["model", *names, ""]
    lines: list[list[object]] = [
        [row["name"], *(with_interval(row, m) for m in names), None] for row in rows
    ]
    for row in result["rows"]:
        if not is_done(row):
            name = f"{row['name']}: {row['status']}"
            lines.append([name, *([None] * len(names)), row.get("reason")])
    for found in result["suite"].get("published", ()):
        values = [_plain(found["metrics"].get(m)) for m in names]
        about = "; ".join(filter(None, (found["source"], found.get("note"))))
        lines.append([f"{found['model']} ({PUBLISHED})", *values, about])
    strong = [at for at, row in enumerate(rows) if row["kind"] == "kgrec"]
    yield Grid(header, lines, "Mean over seeds, and its 95% interval over users.", strong)
    yield from _others(rows, names, strong)


def _others(rows: Sequence[Row], names: Sequence[str], strong: Sequence[int]) -> Iterator[Piece]:
    """How far seeds lie apart, the metrics that are no headline, coverage and novelty."""
    spread = [m for m in names if any(figure(row, m, "std") is not None for row in rows)]
    others = [m for m in metric_names(rows) if m not in names]
    if not spread and not others:
        return
    cells = [
        [row["name"], *(figure(row, m, "std") for m in spread), *(figure(row, m) for m in others)]
        for row in rows
    ]
    caption = "The other metrics." if others else ""
    caption += " std: of the mean, from seed to seed or fold to fold." if spread else ""
    if any(m.startswith("novelty@") for m in others):
        caption += " coverage: share of the catalogue shown; novelty: bits."
    header = ["model", *(f"std of {m}" for m in spread), *others]
    yield Grid(header, cells, caption.strip(), strong)


def tests(result: Result) -> Iterator[Piece]:
    """Ours and each ablation, paired with the best baseline."""
    lines = [
        [row["name"], metric, found["baseline"], _signed(found["difference"]),
         span(found["low"], found["high"], "+"), p_words(found.get("p")),
         p_words(found.get("p_holm"))]
        for row in of_kind(result, "kgrec", "ablation")
        for metric, found in row.get("against", {}).items()
    ]  # fmt: skip
    if lines:
        header = ["model", "metric", "best baseline", "difference", "95%", "paired t", "after Holm"]
        yield Grid(
            header, lines,
            "Paired by user. The baseline is the best of all by the very figures shown, which "
            "favours the baseline.",
        )  # fmt: skip


def cost(result: Result) -> Iterator[Piece]:
    """Seconds, memory and trials of each row."""
    rows = of_kind(result, *KINDS)
    lines = [
        [row["name"], *(_rounded(seconds(row, stage), 1) for stage in STAGES),
         _rounded(seconds(row, *STAGES), 1), _rounded(peak_gib(row), 2), trials(row),
         len(row["seeds"])]
        for row in rows
    ]  # fmt: skip
    hardware = result.get("made", {}).get("hardware", {})
    caption = "Each in a process of its own; seconds are means over seeds, memory the most of any."
    if hardware:
        caption += f" {hardware.get('cores')} cores, {hardware.get('memory_gib')} GiB."
    header = ["model", *(f"{stage}, s" for stage in STAGES), "all, s", "peak, GiB", "trials",
              "seeds"]  # fmt: skip
    strong = [at for at, row in enumerate(rows) if row["kind"] == "kgrec"]
    yield Grid(header, lines, caption, strong)
    metric = headline(result)[0]
    for axis, what in (("tune, fit and lists, seconds", "seconds"), ("peak memory, GiB", "memory")):
        series = _points(result, metric, what)
        if sum(map(len, series.values())) > 1:
            yield Scatter(series, (axis, metric), f"{metric} against {what}, each row a point.")


def _points(result: Result, metric: str, what: str) -> dict[str, list[tuple[str, float, float]]]:
    series: dict[str, list[tuple[str, float, float]]] = {}
    for kind, title in KINDS.items():
        for row in of_kind(result, kind):
            x = seconds(row, *STAGES) if what == "seconds" else peak_gib(row)
            y = figure(row, metric)
            if x and y is not None:
                series.setdefault(title, []).append((row["name"], x, y))
    return series


def ablations(result: Result) -> Iterator[Piece]:
    """What is lost when a part of the full model is off."""
    full, rows = ours(result), of_kind(result, "ablation")
    if full is None or not rows:
        return
    names = headline(result)
    lines: list[list[object]] = [[full["name"], *(c for m in names for c in (figure(full, m), ""))]]
    lines += [[row["name"], *(c for m in names for c in _step(row, full, m))] for row in rows]
    how = "from the two rows' own, so wider than a paired one"
    if any(row.get("to_full") for row in rows):
        how = "paired by user, p after Holm"
    yield Grid(
        ["model", *(c for m in names for c in (m, "less the full model"))], lines,
        f"Below zero: the part that is off pays. Intervals of 95%, {how}.", [0],
    )  # fmt: skip


def _step(row: Row, full: Row, metric: str) -> tuple[float | None, str]:
    found = row.get("to_full", {}).get(metric)
    if found:
        p = found.get("p_holm", found.get("p"))
        said = f"{_signed(found['difference'])} {span(found['low'], found['high'], '+')}"
        return figure(row, metric), f"{said}, {p_words(p)}"
    between = apart(row, full, metric)
    if between is None:
        return figure(row, metric), ""
    difference, low, high = between
    return figure(row, metric), f"{_signed(difference)} {span(low, high, '+')}"


def groups(result: Result) -> Iterator[Piece]:
    """Each headline metric by group of users and of items."""
    rows = [row for row in of_kind(result, "kgrec", "baseline") if row.get("groups")]
    names = list(dict.fromkeys(name for row in rows for name in row["groups"]))
    for metric in headline(result):
        shown = [n for n in names if any(_in_group(row, n, metric) is not None for row in rows)]
        if shown:
            size = [max(row["groups"].get(n, {}).get("n") or 0 for row in rows) for n in shown]
            lines: list[list[object]] = [["how many users", *(f"{n:,}" for n in size)]]
            lines += [[row["name"], *(_in_group(row, n, metric) for n in shown)] for row in rows]
            yield Grid(["model", *shown], lines, f"{metric} by group.")


def _in_group(row: Row, name: str, metric: str) -> float | None:
    value: float | None = row["groups"].get(name, {}).get("metrics", {}).get(metric)
    return value


def _rounded(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:,.{digits}f}"


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"
