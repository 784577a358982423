"""The search: its first trial, its limits, what it remembers and what it survives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmark_material import material, shop_rows

from kgrec.baselines import seen_items
from kgrec.benchmark.catalogue import BASELINES
from kgrec.benchmark.model import Choice, Material, Range, lists
from kgrec.benchmark.recipe import Recipe
from kgrec.benchmark.tuning import Judge, tune
from kgrec.errors import ConfigError, KgrecError
from kgrec.interactions import Interactions
from kgrec.metrics import evaluate_lists, mean_metrics
from kgrec.split import SplitConfig, split
from kgrec.validation import unseen

ROWS = shop_rows()
LAST = ROWS.start[1:36] - 1
HELD = np.isin(np.arange(len(ROWS)), LAST)
TRAIN, VALID = ROWS.where(~HELD), replace(ROWS.where(HELD), behaviour=np.ones(35, np.uint8))
KNN = BASELINES["item-kNN"]


def test_the_first_trial_is_the_defaults_and_the_best_of_all_is_kept() -> None:
    tuned = tune(KNN, TRAIN, VALID, material(), trials=12, seconds=60)
    assert tuned.tried[0].options == KNN.defaults
    assert len(tuned.tried) == tuned.trials_asked == 12
    assert tuned.value == max(trial.value or 0 for trial in tuned.tried)
    scorer = KNN.fit(TRAIN, material(), tuned.options)
    assert Judge.of(TRAIN, VALID, "nDCG@10", 100, 7).value(scorer) == pytest.approx(tuned.value)
    assert tuned.space_dict()["decay"] == {"low": 0.2, "high": 1.0, "log": False, "whole": False}
    assert tuned.space_dict()["neighbours"][0] == 20


def test_the_same_seed_tries_the_same() -> None:
    first, again, other = (
        [t.options for t in tune(KNN, TRAIN, VALID, material(), trials=5, seconds=60, seed=s).tried]
        for s in (1, 1, 2)
    )
    assert first == again != other


def test_time_that_is_up_ends_after_the_trial_that_runs() -> None:
    tuned = tune(KNN, TRAIN, VALID, material(), trials=50, seconds=0.0)
    assert len(tuned.tried) == 1
    assert tuned.trials_asked == 50


def test_a_model_without_options_is_tried_once() -> None:
    tuned = tune(BASELINES["popularity"], TRAIN, VALID, material(), trials=50, seconds=60)
    assert (len(tuned.tried), dict(tuned.space), dict(tuned.options)) == (1, {}, {})
    assert 0 < tuned.value < 1


def test_the_metric_is_that_of_the_lists_where_nothing_ties() -> None:
    scorer = BASELINES["random"].fit(TRAIN, material(), {})
    judge = Judge.of(TRAIN, VALID, "nDCG@5", 100, 7)
    (top,) = lists(scorer, judge.history, np.arange(judge.history.n_users), 5)
    values = evaluate_lists(top.items, judge.truth, (5,))
    assert judge.value(scorer) == pytest.approx(mean_metrics(values)["nDCG@5"])


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = BASELINES["popularity"].fit(TRAIN, material(), {})
    judge = Judge.of(TRAIN, VALID, "nDCG@10", 100, 7)
    whole = judge.value(scorer)
    monkeypatch.setattr("kgrec.benchmark.tuning._CELLS", 3 * TRAIN.n_items)
    assert judge.value(scorer) == pytest.approx(whole)
    few = Judge.of(TRAIN, VALID, "nDCG@10", 9, 7)
    assert few.history.n_users == 9


def counting(fitted: list[int], fail: Any = None) -> Recipe:
    """Item-kNN whose costly step counts itself, and fails when asked to."""

    def prepare(history: Interactions, given: Material, options: Any) -> Any:
        fitted.append(options["neighbours"])
        if fail is not None and (len(fitted) > 1 or fail[1]):
            raise fail[0]
        return KNN.prepare(history, given, options)

    return replace(KNN, prepare=prepare)


def test_options_that_only_act_at_scoring_fit_once() -> None:
    fitted: list[int] = []
    recipe = counting(fitted)
    only = replace(recipe, unused=lambda *_: set(KNN.options) - {"decay"})
    tuned = tune(only, TRAIN, VALID, material(), trials=6, seconds=60)
    assert len(fitted) == 1
    assert len({trial.options["decay"] for trial in tuned.tried}) == 6


def test_every_second_trial_needs_no_new_fit() -> None:
    fitted: list[int] = []
    tuned = tune(counting(fitted), TRAIN, VALID, material(), trials=9, seconds=60)
    assert len(fitted) == 5
    for fit, cheap in zip(tuned.tried[:-1:2], tuned.tried[1::2], strict=True):
        assert {k for k in fit.options if fit.options[k] != cheap.options[k]} == {"decay"}


def test_what_was_tried_is_not_tried_again() -> None:
    fitted: list[int] = []
    only = replace(counting(fitted), unused=lambda *_: set(KNN.options) - {"neighbours"})
    tuned = tune(only, TRAIN, VALID, material(), trials=30, seconds=60)
    assert len(tuned.tried) == 30
    assert len(fitted) == len(set(fitted)) <= 6


@pytest.mark.parametrize("error", [MemoryError(), KgrecError("too ill-conditioned")])
def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(error: Exception) -> None:
    tuned = tune(counting([], (error, False)), TRAIN, VALID, material(), trials=4, seconds=60)
    assert tuned.tried[0].value is not None
    failed = [trial.to_dict() for trial in tuned.tried if trial.value is None]
    assert failed
    assert failed[0]["failure"] == (str(error) or "out of memory")
    with pytest.raises(KgrecError, match="item-kNN: every trial failed; the first: "):
        tune(counting([], (error, True)), TRAIN, VALID, material(), trials=3, seconds=60)


def test_a_fault_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        tune(
            counting([], (ZeroDivisionError(), True)), TRAIN, VALID, material(), trials=2, seconds=9
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"metric": "recall@10"}, "such as nDCG@10, not 'recall@10'"),
        ({"metric": "nDCG@0"}, "nDCG@0"),
        ({"validation": VALID.where(np.zeros(len(VALID), np.bool_))}, "hold more out"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    options = {"trials": 2, "seconds": 9.0, "validation": VALID} | changes
    with pytest.raises(ConfigError, match=message):
        tune(KNN, TRAIN, material=material(), **options)


def test_every_kind_of_option_is_drawn_from_its_range() -> None:
    seen: list[dict[str, Any]] = []

    def prepare(history: Interactions, given: Material, options: Any) -> Any:
        seen.append(dict(options))
        return BASELINES["popularity"].prepare(history, given, options)

    recipe = Recipe(
        name="x", source="", prepare=prepare, finish=lambda made, _: made,
        options={
            "n": Range(2, 9, whole=True), "c": Choice(("a", "b")), "f": Range(1, 99, log=True)
        },
        defaults={"n": 4, "c": "b", "f": 10.0},
    )  # fmt: skip
    tune(recipe, TRAIN, VALID, material(), trials=15, seconds=60)
    assert seen[0] == {"n": 4, "c": "b", "f": 10.0}
    assert {type(options["n"]) for options in seen} == {int}
    assert {options["c"] for options in seen} == {"a", "b"}


def test_a_real_split_goes_through() -> None:
    rows = ROWS.where(ROWS.is_target())

    class Shop:
        interactions, test, validation = rows, None, None

    parts = split(Shop(), SplitConfig())  # type: ignore[arg-type]
    assert unseen(parts.validation, parts.train).nnz
    assert seen_items(parts.train).nnz
    tuned = tune(BASELINES["EASE"], parts.train, parts.validation, material(), trials=3, seconds=9)
    assert tuned.value > 0
