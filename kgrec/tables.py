"""The tables of a shop, in a folder or in memory, opened as the schema names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kgrec.errors import DataError, nearest
from kgrec.ledger import Ledger
from kgrec.readers import EXTRA, Table, find_files, from_frame, open_table, reading
from kgrec.schema_parts import Source

REASON = "\x00reason"
Frames = Mapping[str, pl.LazyFrame]


@dataclass(frozen=True, slots=True)
class Tables:
    """Where the tables of a shop are.

    Attributes:
        data: A folder, one file, or frames by the name of their table.
        schema_file: What to call the schema in messages.
        ledger: Where what was found is counted.
    """

    data: Path | Frames
    schema_file: str
    ledger: Ledger

    def open(
        self, name: str, source: Source, wanted: Mapping[str, str], optional: bool = False
    ) -> list[Table]:
        """Opens every file of one table.

        Args:
            name: What the schema calls the table, such as `items`.
            source: Where it lies.
            wanted: Columns, each with the part of the schema that asks for it and what to do there:
                `delete [[relation]] has_brand`; an empty text marks a column that may be absent.
            optional: Whether there may be none.

        Returns:
            One `Table` a file; empty when there is none.

        Raises:
            DataError: There is no such file, it is damaged, or it lacks a column.
        """
        tables = [self._check(table, wanted) for table in self._open(name, source, list(wanted))]
        if not tables and not optional:
            raise DataError(self._absent(name, source))
        return tables

    def read(
        self,
        name: str,
        source: Source,
        wanted: Mapping[str, str],
        required: Sequence[str],
        optional: bool = False,
    ) -> pl.DataFrame | None:
        """Reads a whole table and rejects the rows that lack a required column.

        Args:
            name: See `open`.
            source: See `open`.
            wanted: See `open`.
            required: Columns without which a row cannot be used.
            optional: See `open`.

        Returns:
            The wanted columns that are there, String, blank values null; None when there is no
            file.

        Raises:
            DataError: See `open`.
        """
        frames = [self._read(t, required) for t in self.open(name, source, wanted, optional)]
        if not frames:
            return None
        return pl.concat(frames, how="diagonal")

    def _read(self, table: Table, required: Sequence[str]) -> pl.DataFrame:
        names = [n for n in table.frame.collect_schema().names() if n != EXTRA]
        extra = pl.col(EXTRA) if len(names) < len(table.frame.collect_schema()) else pl.lit(None)
        blank_is_null = [
            pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)).alias(name)
            for name in names
        ]
        reasons = [
            (pl.all_horizontal(pl.col(names).is_null()), "empty row"),
            (extra.is_not_null(), "too many fields"),
            *((pl.col(name).is_null(), f"no {name}, or a row cut short") for name in required),
        ]
        reason = pl.coalesce(pl.when(test).then(pl.lit(why)) for test, why in reasons)
        with reading(table.file):
            rows = table.frame.with_columns(blank_is_null).with_columns(reason.alias(REASON))
            read = rows.collect(engine="streaming")
        self.ledger.read(table.file, read.height + table.rejects.height)
        bad = read.with_row_index("row", offset=1).filter(pl.col(REASON).is_not_null())
        rejects = pl.concat(
            [
                table.rejects,
                bad.select(
                    pl.col("row").cast(pl.Int64),
                    pl.col(REASON).alias("reason"),
                    pl.struct(names).struct.json_encode().alias("content"),
                ),
            ]
        )
        if rejects.height:
            counts = dict(rejects["reason"].value_counts().iter_rows())
            self.ledger.reject(table.file, counts, rejects)
        return read.filter(pl.col(REASON).is_null()).select(names)

    def has(self, name: str, source: Source) -> bool:
        """Whether the table is there."""
        if isinstance(self.data, Mapping):
            return name in self.data
        return bool(find_files(self.data, source))

    def _open(self, name: str, source: Source, wanted: Sequence[str]) -> list[Table]:
        if isinstance(self.data, Mapping):
            frame = self.data.get(name)
            return [] if frame is None else [from_frame(name, frame, wanted)]
        tables = []
        for path in find_files(self.data, source):
            table = open_table(path, source, wanted)
            self.ledger.change(dict(table.notes))
            tables.append(table)
        return tables

    def _check(self, table: Table, wanted: Mapping[str, str]) -> Table:
        spared = [f"'{column}'" for column in table.missing if not wanted[column]]
        if spared:
            self.ledger.warn(f"{table.file} has no {', '.join(spared)}; going on without")
        for column in (c for c in table.missing if wanted[c]):
            mend = wanted[column]
            hint = nearest(column, table.columns) if table.columns else ""
            raise DataError(
                f"column '{column}' is missing from {table.file}; add it, or {mend}"
                f" in {self.schema_file}{hint}"
            )
        return table

    def _absent(self, name: str, source: Source) -> str:
        if isinstance(self.data, Mapping):
            return f"there is no frame '{name}'{nearest(name, self.data)}"
        if not self.data.exists():
            return f"there is no folder {self.data}"
        patterns = ", ".join(p for p in source.files if not p.startswith("!"))
        return (
            f"no file of {self.data} matches {patterns or 'anything'} (plain, .gz or .zst), which"
            f" {self.schema_file} names for {name}; put it there, or change files"
        )
