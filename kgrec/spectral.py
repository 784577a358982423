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
    history: sp.csr_array,
    graph: KnowledgeGraph,
    size: int,
    *,
    graph_weight: float,
    seed: int,
    lean: bool = False,
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
        lean: Whether to decompose with little more memory than the result takes, which loses
            directions whose singular value is below a thousandth of the first.

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
    if lean:
        vectors[:, :rank] = _lean_directions(stacked, rank, seed)
    else:
        _, values, right = randomized_svd(stacked, rank, n_iter=3, random_state=seed)
        vectors[:, :rank] = right.T * np.sqrt(values)
    vectors /= np.sqrt(np.square(vectors).sum(axis=1).mean())
    return vectors


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


def _lean_directions(matrix: sp.csr_array, rank: int, seed: int) -> Vectors:
    """Right singular vectors times the roots of their values, (n_columns, rank).

    Only the rows' side is made orthogonal; the columns' side is written once, and decomposed by
    its Gram matrix.
    """
    generator = np.random.default_rng(seed)
    n_directions = min(rank + 10, *matrix.shape)
    basis = generator.standard_normal((matrix.shape[0], n_directions), np.float32)
    for _ in range(4):
        basis, _ = np.linalg.qr(matrix @ (matrix.T @ basis))
    columns = matrix.T @ basis  # (n_columns, n_directions)
    square, turn = np.linalg.eigh((columns.T @ columns).astype(np.float64))
    square, turn = square[::-1][:rank], turn[:, ::-1][:, :rank]
    told = square > 1e-6 * square[0]
    root = np.where(told, np.maximum(square, 1e-30) ** -0.25, 0)
    directions: Vectors = columns @ (turn * root).astype(np.float32)
    return directions


def _scaled(matrix: sp.csr_array) -> sp.csr_array:
    """Rows and columns divided by the roots of their sums; empty ones stay empty."""
    rows, columns = (np.asarray(matrix.sum(axis=axis)).ravel() for axis in (1, 0))
    by_row = scale_rows(matrix, 1 / np.sqrt(np.where(rows > 0, rows, 1)))
    return scale_columns(by_row, 1 / np.sqrt(np.where(columns > 0, columns, 1)))
