"""What de-duplication and k-core leave of the rows; both are off unless asked for."""

from __future__ import annotations

import polars as pl

from kgrec.errors import ConfigError

Rows = dict[str, pl.DataFrame]


def deduplicate(rows: Rows) -> Rows:
    """Of the rows of a user, item and behaviour, the earliest, within each part.

    Args:
        rows: Columns user, item, behaviour and time, by part.
    """
    return {
        part: frame.sort("time", maintain_order=True).unique(
            ["user", "item", "behaviour"], keep="first", maintain_order=True
        )
        for part, frame in rows.items()
    }


def k_core(rows: Rows, k: int) -> Rows:
    """The users and items with k rows or more among each other in train, in every part.

    Args:
        rows: Columns user and item, by part.
        k: Rows that each must keep, at least 1.

    Raises:
        ConfigError: Nothing is left.
    """
    core, height = rows["train"], -1
    while core.height != height:
        height = core.height
        core = core.filter((pl.len().over("user") >= k) & (pl.len().over("item") >= k))
    if not core.height:
        raise ConfigError(f"load.k_core = {k} leaves no interaction; lower it")
    kept = {}
    for part, frame in rows.items():
        for column in ("user", "item"):
            known = core.select(column).unique()
            frame = frame.join(known, on=column, how="semi", maintain_order="left")
        kept[part] = frame
    return kept | {"train": core}


def count(rows: Rows) -> int:
    """Rows of all parts."""
    return sum(frame.height for frame in rows.values())
