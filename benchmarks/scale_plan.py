"""A billion interactions on paper: hours, memory, machines and money, from the measured rates.

Used by scale_page.py. Every rate is that of the largest fit, reading and IVF lists in
benchmarks/results; what is assumed stands in the table's words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import Any

from kgrec.benchmark.render_blocks import Grid, Piece, Words
from kgrec.needs import ROW

ROWS, USERS, ITEMS = 10**9, 10**8, 5 * 10**7
K = 100
CORES, NIGHT, PRICE = 64, 8, 0.05
"""Cores of a machine; hours in which lists must be there; dollars of a core and its share of memory
for an hour."""
PAIRS = 50
"""Pairs that an item is to keep: what 200 million are to the items of the real UserBehavior."""
SIZE = 64
"""Numbers of an item's vector."""
Result = Mapping[str, Any]
_GROWS = {
    "start": "rows", "counts": "rows", "graph network": "rows", "search": "nothing, a sample",
    "ranker": "items", "index": "items",
}  # fmt: skip
_SPREADS = {"search": "columns, over workers", "ranker": "columns, over workers"}


def plan(fit: Result | None, kept: Result | None, lists: Result | None) -> Iterator[Piece]:
    """Tables and words.

    Args:
        fit: The largest fit-ROWS.json.
        kept: One of as many rows that trained the final network, where `fit` did not.
        lists: A lists-ITEMS-SIZE.json with IVF, of the most items and, of these, the shortest
            vectors.
    """
    if fit is None or lists is None:
        return
    items = fit["shape"]["n_items"]
    factor = {"rows": ROWS / fit["rows"], "items": ITEMS / items}
    yield Words(
        f"{ROWS:,} interactions of {USERS:,} users with {ITEMS:,} items, none of it run: the "
        f"seconds of {fit['rows']:,} rows and {items:,} items on two cores times what each stage "
        "grows with. The search looks at a sample whatever the rows; its network is as it was."
    )
    table: list[list[object]] = []
    total = 0.0
    for stage, grows, seconds in (*_stages(fit), *_final_network(kept)):
        times = factor.get(grows, 1.0)
        hours = seconds * times * 2 / 3600
        total += hours
        where = _SPREADS.get(stage.split(",")[0], "one machine")
        table.append([stage, grows, round(seconds), f"{times:.1f}", f"{hours:.1f}", where])
    rate, at = _ivf_rate(lists)
    slower = math.sqrt(ITEMS / at)
    night = USERS / rate * slower * 2 / 3600
    table.append([f"lists of {K}, IVF at 0.95", "users and the root of items",
                  f"{rate:,.0f} users a second", f"{slower:.1f} times slower", f"{night:,.0f}",
                  "shards, over workers"])  # fmt: skip
    alone = _sparse_rate(fit)
    if alone is not None:
        night += (added := USERS / alone * 2 / 3600)
        table.append([f"lists of {K}, S and reading the model", "users",
                      f"{alone:,.0f} users a second", "1.0", f"{added:,.0f}",
                      "shards, over workers"])  # fmt: skip
    yield Grid(("stage", "grows with", "seconds measured", "times", "core-hours", "runs on"), table)
    machines = math.ceil(night / NIGHT / CORES)
    yield Words(
        f"A fit is {total:,.0f} core-hours, {PRICE * total:,.2f} dollars at {PRICE} a core-hour "
        f"(an assumption); everybody's lists are {night:,.0f} core-hours, "
        f"{PRICE * night:,.2f} dollars a night, on {machines} machine{'s' * (machines > 1)} of "
        f"{CORES} cores within "
        f"{NIGHT} hours, in {USERS // 100_000:,} shards of 100,000 users. What runs on one machine "
        "gains by more cores only as far as its libraries share the work; two were measured."
    )
    memory: list[tuple[str, str, int]] = [
        ("interactions, whole and cut", f"2 x {ROW} bytes a row", 2 * ROW * ROWS),
        ("ids and their numbers", "40 bytes each", 40 * (USERS + ITEMS)),
        (f"vectors of {SIZE}: in, out, offered, index", f"4 x {4 * SIZE + 4} bytes an item",
         4 * (4 * SIZE + 4) * ITEMS),
        (f"{PAIRS} pairs an item, four views and what they predict, at most three at once",
         f"3 x 1.5 x 8 x {PAIRS} bytes an item", int(36 * PAIRS * ITEMS)),
        ("S, twice as many entries as pairs of a view", f"16 x {PAIRS} bytes an item",
         16 * PAIRS * ITEMS),
    ]  # fmt: skip
    rows: list[list[object]] = [[name, how, f"{size / 2**30:,.0f}"] for name, how, size in memory]
    whole = sum(size for _, _, size in memory)
    rows.append(["together", "", f"{whole / 2**30:,.0f}"])
    yield Grid(("held by the fit", "how much", "GiB"), rows)
    disk = USERS * K * 8.5 / 2**40
    yield Words(
        f"The first thing to break is `ranker.most_pairs`: its 200 million are "
        f"{2 * 10**8 // ITEMS} pairs an item here, so S is starved long before memory ends; with "
        f"{PAIRS} an item (`ranker.most_pairs={PAIRS * ITEMS}`) the table above holds, on one "
        f"machine of {2 ** math.ceil(math.log2(whole / 2**30))} GiB for the fit. Past that, pairs "
        "would have to be counted by blocks of columns on several machines, which the engine does "
        "not do: it spreads the solving, and each worker's machine holds the matrices. A worker "
        "for lists needs the model: vectors, S and its shard's histories. "
        f"The lists take {disk:.1f} TiB as Parquet."
    )


def _stages(fit: Result) -> Iterator[tuple[str, str, float]]:
    """Name, what it grows with, and seconds of each stage, in order."""
    yield "read and code", "rows", fit["prepare"]["seconds"]
    met: set[str] = set()
    one = fit["fit"]
    twice = [name for name, _ in one["stages"]].count("counts") > 1
    for (name, began), (_, ended) in pairwise([*one["stages"], ("", one["seconds"])]):
        first = twice and name in ("counts", "graph network") and name not in met
        met.add(name)
        if name == "text":
            continue
        grows = "nothing, a sample" if first else _GROWS.get(name, "rows")
        label = {"start": "load, estimate, split"}.get(name, name)
        yield f"{label}, for the search" if first else label, grows, ended - began


def _final_network(kept: Result | None) -> Iterator[tuple[str, str, float]]:
    """The same of the final network, of a fit without a search."""
    if kept is None:
        return
    stages = [*kept["fit"]["stages"], ("", kept["fit"]["seconds"])]
    for (name, began), (_, ended) in pairwise(stages):
        if name == "graph network":
            yield "graph network, final", "rows", ended - began


def _sparse_rate(fit: Result) -> float | None:
    """Users a second of a model whose search switched the dense half off; None where it did not."""
    if fit["shape"].get("size") != 1:
        return None
    return float((fit.get("users") or fit["shape"]["n_users"]) / fit["recommend"]["seconds"])


def _ivf_rate(lists: Result) -> tuple[float, int]:
    """Users a second at index_recall 0.95, and of how many items."""
    seconds = median(one["ivf"]["seconds_0.95"] for one in lists["rounds"])
    return lists["users"] / seconds, lists["items"]
