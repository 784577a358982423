"""Metrics against hand-computed values, an independent library, and what must always hold."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from kgrec.errors import ConfigError, ShapeError
from kgrec.metrics import coverage, evaluate_lists, exposure, gini, mean_metrics, novelty


def truth_of(rows: list[list[int]], n_items: int) -> sparse.csr_array:
    dense = np.zeros((len(rows), n_items), bool)
    for user, items in enumerate(rows):
        dense[user, items] = True
    return sparse.csr_array(dense)


def random_case(
    seed: int, n_users: int = 40, n_items: int = 60, length: int = 20
) -> tuple[npt.NDArray[np.int32], sparse.csr_array]:
    generator = np.random.default_rng(seed)
    top = np.stack([generator.permutation(n_items)[:length] for _ in range(n_users)])
    counts = generator.integers(1, 30, n_users)
    rows = [generator.choice(n_items, c, replace=False).tolist() for c in counts]
    return top.astype(np.int32), truth_of(rows, n_items)


def test_values_computed_by_hand() -> None:
    top = np.array([[3, 0, 5, 1]], np.int32)
    got = evaluate_lists(top, truth_of([[0, 1, 2]], 6), ks=(2, 4))
    assert got["recall@2"][0] == pytest.approx(1 / 3)
    assert got["recall@4"][0] == pytest.approx(2 / 3)
    assert got["precision@4"][0] == pytest.approx(2 / 4)
    assert got["F1@4"][0] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert got["hit_rate@2"][0] == 1
    assert got["MRR@2"][0] == pytest.approx(1 / 2)
    assert got["MAP@4"][0] == pytest.approx((1 / 2 + 2 / 4) / 3)
    ideal2 = 1 + 1 / np.log2(3)
    ideal4 = ideal2 + 1 / np.log2(4)  # three items are held out, so three ones at most
    assert got["nDCG@2"][0] == pytest.approx((1 / np.log2(3)) / ideal2)
    assert got["nDCG@4"][0] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / ideal4)


def test_users_without_held_out_items_do_not_count() -> None:
    top = np.array([[0, 1], [0, 1], [2, -1]], np.int32)
    got = evaluate_lists(top, truth_of([[0], [], [1]], 3), ks=(2,))
    assert all(
        np.isnan(values[1]) and not np.isnan(values[[0, 2]]).any() for values in got.values()
    )
    assert mean_metrics(got)["recall@2"] == 0.5
    assert np.isnan(mean_metrics(got, np.array([False, True, False]))["recall@2"])


def test_padding_is_never_a_hit() -> None:
    top = np.full((1, 3), -1, np.int32)
    got = evaluate_lists(top, truth_of([[0, 2]], 3), ks=(3,))
    assert all(values[0] == 0 for values in got.values())


@pytest.mark.parametrize(
    ("top", "error", "words"),
    [
        ([[0, 0]], ShapeError, "twice"),
        ([[0, 9]], ShapeError, "not -1..2"),
        ([[0, 1], [0, 1]], ShapeError, "2 lists"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(
    top: list[list[int]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        evaluate_lists(np.array(top, np.int32), truth_of([[0]], 3), ks=(1,))


@pytest.mark.parametrize("ks", [(), (0,), (3,)])
def test_depths_that_no_list_has_are_refused(ks: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="k"):
        evaluate_lists(np.array([[0, 1]], np.int32), truth_of([[0]], 3), ks=ks)


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_properties(seed: int) -> None:
    top, truth = random_case(seed)
    ks = (1, 5, 10, 20)
    got = evaluate_lists(top, truth, ks)
    for name, values in got.items():
        assert (values >= 0).all(), name
        assert (values <= 1 + 1e-12).all(), name
    for name, (low, high) in itertools.product(
        ("recall", "hit_rate", "MRR", "MAP"), [(1, 5), (5, 20)]
    ):
        assert (got[f"{name}@{low}"] <= got[f"{name}@{high}"] + 1e-12).all()
    for k in ks:
        assert (got[f"MRR@{k}"] <= got[f"hit_rate@{k}"]).all()
        p, r, n = got[f"precision@{k}"], got[f"recall@{k}"], truth.sum(axis=1)
        np.testing.assert_allclose(p * k, r * n)
        np.testing.assert_allclose(got[f"F1@{k}"] * (p + r), 2 * p * r, atol=1e-12)
    # a perfect list has nDCG 1, whatever the number of held-out items
    perfect = np.argsort(-truth.toarray().astype(np.int8), axis=1, kind="stable").astype(np.int32)
    np.testing.assert_allclose(evaluate_lists(perfect[:, :20], truth, ks)["nDCG@20"], 1)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_renaming_items_and_splitting_users_changes_nothing(seed: int) -> None:
    top, truth = random_case(seed)
    whole = evaluate_lists(top, truth, (5, 20))
    renamed = np.random.default_rng(seed).permutation(truth.shape[1])
    moved = sparse.csr_array(truth.toarray()[:, np.argsort(renamed)])
    again = evaluate_lists(renamed[top].astype(np.int32), moved, (5, 20))
    parts = [evaluate_lists(top[a:b], truth[a:b], (5, 20)) for a, b in ((0, 7), (7, 40))]
    for name, values in whole.items():
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_array_equal(values, np.concatenate([p[name] for p in parts]))


@pytest.mark.slow
def test_values_agree_with_ranx() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # third-party ones alone: numba and ranx at import
        from ranx import Qrels, Run, evaluate
    top, truth = random_case(3)
    ours = mean_metrics(evaluate_lists(top, truth, (1, 5, 20)))
    rows = [np.flatnonzero(row) for row in truth.toarray()]
    qrels = Qrels({f"u{u}": {f"i{i}": 1 for i in items} for u, items in enumerate(rows)})
    run = Run(
        {f"u{u}": {f"i{i}": float(-r) for r, i in enumerate(row)} for u, row in enumerate(top)}
    )
    names = {
        "recall": "recall",
        "precision": "precision",
        "F1": "f1",
        "hit_rate": "hit_rate",
        "nDCG": "ndcg",
        "MAP": "map",
        "MRR": "mrr",
    }
    asked = {f"{our}@{k}": f"{their}@{k}" for our, their in names.items() for k in (1, 5, 20)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = evaluate(qrels, run, list(asked.values()))
    for our, their in asked.items():
        assert ours[our] == pytest.approx(theirs[their], abs=1e-9), our


def test_what_of_the_catalogue_is_shown() -> None:
    top = np.array([[0, 1, 2], [0, 3, -1]], np.int32)
    shown = exposure(top, 5, k=2)
    assert shown.tolist() == [2, 1, 0, 1, 0]
    assert coverage(shown) == pytest.approx(3 / 5)
    # of 8 users, items 0, 1 and 3 are had by 4, 1 and none: 1, 3 and 3 bits
    assert novelty(shown, np.array([4, 1, 9, 0, 0]), 8) == pytest.approx((2 * 1 + 3 + 3) / 4)


def test_gini_of_even_and_of_one_sided_exposure() -> None:
    assert gini(np.full(10, 4)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 12])) == pytest.approx(3 / 4)
    assert np.isnan(gini(np.zeros(4, np.int64)))
    assert np.isnan(novelty(np.zeros(4, np.int64), np.ones(4, np.int64), 2))
