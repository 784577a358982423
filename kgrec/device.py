"""Where tensors are computed: on the GPU where there is one, or where an option says."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from kgrec.errors import ConfigError

if TYPE_CHECKING:
    import torch


def pick_device(device: str, option: str) -> torch.device:
    """The device that an option names.

    Args:
        device: `auto` is CUDA where there is one, else the processor; or what torch calls it
            (`cpu`, `cuda:1`).
        option: The option's name, for the message.

    Raises:
        ConfigError: It names no device, or one that is not here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        n = torch.cuda.device_count()
        here = ", ".join(["auto", "cpu", *(f"cuda:{at}" for at in range(n))])
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{option} is '{device}', which is not here ({reason}); it can be {here}"
        ) from None
    return found


def is_here(device: str) -> bool:
    """Whether `pick_device` would take it; `auto` and `cpu` always, without importing torch."""
    if device in ("auto", "cpu"):
        return True
    try:
        pick_device(device, "device")
    except ConfigError:
        return False
    return True


def cuda_driver() -> bool:
    """Whether NVIDIA's driver can be loaded: else importing torch to ask for CUDA is in vain."""
    if "torch" in sys.modules:
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@contextmanager
def product_precision(precision: Literal["highest", "medium"]) -> Iterator[None]:
    """Whether products of float32 matrices keep all bits of their factors or, where the machine
    gains by it, round them: `highest` or `medium`, as torch has it."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
