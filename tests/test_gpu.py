"""Every way that a GPU is used, against the processor's; runs wherever CUDA finds a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from test_exact import on_cpu, same, some
from test_item_index import vectors
from test_network_training import CONFIG, own_group_first, planted, scores_of
from test_pipeline import quick
from test_recommender import brute_force, model
from tiny_text import tiny_shop, write_tiny_bert
from toy_shop import planted_shop

from kgrec import network_training
from kgrec.device import pick_device, product_precision
from kgrec.doctor import diagnose
from kgrec.evaluate import evaluate_model
from kgrec.evidence import text_rows
from kgrec.exact import ExactSearch
from kgrec.item_index import IndexConfig, ItemIndex, Kind, index_recall
from kgrec.lists import list_table
from kgrec.pipeline import fit
from kgrec.recommender import load_model
from kgrec.text_config import TextConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
GPU = "cuda"
needs_faiss_gpu = pytest.mark.skipif(
    not faiss.get_num_gpus(), reason="the installed faiss has no GPU: pip install 'kgrec[gpu]'"
)
KILLED_AFTER = 18
"""Steps; eight make an epoch."""


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two arrays of one shape."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_auto_is_the_gpu() -> None:
    assert pick_device("auto", "index.device").type == GPU
    found = {finding.name: finding for finding in diagnose().findings}
    assert "exact lists" in found
    assert "torch" in found["exact lists"].found


# Exact lists


@pytest.mark.parametrize("budget_bytes", [500, 10_000, 2**30])
def test_exact_lists_are_the_processors(budget_bytes: int) -> None:
    for seed in range(60):
        n_items = 1 + seed * 5
        query, items, sparse, seen, allowed = some(seed, 9, n_items)
        search = ExactSearch(items, torch.device(GPU), budget_bytes)
        for k in (1, min(12, n_items), n_items):
            found = search.top_k(query, k, sparse, seen, allowed)
            assert same(found, on_cpu(query, items, sparse, seen, allowed, k)), (seed, k)


def test_many_items_and_equal_scores_are_the_processors() -> None:
    query, items, sparse, seen, allowed = some(3, 300, 20_000)
    found = ExactSearch(items, torch.device(GPU), 2**24).top_k(query, 100, sparse, seen, allowed)
    assert same(found, on_cpu(query, items, sparse, seen, allowed, 100))


def test_products_keep_all_of_float32() -> None:
    draw = np.random.default_rng(0)
    items, query = (draw.standard_normal((n, 256)).astype(np.float32) for n in (5000, 200))
    with product_precision("medium"):  # as if the caller had asked for TF32
        found = ExactSearch(items, torch.device(GPU)).top_k(query, 50)
    exact = query.astype(np.float64) @ items.T.astype(np.float64)
    assert found.scores == pytest.approx(-np.sort(-exact, axis=1)[:, :50], abs=1e-4)


def test_items_that_do_not_fit_are_copied_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    query, items, sparse, seen, allowed = some(5, 20, 900)
    search = ExactSearch(items, torch.device(GPU), 2**16)
    assert search._items.device.type == "cpu"
    found = search.top_k(query, 30, sparse, seen, allowed)
    assert same(found, on_cpu(query, items, sparse, seen, allowed, 30))


@pytest.mark.parametrize("share", [None, 0.7, 0.02, 0.0])
def test_a_model_lists_the_same(share: float | None) -> None:
    rec, there = (
        model(n_items=400, n_users=50, index=IndexConfig(device=device)) for device in ("cpu", GPU)
    )
    assert there.index.brute_force(there.ranker.item_vectors) is not None
    users = np.arange(50)
    allowed = None if share is None else np.random.default_rng(1).random(400) < share
    one, two = (each.top_k(users, 20, allowed=allowed) for each in (rec, there))
    assert two.scores == pytest.approx(one.scores, abs=1e-4)
    assert (one.items == two.items).mean() > 0.99  # but where rounding swaps two
    every = np.ones(400, np.bool_) if allowed is None else allowed
    assert two.scores == pytest.approx(brute_force(rec, users, 20, every), abs=1e-4)


def test_text_neighbours_are_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    text = vectors(500, 24)
    on_gpu = text_rows(text, batch_size=200).toarray()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert on_gpu == pytest.approx(text_rows(text, batch_size=200).toarray(), abs=1e-4)


# FAISS on the GPU


@needs_faiss_gpu
@pytest.mark.parametrize("kind", ["flat", "ivf", "ivfpq"])
def test_faiss_on_the_gpu_finds_what_the_processor_finds(kind: Kind, tmp_path: Path) -> None:
    items, queries = vectors(5000, 32), vectors(100, 32, seed=1)
    index = ItemIndex.build(items, IndexConfig(kind=kind, n_lists=16, n_probe=4, pq_bytes=8))
    _, found = index.search(queries, 20)
    assert index._gpu is not None
    assert index._gpu.index is not None, "nothing went on the GPU"
    index.save(tmp_path / "items.faiss")
    same_index = ItemIndex.load(tmp_path / "items.faiss", kind, "cpu")
    _, expected = same_index.search(queries, 20)
    share = np.mean([np.isin(a, b).mean() for a, b in zip(found, expected, strict=True)])
    assert share > (0.8 if kind == "ivfpq" else 0.99)
    on_gpu, on_processor = (index_recall(one, items, queries, 20) for one in (index, same_index))
    assert on_gpu == pytest.approx(on_processor, abs=0.05)


@needs_faiss_gpu
@pytest.mark.parametrize("kind", ["flat", "ivf", "ivfpq"])
def test_filters_hold_beside_faiss_on_the_gpu(kind: Kind) -> None:
    items, queries = vectors(5000, 32), vectors(100, 32, seed=1)
    index = ItemIndex.build(items, IndexConfig(kind=kind, n_lists=16, n_probe=16, pq_bytes=8))
    index.search(queries, 20)  # the copy on the GPU is there
    allowed = np.arange(5000) % 50 == 7
    _, found = index.search(queries, 20, allowed)
    assert allowed[found[found >= 0]].all()
    assert (found >= 0).all()


@needs_faiss_gpu
@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
def test_a_model_over_faiss_on_the_gpu_keeps_filters_and_what_was_seen(kind: Kind) -> None:
    rec = model(
        n_items=400, n_users=50, index=IndexConfig(kind=kind, n_lists=4, n_probe=4, pq_bytes=3)
    )
    users, allowed = np.arange(50), np.arange(400) % 5 == 0
    for may in (np.ones(400, np.bool_), allowed):
        top = rec.top_k(users, 8, allowed=may)
        assert may[top.items[top.items >= 0]].all()
        had = {(u, i) for u in users for i in rec.history.items_of(u).tolist()}
        assert not had & {(u, i) for u in users for i in top.items[u].tolist()}
        if kind == "ivf":
            assert top.scores == pytest.approx(brute_force(rec, users, 8, may), abs=1e-4)


# The graph network


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_text": False, "layers": 2, "max_edges_per_step": 20},
        {"sampled_items": 1},
        {"sampled_items": 1, "n_negatives": 8, "layers": 2, "max_edges_per_step": 20},
        {"sampled_items": 1, "use_identity": False},
        {"sampled_items": 1, "use_graph": False, "weight_decay": 0.01},
    ],
)
def test_a_network_learns_what_it_learns_on_the_processor(changes: dict[str, int]) -> None:
    train, graph, text, validation = planted()
    here, there = (
        train_network_on(device, train, graph, text, validation, changes) for device in ("cpu", GPU)
    )
    one, two = scores_of(here, train), scores_of(there, train)
    assert alike(one, two) > 0.98
    assert own_group_first(two) >= own_group_first(one) - 0.05


def train_network_on(device: str, train, graph, text, validation, changes):  # type: ignore[no-untyped-def]
    config = replace(CONFIG, device=device, **changes)
    return network_training.train_network(train, graph, text, config, validation=validation)


class Killed(BaseException):
    """Stands for a signal."""


@pytest.mark.parametrize("sampled_items", [1, 1000])
def test_a_killed_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampled_items: int
) -> None:
    train, graph, text, validation = planted()
    config = replace(CONFIG, device=GPU, sampled_items=sampled_items)
    straight = network_training.train_network(train, graph, text, config, validation=validation)
    loss, calls = network_training.batch_loss, 0

    def dies(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == KILLED_AFTER:
            raise Killed
        return loss(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(network_training, "batch_loss", dies)
    for _ in range(2):
        try:
            resumed = network_training.train_network(
                train, graph, text, config, validation=validation, checkpoint=tmp_path
            )
        except Killed:
            continue
    assert calls == KILLED_AFTER + 16, "epochs three and four, no more"
    assert alike(scores_of(straight, train), scores_of(resumed, train)) > 0.999
    # and another training takes its parameters over
    further = network_training.train_network(
        train, graph, text, replace(config, epochs=1), start=resumed.parameters
    )
    assert own_group_first(scores_of(further, train)) > 0.9


# Text


def test_texts_have_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from kgrec.text_encoder import TextEncoder

    folder = write_tiny_bert(tmp_path / "tiny")
    text = tiny_shop().text
    assert text is not None
    texts = text.to_list()
    here, there, short = (
        TextEncoder.load(folder, max_length=8, precision=precision, device=device).encode(texts)
        for precision, device in (("float32", "cpu"), ("float32", GPU), ("auto", GPU))
    )
    assert there == pytest.approx(here, abs=1e-3)
    assert (here * short).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_an_encoder_is_fitted(tmp_path: Path, mode: str) -> None:
    pytest.importorskip("transformers")
    if mode == "lora":
        pytest.importorskip("peft")
    from test_text_finetune import colour_gap, settings

    from kgrec.text_encoder import TextEncoder
    from kgrec.text_finetune import fine_tune
    from kgrec.text_pairs import text_pairs

    shop = tiny_shop()
    pairs = text_pairs(shop, shop.interactions, seed=7, cap=9, n_together=120, n_attribute=30)
    encoder = TextEncoder.load(
        write_tiny_bert(tmp_path / "tiny"), max_length=8, precision="float32", device=GPU
    )
    config = settings(mode=mode, max_steps=24, temperature=0.2)
    state = torch.cuda.get_rng_state()
    fitted, _ = fine_tune(encoder, pairs, config, tmp_path / "at.safetensors")
    assert torch.equal(torch.cuda.get_rng_state(), state), "the process's generator was moved"
    again, _ = fine_tune(encoder, pairs, config, tmp_path / "at.safetensors")
    assert colour_gap(fitted) > colour_gap(encoder)
    assert colour_gap(again) == pytest.approx(colour_gap(fitted), abs=1e-3)


# The whole chain


def test_a_fit_ranks_as_well_and_its_folder_answers_anywhere(tmp_path: Path) -> None:
    shop = planted_shop(n_users=120)
    on = {device: [f"{stage}.device={device}" for stage in ("text", "network", "index")]
          for device in ("cpu", GPU)}  # fmt: skip
    here, there = (fit(shop, quick(*on[device]), out=tmp_path / device) for device in ("cpu", GPU))
    recall, expected = (evaluate_model(one, (4,)).metrics()["recall@4"] for one in (there, here))
    assert recall > 0.6
    assert recall == pytest.approx(expected, abs=0.1)
    users = np.arange(120)
    again = load_model(tmp_path / GPU)
    assert np.array_equal(again.top_k(users, 7).items, there.top_k(users, 7).items)
    index = ItemIndex.load(tmp_path / GPU / "items.faiss", "flat", "cpu")
    on_processor = replace(again, index=index).top_k(users, 7)
    assert again.top_k(users, 7).scores == pytest.approx(on_processor.scores, abs=1e-4)
    allowed = np.arange(40) % 3 == 0
    table = list_table(there, k=5, allowed=allowed)
    assert {int(item[1:]) % 3 for item in table["item_id"]} == {0}
    assert len(there.recommend(["u003"], k=5)) == 5


def test_a_config_may_name_the_gpu() -> None:
    assert TextConfig(device=f"{GPU}:0").device == "cuda:0"
    assert pick_device(f"{GPU}:0", "text.device") == torch.device("cuda", 0)
