from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from toy_shop import planted_shop

from kgrec.candidates import draw_candidates
from kgrec.counts import gather
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors
from kgrec.ranker import Ranker, popularity_vectors
from kgrec.ranker_config import RankerConfig
from kgrec.split import SplitConfig, split
from kgrec.tune import LADDERS, search, value_of, with_field
from kgrec.validation import Validation, ndcg_of_scores, unseen
from kgrec.vocabulary import Indices, Vocabulary


def test_ndcg_of_one_user_by_hand() -> None:
    scores = np.array([[9, 8, 7, 6]], np.float32)
    seen, truth = sp.csr_array([[1, 0, 0, 0]]), sp.csr_array([[0, 0, 1, 1]])
    want = (1 / np.log2(3) + 1 / np.log2(4)) / (1 / np.log2(2) + 1 / np.log2(3))
    assert ndcg_of_scores(scores, seen, truth, 10).sum() == pytest.approx(want)


def test_ties_take_the_middle_rank() -> None:
    scores = np.zeros((1, 3), np.float32)
    nothing, truth = sp.csr_array((1, 3)), sp.csr_array([[1.0, 0, 0]])
    assert ndcg_of_scores(scores, nothing, truth, 10).sum() == pytest.approx(1 / np.log2(3))


def planted_validation() -> Validation:
    shop = planted_shop(n_users=120, length=7)
    parts = split(shop, SplitConfig())
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    return Validation(evidence, parts.validation, popularity_vectors(evidence.degree))


def test_ranks_among_a_sample_are_those_of_the_catalogue_in_the_mean() -> None:
    n, generator = 400, np.random.default_rng(3)
    scores = generator.permutation(n).astype(np.float32)[None]
    truth = sp.csr_array(([1.0], ([0], [int(np.argsort(-scores[0])[60])])), shape=(1, n))
    ranks = []
    for seed in range(300):
        some = draw_candidates(truth, 100, seed)
        assert 100 <= len(some.items) <= 101
        at = np.flatnonzero(some.items == truth.indices[0])
        assert len(at) == 1  # what is held out always competes
        own = scores[0, truth.indices[0]]
        ranks.append(((scores[0, some.items] > own) * some.weight).sum())
    assert np.mean(ranks) == pytest.approx(60, abs=2)
    assert draw_candidates(truth, n, 7).weight is None


def test_a_sampled_catalogue_is_scored_as_its_columns_are() -> None:
    shop = planted_shop(n_users=120, length=7)
    parts = split(shop, SplitConfig())
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    dense = popularity_vectors(evidence.degree)
    n_items = shop.interactions.n_items
    config = RankerConfig(n_neighbours=9)
    whole = Validation(evidence, parts.validation, dense)
    found = []
    for seed in range(40):
        some = Validation(evidence, parts.validation, dense, max_items=n_items // 2, seed=seed)
        found.append(some.score(config))
        assert some.truth.shape == some.seen.shape == (len(some.users), len(some.candidates.items))
    assert np.mean(found) == pytest.approx(whole.score(config), rel=0.25)
    assert np.mean(found) != whole.score(config)


def test_the_search_never_ends_below_its_start() -> None:
    validation = planted_validation()
    config = RankerConfig(trials=30)
    best, trials = search(validation, config)
    assert 1 < len(trials) <= 30
    assert validation.score(best) >= trials[0].score * (1 - 1e-3)
    assert best.n_neighbours == config.n_neighbours
    assert max(t.score for t in trials if t.kept) == max(t.score for t in trials)
    assert search(planted_validation(), config)[0] == best


def test_the_search_climbs_by_another_criterion_where_it_is_given_one() -> None:
    validation = planted_validation()
    asked = []

    def criterion(ranker: Ranker, history: Interactions) -> float:
        asked.append((ranker.sparse.nnz > 0, history is validation.evidence.history))
        return 1 - abs(ranker.config.ridge - 120) / 1000

    validation.criterion = criterion
    best, trials = search(validation, RankerConfig(trials=30))
    assert best.ridge == 120
    assert max(t.score for t in trials) == 1
    assert set(asked) == {(True, True)}


def with_groups() -> Validation:
    """A validation whose dense half knows the planted groups."""
    shop = planted_shop(n_users=120, length=7)
    parts = split(shop, SplitConfig())
    config = RankerConfig(attribute_weight=0)
    evidence = gather(parts.train, shop.graph, None, config)
    group = np.eye(4, dtype=np.float32)[np.arange(shop.interactions.n_items) % 4]
    bias = np.zeros(len(group), np.float32)
    dense = DenseVectors(group, group * 10, np.eye(4, dtype=np.float32), bias)
    return Validation(evidence, parts.validation, dense)


@pytest.mark.parametrize(("gain", "kept"), [(0.02, True), (0.005, False)])
def test_few_users_keep_the_dense_half_only_for_a_gain_beyond_its_error(
    gain: float, kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared: list[tuple[float, float]] = []

    def told(self: Validation, one: RankerConfig, other: RankerConfig) -> tuple[float, float]:
        compared.append((one.dense_weight, other.dense_weight))
        return gain, 0.01

    monkeypatch.setattr(Validation, "gain", told)
    best, trials = search(with_groups(), RankerConfig(trials=30, attribute_weight=0))
    assert len(trials) <= 30
    ((weight, nothing),) = compared
    assert weight > 0
    assert nothing == 0
    assert (best.dense_weight > 0) == kept
    assert ("switched off" in capsys.readouterr().err) != kept


def test_a_gain_is_that_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    validation = with_groups()
    one = RankerConfig(attribute_weight=0)
    other = replace(one, sparse=False)
    gain, error = validation.gain(one, other)
    assert gain == pytest.approx(validation.score(one) - validation.score(other))
    assert 0 < error < 0.1
    assert validation.doubts(one)
    monkeypatch.setattr("kgrec.validation._FEW_USERS", 50)
    assert not validation.doubts(one)


def test_what_is_not_there_is_not_searched() -> None:
    _, trials = search(planted_validation(), RankerConfig(trials=80))
    assert not {"text_weight", "own_weight", "dense_weight"} & {t.field for t in trials}


def test_every_ladder_is_a_field() -> None:
    for field, steps in LADDERS.items():
        assert getattr(with_field(RankerConfig(), field, steps[-1]), field) == steps[-1]


def test_a_repeat_is_no_hit_for_a_list_that_leaves_repeats_out() -> None:
    had = Interactions.of([0, 1], [0, 1], n_users=2, n_items=3)
    held_out = Interactions.of([0, 0, 1], [0, 2, 1], n_users=2, n_items=3)
    assert unseen(held_out, had).toarray().tolist() == [[0, 0, 1], [0, 0, 0]]


def test_a_dotted_field_is_one_behaviour() -> None:
    config = RankerConfig(own_weight=(0.3, 1.0), cross_weight=(0.1, 0.2), ridge=3.0)
    assert value_of(config, "ridge") == 3
    assert [value_of(config, f"own_weight.{n}") for n in (0, 1)] == [0.3, 1]
    moved = with_field(config, "own_weight.1", 10.0)
    assert moved == replace(config, own_weight=(0.3, 10.0))
    assert value_of(moved, "own_weight.1") == 10
    assert with_field(config, "ridge", 9.0) == replace(config, ridge=9.0)


def shop_of_three_behaviours() -> Validation:
    """Whoever carted an item buys it; what was viewed says nothing. In no order."""
    generator = np.random.default_rng(5)
    n_users, n_items = 150, 30
    chosen = np.stack([generator.permutation(n_items)[:7] for _ in range(n_users)])

    def rows(items: Indices, *behaviours: int) -> Interactions:
        user = np.repeat(np.arange(n_users), len(behaviours))
        return Interactions.of(
            user, items.ravel(), n_users=n_users, n_items=n_items,
            behaviour=np.tile(behaviours, n_users), behaviours=("view", "cart", "buy"), target=2,
        )  # fmt: skip

    bought, carted, viewed = chosen[:, :2], chosen[:, :3], chosen[:, 3:]
    known = rows(np.hstack([viewed, carted, bought]), 0, 0, 0, 0, 1, 1, 1, 2, 2)
    held_out = rows(chosen[:, 2], 2)
    nodes = {
        "item": Vocabulary([f"i{n}" for n in range(n_items)], "item"),
        "user": Vocabulary([f"u{n}" for n in range(n_users)], "user"),
    }
    evidence = gather(known, KnowledgeGraph(nodes), None, RankerConfig())
    return Validation(evidence, held_out, popularity_vectors(evidence.degree))


def test_each_behaviour_is_weighed_by_itself() -> None:
    validation = shop_of_three_behaviours()
    start = RankerConfig(trials=80, own_weight=(0.5, 0.0), cross_weight=(0.0, 0.0))
    best, trials = search(validation, start)
    moved = {trial.field for trial in trials}
    assert {"own_weight.0", "own_weight.1", "cross_weight.0", "cross_weight.1"} <= moved
    assert not {"own_weight", "cross_weight"} & moved
    assert len(best.own_weight) == len(best.cross_weight) == 2
    viewed, carted = best.own_weight
    assert carted > viewed
    assert trials[0].score < 0.5 < 0.9 < validation.score(best)


def test_cold_items_count_by_their_share_of_the_catalogue() -> None:
    shop = planted_shop(n_users=120, groups=8, length=4)
    parts = split(shop, SplitConfig(cold_item_share=0.1))
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    dense = popularity_vectors(evidence.degree)
    validation = Validation(evidence, parts.validation, dense, cold_apart=True)
    assert validation.has_cold
    shares = [share for share, _ in validation._targets]
    assert sum(shares) == pytest.approx(1)
    assert shares[1] == pytest.approx((evidence.degree == 0).mean())
    assert len(Validation(evidence, parts.validation, dense)._targets) == 1
    fields = {trial.field for trial in search(validation, RankerConfig(trials=80))[1]}
    assert "cold_scale" in fields
    # what nobody had is reached by its group alone, so its scale moves nothing else
    none, all_ = RankerConfig(cold_scale=0.0), RankerConfig(cold_scale=50.0)
    assert validation.score(none) != validation.score(all_)


def test_without_cold_items_their_weights_are_not_searched() -> None:
    validation = planted_validation()
    assert not validation.has_cold
    fields = {trial.field for trial in search(validation, RankerConfig(trials=80))[1]}
    assert not {"cold_scale", "cold_bias"} & fields


def test_trials_spent_before_count() -> None:
    _, trials = search(planted_validation(), RankerConfig(trials=12), spent=7)
    assert len(trials) == 5
