"""How good ranked lists are: accuracy for each user, and what of the catalogue they show.

Throughout, T is the set of items held out for a user, and rel_j is 1 where the item at rank j
(from 1) of that user's list is in T, else 0. Lists hold distinct items over the full catalogue;
no negative is sampled (Krichene & Rendle 2020 show why sampled metrics mislead).

| key | of one user |
|---|---|
| precision@k | sum_{j<=k} rel_j / k, also where the list is shorter than k |
| recall@k | sum_{j<=k} rel_j / \\|T\\| |
| F1@k | 2 precision recall / (precision + recall), 0 where both are 0 |
| hit_rate@k | 1 where any rel_j = 1 for j <= k, else 0 |
| nDCG@k | sum_{j<=k} rel_j / log2(j + 1), over the same sum for min(\\|T\\|, k) ones at the top |
| MRR@k | 1 / (rank of the first hit), 0 where it is past k |
| MAP@k | sum_{j<=k} rel_j precision@j / \\|T\\| |

Sources: Manning, Raghavan & Schütze 2008, ch. 8 (precision, recall, F1, MAP); Järvelin &
Kekäläinen 2002 (nDCG, binary gain); Voorhees 1999 (reciprocal rank).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kgrec.errors import ConfigError, ShapeError

PerUser = dict[str, npt.NDArray[np.float64]]


def evaluate_lists(
    top: npt.NDArray[np.int32], truth: sparse.csr_array, ks: Sequence[int] = (5, 10, 20)
) -> PerUser:
    """Accuracy of each user's list at each k; the formulas are in the module's docstring.

    Args:
        top: Item indices, best first, (n_users, length) int32; -1 past the end of a list.
        truth: Held-out items, (n_users, n_items); a stored non-zero is a held-out item.
        ks: Depths, each 1..length.

    Returns:
        `recall@k`, `precision@k`, `F1@k`, `hit_rate@k`, `nDCG@k`, `MRR@k`, `MAP@k`, each
        (n_users,) float64 in 0..1, and NaN for a user with no held-out item.

    Raises:
        ShapeError: Users differ in number, an item is out of range or stands twice in a list.
        ConfigError: A k is below 1 or past the length of the lists.
    """
    check_depths(ks, top.shape[1])
    hit, n_truth = find_hits(top, truth)
    ranks = np.arange(1, top.shape[1] + 1)
    size = np.where(n_truth > 0, n_truth, np.nan)  # NaN spreads to users who do not count
    found = np.cumsum(hit, axis=1)  # (n_users, length): hits down to each rank
    gain = np.cumsum(hit / np.log2(ranks + 1), axis=1)
    ideal = np.cumsum(1 / np.log2(ranks + 1))
    summed_precision = np.cumsum(hit * (found / ranks), axis=1)
    first = np.where(hit.any(axis=1), hit.argmax(axis=1), top.shape[1])
    metrics: PerUser = {}
    for k in ks:
        at = found[:, k - 1]
        metrics[f"recall@{k}"] = at / size
        metrics[f"precision@{k}"] = at / k + 0 * size
        metrics[f"F1@{k}"] = 2 * at / (k + size)  # the harmonic mean, simplified
        metrics[f"hit_rate@{k}"] = (at > 0) + 0 * size
        metrics[f"nDCG@{k}"] = gain[:, k - 1] / ideal[np.clip(n_truth, 1, k) - 1] + 0 * size
        metrics[f"MRR@{k}"] = np.where(first < k, 1 / (first + 1), 0) + 0 * size
        metrics[f"MAP@{k}"] = summed_precision[:, k - 1] / size
    return metrics


def mean_metrics(
    per_user: Mapping[str, npt.NDArray[np.float64]], users: npt.NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Mean of each metric over the users that have a held-out item.

    Args:
        per_user: What `evaluate_lists` returned.
        users: Which users to count, (n_users,); everyone when None.

    Returns:
        One value a metric, 0..1; NaN when no user counts.
    """
    means = {}
    for name, values in per_user.items():
        kept = values if users is None else values[users]
        kept = kept[~np.isnan(kept)]
        means[name] = float(kept.mean()) if len(kept) else float("nan")
    return means


def exposure(top: npt.NDArray[np.int32], n_items: int, k: int) -> npt.NDArray[np.int64]:
    """In how many of the lists each item stands within rank k, (n_items,); sums over batches."""
    shown = top[:, :k].ravel()
    return np.bincount(shown[shown >= 0], minlength=n_items).astype(np.int64)


def coverage(shown: npt.NDArray[np.int64]) -> float:
    """Share of the catalogue that stands in some list, 0..1 (Ge et al. 2010, eq. 2).

    Args:
        shown: Exposure of each item, (n_items,).
    """
    return float(np.count_nonzero(shown) / max(len(shown), 1))


def novelty(
    shown: npt.NDArray[np.int64], users_of_item: npt.NDArray[np.int64], n_users: int
) -> float:
    """Mean self-information of the items shown, in bits: high where lists avoid bestsellers.

    -log2(share of training users who have the item), averaged over every place in every list; an
    item that nobody has counts as if one user had it.

    Args:
        shown: Exposure of each item, (n_items,).
        users_of_item: Training users who have each item, (n_items,).
        n_users: Training users.

    Source: Zhou et al. 2010 (PNAS), "surprisal".
    """
    if not shown.sum():
        return float("nan")
    bits = -np.log2(np.maximum(users_of_item, 1) / max(n_users, 1))
    return float(np.average(bits, weights=shown))


def gini(shown: npt.NDArray[np.int64]) -> float:
    """Inequality of exposure over the catalogue: 0 all alike, towards 1 a few take everything.

    sum_i (2 i - n - 1) e_i / (n sum_i e_i), with exposures e sorted upwards and i from 1.

    Args:
        shown: Exposure of each item, (n_items,).

    Source: Gini 1912, in the form of Shani & Gunawardana 2011, eq. 8.34, over n instead of n - 1.
    """
    n, total = len(shown), shown.sum()
    if not total:
        return float("nan")
    place = 2 * np.arange(1, n + 1) - n - 1
    return float(place @ np.sort(shown) / (n * total))


def check_depths(ks: Sequence[int], length: int | None = None) -> None:
    """Refuses depths that no list can have.

    Raises:
        ConfigError: No k, one below 1, or one past `length`.
    """
    if not ks or min(ks) < 1:
        raise ConfigError(f"k must be 1 or more, at least one of them; got {list(ks)}")
    if length is not None and max(ks) > length:
        raise ConfigError(f"metrics at k = {max(ks)} need lists that long; these hold {length}")


def find_hits(
    top: npt.NDArray[np.int32], truth: sparse.csr_array
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each place of each list is a held-out item, and how many each user has."""
    n_users, n_items = truth.shape
    if top.shape[0] != n_users:
        raise ShapeError(f"{top.shape[0]} lists, but held-out items of {n_users} users")
    if top.size and (top.min() < -1 or top.max() >= n_items):
        raise ShapeError(f"lists hold items {top.min()}..{top.max()}, not -1..{n_items - 1}")
    in_order = np.sort(top, axis=1)
    if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)).any():
        raise ShapeError("an item stands twice in a list, so its hit would count twice")
    stored = truth.tocoo()
    real = stored.data.astype(bool)
    # One int64 a (user, item) pair: membership is then one sorted search for the whole batch.
    held = np.unique(stored.row[real].astype(np.int64) * n_items + stored.col[real])
    n_truth = np.bincount(held // max(n_items, 1), minlength=n_users).astype(np.int64)
    asked = np.arange(n_users, dtype=np.int64)[:, None] * n_items + top
    at = np.searchsorted(held, asked)
    known = held[np.minimum(at, len(held) - 1)] == asked if len(held) else np.zeros(top.shape, bool)
    return known & (top >= 0), n_truth
