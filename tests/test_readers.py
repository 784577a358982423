"""Readers: every format and compression gives the same columns; damage is named."""

from __future__ import annotations

import ast
import datetime as dt
import gzip
import json
import warnings
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.errors import DataError
from kgrec.literals import parse
from kgrec.readers import Table, find_files, from_frame, open_table, reading
from kgrec.schema_parts import Source

ROWS = [("007", "B0 1", "ü, x", "1"), ("8", "01", 'say "hi"', "2")]
NAMES = ["user", "item", "title", "n"]


def content(kind: str) -> bytes:
    frame = pl.DataFrame(ROWS, schema=NAMES, orient="row")
    if kind == "csv":
        return frame.write_csv().encode()
    if kind == "tsv":
        return "\n".join("\t".join(row) for row in [NAMES, *ROWS]).encode()
    if kind == "recbole":
        return "\n".join("\t".join(r) for r in [[f"{n}:token" for n in NAMES], *ROWS]).encode()
    if kind == "python-literals":
        return "\n".join(repr(dict(zip(NAMES, row, strict=True))) for row in ROWS).encode()
    return "\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS).encode()


def packed(path: Path, data: bytes) -> Path:
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.Codec("zstd").compress(data, asbytes=True)
    path.write_bytes(data)
    return path


def rows(table: Table) -> list[tuple[object, ...]]:
    names = [n for n in table.frame.collect_schema().names() if not n.startswith("\x00")]
    return table.frame.select(names).collect().rows()


@pytest.mark.parametrize("end", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "recbole", "python-literals"])
def test_every_format_and_compression_reads_alike(tmp_path: Path, kind: str, end: str) -> None:
    packed(tmp_path / f"table.x{end}", content(kind))
    source = Source(files=("table.x",), format=kind)
    (path,) = find_files(tmp_path, source)
    table = open_table(path, source, ["item", "title", "user"])
    assert rows(table) == [(item, title, user) for user, item, title, _ in ROWS]
    assert table.missing == ()
    assert table.rejects.height == 0


def test_typed_columns_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [7, 8],
            "float": [7.0, None],
            "price": [1.5, float("nan")],
            "tags": [["a", "b"], []],
            "deep": [{"k": {"x y": ["v"]}}, None],
            "when": [dt.datetime(1970, 1, 2), None],
            "day": [dt.date(1970, 1, 2), None],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    wanted = [*frame.columns[:4], "deep.k.x y", "when", "day", "no", "deep.none"]
    for table in (
        open_table(tmp_path / "t.parquet", Source(), wanted),
        from_frame("frame", frame.lazy(), wanted),
    ):
        first, second = rows(table)
        assert first == ("7", "7", "1.5", '["a","b"]', '["v"]', "86400", "86400", None)
        assert second == ("8", None, None, "[]", None, None, None, None)
        assert table.missing == ("no",)
        assert table.seconds == {"when", "day"}


def test_json_of_mixed_types_is_text_and_missing_keys_are_told(tmp_path: Path) -> None:
    lines = [{"id": "a", "x": ["p"], "d": {"k": 1}}, {"id": 5, "x": "q", "d": None, "n": None}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    table = open_table(path, Source(), ["id", "x", "d.k", "n"])
    assert rows(table) == [("a", '["p"]', "1"), ("5", "q", None)]
    assert table.missing == ("n",)


def test_lines_that_are_not_json_are_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    packed(path, b'{"id": "a"}\n{"id": \n\n[1]\n{\'id\': "b"}\n{"id": "c", "t": true}')
    table = open_table(path, Source(), ["id", "t"])
    assert rows(table) == [("a", None), ("b", None), ("c", "true")]
    assert table.rejects.rows() == [
        (2, "the line is not valid JSON", '{"id": '),
        (3, "empty line", ""),
        (4, "the line is not valid JSON", "[1]"),
    ]


def test_lists_and_spaced_files(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 5 6\n1\n2  7 \n")
    table = open_table(tmp_path / "train.txt", Source(format="lists"), ["user", "item"])
    assert rows(table) == [("0", "5"), ("0", "6"), ("2", "7")]
    assert dict(table.notes) == {"users listed with no item": 1}
    (tmp_path / "list.txt").write_text('org_id remap_id\nm.01 0\n"I Love You 1\n 2\n')
    table = open_table(tmp_path / "list.txt", Source(format="spaced"), ["remap_id", "org_id"])
    assert rows(table) == [("0", "m.01"), ("1", '"I Love You'), ("2", "")]


def test_files_are_found_by_pattern_once(tmp_path: Path) -> None:
    for name in ("b_5.json.gz", "a_5.json", "a.json", "meta_a_5.json", "x.csv"):
        (tmp_path / name).write_bytes(b"")
    source = Source(files=("*_5.json", "*.json", "!meta_*"))
    assert [p.name for p in find_files(tmp_path, source)] == ["a_5.json", "b_5.json.gz"]
    assert [p.name for p in find_files(tmp_path / "b_5.json.gz", source)] == ["b_5.json.gz"]
    assert find_files(tmp_path, Source(files=("*.tsv",))) == []


@pytest.mark.parametrize("kind", ["csv", "jsonl", "python-literals", "lists"])
def test_a_truncated_gzip_is_named(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path / "orders.gz", content("csv" if kind == "lists" else kind) * 200)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"orders\.gz cannot be read: .* cut short"):
        read(path, kind)


def read(path: Path, kind: str) -> pl.DataFrame:
    with reading(path.name):
        return open_table(path, Source(format=kind), ["user"]).frame.collect()


def test_other_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.csv is empty"):
        read(tmp_path / "a.csv", "csv")
    (tmp_path / "b.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"b\.parquet cannot be read"):
        read(tmp_path / "b.parquet", "parquet")
    (tmp_path / "c.csv").write_text('user,x\n1,"open\n2,y\n')
    with pytest.raises(DataError, match=r"c\.csv cannot be read: .*quote = false"):
        read(tmp_path / "c.csv", "csv")
    (tmp_path / "d.what").write_text("x")
    with pytest.raises(DataError, match=r"format of d\.what cannot be told"):
        read(tmp_path / "d.what", "auto")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, min_size=1, max_size=4))
def test_what_python_or_json_prints_is_read_back(value: dict[str, object]) -> None:
    assert parse(repr(value), python=True) == value
    assert parse(json.dumps(value), python=False) == value


@pytest.mark.parametrize(
    "line", [r"{'a': 'b\/c'}", r"{'a': 'x\'y'}", "{'a': u'b'}", "{'a': \"it's\"}", "{'a': 1,}"]
)
def test_literals_keep_their_python_meaning(line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert parse(line, python=True) == ast.literal_eval(line)


@pytest.mark.parametrize("line", ["", "nan", "__import__('os')", "(", "1" * 5000 + "x", "[" * 500])
def test_what_is_neither_is_none(line: str) -> None:
    assert parse(line, python=True) is None
