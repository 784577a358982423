"""Intervals cover, p-values agree with scipy, Holm agrees with a hand example."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.benchmark.statistics import against, holm, summarise, user_values
from kgrec.errors import ConfigError, ShapeError

NAN = float("nan")


def test_known_answer_with_one_and_three_seeds() -> None:
    one = np.array([0.0, 1.0, NAN, 1.0])
    found = summarise([one])
    assert found["mean"] == pytest.approx(2 / 3)
    assert found["std"] is None
    assert found["low"] == 0
    assert found["high"] == 1
    three = summarise([one, one * 0, one * 0 + 1])
    assert three["mean"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert three["std"] == pytest.approx(np.std([2 / 3, 0, 1], ddof=1))


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).beta(0.3, 2, 400)
    found = summarise([values], draws=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, batch=200,
        rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert found["low"] == pytest.approx(theirs.low, abs=0.05 * width)
    assert found["high"] == pytest.approx(theirs.high, abs=0.05 * width)


@pytest.mark.parametrize("kind", ["hits", "graded"])
def test_the_interval_covers_what_was_planted(kind: str) -> None:
    generator = np.random.default_rng(11)
    covered = 0
    for at in range(300):
        hits = (generator.random(200) < 0.2).astype(float)
        values = hits if kind == "hits" else generator.gamma(1, 0.2, 200)
        found = summarise([values], seed=at, draws=250)
        assert found["low"] is not None
        assert found["high"] is not None
        covered += found["low"] <= 0.2 <= found["high"]
    assert 0.91 <= covered / 300 <= 0.98


def test_few_values_and_many_give_the_same_interval() -> None:
    hits = (np.random.default_rng(0).random(5000) < 0.1).astype(float)
    few = summarise([hits], draws=4000)
    many = summarise([hits + np.arange(5000) * 1e-12], draws=4000)
    assert few["low"] == pytest.approx(many["low"], abs=5e-4)
    assert few["high"] == pytest.approx(many["high"], abs=5e-4)


def test_the_same_seed_gives_the_same_figures() -> None:
    values = np.random.default_rng(0).random(500)
    assert summarise([values], seed=5) == summarise([values], seed=5)
    assert summarise([values], seed=5) != summarise([values], seed=6)


def test_nobody_counts() -> None:
    found = summarise([np.full(3, NAN)])
    assert np.isnan([found["mean"], found["low"], found["high"]]).all()  # type: ignore[arg-type]
    assert against([np.full(3, NAN)], [np.full(3, NAN)])["p"] == 1


def test_folds_in_which_other_users_count() -> None:
    folds = [np.array([1.0, 0.0, NAN, NAN]), np.array([NAN, NAN, 0.5, NAN])]
    values = user_values(folds)
    assert np.isnan(values[3])
    assert np.nanmean(values) == pytest.approx((0.5 + 0.5) / 2)
    assert summarise(folds)["mean"] == pytest.approx(0.5)
    # Fold two has one user, so its value is no news; the spread is that of fold one.
    assert values[2] == pytest.approx(0.5)


def test_the_interval_of_folds_covers() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for at in range(200):
        folds = []
        for _ in range(4):
            values = (generator.random(400) < 0.3).astype(float)
            values[generator.random(400) < 0.7] = NAN
            folds.append(values)
        found = summarise(folds, seed=at, draws=300)
        assert found["low"] is not None
        assert found["high"] is not None
        covered += found["low"] <= 0.3 <= found["high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_p_agrees_with_scipy_and_with_sign_flips() -> None:
    generator = np.random.default_rng(2)
    ours, other = generator.random(80) * 0.5 + 0.06, generator.random(80) * 0.5
    ours[4] = other[4] = NAN
    found = against([ours], [other])
    kept = ~np.isnan(ours)
    theirs = scipy.stats.ttest_rel(ours[kept], other[kept])
    assert found["p"] == pytest.approx(theirs.pvalue)
    assert found["difference"] == pytest.approx((ours - other)[kept].mean())
    flips = scipy.stats.permutation_test(
        (ours[kept], other[kept]), lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples", n_resamples=4000, vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert found["p"] == pytest.approx(flips.pvalue, abs=0.02)


def test_seeds_are_averaged_before_the_test() -> None:
    generator = np.random.default_rng(2)
    ours = [generator.random(50) for _ in range(3)]
    other = generator.random(50)
    found = against(ours, [other])
    theirs = scipy.stats.ttest_rel(np.mean(ours, axis=0), other)
    assert found["p"] == pytest.approx(theirs.pvalue)
    assert found["low"] <= found["difference"] <= found["high"]


def test_the_p_value_is_even_where_nothing_differs() -> None:
    generator = np.random.default_rng(9)
    small = 0
    for _ in range(400):
        a, b = (generator.random((2, 100)) < 0.15).astype(float)
        small += against([a], [b], draws=1)["p"] < 0.05
    assert 0.02 <= small / 400 <= 0.08


def test_equal_models_do_not_differ() -> None:
    values = np.random.default_rng(0).random(30)
    assert against([values], [values]) == {"difference": 0, "low": 0, "high": 0, "p": 1}
    assert against([values + 1], [values * 0 + 1])["p"] < 1e-9
    assert against([np.ones(5)], [np.zeros(5)])["p"] == 0
    assert against([np.ones(1)], [np.zeros(1)])["p"] == 1


def test_other_users_are_refused() -> None:
    with pytest.raises(ShapeError, match="3 users against 2"):
        against([np.zeros(3)], [np.zeros(2)])
    with pytest.raises(ShapeError, match="1 users count in one"):
        against([np.array([0.0, NAN])], [np.zeros(2)])
    with pytest.raises(ShapeError, match="no seed"):
        summarise([])
    with pytest.raises(ShapeError, match=r"\[2, 3\] users"):
        summarise([np.zeros(2), np.zeros(3)])
    with pytest.raises(ConfigError, match="one draw"):
        summarise([np.zeros(2)], draws=0)


def test_holm_by_hand() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert list(found) == ["a", "b", "c", "d"]
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({}) == {}
    with pytest.raises(ConfigError, match="of x is 2"):
        holm({"x": 2.0})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=50)
def test_holm_lies_between_the_raw_one_and_bonferroni(p: list[float]) -> None:
    given = {str(at): value for at, value in enumerate(p)}
    found = holm(given)
    for name, value in given.items():
        assert value <= found[name] <= min(1.0, value * len(p)) + 1e-12
    order = sorted(given, key=lambda n: given[n])
    assert [found[n] for n in order] == sorted(found.values())


def test_many_users_take_little_time() -> None:
    values = np.random.default_rng(0).random(70_000)
    began = time.perf_counter()
    summarise([values], draws=200)
    summarise([(values < 0.1).astype(float)], draws=2000)
    assert time.perf_counter() - began < 3
