"""The small search: moves one weight or exponent of the ranker at a time, on validation only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.history import history_matrix, scale_columns
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors
from kgrec.progress import track
from kgrec.ranker import (
    Evidence,
    Ranker,
    RankerConfig,
    block_of,
    cold_factor,
    cross_weight,
    fit_ranker,
    offered,
    others,
    own_block,
    own_weight,
    view_matrix,
    view_names,
    view_weight,
)

LADDERS: dict[str, tuple[float, ...]] = {
    "own_weight": (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
    "behaviour_decay": (1.0, 0.97, 0.9, 0.8, 0.7, 0.5),
    "decay": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    "sequence_weight": (0.0, 0.3, 1.0, 3.0, 10.0),
    "attribute_weight": (0.0, 0.3, 1.0, 3.0, 6.0, 12.0, 24.0),
    "relation_weight": (0.0, 1.0, 3.0, 10.0, 30.0),
    "text_weight": (0.0, 0.3, 1.0, 3.0, 6.0, 12.0, 24.0),
    "ridge": (3.0, 10.0, 30.0, 60.0, 120.0, 240.0, 480.0),
    "last_weight": (0.0, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5),
    "cross_weight": (0.0, 0.1, 0.3, 1.0, 3.0),
    "dense_weight": (0.0, 0.01, 0.02, 0.03, 0.045, 0.07, 0.1, 0.2),
    "dense_decay": (1.0, 0.9, 0.8, 0.7, 0.6),
    "cold_bias": (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0),
    "cold_scale": (0.25, 0.5, 1.0, 1.5, 2.2, 3.3, 5.0),
    "degree_power": (0.0, 0.25, 0.5),
    "last_shrink": (3.0, 10.0, 30.0),
    "output_power": (0.0, 0.125, 0.25),
    "own_power": (0.0, 0.25, 0.5, 0.75, 1.0),
}
"""Values that the search may choose, by the field of `RankerConfig` they belong to, in the order
in which they are tried: trials may end before the last ones, which gain least."""
_OF_THE_NETWORK = ("dense_decay", "cold_bias")
"""Fields that matter to the dense half alone."""
BY_BEHAVIOUR = ("cross_weight", "own_weight")
"""Fields that hold a value for each other behaviour."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration tried."""

    field: str
    value: float
    score: float
    """On validation, by what the search maximises."""
    seconds: float
    kept: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__}


Criterion = Callable[[Ranker, Interactions], float]
"""How good a ranker is, the larger the better, given the history that it was fitted on."""


class Validation:
    """Scores configurations on the held-out interactions of a sample of users.

    Args:
        evidence: What the blocks are solved from, counted on the training part.
        held_out: The validation part.
        dense: Vectors learned on the training part.
        max_cells: Users sampled times items at most, which bounds time; a thousand users are
            sampled however many items there are.
        max_users: Users sampled at most.
        seed: Draws the sample.
        cold_apart: Items that nobody had yet count by their share of the catalogue, as if they
            sold like the others: for a split that holds items out on purpose. Otherwise by how
            many of their interactions happen to be held out, like any item.
        criterion: What to maximise instead of nDCG.
    """

    def __init__(
        self,
        evidence: Evidence,
        held_out: Interactions,
        dense: DenseVectors,
        *,
        max_cells: int = 120_000_000,
        max_users: int = 8000,
        seed: int = 7,
        cold_apart: bool = False,
        criterion: Criterion | None = None,
    ) -> None:
        self.evidence, self.dense, self.criterion = evidence, dense, criterion
        n_items = held_out.n_items
        truth = unseen(held_out, evidence.history)
        known = np.diff(evidence.history.start) > 0
        users = np.flatnonzero((np.diff(truth.indptr) > 0) & known)
        size = min(len(users), max_users, max(max_cells // max(n_items, 1), 1000))
        self.users = np.sort(np.random.default_rng(seed).choice(users, size, replace=False))
        chosen = np.zeros(held_out.n_users, np.bool_)
        chosen[self.users] = True
        self.history = evidence.history.where(chosen[evidence.history.user])
        self.truth = truth[self.users]
        self.seen = history_matrix(
            self.history, mask=self.history.is_target(), max_items=len(self.history) + 1
        )[self.users]
        self._blocks: dict[tuple[Any, ...], sp.csr_array] = {}
        never_had = evidence.degree == 0
        cold = _only(self.truth, never_had)
        self.has_cold = cold.nnz > 0
        self._targets = [(1.0, self.truth)]
        if self.has_cold and cold_apart:
            share = float(never_had.mean())
            self._targets = [(1 - share, _only(self.truth, ~never_had)), (share, cold)]

    def score(self, config: RankerConfig) -> float:
        """What the criterion says of the configuration; without one nDCG at config.metric_k over
        the full catalogue, items had already removed."""
        if self.criterion is not None:
            ranker = fit_ranker(self.evidence, self.dense, config, self._block)
            return self.criterion(ranker, self.evidence.history)
        if len(self.users) == 0:
            return 0.0
        degree = self.evidence.degree
        vectors, factor = offered(self.dense, degree, config), cold_factor(degree, config)
        ranker = Ranker(config, self.dense, sp.csr_array((1, 1)), vectors, degree, ())
        parts = list(self._parts(config))
        query = ranker.user_vectors(self.history)[self.users] if config.dense_weight else None
        totals = [0.0] * len(self._targets)
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
                gained = ndcg_of_scores(scores, self.seen[rows], truth[rows], config.metric_k)
                totals[at] += float(gained.sum())
        value = 0.0
        for (share, truth), total in zip(self._targets, totals, strict=True):
            value += share * total / max(int(np.count_nonzero(np.diff(truth.indptr))), 1)
        return value

    def _parts(self, config: RankerConfig) -> Iterator[tuple[sp.csr_array, sp.csr_array]]:
        if not config.sparse:
            return
        for name in view_names(self.evidence.history):
            view = view_matrix(name, self.history, config)[self.users]
            weight = view_weight(name, self.evidence.history, config)
            if weight:
                yield view * np.float32(weight), self._block(name, config)
            if name not in ("history", "last"):
                yield view, own_block(name, self.evidence, config)

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
            self._blocks[key] = block_of(name, self.evidence, config)
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
    scores: npt.NDArray[np.float32], seen: sp.csr_array, truth: sp.csr_array, k: int
) -> npt.NDArray[np.float64]:
    """nDCG@k of each user from full score rows, (n_users,); ties take the middle rank.

    Args:
        scores: (n_users, n_items); seen items are overwritten with -inf.
        seen: Items to remove, (n_users, n_items).
        truth: Held-out items, (n_users, n_items).
        k: Length of the list.
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
        rank = (against > own).sum(1) + np.maximum((against == own).sum(1) - 1, 0) / 2
        np.add.at(gain, row, np.where(rank < k, 1 / np.log2(rank + 2), 0))
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    best = ideal[np.minimum(np.diff(truth.indptr), k)]
    return np.asarray(np.divide(gain, best, out=np.zeros_like(gain), where=best > 0))


def search(
    validation: Validation, config: RankerConfig, spent: int = 0
) -> tuple[RankerConfig, list[Trial]]:
    """Climbs one ladder after another until nothing moves or the trials are spent.

    Args:
        validation: What configurations are scored on.
        config: Where to start.
        spent: Trials of `config.trials` that were spent before.

    Returns:
        The best configuration seen and every trial in order.
    """
    trials: list[Trial] = []
    tried: dict[RankerConfig, float] = {}
    best = config

    def attempt(candidate: RankerConfig, field: str) -> bool:
        nonlocal best
        if candidate in tried or len(trials) >= max(config.trials - spent, 1):
            return False
        began = time.perf_counter()
        value = validation.score(candidate)
        kept = value > tried.get(best, -1.0) * (1 + 1e-4)
        tried[candidate] = value
        seconds = round(time.perf_counter() - began, 2)
        trials.append(Trial(field, value_of(candidate, field), value, seconds, kept))
        best = candidate if kept else best
        return kept

    attempt(first(validation, config), "ridge" if config.sparse else "dense_decay")
    fields = [f for f in _fields(validation) if config.sparse or f in _OF_THE_NETWORK]
    for _ in range(3):
        before = best
        for field in track(fields, "search on validation"):
            _climb(field, attempt, lambda: best)
        for field in fields:
            if field.partition(".")[0].endswith("_weight"):
                attempt(with_field(best, field, 0.0), field)
        if best == before:
            break
    return replace(best, n_neighbours=config.n_neighbours), trials


def first(validation: Validation, config: RankerConfig) -> RankerConfig:
    """Where the search starts: fewer neighbours, and a weight for each other behaviour."""
    history = validation.evidence.history
    changes: dict[str, Any] = {
        "cross_weight": tuple(cross_weight(name, history, config) for name in others(history)),
        "own_weight": tuple(own_weight(name, history, config) for name in others(history)),
    }
    return replace(
        config, n_neighbours=min(config.n_neighbours, config.search_neighbours), **changes
    )


def value_of(config: RankerConfig, field: str) -> float:
    """The value of a field of `LADDERS`; `own_weight.1` is that of the second other behaviour."""
    name, _, place = field.partition(".")
    value = getattr(config, name)
    return float(value[int(place)] if place else value)


def with_field(config: RankerConfig, field: str, value: float) -> RankerConfig:
    """The configuration with one such field changed."""
    name, _, place = field.partition(".")
    changed: Any = value
    if place:
        changed = tuple(
            value if at == int(place) else old for at, old in enumerate(getattr(config, name))
        )
    return replace(config, **{name: changed})


def _climb(field: str, attempt: Any, current: Any) -> None:
    ladder = LADDERS[field.partition(".")[0]]
    at = int(np.argmin([abs(step - value_of(current(), field)) for step in ladder]))
    for direction in (1, -1):
        moved, step = False, at + direction
        while 0 <= step < len(ladder) and attempt(
            with_field(current(), field, ladder[step]), field
        ):
            moved, step = True, step + direction
        if moved:
            break


def _fields(validation: Validation) -> list[str]:
    """What is worth moving on this data; a weight by behaviour is one field for each."""
    n_others = len(others(validation.evidence.history))
    fields: list[str] = []
    for field in LADDERS:
        if field in BY_BEHAVIOUR:
            fields += [f"{field}.{place}" for place in range(n_others)]
        elif _matters(field, validation):
            fields.append(field)
    return fields


def _matters(field: str, validation: Validation) -> bool:
    evidence = validation.evidence
    has = {
        "attribute_weight": evidence.attributes is not None,
        "relation_weight": evidence.relations is not None,
        "text_weight": evidence.text is not None,
        "last_weight": evidence.follows.nnz > 0,
        "last_shrink": evidence.follows.nnz > 0,
        "decay": evidence.history.ordered,
        "behaviour_decay": evidence.history.ordered and len(others(evidence.history)) > 0,
        "sequence_weight": evidence.history.ordered,
        "cold_scale": validation.has_cold,
        "cold_bias": validation.has_cold and validation.dense.item_out.shape[1] > 1,
        "own_power": len(others(evidence.history)) > 0,
        "dense_decay": evidence.history.ordered and validation.dense.item_out.shape[1] > 1,
        "dense_weight": validation.dense.item_out.shape[1] > 1,
    }
    return bool(has.get(field, True))
