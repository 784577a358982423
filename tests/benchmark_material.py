"""Small data that every baseline can be fitted on, for tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgrec.benchmark.model import Material
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions
from kgrec.vocabulary import Vocabulary

N_USERS, N_ITEMS, GROUPS = 40, 24, 6
BUYERS = 35
"""Users from here on have no history."""


def shop_rows(seed: int = 0) -> Interactions:
    """Views and buys, each user inside one group of items; the last users do nothing."""
    generator = np.random.default_rng(seed)
    user = np.repeat(np.arange(BUYERS), 7)
    item = generator.integers(0, N_ITEMS // GROUPS, len(user)) * GROUPS + user % GROUPS
    return Interactions.of(
        user,
        item,
        n_users=N_USERS,
        n_items=N_ITEMS,
        behaviour=generator.permutation(np.tile([0, 1, 1, 1, 1, 1, 2], BUYERS)),
        time=np.arange(len(user)),
        weight=np.ones(len(user)),
        behaviours=("view", "buy", "cart"),
        time_kind="seconds",
        target=1,
    )


def material(
    seed: int = 7, text_seed: int = 0, order: npt.NDArray[np.int64] | None = None
) -> Material:
    """A graph that names each item's group, some links between items, and texts.

    Args:
        seed: The model's.
        text_seed: Of the text embeddings.
        order: New index of each item, (n_items,); the same items under other numbers.
    """
    order = np.arange(N_ITEMS) if order is None else order
    text = np.random.default_rng(text_seed).normal(size=(N_ITEMS, 6)).astype(np.float32)
    kinds = np.eye(6, dtype=np.float32)[np.arange(N_ITEMS) % GROUPS]
    moved = np.empty_like(text)
    moved[order] = text + 2 * kinds
    nodes = {
        "item": Vocabulary([f"i{n}" for n in range(N_ITEMS)], "item"),
        "user": Vocabulary([], "user"),
        "group": Vocabulary([f"g{n}" for n in range(GROUPS)], "group"),
    }
    has = np.stack([order, np.arange(N_ITEMS) % GROUPS])
    like = np.stack([order[:-4], order[4:]])
    relations = (
        Relation("in_group", "item", "group", has, np.ones(N_ITEMS, np.float32)),
        Relation("like", "item", "item", like, np.ones(N_ITEMS - 4, np.float32)),
    )
    return Material(KnowledgeGraph(nodes, relations), moved, seed)
