"""Baselines against dense arithmetic, and what the real sets are known to give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import kgrec.baselines as baselines
from kgrec.baselines import ItemKNN, ItemKNNConfig, Popularity, seen_items, tune_item_knn
from kgrec.errors import ConfigError, ShapeError
from kgrec.evaluate import evaluate_top_k
from kgrec.interactions import Interactions


def random_interactions(seed: int, n_users: int = 25, n_items: int = 20) -> Interactions:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(40, 160))
    return Interactions.of(
        generator.integers(0, n_users - 1, n),  # the last user has no history
        generator.integers(0, n_items, n),
        n_users=n_users,
        n_items=n_items,
        time=np.arange(n),
        time_kind="seconds",
    )


def dense_scores(train: Interactions, config: ItemKNNConfig) -> npt.NDArray[np.float64]:
    """The formula of the docstring, written out; no neighbour is cut off."""
    had = seen_items(train).toarray().astype(np.float64)
    size = np.maximum(had.sum(1, keepdims=True), 1)
    common = had.T @ (had / size**config.user_exponent)
    degree = np.diag(common)
    below = np.outer(degree**config.own_exponent, degree**config.offered_exponent)
    near = common / np.maximum(below + config.shrinkage, 1e-30)
    np.fill_diagonal(near, 0)
    weights = np.zeros_like(had)
    for user in range(train.n_users):
        newest_first = list(dict.fromkeys(train.items_of(user)[::-1].tolist()))
        rows = train.items_of(user)[::-1].tolist()
        for item in newest_first:
            weights[user, item] = config.decay ** rows.index(item)
    return weights @ near


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_item_knn_is_the_formula(seed: int) -> None:
    train = random_interactions(seed)
    config = ItemKNNConfig(
        shrinkage=0.7, own_exponent=0.4, offered_exponent=0.6, user_exponent=0.8, decay=0.6
    )
    top = ItemKNN(train, config).top_k(np.arange(train.n_users), 6, history=train)
    expected = dense_scores(train, config)
    had = seen_items(train).toarray() > 0
    expected[had] = 0
    for user in range(train.n_users):
        neighbours = top.scores[user] > 0
        best = np.sort(expected[user])[::-1][:6]
        np.testing.assert_allclose(top.scores[user][neighbours], best[best > 0], rtol=1e-4)
        items = top.items[user][top.items[user] >= 0]
        assert not had[user, items].any()
        assert len(np.unique(items)) == len(items)
        assert (np.diff(top.scores[user]) <= 0).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_interactions(3)
    users = np.arange(train.n_users)
    whole = ItemKNN(train).top_k(users, 8, history=train)
    monkeypatch.setattr(baselines, "_BLOCK_ENTRIES", 30)
    parts = ItemKNN(train).top_k(users, 8, history=train)
    np.testing.assert_array_equal(whole.items, parts.items)


def test_popularity_counts_each_user_once_and_leaves_out_what_is_had() -> None:
    train = Interactions.of([0, 0, 0, 1, 1, 2], [5, 5, 5, 1, 2, 1], n_users=4, n_items=6)
    top = Popularity(train).top_k(np.array([3, 1]), 3, history=train)
    assert top.items.tolist() == [[1, 2, 5], [5, 0, 3]]  # ties by index
    assert top.scores.tolist() == [[2, 1, 1], [1, 0, 0]]
    again = Popularity(train).top_k(np.array([1]), 9, history=train, exclude_seen=False)
    assert again.items.tolist() == [[1, 2, 5, 0, 3, 4, -1, -1, -1]]


def test_someone_without_neighbours_gets_the_bestsellers() -> None:
    train = random_interactions(5)
    last = np.array([train.n_users - 1])
    top = ItemKNN(train).top_k(last, 5, history=train)
    popular = Popularity(train).top_k(last, 5, history=train)
    np.testing.assert_array_equal(top.items, popular.items)


def test_attribute_rows_reach_an_item_that_nobody_has() -> None:
    train = Interactions.of([0, 1, 1], [0, 0, 1], n_users=3, n_items=3)
    shared = sparse.csr_array(np.array([[1.0, 0, 1.0]]))  # items 0 and 2 share a brand
    lists = [
        ItemKNN(train, ItemKNNConfig(attribute_weight=w), shared).top_k(
            np.array([1]), 1, history=train
        )
        for w in (0.0, 1.0)
    ]
    assert lists[0].scores[0, 0] < 0 < lists[1].scores[0, 0]
    assert lists[1].items[0, 0] == 2


def test_tuning_finds_that_the_last_item_decides() -> None:
    generator = np.random.default_rng(0)
    n_users, n_items = 150, 30
    walks = (generator.integers(0, n_items, (n_users, 1)) + np.arange(9)) % n_items
    noise = generator.integers(0, n_items, (n_users, 6))
    items = np.concatenate([noise, walks], axis=1)
    of = lambda block, first: Interactions.of(  # noqa: E731
        np.repeat(np.arange(n_users), block.shape[1]), block.ravel(), n_users=n_users,
        n_items=n_items, time=np.tile(np.arange(block.shape[1]) + first, n_users),
        time_kind="position",
    )  # fmt: skip
    train, validation = of(items[:, :-1], 0), of(items[:, -1:], 14)
    best, trials = tune_item_knn(train, validation, metric="nDCG@10")
    assert best.decay < 1
    values = [trial["nDCG@10"] for trial in trials]
    assert max(values) > values[0]


@pytest.mark.parametrize(
    "options", [{"neighbours": 0}, {"decay": 0.0}, {"decay": 1.1}, {"shrinkage": -1.0}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        ItemKNNConfig(**options)  # type: ignore[arg-type]


def test_shapes_and_metrics_that_do_not_fit_are_refused() -> None:
    train = random_interactions(1)
    with pytest.raises(ShapeError, match="columns"):
        ItemKNN(train, ItemKNNConfig(attribute_weight=1), sparse.csr_array(np.ones((1, 3))))
    with pytest.raises(ConfigError, match="nDCG@20"):
        tune_item_knn(train, train, metric="nDCG")


@pytest.mark.slow
def test_amazon_beauty_gives_what_a_tuned_item_knn_is_known_to_give(shared_data: Path) -> None:
    file = shared_data / "amazon-beauty-2014" / "beauty.inter.gz"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    rows = pl.read_csv(file, separator="\t")
    rows.columns = ["user", "item", "position", "seconds"]
    user, item = (rows[c].rank("dense").to_numpy().astype(np.int64) - 1 for c in ("user", "item"))
    shop = Interactions.of(
        user,
        item,
        n_users=int(user.max()) + 1,
        n_items=int(item.max()) + 1,
        time=rows["position"].to_numpy(),
        time_kind="position",
    )
    back = shop.start[shop.user.astype(np.int64) + 1] - 1 - np.arange(len(shop))
    known, test = shop.where(back >= 1), shop.where(back == 0)
    config = ItemKNNConfig(neighbours=500, own_exponent=0.3, decay=0.6)  # tuned on validation
    top = ItemKNN(known, config).top_k(np.arange(shop.n_users), 10, history=known)
    got = evaluate_top_k(top, seen_items(test), (10,))
    assert got["hit_rate@10"] == pytest.approx(0.0835, abs=0.0005)
    assert got["nDCG@10"] == pytest.approx(0.0496, abs=0.0005)
