"""The rules against answers that can be written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmark_material import material, shop_rows

from kgrec.benchmark.rules import OWN_FIRST, RANDOM, TRANSITION, conversion, followers
from kgrec.history import transitions
from kgrec.interactions import Interactions


def test_carted_comes_before_viewed_newer_before_older_and_popular_after_all() -> None:
    rows = Interactions.of(
        [0, 0, 0, 0, 1, 2, 2],
        [1, 2, 3, 1, 4, 4, 5],
        n_users=3,
        n_items=7,
        behaviour=[0, 0, 1, 0, 2, 2, 2],
        time=[1, 2, 3, 4, 5, 6, 7],
        weight=[0.2, 0.2, 0.5, 0.2, 1, 1, 1],
        behaviours=("view", "cart", "buy"),
        target=2,
    )
    scores = OWN_FIRST.fit(rows, material(), {}).scores(rows)
    assert np.argsort(-scores[0], kind="stable").tolist() == [3, 1, 2, 4, 5, 0, 6]
    np.testing.assert_allclose(scores[1], [0, 0, 0, 0, 1, 0.5, 0])


def test_own_items_of_unknown_order_stand_by_popularity_and_equal_ones_tie() -> None:
    rows = Interactions.of(
        [0, 0, 0, 1], [0, 1, 2, 1], n_users=2, n_items=3, behaviour=[0, 0, 0, 1],
        weight=[0.2, 0.2, 0.2, 1], behaviours=("view", "buy"), target=1,
    )  # fmt: skip
    scores = OWN_FIRST.fit(rows, material(), {}).scores(rows)
    assert scores[0, 1] > scores[0, 0] == scores[0, 2] > 1


def test_which_behaviour_it_was_may_be_left_aside() -> None:
    rows = Interactions.of(
        [0, 0, 1, 2], [0, 1, 1, 1], n_users=3, n_items=2, behaviour=[1, 0, 2, 2],
        weight=[0.5, 0.2, 1, 1], behaviours=("view", "cart", "buy"), target=2,
    )  # fmt: skip
    by_behaviour, alike = (
        OWN_FIRST.fit(rows, material(), {"by_behaviour": it}).scores(rows)[0]
        for it in (True, False)
    )
    assert by_behaviour[0] > by_behaviour[1]  # carted before viewed
    assert alike[1] > alike[0] > 1  # both are one's own: the more popular first


def test_own_items_may_stand_by_their_rate_of_conversion() -> None:
    # item 0: met by three, bought by one of them; item 1: met by one, who bought it; popular: 0
    rows = Interactions.of(
        [0, 1, 2, 0, 3, 3, 1, 4, 4], [0, 0, 0, 0, 1, 1, 2, 0, 2], n_users=5, n_items=3,
        behaviour=[0, 0, 0, 1, 0, 1, 0, 1, 0], weight=[0.2, 0.2, 0.2, 1, 0.2, 1, 0.2, 1, 0.2],
        behaviours=("view", "buy"), target=1,
    )  # fmt: skip
    average = 2 / 6
    np.testing.assert_allclose(
        conversion(rows), [(1 + average) / 4, (1 + average) / 2, average / 3], rtol=1e-6
    )
    met = Interactions.of(
        [0, 0], [0, 1], n_users=1, n_items=3, behaviour=[0, 0], weight=[0.2, 0.2],
        behaviours=("view", "buy"), target=1,
    )  # fmt: skip
    by_popularity, by_conversion = (
        OWN_FIRST.fit(rows, material(), {"by_worth": worth}).scores(met)[0]
        for worth in ("popularity", "conversion")
    )
    assert by_popularity[0] > by_popularity[1] > 1
    assert by_conversion[1] > by_conversion[0] > 1


def test_a_behaviour_that_weighs_nothing_is_not_ones_own() -> None:
    rows = shop_rows()
    silent = replace(rows, weight=np.where(rows.is_target(), 1, 0).astype(np.float32))
    assert OWN_FIRST.reason(silent, material()) is not None


def test_one_step_of_followers_is_what_transitions_counts() -> None:
    rows = shop_rows()
    np.testing.assert_allclose(
        followers(rows, 1, 0.5).toarray(), transitions(rows).toarray(), rtol=1e-6
    )


def test_followers_count_each_later_step_less_and_never_cross_users() -> None:
    rows = Interactions.of(
        [0, 0, 0, 0, 1], [0, 1, 2, 3, 4], n_users=2, n_items=5, time=[1, 2, 2, 3, 4]
    )
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[0, 2] = 1  # a basket follows
    expected[1, 3] = expected[2, 3] = 0.5  # and shares one unit
    expected[0, 3] = 0.4
    np.testing.assert_allclose(followers(rows, 4, 0.4).toarray(), expected, rtol=1e-6)


def test_transition_divides_by_what_came_next_and_shrinks() -> None:
    rows = Interactions.of([0, 0, 1, 1], [0, 1, 0, 2], n_users=2, n_items=4, time=[1, 2, 3, 4])
    model = TRANSITION.fit(rows, material(), {"steps": 1, "shrinkage": 2.0, "decay": 0.5})
    new = Interactions.of([0, 0], [0, 3], n_users=1, n_items=4, time=[1, 2])
    np.testing.assert_allclose(model.scores(new)[0], [0, 0.125, 0.125, 0], atol=1e-6)


def test_random_is_even_over_the_catalogue() -> None:
    generator = np.random.default_rng(0)
    rows = Interactions.of(
        np.repeat(np.arange(400), 5), generator.integers(0, 50, 2000), n_users=400, n_items=50
    )
    scores = RANDOM.fit(rows, material(), {}).scores(rows)
    first = np.bincount(scores.argmax(axis=1), minlength=50)
    assert scores.min() >= 0
    assert scores.max() < 1
    assert (first > 0).sum() > 40
    assert len(np.unique(scores[:, 0])) == pytest.approx(400, abs=2)
