"""A shop as a folder: the same shop comes back, and nothing is read twice that did not change."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import kgrec
from kgrec import cli, shop_folder
from kgrec.errors import ArtefactError, ConfigError
from kgrec.loading import LoadConfig, load
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
[[interactions]]
name = "later"
files = ["later.csv"]
part = "test"
user = "user"
item = "item"
time = "time"
behaviour = "kind"
[items]
files = ["items.csv"]
id = "item"
text = ["title"]
[[relation]]
name = "has_brand"
column = "brand"
"""
ORDERS = "007,A,buy,1500000003\n7,B,view,1500000002\n7,A,buy,1500000001\n,A,buy,1500000000\n"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "orders.csv").write_text("user,item,kind,time\n" + ORDERS)
    (folder / "later.csv").write_text("user,item,kind,time\n7,C,buy,1600000000\n")
    (folder / "items.csv").write_text("item,title,brand\nA,a thing,Acme\nB,,Other\n")
    (folder / "my.toml").write_text(SCHEMA)
    return folder


def same(one: Shop, other: Shop) -> None:
    """Every part of two shops agrees."""
    assert one.name == other.name
    assert one.report == other.report
    for part in shop_folder.PARTS:
        a, b = getattr(one, part), getattr(other, part)
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.behaviours, a.time_kind, a.target) == (b.behaviours, b.time_kind, b.target)
            for column in ("user", "item", "behaviour", "time", "weight", "start"):
                assert np.array_equal(getattr(a, column), getattr(b, column))
                assert getattr(a, column).dtype == getattr(b, column).dtype
    assert list(one.graph.nodes) == list(other.graph.nodes)
    for kind, vocabulary in one.graph.nodes.items():
        assert vocabulary.ids.equals(other.graph.nodes[kind].ids)
    for r, s in zip(one.graph.relations, other.graph.relations, strict=True):
        assert (r.name, r.head, r.tail, r.may_leak) == (s.name, s.head, s.tail, s.may_leak)
        assert np.array_equal(r.edges, s.edges)
        assert np.array_equal(r.weight, s.weight)
    assert one.item_table.equals(other.item_table)
    assert one.user_table.equals(other.user_table)
    assert (one.text is None) == (other.text is None)
    assert one.text is None or one.text.equals(other.text)  # type: ignore[arg-type]


def prepare(tables: Path, out: Path, *more: str) -> int:
    schema = str(tables / "my.toml")
    return cli.main(["prepare", str(tables), "--schema", schema, "--out", str(out), *more])


def test_a_prepared_shop_is_the_shop(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop"
    assert prepare(tables, out) == 0
    said = capsys.readouterr().out
    assert "orders.csv: 4 rows" in said
    assert "rejected: no user id" in said
    rejects = str(tmp_path / "shop-rejected.tsv")
    same(kgrec.load(out), load(tables, tables / "my.toml", LoadConfig(reject_file=rejects)))
    assert pl.read_csv(rejects, separator="\t").height == 1


def test_what_did_not_change_is_not_read_again(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop"
    prepare(tables, out)
    before = (out / "manifest.json").stat().st_mtime_ns
    assert prepare(tables, out) == 0
    assert "was made of these files already" in capsys.readouterr().out
    assert (out / "manifest.json").stat().st_mtime_ns == before
    assert prepare(tables, out, "--set", "load.deduplicate=true") == 0  # another option
    with (tables / "orders.csv").open("a") as file:
        file.write("8,A,buy,1500000000\n")
    assert prepare(tables, out) == 0  # another file
    assert len(kgrec.load(out).users) == 3
    (out / "interactions.parquet").write_bytes(b"no")
    assert prepare(tables, out) == 0  # damaged: made again
    assert len(kgrec.load(out).users) == 3


def test_what_cannot_be_meant(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop"
    prepare(tables, out)
    with pytest.raises(ConfigError, match="is prepared already: no schema"):
        kgrec.load(out, tables / "my.toml")
    with pytest.raises(ConfigError, match="no options of load"):
        load(out, None, LoadConfig(k_core=2))
    assert cli.main(["prepare", str(tables), "--out", str(out)]) == 2
    assert "--schema S" in capsys.readouterr().err
    assert prepare(tables, tables) == 1  # it holds other things
    assert "is not a shop folder; kgrec does not replace it" in capsys.readouterr().err
    with pytest.raises(ArtefactError, match="is not a model folder: it holds 'kgrec-shop'"):
        kgrec.load_model(out)
    (out / "interactions.parquet").write_bytes(b"no")
    with pytest.raises(ArtefactError, match="or prepare it again"):
        kgrec.load(out)


def test_a_kill_leaves_no_broken_shop(tables: Path, tmp_path: Path) -> None:
    n = 100_000
    rows = pl.DataFrame({"user": np.arange(n) // 20, "item": np.arange(n) * 7919 % 30_011})
    rows = rows.with_columns(kind=pl.lit("buy"), time=1_500_000_000 + np.arange(n))
    rows.write_csv(tables / "orders.csv")
    out = tmp_path / "shop"
    command = [sys.executable, "-m", "kgrec", "prepare", str(tables), "--out", str(out)]
    command += ["--schema", str(tables / "my.toml")]
    for seconds in (0.5, 1.0, 1.5, 2.0):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            with suppress(subprocess.TimeoutExpired):
                run.wait(seconds)
            run.kill()
        assert not out.exists() or len(kgrec.load(out).interactions) == n
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert len(kgrec.load(out).interactions) == n
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shop", "tables"]
