"""Two rules that anything learned has to beat: the bestsellers, and a well-tuned item-kNN.

Both are computed from interactions alone, sparse throughout, and answer with the same `TopK` as
the recommender. Where a user has no neighbours (or too few), the bestsellers fill the list.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kgrec.errors import ConfigError, ShapeError
from kgrec.history import history_matrix, largest
from kgrec.interactions import Interactions
from kgrec.metrics import check_depths, evaluate_lists, mean_metrics
from kgrec.topk import TopK
from kgrec.vocabulary import Indices

_BLOCK_ENTRIES = 20_000_000  # entries of a product held at once: about 250 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKNNConfig:
    """How `ItemKNN` weighs; the defaults suit shops of some ten thousand items."""

    neighbours: int = 200
    """Neighbours kept for each item, >= 1."""
    shrinkage: float = 10.0
    """Added to every cosine's denominator, >= 0, so that a few joint users count less."""
    own_exponent: float = 0.5
    """Power of the degree of the item that the user has, 0..1; cosine has 0.5 here and below."""
    offered_exponent: float = 0.5
    """Power of the degree of the item offered, 0..1; less lets popular items through."""
    user_exponent: float = 0.5
    """Power by which a user with many items counts less, 0..2."""
    decay: float = 1.0
    """Weight of an item in the history for each step back from the last one, 0 < decay <= 1."""
    attribute_weight: float = 0.0
    """Weight of attribute rows against users' rows, >= 0."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}; it must be 1 or more")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay is {self.decay}; it must be above 0 and at most 1")
        for name in ("shrinkage", "attribute_weight", "user_exponent"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more")


class Popularity:
    """Every user gets the items that most training users have.

    Args:
        train: Interactions to count; each user counts once an item, target behaviour only.
    """

    def __init__(self, train: Interactions) -> None:
        self.users_of_item = users_of_item(train)
        self._order = np.lexsort((np.arange(train.n_items), -self.users_of_item)).astype(np.int32)

    def top_k(
        self, users: Indices, k: int, *, history: Interactions, exclude_seen: bool = True
    ) -> TopK:
        """The bestsellers that each user lacks; scores are numbers of users.

        Args:
            users: User indices, (n,).
            k: Length of the lists, >= 1.
            history: Rows of each user, by user index.
            exclude_seen: Whether items of the user's history are left out.
        """
        check_depths((k,))
        lists = np.full((len(users), k), -1, np.int32)
        seen = seen_items(history.select(users)) if exclude_seen else None
        for row in range(len(users)):
            best = self.best(k, _NOTHING if seen is None else _row(seen, row)[0])
            lists[row, : len(best)] = best
        scores = np.where(lists >= 0, self.users_of_item[lists], -np.inf).astype(np.float32)
        return TopK(lists, scores)

    def best(self, k: int, without: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The k most popular items that are not in `without`, best first."""
        front = self._order[: k + len(without)]
        return front[~np.isin(front, without)][:k]


class ItemKNN:
    """Items near those of the user's history, nearness being a shrunk cosine over users.

    score(u, i) = sum over items j of u's history of decay^(steps back) s_ji, where
    s_ji = c_ji / (d_j^own d_i^offered + shrinkage), c_ji = sum_v r_vj r_vi / n_v^user_exponent
    (plus the attribute rows that j and i share, times their weight), d the diagonal of c, and n_v
    the number of items of user v. Each item j keeps its `neighbours` largest s_ji.

    Args:
        train: Interactions of any behaviour, by its weight; repeats count once.
        config: Weights and exponents.
        attributes: Rows of attributes over items, (n_rows, n_items), joined below the users' rows.

    Source: Sarwar et al. 2001; Deshpande & Karypis 2004; shrinkage after Bell & Koren 2007.
    """

    def __init__(
        self,
        train: Interactions,
        config: ItemKNNConfig | None = None,
        attributes: sparse.csr_array | None = None,
    ) -> None:
        self.config = config or ItemKNNConfig()
        self.popularity = Popularity(train)
        self.similarity = _similarity(train, self.config, attributes)

    def top_k(
        self, users: Indices, k: int, *, history: Interactions, exclude_seen: bool = True
    ) -> TopK:
        """The k best items of each user, (n, k); bestsellers fill what neighbours leave empty.

        Args:
            users: User indices, (n,).
            k: Length of the lists, >= 1.
            history: Rows of each user, by user index.
            exclude_seen: Whether items of the user's history are left out.
        """
        check_depths((k,))
        lists = np.full((len(users), k), -1, np.int32)
        scores = np.full((len(users), k), -np.inf, np.float32)
        own = history.select(users)
        seen_by_user = seen_items(own) if exclude_seen else None
        weights = history_matrix(own, decay=self.config.decay, max_items=_ALL)
        for first, block in _products(weights, self.similarity):
            for at in range(block.shape[0]):
                row = first + at
                seen = _NOTHING if seen_by_user is None else _row(seen_by_user, row)[0]
                items, values = best_of(*_row(block, at), k, without=seen)
                n = len(items)
                lists[row, :n], scores[row, :n] = items, values
                if n < k:
                    fill = self.popularity.best(k - n, np.concatenate([seen, items]))
                    lists[row, n : n + len(fill)] = fill
                    # below every neighbour, and still in order of popularity
                    scores[row, n : n + len(fill)] = -1 / (1 + self.popularity.users_of_item[fill])
        return TopK(lists, scores)

    def with_decay(self, decay: float) -> ItemKNN:
        """The same neighbours, another decay: nothing is computed again."""
        other = copy.copy(self)
        other.config = replace(self.config, decay=decay)
        return other


def users_of_item(interactions: Interactions) -> npt.NDArray[np.int64]:
    """Distinct users who have each item by the behaviour to predict, (n_items,)."""
    return np.bincount(seen_items(interactions).indices, minlength=interactions.n_items)


def seen_items(interactions: Interactions) -> sparse.csr_array:
    """1 where the user has the item by the behaviour to predict, (n_users, n_items) float32."""
    kept = interactions.where(interactions.is_target())
    return largest(
        kept.user, kept.item, np.ones(len(kept), np.float32), (kept.n_users, kept.n_items)
    )


def best_of(
    items: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
    k: int,
    without: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k largest positive values and their items; equal ones by item index.

    Args:
        items: Distinct item indices, (n,).
        values: Their scores, (n,).
        k: How many at most.
        without: Items to leave out.
    """
    kept = values > 0
    if len(without):
        kept &= ~np.isin(items, without)
    items, values = items[kept], values[kept]
    if len(values) > k:
        least = np.partition(values, len(values) - k)[len(values) - k]
        kept = values >= least  # every tie at the border, which the sort below settles
        items, values = items[kept], values[kept]
    order = np.lexsort((items, -values))[:k]
    return items[order], values[order]


def tune_item_knn(
    train: Interactions,
    validation: Interactions,
    *,
    attributes: sparse.csr_array | None = None,
    metric: str = "nDCG@20",
    start: ItemKNNConfig | None = None,
    rounds: int = 1,
    max_users: int = 10_000,
    seed: int = 7,
) -> tuple[ItemKNNConfig, list[dict[str, Any]]]:
    """A small search, one option after the other, by a metric on validation users.

    Args:
        train: What to fit on.
        validation: What to predict.
        attributes: Attribute rows, (n_rows, n_items); their weight is tuned when given.
        metric: A key of `kgrec.metrics`, such as `nDCG@20`.
        start: Where to start; the defaults when None.
        rounds: Times to go through the options.
        max_users: Validation users to score, drawn by `seed` when there are more.
        seed: For the draw.

    Returns:
        The best configuration, and one row a trial: its options that differ and its value.
    """
    _, _, depth = metric.partition("@")
    if not depth.isdigit():
        raise ConfigError(f"metric is '{metric}'; it must name its depth, such as nDCG@20")
    truth = seen_items(validation)
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    if len(users) > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
    best, model = start or ItemKNNConfig(), None
    tried: dict[ItemKNNConfig, float] = {}

    def value_of(config: ItemKNNConfig) -> float:
        nonlocal model
        if config not in tried:
            if model is None or replace(config, decay=model.config.decay) != model.config:
                model = ItemKNN(train, config, attributes)
            model = model.with_decay(config.decay)
            top = model.top_k(users, int(depth), history=train)
            values = evaluate_lists(top.items, truth[users], (int(depth),))
            tried[config] = mean_metrics(values)[metric]
        return tried[config]

    for _ in range(rounds):
        for option, choices in _choices(train, attributes).items():
            candidates = [ItemKNNConfig(**(asdict(best) | {option: c})) for c in choices]
            best = max([best, *candidates], key=value_of)
    return best, [asdict(config) | {metric: value} for config, value in tried.items()]


_NOTHING = np.zeros(0, np.int32)
_ALL = np.iinfo(np.int64).max


def _choices(train: Interactions, attributes: sparse.csr_array | None) -> dict[str, Sequence[Any]]:
    choices: dict[str, Sequence[Any]] = {
        "decay": (0.9, 0.8, 0.6, 0.4),
        "user_exponent": (0.0, 1.0),
        "offered_exponent": (0.3, 0.7),
        "own_exponent": (0.3, 0.7, 1.0),
        "shrinkage": (0.0, 1.0, 3.0, 30.0),
        "neighbours": (50, 500),
        "attribute_weight": (0.1, 0.3, 1.0),
    }
    if not train.ordered:
        del choices["decay"]
    if attributes is None:
        del choices["attribute_weight"]
    return choices


def _similarity(
    train: Interactions, config: ItemKNNConfig, attributes: sparse.csr_array | None
) -> sparse.csr_array:
    """Row j holds the neighbours that item j recommends, (n_items, n_items) float32."""
    rows = history_matrix(train, max_items=_ALL)
    sizes = np.maximum(np.diff(rows.indptr), 1).astype(np.float32)
    rows = sparse.diags_array(sizes ** (-config.user_exponent / 2)) @ rows
    if attributes is not None and config.attribute_weight > 0:
        if attributes.shape[1] != train.n_items:
            raise ShapeError(
                f"attributes have {attributes.shape[1]} columns, the shop {train.n_items} items"
            )
        rows = sparse.vstack([rows, attributes * np.sqrt(config.attribute_weight)])
    rows = sparse.csr_array(rows, dtype=np.float32)
    degree = np.asarray(rows.multiply(rows).sum(axis=0)).ravel()
    own, offered = degree**config.own_exponent, degree**config.offered_exponent
    indices, values, lengths = [], [], []
    for first, block in _products(rows.T.tocsr(), rows):
        for at in range(block.shape[0]):
            j = first + at
            items, counts = _row(block, at)
            nearness = counts / (own[j] * offered[items] + config.shrinkage)
            items, nearness = best_of(items, nearness, config.neighbours, np.array([j], np.int32))
            indices.append(items)
            values.append(nearness)
            lengths.append(len(items))
    start = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array(
        (np.concatenate(values), np.concatenate(indices), start), shape=(train.n_items,) * 2
    )


def _row(
    matrix: sparse.csr_array, at: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    a, b = matrix.indptr[at], matrix.indptr[at + 1]
    return matrix.indices[a:b], matrix.data[a:b]


def _products(
    left: sparse.csr_array, right: sparse.csr_array
) -> Iterator[tuple[int, sparse.csr_array]]:
    """`left @ right` in blocks of rows small enough to hold, each with its first row."""
    reach = np.diff(right.indptr)[left.indices]  # entries that each entry of left leads to
    work = np.concatenate([[0], np.cumsum(reach, dtype=np.int64)])[left.indptr]
    first = 0
    while first < left.shape[0]:
        last = int(np.searchsorted(work, work[first] + _BLOCK_ENTRIES, side="right")) - 1
        last = min(max(last, first + 1), left.shape[0])
        yield first, left[first:last] @ right
        first = last
