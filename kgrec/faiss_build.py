"""The build of FAISS that is installed, and the GPUs that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.errors import MissingExtraError
from kgrec.progress import say

MOST_ON_GPU = 2048
"""Items a query, and cells, that FAISS's GPU indexes go up to."""


def load_faiss() -> Any:
    """The faiss module, set so that exact searches are fast.

    Raises:
        MissingExtraError: No build of faiss is installed.
    """
    try:
        import faiss
    except ImportError:
        raise MissingExtraError("faiss", "cpu", "the item index") from None
    # An exact search is a product of matrices. Measured on a CPU: what FAISS calls too few queries
    # for one (up to a thousand of 128 numbers) takes four times as long without.
    cvar = faiss.cvar
    cvar.distance_compute_blas_threshold = min(cvar.distance_compute_blas_threshold, 4096)
    return faiss


def n_gpus(faiss: Any) -> int:
    """GPUs that this build can use; builds for the processor have none."""
    return int(faiss.get_num_gpus())


@dataclass(frozen=True, slots=True)
class GpuCopy:
    """A copy of an index on a GPU, which passes over filters."""

    index: Any
    """None where there is none."""
    resources: Any = None
    """What the copy lives in."""

    @staticmethod
    def of(faiss: Any, index: Any, device: str) -> GpuCopy:
        """A copy, where FAISS has the device, as `IndexConfig` names it, and takes the index."""
        number = _gpu_number(faiss, device)
        if number is None:
            return GpuCopy(None)
        resources = faiss.StandardGpuResources()
        try:
            return GpuCopy(faiss.index_cpu_to_gpu(resources, number, index), resources)
        except RuntimeError as error:  # too large, or codes of a size that GPUs do not know
            say(f"the index does not go on the GPU, the processor searches it: {_reason(error)}")
            return GpuCopy(None)


def train(faiss: Any, index: Any, vectors: npt.NDArray[np.float32], device: str) -> None:
    """Trains an index; where FAISS has the device, the cells of an IVF index are found there."""
    number = _gpu_number(faiss, device)
    if number is not None:
        resources = faiss.StandardGpuResources()
        flat = faiss.IndexFlatIP(vectors.shape[1])
        try:
            index.clustering_index = faiss.index_cpu_to_gpu(resources, number, flat)
            index.train(vectors)
        except RuntimeError as error:
            say(f"the processor trains the index: {_reason(error)}")
        finally:
            index.clustering_index = None
    if not index.is_trained:
        index.train(vectors)


def _gpu_number(faiss: Any, device: str) -> int | None:
    """FAISS's number of a device; None where it is no GPU or FAISS has not got it."""
    name, _, number = device.partition(":")
    if name not in ("auto", "cuda") or int(number or 0) >= n_gpus(faiss):
        return None
    return int(number or 0)


def _reason(error: RuntimeError) -> str:
    return str(error).splitlines()[-1]
