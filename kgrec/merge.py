"""Joins what the index retrieved with what S reaches, and scores the union exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from kgrec.topk import TopK

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def rank_union(
    query: Floats,
    items: Floats,
    sparse: sp.csr_array,
    retrieved: npt.NDArray[np.int64],
    seen: sp.csr_array,
    allowed: npt.NDArray[np.bool_],
    k: int,
) -> TopK:
    """The k best of all items that were retrieved or that S reaches, by their full scores.

    Args:
        query: (n, size) float32.
        items: (n_items, size) float32.
        sparse: x_u^T S of each user, (n, n_items), sorted indices.
        retrieved: Items that the index found, (n, m), -1 for none.
        seen: Items to leave out, (n, n_items), sorted indices.
        allowed: Items that a list may hold, (n_items,).
        k: Length of the lists.
    """
    found, scores = _rank(
        query, items, sparse.indptr, sparse.indices, sparse.data, np.sort(retrieved, axis=1),
        seen.indptr, seen.indices, allowed, k,
    )  # fmt: skip
    return TopK(found, scores)


def dense_scores(query: Floats, items: Floats) -> Floats:
    """Inner products of all queries and items, (n, n_items) float32, as `rank_union` has them."""
    return np.asarray(_all(query, items), np.float32)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _dot(a: Floats, b: Floats) -> np.float32:
    total = np.float32(0)
    for at in range(len(a)):
        total += a[at] * b[at]
    return total


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _all(query: Floats, items: Floats) -> Floats:
    out = np.empty((len(query), len(items)), np.float32)
    for u in prange(len(query)):
        for i in range(len(items)):
            out[u, i] = _dot(query[u], items[i])
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _offer(found: Ints, scores: Floats, item: int, score: float) -> None:
    """Puts one item into a sorted list if it belongs there; equal scores go by item index."""
    last = len(scores) - 1
    if score < scores[last] or (score == scores[last] and 0 <= found[last] < item):
        return
    at = last
    while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and found[at - 1] > item)):
        scores[at], found[at] = scores[at - 1], found[at - 1]
        at -= 1
    scores[at], found[at] = score, item


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _rank(
    query: Floats,
    items: Floats,
    s_ptr: Ints,
    s_indices: Ints,
    s_data: Floats,
    retrieved: npt.NDArray[np.int64],
    seen_ptr: Ints,
    seen_indices: Ints,
    allowed: npt.NDArray[np.bool_],
    k: int,
) -> tuple[Ints, Floats]:
    n = len(query)
    found = np.full((n, k), -1, np.int32)
    scores = np.full((n, k), -np.inf, np.float32)
    for u in prange(n):
        s, s_end = s_ptr[u], s_ptr[u + 1]
        seen, seen_end = seen_ptr[u], seen_ptr[u + 1]
        r, r_end = 0, retrieved.shape[1]
        while s < s_end or r < r_end:  # three sorted lists, walked together
            item = retrieved[u, r] if r < r_end else items.shape[0]
            added = np.float32(0)
            if s < s_end and s_indices[s] <= item:
                item, added = s_indices[s], s_data[s]
                s += 1
            while r < r_end and retrieved[u, r] <= item:
                r += 1
            while seen < seen_end and seen_indices[seen] < item:
                seen += 1
            if item < 0 or not allowed[item]:
                continue
            if seen < seen_end and seen_indices[seen] == item:
                continue
            _offer(found[u], scores[u], item, _dot(query[u], items[item]) + added)
    return found, scores
