"""Items that the search lets compete with held-out ones: of a large catalogue, a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp


@dataclass(frozen=True, slots=True)
class Candidates:
    """Some items, and how many of the catalogue each stands for when ranks are counted."""

    items: npt.NDArray[np.int64]
    """Sorted, (n_candidates,)."""
    weight: npt.NDArray[np.float32] | None
    """(n_candidates,); None where the whole catalogue competes."""

    def columns(self, matrix: sp.csr_array) -> sp.csr_array:
        """The columns of the candidates, (n_rows, n_candidates)."""
        return matrix if self.weight is None else sp.csr_array(matrix[:, self.items])


def draw_candidates(truth: sp.csr_array, most: int, seed: int) -> Candidates:
    """A random sample of the catalogue, and what is held out.

    Each sampled item stands for as many as there are for one of the sample, whether it is popular
    or not: the rank of a held-out item is, in the mean, its rank in the catalogue. Items that are
    candidates only because they are held out stand for none, for they are no random ones.

    Args:
        truth: Held-out items, (n_users, n_items).
        most: Size of the sample, >= 1.
        seed: Draws it.
    """
    n = truth.shape[1]
    if n <= most:
        return Candidates(np.arange(n), None)
    weight = np.full(n, -1, np.float32)
    weight[truth.indices] = 0
    weight[np.random.default_rng(seed).choice(n, most, replace=False)] = n / most
    items = np.flatnonzero(weight >= 0)
    return Candidates(items, weight[items])
