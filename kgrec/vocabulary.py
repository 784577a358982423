"""The two-way map between a caller's ids and contiguous positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.errors import DataError, UnknownIdError, nearest

Indices = npt.NDArray[np.int64]


class Vocabulary:
    """Ids of one kind of node, each at its index; an id is text, so leading zeros survive.

    Args:
        ids: Distinct, non-null ids in index order, (n,).
        kind: What they name (`user`, `item`, `brand`), for error messages.

    Raises:
        DataError: An id is null or stands twice.
    """

    __slots__ = ("_lookup", "ids", "kind")

    def __init__(self, ids: pl.Series | Iterable[object], kind: str = "item") -> None:
        series = ids if isinstance(ids, pl.Series) else pl.Series([str(i) for i in ids])
        self.ids: pl.Series = series.cast(pl.String).alias("id").rechunk()
        self.kind = kind
        self._lookup: dict[str, int] | None = None
        if self.ids.null_count():
            raise DataError(f"{self.ids.null_count()} of the {kind} ids are null")
        if self.ids.n_unique() != len(self.ids):
            twice = self.ids.filter(self.ids.is_duplicated())[0]
            raise DataError(f"{kind} '{twice}' stands twice in the vocabulary")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, value: object) -> bool:
        return str(value) in self._dict()

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} {self.kind} ids)"

    def find(self, ids: pl.Series | Sequence[object]) -> Indices:
        """Index of each id, (n,) int64; -1 where the id is unknown."""
        if isinstance(ids, pl.Series):
            table = pl.DataFrame({"id": self.ids, "at": np.arange(len(self), dtype=np.int64)})
            asked = ids.cast(pl.String).alias("id").to_frame()
            found = asked.join(table, on="id", how="left", maintain_order="left")
            return found["at"].fill_null(-1).to_numpy().astype(np.int64)
        lookup = self._dict()
        return np.fromiter((lookup.get(str(i), -1) for i in ids), np.int64, len(ids))

    def indices(self, ids: pl.Series | Sequence[object]) -> Indices:
        """Index of each id, (n,) int64.

        Raises:
            UnknownIdError: An id is not here; the message names it and its nearest neighbour.
        """
        found = self.find(ids)
        if len(found) and found.min() < 0:
            missing = [str(i) for i, at in zip(ids, found, strict=True) if at < 0]
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            sample = self.ids.head(100_000).to_list()
            hint = nearest(missing[0], sample) if len(sample) <= 20 else _close(missing[0], sample)
            raise UnknownIdError(f"unknown {self.kind} '{missing[0]}'{more}{hint}")
        return found

    def take(self, indices: npt.ArrayLike) -> pl.Series:
        """The ids at `indices`, a polars String series of the same length."""
        return self.ids.gather(np.asarray(indices, np.int64))

    def _dict(self) -> dict[str, int]:
        if self._lookup is None:
            self._lookup = {i: at for at, i in enumerate(self.ids.to_list())}
        return self._lookup


def _close(word: str, known: Sequence[str]) -> str:
    hint = nearest(word, known)
    return hint if "did you mean" in hint else ""
