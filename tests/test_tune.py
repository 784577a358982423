from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from toy_shop import planted_shop

from kgrec.interactions import Interactions
from kgrec.ranker import RankerConfig, gather, popularity_vectors
from kgrec.split import SplitConfig, split
from kgrec.tune import LADDERS, Validation, ndcg_of_scores, search, unseen, with_field


def test_ndcg_of_one_user_by_hand() -> None:
    scores = np.array([[9, 8, 7, 6]], np.float32)
    seen, truth = sp.csr_array([[1, 0, 0, 0]]), sp.csr_array([[0, 0, 1, 1]])
    want = (1 / np.log2(3) + 1 / np.log2(4)) / (1 / np.log2(2) + 1 / np.log2(3))
    assert ndcg_of_scores(scores, seen, truth, 10) == pytest.approx(want)


def test_ties_take_the_middle_rank() -> None:
    scores = np.zeros((1, 3), np.float32)
    nothing, truth = sp.csr_array((1, 3)), sp.csr_array([[1.0, 0, 0]])
    assert ndcg_of_scores(scores, nothing, truth, 10) == pytest.approx(1 / np.log2(3))


def planted_validation() -> Validation:
    shop = planted_shop(n_users=120, length=7)
    parts = split(shop, SplitConfig())
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    return Validation(evidence, parts.validation, popularity_vectors(evidence.degree))


def test_the_search_never_ends_below_its_start() -> None:
    validation = planted_validation()
    config = RankerConfig(trials=30)
    best, trials = search(validation, config)
    assert 1 < len(trials) <= 30
    assert validation.ndcg(best) >= trials[0].ndcg * (1 - 1e-3)
    assert best.n_neighbours == config.n_neighbours
    assert max(t.ndcg for t in trials if t.kept) == max(t.ndcg for t in trials)
    assert search(planted_validation(), config)[0] == best


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
