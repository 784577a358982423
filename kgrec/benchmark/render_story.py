"""The sections of a report on what stands behind its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from kgrec.benchmark.render_blocks import Facts, Grid, Lines, Piece, Words
from kgrec.benchmark.render_reading import Result, is_done, ours, seed_name

_SHOWN_STEPS = 60
_SHOWN_MOVES = 4


def trust(result: Result) -> Iterator[Piece]:
    """How often the test part was opened, relations that may know it, warnings and notes."""
    openings = result.get("openings") or {}
    if openings:
        often = {name: n for name, n in openings.items() if n != 1}
        yield Words(
            f"The test part was opened {sum(openings.values())} times, once for each of "
            f"{len(openings)} saved files of lists or scores."
            if not often
            else "The test part was opened more than once for: "
            + ", ".join(f"{name} ({n} times)" for name, n in often.items())
            + ". Figures that were seen before may have been chosen."
        )
        yield Grid(["row", "opened"], [[name, n] for name, n in openings.items()])
    yield from (Words(f"Warning: {warning}") for warning in result.get("warnings") or ())
    yield from (Words(note) for note in result["suite"].get("notes") or ())
    yield from _leaks(result.get("leaks") or ())


def _leaks(leaks: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    if not leaks:
        return
    flagged = [leak["relation"] for leak in leaks if leak["suspect"]]
    yield Words(
        f"Measured on the validation part, these relations may know what is held out: "
        f"{', '.join(flagged)}. What is measured with them is an upper bound."
        if flagged
        else "Measured on the validation part, no relation between items joins held-out pairs much "
        "more often than chance."
    )
    yield Grid(
        ["relation", "lift", "at least", "the schema says", "flagged"],
        [[leak["relation"], leak["lift"], leak["lift_low"],
          "may leak" if leak["may_leak"] else "", "yes" if leak["suspect"] else ""]
         for leak in leaks],
        "How much more often a relation joins a history to the item held out for validation than "
        "to another of like popularity; at least: lower end of the 95% interval. The test part "
        "stays shut.",
    )  # fmt: skip


def graph(result: Result) -> Iterator[Piece]:
    """The graph's health."""
    health = result.get("graph")
    if not health:
        return
    counts: list[tuple[object, str]] = [
        (n, f"nodes: {kind}") for kind, n in health.get("nodes", {}).items() if n
    ]
    parts = health.get("components")
    if parts:
        counts.append((f"{parts['largest_share']:.1%}", "of all nodes hang together"))
    if health.get("text_coverage") is not None:
        counts.append((f"{health['text_coverage']:.1%}", "of the items have a text"))
    yield Facts(counts)
    relations = [*health.get("behaviours", ()), *health.get("relations", ())]
    if relations:
        yield Grid(
            ["relation", "from", "to", "edges", "items covered"],
            [[r["name"], r["head"], r["tail"], r["n_edges"], f"{r['item_coverage']:.1%}"]
             for r in relations],
            "Edges by relation; an interaction is an edge too.",
        )  # fmt: skip


def chosen(result: Result) -> Iterator[Piece]:
    """What the search took for each row, of what it could take, on validation data."""
    lines = []
    for row in filter(is_done, result["rows"]):
        for seed in row["seeds"]:
            space = seed.get("space") or {}
            if not seed.get("chosen"):
                continue
            off = ", ".join(seed.get("switched_off") or ())
            searched = {k: v for k, v in seed["chosen"].items() if k in space or not space}
            took = "; ".join(f"{k} {_value(v)}" for k, v in searched.items())
            could = "; ".join(f"{k}: {_choices(v)}" for k, v in space.items())
            lines.append([row["name"], seed_name(seed), took, off, could])
    if lines:
        yield Grid(
            ["row", "", "took", "switched off", "could take"], lines,
            "Chosen on validation data alone. Switched off: validation was no better with it.",
        )  # fmt: skip


def ladder(result: Result) -> Iterator[Piece]:
    """The trials of our search, and what each step gave."""
    row = ours(result)
    seed = row["seeds"][0] if row and row["seeds"] else {}
    tried = [trial for trial in seed.get("tried") or () if trial["value"] is not None]
    if row is None or not tried:
        return
    steps = list(_steps(tried))
    best = list(accumulate((trial["value"] for trial in tried), max))
    yield Words(
        f"{row['name']}, {seed_name(seed)}: {len(tried)} trials took the validation figure from "
        f"{tried[0]['value']:.4f} to {best[-1]:.4f}."
    )
    if len(tried) > 1:
        yield Lines(
            list(range(1, len(tried) + 1)),
            {"best so far": best, "of the trial": [trial["value"] for trial in tried]},
            ("trial", "on validation"),
            "The validation figure by trial.",
        )
    caption = "What each trial moved from the best before it."
    if len(steps) > _SHOWN_STEPS:
        steps = [step for step in steps if step[-1]]
        caption = "The trials that were better than all before; the others are in result.json."
    yield Grid(["trial", "moved", "validation", "best so far", "kept"], steps, caption)


def _steps(tried: Sequence[Mapping[str, Any]]) -> Iterator[list[object]]:
    options: Mapping[str, Any] = {}
    best = float("-inf")
    for at, trial in enumerate(tried, 1):
        better = trial["value"] > best
        moved = "the start" if at == 1 else _moved(options, trial["options"])
        if better:
            options, best = {**options, **trial["options"]}, trial["value"]
        yield [at, moved, trial["value"], best, "yes" if better else ""]


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = [k for k, v in after.items() if k not in before or before[k] != v]
    said = [
        f"{k} {_value(before[k])} to {_value(after[k])}"
        if k in before
        else f"{k} {_value(after[k])}"
        for k in changed[:_SHOWN_MOVES]
    ]
    more = len(changed) - len(said)
    return ", ".join(said) + (f" and {more} more" if more else "") or "nothing"


def origin(result: Result) -> Iterator[Piece]:
    """Command, commit, hardware, versions, data and seeds: enough to run it again."""
    made = result.get("made", {})
    hardware, limits = made.get("hardware", {}), made.get("limits", {})
    seeds = {seed_name(seed): None for row in result["rows"] for seed in row.get("seeds", ())}
    said = {
        "command": made.get("command"),
        "date": made.get("date"),
        "kgrec": " ".join(filter(None, (made.get("kgrec"), made.get("commit")))),
        "hardware": ", ".join(
            f"{value} {unit}".strip()
            for key, unit in (("cores", "cores"), ("memory_gib", "GiB"), ("processor", ""))
            if (value := hardware.get(key))
        ),
        "python": hardware.get("python"),
        "versions": ", ".join(f"{k} {v}" for k, v in made.get("versions", {}).items()),
        "data, sha256": made.get("data_sha256"),
        "options": ", ".join(map(str, made.get("options") or ())),
        "seeds": ", ".join(seeds),
        "limits of a row and seed": limits
        and f"{limits.get('seconds')} seconds, {limits.get('memory_gib')} GiB",
    }
    yield Grid(["", "what"], [[name, value] for name, value in said.items() if value])
    yield Grid(
        ["row", "what it is", "source"],
        [[row["name"], row.get("about"), row.get("source")] for row in result["rows"]],
    )
    kept = [
        [row["name"], seed_name(seed), seed["lists"], seed.get("lists_sha256"),
         (seed.get("commit") or "")[:9], seed.get("threads")]
        for row in result["rows"] for seed in row.get("seeds", ()) if seed.get("lists")
    ]  # fmt: skip
    if kept:
        yield Grid(
            ["row", "", "file", "sha256", "commit", "threads"], kept,
            "Everything that was scored, beside truth.parquet: any other tool can score it again.",
        )  # fmt: skip


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _choices(space: Any) -> str:
    """`1, 3, 10`, or `1 to 100, log`."""
    if isinstance(space, Mapping):
        said = f"{_value(space['low'])} to {_value(space['high'])}"
        said += ", log" if space.get("log") else ""
        return said + (", whole" if space.get("whole") else "")
    return ", ".join(map(_value, space)) if isinstance(space, list | tuple) else _value(space)
