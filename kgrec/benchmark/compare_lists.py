"""Metrics of each user from the saved lists of two results, for a paired test between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from kgrec.benchmark.scoring import accuracy, file_hash, middle_ranks, read_lists
from kgrec.benchmark.statistics import Values
from kgrec.metrics import find_hits
from kgrec.vocabulary import Vocabulary

Pair = tuple[list[Values], list[Values]]


def metric_by_user(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    metrics: Sequence[str],
    folders: tuple[Path | None, Path | None],
) -> dict[str, Pair]:
    """Metrics of each user in two rows, seed by seed; empty where they cannot be had.

    They can where both folders hold the same test pairs and the very lists that the rows were
    scored by. Suites in folds and suites without lists are left to the intervals.

    Args:
        a: A row of the first result.
        b: The row of this name in the second.
        metrics: Which, `recall@20` and the like.
        folders: The OUT folders of the results.
    """
    depths = {m: int(m.rpartition("@")[2]) for m in metrics if m.rpartition("@")[2].isdigit()}
    files = [_lists_of(row, folder) for row, folder in zip((a, b), folders, strict=True)]
    truth = _common_truth(folders)
    if truth is None or not depths or not all(files):
        return {}
    tables = [truth, *(_ids(file) for of_row in files for file in of_row)]
    users = Vocabulary(_distinct(tables, "user_id"), "user")
    items = Vocabulary(_distinct(tables, "item_id"), "item")
    user, item = users.find(truth["user_id"]), items.find(truth["item_id"])
    tested, row = np.unique(user, return_inverse=True)
    held = sparse.csr_array(
        (np.ones(len(row), np.int8), (row, item)), shape=(len(tested), len(items))
    )
    found: list[list[Mapping[str, Values]]] = []
    for of_row in files:
        found.append([])
        for file in of_row:
            top = read_lists(file, tested, users, items)
            hit, n_truth = find_hits(top.items, held)
            found[-1].append(
                accuracy(hit, middle_ranks(top.scores), n_truth, sorted(set(depths.values())))
            )
    known = [m for m in depths if all(m in one for of_row in found for one in of_row)]
    return {m: ([one[m] for one in found[0]], [one[m] for one in found[1]]) for m in known}


def _lists_of(row: Mapping[str, Any], folder: Path | None) -> list[Path]:
    """The lists of every seed; none unless all are there and are those that were scored."""
    if folder is None:
        return []
    files = []
    for seed in row["seeds"]:
        file = folder / (seed.get("lists") or "")
        if seed.get("fold") is not None or not file.is_file():
            return []
        if file_hash(file) != seed.get("lists_sha256"):
            return []
        files.append(file)
    return files


def _common_truth(folders: tuple[Path | None, Path | None]) -> pl.DataFrame | None:
    """The test pairs, where both folders hold the same."""
    tables = []
    for folder in folders:
        if folder is None or not (folder / "truth.parquet").is_file():
            return None
        pairs = pl.read_parquet(folder / "truth.parquet").select("user_id", "item_id")
        tables.append(pairs.cast(pl.String).unique().sort("user_id", "item_id"))
    return tables[0] if tables[0].equals(tables[1]) else None


def _ids(file: Path) -> pl.DataFrame:
    return pl.read_parquet(file, columns=["user_id", "item_id"]).cast(pl.String)


def _distinct(tables: Sequence[pl.DataFrame], column: str) -> pl.Series:
    return pl.concat([table[column].unique() for table in tables]).unique().sort()
