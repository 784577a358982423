"""The folder beside a model where a fit keeps its checkpoints until the model is whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType


class WorkFolder:
    """`.NAME.work` beside the model; removed when the fit ends well, kept when it is killed.

    Each checkpoint carries a fingerprint of its data and options and is trusted only if that
    agrees, so a leftover of another fit does no harm.

    Args:
        out: The model folder to be; None keeps no checkpoints.
    """

    def __init__(self, out: Path | None) -> None:
        self._path = None if out is None else out.parent / f".{out.name}.work"

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None and self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)

    def folder(self, name: str) -> Path | None:
        """The folder of one stage's checkpoints, made if need be; None without a model folder."""
        if self._path is None:
            return None
        folder = self._path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
