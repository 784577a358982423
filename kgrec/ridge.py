"""Sparse ridge regression of every item on its neighbours, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from kgrec.engine import LOCAL, Engine
from kgrec.errors import ShapeError
from kgrec.history import index_type

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Entries = tuple[Floats, Ints, Longs]
Sum: TypeAlias = sp.csr_array | Sequence[tuple[float, sp.csr_array]]
"""A matrix, or weights and matrices of which it is the sum; the sum is never made."""
Summands = tuple[Floats, tuple[Longs, ...], tuple[Ints, ...], tuple[Floats, ...]]
"""A `Sum` as kernels read it: weights, and of each matrix indptr, indices and data."""

COLUMNS = 4096
"""Columns of S that are one task of an engine."""
_COLUMNS_A_TURN = 16
"""Columns that a thread takes at a time: those of popular items take far longer than others."""


def sparse_ridge(
    gram: Sum,
    cross: Sum,
    penalty: npt.ArrayLike,
    n_neighbours: int,
    engine: Engine = LOCAL,
    columns: npt.NDArray[np.int64] | None = None,
) -> sp.csr_array:
    """Weights S that predict each item from its neighbours.

    Column j solves (G_NN + diag(penalty_N)) s_j = C_jN over the neighbourhood N of j: the
    features with the largest one-variable gain C_ji^2 / (G_ii + penalty_i), j itself excluded.

    Args:
        gram: G = Z^T Z of the features, (n, n) symmetric positive semi-definite.
        cross: C = Y^T Z of targets and features, (n, n); only entries above 0 count.
        penalty: Ridge penalty of each feature, (n,), > 0.
        n_neighbours: Most features a column may use.
        engine: Solves blocks of columns; each column is the same in whichever block it lies.
        columns: Items whose columns are wanted, (n_columns,); by default all.

    Returns:
        S, (n, n_columns) float32 csr with at most `n_neighbours` entries a column, none of them
        the item's own.

    Raises:
        ShapeError: The shapes differ.

    Source: Ning & Karypis 2011 (SLIM); Steck 2019 (EASE), restricted to a neighbourhood.
    """
    left, right = _parts(gram), _parts(cross)
    lam = np.asarray(penalty, np.float32)
    n = len(lam)
    shapes = {part.shape for _, part in (*left, *right)}
    if shapes != {(n, n)}:
        raise ShapeError(f"gram, cross and penalty differ: {sorted(shapes)} and {lam.shape}")
    summed, targets = _summands(left), _summands(right)
    diagonal = lam + sum(np.float32(weight) * diagonal_of(part) for weight, part in left)
    wanted = np.arange(n) if columns is None else columns
    problem = (summed, targets, diagonal.astype(np.float32), n_neighbours)
    blocks = [wanted[at : at + COLUMNS] for at in range(0, max(len(wanted), 1), COLUMNS)]
    solved = dict(engine.map(_columns, blocks, problem))
    parts = list(zip(*(solved.pop(number) for number in range(len(blocks))), strict=True))
    weight, row, count = (np.concatenate(parts.pop(0)) for _ in range(3))
    shape = (n, len(wanted))
    start = np.concatenate([[0], np.cumsum(count)]).astype(index_type(len(weight), shape))
    return sp.csr_array(sp.csc_array((weight, row, start), shape=shape).tocsr())


def _parts(matrix: Sum) -> Sequence[tuple[float, sp.csr_array]]:
    return [(1.0, matrix)] if isinstance(matrix, sp.csr_array) else matrix


def _summands(parts: Sequence[tuple[float, sp.csr_array]]) -> Summands:
    for _, part in parts:
        part.sort_indices()
    return (
        np.array([weight for weight, _ in parts], np.float32),
        tuple(part.indptr.astype(np.int64, copy=False) for _, part in parts),
        tuple(part.indices.astype(np.int32, copy=False) for _, part in parts),
        tuple(part.data.astype(np.float32, copy=False) for _, part in parts),
    )


def _columns(
    problem: tuple[Summands, Summands, Floats, int], columns: npt.NDArray[np.int64]
) -> Entries:
    """The weights of some columns, their rows, and how many each column has."""
    gram, cross, diagonal, k = problem
    threads = numba.get_num_threads()
    totals = np.zeros((threads, len(diagonal)), np.float32)
    touched = np.empty((threads, len(diagonal)), np.int32)
    with numba.parallel_chunksize(_COLUMNS_A_TURN):
        chosen, weights = _solve(columns, *gram, *cross, diagonal, k, totals, touched)
    kept = (chosen >= 0) & (weights != 0)
    return weights[kept], chosen[kept], kept.sum(axis=1)


def diagonal_of(matrix: sp.csr_array) -> Floats:
    """The diagonal of a square matrix with sorted indices, (n,); scipy's reads every entry."""
    found: Floats = _diagonal(matrix.indptr, matrix.indices, matrix.data)
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _diagonal(indptr: Longs, indices: Ints, data: Floats) -> Floats:
    n = len(indptr) - 1
    found = np.zeros(n, np.float32)
    for row in range(n):
        at = _place(indices, indptr[row], indptr[row + 1], row)
        if at < indptr[row + 1] and indices[at] == row:
            found[row] = data[at]
    return found


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


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_row(
    row: int,
    weight: Floats,
    indptr: tuple[Longs, ...],
    indices: tuple[Ints, ...],
    data: tuple[Floats, ...],
    total: Floats,
    touched: Ints,
) -> int:
    """Adds up one row of a sum; returns how many columns it has, which `touched` then begins with.

    `total` is all 0 before, and holds the row's entries above 0 after.
    """
    size = 0
    for part in range(len(weight)):
        for at in range(indptr[part][row], indptr[part][row + 1]):
            value = weight[part] * data[part][at]
            if value > 0:
                column = indices[part][at]
                if total[column] == 0:
                    touched[size] = column
                    size += 1
                total[column] += value
    return size


@njit(cache=True)  # type: ignore[untyped-decorator]
def _best(total: Floats, candidates: Ints, own: int, diagonal: Floats, k: int) -> Ints:
    """The candidates of the largest total^2 / diagonal, at most k, sorted; ties go to the lower."""
    gain = np.full(k, -1, np.float32)  # the empty places are the worst, so they go first
    index = np.full(k, len(diagonal), np.int32)
    for i in candidates:
        value = total[i] * total[i] / diagonal[i]
        if i != own and (value > gain[0] or (value == gain[0] and i < index[0])):
            gain[0], index[0] = value, i
            sift(gain, index, k)
    index = np.sort(index)
    return index[: np.searchsorted(index, len(diagonal))]


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _solve(
    columns: Longs,
    g_weight: Floats,
    g_ptr: tuple[Longs, ...],
    g_indices: tuple[Ints, ...],
    g_data: tuple[Floats, ...],
    c_weight: Floats,
    c_ptr: tuple[Longs, ...],
    c_indices: tuple[Ints, ...],
    c_data: tuple[Floats, ...],
    diagonal: Floats,
    k: int,
    totals: Floats,
    touched: Ints,
) -> tuple[Ints, Floats]:
    """Rows of each column, -1 after the last, and their weights, (n_columns, k) each.

    `totals`, all 0, and `touched` are space of the threads, (n_threads, n) each.
    """
    n = len(columns)
    chosen, weights = np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32)
    for at in prange(n):
        total, met = totals[numba.get_thread_id()], touched[numba.get_thread_id()]
        n_met = _add_row(columns[at], c_weight, c_ptr, c_indices, c_data, total, met)
        rows = _best(total, met[:n_met], columns[at], diagonal, k)
        right = total[rows].astype(np.float64)
        for place in range(n_met):
            total[met[place]] = 0
        left = np.diag(diagonal[rows].astype(np.float64))
        for place in range(len(rows)):
            met[rows[place]] = place  # elsewhere it holds anything
        for part in range(len(g_weight)):
            indices, data = g_indices[part], g_data[part]
            for a in range(1, len(rows)):
                low, high = g_ptr[part][rows[a]], g_ptr[part][rows[a] + 1]
                if high - low > 8 * a:
                    for b in range(a):
                        low = _place(indices, low, high, rows[b])
                        if low == high:
                            break
                        if indices[low] == rows[b]:
                            left[a, b] += g_weight[part] * data[low]
                else:
                    for entry in range(low, high):
                        b = met[indices[entry]]
                        if 0 <= b < a and rows[b] == indices[entry]:
                            left[a, b] += g_weight[part] * data[entry]
        _cholesky_solve(left, right)
        chosen[at, : len(rows)] = rows
        weights[at, : len(rows)] = right
    return chosen, weights
