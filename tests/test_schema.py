"""Schemas: what they say, what they may not say."""

from __future__ import annotations

import contextlib
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.errors import SchemaError
from kgrec.schema import Schema, shipped_folder
from kgrec.schema_parts import InteractionTable, NodeTable, RelationColumn, Source, TripleTable

MY_SHOP = """
[[interactions]]
files = ["orders.csv"]
user = "customer"
item = "product"
time = "ordered_at"
time_unit = "iso"

[items]
files = ["products.csv"]
id = "product"
text = ["title", "brand"]

[[relation]]
name = "has_brand"
column = "brand"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "my_shop.toml"
    path.write_text(text, "utf-8")
    return path


def test_fifteen_lines_make_a_schema(tmp_path: Path) -> None:
    schema = Schema.load(write(tmp_path, MY_SHOP))
    assert schema.name == "my_shop"
    assert schema.interactions[0].source.files == ("orders.csv",)
    assert schema.items is not None
    assert schema.items.text == ("title", "brand")
    assert schema.relations[0].tail == "brand"


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_schema_loads_by_its_name(path: Path) -> None:
    assert Schema.load(path.stem).name == path.stem


def test_a_relation_that_may_leak_is_marked_in_the_shipped_schemas() -> None:
    for name in ("amazon-2014", "amazon-2018", "amazon-2023", "amazon-grocery-2014"):
        relations = Schema.load(name).relations
        assert all(r.may_leak for r in relations if r.kind == "item")
        assert any(r.may_leak for r in relations)


def test_time_range_of_dates(tmp_path: Path) -> None:
    schema = Schema.load(write(tmp_path, "time_range = [1970-01-02, 1970-01-03]" + MY_SHOP))
    assert schema.time_range == (86_400, 172_800)


BROKEN = [
    ("colour = 1" + MY_SHOP, "unknown key 'colour'"),
    (MY_SHOP.replace("[items]", "[item]"), "unknown key 'item'; did you mean 'items'?"),
    (MY_SHOP.replace('time = "', 'tiem = "'), "unknown key 'tiem'; did you mean 'time'?"),
    (MY_SHOP.replace('id = "product"', ""), r"\[items\]: key 'id' is missing"),
    (MY_SHOP.replace('column = "brand"', ""), r"\[\[relation\]\] has_brand: key 'column'"),
    (MY_SHOP.replace('text = ["title", "brand"]', "text = 3"), "must be text or a list"),
    (MY_SHOP.replace('item = "product"', 'item = "customer"', 1), "is both user and item"),
    (MY_SHOP.replace('"iso"', '"days"'), "time_unit cannot be 'days'"),
    (MY_SHOP + 'kind = "itme"', "kind cannot be 'itme'; did you mean 'item'"),
    (MY_SHOP + 'table = "users"', r"there is no \[users\]"),
    (MY_SHOP + 'node = "item"', "cannot be an attribute"),
    (MY_SHOP + "may_leak = 1", "must be true or false"),
    (MY_SHOP + "weight = -1", "must be a number above 0"),
    (MY_SHOP + '[[relation]]\nname = "has_brand"\ncolumn = "x"', "stands twice"),
    (MY_SHOP + '[[triples]]\nfiles = ["kg.tsv"]', "say relation"),
    (MY_SHOP.replace("[[interactions]]", "[interactions]"), r"write \[\[interactions\]\]"),
    (MY_SHOP[MY_SHOP.index("[items]") :], "interactions.* is missing"),
    ("time_range = [2020-01-01, 2010-01-01]" + MY_SHOP, "time_range must be two dates"),
    (MY_SHOP + "[behaviours]\nbuy = -1", "buy must have a weight of 0 or more"),
    ('target = "by"' + MY_SHOP + "[behaviours]\nbuy = 1", "did you mean 'buy'"),
    (MY_SHOP.replace('user = "c', 'format = "cvs"\nuser = "c'), "did you mean 'csv'"),
    ("[[", "is not valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        Schema.load(write(tmp_path, text))
    assert "my_shop.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_name_shows_the_nearest_one() -> None:
    with pytest.raises(SchemaError, match=r"unknown schema 'amazon2018'; did you mean 'amazon-"):
        Schema.load("amazon2018")
    with pytest.raises(SchemaError, match="there is no schema file"):
        Schema.load("nowhere/x.toml")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
))  # fmt: skip
def test_any_content_is_a_schema_or_a_schema_error(value: Any) -> None:
    for key in ("interactions", "items", "relation", "behaviours", "time_range", "target"):
        with contextlib.suppress(SchemaError):
            Schema.from_dict({"interactions": [{}], key: value})


def test_the_guide_names_every_key() -> None:
    guide = (Path(__file__).parent.parent / "graph" / "README.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+)`", guide))
    for cls in (Source, InteractionTable, NodeTable, RelationColumn, TripleTable):
        keys = {field.name for field in fields(cls)} - {"source"}
        assert keys <= named, keys - named
