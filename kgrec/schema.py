"""A shop's schema: which column is a user, an item, a time, a text, a relation; data, not code."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgrec.errors import SchemaError, nearest
from kgrec.schema_parts import (
    FORMATS,
    PARTS,
    TIME_UNITS,
    InteractionTable,
    NameTable,
    NodeTable,
    RelationColumn,
    Source,
    TripleTable,
    build,
    typed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What the columns of a shop mean; see graph/README.md for how to write one."""

    name: str
    file: str = "the schema"
    """File that it was read from, for messages."""
    description: str = ""
    interactions: tuple[InteractionTable, ...]
    items: NodeTable | None = None
    users: NodeTable | None = None
    relations: tuple[RelationColumn, ...] = ()
    triples: tuple[TripleTable, ...] = ()
    entity_names: NameTable | None = None
    relation_names: NameTable | None = None
    entity_items: NameTable | None = None
    """Which entity of the triples (`key`) is which item (`id`): RecBole's .link."""
    behaviours: Mapping[str, float] = field(default_factory=dict)
    target: str | None = None
    time_range: tuple[int, int] = (631152000, 4102444800)
    """Unix seconds [first, last) of a believable time: 1990 to 2100 unless said."""

    @staticmethod
    def load(name_or_path: str | Path) -> Schema:
        """A shipped schema by name, or one from a TOML file.

        Raises:
            SchemaError: No such schema, or it cannot be meant.
        """
        path = Path(name_or_path)
        if path.suffix != ".toml" and not path.is_file():
            folder = shipped_folder()
            names = [p.stem for p in folder.glob("*.toml")]
            if str(name_or_path) not in names:
                raise SchemaError(
                    f"unknown schema '{name_or_path}'{nearest(str(name_or_path), names)}"
                    " (or give the path of a .toml file)"
                )
            path = folder / f"{name_or_path}.toml"
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise SchemaError(f"there is no schema file {path}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path.name} is not valid TOML: {error}") from error
        return Schema.from_dict({"name": path.stem} | table, file=path.name)

    @staticmethod
    def from_dict(table: Mapping[str, Any], file: str = "the schema") -> Schema:
        """Checks and freezes what a TOML file says.

        Args:
            table: Its content, as `tomllib` gives it.
            file: What to call it in messages.

        Raises:
            SchemaError: A key is unknown or missing, a value of the wrong type, or two clash.
        """
        return _parse(table, file)


def shipped_folder() -> Path:
    """The folder of the schemas that come with kgrec, installed or in a checkout."""
    installed = Path(__file__).parent / "schemas"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "graph"


def _parse(table: Mapping[str, Any], file: str) -> Schema:
    tables: dict[str, Any] = {
        "interactions": (InteractionTable, True, ()),
        "items": (NodeTable, False, ("id",)),
        "users": (NodeTable, False, ("id",)),
        "relation": (RelationColumn, True, ("name", "column")),
        "triples": (TripleTable, True, ()),
        "entity_names": (NameTable, False, ()),
        "relation_names": (NameTable, False, ()),
        "entity_items": (NameTable, False, ("id", "key")),
    }
    plain = ("name", "description", "behaviours", "target", "time_range")
    for key in table:
        if key not in tables and key not in plain:
            raise SchemaError(f"{file}: unknown key '{key}'{nearest(key, [*tables, *plain])}")
    made: dict[str, Any] = {}
    for key, (cls, several, needed) in tables.items():
        if key not in table:
            continue
        given = table[key]
        if several != isinstance(given, list):
            raise SchemaError(f"{file}: write {'[[' + key + ']]' if several else '[' + key + ']'}")
        rows = given if several else [given]
        label = f"[[{key}]]" if several else f"[{key}]"
        built = tuple(build(cls, row, f"{file}, {label}", needed) for row in rows)
        made["relations" if key == "relation" else key] = built if several else built[0]
    if "interactions" not in made:
        raise SchemaError(
            f"{file}: [[interactions]] is missing; it names the user and item columns"
        )
    for key in ("name", "description", "target"):
        if key in table:
            made[key] = typed(table[key], str, f"{file}: {key}")
    if "time_range" in table:
        made["time_range"] = _time_range(table["time_range"], file)
    behaviours = _weights(table.get("behaviours", {}), file)
    schema = Schema(**({"name": "shop"} | made), file=file, behaviours=behaviours)
    _check(schema)
    return schema


def _weights(table: Any, file: str) -> dict[str, float]:
    if not isinstance(table, Mapping):
        raise SchemaError(f"{file}: [behaviours] must be a table of name = weight")
    for name, weight in table.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise SchemaError(f"{file}, [behaviours]: {name} must have a weight of 0 or more")
    return {name: float(weight) for name, weight in table.items()}


def _time_range(value: Any, file: str) -> tuple[int, int]:
    """Unix seconds of two TOML dates, date-times (UTC unless they say) or numbers."""
    ends: list[int] = []
    for end in value if isinstance(value, list) else []:
        if isinstance(end, dt.datetime):
            ends.append(int((end if end.tzinfo else end.replace(tzinfo=dt.UTC)).timestamp()))
        elif isinstance(end, dt.date):
            ends.append(int(dt.datetime(end.year, end.month, end.day, tzinfo=dt.UTC).timestamp()))
        elif isinstance(end, int) and not isinstance(end, bool):
            ends.append(end)
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise SchemaError(f"{file}: time_range must be two dates, the earlier first")
    return ends[0], ends[1]


def _check(schema: Schema) -> None:
    """Refuses values that are not allowed, columns with two roles, names that do not exist."""
    names = [table.name for table in schema.interactions]
    for table in schema.interactions:
        where = f"{schema.file}, [[interactions]] {table.name}"
        if names.count(table.name) > 1:
            raise SchemaError(f"{where} stands twice; give each a name of its own")
        _interactions(table, where)
        for other in table.instead_of:
            _one_of(other, names, "instead_of", where)
    _nodes(schema, names)
    _relations(schema)
    _triples(schema)
    known = set(schema.behaviours)
    if known and any(t.behaviour_is not in {None, *known} for t in schema.interactions):
        raise SchemaError(f"{schema.file}: a behaviour_is is not in [behaviours]; add its weight")
    known |= {t.behaviour_is for t in schema.interactions if t.behaviour_is}
    if schema.target is not None and known:
        _one_of(schema.target, known, "target", schema.file)


def _interactions(table: InteractionTable, where: str) -> None:
    _source(table.source, where)
    _one_of(table.part, PARTS, "part", where)
    if "%" not in table.time_unit:
        _one_of(table.time_unit, TIME_UNITS, "time_unit", where)
    roles = ("user", "item", "time", "position", "behaviour", "weight")
    seen: dict[str, str] = {}
    for role in roles:
        column = getattr(table, role)
        if column is not None and column in seen:
            raise SchemaError(f"{where}: column '{column}' is both {seen[column]} and {role}")
        if column is not None:
            seen[column] = role
    if table.behaviour and table.behaviour_is:
        raise SchemaError(f"{where}: say behaviour (a column) or behaviour_is (a name), not both")


def _nodes(schema: Schema, interactions: list[str]) -> None:
    for kind, table in (("items", schema.items), ("users", schema.users)):
        if table is None:
            continue
        where = f"{schema.file}, [{kind}]"
        _source(table.source, where)
        if table.taken_from is not None:
            _one_of(table.taken_from, interactions, "taken_from", where)
            carrier = next(t for t in schema.interactions if t.name == table.taken_from)
            column = carrier.item if kind == "items" else carrier.user
            if table.id != column or table.key not in (None, column):
                raise SchemaError(
                    f"{where}: rows of {table.taken_from} name their {kind} by '{column}'; set id "
                    "to it, and no other key"
                )
    for name in ("entity_names", "relation_names", "entity_items"):
        names = getattr(schema, name)
        if names is not None:
            _source(names.source, f"{schema.file}, [{name}]")


def _relations(schema: Schema) -> None:
    seen: set[str] = set()
    for relation in schema.relations:
        where = f"{schema.file}, [[relation]] {relation.name}"
        if relation.name in seen:
            raise SchemaError(f"{where} stands twice; give each a name of its own")
        seen.add(relation.name)
        _one_of(relation.table, ("items", "users"), "table", where)
        _one_of(relation.kind, ("attribute", "item"), "kind", where)
        _one_of(relation.outside, ("entity", "drop"), "outside", where)
        if getattr(schema, relation.table) is None:
            raise SchemaError(f"{where}: there is no [{relation.table}] to take its column from")
        if relation.kind == "attribute" and relation.tail in ("item", "user", "entity"):
            raise SchemaError(f"{where}: '{relation.tail}' cannot be an attribute; set node")
        if relation.split == "":
            raise SchemaError(
                f"{where}: split must be a separator or 'list'; leave it out for none"
            )


def _triples(schema: Schema) -> None:
    names = [table.name for table in schema.triples]
    for table in schema.triples:
        where = f"{schema.file}, [[triples]] {table.name}"
        if names.count(table.name) > 1:
            raise SchemaError(f"{where} stands twice; give each a name of its own")
        _source(table.source, where)
        _one_of(table.outside, ("entity", "drop"), "outside", where)
        if (table.relation is None) == (table.relation_is is None):
            raise SchemaError(f"{where}: say relation (a column) or relation_is (a name)")


def _source(source: Source, where: str) -> None:
    _one_of(source.format, FORMATS, "format", where)
    if source.separator is not None and len(source.separator) != 1:
        raise SchemaError(f"{where}: separator must be one character")
    if len(set(source.columns)) != len(source.columns):
        raise SchemaError(f"{where}: columns names one twice")


def _one_of(value: str, allowed: Collection[str], key: str, where: str) -> None:
    if value not in allowed:
        raise SchemaError(f"{where}: {key} cannot be '{value}'{nearest(value, allowed)}")
