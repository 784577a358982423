"""Training steps that compute every item: for shops whose graph is passed over in a moment."""

from __future__ import annotations

import numpy as np
import torch

from kgrec.graph import KnowledgeGraph
from kgrec.network import DenseVectors
from kgrec.network_examples import Batch
from kgrec.network_loss import Negatives, Visit
from kgrec.network_module import GraphNetwork
from kgrec.propagate import NO_LIMIT, Adjacency, Nodes, edges_of


class WholeSteps:
    """Every step passes over the whole graph, and Adam moves every vector.

    Args:
        module: What is trained, on its device.
        graph: Where messages go.
        nodes: Which nodes are visited.
    """

    def __init__(self, module: GraphNetwork, graph: KnowledgeGraph, nodes: Nodes) -> None:
        config = module.config
        self.module, self._graph, self._nodes = module, graph, nodes
        self._adjacency: tuple[Adjacency, Adjacency] | None = None
        adam = torch.optim.AdamW(
            module.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.optimizers: dict[str, torch.optim.Optimizer] = {"optimizer.": adam}

    def begin(self, generator: np.random.Generator) -> None:
        """Draws the edges of the epoch where there are more than it may visit."""
        self._adjacency = self._edges(self.module.config.max_edges_per_step, generator)

    def visit(self, batch: Batch, negatives: Negatives, generator: torch.Generator) -> Visit:
        """Vectors of every item; the batch stays as it is."""
        module, device = self.module, self.module.bias.device
        dropped = module.config.identity_dropout if module.has_content else 0.0
        kept = (torch.rand(len(module.bias), generator=generator) >= dropped).float().to(device)
        item_in, item_out, bias = module(self._adjacency, kept)
        sample, log_q = (drawn.to(device) for drawn in negatives.draw(generator))
        return Visit(item_in, item_out, bias, batch, sample, log_q)

    def vectors(self) -> DenseVectors:
        """What was learned, as arrays, over every edge, without `entities`."""
        return self.module.vectors(self._edges(NO_LIMIT, np.random.default_rng(0)))

    def _edges(
        self, max_edges: int, generator: np.random.Generator
    ) -> tuple[Adjacency, Adjacency] | None:
        config, device = self.module.config, self.module.bias.device
        if not config.layers or not self._graph.relations:
            return None
        attribute_edges, item_edges = edges_of(
            self._graph,
            self._nodes,
            hub_power=config.hub_power,
            max_edges=max_edges,
            generator=generator,
        )
        return Adjacency(attribute_edges, device), Adjacency(item_edges, device)
