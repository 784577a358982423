"""Interactions as arrays: who met which item, how, when and how strongly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from kgrec.errors import ShapeError

TimeKind = Literal["seconds", "position", "none"]


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions sorted by user, then time, then the order of the file; build with `of`."""

    user: npt.NDArray[np.int32]
    """Index of the user, (n,), non-decreasing."""
    item: npt.NDArray[np.int32]
    """Index of the item, (n,)."""
    behaviour: npt.NDArray[np.uint8]
    """Index into `behaviours`, (n,)."""
    time: npt.NDArray[np.int64]
    """Unix seconds, or the position in the user's history, or zeros; see `time_kind`, (n,)."""
    weight: npt.NDArray[np.float32]
    """Weight of the behaviour times that of the row, >= 0, (n,)."""
    start: npt.NDArray[np.int64]
    """Rows of user u are start[u]:start[u + 1], (n_users + 1,)."""
    n_users: int
    n_items: int
    behaviours: tuple[str, ...] = ("interaction",)
    time_kind: TimeKind = "none"
    target: int | None = None
    """The behaviour to predict; None when every one counts."""

    @staticmethod
    def of(
        user: npt.ArrayLike,
        item: npt.ArrayLike,
        *,
        n_users: int,
        n_items: int,
        behaviour: npt.ArrayLike | None = None,
        time: npt.ArrayLike | None = None,
        weight: npt.ArrayLike | None = None,
        behaviours: tuple[str, ...] = ("interaction",),
        time_kind: TimeKind | None = None,
        target: int | None = None,
    ) -> Interactions:
        """Checks the shapes, then sorts by user and time (stable).

        Raises:
            ShapeError: Lengths differ, or an index is out of range.
        """
        user32, item32 = np.asarray(user, np.int32), np.asarray(item, np.int32)
        n = len(user32)
        kind: TimeKind = time_kind or ("none" if time is None else "seconds")
        time64 = np.zeros(n, np.int64) if time is None else np.asarray(time, np.int64)
        behaviour8 = np.zeros(n, np.uint8) if behaviour is None else np.asarray(behaviour, np.uint8)
        weight32 = np.ones(n, np.float32) if weight is None else np.asarray(weight, np.float32)
        for name, column in (
            ("item", item32), ("time", time64), ("behaviour", behaviour8), ("weight", weight32)
        ):  # fmt: skip
            if column.shape != (n,):
                raise ShapeError(f"{name} has shape {column.shape}, user has ({n},)")
        for name, column, size in (("user", user32, n_users), ("item", item32, n_items)):
            if n and (column.min() < 0 or column.max() >= size):
                raise ShapeError(
                    f"{name} indices span {column.min()}..{column.max()}, not 0..{size - 1}"
                )
        start = np.concatenate([[0], np.cumsum(np.bincount(user32, minlength=n_users))])
        start = start.astype(np.int64)
        if not _sorted(user32, time64):
            order = _order(user32, time64, start)
            user32 = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(start))
            item32, behaviour8 = item32[order], behaviour8[order]
            time64, weight32 = time64[order], weight32[order]
        return Interactions(
            user=user32,
            item=item32,
            behaviour=behaviour8,
            time=time64,
            weight=weight32,
            start=start,
            n_users=n_users,
            n_items=n_items,
            behaviours=behaviours,
            time_kind=kind,
            target=target,
        )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def ordered(self) -> bool:
        """Whether the order within a user means anything."""
        return self.time_kind != "none"

    def where(self, mask: npt.NDArray[np.bool_]) -> Interactions:
        """The rows where `mask` (n,) holds; users and items keep their indices."""
        if mask.all():
            return self
        user = self.user[mask]
        return replace(
            self,
            user=user,
            item=self.item[mask],
            behaviour=self.behaviour[mask],
            time=self.time[mask],
            weight=self.weight[mask],
            start=np.searchsorted(user, np.arange(self.n_users + 1)).astype(np.int64),
        )

    def select(self, users: npt.ArrayLike) -> Interactions:
        """The histories of some users, who become users 0, 1, ... in this order (repeats allowed).

        Args:
            users: Indices of users, (n,).
        """
        chosen = np.asarray(users, np.int64)
        begin, count = self.start[chosen], self.start[chosen + 1] - self.start[chosen]
        start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        rows = np.repeat(begin - start[:-1], count) + np.arange(start[-1])
        return replace(
            self,
            user=np.repeat(np.arange(len(chosen), dtype=np.int32), count),
            item=self.item[rows],
            behaviour=self.behaviour[rows],
            time=self.time[rows],
            weight=self.weight[rows],
            start=start,
            n_users=len(chosen),
        )

    def items_of(self, user: int) -> npt.NDArray[np.int32]:
        """Items of one user, oldest first, with repeats."""
        return self.item[self.start[user] : self.start[user + 1]]

    def is_target(self) -> npt.NDArray[np.bool_]:
        """Rows of the behaviour to predict (of any weighted one when there is no target), (n,)."""
        if self.target is None:
            return np.asarray(self.weight > 0, np.bool_)
        return np.asarray(self.behaviour == self.target, np.bool_)


def merge(*parts: Interactions) -> Interactions:
    """All rows of several parts over the same users and items, sorted again (stable)."""
    filled = [part for part in parts if len(part)] or [parts[0]]
    if len(filled) == 1:
        return filled[0]

    def joined(name: str) -> npt.NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in filled])

    start = np.asarray(sum(part.start for part in filled), np.int64)
    order = _order(joined("user"), joined("time"), start)
    columns = {n: joined(n)[order] for n in ("user", "item", "behaviour", "time", "weight")}
    return replace(parts[0], start=start, **columns)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sorted(user: npt.NDArray[np.int32], time: npt.NDArray[np.int64]) -> bool:
    """Whether rows are sorted by user, then time."""
    for at in range(1, len(user)):
        before, owner = user[at - 1], user[at]
        if owner < before or (owner == before and time[at] < time[at - 1]):
            return False
    return True


@njit(cache=True)  # type: ignore[untyped-decorator]
def _order(
    user: npt.NDArray[np.int32], time: npt.NDArray[np.int64], start: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Rows by user, then time; ties keep the order of the file, (n,)."""
    order = np.empty(len(user), np.int64)
    place = start[:-1].copy()
    for at in range(len(user)):
        order[place[user[at]]] = at
        place[user[at]] += 1
    for owner in range(len(start) - 1):
        rows = order[start[owner] : start[owner + 1]]
        when = time[rows]
        for at in range(1, len(when)):
            if when[at] < when[at - 1]:
                rows[:] = rows[np.argsort(when, kind="mergesort")]
                break
    return order
