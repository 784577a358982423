"""Paths of two and three edges between a history and an item, found on sparse matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array

from kgrec.graph import KnowledgeGraph, Relation

_MAX_BUYERS = 20_000
_LEARNED_STRENGTH = 0.5

Items = npt.NDArray[np.int64]
Titles = Callable[[int], str]
Reason = Literal["attribute", "relation", "co_bought", "learned"]


@dataclass(frozen=True, slots=True)
class Hop:
    """A node of a path and how it was reached."""

    kind: str
    id: str
    relation: str
    """Relation that leads here from the hop before, `^` in front when walked backwards; empty for
    the first."""


@dataclass(frozen=True, slots=True)
class Path_:
    """One path from a user to a recommended item."""

    reason: Reason
    hops: tuple[Hop, ...]
    weight: float
    """0..1; see `kgrec.explain`."""
    sentence: str
    count: int
    """Items of the history with the same attribute, or people with both items; else 1."""

    def to_dict(self) -> dict[str, Any]:
        """The path as nested dictionaries, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class View:
    """A relation seen from its items: rows are items."""

    relation: Relation
    other: str
    """Kind at the other end."""
    forward: csr_array
    """(n_items, n_other): whether the item has an edge to the other node."""
    degree: npt.NDArray[np.int64]
    """Items at each other node, (n_other,)."""
    backwards: bool
    """Whether the item is the tail."""


def view(relation: Relation, graph: KnowledgeGraph) -> View | None:
    """The relation as its items see it; None when no item is on it."""
    if "item" not in (relation.head, relation.tail) or not len(relation):
        return None
    if "user" in (relation.head, relation.tail):
        return None  # a user's own links say nothing about another item
    backwards = relation.head != "item"
    other = relation.head if backwards else relation.tail
    rows = relation.edges[::-1] if backwards else relation.edges
    shape = (graph.n_items, len(graph.nodes[other]))
    ones = np.ones(len(relation), np.int8)
    forward: csr_array = coo_array((ones, (rows[0], rows[1])), shape).tocsr()
    degree = np.bincount(rows[1], minlength=shape[1])
    return View(relation, other, forward, degree, backwards)


@dataclass(frozen=True, slots=True)
class Search:
    """One question: the items of a history with their weights, and an item."""

    graph: KnowledgeGraph
    held: Items
    weight: npt.NDArray[np.float64]
    """Recency times contribution, (len(held),)."""
    item: int
    user: int | None
    titles: Titles

    def through(self, view: View) -> list[Path_]:
        """Paths by way of one relation."""
        return self._links(view) if view.other == "item" else self._shared(view)

    def _shared(self, view: View) -> list[Path_]:
        """Attributes that the item shares with the history, each with its best history item."""
        owner, node = _gather(view.forward, self.held)
        shared = np.isin(node, _row(view.forward, self.item))
        owner, node = owner[shared], node[shared]
        there, back = view.relation.name, f"^{view.relation.name}"
        if view.backwards:
            there, back = back, there
        words = _words(view.relation.name)
        said = "{}: shares '{}' with" if view.other == "entity" else "shares {} '{}' with"
        what = words if view.other == "entity" else _words(view.other)
        paths = []
        for attribute in np.unique(node):
            holders = owner[node == attribute]
            best = int(holders[np.argmax(self.weight[holders])])
            name = str(self.graph.nodes[view.other].ids[int(attribute)])
            more = f" and {len(holders) - 1} more in the history" if len(holders) > 1 else ""
            sentence = f"{said.format(what, name)} {self._name(best)}{more}"
            strength = _rarity(int(view.degree[attribute]), self.graph.n_items)
            if strength <= 0:
                continue  # what every item has explains nothing
            middle = (Hop(view.other, name, there), self._end(back))
            paths.append(self._path("attribute", best, middle, strength, sentence, len(holders)))
        return paths

    def _links(self, view: View) -> list[Path_]:
        """Edges of a relation between items, from the history to the item or back."""
        owner, node = _gather(view.forward, self.held)
        out = owner[node == self.item]
        back = np.flatnonzero(np.isin(self.held, _row(view.forward, self.item)))
        name, words = view.relation.name, _words(view.relation.name)
        strength = _rarity(max(int(view.degree[self.item]), 1), self.graph.n_items)
        paths = []
        for at in np.union1d(out, back).tolist():
            forward = at in out
            sentence = f"{words}: linked {'from' if forward else 'to'} {self._name(at)}"
            end = (self._end(name if forward else f"^{name}"),)
            paths.append(self._path("relation", at, end, strength, sentence, 1))
        return paths

    def shared_buyers(self, buyers: csr_array) -> list[Path_]:
        """Other people who have both a history item and the item."""
        mine = _row(buyers, self.item)[:_MAX_BUYERS]
        owner, people = _gather(buyers, self.held, _MAX_BUYERS)
        both = np.isin(people, mine) & (people != (-1 if self.user is None else self.user))
        counts = np.bincount(owner[both], minlength=len(self.held))
        rarity = _rarity(max(len(mine), 1), buyers.shape[1])
        paths = []
        for at in np.flatnonzero(counts).tolist():
            n = int(counts[at])
            people_have = "1 other person has" if n == 1 else f"{n:,} other people have"
            sentence = f"{people_have} it together with {self._name(at)}"
            middle = (Hop("user", f"{n} user{'s' if n > 1 else ''}", "^has"), self._end("has"))
            paths.append(self._path("co_bought", at, middle, rarity * n / (n + 2), sentence, n))
        return paths

    def learned(self, contributions: Mapping[int, float], shown: set[str]) -> list[Path_]:
        """Contributions to the score from history items that no path of the graph shows."""
        ids = self.graph.nodes["item"].ids
        paths = []
        for at, held in enumerate(self.held.tolist()):
            if contributions.get(held, 0.0) > 0 and str(ids[held]) not in shown:
                sentence = f"the model learned that it goes with {self._name(at)}"
                end = (self._end("learned"),)
                paths.append(self._path("learned", at, end, _LEARNED_STRENGTH, sentence, 1))
        return paths

    def _path(
        self,
        reason: Reason,
        at: int,
        middle: tuple[Hop, ...],
        strength: float,
        sentence: str,
        count: int,
    ) -> Path_:
        who = "the history" if self.user is None else str(self.graph.nodes["user"].ids[self.user])
        held = str(self.graph.nodes["item"].ids[int(self.held[at])])
        hops = (Hop("user", who, ""), Hop("item", held, "has"), *middle)
        sentence = f"'{self.titles(self.item)}': {sentence}"
        return Path_(reason, hops, float(strength * self.weight[at]), sentence, count)

    def _end(self, relation: str) -> Hop:
        return Hop("item", str(self.graph.nodes["item"].ids[self.item]), relation)

    def _name(self, at: int) -> str:
        return f"'{self.titles(int(self.held[at]))}'"


def _rarity(degree: int, n: int) -> float:
    """log(n / degree) / log(n): 1 for what a single node has, 0 for what all have."""
    return math.log(n / degree) / math.log(n) if n > 1 else 0.0


def _row(matrix: csr_array, row: int) -> npt.NDArray[np.int64]:
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], np.int64)


def _gather(
    matrix: csr_array, rows: Items, cap: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Position in `rows` and column of every entry of those rows, at most `cap` a row."""
    start = matrix.indptr[rows].astype(np.int64)
    length = matrix.indptr[rows + 1] - start
    if cap is not None:
        length = np.minimum(length, cap)
    owner = np.repeat(np.arange(len(rows)), length)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    return owner, matrix.indices[start[owner] + within].astype(np.int64)


def _words(relation: str) -> str:
    return relation.replace("_", " ")
