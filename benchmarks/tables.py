"""The README's tables of results, made from benchmarks/results/*.json.

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
