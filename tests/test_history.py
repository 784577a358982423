from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from toy_shop import planted_interactions

from kgrec.history import (
    history_matrix,
    largest,
    last_matrix,
    newest,
    only_rows,
    prefixes,
    steps_back,
    transitions,
)
from kgrec.interactions import Interactions


def three_steps(**options: object) -> Interactions:
    """User 0 has items 0, 1, 2 in this order; user 1 has item 2; user 2 has nothing."""
    return Interactions.of(
        [0, 0, 0, 1], [0, 1, 2, 2], n_users=3, n_items=4, time=[10, 20, 30, 5], **options
    )  # type: ignore[arg-type]


def test_steps_count_back_from_the_newest() -> None:
    assert steps_back(three_steps()).tolist() == [2, 1, 0, 0]


def test_a_basket_is_one_step() -> None:
    rows = Interactions.of([0, 0, 0], [0, 1, 2], n_users=1, n_items=3, time=[10, 10, 30])
    assert steps_back(rows).tolist() == [1, 1, 0]
    assert last_matrix(rows).toarray().tolist() == [[0, 0, 1]]


def test_weights_decay_a_step_back() -> None:
    x = history_matrix(three_steps(), decay=0.5).toarray()
    assert x.tolist() == [[0.25, 0.5, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_unordered_histories_do_not_decay() -> None:
    rows = Interactions.of([0, 0], [0, 1], n_users=1, n_items=2)
    assert history_matrix(rows, decay=0.5).toarray().tolist() == [[1, 1]]
    assert last_matrix(rows).nnz == 0
    assert transitions(rows).nnz == 0


def test_only_the_newest_interactions_count() -> None:
    assert history_matrix(three_steps(), max_items=2).toarray()[0].tolist() == [0, 1, 1, 0]


def test_the_newest_rows_of_each_user() -> None:
    assert newest(np.array([0, 3, 3, 4]), 2).tolist() == [False, True, True, True]
    assert newest(np.array([0]), 2).tolist() == []


def test_the_largest_value_of_a_repeat_stays() -> None:
    found = largest([0, 0, 1], [2, 2, 0], [1.0, 3.0, 2.0], (2, 3))
    assert found.toarray().tolist() == [[0, 0, 3], [2, 0, 0]]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([0.5, 1.0, 2.0])),
        max_size=30,
    )
)
def test_the_largest_is_that_of_each_place(entries: list[tuple[int, int, float]]) -> None:
    dense = np.zeros((4, 5), np.float32)
    for row, column, value in entries:
        dense[row, column] = max(dense[row, column], value)
    rows, columns, values = zip(*entries, strict=True) if entries else ([], [], [])
    found = largest(rows, columns, values, (4, 5))
    assert found.has_canonical_format
    assert found.dtype == np.float32
    assert np.array_equal(found.toarray(), dense)


def test_transitions_lead_to_what_is_to_be_predicted() -> None:
    rows = Interactions.of(
        [0, 0, 0, 0, 1, 1], [0, 1, 2, 3, 1, 2], n_users=2, n_items=4, time=[1, 1, 2, 3, 5, 6],
        behaviour=[0, 0, 1, 0, 1, 1], behaviours=("view", "buy"), target=1, time_kind="seconds",
    )  # fmt: skip
    follows = transitions(rows).toarray()  # a basket of two, a purchase, a view; two purchases
    assert follows[:, 2].tolist() == [0.5, 1.5, 0, 0]
    assert follows.sum() == 2


def test_transitions_join_consecutive_steps() -> None:
    follows = transitions(three_steps()).toarray()
    assert follows[0, 1] == follows[1, 2] == 1
    assert follows.sum() == 2


def test_a_basket_shares_its_transition() -> None:
    rows = Interactions.of([0, 0, 0], [0, 1, 2], n_users=1, n_items=3, time=[1, 1, 2])
    assert transitions(rows).toarray()[:, 2].tolist() == [0.5, 0.5, 0]


@given(st.integers(0, 1000))
def test_a_selection_has_the_same_rows(seed: int) -> None:
    rows = planted_interactions(n_users=9, n_items=12, groups=3, length=4)
    users = np.random.default_rng(seed).integers(0, 9, 5)
    whole = history_matrix(rows, decay=0.7)[users].toarray()
    part = history_matrix(rows.select(users), decay=0.7).toarray()
    assert part == pytest.approx(whole)


def two_users() -> Interactions:
    """User 0 has a basket of 0 and 1, then 2, then 0 again; user 1 has 3, then 1."""
    return Interactions.of(
        [0, 0, 0, 0, 1, 1], [0, 1, 2, 0, 3, 1], n_users=2, n_items=4, time=[10, 10, 20, 30, 5, 6]
    )


def test_each_interaction_comes_after_the_decayed_moments_before_it() -> None:
    x, y = prefixes(two_users(), decay=0.5, window=20)
    # a basket is one moment: its two items are a step from 2, two steps from the last 0
    assert x.toarray().tolist() == [[1, 1, 0, 0], [0.5, 0.5, 1, 0], [0, 0, 0, 1]]
    assert y.toarray().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert x.dtype == y.dtype == np.float32


def test_the_window_counts_rows() -> None:
    x, y = prefixes(two_users(), decay=0.5, window=1)
    assert x.toarray().tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert y.shape == x.shape


def test_only_the_behaviour_to_predict_is_predicted() -> None:
    rows = Interactions.of(
        [0, 0, 0, 0], [0, 1, 2, 3], n_users=1, n_items=4, time=[1, 2, 3, 4],
        behaviour=[0, 1, 0, 2], weight=[0.5, 1, 0.5, 0], behaviours=("view", "buy", "hide"),
        target=1,
    )  # fmt: skip
    x, y = prefixes(rows, decay=0.5, window=20)
    assert x.toarray().tolist() == [[0.5, 0, 0, 0]]
    assert y.toarray().tolist() == [[0, 1, 0, 0]]


def test_without_an_order_nothing_comes_before() -> None:
    flat = Interactions.of([0, 0], [0, 1], n_users=1, n_items=3)
    assert [part.shape for part in prefixes(flat, decay=0.5, window=5)] == [(0, 3), (0, 3)]
    alone = Interactions.of([0, 1], [0, 1], n_users=2, n_items=3, time=[1, 2])
    assert [part.shape for part in prefixes(alone, decay=0.5, window=5)] == [(0, 3), (0, 3)]


@given(st.integers(0, 1000), st.integers(1, 8), st.booleans())
def test_permuting_items_permutes_what_came_before(seed: int, window: int, baskets: bool) -> None:
    generator = np.random.default_rng(seed)
    user, item = generator.integers(0, 5, 40), generator.integers(0, 9, 40)
    time = generator.integers(0, 6, 40) if baskets else np.arange(40)
    order = generator.permutation(9)
    rows, other = (
        Interactions.of(user, items, n_users=5, n_items=9, time=time)
        for items in (item, order[item])
    )
    for part, permuted in zip(
        prefixes(rows, 0.7, window), prefixes(other, 0.7, window), strict=True
    ):
        assert np.array_equal(permuted.toarray()[:, order], part.toarray())


def test_rows_that_are_kept_are_as_they_were() -> None:
    matrix = sp.random_array((40, 30), density=0.3, rng=np.random.default_rng(3), dtype=np.float32)
    kept = np.arange(40) % 3 == 0
    found = only_rows(matrix.tocsr(), kept)
    assert np.array_equal(found.toarray(), matrix.toarray() * kept[:, None])
    assert found.nnz == int((matrix.toarray()[kept] != 0).sum())
