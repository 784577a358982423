from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.errors import ConfigError, ShapeError
from kgrec.network import DenseVectors, NetworkConfig, side_by_side


def dense(n_items: int = 6, size: int = 4, seed: int = 0) -> DenseVectors:
    draw = np.random.default_rng(seed)
    return DenseVectors(
        item_in=draw.normal(size=(n_items, size)).astype(np.float32),
        item_out=draw.normal(size=(n_items, size)).astype(np.float32),
        w_g=draw.normal(size=(size, size)).astype(np.float32),
        bias=draw.normal(size=n_items).astype(np.float32),
    )


def test_user_is_the_weighted_sum_of_its_items_scaled() -> None:
    vectors = dense()
    history = csr_array(np.array([[0, 2, 0, 0, 1, 0], [0] * 6], np.float32))
    users = vectors.user_vectors(history)
    turned = (2 * vectors.item_in[1] + vectors.item_in[4]) @ vectors.w_g
    assert np.linalg.norm(users[0]) == pytest.approx(1, rel=1e-5)
    assert users[0] == pytest.approx(turned / np.linalg.norm(turned), rel=1e-4)
    assert users.dtype == np.float32
    assert not users[1].any(), "an empty history gives a zero vector"


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.floats(0.1, 50))
def test_weights_matter_by_ratio_and_users_do_not_mix(seed: int, factor: float) -> None:
    vectors = dense(seed=seed)
    draw = np.random.default_rng(seed)
    history = csr_array(draw.integers(0, 3, (5, 6)).astype(np.float32))
    together = vectors.user_vectors(history)
    apart = np.concatenate([vectors.user_vectors(history[[u]] * factor) for u in range(5)])
    assert together == pytest.approx(apart, rel=1e-3, abs=1e-4)


def test_shapes_that_do_not_fit_are_refused() -> None:
    good = dense()
    with pytest.raises(ShapeError, match="bias has shape"):
        DenseVectors(good.item_in, good.item_out, good.w_g, good.bias[:-1])
    with pytest.raises(ShapeError, match="do not fit"):
        DenseVectors(good.item_in[:-1], good.item_out, good.w_g, good.bias)
    with pytest.raises(ShapeError, match="9 items, the model 6"):
        good.user_vectors(csr_array((1, 9), dtype=np.float32))


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("epochs", 0), ("temperature", 0.0), ("hidden_share", 1.5), ("layers", -1)],
)
def test_an_option_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"network\.{name} is {value}"):
        NetworkConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n_items", "size"), [(1000, 40), (1250, 40), (1251, 32), (3000, 16), (10**9, 16)]
)
def test_vectors_are_as_short_as_the_budget_asks(n_items: int, size: int) -> None:
    config = NetworkConfig(size=40, budget_bytes=1250 * 2 * 40 * 4)
    assert config.within_budget(n_items).size == size
    assert NetworkConfig(size=8, budget_bytes=1).within_budget(n_items).size == 8


def test_options_load_without_torch() -> None:
    code = "import sys, kgrec.network; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_members_side_by_side_score_their_mean() -> None:
    generator = np.random.default_rng(3)

    def member(size: int, scale: float) -> DenseVectors:
        item_in = generator.normal(size=(6, size)).astype(np.float32)
        out = generator.normal(size=(6, size)).astype(np.float32)
        w_g = np.eye(size, dtype=np.float32)
        one = {"brand": np.ones((2, size), np.float32) / np.float32(np.sqrt(size))}
        unit = item_in / np.linalg.norm(item_in, axis=1, keepdims=True)
        return DenseVectors(scale * unit, out, w_g, generator.random(6).astype(np.float32), one)

    two = [member(3, 1.0), member(4, 5.0)]
    joined = side_by_side(two)
    alone = csr_array(np.eye(6, dtype=np.float32))  # users with a history of one item

    def scores(dense: DenseVectors) -> np.ndarray:
        return dense.user_vectors(alone) @ dense.item_out.T + dense.bias

    mean = (scores(two[0]) + scores(two[1])) / 2
    np.testing.assert_allclose(scores(joined), mean, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(joined.entities["brand"], axis=1), 1, atol=1e-5)
    assert side_by_side(two[:1]) is two[0]
