"""How well a configuration of the ranker does on held-out interactions of a sample of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.candidates import draw_candidates
from kgrec.counts import Evidence, view_matrix, view_names
from kgrec.history import history_matrix, only_rows, scale_columns
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors
from kgrec.ranker import Ranker, block_of, cold_factor, fit_ranker, offered, own_block, view_weight
from kgrec.ranker_config import RankerConfig

_FEW_USERS = 1000
"""Users who validate, below which a gain of the dense half has to be larger than its error."""

Criterion = Callable[[Ranker, Interactions], float]
"""How good a ranker is, the larger the better, given the history that it was fitted on."""


class Validation:
    """Scores configurations on the held-out interactions of a sample of users.

    Args:
        evidence: What the blocks are solved from, counted on the training part.
        held_out: The validation part.
        dense: Vectors learned on the training part.
        max_cells: Users sampled times items that compete at most, which bounds time; a thousand
            users are sampled however many items there are.
        max_users: Users sampled at most.
        max_items: Items that compete for the lists at most; see `draw_candidates`.
        seed: Draws the sample.
        cold_apart: Items that nobody had yet count by their share of the catalogue, as if they
            sold like the others: for a split that holds items out on purpose. Otherwise by how
            many of their interactions happen to be held out, like any item.
        criterion: What to maximise instead of nDCG; it is given all items.
    """

    def __init__(
        self,
        evidence: Evidence,
        held_out: Interactions,
        dense: DenseVectors,
        *,
        max_cells: int = 120_000_000,
        max_users: int = 8000,
        max_items: int = 60_000,
        seed: int = 7,
        cold_apart: bool = False,
        criterion: Criterion | None = None,
    ) -> None:
        self.evidence, self.dense, self.criterion = evidence, dense, criterion
        n_items = held_out.n_items
        truth = unseen(held_out, evidence.history)
        known = np.diff(evidence.history.start) > 0
        users = np.flatnonzero((np.diff(truth.indptr) > 0) & known)
        competing = n_items if criterion else min(n_items, max_items)
        size = min(len(users), max_users, max(max_cells // max(competing, 1), 1000))
        self.users = np.sort(np.random.default_rng(seed).choice(users, size, replace=False))
        self.history = evidence.history.select(self.users)
        truth = truth[self.users]
        self.candidates = draw_candidates(truth, competing, seed)
        items = self.candidates.items
        self.truth = self.candidates.columns(truth)
        had = history_matrix(
            self.history, mask=self.history.is_target(), max_items=len(self.history) + 1
        )
        self.seen = self.candidates.columns(had)
        self.degree = evidence.degree[items]
        self._offered = dense.item_out[items], dense.bias[items]
        self._met = np.bincount(self.history.item, minlength=n_items) > 0
        self._blocks: dict[tuple[Any, ...], sp.csr_array] = {}
        never_had = self.degree == 0
        cold = _only(self.truth, never_had)
        self.has_cold = cold.nnz > 0
        self._targets = [(1.0, self.truth)]
        if self.has_cold and cold_apart:
            share = float((evidence.degree == 0).mean())
            self._targets = [(1 - share, _only(self.truth, ~never_had)), (share, cold)]

    def score(self, config: RankerConfig) -> float:
        """What the criterion says of the configuration; without one nDCG at config.metric_k over
        the full catalogue, items had already removed."""
        if self.criterion is not None:
            ranker = fit_ranker(self.evidence, self.dense, config, self._block)
            return self.criterion(ranker, self.evidence.history)
        value = 0.0
        for (share, truth), gained in zip(self._targets, self._gained(config), strict=True):
            value += share * gained.sum() / max(int(np.count_nonzero(np.diff(truth.indptr))), 1)
        return float(value)

    def doubts(self, config: RankerConfig) -> bool:
        """Whether the users are too few to take a gain of the dense half on trust."""
        few = len(self.users) < _FEW_USERS and self.criterion is None and len(self._targets) == 1
        return few and config.sparse and self.dense.item_out.shape[1] > 1

    def gain(self, one: RankerConfig, other: RankerConfig) -> tuple[float, float]:
        """How much more nDCG a user has by one configuration, in the mean, and its standard
        error."""
        difference = next(self._gained(one)) - next(self._gained(other))
        return float(difference.mean()), float(difference.std() / max(len(difference), 1) ** 0.5)

    def _gained(self, config: RankerConfig) -> Iterator[npt.NDArray[np.float64]]:
        """The nDCG of each user by each of the targets."""
        if len(self.users) == 0:
            yield from (np.zeros(0) for _ in self._targets)
            return
        vectors = offered(*self._offered, self.degree, config)
        factor = cold_factor(self.degree, config)
        ranker = Ranker(config, self.dense, sp.csr_array((1, 1)), vectors, self.degree, ())
        parts = list(self._parts(config))
        query = ranker.user_vectors(self.history) if config.dense_weight else None
        gained = [list[npt.NDArray[np.float64]]() for _ in self._targets]
        batch = max(1, 8_000_000 // self.truth.shape[1])
        for begin in range(0, len(self.users), batch):
            rows = slice(begin, begin + batch)
            shape = self.truth[rows].shape
            scores = np.zeros(shape, np.float32)
            if query is not None:
                np.matmul(query[rows], vectors.T, out=scores)
            for view, block in parts:
                product = (view[rows] @ block).tocoo()
                scores[product.row, product.col] += product.data * factor[product.col]
            for at, (_, truth) in enumerate(self._targets):
                seen, wanted = self.seen[rows], truth[rows]
                gained[at].append(
                    ndcg_of_scores(scores, seen, wanted, config.metric_k, self.candidates.weight)
                )
        yield from map(np.concatenate, gained)

    def _parts(self, config: RankerConfig) -> Iterator[tuple[sp.csr_array, sp.csr_array]]:
        if not config.sparse:
            return
        for name in view_names(self.evidence.history):
            view = view_matrix(name, self.history, config)
            weight = view_weight(name, self.evidence.history, config)
            if weight:
                yield view * np.float32(weight), self._block(name, config)
            if name not in ("history", "last"):
                own = own_block(name, self.evidence, config)
                yield view, own if self.criterion else self.candidates.columns(own)

    def _block(self, name: str, config: RankerConfig) -> sp.csr_array:
        """A block as the configuration has it, kept while the search moves other fields."""
        fields = ["last_shrink"]
        if name != "last":
            fields = ["ridge", "degree_power", "output_power", "attribute_weight",
                      "relation_weight", "text_weight", "n_neighbours"]  # fmt: skip
        if name == "history":
            fields += ["sequence_weight"] + ["decay"] * (config.sequence_weight > 0)
        key = (name, *(getattr(config, field) for field in fields))
        if key not in self._blocks:
            while len(self._blocks) >= 8:
                self._blocks.pop(next(iter(self._blocks)))
            columns = None if self.candidates.weight is None else self.candidates.items
            block = block_of(name, self.evidence, config, columns)
            # Only rows of what the users have met are multiplied, of a large catalogue a small part
            self._blocks[key] = block if self.criterion else only_rows(block, self._met)
        return self._blocks[key]


def _only(truth: sp.csr_array, items: npt.NDArray[np.bool_]) -> sp.csr_array:
    kept = sp.csr_array(scale_columns(truth, items), copy=True)  # its indices are those of truth
    kept.eliminate_zeros()
    return kept


def unseen(held_out: Interactions, history: Interactions) -> sp.csr_array:
    """Held-out items that a list could hold: of the behaviour to predict, not had before.

    Returns:
        (n_users, n_items) float32.
    """
    truth = history_matrix(held_out, mask=held_out.is_target())
    had = history_matrix(history, mask=history.is_target(), max_items=len(history) + 1)
    had.data[:] = 1
    truth.data[:] = 1
    new = sp.csr_array(truth - truth.multiply(had), dtype=np.float32)
    new.eliminate_zeros()
    return new


def ndcg_of_scores(
    scores: npt.NDArray[np.float32],
    seen: sp.csr_array,
    truth: sp.csr_array,
    k: int,
    weight: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float64]:
    """nDCG@k of each user from full score rows, (n_users,); ties take the middle rank.

    Args:
        scores: (n_users, n_items); seen items are overwritten with -inf.
        seen: Items to remove, (n_users, n_items).
        truth: Held-out items, (n_users, n_items).
        k: Length of the list.
        weight: How many items each stands for, (n_items,); by default one.
    """
    gone = seen.tocoo()
    wanted = truth.tocoo()
    truth_scores = scores[wanted.row, wanted.col]
    scores[gone.row, gone.col] = -np.inf
    gain = np.zeros(scores.shape[0])
    for at in range(0, len(wanted.row), 512):
        row = wanted.row[at : at + 512]
        own = truth_scores[at : at + 512, None]
        against = scores[row]
        above, level = against > own, against == own
        if weight is None:
            rank = above.sum(1) + np.maximum(level.sum(1) - 1, 0) / 2
        else:
            itself = weight[wanted.col[at : at + 512]]
            rank = above @ weight + np.maximum(level @ weight - itself, 0) / 2
        np.add.at(gain, row, np.where(rank < k, 1 / np.log2(rank + 2), 0))
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    best = ideal[np.minimum(np.diff(truth.indptr), k)]
    return np.asarray(np.divide(gain, best, out=np.zeros_like(gain), where=best > 0))
