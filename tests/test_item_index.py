from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kgrec.errors import ConfigError, ShapeError
from kgrec.item_index import IndexConfig, ItemIndex, Kind, index_recall

KINDS: tuple[Kind, ...] = ("flat", "ivf", "ivfpq", "hnsw")


def vectors(n: int = 600, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_is_kept_and_the_file_answers_alike(kind: Kind, tmp_path: Path) -> None:
    items, queries = vectors(), vectors(20, seed=1)
    index = ItemIndex.build(items, IndexConfig(kind=kind, n_lists=8, pq_bytes=8))
    allowed = np.arange(600) % 3 == 0
    _, found = index.search(queries, 10, allowed)
    assert allowed[found[found >= 0]].all()
    assert (found >= 0).mean() > 0.9
    index.save(tmp_path / "items.faiss")
    again = ItemIndex.load(tmp_path / "items.faiss", kind)
    assert np.array_equal(again.search(queries, 10)[1], index.search(queries, 10)[1])


def test_flat_is_exact_under_a_filter() -> None:
    items, queries = vectors(), vectors(20, seed=1)
    allowed = np.arange(600) % 7 == 0
    _, found = ItemIndex.build(items, IndexConfig(kind="flat")).search(queries, 5, allowed)
    scores = np.where(allowed, queries @ items.T, -np.inf)
    assert np.array_equal(found, np.argsort(-scores, axis=1)[:, :5])


@pytest.mark.parametrize(("kind", "least"), [("flat", 1.0), ("ivf", 0.6), ("hnsw", 0.9)])
def test_index_recall_is_measured(kind: Kind, least: float) -> None:
    items = vectors()
    index = ItemIndex.build(items, IndexConfig(kind=kind, n_lists=8, n_probe=4))
    assert least <= index_recall(index, items, vectors(50, seed=2), k=10) <= 1


def test_auto_compresses_what_does_not_fit() -> None:
    assert ItemIndex.build(vectors(), IndexConfig()).exact
    small = ItemIndex.build(vectors(), IndexConfig(budget_bytes=100, pq_bytes=8))
    assert small.kind == "ivfpq"


def test_a_size_that_bytes_do_not_divide_is_coded_as_well() -> None:
    items, queries = vectors(4000, size=17), vectors(50, size=17, seed=2)
    config = IndexConfig(kind="ivfpq", n_lists=4, n_probe=4, pq_bytes=8)
    odd = index_recall(ItemIndex.build(items, config), items, queries, k=10)
    items, queries = items[:, :16].copy(), queries[:, :16].copy()
    even = index_recall(ItemIndex.build(items, config), items, queries, k=10)
    assert odd > 0.8 * even > 0.3


def test_a_query_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match="size 16"):
        ItemIndex.build(vectors(), IndexConfig()).search(vectors(2, size=8), 3)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="index"):
        IndexConfig(pq_bytes=0)


def test_queries_that_are_all_the_same_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    index = ItemIndex.build(vectors, IndexConfig(kind="flat", device="cpu"))
    asked, search = [], ItemIndex._search
    monkeypatch.setattr(
        ItemIndex, "_search", lambda self, *args: asked.append(len(args[0])) or search(self, *args)
    )
    one, allowed = np.ones((1, 3), np.float32), np.arange(50) % 2 == 0
    many = np.repeat(one, 5, axis=0)
    wanted = [search(index, one, k, None) for k in (9, 4)]
    for k, (scores, items) in zip((9, 4), wanted, strict=True):
        found = index.search(many, k)
        assert np.array_equal(found[0], np.repeat(scores, 5, axis=0))
        assert np.array_equal(found[1], np.repeat(items, 5, axis=0))
    assert asked == [1]
    assert (index.search(many, 9, allowed)[1] % 2 == 0).all()
    index.search(2 * many, 4)
    assert asked == [1, 1, 1]
