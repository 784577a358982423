"""What a row may see, as a folder: catalogue, graph, text, training and validation part.

The test part is not in it, so the process that fits a model cannot read it, whatever it does.
Arrays and Parquet only; the folder appears whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kgrec.atomic import claim, replace_folder
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.split import Parts, merge
from kgrec.vocabulary import Indices, Vocabulary

_COLUMNS = ("user", "item", "behaviour", "time", "weight")


@dataclass(frozen=True, slots=True)
class Visible:
    """What the process of a row reads."""

    shop: Shop
    """Its interactions are training and validation together."""
    parts: Parts
    """Without a test part."""
    users: Indices
    """Whose lists are wanted, (n,)."""


def write_visible(folder: Path, shop: Shop, parts: Parts, users: Indices) -> None:
    """Writes what rows may see; nothing that is in the test part alone but who is tested."""

    def fill(into: Path) -> None:
        arrays: dict[str, Any] = {"users": users, "cold_items": parts.cold_items}
        about: dict[str, Any] = {"name": shop.name, "relations": []}
        for name, rows in (("train", parts.train), ("validation", parts.validation)):
            arrays |= {f"{name}.{column}": getattr(rows, column) for column in _COLUMNS}
        about["interactions"] = {
            "behaviours": parts.train.behaviours,
            "time_kind": parts.train.time_kind,
            "target": parts.train.target,
        }
        for at, r in enumerate(shop.graph.relations):
            arrays |= {f"edges.{at}": r.edges, f"weight.{at}": r.weight}
            about["relations"].append([r.name, r.head, r.tail, r.may_leak])
        kinds = shop.graph.nodes
        about["kinds"] = list(kinds)
        for at, vocabulary in enumerate(kinds.values()):
            vocabulary.ids.to_frame().write_parquet(into / f"ids-{at}.parquet")
        for name in ("item_table", "user_table"):
            table: pl.DataFrame = getattr(shop, name)
            if table.width:
                table.write_parquet(into / f"{name}.parquet")
        if shop.text is not None:
            shop.text.alias("text").to_frame().write_parquet(into / "text.parquet")
        np.savez(into / "arrays.npz", **arrays)
        (into / "about.json").write_text(json.dumps(about), encoding="utf-8")

    with claim(folder):
        replace_folder(folder, fill)


def read_visible(folder: Path) -> Visible:
    """What `write_visible` wrote."""
    about = json.loads((folder / "about.json").read_text("utf-8"))
    nodes = {
        kind: Vocabulary(pl.read_parquet(folder / f"ids-{at}.parquet")["id"], kind)
        for at, kind in enumerate(about["kinds"])
    }
    said = about["interactions"]
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        train, validation = (
            Interactions.of(
                n_users=len(nodes["user"]),
                n_items=len(nodes["item"]),
                behaviours=tuple(said["behaviours"]),
                time_kind=said["time_kind"],
                target=said["target"],
                **{column: arrays[f"{name}.{column}"] for column in _COLUMNS},
            )
            for name in ("train", "validation")
        )
        relations = tuple(
            Relation(name, head, tail, arrays[f"edges.{at}"], arrays[f"weight.{at}"], may_leak)
            for at, (name, head, tail, may_leak) in enumerate(about["relations"])
        )
        users, cold_items = arrays["users"], arrays["cold_items"]
    text = folder / "text.parquet"
    shop = Shop(
        name=about["name"],
        items=nodes["item"],
        users=nodes["user"],
        interactions=merge(train, validation),
        graph=KnowledgeGraph(nodes, relations),
        text=pl.read_parquet(text)["text"] if text.is_file() else None,
        item_table=_table(folder / "item_table.parquet"),
        user_table=_table(folder / "user_table.parquet"),
    )
    return Visible(shop, Parts(train, validation, None, cold_items), users)


def _table(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path) if path.is_file() else pl.DataFrame()
