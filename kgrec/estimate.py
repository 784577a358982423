"""Estimates for what is at hand: a shop in memory, tables that are still to be read, a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.artefact import MANIFEST, MODEL, is_folder
from kgrec.config import Config
from kgrec.errors import ArtefactError
from kgrec.estimate_tables import estimate_prepare
from kgrec.interactions import Interactions
from kgrec.needs import (
    Estimate,
    ListShape,
    evaluation_needs,
    lists_needs,
)
from kgrec.needs_fit import FitShape, fit_needs
from kgrec.shop import Shop
from kgrec.shop_shape import Pairs, count_pairs
from kgrec.split import Parts, of_some_users, split
from kgrec.topk import batch_size

__all__ = [
    "Estimate", "ShopSizes", "estimate_evaluate", "estimate_fit", "estimate_lists",
    "estimate_prepare", "estimate_recommend", "list_shape",
]  # fmt: skip


@dataclass(slots=True)
class ShopSizes:
    """A shop whose pairs are counted once for every option that changes them."""

    shop: Shop
    parts: Parts
    text_size: int
    _pairs: dict[tuple[object, ...], Pairs] = field(default_factory=dict)

    @staticmethod
    def of(shop: Shop, config: Config) -> ShopSizes:
        """Cuts the shop as `config.split` says, which is all that is looked at here."""
        text = shop.text is not None and bool((shop.text.fill_null("") != "").any())
        size = _text_size(config.text.encoder) if text else 0
        return ShopSizes(shop, split(shop, config.seeded().split), size)

    def estimate(self, config: Config) -> Estimate:
        """What a fit with these options needs."""
        return fit_needs(self.shape(config), config)

    def shape(self, config: Config) -> FitShape:
        """The sizes that such a fit has."""
        shop, ranking, parts = self.shop, config.ranker, self.parts
        columns = [v.ids for v in shop.graph.nodes.values()]
        columns += [] if shop.text is None else [shop.text]
        tables = shop.item_table.estimated_size() + shop.user_table.estimated_size()
        searched, searches = None, ranking.search and len(parts.validation) > 0
        if searches:

            def some() -> Interactions:
                return of_some_users(parts, ranking.sample_rows, config.seed).train

            searched = self._counted(some, config, min(ranking.sample_rows, len(parts.train)))
        kinds = shop.graph.nodes.items()
        return FitShape(
            n_users=len(shop.users),
            n_items=len(shop.items),
            n_rows=len(shop.interactions),
            n_attributes=sum(len(v) for kind, v in kinds if kind not in ("item", "user")),
            n_edges=shop.graph.n_edges,
            text_size=self.text_size,
            strings=int(tables + sum(column.estimated_size() for column in columns)),
            known=self._counted(lambda: parts.known, config, -1),
            n_validating=int(np.count_nonzero(np.diff(parts.validation.start))),
            searched=searched,
            searches_all=searched is not None and len(parts.train) <= ranking.sample_rows,
        )

    def _counted(self, rows: Callable[[], Interactions], config: Config, which: int) -> Pairs:
        ranking = config.ranker
        bounds = ranking.max_history, ranking.window, ranking.most_pairs, ranking.most_counted
        key = (which, *bounds)
        if key not in self._pairs:
            self._pairs[key] = count_pairs(
                rows(), self.shop.graph, self.text_size > 0, config.ranker
            )
        return self._pairs[key]


def estimate_fit(shop: Shop, config: Config | None = None) -> Estimate:
    """What `kgrec.fit` needs, from counts and a sample of the shop's pairs.

    Args:
        shop: What is to be fitted, with its tables read.
        config: Options of every stage.

    Raises:
        ConfigError: The split cannot be made.
    """
    config = config or Config()
    return ShopSizes.of(shop, config).estimate(config)


def _text_size(encoder: str) -> int:
    """Numbers of an embedding by this encoder; that of BERT's base size where it is not known."""
    try:
        about = json.loads((Path(encoder) / "config.json").read_text(encoding="utf-8"))
        return int(about["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return 384 if encoder == "default" else 768


def estimate_recommend(model: Path, k: int = 20) -> Estimate:
    """What `kgrec recommend` needs for all users, from the sizes that a model's files state.

    Args:
        model: The folder.
        k: Length of the lists.

    Raises:
        ArtefactError: It is no model folder, or lacks a file.
    """
    return estimate_lists(list_shape(model), k)


def estimate_lists(
    shape: ListShape, k: int, *, n_users: int | None = None, batch: int | None = None
) -> Estimate:
    """What lists need.

    Args:
        shape: Sizes of the model.
        k: Length of the lists.
        n_users: Users to rank; None for all.
        batch: Users ranked at once; None for what `write_lists` chooses.
    """
    asked = shape.n_users if n_users is None else min(n_users, shape.n_users)
    return lists_needs(shape, k, asked, batch or batch_size(shape.n_items))


def estimate_evaluate(model: Path, ks: Sequence[int] = (5, 10, 20)) -> Estimate:
    """What `kgrec evaluate` needs, from the sizes that a model's files state.

    Args:
        model: The folder.
        ks: Lengths of the lists.

    Raises:
        ArtefactError: It is no model folder, or lacks a file.
    """
    shape = list_shape(model)
    return evaluation_needs(shape, ks, batch_size(shape.n_items))


def list_shape(model: Path) -> ListShape:
    """Sizes of a model folder, hardly any of its files read.

    Raises:
        ArtefactError: It is no model folder, or lacks a file.
    """
    if not is_folder(model, MODEL):
        raise ArtefactError(f"{model} is not a model folder")
    try:
        return _list_shape(model, json.loads((model / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ArtefactError(f"{model} lacks something that a model has ({error})") from error


def _list_shape(model: Path, manifest: dict[str, Any]) -> ListShape:
    import pyarrow.parquet as pq
    from safetensors import safe_open

    files = {name: int(about["bytes"]) for name, about in manifest["files"].items()}
    tables = {name: pq.read_metadata(model / name) for name in files if name.endswith(".parquet")}
    strings = sum(
        table.row_group(at).total_byte_size
        for name, table in tables.items()
        if name.startswith(("items", "nodes_"))
        for at in range(table.num_row_groups)
    )
    ids = sum(table.num_rows for name, table in tables.items() if name.startswith("nodes_"))
    parts = [f"{part}.parquet" for part in ("history", "held_out", "later")]
    rows = {name: tables[name].num_rows for name in parts if name in tables}
    with safe_open(model / "dense.safetensors", framework="np") as dense:
        n_items, size = dense.get_slice("item_out").get_shape()
    n_users = tables["nodes_user.parquet"].num_rows
    return ListShape(
        n_users=n_users,
        n_items=int(n_items),
        n_rows=sum(rows.values()),
        size=int(size),
        dense=files["dense.safetensors"],
        sparse=files["sparse.safetensors"],
        index=files["items.faiss"],
        graph=files["graph.safetensors"],
        strings=strings + 16 * ids,
        n_held_out=rows.get("held_out.parquet", 0),
    )
