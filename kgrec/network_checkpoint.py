"""Checkpoints of the graph network's training: one file, replaced whole after each epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kgrec.atomic import claim, replace_file
from kgrec.progress import say

_FILE = "network.safetensors"


def fingerprint(options: dict[str, Any], arrays: Iterable[npt.NDArray[Any]]) -> str:
    """A hash of everything training depends on: two runs that share it may share a checkpoint."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: dict[str, Any]) -> None:
    """Replaces the checkpoint in `folder`; a kill at any moment leaves the old or the new one.

    Args:
        folder: Made where it is absent.
        tensors: Parameters and moments by name.
        state: What is not a tensor, json-able; kept in the header of the same file, so that the
            two cannot come apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path = folder / _FILE
    with claim(path), replace_file(path) as aside:
        save_file(plain, aside, metadata={"state": json.dumps(state)})


def read_checkpoint(folder: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and state of the checkpoint in `folder`.

    Args:
        folder: Where `write_checkpoint` wrote.
        expected: The fingerprint that its state must name.

    Returns:
        None where there is no checkpoint, or one of other data or options, or a damaged one; the
        latter two are said on stderr.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {}).get("state", "{}"))
            if state.get("fingerprint") != expected:
                say(f"{path} is of other data or options: training starts anew")
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        say(f"{path} is damaged ({error}): training starts anew")
        return None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of every parameter, by name."""
    return {
        f"{at}.{name}": value
        for at, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave."""
    values: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        at, name = key.split(".", 1)
        values.setdefault(int(at), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
