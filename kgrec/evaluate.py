"""How good a model's lists are on what it held out, beside the baselines, by group of users.

A user counts who has at least one held-out item: distinct items of the behaviour to predict that
are not in the user's history already (a list leaves those out, so they cannot be hit; how many
there were is said). Lists are made from the model's own history over the full catalogue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kgrec.baselines import ItemKNN, ItemKNNConfig, Popularity, seen_items, users_of_item
from kgrec.errors import KgrecError
from kgrec.evaluation import (
    COLD_ALONE,
    COLD_ITEMS,
    COLD_USERS,
    EVERYONE,
    WARM_ITEMS,
    Evaluation,
    Group,
)
from kgrec.interactions import Interactions
from kgrec.metrics import (
    PerUser,
    check_depths,
    coverage,
    evaluate_lists,
    exposure,
    gini,
    mean_metrics,
    novelty,
)
from kgrec.progress import track
from kgrec.topk import ListSource, Mask, TopK
from kgrec.topk import batch_size as sized
from kgrec.vocabulary import Indices

Baseline = Literal["popularity", "item-knn"]
Lists = Callable[[Indices], TopK]


class Evaluable(ListSource, Protocol):
    """What can be evaluated; `kgrec.Recommender` is one."""

    @property
    def held_out(self) -> Interactions | None:
        """What it is to predict."""


def evaluate_model(
    recommender: Evaluable,
    ks: Sequence[int] = (5, 10, 20),
    *,
    baselines: Sequence[Baseline] = ("popularity",),
    item_knn: ItemKNNConfig | None = None,
    exclude_seen: bool = True,
    batch_size: int | None = None,
) -> Evaluation:
    """Scores a model's lists, and the baselines', on the part that the model held out.

    Args:
        recommender: The model; its history makes the lists and fits the baselines.
        ks: Depths of the lists, each >= 1.
        baselines: Which to put beside it.
        item_knn: Options of the item-kNN, when it is asked for.
        exclude_seen: Whether lists leave out what a user has, and so what is held out does too.
        batch_size: Users ranked at once; None chooses by the size of the catalogue.

    Raises:
        KgrecError: The model held nothing out, or nothing that counts.
        ConfigError: A k is below 1.
    """
    check_depths(ks)
    ks = tuple(sorted(set(ks)))
    held_out, history = recommender.held_out, recommender.history
    if held_out is None or not len(held_out):
        raise KgrecError(
            "the model held nothing out, so there is nothing to evaluate it on: "
            "fit it again with --split leave-last-out"
        )
    truth, n_seen = _truth(held_out, history, exclude_seen)
    if not truth.nnz:
        raise KgrecError(
            "every held-out item is in its user's history already, and lists leave those out: "
            "fit again with another --split, or evaluate with exclude_seen=False"
        )
    scene = _Scene.of(history, truth, ks, batch_size)
    k = min(max(ks), truth.shape[1])
    models: dict[str, tuple[Group, ...]] = {}
    seconds: dict[str, float] = {}
    for name in ("kgrec", *baselines):
        started = time.perf_counter()
        lists = _lists_of(name, recommender, k, exclude_seen, item_knn)
        models[name] = tuple(_groups(scene, lists, name))
        seconds[name] = time.perf_counter() - started
    if COLD_ITEMS in scene.targets:
        models["kgrec"] += (_cold_alone(scene, recommender),)
        models["chance"] = (_chance(scene),)
    return Evaluation(
        ks=ks,
        n_items=truth.shape[1],
        n_users=len(scene.users),
        n_users_without=truth.shape[0] - len(scene.users),
        n_held_out=int(truth.nnz),
        n_seen=n_seen,
        n_cold_users=int(scene.cold_user.sum()),
        n_cold_items=int(scene.cold_item.sum()),
        n_cold_held_out=int(scene.targets[COLD_ITEMS].nnz) if COLD_ITEMS in scene.targets else 0,
        models=models,
        seconds=seconds,
    )


def evaluate_top_k(
    top: TopK, truth: sparse.csr_array, ks: Sequence[int] = (5, 10, 20)
) -> dict[str, float]:
    """Mean metrics of lists that are there already: accuracy, coverage and gini at each k.

    Args:
        top: Lists, (n, length).
        truth: Held-out items, (n, n_items); users without any do not count.
        ks: Depths, each 1..length.

    Raises:
        ShapeError: Users differ in number, or an item is out of range or stands twice in a list.
        ConfigError: A k is out of range.
    """
    metrics = mean_metrics(evaluate_lists(top.items, truth, ks))
    counted = np.diff(truth.indptr) > 0
    for k in ks:
        shown = exposure(top.items[counted], truth.shape[1], k)
        metrics |= {f"coverage@{k}": coverage(shown), f"gini@{k}": gini(shown)}
    return metrics


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every model is scored on."""

    ks: tuple[int, ...]
    users: Indices
    """Users that count, (n,)."""
    truth: sparse.csr_array
    """What each of them is to get, (n, n_items)."""
    targets: Mapping[str, sparse.csr_array]
    """The same under `EVERYONE`; warm and cold items apart where there are cold ones."""
    cold_user: Mask
    cold_item: Mask
    groups: Mapping[str, Mask]
    """Members of each group, (n,)."""
    users_of_item: npt.NDArray[np.int64]
    n_known_users: int
    batch_size: int

    @staticmethod
    def of(
        history: Interactions, truth: sparse.csr_array, ks: tuple[int, ...], batch_size: int | None
    ) -> _Scene:
        users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
        n_items = truth.shape[1]
        lengths = np.diff(history.start)[users]
        cold_item = np.bincount(history.item, minlength=n_items) == 0
        own = truth[users]
        targets = {EVERYONE: own}
        cold = _only(own, cold_item)
        if cold.nnz:
            targets |= {WARM_ITEMS: _only(own, ~cold_item), COLD_ITEMS: cold}
        return _Scene(
            ks=ks,
            users=users,
            truth=own,
            targets=targets,
            cold_user=lengths == 0,
            cold_item=cold_item,
            groups={EVERYONE: np.ones(len(users), bool), **activity_groups(lengths)},
            users_of_item=users_of_item(history),
            n_known_users=int((np.diff(history.start) > 0).sum()),
            batch_size=batch_size or sized(n_items),
        )

    def batches(self, what: str, rows: Indices | None = None) -> Iterator[Indices]:
        """Positions of the users to rank at once, with a progress bar."""
        rows = np.arange(len(self.users), dtype=np.int64) if rows is None else rows
        parts = [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
        yield from track(parts, f"ranking: {what}", unit="batch")


def _truth(
    held_out: Interactions, history: Interactions, exclude_seen: bool
) -> tuple[sparse.csr_array, int]:
    """Held-out items that count, (n_users, n_items), and how many pairs were seen before."""
    truth = seen_items(held_out)
    new = sparse.csr_array(truth - truth.multiply(seen_items(history)))
    new.eliminate_zeros()
    return (new if exclude_seen else truth), int(truth.nnz - new.nnz)


def _only(truth: sparse.csr_array, items: Mask) -> sparse.csr_array:
    kept = truth.copy()
    kept.data = kept.data * items[kept.indices]
    kept.eliminate_zeros()
    return kept


def activity_groups(lengths: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """Quarters of the users by the length of their history; equal lengths stay together."""
    groups: dict[str, Mask] = {}
    known = lengths[lengths > 0]
    quarters = np.quantile(known, [0.25, 0.5, 0.75, 1], method="lower") if len(known) else known
    low = 0
    for edge in np.unique(quarters):
        inside = (lengths > low) & (lengths <= edge)
        least = int(lengths[inside].min())
        span = f"{least}" if least == edge else f"{least} to {int(edge)}"
        groups[f"history of {span}"] = inside
        low = int(edge)
    if (lengths == 0).any():
        groups[COLD_USERS] = lengths == 0
    return groups


def _lists_of(
    name: str, recommender: Evaluable, k: int, exclude_seen: bool, item_knn: ItemKNNConfig | None
) -> Lists:
    """What makes the lists of one model; a baseline is fitted here."""
    history = recommender.history
    if name == "kgrec":
        return lambda users: recommender.top_k(users, k, exclude_seen=exclude_seen)
    model = Popularity(history) if name == "popularity" else ItemKNN(history, item_knn)
    return lambda users: model.top_k(users, k, history=history, exclude_seen=exclude_seen)


def _groups(scene: _Scene, lists: Lists, name: str) -> Iterator[Group]:
    """Ranks batch by batch; keeps a few numbers a user and the exposure of each item."""
    n_items = scene.truth.shape[1]
    shown = {k: np.zeros(n_items, np.int64) for k in scene.ks}
    parts: dict[str, list[PerUser]] = {target: [] for target in scene.targets}
    for rows in scene.batches(name):
        top = _padded(lists(scene.users[rows]).items, max(scene.ks))
        for target, truth in scene.targets.items():
            parts[target].append(evaluate_lists(top, truth[rows], scene.ks))
        for k in scene.ks:
            shown[k] += exposure(top, n_items, k)
    per_user = {target: _joined(some) for target, some in parts.items()}
    for group, members in scene.groups.items():
        metrics = mean_metrics(per_user[EVERYONE], members)
        if group == EVERYONE:
            for k, counts in shown.items():
                bits = novelty(counts, scene.users_of_item, scene.n_known_users)
                metrics[f"coverage@{k}"] = coverage(counts)
                metrics[f"novelty@{k}"] = bits
                metrics[f"gini@{k}"] = gini(counts)
        yield Group(group, int(members.sum()), metrics)
    for target in [target for target in scene.targets if target != EVERYONE]:
        yield Group(target, _n_users(scene.targets[target]), mean_metrics(per_user[target]))


def _cold_alone(scene: _Scene, recommender: Evaluable) -> Group:
    """Cold items as the only candidates: whether text and graph can tell them apart."""
    truth = scene.targets[COLD_ITEMS]
    rows = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    k = min(max(scene.ks), int(scene.cold_item.sum()))
    parts = []
    for batch in scene.batches("cold items", rows):
        top = recommender.top_k(scene.users[batch], k, allowed=scene.cold_item)
        padded = _padded(top.items, max(scene.ks))
        parts.append(evaluate_lists(padded, truth[batch], scene.ks))
    return Group(COLD_ALONE, len(rows), mean_metrics(_joined(parts)))


def _chance(scene: _Scene) -> Group:
    """What a random order of the cold items is expected to reach."""
    n_cold = int(scene.cold_item.sum())
    metrics = {f"recall@{k}": min(k, n_cold) / n_cold for k in scene.ks}
    return Group(COLD_ALONE, _n_users(scene.targets[COLD_ITEMS]), metrics)


def _n_users(truth: sparse.csr_array) -> int:
    return int(np.count_nonzero(np.diff(truth.indptr)))


def _joined(parts: Sequence[PerUser]) -> PerUser:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _padded(top: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.int32]:
    """Lists of a small catalogue made as long as the deepest k."""
    missing = length - top.shape[1]
    return np.pad(top, ((0, 0), (0, missing)), constant_values=-1) if missing > 0 else top
