"""Estimates for tables that are still to be read: from bytes of files and their first rows."""

from __future__ import annotations

import math
from pathlib import Path

from kgrec.errors import DataError
from kgrec.needs import Estimate, TableShape, prepare_needs
from kgrec.readers import find_files, open_table
from kgrec.schema import Schema
from kgrec.schema_parts import InteractionTable, Source

_FIRST_BYTES = 2**23
_FIRST_ROWS = 100_000
_PACKED = {".gz": "gzip", ".zst": "zstd"}


def estimate_prepare(data: Path, schema: Schema) -> Estimate:
    """What `kgrec prepare` needs, within the bounds of what the first rows tell of the others.

    Args:
        data: The folder of the tables, or one file.
        schema: How they are read.

    Raises:
        DataError: A file cannot be read.
    """
    n_rows, n_ids, others = 0.0, 0.0, 0.0
    for table in schema.interactions:
        for file in find_files(data, table.source):
            rows = _rows(file, table)
            n_rows += rows
            n_ids += _ids(file, table, rows)
    names = (schema.entity_names, schema.relation_names, schema.items, schema.users)
    sources: list[Source] = [part.source for part in (*schema.triples, *names) if part is not None]
    for file in {file for source in sources for file in find_files(data, source)}:
        others += _unpacked(file)
    shape = TableShape(n_rows=n_rows, n_ids=n_ids, other_bytes=int(others))
    return prepare_needs(shape)


def _unpacked(file: Path) -> float:
    """Bytes of a file once unpacked, by how well its beginning was packed."""
    size = file.stat().st_size
    if file.suffix not in _PACKED or not size:
        return float(size)
    return size * _first(file)[1]


def _first(file: Path) -> tuple[bytes, float]:
    """The first bytes of a file, unpacked, and how many of these a byte of the file gave."""
    if file.suffix not in _PACKED:
        with file.open("rb") as plain:
            return plain.read(_FIRST_BYTES), 1.0
    import pyarrow as pa

    with pa.OSFile(str(file)) as raw:
        try:
            with pa.CompressedInputStream(raw, _PACKED[file.suffix]) as stream:
                begun = stream.read(_FIRST_BYTES)
                return begun, len(begun) / max(raw.tell(), 1)
        except OSError as error:
            raise DataError(f"{file.name} cannot be read: {error}") from error


def _rows(file: Path, table: InteractionTable) -> float:
    """Rows of an interaction table, by the length of its first lines; of Parquet as it says."""
    if file.suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return float(pq.read_metadata(file).num_rows)
    begun, ratio = _first(file)
    lines = begun.count(b"\n") + (not begun.endswith(b"\n"))
    if table.source.format == "lists":  # a user and then the items
        lines = max(begun.count(b" ") + begun.count(b"\t"), lines)
    total = len(begun) if len(begun) < _FIRST_BYTES else file.stat().st_size * ratio
    return lines * total / max(len(begun), 1)


def _ids(file: Path, table: InteractionTable, n_rows: float) -> float:
    """Users and items of a table: as they grow within its first rows, they are taken to grow on."""
    first = (
        open_table(file, table.source, [table.user, table.item]).frame.head(_FIRST_ROWS).collect()
    )
    total, n = 0.0, first.height
    for column in (table.user, table.item):
        if column not in first.columns or n < 4:
            continue
        quarter, half, every = (first[column].head(n // part).n_unique() for part in (4, 2, 1))
        total += min(every * _grown(quarter, half, every, n_rows / n), n_rows)
    return total


def _grown(quarter: int, half: int, every: int, times: float) -> float:
    """By what factor distinct ids grow when rows grow by another.

    As by Heaps' law, but with a power that falls as it fell last, by the same with each doubling
    of the rows: a catalogue ends.
    """
    before, power = math.log2(half / quarter), min(math.log2(every / half), 1.0)
    decline, doublings = max(before - power, 0.0), math.log2(max(times, 1.0))
    if decline:
        doublings = min(doublings, power / decline)
    return float(2 ** (doublings * (power - decline * (doublings + 1) / 2)))
