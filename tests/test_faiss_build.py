"""FAISS's GPU indexes pass over filters; a stand-in that does so shows that ours hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from test_item_index import KINDS, vectors
from test_recommender import brute_force, model

from kgrec import item_index
from kgrec.exact import ExactSearch
from kgrec.item_index import IndexConfig, ItemIndex, Kind, index_recall

ON_GPU: tuple[Kind, ...] = ("flat", "ivf", "ivfpq")


class FakeGpu:
    """An index as a GPU of FAISS holds it: takes a filter and finds whatever it would without."""

    searches = 0

    def __init__(self, index: Any) -> None:
        self.index = faiss.clone_index(index)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "nprobe":
            self.index.nprobe = value
        else:
            super().__setattr__(name, value)

    def search(self, queries: np.ndarray, k: int, params: object = None) -> Any:
        if k > 2048:
            raise RuntimeError("Error: 'k <= 2048' failed")
        FakeGpu.searches += 1
        return self.index.search(queries, k)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU for FAISS, none for torch."""

    def to_gpu(resources: object, number: int, index: Any) -> Any:
        assert number == 0
        return FakeGpu(index) if index.ntotal else faiss.clone_index(index)  # one that trains

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_gpu, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(FakeGpu, "searches", 0)


def built(kind: Kind, **options: Any) -> ItemIndex:
    return ItemIndex.build(vectors(), IndexConfig(kind=kind, n_lists=8, pq_bytes=8, **options))


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("kind", ON_GPU)
def test_a_filter_holds_where_the_gpu_passes_over_it(kind: Kind) -> None:
    index, queries = built(kind), vectors(20, seed=1)
    allowed = np.arange(600) % 3 == 0
    _, found = index.search(queries, 10, allowed)
    assert allowed[found[found >= 0]].all()
    assert FakeGpu.searches == 0, "the processor answers with a filter"
    selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    ignored = FakeGpu(index._index).search(queries, 10, faiss.SearchParameters(sel=selector))[1]
    assert not allowed[ignored].all(), "or this test would show nothing"


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("kind", KINDS)
def test_the_gpu_answers_without_a_filter_and_is_never_saved(kind: Kind, tmp_path: Path) -> None:
    index, queries = built(kind), vectors(20, seed=1)
    _, found = index.search(queries, 10)
    assert (FakeGpu.searches > 0) == (kind in ON_GPU)
    index.save(tmp_path / "items.faiss")
    _, on_cpu = ItemIndex.load(tmp_path / "items.faiss", kind, "cpu").search(queries, 10)
    assert np.array_equal(found, on_cpu)


@pytest.mark.usefixtures("gpus")
def test_what_gpus_cannot_do_stays_on_the_processor() -> None:
    rows = vectors(3000)
    index = ItemIndex.build(rows, IndexConfig(kind="flat"))
    assert index.search(rows[:2], 3000)[1].shape == (2, 3000)
    assert FakeGpu.searches == 0
    for device in ("cpu", "cuda:1"):
        elsewhere = ItemIndex.build(rows, IndexConfig(kind="ivf", n_lists=8, device=device))
        elsewhere.search(rows[:2], 5)
    assert FakeGpu.searches == 0


@pytest.mark.usefixtures("gpus")
def test_cells_visited_are_those_asked_for_on_both_sides() -> None:
    index, rows = built("ivf", n_probe=1), vectors()
    few = index_recall(index, rows, rows[:50], 20)
    index.n_probe = 8
    assert few < index_recall(index, rows, rows[:50], 20) == 1
    assert FakeGpu.searches > 0


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("kind", ON_GPU)
def test_a_model_keeps_filters_and_what_was_seen(kind: Kind) -> None:
    rec = model(
        n_items=400, n_users=30, index=IndexConfig(kind=kind, n_lists=4, n_probe=4, pq_bytes=3)
    )
    users, allowed = np.arange(30), np.arange(400) % 5 == 0
    for may in (None, allowed):
        top = rec.top_k(users, 8, allowed=may)
        everything = np.ones(400, np.bool_) if may is None else may
        found = top.items[top.items >= 0]
        assert everything[found].all()
        had = {(u, i) for u in users for i in rec.history.items_of(u).tolist()}
        assert not had & {(u, i) for u in users for i in top.items[u].tolist()}
        if kind != "ivfpq":
            best = brute_force(rec, users, 8, everything)
            assert top.scores == pytest.approx(best, abs=1e-4)
    assert FakeGpu.searches > 0


@pytest.mark.usefixtures("gpus")
def test_an_index_that_no_gpu_takes_is_searched_by_the_processor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: object) -> object:
        raise RuntimeError("Error in verify at GpuIndexIVFPQ.cu:1\nError: 27 bytes not supported")

    monkeypatch.setattr(faiss, "index_cpu_to_gpu", refuses)
    index = built("ivfpq")
    assert (
        capsys.readouterr().err == "the processor trains the index: Error: 27 bytes not supported\n"
    )
    first, second = (index.search(vectors(9, seed=1), 5)[1] for _ in range(2))
    assert (first == second).all()
    assert (first >= 0).all()
    assert capsys.readouterr().err.count("27 bytes not supported") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_without_gpus_of_faiss_torch_ranks_and_says_so_once(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = list[ExactSearch]()

    def on_gpu(rows: np.ndarray, device: str) -> ExactSearch:
        made.append(ExactSearch(rows, torch.device("cpu")))  # stands for CUDA
        return made[-1]

    monkeypatch.setattr(item_index, "_on_gpu", on_gpu)
    rec = model(
        n_items=400, n_users=30, index=IndexConfig(kind=kind, n_lists=4, n_probe=1, pq_bytes=3)
    )
    allowed = np.arange(400) % 5 == 0
    for may in (None, allowed):
        top = rec.top_k(np.arange(30), 8, allowed=may)
        if kind != "hnsw":
            every = np.ones(400, np.bool_) if may is None else may
            assert top.scores == pytest.approx(brute_force(rec, np.arange(30), 8, every), abs=1e-4)
    said = "the installed faiss has no GPU: torch ranks every item on"
    assert capsys.readouterr().err.count(said) == (kind != "hnsw")
    assert len(made) == (kind != "hnsw")
