"""Rules that learn little or nothing: chance, bestsellers, one's own cart, what came next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.benchmark.model import Choice, Material, Range, Scores
from kgrec.benchmark.recipe import (
    Floats,
    LinearScorer,
    Options,
    Recipe,
    popularity_of,
    powers,
)
from kgrec.errors import KgrecError
from kgrec.history import largest, scale_rows, steps_back
from kgrec.interactions import Interactions


@dataclass(frozen=True, slots=True)
class RandomScorer:
    """score(u, i) = the fraction of a_i + the sum of c_j over u's history, a and c drawn once.

    So the items stand on one random circle, and what a user had says where on it their list
    starts: the same in any batch, unrelated to what they like.
    """

    place: npt.NDArray[np.float64]
    """a, (n_items,)."""
    turn: npt.NDArray[np.float64]
    """c, (n_items,)."""
    popularity: Floats

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        start = np.bincount(history.user, self.turn[history.item], minlength=history.n_users)
        scores = np.add.outer((start % 1).astype(np.float32), self.place.astype(np.float32))
        scores %= 1
        scores[np.diff(history.start) == 0] = self.popularity
        return scores


def _draw(history: Interactions, material: Material, _: Options) -> RandomScorer:
    place, turn = np.random.default_rng(material.seed).random((2, history.n_items))
    return RandomScorer(place, turn, popularity_of(history))


RANDOM = Recipe(
    name="random",
    source="a random order of the items, another start for each history",
    random=True,
    prepare=_draw,
    finish=lambda drawn, _: drawn,
)


@dataclass(frozen=True, slots=True)
class PopularityScorer:
    """score(u, i) = the share of users who have i by the behaviour to predict."""

    popularity: Floats

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        return np.tile(self.popularity, (history.n_users, 1))


POPULARITY = Recipe(
    name="popularity",
    source="number of users in the training data",
    prepare=lambda history, _, __: PopularityScorer(popularity_of(history)),
    finish=lambda counted, _: counted,
)


@dataclass(frozen=True, slots=True)
class OwnFirstScorer:
    """Items met by another behaviour come first, then popularity.

    Of a user's own items the one met by the heavier behaviour is ahead (carted before viewed);
    of those the newer, where order is known; of those the one of more worth. The first of these
    rules may be off.
    """

    popularity: Floats
    worth: Floats
    """Popularity, or the rate at which those who met an item bought it, (n_items,)."""
    by_behaviour: bool

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        scores = np.tile(self.popularity, (history.n_users, 1))
        met = ~history.is_target() & (history.weight > 0)
        user, item, weight = history.user[met], history.item[met], history.weight[met]
        if not self.by_behaviour:
            weight = np.ones_like(weight)
        newer = -steps_back(history)[met]
        order = np.lexsort((self.worth[item], newer, weight, user))
        user, item, weight, newer = user[order], item[order], weight[order], newer[order]
        keys = np.stack([user, weight, newer, self.worth[item]], dtype=np.float64)
        step = np.ones(len(user), np.float32)
        step[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)  # equal in all: a tie, not an order
        rank = np.cumsum(step, dtype=np.float64)
        first = np.searchsorted(user, user)
        place = (rank - rank[first] + 2).astype(np.float32)  # popularity is 1 at most
        np.maximum.at(scores, (user, item), place)
        return scores


def _no_other_behaviour(history: Interactions, _: Material) -> str | None:
    if (~history.is_target() & (history.weight > 0)).any():
        return None
    return "the data has one behaviour only, the one to predict"


def conversion(history: Interactions) -> Floats:
    """Of the users who met an item by another behaviour, the share that bought it, (n_items,).

    Each item has one more user who met it and bought with the probability of the average.
    """
    bought, met = (
        np.unique((history.user.astype(np.int64) * history.n_items + history.item)[rows])
        for rows in (history.is_target(), ~history.is_target() & (history.weight > 0))
    )
    both = np.bincount(np.intersect1d(bought, met) % history.n_items, minlength=history.n_items)
    n_met = np.bincount(met % history.n_items, minlength=history.n_items)
    rate: Floats = ((both + both.sum() / max(n_met.sum(), 1)) / (n_met + 1)).astype(np.float32)
    return rate


OWN_FIRST = Recipe(
    name="own first",
    source="rule: own carted or viewed items first, newest first, then popularity",
    options={
        "by_behaviour": Choice((True, False)),
        "by_worth": Choice(("popularity", "conversion")),
    },
    defaults={"by_behaviour": True, "by_worth": "popularity"},
    cheap=frozenset({"by_behaviour", "by_worth"}),
    prepare=lambda history, _, __: {
        "popularity": popularity_of(history),
        "conversion": conversion(history),
    },
    finish=lambda counted, options: OwnFirstScorer(
        counted["popularity"], counted[options["by_worth"]], options["by_behaviour"]
    ),
    reason=_no_other_behaviour,
)


def followers(history: Interactions, steps: int, decay: float) -> sp.csr_array:
    """How often item j, of the behaviour to predict, came within so many steps after item i.

    `kgrec.history.transitions` with more than the next step: one that is n steps on counts
    decay ** (n - 1). Items of one basket share a unit among their pairs.

    Args:
        history: What happened; nothing follows anything where the order is unknown.
        steps: How far to look ahead, >= 1.
        decay: In (0, 1].

    Returns:
        (n_items, n_items) float32.
    """
    counts = sp.csr_array((history.n_items,) * 2, dtype=np.float32)
    if not history.ordered:
        return counts
    kept = history.where(history.weight > 0)
    step = steps_back(kept)
    width = int(step.max(initial=0)) + 2
    key = kept.user.astype(np.int64) * width - step  # one more at each step, a gap between users
    moments, basket = np.unique(key, return_inverse=True)
    size = (len(moments), history.n_items)
    ones = np.ones(len(kept), np.float32)
    before = largest(basket, kept.item, ones, size)
    before = scale_rows(before, 1.0 / np.maximum(np.diff(before.indptr), 1))
    wanted = kept.is_target()
    after = largest(basket[wanted], kept.item[wanted], ones[wanted], size)
    for ahead in range(1, min(steps, len(moments) - 1) + 1):
        at = np.flatnonzero(moments[ahead:] - moments[:-ahead] == ahead)
        counts = counts + np.float32(decay ** (ahead - 1)) * (before[at].T @ after[at + ahead])
    return sp.csr_array(counts, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Counts:
    follows: sp.csr_array
    popularity: Floats
    users: Floats


def _count(history: Interactions, material: Material, options: Options) -> _Counts:
    if (reason := _orderless(history, material)) is not None:
        raise KgrecError(f"sequence transition cannot be fitted: {reason}; leave it out")
    follows = followers(history, options["steps"], options["step_decay"])
    return _Counts(follows, popularity_of(history), np.diff(follows.tocsc().indptr))


def _transition(counts: _Counts, options: Options) -> LinearScorer:
    out = np.asarray(counts.follows.sum(axis=1)).ravel()
    return LinearScorer(
        weights=scale_rows(counts.follows, 1 / (out + options["shrinkage"])),
        popularity=counts.popularity,
        decay=options["decay"],
        offered=powers(counts.users, options["output_power"]),
    )


def _orderless(history: Interactions, _: Material) -> str | None:
    return None if history.ordered else "the order of the interactions is unknown"


TRANSITION = Recipe(
    name="sequence transition",
    source="counts of what came next; Markov chains as in Rendle et al. 2010, unfactorised",
    options={
        "steps": Choice((1, 2, 3, 5, 10)),
        "step_decay": Range(0.2, 1.0),
        "shrinkage": Range(0.1, 100.0, log=True),
        "decay": Range(0.05, 1.0),
        "output_power": Range(0.0, 0.5),
    },
    defaults={"steps": 2, "step_decay": 0.7, "shrinkage": 3.0, "decay": 0.5, "output_power": 0.0},
    cheap=frozenset({"shrinkage", "decay", "output_power"}),
    prepare=_count,
    finish=_transition,
    reason=_orderless,
)
