"""One safetensors file with tensors and a little JSON, replaced as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kgrec.atomic import claim, disk_space, replace_file
from kgrec.progress import say


def write_checkpoint(
    path: Path, job: str, tensors: Mapping[str, Tensor], standing: Mapping[str, Any]
) -> None:
    """Writes beside `path`, then renames.

    Args:
        path: The file; its folder is made.
        job: Names the run that it belongs to.
        tensors: What to keep, on any device.
        standing: What else to keep, as JSON has it.
    """
    held = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    about = {"job": job, "standing": json.dumps(standing)}
    with claim(path), disk_space(path), replace_file(path) as beside:
        save_file(held, beside, about)


def read_checkpoint(path: Path, job: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and standing; None where there is none, or, said, none of use."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("job") != job:
                say(f"{path} is the checkpoint of other data or settings; training starts anew")
                return None
            names = file.offset_keys()
            return {name: file.get_tensor(name) for name in names}, json.loads(about["standing"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        say(f"{path} is damaged ({error}); training starts anew")
        return None
