"""How sure a mean over users is, and whether two models differ: intervals, a paired test, Holm.

Users are what is drawn: a set of users is a sample of those who might have come. Seeds (or folds)
are averaged before, so that a model that draws lots is judged by what it gives on average; how
much a seed moves the mean stands beside it as a standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kgrec.errors import ConfigError, ShapeError

Values = npt.NDArray[np.float64]
Figures = dict[str, float | None]

LEVEL = 0.95
"""Of every interval."""
_BLOCK_CELLS = 4_000_000
"""Counts held at once by the bootstrap: 32 MB."""


def summarise(per_user: Sequence[Values], *, seed: int = 0, draws: int = 2000) -> Figures:
    """Mean over seeds of the mean over users, its 95% interval, and what a seed moves.

    Args:
        per_user: A metric of each user, one (n_users,) float64 array a seed; NaN for a user who
            does not count in it.
        seed: Of the bootstrap.
        draws: Samples of the bootstrap, >= 1.

    Returns:
        `mean`; `low` and `high`, the percentile bootstrap over users; `std`, over the seeds of the
        mean over users, None with one seed. NaN where no user counts.

    Raises:
        ShapeError: No array, or arrays of different lengths.
        ConfigError: `draws` is below 1.

    Source: Efron & Tibshirani 1993, ch. 13 (percentile interval).
    """
    values = user_values(per_user)
    values = values[~np.isnan(values)]
    if not len(values):
        return {"mean": math.nan, "low": math.nan, "high": math.nan, "std": None}
    low, high = _interval(values, seed, draws)
    means = [float(np.nanmean(one)) for one in per_user if not np.isnan(one).all()]
    std = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return {"mean": float(values.mean()), "low": low, "high": high, "std": std}


def against(
    ours: Sequence[Values], other: Sequence[Values], *, seed: int = 0, draws: int = 2000
) -> dict[str, float]:
    """Difference of two models on the same users, its 95% interval, and a two-sided p-value.

    The p-value is that of a paired t-test on the users' differences. A sign-flip permutation test
    agrees with it from a few dozen users on (Smucker, Allan & Carterette 2007; Urbano, Lima &
    Hanjalic 2019 measured its errors on top-n lists and recommend it), but the smallest p that
    flips can show is one over their number, which a correction for many comparisons then
    multiplies; this one needs no draws and one pass over a million users. Users are not
    independent of each other in ways that no such test can see: it says whether other users of the
    same shop would give the same order, not whether another shop would.

    Args:
        ours: A metric of each user, one (n_users,) array a seed; NaN for who does not count.
        other: The same of the other model, of any number of seeds.
        seed: Of the bootstrap.
        draws: Samples of the bootstrap, >= 1.

    Returns:
        `difference`, ours less other; `low` and `high` of it; `p`, 0..1: 1 where fewer than two
        users count or no user differs.

    Raises:
        ShapeError: Arrays of different lengths, or users count in one and not in the other.
    """
    a, b = user_values(ours), user_values(other)
    if len(a) != len(b):
        raise ShapeError(f"values of {len(a)} users against {len(b)}: not the same users")
    apart = np.isnan(a) != np.isnan(b)
    if apart.any():
        raise ShapeError(f"{apart.sum()} users count in one model and not in the other")
    difference = (a - b)[~np.isnan(a)]
    if not len(difference):
        return {"difference": math.nan, "low": math.nan, "high": math.nan, "p": 1.0}
    low, high = _interval(difference, seed, draws)
    mean = float(difference.mean())
    return {"difference": mean, "low": low, "high": high, "p": _p_value(difference)}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """P-values of a family of tests, so that one false alarm in all is as rare as it says.

    Args:
        p: By name of the comparison, each 0..1.

    Returns:
        The corrected ones by the same names, never below the given; order is kept.

    Raises:
        ConfigError: A value is not in 0..1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    for name, value in p.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"the p-value of {name} is {value}, not in 0..1")
    found: dict[str, float] = {}
    worst = 0.0
    for at, name in enumerate(sorted(p, key=lambda n: p[n])):
        worst = max(worst, min(1.0, p[name] * (len(p) - at)))
        found[name] = worst
    return {name: found[name] for name in p}


def user_values(per_user: Sequence[Values]) -> Values:
    """One value a user whose mean is the mean over seeds of the means over users, (n_users,).

    Where the same users count in every seed it is the user's mean over seeds. Where they do not
    (folds that hide other items), a user's part is weighted by how many users each fold has: the
    influence of the user on the mean, about the mean. NaN for a user who counts in no seed.

    Raises:
        ShapeError: No array, or arrays of different lengths.
    """
    if not len(per_user):
        raise ShapeError("no seed to average over")
    if len({len(one) for one in per_user}) > 1:
        raise ShapeError(f"seeds of {sorted({len(one) for one in per_user})} users")
    seeds = [one for one in per_user if not np.isnan(one).all()]
    if not seeds:
        return np.full(len(per_user[0]), np.nan)
    counts = ~np.isnan(np.stack(seeds, axis=1))  # (n_users, n_seeds)
    if (counts == counts[:, :1]).all():
        plain: Values = np.mean(np.stack(seeds, axis=1), axis=1)
        return plain
    means = np.array([np.nanmean(one) for one in seeds])
    known = counts.any(axis=1)
    weight = known.sum() / len(seeds) / counts.sum(axis=0)  # (n_seeds,)
    values = means.mean() + np.nan_to_num(np.stack(seeds, axis=1) - means) @ weight
    return np.where(known, values, np.nan)


def _p_value(difference: Values) -> float:
    from scipy.special import stdtr

    n = len(difference)
    if n < 2 or not difference.any():
        return 1.0
    error = float(difference.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return 0.0
    return float(2 * stdtr(n - 1, -abs(float(difference.mean())) / error))


def _interval(values: Values, seed: int, draws: int) -> tuple[float, float]:
    if draws < 1:
        raise ConfigError(f"an interval needs one draw at least, not {draws}")
    means = _bootstrap_means(values, np.random.default_rng(seed), draws)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _bootstrap_means(values: Values, generator: np.random.Generator, draws: int) -> Values:
    """Means of `draws` samples with replacement, (draws,).

    Metrics of short lists take few values (a hit rate two), so a sample is a draw of how often
    each value comes: the same distribution as drawing users, without touching each of them. Values
    that are mostly distinct are drawn one by one.
    """
    n = len(values)
    distinct, count = np.unique(values, return_counts=True)
    means = np.empty(draws)
    if len(distinct) * 8 > n:
        for at in range(draws):
            means[at] = values[generator.integers(0, n, n)].mean()
        return means
    block = max(1, _BLOCK_CELLS // len(distinct))
    for begin in range(0, draws, block):
        size = min(block, draws - begin)
        drawn = generator.multinomial(n, count / n, size)  # (size, n_distinct)
        means[begin : begin + size] = drawn @ distinct / n
    return means
