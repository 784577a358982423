"""The tables of results in README.md and docs/results.md, made from benchmarks/results.

suite-NAME.json there is the result.json of `kgrec benchmark NAME`.

python benchmarks/tables.py            rewrites both pages
python benchmarks/tables.py --check    exits 1 when one of them says something else
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
HEAD = """# Results, suite by suite

Made by `python benchmarks/tables.py` from [benchmarks/results](../benchmarks/results). Full ranking
of the whole catalogue, items of the history left out, unless a suite says otherwise; ± is half the
95% interval over users. [benchmarks.md](benchmarks.md) says how each figure comes about.

W_g alone is the dense half (graph network and text) without S; S alone is the sparse half without
the graph network; a shuffled graph keeps every degree and destroys the meaning. Ours and what is
random are means over the seeds, ablations have the first seed alone. A run that was stopped goes on
with the rows that it has: those that an earlier commit may have fitted are named below the table.
"""

Result = dict[str, Any]


def summary(results: list[Result]) -> Iterator[str]:
    """One line a suite: the best published figure, the best baseline and ours."""
    yield "| suite | metrics | published, not rerun | best baseline | kgrec | lead | its cost |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
        metrics, rows = result["suite"]["headline"], {row["name"]: row for row in result["rows"]}
        ours, best = rows.get("kgrec"), result.get("best_baseline", {}).get(metrics[-1])
        published = best_published(result, metrics[0])
        cells = [
            result["suite"]["title"],
            " / ".join(metrics),
            f"{_values(published['metrics'], metrics)} {published['model']}" if published else "",
            f"{_means(rows[best], metrics)} {best}" if best in rows else "",
            f"**{_means(ours, metrics)}**" if ours and is_done(ours) else "",
            _lead(ours or {}, metrics[-1]),
            _cost(ours) if ours and is_done(ours) else "",
        ]
        yield f"| {' | '.join(cells)} |"


def suite(result: Result) -> Iterator[str]:
    """Everything about one suite: every row, what the parts are worth, how it was run."""
    about, made = result["suite"], result["made"]
    metrics, best = about["headline"], result.get("best_baseline", {})
    hardware, data = made["hardware"], result.get("data", {})
    yield f"\n## {about['title']}\n"
    yield f"{about['protocol']}\n"
    yield f"| model | {' | '.join(metrics)} | tune + fit + lists, peak memory |"
    yield "|---" * (len(metrics) + 2) + "|"
    for published in about.get("published") or ():
        if any(metric in published["metrics"] for metric in metrics):
            values = [published["metrics"].get(metric) for metric in metrics]
            cells = " | ".join("" if value is None else f"{value:.4f}" for value in values)
            yield f"| {published['model']}, published, not rerun | {cells} | |"
    for row in sorted(result["rows"], key=lambda row: _ORDER.index(row["kind"])):
        by = [metric for metric in metrics if best.get(metric) == row["name"]]
        yield suite_row(row, metrics, label(row, by, len(metrics)))
    yield from verdicts({row["name"]: row for row in result["rows"]}.get("kgrec", {}))
    yield from parts_off(result["rows"], metrics[-1])
    seeds = ", ".join(map(str, made["seeds"]))
    sizes = ", ".join(f"{data[key]:,} {key}" for key in ("users", "items", "train") if key in data)
    yield (
        f"\n{sizes.replace('train', 'rows to train on')}; seeds {seeds}; {made['trials']} trials; "
        f"{hardware['cores']} cores, {hardware['memory_gib']} GiB; `{made['command']}` at "
        f"{(made.get('commit') or 'an unknown commit')[:9]}."
    )
    yield from fitted_before(result)
    yield from whole_time(result)
    often = {name: n for name, n in (result.get("openings") or {}).items() if n > 1}
    if often:
        said = ", ".join(f"{name} {n} times" for name, n in often.items())
        yield f"\nThe test part was opened more than once for {said}."
    yield from (f"\n{note}" for note in about.get("notes") or ())


def fitted_before(result: Result) -> Iterator[str]:
    """Which rows an earlier commit may have fitted: theirs is another one or was not recorded."""
    now = result["made"].get("commit")
    rows = [
        row["name"] for row in result["rows"]
        if any(seed.get("commit") != now for seed in row.get("seeds", ()))
    ]  # fmt: skip
    if len(rows) == len(result["rows"]):
        yield "\nAll rows were fitted at that commit or at earlier ones."
    elif rows:
        yield f"\nFitted at that commit or at earlier ones: {', '.join(rows)}."


def whole_time(result: Result) -> Iterator[str]:
    """What all rows and seeds took, one after another."""
    seeds = [seed for row in result["rows"] for seed in row.get("seeds", ())]
    total = sum(sum((seed.get("seconds") or {}).values()) for seed in seeds)
    if total:
        yield f"\nRows and seeds one after another: {total / 60:.0f} minutes; two at a time, half."


_ORDER = ("baseline", "kgrec", "ablation")


def parts_off(rows: list[Result], metric: str) -> Iterator[str]:
    """What each ablation loses, in one sentence."""
    said = [
        f"{row['name']} {found['difference']:+.4f} ({p_words(found['p_holm'])})"
        for row in rows
        if row["kind"] == "ablation" and (found := row.get("to_full", {}).get(metric))
    ]
    if said:
        yield f"\nParts off, less the full model by {metric}: {'; '.join(said)}."


def label(row: Result, best_by: list[str], n_metrics: int) -> str:
    """The name of a row, and by what it is the best baseline."""
    if row["kind"] != "baseline":
        return f"**{row['name']}**" if row["kind"] == "kgrec" else f"kgrec, {row['name']}"
    if not best_by:
        return str(row["name"])
    where = "" if len(best_by) == n_metrics else f" by {', '.join(best_by)}"
    return f"{row['name']}, best baseline{where}"


def suite_row(row: Result, metrics: list[str], name: str) -> str:
    """One line: mean and half the 95% interval of each metric, and the cost."""
    if not is_done(row):
        return f"| {name}: {row['status']} |" + " |" * (len(metrics) + 1)
    return (
        f"| {name} | {' | '.join(plus_minus(row, metric) for metric in metrics)} | {_cost(row)} |"
    )


def plus_minus(row: Result, metric: str) -> str:
    """`0.1234 ± 0.0056`, the wider side of the interval."""
    mean, low, high = (figure(row, metric, part) for part in ("mean", "low", "high"))
    if mean is None:
        return ""
    if low is None or high is None:
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {max(high - mean, mean - low):.4f}"


def verdicts(row: Result) -> Iterator[str]:
    """Ours less the best baseline, user by user, in one sentence."""
    said = [
        f"{metric} {found['difference']:+.4f} {span(found['low'], found['high'], '+')} "
        f"({p_words(found.get('p_holm', found.get('p')))})"
        for metric, found in row.get("against", {}).items()
    ]
    if said:
        yield f"\nkgrec less the best baseline, paired by user: {'; '.join(said)}."


def _lead(row: Result, metric: str) -> str:
    found = row.get("against", {}).get(metric)
    if found is None:
        return ""
    return f"{found['difference']:+.4f} {span(found['low'], found['high'], '+')}"


def _cost(row: Result) -> str:
    took = " + ".join(f"{seconds(row, stage) or 0:.0f}" for stage in STAGES)
    return f"{took} s, {peak_gib(row) or 0:.1f} GiB"


def _means(row: Result, metrics: list[str]) -> str:
    return _values({metric: figure(row, metric, "mean") for metric in metrics}, metrics)


def _values(values: dict[str, float | None], metrics: list[str]) -> str:
    found = [values.get(metric) for metric in metrics]
    return " / ".join("-" if value is None else f"{value:.4f}" for value in found)


def pages() -> dict[Path, str]:
    """What each page should hold."""
    results = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("suite-*.json"))]
    readme = ROOT / "README.md"
    before, rest = readme.read_text("utf-8").split(BEGIN)
    _, after = rest.split(END)
    table = "\n".join([BEGIN, *(summary(results) if results else ()), END])
    details = "\n".join([HEAD, *(line for result in results for line in suite(result)), ""])
    return {readme: before + table + after, ROOT / "docs" / "results.md": details}


def main() -> None:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for path, text in pages().items():
        if args.check and (not path.exists() or path.read_text("utf-8") != text):
            sys.exit(f"{path.name} differs from benchmarks/results")
        if not args.check:
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
