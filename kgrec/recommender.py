"""The recommender: histories in, ranked lists out, in the caller's own ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import scipy.sparse as sp

from kgrec.config import Config
from kgrec.errors import ConfigError
from kgrec.graph import KnowledgeGraph
from kgrec.history import history_matrix
from kgrec.interactions import Interactions, merge
from kgrec.item_index import ItemIndex
from kgrec.merge import dense_scores, rank_union
from kgrec.progress import say
from kgrec.ranker import Ranker
from kgrec.topk import TopK
from kgrec.vocabulary import Indices, Vocabulary

Mask = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float32]
_MOST_RETRIEVED = 2**23
"""Items that the index returns at once, for all users together."""


@dataclass(frozen=True, slots=True)
class Recommender:
    """A fitted model; users are computed from their histories, so nobody has to be known."""

    items: Vocabulary
    users: Vocabulary
    item_table: pl.DataFrame
    """Row i is item i; what `where` filters by."""
    graph: KnowledgeGraph
    history: Interactions
    """What the model was fitted on."""
    held_out: Interactions | None
    """What was kept for `evaluate`."""
    cold_items: npt.NDArray[np.int64]
    """Items kept out of fitting on purpose, (n_cold,)."""
    ranker: Ranker
    index: ItemIndex
    config: Config
    fit_report: Mapping[str, Any] = field(default_factory=dict)
    """Seconds by stage, the search's trials, what was chosen; JSON values."""
    later: Interactions | None = None
    """Rows of after what was held out; they enter `full_history` alone."""

    def top_k(
        self,
        users: Indices,
        k: int,
        *,
        history: Interactions | None = None,
        allowed: Mask | None = None,
        exclude_seen: bool = True,
    ) -> TopK:
        """The k best items of each user, by full scores.

        Args:
            users: Rows of the history, (n,).
            k: Length of the lists, at least 1; they end in -1 where nothing more can be offered.
            history: Histories to rank by; the ones fitted on by default.
            allowed: Items that may be offered, (n_items,); all by default.
            exclude_seen: Whether items of the behaviour to predict that the user had are left out.

        Returns:
            With an exact index, exactly the ranking of every item; someone without a history gets
            the popular items.
        """
        known = (self.history if history is None else history).select(users)
        may = np.ones(len(self.items), np.bool_) if allowed is None else allowed
        rows = self.ranker.rows(known)
        query = self.ranker.user_vectors(known)
        seen = history_matrix(known, mask=known.is_target(), max_items=len(known) + 1)
        if not exclude_seen:
            seen = sp.csr_array(seen.shape, dtype=np.float32)
        top = self._retrieve(query, rows, seen, may, min(k, len(self.items)))
        empty = ~_has_history(known)
        if empty.any():
            scores, items = self._popular(top.items.shape[1], may)
            top.items[empty], top.scores[empty] = items, scores
        return _padded(top, k)

    def _retrieve(
        self, query: Vectors, rows: sp.csr_array, seen: sp.csr_array, may: Mask, k: int
    ) -> TopK:
        """Asks the index for more until nothing that it kept back could enter a list; a GPU
        scores every item instead."""
        vectors = self.ranker.item_vectors
        n_allowed = int(may.sum())
        selector = may if n_allowed < len(may) else None
        exact = self.index.brute_force(vectors)
        if exact is not None:
            return exact.top_k(query, k, rows @ self.ranker.sparse, seen, selector)
        wanted = min(k + int(np.diff(seen.indptr).max(initial=0)) + 64, len(may))
        found = np.full((len(query), k), -1, np.int32)
        scores = np.full((len(query), k), -np.inf, np.float32)
        left = np.arange(len(query))
        while len(left):
            short = []
            for some in np.array_split(left, -(-len(left) * wanted // _MOST_RETRIEVED)):
                dense, retrieved = self.index.search(query[some], wanted, selector)
                rounded = (query[some, :-1] != 0).any(axis=1)  # a bias alone is not
                # Without S, what the index kept back scores at most its last answer.
                last = dense[:, -1]
                last = last + np.where(rounded, 1e-5 * (1 + np.abs(last)), 0)
                top = rank_union(
                    query[some], vectors, rows[some], self.ranker.sparse, retrieved, seen[some],
                    may, k, last if self.index.exact else None,
                )  # fmt: skip
                found[some], scores[some] = top.items, top.scores
                short.append(some[top.scores[:, -1] <= last])
            if not self.index.exact or wanted >= n_allowed:
                break
            left = np.concatenate(short)
            wanted = min(wanted * 4, n_allowed)
        return TopK(found, scores)

    def _popular(self, k: int, may: Mask) -> tuple[Vectors, npt.NDArray[np.int32]]:
        scores = np.where(may, self.ranker.popularity, -np.inf).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:k]
        best = scores[order]
        return best, np.where(np.isfinite(best), order, -1).astype(np.int32)

    def score_items(self, users: Indices, *, history: Interactions | None = None) -> Vectors:
        """The full score of every item by brute force, (n, n_items) float32."""
        known = (self.history if history is None else history).select(users)
        scores = dense_scores(self.ranker.user_vectors(known), self.ranker.item_vectors)
        reached = (self.ranker.rows(known) @ self.ranker.sparse).tocoo()
        scores[reached.row, reached.col] += reached.data
        scores[~_has_history(known)] = self.ranker.popularity
        return scores

    def recommend(
        self,
        users: Sequence[str] | None = None,
        *,
        histories: Sequence[Sequence[str]] | None = None,
        k: int = 20,
        where: str | None = None,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """Ranked lists in the caller's own ids.

        Args:
            users: Ids of known users, who are ranked by everything known of them, the held-out
                part included; all by default.
            histories: Item ids of people who need not be known, oldest first, instead of `users`;
                items that are unknown are left out and counted aloud.
            k: Length of the lists.
            where: A filter over the item table in SQL: "brand = 'Lego' and price < 20".
            exclude_seen: Whether what the user already had is left out.

        Returns:
            user_id (its position in `histories` for those), item_id, score, rank (from 1).

        Raises:
            UnknownIdError: A user is unknown.
            ConfigError: `k` is below 1, `where` cannot be read, or both kinds of user are given.
        """
        if k < 1:
            raise ConfigError(f"k is {k}; a list has at least 1 item")
        if users is not None and histories is not None:
            raise ConfigError("give users or histories, not both")
        if histories is not None:
            known = self.read_histories(histories)
            rows = np.arange(len(histories))
            names = pl.Series([str(row) for row in rows], dtype=pl.String)
        else:
            known = self.full_history()
            rows = np.arange(len(self.users)) if users is None else self.users.indices(users)
            names = self.users.take(rows)
        top = self.top_k(
            rows, k, history=known, allowed=self.allowed(where), exclude_seen=exclude_seen
        )
        n, width = top.items.shape
        return (
            pl.DataFrame(
                {
                    "user_id": names.gather(np.repeat(np.arange(n), width)),
                    "at": top.items.ravel(),
                    "score": top.scores.ravel(),
                    "rank": np.tile(np.arange(1, width + 1, dtype=np.int32), n),
                }
            )
            .filter(pl.col("at") >= 0)
            .with_columns(item_id=self.items.ids.gather(top.items[top.items >= 0]))
            .select("user_id", "item_id", "score", "rank")
            .to_pandas()
        )

    def full_history(self) -> Interactions:
        """Everything known: what was fitted on, what was held out and what came later."""
        parts = (self.history, self.held_out, self.later)
        return merge(*(part for part in parts if part is not None))

    def read_histories(self, histories: Sequence[Sequence[str]]) -> Interactions:
        """Raw histories as interactions of the behaviour to predict, oldest first."""
        lengths = [len(history) for history in histories]
        item = self.items.find([i for history in histories for i in history])
        user = np.repeat(np.arange(len(histories)), lengths)
        place = np.concatenate([np.arange(n) for n in lengths]) if lengths else np.zeros(0)
        if unknown := int((item < 0).sum()):
            say(f"{unknown} of {len(item)} items in the histories are unknown and left out")
        kept = item >= 0
        target = self.history.target or 0
        return Interactions.of(
            user[kept],
            item[kept],
            n_users=len(histories),
            n_items=len(self.items),
            behaviour=np.full(int(kept.sum()), target, np.uint8),
            time=place[kept].astype(np.int64),
            behaviours=self.history.behaviours,
            time_kind="position" if self.history.ordered else "none",
            target=self.history.target,
        )

    def allowed(self, where: str | None) -> Mask | None:
        """The items that a filter lets through, (n_items,); None when there is no filter.

        Raises:
            ConfigError: The filter cannot be read; the message names the columns there are.
        """
        if where is None:
            return None
        try:
            table = self.item_table.with_columns(pl.sql_expr(where).fill_null(False).alias("#may"))
            mask = table["#may"]
            if mask.dtype != pl.Boolean:
                raise ValueError("it is no condition on an item")
        except (pl.exceptions.PolarsError, ValueError) as error:
            reason = str(error).splitlines()[0]
            columns = ", ".join(f"{name} ({kind})" for name, kind in self.item_table.schema.items())
            raise ConfigError(
                f"cannot filter where {where}: {reason}; the columns are {columns}"
            ) from None
        return np.asarray(mask.to_numpy(), np.bool_)

    def similar(self, items: Sequence[str], k: int = 10) -> pd.DataFrame:
        """The nearest items of each item: what its own history of one would be offered.

        Returns:
            item_id, similar_id, score, rank (from 1).

        Raises:
            UnknownIdError: An item is unknown.
        """
        self.items.indices(items)
        found = self.recommend(histories=[[item] for item in items], k=k)
        found = found.rename(columns={"item_id": "similar_id"})
        found.insert(0, "item_id", [str(items[int(row)]) for row in found.pop("user_id")])
        return found

    def contributions(self, user: int, item: int, history: Interactions) -> dict[int, float]:
        """What each item of a user's history adds to a score through S, by item index.

        Items that add nothing are not listed; what is missing to the score is the dense half.
        """
        x = self.ranker.rows(history.select([user])).tocoo()
        column = self.ranker.sparse[:, [item]].toarray().ravel()
        added: dict[int, float] = {}
        for place, value in zip(x.col, x.data, strict=True):
            gain = float(value * column[place])
            if gain:
                at = int(place) % len(self.items)
                added[at] = added.get(at, 0.0) + gain
        return added

    def save(self, path: str | Path) -> None:
        """Writes the model folder; see `kgrec.model_folder`."""
        from kgrec.model_folder import save

        save(self, Path(path))


def load_model(path: str | Path) -> Recommender:
    """The model in a folder that `save` or `kgrec fit` wrote.

    Raises:
        ArtefactError: It is no model folder, or was altered, truncated or written by a newer kgrec.
    """
    from kgrec.model_folder import load

    return load(Path(path))


def _has_history(known: Interactions) -> Mask:
    weight = np.concatenate([[0.0], np.cumsum(known.weight, dtype=np.float64)])
    return np.asarray(weight[known.start[1:]] > weight[known.start[:-1]], np.bool_)


def _padded(top: TopK, k: int) -> TopK:
    missing = k - top.items.shape[1]
    if missing <= 0:
        return top
    return TopK(
        np.pad(top.items, ((0, 0), (0, missing)), constant_values=-1),
        np.pad(top.scores, ((0, 0), (0, missing)), constant_values=-np.inf),
    )
