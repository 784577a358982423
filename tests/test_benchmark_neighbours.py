"""Neighbours against dense arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmark_material import N_ITEMS, material, shop_rows

from kgrec.baselines import ItemKNN, ItemKNNConfig
from kgrec.benchmark.neighbours import ITEM_KNN, TEXT_NEIGHBOURS, TextNeighbours
from kgrec.errors import ShapeError
from kgrec.history import history_matrix


def test_text_neighbours_are_the_cosines_written_out() -> None:
    rows, given = shop_rows(), material()
    options = {"neighbours": 200, "power": 2.0, "decay": 0.5, "last": 3}
    scores = TEXT_NEIGHBOURS.fit(rows, given, options).scores(rows)
    assert given.text is not None
    unit = given.text / np.linalg.norm(given.text, axis=1, keepdims=True)
    cosine = np.maximum(unit @ unit.T, 0) ** 2
    np.fill_diagonal(cosine, 0)
    expected = history_matrix(rows, decay=0.5, max_items=3) @ cosine
    np.testing.assert_allclose(scores[:35], expected[:35], rtol=1e-4, atol=1e-5)


def test_fewer_neighbours_are_the_nearest_of_more_in_any_batches() -> None:
    text = material().text
    assert text is not None
    zeros = np.zeros(N_ITEMS, np.float32)
    whole = TextNeighbours.of(text, zeros)
    parts = TextNeighbours.of(text, zeros, cells=5 * N_ITEMS)
    np.testing.assert_array_equal(whole.items, parts.items)
    np.testing.assert_allclose(whole.cosine, parts.cosine, rtol=1e-5)
    few, all_of = (whole.similarity(k, 1.0).toarray() for k in (3, 200))
    np.testing.assert_allclose(np.sort(few)[:, -3:], np.sort(all_of)[:, -3:])
    assert (few.diagonal() == 0).all()


def test_an_item_without_text_is_near_nothing() -> None:
    text = material().text
    assert text is not None
    text[4] = 0
    near = TextNeighbours.of(text, np.zeros(N_ITEMS, np.float32)).similarity(200, 1.0).toarray()
    assert near[4].sum() == near[:, 4].sum() == 0


def test_text_of_other_items_is_refused() -> None:
    with pytest.raises(ShapeError, match="text has 3 rows"):
        TEXT_NEIGHBOURS.fit(shop_rows(), replace(material(), text=np.ones((3, 2), np.float32)), {})


def test_item_knn_ranks_as_the_baseline_it_wraps() -> None:
    rows = shop_rows()
    scores = ITEM_KNN.fit(rows, material(), {"decay": 0.6, "shrinkage": 1.0}).scores(rows)
    known = ItemKNN(rows, ItemKNNConfig(decay=0.6, shrinkage=1.0))
    top = known.top_k(np.arange(35), 3, history=rows, exclude_seen=False)
    near = top.scores > 0
    own = np.take_along_axis(scores[:35], top.items, axis=1)
    np.testing.assert_allclose(own[near], top.scores[near], rtol=1e-4)
