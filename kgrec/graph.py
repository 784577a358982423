"""The knowledge graph: vocabularies of entities and one edge list a relation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kgrec.errors import ShapeError
from kgrec.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Relation:
    """Edges of one type between two kinds of node."""

    name: str
    head: str
    """Kind of the head nodes, a key of `KnowledgeGraph.nodes`: item, user, an attribute's name."""
    tail: str
    edges: npt.NDArray[np.int64]
    """Indices of (head, tail) in their vocabularies, (2, n_edges), distinct."""
    weight: npt.NDArray[np.float32]
    """Weight of each edge, > 0, (n_edges,)."""
    may_leak: bool = False
    """Whether it may have been made from the purchases that are held out (also_bought)."""

    def __post_init__(self) -> None:
        if self.edges.ndim != 2 or self.edges.shape != (2, len(self.weight)):
            raise ShapeError(
                f"relation {self.name}: edges have shape {self.edges.shape}, "
                f"weights ({len(self.weight)},)"
            )

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True, slots=True)
class KnowledgeGraph:
    """Every entity and every edge but the interactions themselves.

    `nodes` always has `item` (the shop's whole catalogue) and `user`; other keys are kinds of
    attribute (`brand`, `category`) or `entity` (what external triples name outside the shop).
    """

    nodes: Mapping[str, Vocabulary]
    relations: tuple[Relation, ...] = field(default=())

    def __post_init__(self) -> None:
        for relation in self.relations:
            for kind, row in ((relation.head, 0), (relation.tail, 1)):
                if kind not in self.nodes:
                    raise ShapeError(f"relation {relation.name} names '{kind}', which has no nodes")
                if len(relation) and relation.edges[row].max() >= len(self.nodes[kind]):
                    raise ShapeError(f"relation {relation.name} has an edge past the last {kind}")

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.nodes["item"])

    @property
    def n_edges(self) -> int:
        """Edges of all relations."""
        return sum(len(relation) for relation in self.relations)

    def without(self, names: tuple[str, ...]) -> KnowledgeGraph:
        """The graph without the relations of these names; nodes keep their indices."""
        kept = tuple(relation for relation in self.relations if relation.name not in names)
        return KnowledgeGraph(self.nodes, kept)

    def shuffled(self, seed: int) -> KnowledgeGraph:
        """Each relation's tails permuted: degrees stay, meaning goes. For ablations."""
        generator = np.random.default_rng(seed)
        relations = tuple(
            Relation(
                r.name,
                r.head,
                r.tail,
                np.stack([r.edges[0], generator.permutation(r.edges[1])]),
                r.weight,
                r.may_leak,
            )
            for r in self.relations
        )
        return KnowledgeGraph(self.nodes, relations)
