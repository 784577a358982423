"""Numbers for ids: 32 bits instead of a text a row, in the order in which ids first appear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

Codes = npt.NDArray[np.int32]
Keys = npt.NDArray[np.int64]
NONE = -1
"""Code and key of a null."""
_FIRST_SLOTS = 2**12


class Coder:
    """Gives every id it sees a number.

    An id that is a whole number as a computer writes it (`42`, not `042` or `4.2`) is kept as that
    number, which takes a fifth of the time of a text; what comes out is the same text either way.
    """

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        # polars forgets the codes of a type when the last series of it goes.
        self._alive = pl.Series([], dtype=self._type)
        self._slots = np.full(_FIRST_SLOTS, NONE, np.int32)
        self._keys = np.empty(_FIRST_SLOTS, np.int64)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def code(self, ids: pl.Series, keys: pl.Series | None = None) -> Codes:
        """Code of each id, (n,), from 0; `NONE` for null.

        Args:
            ids: String, (n,).
            keys: What `key_of` makes of them, where that is known already, (n,).
        """
        if keys is None:
            keys = ids.to_frame("id").select(key_of("id")).to_series()
        numbers = self._with_texts(keys.to_numpy(), ids)
        self._reserve(self._n + len(numbers))
        codes = np.empty(len(numbers), np.int32)
        self._n = _enter(numbers, self._slots, self._keys, self._n, codes)
        return codes

    def ids(self, codes: Codes) -> pl.Series:
        """The ids of codes that `code` gave, String, (n,); null for `NONE`."""
        keys = np.where(codes >= 0, self._keys[codes], NONE)
        series = pl.Series(keys)
        numbers = series.cast(pl.String)
        if not len(keys) or keys.min() >= 0:
            return numbers
        physical = np.where(keys < NONE, -keys - 2, 0).astype(np.uint32)
        texts = pl.Series(physical).cat.to(self._type)
        return pl.select(
            pl.when(series >= 0).then(numbers).when(series < NONE).then(texts.cast(pl.String))
        ).to_series()

    def _with_texts(self, keys: Keys, ids: pl.Series) -> Keys:
        """The keys with -2 and less for what is a text, (n,)."""
        n_others = len(keys) - int(np.count_nonzero(keys >= 0))
        if n_others <= ids.null_count():
            return keys
        is_text = (keys < 0) & ids.is_not_null().to_numpy()
        texts = ids.filter(pl.Series(is_text)).cast(self._type).to_physical()
        keys = keys.copy()
        keys[is_text] = -2 - texts.to_numpy().astype(np.int64)
        return keys

    def _reserve(self, n: int) -> None:
        """Room for so many ids."""
        if n > len(self._keys):
            grown = np.empty(max(n, 2 * len(self._keys)), np.int64)
            grown[: self._n] = self._keys[: self._n]
            self._keys = grown
        n_slots = len(self._slots)
        while n_slots < 2 * n:
            n_slots *= 2
        if n_slots > len(self._slots):
            self._slots = np.full(n_slots, NONE, np.int32)
            _enter(self._keys[: self._n], self._slots, self._keys, 0, np.empty(self._n, np.int32))


def key_of(name: str) -> pl.Expr:
    """The ids of a column that are whole numbers as a computer writes them, `NONE` for others."""
    text = pl.col(name)
    plain = ((text >= "1") & (text < ":")) | (text == "0")  # ":" comes after "9": no sign, no blank
    return pl.when(plain).then(text.cast(pl.Int64, strict=False)).fill_null(NONE)


# Without the GIL, which polars wants for the parts of an expression that are written in Python.
@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _enter(keys: Keys, slots: Codes, known: Keys, n: int, codes: Codes) -> int:
    """Looks every key up in an open-addressing table and adds those it lacks; how many it has."""
    mask = len(slots) - 1
    for at in range(len(keys)):
        key = keys[at]
        if key == NONE:
            codes[at] = NONE
            continue
        slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
        while slots[slot] >= 0 and known[slots[slot]] != key:
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot], known[n] = n, key
            n += 1
        codes[at] = slots[slot]
    return n
