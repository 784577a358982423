"""The ridge from every behaviour to the one to predict."""

from __future__ import annotations

import numpy as np
from benchmark_material import material

from kgrec.benchmark.behaviours import BEHAVIOURS
from kgrec.interactions import Interactions


def shop(n_users: int = 200, n_items: int = 30) -> Interactions:
    """Who buys 2i carted 2i + 1, and viewed another even item; both behaviours tell of more."""
    generator = np.random.default_rng(3)
    bought = np.stack([2 * generator.integers(0, n_items // 2, n_users) for _ in range(2)])
    bought[1] = (bought[0] + 2) % n_items
    viewed = 2 * generator.integers(0, n_items // 2, n_users)
    item = np.concatenate([bought.ravel(), bought.ravel() + 1, viewed])
    user = np.tile(np.arange(n_users), 5)
    behaviour = np.repeat([2, 1, 0], [2 * n_users, 2 * n_users, n_users])
    return Interactions.of(
        user, item, n_users=n_users, n_items=n_items, behaviour=behaviour,
        weight=np.array([0.1, 0.5, 1.0], np.float32)[behaviour],
        behaviours=("view", "cart", "buy"), target=2,
    )  # fmt: skip


def one_user(behaviour: int, item: int) -> Interactions:
    return Interactions.of(
        [0], [item], n_users=1, n_items=30, behaviour=[behaviour],
        weight=[[0.1, 0.5, 1.0][behaviour]],
        behaviours=("view", "cart", "buy"), target=2,
    )  # fmt: skip


def test_a_cart_tells_what_is_bought_beside_it() -> None:
    scorer = BEHAVIOURS.fit(shop(), material(), {"own": 0.01})
    carted = scorer.scores(one_user(1, 9))[0]
    assert np.argsort(-carted)[0] == 8
    bought = scorer.scores(one_user(2, 8))[0]
    assert set(np.argsort(-bought)[:2]) == {6, 10}


def test_own_items_stand_by_weight_and_conversion() -> None:
    rows = shop()
    scorer = BEHAVIOURS.fit(rows, material(), {"own": 10.0, "cross": 0.01, "own_power": 1.0})
    for behaviour in (0, 1):
        assert np.argmax(scorer.scores(one_user(behaviour, 4))[0]) == 4
    both = Interactions.of(
        [0, 0], [4, 6], n_users=1, n_items=30, behaviour=[0, 1], weight=[0.1, 0.5],
        behaviours=("view", "cart", "buy"), target=2,
    )  # fmt: skip
    alike, heavier = (
        BEHAVIOURS.fit(rows, material(), {"own": 10.0, "own_power": 0.0, "heavier": power})
        for power in (0.0, 2.0)
    )
    assert np.isclose(*alike.scores(both)[0][[4, 6]], rtol=0.1)
    scores = heavier.scores(both)[0]
    assert scores[6] > 5 * scores[4]


def test_scores_add_up() -> None:
    rows, options = shop(), {"cross": 0.5, "own": 0.7, "own_power": 0.5, "heavier": 1.0}
    settled = BEHAVIOURS.settle(options)
    blocks = BEHAVIOURS.prepare(rows, material(), settled)
    scores = BEHAVIOURS.finish(blocks, settled).scores(one_user(1, 9))[0]
    rate = (blocks.conversion / blocks.conversion.mean()) ** 0.5
    offered = np.maximum(blocks.users, 1) ** -settled["output_power"]
    expected = 0.5 * 0.5 * blocks.to_target[1].toarray()[9] * offered
    expected[9] += 0.7 * 0.5 * rate[9]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
