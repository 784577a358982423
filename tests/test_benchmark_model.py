"""Lists out of full score rows, against a sort of everything."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_material import N_USERS, material, shop_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.baselines import seen_items
from kgrec.benchmark.model import best, lists
from kgrec.benchmark.rules import POPULARITY


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 9), kinds=st.integers(1, 12))
def test_best_is_the_head_of_a_stable_sort(seed: int, k: int, kinds: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, kinds, (6, 9)).astype(np.float32)
    scores[generator.random((6, 9)) < 0.3] = -np.inf
    scores[0] = -np.inf
    top = best(scores.copy(), k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    value = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(top.scores, value)
    np.testing.assert_array_equal(top.items, np.where(np.isfinite(value), order, -1))


def test_best_of_nobody_is_empty() -> None:
    assert best(np.zeros((0, 5), np.float32), 3).items.shape == (0, 3)


@pytest.mark.parametrize("cells", [1, 70, 20_000_000])
def test_lists_leave_out_what_was_had_in_any_batches(cells: int) -> None:
    rows = shop_rows()
    scorer = POPULARITY.fit(rows, material(), {})
    users = np.arange(N_USERS)[::-1].copy()
    items = np.concatenate([t.items for t in lists(scorer, rows, users, 100, cells=cells)])
    assert items.shape == (N_USERS, rows.n_items)
    had = seen_items(rows)[users].toarray()
    for own, listed in zip(had, items, strict=True):
        kept = listed[listed >= 0]
        assert sorted(kept) == np.flatnonzero(own == 0).tolist()
        assert (np.diff(scorer.popularity[kept]) <= 0).all()  # type: ignore[attr-defined]
