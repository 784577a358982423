"""A small shop with planted structure, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.vocabulary import Vocabulary


def planted_interactions(
    n_users: int = 60, n_items: int = 40, groups: int = 4, length: int = 6, seed: int = 0
) -> Interactions:
    """Each user buys inside one group of items, in random order, a position a purchase."""
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(np.arange(n_items) % groups == g) for g in range(groups)]
    user = np.repeat(np.arange(n_users), length)
    item = np.concatenate(
        [generator.choice(members[u % groups], length, replace=False) for u in range(n_users)]
    )
    time = np.tile(np.arange(length), n_users)
    return Interactions.of(
        user, item, n_users=n_users, n_items=n_items, time=time, time_kind="position"
    )


def planted_shop(**options: Any) -> Shop:
    """The interactions above, and a relation that names each item's group."""
    rows = planted_interactions(**options)
    groups = options.get("groups", 4)
    items = Vocabulary([f"i{n:03d}" for n in range(rows.n_items)], "item")
    users = Vocabulary([f"u{n:03d}" for n in range(rows.n_users)], "user")
    group = Vocabulary([f"group {g}" for g in range(groups)], "group")
    edges = np.stack([np.arange(rows.n_items), np.arange(rows.n_items) % groups])
    relation = Relation("in_group", "item", "group", edges, np.ones(rows.n_items, np.float32))
    names = [f"Thing {n} of group {n % groups}" for n in range(rows.n_items)]
    table = pl.DataFrame(
        {
            "item_id": items.ids,
            "title": names,
            "group": [n % groups for n in range(rows.n_items)],
        }
    )
    nodes = {"item": items, "user": users, "group": group}
    return Shop(
        name="planted",
        items=items,
        users=users,
        interactions=rows,
        graph=KnowledgeGraph(nodes, (relation,)),
        item_table=table,
    )
