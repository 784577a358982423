from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_shop import planted_interactions, planted_shop

from kgrec.errors import ConfigError
from kgrec.interactions import Interactions, merge
from kgrec.split import Parts, SplitConfig, of_some_users, split


def pairs(rows: Interactions | None) -> set[tuple[int, int, int]]:
    assert rows is not None
    return set(zip(rows.user.tolist(), rows.item.tolist(), rows.time.tolist(), strict=True))


def check_partition(parts: Parts, whole: Interactions) -> None:
    three = [pairs(parts.train), pairs(parts.validation), pairs(parts.test)]
    assert sum(map(len, three)) == len(whole)
    assert set.union(*three) == pairs(whole)


def test_leave_last_out_keeps_the_newest_two_apart() -> None:
    shop = planted_shop(length=6)
    parts = split(shop, SplitConfig())
    check_partition(parts, shop.interactions)
    assert parts.test is not None
    assert set(parts.test.time.tolist()) == {5}
    assert set(parts.validation.time.tolist()) == {4}


def test_nobody_is_left_without_a_history() -> None:
    rows = Interactions.of([0, 1, 1], [0, 0, 1], n_users=2, n_items=2, time=[1, 1, 2])
    shop = replace(planted_shop(n_users=2, n_items=2, groups=1, length=2), interactions=rows)
    parts = split(shop, SplitConfig())
    assert pairs(parts.test) == {(1, 1, 2)}
    assert pairs(parts.train) == {(0, 0, 1), (1, 0, 1)}


@pytest.mark.parametrize("method", ["time", "random"])
def test_shares_are_held_out(method: str) -> None:
    shop = planted_shop(n_users=200, length=8)
    parts = split(shop, SplitConfig(method=method, test_share=0.25))  # type: ignore[arg-type]
    check_partition(parts, shop.interactions)
    assert parts.test is not None
    share = len(parts.test) / len(shop.interactions)
    assert 0.1 < share <= 0.26


def test_a_split_by_time_never_looks_ahead() -> None:
    shop = planted_shop(n_users=50, length=8)
    parts = split(shop, SplitConfig(method="time", test_share=0.3))
    assert parts.test is not None
    assert parts.train.time.max() <= parts.validation.time.min() <= parts.test.time.min()


def test_unordered_data_loses_a_random_one() -> None:
    rows = planted_interactions()
    flat = Interactions.of(rows.user, rows.item, n_users=rows.n_users, n_items=rows.n_items)
    parts = split(replace(planted_shop(), interactions=flat), SplitConfig())
    assert parts.test is not None
    assert np.bincount(parts.test.user).tolist() == [1] * rows.n_users


def test_the_given_part_is_used() -> None:
    shop = planted_shop()
    given = shop.interactions.where(shop.interactions.time == 5)
    rest = shop.interactions.where(shop.interactions.time < 5)
    parts = split(replace(shop, interactions=rest, test=given), SplitConfig())
    assert pairs(parts.test) == pairs(given)


def test_given_without_a_part_is_refused() -> None:
    with pytest.raises(ConfigError, match="came with no test part"):
        split(planted_shop(), SplitConfig(method="given"))


def test_cold_items_are_nowhere_but_in_the_test() -> None:
    shop = planted_shop()
    parts = split(shop, SplitConfig(cold_item_share=0.2))
    assert len(parts.cold_items) == 8
    assert not np.isin(parts.known.item, parts.cold_items).any()
    assert parts.test is not None
    cold = np.isin(shop.interactions.item, parts.cold_items)
    tested = np.isin(parts.test.item, parts.cold_items)
    assert tested.sum() == cold.sum()
    assert (~tested).sum() > 0  # the newest warm purchase is tested too
    check_partition(parts, shop.interactions)


def test_none_holds_nothing_out() -> None:
    parts = split(planted_shop(), SplitConfig(method="none"))
    assert parts.test is None
    assert len(parts.validation) > 0


def test_merging_gives_back_the_whole() -> None:
    shop = planted_shop()
    parts = split(shop, SplitConfig())
    assert parts.test is not None
    assert pairs(merge(parts.known, parts.test)) == pairs(shop.interactions)


def test_merging_keeps_the_order_of_the_parts_within_a_moment() -> None:
    sizes = {"n_users": 2, "n_items": 4}
    one = Interactions.of([0, 1], [2, 3], time=[5, 1], **sizes)  # type: ignore[arg-type]
    two = Interactions.of([0, 0, 1], [1, 0, 0], time=[5, 4, 1], **sizes)  # type: ignore[arg-type]
    both = merge(one, two)
    assert both.user.tolist() == [0, 0, 0, 1, 1]
    assert both.item.tolist() == [0, 2, 1, 3, 0]
    assert both.start.tolist() == [0, 3, 5]
    assert merge(one, one.where(one.user > 9)) is one


def test_only_the_target_is_held_out() -> None:
    rows = Interactions.of(
        [0, 0, 0], [0, 1, 2], n_users=1, n_items=3, time=[1, 2, 3],
        behaviour=[1, 1, 0], behaviours=("view", "buy"), target=1,
    )  # fmt: skip
    shop = replace(planted_shop(n_users=1, n_items=3, groups=1, length=3), interactions=rows)
    assert pairs(split(shop, SplitConfig()).test) == {(0, 1, 2)}


@pytest.mark.parametrize("options", [{"test_share": 0.0}, {"cold_item_share": 1.0}])
def test_shares_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="split"):
        SplitConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_items", "share"), [(40, 0.25), (43, 0.2), (40, 0.1)])
def test_folds_hide_every_item_once(n_items: int, share: float) -> None:
    shop = planted_shop(n_items=n_items)
    n_folds = round(1 / share)
    folds = [
        split(shop, SplitConfig(cold_item_share=share, cold_item_fold=fold)).cold_items
        for fold in range(n_folds)
    ]
    assert np.sort(np.concatenate(folds)).tolist() == list(range(n_items))
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


def test_a_fold_keeps_its_items_out_of_what_is_known() -> None:
    shop = planted_shop()
    for fold in range(4):
        parts = split(shop, SplitConfig(cold_item_share=0.25, cold_item_fold=fold))
        assert not np.isin(parts.known.item, parts.cold_items).any()
        check_partition(parts, shop.interactions)


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cold_item_fold is 4; .* 0\.25 it is in 0\.\.3"):
        SplitConfig(cold_item_share=0.25, cold_item_fold=4)
    for fold in (-1, 1):  # without cold items there is no second fold
        with pytest.raises(ConfigError, match=r"cold_item_fold is .* it is in 0\.\.0"):
            SplitConfig(cold_item_fold=fold)
    assert SplitConfig(cold_item_share=0.1, cold_item_fold=9).cold_item_fold == 9


def test_validation_has_cold_items_of_its_own() -> None:
    shop = planted_shop()
    parts = split(shop, SplitConfig(cold_item_share=0.2))
    only_validation = np.setdiff1d(parts.validation.item, parts.train.item)
    assert len(only_validation) >= 0.15 * shop.interactions.n_items
    assert not np.isin(only_validation, parts.cold_items).any()


def test_nothing_of_after_the_cut_is_seen() -> None:
    generator = np.random.default_rng(0)
    rows = Interactions.of(
        np.repeat(np.arange(20), 20),
        generator.integers(0, 30, 400),
        n_users=20,
        n_items=30,
        behaviour=generator.integers(0, 2, 400),
        time=generator.permutation(400),
        behaviours=("view", "buy"),
        time_kind="seconds",
        target=1,
    )
    shop = replace(planted_shop(n_users=20, n_items=30), interactions=rows)
    parts = split(shop, SplitConfig(method="time", test_share=0.2))
    assert parts.test is not None
    assert parts.later is not None
    edge = parts.test.time.min()
    assert parts.known.time.max() < edge
    assert parts.train.time.max() < parts.validation.time.min()
    assert len(parts.later) + len(parts.known) + len(parts.test) == 400
    assert len(parts.later) == int((rows.time >= edge).sum()) - len(parts.test)
    assert (parts.validation.behaviour == 0).any()

    parts = split(shop, SplitConfig())
    assert parts.test is not None
    assert parts.later is not None
    last = np.full(20, 10**6)
    last[parts.test.user] = parts.test.time
    assert (parts.known.time < last[parts.known.user]).all()
    assert len(parts.later) + len(parts.known) + len(parts.test) == 400


def test_some_users_keep_all_their_rows() -> None:
    parts = split(planted_shop(n_users=400, length=6), SplitConfig())
    assert of_some_users(parts, len(parts.train), seed=7) is parts
    some = of_some_users(parts, len(parts.train) // 4, seed=7)
    assert 0.15 < len(some.train) / len(parts.train) < 0.35
    kept = set(some.train.user.tolist())
    assert kept == set(some.validation.user.tolist())
    assert pairs(some.train) == {row for row in pairs(parts.train) if row[0] in kept}
    assert some.train.n_users == parts.train.n_users
    assert pairs(of_some_users(parts, len(parts.train) // 4, seed=7).train) == pairs(some.train)
