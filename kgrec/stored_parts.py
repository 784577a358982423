"""Interactions and edges as files: what the folders of models and of shops have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.artefact import load_arrays, load_table, save_arrays, save_table
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions, TimeKind

_COLUMNS = ("user", "item", "behaviour", "time", "weight")


def save_rows(path: Path, rows: Interactions, compression: Literal["zstd", "lz4"] = "zstd") -> None:
    """Writes interactions as Parquet, a column an array."""
    table = pl.DataFrame({column: getattr(rows, column) for column in _COLUMNS})
    save_table(path, table, compression)


def load_rows(
    path: Path, said: Mapping[str, Any], time_kind: TimeKind, n_users: int, n_items: int
) -> Interactions:
    """The interactions that `save_rows` wrote.

    Args:
        path: The file.
        said: Their `behaviours` and `target`, which the file lacks.
        time_kind: What their times are.
        n_users: How many users there are.
        n_items: How many items there are.
    """
    table = load_table(path)
    columns = {name: np.asarray(table[name].to_numpy()) for name in _COLUMNS}
    return Interactions.of(
        columns.pop("user"),
        columns.pop("item"),
        n_users=n_users,
        n_items=n_items,
        behaviours=tuple(said["behaviours"]),
        time_kind=time_kind,
        target=said["target"],
        **columns,
    )


def about_relations(graph: KnowledgeGraph) -> list[dict[str, Any]]:
    """What `load_relations` has to be told beside the file, as JSON has it."""
    return [
        {"name": r.name, "head": r.head, "tail": r.tail, "may_leak": r.may_leak}
        for r in graph.relations
    ]


def save_relations(path: Path, graph: KnowledgeGraph) -> None:
    """Writes the edges and weights of every relation."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for at, relation in enumerate(graph.relations):
        arrays[f"{at}.edges"], arrays[f"{at}.weight"] = relation.edges, relation.weight
    save_arrays(path, arrays)


def load_relations(path: Path, said: Sequence[Mapping[str, Any]]) -> tuple[Relation, ...]:
    """The relations that `save_relations` wrote, in their order."""
    arrays = load_arrays(path)
    return tuple(
        Relation(edges=arrays[f"{at}.edges"], weight=arrays[f"{at}.weight"], **relation)
        for at, relation in enumerate(said)
    )
