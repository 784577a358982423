"""What reading found: rows, rejects by reason, changes by rule; and the reject file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from kgrec.atomic import claim, disk_space, replace_file
from kgrec.errors import DataError
from kgrec.shop import LoadReport

REJECT_SHARE = 0.01
"""Share of rejected rows of a file past which the caller is warned."""


class Ledger:
    """Counts while tables are read; `close` makes the report.

    Args:
        reject_file: Tab-separated file for the rejected rows (file, row, reason, content), written
            beside and renamed at the end; None keeps the counts alone.

    Raises:
        DataError: The reject file cannot be written.
    """

    def __init__(self, reject_file: Path | None = None) -> None:
        self.rows: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        self.warnings: list[str] = []
        self._target = reject_file
        self._bad: Counter[str] = Counter()
        self._frames: list[pl.DataFrame] = []

    @property
    def wants_rows(self) -> bool:
        """Whether rejected rows are to be written, not only counted."""
        return self._target is not None

    def read(self, file: str, rows: int) -> None:
        """Counts rows of a file, the rejected ones included."""
        self.rows[file] += rows

    def reject(self, file: str, counts: dict[str, int], rows: pl.DataFrame | None = None) -> None:
        """Counts rows that cannot be used.

        Args:
            file: Where they stand.
            counts: Rows by reason.
            rows: Columns row, reason and content, when there is a file to write them to.
        """
        self.rejected.update(counts)
        self._bad[file] += sum(counts.values())
        if rows is not None and self.wants_rows:
            self._frames.append(rows.select(pl.lit(file).alias("file"), "row", "reason", "content"))

    def change(self, counts: dict[str, int]) -> None:
        """Counts values or rows that a stated rule changed."""
        self.changed.update({rule: n for rule, n in counts.items() if n})

    def warn(self, message: str) -> None:
        """Keeps a sentence for the person at the keyboard."""
        self.warnings.append(message)

    def close(self) -> LoadReport:
        """Writes the reject file and sums up."""
        for file, bad in self._bad.items():
            if bad > REJECT_SHARE * self.rows[file]:
                self.warn(
                    f"{bad:,} of {self.rows[file]:,} rows of {file} could not be used"
                    f" ({bad / self.rows[file]:.1%}); see the reasons"
                )
        total = sum(self.rejected.values())
        if total and self._target is None:
            self.warn(f"rows that could not be used: {total:,}; set load.reject_file to keep them")
        if total and self._target is not None:
            self._write(self._target)
        return LoadReport(
            rows=dict(self.rows),
            rejected=dict(self.rejected),
            changed=dict(self.changed),
            reject_file=str(self._target) if total and self._target else None,
            warnings=tuple(self.warnings),
        )

    def _write(self, target: Path) -> None:
        try:
            with claim(target), disk_space(target), replace_file(target) as beside:
                pl.concat(self._frames).write_csv(beside, separator="\t")
        except OSError as error:
            raise DataError(f"the reject file {target} cannot be written: {error}") from error
