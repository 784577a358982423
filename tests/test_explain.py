from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import ShapeError, UnknownIdError
from kgrec.explain import Explainer, explain
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions
from kgrec.paths import Path_
from kgrec.vocabulary import Vocabulary

TITLES = ["shampoo", "soap", "oil", "brush", "lamp"]


def relation(name: str, head: str, tail: str, pairs: list[tuple[int, int]]) -> Relation:
    edges = np.array(pairs, np.int64).reshape(-1, 2).T
    return Relation(name, head, tail, edges, np.ones(len(pairs), np.float32))


@pytest.fixture
def graph() -> KnowledgeGraph:
    nodes = {
        "item": Vocabulary(["i0", "i1", "i2", "i3", "i4"]),
        "user": Vocabulary(["u0", "u1", "u2"], "user"),
        "brand": Vocabulary(["OGX", "Acme"], "brand"),
        "shop": Vocabulary(["all"], "shop"),
    }
    return KnowledgeGraph(
        nodes,
        (
            relation("has_brand", "item", "brand", [(0, 0), (2, 0), (1, 1), (3, 1)]),
            relation("sells", "shop", "item", [(0, i) for i in range(5)]),
            relation("also_bought", "item", "item", [(1, 2), (2, 3)]),
        ),
    )


@pytest.fixture
def history() -> Interactions:
    """u0: shampoo, soap; u1: soap, oil; u2: soap, oil."""
    return Interactions.of(
        [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 1, 2], n_users=3, n_items=5, time=[1, 2, 1, 2, 1, 2]
    )


def found(paths: list[Path_], reason: str) -> list[Path_]:
    return [path for path in paths if path.reason == reason]


def test_every_kind_of_path_is_found(graph: KnowledgeGraph, history: Interactions) -> None:
    paths = explain(graph, history, 0, 2, titles=TITLES.__getitem__)
    (brand,) = found(paths, "attribute")  # 'sells' joins everything and so explains nothing
    assert [(h.kind, h.id, h.relation) for h in brand.hops] == [
        ("user", "u0", ""),
        ("item", "i0", "has"),
        ("brand", "OGX", "has_brand"),
        ("item", "i2", "^has_brand"),
    ]
    assert brand.sentence == "'oil': shares brand 'OGX' with 'shampoo'"
    (link,) = found(paths, "relation")
    assert [h.relation for h in link.hops] == ["", "has", "also_bought"]
    (together,) = found(paths, "co_bought")
    assert together.count == 2
    assert together.sentence == "'oil': 2 other people have it together with 'soap'"


def test_weights_are_the_stated_ones(graph: KnowledgeGraph, history: Interactions) -> None:
    paths = explain(graph, history, 0, 2, titles=TITLES.__getitem__)
    # The shampoo is one step back; OGX is the brand of two of five items.
    rarity = math.log(5 / 2) / math.log(5)
    assert found(paths, "attribute")[0].weight == pytest.approx(0.9 * rarity)
    assert found(paths, "relation")[0].weight == pytest.approx(1.0)
    shared = math.log(3 / 2) / math.log(3) * 2 / (2 + 2)
    assert found(paths, "co_bought")[0].weight == pytest.approx(shared)
    assert [path.weight for path in paths] == sorted((p.weight for p in paths), reverse=True)


def test_a_relation_is_walked_backwards(graph: KnowledgeGraph) -> None:
    explainer = Explainer(graph, Interactions.of([], [], n_users=3, n_items=5))
    (link, *_) = explainer.explain_items(np.array([3]), 2, titles=TITLES.__getitem__)
    assert link.hops[-1].relation == "^also_bought"
    assert link.sentence == "'oil': also bought: linked to 'brush'"
    assert link.hops[0].id == "the history"


def test_contributions_reorder_and_add_what_the_graph_lacks(
    graph: KnowledgeGraph, history: Interactions
) -> None:
    explainer = Explainer(graph, history)
    plain = explainer.explain(0, 2, titles=TITLES.__getitem__)
    assert plain[0].reason == "relation"
    shampoo = explainer.explain(0, 2, titles=TITLES.__getitem__, contributions={0: 3.0})
    assert shampoo[0].hops[1].id == "i0"
    learned = explainer.explain(0, 4, titles=TITLES.__getitem__, contributions={1: 0.2})
    assert [path.sentence for path in learned] == [
        "'lamp': the model learned that it goes with 'soap'"
    ]


def test_no_path_and_no_history_are_empty(graph: KnowledgeGraph, history: Interactions) -> None:
    explainer = Explainer(graph, history)
    assert explainer.explain(0, 4, titles=TITLES.__getitem__) == []
    assert explainer.explain_items(np.array([], np.int64), 2, titles=TITLES.__getitem__) == []


def test_a_list_is_varied(graph: KnowledgeGraph) -> None:
    tags = Vocabulary([f"t{n}" for n in range(6)], "tag")
    many = relation("has_tag", "item", "tag", [(i, t) for i in (0, 2) for t in range(6)])
    wide = KnowledgeGraph({**graph.nodes, "tag": tags}, (*graph.relations, many))
    history = Interactions.of([0], [0], n_users=3, n_items=5)
    relations = [
        path.hops[-1].relation for path in explain(wide, history, 0, 2, titles=str, limit=3)
    ]
    assert sorted(relations) == ["^has_brand", "^has_tag", "^has_tag"]


def test_what_is_out_of_range_is_refused(graph: KnowledgeGraph, history: Interactions) -> None:
    explainer = Explainer(graph, history)
    with pytest.raises(UnknownIdError, match="user 3"):
        explainer.explain(3, 0, titles=str)
    with pytest.raises(UnknownIdError, match="item 5"):
        explainer.explain(0, 5, titles=str)
    with pytest.raises(ShapeError, match="the same shop"):
        Explainer(graph, Interactions.of([], [], n_users=3, n_items=4))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_shared_buyers_agree_with_sets(seed: int) -> None:
    generator = np.random.default_rng(seed)
    user, item = generator.integers(0, 6, 40), generator.integers(0, 8, 40)
    nodes = {
        "item": Vocabulary(map(str, range(8))),
        "user": Vocabulary(map(str, range(6)), "user"),
    }
    history = Interactions.of(user, item, n_users=6, n_items=8, time=np.arange(40))
    paths = explain(KnowledgeGraph(nodes), history, 0, 1, titles=str, limit=100)
    sets = [set(history.items_of(u).tolist()) for u in range(6)]
    expected = {held: sum({held, 1} <= other for other in sets[1:]) for held in sets[0] - {1}}
    assert {int(p.hops[1].id): p.count for p in paths} == {
        held: n for held, n in expected.items() if n
    }
