"""Products of sparse matrices that would not fit whole: each row keeps its best entries."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from kgrec.errors import ShapeError
from kgrec.history import index_type
from kgrec.ridge import sift

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

_CELLS = 2**25
"""Entries of the result that are worked on at once, which bounds memory beside it."""
_ROWS_A_TURN = 16
"""Rows that a thread takes at a time: those of popular items take far longer than others."""


def pruned_product(
    left: sp.csr_array, right: sp.csr_array, scale: npt.ArrayLike, most: int
) -> sp.csr_array:
    """left @ right with at most `most` entries in a row, row by row, in memory of the result.

    A row keeps the entries P_ij of the largest P_ij^2 * scale_j, and always P_ii.

    Args:
        left: (n, n_inner), entries above 0.
        right: (n_inner, m), entries above 0.
        scale: Weight of each column in the choice, (m,), > 0.
        most: Entries that a row keeps, >= 1.

    Returns:
        (n, m) float32 with sorted indices.

    Raises:
        ShapeError: The shapes do not fit.
    """
    n, m = left.shape[0], right.shape[1]
    scales = np.asarray(scale, np.float32)
    if left.shape[1] != right.shape[0] or scales.shape != (m,):
        raise ShapeError(f"left {left.shape}, right {right.shape} and scale {scales.shape} differ")
    threads = numba.get_num_threads()
    sums, touched = np.zeros((threads, m), np.float32), np.empty((threads, m), np.int32)
    columns, values, counts = list[Ints](), list[Floats](), list[Longs]()
    size = max(_CELLS // most, 1)
    for begin in range(0, n, size):
        part = left.indptr[begin : begin + size + 1]
        shape = (len(part) - 1, most)
        column, value = np.empty(shape, np.int32), np.empty(shape, np.float32)
        with numba.parallel_chunksize(_ROWS_A_TURN):
            count = _rows(
                part, left.indices, left.data, right.indptr, right.indices, right.data,
                scales, begin, sums, touched, column, value,
            )  # fmt: skip
        kept = np.arange(most) < count[:, None]
        columns.append(column[kept])
        values.append(value[kept])
        counts.append(count)
    indptr = np.cumsum(np.concatenate([[0], *counts]))
    return sp.csr_array(
        (
            np.concatenate([np.zeros(0, np.float32), *values]),
            np.concatenate([np.zeros(0, np.int32), *columns]),
            indptr.astype(index_type(indptr[-1], (n, m))),
        ),
        shape=(n, m),
    )


def either_way(matrix: sp.csr_array) -> sp.csr_array:
    """The larger of M_ij and M_ji at each place, of a square matrix with sorted indices, >= 0.

    As `matrix.maximum(matrix.T)`, in memory of the result and two matrices like the first.
    """
    turned = matrix.T.tocsr()
    turned.sort_indices()
    n = matrix.shape[0]
    pair = (matrix.indptr, matrix.indices, matrix.data, turned.indptr, turned.indices, turned.data)
    none = np.empty(0, np.int32), np.empty(0, np.float32)
    indptr = np.cumsum(np.concatenate([[0], _merged(*pair, np.empty(0, np.int64), *none)]))
    columns, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    _merged(*pair, indptr, columns, values)
    kind = index_type(indptr[-1], (n, n))
    return sp.csr_array((values, columns, indptr.astype(kind)), shape=(n, n))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _merged(
    a_ptr: Longs, a_indices: Ints, a_data: Floats, b_ptr: Longs, b_indices: Ints, b_data: Floats,
    begin: Longs, columns: Ints, values: Floats,
) -> Longs:  # fmt: skip
    """Columns that either matrix has in each row; written from `begin` on unless that is empty."""
    n = len(a_ptr) - 1
    count = np.zeros(n, np.int64)
    for row in range(n):
        a, b = a_ptr[row], b_ptr[row]
        while a < a_ptr[row + 1] or b < b_ptr[row + 1]:
            left = a_indices[a] if a < a_ptr[row + 1] else n
            right = b_indices[b] if b < b_ptr[row + 1] else n
            if len(begin):
                place = begin[row] + count[row]
                columns[place], values[place] = min(left, right), 0
                if left <= right:
                    values[place] = a_data[a]
                if right <= left:
                    values[place] = max(values[place], b_data[b])
            a += left <= right
            b += right <= left
            count[row] += 1
    return count


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _rows(
    l_ptr: Longs,
    l_indices: Ints,
    l_data: Floats,
    r_ptr: Longs,
    r_indices: Ints,
    r_data: Floats,
    scale: Floats,
    first: int,
    sums: Floats,
    touched: Ints,
    columns: Ints,
    values: Floats,
) -> Longs:
    """Rows of the product from `first` on, each in a row of `columns` and `values`."""
    n, most = columns.shape
    count = np.zeros(n, np.int64)
    for row in prange(n):
        total, met = sums[numba.get_thread_id()], touched[numba.get_thread_id()]
        size = 0
        for at in range(l_ptr[row], l_ptr[row + 1]):
            weight, inner = l_data[at], l_indices[at]
            for entry in range(r_ptr[inner], r_ptr[inner + 1]):
                column = r_indices[entry]
                if total[column] == 0:
                    met[size] = column
                    size += 1
                total[column] += weight * r_data[entry]
        kept = min(size, most)
        if size <= most:
            best = np.sort(met[:size])
        else:
            gain = np.full(most, -1, np.float32)  # the empty places are the worst, so they go first
            best = np.full(most, len(scale), np.int32)
            for at in range(size):
                column = met[at]
                value = total[column] * total[column] * scale[column]
                if column == first + row:
                    value = np.inf
                if value > gain[0] or (value == gain[0] and column < best[0]):
                    gain[0], best[0] = value, column
                    sift(gain, best, most)
            best = np.sort(best)
        for at in range(kept):
            columns[row, at], values[row, at] = best[at], total[best[at]]
        for at in range(size):
            total[met[at]] = 0
        count[row] = kept
    return count
