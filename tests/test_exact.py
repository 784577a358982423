from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_recommender import brute_force, model

from kgrec.device import product_precision
from kgrec.errors import ConfigError, ShapeError
from kgrec.exact import ExactSearch
from kgrec.item_index import IndexConfig, ItemIndex
from kgrec.merge import rank_union
from kgrec.recommender import Recommender
from kgrec.topk import TopK

CPU = torch.device("cpu")


def some(
    seed: int, n: int, n_items: int, whole: bool = True
) -> tuple[np.ndarray, np.ndarray, sp.csr_array, sp.csr_array, np.ndarray]:
    """Queries, items, what S adds, what was seen and what is allowed; whole numbers, of which every
    sum is exact, so that many scores are equal on any device."""
    draw = np.random.default_rng(seed)
    size = int(draw.integers(1, 9))
    if whole:
        query, items = draw.integers(-2, 3, (n, size)), draw.integers(-2, 3, (n_items, size))
    else:
        query, items = draw.standard_normal((n, size)), draw.standard_normal((n_items, size))
    shape = (n, n_items)
    added = draw.integers(-3, 4, shape) * (draw.random(shape) < draw.random())
    seen = draw.random(shape) < draw.random() * (draw.random((n, 1)) < 0.8)  # some have no history
    return (
        query.astype(np.float32),
        items.astype(np.float32),
        sp.csr_array(added.astype(np.float32)),
        sp.csr_array(seen.astype(np.float32)),
        draw.random(n_items) < draw.random(),
    )


def on_cpu(
    query: np.ndarray, items: np.ndarray, sparse: sp.csr_array, seen: sp.csr_array,
    allowed: np.ndarray, k: int,
) -> TopK:  # fmt: skip
    """The lists of the way without torch, to which every item was retrieved."""
    every = np.tile(np.arange(len(items)), (len(query), 1))
    each = sp.eye_array(len(query), dtype=np.float32, format="csr")
    return rank_union(query, items, sp.csr_array(each), sparse, every, seen, allowed, k)


def same(one: TopK, other: TopK) -> bool:
    return np.array_equal(one.items, other.items) and np.array_equal(one.scores, other.scores)


@settings(max_examples=150)
@given(
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.integers(1, 60),
    st.integers(1, 70),
    st.sampled_from([16, 500, 2000, 10_000, 2**30]),
)
def test_lists_are_those_without_torch(
    seed: int, n: int, n_items: int, k: int, budget_bytes: int
) -> None:
    query, items, sparse, seen, allowed = some(seed, n, n_items)
    search = ExactSearch(items, CPU, budget_bytes)
    k = min(k, n_items)
    assert same(
        search.top_k(query, k, sparse, seen, allowed),
        on_cpu(query, items, sparse, seen, allowed, k),
    )
    everything, nothing = np.ones(n_items, np.bool_), sp.csr_array((n, n_items), dtype=np.float32)
    assert same(search.top_k(query, k), on_cpu(query, items, nothing, nothing, everything, k))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([3000, 2**30]))
def test_scores_are_those_without_torch_up_to_rounding(seed: int, k: int, budget: int) -> None:
    parts = some(seed, 8, 60, whole=False)
    query, items, sparse, seen, allowed = parts
    found = ExactSearch(items, CPU, budget).top_k(query, k, sparse, seen, allowed)
    expected = on_cpu(*parts, k)
    assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert ((found.items < 0) == (expected.items < 0)).all()
    assert allowed[found.items[found.items >= 0]].all()


@pytest.mark.parametrize("n_items", [1, 7, 3000])
def test_of_equal_scores_the_first_items_are_listed(n_items: int) -> None:
    items = np.ones((n_items, 2), np.float32)
    items[1::2] = 0
    query = np.array([[1, 1], [-1, 1], [0, 0]], np.float32)
    top = ExactSearch(items, CPU).top_k(query, min(5, n_items))
    odd_last = np.concatenate([np.arange(0, n_items, 2), np.arange(1, n_items, 2)])
    assert top.items[0].tolist() == odd_last[:5].tolist()
    assert top.items[1].tolist() == top.items[2].tolist() == list(range(min(5, n_items)))


def test_zeros_of_either_sign_are_equal() -> None:
    items = np.array([[-0.0], [0.0], [-0.0], [0.0]], np.float32)
    assert ExactSearch(items, CPU).top_k(np.ones((1, 1), np.float32), 3).items.tolist() == [
        [0, 1, 2]
    ]


def test_nobody_and_nothing_are_ranked_too() -> None:
    search = ExactSearch(np.zeros((5, 2), np.float32), CPU)
    assert search.top_k(np.zeros((0, 2), np.float32), 3).items.shape == (0, 3)
    nothing = search.top_k(np.ones((2, 2), np.float32), 3, allowed=np.zeros(5, np.bool_))
    assert (nothing.items == -1).all()
    assert np.isneginf(nothing.scores).all()
    assert search.top_k(np.ones((1, 2), np.float32), 9).items.shape == (1, 5)
    empty = ExactSearch(np.zeros((0, 2), np.float32), CPU)
    assert empty.top_k(np.ones((1, 2), np.float32), 3).items.shape == (1, 0)


def test_a_query_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match="size 2"):
        ExactSearch(np.zeros((5, 2), np.float32), CPU).top_k(np.zeros((1, 3), np.float32), 3)


def test_arrays_that_may_not_be_written_are_read() -> None:
    query, items, sparse, seen, allowed = some(1, 4, 30)
    expected = on_cpu(query, items, sparse, seen, allowed, 5)
    for array in (query, items, allowed, *(a for m in (sparse, seen) for a in (m.data, m.indices))):
        array.flags.writeable = False
    assert same(ExactSearch(items, CPU).top_k(query, 5, sparse, seen, allowed), expected)


def test_products_are_of_whole_float32_whatever_the_process_has_set() -> None:
    draw = np.random.default_rng(0)
    items, query = (draw.standard_normal((n, 64)).astype(np.float32) for n in (300, 20))
    expected = ExactSearch(items, CPU).top_k(query, 300)
    with product_precision("medium"), torch.autocast("cpu", torch.bfloat16):
        found = ExactSearch(items, CPU).top_k(query, 300)
        assert torch.get_float32_matmul_precision() == "medium"
    assert same(found, expected)
    exact = np.sort(query.astype(np.float64) @ items.T.astype(np.float64), axis=1)[:, ::-1]
    assert found.scores == pytest.approx(exact, abs=1e-5)


def in_torch(rec: Recommender) -> Recommender:
    """The same model whose lists torch ranks, without FAISS."""
    from dataclasses import replace

    index = ItemIndex(None, "flat", len(rec.items), "cpu", in_torch=True)
    return replace(rec, index=index)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.05, 1))
def test_a_model_in_torch_lists_the_same(seed: int, k: int, share: float) -> None:
    rec = model(n_items=200, n_users=30, seed=seed)
    users = np.arange(30)
    allowed = np.random.default_rng(seed).random(200) < share
    top = in_torch(rec).top_k(users, k, allowed=allowed)
    faiss = rec.top_k(users, k, allowed=allowed)
    assert top.scores == pytest.approx(brute_force(rec, users, k, allowed), abs=1e-4)
    assert top.scores == pytest.approx(faiss.scores, abs=1e-5)
    assert (top.items == faiss.items).mean() > 0.99  # but where rounding swaps two


def test_a_model_in_torch_answers_as_ever() -> None:
    rec = model()
    torched = in_torch(rec)
    for asked in (
        {"users": ["u003", "u001"], "k": 4},
        {"histories": [["i000", "i004"], []], "k": 5},
        {"users": ["u000"], "k": 1000},
        {"users": ["u000"], "k": 1000, "exclude_seen": False},
        {"users": ["u000"], "k": 5, "where": '"group" = 2'},
        {"users": ["u000"], "where": "1 = 2"},
    ):
        one, two = rec.recommend(**asked), torched.recommend(**asked)
        assert one["item_id"].tolist() == two["item_id"].tolist()
        assert one["score"].tolist() == pytest.approx(two["score"].tolist(), abs=1e-5)


def test_vectors_are_moved_once_and_anew_where_they_change() -> None:
    one, other = (np.ones((n, 2), np.float32) for n in (3, 4))
    index = ItemIndex(None, "flat", 3, "cpu", in_torch=True)
    first = index.brute_force(one)
    assert index.brute_force(one) is first
    assert index.brute_force(other) is not first


def test_what_lies_on_a_device_does_not_travel() -> None:
    rows = np.ones((3, 2), np.float32)
    index = ItemIndex.build(rows, IndexConfig())
    index.search(rows, 2)
    index.brute_force(rows)
    again = pickle.loads(pickle.dumps(index))
    assert np.array_equal(again.search(rows, 2)[1], index.search(rows, 2)[1])
    assert again._exact is None or again._exact[1] is None


def test_without_cuda_faiss_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.ones((3, 2), np.float32)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("auto", "cpu"):
        assert ItemIndex.build(rows, IndexConfig(device=device)).brute_force(rows) is None
    with pytest.raises(ConfigError, match=r"index\.device is 'cuda:99'"):
        ItemIndex.build(rows, IndexConfig(device="cuda:99")).brute_force(rows)
