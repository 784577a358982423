"""The ranker: score(u, i) = g_u^T W_g g_i + b_i + x_u^T S, both blocks of W.

x_u lies in several views side by side: the decayed history, the newest basket, and one view for
each behaviour that is not the one to predict. S has one block of rows a view. The dense vectors
g come from the graph network; without one, popularity alone orders what S does not reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.counts import (
    Evidence,
    dense_history,
    others,
    pairs,
    sequence_pairs,
    view_matrix,
    view_names,
)
from kgrec.history import narrow, scale_columns, scale_rows
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors
from kgrec.ranker_config import RankerConfig
from kgrec.ridge import diagonal_of, sparse_ridge

Vectors = npt.NDArray[np.float32]
_CROSS_WEIGHT, _OWN_WEIGHT = 0.3, 3.0


@dataclass(frozen=True, slots=True)
class Ranker:
    """Both blocks, ready to score; every array is float32."""

    config: RankerConfig
    dense: DenseVectors
    sparse: sp.csr_array
    """S with the weight of each view folded in, (n_views * n_items, n_items)."""
    item_vectors: npt.NDArray[np.float32]
    """What the index holds: each item's offered vector and its bias, (n_items, size + 1)."""
    popularity: npt.NDArray[np.float32]
    """Number of users who had each item, (n_items,): the list of someone with no history."""
    views: tuple[str, ...]
    """Names of the views, in the order of their rows in S."""

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.popularity)

    def rows(self, history: Interactions) -> sp.csr_array:
        """x_u of every user, (n_users, n_views * n_items)."""
        parts = [view_matrix(name, history, self.config) for name in self.views]
        return sp.csr_array(sp.hstack(parts, format="csr"))

    def user_vectors(self, history: Interactions) -> npt.NDArray[np.float32]:
        """W_g^T g_u and a final one for the bias, times the dense weight, (n_users, size + 1).

        Where that is 0 the bias is popularity, which orders what nothing else does.
        """
        g = self.dense.user_vectors(dense_history(history, self.config))
        query = np.concatenate([g, np.ones((len(g), 1), np.float32)], axis=1)
        return np.asarray(query * np.float32(self.config.dense_weight or 1), np.float32)


def block_of(
    name: str,
    evidence: Evidence,
    config: RankerConfig,
    columns: npt.NDArray[np.int64] | None = None,
) -> sp.csr_array:
    """The block of S that one view is multiplied by, its weight not yet in.

    Args:
        name: The view.
        evidence: What it is solved from.
        config: Options.
        columns: Items whose columns are wanted, (n_columns,); by default all.

    Returns:
        (n_items, n_columns) float32.
    """
    if name == "last":
        out = np.asarray(evidence.follows.sum(axis=1)).ravel()
        block = scale_rows(evidence.follows, 1 / (out + max(config.last_shrink, 1e-6)))
        return block if columns is None else sp.csr_array(block[:, columns])
    gram, cross = pairs(name, evidence, config)
    left, right = [(1.0, gram)], [(1.0, cross)]
    if name == "history" and config.sequence_weight and evidence.history.ordered:
        before, after = sequence_pairs(evidence, config)
        left.append((config.sequence_weight, before))
        right.append((config.sequence_weight, after))
    beside = [
        (weight, matrix)
        for weight, matrix in (
            (config.attribute_weight, evidence.attributes),
            (config.relation_weight, evidence.relations),
            (config.text_weight, evidence.text),
        )
        if weight and matrix is not None
    ]
    degree = evidence.degree if name == "history" else diagonal_of(gram)
    penalty = config.ridge * np.maximum(degree, 1) ** config.degree_power
    n_ridges = 1 + len(others(evidence.history))
    most = min(config.n_neighbours, max(2 * config.most_pairs // (n_ridges * len(degree)), 1))
    block = sparse_ridge(
        [*left, *beside], [*right, *beside], penalty, most, evidence.engine, columns
    )
    users = evidence.degree if columns is None else evidence.degree[columns]
    return scale_columns(block, np.maximum(users, 1) ** -config.output_power)


def view_weight(name: str, history: Interactions, config: RankerConfig) -> float:
    """The weight of one view's block."""
    if name in ("history", "last"):
        return {"history": 1.0, "last": config.last_weight}[name]
    return cross_weight(name, history, config)


def cross_weight(name: str, history: Interactions, config: RankerConfig) -> float:
    """The weight of the ridge from one other behaviour."""
    at = others(history).index(name)
    return config.cross_weight[at] if at < len(config.cross_weight) else _CROSS_WEIGHT


def own_weight(name: str, history: Interactions, config: RankerConfig) -> float:
    """What an item itself is worth once met by one other behaviour."""
    at = others(history).index(name)
    if at < len(config.own_weight):
        return config.own_weight[at]
    rows = history.behaviour == history.behaviours.index(name)
    heaviest = history.weight.max(initial=0)
    return float(_OWN_WEIGHT * history.weight[rows].max(initial=0) / max(heaviest, 1e-9))


def own_block(name: str, evidence: Evidence, config: RankerConfig) -> sp.csr_array:
    """What an item that was met by another behaviour is worth itself, diagonal (n_items, n_items).

    The weight times (rate of conversion / mean rate) ** own_power, where the rate is (users who
    viewed and bought + 1) / (users who viewed + 1 / mean rate).
    """
    gram, cross = pairs(name, evidence, config)
    met, went_on = diagonal_of(gram), diagonal_of(cross)
    mean = max(float(went_on.sum()) / max(float(met.sum()), 1e-9), 1e-9)
    rate = (went_on + 1) / (met + 1 / mean) / mean
    weight = own_weight(name, evidence.history, config)
    return narrow(sp.diags_array((weight * rate**config.own_power).astype(np.float32)).tocsr())


def fit_ranker(
    evidence: Evidence,
    dense: DenseVectors,
    config: RankerConfig,
    block: Callable[[str, RankerConfig], sp.csr_array] | None = None,
) -> Ranker:
    """The ranker of one configuration: blocks solved, weighted and stacked.

    Args:
        evidence: What blocks are solved from.
        dense: The dense half.
        config: Weights and exponents.
        block: The block of a view, where it may be known already; by default each is solved in
            its turn and what was counted for it is dropped.
    """
    solve = block or (lambda name, one: block_of(name, evidence, one))
    n = evidence.history.n_items
    names = view_names(evidence.history)
    blocks = []
    for name in names:
        weight = view_weight(name, evidence.history, config) if config.sparse else 0.0
        part = sp.csr_array((n, n), dtype=np.float32)
        if weight:
            part = solve(name, config) * np.float32(weight)
        if name not in ("history", "last") and config.sparse:
            part = part + own_block(name, evidence, config)
        blocks.append(sp.csr_array(part))
        if block is None:
            evidence.counted.clear()
    stacked = sp.csr_array(sp.vstack(blocks, format="csr"), dtype=np.float32)
    if config.cold_scale != 1:
        stacked = scale_columns(stacked, cold_factor(evidence.degree, config))
    stacked.eliminate_zeros()
    stacked.sort_indices()
    vectors = offered(dense.item_out, dense.bias, evidence.degree, config)
    return Ranker(config, dense, stacked, vectors, evidence.degree, names)


def cold_factor(degree: Vectors, config: RankerConfig) -> Vectors:
    """`cold_scale` where nobody had the item, else 1, (n_items,)."""
    return np.where(degree == 0, config.cold_scale, 1).astype(np.float32)


def offered(item_out: Vectors, bias: Vectors, degree: Vectors, config: RankerConfig) -> Vectors:
    """Each item's vector as offered and its bias, (n_items, size + 1)."""
    shifted = bias + np.where(degree == 0, np.float32(config.cold_bias), np.float32(0))
    return np.concatenate([item_out, shifted[:, None]], axis=1)


def popularity_vectors(degree: npt.NDArray[np.float32]) -> DenseVectors:
    """Stands in for the graph network: no vector, and a bias that only breaks ties."""
    n = len(degree)
    bias = 1e-6 * np.log1p(degree) / max(float(np.log1p(degree).max(initial=0)), 1e-9)
    return DenseVectors(
        item_in=np.zeros((n, 1), np.float32),
        item_out=np.zeros((n, 1), np.float32),
        w_g=np.eye(1, dtype=np.float32),
        bias=bias.astype(np.float32),
    )
