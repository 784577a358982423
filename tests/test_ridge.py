from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import ShapeError
from kgrec.ridge import _best, diagonal_of, sparse_ridge


def random_gram(n: int, seed: int) -> sp.csr_array:
    x = sp.random_array((3 * n, n), density=0.3, rng=np.random.default_rng(seed), format="csr")
    return sp.csr_array((x.T @ x).astype(np.float32))


def dense_solution(gram: np.ndarray, cross: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Each column solved over all other items, with numpy."""
    n = len(gram)
    found = np.zeros((n, n))
    for j in range(n):
        others = [i for i in range(n) if i != j and cross[i, j] > 0]
        left = gram[np.ix_(others, others)] + np.diag(penalty[others])
        found[others, j] = np.linalg.solve(left, cross[others, j])
    return found


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 12))
def test_with_all_neighbours_it_is_the_full_ridge(seed: int, n: int) -> None:
    gram = random_gram(n, seed)
    penalty = np.random.default_rng(seed).uniform(0.5, 3, n)
    found = sparse_ridge(gram, gram, penalty, n).toarray()
    want = dense_solution(gram.toarray(), gram.toarray(), penalty)
    assert found == pytest.approx(want, abs=1e-4)


def test_a_directed_cross_has_a_row_for_each_target() -> None:
    gram = sp.csr_array(np.eye(3, dtype=np.float32))
    cross = sp.csr_array(np.array([[0, 0, 0], [2, 0, 4], [0, 0, 0]], np.float32))
    found = sparse_ridge(gram, cross, np.ones(3), 3).toarray()
    assert found == pytest.approx(np.array([[0, 1, 0], [0, 0, 0], [0, 2, 0]]))


def test_it_keeps_the_strongest_neighbours() -> None:
    gram = sp.csr_array(np.array([[9, 3, 1], [3, 9, 0], [1, 0, 9]], np.float32))
    found = sparse_ridge(gram, gram, np.ones(3), 1)
    assert found[1, 0] > 0
    assert found[2, 0] == 0
    assert np.diff(found.tocsc().indptr).tolist() == [1, 1, 1]


def test_an_item_without_neighbours_has_no_column() -> None:
    gram = sp.csr_array(np.diag([1.0, 2.0]).astype(np.float32))
    assert sparse_ridge(gram, gram, np.ones(2), 5).nnz == 0


def test_the_diagonal_of_a_matrix_some_of_whose_rows_lack_theirs() -> None:
    dense = np.array([[2, 1, 0], [1, 0, 3], [0, 0, 0]], np.float32)
    assert diagonal_of(sp.csr_array(dense)).tolist() == [2, 0, 0]
    gram = random_gram(30, 2)
    gram.sort_indices()
    assert np.array_equal(diagonal_of(gram), gram.diagonal())


def test_shapes_must_agree() -> None:
    gram = random_gram(4, 0)
    with pytest.raises(ShapeError, match="penalty"):
        sparse_ridge(gram, gram, np.ones(3), 2)


@settings(max_examples=60)
@given(st.integers(0, 100_000), st.integers(1, 14), st.integers(1, 16))
def test_the_heap_keeps_what_a_sort_would(seed: int, n: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    total = generator.integers(1, 3, n).astype(np.float32)  # few values: most gains are tied
    diagonal = generator.choice([1.0, 4.0], n).astype(np.float32)
    candidates = generator.permutation(n).astype(np.int32)
    found = _best(total, candidates, 0, diagonal, k)
    gain = total**2 / diagonal
    order = [i for i in np.lexsort((np.arange(n), -gain)) if i != 0]  # ties go to the lower
    assert found.tolist() == sorted(order[:k])


def test_a_sum_is_solved_as_if_it_were_made() -> None:
    parts = [random_gram(40, seed) for seed in range(3)]
    weights = 1.0, 3.0, 0.5
    weighted = list(zip(weights, parts, strict=True))
    made = sp.csr_array(sum(np.float32(w) * part for w, part in weighted))
    penalty = np.linspace(1, 4, 40)
    want = sparse_ridge(made, made, penalty, 15).toarray()
    assert sparse_ridge(weighted, weighted, penalty, 15).toarray() == pytest.approx(want, abs=1e-6)
    assert sparse_ridge(made, weighted, penalty, 15).toarray() == pytest.approx(want, abs=1e-6)


def test_some_columns_are_those_of_all() -> None:
    gram, columns = random_gram(40, 1), np.array([0, 7, 8, 39])
    whole = sparse_ridge(gram, gram, np.ones(40), 9)
    some = sparse_ridge(gram, gram, np.ones(40), 9, columns=columns)
    assert np.array_equal(some.toarray(), whole.toarray()[:, columns])
