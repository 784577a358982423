"""What a user did, as sparse rows: the identity half x_u of the user's vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

from kgrec.interactions import Interactions

Rows = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]


def steps_back(interactions: Interactions) -> Ints:
    """How many distinct moments of the same user came after each row, (n,); 0 is the newest.

    Rows of one user at the same time share a step when times are known in seconds (a basket has
    no order inside); positions are steps as they stand.
    """
    if not interactions.ordered:
        return np.zeros(len(interactions), np.int32)
    baskets = interactions.time_kind == "seconds"
    return np.asarray(_steps_back(interactions.start, interactions.time, baskets), np.int32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _steps_back(start: Rows, time: Rows, baskets: bool) -> Ints:
    back = np.zeros(len(time), np.int32)
    for user in range(len(start) - 1):
        for at in range(start[user + 1] - 2, start[user] - 1, -1):
            back[at] = back[at + 1] + (not baskets or time[at] != time[at + 1])
    return back


def newest(start: Rows, most: int) -> npt.NDArray[np.bool_]:
    """Whether each row is among the newest `most` of its user, (n,).

    Args:
        start: Where the rows of each user begin, and the end of the last, (n_users + 1,).
        most: Rows of a user that are.
    """
    count = np.diff(start)
    old = np.maximum(count - most, 0)
    runs = np.stack([old, count - old], axis=1).ravel()
    return np.repeat(np.tile([False, True], len(count)), runs)


def history_matrix(
    interactions: Interactions,
    *,
    decay: float = 1.0,
    max_items: int = 1000,
    mask: npt.NDArray[np.bool_] | None = None,
) -> sp.csr_array:
    """Weighted history of every user, (n_users, n_items) float32.

    The entry of an item is the behaviour's weight times `decay` to the number of steps back,
    the largest one where the item came more than once.

    Args:
        interactions: What happened.
        decay: Factor a step back, in (0, 1]; no effect where the order is unknown.
        max_items: Rows older than a user's last `max_items` are left out, which bounds the pairs
            that one user can make.
        mask: Rows that count, (n,) bool; all by default.
    """
    value = interactions.weight
    if decay != 1 and interactions.ordered and len(interactions):
        back = steps_back(interactions)
        value = value * (np.float32(decay) ** np.arange(back.max() + 1, dtype=np.float32))[back]
    keep = newest(interactions.start, max_items)
    keep &= value > 0
    if mask is not None:
        keep &= mask
    begin = np.concatenate([[0], np.cumsum(_per_user(interactions.start, keep))])
    return _largest_of_rows(
        begin,
        interactions.item[keep],
        value[keep],
        (interactions.n_users, interactions.n_items),
    )


def last_matrix(interactions: Interactions) -> sp.csr_array:
    """The newest item of every user (all items of its newest basket, sharing one unit).

    Returns:
        (n_users, n_items) float32; empty rows where the order is unknown.
    """
    shape = (interactions.n_users, interactions.n_items)
    if not interactions.ordered:
        return sp.csr_array(shape, dtype=np.float32)
    newest = (steps_back(interactions) == 0) & (interactions.weight > 0)
    rows = interactions.user[newest]
    matrix = largest(rows, interactions.item[newest], np.ones(len(rows), np.float32), shape)
    return scale_rows(matrix, 1.0 / np.maximum(np.diff(matrix.indptr), 1))


def largest(
    row: npt.ArrayLike, column: npt.ArrayLike, value: npt.ArrayLike, shape: tuple[int, int]
) -> sp.csr_array:
    """A csr matrix that keeps the largest value where a place is named more than once."""
    rows = np.asarray(row, np.int32)
    begin = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    columns, values = _by_row(
        rows, np.asarray(column, np.int32), np.asarray(value, np.float32), begin[:-1].copy()
    )
    return _largest_of_rows(begin, columns, values, shape)


def _largest_of_rows(
    begin: Rows, columns: Ints, values: npt.NDArray[np.float32], shape: tuple[int, int]
) -> sp.csr_array:
    """The same of entries in the order of their rows, which are moved in place."""
    count = _keep_largest(begin, columns, values)
    indptr = np.concatenate([[0], np.cumsum(count)])
    if indptr[-1] < len(columns):
        _close_up(begin, indptr, columns, values)
        columns, values = columns[: indptr[-1]].copy(), values[: indptr[-1]].copy()
    kind = index_type(indptr[-1], shape)
    return sp.csr_array((values, columns, indptr.astype(kind)), shape=shape)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _per_user(start: Rows, keep: npt.NDArray[np.bool_]) -> Rows:
    """How many rows of each user are kept, (n_users,)."""
    count = np.zeros(len(start) - 1, np.int64)
    for user in range(len(count)):
        for at in range(start[user], start[user + 1]):
            count[user] += keep[at]
    return count


@njit(cache=True)  # type: ignore[untyped-decorator]
def _close_up(begin: Rows, indptr: Rows, columns: Ints, values: npt.NDArray[np.float32]) -> None:
    """Moves the first entries of each row from where it began to where it begins now."""
    for row in range(len(begin) - 1):
        for at in range(indptr[row + 1] - indptr[row]):
            columns[indptr[row] + at] = columns[begin[row] + at]
            values[indptr[row] + at] = values[begin[row] + at]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _by_row(
    row: Ints, column: Ints, value: npt.NDArray[np.float32], place: Rows
) -> tuple[Ints, npt.NDArray[np.float32]]:
    """Columns and values in the order of their rows; `place` is where each row begins."""
    columns, values = np.empty(len(row), np.int32), np.empty(len(row), np.float32)
    for at in range(len(row)):
        columns[place[row[at]]] = column[at]
        values[place[row[at]]] = value[at]
        place[row[at]] += 1
    return columns, values


# On one thread: lists are asked for by servers' threads and forked workers, which numba's own
# threads do not all survive.
@njit(cache=True)  # type: ignore[untyped-decorator]
def _keep_largest(begin: Rows, columns: Ints, values: npt.NDArray[np.float32]) -> Rows:
    """Sorts each row by column in place, with one entry a column first; how many each row has."""
    count = np.zeros(len(begin) - 1, np.int64)
    for row in range(len(count)):
        column, value = columns[begin[row] : begin[row + 1]], values[begin[row] : begin[row + 1]]
        order = np.argsort(column, kind="mergesort")
        sorted_columns, sorted_values = column[order], value[order]
        n = 0
        for at in range(len(order)):
            if n and column[n - 1] == sorted_columns[at]:
                value[n - 1] = max(value[n - 1], sorted_values[at])
            else:
                column[n], value[n] = sorted_columns[at], sorted_values[at]
                n += 1
        count[row] = n
    return count


def index_type(n_entries: int, shape: tuple[int, int]) -> type[np.int32] | type[np.int64]:
    """32 bits where they suffice for the indices of a sparse matrix: a third less memory.

    scipy's products and sums take the wider of two index types, so one wide factor widens all.
    """
    return np.int32 if max(n_entries, *shape) < 2**31 else np.int64


def narrow(matrix: sp.csr_array) -> sp.csr_array:
    """The matrix with indices of `index_type`."""
    kind = index_type(matrix.nnz, matrix.shape)
    indices, start = matrix.indices.astype(kind, copy=False), matrix.indptr.astype(kind, copy=False)
    return sp.csr_array((matrix.data, indices, start), shape=matrix.shape)


def scale_rows(matrix: sp.csr_array, factor: npt.ArrayLike) -> sp.csr_array:
    """The matrix with row i multiplied by factor[i]."""
    data = matrix.data * np.repeat(np.asarray(factor, np.float32), np.diff(matrix.indptr))
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def only_rows(matrix: sp.csr_array, kept: npt.NDArray[np.bool_]) -> sp.csr_array:
    """The matrix with the entries of some rows alone; `kept` says which, (n_rows,)."""
    count = np.diff(matrix.indptr)
    entries, start = np.repeat(kept, count), np.cumsum(np.concatenate([[0], count * kept]))
    return sp.csr_array(
        (matrix.data[entries], matrix.indices[entries], start.astype(matrix.indptr.dtype)),
        shape=matrix.shape,
    )


def scale_columns(matrix: sp.csr_array, factor: npt.ArrayLike) -> sp.csr_array:
    """The matrix with column j multiplied by factor[j]."""
    data = matrix.data * np.asarray(factor, np.float32)[matrix.indices]
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def transitions(interactions: Interactions) -> sp.csr_array:
    """How often item j came at the next step after item i, (n_items, n_items) float32.

    A basket that follows a basket shares one unit among its pairs; only rows of a positive weight
    count, and j must be of the behaviour to predict.
    """
    shape = (interactions.n_items, interactions.n_items)
    if not interactions.ordered:
        return sp.csr_array(shape, dtype=np.float32)
    kept = interactions.where(interactions.weight > 0)
    step = steps_back(kept)
    begins = np.ones(len(kept), np.bool_)  # a moment
    begins[1:] = (kept.user[1:] != kept.user[:-1]) | (step[1:] != step[:-1])
    moment = np.cumsum(begins, dtype=np.int32) - np.int32(1)
    owner = kept.user[begins]
    target = np.flatnonzero(kept.is_target())
    predicted = np.zeros(len(owner), np.bool_)
    predicted[moment[target]] = True
    # Only moments right before one that is to be predicted matter, of a log of clicks a few.
    before = np.flatnonzero(predicted[1:] & (owner[1:] == owner[:-1]))
    place = np.full(len(owner) + 1, -1, np.int32)
    place[before + 1] = np.arange(len(before))

    def items(rows: Rows, places: Ints) -> sp.csr_array:
        ones = np.ones(len(rows), np.float32)
        return largest(places, kept.item[rows], ones, (len(before), interactions.n_items))

    known = np.flatnonzero(place[moment + 1] >= 0)
    first = items(known, place[moment[known] + 1])
    target = target[place[moment[target]] >= 0]
    then = items(target, place[moment[target]])
    first = scale_rows(first, 1.0 / np.maximum(np.diff(first.indptr), 1))
    return (first.T @ then).tocsr()


def prefixes(
    interactions: Interactions, decay: float, window: int
) -> tuple[sp.csr_array, sp.csr_array]:
    """What each interaction of the behaviour to predict came after, and itself.

    Args:
        interactions: What happened.
        decay: Factor for each step between a row and the one to predict, in (0, 1].
        window: Rows looked back at most.

    Returns:
        X, the decayed rows of older moments, and Y, the item that followed, both
        (n_examples, n_items) float32; no rows where the order is unknown.
    """
    n_items = interactions.n_items
    kept = interactions.where(interactions.weight > 0)
    if not kept.ordered:
        none = sp.csr_array((0, n_items), dtype=np.float32)
        return none, none
    back, wanted = steps_back(kept), np.flatnonzero(kept.is_target())
    rows, columns, values = [], [], []
    for offset in range(1, window + 1):
        later = wanted[wanted >= offset]
        later = later[kept.user[later] == kept.user[later - offset]]
        age = back[later - offset] - back[later]
        later, age = later[age > 0], age[age > 0]
        rows.append(later)
        columns.append(kept.item[later - offset])
        values.append(kept.weight[later - offset] * np.float32(decay) ** (age - 1))
    every = np.concatenate(rows)
    example, row = np.unique(every, return_inverse=True)
    shape = (len(example), n_items)
    x = largest(row, np.concatenate(columns), np.concatenate(values), shape)
    ones, start = np.ones(len(example), np.float32), np.arange(len(example) + 1)
    return x, narrow(sp.csr_array((ones, kept.item[example], start), shape=shape))
