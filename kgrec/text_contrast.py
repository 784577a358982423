"""The contrastive task: batches of pairs, which negatives are false, its loss and its measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgrec.text_pairs import Pairs

Mask = npt.NDArray[np.bool_]


class KnownPairs:
    """Every pair that is known to belong together, in both directions.

    Args:
        pairs: Positions of two texts, (n, 2).
        n_texts: One more than the largest position that may be asked for.
    """

    def __init__(self, pairs: Pairs, n_texts: int) -> None:
        self._n_texts = n_texts
        both = np.concatenate([pairs, pairs[:, ::-1]])
        self._keys = np.unique(both[:, 0] * n_texts + both[:, 1])

    def false_negatives(self, batch: Pairs) -> Mask:
        """Where left i and right j (i not j) belong together or are one text, (n, n) bool."""
        left, right = batch[:, :1], batch[:, 1]
        asked = left * self._n_texts + right
        at = np.searchsorted(self._keys, asked)
        known: Mask = self._keys[np.minimum(at, len(self._keys) - 1)] == asked
        known |= left == right
        np.fill_diagonal(known, False)
        return known


def contrastive_loss(left: Tensor, right: Tensor, false: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of each text's partner against the rest of the batch, both ways.

    Args:
        left: Unit vectors, (n, size) float32.
        right: Unit vectors of their partners, (n, size) float32.
        false: Pairs that are no negatives, (n, n) bool, False on the diagonal.
        temperature: What cosines are divided by, > 0.

    Returns:
        Scalar float32, >= 0.

    Source: van den Oord et al. 2018 (InfoNCE); Radford et al. 2021 (symmetric form).
    """
    logits = (left @ right.T / temperature).masked_fill(false, -torch.inf)  # (n, n)
    own = torch.arange(len(left), device=left.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def mean_reciprocal_rank(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32], false: Mask
) -> float:
    """Mean of one over the rank of each text's partner among all partners, both ways, in 0..1.

    Args:
        left: Unit vectors, (n, size) float32.
        right: Unit vectors of their partners, (n, size) float32.
        false: Pairs left out of the ranking, (n, n) bool, False on the diagonal.
    """
    cosine = np.where(false, -np.inf, left @ right.T)
    own = np.diagonal(cosine)
    # Ties count in full against the partner, so that vectors that are all alike score nothing.
    by_left = (cosine >= own[:, None]).sum(1)
    by_right = (cosine >= own[None, :]).sum(0)
    return float((1 / by_left + 1 / by_right).mean() / 2)


def batches(kinds: Sequence[Pairs], size: int, seed: int, first: int) -> Iterator[Pairs]:
    """Endless batches of one kind each, shuffled every epoch, from step `first` on.

    Step n is the same batch whatever `first` was, so that a resumed run meets what it would have.

    Args:
        kinds: Pairs of each kind, (n, 2); a kind with fewer than two is left out.
        size: Pairs a batch; less only where a kind has fewer in all.
        seed: Of the shuffling.
        first: Step of the first batch.
    """
    kinds = [kind for kind in kinds if len(kind) >= 2]
    per_epoch = sum(max(1, len(kind) // size) for kind in kinds)
    for epoch in count(first // per_epoch):
        generator = np.random.default_rng([seed, 2, epoch])
        cut = [
            part
            for kind in kinds
            for part in np.array_split(generator.permutation(kind), max(1, len(kind) // size))
        ]
        order = generator.permutation(len(cut))
        for at in order[max(0, first - epoch * per_epoch) :]:
            yield cut[at][:size]
