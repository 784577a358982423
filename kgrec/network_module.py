"""The graph network: text and identity vectors of items, refined over the knowledge graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kgrec.network import DenseVectors, NetworkConfig
from kgrec.propagate import Adjacency, RelationLayer

Vectors = npt.NDArray[np.float32]
_BLOCK = 2**18
"""Texts that are held in 64 bits at once."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where training starts from."""

    items: Vectors
    """Spectral vectors, (n_items, size)."""
    attributes: Vectors
    """Means of the spectral vectors of their items, (n_attributes, size)."""
    text: Vectors | None
    """Text embeddings, centred, (n_items, text_size)."""
    warm: npt.NDArray[np.bool_]
    """Whether an item has training interactions, (n_items,)."""
    n_relations: int
    """Directed relations."""


class GraphNetwork(nn.Module):
    """Vectors of items in both roles, W_g and item biases.

    The two roles lie side by side in one row, (n, 2 * size), so that one propagation serves both.
    What text explains of the spectral vectors (by ridge) starts as the text projection and the
    rest as identity, so that the sum is the spectral solution and an item without identity starts
    where its text says.

    Args:
        start: Where training starts from.
        config: Sizes and switches.
    """

    def __init__(self, start: Start, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.warm: Tensor
        self.text: Tensor | None
        self.register_buffer("warm", torch.from_numpy(start.warm.astype(np.float32)))
        self.register_buffer("text", None if start.text is None else torch.from_numpy(start.text))
        identity = start.items
        if start.text is not None:
            projection = _ridge(start.text, start.items, np.flatnonzero(start.warm))
            identity = start.items - start.text @ projection
            self.text_projection = nn.Parameter(torch.from_numpy(_two_roles(projection)))
        if not config.use_identity:
            identity = np.zeros_like(identity)
        self.identity = nn.Parameter(
            torch.from_numpy(_two_roles(identity)), requires_grad=config.use_identity
        )
        self.attributes = nn.Parameter(torch.from_numpy(_two_roles(start.attributes)))
        self.w_g = nn.Parameter(torch.eye(config.size))
        self.bias = nn.Parameter(torch.zeros(len(start.items)))
        rounds = config.layers if start.n_relations else 0
        self.layers = nn.ModuleList(
            RelationLayer(start.n_relations, 2 * config.size, config.gate_start)
            for _ in range(2 * rounds)
        )

    @property
    def has_content(self) -> bool:
        """Whether text or graph say anything about an item without identity."""
        return self.text is not None or len(self.layers) > 0

    def forward(
        self, adjacency: tuple[Adjacency, Adjacency] | None, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of every item.

        Args:
            adjacency: Edges into attributes and edges into items.
            kept: 1 where an item has its identity and bias, 0 where it must do without,
                (n_items,); None for all with training interactions.

        Returns:
            item_in and item_out (n_items, size), not yet unit, and bias (n_items,).
        """
        kept = self.warm if kept is None else kept * self.warm
        items = self.identity * kept[:, None]
        if self.text is not None:
            items = items + self.text @ self.text_projection
        if adjacency is not None and len(self.layers):
            nodes = torch.cat([items, self.attributes])
            for at, layer in enumerate(self.layers):
                nodes = layer(nodes, adjacency[at % 2])
            items = nodes[: len(items)]
        centred = self.bias - (self.bias * self.warm).sum() / self.warm.sum().clamp(min=1)
        item_in, item_out = torch.split(items, self.config.size, dim=1)
        return item_in, item_out, centred * kept

    @torch.no_grad()
    def vectors(self, adjacency: tuple[Adjacency, Adjacency] | None) -> DenseVectors:
        """What was learned, as arrays, without `entities`."""
        item_in, item_out, bias = self(adjacency)
        unit = nn.functional.normalize(item_out, dim=1) / self.config.temperature
        in_array, out_array, w_g, bias_array = (
            tensor.float().cpu().numpy().copy() for tensor in (item_in, unit, self.w_g, bias)
        )
        return DenseVectors(in_array, out_array, w_g, bias_array)


def _two_roles(vectors: Vectors) -> Vectors:
    return np.concatenate([vectors, vectors], axis=1, dtype=np.float32)


def _ridge(text: Vectors, wanted: Vectors, among: npt.NDArray[np.int64]) -> Vectors:
    """The map from text to vectors that is best in least squares over some rows,
    (text_size, size)."""
    gram, mixed = np.zeros((text.shape[1],) * 2), np.zeros((text.shape[1], wanted.shape[1]))
    for begin in range(0, len(among), _BLOCK):
        some = among[begin : begin + _BLOCK]
        wide = text[some].astype(np.float64)
        gram += wide.T @ wide
        mixed += wide.T @ wanted[some].astype(np.float64)
    return np.linalg.solve(gram + np.eye(len(gram)), mixed).astype(np.float32)
