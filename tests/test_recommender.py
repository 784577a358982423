from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_shop import planted_interactions, planted_shop

from kgrec.config import Config
from kgrec.counts import gather
from kgrec.errors import ConfigError, UnknownIdError
from kgrec.history import history_matrix
from kgrec.interactions import Interactions
from kgrec.item_index import IndexConfig, ItemIndex
from kgrec.network import DenseVectors
from kgrec.ranker import fit_ranker
from kgrec.ranker_config import RankerConfig
from kgrec.recommender import Recommender


def model(
    n_users: int = 60, n_items: int = 40, seed: int = 0, index: IndexConfig | None = None
) -> Recommender:
    """A recommender with a solved S and random dense vectors, which make every path matter."""
    shop = planted_shop(n_users=n_users, n_items=n_items, seed=seed)
    generator = np.random.default_rng(seed)
    config = RankerConfig(ridge=1.0, dense_weight=0.5, text_weight=0)
    dense = DenseVectors(
        generator.standard_normal((n_items, 8)).astype(np.float32),
        generator.standard_normal((n_items, 8)).astype(np.float32),
        np.eye(8, dtype=np.float32),
        generator.standard_normal(n_items).astype(np.float32),
    )
    evidence = gather(shop.interactions, shop.graph, None, config)
    ranker = fit_ranker(evidence, dense, config)
    return Recommender(
        items=shop.items,
        users=shop.users,
        item_table=shop.item_table,
        graph=shop.graph,
        history=shop.interactions,
        held_out=None,
        cold_items=np.zeros(0, np.int64),
        ranker=ranker,
        index=ItemIndex.build(ranker.item_vectors, index or IndexConfig()),
        config=Config(),
    )


def brute_force(rec: Recommender, users: np.ndarray, k: int, allowed: np.ndarray) -> np.ndarray:
    scores = rec.score_items(users)
    seen = history_matrix(rec.history)[users].tocoo()
    scores[seen.row, seen.col] = -np.inf
    scores[:, ~allowed] = -np.inf
    best = -np.sort(-scores, axis=1)[:, :k]
    return np.where(np.isfinite(best), best, -np.inf)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.05, 1))
def test_with_an_exact_index_lists_are_brute_force(seed: int, k: int, share: float) -> None:
    rec = model(n_items=200, n_users=30, seed=seed)
    users = np.arange(30)
    allowed = np.random.default_rng(seed).random(200) < share
    top = rec.top_k(users, k, allowed=allowed)
    want = brute_force(rec, users, k, allowed)
    assert top.scores == pytest.approx(want, abs=1e-4)
    found = top.items[top.items >= 0]
    assert allowed[found].all()
    seen = history_matrix(rec.history).toarray() > 0
    rows = np.repeat(users, k).reshape(-1, k)[top.items >= 0]
    assert not seen[rows, found].any()


@pytest.mark.parametrize("strength", [3, 10, 30])
def test_s_carries_what_the_index_kept_back_into_lists(strength: int) -> None:
    rec = model(n_items=600, n_users=60)
    rec = replace(rec, ranker=replace(rec.ranker, sparse=rec.ranker.sparse * np.float32(strength)))
    users, everything = np.arange(60), np.ones(600, bool)
    top = rec.top_k(users, 5)
    asked = 5 + int(np.diff(rec.history.start).max()) + 64
    _, retrieved = rec.index.search(rec.ranker.user_vectors(rec.history), asked)
    listed = [np.isin(*pair) for pair in zip(top.items, retrieved, strict=True)]
    assert 0 < np.mean(listed) < 1, "some of both"
    assert top.scores == pytest.approx(brute_force(rec, users, 5, everything), rel=1e-4)


def test_a_hundred_thousand_items_are_not_all_asked_for() -> None:
    rec = model(n_items=3000, n_users=8)
    top = rec.top_k(np.arange(8), 5)
    assert top.scores == pytest.approx(brute_force(rec, np.arange(8), 5, np.ones(3000, bool)))


def test_one_batch_equals_many() -> None:
    rec = model()
    whole = rec.top_k(np.arange(60), 7)
    for user in (0, 17, 59):
        one = rec.top_k(np.array([user]), 7)
        assert np.array_equal(one.items[0], whole.items[user])


def test_a_compressed_index_scores_exactly_what_it_finds() -> None:
    rec = model(n_items=400, index=IndexConfig(kind="ivfpq", n_lists=4, n_probe=4, pq_bytes=3))
    users = np.arange(60)
    top, full = rec.top_k(users, 5), rec.score_items(users)
    assert top.scores == pytest.approx(np.take_along_axis(full, top.items, axis=1), abs=1e-5)


def test_everyone_gets_their_own_group() -> None:
    rec = model()
    quiet = replace(rec, ranker=replace(rec.ranker, config=RankerConfig(dense_weight=1e-6)))
    top = quiet.top_k(np.arange(60), 3)
    # Who has bought most of a group can find a stranger's score of 0 above a negative one.
    assert (top.items % 4 == (np.arange(60) % 4)[:, None]).mean() > 0.9


def test_lists_speak_the_callers_ids() -> None:
    found = model().recommend(["u003", "u001"], k=4)
    assert list(found.columns) == ["user_id", "item_id", "score", "rank"]
    assert found["user_id"].tolist() == ["u003"] * 4 + ["u001"] * 4
    assert found["rank"].tolist() == [1, 2, 3, 4] * 2
    assert found["item_id"].str.match(r"i\d{3}$").all()


def test_a_stranger_is_ranked_like_anyone_with_that_history() -> None:
    rec = model()
    ids = rec.items.take(rec.history.items_of(5)).to_list()
    stranger = rec.recommend(histories=[ids], k=5)
    known = rec.recommend(["u005"], k=5)
    assert stranger["item_id"].tolist() == known["item_id"].tolist()


def test_no_history_means_popular_items() -> None:
    rec = model()
    found = rec.recommend(histories=[[]], k=3)["item_id"].tolist()
    order = np.argsort(-rec.ranker.popularity, kind="stable")[:3]
    assert found == rec.items.take(order).to_list()


def test_unknown_items_of_a_history_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    model().recommend(histories=[["i000", "nobody's"]], k=3)
    assert "1 of 2 items in the histories are unknown" in capsys.readouterr().err


def test_a_filter_holds() -> None:
    rec = model()
    groups = rec.item_table["group"].to_list()
    found = rec.recommend(["u000", "u001"], k=5, where="\"group\" = 2 and title like 'Thing%'")
    assert {groups[int(item[1:])] for item in found["item_id"]} == {2}
    assert len(rec.recommend(["u000"], k=5, where="1 = 2")) == 0
    assert len(rec.recommend(["u000"], k=5, where="1 = 1")) == 5


@pytest.mark.parametrize("where", ["colour = 'red'", "group +", "title"])
def test_a_bad_filter_names_the_columns(where: str) -> None:
    with pytest.raises(ConfigError, match="the columns are item_id"):
        model().recommend(["u000"], where=where)


def test_k_past_the_catalogue_gives_all_there_is() -> None:
    rec = model()
    assert len(rec.recommend(["u000"], k=1000)) == 40 - 6
    assert len(rec.recommend(["u000"], k=1000, exclude_seen=False)) == 40
    assert rec.top_k(np.array([0]), 50).items.shape == (1, 50)


def test_wrong_use_is_refused() -> None:
    rec = model()
    with pytest.raises(ConfigError, match="k is 0"):
        rec.recommend(["u000"], k=0)
    with pytest.raises(ConfigError, match="not both"):
        rec.recommend(["u000"], histories=[[]])
    with pytest.raises(UnknownIdError, match="unknown user 'u0000'"):
        rec.recommend(["u0000"])
    with pytest.raises(UnknownIdError, match="unknown item 'x'"):
        rec.similar(["x"])


def test_similar_items_are_of_the_group() -> None:
    rec = model()
    quiet = replace(rec, ranker=replace(rec.ranker, config=RankerConfig(dense_weight=1e-6)))
    found = quiet.similar(["i004", "i005"], k=3)
    assert list(found.columns) == ["item_id", "similar_id", "score", "rank"]
    assert {int(i[1:]) % 4 for i in found["similar_id"][:3]} == {0}


def test_contributions_add_up_to_the_sparse_score() -> None:
    rec = model()
    item = int(rec.top_k(np.array([0]), 1).items[0, 0])
    parts = rec.contributions(0, item, rec.history)
    sparse = (rec.ranker.rows(rec.history.select([0])) @ rec.ranker.sparse).toarray()[0, item]
    assert sum(parts.values()) == pytest.approx(sparse, rel=1e-5)
    assert set(parts) <= set(rec.history.items_of(0).tolist())


def test_permuting_items_leaves_scores_alone() -> None:
    rows = planted_interactions()
    shop = planted_shop()
    order = np.random.default_rng(1).permutation(rows.n_items)
    moved = Interactions.of(
        rows.user, order[rows.item], n_users=rows.n_users, n_items=rows.n_items,
        time=rows.time, time_kind="position",
    )  # fmt: skip
    config = RankerConfig(ridge=1.0, text_weight=0)
    empty = shop.graph.without(("in_group",))
    one = fit_ranker(gather(rows, empty, None, config), model().ranker.dense, config)
    two = fit_ranker(gather(moved, empty, None, config), model().ranker.dense, config)
    n = rows.n_items
    first = one.sparse[:n].toarray()
    assert two.sparse[:n].toarray()[np.ix_(order, order)] == pytest.approx(first, abs=1e-5)


def test_other_behaviours_have_views_of_their_own() -> None:
    rows = planted_interactions(n_users=40)
    behaviour = (np.arange(len(rows)) % 2).astype(np.uint8)
    mixed = Interactions.of(
        rows.user, rows.item, n_users=40, n_items=40, time=rows.time, time_kind="position",
        behaviour=behaviour, behaviours=("view", "buy"), target=1,
        weight=np.where(behaviour == 1, 1.0, 0.3),
    )  # fmt: skip
    shop = planted_shop(n_users=40)
    config = RankerConfig(
        ridge=1.0,
        text_weight=0,
        own_weight=(2.0,),
        own_power=0,
        sequence_weight=0,
        dense_weight=1e-6,
    )
    evidence = gather(mixed, shop.graph, None, config)
    ranker = fit_ranker(evidence, model().ranker.dense, config)
    assert ranker.views == ("history", "last", "view")
    rec = replace(model(), history=mixed, ranker=ranker, users=shop.users)
    top = rec.top_k(np.arange(40), 3)
    viewed = [set(mixed.item[(mixed.user == u) & (mixed.behaviour == 0)]) for u in range(40)]
    assert all(set(top.items[u]) <= viewed[u] for u in range(40))  # viewed, not bought, comes first


def test_the_item_table_is_polars() -> None:
    assert isinstance(model().item_table, pl.DataFrame)
