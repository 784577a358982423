"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import settings

from kgrec.device import cuda_driver

# A first call may compile; and nothing here measures time.
settings.register_profile("kgrec", deadline=None)
settings.load_profile("kgrec")


@lru_cache(maxsize=1)
def _has_gpu() -> bool:
    if not cuda_driver():
        return False
    import torch

    if torch.cuda.is_available():
        torch.cuda.init()  # before a test hides the GPU from the processes that it starts
    return torch.cuda.is_available()


@pytest.fixture(scope="module", autouse=True)
def _on_the_processor(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hides a GPU from modules that are not marked `gpu`: many compare bits, as no GPU promises."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("gpu") and _has_gpu():
            import faiss
            import torch

            patch.setattr(torch.cuda, "is_available", lambda: False)
            patch.setattr(faiss, "get_num_gpus", lambda: 0)
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, or a skip that says why."""
    folder = Path(
        os.environ.get("KGREC_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not here: {folder}; set KGREC_SHARED_DATA")
    return folder
