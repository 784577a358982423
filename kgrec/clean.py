"""Stated rules for text and values: markup, blanks, empty strings, lists."""

from __future__ import annotations

import html
from collections.abc import Sequence

import polars as pl

from kgrec.literals import parse

_MARKUP = r"(?s)<!--.*?-->|(?i)<(script|style)\b.*?</(script|style)\s*>|</?[a-z][^<>]*>"

_LIST = r"^\s*\["


def clean_text(values: pl.Series) -> tuple[pl.Series, dict[str, int]]:
    """Text without markup, with entities resolved, blanks collapsed and nothing for empty.

    Entities are resolved up to twice, since shops escape what is escaped already. `a < b` is no tag
    and stays.

    Args:
        values: Raw text, String, (n,).

    Returns:
        Cleaned text, String, (n,), null where nothing is left; and how many values changed,
        by rule.
    """
    text = values.cast(pl.String)
    marked = text.str.contains("[<&]", literal=False).fill_null(False)
    if marked.any():
        # html.unescape has no columnar twin; only values that hold < or & are touched.
        some = _unmark(_unescape(_unmark(text.filter(marked))))
        some = _unmark(_unescape(some))
        at = marked.arg_true()
        text = text.scatter(at, some)
    markup = int((text.filter(marked) != values.cast(pl.String).filter(marked)).sum())
    text = text.str.replace_all(r"\s+", " ").str.strip_chars()
    empty = int((text == "").sum())
    text = pl.select(pl.when(text != "").then(text)).to_series().alias(values.name)
    changed = {"values with markup or entities cleaned": markup, "empty values made null": empty}
    return text, {rule: n for rule, n in changed.items() if n}


def _unmark(text: pl.Series) -> pl.Series:
    return text.str.replace_all(_MARKUP, " ")


def _unescape(text: pl.Series) -> pl.Series:
    values = text.to_list()
    return pl.Series(
        text.name, [None if v is None else html.unescape(v) for v in values], pl.String
    )


def match_key(values: pl.Series) -> pl.Series:
    """What two spellings of one value share: lower case, single blanks."""
    return values.str.strip_chars().str.replace_all(r"\s+", " ").str.to_lowercase()


def split_values(values: pl.Series, split: str | None) -> pl.DataFrame:
    """Each value of each cell.

    Args:
        values: Cells, String, (n,); lists as JSON text or as Python prints them, nested or not.
        split: A separator, `list`, or None for one value a cell.

    Returns:
        Columns `row` (UInt32, position of the cell) and `value` (String, not null).
    """
    cells = (
        pl.DataFrame({"value": values.cast(pl.String)}).with_row_index("row").drop_nulls("value")
    )
    if split == "list":
        listed = pl.col("value").str.contains(_LIST)
        lists = cells.filter(listed)
        decoded = decode_lists(lists["value"])
        decoded = decoded.with_columns(row=lists["row"].gather(decoded["row"]))
        cells = pl.concat([decoded, cells.filter(~listed)]).sort("row", maintain_order=True)
    elif split:
        cells = cells.with_columns(pl.col("value").str.split(split)).explode("value")
    return cells.drop_nulls("value")


def decode_lists(values: pl.Series) -> pl.DataFrame:
    """What stands in lists, those inside lists included.

    Args:
        values: Lists as JSON text or as Python prints them, String, (n,), not null; anything else
            stands for itself.

    Returns:
        Columns `row` (UInt32, position of the list) and `value` (String, not null).
    """
    try:
        cells = values.str.json_decode(pl.List(pl.List(pl.String)))
    except pl.exceptions.ComputeError:
        parsed = [[_flat(parse(cell, python=True), cell)] for cell in values.to_list()]
        cells = pl.Series(parsed, dtype=pl.List(pl.List(pl.String)))
    frame = pl.DataFrame({"value": cells}).with_row_index("row")
    return frame.explode("value").explode("value").drop_nulls("value")


def _flat(value: object, cell: str) -> list[str]:
    if value is None:
        return [cell]
    if isinstance(value, list | tuple):
        return [text for part in value if part is not None for text in _flat(part, str(part))]
    return [str(value)]


def join_lists(values: pl.Series, split: str | None) -> pl.Series:
    """Cells for people to read: distinct values of a list joined by a comma, String, (n,).

    Lists as JSON or Python text are seen as such; a `split` that separates values is replaced.
    """
    text = values.cast(pl.String)
    if split not in (None, "list"):
        text = text.str.replace_all(split or "", ", ", literal=True)
        return text.str.replace_all(r",\s+", ", ")
    listed = text.str.contains(_LIST).fill_null(False)
    if not listed.any():
        return text
    decoded = decode_lists(text.filter(listed)).unique(maintain_order=True)
    joined = decoded.group_by("row").agg(pl.col("value").str.join(", "))
    some = (
        pl.DataFrame({"row": pl.int_range(int(listed.sum()), dtype=pl.UInt32, eager=True)})
        .join(joined, on="row", how="left", maintain_order="left")
        .get_column("value")
    )
    return text.scatter(listed.arg_true(), some)


def compose(columns: Sequence[pl.Series], n: int) -> pl.Series:
    """One text a row: the columns that have something, in order, String, (n,), '' for none."""
    if not columns:
        return pl.Series("text", [""] * n, pl.String)
    parts = [pl.lit(column.str.strip_chars_end(". ")) for column in columns]
    joined = pl.concat_str(parts, separator=". ", ignore_nulls=True)
    return pl.select(joined.fill_null("").alias("text")).to_series()
