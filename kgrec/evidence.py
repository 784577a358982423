"""Evidence about items beside the interactions, as rows of a ridge: attributes, relations, text.

Each kind of evidence is a sparse matrix E (n_items, n_features) whose E E^T joins the Gram matrix
of the interactions, as if every attribute value were one more user who had all its items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.history import narrow, scale_columns, scale_rows

MOST_PAIRS = 200_000_000
"""Pairs of items that one kind of evidence holds where nobody says otherwise."""


def bound(sizes: npt.NDArray[np.int64], pairs: int) -> int:
    """The largest size up to which rows of these sizes make at most so many pairs together."""
    ordered = np.sort(sizes.astype(np.int64))
    within = int(np.searchsorted(np.cumsum(ordered**2), pairs, side="right"))
    return int(ordered[-1]) if within == len(ordered) else int(ordered[max(within - 1, 0)])


def cut(sizes: npt.NDArray[np.int64], pairs: int) -> int:
    """The length that rows of these sizes may be cut to so that they make at most so many pairs."""
    low, high = 1, int(sizes.max(initial=1))
    while low < high:
        middle = (low + high + 1) // 2
        if int((np.minimum(sizes, middle).astype(np.int64) ** 2).sum()) <= pairs:
            low = middle
        else:
            high = middle - 1
    return low


def attribute_rows(
    graph: KnowledgeGraph, hub_share: float = 0.2, most_pairs: int = MOST_PAIRS
) -> sp.csr_array | None:
    """Links of items to the values of their own attributes, IDF-weighted, unit norm by item.

    Args:
        graph: The knowledge graph.
        hub_share: A feature that more than this share of the items has says nothing and is
            left out, which also bounds the pairs it would make.
        most_pairs: Features of ever more items count until they make so many pairs.

    Returns:
        (n_items, n_features) float32, or None when no such relation has an edge.
    """
    return _weighted(
        [
            _incidence(relation, graph, item_first)
            for relation, item_first, far in _item_links(graph)
            if far not in ("item", "entity")
        ],
        hub_share,
        most_pairs,
    )


def relation_rows(
    graph: KnowledgeGraph, hub_share: float = 0.2, most_pairs: int = MOST_PAIRS
) -> sp.csr_array | None:
    """Links to other items and to entities outside the shop, IDF-weighted, unit norm by item.

    Item h has a feature for each item t it points to, and every item has its own: so h meets t
    itself as well as whatever else points to t.

    Returns:
        (n_items, n_features) float32, or None when no such relation has an edge.
    """
    own = sp.eye_array(graph.n_items, dtype=np.float32, format="csr")
    blocks = []
    for relation, item_first, far in _item_links(graph):
        if far == "entity":
            blocks.append(_incidence(relation, graph, item_first))
        elif far == "item" and item_first:
            blocks.append((_incidence(relation, graph, item_first) + own).tocsr())
    return _weighted(blocks, hub_share, most_pairs)


def text_rows(
    text: npt.NDArray[np.float32], n_neighbours: int = 20, batch_size: int = 1024
) -> sp.csr_array:
    """Each item's nearest items by the cosine of their texts, itself included, unit norm.

    Args:
        text: Text embeddings, (n_items, text_size); a zero row has no neighbours.
        n_neighbours: Neighbours an item has.
        batch_size: Items compared at once, which bounds memory.

    Returns:
        (n_items, n_items) float32.
    """
    from kgrec.item_index import exact_search

    n = len(text)
    unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-12)
    unit = np.ascontiguousarray(unit, np.float32)
    search = exact_search(unit)
    wanted = min(n_neighbours + 1, n)
    columns, values = [], []
    for begin in range(0, n, batch_size):
        cosine, neighbour = search(unit[begin : begin + batch_size], wanted)
        columns.append(neighbour)
        values.append(np.maximum(cosine, 0))
    rows = sp.csr_array(
        (
            np.concatenate(values).ravel().astype(np.float32),
            np.concatenate(columns).ravel().astype(np.int32),
            np.arange(n + 1) * wanted,
        ),
        shape=(n, n),
    )
    rows = narrow(rows)
    rows.eliminate_zeros()
    rows.sort_indices()
    return _unit(rows)


def _item_links(graph: KnowledgeGraph) -> Iterator[tuple[Relation, bool, str]]:
    """Relations that touch items: each with whether the item is the head, and the other kind."""
    for relation in graph.relations:
        if len(relation) and relation.head == "item" and relation.tail != "user":
            yield relation, True, relation.tail
        if len(relation) and relation.tail == "item" and relation.head != "user":
            yield relation, False, relation.head


def _incidence(relation: Relation, graph: KnowledgeGraph, item_first: bool) -> sp.csr_array:
    item, other = relation.edges if item_first else relation.edges[::-1]
    far = relation.tail if item_first else relation.head
    shape = (graph.n_items, len(graph.nodes[far]))
    return sp.csr_array((relation.weight, (item, other)), shape=shape, dtype=np.float32)


def _weighted(blocks: list[sp.csr_array], hub_share: float, most_pairs: int) -> sp.csr_array | None:
    if not blocks:
        return None
    links = narrow(sp.csr_array(sp.hstack(blocks, format="csr")))
    n = links.shape[0]
    degree = np.bincount(links.indices, minlength=links.shape[1])
    most = min(hub_share * n, bound(degree, most_pairs))
    kept = (degree > 1) & (degree <= max(most, 2))
    idf = np.where(kept, np.log(n / np.maximum(degree, 1)), 0)
    rows = scale_columns(links, idf)
    rows.eliminate_zeros()
    return _unit(rows) if rows.nnz else None


def _unit(rows: sp.csr_array) -> sp.csr_array:
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return scale_rows(rows, 1 / np.maximum(norm, 1e-12))
