"""The README's tables of results, made from benchmarks/results/*.json.

chain-SET.json is what benchmarks/chain.py writes, suite-NAME.json the result.json of
`kgrec benchmark NAME`.

python benchmarks/tables.py            rewrites what stands between the markers in README.md
python benchmarks/tables.py --check    exits 1 when README.md says something else
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kgrec.benchmark.render_reading import (
    STAGES,
    best_published,
    figure,
    is_done,
    p_words,
    peak_gib,
    seconds,
    span,
)

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: python benchmarks/tables.py -->", "<!-- end of results -->"
COLD, WARM, ALL = "cold items", "warm items", "all users"


def read(name: str) -> dict[str, Any] | None:
    """The results of one set; None when it was not run."""
    path = RESULTS / f"chain-{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def row(label: str, metrics: dict[str, float], names: list[str], cost: str = "") -> str:
    """One line of a table."""
    values = " | ".join(f"{metrics[name]:.4f}" for name in names)
    return f"| {label} | {values} | {cost} |"


def cost_of(found: dict[str, Any]) -> str:
    """Seconds and memory of one variant."""
    seconds = found["seconds"]
    return f"{seconds['fit']:.0f} + {seconds['lists']:.0f} s, {found['peak_gib']:.1f} GiB"


def accuracy(name: str, title: str) -> Iterator[str]:
    """The table of one set: baselines, then every variant."""
    result = read(name)
    if result is None:
        return
    names = ["hit_rate@10", "nDCG@10", "recall@20", "nDCG@20"]
    hardware = result["hardware"]
    yield f"\n**{title}** ({hardware['cores']} cores, {hardware['memory_gib']} GiB)\n"
    yield "| model | HR@10 | nDCG@10 | recall@20 | nDCG@20 | fit + lists, peak memory |"
    yield "|---|---|---|---|---|---|"
    for label, key in (("popularity", "popularity"), ("item-kNN, tuned", "item-knn")):
        yield row(label, result["baselines"]["models"][key][ALL], names)
    for variant, found in result["variants"].items():
        label = "**kgrec**" if variant == "all" else f"kgrec, {variant}"
        yield row(label, found["groups"][ALL], names, cost_of(found))


def cold(name: str, title: str) -> Iterator[str]:
    """Cold and warm items of one model."""
    result = read(name)
    if result is None:
        return
    found = result["variants"]["all"]
    baselines = result["baselines"]["models"]
    yield f"\n**{title}**\n"
    yield "| model | recall@20 on cold items | recall@20 on warm items |"
    yield "|---|---|---|"
    n_cold = found["groups"][COLD]["n"]
    for label, groups in (
        ("popularity", baselines["popularity"]),
        ("item-kNN, tuned", baselines["item-knn"]),
        ("**kgrec**", found["groups"]),
    ):
        values = " | ".join(f"{groups[group]['recall@20']:.4f}" for group in (COLD, WARM))
        yield f"| {label} | {values} |"
    yield f"\nRanked among all items, for the {n_cold:,} users who had a cold item."
    for group, chance in found["chance"].items():
        yield (
            f"Ranked among the cold items alone, recall@20 is "
            f"{found['groups'][group]['recall@20']:.4f}, where chance gives "
            f"{chance['recall@20']:.4f}."
        )


SIMPLE = ("random", "popularity", "item-kNN")
"""Baselines that every suite's table shows, whatever they reach."""


def suite(result: dict[str, Any]) -> Iterator[str]:
    """The table of one suite: the best published figure, simple models, the best baseline, ours."""
    metrics, rows = result["suite"]["headline"], {row["name"]: row for row in result["rows"]}
    best = result.get("best_baseline", {})
    hardware = result["made"]["hardware"]
    where = f"{hardware['cores']} cores, {hardware['memory_gib']} GiB"
    yield f"\n**{result['suite']['title']}** ({where})\n"
    yield "| model | " + " | ".join(metrics) + " | tune + fit + lists, peak memory |"
    yield "|---" * (len(metrics) + 2) + "|"
    published = best_published(result, metrics[0])
    if published is not None:
        values = [published["metrics"].get(metric) for metric in metrics]
        cells = " | ".join("" if value is None else f"{value:.4f}" for value in values)
        yield f"| {published['model']}, published, not rerun | {cells} | |"
    for name in dict.fromkeys([*SIMPLE, *best.values(), "kgrec"]):
        if name in rows:
            by = [metric for metric in metrics if best.get(metric) == name]
            yield suite_row(rows[name], metrics, label(rows[name], by, len(metrics)))
    yield from verdicts(rows.get("kgrec", {}))
    yield from parts_off(result["rows"], metrics[-1])


def parts_off(rows: list[dict[str, Any]], metric: str) -> Iterator[str]:
    """What each ablation loses, in one sentence."""
    said = [
        f"{row['name']} {found['difference']:+.4f} ({p_words(found['p_holm'])})"
        for row in rows
        if row["kind"] == "ablation" and (found := row.get("to_full", {}).get(metric))
    ]
    if said:
        yield f"\nParts off, less the full model by {metric}: {'; '.join(said)}."


def label(row: dict[str, Any], best_by: list[str], n_metrics: int) -> str:
    """The name of a row, and by what it is the best baseline."""
    if row["kind"] == "kgrec":
        return f"**{row['name']}**"
    if not best_by:
        return str(row["name"])
    where = "" if len(best_by) == n_metrics else f" by {', '.join(best_by)}"
    return f"{row['name']}, best baseline{where}"


def suite_row(row: dict[str, Any], metrics: list[str], name: str) -> str:
    """One line: mean and half the 95% interval of each metric, and the cost."""
    if not is_done(row):
        return f"| {name}: {row['status']} |" + " |" * (len(metrics) + 1)
    took = " + ".join(f"{seconds(row, stage) or 0:.0f}" for stage in STAGES)
    cost = f"{took} s, {peak_gib(row) or 0:.1f} GiB"
    return f"| {name} | {' | '.join(plus_minus(row, metric) for metric in metrics)} | {cost} |"


def plus_minus(row: dict[str, Any], metric: str) -> str:
    """`0.1234 ± 0.0056`, the wider side of the interval."""
    mean, low, high = (figure(row, metric, part) for part in ("mean", "low", "high"))
    if mean is None:
        return ""
    if low is None or high is None:
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {max(high - mean, mean - low):.4f}"


def verdicts(row: dict[str, Any]) -> Iterator[str]:
    """Ours less the best baseline, user by user, in one sentence."""
    said = [
        f"{metric} {found['difference']:+.4f} {span(found['low'], found['high'], '+')} "
        f"({p_words(found.get('p_holm', found.get('p')))})"
        for metric, found in row.get("against", {}).items()
    ]
    if said:
        yield f"\nkgrec less the best baseline, paired by user: {'; '.join(said)}."


def suites() -> Iterator[str]:
    """The tables of every suite that was run."""
    for path in sorted(RESULTS.glob("suite-*.json")):
        yield from suite(json.loads(path.read_text("utf-8")))


def tables() -> str:
    """Everything between the markers."""
    lines = [
        *accuracy("amazon-beauty-2014", "amazon-beauty-2014, leave-last-out, brand and category"),
        *accuracy(
            "amazon-beauty-2014+also",
            "the same with also_bought, also_viewed, bought_together, which may leak",
        ),
        *accuracy("amazon-scientific-2018", "amazon-scientific-2018, leave-last-out"),
        *cold(
            "amazon-scientific-2018+cold",
            "amazon-scientific-2018, a tenth of the items kept out of training and tuning",
        ),
        *suites(),
    ]
    return "\n".join([BEGIN, *lines, "", END])


def main() -> None:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    path = ROOT / "README.md"
    text = path.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    made = before + tables() + after
    if args.check:
        sys.exit("README.md differs from benchmarks/results" if made != text else 0)
    path.write_text(made)


if __name__ == "__main__":
    main()
