"""Exact lists by brute force on a torch device: every item is scored, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from kgrec.device import product_precision
from kgrec.errors import ShapeError
from kgrec.topk import Mask, TopK

Vectors = npt.NDArray[np.float32]
BUDGET_BYTES = 2**30
"""Memory that a block of scores may take, with what ranks it."""
_BYTES_A_SCORE = 16
"""A score, what the selection of the best keeps of it, and two masks."""
_MOST_USERS = 4096
"""Users of a block."""


class ExactSearch:
    """Item vectors on a device that ranks them by their full scores, in float32.

    Lists are those of `merge.rank_union` over every item, up to the rounding of scores.

    Args:
        vectors: (n_items, size) float32. They stay on the device; on a GPU that has not twice
            their size free, each block is copied there when it is its turn.
        device: Where scores are computed.
        budget_bytes: Memory that a block of scores may take, with what ranks it.
    """

    def __init__(
        self, vectors: Vectors, device: torch.device, budget_bytes: int = BUDGET_BYTES
    ) -> None:
        self.device, self._budget_bytes = device, budget_bytes
        items = _tensor(np.ascontiguousarray(vectors, np.float32))
        fits = device.type != "cuda" or 2 * vectors.nbytes <= torch.cuda.mem_get_info(device)[0]
        self._items = items.to(device) if fits else items

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """The k items with the largest inner product, as an exact `ItemIndex` finds them.

        Args:
            queries: (n, size) float32.
            k: Items a query; no more than there are.

        Returns:
            Inner products and item indices, (n, min(k, n_items)) each, best first.

        Raises:
            ShapeError: A query has another size than the items.
        """
        top = self.top_k(queries, k)
        return top.scores, top.items.astype(np.int64)

    @torch.inference_mode()
    def top_k(
        self,
        query: Vectors,
        k: int,
        sparse: sp.csr_array | None = None,
        seen: sp.csr_array | None = None,
        allowed: Mask | None = None,
    ) -> TopK:
        """The k best items of each user, by inner product and what S adds.

        Args:
            query: (n, size) float32.
            k: Length of the lists, at least 1; no longer than the catalogue.
            sparse: x_u^T S of each user, (n, n_items); None for nothing.
            seen: Items to leave out, (n, n_items), by its entries; None for nothing.
            allowed: Items that a list may hold, (n_items,); None for all.

        Raises:
            ShapeError: A query has another size than the items.
        """
        n_items, size = self._items.shape
        if query.ndim != 2 or query.shape[1] != size:
            raise ShapeError(f"queries have shape {query.shape}, items have size {size}")
        n, k = len(query), min(k, n_items)
        top = TopK(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))
        refused = None if allowed is None else _tensor(~allowed).to(self.device)
        n_users, width = self._block_shape(n, k)
        with (
            product_precision("highest"),
            torch.autocast(self.device.type, enabled=False),
        ):
            for begin in range(0, n, n_users):
                rows = slice(begin, begin + n_users)
                best, items = self._ranked(
                    _tensor(np.ascontiguousarray(query[rows], np.float32)).to(self.device),
                    k,
                    width,
                    None if sparse is None else sparse[rows],
                    None if seen is None else seen[rows],
                    refused,
                )
                items = items.masked_fill(best == -torch.inf, -1)
                top.items[rows], top.scores[rows] = items.cpu().numpy(), best.cpu().numpy()
        return top

    def _block_shape(self, n: int, k: int) -> tuple[int, int]:
        """Users and items whose scores are held at once."""
        cells = max(self._budget_bytes // _BYTES_A_SCORE, 1)
        n_users = int(np.clip(cells // max(2 * k, 4096), 1, min(max(n, 1), _MOST_USERS)))
        return n_users, max(cells // n_users, k)

    def _ranked(
        self,
        query: Tensor,
        k: int,
        width: int,
        sparse: sp.csr_array | None,
        seen: sp.csr_array | None,
        refused: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Scores and items of the k best of each user, (n, k) each, best first."""
        n, n_items = len(query), len(self._items)
        best = torch.empty((n, 0), device=self.device)
        items = torch.empty((n, 0), dtype=torch.int64, device=self.device)
        edges = [*range(0, n_items, width), n_items]
        added, gone = _entries(sparse, edges, self.device), _entries(seen, edges, self.device)
        for begin, end in pairwise(edges):
            scores = query @ self._items[begin:end].to(self.device).T  # (n, end - begin)
            flat = scores.view(-1)
            place, value = next(added)
            flat.index_add_(0, place, value)
            place, _ = next(gone)
            flat.index_fill_(0, place, -torch.inf)
            if refused is not None:
                scores.masked_fill_(refused[begin:end], -torch.inf)
            own, at = _best(scores, min(k, end - begin))
            # Earlier items stand first, so a stable sort leaves equal scores in order of items.
            best = torch.cat([best, own], dim=1)
            items = torch.cat([items, at + begin], dim=1)
            best, order = best.sort(dim=1, descending=True, stable=True)
            best, items = best[:, :k], items.gather(1, order[:, :k])
        return best, items


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and their columns, best first; equal ones go by column.

    Args:
        scores: (n, width).
        k: 1..width.

    Returns:
        (n, k) float32 and (n, k) int64.
    """
    value, at = scores.topk(k, dim=1, sorted=False)
    at, order = at.sort(dim=1)
    value = value.gather(1, order)
    if k < scores.shape[1]:
        # topk takes any of those that are equal to the last one; the first belong in the list.
        last = value.amin(dim=1, keepdim=True)
        equal, taken = scores == last, value == last
        torn = (equal.sum(dim=1) > taken.sum(dim=1)) & (last[:, 0] > -torch.inf)
        if torn.any():
            few, equal = scores[torn], equal[torn]
            above = few > last[torn]
            missing = k - above.sum(dim=1, keepdim=True)
            chosen = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= missing))
            at[torn] = chosen.nonzero()[:, 1].view(-1, k)
            value[torn] = few.gather(1, at[torn])
    value = value + 0.0  # of the two zeros, which are equal, one: a sort may tell them apart
    value, order = value.sort(dim=1, descending=True, stable=True)
    return value, at.gather(1, order)


def _entries(
    matrix: sp.csr_array | None, edges: list[int], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The entries of a matrix between each two edges of columns: where each lies in such a block
    of rows, read as one vector, (n_entries,) int64, and its value, (n_entries,) float32."""
    if matrix is None:
        matrix = sp.csr_array((1, edges[-1]), dtype=np.float32)
    counts = torch.from_numpy(np.diff(matrix.indptr).astype(np.int64)).to(device)
    row = torch.arange(len(counts), device=device).repeat_interleave(counts)
    column = _tensor(matrix.indices).to(device).long()
    value = _tensor(matrix.data).to(device).float()
    bounds = [0, len(column)]
    if len(edges) > 2:
        column, order = column.sort()
        row, value = row[order], value[order]
        bounds = torch.searchsorted(column, torch.tensor(edges, device=device)).tolist()
    for at, (begin, end) in enumerate(pairwise(edges)):
        some = slice(bounds[at], bounds[at + 1])
        yield row[some] * (end - begin) + (column[some] - begin), value[some]


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """The array as torch has it; one that may not be written to, as of a Ray worker, is copied."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
