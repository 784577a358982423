"""Writes interactions with the shape and skew of Taobao's UserBehavior.csv, of any length.

    python benchmarks/generate_taobao.py --rows N --seed S --out FILE.csv

Columns user, item, category, behaviour, unix seconds; no header; users one after another, the rows
of each by time. The same seed gives the same bytes, and a longer file begins with the shorter one:
the rows of a user depend on the seed and on their number alone.

A user's rows are a walk. A row repeats an item of some rows back, or takes another item of the
previous category or of one some rows back, or begins with a category drawn by its popularity.
The constants below were fitted to whole users of the original; compare_taobao.py draws those
beside as many generated rows.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from kgrec.atomic import claim, disk_space, replace_file
from kgrec.errors import KgrecError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLUMNS = ("user", "item", "category", "behaviour", "time")
BEHAVIOURS = ("pv", "cart", "fav", "buy")
BEGIN, DAYS, DAY = 1_511_539_200, 9, 86_400
"""25 November 2017, midnight in China, as unix seconds; how many days follow."""
N_USERS, N_CATEGORIES, N_ITEMS = 987_994, 9_439, 4_216_000
"""Of the whole original; of so many items, some 4,162,024 occur in as many rows."""
USERS_A_BLOCK = 2048

ACTIVITY_AT = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 1)
ACTIVITY = (3, 7, 14, 19, 37, 74, 130, 215, 280, 355, 420, 560)
"""Rows of a user at these quantiles; the mean is that of the whole original, 101.4."""
CATEGORY_RANK = (1, 3, 6, 11, 31, 61, 101, 301, 601, 1001, 2001, 4001, 9439)
CATEGORY_WEIGHT = (541, 475, 400, 280, 131, 67, 40, 14, 7.4, 3.6, 1.3, 0.3, 0.01)
"""How likely a user is to begin with a category, by its rank; so many items it has."""
ITEM_SHIFT = 15.0
"""The nth item of a category has a share as 1 / (shift + n)."""
AGAIN, AGAIN_GROWTH, AGAIN_NEXT, AGAIN_LAG = 0.037, 0.05, 0.22, 17.0
"""Rows that repeat an item: share at a user's second row, growth by the logarithm of the row."""
FRESH, FRESH_GROWTH, STAY, STAY_GROWTH = 0.61, -0.074, 0.78, -0.06
"""Of the others: share with a category drawn anew; of the rest, share of the previous category."""
BACK_LAG, BACK_POPULAR = 15.0, 0.66
"""An earlier category: how far back; how often it is the more popular one of two."""
LEAVE, LEAVE_GROWTH = 0.65, 0.095
"""How much likelier a new category is after one of rank 1, and by the logarithm of the rank."""
MIX_NEW, MIX_AGAIN = (0.8990, 0.9565, 0.9892), (0.8950, 0.9352, 0.9484)
"""Cumulated shares of behaviours at an item's first row and at later ones."""
SESSIONS, SESSIONS_POWER, GAP = 1.3, 0.57, 58.0
"""Sessions of a user by their rows; seconds between two rows of a session, the median."""
EARLY, EARLY_GAP, EARLY_POWER = 0.04, 7000.0, 1.2
"""Share of users with a row before the nine days; how many seconds before, likewise."""
DAY_WEIGHT = (103, 104, 99, 105, 104, 102, 112, 136, 135)
HOUR_WEIGHT = (
    35, 16, 8, 4, 5, 7, 16, 26, 33, 40, 45, 46, 40, 51, 50, 55, 54, 46, 49, 65, 78, 88, 79, 61,
)  # fmt: skip
DRAWS = 10
"""Random numbers set aside for each row of a user, and for the user."""
PRIME, USER_IDS = 5_163_077, 1_018_011
"""Ids of items and categories are below it and tell no rank; ids of users leave out some."""


class Shop(NamedTuple):
    """What all users share; categories by popularity, most popular first."""

    share: Floats  # cumulated chance of each category, (n_categories,)
    leave: Floats  # how readily a user turns to a new category after it, (n_categories,)
    begin: Ints  # where the items of each category begin, (n_categories,)
    reach: Floats  # logarithm of 1 + items of a category / ITEM_SHIFT, (n_categories,)
    hour: Floats  # cumulated share of the hours from BEGIN on, (1 + 24 * DAYS,)
    activity: Ints  # rows of a user at evenly spaced quantiles


def open_shop() -> Shop:
    """The catalogue and its hours; the same whatever the seed."""
    rank = np.log(np.arange(1, N_CATEGORIES + 1))
    weight = np.exp(np.interp(rank, np.log(CATEGORY_RANK), np.log(CATEGORY_WEIGHT)))
    share = weight / weight.sum()
    n_items = np.maximum(np.round(N_ITEMS * share), 1).astype(np.int64)
    hour = np.outer(DAY_WEIGHT, HOUR_WEIGHT).ravel()
    return Shop(
        share=np.cumsum(share),
        leave=LEAVE + LEAVE_GROWTH * rank,
        begin=np.cumsum(n_items) - n_items,
        reach=np.log1p(n_items / ITEM_SHIFT),
        hour=np.concatenate([[0.0], np.cumsum(hour / hour.sum())]),
        activity=np.interp(np.arange(0.5, 4096) / 4096, ACTIVITY_AT, ACTIVITY).round().astype(int),
    )


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _bits(key: np.uint64, n: int) -> np.uint64:
    """The nth of a key's random numbers (splitmix64), so that no state is kept."""
    x = key + np.uint64(n + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(x ^ (x >> np.uint64(31)))


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _draw(key: np.uint64, n: int) -> float:
    """The same between 0 and 1, both left out."""
    return float((np.float64(_bits(key, n) >> np.uint64(12)) + 0.5) * 2.0**-52)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _lag(draw: float, scale: float, at: int) -> int:
    """How many rows back, 2 to `at`: twice as far is some four times as rare."""
    lag = 2 + int(min(scale * (1 / draw - 1), 1e9))
    return lag if lag <= at else 2 + lag % (at - 1)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _again(key: np.uint64, n: int, at: int, category: Ints) -> int:
    """The row whose item is seen again, rather one of the previous category."""
    if _draw(key, n) < AGAIN_NEXT:
        return at - 2
    lag: int = _lag(_draw(key, n + 1), AGAIN_LAG, at)
    if category[at - lag] != category[at - 1]:
        lag = _lag(_draw(key, n + 2), AGAIN_LAG, at)
    return at - lag


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _category(key: np.uint64, n: int, at: int, depth: float, category: Ints, shop: Shop) -> int:
    """The category of a row with an item that is new to the user."""
    leave = FRESH + FRESH_GROWTH * depth
    if at == 0 or _draw(key, n) < leave * shop.leave[category[at - 1]]:
        return int(np.searchsorted(shop.share, _draw(key, n + 1)))
    if at < 3 or _draw(key, n + 1) < STAY + STAY_GROWTH * depth:
        return int(category[at - 1])
    back = category[at - _lag(_draw(key, n + 2), BACK_LAG, at)]
    if _draw(key, n + 3) < BACK_POPULAR:
        back = min(back, category[at - _lag(_draw(key, n + 4), BACK_LAG, at)])
    return int(back)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _walk(key: np.uint64, shop: Shop, item: Ints, category: Ints, behaviour: Ints) -> None:
    """Fills in one user's rows, all (n_rows,), from zeros."""
    fond = 0.4 + 1.2 * _draw(key, 1)  # of seeing an item again, which differs by user
    for at in range(len(item)):
        n, depth = DRAWS * (at + 1), math.log(max(at, 1))
        again = at > 1 and _draw(key, n) < fond * (AGAIN + AGAIN_GROWTH * depth)
        if again:
            back = _again(key, n + 1, at, category)
            if item[back] == item[at - 1]:  # an item hardly ever follows itself
                back = at - 2
            item[at], category[at] = item[back], category[back]
        else:
            category[at] = _category(key, n + 1, at, depth, category, shop)
            nth = ITEM_SHIFT * (math.exp(_draw(key, n + 6) * shop.reach[category[at]]) - 1)
            item[at] = shop.begin[category[at]] + int(nth)
        chance = _draw(key, n + 7)
        for share in MIX_AGAIN if again else MIX_NEW:
            behaviour[at] += chance > share


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _times(key: np.uint64, hour: Floats, time: Ints) -> None:
    """Fills in one user's times, (n_rows,) unix seconds, in no order: rows gather in sessions."""
    now = np.zeros(int(SESSIONS * len(time) ** SESSIONS_POWER) + 1)  # seconds from BEGIN on
    for at in range(len(time)):
        n = DRAWS * (at + 1) + 8
        session, draw = int(_draw(key, n) * len(now)), _draw(key, n + 1)
        if now[session] == 0:
            nth = np.searchsorted(hour, draw)
            now[session] = 3600 * (nth - (hour[nth] - draw) / (hour[nth] - hour[nth - 1]))
        else:
            odds = 1 / draw - 1
            now[session] += GAP * math.sqrt(odds * math.sqrt(odds))  # a power is slower
        time[at] = BEGIN + int(now[session]) % (DAYS * DAY)
    if _draw(key, 2) < EARLY:
        time[0] = BEGIN - 1 - int(EARLY_GAP * (1 / _draw(key, 3) - 1) ** EARLY_POWER)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _block(seed: int, first: int, shop: Shop) -> Ints:
    """Users from number `first` on: number, item, category, behaviour, time; (5, n_rows)."""
    keys, ends = np.zeros(USERS_A_BLOCK, np.uint64), np.zeros(USERS_A_BLOCK + 1, np.int64)
    for user in range(USERS_A_BLOCK):
        keys[user] = _bits(_bits(np.uint64(seed), 0), first + user)
        quantile = int(_draw(keys[user], 0) * len(shop.activity))
        ends[user + 1] = ends[user] + shop.activity[quantile]
    rows = np.zeros((5, ends[-1]), np.int64)
    for user in range(USERS_A_BLOCK):
        part = rows[:, ends[user] : ends[user + 1]]
        part[0] = first + user
        _walk(keys[user], shop, part[1], part[2], part[3])
        _times(keys[user], shop.hour, part[4])
    return rows


def generate(rows: int, seed: int) -> Iterator[pl.DataFrame]:
    """That many rows, some users at a time; columns COLUMNS, ids int64, times in unix seconds."""
    shop, first = open_shop(), 0
    names = pl.Series(BEHAVIOURS, dtype=pl.Enum(BEHAVIOURS))
    while rows > 0:
        user, item, category, behaviour, time = _block(seed, first, shop)
        by_time = np.sort(((user - first) << 42) + time + (1 << 41))  # a time may be negative
        frame = pl.DataFrame(
            {
                "user": 1 + user * USER_IDS // N_USERS,
                "item": 1 + item * 2_654_437 % PRIME,
                "category": 1 + (category + 1) * 1_540_483 % PRIME,
                "behaviour": names.gather(behaviour),
                "time": (by_time & ((1 << 42) - 1)) - (1 << 41),
            }
        )
        yield frame.head(rows)
        rows, first = rows - len(frame), first + USERS_A_BLOCK


def write(rows: int, seed: int, out: Path) -> None:
    """Writes the file, under another name until it is whole.

    Raises:
        KgrecError: Another process writes it, or the disk is full.
    """
    with claim(out), disk_space(out), replace_file(out) as beside, beside.open("wb") as file:
        for frame in generate(rows, seed):
            frame.write_csv(file, include_header=False)


def main() -> None:
    """Writes rows; exits 2 on what cannot be asked for and 1 on what fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, required=True, metavar="N", help="1 or more")
    parser.add_argument("--seed", type=int, default=7, help="0 or more; 7 when left out")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    if args.rows < 1:
        parser.error(f"--rows {args.rows}: ask for 1 or more")
    if not 0 <= args.seed < 2**63:
        parser.error(f"--seed {args.seed}: take one from 0 to 2^63 - 1")
    if not args.out.absolute().parent.is_dir():
        parser.error(f"--out {args.out}: there is no folder {args.out.parent}; make it first")
    try:
        write(args.rows, args.seed, args.out)
    except KgrecError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
