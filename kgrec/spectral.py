"""Where the graph network starts: an SVD of interactions with graph rows appended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.evidence import attribute_rows, relation_rows
from kgrec.graph import KnowledgeGraph
from kgrec.history import scale_columns, scale_rows

Vectors = npt.NDArray[np.float32]


def spectral_items(
    history: sp.csr_array, graph: KnowledgeGraph, size: int, *, graph_weight: float, seed: int
) -> Vectors:
    """Right singular vectors of interactions and graph rows, scaled by root singular values.

    Rows (users, attributes) and columns (items) are divided by the roots of their sums, so that
    neither a heavy user nor a popular item fills the leading directions.

    Args:
        history: Weights of interactions, (n_users, n_items).
        graph: Where the graph rows come from.
        size: Length of a vector, > 0; columns past the rank of the data are zero.
        graph_weight: Factor on the graph rows, >= 0; 0 for interactions alone.
        seed: Of the random projection.

    Returns:
        (n_items, size) float32 whose rows have a mean squared length of 1; zero rows for items
        that have neither interactions nor graph rows.

    Source: Halko, Martinsson & Tropp 2011, algorithm 4.4 (the decomposition).
    """
    from sklearn.utils.extmath import randomized_svd

    blocks = [_scaled(history)]
    if graph_weight > 0:
        for evidence in (attribute_rows(graph), relation_rows(graph)):
            if evidence is not None:
                blocks.append(np.float32(graph_weight) * _scaled(sp.csr_array(evidence.T)))
    stacked = sp.csr_array(sp.vstack(blocks, format="csr", dtype=np.float32))
    stacked = stacked[np.diff(stacked.indptr) > 0]  # most attributes of a wide graph join nothing
    vectors = np.zeros((history.shape[1], size), np.float32)
    rank = min(size, min(stacked.shape) - 1)
    if rank < 1 or stacked.nnz == 0:
        return vectors
    _, values, right = randomized_svd(stacked, rank, n_iter=3, random_state=seed)
    vectors[:, :rank] = right.T * np.sqrt(values)
    scaled: Vectors = vectors / np.sqrt(np.square(vectors).sum(axis=1).mean())
    return scaled


def attribute_means(graph: KnowledgeGraph, items: Vectors) -> dict[str, Vectors]:
    """For each kind of attribute the mean vector of the items it is joined to, by edge weight.

    Args:
        graph: The knowledge graph.
        items: (n_items, size).

    Returns:
        (n, size) float32 for each kind but items and users; zero rows where no item is joined.
    """
    means = {}
    for kind, ids in graph.nodes.items():
        if kind in ("item", "user"):
            continue
        joined = sp.csr_array((len(ids), len(items)), dtype=np.float32)
        for relation in graph.relations:
            item, attribute = relation.edges
            if (relation.head, relation.tail) == (kind, "item"):
                item, attribute = attribute, item
            elif (relation.head, relation.tail) != ("item", kind):
                continue
            joined = joined + sp.csr_array((relation.weight, (attribute, item)), joined.shape)
        total = np.maximum(np.asarray(joined.sum(axis=1)).ravel(), 1e-12)
        means[kind] = np.asarray(scale_rows(joined.tocsr(), 1 / total) @ items, np.float32)
    return means


def _scaled(matrix: sp.csr_array) -> sp.csr_array:
    """Rows and columns divided by the roots of their sums; empty ones stay empty."""
    rows, columns = (np.asarray(matrix.sum(axis=axis)).ravel() for axis in (1, 0))
    by_row = scale_rows(matrix, 1 / np.sqrt(np.where(rows > 0, rows, 1)))
    return scale_columns(by_row, 1 / np.sqrt(np.where(columns > 0, columns, 1)))
