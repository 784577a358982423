from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import ShapeError
from kgrec.ridge import _neighbours, sparse_ridge


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


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 12))
def test_with_all_neighbours_it_is_the_full_ridge(seed: int, n: int) -> None:
    gram = random_gram(n, seed)
    penalty = np.random.default_rng(seed).uniform(0.5, 3, n)
    found = sparse_ridge(gram, gram, penalty, n).toarray()
    want = dense_solution(gram.toarray(), gram.toarray(), penalty)
    assert found == pytest.approx(want, abs=1e-4)


def test_a_directed_cross_is_read_by_column() -> None:
    gram = sp.csr_array(np.eye(3, dtype=np.float32))
    cross = sp.csr_array(np.array([[0, 2, 0], [0, 0, 0], [0, 4, 0]], np.float32))
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


def test_shapes_must_agree() -> None:
    gram = random_gram(4, 0)
    with pytest.raises(ShapeError, match="penalty"):
        sparse_ridge(gram, gram, np.ones(3), 2)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100_000), st.integers(1, 14), st.integers(1, 16))
def test_the_heap_keeps_what_a_sort_would(seed: int, n: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    # few distinct values, so that most gains are tied; some are zero or below
    values = generator.integers(-1, 3, (n, n)) * (generator.random((n, n)) < 0.7)
    cross = sp.csr_array(values.astype(np.float32))
    scale = generator.choice([0.25, 1.0], n).astype(np.float32)
    found = _neighbours(cross.indptr, cross.indices, cross.data, scale, k)
    for j in range(n):
        gain = np.where(values[j] > 0, values[j] ** 2 * scale, 0)
        gain[j] = 0
        order = np.lexsort((np.arange(n), -gain))[:k]  # ties go to the lower index
        want = np.sort(order[gain[order] > 0])
        assert found[j, : len(want)].tolist() == want.tolist()
        assert (found[j, len(want) :] == -1).all()
