"""Columns of items and users that an interaction table repeats on every row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from kgrec.id_codes import NONE, Coder, Codes


@dataclass(slots=True)
class Carried:
    """The first value of each such column for each item, or user."""

    codes: dict[str, Coder]
    """Of the values of each column."""
    first: dict[str, Codes]
    """Code of the first value of each item, by its own code; `NONE` where there is none yet."""
    n_others: dict[str, int]
    """Rows with another value than the first."""

    @staticmethod
    def of(columns: Iterable[str]) -> Carried:
        """Nothing read yet."""
        names = list(dict.fromkeys(columns))
        return Carried(
            {name: Coder() for name in names},
            {name: np.full(0, NONE, np.int32) for name in names},
            dict.fromkeys(names, 0),
        )

    def add(self, column: str, codes: Codes, values: Codes, n: int) -> None:
        """Takes in the values of some rows.

        Args:
            column: Which.
            codes: Of the items of these rows, (rows,).
            values: Their codes by `codes[column]`, (rows,).
            n: Items known by now.
        """
        first = self.first[column]
        if n > len(first):
            grown = np.full(max(n, 2 * len(first)), NONE, np.int32)
            grown[: len(first)] = first
            self.first[column] = first = grown
        self.n_others[column] += _keep_first(codes, values, first)

    def table(self, n: int) -> pl.DataFrame:
        """Each column's first value of the first n items, String, (n rows)."""
        return pl.DataFrame(
            {name: self.codes[name].ids(first[:n]) for name, first in self.first.items()}
        )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _keep_first(codes: Codes, values: Codes, first: Codes) -> int:
    """Keeps the first value of each code in `first`; how many rows have another one."""
    n_others = 0
    for at in range(len(codes)):
        code, value = codes[at], values[at]
        if code != NONE and value != NONE:
            if first[code] == NONE:
                first[code] = value
            n_others += first[code] != value
    return n_others
