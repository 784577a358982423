"""Metrics of saved lists: equal scores share their middle rank; by user, by group, by catalogue.

A list is as long as a tie needs: with 2k items or more, a block of equal scores that reaches the
end of the list has a middle rank past k, so that a model which scores everything alike is given
nothing. Where no scores are equal, the figures are those of `kgrec.metrics`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from kgrec.baselines import users_of_item
from kgrec.benchmark.suite import COLD, WARM
from kgrec.errors import DataError
from kgrec.evaluate import activity_groups
from kgrec.interactions import Interactions
from kgrec.metrics import PerUser, check_depths, coverage, exposure, find_hits, novelty
from kgrec.topk import TopK
from kgrec.vocabulary import Indices, Vocabulary

Mask = npt.NDArray[np.bool_]

HEAD_SHARE = 0.2
"""Of the items that anybody has, the most popular fifth are the head, the others the tail."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some users, or what all users are to get of some items."""

    name: str
    users: Mask
    """Who counts, (n,)."""
    items: Mask
    """Which held-out items count, (n_items,)."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What one set of lists is worth."""

    per_user: PerUser
    """Accuracy of each test user, (n,); NaN for one who does not count."""
    catalogue: Mapping[str, float]
    """Coverage and novelty at each k."""
    groups: Mapping[str, tuple[int, dict[str, float]]]
    """Users who count and mean accuracy, by group."""
    sha256: str
    """Of the file of lists."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What lists are scored against, and how."""

    users: Indices
    """Users that are tested, (n,)."""
    truth: sparse.csr_array
    """What each of them is to get, (n, n_items)."""
    ks: tuple[int, ...]
    groups: tuple[Group, ...]
    users_of_item: npt.NDArray[np.int64]
    n_known_users: int
    apart: Mapping[str, Mask]
    """Kinds of item whose metrics stand apart, by what their names end in; one, "", is usual."""

    def score(self, path: Path, users: Vocabulary, items: Vocabulary) -> Scored:
        """Scores a file of lists.

        Raises:
            DataError: The file is no list, or names somebody or something unknown.
        """
        top = read_lists(path, self.users, users, items)
        hit, rank = find_hits(top.items, self.truth)[0], middle_ranks(top.scores)
        per_user: PerUser = {}
        for end, wanted in self.apart.items():
            found = self._accuracy(hit, rank, top.items, wanted)
            per_user |= {name + end: values for name, values in found.items()}
        groups = {}
        for group in self.groups:
            found = self._accuracy(hit, rank, top.items, group.items)
            found = {name: values[group.users] for name, values in found.items()}
            n = int((~np.isnan(next(iter(found.values())))).sum())
            if n:
                groups[group.name] = n, {name: float(np.nanmean(v)) for name, v in found.items()}
        return Scored(per_user, self._catalogue(top.items), groups, file_hash(path))

    def _accuracy(
        self, hit: Mask, rank: npt.NDArray[np.float64], top: npt.NDArray[np.int32], wanted: Mask
    ) -> PerUser:
        of_kind = wanted[self.truth.indices] & (self.truth.data != 0)
        counted = np.concatenate([[0], np.cumsum(of_kind)])
        n_truth = counted[self.truth.indptr[1:]] - counted[self.truth.indptr[:-1]]
        return accuracy(hit & wanted[top], rank, n_truth, self.ks)

    def _catalogue(self, top: npt.NDArray[np.int32]) -> dict[str, float]:
        found = {}
        for k in self.ks:
            shown = exposure(top, self.truth.shape[1], k)
            found[f"coverage@{k}"] = coverage(shown)
            found[f"novelty@{k}"] = novelty(shown, self.users_of_item, self.n_known_users)
        return found


def rule_of(
    known: Interactions,
    truth: sparse.csr_array,
    users: Indices,
    ks: Sequence[int],
    cold_items: Indices | None = None,
) -> Rule:
    """What lists are scored against, with the usual groups.

    Args:
        known: Training and validation together.
        truth: What each test user is to get, (n, n_items).
        users: The test users, (n,).
        ks: Depths.
        cold_items: Items kept out of `known` on purpose, whose metrics then stand apart from the
            others'; None where the suite keeps none out.
    """
    degree = users_of_item(known)
    everybody, everything = np.ones(len(users), np.bool_), np.ones(known.n_items, np.bool_)
    lengths = np.diff(known.start)[users]
    groups = [
        Group(f"users: {name}", mask, everything) for name, mask in activity_groups(lengths).items()
    ]
    groups += [Group(f"items: {n}", everybody, m) for n, m in popularity_groups(degree).items()]
    apart = {"": everything}
    if cold_items is not None:
        cold = np.zeros(known.n_items, np.bool_)
        cold[cold_items] = True
        apart = {COLD: cold, WARM: ~cold}
    n_known = int((np.diff(known.start) > 0).sum())
    return Rule(users, truth, tuple(ks), tuple(groups), degree, n_known, apart)


def popularity_groups(degree: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """Items by the number of users who have them: head, tail, and cold ones whom nobody has.

    Args:
        degree: Users of each item, (n_items,).
    """
    order = np.lexsort((np.arange(len(degree)), -degree))
    head = np.zeros(len(degree), np.bool_)
    head[order[: int(np.ceil(HEAD_SHARE * np.count_nonzero(degree)))]] = True
    return {"head": head, "tail": ~head & (degree > 0), "cold": degree == 0}


def accuracy(
    hit: Mask,
    rank: npt.NDArray[np.float64],
    n_truth: npt.NDArray[np.int64],
    ks: Sequence[int],
) -> PerUser:
    """Accuracy of each list from the (middle) ranks of its hits.

    Args:
        hit: Whether each place holds a held-out item, (n, length).
        rank: The rank of each place, from 1, halves allowed, (n, length).
        n_truth: Held-out items of each user, (n,); NaN results where it is 0.
        ks: Depths.
    """
    size = np.where(n_truth > 0, n_truth, np.nan)
    ideal = np.cumsum(1 / np.log2(np.arange(1, max(ks) + 1) + 1))
    gain = 1 / np.log2(rank + 1)
    nth = np.cumsum(hit, axis=1)
    found: PerUser = {}
    for k in ks:
        # A tie whose middle is within k may hold more hits than k places do.
        counted = hit & (rank <= k) & (nth <= k)
        at = counted.sum(axis=1)
        first = np.where(counted, rank, np.inf).min(axis=1, initial=np.inf)
        found[f"recall@{k}"] = at / size
        found[f"precision@{k}"] = at / k + 0 * size
        found[f"hit_rate@{k}"] = (at > 0) + 0 * size
        found[f"nDCG@{k}"] = (gain * counted).sum(1) / ideal[np.clip(n_truth, 1, k) - 1] + 0 * size
        found[f"MRR@{k}"] = 1 / first + 0 * size
    return found


def middle_ranks(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The rank of each place, equal scores sharing (first + last of them) / 2; (n, length).

    Args:
        scores: Non-increasing along a row, (n, length).
    """
    n, length = scores.shape
    begins = np.ones((n, length), np.bool_)
    begins[:, 1:] = scores[:, 1:] != scores[:, :-1]
    ends = np.ones((n, length), np.bool_)
    ends[:, :-1] = begins[:, 1:]
    place = np.broadcast_to(np.arange(1, length + 1), (n, length))
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, length + 1)[:, ::-1], axis=1)[:, ::-1]
    return (first + last) / 2


def read_lists(path: Path, asked: Indices, users: Vocabulary, items: Vocabulary) -> TopK:
    """The lists of some users out of a file of lists, by falling score.

    Args:
        path: Parquet with user_id, item_id, score and rank.
        asked: Whose, (n,).
        users: Everybody.
        items: The catalogue.

    Raises:
        DataError: The file cannot be read, or a user has no list, or an id is unknown.
    """
    try:
        table = pl.read_parquet(path, columns=["user_id", "item_id", "score", "rank"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read as lists: {error}") from None
    user, item = users.find(table["user_id"]), items.find(table["item_id"])
    if len(user) and min(user.min(), item.min()) < 0:
        raise DataError(f"{path} names users or items that the data does not have")
    row = np.full(len(users), -1, np.int64)
    row[asked] = np.arange(len(asked))
    row = row[user]
    score = table["score"].to_numpy().astype(np.float32)
    if not np.isfinite(score).all():
        raise DataError(f"{path} holds scores that are no numbers")
    # Ranks order equal scores only: a file cannot claim a place that its scores do not give.
    order = np.lexsort((table["rank"].to_numpy(), -score, row))
    order = order[row[order] >= 0]
    row = row[order]
    begin = np.searchsorted(row, np.arange(len(asked) + 1))
    length = np.diff(begin)
    if len(length) and not length.min():
        raise DataError(f"{path} has no list for {int((length == 0).sum()):,} of the test users")
    place = np.arange(len(row)) - begin[row]
    top = TopK(
        np.full((len(asked), int(length.max(initial=1))), -1, np.int32),
        np.full((len(asked), int(length.max(initial=1))), -np.inf, np.float32),
    )
    top.items[row, place], top.scores[row, place] = item[order], score[order]
    check_depths((1,), top.items.shape[1])
    return top


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
