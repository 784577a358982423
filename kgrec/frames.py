"""Shops given as data frames: made lazy, and the schema that the usual column names imply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from kgrec.errors import DataError
from kgrec.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

_TEXT = ("title", "name", "brand", "category", "categories", "description")


def lazy(frame: pd.DataFrame | pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """A frame of pandas or polars as a lazy one; the index of pandas is left out."""
    if isinstance(frame, pl.LazyFrame):
        return frame
    return (frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame)).lazy()


def usual_schema(frames: Mapping[str, pl.LazyFrame]) -> Schema:
    """The schema of frames whose columns bear the usual names.

    Args:
        frames: `interactions` (user_id, item_id, and if there are any time or timestamp, behaviour,
            weight), and if there are any `items` (item_id, with title, name, brand, category,
            categories, description as text), `users` (user_id), `triples` (head, relation, tail).

    Raises:
        DataError: There is no frame `interactions`.
    """
    columns = {name: frame.collect_schema().names() for name, frame in frames.items()}
    if "interactions" not in columns:
        raise DataError(f"frames need one called 'interactions'; there are: {', '.join(columns)}")
    have = columns["interactions"]
    rows: dict[str, Any] = {"user": "user_id", "item": "item_id"}
    rows |= {role: role for role in ("behaviour", "weight") if role in have}
    if "time" in have or "timestamp" in have:
        rows["time"] = "time" if "time" in have else "timestamp"
    table: dict[str, Any] = {"name": "shop", "interactions": [rows]}
    if "items" in columns:
        table |= _items(columns["items"])
    if "users" in columns:
        keep = [name for name in columns["users"] if name != "user_id"]
        table["users"] = {"id": "user_id", "keep": keep}
    if "triples" in columns:
        table["triples"] = [{"relation": "relation"}]
    return Schema.from_dict(table, file="the default schema")


def _items(have: list[str]) -> dict[str, Any]:
    text = [name for name in _TEXT if name in have]
    keep = [name for name in have if name not in (*text, "item_id")]
    relations = [
        {"name": f"has_{name}", "column": name, "split": "list"}
        for name in ("brand", "category", "categories")
        if name in have
    ]
    return {"items": {"id": "item_id", "text": text, "keep": keep}, "relation": relations}
