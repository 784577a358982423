"""One network trained by several processes: each has its share of every batch's users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from kgrec.network_examples import Batch

_PATIENCE = timedelta(days=1)
"""How long a rank waits for another, which may be judging; of a death it hears at once."""


class LostPeerError(Exception):
    """Another rank is gone. Whoever started the ranks starts them again; no caller sees it."""


@dataclass(frozen=True, slots=True)
class Group:
    """The processes that train one network together, as one of them sees them.

    All compute the vectors of the same items from the same draws, and each the loss of its own
    users, so the gradients' sum is that of one process. It is taken after backward, as torch's
    DistributedDataParallel does, which itself takes no sparse gradient of a plain parameter and
    would want a module whose forward is the loss.

    Raises:
        LostPeerError: In every method that speaks to the others: one of them is gone.
    """

    rank: int = 0
    """Place among the processes, from 0; the first judges, saves and gives the result."""
    size: int = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this is the first."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """This rank's users of a batch; weights stay, so that all ranks' sum to 1."""
        if self.size == 1:
            return batch
        n = batch.known.shape[0]
        begin, end = (n * rank // self.size for rank in (self.rank, self.rank + 1))
        targets, owns = (
            slice(*np.searchsorted(users, [begin, end]))
            for users in (batch.target_user, batch.own_user)
        )
        return Batch(
            known=batch.known[begin:end],
            target_user=batch.target_user[targets] - begin,
            target_item=batch.target_item[targets],
            target_weight=batch.target_weight[targets],
            own_user=batch.own_user[owns] - begin,
            own_item=batch.own_item[owns],
        )

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replaces each gradient by the sum over all ranks, the same bits on each.

        Args:
            parameters: After backward. A sparse gradient has the same rows in the same order on
                every rank, since the items of a step are those of the whole batch.
        """
        if self.size == 1:
            return
        with _peers():
            for gradient in (each.grad for each in parameters if each.grad is not None):
                dist.all_reduce(gradient._values() if gradient.is_sparse else gradient)

    def follow_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors by those of the first rank."""
        if self.size == 1:
            return
        with _peers(), torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def of_first(self, value: float) -> float:
        """The first rank's value, on every rank."""
        held = torch.tensor(value, dtype=torch.float64)
        self.follow_first([held])
        return float(held)


ALONE = Group()
"""A process that trains by itself; nothing is exchanged."""


def meeting_point(host: str) -> TCPStore:
    """Where ranks meet, at a free port; of the first, which keeps it while they train."""
    return TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_PATIENCE)


def join(group: Group, host: str, port: int, own: TCPStore | None) -> Group:
    """Meets the other ranks, once a process, and waits for all of them.

    Args:
        group: Which rank this process is, of how many.
        host: Where the first has its meeting point.
        port: Likewise.
        own: The meeting point, in the first.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _peers():
        store = own or TCPStore(host, port, is_master=False, timeout=_PATIENCE)
        dist.init_process_group(
            backend, store=store, rank=group.rank, world_size=group.size, timeout=_PATIENCE
        )
    return group


@contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo has no type of its own
        raise LostPeerError(str(error)) from error
