"""The contrastive task."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.text_contrast import KnownPairs, batches, contrastive_loss, mean_reciprocal_rank


def test_loss_of_perfect_and_of_blind_vectors() -> None:
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    eye = torch.eye(4)
    assert contrastive_loss(eye, eye, nothing, 0.01).item() == pytest.approx(0, abs=1e-6)
    same = torch.ones(4, 1)
    assert contrastive_loss(same, same, nothing, 0.05).item() == pytest.approx(np.log(4))


def test_false_negatives_are_no_negatives() -> None:
    same = torch.ones(4, 1)
    false = ~torch.eye(4, dtype=torch.bool)
    assert contrastive_loss(same, same, false, 0.05).item() == pytest.approx(0)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=10))
def test_false_negatives_by_brute_force(rows: list[tuple[int, int]]) -> None:
    pairs = np.array(rows, np.int64)
    known = {(a, b) for a, b in rows} | {(b, a) for a, b in rows}
    false = KnownPairs(pairs, 7).false_negatives(pairs)
    for i, (left, _) in enumerate(rows):
        for j, (_, right) in enumerate(rows):
            assert false[i, j] == (i != j and ((left, right) in known or left == right))


def test_reciprocal_rank_by_hand() -> None:
    left = np.eye(2, dtype=np.float32)
    nothing = np.zeros((2, 2), np.bool_)
    assert mean_reciprocal_rank(left, left, nothing) == 1
    assert mean_reciprocal_rank(left, left[::-1], nothing) == 0.5
    assert mean_reciprocal_rank(left * 0, left, nothing) == 0.5  # all alike: last of two
    assert mean_reciprocal_rank(left, left[::-1], ~np.eye(2, dtype=np.bool_)) == 1


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(2, 16), st.integers(0, 30))
def test_batches_do_not_depend_on_where_they_start(
    n_one: int, n_other: int, size: int, first: int
) -> None:
    kinds = [np.arange(2 * n_one).reshape(-1, 2), 1000 + np.arange(2 * n_other).reshape(-1, 2)]
    whole = list(islice(batches(kinds, size, 7, 0), first + 5))
    rest = list(islice(batches(kinds, size, 7, first), 5))
    for one, other in zip(whole[first:], rest, strict=True):
        np.testing.assert_array_equal(one, other)
    for batch in whole:
        assert 2 <= len(batch) <= size
        assert len({bool(value >= 1000) for value in batch.ravel()}) == 1
        assert len(np.unique(batch)) == batch.size
