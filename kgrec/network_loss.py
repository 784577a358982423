"""What the graph network is trained to lower: sampled softmax over hidden items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from kgrec.errors import ShapeError
from kgrec.network_examples import Batch
from kgrec.network_module import GraphNetwork
from kgrec.propagate import Adjacency, SparseMatrix


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
    """

    def __init__(self, popularity: npt.NDArray[np.int64], n_negatives: int, power: float) -> None:
        self.items = torch.from_numpy(np.flatnonzero(popularity))
        self.n = min(n_negatives, len(self.items))
        if len(self.items) <= 1.5 * n_negatives:  # a draw would save little
            self.n = len(self.items)
        weight = popularity[popularity > 0].astype(np.float64) ** power
        self._share = torch.from_numpy(weight / weight.sum())
        self._log_q = torch.from_numpy(_log_inclusion(weight / weight.sum(), self.n)).float()

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Distinct items and the log probability of each being drawn, (n,) each."""
        if self.n == len(self.items):
            return self.items, self._log_q
        drawn = torch.multinomial(self._share, self.n, generator=generator)
        return self.items[drawn], self._log_q[drawn]


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


def batch_loss(
    module: GraphNetwork,
    adjacency: tuple[Adjacency, Adjacency] | None,
    batch: Batch,
    negatives: Negatives,
    generator: torch.Generator,
) -> Tensor:
    """Loss of one batch, with some items' identity dropped.

    Args:
        module: What is trained.
        adjacency: The graph's edges.
        batch: Users with a part hidden.
        negatives: Draws items to compare with.
        generator: Of the draw and of the dropout, on the CPU.
    """
    config, device = module.config, module.bias.device
    n_items = len(module.bias)
    dropped = config.identity_dropout if module.has_content else 0.0
    kept = (torch.rand(n_items, generator=generator) >= dropped).float().to(device)
    item_in, item_out, bias = module(adjacency, kept)
    sample, log_q = (drawn.to(device) for drawn in negatives.draw(generator))
    target_user, target_item, weight, own_user, own_item = (
        torch.from_numpy(array).to(device)
        for array in (batch.target_user, batch.target_item, batch.target_weight,
                      batch.own_user, batch.own_item)
    )  # fmt: skip
    summed = SparseMatrix(batch.known, device) @ item_in  # (n_users, size)
    # the temperature goes here, where it costs (n_users, size) and not (n_users, n_negatives)
    user = functional.normalize(summed @ module.w_g, dim=1) / config.temperature
    unit = functional.normalize(item_out, dim=1)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        match = user @ unit[sample].T  # (n_users, n_negatives)
    score = match.float() + (bias[sample] - log_q)
    place = torch.full((n_items,), -1, device=device)
    place[sample] = torch.arange(len(sample), device=device)
    own_place = place[own_item]
    among = own_place >= 0
    lowest = torch.tensor(-1e9, device=device)  # not -inf: its gradient would be NaN in a full row
    score.index_put_((own_user[among], own_place[among]), lowest)
    # index_select: its backward adds in one order, that of [] in whichever its threads come by
    users, offered = user.index_select(0, target_user), unit.index_select(0, target_item)
    positive = (users * offered).sum(dim=1) + bias.index_select(0, target_item)
    return sampled_softmax_loss(positive, score, target_user, weight)
