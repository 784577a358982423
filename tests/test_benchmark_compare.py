"""What changed between two results, and whether it is noise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmark_result import figures, pairs_result, result, row

from kgrec import cli
from kgrec.benchmark.compare import APART, PAIRED, compare, differences, read_result
from kgrec.benchmark.scoring import file_hash
from kgrec.errors import DataError, KgrecError


def test_nothing_changed() -> None:
    found = differences(result(), result())
    assert found["made"] == {}
    assert found["added"] == found["removed"] == []
    of_ours = found["rows"]["kgrec"]["metrics"]["recall@20"]
    assert of_ours["difference"] == 0
    assert of_ours["p"] == 1
    assert of_ours["noise"]
    assert "are the same" in compare(result(), result())


def test_rows_metrics_cost_and_origin_that_changed() -> None:
    new = result()
    new["made"] |= {"commit": "e" * 40, "data_sha256": "f" * 64}
    new["made"]["versions"]["torch"] = "3.0"
    new["rows"][0]["metrics"]["recall@20"] = figures(0.25, 0.004, 0.001)
    new["rows"][3]["metrics"]["recall@20"] = figures(0.152, 0.004)
    new["rows"][4]["metrics"]["nDCG@20"] = figures(0.07, 0.002)
    for seed in new["rows"][0]["seeds"]:
        seed["seconds"]["tune"] = 95.0
    new["rows"][2] |= {"status": "failed"}
    new["rows"].append(row("iALS", "baseline", 0.1))
    new["rows"] = [r for r in new["rows"] if r["name"] != "LightGCN"]
    found = differences(result(), new)
    assert found["added"] == ["iALS"]
    assert found["removed"] == ["LightGCN"]
    assert found["made"]["versions.torch"] == ["2.9", "3.0"]
    ours = found["rows"]["kgrec"]
    assert not ours["metrics"]["recall@20"]["noise"]
    assert ours["metrics"]["recall@20"]["how"] == APART
    assert "p" not in ours["metrics"]["hit_rate@10"]
    assert ours["seconds"] == pytest.approx([55.0, 110.0, 2.0])
    said = compare(result(), new)
    assert "kgrec\n  recall@20  0.2000 -> 0.2500 (+0.0500)  better (p < 0.0001" in said
    assert "recall@20  0.1500 -> 0.1520 (+0.0020)  noise" in said
    assert "WORSE" in said
    assert "popularity: done -> failed" in said
    assert "the data differ" in said
    assert "seconds  55.0 -> 110.0 s (x 2.00)" in said


def test_the_p_of_intervals_by_hand() -> None:
    new = result()
    new["rows"][3]["metrics"]["recall@20"] = figures(0.15 + 0.004 * 2**0.5, 0.004)
    found = differences(result(), new)["rows"]["item-kNN"]["metrics"]["recall@20"]
    assert found["p"] == pytest.approx(0.05, abs=1e-6)
    assert found["p_holm"] > found["p"]


def test_a_suite_without_lists_or_intervals() -> None:
    new = pairs_result()
    del new["made"]
    found = differences(pairs_result(), new)
    assert found["rows"]["EASE"]["metrics"]["AUC"]["how"] == APART
    new["rows"][1]["metrics"]["AUC"] |= {"low": None}
    assert "cannot be told from noise" in compare(pairs_result(), new)


def folder_with(path: Path, hits: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An OUT folder whose one row hits each user's item or does not, by rank 2 of 4."""
    made = result()
    users = [f"u{at}" for at in range(len(hits))]
    (path / "rows/x").mkdir(parents=True)
    truth = pl.DataFrame({"user_id": users, "item_id": ["i1"] * len(users)})
    truth.sample(fraction=1, shuffle=True, seed=1).write_parquet(path / "truth.parquet")
    lists = [
        (user, item, 4.0 - rank, rank)
        for user, hit in zip(users, hits, strict=True)
        for rank, item in enumerate(["i7", "i1" if hit else "i2", "i3", "i4"], 1)
    ]
    names = ["user_id", "item_id", "score", "rank"]
    pl.DataFrame(lists, schema=names, orient="row").write_parquet(path / "rows/x/lists.parquet")
    made["suite"]["headline"] = ["recall@2"]
    made["rows"] = [row("EASE", "baseline", 0.2)]
    made["rows"][0]["metrics"] = {"recall@2": figures(float(hits.mean()), 0.1)}
    made["rows"][0]["seeds"][0]["lists_sha256"] = file_hash(path / "rows/x/lists.parquet")
    (path / "result.json").write_text(json.dumps(made))
    return made


def test_lists_of_the_same_users_are_tested_in_pairs(tmp_path: Path) -> None:
    hits = np.arange(100) % 3 == 0
    better = hits.copy()
    better[1:40:2] = True
    a, b = folder_with(tmp_path / "a", hits), folder_with(tmp_path / "b", better)
    apart = differences(a, b)["rows"]["EASE"]["metrics"]["recall@2"]
    folders = (tmp_path / "a", tmp_path / "b")
    found = differences(a, b, folders=folders)["rows"]["EASE"]["metrics"]["recall@2"]
    assert apart["how"] == APART
    assert found["how"] == PAIRED
    assert found["difference"] == pytest.approx(better.mean() - hits.mean())
    assert found["p"] < apart["p"]
    assert not found["noise"]
    assert "tests: paired by user" in compare(a, b, folders=folders)
    assert "tests: paired by user" in compare(tmp_path / "a" / "result.json", tmp_path / "b")


def test_seeds_that_differ_widen_the_paired_test(tmp_path: Path) -> None:
    hits = np.arange(100) % 3 == 0
    better = hits.copy()
    better[1:40:2] = True
    a, b = folder_with(tmp_path / "a", hits), folder_with(tmp_path / "b", better)
    a["rows"][0]["metrics"]["recall@2"]["std"] = 0.5
    folders = (tmp_path / "a", tmp_path / "b")
    found = differences(a, b, folders=folders)["rows"]["EASE"]["metrics"]["recall@2"]
    assert found["how"] == PAIRED
    assert found["noise"]


def test_lists_or_users_that_are_not_those_are_left_to_the_intervals(tmp_path: Path) -> None:
    a = folder_with(tmp_path / "a", np.arange(30) % 2 == 0)
    b = folder_with(tmp_path / "b", np.arange(31) % 2 == 0)
    folders = (tmp_path / "a", tmp_path / "b")

    def how(second: dict[str, Any]) -> str:
        found = differences(a, second, folders=folders)["rows"]["EASE"]["metrics"]["recall@2"]
        return str(found["how"])

    assert how(b) == APART
    (tmp_path / "b/truth.parquet").write_bytes((tmp_path / "a/truth.parquet").read_bytes())
    assert how(b) == PAIRED
    altered = copy.deepcopy(b)
    altered["rows"][0]["seeds"][0]["lists_sha256"] = "0"
    assert how(altered) == APART


def test_results_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(KgrecError, match="different suites, tiny and pairs"):
        compare(result(), pairs_result())
    with pytest.raises(KgrecError, match="second result has format 2"):
        compare(result(), result() | {"format": 2})
    with pytest.raises(KgrecError, match="first result lacks suite, rows"):
        compare({"format": 1}, result())


def test_results_are_read_from_files_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text(json.dumps(result()))
    assert read_result(file) == read_result(tmp_path) == result()
    with pytest.raises(DataError, match="cannot be read"):
        read_result(tmp_path / "none.json")
    file.write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_result(file)
    file.write_text("[]")
    with pytest.raises(DataError, match="not a result"):
        read_result(file)


def test_the_command_prints_text_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for file in files:
        Path(file).write_text(json.dumps(result()))
    assert cli.main(["benchmark", "--compare", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == differences(*map(Path, files))
    assert cli.main(["benchmark", "--compare", *files]) == 0
    assert capsys.readouterr().out.startswith("suite tiny: what changed")
