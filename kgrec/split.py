"""Training, validation and test parts of a shop's interactions, never chosen by a score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from kgrec.errors import ConfigError
from kgrec.interactions import Interactions, merge
from kgrec.shop import Shop

Method = Literal["leave-last-out", "time", "random", "given", "none"]
Mask = npt.NDArray[np.bool_]
_TRAIN, _VALIDATION, _TEST, _LATER, _NOWHERE = np.arange(5, dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """What is held out for `evaluate`, and what the search chooses by."""

    method: Method = "leave-last-out"
    """The test part: each user's newest interaction; the newest `test_share` by time; a random
    `test_share` of each user's; the part that the data came with; or nothing."""
    test_share: float = 0.1
    """Share held out by `time` and `random`, in (0, 1)."""
    validation_share: float = 0.1
    """Share of what is left that validates, for methods that do not leave the last one out."""
    cold_item_share: float = 0.0
    """Share of the items whose every interaction is held out: the test part has these too. As
    many others are kept out of training for the validation part, so that what is chosen there
    knows of cold items."""
    cold_item_fold: int = 0
    """Which share of the items that is, 0 for the first: folds of one seed are disjoint."""
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("test_share", "validation_share"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"split.{name} is {getattr(self, name)}; it lies between 0 and 1")
        if not 0 <= self.cold_item_share < 1:
            raise ConfigError(
                f"split.cold_item_share is {self.cold_item_share}; it is at least 0 and below 1"
            )
        fold = self.cold_item_fold
        last = int(1 / self.cold_item_share + 1e-9) - 1 if self.cold_item_share else 0
        if not 0 <= fold <= last:
            raise ConfigError(
                f"split.cold_item_fold is {fold}; with split.cold_item_share "
                f"{self.cold_item_share} it is in 0..{last}"
            )


@dataclass(frozen=True, slots=True)
class Parts:
    """Three disjoint sets of interactions over the same users and items."""

    train: Interactions
    validation: Interactions
    test: Interactions | None
    cold_items: npt.NDArray[np.int64]
    """Items kept out of training and validation, (n_cold,)."""
    later: Interactions | None = None
    """Rows of after the test part began that are not in it; None where there are none."""

    @property
    def known(self) -> Interactions:
        """Training and validation together: what a finished model may use."""
        return merge(self.train, self.validation)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each part."""
        names = ("train", "validation", "test", "later")
        parts = (self.train, self.validation, self.test, self.later)
        return {name: len(part or ()) for name, part in zip(names, parts, strict=True)}


def split(shop: Shop, config: SplitConfig) -> Parts:
    """Cuts the interactions into training, validation and test parts.

    Only interactions of the behaviour to predict are held out; the first such interaction of a
    user always stays in training, so nobody is tested without a history by accident. Where the
    order is unknown, `leave-last-out` takes a random one of each user's instead of the last.

    Other rows of the same time (the views that led to a purchase, the purchases of somebody new)
    go too, so that a model knows what a shop would know on that day: from the training part into
    the validation part after its cut, and out of both into `later` after the cut of the test part.

    Raises:
        ConfigError: `given` is asked for and the data came with no test part.
    """
    rows, method = shop.interactions, method_of(shop, config)
    if method == "given" and shop.test is None:
        raise ConfigError("split.method is 'given', but the data came with no test part")
    given, validates = (shop.test, shop.validation) if method == "given" else (None, None)
    cold, cold_in_validation = _cold_items(rows.n_items, config)
    # Which part each row is of: a shop of a hundred million rows is cut once, at the end.
    part = np.full(len(rows), _TRAIN)
    if len(cold):
        is_cold = np.isin(rows.item, cold)
        part[is_cold] = np.where(rows.is_target()[is_cold], _TEST, _NOWHERE)
    generator = np.random.default_rng(config.seed)
    if given is None:
        part[_held_out(rows, part == _TRAIN, method, config.test_share, generator)] = _TEST
    if validates is None:
        instead: dict[Method, Method] = {"given": "random", "none": "leave-last-out"}
        again = instead.get(method, method)
        held = _held_out(rows, part == _TRAIN, again, config.validation_share, generator)
        if len(cold_in_validation):
            held |= (part == _TRAIN) & np.isin(rows.item, cold_in_validation)
        part[held] = _VALIDATION
    by_clock = method == "time" and rows.time_kind == "seconds"
    by_user = method == "leave-last-out" and rows.ordered
    # Cold items are held out whole, at whatever time.
    if (by_clock or by_user) and not config.cold_item_share:
        part[_after(rows, part == _TEST, by_clock) & (part <= _VALIDATION)] = _LATER
        part[_after(rows, part == _VALIDATION, by_clock) & (part == _TRAIN)] = _VALIDATION
    test = None if method == "none" and not len(cold) else rows.where(part == _TEST)
    if given is not None and test is not None:
        test = merge(given, test)
    later = rows.where(part == _LATER)
    return Parts(
        train=rows.where(part == _TRAIN),
        validation=rows.where(part == _VALIDATION) if validates is None else validates,
        test=test,
        cold_items=cold,
        later=later if len(later) else None,
    )


def of_some_users(parts: Parts, most: int, seed: int) -> Parts:
    """Training and validation parts of a random sample of users, with about `most` rows to train
    on; the parts themselves where they have no more.

    Args:
        parts: What `split` cut.
        most: Rows of the training part wanted, >= 1.
        seed: Draws the users.
    """
    if len(parts.train) <= most:
        return parts
    share = most / len(parts.train)
    drawn = np.random.default_rng(seed).random(parts.train.n_users) < share
    train, validation = (rows.where(drawn[rows.user]) for rows in (parts.train, parts.validation))
    return replace(parts, train=train, validation=validation)


def method_of(shop: Shop, config: SplitConfig) -> Method:
    """How `split` cuts: a test part that came with the data wins over leaving the last one out."""
    given = config.method == "leave-last-out" and shop.test is not None
    return "given" if given else config.method


def _after(rows: Interactions, held_out: Mask, by_clock: bool) -> Mask:
    """Rows at or after the first held-out one: of anybody, or after it of the same user."""
    if not held_out.any():
        return np.zeros(len(rows), np.bool_)
    if by_clock:
        return np.asarray(rows.time >= rows.time[held_out].min(), np.bool_)
    return np.asarray(_after_of_user(rows.start, rows.time, held_out), np.bool_)


def _cold_items(
    n_items: int, config: SplitConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Items kept out of training and validation, and items kept out of training alone."""
    order = np.random.default_rng(config.seed).permutation(n_items)
    share, fold = config.cold_item_share, config.cold_item_fold
    begin, end = round(fold * share * n_items), round((fold + 1) * share * n_items)
    cold, others = order[begin:end], np.roll(order, -end)[: n_items - (end - begin)]
    return np.sort(cold), np.sort(others[: min(end - begin, len(others) // 2)])


def _held_out(
    rows: Interactions, among: Mask, method: Method, share: float, generator: np.random.Generator
) -> Mask:
    """Which of the rows `among` are held out, (n,)."""
    target = rows.is_target() & among
    may, last = _after_the_first(rows.start, target)
    if method == "none":
        return np.zeros(len(rows), np.bool_)
    if method == "time":
        times = np.sort(rows.time[target])
        cut = times[int((1 - share) * len(times))] if len(times) else 0
        return np.asarray(may & (rows.time >= cut), np.bool_)
    if method == "leave-last-out" and rows.ordered:
        return np.asarray(may & last, np.bool_)
    draw = generator.random(int(among.sum()))[may[among]]
    user = rows.user[may]
    # A user's first target row is not drawn from, but counts.
    n_of = np.bincount(user, minlength=rows.n_users)
    quota = np.floor(share * (n_of + 1) + 0.5) if method == "random" else np.ones(rows.n_users)
    order = np.lexsort((-draw, user))
    place = np.arange(len(order)) - (np.cumsum(n_of) - n_of)[user[order]]
    held = np.zeros(len(rows), np.bool_)
    held[np.flatnonzero(may)[order[place < quota[user[order]]]]] = True
    return held


@njit(cache=True)  # type: ignore[untyped-decorator]
def _after_the_first(start: npt.NDArray[np.int64], target: Mask) -> tuple[Mask, Mask]:
    """Target rows but the first of each user, and the last target row of each user, (n,) each."""
    may, last = target.copy(), np.zeros(len(target), np.bool_)
    for user in range(len(start) - 1):
        found = -1
        for at in range(start[user], start[user + 1]):
            if target[at]:
                if found < 0:
                    may[at] = False
                found = at
        if found >= 0:
            last[found] = True
    return may, last


@njit(cache=True)  # type: ignore[untyped-decorator]
def _after_of_user(
    start: npt.NDArray[np.int64], time: npt.NDArray[np.int64], held_out: Mask
) -> Mask:
    """Rows later than the first held-out one of the same user, (n,)."""
    after = np.zeros(len(time), np.bool_)
    for user in range(len(start) - 1):
        first = np.iinfo(np.int64).max
        for at in range(start[user], start[user + 1]):
            if held_out[at]:
                first = min(first, time[at])
        for at in range(start[user], start[user + 1]):
            after[at] = time[at] > first
    return after
