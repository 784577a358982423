"""The planted shop as files, with a suite that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from toy_shop import planted_interactions

from kgrec.benchmark.suite import Suite, build_suite

SCHEMA = """
[[interactions]]
files = ["bought.csv"]
user = "user"
item = "item"
position = "position"

[items]
files = ["items.csv"]
id = "item"

[[relation]]
name = "in_group"
column = "group"
"""


def write_tables(folder: Path) -> Path:
    """Writes bought.csv, items.csv and schema.toml; returns the schema's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = planted_interactions()
    lines = [
        f"u{u:03d},i{i:03d},{t}" for u, i, t in zip(rows.user, rows.item, rows.time, strict=True)
    ]
    (folder / "bought.csv").write_text("user,item,position\n" + "\n".join(lines) + "\n")
    items = [f"i{i:03d},g{i % 4}" for i in np.arange(rows.n_items)]
    (folder / "items.csv").write_text("item,group\n" + "\n".join(items) + "\n")
    schema = folder / "schema.toml"
    schema.write_text(SCHEMA)
    return schema


def tiny_suite(schema: Path, **changes: Any) -> Suite:
    """A suite over these tables with baselines of the stand-in catalogue."""
    table: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "folder": "tiny",
        "schema": str(schema),
        "protocol": "The last one tests.",
        "headline": ["recall@5", "nDCG@5"],
        "ks": [5, 10],
        "baselines": ["popular"],
        "ablations": [],
        "trials": 2,
        "seeds": [7],
        "seconds": 60.0,
        "memory_gib": 8.0,
        "files": [{"name": "bought.csv", "where": "the shop"}, {"name": "items.csv"}],
    }
    return build_suite(table | changes, "tiny.toml")
