"""The graph's health: what is there, what is missing, what is too big and what may leak."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.graph_leak import Leak, Lift, last_of_each_user, measure_leaks
from kgrec.interactions import Interactions
from kgrec.shop import Shop

_HUBS_PER_RELATION = 5


@dataclass(frozen=True, slots=True)
class Hub:
    """A node that many edges of one relation meet in."""

    id: str
    kind: str
    degree: int
    share: float
    """Share of the nodes on the other side (of the items, mostly) that it touches, 0..1."""


@dataclass(frozen=True, slots=True)
class RelationHealth:
    """One relation, or one behaviour of the interactions."""

    name: str
    head: str
    tail: str
    n_edges: int
    item_coverage: float
    """Share of the items with at least one edge, 0..1."""
    mean_degree: float
    """Edges per item that has one."""
    hubs: tuple[Hub, ...]
    may_leak: bool = False
    """What the schema says."""


@dataclass(frozen=True, slots=True)
class Components:
    """Connected parts, edges read as undirected."""

    n_components: int
    largest: int
    """Nodes in the largest."""
    largest_share: float
    """Share of all nodes in it, 0..1."""
    items_in_largest: float
    """Share of the items in it, 0..1."""


@dataclass(frozen=True, slots=True)
class GraphHealth:
    """What `graph_health` finds; `to_text` for a person, `to_dict` for a machine."""

    name: str
    nodes: dict[str, int]
    relations: tuple[RelationHealth, ...]
    behaviours: tuple[RelationHealth, ...]
    text_coverage: float | None
    """Share of the items with a text, 0..1; None when the schema names no text."""
    components: Components
    """Of the graph with its interactions."""
    components_without_interactions: Components
    no_edges: dict[str, int]
    """Nodes that nothing touches, interactions counted, by kind."""
    single_edge: dict[str, int]
    """Entities (neither user nor item) that a single edge touches: they join nothing, by kind."""
    items_without_interactions: int
    users_without_interactions: int
    leaks: tuple[Leak, ...]
    """Item-item relations against held-out purchases."""
    held_out: str
    """Which purchases were held out for that."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as nested dictionaries and lists, ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """The report as lines for a terminal."""
        return "\n".join(_lines(self))


def graph_health(shop: Shop, *, held_out: Interactions | None = None) -> GraphHealth:
    """Nodes, edges, coverage, hubs, components, dangling ends and leakage of a shop's graph.

    Args:
        shop: What `kgrec.load` returned.
        held_out: The purchases to be predicted, for the leakage measure. When absent, the test
            part that came with the data, else the last interaction of each user when the data is
            in order.
    """
    graph, interactions = shop.graph, shop.interactions
    nodes = {kind: len(vocabulary) for kind, vocabulary in graph.nodes.items()}
    edges = _graph_edges(graph)
    met = _interaction_edges(graph, interactions)
    together = np.concatenate([edges, met], axis=1)
    degree = _degree(together.ravel(), sum(nodes.values()))
    by_kind = {kind: degree[at : at + nodes[kind]] for kind, at in _offsets(graph).items()}
    held_out, source = _held_out(shop, held_out)
    return GraphHealth(
        name=shop.name,
        nodes=nodes,
        relations=tuple(
            _edges_health(graph, r.name, r.head, r.tail, r.edges, r.may_leak)
            for r in graph.relations
        ),
        behaviours=tuple(_behaviour_health(graph, interactions)),
        text_coverage=_text_coverage(shop.text),
        components=_components(graph, together),
        components_without_interactions=_components(graph, edges),
        no_edges={kind: int((d == 0).sum()) for kind, d in by_kind.items()},
        single_edge={
            kind: int((d == 1).sum()) for kind, d in by_kind.items() if kind not in ("item", "user")
        },
        items_without_interactions=int((_degree(interactions.item, nodes["item"]) == 0).sum()),
        users_without_interactions=int((np.diff(interactions.start) == 0).sum()),
        leaks=() if held_out is None else measure_leaks(graph, interactions, held_out),
        held_out=source,
    )


def _held_out(shop: Shop, given: Interactions | None) -> tuple[Interactions | None, str]:
    if given is not None:
        return given, "the held-out part given"
    if shop.test is not None:
        return shop.test, "the test part that came with the data"
    if shop.interactions.ordered:
        return last_of_each_user(shop.interactions), "the last interaction of each user"
    return None, "nothing: the interactions are in no order and no held-out part was given"


def _offsets(graph: KnowledgeGraph) -> dict[str, int]:
    """Where each kind starts when all nodes are numbered in one row."""
    sizes = [len(vocabulary) for vocabulary in graph.nodes.values()]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return {kind: int(at) for kind, at in zip(graph.nodes, starts, strict=False)}


def _graph_edges(graph: KnowledgeGraph) -> npt.NDArray[np.int64]:
    at = _offsets(graph)
    parts = [r.edges + np.array([[at[r.head]], [at[r.tail]]]) for r in graph.relations]
    return np.concatenate([np.zeros((2, 0), np.int64), *parts], axis=1)


def _interaction_edges(graph: KnowledgeGraph, interactions: Interactions) -> npt.NDArray[np.int64]:
    at = _offsets(graph)
    pairs = np.stack([interactions.user + np.int64(at["user"]), interactions.item.astype(np.int64)])
    pairs[1] += at["item"]
    return pairs.astype(np.int64)


def _relation_health(graph: KnowledgeGraph, relation: Relation) -> RelationHealth:
    return _edges_health(
        graph, relation.name, relation.head, relation.tail, relation.edges, relation.may_leak
    )


def _behaviour_health(graph: KnowledgeGraph, interactions: Interactions) -> list[RelationHealth]:
    found = []
    for at, name in enumerate(interactions.behaviours):
        rows = interactions.behaviour == at
        pairs = np.stack([interactions.user[rows], interactions.item[rows]]).astype(np.int64)
        keys = np.sort(pairs[0] * interactions.n_items + pairs[1])
        distinct = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
        edges = np.stack([distinct // interactions.n_items, distinct % interactions.n_items])
        health = _edges_health(graph, name, "user", "item", edges, may_leak=False)
        found.append(health)
    return found


def _edges_health(
    graph: KnowledgeGraph,
    name: str,
    head: str,
    tail: str,
    edges: npt.NDArray[np.int64],
    may_leak: bool,
) -> RelationHealth:
    ends = [edges[row] for row, kind in enumerate((head, tail)) if kind == "item"]
    covered = int((_degree(np.concatenate(ends), graph.n_items) > 0).sum()) if ends else 0
    # A hub is an attribute, or a popular item: the side that is not the item, else the tail.
    row = 0 if tail == "item" and head not in ("item", "user") else 1
    kind, other = (head, tail) if row == 0 else (tail, head)
    degree = _degree(edges[row], len(graph.nodes[kind]))
    largest = np.argsort(-degree, kind="stable")[:_HUBS_PER_RELATION]
    hubs = tuple(
        Hub(
            id=graph.nodes[kind].ids[int(node)],
            kind=kind,
            degree=int(degree[node]),
            share=_share(int(degree[node]), len(graph.nodes[other])),
        )
        for node in largest
        if degree[node]
    )
    return RelationHealth(
        name=name,
        head=head,
        tail=tail,
        n_edges=edges.shape[1],
        item_coverage=_share(covered, graph.n_items),
        mean_degree=_share(edges.shape[1], covered),
        hubs=hubs,
        may_leak=may_leak,
    )


def _text_coverage(text: pl.Series | None) -> float | None:
    if text is None:
        return None
    return _share(int((text.fill_null("").str.len_bytes() > 0).sum()), len(text))


def _components(graph: KnowledgeGraph, edges: npt.NDArray[np.int64]) -> Components:
    n_nodes = sum(len(vocabulary) for vocabulary in graph.nodes.values())
    if n_nodes == 0:
        return Components(0, 0, 0.0, 0.0)
    ones = np.ones(edges.shape[1], np.int8)
    matrix = coo_array((ones, (edges[0], edges[1])), shape=(n_nodes, n_nodes)).tocsr()
    n_components, label = connected_components(matrix, directed=False)
    sizes = np.bincount(label)
    at = _offsets(graph)["item"]
    in_largest = int((label[at : at + graph.n_items] == sizes.argmax()).sum())
    return Components(
        n_components=int(n_components),
        largest=int(sizes.max()),
        largest_share=_share(int(sizes.max()), n_nodes),
        items_in_largest=_share(in_largest, graph.n_items),
    )


def _degree(ends: npt.NDArray[Any], n: int) -> npt.NDArray[np.int64]:
    return np.bincount(ends, minlength=n)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _lines(health: GraphHealth) -> list[str]:
    lines = [f"Graph of {health.name}", "", "Nodes"]
    for kind, n in health.nodes.items():
        dangling = f"; {health.no_edges[kind]:,} with no edge"
        if health.single_edge.get(kind):
            dangling += f", {health.single_edge[kind]:,} with a single one"
        lines.append(f"  {kind:<20} {n:>11,}{dangling}")
    lines.append(
        f"  without interactions: {health.items_without_interactions:,} items, "
        f"{health.users_without_interactions:,} users"
    )
    lines += ["", "Edges                                        edges  items covered  per item"]
    for relation in (*health.relations, *health.behaviours):
        lines += _relation_lines(relation)
    if health.text_coverage is not None:
        lines.append(f"  text: {health.text_coverage:.1%} of the items")
    lines += ["", "Connected components"]
    for name, part in (
        ("with interactions", health.components),
        ("without them", health.components_without_interactions),
    ):
        lines.append(
            f"  {name:<18} {part.n_components:>9,}; the largest has {part.largest:,} nodes "
            f"({part.largest_share:.1%}) and {part.items_in_largest:.1%} of the items"
        )
    return lines + _leak_lines(health)


def _relation_lines(relation: RelationHealth) -> list[str]:
    name = f"{relation.name} ({relation.head} -> {relation.tail})"
    mark = "  may leak, by the schema" if relation.may_leak else ""
    line = (
        f"  {name:<36} {relation.n_edges:>11,} {relation.item_coverage:>14.1%} "
        f"{relation.mean_degree:>9.1f}{mark}"
    )
    hubs = ", ".join(f"{hub.id} ({hub.degree:,}; {hub.share:.1%})" for hub in relation.hubs[:3])
    return [line, f"      hubs: {hubs}"] if hubs else [line]


def _leak_lines(health: GraphHealth) -> list[str]:
    lines = ["", f"Leakage, measured on {health.held_out}"]
    for leak in health.leaks:
        flag = "  <- SUSPECT: report results with and without it" if leak.suspect else ""
        parts = [f"any item of the history to {_lift_text(leak.any)}"]
        if leak.last is not None:
            parts.insert(0, f"the last item to {_lift_text(leak.last)}")
        lines.append(f"  {leak.relation} joins {', '.join(parts)}{flag}")
    if not health.leaks:
        lines.append("  no item-item relation to measure")
    return lines


def _lift_text(lift: Lift) -> str:
    return (
        f"{lift.joined:.2%} of the purchases (chance {lift.chance:.2%}, "
        f"lift {lift.lift:.1f}, at least {lift.lift_low:.1f})"
    )
