"""From tables to the graph: split, matched, joined, counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import DataError, SchemaError
from kgrec.graph import KnowledgeGraph
from kgrec.loading import load
from kgrec.schema import Schema
from kgrec.shop import Shop

ORDERS = pl.DataFrame({"user": ["u", "v"], "item": ["A", "E"]})
ITEMS = pl.DataFrame(
    {
        "id": ["A", "B", "C"],
        "brand": ["Acme &amp; Co", " ACME &  Co ", ""],
        "tags": ["red|blue|red", "Blue", None],
        "also": ['["B", "X", "A"]', "[]", '["X", "E", ""]'],
    }
)
TRIPLES = pl.DataFrame(
    {
        "head": ["A", "A", "X", "Q", "A", None, "B"],
        "relation": ["made_in", "made_in", "near", "near", "made_in", "near", "near"],
        "tail": ["Q", "Q", "Y", "B", "B", "Y", "B"],
    }
)


def shop_of(frames: dict[str, pl.DataFrame] | None = None, **tables: Any) -> Shop:
    table = {"interactions": [{}], "items": {"id": "id"}} | tables
    given_frames = {"interactions": ORDERS, "items": ITEMS, "triples": TRIPLES} | (frames or {})
    return load(given_frames, Schema.from_dict(table, file="my_shop.toml"))


def edges(graph: KnowledgeGraph, name: str) -> set[tuple[str, str, str, str]]:
    found = set()
    for r in graph.relations:
        if r.name == name:
            heads, tails = (
                graph.nodes[r.head].take(r.edges[0]),
                graph.nodes[r.tail].take(r.edges[1]),
            )
            found |= {(r.head, h, r.tail, t) for h, t in zip(heads, tails, strict=True)}
            assert len(r) == len(set(zip(heads, tails, strict=True)))
    return found


def test_spellings_match_and_the_first_is_kept() -> None:
    shop = shop_of(relation=[{"name": "has_brand", "column": "brand", "weight": 2.5}])
    assert shop.graph.nodes["brand"].ids.to_list() == ["Acme & Co"]
    assert edges(shop.graph, "has_brand") == {
        ("item", "A", "brand", "Acme & Co"), ("item", "B", "brand", "Acme & Co"),
    }  # fmt: skip
    assert shop.graph.relations[0].weight.tolist() == [2.5, 2.5]
    apart = shop_of(relation=[{"name": "has_brand", "column": "brand", "match_case": True}])
    assert apart.graph.nodes["brand"].ids.to_list() == ["Acme & Co", "ACME & Co"]


def test_several_values_split_into_distinct_edges() -> None:
    shop = shop_of(relation=[{"name": "has_tag", "column": "tags", "split": "|", "node": "tag"}])
    assert edges(shop.graph, "has_tag") == {
        ("item", "A", "tag", "red"), ("item", "A", "tag", "blue"), ("item", "B", "tag", "blue"),
    }  # fmt: skip


def test_two_columns_may_share_a_kind_of_node() -> None:
    relations = [
        {"name": "has_tag", "column": "tags", "split": "|", "node": "word"},
        {"name": "has_brand", "column": "brand", "node": "word"},
    ]
    shop = shop_of(relation=relations)
    assert set(shop.graph.nodes) == {"item", "user", "word"}
    assert len(shop.graph.nodes["word"]) == 3


def test_ids_of_items_join_items_and_others_are_entities() -> None:
    relation = {"name": "also", "column": "also", "kind": "item", "split": "list"}
    shop = shop_of(relation=[relation | {"may_leak": True}])
    assert edges(shop.graph, "also") == {
        ("item", "A", "item", "B"), ("item", "C", "item", "E"),
        ("item", "A", "entity", "X"), ("item", "C", "entity", "X"), ("item", "A", "item", "A"),
    }  # fmt: skip
    assert all(r.may_leak for r in shop.graph.relations)
    assert shop.report.changed["triples with an end outside the shop kept"] == 2
    dropped = shop_of(relation=[relation | {"outside": "drop"}])
    assert "entity" not in dropped.graph.nodes
    assert dropped.report.changed["triples with an end outside the shop dropped"] == 2


def test_external_triples() -> None:
    shop = shop_of(triples=[{"relation": "relation", "may_leak": ["near"]}])
    assert edges(shop.graph, "made_in") == {
        ("item", "A", "entity", "Q"), ("item", "A", "item", "B"),
    }  # fmt: skip
    assert edges(shop.graph, "near") == {
        ("entity", "X", "entity", "Y"), ("entity", "Q", "item", "B"), ("item", "B", "item", "B"),
    }  # fmt: skip
    assert {r.name: r.may_leak for r in shop.graph.relations} == {"made_in": False, "near": True}
    assert shop.graph.nodes["entity"].ids.to_list() == ["Q", "X", "Y"]
    assert shop.report.rejected == {"no head, or a row cut short": 1}
    assert shop.report.changed["repeated triples merged"] == 1
    shop = shop_of(triples=[{"relation_is": "linked", "may_leak": ["*"], "outside": "drop"}])
    assert edges(shop.graph, "linked") == {
        ("item", "A", "item", "B"), ("item", "B", "item", "B"),
    }  # fmt: skip
    assert shop.graph.relations[0].may_leak


def test_numbers_are_translated_by_the_lists_beside_them(tmp_path: Path) -> None:
    files = {
        "train.txt": "0 0 1\n1 2\n",
        "test.txt": "0 2\n",
        "item_list.txt": "org_id remap_id freebase_id\nB0 0 m.0\n01 1 m.1\n",
        "user_list.txt": "org_id remap_id\nAnn 0\n",
        "entity_list.txt": "org_id remap_id\nm.0 0\nm.1 1\nm.x y 5\n",
        "relation_list.txt": "org_id remap_id\nwritten_by 0\n",
        "kg_final.txt": "0 0 5\n5 0 1\n0 1 6\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    shop = load(tmp_path, "kgat")
    assert shop.items.ids.to_list() == ["B0", "01", "2"]
    assert shop.users.ids.to_list() == ["Ann", "1"]
    assert shop.test is not None
    assert shop.items.take(shop.test.item).to_list() == ["2"]
    assert edges(shop.graph, "written_by") == {
        ("item", "B0", "entity", "m.x y"), ("entity", "m.x y", "item", "01"),
    }  # fmt: skip
    assert edges(shop.graph, "1") == {("item", "B0", "entity", "6")}


def test_links_say_which_entity_is_which_item(tmp_path: Path) -> None:
    files = {
        "x.inter": "user_id:token\titem_id:token\ttimestamp:float\nu\tA\t1500000000\n",
        "x.kg": "head_id:token\trelation_id:token\ttail_id:token\nm.1\tof\tm.2\n",
        "x.link": "item_id:token\tentity_id:token\nA\tm.1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    shop = load(tmp_path, "recbole")
    assert edges(shop.graph, "of") == {("item", "A", "entity", "m.2")}
    assert shop.interactions.time_kind == "seconds"


def test_users_have_attributes_too() -> None:
    users = pl.DataFrame({"name": ["v", "w"], "town": ["Bonn", "bonn"]})
    relation = {"name": "lives_in", "table": "users", "column": "town"}
    shop = shop_of({"users": users}, users={"id": "name"}, relation=[relation])
    assert shop.users.ids.to_list() == ["v", "w", "u"]
    assert edges(shop.graph, "lives_in") == {
        ("user", "v", "town", "Bonn"), ("user", "w", "town", "Bonn"),
    }  # fmt: skip
    assert shop.user_table.rows() == [("v", "Bonn"), ("w", "bonn"), ("u", None)]


def test_columns_that_the_interactions_repeat() -> None:
    orders = pl.DataFrame({"user": ["u"] * 3, "item": ["A", "A", "B"], "shelf": ["x", "y", None]})
    items = {"id": "item", "taken_from": "interactions"}
    relation = {"name": "on", "column": "shelf"}
    shop = shop_of({"interactions": orders}, items=items, relation=[relation])
    assert edges(shop.graph, "on") == {("item", "A", "shelf", "x")}
    assert shop.report.changed == {"rows whose shelf differs from the first of the same item": 1}
    with pytest.raises(SchemaError, match="name their items by 'item'; set id to it"):
        shop_of({"interactions": orders}, items=items | {"id": "shelf"})


def test_keys_that_name_two_rows_are_refused() -> None:
    items = pl.DataFrame({"id": ["A", "B"], "n": ["1", "1"]})
    with pytest.raises(DataError, match="key '1' names two rows"):
        shop_of({"items": items}, items={"id": "id", "key": "n"})


VALUES = st.text('aB01 -\u00e9"', min_size=1, max_size=5).filter(lambda v: v.strip() != "")


@settings(max_examples=30)
@given(st.lists(st.lists(VALUES, max_size=4), min_size=1, max_size=6))
def test_every_edge_of_item_lists_is_there_once(cells: list[list[str]]) -> None:
    ids = [f"item {n}" for n in range(len(cells))]
    items = pl.DataFrame({"id": ids, "also": [json.dumps(c) for c in cells]})
    relation = {"name": "also", "column": "also", "kind": "item", "split": "list"}
    shop = shop_of({"items": items}, relation=[relation])
    found = {(head, tail) for _, head, _, tail in edges(shop.graph, "also")}
    assert found == {(i, v.strip()) for i, c in zip(ids, cells, strict=True) for v in c}
