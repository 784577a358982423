"""AUC, F1 and accuracy of scored pairs, and how much of each is every user's doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.benchmark.scoring import Scored, file_hash
from kgrec.errors import DataError
from kgrec.interactions import Interactions
from kgrec.vocabulary import Indices, Vocabulary

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

THRESHOLD = 0.5
"""Probability from which a pair is called a one, for F1 and accuracy."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pairs of a user and an item with their labels."""

    user: Indices
    """(n,)."""
    item: Indices
    """(n,)."""
    one: Mask
    """Whether the label is 1, (n,)."""

    @staticmethod
    def of(rows: Interactions, at: Indices) -> Labelled:
        """Some rows, those of the behaviour to predict as ones.

        Args:
            rows: Labelled pairs.
            at: Which of them, in this order, (n,).
        """
        user, item = rows.user[at].astype(np.int64), rows.item[at].astype(np.int64)
        return Labelled(user, item, rows.is_target()[at])

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, slots=True)
class PairRule:
    """What scored pairs are measured against."""

    pairs: Labelled
    groups: Mapping[str, Mask]
    """Pairs that are measured apart, each (n,)."""

    def score(self, path: Path, users: Vocabulary, items: Vocabulary) -> Scored:
        """Measures a file of scores.

        Returns:
            Metrics whose mean over the users that have pairs is the metric of all pairs.

        Raises:
            DataError: The file cannot be read, or does not score these pairs and no others.
        """
        pairs, score = self.pairs, read_scores(path, self.pairs, users, items)
        owner = np.unique(pairs.user, return_inverse=True)[1]
        per_user = influences(score, pairs.one, owner)
        groups = {}
        for name, mask in self.groups.items():
            one = pairs.one[mask]
            if one.any() and not one.all():
                n = len(np.unique(pairs.user[mask]))
                groups[name] = n, metrics(score[mask], one)
        return Scored(per_user, {}, groups, file_hash(path))


def metrics(score: Values, one: Mask) -> dict[str, float]:
    """AUC (equal scores count half), F1 and accuracy of pairs, both labels among them.

    Args:
        score: Probability of a one, (n,).
        one: Whether it is one, (n,).
    """
    found = influences(score, one, np.zeros(len(one), np.int64))
    return {name: float(values[0]) for name, values in found.items()}


def auc(score: Values, one: Mask) -> float:
    """The chance that a one is scored above a zero, equal scores counting half."""
    return float(_placements(score, one)[one].mean())


def influences(score: Values, one: Mask, owner: Indices) -> dict[str, Values]:
    """Each metric split over owners so that the mean over them is the metric of all pairs.

    For AUC an owner's part is the AUC plus n_owners times the sum of what its pairs add to or take
    from it (structural components over the number of ones or zeros); the standard error of the
    mean over owners is then that of Obuchowski 1997 for clustered pairs, and the paired difference
    of two models is tested as in DeLong, DeLong & Clarke-Pearson 1988. F1 and accuracy are ratios
    of sums, and an owner's part is the ratio plus its linear term.

    Args:
        score: Probability of a one, (n,).
        one: Whether it is one, (n,); both labels.
        owner: 0..n_owners - 1, each with a pair at least, (n,).

    Returns:
        By metric (n_owners,).
    """
    n_owners = int(owner.max()) + 1

    def of_owner(values: npt.NDArray[np.generic]) -> Values:
        return np.asarray(np.bincount(owner, values.astype(np.float64), n_owners))

    place = _placements(score, one)
    whole = float(place[one].mean())
    part = (place - whole) / np.where(one, one.sum(), (~one).sum())
    said = score >= THRESHOLD
    hits, wrong, every = of_owner(said & one), of_owner(said != one), np.bincount(owner)
    return {
        "AUC": whole + n_owners * of_owner(part),
        "F1": _ratio(2 * hits, 2 * hits + wrong),
        "accuracy": _ratio(every - wrong, every.astype(np.float64)),
    }


def read_scores(path: Path, pairs: Labelled, users: Vocabulary, items: Vocabulary) -> Values:
    """The score of each pair out of a file with user_id, item_id and score, (n,).

    Raises:
        DataError: The file cannot be read, or does not score these pairs and no others.
    """
    try:
        table = pl.read_parquet(path, columns=["user_id", "item_id", "score"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read as scores: {error}") from None
    user, item = users.find(table["user_id"]), items.find(table["item_id"])
    score = table["score"].to_numpy().astype(np.float64)
    found, asked = user * len(items) + item, pairs.user * len(items) + pairs.item
    order, wanted = np.argsort(found, kind="stable"), np.argsort(asked, kind="stable")
    known = not len(user) or min(user.min(), item.min()) >= 0
    if not known or not np.array_equal(found[order], asked[wanted]):
        raise DataError(f"{path} does not score each of the {len(pairs):,} test pairs once")
    if not np.isfinite(score).all():
        raise DataError(f"{path} holds scores that are no numbers")
    values = np.empty(len(pairs))
    values[wanted] = score[order]
    return values


def _placements(score: Values, one: Mask) -> Values:
    """For a one the share of zeros scored below it, for a zero that of ones above it, (n,)."""
    from scipy.stats import rankdata

    place = rankdata(score)
    place[one] = (place[one] - rankdata(score[one])) / (~one).sum()
    place[~one] = 1 - (place[~one] - rankdata(score[~one])) / one.sum()
    return np.asarray(place, np.float64)


def _ratio(above: Values, below: Values) -> Values:
    """Parts of sum(above) / sum(below) whose mean it is; zeros where nothing is below."""
    total = float(below.sum())
    if not total:
        return np.zeros(len(below))
    whole = float(above.sum()) / total
    return whole + len(below) * (above - whole * below) / total
