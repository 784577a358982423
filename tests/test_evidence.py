from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.evidence import attribute_rows, bound, cut, relation_rows, text_rows
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.vocabulary import Vocabulary


def graph(*relations: tuple[str, str, list[tuple[int, int]]]) -> KnowledgeGraph:
    nodes = {
        "item": Vocabulary(list("abcdef"), "item"),
        "user": Vocabulary(["u"], "user"),
        "brand": Vocabulary(["x", "y", "everyone"], "brand"),
        "entity": Vocabulary(["e1", "e2"], "entity"),
    }
    made = tuple(
        Relation(f"r{n}", head, tail, np.array(edges).T, np.ones(len(edges), np.float32))
        for n, (head, tail, edges) in enumerate(relations)
    )
    return KnowledgeGraph(nodes, made)


def test_items_of_one_brand_meet_and_hubs_do_not_count() -> None:
    brands = [(0, 0), (1, 0), (2, 1), (3, 1), *((n, 2) for n in range(6))]
    rows = attribute_rows(graph(("item", "brand", brands)), hub_share=0.5)
    assert rows is not None
    together = (rows @ rows.T).toarray()
    assert together[0, 1] == pytest.approx(1)
    assert together[0, 2] == 0
    assert together[4].sum() == 0  # only the hub, which says nothing


def test_related_items_meet_each_other_and_what_they_share() -> None:
    rows = relation_rows(graph(("item", "item", [(0, 1), (2, 1)])), hub_share=1)
    assert rows is not None
    together = (rows @ rows.T).toarray()
    assert together[0, 1] > 0
    assert together[0, 2] > 0
    assert together[0, 3] == 0


def test_outside_entities_are_relations_and_not_attributes() -> None:
    links = graph(("item", "entity", [(0, 0), (1, 0)]))
    assert attribute_rows(links) is None
    rows = relation_rows(links, hub_share=1)
    assert rows is not None
    assert (rows @ rows.T).toarray()[0, 1] == pytest.approx(1)


def test_without_relations_there_are_no_rows() -> None:
    assert attribute_rows(graph()) is None
    assert relation_rows(graph()) is None


def test_text_neighbours_include_the_item_itself() -> None:
    text = np.array([[1, 0], [1, 0.1], [0, 1], [0, 0]], np.float32)
    rows = text_rows(text, n_neighbours=1).toarray()
    assert rows[0, 0] > 0
    assert rows[0, 1] > 0
    assert rows[0, 2] == 0
    assert rows[3].sum() == 0  # no text, no neighbours
    assert np.linalg.norm(rows[0]) == pytest.approx(1)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 5000))
def test_bounds_keep_the_pairs_within(sizes: list[int], pairs: int) -> None:
    rows = np.array(sizes)
    most = bound(rows, pairs)
    kept = rows[rows <= most]
    # Rows of the same size stay or go together, and the smallest always stays.
    assert (kept[kept < most] ** 2).sum() <= pairs
    length = cut(rows, pairs)
    assert length == 1 or (np.minimum(rows, length) ** 2).sum() <= pairs
    if (rows**2).sum() <= pairs:
        assert most == length == rows.max()
