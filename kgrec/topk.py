"""Ranked lists as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TopK:
    """The k best items of each of n users, best first; equal scores go by item index."""

    items: npt.NDArray[np.int32]
    """Item indices, (n, k); -1 past the end of a list shorter than k."""
    scores: npt.NDArray[np.float32]
    """Scores, (n, k), non-increasing along a row; -inf where `items` is -1."""
