"""Our rows beside the best baseline and ablations beside the full model, user by user."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kgrec.benchmark.pairing import aligned, best_baselines, pair_rows
from kgrec.benchmark.statistics import against, holm

METRIC = "recall@5"
USERS = np.array([1, 2, 4, 5, 7, 8])
"""Who is tested, of ten."""


def row(name: str, kind: str, mean: float | None) -> dict[str, Any]:
    metrics = {} if mean is None else {METRIC: {"mean": mean}}
    return {"name": name, "kind": kind, "metrics": metrics, "against": {}, "to_full": {}}


def bench(values: dict[str, list[float]]) -> Any:
    """A benchmark of one seed whose rows have these values for the users tested."""
    runs = [
        SimpleNamespace(
            row=SimpleNamespace(name=name), fold=None,
            scored=SimpleNamespace(per_user={METRIC: np.array(found)}),
        )
        for name, found in values.items()
    ]  # fmt: skip
    return SimpleNamespace(
        runs=runs,
        scenes=[SimpleNamespace(fold=None, sealed=SimpleNamespace(users=USERS))],
        shop=SimpleNamespace(users=range(10)),
        suite=SimpleNamespace(headline=(METRIC,), seeds=(7,)),
    )


VALUES = {
    "kgrec": [1.0, 1, 1, 0, 1, 1],
    "no graph": [1.0, 0, 1, 0, 1, 0],
    "no text": [1.0, 1, 1, 0, 1, 0],
    "EASE": [0.0, 0, 1, 0, 1, 0],
}


def rows() -> list[dict[str, Any]]:
    kinds = {"kgrec": "kgrec", "EASE": "baseline"}
    made = [row(n, kinds.get(n, "ablation"), float(np.mean(v))) for n, v in VALUES.items()]
    return [*made, row("S alone", "ablation", None), row("iALS", "baseline", None)]


def test_ablations_are_paired_with_the_full_model() -> None:
    made = rows()
    pair_rows(bench(VALUES), made, best_baselines(made, (METRIC,)))
    found = {one["name"]: one["to_full"].get(METRIC) for one in made}
    assert found["no graph"]["difference"] == pytest.approx(-2 / 6)
    assert set(found["no graph"]) == {"difference", "low", "high", "p", "p_holm"}
    pair = [[np.array(VALUES[name])] for name in ("no graph", "kgrec")]
    assert found["no graph"]["p"] == against(*pair)["p"]
    p = {name: found[name]["p"] for name in ("no graph", "no text")}
    assert {name: found[name]["p_holm"] for name in p} == holm(p)
    assert not any(found[name] for name in ("kgrec", "EASE", "S alone", "iALS"))


def test_ours_are_paired_with_the_best_baseline() -> None:
    made = rows()
    pair_rows(bench(VALUES), made, {METRIC: "EASE"})
    found = {one["name"]: one["against"].get(METRIC) for one in made}
    assert found["kgrec"]["baseline"] == "EASE"
    assert found["kgrec"]["difference"] == pytest.approx(3 / 6)
    assert found["kgrec"]["p_holm"] >= found["kgrec"]["p"]
    assert found["EASE"] is found["S alone"] is None


def test_without_a_full_model_or_a_baseline_nothing_is_paired() -> None:
    made = [one for one in rows() if one["kind"] == "ablation"]
    assert best_baselines(made, (METRIC,)) == {}
    pair_rows(bench(VALUES), made, {})
    assert not any(one["to_full"] or one["against"] for one in made)


def test_who_is_not_tested_is_nan() -> None:
    made = bench(VALUES)
    (found,) = aligned(made, made.runs[:1], METRIC)
    assert np.flatnonzero(~np.isnan(found)).tolist() == USERS.tolist()
    assert found[USERS].tolist() == VALUES["kgrec"]
