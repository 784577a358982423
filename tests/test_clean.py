"""The stated rules for text and values."""

from __future__ import annotations

import html
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.clean import clean_text, compose, decode_lists, join_lists, match_key, split_values

RULES = [
    ("Tom &amp; Jerry", "Tom & Jerry"),
    ("Tom &amp;amp; Jerry", "Tom & Jerry"),
    ("<b>bold</b> and<br/>more", "bold and more"),
    ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
    ("a < b > c", "a < b > c"),
    ("x<script type='a'>var y = 1;</script>z", "x z"),
    ("one<!-- no -->two", "one two"),
    ("  many \n\t blanks ", "many blanks"),
    ("caf&eacute; &#233;", "café é"),
    ("", None),
    ("<br>", None),
    (None, None),
    ("AT&T", "AT&T"),
]


@pytest.mark.parametrize(("raw", "clean"), RULES)
def test_one_value(raw: str | None, clean: str | None) -> None:
    assert clean_text(pl.Series("t", [raw], pl.String))[0].to_list() == [clean]


def test_a_column_of_all_of_them_counts_what_changed() -> None:
    cleaned, changed = clean_text(pl.Series("t", [raw for raw, _ in RULES], pl.String))
    assert cleaned.to_list() == [clean for _, clean in RULES]
    assert changed == {
        "values with markup or entities cleaned": 8,
        "empty values made null": 2,
    }


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<&"), max_size=20),
        max_size=5,
    )
)
def test_escaped_text_comes_back(values: list[str]) -> None:
    escaped = pl.Series("t", [html.escape(v) for v in values], pl.String)
    plain = pl.Series("t", values, pl.String)
    assert clean_text(escaped)[0].to_list() == clean_text(plain)[0].to_list()


def test_lists_in_json_in_python_and_nested() -> None:
    cells = pl.Series(['["a", "b"]', "[6285, 194]", '[["x", "y"], ["z"]]', "[]", "plain", None])
    found = split_values(cells, "list")
    assert found.rows() == [
        (0, "a"), (0, "b"), (1, "6285"), (1, "194"), (2, "x"), (2, "y"), (2, "z"), (4, "plain"),
    ]  # fmt: skip
    python = pl.Series(["['a', \"b's\"]", "[('x',), None]", "[broken"])
    assert decode_lists(python).rows() == [(0, "a"), (0, "b's"), (1, "x"), (2, "[broken")]


@given(st.lists(st.lists(st.text(max_size=8), max_size=4), max_size=6))
def test_json_lists_come_apart_as_they_were_put_together(cells: list[list[str]]) -> None:
    found = split_values(pl.Series([json.dumps(c) for c in cells], dtype=pl.String), "list")
    assert found.rows() == [(row, value) for row, cell in enumerate(cells) for value in cell]


def test_separators_split_and_one_value_stays_whole() -> None:
    cells = pl.Series(["a|b", None, "c"])
    assert split_values(cells, "|").rows() == [(0, "a"), (0, "b"), (2, "c")]
    assert split_values(cells, None).rows() == [(0, "a|b"), (2, "c")]


def test_values_match_without_case_and_blanks() -> None:
    assert match_key(pl.Series(["  Nike  Air", "NIKE AIR"])).n_unique() == 1


def test_lists_are_joined_for_people_and_texts_composed_in_order() -> None:
    joined = join_lists(pl.Series(['["Gift", "Gift", "Card"]', "[]", "plain", None]), "list")
    assert joined.to_list() == ["Gift, Card", None, "plain", None]
    assert join_lists(pl.Series(["a|b c"]), "|").to_list() == ["a, b c"]
    text = compose([pl.Series(["Title.", None]), pl.Series(["Brand", None])], 2)
    assert text.to_list() == ["Title. Brand", ""]
    assert compose([], 2).to_list() == ["", ""]
