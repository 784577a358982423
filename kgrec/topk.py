"""Ranked lists as arrays, and what makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kgrec.interactions import Interactions
from kgrec.vocabulary import Indices

Mask = npt.NDArray[np.bool_]


BUDGET_BYTES = 256 * 2**20
"""Memory that a batch of lists may take, as far as it decides the size of a batch."""
_CANDIDATES = 2**14


def batch_size(n_items: int) -> int:
    """Users to rank at once: a score, an index and a copy of each for every candidate of theirs,
    who are the catalogue or, where that is larger, what S and the index seldom go beyond."""
    return int(np.clip(BUDGET_BYTES // (min(max(n_items, 1), _CANDIDATES) * 16), 16, 4096))


@dataclass(frozen=True, slots=True)
class TopK:
    """The k best items of each of n users, best first; equal scores go by item index."""

    items: npt.NDArray[np.int32]
    """Item indices, (n, k); -1 past the end of a list shorter than k."""
    scores: npt.NDArray[np.float32]
    """Scores, (n, k), non-increasing along a row; -inf where `items` is -1."""


class ListSource(Protocol):
    """What lists are made from; `kgrec.Recommender` is one."""

    @property
    def history(self) -> Interactions:
        """Who has what, unless `top_k` is given another."""

    def top_k(
        self,
        users: Indices,
        k: int,
        *,
        history: Interactions | None = None,
        allowed: Mask | None = None,
        exclude_seen: bool = True,
    ) -> TopK:
        """The k best items of each of these users."""
