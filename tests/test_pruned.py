from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from kgrec.errors import ShapeError
from kgrec.pruned import either_way, pruned_product


def random(n: int, m: int, seed: int) -> sp.csr_array:
    generator = np.random.default_rng(seed)
    return sp.csr_array(
        sp.random_array((n, m), density=0.3, rng=generator, format="csr", dtype=np.float32)
    )


def test_with_room_for_all_it_is_the_product() -> None:
    left, right = random(30, 50, 1), random(50, 40, 2)
    found = pruned_product(left, right, np.ones(40), 40)
    assert found.has_sorted_indices
    np.testing.assert_allclose(found.toarray(), (left @ right).toarray(), rtol=1e-5)


@pytest.mark.parametrize("cells", [1, 2**25])
def test_each_row_keeps_its_best_and_itself(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.pruned._CELLS", cells)
    x = random(60, 40, 3)
    scale = np.random.default_rng(4).uniform(0.1, 1, 40).astype(np.float32)
    found = pruned_product(sp.csr_array(x.T.tocsr()), x, scale, 5).toarray()
    whole = (x.T @ x).toarray()
    for row in range(40):
        gain = whole[row] ** 2 * scale
        gain[row] = np.inf
        best = np.sort(np.argsort(-gain, kind="stable")[:5])
        np.testing.assert_array_equal(np.flatnonzero(found[row]), best)
        np.testing.assert_allclose(found[row, best], whole[row, best], rtol=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_either_way_takes_the_larger(seed: int) -> None:
    one = random(40, 40, seed)
    found = either_way(one)
    assert found.has_sorted_indices
    assert found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), one.maximum(one.T).toarray())
    assert either_way(sp.csr_array((3, 3), dtype=np.float32)).nnz == 0


def test_nothing_times_nothing_is_nothing() -> None:
    none = sp.csr_array((0, 5), dtype=np.float32)
    assert pruned_product(sp.csr_array(none.T.tocsr()), none, np.ones(5), 3).nnz == 0
    assert pruned_product(none, random(5, 4, 1), np.ones(4), 3).shape == (0, 4)


def test_shapes_must_fit() -> None:
    with pytest.raises(ShapeError, match="differ"):
        pruned_product(random(3, 4, 1), random(5, 6, 2), np.ones(6), 2)
    with pytest.raises(ShapeError, match="differ"):
        pruned_product(random(3, 4, 1), random(4, 6, 2), np.ones(5), 2)
