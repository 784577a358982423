"""result.json: what was run, on what, with which figures; the report is made from it alone."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import kgrec
from kgrec import settings
from kgrec.atomic import claim, replace_file
from kgrec.benchmark.made import commit, hardware
from kgrec.benchmark.pairing import Values, aligned, best_baselines, pair_rows
from kgrec.benchmark.pairs import NOTES
from kgrec.benchmark.plan import Row
from kgrec.benchmark.state import Benchmark, Run, Scene
from kgrec.errors import MissingExtraError
from kgrec.progress import say

FORMAT = 1
_OTHER_DRAWS = 400  # of the bootstrap, for metrics that no claim is made by
_SEED_FIELDS = (
    "seconds", "peak_gib", "validation", "trials", "trials_asked", "chosen", "space", "tried",
    "switched_off", "lists_sha256", "stages", "commit", "threads",
)  # fmt: skip


def build_result(bench: Benchmark) -> dict[str, Any]:
    """Everything about a run, ready for JSON; figures are computed from the saved lists."""
    suite = bench.suite
    graph, leaks = _graph(bench)
    rows = [_row(bench, row) for row in bench.rows if any(r.row == row for r in bench.runs)]
    best = best_baselines(rows, suite.headline)
    pair_rows(bench, rows, best)
    said = ("name", "title", "about", "protocol", "headline", "ks", "published", "notes")
    plain = settings.to_plain(suite)
    if suite.task == "click":
        plain["notes"] = [*plain["notes"], *NOTES]
    result = {
        "format": FORMAT,
        "suite": {name: plain[name] for name in said},
        "made": _made(bench),
        "data": _data(bench),
        "warnings": [*bench.warnings, *_openings_warnings(bench)],
        "leaks": leaks,
        "graph": graph,
        "rows": rows,
        "best_baseline": best,
        "openings": _openings(bench),
    }
    found: dict[str, Any] = json.loads(json.dumps(_finite(result), default=_plain))
    return found


def write_result(result: Mapping[str, Any], bench: Benchmark) -> None:
    """Writes result.json, truth.parquet, report.md and, where its libraries are, report.html."""
    from kgrec.benchmark import render

    out = bench.options.out
    _write(out / "result.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    truths = [scene.sealed.truth() for scene in bench.scenes]
    if bench.suite.folds:
        truths = [t.with_columns(pl.lit(fold).alias("fold")) for fold, t in enumerate(truths)]
    path = out / "truth.parquet"
    with claim(path), replace_file(path) as beside:
        pl.concat(truths).write_parquet(beside)
    _write(out / "report.md", render.markdown(result))
    try:
        _write(out / "report.html", render.html(result))
    except MissingExtraError as error:
        say(f"benchmark: no report.html: {error}")


def _row(bench: Benchmark, row: Row) -> dict[str, Any]:
    runs = [run for run in bench.runs if run.row == row]
    bad = [run for run in runs if run.scored is None]
    found: dict[str, Any] = {
        "name": row.name,
        "kind": row.kind,
        "about": row.about,
        "source": row.source,
        "random": row.random,
        "status": bad[0].record["status"] if bad else "done",
        "reason": bad[0].record["reason"] if bad else "",
        "seeds": [_seed(run) for run in runs if run.scored is not None],
        "metrics": {},
        "against": {},
        "to_full": {},
        "groups": {},
    }
    if not bad:
        found["metrics"] = _metrics(bench, runs)
        found["groups"] = _groups(bench, runs)
    return found


def _seed(run: Run) -> dict[str, Any]:
    what = f"seed{run.seed}" if run.fold is None else f"fold{run.fold}"
    metrics: dict[str, float] = {}
    if run.scored is not None:
        metrics = {name: _mean(values) for name, values in run.scored.per_user.items()}
        metrics |= run.scored.catalogue
    found = {
        "seed": run.seed,
        "metrics": metrics,
        "lists": f"rows/{run.row.slug}-{what}/{run.file}",
    }
    if run.fold is not None:
        found["fold"] = run.fold
    return found | {name: run.record[name] for name in _SEED_FIELDS if name in run.record}


def _metrics(bench: Benchmark, runs: list[Run]) -> dict[str, Any]:
    from kgrec.benchmark.statistics import summarise

    found: dict[str, Any] = {}
    for name in _names(runs):
        draws = {} if name in bench.suite.headline else {"draws": _OTHER_DRAWS}
        found[name] = summarise(aligned(bench, runs, name), seed=bench.suite.seeds[0], **draws)
    for name in runs[0].scored.catalogue if runs[0].scored else ():
        values = [run.scored.catalogue[name] for run in runs if run.scored]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[name] = {"mean": float(np.mean(values)), "low": None, "high": None, "std": spread}
    return found


def _names(runs: list[Run]) -> list[str]:
    return list(runs[0].scored.per_user) if runs[0].scored else []


def _groups(bench: Benchmark, runs: list[Run]) -> dict[str, Any]:
    names = dict.fromkeys(name for run in runs if run.scored for name in run.scored.groups)
    found: dict[str, Any] = {}
    for name in names:
        some = [r.scored.groups[name] for r in runs if r.scored and name in r.scored.groups]
        n = sum(n for n, _ in some) if bench.suite.folds else some[0][0]
        metrics = {m: float(np.mean([means[m] for _, means in some])) for m in some[0][1]}
        found[name] = {"n": n, "metrics": metrics}
    return found


def _graph(bench: Benchmark) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The graph's health, and its leaks measured on the validation part: the test stays shut."""
    from kgrec.graph_health import graph_health

    parts = bench.scenes[0].parts
    shop = replace(bench.shop, interactions=parts.known, test=None, validation=None)
    health = graph_health(shop, held_out=parts.validation).to_dict()
    leaks = []
    for leak in health["leaks"]:
        lifts = [lift for lift in (leak["last"], leak["any"]) if lift is not None]
        most = max(lifts, key=lambda lift: lift["lift_low"])
        kept = {name: leak[name] for name in ("relation", "may_leak", "suspect")}
        leaks.append(kept | {"lift": most["lift"], "lift_low": most["lift_low"]})
    return health | {"held_out": "the validation part"}, leaks


def _data(bench: Benchmark) -> dict[str, Any]:
    scene: Scene = bench.scenes[0]
    known = scene.parts.known
    counts = np.bincount(known.behaviour, minlength=len(known.behaviours))
    return {
        "users": len(bench.shop.users),
        "items": len(bench.shop.items),
        "train": len(known) if scene.pairs else len(scene.parts.train),
        "validation": scene.n_validation or len(scene.parts.validation),
        "test": sum(s.sealed.n_pairs for s in bench.scenes),
        "test_users": sum(len(s.sealed.users) for s in bench.scenes),
        "cold_items": int((np.bincount(known.item, minlength=known.n_items) == 0).sum()),
        "behaviours": {b: int(n) for b, n in zip(known.behaviours, counts, strict=True)},
        "ordered": known.ordered,
    }


def _made(bench: Benchmark) -> dict[str, Any]:
    from kgrec.artefact import library_versions

    return {
        "kgrec": kgrec.__version__,
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": bench.options.command or " ".join(sys.argv),
        "hardware": hardware(),
        "versions": library_versions(),
        "data_sha256": bench.found.sha256,
        "options": list(bench.options.overrides),
        "suite_sha256": bench.suite.hash(),
        "seeds": list(bench.suite.seeds),
        "trials": bench.suite.trials,
        "limits": {"seconds": bench.suite.seconds, "memory_gib": bench.suite.memory_gib},
    }


def _openings(bench: Benchmark) -> dict[str, int]:
    return {name: n for scene in bench.scenes for name, n in scene.sealed.openings.items()}


def _openings_warnings(bench: Benchmark) -> list[str]:
    again = [f"{name} ({n} times)" for name, n in _openings(bench).items() if n > 1]
    if not again:
        return []
    return [f"the test part was opened more than once by: {', '.join(again)}"]


def _write(path: Path, text: str) -> None:
    with claim(path), replace_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _mean(values: Values) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else math.nan


def _finite(value: Any) -> Any:
    """The same with None for what is no number, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
