"""Sparse ridge regression of every item on its neighbours, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from kgrec.engine import LOCAL, Engine
from kgrec.errors import ShapeError
from kgrec.history import index_type

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]
Entries = tuple[Floats, Ints, npt.NDArray[np.int64]]

COLUMNS = 4096
"""Columns of S that are one task of an engine."""


def sparse_ridge(
    gram: sp.csr_array,
    cross: sp.csr_array | Sequence[sp.csr_array],
    penalty: npt.ArrayLike,
    n_neighbours: int,
    engine: Engine = LOCAL,
) -> sp.csr_array:
    """Weights S that predict each item from its neighbours.

    Column j solves (G_NN + diag(penalty_N)) s_j = C_Nj over the neighbourhood N of j: the
    features with the largest one-variable gain C_ij^2 / (G_ii + penalty_i), j itself excluded.

    Args:
        gram: G = Z^T Z of the features, (n, n) symmetric positive semi-definite.
        cross: C = Z^T Y of features and targets, (n, n); or matrices whose sum is C^T, which are
            added up block by block, so that the sum is never in memory.
        penalty: Ridge penalty of each feature, (n,), > 0.
        n_neighbours: Most features a column may use.
        engine: Solves blocks of columns; each column is the same in whichever block it lies.

    Returns:
        S, (n, n) float32 csr with at most `n_neighbours` entries a column and a zero diagonal.

    Raises:
        ShapeError: The shapes differ.

    Source: Ning & Karypis 2011 (SLIM); Steck 2019 (EASE), restricted to a neighbourhood.
    """
    n = gram.shape[0]
    lam = np.asarray(penalty, np.float32)
    summands = [cross] if isinstance(cross, sp.csr_array) else list(cross)
    shapes = {gram.shape, *(part.shape for part in summands)}
    if shapes != {(n, n)} or lam.shape != (n,):
        raise ShapeError(f"gram, cross and penalty differ: {sorted(shapes)} and {lam.shape}")
    g = _sorted(gram)
    if isinstance(cross, sp.csr_array):  # row j of C^T is column j of C
        summands = [g if cross is gram else cross.T.tocsr()]
    diagonal = gram.diagonal().astype(np.float32) + lam
    blocks = [range(begin, min(begin + COLUMNS, n)) for begin in range(0, max(n, 1), COLUMNS)]
    solved = dict(engine.map(_columns, blocks, (g, summands, diagonal, n_neighbours)))
    parts = list(zip(*(solved.pop(number) for number in range(len(blocks))), strict=True))
    weight, row, count = (np.concatenate(parts.pop(0)) for _ in range(3))
    start = np.concatenate([[0], np.cumsum(count)]).astype(index_type(len(weight), (n, n)))
    return sp.csr_array(sp.csc_array((weight, row, start), shape=(n, n)).tocsr())


def _columns(
    problem: tuple[sp.csr_array, list[sp.csr_array], Floats, int], block: range
) -> Entries:
    """The weights of some columns, their rows, and how many each column has."""
    g, summands, diagonal, k = problem
    rows = [part[block.start : block.stop] for part in summands]
    c = _sorted(sum(rows[1:], start=rows[0]))
    chosen = _neighbours(c.indptr, c.indices, c.data, 1 / diagonal, k, block.start)
    weights = _solve(g.indptr, g.indices, g.data, c.indptr, c.indices, c.data, chosen, diagonal)
    kept = (chosen >= 0) & (weights != 0)
    return weights[kept], chosen[kept], kept.sum(axis=1)


def _sorted(matrix: sp.csr_array) -> sp.csr_array:
    out = sp.csr_array(matrix, dtype=np.float32)
    out.sort_indices()
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _place(indices: Ints, low: int, high: int, wanted: int) -> int:
    """First position in low..high of a sorted csr row whose column is at least `wanted`."""
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _cholesky_solve(a: Doubles, b: Doubles) -> None:
    """Solves a x = b in place of b; overwrites the lower triangle of a, (m, m), by its factor.

    By hand because LAPACK starts threads of its own inside each of ours.
    """
    m = len(b)
    for i in range(m):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = np.sqrt(max(total, 1e-12)) if i == j else total / a[j, j]
    for i in range(m):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(m - 1, -1, -1):
        b[i] /= a[i, i]
        for k in range(i):
            b[k] -= a[i, k] * b[i]


@njit(cache=True)  # type: ignore[untyped-decorator]
def sift(gain: Floats, index: Ints, size: int) -> None:
    """Restores a heap whose root alone is out of place: the root is the worst, ties the last."""
    at = 0
    while True:
        worst = at
        for child in (2 * at + 1, 2 * at + 2):
            if child < size and (
                gain[child] < gain[worst]
                or (gain[child] == gain[worst] and index[child] > index[worst])
            ):
                worst = child
        if worst == at:
            return
        gain[at], gain[worst] = gain[worst], gain[at]
        index[at], index[worst] = index[worst], index[at]
        at = worst


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _neighbours(
    indptr: Ints, indices: Ints, data: Floats, scale: Floats, k: int, first: int = 0
) -> Ints:
    """The k rows of largest gain of each column, the first of which is column `first`, sorted."""
    n = len(indptr) - 1
    chosen = np.full((n, k), -1, np.int32)
    for j in prange(n):
        gain = np.zeros(k, np.float32)  # the empty places are the worst, so they go first
        index = np.full(k, len(scale), np.int32)
        for at in range(indptr[j], indptr[j + 1]):
            i = indices[at]
            value = data[at] * data[at] * scale[i]
            if i != first + j and data[at] > 0 and value > gain[0]:
                gain[0], index[0] = value, i
                sift(gain, index, k)
        index = np.sort(index)
        for rank in range(k):
            if index[rank] < len(scale):
                chosen[j, rank] = index[rank]
    return chosen


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _solve(
    g_ptr: Ints,
    g_indices: Ints,
    g_data: Floats,
    c_ptr: Ints,
    c_indices: Ints,
    c_data: Floats,
    chosen: Ints,
    diagonal: Floats,
) -> Floats:
    n, k = chosen.shape
    weights = np.zeros((n, k), np.float32)
    for j in prange(n):
        size = 0
        while size < k and chosen[j, size] >= 0:
            size += 1
        if size == 0:
            continue
        left = np.zeros((size, size), np.float64)
        right = np.zeros(size, np.float64)
        begin, end = c_ptr[j], c_ptr[j + 1]
        for a in range(size):
            row = chosen[j, a]
            begin = _place(c_indices, begin, end, row)
            right[a] = c_data[begin]
            low, high = g_ptr[row], g_ptr[row + 1]
            for b in range(a):
                low = _place(g_indices, low, high, chosen[j, b])
                if low < high and g_indices[low] == chosen[j, b]:
                    left[a, b] = g_data[low]
            left[a, a] = diagonal[row]
        _cholesky_solve(left, right)
        for a in range(size):
            weights[j, a] = right[a]
    return weights
