from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.graph_health import graph_health
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.vocabulary import Vocabulary


def relation(name: str, head: str, tail: str, pairs: list[tuple[int, int]]) -> Relation:
    edges = np.array(pairs, np.int64).reshape(-1, 2).T
    return Relation(name, head, tail, edges, np.ones(len(pairs), np.float32))


@pytest.fixture
def shop() -> Shop:
    """Four items, two users, two brands and one alone; item 3 and user 1 have no interaction."""
    nodes = {
        "item": Vocabulary(["a", "b", "c", "d"]),
        "user": Vocabulary(["u", "v"], "user"),
        "brand": Vocabulary(["X", "Y", "Z"], "brand"),
    }
    has_brand = relation("has_brand", "item", "brand", [(0, 0), (1, 0), (2, 1)])
    interactions = Interactions.of(
        [0, 0, 0, 0], [0, 2, 1, 1], n_users=2, n_items=4, time=[1, 2, 3, 4]
    )
    return Shop(
        "tiny",
        nodes["item"],
        nodes["user"],
        interactions,
        KnowledgeGraph(nodes, (has_brand,)),
        pl.Series(["soap", "", "cream", "oil"]),
    )


def test_counts_coverage_hubs_and_dangling_ends(shop: Shop) -> None:
    health = graph_health(shop)
    assert health.nodes == {"item": 4, "user": 2, "brand": 3}
    brand = health.relations[0]
    assert (brand.n_edges, brand.item_coverage, brand.mean_degree) == (3, 0.75, 1.0)
    assert [(hub.id, hub.degree, hub.share) for hub in brand.hubs] == [
        ("X", 2, 0.5),
        ("Y", 1, 0.25),
    ]
    assert health.text_coverage == 0.75
    assert health.no_edges == {"item": 1, "user": 1, "brand": 1}
    assert health.single_edge == {"brand": 1}
    assert (health.items_without_interactions, health.users_without_interactions) == (1, 1)
    # A pair met twice is one edge.
    assert health.behaviours[0].n_edges == 3


def test_components_with_and_without_interactions(shop: Shop) -> None:
    health = graph_health(shop)
    # {a, b, X}, {c, Y}, d, u, v, Z
    assert health.components_without_interactions.n_components == 6
    assert health.components_without_interactions.largest == 3
    # u joins the first two.
    assert health.components.n_components == 4
    assert health.components.largest == 6
    assert health.components.items_in_largest == 0.75


def test_report_is_json_and_readable(shop: Shop) -> None:
    health = graph_health(shop)
    assert json.loads(json.dumps(health.to_dict()))["nodes"]["brand"] == 3
    text = health.to_text()
    assert "has_brand (item -> brand)" in text
    assert "hubs: X (2; 50.0%)" in text


def test_empty_shop_has_a_report() -> None:
    nodes = {"item": Vocabulary([]), "user": Vocabulary([], "user")}
    nothing = Interactions.of([], [], n_users=0, n_items=0)
    health = graph_health(
        Shop("empty", nodes["item"], nodes["user"], nothing, KnowledgeGraph(nodes))
    )
    assert health.components.n_components == 0
    assert "nothing" in health.held_out
    assert health.to_text()
