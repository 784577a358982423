"""Files of a shop as lazy frames of text columns, whatever their format and compression."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import polars as pl

from kgrec.errors import DataError
from kgrec.literals import REJECTS, read_lines
from kgrec.schema_parts import Source

EXTRA = "\x00extra"
"""Column that catches what stands past the last field of a row."""
COMPRESSIONS = ("", ".gz", ".zst")
_BY_SUFFIX = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet", ".inter": "recbole", ".item": "recbole",
    ".user": "recbole", ".kg": "recbole", ".link": "recbole",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """One file, opened but not read."""

    file: str
    """Its name, for messages."""
    frame: pl.LazyFrame
    """The wanted columns that are there, each String: lists and mappings as JSON text, times of a
    typed file as unix seconds. May have `EXTRA`."""
    columns: tuple[str, ...]
    """Names of all columns of the file."""
    missing: tuple[str, ...] = ()
    """Wanted columns that the file lacks."""
    seconds: frozenset[str] = frozenset()
    """Columns that were typed as times and are unix seconds now."""
    rejects: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTS))
    """Lines that could not be parsed: row, reason, content."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Lines that a rule of the format passed over, by rule."""


def find_files(data: Path, source: Source) -> list[Path]:
    """Files of a table, in the order of their names; empty when there are none.

    The first pattern that matches anything is taken, tried plain, .gz and .zst. When `data` is
    itself a file, it is the only one there is.
    """
    folder = data if data.is_dir() else data.parent
    excluded = [p[1:] for p in source.files if p.startswith("!")]
    for pattern in (p for p in source.files if not p.startswith("!")):
        found = {path for end in COMPRESSIONS for path in folder.glob(pattern + end)}
        kept = sorted(
            path
            for path in found
            if path.is_file()
            and (data.is_dir() or path == data)
            and not any(fnmatch(path.name, e + end) for e in excluded for end in COMPRESSIONS)
        )
        if kept:
            return kept
    return []


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turns what polars raises while reading `file` into a DataError that names it."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise DataError(f"{file} is empty") from None
    except OSError as error:
        said = str(error)
        if "unexpected end of file" in said or "incomplete" in said.lower():
            said = "the compressed file ends too early; it was cut short, fetch it again"
        raise DataError(f"{file} cannot be read: {said}") from error
    except pl.exceptions.PolarsError as error:
        said = str(error).split("\n", 1)[0][:200]
        mend = (
            "; if quotes mean nothing in it, set quote = false"
            if any(word in str(error) for word in ("escaped", "malformed"))
            else ""
        )
        raise DataError(f"{file} cannot be read: {said}{mend}") from error


def open_table(path: Path, source: Source, wanted: Sequence[str]) -> Table:
    """Opens one file for its wanted columns.

    Args:
        path: The file.
        source: How it is laid out.
        wanted: Columns; `a.b` is key b of the mapping in column a when there is no column `a.b`.

    Raises:
        DataError: The file is empty, damaged or not of its format.
    """
    kind = _format(path, source)
    with reading(path.name):
        if not path.stat().st_size:
            raise pl.exceptions.NoDataError
        if kind in ("jsonl", "python-literals"):
            return _open_lines(path, kind, wanted)
        if kind == "parquet":
            return from_frame(path.name, pl.scan_parquet(path, glob=False), wanted)
        if kind == "lists":
            return _open_lists(path, wanted)
        if kind == "spaced":
            return _open_spaced(path, source, wanted)
        return _open_delimited(path, kind, source, wanted)


def from_frame(file: str, frame: pl.LazyFrame, wanted: Sequence[str]) -> Table:
    """Opens a frame with typed columns; see `open_table`."""
    schema = frame.collect_schema()
    roots, nested, missing = _resolve(schema.names(), wanted)
    seconds: set[str] = set()
    columns: list[pl.Expr] = []
    for name in roots:
        dtype = schema[name]
        if dtype in (pl.Datetime, pl.Date):
            seconds.add(name)
            columns.append(pl.col(name).cast(pl.Datetime("us")).dt.epoch("s").cast(pl.String))
        else:
            columns.append(_typed_as_text(name, dtype))
    return Table(
        file,
        _pick(frame.select(columns), nested, wanted),
        tuple(schema.names()),
        missing,
        frozenset(seconds),
    )


def _typed_as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Struct:
        return column.struct.json_encode()
    if isinstance(dtype, pl.List | pl.Array):
        wrapped = pl.struct(column.alias("v")).struct.json_encode()
        return wrapped.str.json_path_match("$.v").alias(name)
    if dtype.is_float():
        # A frame turns whole numbers into floats as soon as one is absent: 7.0 was the id 7.
        whole = column.is_finite() & (column == column.round()) & (column.abs() < 2**53)
        as_int = column.cast(pl.Int64, strict=False).cast(pl.String)
        other = pl.when(column.is_not_nan()).then(column.cast(pl.String))
        return pl.when(whole).then(as_int).otherwise(other).alias(name)
    return column.cast(pl.String)


def _format(path: Path, source: Source) -> str:
    if source.format != "auto":
        return source.format
    name = path.name
    for end in COMPRESSIONS[1:]:
        name = name.removesuffix(end)
    suffix = Path(name).suffix
    if suffix not in _BY_SUFFIX:
        raise DataError(f"the format of {path.name} cannot be told from its name; set format")
    return _BY_SUFFIX[suffix]


def _open_lines(path: Path, kind: str, wanted: Sequence[str]) -> Table:
    """JSON lines by the columnar reader; line by line when one of them is not JSON."""
    roots = list(dict.fromkeys(name.split(".", 1)[0] for name in wanted))
    rejects = pl.DataFrame(schema=REJECTS)
    frame = pl.scan_ndjson(path, schema=dict.fromkeys(roots, pl.String))
    try:
        if kind == "python-literals":
            raise pl.exceptions.ComputeError("read line by line")
        # One pass to see every line parse and which keys occur at all.
        filled = frame.select(pl.len().alias(EXTRA), pl.col(roots).count()).collect(
            engine="streaming"
        )
    except pl.exceptions.ComputeError:
        table, rejects = read_lines(path, roots, python=kind == "python-literals")
        frame, filled = table.lazy(), table.select(pl.len().alias(EXTRA), pl.col(roots).count())
    counts = filled.row(0, named=True)
    present = [name for name in roots if counts[name] or not counts[EXTRA]]
    _, nested, missing = _resolve(present, wanted)
    return Table(
        path.name,
        _pick(frame.select(present), nested, wanted),
        tuple(present),
        missing,
        rejects=rejects,
    )


def _open_lists(path: Path, wanted: Sequence[str]) -> Table:
    """Lines of a user and then the user's items, as a frame `user`, `item`."""
    fields = pl.scan_lines(path, glob=False).select(
        pl.col("line").str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ").alias("f")
    )
    alone = fields.select((pl.col("f").list.len() < 2).sum()).collect(engine="streaming").item()
    pairs = (
        fields.filter(pl.col("f").list.len() > 1)
        .select(pl.col("f").list.first().alias("user"), pl.col("f").list.slice(1).alias("item"))
        .explode("item")
    )
    _, nested, missing = _resolve(["user", "item"], wanted)
    notes = {"users listed with no item": int(alone)} if alone else {}
    return Table(path.name, _pick(pairs, nested, wanted), ("user", "item"), missing, notes=notes)


def _open_spaced(path: Path, source: Source, wanted: Sequence[str]) -> Table:
    """Blank-separated fields; the first column takes the blanks that are left over."""
    lines = pl.scan_lines(path, glob=False)
    names, skip = list(source.columns), 0
    if not names:
        first = lines.head(1).collect()
        if not first.height:
            raise pl.exceptions.NoDataError
        names, skip = str(first.item()).split(), 1
    pattern = r"^(.*?)" + r"\s+(\S+)" * (len(names) - 1) + r"\s*$"
    groups = pl.col("line").str.extract_groups(pattern).struct.rename_fields(names)
    frame = lines.slice(skip).select(groups.alias("f")).unnest("f")
    _, nested, missing = _resolve(names, wanted)
    return Table(path.name, _pick(frame, nested, wanted), tuple(names), missing)


def _open_delimited(path: Path, kind: str, source: Source, wanted: Sequence[str]) -> Table:
    separator = source.separator or ("," if kind == "csv" else "\t")
    quote = '"' if kind == "csv" and source.quote else None
    names = list(source.columns)
    if not names:
        header = pl.scan_csv(
            path, separator=separator, quote_char=quote, infer_schema=False, glob=False,
            encoding="utf8-lossy", truncate_ragged_lines=True,
        )  # fmt: skip
        names = header.collect_schema().names()
        if kind == "recbole":
            names = [re.sub(r":[a-z_]+$", "", name) for name in names]
    frame = pl.scan_csv(
        path,
        has_header=False,
        skip_rows=0 if source.columns else 1,
        separator=separator,
        quote_char=quote,
        schema=dict.fromkeys([*names, EXTRA], pl.String),
        truncate_ragged_lines=True,
        missing_columns="insert",
        raise_if_empty=bool(source.columns),
        encoding="utf8-lossy",
        glob=False,
    )
    _, nested, missing = _resolve(names, wanted)
    return Table(path.name, _pick(frame, nested, wanted, EXTRA), tuple(names), missing)


def _resolve(
    names: Sequence[str], wanted: Sequence[str]
) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """Columns to read, the JSON path of each nested one, and those that are not there."""
    roots: list[str] = []
    nested: dict[str, str] = {}
    missing: list[str] = []
    for name in wanted:
        root, _, rest = name.partition(".")
        if name in names:
            roots.append(name)
        elif rest and root in names:
            roots.append(root)
            nested[name] = "$" + "".join(f"['{key}']" for key in rest.split("."))
        else:
            missing.append(name)
    return list(dict.fromkeys(roots)), nested, tuple(missing)


def _pick(
    frame: pl.LazyFrame, nested: Mapping[str, str], wanted: Sequence[str], *also: str
) -> pl.LazyFrame:
    """The wanted columns that `frame` has, nested ones taken out of their mappings."""
    have = frame.collect_schema().names()
    columns = [
        pl.col(name.partition(".")[0]).str.json_path_match(nested[name]).alias(name)
        if name in nested
        else pl.col(name)
        for name in dict.fromkeys(wanted)
        if name in nested or name in have
    ]
    return frame.select(*columns, *also)
