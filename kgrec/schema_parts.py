"""The tables that a schema is made of, and how a TOML table becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from kgrec.errors import SchemaError, nearest

FORMATS = (
    "auto", "csv", "tsv", "spaced", "jsonl", "python-literals", "parquet", "lists", "recbole",
)  # fmt: skip
PARTS = ("train", "validation", "test")
TIME_UNITS = ("s", "ms", "us", "ns", "iso")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a table lies and how its bytes are laid out."""

    files: tuple[str, ...] = ()
    """Glob patterns in the data folder; the first that matches is read, each plain, .gz or .zst;
    one that starts with ! excludes."""
    format: str = "auto"
    """One of `FORMATS`; `auto` goes by the file's name."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a file without a header."""
    separator: str | None = None
    """One character between fields, when it is not that of the format."""
    quote: bool = True
    """Whether a double quote protects separators in a CSV."""
    optional: bool = False
    """Whether the files may be absent."""
    optional_columns: tuple[str, ...] = ()
    """Columns that may be absent: reported, not an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionTable:
    """One table of interactions: a file of orders, one behaviour, one part of a split."""

    source: Source
    name: str = "interactions"
    user: str = "user"
    item: str = "item"
    time: str | None = None
    time_unit: str = "s"
    """s, ms, us, ns, iso, or a strptime format such as %d.%m.%Y."""
    position: str | None = None
    """Column that gives only the order within a user; used when there is no time."""
    file_order: bool = False
    """Whether the order of the rows is the order in time."""
    behaviour: str | None = None
    """Column that names the behaviour."""
    behaviour_is: str | None = None
    """The behaviour of every row, when no column says it."""
    weight: str | None = None
    part: str = "train"
    instead_of: tuple[str, ...] = ()
    """Read only when no table of these names found a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTable:
    """The table of items or of users."""

    source: Source
    id: str = "id"
    key: str | None = None
    """Column by which the other tables name a row, when it is not `id` (a remapped number)."""
    text: tuple[str, ...] = ()
    """Columns that make up the text, in order."""
    keep: tuple[str, ...] = ()
    """Further columns to keep for titles and filters."""
    taken_from: str | None = None
    """Name of the interaction table that carries the columns, when there are no files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationColumn:
    """A column of the items or users whose values are nodes."""

    name: str
    column: str
    table: str = "items"
    kind: str = "attribute"
    """`attribute`, or `item` when the values are ids of items."""
    node: str | None = None
    """Kind of the node; the column's name unless said."""
    split: str | None = None
    """What stands between several values, or `list` for lists."""
    match_case: bool = False
    """Whether `Nike` and `NIKE` are two nodes."""
    weight: float = 1.0
    may_leak: bool = False
    optional: bool = False
    """Whether the column may be absent."""
    outside: str = "entity"
    """Ids of kind `item` that the shop lacks: `entity` keeps them as nodes, `drop` counts them."""

    @property
    def tail(self) -> str:
        """Kind of the tail nodes; values of kind `item` that the shop lacks are `entity`."""
        return "item" if self.kind == "item" else self.node or self.column


@dataclass(frozen=True, slots=True, kw_only=True)
class TripleTable:
    """External triples; an end that is an item of the shop joins it, another is an `entity`."""

    source: Source
    name: str = "triples"
    head: str = "head"
    tail: str = "tail"
    relation: str | None = None
    relation_is: str | None = None
    weight: float = 1.0
    may_leak: tuple[str, ...] = ()
    """Names of relations that may hold what is held out; `*` is all."""
    outside: str = "entity"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTable:
    """Names of what other files call by number: `key` is the number, `id` the name."""

    source: Source
    id: str = "org_id"
    key: str = "remap_id"


def build(cls: type[T], row: Any, where: str, needed: Sequence[str] = ()) -> T:
    """Makes a dataclass of a TOML table; keys of `Source` are folded into its `source`.

    Args:
        cls: One of the dataclasses above.
        row: The TOML table.
        where: What to call it in messages.
        needed: Keys that must be there.

    Raises:
        SchemaError: A key is unknown or missing, or a value of the wrong type.
    """
    if not isinstance(row, Mapping):
        raise SchemaError(f"{where} must be a table")
    if "name" in row:
        where = f"{where} {row['name']}"
    hints = get_type_hints(cls)
    source_hints = get_type_hints(Source) if "source" in hints else {}
    own = {k: v for k, v in hints.items() if k != "source"}
    for key in row:
        if key not in own and key not in source_hints:
            raise SchemaError(f"{where}: unknown key '{key}'{nearest(key, [*own, *source_hints])}")
    for key in needed:
        if key not in row:
            raise SchemaError(f"{where}: key '{key}' is missing")
    values = {k: typed(v, (own | source_hints)[k], f"{where}: {k}") for k, v in row.items()}
    inner = {k: values.pop(k) for k in list(values) if k in source_hints}
    if source_hints:
        values["source"] = Source(**inner)
    return cls(**values)


def typed(value: Any, hint: Any, what: str) -> Any:
    """`value` as the type that a field asks for.

    Raises:
        SchemaError: It is of another type, or a number that is not above 0.
    """
    text = str(hint)
    if "tuple" in text:
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return tuple(value)
        raise SchemaError(f"{what} must be text or a list of texts")
    if hint is bool and not isinstance(value, bool):
        raise SchemaError(f"{what} must be true or false")
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise SchemaError(f"{what} must be a number above 0")
        return float(value)
    if hint is not bool and not isinstance(value, str):
        raise SchemaError(f"{what} must be text")
    return value
