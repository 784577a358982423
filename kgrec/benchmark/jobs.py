"""One row under one seed, in a process of its own; kept when it is there already."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import kgrec
from kgrec import settings
from kgrec.atomic import claim, replace_file
from kgrec.benchmark.limits import run_limited
from kgrec.benchmark.made import commit, default_threads
from kgrec.benchmark.plan import Row
from kgrec.benchmark.rows import EMBEDDINGS, ROW, Job
from kgrec.benchmark.scoring import file_hash
from kgrec.benchmark.state import Benchmark, Options, Scene

_KEPT = ("done", "out of time", "out of memory")


def fitted(
    bench: Benchmark, scene: Scene, row: Row, seed: int, *, wanted: bool
) -> dict[str, Any] | None:
    """The record of a finished row and seed, fitted now unless it is there already.

    Returns:
        None where it is not there and not wanted.
    """
    suite, out = bench.suite, row_folder(bench, scene, row, seed)
    job = Job(
        name=row.name,
        kind=row.kind,
        seed=seed,
        visible=str(scene.folder),
        cache=str(bench.options.out / "cache"),
        out=str(out),
        length=suite.list_length,
        trials=suite.trials,
        tuned_for=suite.tuned_for,
        seconds=suite.seconds,
        options=_overrides(bench.options, row),
        parent=os.getpid(),
        catalogue=bench.options.catalogue,
        pairs="" if scene.pairs is None else str(scene.pairs),
    )
    if row.kind == "baseline" and (before := _first_seed(bench, scene, row)):
        job = replace(job, tuned=json.dumps(before))
    job = replace(job, key=_key(bench, scene, job))
    record = _kept(bench, out, job)
    if record is not None or not wanted:
        return record
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "job.json").write_text(json.dumps(settings.to_plain(job), indent=1) + "\n", "utf-8")
    command = [sys.executable, "-m", "kgrec.benchmark.rows", str(out / "job.json")]
    ended = run_limited(
        command, log=out / "log.txt", seconds=suite.seconds, memory_gib=suite.memory_gib,
        threads=_threads(bench.options), stop=bench.stop,
    )  # fmt: skip
    if ended.status == "done":
        record = json.loads((out / ROW).read_text("utf-8"))
        record["peak_gib"] = round(max(record["peak_gib"], ended.peak_gib), 3)
    else:
        record = {
            "key": job.key, "name": row.name, "seed": seed, "status": ended.status,
            "reason": ended.reason, "seconds": {"all": round(ended.seconds, 1)},
            "peak_gib": round(ended.peak_gib, 3), "trials_asked": suite.trials,
        }  # fmt: skip
    record["limits"] = [suite.seconds, suite.memory_gib]
    record |= {"commit": commit(), "threads": _threads(bench.options) or default_threads()}
    with claim(out / ROW), replace_file(out / ROW) as beside:
        beside.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return record


def _threads(options: Options) -> int | None:
    """The share of the cores that each of several rows has; None where one has them all."""
    return None if options.jobs == 1 else max(1, (os.cpu_count() or 1) // options.jobs)


def _first_seed(bench: Benchmark, scene: Scene, row: Row) -> dict[str, Any]:
    """What the same baseline chose under a seed before this one, in the same scene."""
    names = ("validation", "trials", "chosen", "space", "switched_off")
    for run in bench.runs:
        if run.row is row and run.fold == scene.fold and run.record["status"] == "done":
            return {name: run.record[name] for name in names}
    return {}


def _overrides(options: Options, row: Row) -> tuple[str, ...]:
    """Those of our model; of them a baseline has what changes the data and the text embeddings."""
    if row.kind == "baseline":
        return tuple(o for o in options.overrides if o.strip().startswith(("text.", "load.")))
    return options.overrides


def _kept(bench: Benchmark, out: Path, job: Job) -> dict[str, Any] | None:
    """What an earlier run left, if it is this very job and ended in a way that would recur."""
    try:
        record: dict[str, Any] = json.loads((out / ROW).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if record.get("key") != job.key or record.get("status") not in _KEPT:
        return None
    if job.kind == "text":
        return record if (Path(job.cache) / EMBEDDINGS).is_file() else None
    if record["status"] != "done":
        limits = [bench.suite.seconds, bench.suite.memory_gib]
        return record if record.get("limits") == limits else None
    lists = out / job.file
    same = lists.is_file() and file_hash(lists) == record.get("lists_sha256")
    return record if same else None


def _key(bench: Benchmark, scene: Scene, job: Job) -> str:
    """Tells apart jobs whose lists may differ; where things lie and limits do not count."""
    plain = settings.to_plain(
        replace(job, visible="", cache="", out="", key="", seconds=1.0, parent=0, pairs="")
    )
    del plain["pairs"]  # the task is in the hash of what is sealed
    suite = bench.suite
    about = [
        plain, bench.found.sha256, suite.schema, suite.without, settings.to_plain(suite.split),
        scene.fold, scene.sealed.sha256, kgrec.__version__,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def row_folder(bench: Benchmark, scene: Scene, row: Row, seed: int) -> Path:
    """Where a row under a seed writes."""
    what = f"seed{seed}" if scene.fold is None else f"fold{scene.fold}"
    return bench.options.out / "rows" / f"{row.slug}-{what}"
