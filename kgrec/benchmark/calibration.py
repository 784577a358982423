"""From a model's scores of labelled pairs to the probability of a one, for every row alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.baselines import users_of_item
from kgrec.benchmark.pair_scoring import Mask, Values, auc
from kgrec.interactions import Interactions
from kgrec.vocabulary import Indices

FOLDS = 5
"""Of the validation part, where the calibration is judged on it."""
_FLOOR = 1e-3


def raw_and_log(score: Values) -> Values:
    """A score, and its logarithm from a floor up, (n, 2)."""
    return np.stack([score, np.log(np.maximum(score, 0) + _FLOOR)], axis=1)


def of_popularity(history: Interactions, item: Indices) -> Values:
    """What the ones to train on say of a pair whatever the model, (n, 1).

    The logarithm of the item's number of users, and no more: that an item or a user has no one in
    the training part tells that its ones were held out, which is an artefact of such sets.
    """
    return np.log1p(users_of_item(history)[item]).astype(np.float64)[:, None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic regression over standardised features and their squares."""

    mean: Values
    scale: Values
    square_mean: Values
    square_scale: Values
    model: Any

    @staticmethod
    def fit(features: Values, one: Mask) -> Calibration:
        """Fits it.

        Args:
            features: (n, n_features); one that never changes counts for nothing.
            one: Labels, (n,), both among them.
        """
        from sklearn.linear_model import LogisticRegression

        mean, scale = _moments(features)
        squares = ((features - mean) / scale) ** 2
        found = Calibration(
            mean, scale, *_moments(squares), LogisticRegression(C=1.0, max_iter=2000)
        )
        found.model.fit(found._expand(features), one)
        return found

    def probability(self, features: Values) -> Values:
        """Of a one, (n,)."""
        return np.asarray(self.model.predict_proba(self._expand(features))[:, 1], np.float64)

    def _expand(self, features: Values) -> Values:
        plain = (features - self.mean) / self.scale
        return np.concatenate([plain, (plain**2 - self.square_mean) / self.square_scale], axis=1)


def out_of_fold_auc(features: Values, one: Mask, seed: int = 0) -> float:
    """AUC of calibrated pairs that the calibration was not fitted on, all folds together."""
    fold = np.random.default_rng(seed).permutation(np.arange(len(one)) % FOLDS)
    found = np.empty(len(one))
    for at in range(FOLDS):
        inside = fold == at
        found[inside] = Calibration.fit(features[~inside], one[~inside]).probability(
            features[inside]
        )
    return auc(found, one)


def _moments(values: Values) -> tuple[Values, npt.NDArray[np.float64]]:
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)
