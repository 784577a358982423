"""What holds for every baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmark_material import BUYERS, N_ITEMS, N_USERS, material, shop_rows

from kgrec.baselines import users_of_item
from kgrec.benchmark.catalogue import BASELINES, applies, baseline
from kgrec.benchmark.model import Baseline, Choice, Scorer, lists
from kgrec.benchmark.recipe import Recipe
from kgrec.errors import ConfigError
from kgrec.interactions import Interactions

QUICK: dict[str, dict[str, Any]] = {
    "iALS": {"factors": 32, "iterations": 5},
    "LightGCN": {"size": 32, "epochs": 10, "layers": 2},
    "EASE + graph rows": {"attribute_weight": 0.7, "relation_weight": 1.5},
}
ROWS = shop_rows()
_FITTED: dict[str, Scorer] = {}


def fitted(recipe: Recipe) -> Scorer:
    if recipe.name not in _FITTED:
        _FITTED[recipe.name] = recipe.fit(ROWS, material(), QUICK.get(recipe.name, {}))
    return _FITTED[recipe.name]


every = pytest.mark.parametrize("recipe", BASELINES.values(), ids=list(BASELINES))


def renumbered(rows: Interactions, order: np.ndarray[Any, Any]) -> Interactions:
    return replace(rows, item=order[rows.item].astype(np.int32))


def test_the_table_has_these_baselines_in_this_order() -> None:
    assert list(BASELINES) == [
        "random", "popularity", "own first", "sequence transition", "text neighbours", "item-kNN",
        "iALS", "LightGCN", "sparse ridge", "behaviour ridges", "EASE", "EASE + graph rows",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="did you mean 'EASE'"):
        baseline("EASEL")


@every
def test_scores_have_a_row_a_user_and_are_finite(recipe: Recipe) -> None:
    model: Baseline = recipe
    scores = fitted(model).scores(ROWS)  # type: ignore[arg-type]
    assert scores.shape == (N_USERS, N_ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores.flags.writeable
    assert model.source


@every
def test_a_user_without_history_gets_popularity(recipe: Recipe) -> None:
    scores = fitted(recipe).scores(ROWS)[BUYERS:]
    popular = users_of_item(ROWS)
    for row in scores:
        np.testing.assert_array_equal(
            np.sign(np.subtract.outer(row, row)), np.sign(np.subtract.outer(popular, popular))
        )


@every
def test_one_batch_equals_many_and_nothing_is_remembered(recipe: Recipe) -> None:
    model = fitted(recipe)
    whole = model.scores(ROWS)
    users = np.array([31, 3, 36, 3])
    np.testing.assert_allclose(model.scores(ROWS.select(users)), whole[users], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.scores(ROWS), whole)


@every
def test_someone_who_was_not_fitted_is_scored(recipe: Recipe) -> None:
    new = Interactions.of(
        [0, 0, 2], [1, 5, 9], n_users=3, n_items=N_ITEMS, behaviour=[1, 1, 0], time=[1, 2, 3],
        behaviours=ROWS.behaviours, target=1,
    )  # fmt: skip
    model = fitted(recipe)
    scores = model.scores(new)
    assert scores.shape == (3, N_ITEMS)
    assert np.isfinite(scores).all()
    for top in lists(model, new, np.arange(3), 5):
        assert top.items.shape == (3, 5)
        assert not np.isin(top.items[0], [1, 5]).any()
    assert model.scores(new.select([])).shape == (0, N_ITEMS)


@every
def test_the_same_seed_gives_the_same_scores_and_another_seed_does_not(recipe: Recipe) -> None:
    options = QUICK.get(recipe.name, {})
    scores = fitted(recipe).scores(ROWS)
    np.testing.assert_array_equal(recipe.fit(ROWS, material(), options).scores(ROWS), scores)
    other = recipe.fit(ROWS, material(seed=8), options).scores(ROWS)
    assert bool((other != scores).any()) == recipe.random


@every
def test_permuting_items_leaves_scores_alone(recipe: Recipe) -> None:
    if recipe.random:
        pytest.skip("it draws something for each item")
    order = np.random.default_rng(1).permutation(N_ITEMS)
    options = QUICK.get(recipe.name, {})
    moved = renumbered(ROWS, order)
    scores = recipe.fit(moved, material(order=order), options).scores(moved)
    np.testing.assert_allclose(scores[:, order], fitted(recipe).scores(ROWS), rtol=1e-3, atol=1e-5)


@every
def test_finishing_leaves_what_was_prepared_as_it_is(recipe: Recipe) -> None:
    options = recipe.settle(QUICK.get(recipe.name, {}))
    prepared = recipe.prepare(ROWS, material(), options)
    before = recipe.finish(prepared, options).scores(ROWS)
    for name in recipe.cheap:
        kind = recipe.options[name]
        value = kind.values[0] if isinstance(kind, Choice) else kind.high
        changed = options | {name: value}
        np.testing.assert_array_equal(
            recipe.finish(prepared, changed).scores(ROWS),
            recipe.fit(ROWS, material(), changed).scores(ROWS),
        )
    np.testing.assert_array_equal(recipe.finish(prepared, options).scores(ROWS), before)


@every
def test_options_out_of_range_are_refused_by_name(recipe: Recipe) -> None:
    assert set(recipe.defaults) == set(recipe.options) >= recipe.cheap
    recipe.settle(recipe.defaults)
    for name, kind in recipe.options.items():
        wrong = [-1, "much"] if isinstance(kind, Choice) else [kind.low - 1, kind.high + 1, "much"]
        for value in wrong:
            with pytest.raises(ConfigError, match=rf"{name} is .* it must be"):
                recipe.fit(ROWS, material(), {name: value})
    with pytest.raises(ConfigError, match="has no option 'colour'"):
        recipe.fit(ROWS, material(), {"colour": 1})


@every
def test_the_space_leaves_out_what_changes_nothing(recipe: Recipe) -> None:
    orderless = replace(ROWS, time_kind="none")
    assert set(recipe.space(ROWS, material())) == set(recipe.options)
    left = set(recipe.space(orderless, material()))
    if recipe.name == "sequence transition":
        return
    options = recipe.settle(QUICK.get(recipe.name, {}))
    prepared = recipe.prepare(orderless, material(), options)
    scores = recipe.finish(prepared, options).scores(orderless)
    for name in (set(recipe.options) - left) & recipe.cheap - {"last"}:
        low = recipe.options[name].low  # type: ignore[union-attr]
        changed = recipe.finish(prepared, options | {name: low}).scores(orderless)
        np.testing.assert_allclose(changed, scores, rtol=1e-5)


def test_a_baseline_says_why_it_has_no_place_on_data_that_lacks_what_it_needs() -> None:
    full = material()
    assert all(applies(name, ROWS, full) is None for name in BASELINES)
    bare = replace(full, text=None, graph=full.graph.without(("in_group", "like")))
    plain = replace(ROWS, time_kind="none").where(ROWS.is_target())
    why = {name: applies(name, plain, bare) for name in BASELINES}
    assert {name for name, reason in why.items() if reason} == {
        "own first", "sequence transition", "text neighbours", "behaviour ridges",
        "EASE + graph rows",
    }  # fmt: skip
    for name in ("sequence transition", "text neighbours", "behaviour ridges"):
        with pytest.raises(Exception, match="cannot be fitted"):
            BASELINES[name].fit(plain, bare, {})
