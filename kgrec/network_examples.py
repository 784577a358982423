"""Training examples: each user's history with a part hidden, to be predicted from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csr_array

from kgrec.history import steps_back
from kgrec.interactions import Interactions
from kgrec.network import NetworkConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


_MOST, _LEAST = 24, 8
"""Steps in a pass: where each goes over the whole graph, whatever its batch, a large shop's batches
grow up to four times to keep to the first; a small shop's shrink to keep to the second."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some users, what is known of each, and what is to be predicted."""

    known: csr_array
    """Weights of the part that is not hidden, (n_users, n_items) float32."""
    target_user: Ints
    """Row of `known` for each hidden item, (n_targets,)."""
    target_item: Ints
    target_weight: Floats
    """Sums to 1, (n_targets,)."""
    own_user: Ints
    """Row and item of everything a user has, hidden or not, (n_rows,)."""
    own_item: Ints


class Examples:
    """Distinct items of each user by last occurrence, ready to be cut into batches.

    Args:
        interactions: What is trained on.
        config: How much is hidden and how fast a history fades.
    """

    def __init__(self, interactions: Interactions, config: NetworkConfig) -> None:
        self.config = config
        self.n_items, self.ordered = interactions.n_items, interactions.ordered
        found = _distinct(
            interactions.start,
            interactions.item,
            interactions.weight,
            steps_back(interactions),
            interactions.is_target(),
            config.max_history,
        )
        self.start: Ints = found[0]
        self.item: npt.NDArray[np.int32] = found[1][: self.start[-1]].copy()
        self.weight: Floats = found[2][: self.start[-1]].copy()
        self.back: npt.NDArray[np.int32] = found[3][: self.start[-1]].copy()
        """Moments of the same user after the pair's last one."""
        self.wanted: Mask = found[4][: self.start[-1]].copy()
        """Whether a pair is of the behaviour to predict."""
        self.users: Ints = np.flatnonzero((np.diff(self.start) >= 2) & found[5])
        """Users an example can be made of: two distinct items or more, one of them a target."""

    def popularity(self) -> Ints:
        """How many users have each item, (n_items,)."""
        return np.bincount(self.item, minlength=self.n_items)

    def history(self, users: Ints | None = None) -> csr_array:
        """Whole histories as the network weighs them, (n, n_items) float32; of everyone if None."""
        users = np.arange(len(self.start) - 1) if users is None else users
        rows, owner = self._rows(users)
        return self._known(rows, owner, len(users))

    def n_batches(self) -> int:
        """Batches in one pass."""
        n, batch = len(self.users), self.config.batch_size
        most = batch if self.config.visits_some(self.n_items) else 4 * batch
        size = min(max(batch, -(-n // _MOST)), most, max(-(-n // _LEAST), 1))
        return -(-n // size)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Every user of `users` once, in random order, with another part hidden each time."""
        for users in np.array_split(generator.permutation(self.users), self.n_batches()):
            yield self._batch(users, generator)

    def _batch(self, users: Ints, generator: np.random.Generator) -> Batch:
        rows, owner = self._rows(users)
        hidden = self._hide(rows, owner, generator)
        target = hidden & self.wanted[rows]
        per_user = np.bincount(owner[target], minlength=len(users))
        # a user with many hidden items counts for more, but not in proportion
        share = 1 / np.sqrt(per_user[owner[target]])
        return Batch(
            known=self._known(rows[~hidden], owner[~hidden], len(users)),
            target_user=owner[target],
            target_item=self.item[rows[target]].astype(np.int64),
            target_weight=(share / share.sum()).astype(np.float32),
            own_user=owner,
            own_item=self.item[rows].astype(np.int64),
        )

    def _hide(self, rows: Ints, owner: Ints, generator: np.random.Generator) -> Mask:
        """Rows to hide: of each user at least one target, and never all rows."""
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        wanted, draw = self.wanted[rows], generator.random(len(rows))
        lowest = np.minimum.reduceat(np.where(wanted, draw, np.inf), first)[owner]
        highest = np.maximum.reduceat(np.where(draw == lowest, -np.inf, draw), first)[owner]
        share = np.float64(self.config.hidden_share)
        hidden: Mask = (draw == lowest) | ((draw < share) & (draw < highest))
        if self.ordered and self.config.suffix_share > 0:
            length = np.diff(first, append=len(rows))
            cut = first + 1 + np.floor(generator.random(len(first)) * (length - 1)).astype(np.int64)
            later = self.back[rows] <= self.back[rows[cut]][owner]
            later &= (generator.random(len(first)) < self.config.suffix_share)[owner]
            # a cut within the first basket would hide all, one past the last target nothing
            fits = np.logical_or.reduceat(later & wanted, first)
            fits &= ~np.logical_and.reduceat(later, first)
            hidden = np.where(fits[owner], later, hidden)
        return hidden

    def _rows(self, users: Ints) -> tuple[Ints, Ints]:
        """Rows of some users, and for each row the place of its user among them."""
        return rows_of(self.start, users)

    def _known(self, rows: Ints, owner: Ints, n_users: int) -> csr_array:
        weight = self.weight[rows]
        if self.ordered:
            newest = np.full(n_users, np.iinfo(np.int64).max)
            np.minimum.at(newest, owner, self.back[rows])
            age = (self.back[rows] - newest[owner]).astype(np.float32)
            weight = weight * np.float32(self.config.decay) ** age
        return csr_array((weight, (owner, self.item[rows])), shape=(n_users, self.n_items))


def rows_of(start: Ints, groups: Ints) -> tuple[Ints, Ints]:
    """Rows of some groups, and for each row the place of its group among them.

    Args:
        start: Where each group's rows begin, and the end of the last, (n_groups + 1,).
        groups: Which groups, (n,).
    """
    length = start[groups + 1] - start[groups]
    owner = np.repeat(np.arange(len(groups)), length)
    within = np.arange(len(owner)) - (np.cumsum(length) - length)[owner]
    return start[groups][owner] + within, owner


@njit(cache=True)  # type: ignore[untyped-decorator]
def _distinct(
    start: Ints,
    item: npt.NDArray[np.int32],
    weight: Floats,
    back: npt.NDArray[np.int32],
    wanted: Mask,
    most: int,
) -> tuple[Ints, npt.NDArray[np.int32], Floats, npt.NDArray[np.int32], Mask, Mask]:
    """Distinct items of each user, by their last occurrence and then by item, the newest `most`.

    An item has the largest weight of its rows, and is wanted if one of them is; rows without
    weight do not count.

    Returns:
        Where each user's begin, and the end of the last, (n_users + 1,); the items, their weights,
        moments back and whether each is wanted, (n,), which goes on past that end; whether a user
        has one that is wanted, (n_users,).
    """
    items, weights = np.empty(len(item), np.int32), np.empty(len(item), np.float32)
    backs, wants = np.empty(len(item), np.int32), np.empty(len(item), np.bool_)
    begins, wishes = np.zeros(len(start), np.int64), np.zeros(len(start) - 1, np.bool_)
    for user in range(len(start) - 1):
        rows = start[user] + np.flatnonzero(weight[start[user] : start[user + 1]] > 0)
        last, n = np.empty(len(rows), np.int64), 0
        for row in rows[np.argsort(item[rows], kind="mergesort")]:
            if n and item[last[n - 1]] == item[row]:
                if back[row] < back[last[n - 1]]:
                    last[n - 1] = row
            else:
                last[n] = row
                n += 1
        last = last[:n]
        order = np.argsort(-back[last], kind="mergesort")
        rank = np.empty(n, np.int64)
        begin, left_out = begins[user], max(n - most, 0)
        for at in range(n):
            rank[order[at]] = at - left_out
            if at >= left_out:
                place, row = begin + at - left_out, last[order[at]]
                items[place], backs[place] = item[row], back[row]
                weights[place], wants[place] = 0, False
        known = item[last]
        for row in rows:
            at = rank[np.searchsorted(known, item[row])]
            if at >= 0:
                place = begin + at
                weights[place] = max(weights[place], weight[row])
                wants[place] = wants[place] or wanted[row]
                wishes[user] = wishes[user] or wanted[row]
        begins[user + 1] = begin + n - left_out
    return begins, items, weights, backs, wants, wishes
