"""The folder beside a model where a fit keeps its checkpoints until the model is whole."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from kgrec.artefact import check_replaceable
from kgrec.atomic import claim


class WorkFolder:
    """`.NAME.work` beside the model; removed when the fit ends well, kept when it is killed.

    Each checkpoint carries a fingerprint of its data and options and is trusted only if that
    agrees, so a leftover of another fit does no harm.

    Args:
        out: The model folder to be, held against other writers meanwhile; None keeps no
            checkpoints.

    Raises:
        ArtefactError: Something else lies at `out`, or another process writes there.
    """

    def __init__(self, out: Path | None) -> None:
        self._out, self._held = out, ExitStack()
        self._path = None if out is None else out.parent / f".{out.name}.work"

    def __enter__(self) -> WorkFolder:
        if self._out is not None:
            check_replaceable(self._out)
            self._held.enter_context(claim(self._out))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with self._held:
            if kind is None and self._path is not None:
                shutil.rmtree(self._path, ignore_errors=True)

    def folder(self, name: str) -> Path | None:
        """The folder of one stage's checkpoints, made if need be; None without a model folder."""
        if self._path is None:
            return None
        folder = self._path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
