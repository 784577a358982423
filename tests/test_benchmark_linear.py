"""EASE against the textbook, the ridge against EASE, and what memory refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from benchmark_material import material, shop_rows

from kgrec.benchmark import linear
from kgrec.benchmark.linear import (
    EASE,
    EASE_GRAPH,
    SPARSE_RIDGE,
    available_bytes,
    ease_weights,
    graph_pairs,
)
from kgrec.errors import KgrecError
from kgrec.evidence import attribute_rows, relation_rows
from kgrec.history import history_matrix

PLAIN: dict[str, Any] = {
    "ridge": 5.0, "degree_power": 0.0, "input_power": 0.0, "output_power": 0.0, "decay": 1.0,
}  # fmt: skip


def textbook(x: np.ndarray[Any, Any], ridge: float) -> np.ndarray[Any, Any]:
    """The listing of the paper, in 64 bits."""
    gram = x.T @ x + ridge * np.eye(x.shape[1])
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("n", [1, 7, 1500])
def test_ease_is_the_textbook_closed_form(n: int) -> None:
    generator = np.random.default_rng(0)
    x = (generator.random((40, n)) < 0.1).astype(np.float64)
    gram = sp.csr_array((x.T @ x).astype(np.float32))
    got = ease_weights(gram, np.full(n, 5.0, np.float32))
    np.testing.assert_allclose(got, textbook(x, 5.0), atol=1e-4)
    np.testing.assert_allclose(gram.toarray(), x.T @ x)


def test_ease_scores_are_histories_times_weights() -> None:
    rows = shop_rows()
    x = history_matrix(rows).toarray().astype(np.float64)
    scores = EASE.fit(rows, material(), PLAIN).scores(rows)
    np.testing.assert_allclose(scores[:35], (x @ textbook(x, 5.0))[:35], atol=1e-4)


def test_ease_is_the_least_squares_answer_item_by_item() -> None:
    x = history_matrix(shop_rows()).toarray().astype(np.float64)
    others = np.arange(x.shape[1]) != 3
    left = x[:, others].T @ x[:, others] + 5 * np.eye(x.shape[1] - 1)
    answer = np.linalg.solve(left, x[:, others].T @ x[:, 3])
    np.testing.assert_allclose(textbook(x, 5.0)[others, 3], answer, atol=1e-9)


def test_the_ridge_over_all_neighbours_is_ease_where_no_pair_is_apart() -> None:
    rows = shop_rows()
    crowd = replace(rows, item=(rows.item % 4).astype(np.int32), n_items=4)
    options = PLAIN | {"neighbours": 25}
    np.testing.assert_allclose(
        SPARSE_RIDGE.fit(crowd, material(), options).scores(crowd),
        EASE.fit(crowd, material(), PLAIN).scores(crowd),
        atol=1e-4,
    )


def test_graph_rows_stand_below_those_of_the_users() -> None:
    rows, given = shop_rows(), material()
    attributes, relations = attribute_rows(given.graph), relation_rows(given.graph)
    assert attributes is not None
    assert relations is not None
    x = np.vstack([
        history_matrix(rows).toarray(),
        np.sqrt(0.7) * attributes.T.toarray(),
        np.sqrt(3.0) * relations.T.toarray(),
    ])  # fmt: skip
    options = PLAIN | {"attribute_weight": 0.7, "relation_weight": 3.0}
    scores = EASE_GRAPH.fit(rows, given, options).scores(rows)
    expected = history_matrix(rows).toarray() @ textbook(x, 5.0)
    np.testing.assert_allclose(scores[:35], expected[:35], atol=1e-4)


def test_graph_rows_of_no_weight_are_plain_ease() -> None:
    rows, given = shop_rows(), material()
    options = {"attribute_weight": 0.0, "relation_weight": 0.0}
    assert graph_pairs(given, options) is None
    np.testing.assert_array_equal(
        EASE_GRAPH.fit(rows, given, options).scores(rows), EASE.fit(rows, given, {}).scores(rows)
    )


def test_ease_that_would_not_fit_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "available_bytes", lambda: 1000.0)
    with pytest.raises(KgrecError, match=r"24 items needs .* GiB .* sparse ridge"):
        EASE.fit(shop_rows(), material(), {})


def test_a_matrix_that_cannot_be_inverted_says_so() -> None:
    with pytest.raises(KgrecError, match="raise its ridge"):
        ease_weights(sp.csr_array(-np.eye(3, dtype=np.float32)), np.full(3, 0.5, np.float32))


def test_free_memory_is_told() -> None:
    assert 0 < available_bytes() < float("inf")
