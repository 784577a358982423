"""Training, validation and test parts of a shop's interactions, never chosen by a score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from kgrec.errors import ConfigError
from kgrec.interactions import Interactions
from kgrec.shop import Shop

Method = Literal["leave-last-out", "time", "random", "given", "none"]


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
    parts, method = _hold_out(shop, config), method_of(shop, config)
    by_clock = method == "time" and parts.train.time_kind == "seconds"
    by_user = method == "leave-last-out" and parts.train.ordered
    if parts.test is None or config.cold_item_share or not (by_clock or by_user):
        return parts  # no order, or cold items, which are held out whole at whatever time
    late = tuple(_after(p, parts.test, by_clock) for p in (parts.train, parts.validation))
    later = merge(parts.train.where(late[0]), parts.validation.where(late[1]))
    train, validation = parts.train.where(~late[0]), parts.validation.where(~late[1])
    moved = _after(train, validation, by_clock)
    return replace(
        parts,
        train=train.where(~moved),
        validation=merge(validation, train.where(moved)),
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


def _hold_out(shop: Shop, config: SplitConfig) -> Parts:
    rows = shop.interactions
    generator = np.random.default_rng(config.seed)
    cold, cold_in_validation = _cold_items(rows.n_items, config)
    is_cold = np.isin(rows.item, cold)
    warm = rows.where(~is_cold)
    method = method_of(shop, config)
    test: Interactions | None = None
    if method == "given":
        if shop.test is None:
            raise ConfigError("split.method is 'given', but the data came with no test part")
        rest, test = warm, shop.test
    else:
        held = _held_out(warm, method, config.test_share, generator)
        rest, test = warm.where(~held), warm.where(held) if method != "none" else None
    if len(cold):
        sold = rows.where(is_cold & rows.is_target())
        test = sold if test is None else merge(test, sold)
    if shop.validation is not None and method == "given":
        return Parts(rest, shop.validation, test, cold)
    again: Method = "random" if method in ("given", "random") else method
    if again == "none":
        again = "leave-last-out"
    held = _held_out(rest, again, config.validation_share, generator)
    held |= np.isin(rest.item, cold_in_validation)
    return Parts(rest.where(~held), rest.where(held), test, cold)


def _after(rows: Interactions, held_out: Interactions, by_clock: bool) -> npt.NDArray[np.bool_]:
    """Rows at or after the first held-out one: of anybody, or after it of the same user."""
    if not len(held_out):
        return np.zeros(len(rows), np.bool_)
    if by_clock:
        return np.asarray(rows.time >= held_out.time.min(), np.bool_)
    first = np.full(rows.n_users, np.iinfo(np.int64).max)
    np.minimum.at(first, held_out.user, held_out.time)
    return np.asarray(rows.time > first[rows.user], np.bool_)


def _cold_items(
    n_items: int, config: SplitConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Items kept out of training and validation, and items kept out of training alone."""
    order = np.random.default_rng(config.seed).permutation(n_items)
    share, fold = config.cold_item_share, config.cold_item_fold
    begin, end = round(fold * share * n_items), round((fold + 1) * share * n_items)
    cold, others = order[begin:end], np.roll(order, -end)[: n_items - (end - begin)]
    return np.sort(cold), np.sort(others[: min(end - begin, len(others) // 2)])


def merge(*parts: Interactions) -> Interactions:
    """All rows of several parts over the same users and items, sorted again."""
    first = parts[0]
    return Interactions.of(
        np.concatenate([p.user for p in parts]),
        np.concatenate([p.item for p in parts]),
        n_users=first.n_users,
        n_items=first.n_items,
        behaviour=np.concatenate([p.behaviour for p in parts]),
        time=np.concatenate([p.time for p in parts]),
        weight=np.concatenate([p.weight for p in parts]),
        behaviours=first.behaviours,
        time_kind=first.time_kind,
        target=first.target,
    )


def _held_out(
    rows: Interactions, method: Method, share: float, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    target = rows.is_target()
    user = rows.user.astype(np.int64)
    counted = np.cumsum(target)
    before_user = np.concatenate([[0], counted])[rows.start]
    nth = counted - before_user[user]  # 1 for a user's first target row
    of_user = before_user[user + 1] - before_user[user]
    may = target & (nth > 1)
    if method == "none":
        return np.zeros(len(rows), np.bool_)
    if method == "time":
        times = np.sort(rows.time[target])
        cut = times[int((1 - share) * len(times))] if len(times) else 0
        return np.asarray(may & (rows.time >= cut), np.bool_)
    if method == "leave-last-out" and rows.ordered:
        return np.asarray(may & (nth == of_user), np.bool_)
    draw = np.where(may, generator.random(len(rows)), -1.0)
    order = np.lexsort((-draw, user))
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows)) - rows.start[user[order]]
    quota = np.ones(len(rows)) if method == "leave-last-out" else np.floor(share * of_user + 0.5)
    return np.asarray(may & (place < quota), np.bool_)
