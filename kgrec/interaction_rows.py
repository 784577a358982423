"""Rows of interactions: checked, coded and counted in batches, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from kgrec.errors import DataError
from kgrec.interactions import TimeKind
from kgrec.readers import EXTRA, Table, reading
from kgrec.schema import Schema
from kgrec.schema_parts import InteractionTable
from kgrec.tables import Tables

BATCH_ROWS = 500_000
ROW = "\x00row"
CODED = {
    "user": pl.UInt32, "item": pl.UInt32, "behaviour": pl.UInt8, "time": pl.Int64,
    "weight": pl.Float32,
}  # fmt: skip
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


class Coder:
    """Gives every id it sees a number, 32 bits instead of a text a row."""

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        # polars forgets the codes of a type when the last series of it goes.
        self._alive = pl.Series([], dtype=self._type)

    def code(self, ids: pl.Series) -> pl.Series:
        """Code of each id, UInt32, (n,)."""
        return ids.cast(self._type).to_physical()

    def ids(self, codes: pl.Series) -> pl.Series:
        """The ids of codes that `code` gave, String, (n,)."""
        return codes.cat.to(self._type).cast(pl.String)


@dataclass(slots=True)
class RowReader:
    """Reads the interaction tables of one shop into coded frames.

    Attributes:
        schema: What the columns mean.
        tables: Where the files are.
        time_range: Unix seconds [first, last) of a believable time.
        users: Codes of the users.
        items: Codes of the items.
        behaviours: Names of the behaviours seen so far, or those the schema weighs.
    """

    schema: Schema
    tables: Tables
    time_range: tuple[int, int]
    users: Coder = field(default_factory=Coder)
    items: Coder = field(default_factory=Coder)
    behaviours: list[str] = field(default_factory=list)

    def read(self, part: str) -> tuple[pl.DataFrame | None, TimeKind]:
        """All rows of one part of the split.

        Returns:
            Columns user, item (UInt32 codes), behaviour (UInt8), time (Int64), weight (Float32) in
            the order of the files, None when the shop has no such part; and what the times are.

        Raises:
            DataError: A file is absent, damaged, lacks a column, or two tables of the part
                disagree on whether there is a time.
        """
        frames: list[pl.DataFrame] = []
        kinds: dict[TimeKind, str] = {}
        for spec in self.schema.interactions:
            if spec.part != part:
                continue
            for table in self._open(spec):
                kind, batches = self._rows(spec, table)
                frames.extend(batches)
                kinds[kind] = table.file
        if len(kinds) > 1:
            said = ", ".join(f"{file} has {kind}" for kind, file in kinds.items())
            raise DataError(f"tables of one part must have the same kind of time: {said}")
        if not kinds:
            return None, "none"
        return pl.concat([pl.DataFrame(schema=CODED), *frames]), next(iter(kinds))

    def _open(self, spec: InteractionTable) -> list[Table]:
        if any(self._has(name) for name in spec.instead_of):
            return []
        wanted: dict[str, str] = {}
        for role in ("user", "item", "time", "position", "behaviour", "weight"):
            column = getattr(spec, role)
            if column is not None:
                may_lack = column in spec.source.optional_columns
                wanted[column] = "" if may_lack else f"set {role} in [[interactions]] {spec.name}"
        optional = spec.source.optional or self._replaced(spec.name)
        return self.tables.open(spec.name, spec.source, wanted, optional)

    def _has(self, name: str) -> bool:
        return any(
            self.tables.has(spec.name, spec.source)
            for spec in self.schema.interactions
            if spec.name == name
        )

    def _replaced(self, name: str) -> bool:
        """Whether another table, which is there, stands in for this one."""
        return any(
            name in spec.instead_of and self.tables.has(spec.name, spec.source)
            for spec in self.schema.interactions
        )

    def _rows(
        self, spec: InteractionTable, table: Table
    ) -> tuple[TimeKind, Iterator[pl.DataFrame]]:
        kind: TimeKind = "none"
        if spec.time and spec.time not in table.missing:
            kind = "seconds"
        elif (spec.position and spec.position not in table.missing) or spec.file_order:
            kind = "position"
        return kind, self._coded(spec, table, kind)

    def _coded(
        self, spec: InteractionTable, table: Table, kind: TimeKind
    ) -> Iterator[pl.DataFrame]:
        checked = self._checked(spec, table, kind)
        ledger = self.tables.ledger
        bad: dict[str, int] = dict(table.rejects["reason"].value_counts().iter_rows())
        n_rows = table.rejects.height
        with reading(table.file):
            for batch in checked.drop(ROW, "content").collect_batches(
                chunk_size=BATCH_ROWS, maintain_order=True
            ):
                good = batch.filter(pl.col("reason").is_null())
                if good.height < batch.height:
                    for reason, n in batch["reason"].drop_nulls().value_counts().iter_rows():
                        bad[reason] = bad.get(reason, 0) + n
                if kind == "position" and spec.position in (None, *table.missing):
                    good = good.with_columns(time=np.arange(n_rows, n_rows + good.height))
                n_rows += batch.height
                if not good.is_empty():
                    yield self._code(good)
            rejects = None
            if bad and ledger.wants_rows:
                rejects = self._rejected(checked, table)
        ledger.read(table.file, n_rows)
        if bad:
            ledger.reject(table.file, bad, rejects)

    def _rejected(self, checked: pl.LazyFrame, table: Table) -> pl.DataFrame:
        """The rejected rows of a file, by a second pass that few files need."""
        rows = checked.filter(pl.col("reason").is_not_null()).select(
            (pl.col(ROW) + 1).cast(pl.Int64).alias("row"),
            "reason",
            pl.col("content").struct.json_encode().alias("content"),
        )
        return pl.concat([table.rejects, rows.collect(engine="streaming")]).sort("row")

    def _code(self, rows: pl.DataFrame) -> pl.DataFrame:
        for name in rows["behaviour"].unique(maintain_order=True).to_list():
            if name not in self.behaviours:
                self.behaviours.append(name)
        if len(self.behaviours) > 255:
            raise DataError(
                "there are more than 255 behaviours; the schema's behaviour column is not one"
            )
        number = {name: at for at, name in enumerate(self.behaviours)}
        return rows.select(
            self.users.code(rows["user"]).alias("user"),
            self.items.code(rows["item"]).alias("item"),
            pl.col("behaviour").replace_strict(number, return_dtype=pl.UInt8),
            pl.col("time").cast(pl.Int64),
            "weight",
        )

    def _checked(self, spec: InteractionTable, table: Table, kind: TimeKind) -> pl.LazyFrame:
        """Columns user, item, behaviour, time, weight, reason (null when usable), row, content."""
        names = table.frame.collect_schema().names()
        user, item = _id(spec.user), _id(spec.item)
        reasons = [
            (pl.all_horizontal(pl.col(names).is_null()), "empty row"),
            (pl.col(EXTRA).is_not_null() if EXTRA in names else pl.lit(False), "too many fields"),
            (user.is_null(), "no user id, or a row cut short"),
            (item.is_null(), "no item id, or a row cut short"),
        ]
        time, checks = self._time(spec, table, kind)
        reasons += checks
        behaviour: pl.Expr = pl.lit(spec.behaviour_is or "interaction")
        if spec.behaviour and spec.behaviour in names:
            behaviour = _id(spec.behaviour)
            known = list(self.schema.behaviours)
            reasons.append((behaviour.is_null(), "no behaviour, or a row cut short"))
            if known:
                reasons.append((~behaviour.is_in(known), "behaviour that the schema lacks"))
        weight: pl.Expr = pl.lit(1.0)
        if spec.weight and spec.weight in names:
            weight = pl.col(spec.weight).str.strip_chars().cast(pl.Float64, strict=False)
            usable = weight.is_finite() & (weight >= 0)
            reasons.append((~usable.fill_null(False), "weight is not a number of 0 or more"))
        content = [c for c in names if c != EXTRA]
        return table.frame.with_row_index(ROW).select(
            user.alias("user"),
            item.alias("item"),
            behaviour.alias("behaviour"),
            time.alias("time"),
            weight.cast(pl.Float32).alias("weight"),
            pl.coalesce(pl.when(test).then(pl.lit(why)) for test, why in reasons).alias("reason"),
            ROW,
            pl.struct(content).alias("content"),
        )

    def _time(
        self, spec: InteractionTable, table: Table, kind: TimeKind
    ) -> tuple[pl.Expr, list[tuple[pl.Expr, str]]]:
        """The time or position of each row, and what may be wrong with it."""
        if kind == "seconds" and spec.time:
            unit = "s" if spec.time in table.seconds else spec.time_unit
            raw, time = _id(spec.time), _seconds(spec.time, unit)
            first, last = self.time_range
            return time, [
                (raw.is_null(), "no time, or a row cut short"),
                (time.is_null(), "time that cannot be read"),
                ((time < first) | (time >= last), "time out of range"),
            ]
        if kind == "position" and spec.position and spec.position not in table.missing:
            position = _integer(pl.col(spec.position).str.strip_chars())
            return position, [(position.is_null(), "position that is not a number")]
        return pl.lit(0, pl.Int64), []


def _id(column: str) -> pl.Expr:
    """An id as it stands; null when it is blank."""
    return pl.when(pl.col(column).str.strip_chars() != "").then(pl.col(column))


def _integer(text: pl.Expr) -> pl.Expr:
    as_float = text.cast(pl.Float64, strict=False).floor().cast(pl.Int64, strict=False)
    return pl.coalesce(text.cast(pl.Int64, strict=False), as_float)


def _seconds(column: str, unit: str) -> pl.Expr:
    """Unix seconds, floored; null where the text is not a time. No zone means UTC."""
    text = pl.col(column).str.strip_chars()
    if unit in _PER_SECOND:
        return _integer(text) // _PER_SECOND[unit]
    if unit != "iso":
        return text.str.strptime(pl.Datetime("us"), unit, strict=False).dt.epoch("s")
    plain = text.str.replace("T", " ", literal=True).str.replace(r"\s*(Z|[+-]00:?00)$", "")
    zoned = text.str.replace("T", " ", literal=True).str.strptime(
        pl.Datetime("us", "UTC"), "%Y-%m-%d %H:%M:%S%.f%#z", strict=False
    )
    naive = [plain.str.strptime(pl.Datetime("us"), form, strict=False) for form in _ISO]
    return pl.coalesce(*(time.dt.epoch("s") for time in naive), zoned.dt.epoch("s"))
