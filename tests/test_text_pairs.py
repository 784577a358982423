"""Pairs of texts that belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import COLOURS, tiny_shop

from kgrec.interactions import Interactions
from kgrec.text_pairs import bought_together, text_pairs


def test_neighbours_in_a_history_are_pairs_and_others_are_not() -> None:
    train = Interactions.of([0, 0, 0, 1, 1], [4, 2, 2, 2, 4], n_users=2, n_items=5, time=range(5))
    pairs = bought_together(train, np.random.default_rng(0))
    assert pairs.tolist() == [[2, 4]]


def test_only_the_target_behaviour_counts() -> None:
    train = Interactions.of(
        [0, 0, 0],
        [0, 1, 2],
        n_users=1,
        n_items=3,
        time=range(3),
        behaviour=[1, 0, 1],
        behaviours=("view", "buy"),
        target=1,
    )
    assert bought_together(train, np.random.default_rng(0)).tolist() == [[0, 2]]


def test_without_an_order_any_two_of_a_user_can_meet() -> None:
    train = Interactions.of([0] * 5, range(5), n_users=1, n_items=5)
    met = {tuple(p) for s in range(30) for p in bought_together(train, np.random.default_rng(s))}
    assert len(met) == 10


@settings(max_examples=10)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(0, 60), st.integers(0, 60))
def test_pairs_join_one_colour_and_keep_their_limits(
    seed: int, cap: int, n_together: int, n_attribute: int
) -> None:
    shop = tiny_shop()
    pairs = text_pairs(
        shop,
        shop.interactions,
        seed=seed,
        cap=cap,
        n_together=n_together,
        n_attribute=n_attribute,
    )
    assert len(pairs.together) <= n_together
    assert len(pairs.attribute) <= n_attribute
    for left, right in pairs.all:
        assert pairs.texts[left].split()[0] == pairs.texts[right].split()[0]
    for _, right in pairs.attribute:
        assert pairs.texts[right] in COLOURS
    for side in (pairs.together[:, 0], pairs.together[:, 1], pairs.attribute[:, 1]):
        assert not len(side) or np.bincount(side).max() <= cap


def test_only_training_interactions_make_pairs() -> None:
    shop = tiny_shop()
    train = shop.interactions.where(shop.interactions.item < 10)
    pairs = text_pairs(shop, train, seed=0, cap=9, n_together=99, n_attribute=0)
    assert len(pairs.together)
    assert {pairs.texts[at].split()[0] for at in pairs.together.ravel()} == {"red"}


def test_empty_texts_and_prose_columns() -> None:
    shop = tiny_shop()
    assert shop.text is not None
    prose = "a long description of what this is and of what it is good for"
    table = shop.item_table.with_columns(
        description=pl.Series([prose, *[f"{prose} {n}" for n in range(39)]]),
        price=pl.lit("9.99"),
    )
    text = pl.Series([None, "  ", *shop.text[2:].to_list()], dtype=pl.String)
    shop = replace(shop, item_table=table, text=text)
    pairs = text_pairs(shop, shop.interactions, seed=0, cap=99, n_together=999, n_attribute=999)
    values = {pairs.texts[right] for right in pairs.attribute[:, 1]}
    assert prose in values
    assert "9.99" not in values
    assert "" not in {pairs.texts[at] for at in pairs.all.ravel()}
