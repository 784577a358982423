"""One row of a benchmark under one seed: what its process does, from what it may see to lists.

    python -m kgrec.benchmark.rows SPEC

SPEC is a JSON file of a `Job`. The process reads the folder that `visible` wrote, which has no
test part; it tunes on the validation part, fits on training and validation together, and writes
lists (or the scores of labelled pairs, see `pair_rows`) and what it did.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from kgrec import settings
from kgrec.atomic import claim, replace_file
from kgrec.benchmark.limits import end_with, own_peak_gib
from kgrec.benchmark.model import Material, lists
from kgrec.benchmark.recipe import Recipe
from kgrec.benchmark.scoring import file_hash
from kgrec.benchmark.visible import Visible, read_visible
from kgrec.errors import KgrecError
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.list_files import write_table
from kgrec.shop import Shop
from kgrec.split import Parts
from kgrec.topk import TopK
from kgrec.vocabulary import Indices

if TYPE_CHECKING:
    from kgrec.recommender import Recommender
    from kgrec.validation import Criterion

Kind = Literal["kgrec", "ablation", "baseline", "text"]

LISTS, SCORES = "lists.parquet", "scores.parquet"
ROW, EMBEDDINGS = "row.json", "embeddings.npy"
_OPTIONS = {
    "W_g alone": ("ranker.sparse=false",),
    "S alone": ("network.enabled=false",),
}
_BATCH = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process is asked for."""

    name: str
    """Of the row."""
    kind: Kind
    """`text` makes the embeddings that every baseline reads; it gives no lists."""
    seed: int
    visible: str
    """Folder that `write_visible` wrote."""
    cache: str
    """Folder that keeps text embeddings, and those of the items for the baselines."""
    out: str
    """Folder for the lists and the record."""
    key: str = ""
    """What the record must hold to be this job's."""
    length: int = 100
    trials: int = 60
    tuned_for: str = "nDCG@10"
    seconds: float = 900.0
    """Limit of the whole row; tuning stops early enough to fit and rank within it."""
    options: tuple[str, ...] = ()
    """Overrides of our model's configuration."""
    parent: int = 0
    """Process without which this one ends; 0 for none."""
    catalogue: str = "kgrec.benchmark.catalogue"
    """Module whose BASELINES holds the baselines."""
    tuned: str = ""
    """JSON of what tuning found under the first seed, which the other seeds of a baseline share."""
    pairs: str = ""
    """File of labelled pairs, where they are scored and no lists are made."""

    @property
    def file(self) -> str:
        """What it writes."""
        return SCORES if self.pairs else LISTS


@dataclass(slots=True)
class Ledger:
    """Seconds by stage, filled as a row goes."""

    seconds: dict[str, float]
    last: float

    def stage(self, name: str) -> None:
        """Adds the time since the last call to a stage."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def do(job: Job) -> None:
    """Fits one row and writes its lists or scores and, last, `row.json`.

    Raises:
        KgrecError: The data or an option does not allow it.
    """
    ledger = Ledger({}, time.perf_counter())
    seen = read_visible(Path(job.visible))
    ledger.stage("load")
    out = Path(job.out)
    if job.kind == "text":
        _embed(job, seen)
        ledger.stage("fit")
        _write_record(out, _record(job, ledger, {}))
        return
    if job.pairs:
        from kgrec.benchmark.pair_rows import score_pairs

        found = score_pairs(job, seen, ledger)
    else:
        tops, found = (_rank_baseline if job.kind == "baseline" else _rank_ours)(job, seen, ledger)
        write_table(out / LISTS, list_table(seen.shop, seen.users, tops))
    ledger.stage("lists")
    found |= {"lists_sha256": file_hash(out / job.file)}
    _write_record(out, _record(job, ledger, found))


def find_baselines(module: str) -> dict[str, Recipe]:
    """The baselines of a catalogue, by name."""
    return dict(importlib.import_module(module).BASELINES)


def list_table(shop: Shop, users: Indices, tops: Iterator[TopK]) -> pl.DataFrame:
    """Lists as the file has them: user_id, item_id, score, rank."""
    parts, at = [], 0
    for top in tops:
        row, place = np.nonzero(top.items >= 0)
        parts.append(
            pl.DataFrame(
                {
                    "user_id": shop.users.take(users[at + row]),
                    "item_id": shop.items.take(top.items[row, place]),
                    "score": top.scores[row, place].astype(np.float32),
                    "rank": (place + 1).astype(np.int32),
                }
            )
        )
        at += len(top.items)
    return pl.concat(parts)


def ablated(name: str, seen: Visible, seed: int) -> tuple[Shop, Parts, tuple[str, ...]]:
    """The shop, the parts and the options of our model with one part off."""
    shop, parts = seen.shop, seen.parts
    if name == "no graph":
        shop = replace(shop, graph=KnowledgeGraph(shop.graph.nodes))
    elif name == "shuffled graph":
        shop = replace(shop, graph=shop.graph.shuffled(seed))
    elif name == "no text":
        shop = replace(shop, text=None)
    elif name == "no recency":
        parts = replace(
            parts, train=_unordered(parts.train), validation=_unordered(parts.validation)
        )
        shop = replace(shop, interactions=parts.known)
    return shop, parts, _OPTIONS.get(name, ())


def _unordered(rows: Interactions) -> Interactions:
    return replace(rows, time=np.zeros_like(rows.time), time_kind="none")


def fit_ours(
    job: Job, seen: Visible, ledger: Ledger, criterion: Criterion | None = None
) -> Recommender:
    """Our model or an ablation of it, tuned on the validation part and fitted on both."""
    from kgrec.config import Config
    from kgrec.pipeline import fit

    shop, parts, options = ablated(job.name, seen, job.seed)
    depth = job.tuned_for.partition("@")[2]
    begin = [f"seed={job.seed}", f"ranker.trials={job.trials}", f"ranker.metric_k={depth}"]
    config = Config.from_toml(None, [*begin, *job.options, *options])
    model = fit(shop, config, parts=parts, cache=Path(job.cache), criterion=criterion)
    ledger.stage("fit")
    report = model.fit_report
    tuning = float(report.get("seconds", {}).get("search", 0.0))
    ledger.seconds |= {"tune": tuning, "fit": ledger.seconds["fit"] - tuning}
    return model


def report_of(model: Recommender) -> dict[str, Any]:
    """What our search did, as the record has it."""
    from kgrec import tune

    report = model.fit_report
    tried = [
        {"options": {t["field"]: t["value"]}, "value": t["score"], "seconds": t["seconds"]}
        for t in report.get("trials", ())
    ]
    ladders = report.get("space") or getattr(tune, "LADDERS", {})
    return {
        "validation": max((t["value"] for t in tried), default=None),
        "trials": len(tried),
        "chosen": report.get("chosen", {}),
        "space": {name: list(values) for name, values in ladders.items()},
        "tried": tried,
        "switched_off": report.get("switched_off", []),
        "stages": report.get("seconds", {}),
    }


def _rank_ours(job: Job, seen: Visible, ledger: Ledger) -> tuple[Iterator[TopK], dict[str, Any]]:
    model = fit_ours(job, seen, ledger)
    begins = range(0, len(seen.users), _BATCH)
    tops = (model.top_k(seen.users[begin : begin + _BATCH], job.length) for begin in begins)
    return tops, report_of(model)


def material_of(job: Job, seen: Visible) -> Material:
    """What a baseline may see beside interactions."""
    embeddings = Path(job.cache) / EMBEDDINGS
    text = np.load(embeddings, allow_pickle=False) if embeddings.is_file() else None
    return Material(seen.shop.graph, text, job.seed)


def _rank_baseline(
    job: Job, seen: Visible, ledger: Ledger
) -> tuple[Iterator[TopK], dict[str, Any]]:
    from kgrec.benchmark.tuning import tune

    baseline, material = find_baselines(job.catalogue)[job.name], material_of(job, seen)
    ledger.stage("load")
    report = (
        found_before(job)
        or tune(
            baseline,
            seen.parts.train,
            seen.parts.validation,
            material,
            trials=job.trials,
            metric=job.tuned_for,
            seconds=job.seconds / 2,  # one more fit and the lists have to follow
        ).to_dict()
    )
    ledger.stage("tune")
    known = seen.parts.known
    scorer = baseline.fit(known, material, report["chosen"])
    ledger.stage("fit")
    return lists(scorer, known, seen.users, job.length), report


def found_before(job: Job) -> dict[str, Any]:
    """What tuning found under the first seed; empty where this is the first."""
    return {**json.loads(job.tuned), "tried": []} if job.tuned else {}


def _embed(job: Job, seen: Visible) -> None:
    from kgrec.config import Config
    from kgrec.text import embed_items

    config = Config.from_toml(None, [o for o in job.options if o.startswith("text.")])
    text = embed_items(
        seen.shop, seen.parts.train, replace(config.text, mode="frozen"), Path(job.cache)
    )
    if text is not None:
        path = Path(job.cache) / EMBEDDINGS
        with claim(path), replace_file(path) as beside, beside.open("wb") as handle:
            np.save(handle, text, allow_pickle=False)


def _record(job: Job, ledger: Ledger, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": job.key,
        "name": job.name,
        "seed": job.seed,
        "status": "done",
        "reason": "",
        "seconds": {stage: round(value, 3) for stage, value in ledger.seconds.items()},
        "peak_gib": round(own_peak_gib(), 3),
        "trials_asked": job.trials,
        **found,
    }


def _write_record(out: Path, record: Mapping[str, Any]) -> None:
    path = out / ROW
    text = json.dumps(record, indent=1, default=_plain)
    with claim(path), replace_file(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def main(argv: list[str] | None = None) -> int:
    """Does the job of one file.

    Returns:
        0, or 1 with a sentence on stderr where the data or an option does not allow it.
    """
    (path,) = sys.argv[1:] if argv is None else argv
    table = json.loads(Path(path).read_text("utf-8"))
    job = settings.build(Job, table, path)
    if job.parent:
        threading.Thread(target=end_with, args=(job.parent,), daemon=True).start()
    try:
        do(job)
    except KgrecError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
