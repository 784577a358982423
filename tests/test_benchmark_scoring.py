from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from toy_shop import planted_interactions

from kgrec.benchmark.scoring import (
    accuracy,
    middle_ranks,
    popularity_groups,
    read_lists,
    rule_of,
)
from kgrec.errors import DataError
from kgrec.metrics import evaluate_lists, find_hits
from kgrec.vocabulary import Vocabulary


def test_equal_scores_share_the_middle_rank() -> None:
    scores = np.array([[5, 4, 4, 4, 1, 1], [3, 3, 3, 3, 3, 3]], np.float32)
    assert middle_ranks(scores).tolist() == [[1, 3, 3, 3, 5.5, 5.5], [3.5] * 6]


@given(st.integers(0, 10_000))
def test_without_ties_it_is_what_the_other_module_finds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, n_items, length = 5, 12, 8
    top = np.stack([generator.permutation(n_items)[:length] for _ in range(n)]).astype(np.int32)
    truth = sparse.csr_array((generator.random((n, n_items)) < 0.2).astype(np.float32))
    scores = np.tile(-np.arange(length, dtype=np.float32), (n, 1))
    hit, n_truth = find_hits(top, truth)
    found = accuracy(hit, middle_ranks(scores), n_truth, (1, 3, 4))
    expected = evaluate_lists(top, truth, (1, 3, 4))
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], err_msg=name)


@given(st.integers(0, 10_000))
def test_the_order_inside_a_tie_means_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    hit = generator.random((1, 10)) < 0.3
    scores = -np.sort(generator.integers(0, 3, (1, 10))).astype(np.float32)
    n_truth = hit.sum(axis=1) + 1
    first = accuracy(hit, middle_ranks(scores), n_truth, (3, 5))
    order = np.lexsort((generator.random(10), -scores[0]))
    second = accuracy(hit[:, order], middle_ranks(scores[:, order]), n_truth, (3, 5))
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name])
        assert 0 <= values[0] <= 1


def lists(path: Path, rows: list[tuple[str, str, float, int]]) -> Path:
    columns = {"user_id": pl.String, "item_id": pl.String, "score": pl.Float32, "rank": pl.Int32}
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(path)
    return path


USERS, ITEMS = Vocabulary(["a", "b", "c"], "user"), Vocabulary(["x", "y", "z"], "item")


def test_scores_order_a_list_and_not_the_rank_it_claims(tmp_path: Path) -> None:
    rows = [("c", "x", 1.0, 1), ("c", "z", 2.0, 2), ("a", "y", 0.5, 1), ("b", "x", 9.0, 1)]
    top = read_lists(lists(tmp_path / "l.parquet", rows), np.array([0, 2]), USERS, ITEMS)
    assert top.items.tolist() == [[1, -1], [2, 0]]
    assert top.scores[1].tolist() == [2.0, 1.0]


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    asked = np.array([0, 2])
    for rows, words in (
        ([("a", "x", 1.0, 1)], "no list for 1 of the test users"),
        ([("a", "w", 1.0, 1), ("c", "x", 1.0, 1)], "does not have"),
        ([("a", "x", float("nan"), 1), ("c", "x", 1.0, 1)], "no numbers"),
    ):
        with pytest.raises(DataError, match=words):
            read_lists(lists(tmp_path / "l.parquet", rows), asked, USERS, ITEMS)
    (tmp_path / "bad.parquet").write_text("PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_lists(tmp_path / "bad.parquet", asked, USERS, ITEMS)


def test_groups_of_items_and_what_stands_apart(tmp_path: Path) -> None:
    groups = popularity_groups(np.array([5, 0, 1, 1, 9, 1]))
    assert groups["head"].tolist() == [False, False, False, False, True, False]
    assert groups["cold"].tolist() == [False, True, False, False, False, False]
    assert sum(mask.sum() for mask in groups.values()) == 6

    known = planted_interactions(n_users=3, n_items=6, groups=1, length=3)
    known = known.where(known.item != 5)
    truth = sparse.csr_array(np.array([[0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1]], np.float32))
    users, items = Vocabulary(["a", "b", "c"], "user"), Vocabulary(list("uvwxyz"), "item")
    rule = rule_of(known, truth, np.array([0, 2]), (1, 2), np.array([5]))
    path = lists(
        tmp_path / "l.parquet",
        [("a", "z", 1.0, 1), ("a", "v", 0.5, 2), ("c", "v", 1.0, 1), ("c", "u", 0.5, 2)],
    )
    found = rule.score(path, users, items)
    assert found.per_user["recall@1 on cold items"].tolist() == [1.0, 0.0]
    assert np.isnan(found.per_user["recall@2 on warm items"][0])
    assert found.per_user["recall@2 on warm items"][1] == 1.0
    assert found.groups["items: cold"] == (2, found.groups["items: cold"][1])
    assert found.groups["items: cold"][1]["recall@2"] == 0.5
    assert found.catalogue["coverage@1"] == pytest.approx(2 / 6)
    assert any(name.startswith("users: history of") for name in found.groups)
