"""One row of a benchmark on labelled pairs: fitted on ones, calibrated on the validation part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kgrec.atomic import claim, replace_file
from kgrec.benchmark.calibration import (
    Calibration,
    of_popularity,
    out_of_fold_auc,
    raw_and_log,
)
from kgrec.benchmark.model import Scorer, Scores
from kgrec.benchmark.pair_scoring import Values
from kgrec.benchmark.pairs import VisiblePairs, read_pairs
from kgrec.benchmark.rows import (
    Job,
    Ledger,
    find_baselines,
    fit_ours,
    found_before,
    material_of,
    report_of,
)
from kgrec.benchmark.tuning import tune
from kgrec.benchmark.visible import Visible
from kgrec.interactions import Interactions
from kgrec.ranker import Ranker
from kgrec.vocabulary import Indices

_ALONE = "random"
"""Stands without the item's popularity: what chance gives."""
_SCORELESS = "popularity"
"""Has no score beside the popularity that every row is given."""
_CELLS = 20_000_000

Features = Callable[[Indices, Indices], Values]


def score_pairs(job: Job, seen: Visible, ledger: Ledger) -> dict[str, Any]:
    """Fits a row and writes `scores.parquet`: user_id, item_id, score (probability of a one).

    Args:
        job: What is asked for.
        seen: Ones to train on.
        ledger: Gets the seconds.

    Returns:
        What was done, as the record has it.
    """
    pairs = read_pairs(Path(job.pairs))
    if job.kind == "baseline":
        features, found = _fit_baseline(job, seen, pairs, ledger)
    else:
        features, found = _fit_ours(job, seen, pairs, ledger)
    validation = pairs.validation
    known = features(validation.user, validation.item)
    found["validation"] = out_of_fold_auc(known, validation.one)
    calibration = Calibration.fit(known, validation.one)
    ledger.stage("fit")
    score = calibration.probability(features(pairs.user, pairs.item))
    table = {
        "user_id": seen.shop.users.take(pairs.user),
        "item_id": seen.shop.items.take(pairs.item),
        "score": score,
    }
    path = Path(job.out) / job.file
    with claim(path), replace_file(path) as beside:
        pl.DataFrame(table).write_parquet(beside)
    return found


def components(ranker: Ranker, history: Interactions, user: Indices, item: Indices) -> Values:
    """The halves of our model's score apart, (n, 4).

    The cosine of user and item over the temperature, the item's bias, and what the user's items
    add through S, as it is and as a logarithm.
    """
    people, row = np.unique(user, return_inverse=True)
    query = ranker.user_vectors(history.select(people))
    offered = ranker.item_vectors
    cosine = np.einsum("ij,ij->i", query[row, :-1], offered[item, :-1])

    def sparse(some: Interactions) -> Scores:
        return np.asarray((ranker.rows(some) @ ranker.sparse).toarray(), np.float32)

    added = scores_of(sparse, history, user, item)
    return np.concatenate([np.stack([cosine, offered[item, -1]], 1), raw_and_log(added)], 1)


def scores_of(
    scores: Callable[[Interactions], Scores], history: Interactions, user: Indices, item: Indices
) -> Values:
    """The score of each pair, (n,), from what scores every item of some users.

    Args:
        scores: (n_users, n_items) of the users of a history.
        history: Rows of everybody.
        user: (n,).
        item: (n,).
    """
    people, row = np.unique(user, return_inverse=True)
    batch = max(1, _CELLS // history.n_items)
    found = np.empty(len(user))
    for begin in range(0, len(people), batch):
        inside = (row >= begin) & (row < begin + batch)
        table = scores(history.select(people[begin : begin + batch]))
        found[inside] = table[row[inside] - begin, item[inside]]
    return found


@dataclass(frozen=True, slots=True)
class PairJudge:
    """Judges a baseline by the calibrated validation pairs."""

    features: Callable[[Scorer], Features]
    pairs: VisiblePairs

    def value(self, scorer: Scorer) -> float:
        """AUC, out of fold."""
        validation = self.pairs.validation
        known = self.features(scorer)(validation.user, validation.item)
        return out_of_fold_auc(known, validation.one)


def _fit_ours(
    job: Job, seen: Visible, pairs: VisiblePairs, ledger: Ledger
) -> tuple[Features, dict[str, Any]]:
    def of(ranker: Ranker, history: Interactions) -> Features:
        def features(user: Indices, item: Indices) -> Values:
            given = of_popularity(history, item)
            return np.concatenate([components(ranker, history, user, item), given], 1)

        return features

    def criterion(ranker: Ranker, history: Interactions) -> float:
        known = of(ranker, history)(pairs.validation.user, pairs.validation.item)
        return out_of_fold_auc(known, pairs.validation.one)

    model = fit_ours(job, seen, ledger, criterion)
    return of(model.ranker, model.history), report_of(model)


def _fit_baseline(
    job: Job, seen: Visible, pairs: VisiblePairs, ledger: Ledger
) -> tuple[Features, dict[str, Any]]:
    baseline, material = find_baselines(job.catalogue)[job.name], material_of(job, seen)
    known = seen.parts.known

    def of(scorer: Scorer) -> Features:
        def features(user: Indices, item: Indices) -> Values:
            given = of_popularity(known, item)
            if job.name == _SCORELESS:
                return given
            own = raw_and_log(scores_of(scorer.scores, known, user, item))
            return own if job.name == _ALONE else np.concatenate([own, given], 1)

        return features

    ledger.stage("load")
    report = found_before(job) or tune(
        baseline, known, seen.parts.validation, material,
        trials=job.trials, metric="AUC", seconds=job.seconds / 2, judge=PairJudge(of, pairs),
    ).to_dict()  # fmt: skip
    ledger.stage("tune")
    scorer = baseline.fit(known, material, report["chosen"])
    ledger.stage("fit")
    return of(scorer), report
