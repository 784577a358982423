"""What the sparse block is solved from: views of the histories, and counts of their pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.engine import LOCAL, Engine
from kgrec.evidence import (
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
    scale_rows,
    transitions,
)
from kgrec.interactions import Interactions
from kgrec.pruned import either_way, pruned_product
from kgrec.ranker_config import RankerConfig


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
    attributes, relations = (
        made(graph, most_pairs=config.most_pairs) for made in (attribute_rows, relation_rows)
    )
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
    """The Gram matrix X^T X of a view's undecayed histories and Y^T X of what is to be predicted.

    Those of the view `history` are the same matrix: everything in it is predicted.
    """
    if name not in evidence.counted:
        history = evidence.history
        longest = min(config.max_history, cut(np.diff(history.start), config.most_counted))
        if name == "history":
            x = history_matrix(history, max_items=longest)
            gram = cross = _counted(x, x, config)
        else:
            wanted = history_matrix(history, max_items=config.max_history, mask=history.is_target())
            x = _behaviour(history, name, longest)
            gram, cross = _counted(x, x, config), _counted(wanted, x, config)
        evidence.counted[name] = gram, cross
    return evidence.counted[name]


def sequence_pairs(evidence: Evidence, config: RankerConfig) -> tuple[sp.csr_array, sp.csr_array]:
    """Gram matrix of the histories before each interaction, and the pairs of what came next.

    Returns:
        X^T X and Y^T X of `history.prefixes`, (n_items, n_items) each, kept by decay.
    """
    name = f"next {config.decay:g}"
    if name not in evidence.counted:
        most = math.isqrt(config.most_counted // max(int(evidence.history.is_target().sum()), 1))
        x, y = prefixes(evidence.history, config.decay, max(1, min(config.window, most)))
        evidence.counted[name] = _counted(x, x, config), _counted(y, x, config)
    return evidence.counted[name]


def _counted(y: sp.csr_array, x: sp.csr_array, config: RankerConfig) -> sp.csr_array:
    """Y^T X; where it may have more than `most_pairs` entries, only each row's best.

    Of row j the ridge takes the columns of the largest C_ji^2 / (G_ii + penalty_i); four times as
    many as it may take are kept, or as many as fit.
    """
    n = x.shape[1]
    work = int(np.diff(x.indptr).astype(np.int64) @ np.diff(y.indptr))
    if min(work, n * n) <= config.most_pairs:
        return _product(y.T, x)
    squares = np.bincount(x.indices, x.data.astype(np.float64) ** 2, minlength=n)
    users = np.bincount(x.indices, minlength=n)
    scale = 1 / (squares + config.ridge * np.maximum(users, 1) ** config.degree_power)
    most = int(np.clip(config.most_pairs // n, 1, 4 * config.n_neighbours))
    best = pruned_product(sp.csr_array(y.T.tocsr()), x, scale, most)
    return either_way(best) if y is x else best


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
        positive = np.flatnonzero(np.bincount(history.behaviour[history.weight > 0]))
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
