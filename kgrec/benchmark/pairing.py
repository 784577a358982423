"""Who is better, user by user: ours beside the best baseline, ablations beside the full model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.benchmark.state import Benchmark, Run
from kgrec.benchmark.statistics import against, holm

Values = npt.NDArray[np.float64]


def best_baselines(rows: Sequence[Mapping[str, Any]], headline: Sequence[str]) -> dict[str, str]:
    """The best baseline by each headline metric, on the test part itself: hardest to beat."""
    found = {}
    for metric in headline:
        done = [r for r in rows if r["kind"] == "baseline" and metric in r["metrics"]]
        if done:
            found[metric] = max(done, key=lambda r: r["metrics"][metric]["mean"])["name"]
    return found


def pair_rows(bench: Benchmark, rows: Sequence[dict[str, Any]], best: Mapping[str, str]) -> None:
    """Fills `against`, our rows less the best baseline, and `to_full`, ablations less ours.

    P-values are corrected by Holm's method for how many comparisons of one kind a metric has.

    Args:
        bench: The runs.
        rows: Those of result.json, to be filled.
        best: Name of the best baseline by headline metric.
    """
    for metric in bench.suite.headline:
        done = [row for row in rows if metric in row["metrics"]]
        ours = [row for row in done if row["kind"] != "baseline"]
        if metric in best:
            _pair(bench, metric, ours, best[metric], "against")
            for row in ours:
                row["against"][metric]["baseline"] = best[metric]
        full = [row["name"] for row in ours if row["kind"] == "kgrec"]
        if full:
            ablations = [row for row in ours if row["kind"] == "ablation"]
            _pair(bench, metric, ablations, full[0], "to_full")


def _pair(
    bench: Benchmark, metric: str, rows: Sequence[dict[str, Any]], name: str, key: str
) -> None:
    other = aligned(bench, _runs(bench, name), metric)
    for row in rows:
        mine = aligned(bench, _runs(bench, row["name"]), metric)
        row[key][metric] = against(mine, other, seed=bench.suite.seeds[0])
    corrected = holm({row["name"]: row[key][metric]["p"] for row in rows})
    for row in rows:
        row[key][metric]["p_holm"] = corrected[row["name"]]


def _runs(bench: Benchmark, name: str) -> list[Run]:
    return [run for run in bench.runs if run.row.name == name]


def aligned(bench: Benchmark, runs: Sequence[Run], name: str) -> list[Values]:
    """A metric of every user there is, an array a run; NaN for who is not tested in it."""
    users = {scene.fold: scene.sealed.users for scene in bench.scenes}
    found = []
    for run in runs:
        values = np.full(len(bench.shop.users), np.nan)
        if run.scored is not None:
            values[users[run.fold]] = run.scored.per_user[name]
        found.append(values)
    return found
