"""The ranker: score(u, i) = g_u^T W_g g_i + b_i + x_u^T S, both blocks of W.

x_u lies in several views side by side: the decayed history, the newest basket, and one view for
each behaviour that is not the one to predict. S has one block of rows a view. The dense vectors
g come from the graph network; without one, popularity alone orders what S does not reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.engine import LOCAL, Engine
from kgrec.errors import ConfigError
from kgrec.evidence import (
    MOST_COUNTED,
    MOST_PAIRS,
    attribute_rows,
    cut,
    relation_rows,
    text_rows,
)
from kgrec.graph import KnowledgeGraph
from kgrec.history import (
    history_matrix,
    last_matrix,
    prefixes,
    scale_columns,
    scale_rows,
    transitions,
)
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors
from kgrec.pruned import pruned_product
from kgrec.ridge import sparse_ridge


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerConfig:
    """Weights and exponents of both blocks; those that `tune` names are searched on validation."""

    search: bool = True
    """Whether the search on validation may move the values below."""
    trials: int = 60
    """Most evaluations that the search may take."""
    sample_rows: int = 5_000_000
    """Interactions that the search looks at; of a larger shop, those of a sample of its users."""
    metric_k: int = 10
    """The search maximises nDCG at this length."""
    sparse: bool = True
    """Whether there is a block S at all (off for an ablation)."""
    n_neighbours: int = 100
    """Most entries in a column of S; fewer where all columns together would have more than
    `evidence.MOST_PAIRS`."""
    search_neighbours: int = 40
    """The same while the search compares configurations, which makes it several times cheaper."""
    max_history: int = 500
    """Newest interactions of a user that count; fewer are counted in pairs where all users
    together would make more than `evidence.MOST_COUNTED`."""
    ridge: float = 30.0
    """Ridge penalty of an item seen once, > 0."""
    degree_power: float = 0.25
    """The penalty grows with an item's number of users to this power."""
    output_power: float = 0.0
    """Scores of an item fall with its number of users to this power."""
    decay: float = 0.7
    """Weight of an interaction falls by this factor a step back, in (0, 1]."""
    behaviour_decay: float = 0.97
    """As `decay`, in the views of the other behaviours."""
    sequence_weight: float = 1.0
    """Weight of what came next after each decayed history, beside pairs that merely share a
    user."""
    window: int = 20
    """Rows that a history so counted reaches back; fewer where all together would make more pairs
    than `evidence.MOST_COUNTED`."""
    attribute_weight: float = 3.0
    """Weight of the attribute rows beside the interactions in the ridge."""
    relation_weight: float = 3.0
    """Weight of item-item and item-entity relations."""
    text_weight: float = 3.0
    """Weight of text neighbours."""
    last_weight: float = 0.3
    """Weight of the directed block of the newest basket."""
    last_shrink: float = 10.0
    """Transitions out of an item are divided by their number plus this."""
    cross_weight: tuple[float, ...] = ()
    """Weight of the ridge from each other behaviour to the one to predict, in the order of
    `view_names`; 0.3 where none is given."""
    own_weight: tuple[float, ...] = ()
    """Weight of the item itself once met by another behaviour (carted, not bought), likewise; where
    none is given, three times the behaviour's weight beside that of the heaviest."""
    own_power: float = 0.5
    """The item itself counts by its rate of conversion to this power: how many of those who met
    it by the other behaviour went on to the one to predict."""
    dense_weight: float = 0.03
    """Weight of the dense half."""

    dense_decay: float = 0.9
    """As `decay`, where the dense half computes the user's vector."""
    cold_scale: float = 1.0
    """Factor on what S gives an item that nobody had yet."""
    cold_bias: float = 0.0
    """Bias of such an item in the dense half, where 0 is that of a warm item on the mean."""

    def __post_init__(self) -> None:
        decays = self.decay, self.behaviour_decay
        if self.ridge <= 0 or not all(0 < decay <= 1 for decay in decays):
            raise ConfigError(
                f"ranker.ridge is {self.ridge}, ranker.decay and behaviour_decay {decays}; "
                "the first is above 0, the others in (0, 1]"
            )
        if min(self.n_neighbours, self.trials, self.sample_rows) < 1:
            raise ConfigError("ranker.n_neighbours, trials and sample_rows are at least 1")


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
        """W_g^T g_u and a final one for the bias, times the dense weight, (n_users, size + 1)."""
        g = self.dense.user_vectors(dense_history(history, self.config))
        query = np.concatenate([g @ self.dense.w_g, np.ones((len(g), 1), np.float32)], axis=1)
        return np.asarray(query * np.float32(self.config.dense_weight), np.float32)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a ridge is made of, computed once and weighted many times."""

    history: Interactions
    degree: npt.NDArray[np.float32]
    """Users of each item, (n_items,)."""
    attributes: sp.csr_array | None
    relations: sp.csr_array | None
    text: sp.csr_array | None
    follows: sp.csr_array
    """Transitions, (n_items, n_items)."""
    counted: dict[str, tuple[sp.csr_array, sp.csr_array]] = field(default_factory=dict)
    """What `pairs` and `sequence_pairs` counted, by what it is of; whoever is short of memory may
    empty it."""
    engine: Engine = LOCAL
    """What solves the columns of S."""


def gather(
    history: Interactions,
    graph: KnowledgeGraph,
    text: npt.NDArray[np.float32] | None,
    config: RankerConfig,
    engine: Engine = LOCAL,
) -> Evidence:
    """What the sparse block is solved from, but for the pairs, which are counted when asked for."""
    x = history_matrix(history, max_items=config.max_history)
    attributes, relations = attribute_rows(graph), relation_rows(graph)
    return Evidence(
        history=history,
        degree=np.bincount(x.indices, minlength=history.n_items).astype(np.float32),
        attributes=None if attributes is None else _gram(attributes),
        relations=None if relations is None else _gram(relations),
        text=None if text is None else _gram(text_rows(text)),
        follows=transitions(history),
        engine=engine,
    )


def pairs(name: str, evidence: Evidence, config: RankerConfig) -> tuple[sp.csr_array, sp.csr_array]:
    """The Gram matrix of a view's undecayed histories and its pairs with what is to be predicted.

    Those of the view `history` are the same matrix: everything in it is predicted.
    """
    if name not in evidence.counted:
        history = evidence.history
        longest = min(config.max_history, cut(np.diff(history.start), MOST_COUNTED))
        if name == "history":
            x = history_matrix(history, max_items=longest)
            gram = cross = _counted(x, x, config)
        else:
            wanted = history_matrix(history, max_items=config.max_history, mask=history.is_target())
            x = _behaviour(history, name, longest)
            gram, cross = _counted(x, x, config), _counted(x, wanted, config)
        evidence.counted[name] = gram, cross
    return evidence.counted[name]


def sequence_pairs(evidence: Evidence, config: RankerConfig) -> tuple[sp.csr_array, sp.csr_array]:
    """Gram matrix of the histories before each interaction, and their pairs with what came next.

    Returns:
        X^T X and X^T Y of `history.prefixes`, (n_items, n_items) each, kept by decay.
    """
    name = f"next {config.decay:g}"
    if name not in evidence.counted:
        most = math.isqrt(MOST_COUNTED // max(int(evidence.history.is_target().sum()), 1))
        x, y = prefixes(evidence.history, config.decay, max(1, min(config.window, most)))
        evidence.counted[name] = _counted(x, x, config), _counted(x, y, config)
    return evidence.counted[name]


def _counted(x: sp.csr_array, y: sp.csr_array, config: RankerConfig) -> sp.csr_array:
    """X^T Y; where it may have more than `MOST_PAIRS` entries, only each column's best.

    Of column j the ridge takes the rows of the largest C_ij^2 / (G_ii + penalty_i); four times as
    many as it may take are kept, or as many as fit.
    """
    n = x.shape[1]
    work = int(np.diff(x.indptr).astype(np.int64) @ np.diff(y.indptr))
    if min(work, n * n) <= MOST_PAIRS:
        return _product(x.T, y)
    squares = np.bincount(x.indices, x.data.astype(np.float64) ** 2, minlength=n)
    users = np.bincount(x.indices, minlength=n)
    scale = 1 / (squares + config.ridge * np.maximum(users, 1) ** config.degree_power)
    most = int(np.clip(MOST_PAIRS // n, 1, 4 * config.n_neighbours))
    best = sp.csr_array(pruned_product(sp.csr_array(y.T.tocsr()), x, scale, most).T.tocsr())
    return sp.csr_array(best.maximum(best.T)) if y is x else best


def _gram(rows: sp.csr_array) -> sp.csr_array:
    return _product(rows, rows.T)


def _product(left: sp.sparray, right: sp.sparray) -> sp.csr_array:
    """The product with sorted rows, so that adding such products keeps them sorted."""
    out = sp.csr_array(left @ right)
    out.sort_indices()
    return out


def view_names(history: Interactions) -> tuple[str, ...]:
    """The views of a history: `history`, `last`, and each behaviour that is not to be predicted."""
    others: tuple[str, ...] = ()
    if history.target is not None:
        positive = np.unique(history.behaviour[history.weight > 0])
        others = tuple(history.behaviours[b] for b in positive if b != history.target)
    return ("history", "last", *others)


def view_matrix(name: str, history: Interactions, config: RankerConfig) -> sp.csr_array:
    """One view of every user, (n_users, n_items)."""
    if name == "history":
        return history_matrix(history, decay=config.decay, max_items=config.max_history)
    if name == "last":
        return last_matrix(history)
    return _behaviour(history, name, config.max_history, config.behaviour_decay)


def others(history: Interactions) -> tuple[str, ...]:
    """The behaviours that have a view of their own."""
    return view_names(history)[2:]


def _behaviour(
    history: Interactions, name: str, max_items: int, decay: float = 1.0
) -> sp.csr_array:
    mask = history.behaviour == history.behaviours.index(name)
    rows = history_matrix(history, decay=decay, max_items=max_items, mask=mask)
    return scale_rows(rows, np.full(rows.shape[0], 1 / max(rows.data.max(initial=0), 1e-9)))


def dense_history(history: Interactions, config: RankerConfig) -> sp.csr_array:
    """The history as the graph network reads it, (n_users, n_items)."""
    return history_matrix(history, decay=config.dense_decay, max_items=config.max_history)


def block_of(name: str, evidence: Evidence, config: RankerConfig) -> sp.csr_array:
    """The block of S that one view is multiplied by, its weight not yet in, (n_items, n_items)."""
    if name == "last":
        out = np.asarray(evidence.follows.sum(axis=1)).ravel()
        return scale_rows(evidence.follows, 1 / (out + max(config.last_shrink, 1e-6)))
    if name == "history":
        gram, cross = pairs(name, evidence, config)
        if config.sequence_weight and evidence.history.ordered:
            before, after = sequence_pairs(evidence, config)
            gram = gram + np.float32(config.sequence_weight) * before
            cross = cross + np.float32(config.sequence_weight) * after
        return _ridge_block(gram, cross, evidence, config, evidence.degree)
    gram, cross = pairs(name, evidence, config)
    return _ridge_block(gram, cross, evidence, config, gram.diagonal())


def _ridge_block(
    gram: sp.csr_array,
    cross: sp.csr_array,
    evidence: Evidence,
    config: RankerConfig,
    degree: npt.NDArray[np.float32],
) -> sp.csr_array:
    rows = [
        weight * matrix
        for weight, matrix in (
            (config.attribute_weight, evidence.attributes),
            (config.relation_weight, evidence.relations),
            (config.text_weight, evidence.text),
        )
        if weight and matrix is not None
    ]
    added = sum(rows[1:], start=rows[0]) if rows else None
    left = gram if added is None else gram + added
    right = left if cross is gram else (cross if added is None else cross + added)
    penalty = config.ridge * np.maximum(degree, 1) ** config.degree_power
    most = min(config.n_neighbours, max(MOST_PAIRS // len(degree), 1))
    block = sparse_ridge(left.tocsr(), right.tocsr(), penalty, most, evidence.engine)
    return scale_columns(block, np.maximum(evidence.degree, 1) ** -config.output_power)


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
    met, went_on = gram.diagonal(), cross.diagonal()
    mean = max(float(went_on.sum()) / max(float(met.sum()), 1e-9), 1e-9)
    rate = (went_on + 1) / (met + 1 / mean) / mean
    weight = own_weight(name, evidence.history, config)
    return sp.diags_array((weight * rate**config.own_power).astype(np.float32), format="csr")


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
    vectors = offered(dense, evidence.degree, config)
    return Ranker(config, dense, stacked, vectors, evidence.degree, names)


def cold_factor(degree: Vectors, config: RankerConfig) -> Vectors:
    """`cold_scale` where nobody had the item, else 1, (n_items,)."""
    return np.where(degree == 0, config.cold_scale, 1).astype(np.float32)


def offered(dense: DenseVectors, degree: Vectors, config: RankerConfig) -> Vectors:
    """Each item's vector as offered and its bias, (n_items, size + 1)."""
    bias = dense.bias + np.where(degree == 0, np.float32(config.cold_bias), np.float32(0))
    return np.concatenate([dense.item_out, bias[:, None]], axis=1)


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
