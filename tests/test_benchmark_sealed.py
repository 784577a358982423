from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy_shop import planted_shop

from kgrec.benchmark.sealed import SealedTest, visible
from kgrec.benchmark.visible import read_visible, write_visible
from kgrec.errors import KgrecError
from kgrec.interactions import Interactions
from kgrec.list_files import write_table
from kgrec.shop import Shop
from kgrec.split import SplitConfig, method_of, split


def pairs(rows: Interactions) -> set[tuple[int, int]]:
    return set(zip(rows.user.tolist(), rows.item.tolist(), strict=True))


def some_lists(shop: Shop, users: np.ndarray, path: Path, best: int = 0) -> Path:
    table = pl.DataFrame(
        {
            "user_id": shop.users.take(users),
            "item_id": shop.items.take(np.full(len(users), best)),
            "score": np.ones(len(users), np.float32),
            "rank": np.ones(len(users), np.int32),
        }
    )
    write_table(path, table)
    return path


def test_what_rows_may_see_has_no_test_pair(tmp_path: Path) -> None:
    shop = replace(planted_shop(), text=pl.Series(["word"] * 40))
    parts = split(shop, SplitConfig())
    assert parts.test is not None
    sealed = SealedTest(shop, parts, (5,), method="leave-last-out")
    write_visible(tmp_path / "v", shop, visible(parts), sealed.users)
    seen = read_visible(tmp_path / "v")
    assert seen.parts.test is None
    assert seen.shop.test is None
    assert not pairs(parts.test) & pairs(seen.shop.interactions)
    assert pairs(seen.parts.train) == pairs(parts.train)
    assert pairs(seen.parts.validation) == pairs(parts.validation)
    assert seen.parts.train.ordered
    assert seen.users.tolist() == sealed.users.tolist()
    assert seen.shop.items.ids.equals(shop.items.ids)
    assert seen.shop.item_table.equals(shop.item_table)
    assert seen.shop.text is not None
    (relation,) = seen.shop.graph.relations
    assert np.array_equal(relation.edges, shop.graph.relations[0].edges)
    for file in (tmp_path / "v").iterdir():
        assert file.suffix in (".parquet", ".npz", ".json", ".safetensors")


def test_a_test_part_keeps_its_name_from_version_to_version() -> None:
    shop = planted_shop()
    sealed = SealedTest(shop, split(shop, SplitConfig()), (5,), method="leave-last-out")
    assert (
        sealed.sha256[:16] == "ba7c635ceb8f5982"
    )  # else earlier openings would not be counted any more


def test_openings_are_counted_by_what_was_scored(tmp_path: Path) -> None:
    shop = planted_shop()
    parts = split(shop, SplitConfig())
    file = tmp_path / "openings.json"

    def sealed() -> SealedTest:
        return SealedTest(shop, parts, (1,), method="leave-last-out", openings=file)

    test = sealed()
    one = some_lists(shop, test.users, tmp_path / "a.parquet")
    two = some_lists(shop, test.users, tmp_path / "b.parquet", best=1)
    assert test.score("EASE", 7, one).per_user["recall@1"].shape == (60,)
    test.score("EASE", 8, one)
    assert test.openings == {"EASE seed 7": 1, "EASE seed 8": 1}
    again = sealed()  # after an interruption
    again.score("EASE", 7, one)
    assert again.openings == {"EASE seed 7": 1, "EASE seed 8": 1}
    again.score("EASE", 7, two)
    assert again.openings["EASE seed 7"] == 2
    assert json.loads(file.read_text())["openings"]["EASE seed 7"] == 2
    other = split(planted_shop(seed=3), SplitConfig())
    with pytest.raises(KgrecError, match="another test part"):
        SealedTest(shop, other, (1,), method="leave-last-out", openings=file)
    assert set(test.truth().columns) == {"user_id", "item_id"}


def test_a_given_test_part_that_leaks_is_refused() -> None:
    shop = planted_shop()
    rows = shop.interactions
    test = rows.where(np.arange(len(rows)) % 6 == 5)
    clean = replace(shop, interactions=rows.where(np.arange(len(rows)) % 6 < 5), test=test)
    parts = split(clean, SplitConfig(method="given"))
    assert len(SealedTest(clean, parts, (5,), method="given").users) == 60

    dirty = replace(shop, test=test)
    assert method_of(dirty, SplitConfig()) == "given"
    parts = split(dirty, SplitConfig(method="given"))
    with pytest.raises(KgrecError, match=r"leaks: 60 test pairs .* user 'u000' with item 'i0"):
        SealedTest(dirty, parts, (5,), method="given")
    with pytest.raises(KgrecError, match="in its user's history already"):
        SealedTest(dirty, parts, (5,), method="leave-last-out")


def test_repeats_of_a_cut_made_here_are_left_out_and_counted() -> None:
    shop = planted_shop()
    rows = shop.interactions
    item = rows.item.copy()
    item[5] = item[0]  # the last of the first user is the first again
    shop = replace(shop, interactions=replace(rows, item=item))
    parts = split(shop, SplitConfig())
    sealed = SealedTest(shop, parts, (5,), method="leave-last-out")
    assert sealed.n_repeats == 1
    assert 0 not in sealed.users
    with pytest.raises(KgrecError, match="held nothing out"):
        SealedTest(shop, visible(parts), (5,), method="none")
