"""Training steps that compute only the items of their batch: for shops of millions of items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csc_array, csr_array
from torch import Tensor
from torch.nn import functional

from kgrec.graph import KnowledgeGraph
from kgrec.network import DenseVectors
from kgrec.network_examples import Batch, rows_of
from kgrec.network_loss import Negatives, Visit
from kgrec.network_module import GraphNetwork
from kgrec.propagate import NO_LIMIT, Adjacency, Edges, Nodes, SparseMatrix, edges_of

Ints = npt.NDArray[np.int64]
_TABLES = ("identity", "bias")
_BLOCK = 2**16
"""Items computed at once where all are."""
_LIKE_ADAM = 100.0
"""Steps in which rows move as Adam would move them; rows rarely visited move little after."""


class SampledSteps:
    """A step computes the items that its users know, those hidden from them, and the negatives.

    What attributes hear of items is computed once an epoch and stays as it was then; their own
    vectors and the gates learn as ever. Items hear of neighbours outside the batch as these are,
    but teach them nothing.

    Args:
        module: What is trained, on its device.
        graph: Where messages go.
        nodes: Which nodes are visited.
    """

    def __init__(self, module: GraphNetwork, graph: KnowledgeGraph, nodes: Nodes) -> None:
        config = module.config
        self.module, self._n_items = module, nodes.n_items
        tables = {name: module.get_parameter(name) for name in _TABLES}
        adam = torch.optim.AdamW(
            [value for name, value in module.named_parameters() if name not in tables],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        by_row = RowAdagrad(tables.values(), config.learning_rate, config.weight_decay)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "optimizer.": adam,
            "row_optimizer.": by_row,
        }
        self._rounds = len(module.layers) // 2
        if self._rounds:
            power, everything = config.hub_power, np.random.default_rng(0)
            into_attributes, into_items = edges_of(
                graph, nodes, hub_power=power, max_edges=NO_LIMIT, generator=everything
            )
            self._hearing = _Hearing(into_attributes, self._n_items, module.bias.device)
            self._into_items = _ByTarget(into_items, self._n_items)
        self._heard: list[Tensor] = []
        self._generator = np.random.default_rng(0)

    def begin(self, generator: np.random.Generator) -> None:
        """Computes what attributes hear in this epoch."""
        self._generator, self._heard = generator, self._listen()

    def visit(self, batch: Batch, negatives: Negatives, generator: torch.Generator) -> Visit:
        """Vectors of the batch's items and the negatives; the batch in terms of these."""
        module, device = self.module, self.module.bias.device
        sample, log_q = negatives.draw(generator)
        drawn = sample.numpy()
        rows = np.unique(np.concatenate([batch.known.indices, batch.target_item, drawn]))
        dropped = module.config.identity_dropout if module.has_content else 0.0
        kept = (torch.rand(len(rows), generator=generator) >= dropped).float().to(device)
        items = self._items(rows, self._rounds, self._attributes(self._heard), kept)
        item_in, item_out = torch.split(items, module.config.size, dim=1)
        at = torch.from_numpy(rows).to(device)
        bias = torch.gather(module.bias, 0, at, sparse_grad=True) - self._mean_bias()
        place = torch.from_numpy(np.searchsorted(rows, drawn)).to(device)
        few = _in_terms_of(rows, batch)
        return Visit(item_in, item_out, bias * kept * module.warm[at], few, place, log_q.to(device))

    @torch.no_grad()
    def vectors(self) -> DenseVectors:
        """What was learned, as arrays, over every edge, without `entities`; block by block."""
        module, size = self.module, self.module.config.size
        attributes = self._attributes(self._listen())
        item_in, item_out = (np.empty((self._n_items, size), np.float32) for _ in range(2))
        for rows in self._blocks():
            both = torch.split(self._items(rows, self._rounds, attributes), size, dim=1)
            unit = functional.normalize(both[1], dim=1) / module.config.temperature
            item_in[rows], item_out[rows] = both[0].cpu().numpy(), unit.cpu().numpy()
        bias = (module.bias - self._mean_bias()) * module.warm
        return DenseVectors(item_in, item_out, module.w_g.cpu().numpy().copy(), bias.cpu().numpy())

    def _blocks(self) -> Iterator[Ints]:
        for begin in range(0, self._n_items, _BLOCK):
            yield np.arange(begin, min(begin + _BLOCK, self._n_items))

    @torch.no_grad()
    def _mean_bias(self) -> Tensor:
        return self.module.bias @ self.module.warm / self.module.warm.sum().clamp(min=1)

    @torch.no_grad()
    def _listen(self) -> list[Tensor]:
        """What attributes hear in each round, one tensor a round."""
        heard: list[Tensor] = []
        for done in range(self._rounds):
            attributes = self._attributes(heard)
            blocks = ((rows, self._items(rows, done, attributes)) for rows in self._blocks())
            heard.append(self._hearing.means(blocks, attributes[done]))
        return heard

    def _attributes(self, heard: list[Tensor]) -> list[Tensor]:
        """Vectors of attributes before the first round and after each, (n_attributes, 2 * size)."""
        after: list[Tensor] = [self.module.attributes]
        for done, means in enumerate(heard):
            gate = self.module.layers[2 * done].get_parameter("gate")
            after.append(self._hearing.added(after[-1], means, gate))
        return after

    def _items(
        self, rows: Ints, rounds: int, attributes: list[Tensor], kept: Tensor | None = None
    ) -> Tensor:
        """Vectors of some items after some rounds, (n_rows, 2 * size).

        Args:
            rows: Which items, distinct.
            rounds: How many.
            attributes: What `_attributes` gave.
            kept: 1 where an item has its identity, (n_rows,); None for all.
        """
        if rounds == 0:
            return self._own(rows, kept)
        limit = self.module.config.max_edges_per_step if kept is not None else None
        edges, others = self._into_items.of(rows, limit, self._generator)
        items = self._items(rows, rounds - 1, attributes, kept)
        with torch.no_grad():
            near = self._items(others, rounds - 1, attributes)
        nodes = torch.cat([items, near, attributes[rounds]])
        after: Tensor = self.module.layers[2 * rounds - 1](nodes, Adjacency(edges, nodes.device))
        return after[: len(rows)]

    def _own(self, rows: Ints, kept: Tensor | None) -> Tensor:
        """Identity and text of some items, (n_rows, 2 * size)."""
        module = self.module
        at = torch.from_numpy(rows).to(module.bias.device)
        kept = module.warm[at] if kept is None else kept * module.warm[at]
        items = functional.embedding(at, module.identity, sparse=True) * kept[:, None]
        return items if module.text is None else items + module.text[at] @ module.text_projection


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulated square a row and role, for tables of which a step visits some.

    x -= rate * g / sqrt(s / min(t, 100)) with s the sum of the row's mean squares so far and t the
    steps so far: Adam without a first moment for a hundred steps, so that the two may share a
    rate, and Adagrad from then on. A step visits rows that have a gradient; gradients are sparse
    and name each row once.

    Args:
        tables: Parameters, (n, 2 * size), each half a role, or (n,).
        learning_rate: As of Adam.
        weight_decay: Decoupled, of the rows visited.

    Source: Duchi, Hazan & Singer 2011; by row as in Mudigere et al. 2022, section 4.
    """

    def __init__(self, tables: Iterable[Tensor], learning_rate: float, weight_decay: float) -> None:
        super().__init__(list(tables), {"lr": learning_rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Moves the rows that have a gradient."""
        for group in self.param_groups:
            for table in (each for each in group["params"] if each.grad is not None):
                row, gradient = table.grad._indices()[0], table.grad._values()
                roles, state = table.dim(), self.state[table]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["square"] = table.new_zeros((len(table), roles))
                state["step"] += 1
                wide = gradient.reshape(len(row), roles, -1)
                square = state["square"][row] + wide.square().mean(dim=2)
                state["square"].index_copy_(0, row, square)
                usual = (square / min(float(state["step"]), _LIKE_ADAM)).sqrt()
                change = (wide / (usual + 1e-12)[:, :, None]).view_as(gradient)
                if group["weight_decay"]:
                    change += group["weight_decay"] * table[row]
                table.index_add_(0, row, change, alpha=-group["lr"])


class _Hearing:
    """Edges into attributes: a mean for each (relation, attribute), over all nodes."""

    def __init__(self, edges: Edges, n_items: int, device: torch.device) -> None:
        n = edges.n_nodes
        key, place = np.unique(edges.relation * n + edges.target, return_inverse=True)
        self._mean = csc_array((edges.weight, (place.ravel(), edges.source)), (len(key), n))
        self._n_items, self._device = n_items, device
        self._attribute = torch.from_numpy(key % n - n_items).to(device)
        self._relation = torch.from_numpy(key // n).to(device)

    def means(self, blocks: Iterable[tuple[Ints, Tensor]], attributes: Tensor) -> Tensor:
        """Means over items, which come in blocks, and attributes, (n_keys, 2 * size)."""
        total = self._part(self._n_items, self._mean.shape[1]) @ attributes
        for rows, items in blocks:
            total += self._part(rows[0], rows[-1] + 1) @ items
        return total

    def added(self, attributes: Tensor, means: Tensor, gate: Tensor) -> Tensor:
        """Attributes and what they heard, each relation through its gate."""
        gated = means * gate.index_select(0, self._relation)
        return attributes.index_add(0, self._attribute, gated)

    def _part(self, begin: int, end: int) -> SparseMatrix:
        return SparseMatrix(csr_array(self._mean[:, begin:end]), self._device)


class _ByTarget:
    """Edges into items, found by their target."""

    def __init__(self, edges: Edges, n_items: int) -> None:
        order = np.argsort(edges.target, kind="stable")
        self._source, self._relation = edges.source[order], edges.relation[order]
        self._weight = edges.weight[order]
        self._start = np.searchsorted(edges.target[order], np.arange(n_items + 1))
        self._n_items, self._n_nodes = n_items, edges.n_nodes
        self._n_relations = edges.n_relations

    def of(
        self, rows: Ints, limit: int | None, generator: np.random.Generator
    ) -> tuple[Edges, Ints]:
        """Edges into some items, between places among these, their other neighbours, attributes.

        Args:
            rows: Which items, distinct, (n,).
            limit: Past so many edges each is kept with equal probability and counts for more.
            generator: Draws those.

        Returns:
            The edges, and the neighbours that are items but not among `rows`.
        """
        at, target = rows_of(self._start, rows)
        share = 1.0 if limit is None else min(limit / max(len(at), 1), 1.0)
        if share < 1:
            kept = np.flatnonzero(generator.random(len(at)) < share)
            at, target = at[kept], target[kept]
        source = self._source[at]
        others = np.setdiff1d(source[source < self._n_items], rows)
        near = np.concatenate([rows, others, np.arange(self._n_items, self._n_nodes)])
        order = np.argsort(near)
        place = order[np.searchsorted(near, source, sorter=order)]
        weight = (self._weight[at] / np.float32(share)).astype(np.float32)
        relation = self._relation[at]
        return Edges(place, target, relation, weight, len(near), self._n_relations), others


def _in_terms_of(rows: Ints, batch: Batch) -> Batch:
    """A batch whose items are places among `rows`; own items that are not there are left out."""
    known = batch.known
    place = np.searchsorted(rows, batch.own_item)
    there = rows[np.minimum(place, len(rows) - 1)] == batch.own_item
    return Batch(
        known=csr_array(
            (known.data, np.searchsorted(rows, known.indices), known.indptr),
            shape=(known.shape[0], len(rows)),
        ),
        target_user=batch.target_user,
        target_item=np.searchsorted(rows, batch.target_item),
        target_weight=batch.target_weight,
        own_user=batch.own_user[there],
        own_item=place[there],
    )
