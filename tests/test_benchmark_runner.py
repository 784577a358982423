from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmark_tables import tiny_suite, write_tables

from kgrec import cli
from kgrec.benchmark import jobs
from kgrec.benchmark.limits import Ended, run_limited
from kgrec.benchmark.runner import run_suite
from kgrec.benchmark.state import Options
from kgrec.benchmark.suite import Suite
from kgrec.errors import ConfigError, KgrecError

HERE = Path(__file__).parent


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tables; rows find the stand-in baselines."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))
    return write_tables(tmp_path / "tiny").parent


def options(shop: Path, **changes: Any) -> Options:
    given: dict[str, Any] = {
        "data": shop.parent,
        "out": shop.parent / "out",
        "catalogue": "benchmark_rows_catalogue",
    }
    return Options(**(given | changes))


def baselines(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["rows"]}


def count_starts(monkeypatch: pytest.MonkeyPatch, stop_at: str = "") -> list[str]:
    """The rows whose process is started; the benchmark is interrupted at one of them."""
    started: list[str] = []

    def start(command: list[str], **limits: Any) -> Ended:
        started.append(Path(command[-1]).parent.name)
        if stop_at and started[-1].startswith(stop_at):
            raise KeyboardInterrupt
        return run_limited(command, **limits)

    monkeypatch.setattr(jobs, "run_limited", start)
    return started


def test_rows_that_do_not_end_are_rows_that_say_so(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["popular", "broken", "refused", "elsewhere"]
    suite = tiny_suite(shop / "schema.toml", baselines=names)
    result = run_suite(suite, options(shop, rows=("popular", "broken", "refused")))
    rows = baselines(result)
    assert list(rows) == ["popular", "broken", "refused"]
    assert rows["popular"]["status"] == "done"
    assert rows["broken"]["status"] == "failed"
    assert "nothing to divide by" in rows["broken"]["reason"]
    assert rows["refused"]["reason"].endswith("this data will not do")
    assert "left out, elsewhere: it has no place here" in result["warnings"]
    assert "benchmark: popular, seed 7: recall@5 0." in capsys.readouterr().err


def test_limits_of_time_and_memory(shop: Path) -> None:
    suite = tiny_suite(shop / "schema.toml", baselines=["slow"])
    row = baselines(run_suite(suite, options(shop, rows=("slow",), seconds=1.5)))["slow"]
    assert (row["status"], "1.5 seconds" in row["reason"]) == ("out of time", True)
    suite = tiny_suite(shop / "schema.toml", baselines=["hungry"], memory_gib=0.5)
    row = baselines(run_suite(suite, options(shop, rows=("hungry",))))["hungry"]
    assert (row["status"], "0.5 GiB" in row["reason"]) == ("out of memory", True)


def test_a_run_that_was_stopped_goes_on(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = tiny_suite(shop / "schema.toml", baselines=["popular", "drawn"], seeds=[7, 8])
    chosen = options(shop, rows=("popular", "drawn"))
    started = count_starts(monkeypatch, stop_at="drawn-seed8")
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, chosen)
    assert started == ["popular-seed7", "drawn-seed7", "drawn-seed8"]
    again = count_starts(monkeypatch)
    result = run_suite(suite, chosen)
    assert again == ["drawn-seed8"]
    assert result["openings"] == {"popular seed 7": 1, "drawn seed 7": 1, "drawn seed 8": 1}

    lists = shop.parent / "out" / "rows" / "popular-seed7" / "lists.parquet"
    table = pl.read_parquet(lists)
    table.with_columns(pl.col("score") + 1).write_parquet(lists)  # altered: made again
    result = run_suite(suite, options(shop, rows=("popular",)))
    assert again[1:] == ["popular-seed7"]
    assert list(baselines(result)) == ["popular", "drawn"]  # what is there is shown
    assert result["openings"]["popular seed 7"] == 1

    other = options(shop, overrides=("split.method=random",))
    with pytest.raises(KgrecError, match="another test part"):
        run_suite(suite, other)


def test_rows_side_by_side_give_the_same(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["broken", "popular", "drawn"]
    suite = tiny_suite(shop / "schema.toml", baselines=names, seeds=[7, 8])
    alone = run_suite(suite, options(shop, rows=("popular", "drawn")))
    chosen = options(shop, out=shop.parent / "beside", rows=tuple(names), jobs=2)
    result = run_suite(suite, chosen)
    assert list(baselines(result)) == names
    assert baselines(result)["broken"]["status"] == "failed"
    for name in ("popular", "drawn"):
        one, other = baselines(alone)[name], baselines(result)[name]
        assert [s["lists_sha256"] for s in one["seeds"]] == [
            s["lists_sha256"] for s in other["seeds"]
        ]
    assert result["openings"] == alone["openings"]
    counted = json.loads((chosen.out / "openings.json").read_text())
    assert counted["openings"] == result["openings"]
    threads = {seed["threads"] for row in result["rows"] for seed in row["seeds"]}
    assert threads == {max(1, (os.cpu_count() or 1) // 2)}


def test_an_interrupt_ends_the_rows_side_by_side(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tiny_suite(shop / "schema.toml", baselines=["popular", "slow"])
    started = count_starts(monkeypatch, stop_at="popular")
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, options(shop, rows=("popular", "slow"), jobs=2))  # slow takes a minute
    assert len(started) == 2 or started == ["popular-seed7"]
    assert not (shop.parent / "out" / "rows" / "slow-seed7" / "row.json").exists()


def look_inside(monkeypatch: pytest.MonkeyPatch, newest: set[tuple[Any, ...]]) -> list[str]:
    """Checks what each process is given; the parts that were looked at."""
    seen: list[str] = []

    def look(command: list[str], **limits: Any) -> Ended:
        job = json.loads(Path(command[-1]).read_text())
        folder = Path(job["visible"])
        items, users = (pl.read_parquet(folder / f"ids-{n}.parquet")["id"] for n in (0, 1))
        assert not (folder / "test.parquet").exists()
        for part in ("interactions", "validation"):
            rows = pl.read_parquet(folder / f"{part}.parquet").select("user", "item").rows()
            held = {(users[u], items[i]) for u, i in rows}
            assert held
            assert not held & newest
            seen.append(part)
        assert "tiny/" not in json.dumps(job)  # the tables themselves are not named to it
        return run_limited(command, **limits)

    monkeypatch.setattr(jobs, "run_limited", look)
    return seen


def test_everything_is_written_and_scores_are_those_of_the_lists(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = pl.read_csv(shop / "bought.csv").sort("user", "position")
    last = bought.group_by("user", maintain_order=True).last()
    newest = set(last.select("user", "item").rows())
    seen = look_inside(monkeypatch, newest)
    suite = tiny_suite(shop / "schema.toml", without=["in_group"], notes=["a note"])
    result = run_suite(suite, options(shop, rows=("popular",)))
    assert seen == ["interactions", "validation"]
    out = shop.parent / "out"
    assert json.loads((out / "result.json").read_text()) == result
    assert (out / "report.md").read_text().startswith("# Tiny")
    assert not (out / "visible").exists()
    (row,) = result["rows"]
    (seed,) = row["seeds"]
    assert seed["lists"] == "rows/popular-seed7/lists.parquet"
    assert seed["chosen"]["power"] in (0.0, 1.0, 2.0)
    assert seed["space"] == {"power": [0.0, 1.0, 2.0]}
    assert seed["trials"] == seed["trials_asked"] == len(seed["tried"]) == 2
    assert set(seed["seconds"]) == {"load", "tune", "fit", "lists"}
    assert result["graph"]["relations"] == []
    assert result["data"]["test_users"] == 60
    assert result["suite"]["notes"] == ["a note"]
    assert result["best_baseline"] == {"recall@5": "popular", "nDCG@5": "popular"}

    truth, lists = pl.read_parquet(out / "truth.parquet"), pl.read_parquet(out / seed["lists"])
    assert len(truth) == 60
    assert set(truth.rows()) == newest
    scores = lists.group_by("user_id", maintain_order=True).agg("item_id", "score")
    found = []
    for user, items, values in scores.rows():
        (wanted,) = truth.filter(pl.col("user_id") == user)["item_id"]
        places = np.array(values)
        mine = places[items.index(wanted)]
        middle = ((places > mine).sum() + 1 + (places >= mine).sum()) / 2
        found.append(middle <= 5)
    assert row["metrics"]["recall@5"]["mean"] == pytest.approx(np.mean(found))


def test_folds_of_cold_items(shop: Path) -> None:
    suite: Suite = tiny_suite(
        shop / "schema.toml", folds=2, split={"cold_item_share": 0.3},
        headline=["recall@5 on cold items", "recall@5 on warm items"],
    )  # fmt: skip
    result = run_suite(suite, options(shop, rows=("popular",)))
    (row,) = result["rows"]
    assert [seed["fold"] for seed in row["seeds"]] == [0, 1]
    assert set(result["openings"]) == {"popular fold 0", "popular fold 1"}
    figures = row["metrics"]
    assert figures["recall@5 on warm items"]["mean"] > figures["recall@5 on cold items"]["mean"]
    assert figures["recall@5 on warm items"]["std"] is not None
    truth = pl.read_parquet(shop.parent / "out" / "truth.parquet")
    assert truth["fold"].unique().sort().to_list() == [0, 1]


def test_what_cannot_be_run_is_refused(shop: Path) -> None:
    suite = tiny_suite(shop / "schema.toml", task="click", headline=["AUC"])
    with pytest.raises(ConfigError, match="cut at random"):
        run_suite(suite, options(shop))
    suite = tiny_suite(shop / "schema.toml", baselines=["populr"])
    with pytest.raises(ConfigError, match="did you mean 'popular'"):
        run_suite(suite, options(shop))
    with pytest.raises(ConfigError, match="no row 'populer'; did you mean 'popular'"):
        run_suite(tiny_suite(shop / "schema.toml"), options(shop, rows=("populer",)))


def test_tables_of_ones_own_on_the_command_line(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shop.parent / "own"
    args = ["benchmark", "--schema", str(shop / "schema.toml"), "--data", str(shop)]
    args += ["--out", str(out), "--rows", "kgrec,popularity", "--trials", "1", "--seeds", "7"]
    args += ["--set", "network.enabled=false"]
    monkeypatch.setattr(sys, "argv", ["kgrec", *args])
    assert cli.main(args) == 0
    said = capsys.readouterr().out
    assert "hit_rate@10" in said
    assert "result.json" in said
    result = json.loads((out / "result.json").read_text())
    rows = baselines(result)
    assert set(rows) == {"kgrec", "popularity"}
    assert rows["kgrec"]["status"] == "done", rows["kgrec"]["reason"]
    assert rows["kgrec"]["against"]["nDCG@10"]["baseline"] == "popularity"
    assert rows["kgrec"]["metrics"]["recall@10"]["mean"] > 0.2  # a group of ten has four left
    assert rows["kgrec"]["seeds"][0]["peak_gib"] > 0
    assert "--data DIR --out OUT --rows" in result["made"]["command"]
    assert "--data " + str(shop) not in result["made"]["command"]


def test_wrong_use(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code, words, args in [
        (2, "say one of: SUITE", []),
        (2, "say one of: SUITE", ["amazon-book-kgat", "--list"]),
        (2, "say where the data is", ["amazon-book-kgat"]),
        (2, "did you mean 'amazon-book-kgat'", ["amazon-book-kgt", "--data", str(shop)]),
        (1, "kgrec data fetch kgat-last-fm", ["last-fm", "--data", str(shop)]),
        (2, "did you mean 'ridge'", ["last-fm", "--data", "x", "--set", "ranker.rigde=1"]),
    ]:
        assert cli.main(["benchmark", *args]) == code
        assert words in capsys.readouterr().err
    assert cli.main(["benchmark", "--list"]) == 0
    assert "amazon-gift-cards-2018" in capsys.readouterr().out
    assert cli.main(["benchmark", "--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 13
