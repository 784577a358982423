from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from fake_source import FakeSource
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.atomic import claim
from kgrec.errors import ArtefactError, ConfigError, KgrecError
from kgrec.interactions import Interactions
from kgrec.list_files import SCHEMA, write_table
from kgrec.lists import list_table, write_lists

HERE = Path(__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def brute_force(source: FakeSource, k: int) -> list[tuple[str, str, np.float32, int]]:
    rows = []
    for user, scores in enumerate(source.scores):
        seen = set(source.history.items_of(user).tolist())
        best = [i for i in np.argsort(-scores, kind="stable") if i not in seen][:k]
        rows += [
            (f"00{user}", f"i,{item}", scores[item], rank) for rank, item in enumerate(best, 1)
        ]
    return rows


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_lists_are_the_best_items_in_the_callers_ids(tmp_path: Path, suffix: str) -> None:
    source, out = FakeSource(), tmp_path / f"lists{suffix}"
    assert write_lists(source, out, k=4, batch_size=5) == 23 * 4
    assert max(source.batches) == 5
    read = {".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}
    table = pl.read_csv(out, infer_schema=False) if suffix == ".csv" else read[suffix](out)
    expected = brute_force(source, 4)
    assert table.columns == ["user_id", "item_id", "score", "rank"]
    assert table["user_id"].to_list() == [row[0] for row in expected]
    assert table["item_id"].to_list() == [row[1] for row in expected]
    assert table["score"].cast(pl.Float32).to_list() == [row[2] for row in expected]
    assert table["rank"].cast(pl.Int32).to_list() == [row[3] for row in expected]
    assert names(tmp_path) == [out.name]


def test_parquet_has_the_stated_types(tmp_path: Path) -> None:
    write_lists(FakeSource(), tmp_path / "lists.parquet", k=2)
    assert pq.read_schema(tmp_path / "lists.parquet").equals(SCHEMA)
    write_lists(FakeSource(), tmp_path / "none.parquet", k=2, users=np.empty(0, np.int64))
    assert pq.read_schema(tmp_path / "none.parquet").equals(SCHEMA)


@settings(max_examples=25)
@given(
    users=st.lists(st.integers(0, 22), max_size=12, unique=True),
    k=st.integers(1, 14),
    batch_size=st.integers(1, 9),
    shards=st.integers(1, 4),
)
def test_no_batch_or_shard_changes_a_list(
    tmp_path_factory: pytest.TempPathFactory,
    users: list[int], k: int, batch_size: int, shards: int,
) -> None:  # fmt: skip
    folder, source = tmp_path_factory.mktemp("lists"), FakeSource()
    chosen = np.array(users, np.int64)
    out = folder / ("x.parquet" if shards == 1 else "x")
    rows = write_lists(source, out, k=k, users=chosen, batch_size=batch_size, shards=shards)
    parts = [out] if shards == 1 else sorted(out.glob("*.parquet"))
    table = pl.concat([pl.read_parquet(part) for part in parts])
    assert len(parts) == shards
    assert len(table) == rows
    assert table.equals(list_table(source, users=chosen, k=k))


def test_options_reach_the_recommender(tmp_path: Path) -> None:
    source = FakeSource()
    allowed = np.zeros(11, np.bool_)
    allowed[[2, 5]] = True
    seen = Interactions.of([3], [2], n_users=23, n_items=11)
    table = list_table(source, k=3, users=np.array([3]), allowed=allowed, history=seen)
    assert table["item_id"].to_list() == ["i,5"]
    table = list_table(
        source, k=3, users=np.array([3]), allowed=allowed, history=seen, exclude_seen=False
    )
    assert set(table["item_id"]) == {"i,2", "i,5"}


def test_what_a_reader_should_know_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lists(FakeSource(), tmp_path / "lists.csv", k=50)
    said = capsys.readouterr().err
    assert "k is 50 and the catalogue has 11 items: lists end with the catalogue" in said
    assert "1 of 23 users have no history: their lists are the popular items" in said
    write_lists(FakeSource(), tmp_path / "lists.csv", k=5, users=np.array([4]))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k is 0; a list has at least 1 item"),
        ({"k": 1, "shards": 0}, "shards is 0; it is at least 1"),
        ({"k": 1, "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options_below_one_are_refused(tmp_path: Path, options: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        write_lists(FakeSource(), tmp_path / "lists.parquet", **options)
    assert names(tmp_path) == []


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lists are written as .parquet, .csv, .jsonl"):
        write_lists(FakeSource(), tmp_path / "lists.xlsx", k=1)
    with pytest.raises(ConfigError, match=r"ends in none of them"):
        write_table(tmp_path / "lists", pl.DataFrame())


def test_what_kgrec_did_not_write_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.tex").touch()
    (tmp_path / "file").touch()
    for shards, out, words in [
        (1, tmp_path / "thesis", "ends in none"),
        (2, tmp_path / "thesis", "kgrec did not write 'one.tex' in it"),
        (2, tmp_path / "file", "kgrec did not write it"),
    ]:
        with pytest.raises(KgrecError, match=words):
            write_lists(FakeSource(), out, k=1, shards=shards)
    (tmp_path / "lists.csv").mkdir()
    with pytest.raises(KgrecError, match="is a folder; give a file, or --shards"):
        write_lists(FakeSource(), tmp_path / "lists.csv", k=1)
    assert names(tmp_path) == ["file", "lists.csv", "thesis"]
    assert names(tmp_path / "thesis") == ["one.tex"]


def raises_at(batch: int, error: BaseException) -> Callable[[], None]:
    left = batch

    def before_batch() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise error

    return before_batch


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), KgrecError, "is full: writing lists"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (ValueError("a bug"), ValueError, "a bug"),
    ],
)
@pytest.mark.parametrize("shards", [1, 4])
def test_a_failure_leaves_what_was(
    tmp_path: Path,
    shards: int,
    error: BaseException,
    raised: type[BaseException],
    words: str | None,
) -> None:
    source, out = FakeSource(), tmp_path / "lists.parquet"
    write_lists(source, out, k=2, shards=shards)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source.before_batch = raises_at(3, error)
    with pytest.raises(raised, match=words):
        write_lists(source, out, k=3, shards=shards, batch_size=4)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_repeated_run_skips_finished_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(source: FakeSource, out: str, k: int = 3, model: str | None = "m") -> int:
        return write_lists(source, tmp_path / out, k=k, shards=4, batch_size=2, model_hash=model)

    source = FakeSource()
    rows = write(source, "whole")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    source.before_batch = raises_at(8, KeyboardInterrupt())  # in the third of four shards
    with pytest.raises(KeyboardInterrupt):
        write(source, "lists")
    assert "2 of 4 shards are finished; repeat the command to go on" in capsys.readouterr().err
    assert not (tmp_path / "lists").exists()

    again = FakeSource()
    assert write(again, "lists") == rows
    assert sum(again.batches) == 11  # users of the last two shards of 6, 6, 6 and 5
    assert "going on after 2 of 4 shards" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "lists").iterdir()} == whole
    assert names(tmp_path) == ["lists", "whole"]

    assert write(FakeSource(), "lists") == rows
    assert "holds these lists already" in capsys.readouterr().err
    for source, options in [
        (FakeSource(seed=4), {"model": "other"}),
        (FakeSource(seed=4), {"k": 2}),
        (FakeSource(seed=4), {"model": None}),
    ]:
        write(source, "lists", **options)
        assert sum(source.batches) == 23


def test_a_damaged_record_is_not_trusted(tmp_path: Path) -> None:
    for text in ["{", "[]", json.dumps({"made_of": 3})]:
        write_lists(FakeSource(), tmp_path / "lists", k=2, shards=2, model_hash="m")
        (tmp_path / "lists" / "_lists.json").write_text(text)
        again = FakeSource()
        write_lists(again, tmp_path / "lists", k=2, shards=2, model_hash="m")
        assert sum(again.batches) == 23


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    script = """
from pathlib import Path
from fake_source import FakeSource
from kgrec.lists import write_lists
try:
    write_lists(FakeSource(), Path(sys.argv[1]), k=1)
except Exception as error:
    print(type(error).__name__, error)
"""
    with claim(tmp_path / "lists.csv"):
        told = run(script, tmp_path / "lists.csv").stdout
    assert told.startswith(ArtefactError.__name__)
    assert f"is being written by process {os.getpid()}" in told
    assert names(tmp_path) == []


def run(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{script}"]
    return subprocess.run([*command, *map(str, args)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("shards", "step"), [(1, 1), (3, 11), pytest.param(3, 1, marks=pytest.mark.slow)]
)
def test_killed_at_any_moment_and_repeated_the_files_are_the_same(
    tmp_path: Path, shards: int, step: int
) -> None:
    script = """
import shutil
from pathlib import Path
from fake_source import FakeSource
from kill_points import sweep
from kgrec.lists import write_lists

folder, shards, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
out = folder / "lists.parquet"
first = []

def write():
    write_lists(FakeSource(), out, k=3, shards=shards, batch_size=5, model_hash="m")

def files():
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

def check():
    write()
    expected = set(["lists.parquet"] if shards == 1 else
        ["lists.parquet/_lists.json"] + [f"lists.parquet/part-0000{n}.parquet" for n in range(3)])
    found = files()
    assert set(found) == expected, set(found)
    whole = folder.parent / "whole"
    if whole.exists():
        assert found == {n: (whole / n).read_bytes() for n in found}
        shutil.rmtree(out) if out.is_dir() else out.unlink()
    else:
        out.rename(whole.mkdir() or whole / "lists.parquet")

folder.mkdir()
print(sweep(folder, write, check, step))
"""
    swept = run(script, tmp_path / "folder", shards, step)
    assert swept.returncode == 0, swept.stderr
    assert int(swept.stdout) > 5 * shards
