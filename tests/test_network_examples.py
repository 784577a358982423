from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.interactions import Interactions
from kgrec.network import NetworkConfig
from kgrec.network_examples import Batch, Examples


def interactions(seed: int, *, ordered: bool = True, behaviours: bool = False) -> Interactions:
    draw = np.random.default_rng(seed)
    n = 60
    return Interactions.of(
        draw.integers(0, 9, n),
        draw.integers(0, 12, n),
        time=draw.integers(0, 15, n) if ordered else None,  # ties: baskets
        behaviour=draw.integers(0, 2, n) if behaviours else None,
        behaviours=("view", "buy"),
        target=1 if behaviours else None,
        n_users=10,
        n_items=12,
    )


def pairs_of(batch: Batch) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    known = set(zip(*(part.tolist() for part in batch.known.nonzero()), strict=True))
    return known, set(zip(batch.target_user.tolist(), batch.target_item.tolist(), strict=True))


@given(st.integers(0, 2**16), st.booleans(), st.booleans(), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60)
def test_every_user_keeps_something_and_hides_a_target(
    seed: int, ordered: bool, behaviours: bool, share: float, suffix: float
) -> None:
    data = interactions(seed, ordered=ordered, behaviours=behaviours)
    config = NetworkConfig(hidden_share=share, suffix_share=suffix, batch_size=4)
    examples = Examples(data, config)
    n_seen = 0
    for batch in examples.batches(np.random.default_rng(seed)):
        known, target = pairs_of(batch)
        assert not known & target
        assert {user for user, _ in known} == {user for user, _ in target}
        assert batch.target_weight.sum() == pytest.approx(1, rel=1e-4)
        assert known | target <= set(zip(batch.own_user, batch.own_item, strict=True))
        n_seen += batch.known.shape[0]
    assert n_seen == len(examples.users)


def test_a_hidden_suffix_lies_after_what_is_known() -> None:
    data = Interactions.of([0] * 6, [5, 4, 3, 2, 1, 0], time=range(6), n_users=1, n_items=6)
    examples = Examples(data, NetworkConfig(suffix_share=1.0, decay=0.5))
    for seed in range(20):
        (batch,) = examples.batches(np.random.default_rng(seed))
        known = batch.known.toarray()[0]
        assert batch.target_item.max() < np.flatnonzero(known).min()
        newest = np.flatnonzero(known).min()
        assert known[newest:] == pytest.approx(0.5 ** np.arange(6 - newest))


def test_a_basket_is_hidden_whole_or_not_at_all() -> None:
    data = Interactions.of([0] * 4, [0, 1, 2, 3], time=[1, 1, 2, 2], n_users=1, n_items=4)
    examples = Examples(data, NetworkConfig(suffix_share=1.0, hidden_share=0.0))
    for seed in range(20):
        (batch,) = examples.batches(np.random.default_rng(seed))
        assert sorted(batch.target_item) in ([2, 3], [0], [1], [2], [3])


def test_repeats_count_once_at_their_last_moment() -> None:
    data = Interactions.of([0] * 4, [0, 1, 0, 2], time=range(4), n_users=2, n_items=3)
    examples = Examples(data, NetworkConfig(decay=0.5))
    assert examples.history().toarray().tolist() == [[0.5, 0.25, 1], [0, 0, 0]]
    assert examples.popularity().tolist() == [1, 1, 1]
    newest = Examples(data, NetworkConfig(decay=0.5, max_history=2))
    assert newest.history(np.array([0])).toarray().tolist() == [[0.5, 0, 1]]


def test_users_of_one_item_make_no_example() -> None:
    data = Interactions.of([0, 0, 1, 1], [2, 2, 0, 1], n_users=3, n_items=3)
    assert Examples(data, NetworkConfig()).users.tolist() == [1]
