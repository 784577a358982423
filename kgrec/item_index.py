"""The FAISS index over item vectors, by inner product, and what a GPU does in its place.

On a GPU torch ranks every item, exactly and under any filter. FAISS's GPU indexes answer what an
IVF index is for, without a filter: they take one and pass over it, so the index in memory, which
always stays, answers with one. It is also what is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from kgrec.device import cuda_driver, pick_device
from kgrec.errors import ConfigError, ShapeError
from kgrec.faiss_build import MOST_ON_GPU, GpuCopy, load_faiss, n_gpus, train
from kgrec.progress import say

if TYPE_CHECKING:
    from kgrec.exact import ExactSearch

Kind = Literal["auto", "flat", "ivf", "ivfpq", "hnsw"]
Vectors = npt.NDArray[np.float32]
_POINTS_A_CELL = 64
"""Items a cell that k-means looks at; FAISS's 256 take four times as long for hardly more
index_recall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """Which FAISS index, and how hard it looks."""

    kind: Kind = "auto"
    """`flat` is exact; `auto` is flat while the vectors fit in `budget_bytes`, else `ivfpq`."""
    budget_bytes: int = 4 * 2**30
    """Memory that the index may take before `auto` compresses."""
    n_lists: int = 0
    """Cells of IVF; 0 takes four times the square root of the number of items."""
    n_probe: int = 0
    """Cells that a search visits; 0 takes an eighth of them."""
    pq_bytes: int = 32
    """Bytes an item takes in `ivfpq`."""
    hnsw_links: int = 32
    """Links of an item in `hnsw`."""
    ef_search: int = 256
    """Items that a search in `hnsw` keeps in view."""
    device: str = "auto"
    """Where lists are ranked: `auto` is the GPU where there is one; else what torch calls it
    (`cpu`, `cuda:1`). `hnsw` is for the processor alone."""

    def __post_init__(self) -> None:
        if min(self.n_lists, self.n_probe) < 0 or min(self.pq_bytes, self.hnsw_links) < 1:
            raise ConfigError("index.n_lists and n_probe are 0 or more, the other sizes at least 1")


class ItemIndex:
    """Item vectors that answer which of them have the largest inner product with a query.

    Args:
        index: Of FAISS, in the processor's memory.
        kind: Which one it is.
        n_items: Items in it.
        device: `IndexConfig.device`.
        in_torch: Whether torch ranks every item wherever that is, a processor included.
    """

    def __init__(
        self, index: Any, kind: Kind, n_items: int, device: str = "auto", in_torch: bool = False
    ) -> None:
        self._index, self.kind, self.n_items = index, kind, n_items
        self.device, self._in_torch = device, in_torch
        self._gpu: GpuCopy | None = None
        self._exact: tuple[Vectors, ExactSearch | None] | None = None
        self._asked: tuple[bytes, Vectors, npt.NDArray[np.int64]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What lies on a GPU does not travel: whoever gets this asks for a GPU of its own.
        return self.__dict__ | {"_gpu": None, "_exact": None}

    @property
    def exact(self) -> bool:
        """Whether a search finds the true best."""
        return self.kind == "flat"

    @property
    def n_lists(self) -> int:
        """Cells of an IVF index; 1 where there are none."""
        return int(getattr(self._index, "nlist", 1))

    @property
    def n_probe(self) -> int:
        """Cells that a search visits; may be set."""
        return int(getattr(self._index, "nprobe", 1))

    @n_probe.setter
    def n_probe(self, cells: int) -> None:
        self._asked = None
        if hasattr(self._index, "nprobe"):
            self._index.nprobe = cells
            if self._gpu is not None and self._gpu.index is not None:
                self._gpu.index.nprobe = cells

    @staticmethod
    def build(vectors: Vectors, config: IndexConfig) -> ItemIndex:
        """Trains and fills an index.

        Args:
            vectors: One row an item, (n_items, size) float32.
            config: Which index.

        Raises:
            MissingExtraError: No build of faiss is installed.
            ConfigError: The device is not here.
        """
        faiss = load_faiss()
        n, size = vectors.shape
        kind = config.kind
        if kind == "auto":
            kind = "flat" if vectors.nbytes <= config.budget_bytes else "ivfpq"
        n_lists = config.n_lists or max(1, min(int(4 * n**0.5), n // 40))
        metric = faiss.METRIC_INNER_PRODUCT
        if kind == "flat":
            index = faiss.IndexFlatIP(size)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(size, config.hnsw_links, metric)
            index.hnsw.efSearch = config.ef_search
        else:
            if kind == "ivf":
                index = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, n_lists, metric)
            else:
                parts = min(config.pq_bytes, size)
                vectors = _padded(vectors, size + -size % parts)
                coarse = faiss.IndexFlatIP(vectors.shape[1])
                index = faiss.IndexIVFPQ(coarse, vectors.shape[1], n_lists, parts, 8, metric)
            index.nprobe = config.n_probe or max(1, n_lists // 8)
            index.cp.min_points_per_centroid = 1  # small shops are fine, no warning is needed
            index.cp.max_points_per_centroid = _POINTS_A_CELL
        data = np.ascontiguousarray(vectors, np.float32)
        train(faiss, index, data, config.device if kind in ("ivf", "ivfpq") else "cpu")
        index.add(data)
        return ItemIndex(index, kind, n, config.device)

    def brute_force(self, vectors: Vectors) -> ExactSearch | None:
        """What ranks every item in torch, where that is to take the place of this index: on a GPU
        it does so for an exact index, and for IVF where the installed faiss has no GPUs.

        Args:
            vectors: What the index was built from, (n_items, size) float32.

        Raises:
            ConfigError: The device is not here.
        """
        if self._exact is None or self._exact[0] is not vectors:
            self._exact = vectors, self._brute_force(vectors)
        return self._exact[1]

    def _brute_force(self, vectors: Vectors) -> ExactSearch | None:
        if self._in_torch:
            from kgrec.exact import ExactSearch

            return ExactSearch(vectors, pick_device(self.device, "index.device"))
        faiss_has_gpus = n_gpus(load_faiss()) > 0
        if self.kind == "hnsw" or (faiss_has_gpus and not self.exact):
            return None
        on_gpu = _on_gpu(vectors, self.device)
        if on_gpu is not None and not faiss_has_gpus:
            say(f"the installed faiss has no GPU: torch ranks every item on {on_gpu.device}")
        return on_gpu

    def search(
        self, queries: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """The k items with the largest inner product; queries that are all the same, as without a
        dense half, are one.

        Args:
            queries: (n, size) float32.
            k: Items a query; no more than there are.
            allowed: Items that may be found, (n_items,); all by default.

        Returns:
            Inner products (n, k), best first, and item indices (n, k); -1 where fewer were found.

        Raises:
            ShapeError: A query has another size than the items.
        """
        size, padding = self._index.d, self._index.pq.M - 1 if self.kind == "ivfpq" else 0
        if queries.ndim != 2 or not size - padding <= queries.shape[1] <= size:
            raise ShapeError(f"queries have shape {queries.shape}, items have size {size}")
        wanted = min(k, self.n_items)
        if len(queries) < 2 or (queries != queries[0]).any():
            return self._search(queries, wanted, allowed)
        query, shape = queries[0].tobytes(), (len(queries), wanted)
        last = None if allowed is not None else self._asked
        if last is None or last[0] != query or last[1].shape[1] < wanted:
            last = (query, *self._search(queries[:1], wanted, allowed))
            self._asked = last if allowed is None else self._asked
        scores, items = (found[:, :wanted] for found in last[1:])
        return np.broadcast_to(scores, shape), np.broadcast_to(items, shape)

    def _search(
        self, queries: Vectors, wanted: int, allowed: npt.NDArray[np.bool_] | None
    ) -> tuple[Vectors, npt.NDArray[np.int64]]:
        faiss, size = load_faiss(), self._index.d
        params = None
        if allowed is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            if self.kind == "hnsw":
                params = faiss.SearchParametersHNSW(
                    sel=selector, efSearch=self._index.hnsw.efSearch
                )
            elif self.kind == "flat":
                params = faiss.SearchParameters(sel=selector)
            else:
                params = faiss.SearchParametersIVF(sel=selector, nprobe=self._index.nprobe)
        data = _padded(queries, size)
        if allowed is None and max(wanted, self.n_probe) <= MOST_ON_GPU:
            if self._gpu is None:
                device = "cpu" if self.kind == "hnsw" else self.device
                self._gpu = GpuCopy.of(faiss, self._index, device)
            if self._gpu.index is not None:
                scores, items = self._gpu.index.search(data, wanted)
                return scores, items
        scores, items = self._index.search(data, wanted, params=params)
        return scores, items

    def save(self, path: Path) -> None:
        """Writes the index in FAISS's own format."""
        load_faiss().write_index(self._index, str(path))

    @staticmethod
    def load(path: Path, kind: Kind, device: str = "auto") -> ItemIndex:
        """The index that `save` wrote; `device` as in `IndexConfig`."""
        index = load_faiss().read_index(str(path))
        return ItemIndex(index, kind, int(index.ntotal), device)


def index_recall(index: ItemIndex, vectors: Vectors, queries: Vectors, k: int = 100) -> float:
    """Share of each query's exact top k that the index finds, mean over queries, in 0..1.

    Args:
        index: The index measured.
        vectors: What it was built from, (n_items, size).
        queries: (n, size).
        k: Length of the list compared.
    """
    exact = exact_search(vectors, index.device)
    _, truth = exact(queries, k)
    _, found = index.search(queries, k)
    hits = [np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)]
    return float(np.mean(hits)) if hits else 1.0


def exact_search(
    vectors: Vectors, device: str = "auto"
) -> Callable[[Vectors, int], tuple[Vectors, npt.NDArray[np.int64]]]:
    """Finds the rows of the largest inner products, without a filter, as `ItemIndex.search` does.

    Args:
        vectors: (n, size) float32.
        device: As in `IndexConfig`: torch searches on a GPU, else FAISS.

    Raises:
        MissingExtraError: No build of faiss is installed.
        ConfigError: The device is not here.
    """
    on_gpu = _on_gpu(vectors, device)
    if on_gpu is not None:
        return on_gpu.search
    return ItemIndex.build(vectors, IndexConfig(kind="flat", device=device)).search


def _on_gpu(vectors: Vectors, device: str) -> ExactSearch | None:
    """What ranks these vectors on a GPU; None where the device is, or `auto` finds, no GPU."""
    if device == "cpu" or (device == "auto" and not cuda_driver()):
        return None
    where = pick_device(device, "index.device")
    if where.type != "cuda":
        return None
    from kgrec.exact import ExactSearch

    return ExactSearch(vectors, where)


def _padded(vectors: Vectors, size: int) -> Vectors:
    """Vectors with zeros up to a size: PQ cuts them into equal parts."""
    if missing := size - vectors.shape[1]:
        vectors = np.pad(vectors, ((0, 0), (0, missing)))
    return np.ascontiguousarray(vectors, np.float32)
