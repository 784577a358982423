"""Tables of items and users: one row an id, with the raw columns and the cleaned ones."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from kgrec.clean import clean_text, compose, join_lists
from kgrec.schema import Schema
from kgrec.schema_parts import NodeTable
from kgrec.tables import Tables


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the items' or the users' table says, one row an id, in the order of the file."""

    ids: pl.Series
    """What the caller calls each, String, (n,)."""
    keys: pl.Series
    """What the other tables call each, String, (n,)."""
    raw: pl.DataFrame
    """Columns of relations and text as they stand, String, (n rows)."""

    def __len__(self) -> int:
        return len(self.ids)


def read_nodes(kind: str, schema: Schema, tables: Tables) -> Nodes:
    """Reads the table of `items` or `users`; without rows when the shop has no files of it.

    Rows of one id are merged: of each column the first value that is there stays.

    Raises:
        DataError: A file is absent, damaged or lacks a column.
    """
    table: NodeTable | None = getattr(schema, kind)
    frame = None
    if table is not None and table.taken_from is None:
        wanted = wanted_columns(kind, table, schema)
        required = list(dict.fromkeys([table.id, table.key or table.id]))
        frame = tables.read(kind, table.source, wanted, required, table.source.optional)
    if table is None or frame is None:
        empty = pl.Series("id", [], pl.String)
        return Nodes(empty, empty, pl.DataFrame())
    merged = frame.group_by(table.id, maintain_order=True).agg(pl.all().drop_nulls().first())
    tables.ledger.change(
        {f"rows of {kind} merged into another of the same id": frame.height - merged.height}
    )
    return Nodes(merged[table.id], merged[table.key or table.id], merged)


def wanted_columns(kind: str, table: NodeTable, schema: Schema) -> dict[str, str]:
    """Columns to read, each with the mend when it is missing (see `Tables.open`)."""
    mends: dict[str, list[str]] = {table.id: [f"set id in [{kind}]"]}
    if table.key:
        mends[table.key] = [f"set key in [{kind}]"]
    spared = set(table.source.optional_columns)
    for relation in schema.relations:
        if relation.table == kind:
            mend = mends.setdefault(relation.column, [])
            if not relation.optional and relation.column not in spared:
                mend.append(f"delete [[relation]] {relation.name}")
    for role in ("text", "keep"):
        for column in getattr(table, role):
            mend = mends.setdefault(column, [])
            if column not in spared:
                mend.append(f"take it out of {role} in [{kind}]")
    return {column: " and ".join(mend) for column, mend in mends.items()}


def clean_table(
    kind: str, ids: pl.Series, raw: pl.DataFrame, schema: Schema, tables: Tables
) -> tuple[pl.DataFrame, pl.Series | None]:
    """The cleaned columns for people and filters, and the text of each row.

    Args:
        kind: `items` or `users`.
        ids: All ids, (n,).
        raw: Raw columns, (n rows).
        schema: What they mean.
        tables: Carries the ledger.

    Returns:
        Column `item_id` or `user_id`, then each text, kept and attribute column, String, lists
        joined by a comma; and the text, String, (n,), '' for none, or None when no column of the
        table is text.
    """
    table: NodeTable | None = getattr(schema, kind)
    columns = {f"{kind[:-1]}_id": ids}
    if table is None:
        return pl.DataFrame(columns), None
    relations = [r for r in schema.relations if r.table == kind and r.kind == "attribute"]
    shown = dict.fromkeys([*table.text, *table.keep, *(r.column for r in relations)])
    for column in (c for c in shown if c in raw.columns and c not in (table.id, table.key)):
        split = next((r.split for r in relations if r.column == column), None)
        cleaned, changed = clean_text(join_lists(raw[column], split))
        tables.ledger.change(changed)
        columns[column] = cleaned.alias(column)
    texts = [columns[c] for c in table.text if c in columns and columns[c].null_count() < len(ids)]
    return pl.DataFrame(columns), compose(texts, len(ids)) if texts else None
