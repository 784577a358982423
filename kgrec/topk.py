"""Ranked lists as arrays, and what makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kgrec.interactions import Interactions
from kgrec.vocabulary import Indices

Mask = npt.NDArray[np.bool_]


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
