"""Message passing over the knowledge graph, relation by relation, cheap on a CPU."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor
from torch_geometric.nn import MessagePassing

from kgrec.graph import KnowledgeGraph

Ints = npt.NDArray[np.int64]
NO_LIMIT = 2**62
"""More edges than any graph has."""


class SparseMatrix:
    """A constant sparse matrix with its transpose beside it, so that backward is as fast.

    Args:
        matrix: (n_rows, n_columns).
        device: Where products are computed.
    """

    def __init__(self, matrix: csr_array, device: torch.device | None = None) -> None:
        self._forward = _to_torch(matrix, device)
        self._transpose = _to_torch(csr_array(matrix.T.tocsr()), device)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """The product with (n_columns, size); differentiable in `dense`."""
        return self.added(None, dense)

    def added(self, base: Tensor | None, dense: Tensor) -> Tensor:
        """`base` (n_rows, size) plus the product, in one pass; differentiable in both."""
        sum_: Tensor = _Sum.apply(base, dense, self._forward, self._transpose)  # type: ignore[no-untyped-call]
        return sum_


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, base: Tensor | None, dense: Tensor, matrix: Tensor, transpose: Tensor
    ) -> Tensor:
        ctx.transpose = transpose
        return _sum(base, matrix, dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (gradient,) = gradients
        base = gradient if ctx.needs_input_grad[0] else None
        return base, _sum(None, ctx.transpose, gradient), None, None


def _sum(base: Tensor | None, matrix: Tensor, dense: Tensor) -> Tensor:
    if base is None:  # matrix @ dense would write zeros first and copy afterwards
        return torch.addmm(dense.new_zeros(1), matrix, dense, beta=0)
    return torch.addmm(base, matrix, dense)


def _to_torch(matrix: csr_array, device: torch.device | None) -> Tensor:
    # 32 bits where they do: MKL would narrow 64-bit indices anew in every product
    kind = np.int32 if max(matrix.nnz, *matrix.shape) < 2**31 else np.int64
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(kind)),
            torch.from_numpy(matrix.indices.astype(kind)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            device=device,
            check_invariants=False,
        )


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that message passing visits: every item, then attributes that items hear of.

    An attribute with a single edge cannot say that two items are alike, and what stands further
    from any item than messages travel reaches none.
    """

    n_items: int
    offset: dict[str, int]
    """First position of each kind among all nodes but users; items are at 0."""
    visited: npt.NDArray[np.bool_]
    """Whether each of all nodes is visited."""
    position: Ints
    """The position among the nodes visited, -1 where not visited."""
    n: int
    listens: npt.NDArray[np.bool_]
    """Whether what a visited node hears can still reach an item; others only speak, (n,)."""

    @staticmethod
    def of(graph: KnowledgeGraph, layers: int = 1) -> Nodes:
        """Every item and the attributes of two edges or more at most layers + 1 edges away."""
        offset, total = {"item": 0}, graph.n_items
        for kind, vocabulary in graph.nodes.items():
            if kind not in ("item", "user"):
                offset[kind] = total
                total += len(vocabulary)
        degree = np.zeros(total, np.int64)
        links = [np.zeros((2, 0), np.int64)]
        for relation in graph.relations:
            for kind, row in ((relation.head, 0), (relation.tail, 1)):
                if kind != "user":
                    degree += np.bincount(relation.edges[row] + offset[kind], minlength=total)
            if "user" not in (relation.head, relation.tail):
                far = np.array([[offset[relation.head]], [offset[relation.tail]]])
                links.append(relation.edges + far)
        head, tail = np.concatenate(links, axis=1)
        near = np.arange(total) < graph.n_items
        for _ in range(layers + 1):
            listens, near = near, near.copy()
            near[tail[listens[head]]] = near[head[listens[tail]]] = True
        visited = near & ((degree >= 2) | (np.arange(total) < graph.n_items))
        position = np.where(visited, np.cumsum(visited) - 1, -1)
        return Nodes(graph.n_items, offset, visited, position, int(visited.sum()), listens[visited])


@dataclass(frozen=True, slots=True)
class Edges:
    """Directed edges into one group of nodes, with weights that make each relation's sum a mean."""

    source: Ints
    target: Ints
    relation: Ints
    """Twice the relation's place in the graph, plus one when tail to head, (n_edges,)."""
    weight: npt.NDArray[np.float32]
    n_nodes: int
    n_relations: int
    """Directed relations, twice those of the graph."""


def edges_of(
    graph: KnowledgeGraph,
    nodes: Nodes,
    *,
    hub_power: float,
    max_edges: int,
    generator: np.random.Generator,
) -> tuple[Edges, Edges]:
    """Edges into attributes, then edges into items, both directions of every relation.

    Relations with users are left out: users are computed from their histories.

    Args:
        graph: Where the edges come from.
        nodes: Which nodes are visited.
        hub_power: A source of degree d weighs d ** -hub_power in the means it enters.
        max_edges: How many directed edges both groups may have together; past it each edge is
            kept with equal probability.
        generator: Draws the sample.
    """
    parts: list[tuple[Ints, Ints, Ints, npt.NDArray[np.float32]]] = []
    for place, relation in enumerate(graph.relations):
        if "user" in (relation.head, relation.tail):
            continue
        head = nodes.position[relation.edges[0] + nodes.offset[relation.head]]
        tail = nodes.position[relation.edges[1] + nodes.offset[relation.tail]]
        both = np.flatnonzero((head >= 0) & (tail >= 0))
        head, tail, weight = head[both], tail[both], relation.weight[both]
        for source, target, way in ((head, tail, 0), (tail, head, 1)):
            parts.append((source, target, np.full(len(source), 2 * place + way), weight))
    if not parts:
        none = np.zeros(0, np.int64)
        parts.append((none, none, none, np.zeros(0, np.float32)))
    source, target, relation_of, weight = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    degree = np.bincount(source, minlength=nodes.n)
    heard = nodes.listens[target]
    source, target, relation_of, weight = (
        column[heard] for column in (source, target, relation_of, weight)
    )
    if len(source) > max_edges:
        kept = np.flatnonzero(generator.random(len(source)) < max_edges / len(source))
        source, target, relation_of, weight = (
            column[kept] for column in (source, target, relation_of, weight)
        )
    weight = weight * np.maximum(degree[source], 1).astype(np.float32) ** -hub_power
    key = relation_of * nodes.n + target
    _, group = np.unique(key, return_inverse=True)
    weight = (weight / np.bincount(group, weight)[group]).astype(np.float32) if len(key) else weight
    into_items = target < nodes.n_items
    attribute_edges, item_edges = (
        Edges(source[m], target[m], relation_of[m], weight[m], nodes.n, 2 * len(graph.relations))
        for m in (~into_items, into_items)
    )
    return attribute_edges, item_edges


class Adjacency:
    """Edges in the form a layer wants: a mean for each (relation, node), gated on its narrow side.

    A gate may stand before the mean or after it; few attributes that many items have are gated
    once each, not once for every item.
    """

    def __init__(self, edges: Edges, device: torch.device | None = None) -> None:
        n = edges.n_nodes
        by_source = np.unique(edges.relation * n + edges.source, return_inverse=True)
        by_target = np.unique(edges.relation * n + edges.target, return_inverse=True)
        self.gates_sources = len(by_source[0]) < len(by_target[0])
        key, place = by_source if self.gates_sources else by_target
        rows, shape = (place.ravel(), edges.source), (len(key), n)
        if self.gates_sources:
            rows, shape = (edges.target, place.ravel()), (n, len(key))
        self.mean = SparseMatrix(csr_array(coo_array((edges.weight, rows), shape).tocsr()), device)
        self.node = torch.from_numpy(key % n).to(device)
        one_hot = csr_array(
            (np.ones(len(key)), (np.arange(len(key)), key // n)), (len(key), edges.n_relations)
        )
        # picks the relation of each key; as a product its backward is a sum, not a slow scatter
        self.relation = SparseMatrix(one_hot, device)


class RelationLayer(MessagePassing):  # type: ignore[misc]
    """x_i' = x_i + sum over relations r of w_r * mean over j in N_r(i) of x_j, element by element.

    Args:
        n_relations: Directed relations, twice those of the graph.
        size: Length of a node's vector.
        gate: What every w_r starts at.

    Shapes:
        x (n_nodes, size) -> (n_nodes, size)
    """

    def __init__(self, n_relations: int, size: int, gate: float) -> None:
        super().__init__(aggr="add")
        self.gate = torch.nn.Parameter(torch.full((n_relations, size), gate))

    def forward(self, x: Tensor, edges: Adjacency | Edges) -> Tensor:
        """One product of a sparse matrix over `Adjacency`; edge by edge, some ten times slower
        and meant for comparison, over `Edges`."""
        if isinstance(edges, Adjacency):
            gate = edges.relation @ self.gate  # (n_keys, size)
            if edges.gates_sources:
                return edges.mean.added(x, x.index_select(0, edges.node) * gate)
            return x.index_add(0, edges.node, (edges.mean @ x) * gate)
        edge_index = torch.from_numpy(np.stack([edges.source, edges.target])).to(x.device)
        passed: Tensor = self.propagate(
            edge_index,
            x=x,
            weight=torch.from_numpy(edges.weight).to(x.device),
            relation=torch.from_numpy(edges.relation).to(x.device),
        )
        return x + passed

    def message(self, x_j: Tensor, weight: Tensor, relation: Tensor) -> Tensor:
        """One edge's share of a mean, gated by its relation, (n_edges, size)."""
        return x_j * weight[:, None] * self.gate[relation]
