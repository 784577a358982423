"""The FAISS index over item vectors, by inner product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kgrec.errors import ConfigError, MissingExtraError, ShapeError

Kind = Literal["auto", "flat", "ivf", "ivfpq", "hnsw"]
Vectors = npt.NDArray[np.float32]


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

    def __post_init__(self) -> None:
        if min(self.n_lists, self.n_probe) < 0 or min(self.pq_bytes, self.hnsw_links) < 1:
            raise ConfigError("index.n_lists and n_probe are 0 or more, the other sizes at least 1")


class ItemIndex:
    """Item vectors that answer which of them have the largest inner product with a query."""

    def __init__(self, index: Any, kind: Kind, n_items: int) -> None:
        self._index, self.kind, self.n_items = index, kind, n_items

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
        if hasattr(self._index, "nprobe"):
            self._index.nprobe = cells

    @staticmethod
    def build(vectors: Vectors, config: IndexConfig) -> ItemIndex:
        """Trains and fills an index.

        Args:
            vectors: One row an item, (n_items, size) float32.
            config: Which index.

        Raises:
            MissingExtraError: No build of faiss is installed.
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
            coarse = faiss.IndexFlatIP(size)
            if kind == "ivf":
                index = faiss.IndexIVFFlat(coarse, size, n_lists, metric)
            else:
                parts = _divisor(size, config.pq_bytes)
                index = faiss.IndexIVFPQ(coarse, size, n_lists, parts, 8, metric)
            index.nprobe = config.n_probe or max(1, n_lists // 8)
            index.cp.min_points_per_centroid = 1  # small shops are fine, no warning is needed
        data = np.ascontiguousarray(vectors, np.float32)
        index.train(data)
        index.add(data)
        return ItemIndex(index, kind, n)

    def search(
        self, queries: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """The k items with the largest inner product.

        Args:
            queries: (n, size) float32.
            k: Items a query; no more than there are.
            allowed: Items that may be found, (n_items,); all by default.

        Returns:
            Inner products (n, k), best first, and item indices (n, k); -1 where fewer were found.

        Raises:
            ShapeError: A query has another size than the items.
        """
        if queries.ndim != 2 or queries.shape[1] != self._index.d:
            raise ShapeError(f"queries have shape {queries.shape}, items have size {self._index.d}")
        faiss = load_faiss()
        wanted = min(k, self.n_items)
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
        data = np.ascontiguousarray(queries, np.float32)
        scores, items = self._index.search(data, wanted, params=params)
        return scores, items

    def save(self, path: Path) -> None:
        """Writes the index in FAISS's own format."""
        load_faiss().write_index(self._index, str(path))

    @staticmethod
    def load(path: Path, kind: Kind) -> ItemIndex:
        """The index that `save` wrote."""
        index = load_faiss().read_index(str(path))
        return ItemIndex(index, kind, int(index.ntotal))


def index_recall(index: ItemIndex, vectors: Vectors, queries: Vectors, k: int = 100) -> float:
    """Share of each query's exact top k that the index finds, mean over queries, in 0..1.

    Args:
        index: The index measured.
        vectors: What it was built from, (n_items, size).
        queries: (n, size).
        k: Length of the list compared.
    """
    exact = ItemIndex.build(vectors, IndexConfig(kind="flat"))
    _, truth = exact.search(queries, k)
    _, found = index.search(queries, k)
    hits = [np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)]
    return float(np.mean(hits)) if hits else 1.0


def _divisor(size: int, wanted: int) -> int:
    """The largest divisor of `size` that is at most `wanted`: PQ cuts vectors into equal parts."""
    return max(part for part in range(1, min(wanted, size) + 1) if size % part == 0)


def load_faiss() -> Any:
    """The faiss module, set so that exact searches are fast.

    Raises:
        MissingExtraError: No build of faiss is installed.
    """
    try:
        import faiss
    except ImportError:
        raise MissingExtraError("faiss", "cpu", "the item index") from None
    # An exact search is a product of matrices, block by block. Measured on a CPU: FAISS's own
    # blocks of 4096 by 1024 take twice as long as these, and what it calls too small for a product
    # (up to a thousand queries of 128 numbers) four times as long.
    cvar = faiss.cvar
    cvar.distance_compute_blas_query_bs, cvar.distance_compute_blas_database_bs = 1024, 8192
    cvar.distance_compute_blas_threshold = min(cvar.distance_compute_blas_threshold, 4096)
    return faiss
