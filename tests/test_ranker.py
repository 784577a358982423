"""The blocks of S: what an item met by another behaviour is worth, what directed pairs add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from toy_shop import planted_interactions

from kgrec.counts import Evidence, gather, others, pairs, view_matrix
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.ranker import (
    block_of,
    cross_weight,
    fit_ranker,
    own_block,
    own_weight,
    popularity_vectors,
)
from kgrec.ranker_config import RankerConfig
from kgrec.vocabulary import Vocabulary


def evidence_of(rows: Interactions) -> Evidence:
    users = Vocabulary([f"u{n}" for n in range(rows.n_users)], "user")
    items = Vocabulary([f"i{n}" for n in range(rows.n_items)], "item")
    return gather(rows, KnowledgeGraph({"item": items, "user": users}), None, RankerConfig())


def viewed_and_bought() -> Interactions:
    """Item 0: three viewed it, two of them bought it. Item 1: two viewed it. Item 2: one bought it.

    User 1 viewed item 0 twice, which counts once.
    """
    views = [(0, 0), (1, 0), (1, 0), (2, 0), (0, 1), (3, 1)]
    buys = [(0, 0), (1, 0), (3, 2)]
    carts = [(2, 1)]
    user, item = np.array(views + buys + carts).T
    behaviour = [0] * len(views) + [1] * len(buys) + [2] * len(carts)
    return Interactions.of(
        user, item, n_users=4, n_items=3, behaviour=behaviour, time=np.arange(len(user)),
        behaviours=("view", "buy", "cart"), target=1,
    )  # fmt: skip


def test_an_item_counts_by_its_rate_of_conversion() -> None:
    evidence = evidence_of(viewed_and_bought())
    mean = 2 / 5  # two of five pairs of a user and an item that was viewed
    rate = np.array([3 / (3 + 1 / mean), 1 / (2 + 1 / mean), 1 / (1 / mean)]) / mean
    config = RankerConfig(own_weight=(2.0, 5.0), own_power=1.0)
    found = own_block("view", evidence, config)
    assert found.toarray() == pytest.approx(np.diag(2 * rate), rel=1e-5)
    half = own_block("view", evidence, replace(config, own_power=0.5))
    assert half.diagonal() == pytest.approx(2 * np.sqrt(rate), rel=1e-5)
    flat = own_block("view", evidence, replace(config, own_power=0.0))
    assert flat.diagonal().tolist() == [2, 2, 2]


def test_a_behaviour_that_never_led_anywhere_is_finite() -> None:
    found = own_block("cart", evidence_of(viewed_and_bought()), RankerConfig())
    assert np.isfinite(found.diagonal()).all()


def test_each_behaviour_has_its_own_weight() -> None:
    rows = viewed_and_bought()
    assert others(rows) == ("view", "cart")
    given = RankerConfig(own_weight=(2.0, 5.0), cross_weight=(2.0,))
    assert [own_weight(name, rows, given) for name in others(rows)] == [2, 5]
    assert [cross_weight(name, rows, given) for name in others(rows)] == [2, 0.3]


def test_a_lighter_behaviour_says_less_of_the_item_itself() -> None:
    rows = viewed_and_bought()
    weight = np.array([0.1, 1.0, 0.5], np.float32)[rows.behaviour]
    rows = replace(rows, weight=weight)
    found = [own_weight(name, rows, RankerConfig()) for name in others(rows)]
    assert found == pytest.approx([0.3, 1.5])


def test_other_behaviours_fade_at_their_own_pace() -> None:
    rows = viewed_and_bought()
    slow, fast = (
        view_matrix("view", rows, RankerConfig(behaviour_decay=decay)).toarray()
        for decay in (1.0, 0.5)
    )
    assert slow[0].tolist() == [1, 1, 0]  # user 0 viewed item 0, then 1, and bought 0 last
    assert fast[0].tolist() == [0.5, 1, 0]  # all users together are scaled to at most 1


def test_weights_by_behaviour_reach_the_model() -> None:
    rows = viewed_and_bought()
    evidence = evidence_of(rows)
    config = RankerConfig(cross_weight=(0.0, 0.0), own_weight=(2.0, 0.0), own_power=0.0)
    fitted = fit_ranker(evidence, popularity_vectors(evidence.degree), config)
    blocks = fitted.sparse.toarray().reshape(4, 3, 3)  # history, last, view, cart
    assert np.array_equal(blocks[2], 2 * np.eye(3))
    assert not blocks[3].any()


def test_without_sequences_the_order_does_not_matter_to_the_history() -> None:
    rows = planted_interactions(n_users=80)
    flat = Interactions.of(rows.user, rows.item, n_users=rows.n_users, n_items=rows.n_items)
    config = RankerConfig(sequence_weight=0.0, ridge=3.0)
    off = block_of("history", evidence_of(rows), config).toarray()
    ordered = replace(config, sequence_weight=1.0)
    assert off.any()
    assert np.array_equal(off, block_of("history", evidence_of(flat), ordered).toarray())
    assert not np.array_equal(off, block_of("history", evidence_of(rows), ordered).toarray())


def test_directed_pairs_tell_before_from_after() -> None:
    user, item = np.repeat(np.arange(20), 2), np.tile([0, 1], 20)
    rows = Interactions.of(user, item, n_users=20, n_items=3, time=np.tile([1, 2], 20))
    evidence = evidence_of(rows)
    config = RankerConfig(sequence_weight=3.0, ridge=100.0)
    directed = block_of("history", evidence, config)
    assert directed[0, 1] > 2 * directed[1, 0] > 0
    both = block_of("history", evidence, replace(config, sequence_weight=0.0))
    assert both[0, 1] == both[1, 0]


def test_pairs_that_do_not_fit_leave_the_same_neighbours() -> None:
    rows = planted_interactions(n_users=200, groups=2)
    config = RankerConfig(n_neighbours=4, sequence_weight=0)
    exact = block_of("history", evidence_of(rows), config)
    config = replace(config, most_pairs=17 * rows.n_items)
    evidence = evidence_of(rows)
    pruned = block_of("history", evidence, config)
    gram, _ = evidence.counted["history"]
    assert gram.nnz < 40 * 20  # each item meets the twenty of its group
    assert (abs(gram - gram.T) > 0).nnz == 0
    assert ((exact != 0) != (pruned != 0)).nnz == 0
    np.testing.assert_allclose(pruned.toarray(), exact.toarray(), atol=0.05)


def test_the_newest_rows_are_counted_where_all_make_too_many_pairs() -> None:
    item = [0, 1, 2, 3, 0, 3]
    rows = Interactions.of([0, 0, 0, 0, 1, 1], item, n_users=2, n_items=4, time=range(6))
    gram, _ = pairs("history", evidence_of(rows), RankerConfig(most_counted=2 * 2**2))
    expected = np.zeros((4, 4))
    expected[np.ix_([2, 3], [2, 3])] = expected[np.ix_([0, 3], [0, 3])] = 1
    expected[3, 3] = 2
    np.testing.assert_array_equal(gram.toarray(), expected)
    whole, _ = pairs("history", evidence_of(rows), RankerConfig(most_counted=4**2 + 2**2))
    assert whole[0, 1] == 1


def test_columns_are_shorter_where_all_would_not_fit() -> None:
    rows = planted_interactions()
    config = RankerConfig(most_pairs=3 * rows.n_items // 2)
    counted = evidence_of(rows)
    pairs("history", counted, RankerConfig())  # all of them are there to choose from
    block = block_of("history", counted, config)
    assert np.diff(sp.csc_array(block).indptr).max() == 3


def test_what_was_counted_is_dropped_when_the_ranker_is_made() -> None:
    evidence = evidence_of(viewed_and_bought())
    block_of("view", evidence, RankerConfig())
    assert evidence.counted
    fit_ranker(evidence, popularity_vectors(evidence.degree), RankerConfig())
    assert not evidence.counted
