from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.spectral import attribute_means, spectral_items
from kgrec.vocabulary import Vocabulary


def graph_of(pairs: list[tuple[int, int]], n_items: int = 8, n_brands: int = 3) -> KnowledgeGraph:
    edges = np.array(pairs, np.int64).reshape(-1, 2).T
    nodes = {
        "user": Vocabulary(range(6), "user"),
        "item": Vocabulary(range(n_items)),
        "brand": Vocabulary(range(n_brands), "brand"),
    }
    relation = Relation("has_brand", "item", "brand", edges, np.ones(edges.shape[1], np.float32))
    return KnowledgeGraph(nodes, (relation,))


# two groups of users who share nothing; items 6 and 7 have no interactions
HISTORY = csr_array(
    np.array([[1, 1, 1, 0, 0, 0, 0, 0]] * 3 + [[0, 0, 0, 1, 1, 1, 0, 0]] * 3, np.float32)
)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_planted_groups_come_apart() -> None:
    items = spectral_items(HISTORY, graph_of([]), 2, graph_weight=0.0, seed=7)
    assert items.shape == (8, 2)
    assert cosine(items[0], items[2]) == pytest.approx(1, abs=1e-4)
    assert cosine(items[0], items[4]) == pytest.approx(0, abs=1e-4)
    assert not items[6:].any()
    assert np.square(items).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_a_graph_row_places_an_item_without_interactions() -> None:
    graph = graph_of([(0, 0), (6, 0)])
    items = spectral_items(HISTORY, graph, 3, graph_weight=0.5, seed=7)
    assert cosine(items[6], items[0]) > 0.5
    assert abs(cosine(items[6], items[4])) < 1e-3


def test_columns_past_the_rank_are_zero_and_the_seed_decides() -> None:
    first, second = (
        spectral_items(HISTORY, graph_of([]), 32, graph_weight=0.1, seed=7) for _ in range(2)
    )
    assert first.shape == (8, 32)
    assert np.array_equal(first, second)
    assert not first[:, 8:].any()


@pytest.mark.parametrize("lean", [False, True])
def test_no_data_is_no_direction(lean: bool) -> None:
    empty = csr_array((6, 8), dtype=np.float32)
    assert not spectral_items(empty, graph_of([]), 4, graph_weight=1.0, seed=7, lean=lean).any()


def test_the_lean_decomposition_is_the_same() -> None:
    draw = np.random.default_rng(0)
    history = csr_array((draw.random((40, 25)) * (draw.random((40, 25)) < 0.3)).astype(np.float32))
    graph = graph_of([(item, item % 3) for item in range(25)], n_items=25)
    usual, lean = (
        spectral_items(history, graph, 30, graph_weight=0.5, seed=7, lean=lean)
        for lean in (False, True)
    )
    assert lean.dtype == np.float32
    assert lean @ lean.T == pytest.approx(usual @ usual.T, abs=1e-3)
    again = spectral_items(history, graph, 30, graph_weight=0.5, seed=7, lean=True)
    assert np.array_equal(lean, again)


def test_attribute_means_in_either_direction() -> None:
    items = np.eye(8, 4, dtype=np.float32)
    graph = graph_of([(0, 0), (1, 0), (2, 1)])
    turned = Relation("of", "brand", "item", np.array([[2], [3]]), np.array([2.0], np.float32))
    means = attribute_means(KnowledgeGraph(graph.nodes, (*graph.relations, turned)), items)
    assert means["brand"].tolist() == [[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert set(means) == {"brand"}
