"""What a benchmark compares: anything that is fitted on interactions and scores a catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kgrec.baselines import seen_items
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.topk import TopK
from kgrec.vocabulary import Indices

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """An option that takes one of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """An option that takes a number between two, both included."""

    low: float
    high: float
    log: bool = False
    """Whether the search draws its logarithm evenly."""
    whole: bool = False
    """Whether only whole numbers do."""


Space = Mapping[str, Choice | Range]
"""What the search may choose, by option."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a model may see beside interactions."""

    graph: KnowledgeGraph
    text: npt.NDArray[np.float32] | None
    """Text embeddings of the items, (n_items, text_size)."""
    seed: int = 7
    """Of whatever is random in a model."""


class Scorer(Protocol):
    """A fitted model."""

    def scores(self, history: Interactions) -> Scores:
        """The score of every item for every user of `history`, (n_users, n_items), all finite.

        Users are computed from the history given, so that a model which was fitted on the
        training part can be asked about the same users with more known of them. Items that a
        user had are scored like any other; whoever makes the list removes them. A user without
        history gets popularity.
        """


class Baseline(Protocol):
    """A kind of model with its options."""

    @property
    def name(self) -> str:
        """As the table has it: `item-kNN`."""

    @property
    def source(self) -> str:
        """Paper, and the library that computes it if it is not ours."""

    @property
    def random(self) -> bool:
        """Whether another seed gives other lists."""

    def space(self, history: Interactions, material: Material) -> Space:
        """What may be tuned on this data; empty where nothing is."""

    def fit(self, history: Interactions, material: Material, options: Mapping[str, Any]) -> Scorer:
        """Fits one configuration; options that are not given keep their defaults."""


def lists(
    scorer: Scorer,
    history: Interactions,
    users: Indices,
    k: int,
    *,
    cells: int = 20_000_000,
) -> Iterator[TopK]:
    """The k best items of each user, items of the behaviour to predict removed, batch by batch.

    Args:
        scorer: The fitted model.
        history: Rows of every user.
        users: Whose lists, (n,).
        k: Length of the lists.
        cells: Scores held at once, which bounds memory.
    """
    k = min(k, history.n_items)
    batch = max(1, cells // history.n_items)
    for begin in range(0, len(users), batch):
        own = history.select(users[begin : begin + batch])
        scores = scorer.scores(own)
        seen = seen_items(own).tocoo()
        scores[seen.row, seen.col] = -np.inf
        yield best(scores, k)


def best(scores: Scores, k: int) -> TopK:
    """The k largest scores of each row, equal ones by item index; -1 where fewer are finite.

    Args:
        scores: (n_users, n_items), no NaN.
        k: In 1..n_items.
    """
    n_users, n_items = scores.shape
    least = np.partition(scores, n_items - k, axis=1)[:, n_items - k]
    # everything that ties at the border, which the stable sort below settles by index
    at = np.flatnonzero(scores >= least[:, None])
    row, value = at // n_items, scores.reshape(-1)[at]
    first = np.searchsorted(row, np.arange(n_users))
    order = np.lexsort((-value, row))[first[:, None] + np.arange(k)]
    items = (at[order] % n_items).astype(np.int32)
    value = value[order].astype(np.float32)
    items[~np.isfinite(value)] = -1
    return TopK(items, value)
