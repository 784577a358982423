from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import pytest
import torch

from kgrec.device import cuda_driver, is_here, pick_device, product_precision
from kgrec.errors import ConfigError


@pytest.mark.parametrize("there", [True, False])
def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert pick_device("auto", "text.device").type == ("cuda" if there else "cpu")
    assert pick_device("cpu", "text.device").type == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:x", ""])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=rf"network.device is '{device}'.*it can be auto, cpu"):
        pick_device(device, "network.device")
    assert not is_here(device)


def test_auto_and_cpu_are_everywhere() -> None:
    assert is_here("auto")
    assert is_here("cpu")


def test_without_torch_the_driver_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda_driver()  # torch is imported, and can be asked

    def library(loads: bool) -> Callable[[str], object]:
        def load(name: str) -> object:
            if not loads:
                raise OSError(f"{name}: cannot open shared object file")
            return name

        return load

    monkeypatch.delitem(sys.modules, "torch")
    for loads in (True, False):
        monkeypatch.setattr(ctypes, "CDLL", library(loads))
        assert cuda_driver() == loads


def test_the_precision_of_products_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    with product_precision("medium"):
        assert torch.get_float32_matmul_precision() == "medium"
        with product_precision("highest"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == before
