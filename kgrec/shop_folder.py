"""A shop as a folder: coded interactions, vocabularies and tables as Parquet, the graph as arrays.

What `kgrec prepare` writes and `kgrec.load` reads back without touching the raw tables again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

import kgrec
from kgrec import settings
from kgrec.artefact import (
    SHOP,
    load_table,
    open_folder,
    save_table,
    write_folder,
)
from kgrec.errors import ArtefactError
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.readers import find_files
from kgrec.schema import Schema
from kgrec.schema_parts import Source
from kgrec.shop import LoadReport, Shop
from kgrec.stored_parts import about_relations, load_relations, load_rows, save_relations, save_rows
from kgrec.vocabulary import Vocabulary

PARTS = ("interactions", "validation", "test")
_TABLES = ("item_table", "user_table")

About = Mapping[str, Any]


def made_of(data: Path, schema: Schema, options: Any) -> dict[str, Any]:
    """What a shop folder is made of: two that agree in it are the same.

    Args:
        data: The folder of the tables, or one file.
        schema: How they are read.
        options: The `LoadConfig`; where rejected rows go does not count.
    """
    nodes, names = (schema.items, schema.users), (schema.entity_names, schema.relation_names)
    parts = (*schema.interactions, *schema.triples, *nodes, *names, schema.entity_items)
    sources: list[Source] = [part.source for part in parts if part is not None]
    files = sorted({file for source in sources for file in find_files(data, source)})
    plain = settings.to_plain(options)
    del plain["reject_file"]
    return {
        "kgrec": kgrec.__version__,
        "schema": settings.to_plain(schema),
        "load": plain,
        "files": [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files],
    }


def is_made_of(path: Path, what: About) -> bool:
    """Whether a shop folder lies there, unaltered, that was made of exactly this."""
    try:
        return bool(open_folder(path, SHOP).get("made_of") == what)
    except ArtefactError:
        return False


def save(shop: Shop, path: Path, what: About | None = None) -> None:
    """Writes the whole folder or nothing.

    Args:
        shop: What to write.
        path: The folder to be.
        what: What it is made of; see `made_of`.

    Raises:
        ArtefactError: Something else is at `path`, or another process writes there.
        KgrecError: The disk is full.
    """
    manifest = {"about": about(shop), "made_of": what, "report": settings.to_plain(shop.report)}
    write_folder(path, lambda folder: fill(shop, folder), manifest, SHOP)


def load(path: Path) -> Shop:
    """The shop in a folder that `save` wrote, once every hash agrees.

    Raises:
        ArtefactError: See `kgrec.artefact.open_folder`.
    """
    manifest = open_folder(path, SHOP)
    report = {**manifest["report"], "warnings": tuple(manifest["report"]["warnings"])}
    return replace(read(path, manifest["about"]), report=LoadReport(**report))


def about(shop: Shop) -> dict[str, Any]:
    """What the files of `fill` do not say themselves, as JSON has it."""
    rows = shop.interactions
    return {
        "name": shop.name,
        "behaviours": list(rows.behaviours),
        "target": rows.target,
        "time_kind": {
            part: getattr(shop, part).time_kind for part in PARTS if getattr(shop, part) is not None
        },
        "kinds": list(shop.graph.nodes),
        "relations": about_relations(shop.graph),
        "text": shop.text is not None,
    }


def fill(shop: Shop, folder: Path) -> None:
    """Writes the files of a shop into a folder."""
    for part in PARTS:
        rows: Interactions | None = getattr(shop, part)
        if rows is not None:
            save_rows(folder / f"{part}.parquet", rows, "lz4")
    for at, vocabulary in enumerate(shop.graph.nodes.values()):
        save_table(folder / f"ids-{at}.parquet", vocabulary.ids.to_frame(), "lz4")
    for name in _TABLES:
        table: pl.DataFrame = getattr(shop, name)
        if table.width:
            save_table(folder / f"{name}.parquet", table, "lz4")
    if shop.text is not None:
        save_table(folder / "text.parquet", shop.text.alias("text").to_frame(), "lz4")
    save_relations(folder / "graph.safetensors", shop.graph)


def read(folder: Path, said: About) -> Shop:
    """The shop whose files `fill` wrote, without the report of the tables that it came from.

    Args:
        folder: Where.
        said: What `about` said.
    """
    nodes = {
        kind: Vocabulary(load_table(folder / f"ids-{at}.parquet")["id"], kind)
        for at, kind in enumerate(said["kinds"])
    }
    relations = load_relations(folder / "graph.safetensors", said["relations"])
    sizes = len(nodes["user"]), len(nodes["item"])
    parts = {
        part: load_rows(folder / f"{part}.parquet", said, kind, *sizes)
        for part, kind in said["time_kind"].items()
    }
    tables = [folder / f"{name}.parquet" for name in _TABLES]
    items, users = (load_table(f) if f.is_file() else pl.DataFrame() for f in tables)
    return Shop(
        name=said["name"],
        items=nodes["item"],
        users=nodes["user"],
        graph=KnowledgeGraph(nodes, relations),
        text=load_table(folder / "text.parquet")["text"] if said["text"] else None,
        item_table=items,
        user_table=users,
        interactions=parts["interactions"],
        validation=parts.get("validation"),
        test=parts.get("test"),
    )
