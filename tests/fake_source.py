"""A recommender with known scores, for tests of what is made of lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from kgrec.interactions import Interactions, merge
from kgrec.topk import TopK
from kgrec.vocabulary import Indices, Vocabulary


class FakeSource:
    """Scores are drawn from a seed; user 0 has no history, user u has item u modulo the rest."""

    def __init__(self, n_users: int = 23, n_items: int = 11, seed: int = 3) -> None:
        self.users = Vocabulary([f"00{u}" for u in range(n_users)], "user")
        self.items = Vocabulary([f"i,{i}" for i in range(n_items)], "item")
        seen = np.arange(1, n_users)
        self.history = Interactions.of(seen, seen % n_items, n_users=n_users, n_items=n_items)
        self.held_out: Interactions | None = None
        self.item_table = pl.DataFrame({"item_id": self.items.ids})
        self.scores = np.random.default_rng(seed).random((n_users, n_items)).astype(np.float32)
        self.before_batch: Callable[[], Any] = lambda: None
        self.batches: list[int] = []

    def top_k(
        self,
        users: Indices,
        k: int,
        *,
        history: Interactions | None = None,
        allowed: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
        exclude_seen: bool = True,
    ) -> TopK:
        self.before_batch()
        self.batches.append(len(users))
        scores = self.scores[users].copy()
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        if exclude_seen:
            for row, user in enumerate(users):
                scores[row, (history or self.history).items_of(int(user))] = -np.inf
        items = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
        best = np.take_along_axis(scores, items, 1)
        return TopK(np.where(np.isneginf(best), -1, items).astype(np.int32), best)


class FakeRecommender(FakeSource):
    """What the command line asks of a recommender, over known scores."""

    def __init__(self) -> None:
        super().__init__()
        self.item_table = pl.DataFrame(
            {"item_id": self.items.ids, "title": [f"Thing {i}" for i in range(11)]}
        )
        self.held_out = Interactions.of([3], [9], n_users=23, n_items=11)
        self.later: Interactions | None = None
        self.fit_report: dict[str, Any] = {"seconds": {"load": 1.25}}

    def full_history(self) -> Interactions:
        assert self.held_out is not None
        return merge(self.history, self.held_out)

    def allowed(self, where: str | None) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        if where is None:
            return None
        return self.item_table.select(pl.sql_expr(where).alias("may"))["may"].to_numpy()
