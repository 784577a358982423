"""Rows of interactions: checked, coded and counted in batches, so that memory stays bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from kgrec.carried import Carried
from kgrec.errors import DataError
from kgrec.id_codes import Coder, Codes, key_of
from kgrec.interactions import TimeKind
from kgrec.node_tables import wanted_columns
from kgrec.readers import EXTRA, Table, reading
from kgrec.schema import Schema
from kgrec.schema_parts import InteractionTable, NodeTable
from kgrec.tables import Tables
from kgrec.times import unix_seconds, whole_number

BATCH_ROWS = 500_000
CODED = {
    "user": pl.Int32, "item": pl.Int32, "behaviour": pl.UInt8, "time": pl.Int64,
    "weight": pl.Float32,
}  # fmt: skip
_CARRIED, _KEY = "\x00carried.", "\x00key."
_MOST_BEHAVIOURS = 255


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that may be wrong with a row."""

    test: pl.Expr
    """Whether it is, over the columns that `RowReader` reads."""
    reason: str
    decides: bool = True
    """Whether a row can be bad by this alone; others only say better what another one found."""


@dataclass(slots=True)
class RowReader:
    """Reads the interaction tables of one shop into coded frames.

    Attributes:
        schema: What the columns mean.
        tables: Where the files are.
        time_range: Unix seconds [first, last) of a believable time.
        users: Codes of the users.
        items: Codes of the items.
        behaviours: Codes of the behaviours, first those that the schema weighs.
        carried: What interaction tables say of `items` and `users` on the way.
    """

    schema: Schema
    tables: Tables
    time_range: tuple[int, int]
    users: Coder = field(default_factory=Coder)
    items: Coder = field(default_factory=Coder)
    behaviours: Coder = field(default_factory=Coder)
    carried: dict[str, Carried] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.behaviours.code(pl.Series(list(self.schema.behaviours), dtype=pl.String))

    @property
    def behaviour_names(self) -> list[str]:
        """Names of the behaviours by their codes."""
        names: list[str] = self.behaviours.ids(
            np.arange(len(self.behaviours), dtype=np.int32)
        ).to_list()
        return names

    def read(self, part: str) -> tuple[pl.DataFrame | None, TimeKind]:
        """All rows of one part of the split.

        Returns:
            Columns user, item (Int32 codes), behaviour (UInt8), time (Int64), weight (Float32) in
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
        for kind, table in self._carried_by(spec):
            wanted = wanted_columns(kind, table, self.schema) | wanted
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

    def _carried_by(self, spec: InteractionTable) -> Iterator[tuple[str, NodeTable]]:
        """The tables of items and users whose columns stand in this one."""
        for kind in ("items", "users"):
            table: NodeTable | None = getattr(self.schema, kind)
            if table is not None and table.taken_from == spec.name:
                yield kind, table

    def _coded(
        self, spec: InteractionTable, table: Table, kind: TimeKind
    ) -> Iterator[pl.DataFrame]:
        read, faults = self._read(spec, table, kind)
        # Keys are made while the file is parsed, on the threads that parse it.
        ids = [c for c in read.collect_schema().names() if c.startswith(_CARRIED)]
        read = read.with_columns(
            *(key_of(name).alias(f"{_KEY}{name}") for name in ("user", "item", *ids)),
            bad=pl.any_horizontal(f.test.fill_null(False) for f in faults if f.decides),
        )
        bad = Counter[str](dict(table.rejects["reason"].value_counts().iter_rows()))
        rejects, n_rows = [table.rejects], table.rejects.height
        with reading(table.file):
            for batch in read.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                if kind == "position" and spec.position in (None, *table.missing):
                    batch = batch.with_columns(time=np.arange(n_rows, n_rows + batch.height))
                users, items = _code(self.users, batch, "user"), _code(self.items, batch, "item")
                self._carry(batch, items, users)
                rows = batch.select("behaviour", "time", "weight", "bad").with_columns(
                    user=users, item=items
                )
                if rows["bad"].any():
                    rejected = _rejected(batch, faults, n_rows - table.rejects.height)
                    bad.update(dict(rejected["reason"].value_counts().iter_rows()))
                    if self.tables.ledger.wants_rows:
                        rejects.append(rejected)
                    rows = rows.filter(~pl.col("bad"))
                n_rows += batch.height
                if not rows.is_empty():
                    yield self._finish(rows)
        self.tables.ledger.read(table.file, n_rows)
        if bad:
            self.tables.ledger.reject(table.file, bad, pl.concat(rejects).sort("row"))

    def _finish(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Usable rows as `CODED` has them."""
        behaviour = rows["behaviour"]
        if behaviour.dtype == pl.String:
            behaviour = pl.Series(self.behaviours.code(behaviour))
        if len(self.behaviours) > _MOST_BEHAVIOURS:
            raise DataError(
                f"there are more than {_MOST_BEHAVIOURS} behaviours; the schema's behaviour column "
                "is not one"
            )
        return rows.with_columns(behaviour=behaviour.to_physical()).select(
            pl.col(name).cast(dtype) for name, dtype in CODED.items()
        )

    def _carry(self, batch: pl.DataFrame, items: Codes, users: Codes) -> None:
        """Keeps what the rows say of their items and users."""
        for kind, codes, coder in (("items", items, self.items), ("users", users, self.users)):
            names = [c for c in batch.columns if c.startswith(f"{_CARRIED}{kind}.")]
            columns = {name: name.removeprefix(f"{_CARRIED}{kind}.") for name in names}
            carried = self.carried.setdefault(kind, Carried.of(columns.values())) if names else None
            for name, column in columns.items():
                if carried is not None:
                    values = _code(carried.codes[column], batch, name)
                    carried.add(column, codes, values, len(coder))

    def _read(
        self, spec: InteractionTable, table: Table, kind: TimeKind
    ) -> tuple[pl.LazyFrame, list[Fault]]:
        """Columns user, item, behaviour, time, weight, content (a struct of the file's own columns)
        and what is carried, as far as they can be read; and what may be wrong with a row."""
        names = table.frame.collect_schema().names()
        content = pl.col("content").struct
        empty = pl.all_horizontal(content.field(*names).is_null())
        faults = [Fault(empty, "empty row", decides=False)]
        if EXTRA in names:
            faults.append(Fault(content.field(EXTRA).is_not_null(), "too many fields"))
        for role in ("user", "item"):
            faults.append(Fault(pl.col(role).is_null(), f"no {role} id, or a row cut short"))
        time, time_faults = self._time(spec, table, kind)
        faults += time_faults
        behaviour, weight = pl.lit(spec.behaviour_is or "interaction"), pl.lit(1.0)
        if spec.behaviour and spec.behaviour in names:
            behaviour, known = _id(spec.behaviour), list(self.schema.behaviours)
            absent = _blank(content.field(spec.behaviour))
            faults.append(Fault(absent, "no behaviour, or a row cut short", decides=not known))
            if known:
                behaviour = behaviour.cast(pl.Enum(known), strict=False)
                lacking = pl.col("behaviour").is_null()
                faults.append(Fault(lacking, "behaviour that the schema lacks"))
        if spec.weight and spec.weight in names:
            weight, found = _number(spec.weight), pl.col("weight")
            unusable = found.is_null() | ~(found.is_finite() & (found >= 0))
            faults.append(Fault(unusable, "weight is not a number of 0 or more"))
        carried = {
            f"{_CARRIED}{nodes}.{column}": pl.col(column)
            for nodes, source in self._carried_by(spec)
            for column in wanted_columns(nodes, source, self.schema)
            if column in names and column != source.id
        }
        rows = table.frame.select(
            _id(spec.user).alias("user"),
            _id(spec.item).alias("item"),
            behaviour.alias("behaviour"),
            time.alias("time"),
            weight.alias("weight"),
            pl.struct(names).alias("content"),
            **carried,
        )
        return rows, faults

    def _time(
        self, spec: InteractionTable, table: Table, kind: TimeKind
    ) -> tuple[pl.Expr, list[Fault]]:
        """The time or position of each row, and what may be wrong with it."""
        found = pl.col("time")
        if kind == "seconds" and spec.time:
            unit = "s" if spec.time in table.seconds else spec.time_unit
            absent = _blank(pl.col("content").struct.field(spec.time))
            first, last = self.time_range
            return unix_seconds(spec.time, unit), [
                Fault(absent, "no time, or a row cut short", decides=False),
                Fault(found.is_null(), "time that cannot be read"),
                Fault((found < first) | (found >= last), "time out of range"),
            ]
        if kind == "position" and spec.position and spec.position not in table.missing:
            position = whole_number(pl.col(spec.position))
            return position, [Fault(found.is_null(), "position that is not a number")]
        return pl.lit(0, pl.Int64), []


def _rejected(batch: pl.DataFrame, faults: list[Fault], before: int) -> pl.DataFrame:
    """Row (counted from 1 in the file), reason and content (JSON) of the bad rows of a batch."""
    rows = batch.with_row_index("row").filter("bad")
    kept = [name for name in rows["content"].struct.fields if name != EXTRA]
    content = pl.struct(pl.col("content").struct.field(*kept)).struct.json_encode()
    return rows.select(
        pl.col("row").cast(pl.Int64) + before + 1,
        pl.coalesce(pl.when(fault.test).then(pl.lit(fault.reason)) for fault in faults).alias(
            "reason"
        ),
        content.alias("content"),
    )


def _code(coder: Coder, batch: pl.DataFrame, name: str) -> Codes:
    return coder.code(batch[name], batch[f"{_KEY}{name}"])


def _blank(text: pl.Expr) -> pl.Expr:
    return text.is_null() | (text.str.strip_chars() == "")


def _number(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)


def _id(column: str) -> pl.Expr:
    """An id as it stands; null when it is blank."""
    return pl.col(column).map_batches(_not_blank, return_dtype=pl.String, is_elementwise=True)


def _not_blank(text: pl.Series) -> pl.Series:
    """The same of some rows; blanks are looked for only where a text begins with no sign of ASCII
    that one can see."""
    if text.is_between("!", "\x7f", closed="left").all():
        return text
    return pl.select(pl.when(text.str.strip_chars() != "").then(text)).to_series()
