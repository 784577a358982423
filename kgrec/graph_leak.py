"""Whether a relation knows the purchases that are held out.

A relation made from purchases (also_bought) may have been made from the very ones that a model is
later asked to predict. Without dates on its edges nobody can prove it either way; what can be
measured is how much more often the relation joins what a user has to what the user buys next than
it joins the same history to another purchase of like popularity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions

_SUSPECT_LIFT = 3.0
_PERMUTATIONS = 10
_MAX_PURCHASES = 50_000
_RECENT_ITEMS = 50
_SEED = 7


@dataclass(frozen=True, slots=True)
class Lift:
    """How often pairs are joined, against chance."""

    joined: float
    """Share of the held-out purchases that the relation joins to the history, 0..1."""
    chance: float
    """The same with purchases exchanged between users within like popularity, 0..1."""
    lift: float
    """joined / chance."""
    lift_low: float
    """Lower end of the 95% confidence interval of the lift."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One item-item relation against the held-out purchases."""

    relation: str
    last: Lift | None
    """Joined to the user's last item before; None where the data is in no order."""
    any: Lift
    """Joined to any of the user's last 50 items."""
    n_purchases: int
    may_leak: bool
    """What the schema says."""
    suspect: bool
    """The schema says so, or the lower bound of a lift is above 3."""


def last_of_each_user(interactions: Interactions) -> Interactions:
    """The last row to predict of every user with at least two rows."""
    rows = np.flatnonzero(interactions.is_target())
    user = interactions.user[rows]
    last = rows[np.append(user[1:] != user[:-1], True)] if len(rows) else rows
    several = np.diff(interactions.start)[interactions.user[last]] > 1
    mask = np.zeros(len(interactions), np.bool_)
    mask[last[several]] = True
    return interactions.where(mask)


def measure_leaks(
    graph: KnowledgeGraph, interactions: Interactions, held_out: Interactions
) -> tuple[Leak, ...]:
    """The lift of every relation between items.

    Args:
        graph: Whose relations with item on both sides are measured.
        interactions: All that is known; rows of the same user and item as a held-out one are left
            out of the histories.
        held_out: Purchases to predict; at most 50,000 are used, drawn with a fixed seed.
    """
    relations = [r for r in graph.relations if r.head == r.tail == "item" and len(r)]
    if not relations or not len(held_out):
        return ()
    generator = np.random.default_rng(_SEED)
    history = _without(interactions, held_out)
    user, target = _purchases(history, held_out, generator)
    if not len(user):
        return ()
    owner, item, is_last = _recent(history, user)
    popularity = np.bincount(history.item, minlength=history.n_items)
    draws = [_exchange(target, popularity[target], generator) for _ in range(_PERMUTATIONS)]
    found = []
    for relation in relations:
        keys = _pair_keys(relation.edges, graph.n_items)
        counts = np.array(
            [
                _count(keys, graph.n_items, owner, item, is_last, choice, len(user))
                for choice in (target, *draws)
            ]
        )  # (1 + permutations, 2)
        last, any_ = (_lift(counts[:, column], len(user)) for column in (0, 1))
        lifts = [last, any_] if history.ordered else [any_]
        suspect = relation.may_leak or max(lift.lift_low for lift in lifts) > _SUSPECT_LIFT
        found.append(
            Leak(
                relation=relation.name,
                last=last if history.ordered else None,
                any=any_,
                n_purchases=len(user),
                may_leak=relation.may_leak,
                suspect=suspect,
            )
        )
    return tuple(found)


def _without(interactions: Interactions, held_out: Interactions) -> Interactions:
    n = np.int64(interactions.n_items)
    keys = np.sort(held_out.user * n + held_out.item)
    return interactions.where(~_contains(keys, interactions.user * n + interactions.item))


def _purchases(
    history: Interactions, held_out: Interactions, generator: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """User and item of the held-out purchases whose user has a history, a sample if too many."""
    rows = np.flatnonzero(held_out.is_target())
    rows = rows[np.diff(history.start)[held_out.user[rows]] > 0]
    if len(rows) > _MAX_PURCHASES:
        rows = np.sort(generator.choice(rows, _MAX_PURCHASES, replace=False))
    return held_out.user[rows].astype(np.int64), held_out.item[rows].astype(np.int64)


def _recent(
    history: Interactions, user: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The last items of each user as rows: position in `user`, item, whether it is the last."""
    end = history.start[user + 1]
    length = np.minimum(end - history.start[user], _RECENT_ITEMS)
    owner = np.repeat(np.arange(len(user)), length)
    first = np.repeat(end - length, length)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    row = first + within
    return owner, history.item[row].astype(np.int64), row == end[owner] - 1


def _exchange(
    target: npt.NDArray[np.int64],
    popularity: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """The targets permuted among those whose popularity has the same power of two."""
    stratum = np.floor(np.log2(popularity + 1)).astype(np.int64)
    shuffled = np.lexsort((generator.random(len(target)), stratum))
    exchanged = np.empty_like(target)
    exchanged[np.argsort(stratum, kind="stable")] = target[shuffled]
    return exchanged


def _pair_keys(edges: npt.NDArray[np.int64], n_items: int) -> npt.NDArray[np.int64]:
    """Sorted keys of the joined pairs, either direction."""
    return np.unique(np.concatenate([edges[0] * n_items + edges[1], edges[1] * n_items + edges[0]]))


def _contains(keys: npt.NDArray[np.int64], asked: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each of `asked` is among the sorted `keys`, of which there is one at least."""
    order = np.argsort(asked)  # a search for sorted values stays in the cache
    at = np.minimum(np.searchsorted(keys, asked[order]), len(keys) - 1)
    found = np.empty(len(asked), np.bool_)
    found[order] = keys[at] == asked[order]
    return found


def _count(
    keys: npt.NDArray[np.int64],
    n_items: int,
    owner: npt.NDArray[np.int64],
    item: npt.NDArray[np.int64],
    is_last: npt.NDArray[np.bool_],
    target: npt.NDArray[np.int64],
    n_purchases: int,
) -> tuple[int, int]:
    """How many purchases are joined to the last item, and to any."""
    joined = _contains(keys, item * n_items + target[owner])
    any_ = np.bincount(owner[joined], minlength=n_purchases) > 0
    return int(joined[is_last].sum()), int(any_.sum())


def _lift(counts: npt.NDArray[np.int64], n: int) -> Lift:
    """Ratio of two Poisson counts with its log-normal 95% interval.

    Half a count is added to each side: the ratio stays finite where chance joined nothing, and is
    one where nothing was joined at all.
    """
    observed, by_chance = int(counts[0]), int(counts[1:].sum())
    draws = len(counts) - 1
    lift = (observed + 0.5) / (by_chance / draws + 0.5)
    spread = 1.96 * math.sqrt(1 / (observed + 0.5) + 1 / (by_chance + 0.5))
    return Lift(observed / n, by_chance / draws / n, lift, lift * math.exp(-spread))
