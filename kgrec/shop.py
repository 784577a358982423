"""A shop in memory: its catalogue, its interactions, its knowledge graph and its texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What reading found, so that nothing is dropped in silence."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows read, by file name."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rows that could not be used, by reason; written to `reject_file`."""
    changed: Mapping[str, int] = field(default_factory=dict)
    """Rows or values that a stated rule changed (HTML entities, duplicates merged), by rule."""
    reject_file: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shop:
    """What `kgrec.load` returns; every stage reads it and none writes it."""

    name: str
    items: Vocabulary
    """Every item of the catalogue or of an interaction, (n_items,)."""
    users: Vocabulary
    interactions: Interactions
    graph: KnowledgeGraph
    text: pl.Series | None = None
    """Text of each item as the schema composes it, String, (n_items,), empty where there is none;
    None when the schema names no text."""
    item_table: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Cleaned columns of the items for titles and filters, `item_id` first; row i is item i."""
    user_table: pl.DataFrame = field(default_factory=pl.DataFrame)
    """The same for users, with `user_id` first."""
    test: Interactions | None = None
    """The held-out part that the data came with (KGAT's test.txt); None when it had none."""
    validation: Interactions | None = None
    report: LoadReport = field(default_factory=LoadReport)

    def title(self, item: int) -> str:
        """A short human name of an item: its title where there is one, else its id."""
        for column in ("title", "name", "product_type", "keywords"):
            if column in self.item_table.columns:
                value = self.item_table[column][item]
                if value:
                    return str(value)
        return str(self.items.ids[item])
