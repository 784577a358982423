"""Original files to lists in original ids, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from kgrec.cli import main

SMALL = [
    "--set", "network.size=16", "--set", "network.epochs=1", "--set", "ranker.trials=4",
    "--set", "text.max_length=16",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "schema", "user", "n_users"),
    [
        ("amazon-gift-cards-2018", "amazon-2018", "A31UBHTUUIFJUT", 458),
        ("amazon-all-beauty-2018", "amazon-2018", "A3CIUOJXQ5VDQ2", 991),
    ],
)
def test_original_files_become_lists(
    shared_data: Path, tmp_path: Path, folder: str, schema: str, user: str, n_users: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, lists = str(tmp_path / "model"), tmp_path / "lists.parquet"
    cache = ["--cache", str(tmp_path / "cache")]
    done = main(
        ["fit", str(shared_data / folder), "--schema", schema, "--out", model, *cache, *SMALL]
    )
    assert done == 0
    assert main(["recommend", model, "-k", "10", "--out", str(lists)]) == 0
    table = pl.read_parquet(lists)
    assert table.columns == ["user_id", "item_id", "score", "rank"]
    assert table["user_id"].n_unique() == n_users
    assert user in table["user_id"]
    assert table["item_id"].str.len_chars().unique().to_list() == [10]  # an ASIN
    assert table.group_by("user_id").len()["len"].unique().to_list() == [10]
    capsys.readouterr()
    assert main(["evaluate", model, "-k", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_taobao_rows_of_four_behaviours_become_lists(shared_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    name = "UserBehavior.head_users_84k.csv.gz"
    (data / name).symlink_to(shared_data / "taobao-userbehavior" / name)
    model, lists = str(tmp_path / "model"), tmp_path / "lists.parquet"
    done = main(["fit", str(data), "--schema", "taobao-userbehavior", "--out", model, *SMALL])
    assert done == 0
    assert main(["recommend", model, "-k", "10", "--out", str(lists)]) == 0
    table = pl.read_parquet(lists)
    assert table["user_id"].n_unique() == 815
    assert "1" in table["user_id"]
    known = pl.read_csv(shared_data / "taobao-userbehavior" / name, has_header=False)
    assert table["item_id"].cast(pl.Int64).is_in(known["column_1"].implode()).all()
