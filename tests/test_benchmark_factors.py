"""iALS: users computed from their histories are those of the fit, written out."""

from __future__ import annotations

import numpy as np
from benchmark_material import material, shop_rows

from kgrec.benchmark.factors import IALS
from kgrec.history import history_matrix
from kgrec.interactions import Interactions

OPTIONS = {"factors": 32, "iterations": 10, "regularization": 0.5, "alpha": 4.0, "decay": 1.0}


def test_a_user_is_the_closed_form_over_the_item_factors() -> None:
    rows = shop_rows()
    model = IALS.prepare(rows, material(), OPTIONS).model
    items = model.item_factors.astype(np.float64)
    had = history_matrix(rows).toarray()
    scores = IALS.fit(rows, material(), OPTIONS).scores(rows)
    for user in (0, 7):
        confidence = np.where(had[user] > 0, 1 + 4.0 * had[user], 1.0)
        left = (items * confidence[:, None]).T @ items + 0.5 * np.eye(32)
        factors = np.linalg.solve(left, items.T @ (confidence * (had[user] > 0)))
        np.testing.assert_allclose(scores[user], items @ factors, atol=1e-3)


def test_a_new_user_is_offered_the_group_they_bought_in() -> None:
    rows = shop_rows()
    new = Interactions.of([0], [2], n_users=1, n_items=rows.n_items, time=[0])
    scores = IALS.fit(rows, material(), OPTIONS | {"regularization": 10.0}).scores(new)[0]
    assert set(np.argsort(-scores)[:4] % 6) == {2}
