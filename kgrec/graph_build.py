"""From tables to the knowledge graph: attribute values, item relations, external triples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.clean import clean_text, match_key, split_values
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.id_codes import NONE, Coder
from kgrec.schema import Schema
from kgrec.schema_parts import NameTable, RelationColumn, TripleTable
from kgrec.tables import Tables
from kgrec.vocabulary import Indices, Vocabulary

OWNERS = {"items": "item", "users": "user"}


@dataclass(frozen=True, slots=True)
class Ends:
    """One end of each edge."""

    at: Indices
    """Places among `keys`, or indices of nodes where there are none, (n,)."""
    keys: pl.Series | None = None
    """Keys of nodes in their kind, String, (m,)."""

    @staticmethod
    def of(keys: pl.Series) -> Ends:
        """Ends by their keys, (n,)."""
        return Ends(np.arange(len(keys)), keys)

    def indices(self, known: Vocabulary) -> Indices:
        """The index of each, (n,)."""
        return self.at if self.keys is None else known.find(self.keys)[self.at]


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges of one relation before their tails have indices."""

    name: str
    head: str
    tail: str
    heads: Ends
    tails: Ends
    weight: float
    may_leak: bool


class GraphBuilder:
    """Collects edges, then numbers their ends.

    Args:
        schema: What the columns mean.
        tables: Where the triples are, and the ledger.
        nodes: Vocabularies of `item` and `user`.
        item_keys: What other tables call each item, String, (n_items,).
    """

    def __init__(
        self,
        schema: Schema,
        tables: Tables,
        nodes: Mapping[str, Vocabulary],
        item_keys: pl.Series,
    ) -> None:
        self._schema = schema
        self._tables = tables
        self._nodes = dict(nodes)
        self._items = pl.DataFrame({"key": item_keys, "id": nodes["item"].ids})
        self._aliases = self._read_names("entity_items", schema.entity_items)
        self._names = self._read_names("entity_names", schema.entity_names)
        self._edges: list[Edges] = []
        self._labels: dict[str, list[pl.DataFrame]] = {}

    def build(self, raw: Mapping[str, pl.DataFrame]) -> KnowledgeGraph:
        """The graph of the columns in `raw` and of the triples.

        Args:
            raw: Raw columns of `items` and `users`, row i being node i.

        Raises:
            DataError: A file of triples or names is absent, damaged or lacks a column.
        """
        for relation in self._schema.relations:
            table = raw[relation.table]
            if relation.column not in table.columns:
                continue
            join = self._attribute if relation.kind == "attribute" else self._item_column
            if not join(relation, table[relation.column]):
                self._tables.ledger.warn(
                    f"relation {relation.name} has no edges: '{relation.column}' is always empty"
                )
        for triples in self._schema.triples:
            self._triples(triples)
        return self._number()

    def _attribute(self, relation: RelationColumn, cells: pl.Series) -> bool:
        """Adds the edges of an attribute; whether there is any."""
        coder = Coder()
        codes = coder.code(cells)
        values = split_values(coder.ids(np.arange(len(coder), dtype=np.int32)), relation.split)
        label, _ = clean_text(values["value"])  # counted where the item table is cleaned
        key = label if relation.match_case else match_key(label)
        found = pl.DataFrame({"cell": values["row"], "key": key, "label": label}).drop_nulls("key")
        if not found.height:
            return False
        self._labels.setdefault(relation.tail, []).append(found.select("key", "label"))
        begin = np.searchsorted(found["cell"].to_numpy(), np.arange(len(coder) + 1))
        rows = np.flatnonzero(codes != NONE)
        first = begin[codes[rows]]
        count = begin[codes[rows] + 1] - first
        row = np.repeat(rows, count)
        at = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(row))
        self._edges.append(
            Edges(
                relation.name, OWNERS[relation.table], relation.tail,
                Ends(row), Ends(at, found["key"]), relation.weight, relation.may_leak,
            )
        )  # fmt: skip
        return True

    def _item_column(self, relation: RelationColumn, cells: pl.Series) -> bool:
        """Adds the edges to items that a column names; whether it names any."""
        values = split_values(cells, relation.split)
        owner = OWNERS[relation.table]
        rows = values.select(
            pl.lit(owner).alias("head_kind"),
            pl.lit(relation.name).alias("relation"),
            head=self._nodes[owner].take(values["row"].to_numpy()),
            tail=pl.col("value").str.strip_chars(),
        ).filter(pl.col("tail") != "")
        rows = rows.with_columns(self._resolve(rows["tail"], "tail"))
        self._add(rows, relation.outside, relation.weight, {relation.name: relation.may_leak})
        return rows.height > 0

    def _triples(self, table: TripleTable) -> None:
        wanted = {table.head: f"set head in [[triples]] {table.name}"}
        if table.relation:
            wanted[table.relation] = f"set relation in [[triples]] {table.name}"
        wanted[table.tail] = f"set tail in [[triples]] {table.name}"
        read = self._tables.read(
            table.name, table.source, wanted, list(wanted), table.source.optional
        )
        if read is None:
            return
        kind = pl.col(table.relation) if table.relation else pl.lit(table.relation_is)
        rows = read.select(
            head=table.head, tail=table.tail, relation=kind
        ).unique(maintain_order=True)  # fmt: skip
        self._tables.ledger.change({"repeated triples merged": read.height - rows.height})
        if table.relation:
            rows = rows.with_columns(relation=self._relation_names(rows["relation"]))
        rows = rows.with_columns(self._resolve(rows["head"], "head"))
        rows = rows.with_columns(self._resolve(rows["tail"], "tail"))
        names = rows["relation"].unique(maintain_order=True).to_list()
        leaks = {n: n in table.may_leak or "*" in table.may_leak for n in names}
        self._add(rows, table.outside, table.weight, leaks)

    def _relation_names(self, keys: pl.Series) -> pl.Series:
        names = self._read_names("relation_names", self._schema.relation_names)
        return keys if names is None else _renamed(keys, names)

    def _read_names(self, name: str, table: NameTable | None) -> pl.DataFrame | None:
        """Columns key and id of a table of names; None when there is none."""
        if table is None:
            return None
        wanted = {table.id: f"set id in [{name}]", table.key: f"set key in [{name}]"}
        read = self._tables.read(name, table.source, wanted, list(wanted), table.source.optional)
        if read is None:
            return None
        return read.select(key=table.key, id=table.id).unique("key", maintain_order=True)

    def _resolve(self, ends: pl.Series, name: str) -> list[pl.Series]:
        """The id and the kind, `item` or `entity`, of each end of a triple."""
        asked = ends if self._aliases is None else _renamed(ends, self._aliases)
        found = asked.alias("key").to_frame().join(
            self._items, on="key", how="left", maintain_order="left"
        )["id"]  # fmt: skip
        named = ends if self._names is None else _renamed(ends, self._names)
        inside = found.is_not_null()
        kind = pl.select(pl.when(inside).then(pl.lit("item")).otherwise(pl.lit("entity")))
        return [
            found.zip_with(inside, named).alias(name),
            kind.to_series().alias(f"{name}_kind"),
        ]

    def _add(
        self, rows: pl.DataFrame, outside: str, weight: float, leaks: Mapping[str, bool]
    ) -> None:
        """Sorts triples with resolved ends into edges by relation and kinds of end."""
        out = (pl.col("head_kind") == "entity") | (pl.col("tail_kind") == "entity")
        n_out = rows.filter(out).height
        if outside == "drop":
            rows = rows.filter(~out)
            self._tables.ledger.change({"triples with an end outside the shop dropped": n_out})
        else:
            self._tables.ledger.change({"triples with an end outside the shop kept": n_out})
        kinds = ["relation", "head_kind", "tail_kind"]
        for group in rows.partition_by(kinds, maintain_order=True):
            relation, head, tail = group.select(kinds).row(0)
            for kind, end in ((head, "head"), (tail, "tail")):
                if kind == "entity":
                    label = group.select(key=end, label=end)
                    self._labels.setdefault("entity", []).append(label)
            self._edges.append(
                Edges(
                    relation,
                    head,
                    tail,
                    Ends.of(group["head"]),
                    Ends.of(group["tail"]),
                    weight,
                    leaks[relation],
                )
            )

    def _number(self) -> KnowledgeGraph:
        lookups, keys = dict(self._nodes), dict[str, pl.Series]()
        for kind, frames in self._labels.items():
            distinct = pl.concat(frames).unique("key", keep="first", maintain_order=True)
            keys[kind] = distinct["key"]
            self._nodes[kind] = Vocabulary(distinct["label"], kind)
        lookups |= {kind: Vocabulary(ids, kind) for kind, ids in keys.items()}
        relations = []
        for edges in self._edges:
            head = edges.heads.indices(lookups[edges.head])
            tail = edges.tails.indices(lookups[edges.tail])
            both = _distinct(head, tail, len(lookups[edges.tail]))
            weight = np.full(both.shape[1], edges.weight, np.float32)
            relations.append(
                Relation(edges.name, edges.head, edges.tail, both, weight, edges.may_leak)
            )
        return KnowledgeGraph(self._nodes, tuple(relations))


def _renamed(keys: pl.Series, names: pl.DataFrame) -> pl.Series:
    """The name of each key, the key itself where it has none."""
    found = keys.alias("key").to_frame().join(names, on="key", how="left", maintain_order="left")
    return found["id"].fill_null(found["key"])


def _distinct(
    head: npt.NDArray[np.int64], tail: npt.NDArray[np.int64], n_tails: int
) -> npt.NDArray[np.int64]:
    """Distinct pairs, sorted by head then tail, (2, n)."""
    if not len(head):
        return np.zeros((2, 0), np.int64)
    pair = head * n_tails + tail
    if (pair[1:] <= pair[:-1]).any():
        pair = np.unique(pair)
    return np.stack([pair // n_tails, pair % n_tails])
