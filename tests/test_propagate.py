from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import random_array

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.propagate import Adjacency, Edges, Nodes, RelationLayer, SparseMatrix, edges_of
from kgrec.vocabulary import Vocabulary


def graph_of(**relations: tuple[str, str, list[tuple[int, int]]]) -> KnowledgeGraph:
    nodes = {
        "user": Vocabulary(range(3), "user"),
        "item": Vocabulary(range(4)),
        "brand": Vocabulary(range(3), "brand"),
        "colour": Vocabulary(range(2), "colour"),
    }
    made = tuple(
        Relation(name, head, tail, np.array(edges).T, np.ones(len(edges), np.float32))
        for name, (head, tail, edges) in relations.items()
    )
    return KnowledgeGraph(nodes, made)


EXAMPLE = graph_of(
    has_brand=("item", "brand", [(0, 0), (1, 0), (2, 2), (3, 2), (0, 1)]),
    goes_with=("item", "item", [(0, 3), (1, 3), (0, 2)]),
    of_colour=("colour", "item", [(1, 0), (1, 1)]),
    seen_by=("user", "item", [(0, 0), (1, 0)]),
)


def example_edges(**options: float) -> tuple[Nodes, tuple[Edges, Edges]]:
    nodes = Nodes.of(EXAMPLE)
    chosen = {"hub_power": 0.5, "max_edges": 10**6} | options
    generator = np.random.default_rng(0)
    return nodes, edges_of(EXAMPLE, nodes, generator=generator, **chosen)  # type: ignore[arg-type]


def test_attributes_of_one_edge_are_not_visited() -> None:
    nodes = Nodes.of(EXAMPLE)
    # brand 1 and colour 0 join nothing: 4 items, brands 0 and 2, colour 1 remain
    assert nodes.n == 7
    assert nodes.position.tolist() == [0, 1, 2, 3, 4, -1, 5, -1, 6]


def test_what_no_item_hears_of_is_not_visited() -> None:
    chain = graph_of(
        has_brand=("item", "brand", [(0, 0), (1, 0)]),
        of=("brand", "colour", [(0, 0), (1, 0), (1, 1), (2, 1)]),
    )
    # items - brand 0 - colour 0 - brand 1 - colour 1
    one, two = Nodes.of(chain, layers=1), Nodes.of(chain, layers=2)
    assert one.position.tolist() == [0, 1, 2, 3, 4, -1, -1, 5, -1]
    assert one.listens.tolist() == [True] * 5 + [False]  # colour 0 speaks, its hearing is too late
    assert two.n == 7
    assert two.listens.tolist() == [True] * 5 + [False, True]
    into_attributes, into_items = edges_of(
        chain, one, hub_power=0.0, max_edges=100, generator=np.random.default_rng(0)
    )
    assert set(into_attributes.target) == {4}
    assert set(into_attributes.source) == {0, 1, 5}
    assert set(into_items.source) == {4}


def test_each_relation_sums_to_a_mean_and_hubs_count_less() -> None:
    _, groups = example_edges()
    for edges in groups:
        key = edges.relation * edges.n_nodes + edges.target
        sums = np.bincount(key, edges.weight)
        assert sums[np.unique(key)] == pytest.approx(1, rel=1e-5)
    into_items = groups[1]
    # item 3 hears from items 0 and 1 by goes_with; item 0 has an edge more, so it weighs less
    heard = (into_items.target == 3) & (into_items.source < 4) & (into_items.relation == 2)
    weight = dict(zip(into_items.source[heard], into_items.weight[heard], strict=True))
    assert weight[0] < weight[1]


def test_users_send_no_messages() -> None:
    _, groups = example_edges()
    assert not any((edges.relation >= 6).any() for edges in groups)


def test_a_large_graph_is_sampled_to_the_limit() -> None:
    _, all_edges = example_edges()
    n_all = sum(len(edges.source) for edges in all_edges)
    _, some = example_edges(max_edges=8)
    n_some = sum(len(edges.source) for edges in some)
    assert 0 < n_some < n_all


def test_product_and_its_gradient_are_those_of_a_dense_matrix() -> None:
    matrix = random_array((7, 5), density=0.4, dtype=np.float32, rng=np.random.default_rng(1))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ours = SparseMatrix(matrix.tocsr()) @ x
    (gradient,) = torch.autograd.grad((ours**2).sum(), x)
    theirs = torch.from_numpy(matrix.toarray()) @ x
    (expected,) = torch.autograd.grad((theirs**2).sum(), x)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, expected)


def test_without_gates_nothing_moves() -> None:
    _, groups = example_edges()
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(RelationLayer(8, 4, gate=0.0)(x, Adjacency(groups[1])), x)


@given(st.integers(0, 2**16), st.integers(0, 40), st.integers(1, 4))
@settings(max_examples=25)
def test_the_fast_route_agrees_with_message_passing(seed: int, n: int, n_relations: int) -> None:
    draw = np.random.default_rng(seed)
    edges = Edges(
        source=draw.integers(0, 9, n),
        target=draw.integers(0, 9, n),
        relation=draw.integers(0, n_relations, n),
        weight=draw.random(n).astype(np.float32),
        n_nodes=9,
        n_relations=n_relations,
    )
    x = torch.from_numpy(draw.normal(size=(9, 3)).astype(np.float32)).requires_grad_()
    layer = RelationLayer(n_relations, 3, gate=1.0)
    layer.gate.data = torch.from_numpy(draw.normal(size=(n_relations, 3)).astype(np.float32))
    results = []
    for form in (Adjacency(edges), edges):
        out = layer(x, form)
        results.append((out, *torch.autograd.grad((out**2).sum(), (x, layer.gate))))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
