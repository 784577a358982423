"""The page of scale, docs/scale-measured.md and .html, made from benchmarks/results.

python benchmarks/scale_page.py            rewrites both
python benchmarks/scale_page.py --check    exits 1 when the Markdown says something else

generated.json, read-ROWS.json, fit-ROWS.json, bounds.json, lists-ITEMS-SIZE.json and estimates.json
there are what compare_taobao.py, read_scale.py, fit_scale.py, bounds_cost.py, lists_scale.py and
estimates.py write.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scale_plan import plan

from kgrec.benchmark.render_blocks import (
    Grid,
    Lines,
    Part,
    Piece,
    Scatter,
    Words,
    to_html,
    to_markdown,
)

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "scale-measured"
LEAD = (
    "Made rows with the skew of Taobao's UserBehavior (benchmarks/generate_taobao.py), no text. "
    "Every figure comes from a file in benchmarks/results, which a command in benchmarks wrote; "
    "its commit and hardware stand in that file: two cores, unless a line says otherwise."
)
COMMANDS = ("prepare", "fit", "recommend", "evaluate")
Result = dict[str, Any]


def results(pattern: str) -> list[Result]:
    """What the files of one benchmark hold, the smallest first."""
    found = [json.loads(path.read_text()) for path in RESULTS.glob(pattern)]
    return sorted(found, key=lambda one: (one.get("rows", one.get("items")), one.get("size", 0)))


def generated() -> Iterator[Piece]:
    """Made rows beside the original's."""
    path = RESULTS / "generated.json"
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    sides = {side: found[side] for side in ("real", "generated")}
    yield Words(
        f"{found['rows']:,} rows of whole users of UserBehavior.csv, from which the skew was "
        f"taken, and as many made ones of seed {found['seed']}. Shares are of all rows."
    )
    yield Grid(
        ("", *sides),
        [
            [name, *(of[name][0] for of in sides.values())]
            for name in found["real"]
            if name not in found["charts"]
        ],
    )
    for name, chart in found["charts"].items():
        series = {side: of[name] for side, of in sides.items()}
        yield Lines(chart["places"], series, (chart["across"], ""), name, chart["logarithmic"])


def reading() -> Iterator[Piece]:
    """`kgrec prepare` beside a bare scan and pandas."""
    rows = [
        [one["rows"], name, _short(median(each["seconds"])), _short(each["ratio"]),
         _short(each["peak_gib"])]
        for one in results("read-*.json")
        for name, each in one["readers"].items()
    ]  # fmt: skip
    yield Grid(("rows", "reader", "seconds", "times the scan", "peak GiB"), rows)
    yield Words(
        "Asked: at most 2.5 times the scan at 10 and at 100 million rows, at most 8 GiB at 100 "
        "million. What does not grow with the rows (starting Python, loading libraries, compiled "
        "kernels) is a second or two, and weighs most where the whole takes few."
    )


def stages(one: Result) -> dict[str, float]:
    """Seconds by stage of prepare and fit; one that comes twice, for the search and for the final
    model, once."""
    found: dict[str, float] = {"read and code": one["prepare"]["seconds"]}
    fit = one["fit"]
    for (name, began), (_, ended) in pairwise([*fit["stages"], ("", fit["seconds"])]):
        name = {"start": "start and load"}.get(name, name)
        found[name] = found.get(name, 0.0) + ended - began
    return found


def uses(one: Result) -> dict[str, float]:
    """Seconds of what a model is for, reading it included."""
    some = one.get("users")
    found = {f"lists of 100 for {some:,} users" if some else "lists of 100": one["recommend"]}
    found |= {"evaluation": one["evaluate"]} if "evaluate" in one else {}
    return {name: of["seconds"] for name, of in found.items()}


def growth(fits: Sequence[Result]) -> Grid:
    """Seconds and shares of each stage and peaks of each command by size, and how they grow."""
    by_size = {one["rows"]: stages(one) | uses(one) for one in fits}
    sizes = list(by_size)
    names = list(dict.fromkeys(name for each in by_size.values() for name in each))
    header = ["stage", *(f"{rows:,} rows, s" for rows in sizes)]
    header += [f"exponent to {rows:,}" for rows in sizes[1:]]
    table: list[list[object]] = []
    for name in names:
        seconds = [each.get(name) for each in by_size.values()]
        table.append([name, *(_with_share(name, one) for one in fits)])
        table[-1] += [_exponent(*pair, *steps) for pair, steps in _steps(seconds, sizes)]
    for name, of in zip(("prepare", "fit", "lists", "evaluation"), COMMANDS, strict=True):
        peaks = [one[of]["peak_gib"] if of in one else None for one in fits]
        table.append([f"peak GiB of {name}", *(_short(peak) for peak in peaks)])
        table[-1] += [_exponent(*pair, *steps) for pair, steps in _steps(peaks, sizes)]
    return Grid(header, table)


def _with_share(name: str, one: Result) -> str | None:
    """Seconds, with their share where they are of prepare or fit."""
    fitted = stages(one)
    if name in fitted:
        return f"{_short(fitted[name])} ({fitted[name] / sum(fitted.values()):.0%})"
    return _short(uses(one).get(name))


def fitting() -> Iterator[Piece]:
    """Stages against rows, their exponents, and memory over time."""
    by_name: dict[str, list[Result]] = {}
    for one in results("fit-*.json"):
        by_name.setdefault(one.get("name", ""), []).append(one)
    fits = by_name.pop("", [])
    if not fits:
        return
    yield growth(fits)
    yield Words(
        "Asked: at most 3 hours and 20 GiB for prepare and fit of 100 million rows, and growth "
        "close to linear. In brackets the share of prepare and fit together. An exponent of 1 is "
        "linear; below a few seconds it says little."
    )
    off = [f"{one['rows']:,}" for one in fits if one.get("shape", {}).get("size") == 1]
    if off:
        yield Words(
            f"At {' and '.join(off)} rows the search switches the dense half off, since made rows "
            "hold little that it could learn: there no final network is trained."
        )
    for other in by_name.values():
        yield Words(f"The same with {', '.join(other[0]['options'])}:")
        yield growth(other)
    by_size = {one["rows"]: stages(one) for one in fits}
    names = list(dict.fromkeys(name for each in by_size.values() for name in each))
    points = {
        name: [("", float(rows), 1e6 * each[name] / rows) for rows, each in by_size.items()
               if each.get(name, 0) > 1]
        for name in names
    }  # fmt: skip
    yield Scatter(
        {name: some for name, some in points.items() if some},
        ("rows", "seconds a million rows"),
        "Seconds a million rows, by stage: what stays level grows with the rows",
    )
    grid = np.linspace(0, 1, 101)
    memory = {f"{one['rows']:,} rows": _memory(one["fit"]["memory"], grid) for one in fits}
    yield Lines(
        [round(float(share), 2) for share in grid], memory, ("share of the time of fit", "GiB"),
        "Memory of kgrec fit over its time",
    )  # fmt: skip


def bounds() -> Iterator[Piece]:
    """What the bounds of a large fit cost where nothing need be cut."""
    path = RESULTS / "bounds.json"
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    first = found["fits"][0]
    yield Words(
        f"The sparse half alone on the {first['rows']:,} rows and {first['items']:,} items of "
        f"{found['data']}, whose rows have no order, so that the newest of a user are any; "
        f"{found['trials']} trials each, nDCG@10 of the validation part. At 100 million rows on "
        "4.2 million items the bounds leave 48 pairs an item and count 100 pairs a row: the last "
        "line."
    )
    header = ("pairs an item keeps", "pairs counted a row", "nDCG@10", "of all pairs",
              "entries of S", "seconds", "peak GiB")  # fmt: skip
    rows: list[list[object]] = [
        [one["kept"] or "all", one["counted"] or "all", f"{one['validation']:.4f}",
         f"{one['validation'] / first['validation']:.3f}", f"{one['entries']:,}",
         _short(one["seconds"]), _short(one["peak_gib"])]
        for one in found["fits"]
    ]  # fmt: skip
    yield Grid(header, rows)


def samples() -> Iterator[Piece]:
    """What ranking among a sample of the catalogue costs the search."""
    rows: list[list[object]] = []
    for one in results("search-sample-*.json"):
        for share in dict.fromkeys(each["share"] for each in one["samples"]):
            same = [each for each in one["samples"] if each["share"] == share]
            rows.append(
                [
                    one["data"], f"{one['n_items']:,}", f"{share:.0%}", len(one["scores"]),
                    f"{min(each['correlation'] for each in same):.3f}",
                    f"{max(each['lost'] for each in same):.1%}",
                    f"{median(each['seconds'] for each in same):.2f}",
                ]
            )  # fmt: skip
    if not rows:
        return
    yield Words(
        "Past 60,000 items (`ranker.search_items`) the search ranks held-out items among a random "
        "sample of the catalogue. Here the same configurations, drawn from the search's ladders, "
        "are scored on the validation part against all items and against samples: the lowest rank "
        "correlation of both scores, and the most of the best nDCG@10 that is lost by taking what "
        "a sample likes best. Held-out items are scored beside the sample, so that on small "
        "catalogues the time falls by less than the share. 60,000 are 1.4% of 4.2 million."
    )
    header = ("data", "items", "sampled", "configurations", "correlation", "lost", "of the time")
    yield Grid(header, rows)


def _steps(
    values: Sequence[float | None], rows: Sequence[int]
) -> Iterator[tuple[tuple[float | None, float | None], tuple[int, int]]]:
    return zip(pairwise(values), pairwise(rows), strict=True)


def _exponent(before: float | None, after: float | None, fewer: int, more: int) -> str | None:
    if not before or not after:
        return None
    return _short(math.log(after / before) / math.log(more / fewer))


def _short(value: float | None) -> str | None:
    """Two decimals, one from ten, none from a thousand."""
    if value is None:
        return None
    return f"{value:,.{2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"


def _memory(points: Sequence[tuple[float, float]], grid: Any) -> list[float]:
    seconds, gib = np.array(points).T
    return [round(float(v), 3) for v in np.interp(grid * seconds[-1], seconds, gib)]


def lists() -> Iterator[Piece]:
    """Lists beside the bare product and peers."""
    rows: list[list[object]] = []
    points: dict[str, list[tuple[str, float, float]]] = {}
    for one in results("lists-*.json"):
        rounds, shape = one["rounds"], [one["items"], one["size"]]
        for method in (name for name in rounds[0] if name != "ivf"):
            rate = one["users"] / median(each[method]["seconds"] for each in rounds)
            peak = max(each[method]["peak_gib"] for each in rounds)
            rows.append([*shape, method, _short(rate), _short(one["share_of_torch"][method]), None,
                         _short(peak)])  # fmt: skip
            points.setdefault(method, []).append((f"d {one['size']}", one["items"], rate))
        for wanted in ("0.95", "0.99") if "ivf" in rounds[0] else ():
            ivf = [each["ivf"] for each in rounds]
            seconds = median(each[f"seconds_{wanted}"] for each in ivf)
            share = median(
                each["torch"]["seconds"] / each["ivf"][f"seconds_{wanted}"] for each in rounds
            )
            recall = f"{min(each[f'recall_{wanted}'] for each in ivf):.3f}"
            rows.append([*shape, f"kgrec, IVF, {ivf[0][f'probes_{wanted}']} cells",
                         _short(one["users"] / seconds), _short(share), recall,
                         _short(max(each["peak_gib"] for each in ivf))])  # fmt: skip
    if not rows:
        return
    yield Words(
        "Lists of 100, own items left out; made vectors in clusters of a hundred items. Torch is "
        "the bare product and top-k, nothing written; kgrec computes users from their histories "
        "and writes Parquet. Asked: 0.8 of torch's rate, ahead of implicit and RecBole."
    )
    header = ("items", "d", "method", "users a second", "of torch's rate", "index_recall",
              "peak GiB")  # fmt: skip
    yield Grid(header, rows)
    yield Scatter(points, ("items", "users a second"), "Users a second against items")


def estimates() -> Iterator[Piece]:
    """What was said before a command beside what it took."""
    rows, points = list[list[object]](), dict[str, list[tuple[str, float, float]]]()

    def add(name: str, command: str, said: float, truth: float, stage: str | None) -> None:
        what = "disk" if stage is None else "memory"
        rows.append([name, command, what, *map(_short, (said, truth, said / truth)), stage])
        if stage is not None:
            points.setdefault(command, []).append((name, truth, said / truth))

    path = RESULTS / "estimates.json"
    found: Mapping[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for key, of in found.items():
        name = f"{int(key):,}" if key.isdigit() else key
        for command in (each for each in COMMANDS if each in of):
            for what, stage in (("memory", of[command]["stage"]), ("disk", None)):
                if what not in of[command]:
                    continue
                one = of[command][what]
                add(name, command, one["estimate_mib"] / 1024, one["truth_mib"] / 1024, stage)
    for one in results("fit-*.json"):
        options = "".join(f", {option}" for option in one["options"])
        for command in (each for each in COMMANDS if one.get(each, {}).get("said")):
            said, name = one[command]["said"], f"{one['rows']:,}"
            gib, stage = said["gib"], said["stage"]
            name += options if command == "fit" else ""
            if said.get("without_dense") and one["shape"]["size"] == 1:
                gib, stage = said["without_dense"], "all, without the dense half"
            add(name, command, gib, one[command]["peak_gib"], stage)
    if not rows:
        return
    header = ("rows", "command", "what", "said, GiB", "held, GiB", "ratio", "in which stage")
    yield Grid(header, rows)
    yield Words(
        "A ratio of 0.7 to 1.3 was asked. Where the search may switch the dense half off, after "
        "which no final network is trained, fit says what it needs in that case too; it is what "
        "stands here where that happened."
    )
    yield Scatter(points, ("held, GiB", "said / held"), "Memory: 0.7 to 1.3 was asked")


def billion() -> Iterator[Piece]:
    """A billion interactions on paper."""
    fits = results("fit-*.json")
    usual = [one for one in fits if not one.get("name")]
    rows = usual[-1]["rows"] if usual else 0
    kept = [one for one in fits if one.get("name") == "dense" and one["rows"] == rows]
    with_ivf = [one for one in results("lists-*.json") if "ivf" in one["rounds"][0]]
    with_ivf.sort(key=lambda one: (one["items"], -one["size"]))
    yield from plan(*((some[-1] if some else None) for some in (usual, kept, with_ivf)))


def page() -> tuple[list[Part], str]:
    """What the page shows, and its small print."""
    made = {
        "Made rows beside the original's": generated,
        "Reading": reading,
        "Fitting": fitting,
        "What the bounds of a fit cost": bounds,
        "What a sampled catalogue costs the search": samples,
        "Lists": lists,
        "Estimates": estimates,
        "A billion interactions, on paper": billion,
    }
    parts = [Part(title, tuple(of())) for title, of in made.items()]
    return [part for part in parts if part.pieces], "Made by python benchmarks/scale_page.py."


def main() -> None:
    """Writes the page or checks it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parts, footer = page()
    markdown = to_markdown("Scale, as measured", LEAD, parts, footer)
    if parser.parse_args().check:
        if PAGE.with_suffix(".md").read_text() != markdown:
            sys.exit(f"{PAGE}.md differs: python benchmarks/scale_page.py")
        return
    PAGE.with_suffix(".md").write_text(markdown)
    PAGE.with_suffix(".html").write_text(to_html("Scale, as measured", LEAD, parts, footer))


if __name__ == "__main__":
    main()
