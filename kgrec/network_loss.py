"""What the graph network is trained to lower: sampled softmax over hidden items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from kgrec.data_parallel import ALONE, Group
from kgrec.errors import ShapeError
from kgrec.network import DenseVectors
from kgrec.network_examples import Batch
from kgrec.network_module import GraphNetwork
from kgrec.propagate import SparseMatrix


def sampled_softmax_loss(
    positive: Tensor, negative: Tensor, user: Tensor, weight: Tensor
) -> Tensor:
    """Weighted cross-entropy of hidden items against the sampled items of their user.

    Args:
        positive: Scores of hidden items, (n_targets,) float32.
        negative: Scores of sampled items less the log probability of each being in the sample,
            very low where a user has the item, (n_users, n_negatives) float32.
        user: Row of `negative` for each hidden item, (n_targets,) int64.
        weight: Of each hidden item, (n_targets,) float32.

    Returns:
        Scalar float32, >= 0.

    Raises:
        ShapeError: The lengths of `positive`, `user` and `weight` differ.

    Source: Bengio & Senecal 2008 (logQ correction).
    """
    if not positive.shape == user.shape == weight.shape:
        raise ShapeError(
            f"positive {tuple(positive.shape)}, user {tuple(user.shape)} and weight "
            f"{tuple(weight.shape)} differ"
        )
    partition = torch.logsumexp(negative, dim=1)[user]
    loss: Tensor = ((torch.logaddexp(positive, partition) - positive) * weight).sum()
    return loss


class Negatives:
    """Draws items to tell the hidden ones from, by popularity; cold items are never drawn.

    Args:
        popularity: Users that have each item, (n_items,).
        n_negatives: How many a draw holds; where the shop has not many more, it holds all.
        power: Items are drawn in proportion to popularity to this power.
        by_repeats: Whether a draw goes on with replacement until enough are distinct, to the
            same distribution: faster where the items are many times as many.
    """

    def __init__(
        self,
        popularity: npt.NDArray[np.int64],
        n_negatives: int,
        power: float,
        by_repeats: bool = False,
    ) -> None:
        self.items = torch.from_numpy(np.flatnonzero(popularity))
        self.n = min(n_negatives, len(self.items))
        if len(self.items) <= 1.5 * n_negatives:  # a draw would save little
            self.n = len(self.items)
        weight = popularity[popularity > 0].astype(np.float64) ** power
        self._share = torch.from_numpy(weight / weight.sum())
        self._up_to = np.cumsum(weight) if by_repeats else None
        self._log_q = torch.from_numpy(_log_inclusion(weight / weight.sum(), self.n)).float()

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Distinct items and the log probability of each being drawn, (n,) each."""
        if self.n == len(self.items):
            return self.items, self._log_q
        drawn = (
            torch.multinomial(self._share, self.n, generator=generator)
            if self._up_to is None
            else torch.from_numpy(_first_distinct(self._up_to, self.n, generator))
        )
        return self.items[drawn], self._log_q[drawn]


def _first_distinct(
    up_to: npt.NDArray[np.float64], n: int, generator: torch.Generator
) -> npt.NDArray[np.int64]:
    """The first n distinct places of a draw with replacement, given running sums of weights."""
    drawn = np.zeros(0, np.int64)
    while True:
        chance = torch.rand(2 * n, generator=generator, dtype=torch.float64).numpy() * up_to[-1]
        drawn = np.concatenate([drawn, np.searchsorted(up_to, chance, side="right")])
        _, first = np.unique(drawn, return_index=True)
        if len(first) >= n:
            return drawn[np.sort(first)[:n]]


def _log_inclusion(share: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """Log probability of each item being among n drawn without replacement, (n_items,).

    Such a draw takes the n items whose exponential clocks of rate `share` ring first; were the
    time of the last ring known, each would be in with probability 1 - exp(-share * time). The
    time at which n are expected is found by bisection.
    """
    if n >= len(share):
        return np.zeros(len(share))
    low, high = 0.0, 1.0
    while -np.expm1(-share * high).sum() < n:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-share * middle).sum() < n else (low, middle)
    inclusion: npt.NDArray[np.float64] = np.log(-np.expm1(-share * high))
    return inclusion


@dataclass(frozen=True, slots=True)
class Visit:
    """What one step computed: the vectors of some items, and the batch in terms of these."""

    item_in: Tensor
    """(n, size)."""
    item_out: Tensor
    """Not yet unit, (n, size)."""
    bias: Tensor
    """(n,)."""
    batch: Batch
    """Its items are places among the n."""
    sample: Tensor
    """Negatives, likewise, (n_negatives,)."""
    log_q: Tensor
    """Log probability of each being drawn, (n_negatives,)."""


class Steps(Protocol):
    """How training computes items, step by step."""

    module: GraphNetwork
    optimizers: dict[str, torch.optim.Optimizer]
    """By the prefix of their tensors in a checkpoint."""

    def begin(self, generator: np.random.Generator) -> None:
        """To be called before each epoch; draws the edges that it visits."""

    def visit(self, batch: Batch, negatives: Negatives, generator: torch.Generator) -> Visit:
        """Vectors of the items of a batch and of negatives, some without identity."""

    def vectors(self) -> DenseVectors:
        """What was learned, as arrays, over every edge, without `entities`."""


def batch_loss(
    steps: Steps,
    batch: Batch,
    negatives: Negatives,
    generator: torch.Generator,
    group: Group = ALONE,
) -> Tensor:
    """Loss of one batch, with some items' identity dropped.

    Args:
        steps: What is trained.
        batch: Users with a part hidden.
        negatives: Draws items to compare with.
        generator: Of the draw and of the dropout, on the CPU.
        group: Which process this is; the losses of all add up to that of the batch.
    """
    module = steps.module
    device, temperature = module.bias.device, module.config.temperature
    visit = steps.visit(batch, negatives, generator)
    batch, sample, bias = group.share(visit.batch), visit.sample, visit.bias
    target_user, target_item, weight, own_user, own_item = (
        torch.from_numpy(array).to(device)
        for array in (batch.target_user, batch.target_item, batch.target_weight,
                      batch.own_user, batch.own_item)
    )  # fmt: skip
    summed = SparseMatrix(batch.known, device) @ visit.item_in  # (n_users, size)
    # the temperature goes here, where it costs (n_users, size) and not (n_users, n_negatives)
    user = functional.normalize(summed @ module.w_g, dim=1) / temperature
    unit = functional.normalize(visit.item_out, dim=1)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        match = user @ unit[sample].T  # (n_users, n_negatives)
    score = match.float() + (bias[sample] - visit.log_q)
    place = torch.full((len(bias),), -1, device=device)
    place[sample] = torch.arange(len(sample), device=device)
    own_place = place[own_item]
    among = own_place >= 0
    lowest = torch.tensor(-1e9, device=device)  # not -inf: its gradient would be NaN in a full row
    score.index_put_((own_user[among], own_place[among]), lowest)
    # index_select: its backward adds in one order, that of [] in whichever its threads come by
    users, offered = user.index_select(0, target_user), unit.index_select(0, target_item)
    positive = (users * offered).sum(dim=1) + bias.index_select(0, target_item)
    return sampled_softmax_loss(positive, score, target_user, weight)
