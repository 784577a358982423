"""Joins what the index retrieved with what S reaches, and scores the union exactly."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from kgrec.topk import TopK

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_USERS_A_TURN = 8
"""Users that a thread takes at a time: some have far longer histories than others."""


def rank_union(
    query: Floats,
    items: Floats,
    rows: sp.csr_array,
    sparse: sp.csr_array,
    retrieved: npt.NDArray[np.int64],
    seen: sp.csr_array,
    allowed: npt.NDArray[np.bool_],
    k: int,
    bound: Floats | None = None,
) -> TopK:
    """The k best of all items that were retrieved or that S reaches, by their full scores.

    Args:
        query: (n, size) float32.
        items: (n_items, size) float32.
        rows: x_u of each user, (n, n_rows).
        sparse: S, (n_rows, n_items).
        retrieved: Items that the index found, (n, m), -1 for none.
        seen: Items to leave out, (n, n_items).
        allowed: Items that a list may hold, (n_items,).
        k: Length of the lists.
        bound: What no inner product of a user's query exceeds but those of retrieved items, (n,):
            items that cannot enter the list even so are passed over. None where that is not known.
    """
    if bound is None:
        bound = np.full(len(query), np.inf, np.float32)
    shape = numba.get_num_threads(), len(items)
    with numba.parallel_chunksize(_USERS_A_TURN):
        found, scores = _rank(
            query, items, rows.indptr, rows.indices, rows.data,
            sparse.indptr, sparse.indices, sparse.data, retrieved,
            seen.indptr, seen.indices, allowed, k, bound,
            np.empty(shape, np.float32), np.zeros(shape, np.int32), np.empty(shape, np.int32),
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
    x_ptr: Ints,
    x_indices: Ints,
    x_data: Floats,
    s_ptr: Ints,
    s_indices: Ints,
    s_data: Floats,
    retrieved: npt.NDArray[np.int64],
    seen_ptr: Ints,
    seen_indices: Ints,
    allowed: npt.NDArray[np.bool_],
    k: int,
    bound: Floats,
    totals: Floats,
    marks: Ints,
    touched: Ints,
) -> tuple[Ints, Floats]:
    """Items and scores, (n, k) each; `totals`, `marks`, all 0, and `touched` are space of the
    threads, (n_threads, n_items) each."""
    n = len(query)
    found = np.full((n, k), -1, np.int32)
    scores = np.full((n, k), -np.inf, np.float32)
    for u in prange(n):
        thread = numba.get_thread_id()
        total, mark, met = totals[thread], marks[thread], touched[thread]
        gone, here = np.int32(2 * u + 1), np.int32(2 * u + 2)  # no other user's marks
        for at in range(seen_ptr[u], seen_ptr[u + 1]):
            mark[seen_indices[at]] = gone
        size = 0
        for at in range(retrieved.shape[1]):
            item = retrieved[u, at]
            if item >= 0 and mark[item] != here and mark[item] != gone and allowed[item]:
                mark[item], total[item] = here, 0
                met[size] = item
                size += 1
        n_retrieved = size
        for at in range(x_ptr[u], x_ptr[u + 1]):
            row, weight = x_indices[at], x_data[at]
            for entry in range(s_ptr[row], s_ptr[row + 1]):
                item = s_indices[entry]
                if mark[item] == here:
                    total[item] += weight * s_data[entry]
                elif mark[item] != gone and allowed[item]:
                    mark[item], total[item] = here, weight * s_data[entry]
                    met[size] = item
                    size += 1
        for at in range(size):
            item = met[at]
            if at >= n_retrieved and total[item] + bound[u] < scores[u, k - 1]:
                continue
            _offer(found[u], scores[u], item, _dot(query[u], items[item]) + total[item])
    return found, scores
