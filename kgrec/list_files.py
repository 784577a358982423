"""Files of ranked lists: Parquet, CSV or JSON lines, by suffix, written a table at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from kgrec.atomic import claim, disk_space, replace_file
from kgrec.errors import ConfigError

SCHEMA = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()),
     ("score", pa.float32()), ("rank", pa.int32())]
)  # fmt: skip

Write = Callable[[pl.DataFrame], object]


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        yield lambda table: writer.write_table(table.to_arrow().cast(SCHEMA))


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("wb") as handle:
        handle.write((",".join(SCHEMA.names) + "\n").encode())
        yield lambda table: table.write_csv(handle, include_header=False)


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("wb") as handle:
        yield lambda table: table.write_ndjson(handle)


WRITERS: dict[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
}


def check_suffix(out: Path, suffix: str) -> None:
    """Refuses a suffix that lists are not written as.

    Raises:
        ConfigError: The suffix, that of `out` or of the files in it, is none of the three.
    """
    if suffix not in WRITERS:
        raise ConfigError(f"lists are written as {', '.join(WRITERS)}; {out} ends in none of them")


def write_table(out: Path, table: pl.DataFrame) -> None:
    """Writes lists that stand in memory: whole, by the suffix, as `write_lists` does.

    Raises:
        ConfigError: The suffix is none that lists have.
        KgrecError: The disk is full.
        ArtefactError: Another process is writing `out`.
    """
    check_suffix(out, out.suffix)
    with (
        disk_space(out),
        claim(out),
        replace_file(out) as beside,
        WRITERS[out.suffix](beside) as w,
    ):
        w(table)
